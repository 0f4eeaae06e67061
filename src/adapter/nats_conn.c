/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_conn.h"

#include "codec/header.h"
#include "codec/redact.h"
#include "port/clock.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FRAME_BYTES 256u /* about what a message has beside its body */

/* ---- Open and close ---- */

/* Fill with random letters and digits, for inboxes; `size` includes the end. 0: there are none. */
static int random_token(char *out, size_t size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab";
    unsigned char bytes[64];
    size_t len = size - 1 < sizeof bytes ? size - 1 : sizeof bytes;
    size_t got = 0;
    while (got < len) {
        ssize_t n = getrandom(bytes + got, len - got, 0);
        if (n < 0 && errno != EINTR) {
            return 0;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = letters[bytes[i] & 63u];
    }
    out[len] = '\0';
    return 1;
}

/* cnats' callback thread: the last that comes of this connection. */
static void on_closed(natsConnection *nc, void *closure)
{
    struct sluice_nats_conn *conn = closure;
    const char *words = NULL;
    natsStatus status = natsConnection_GetLastError(nc, &words);
    pthread_mutex_lock(&conn->monitor->lock);
    if (conn->why[0] == '\0') {
        sluice_redact_text(words != NULL && words[0] != '\0' ? words
                           : status != NATS_OK               ? natsStatus_GetText(status)
                                                             : "connection closed",
                           conn->why, sizeof conn->why);
    }
    conn->is_closed = 1;
    pthread_cond_broadcast(&conn->monitor->changed);
    pthread_mutex_unlock(&conn->monitor->lock);
}

/* cnats' callback thread. A subscription must not be touched in it (nats.c 56d3d5e3). One that
 * cnats reads behind the error that closed the connection comes after on_closed, when `conn` may
 * have been freed. While the connection is not closed on_closed is still to come, on this thread.
 */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *closure)
{
    struct sluice_nats_conn *conn = closure;
    char text[SLUICE_NATS_CONN_TEXT_SIZE];
    (void)sub;
    if (status != NATS_NOT_PERMITTED || natsConnection_IsClosed(nc)) {
        return;
    }
    /* This thread's, not the connection's: that text may be overwritten meanwhile. */
    const char *words = nats_GetLastError(&status);
    sluice_redact_text(words != NULL && words[0] != '\0' ? words
                                                         : natsStatus_GetText(NATS_NOT_PERMITTED),
                       text, sizeof text);
    conn->refused(conn->refused_ctx, text);
}

static void conn_free(struct sluice_nats_conn *conn)
{
    sluice_nats_spent_clear(&conn->sent);
    sluice_nats_spent_clear(&conn->received);
    sluice_nats_socket_free(conn->socket);
    free(conn);
}

sluice_rc sluice_nats_conn_open(struct sluice_nats_settings *settings,
                                struct sluice_nats_pump *pump, struct sluice_nats_monitor *monitor,
                                sluice_nats_refused_fn *refused, void *refused_ctx,
                                struct sluice_nats_conn **out, struct sluice_err *err)
{
    const struct sluice_nats_options *options = sluice_nats_settings_options(settings);
    char token[23], url[SLUICE_NATS_CONN_TEXT_SIZE];
    struct sluice_nats_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    conn->monitor = monitor;
    conn->refused = refused;
    conn->refused_ctx = refused_ctx;
    conn->since_ms = sluice_mono_ms();
    conn->socket = pump == NULL ? NULL : sluice_nats_socket_create(pump);
    if (!random_token(token, sizeof token)) {
        (void)sluice_err_set(err, SLUICE_ERR_INTERNAL, "no random bytes: %s", strerror(errno));
        conn_free(conn);
        return SLUICE_ERR_INTERNAL;
    }
    (void)snprintf(conn->inbox, sizeof conn->inbox, "%s.%s", options->inbox_prefix, token);
    const struct sluice_nats_handlers handlers = {on_closed, on_error, conn};
    sluice_rc rc =
        pump != NULL && conn->socket == NULL
            ? sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory")
            : sluice_nats_settings_connect(settings, conn->socket, &handlers, &conn->nc, err);
    if (rc != SLUICE_OK) {
        conn_free(conn);
        return rc;
    }
    if (natsConnection_GetConnectedUrl(conn->nc, url, sizeof url) == NATS_OK) {
        sluice_redact_url(url, conn->server, sizeof conn->server);
    }
    if (natsConnection_GetConnectedServerId(conn->nc, conn->server_id, sizeof conn->server_id) !=
        NATS_OK) {
        conn->server_id[0] = '\0';
    }
    conn->payload_max = natsConnection_GetMaxPayload(conn->nc);
    sluice_nats_settings_learn(settings, conn->nc);
    conn->has_others = sluice_nats_settings_has_others(settings);
    *out = conn;
    return SLUICE_OK;
}

int sluice_nats_conn_destroy(struct sluice_nats_conn *conn)
{
    natsConnection_Close(conn->nc);
    int64_t deadline = sluice_mono_ms() + SLUICE_NATS_LET_GO_TIMEOUT_MS;
    pthread_mutex_lock(&conn->monitor->lock);
    while ((!conn->is_closed || conn->taps_open > 0) &&
           sluice_nats_monitor_wait_until(conn->monitor, deadline)) {
    }
    int is_over = conn->is_closed && conn->taps_open == 0;
    pthread_mutex_unlock(&conn->monitor->lock);
    if (!is_over) {
        return 0;
    }
    /* Only now: nats.c before 3.6.1 crashes when a message meets a subscription that is being
     * destroyed (#637). */
    sluice_nats_taps_destroy(conn->taps);
    natsConnection_Destroy(conn->nc);
    conn_free(conn);
    return 1;
}

int sluice_nats_conn_flush(struct sluice_nats_conn *conn, int64_t timeout_ms)
{
    return natsConnection_FlushTimeout(conn->nc, timeout_ms) == NATS_OK;
}

/* ---- Up and down ---- */

static void on_tls(void *ctx)
{
    sluice_nats_conn_give_up(ctx, "the server requires TLS: its socket goes to threads of cnats");
}

void sluice_nats_conn_up(struct sluice_nats_conn *conn)
{
    pthread_mutex_lock(&conn->monitor->lock);
    conn->is_up = 1;
    pthread_mutex_unlock(&conn->monitor->lock);
    if (conn->socket != NULL && !sluice_nats_socket_start(conn->socket, on_tls, conn)) {
        sluice_nats_conn_give_up(conn, "out of memory");
    }
}

void sluice_nats_conn_let_go(struct sluice_nats_conn *conn)
{
    if (conn->socket != NULL) {
        sluice_nats_socket_stop(conn->socket);
    }
    pthread_mutex_lock(&conn->monitor->lock);
    conn->is_released = 1;
    pthread_cond_broadcast(&conn->monitor->changed);
    pthread_mutex_unlock(&conn->monitor->lock);
}

void sluice_nats_conn_give_up(struct sluice_nats_conn *conn, const char *why)
{
    pthread_mutex_lock(&conn->monitor->lock);
    if (!conn->must_close && conn->why[0] == '\0') {
        (void)snprintf(conn->why, sizeof conn->why, "%s", why);
    }
    conn->must_close = 1;
    pthread_cond_broadcast(&conn->monitor->changed);
    pthread_mutex_unlock(&conn->monitor->lock);
}

/* ---- Publishing ---- */

static natsStatus publish_with_headers(struct sluice_nats_conn *conn, const char *subject,
                                       const char *reply, const sluice_header *headers,
                                       uint32_t headers_count, const void *body, size_t body_len)
{
    natsMsg *msg = NULL;
    natsStatus status = natsMsg_Create(&msg, subject, reply, body, (int)body_len);
    for (uint32_t i = 0; status == NATS_OK && i < headers_count; i++) {
        status = natsMsgHeader_Add(msg, headers[i].name, headers[i].value);
    }
    if (status == NATS_OK) {
        status = natsConnection_PublishMsg(conn->nc, msg);
    }
    if (msg != NULL) {
        sluice_nats_spent_add(&conn->sent, msg, body_len);
    }
    return status;
}

/* cnats writes headers as they are: a line break in one would make another. */
static int are_legal(const char *subject, const sluice_header *headers, uint32_t count)
{
    if (subject[0] == '\0' || strpbrk(subject, " \t\r\n") != NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!sluice_header_is_carried(headers[i].name, headers[i].value)) {
            return 0;
        }
    }
    return 1;
}

enum sluice_nats_sent sluice_nats_conn_publish(struct sluice_nats_conn *conn, const char *subject,
                                               const char *reply, const sluice_header *headers,
                                               uint32_t headers_count, const void *body,
                                               size_t body_len)
{
    if (!are_legal(subject, headers, headers_count)) {
        return SLUICE_NATS_REFUSED;
    }
    if (body_len > (size_t)conn->payload_max) {
        return SLUICE_NATS_TOO_LARGE;
    }
    if (conn->socket != NULL) {
        sluice_nats_socket_begin();
    }
    natsStatus status;
    if (headers_count > 0) {
        status = publish_with_headers(conn, subject, reply, headers, headers_count, body, body_len);
    } else if (reply != NULL) {
        status = natsConnection_PublishRequest(conn->nc, subject, reply, body, (int)body_len);
    } else {
        status = natsConnection_Publish(conn->nc, subject, body, (int)body_len);
    }
    if (conn->socket != NULL) {
        sluice_nats_socket_end(conn->socket, body_len + FRAME_BYTES);
    }
    switch (status) {
    case NATS_OK:
        return SLUICE_NATS_SENT;
    case NATS_MAX_PAYLOAD:
        return SLUICE_NATS_TOO_LARGE;
    case NATS_INVALID_ARG:
    case NATS_INVALID_SUBJECT:
    case NATS_NO_SERVER_SUPPORT:
        return SLUICE_NATS_REFUSED;
    case NATS_NO_MEMORY:
        return SLUICE_NATS_STARVED;
    default:
        /* A write that failed half-way leaves the stream of bytes unusable; cnats itself would go
         * on. */
        sluice_nats_conn_give_up(conn, natsStatus_GetText(status));
        return SLUICE_NATS_DOWN;
    }
}
