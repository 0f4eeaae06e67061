/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_tap.h"

#include "adapter/nats_conn.h"
#include "port/signals.h"
#include <pthread.h>
#include <stdlib.h>

struct sluice_nats_tap {
    struct sluice_nats_conn *conn;
    struct sluice_nats_tap *next;
    natsSubscription *sub;
    sluice_nats_message_fn *fn;
    void (*released)(void *ctx);
    void *ctx;
};

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    (void)nc;
    (void)sub;
    struct sluice_nats_tap *tap = closure;
    const char *reply = natsMsg_GetReply(msg);
    int len = natsMsg_GetDataLength(msg);
    struct sluice_nats_message message = {.subject = natsMsg_GetSubject(msg),
                                          .reply = reply == NULL ? "" : reply,
                                          .body = natsMsg_GetData(msg),
                                          .body_len = len > 0 ? (size_t)len : 0,
                                          .raw = msg};
    if (tap->conn->socket != NULL) {
        sluice_nats_socket_await_read(tap->conn->socket);
    }
    tap->fn(tap->ctx, &message);
    sluice_nats_spent_add(&tap->conn->received, msg, message.body_len);
}

/* Delivery thread: after the subscription's last message. */
static void on_complete(void *closure)
{
    struct sluice_nats_tap *tap = closure;
    struct sluice_nats_conn *conn = tap->conn;
    tap->released(tap->ctx);
    pthread_mutex_lock(&conn->monitor->lock);
    conn->taps_open--;
    pthread_cond_broadcast(&conn->monitor->changed);
    pthread_mutex_unlock(&conn->monitor->lock);
}

struct sluice_nats_tap *sluice_nats_tap_create(struct sluice_nats_conn *conn, const char *subject,
                                               sluice_nats_message_fn *fn,
                                               void (*released)(void *ctx), void *ctx)
{
    struct sluice_nats_tap *tap = calloc(1, sizeof *tap);
    if (tap == NULL) {
        released(ctx);
        return NULL;
    }
    tap->conn = conn;
    tap->fn = fn;
    tap->released = released;
    tap->ctx = ctx;
    if (natsConnection_Subscribe(&tap->sub, conn->nc, subject, on_message, tap) != NATS_OK) {
        free(tap);
        released(ctx);
        return NULL;
    }
    tap->next = conn->taps;
    conn->taps = tap;
    pthread_mutex_lock(&conn->monitor->lock);
    conn->taps_open++;
    pthread_mutex_unlock(&conn->monitor->lock);
    /* No limit of cnats' own: what may be on its way is bounded by the pulls that asked for it. */
    (void)natsSubscription_SetPendingLimits(tap->sub, -1, -1);
    if (natsSubscription_SetOnCompleteCB(tap->sub, on_complete, tap) != NATS_OK) {
        on_complete(tap); /* the connection closed meanwhile; nothing was asked on this inbox yet */
        return NULL;
    }
    return tap;
}

void sluice_nats_tap_unsubscribe(struct sluice_nats_tap *tap)
{
    (void)natsSubscription_Unsubscribe(tap->sub);
}

void sluice_nats_tap_drain(struct sluice_nats_tap *tap, int64_t timeout_ms)
{
    sigset_t before;
    sluice_signals_block(&before); /* cnats makes a thread for it */
    /* Draining one subscription is sound in 3.4.1 and 3.10; what loses answers is draining a
     * connection (#911). */
    if (natsSubscription_DrainTimeout(tap->sub, timeout_ms) != NATS_OK) {
        (void)natsSubscription_Unsubscribe(tap->sub);
    }
    sluice_signals_restore(&before);
}

void sluice_nats_taps_destroy(struct sluice_nats_tap *taps)
{
    for (struct sluice_nats_tap *tap = taps, *next; tap != NULL; tap = next) {
        next = tap->next;
        natsSubscription_Destroy(tap->sub);
        free(tap);
    }
}
