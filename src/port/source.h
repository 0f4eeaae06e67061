/* SPDX-License-Identifier: Apache-2.0 */
/* Where messages come from, and where their verdicts go. */
#ifndef SLUICE_PORT_SOURCE_H
#define SLUICE_PORT_SOURCE_H

#include "core/engine.h"
#include "core/err.h"

/* One delivery, in memory of the source's: the receiver owns it and gives it back with
 * delivery_free(). */
struct sluice_delivery {
    const char *subject;
    const char *reply; /* settles go here */
    const char *stream, *consumer;
    const sluice_header *headers; /* in the order received; a name may repeat */
    uint32_t headers_count;
    sluice_bytes body;
    uint64_t sequence; /* in the stream; 0 when the reply subject could not be read */
    uint64_t pending;  /* messages behind this one */
    int64_t stored_unix_ns;
    int64_t horizon_ms; /* see core/engine.h */
    uint32_t deliveries;
    uint32_t size;
    uint32_t pull; /* fx_pull.pull of the inbox that it came on */
};

enum sluice_link_state {
    SLUICE_LINK_UP,     /* connected, first or again */
    SLUICE_LINK_DOWN,   /* lost, reconnecting */
    SLUICE_LINK_LOST,   /* reconnect attempts exhausted or closed by the server: for good */
    SLUICE_LINK_REFUSED /* as it was; the server denied something, a login too, as the text says */
};

/* Called on the loop thread, never from inside an operation. Texts are borrowed. */
struct sluice_source_events {
    void (*on_link)(void *ctx, enum sluice_link_state state, const char *text);
    void (*on_delivery)(void *ctx, struct sluice_delivery *delivery); /* receiver owns it */
    void (*on_pull)(void *ctx, uint32_t pull, enum sluice_pull_status status, const char *text);
    void (*on_settled)(void *ctx, uint64_t op, int is_answered, int64_t sent_ms);
    void (*on_consumer)(void *ctx, enum sluice_consumer state);
    void (*on_stopped)(void *ctx);
    void (*on_alive)(
        void *ctx,
        int64_t mono_ms); /* the server gave a sign of life: heartbeat, PONG, any answer */
};

struct sluice_source;

struct sluice_source_ops {
    /* All: loop thread, never block for the network. */
    void (*pull)(struct sluice_source *s, const struct sluice_fx_pull *pull);
    void (*abandon)(struct sluice_source *s, uint32_t pull);
    void (*check)(struct sluice_source *s);
    void (*stop)(struct sluice_source *s);
    /* Send a verdict; on_settled(op) follows when it was answered or could not be sent; silence is
     * possible. */
    void (*settle)(struct sluice_source *s, uint64_t op, const char *reply, enum sluice_verb verb,
                   int64_t delay_ms);
    void (*delivery_free)(struct sluice_source *s, struct sluice_delivery *delivery);
    /* Flush what was sent (bounded), close. No event afterwards. Accepts NULL. */
    void (*destroy)(struct sluice_source *s);
};

struct sluice_source {
    const struct sluice_source_ops *ops;
};

#endif
