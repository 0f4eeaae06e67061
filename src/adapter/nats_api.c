/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_api.h"

#include "adapter/nats_api_answer.h"
#include "adapter/nats_greeting.h"
#include "adapter/nats_headers.h"
#include "adapter/nats_login.h"
#include "adapter/nats_monitor.h"
#include "adapter/nats_puback.h"
#include "adapter/nats_settings.h"
#include "codec/header.h"
#include "codec/redact.h"
#include "port/clock.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_MS 5000
#define LOOK_MS         20 /* how often it is seen whether the server denied the request */
#define SUBJECT_SIZE    512u
#define INBOX_SIZE      160u
#define DENIAL_SIZE     1024u

struct sluice_nats_api {
    struct sluice_nats_settings *settings;
    natsConnection *nc;
    natsSubscription *answers;          /* to requests; NULL before the first */
    uint32_t requests;                  /* so far */
    char inbox[INBOX_SIZE];             /* each request has a token below it; "" before the first */
    struct sluice_nats_monitor monitor; /* of what cnats' callback thread writes: */
    int is_closed;
    char denial[DENIAL_SIZE]; /* the last one, in the server's words; "": none */
};

static void on_closed(natsConnection *nc, void *closure)
{
    struct sluice_nats_api *api = closure;
    (void)nc;
    pthread_mutex_lock(&api->monitor.lock);
    api->is_closed = 1;
    pthread_cond_broadcast(&api->monitor.changed);
    pthread_mutex_unlock(&api->monitor.lock);
}

/* As in nats_conn.c: one that comes after on_closed must not touch `api`. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *closure)
{
    struct sluice_nats_api *api = closure;
    (void)sub;
    if (status != NATS_NOT_PERMITTED || natsConnection_IsClosed(nc)) {
        return;
    }
    /* This thread's, not the connection's: that text is written by the thread that reads. */
    const char *words = nats_GetLastError(&status);
    pthread_mutex_lock(&api->monitor.lock);
    (void)snprintf(api->denial, sizeof api->denial, "%s", words == NULL ? "" : words);
    pthread_mutex_unlock(&api->monitor.lock);
}

sluice_rc sluice_nats_api_open(const struct sluice_nats_options *options,
                               struct sluice_nats_api **out, struct sluice_err *err)
{
    sluice_rc rc;
    struct sluice_nats_api *api = calloc(1, sizeof *api);
    if (api == NULL || !sluice_nats_monitor_init(&api->monitor)) {
        free(api);
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    const struct sluice_nats_handlers handlers = {on_closed, on_error, api};
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
    if (api == NULL) {
        return;
    }
    natsConnection_Close(api->nc);
    int64_t deadline = sluice_mono_ms() + SLUICE_NATS_LET_GO_TIMEOUT_MS;
    pthread_mutex_lock(&api->monitor.lock);
    while (api->nc != NULL && !api->is_closed &&
           sluice_nats_monitor_wait_until(&api->monitor, deadline)) {
    }
    int is_over = api->nc == NULL || api->is_closed;
    pthread_mutex_unlock(&api->monitor.lock);
    natsSubscription_Destroy(api->answers);
    natsConnection_Destroy(api->nc);
    sluice_nats_settings_destroy(api->settings);
    if (is_over) { /* else a callback may still come */
        sluice_nats_monitor_fini(&api->monitor);
        free(api);
    }
}

static const char *server_of(struct sluice_nats_api *api, char *out, size_t size)
{
    char url[SLUICE_NATS_URL_SIZE] = "the server";
    (void)natsConnection_GetConnectedUrl(api->nc, url, sizeof url);
    sluice_redact_url(url, out, size);
    return out;
}

static sluice_rc set_disabled(struct sluice_nats_api *api, struct sluice_err *err)
{
    char server[SLUICE_NATS_URL_SIZE];
    return sluice_err_set(err, SLUICE_ERR_UNAVAILABLE,
                          "JetStream is not enabled for this account on %s",
                          server_of(api, server, sizeof server));
}

static sluice_rc read_answer(struct sluice_nats_api *api, natsMsg *msg, cJSON **out,
                             struct sluice_err *err)
{
    sluice_bytes answer = {natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)};
    sluice_rc rc = sluice_nats_api_answer_read(answer, out, err);
    return rc == SLUICE_ERR_UNAVAILABLE ? set_disabled(api, err) : rc;
}

/* ---- Requests ---- */

/* Has the server denied the publish on `subject`, or our inbox? 1: `words` are its own. The request
 * itself is never answered then. */
static int find_denial(struct sluice_nats_api *api, const char *subject, char *words)
{
    char quoted[SUBJECT_SIZE + 2];
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", subject);
    pthread_mutex_lock(&api->monitor.lock);
    int is_ours = strstr(api->denial, quoted) != NULL ||
                  (api->denial[0] != '\0' && strstr(api->denial, api->inbox) != NULL);
    memcpy(words, api->denial, sizeof api->denial);
    pthread_mutex_unlock(&api->monitor.lock);
    return is_ours;
}

static sluice_rc call_failed(struct sluice_nats_api *api, natsStatus status, const char *subject,
                             struct sluice_err *err)
{
    char denial[DENIAL_SIZE];
    switch (status) {
    case NATS_NO_RESPONDERS:
        return set_disabled(api, err);
    case NATS_TIMEOUT:
        return sluice_err_set(err, SLUICE_ERR_TIMEOUT, "no answer within %d s",
                              CALL_TIMEOUT_MS / 1000);
    case NATS_NOT_PERMITTED:
        return sluice_err_set(err, SLUICE_ERR_AUTH, "the server says: %s",
                              find_denial(api, subject, denial) ? denial
                                                                : natsStatus_GetText(status));
    default:
        return sluice_err_set(err, SLUICE_ERR_CONNECTION, "%s", natsStatus_GetText(status));
    }
}

/* The answer of reply subject `reply`, or why there is none. */
static natsStatus await(struct sluice_nats_api *api, const char *subject, const char *reply,
                        natsMsg **out)
{
    int64_t deadline = sluice_mono_ms() + CALL_TIMEOUT_MS;
    char denial[DENIAL_SIZE];
    while (1) {
        natsMsg *msg = NULL;
        natsStatus status = natsSubscription_NextMsg(&msg, api->answers, LOOK_MS);
        if (status == NATS_OK && strcmp(natsMsg_GetSubject(msg), reply) == 0) {
            *out = msg;
            return NATS_OK;
        }
        natsMsg_Destroy(msg); /* a late one, to an earlier request */
        if (status != NATS_OK && status != NATS_TIMEOUT) {
            return status;
        }
        if (find_denial(api, subject, denial)) {
            return NATS_NOT_PERMITTED;
        }
        if (sluice_mono_ms() >= deadline) {
            return NATS_TIMEOUT;
        }
    }
}

/* Subscribe once, before the first request. */
static natsStatus open_inbox(struct sluice_nats_api *api)
{
    char subject[INBOX_SIZE + 2];
    natsInbox *inbox = NULL;
    natsStatus status = api->answers != NULL ? NATS_OK : natsInbox_Create(&inbox);
    if (inbox == NULL) {
        return status;
    }
    const char *token = strrchr(inbox, '.');
    (void)snprintf(api->inbox, sizeof api->inbox, "%s.%s",
                   sluice_nats_settings_options(api->settings)->inbox_prefix,
                   token == NULL ? inbox : token + 1);
    natsInbox_Destroy(inbox);
    (void)snprintf(subject, sizeof subject, "%s.*", api->inbox);
    return natsConnection_SubscribeSync(&api->answers, api->nc, subject);
}

/* cnats' own request would wait for its time-out where the server denies it. */
static natsStatus request(struct sluice_nats_api *api, const char *subject,
                          const sluice_header *headers, uint32_t headers_count, sluice_bytes body,
                          natsMsg **answer)
{
    char reply[INBOX_SIZE + 24];
    natsMsg *msg = NULL;
    natsStatus status = open_inbox(api);
    (void)snprintf(reply, sizeof reply, "%s.%u", api->inbox, ++api->requests);
    if (status == NATS_OK) {
        status = natsMsg_Create(&msg, subject, reply, body.data, (int)body.len);
    }
    for (uint32_t i = 0; status == NATS_OK && i < headers_count; i++) {
        status = natsMsgHeader_Add(msg, headers[i].name, headers[i].value);
    }
    if (status == NATS_OK) {
        status = natsConnection_PublishMsg(api->nc, msg);
    }
    natsMsg_Destroy(msg);
    return status == NATS_OK ? await(api, subject, reply, answer) : status;
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
    natsStatus status =
        request(api, subject, NULL, 0, (sluice_bytes){body, body == NULL ? 0 : strlen(body)}, &msg);
    cJSON_free(body);
    sluice_rc rc = status == NATS_OK ? read_answer(api, msg, out, err)
                                     : call_failed(api, status, subject, err);
    natsMsg_Destroy(msg);
    return rc == SLUICE_OK ? rc : sluice_err_prefix(err, rc, "%s", operation);
}

/* Is it for want of JetStream that no stream listens? */
static int is_disabled(struct sluice_nats_api *api)
{
    struct sluice_err err;
    return sluice_nats_api_call(api, "INFO", NULL, NULL, &err) == SLUICE_ERR_UNAVAILABLE;
}

static sluice_rc publish_failed(struct sluice_nats_api *api, natsStatus status, const char *subject,
                                size_t size, struct sluice_err *err)
{
    switch (status) {
    case NATS_NO_RESPONDERS:
        return is_disabled(api) ? set_disabled(api, err)
                                : sluice_err_set(err, SLUICE_ERR_PUBLISH,
                                                 "no stream listens on subject %s", subject);
    case NATS_MAX_PAYLOAD:
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE,
                              "%s: %zu bytes with headers, over the server's max_payload of %lld: "
                              "make the message smaller, or raise max_payload there",
                              subject, size, (long long)natsConnection_GetMaxPayload(api->nc));
    default:
        return call_failed(api, status, subject, err);
    }
}

/* The server says no number. */
static sluice_rc over_limit(struct sluice_nats_api *api, const struct sluice_puback *ack,
                            const char *subject, size_t size, struct sluice_err *err)
{
    char operation[SLUICE_PUBACK_TEXT_SIZE + 16];
    struct sluice_err ignored;
    cJSON *info = NULL;
    (void)snprintf(operation, sizeof operation, "STREAM.INFO.%s", ack->stream);
    (void)sluice_nats_api_call(api, operation, NULL, &info, &ignored);
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(info, "config");
    const cJSON *limit = cJSON_GetObjectItemCaseSensitive(config, "max_msg_size");
    if (cJSON_IsNumber(limit)) {
        (void)sluice_err_set(err, SLUICE_ERR_TOO_LARGE,
                             "%s: %zu bytes with headers, over the max_msg_size of %.0f of stream "
                             "%s: make the message smaller, or raise max_msg_size there",
                             subject, size, limit->valuedouble, ack->stream);
    } else { /* that may be denied */
        (void)sluice_err_set(err, SLUICE_ERR_TOO_LARGE, "%s: %zu bytes with headers: %s (%u)",
                             subject, size, ack->description, ack->error_code);
    }
    cJSON_Delete(info);
    return SLUICE_ERR_TOO_LARGE;
}

static sluice_rc read_ack(struct sluice_nats_api *api, natsMsg *msg, const char *subject,
                          size_t size, uint64_t *sequence, struct sluice_err *err)
{
    struct sluice_puback ack;
    sluice_rc rc;
    if (!sluice_puback_parse(
            (sluice_bytes){natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)}, &ack)) {
        return sluice_err_set(err, SLUICE_ERR_PUBLISH, "%s: what answered is no PubAck", subject);
    }
    if (ack.is_error && ack.error_code == SLUICE_JS_ERR_MESSAGE_SIZE) {
        return over_limit(api, &ack, subject, size, err);
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
    for (uint32_t i = 0; i < headers_count; i++) {
        if (!sluice_header_is_carried(headers[i].name, headers[i].value)) {
            return sluice_err_set(err, SLUICE_ERR_VALIDATION, "header %s: blanks or line breaks",
                                  headers[i].name);
        }
    }
    natsMsg *answer = NULL;
    natsStatus status = request(api, subject, headers, headers_count, body, &answer);
    size_t size = body.len + sluice_nats_headers_size(headers, headers_count);
    sluice_rc rc = status == NATS_OK ? read_ack(api, answer, subject, size, sequence, err)
                                     : publish_failed(api, status, subject, size, err);
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
    char url[SLUICE_NATS_URL_SIZE];
    struct sluice_nats_greeting greeting = {.version = ""};
    if (natsConnection_GetConnectedUrl(api->nc, url, sizeof url) == NATS_OK) {
        (void)sluice_nats_greeting_read(url, &greeting);
    }
    (void)snprintf(out, size, "%s", greeting.version);
}
