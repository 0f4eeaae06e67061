/* SPDX-License-Identifier: Apache-2.0 */
/* How far to go and the server's max_payload, its version, then a line for each answer of the
 * JetStream API at boot; behind the last one it is silent. Nothing is altered that the mode does
 * not allow, and sizes and counts are such. The connection is this file's: of nats_api.c only the
 * reading of an answer takes part. */
#include "adapter/nats_api.h"
#include "adapter/nats_api_answer.h"
#include "adapter/nats_provision.h"
#include "fuzz.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX (1LL << 53) /* what a number of JSON counts one by one */

struct sluice_nats_api {
    struct fuzz_input *in;
    int64_t payload_max;
    const char *version;
    int mode;
    int differs; /* how often it was told */
};

static struct sluice_nats_api server;

sluice_rc sluice_nats_api_open(const struct sluice_nats_options *options,
                               struct sluice_nats_api **out, struct sluice_err *err)
{
    (void)options;
    (void)err;
    *out = &server;
    return SLUICE_OK;
}

void sluice_nats_api_close(struct sluice_nats_api *api)
{
    FUZZ_CHECK(api == &server);
}

static void check_allowed(const struct sluice_nats_api *api, const char *operation)
{
    FUZZ_CHECK(strstr(operation, "UPDATE") == NULL || api->mode == SLUICE_NATS_UPDATE);
    FUZZ_CHECK((strstr(operation, "CREATE") == NULL && strstr(operation, "DELETE") == NULL) ||
               api->mode != SLUICE_NATS_VERIFY);
}

sluice_rc sluice_nats_api_call(struct sluice_nats_api *api, const char *operation, const cJSON *in,
                               cJSON **out, struct sluice_err *err)
{
    check_allowed(api, operation);
    char *body = in == NULL ? NULL : cJSON_PrintUnformatted(in);
    FUZZ_CHECK(in == NULL || body != NULL);
    FUZZ_CHECK(in != NULL || strstr(operation, ".INFO.") != NULL ||
               strstr(operation, ".DELETE.") != NULL);
    cJSON_free(body);
    const char *line = fuzz_take_line(api->in);
    if (line == NULL) {
        return sluice_err_set(err, SLUICE_ERR_TIMEOUT, "%s: no answer", operation);
    }
    sluice_rc rc = sluice_nats_api_answer_read((sluice_bytes){line, strlen(line)}, out, err);
    free(api->in->copies[--api->in->count]); /* there may be more answers than places */
    return rc == SLUICE_OK ? rc : sluice_err_prefix(err, rc, "%s", operation);
}

const char *sluice_nats_api_warning(const struct sluice_nats_api *api)
{
    (void)api;
    return NULL;
}

int64_t sluice_nats_api_payload_max(struct sluice_nats_api *api)
{
    return api->payload_max;
}

void sluice_nats_api_server_version(struct sluice_nats_api *api, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", api->version);
}

static void told(void *ctx, const char *verb, const char *what)
{
    struct sluice_nats_api *api = ctx;
    FUZZ_CHECK(what[0] != '\0' && strlen(what) < SLUICE_ERR_TEXT_SIZE);
    FUZZ_CHECK(strcmp(verb, "updated") != 0 || api->mode == SLUICE_NATS_UPDATE);
    FUZZ_CHECK((strcmp(verb, "created") != 0 && strcmp(verb, "repaired") != 0) ||
               api->mode != SLUICE_NATS_VERIFY);
    api->differs += strcmp(verb, "differs") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t payloads[] = {1048576, 1024, 0, INT64_MAX, -5};
    static const struct sluice_nats_options options;
    static const struct sluice_nats_plan plan = {.stream_requests = "REQUESTS",
                                                 .subject_request = "a.request",
                                                 .stream_ready = "READY",
                                                 .subject_ready = "a.ready",
                                                 .stream_dead = "DEAD",
                                                 .subject_dead = "a.dead",
                                                 .consumer = "worker",
                                                 .ack_wait_ms = 30000,
                                                 .max_in_flight = 16,
                                                 .bucket = "journal",
                                                 .journal_ttl_ms = 86400000,
                                                 .output_subjects = {"b.other"},
                                                 .output_subjects_count = 1};
    struct sluice_nats_facts facts;
    struct sluice_err err = {0};
    struct fuzz_input in = fuzz_input_of(data, size);
    server = (struct sluice_nats_api){.in = &in};
    server.mode = (int)fuzz_take_choice(&in, 3);
    server.payload_max = payloads[fuzz_take_choice(&in, 5)];
    const char *version = fuzz_take_line(&in);
    server.version = version == NULL ? "" : version;
    sluice_rc rc = sluice_nats_provision(&options, &plan, server.mode, told, &server, &facts, &err);
    FUZZ_CHECK(rc == SLUICE_OK || (err.rc == rc && err.text[0] != '\0'));
    FUZZ_CHECK(rc != SLUICE_OK || server.differs == 0);
    FUZZ_CHECK(strlen(facts.server_version) < sizeof facts.server_version);
    FUZZ_CHECK(facts.journal_messages <= EXACT_MAX);
    FUZZ_CHECK(facts.payload_max >= 0 && facts.payload_max <= INT32_MAX);
    FUZZ_CHECK(facts.message_size_max >= 0 && facts.message_size_max <= INT32_MAX);
    fuzz_input_fini(&in);
    return 0;
}
