/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_api.h"

#include "adapter/nats_connect.h"
#include "adapter/nats_greeting.h"
#include "adapter/nats_puback.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_MS 5000
#define SUBJECT_SIZE    512u
#define URL_SIZE        512u

struct sluice_nats_api {
    struct sluice_nats_settings *settings;
    natsConnection *nc;
};

static void on_closed(natsConnection *nc, void *closure)
{
    (void)nc;
    (void)closure;
}

sluice_rc sluice_nats_api_open(const struct sluice_nats_options *options,
                               struct sluice_nats_api **out, struct sluice_err *err)
{
    static const struct sluice_nats_handlers handlers = {.closed = on_closed};
    sluice_rc rc;
    struct sluice_nats_api *api = calloc(1, sizeof *api);
    if (api == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    if ((rc = sluice_nats_settings_create(options, &api->settings, err)) != SLUICE_OK ||
        (rc = sluice_nats_settings_connect(api->settings, NULL, &handlers, &api->nc, err)) !=
            SLUICE_OK) {
        sluice_nats_api_close(api);
        return rc;
    }
    *out = api;
    return SLUICE_OK;
}

void sluice_nats_api_close(struct sluice_nats_api *api)
{
    if (api != NULL) {
        natsConnection_Destroy(api->nc);
        sluice_nats_settings_destroy(api->settings);
        free(api);
    }
}

/* The server's refusal in its own words. */
static sluice_rc read_error(const cJSON *error, struct sluice_err *err)
{
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(error, "description");
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(error, "err_code");
    int is_missing = cJSON_IsNumber(code) && code->valueint == 404;
    return sluice_err_set(err, is_missing ? SLUICE_ERR_NOT_FOUND : SLUICE_ERR_API, "%s (%d)",
                          cJSON_IsString(words) ? words->valuestring : "refused",
                          cJSON_IsNumber(number) ? number->valueint : 0);
}

static sluice_rc read_answer(natsMsg *msg, cJSON **out, struct sluice_err *err)
{
    cJSON *json = cJSON_ParseWithLength(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    sluice_rc rc = SLUICE_OK;
    if (!cJSON_IsObject(json)) {
        rc = sluice_err_set(err, SLUICE_ERR_DECODE, "the server's answer is no JSON object");
    } else if (error != NULL) {
        rc = read_error(error, err);
    }
    if (rc == SLUICE_OK && out != NULL) {
        *out = json;
    } else {
        cJSON_Delete(json);
    }
    return rc;
}

static sluice_rc call_failed(natsStatus status, struct sluice_err *err)
{
    switch (status) {
    case NATS_NO_RESPONDERS:
        return sluice_err_set(err, SLUICE_ERR_UNAVAILABLE,
                              "JetStream is not enabled for this account");
    case NATS_TIMEOUT:
        return sluice_err_set(err, SLUICE_ERR_TIMEOUT, "no answer within %d s",
                              CALL_TIMEOUT_MS / 1000);
    default:
        return sluice_err_set(err, SLUICE_ERR_CONNECTION, "%s", natsStatus_GetText(status));
    }
}

sluice_rc sluice_nats_api_call(struct sluice_nats_api *api, const char *operation, const cJSON *in,
                               cJSON **out, struct sluice_err *err)
{
    char subject[SUBJECT_SIZE];
    char *body = in == NULL ? NULL : cJSON_PrintUnformatted(in);
    if (in != NULL && body == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    natsMsg *msg = NULL;
    (void)snprintf(subject, sizeof subject, "%s.%s",
                   sluice_nats_settings_options(api->settings)->api_prefix, operation);
    natsStatus status = natsConnection_RequestString(&msg, api->nc, subject,
                                                     body == NULL ? "" : body, CALL_TIMEOUT_MS);
    cJSON_free(body);
    sluice_rc rc = status == NATS_OK ? read_answer(msg, out, err) : call_failed(status, err);
    natsMsg_Destroy(msg);
    return rc == SLUICE_OK ? rc : sluice_err_prefix(err, rc, "%s", operation);
}

static sluice_rc read_ack(natsMsg *msg, const char *subject, uint64_t *sequence,
                          struct sluice_err *err)
{
    struct sluice_puback ack;
    sluice_rc rc;
    if (!sluice_puback_parse(
            (sluice_bytes){natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)}, &ack)) {
        return sluice_err_set(err, SLUICE_ERR_PUBLISH, "%s: what answered is no PubAck", subject);
    }
    if (sluice_puback_fate(&ack, &rc) != SLUICE_FATE_OK) {
        return sluice_err_set(err, rc, "%s: %s (%u)", subject, ack.description, ack.error_code);
    }
    if (sequence != NULL) {
        *sequence = ack.sequence;
    }
    return SLUICE_OK;
}

sluice_rc sluice_nats_api_publish(struct sluice_nats_api *api, const char *subject,
                                  const sluice_header *headers, uint32_t headers_count,
                                  sluice_bytes body, uint64_t *sequence, struct sluice_err *err)
{
    natsMsg *msg = NULL, *answer = NULL;
    for (uint32_t i = 0; i < headers_count; i++) {
        if (headers[i].name[0] == '\0' || strpbrk(headers[i].name, ": \r\n") != NULL ||
            strpbrk(headers[i].value, "\r\n") != NULL) {
            return sluice_err_set(err, SLUICE_ERR_VALIDATION, "header %s: blanks or line breaks",
                                  headers[i].name);
        }
    }
    natsStatus status = natsMsg_Create(&msg, subject, NULL, body.data, (int)body.len);
    for (uint32_t i = 0; status == NATS_OK && i < headers_count; i++) {
        status = natsMsgHeader_Add(msg, headers[i].name, headers[i].value);
    }
    if (status == NATS_OK) {
        status = natsConnection_RequestMsg(&answer, api->nc, msg, CALL_TIMEOUT_MS);
    }
    natsMsg_Destroy(msg);
    sluice_rc rc;
    if (status == NATS_OK) {
        rc = read_ack(answer, subject, sequence, err);
    } else if (status == NATS_NO_RESPONDERS) {
        rc = sluice_err_set(err, SLUICE_ERR_PUBLISH, "no stream listens on subject %s", subject);
    } else if (status == NATS_MAX_PAYLOAD) {
        rc = sluice_err_set(err, SLUICE_ERR_TOO_LARGE,
                            "%s: %zu bytes and headers, the server takes %lld", subject, body.len,
                            (long long)natsConnection_GetMaxPayload(api->nc));
    } else {
        rc = call_failed(status, err);
    }
    natsMsg_Destroy(answer);
    return rc;
}

const char *sluice_nats_api_warning(const struct sluice_nats_api *api)
{
    return sluice_nats_settings_warning(api->settings);
}

int64_t sluice_nats_api_payload_max(struct sluice_nats_api *api)
{
    return natsConnection_GetMaxPayload(api->nc);
}

void sluice_nats_api_server_version(struct sluice_nats_api *api, char *out, size_t size)
{
    char url[URL_SIZE];
    struct sluice_nats_greeting greeting = {.version = ""};
    if (natsConnection_GetConnectedUrl(api->nc, url, sizeof url) == NATS_OK) {
        (void)sluice_nats_greeting_read(url, &greeting);
    }
    (void)snprintf(out, size, "%s", greeting.version);
}
