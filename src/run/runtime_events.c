/* SPDX-License-Identifier: Apache-2.0 */
#include "port/clock.h"
#include "run/runtime_state.h"

#include "codec/header.h"
#include "sluice/names.h"
#include <stdlib.h>

#define CONSUMER_REPAIR_MS 5000 /* several calls to a server that has just come up */

static void on_link(void *ctx, enum sluice_link_state state, const char *text)
{
    struct runtime *rt = ctx;
    if (state == SLUICE_LINK_REFUSED) {
        sluice_refusals_tell(&rt->refusals, "pull", text, sluice_mono_ms());
        return;
    }
    struct sluice_event ev = {.kind = state == SLUICE_LINK_UP ? SLUICE_EV_CONNECTED
                                                              : SLUICE_EV_DISCONNECTED};
    ev.connected.journal_in_use = rt->config.journal_in_use;
    if (state == SLUICE_LINK_UP) {
        sluice_refusals_forget(&rt->refusals);
        rt->consumer_missing_ms = 0; /* what was seen before says nothing of this server */
        SLUICE_LOG(SLUICE_LOG_INFO, START, "nats.connected", "", SLUICE_F_TEXT("server", text));
        if (rt->has_been_connected) {
            rt->config.on_reconnected(rt->config.ctx);
        }
        rt->has_been_connected = 1;
    } else if (state == SLUICE_LINK_DOWN) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "nats.disconnected", text == NULL ? "" : text,
                   SLUICE_F_TEXT("link", "pull"));
    } else {
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "nats.lost", text == NULL ? "" : text,
                   SLUICE_F_TEXT("link", "pull"));
        runtime_finish(rt, RUNTIME_FAILED);
    }
    runtime_drive(rt, &ev);
    runtime_show(rt); /* who waits for the connection finds it there too */
    atomic_store(&rt->is_connected, state == SLUICE_LINK_UP);
}

static int has_header(const struct sluice_delivery *d, const char *name)
{
    return sluice_header_find(d->headers, d->headers_count, name, 0) != NULL;
}

static void on_delivery(void *ctx, struct sluice_delivery *d)
{
    struct runtime *rt = ctx;
    sluice_probe_update_last_seen(rt->config.probe, sluice_mono_ms()); /* before anything else */
    rt->arriving = d;
    if (rt->vacant == NULL) {
        rt->vacant = malloc(sizeof *rt->vacant);
    }
    struct sluice_event ev = {.kind = SLUICE_EV_MESSAGE,
                              .message = {.sequence = d->sequence,
                                          .stored_ms = d->stored_unix_ns / 1000000,
                                          .horizon_ms = d->horizon_ms,
                                          .deliveries = d->deliveries,
                                          .size = d->size,
                                          .pull = d->pull,
                                          .is_replay = has_header(d, SLUICE_HEADER_KEY) ||
                                                       has_header(d, SLUICE_HEADER_REPLAY_OF),
                                          .has_no_memory = rt->vacant == NULL}};
    runtime_step(rt, &ev);
    if (rt->arriving != NULL) { /* refused or taken over: not kept */
        rt->source->ops->delivery_free(rt->source, rt->arriving);
        rt->arriving = NULL;
    }
    runtime_take_turns(rt);
}

static void on_pull(void *ctx, uint32_t pull, enum sluice_pull_status status, const char *text)
{
    struct runtime *rt = ctx;
    if (status != SLUICE_PULL_ALIVE && status != SLUICE_PULL_ENDED) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "pull.ended", text == NULL ? "" : text,
                   SLUICE_F_NUMBER("pull", pull));
    }
    struct sluice_event ev = {.kind = SLUICE_EV_PULL,
                              .pull = {.pull = pull, .status = (uint8_t)status}};
    runtime_drive(rt, &ev);
}

static void on_settled(void *ctx, uint64_t op, int is_answered, int64_t sent_ms)
{
    struct runtime *rt = ctx;
    if (op == UINT64_MAX) {
        return; /* a refused delivery's NAK */
    }
    uint32_t slot = (uint32_t)(op >> 48);
    const struct inflight *m = slot < rt->config.engine.max_in_flight ? rt->slots[slot] : NULL;
    if (m == NULL || (m->ticket.generation & 0x3fff) != (op >> 34 & 0x3fff)) {
        return;
    }
    struct sluice_event ev = {.kind = SLUICE_EV_SETTLED,
                              .ticket = m->ticket,
                              .settled = {.verb = (uint8_t)(op >> 32 & 3),
                                          .is_answered = (uint8_t)is_answered,
                                          .settle = (uint32_t)op,
                                          .sent_ms = sent_ms}};
    runtime_drive(rt, &ev);
}

static void on_consumer(void *ctx, enum sluice_consumer state)
{
    struct runtime *rt = ctx;
    int64_t now = sluice_mono_ms();
    int is_missing = state == SLUICE_CONSUMER_MISSING;
    if (state == SLUICE_CONSUMER_THERE || state == SLUICE_CONSUMER_ANEW) {
        rt->consumer_missing_ms = 0;
    } else if (is_missing && rt->consumer_missing_ms == 0) {
        rt->consumer_missing_ms = now;
    }
    if (state == SLUICE_CONSUMER_ANEW) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "consumer.anew",
                   "the consumer was made anew: what is in hand comes once more",
                   SLUICE_F_TEXT("consumer", rt->config.consumer));
    }
    /* A worker that repairs it, this one or another, deletes it first. */
    if (is_missing && now - rt->consumer_missing_ms >= CONSUMER_REPAIR_MS) {
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "consumer.missing",
                   "the consumer was deleted; `sluice init` creates it",
                   SLUICE_F_TEXT("consumer", rt->config.consumer));
        runtime_finish(rt, RUNTIME_FAILED);
    }
    struct sluice_event ev = {.kind = SLUICE_EV_CONSUMER, .consumer = (int32_t)state};
    runtime_drive(rt, &ev);
}

static void on_stopped(void *ctx)
{
    struct sluice_event ev = {.kind = SLUICE_EV_INTAKE_STOPPED};
    runtime_drive(ctx, &ev);
}

static void on_alive(void *ctx, int64_t mono_ms)
{
    struct runtime *rt = ctx;
    sluice_probe_update_last_seen(rt->config.probe, mono_ms);
}

struct sluice_source_events runtime_source_events(void)
{
    return (struct sluice_source_events){.on_link = on_link,
                                         .on_delivery = on_delivery,
                                         .on_pull = on_pull,
                                         .on_settled = on_settled,
                                         .on_consumer = on_consumer,
                                         .on_stopped = on_stopped,
                                         .on_alive = on_alive};
}
