/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_desk.h"

#include "adapter/nats_api.h"
#include "adapter/nats_headers.h"
#include "codec/base64.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERATION_SIZE 320u

struct sluice_nats_desk {
    struct sluice_nats_api *api;
};

sluice_rc sluice_nats_desk_open(const struct sluice_nats_options *options,
                                struct sluice_nats_desk **out, struct sluice_err *err)
{
    struct sluice_nats_desk *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    sluice_rc rc = sluice_nats_api_open(options, &d->api, err);
    if (rc != SLUICE_OK) {
        free(d);
        return rc;
    }
    *out = d;
    return SLUICE_OK;
}

void sluice_nats_desk_close(struct sluice_nats_desk *d)
{
    if (d != NULL) {
        sluice_nats_api_close(d->api);
        free(d);
    }
}

sluice_rc sluice_nats_desk_publish(struct sluice_nats_desk *d, const char *subject,
                                   const sluice_header *headers, uint32_t headers_count,
                                   sluice_bytes body, uint64_t *sequence, struct sluice_err *err)
{
    return sluice_nats_api_publish(d->api, subject, headers, headers_count, body, sequence, err);
}

static uint64_t number_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(item) && item->valuedouble > 0 ? (uint64_t)item->valuedouble : 0;
}

static const char *text_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static sluice_rc stream_number(struct sluice_nats_desk *d, const char *stream, const char *name,
                               uint64_t *number, struct sluice_err *err)
{
    char operation[OPERATION_SIZE];
    cJSON *info = NULL;
    (void)snprintf(operation, sizeof operation, "STREAM.INFO.%s", stream);
    sluice_rc rc = sluice_nats_api_call(d->api, operation, NULL, &info, err);
    if (rc == SLUICE_OK) {
        *number = number_of(cJSON_GetObjectItemCaseSensitive(info, "state"), name);
    }
    cJSON_Delete(info);
    return rc;
}

sluice_rc sluice_nats_desk_stream(struct sluice_nats_desk *d, const char *stream,
                                  uint64_t *messages, struct sluice_err *err)
{
    return stream_number(d, stream, "messages", messages, err);
}

sluice_rc sluice_nats_desk_last(struct sluice_nats_desk *d, const char *stream, uint64_t *sequence,
                                struct sluice_err *err)
{
    return stream_number(d, stream, "last_seq", sequence, err);
}

sluice_rc sluice_nats_desk_consumer(struct sluice_nats_desk *d, const char *stream,
                                    const char *consumer, uint64_t *pending, uint64_t *ack_pending,
                                    struct sluice_err *err)
{
    char operation[OPERATION_SIZE];
    cJSON *info = NULL;
    (void)snprintf(operation, sizeof operation, "CONSUMER.INFO.%s.%s", stream, consumer);
    sluice_rc rc = sluice_nats_api_call(d->api, operation, NULL, &info, err);
    if (rc == SLUICE_OK) {
        *pending = number_of(info, "num_pending");
        *ack_pending = number_of(info, "num_ack_pending");
    }
    cJSON_Delete(info);
    return rc;
}

/* ---- One message ---- */

/* What the letter is made of; blocks of malloc. */
struct parts {
    const char *subject, *time;
    uint64_t sequence;
    char *headers, *body;
    size_t headers_len, body_len;
};

static struct sluice_nats_letter *letter_create(const struct parts *p)
{
    struct sluice_nats_copying c = {0};
    sluice_nats_headers_parse(p->headers, p->headers_len, sluice_nats_headers_measure, &c);
    size_t subject_len = strlen(p->subject), time_len = strlen(p->time);
    size_t size = sizeof(struct sluice_nats_letter) + c.count * sizeof(sluice_header) + c.bytes +
                  subject_len + time_len + p->body_len + 3;
    struct sluice_nats_letter *letter = calloc(1, size);
    if (letter == NULL) {
        return NULL;
    }
    c.headers = letter->headers = (sluice_header *)(letter + 1);
    c.at = (char *)(letter->headers + c.count);
    sluice_nats_headers_parse(p->headers, p->headers_len, sluice_nats_headers_copy, &c);
    letter->headers_count = c.copied;
    letter->subject = sluice_nats_copy_text(&c.at, p->subject, subject_len);
    letter->time = sluice_nats_copy_text(&c.at, p->time, time_len);
    letter->body = (sluice_bytes){sluice_nats_copy_text(&c.at, p->body, p->body_len), p->body_len};
    letter->sequence = p->sequence;
    return letter;
}

/* Base64 of the answer; an empty block for an absent member. */
static char *decode(const cJSON *message, const char *name, size_t *len)
{
    const char *text = text_of(message, name);
    size_t text_len = strlen(text);
    char *out = malloc(text_len / 4 * 3 + 3);
    *len = 0;
    if (out != NULL && !sluice_base64_decode(text, text_len, out, len)) {
        free(out);
        return NULL;
    }
    return out;
}

static sluice_rc read_letter(const cJSON *message, struct sluice_nats_letter **out,
                             struct sluice_err *err)
{
    struct parts p = {.subject = text_of(message, "subject"),
                      .time = text_of(message, "time"),
                      .sequence = number_of(message, "seq")};
    p.headers = decode(message, "hdrs", &p.headers_len);
    p.body = decode(message, "data", &p.body_len);
    *out = p.headers == NULL || p.body == NULL || p.sequence == 0 ? NULL : letter_create(&p);
    free(p.headers);
    free(p.body);
    return *out != NULL ? SLUICE_OK
                        : sluice_err_set(err, SLUICE_ERR_DECODE, "unreadable answer to MSG.GET");
}

sluice_rc sluice_nats_desk_get(struct sluice_nats_desk *d, const char *stream, uint64_t sequence,
                               struct sluice_nats_letter **out, struct sluice_err *err)
{
    char operation[OPERATION_SIZE];
    cJSON *answer = NULL;
    cJSON *in = cJSON_CreateObject();
    (void)snprintf(operation, sizeof operation, "STREAM.MSG.GET.%s", stream);
    /* With next_by_subj the sequence is where the search begins: a gap is passed over. */
    (void)cJSON_AddNumberToObject(in, "seq", (double)(sequence == 0 ? 1 : sequence));
    (void)cJSON_AddStringToObject(in, "next_by_subj", ">");
    sluice_rc rc = sluice_nats_api_call(d->api, operation, in, &answer, err);
    if (rc == SLUICE_OK) {
        rc = read_letter(cJSON_GetObjectItemCaseSensitive(answer, "message"), out, err);
    }
    cJSON_Delete(answer);
    cJSON_Delete(in);
    return rc;
}
