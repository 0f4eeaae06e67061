/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the server for exactly the free slots, and noticing when an open pull has gone silent. */
#include "core/engine_state.h"

#define EXPIRY_SLACK_MS 1000 /* after an expiry nothing is on its way any more */
#define BEAT_SLACK_MS   500
#define BACKOFF_BASE_MS 50
#define BACKOFF_MAX_MS  1000 /* after an election the consumer must not wait for us */
#define QUICK_END_MS                                                                               \
    100 /* a pull that ends sooner without a message is no reason to ask at once again */
#define CLOCK_MARGIN_MS                                                                            \
    300000 /* how far our clock and the server's may differ; costs a few journal reads more */
#define REFILL_SHARE 8u /* ask again when this part of the slots is free */
/* A server that has just come back may lose a pull, and may hand out what it has only when another
 * pull comes (nats-server 2.9.10: both, seen for up to 11 s). So pulls are short for a while. */
#define SHORT_PULL_MS  1000
#define SHORT_PULLS_MS 15000

static struct pull *pull_find(struct sluice_engine *e, uint32_t id)
{
    for (uint32_t i = 0; i < PULL_ROWS; i++) {
        if (e->pulls[i].state != PULL_FREE && e->pulls[i].id == id) {
            return &e->pulls[i];
        }
    }
    return NULL;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void shorten_pulls(struct sluice_engine *e)
{
    e->pull_short_until_ms = e->now_ms + SHORT_PULLS_MS;
}

static void back_off(struct sluice_engine *e)
{
    uint32_t failures = e->pull_failures < 16 ? ++e->pull_failures : 16;
    int64_t until_ms =
        e->now_ms + sluice_retry_delay_ms(BACKOFF_BASE_MS, BACKOFF_MAX_MS, failures, &e->prng);
    if (until_ms > e->pull_not_before_ms) { /* a delivery may have made the row of failures anew */
        e->pull_not_before_ms = until_ms;
    }
    e->pull_backed_off_ms = e->now_ms;
}

static void pull_free(struct sluice_engine *e, struct pull *p)
{
    if (p->state == PULL_OPEN) {
        e->metrics.pulls_open--;
    }
    e->metrics.pull_credit -= p->remaining;
    p->state = PULL_FREE;
}

/* Give a pull up. What it may still bring keeps its slots until it has expired on the server. */
static void abandon(struct sluice_engine *e, struct pull *p)
{
    fx_emit(e, SLUICE_FX_ABANDON, NULL)->pull = (struct sluice_fx_pull){.pull = p->id};
    p->state = PULL_ABANDONED;
    e->metrics.pulls_open--;
}

/* A new connection has other inboxes, and all that came over the one before has been handed over:
 * earlier pulls bring nothing any more. */
static void forget_all(struct sluice_engine *e)
{
    for (uint32_t i = 0; i < PULL_ROWS; i++) {
        if (e->pulls[i].state == PULL_OPEN) {
            abandon(e, &e->pulls[i]);
        }
        if (e->pulls[i].state != PULL_FREE) {
            pull_free(e, &e->pulls[i]);
        }
    }
}

void pull_on_connected(struct sluice_engine *e, const struct sluice_ev_connected *ev)
{
    forget_all(e);
    shorten_pulls(e);
    if (e->was_connected || ev->journal_in_use) {
        e->read_before_ms = e->wall_ms + CLOCK_MARGIN_MS;
    }
    e->is_connected = 1;
    e->was_connected = 1;
    e->pull_failures = 0;
    e->journal_failures = 0;
    e->pull_not_before_ms = e->now_ms;
}

void pull_on_disconnected(struct sluice_engine *e)
{
    e->is_connected = 0;
}

/* Another consumer counts deliveries from 1 again: the count says no more whether the journal knows
 * a message. */
void pull_on_consumer(struct sluice_engine *e, enum sluice_consumer state)
{
    if (state == SLUICE_CONSUMER_MISSING || state == SLUICE_CONSUMER_ANEW) {
        e->read_before_ms = e->wall_ms + CLOCK_MARGIN_MS;
        lease_orphan_all(e);
    }
    if (state == SLUICE_CONSUMER_MISSING || state == SLUICE_CONSUMER_UNKNOWN) {
        e->pull_not_before_ms = e->now_ms + 1000; /* the shell decides whether to go on */
    }
}

void pull_on_delivery(struct sluice_engine *e, uint32_t id, uint32_t size)
{
    struct pull *p = pull_find(e, id);
    if (p == NULL) {
        return;
    }
    p->beat_ms = e->now_ms;
    p->received++;
    e->pull_failures = 0;
    p->bytes -= size < p->bytes ? size : p->bytes;
    e->metrics.pull_credit--;
    if (--p->remaining == 0) {
        pull_free(e, p);
    }
}

void pull_on_status(struct sluice_engine *e, const struct sluice_ev_pull *ev)
{
    struct pull *p = pull_find(e, ev->pull);
    if (p == NULL) {
        return;
    }
    if (ev->status == SLUICE_PULL_ALIVE) {
        p->beat_ms = e->now_ms;
        e->pull_failures = 0;
        return;
    }
    int is_quick = e->now_ms - p->asked_ms < QUICK_END_MS && p->received == 0;
    if (p->state == PULL_OPEN) {
        if (ev->status == SLUICE_PULL_UNKNOWN) {
            e->metrics.pull_status_unknown++;
        }
        if (ev->status != SLUICE_PULL_ENDED) {
            /* A moved or deleted consumer: what is still on its way must not be taken for a new
             * pull's. */
            abandon(e, p);
            p->state = PULL_FREE;
            e->metrics.pull_credit -= p->remaining;
            back_off(e);
            shorten_pulls(e);
            if (ev->status == SLUICE_PULL_GONE) {
                (void)fx_emit(e, SLUICE_FX_CHECK, NULL);
            }
            return;
        }
        if (is_quick) {
            back_off(e);
        } else {
            e->pull_failures = 0;
        }
    }
    pull_free(e, p);
}

void pull_stop(struct sluice_engine *e)
{
    for (uint32_t i = 0; i < PULL_ROWS; i++) {
        if (e->pulls[i].state != PULL_FREE) {
            pull_free(e, &e->pulls[i]);
        }
    }
    (void)fx_emit(e, SLUICE_FX_STOP, NULL);
}

/* ---- How much may be asked for ---- */

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Messages that the dependencies can take now; UINT32_MAX: any number. */
static uint32_t allowance(const struct sluice_engine *e)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < e->config.dependencies_count; i++) {
        const struct dependency *d = &e->dependencies[i];
        if (e->now_ms < d->paused_until_ms) {
            return 0;
        }
        least = smaller(least, sluice_breaker_allowance(&d->breaker, e->now_ms));
    }
    return least;
}

int pull_is_held_back(const struct sluice_engine *e, struct sluice_engine_pause *out)
{
    int is_held_back = 0;
    for (uint32_t i = 0; i < e->config.dependencies_count; i++) {
        const struct dependency *d = &e->dependencies[i];
        int is_limited = e->now_ms < d->paused_until_ms;
        if (!is_limited && d->breaker.state == SLUICE_BREAKER_CLOSED) {
            continue;
        }
        int64_t until = is_limited ? d->paused_until_ms : sluice_breaker_trial_at_ms(&d->breaker);
        if (!is_held_back || until > out->until_ms) {
            *out = (struct sluice_engine_pause){i, is_limited, until};
        }
        is_held_back = 1;
    }
    return is_held_back;
}

static uint32_t credit(const struct sluice_engine *e)
{
    uint32_t taken = e->metrics.in_flight + e->metrics.pull_credit;
    uint32_t slots = taken < e->config.max_in_flight ? e->config.max_in_flight - taken : 0;
    uint32_t allowed = allowance(e);
    if (allowed != UINT32_MAX) { /* trial slots only, and those in flight go first */
        slots = smaller(slots, allowed > taken ? allowed - taken : 0);
    }
    return slots;
}

/* Bytes for one more pull; 0: wait. A quarter of the budget each, so that one pull does not block
 * the others. */
static uint64_t bytes_for_pull(const struct sluice_engine *e)
{
    if (e->config.max_bytes == 0) {
        return UINT32_MAX;
    }
    uint64_t taken = e->metrics.bytes_in_flight;
    for (uint32_t i = 0; i < PULL_ROWS; i++) {
        taken += e->pulls[i].state == PULL_FREE ? 0 : e->pulls[i].bytes;
    }
    uint64_t least = e->config.message_size_max;
    uint64_t share = e->config.max_bytes / SLUICE_PULLS_MAX;
    uint64_t want = share > least ? share : least;
    uint64_t left = taken < e->config.max_bytes ? e->config.max_bytes - taken : 0;
    if (left < least) { /* alone, a message may always come */
        return taken == 0 ? least : 0;
    }
    return want < left ? want : left;
}

static int ask(struct sluice_engine *e)
{
    uint32_t batch = credit(e);
    uint32_t refill = e->metrics.pulls_open == 0 ? 1 : e->config.max_in_flight / REFILL_SHARE;
    if (batch == 0 || batch < refill || e->metrics.pulls_open >= SLUICE_PULLS_MAX) {
        return 0;
    }
    uint64_t bytes = bytes_for_pull(e);
    struct pull *p = NULL;
    for (uint32_t i = 0; i < PULL_ROWS && p == NULL; i++) {
        p = e->pulls[i].state == PULL_FREE ? &e->pulls[i] : NULL;
    }
    if (p == NULL || bytes == 0) {
        return 0;
    }
    int64_t term_ms = e->now_ms < e->pull_short_until_ms
                          ? lesser(SHORT_PULL_MS, e->config.pull_expires_ms)
                          : e->config.pull_expires_ms;
    e->pull_ids = e->pull_ids % UINT32_MAX + 1;
    *p = (struct pull){.state = PULL_OPEN,
                       .id = e->pull_ids,
                       .remaining = batch,
                       .bytes = e->config.max_bytes == 0 ? 0 : bytes,
                       .asked_ms = e->now_ms,
                       .beat_ms = e->now_ms,
                       .heartbeat_ms = lesser(e->config.pull_heartbeat_ms, term_ms / 2),
                       .expires_ms = e->now_ms + term_ms + EXPIRY_SLACK_MS};
    e->pull_wake_ms = lesser(e->pull_wake_ms, e->now_ms + 2 * p->heartbeat_ms + BEAT_SLACK_MS);
    e->metrics.pulls++;
    e->metrics.pulls_open++;
    e->metrics.pull_credit += batch;
    fx_emit(e, SLUICE_FX_PULL, NULL)->pull =
        (struct sluice_fx_pull){.pull = p->id,
                                .batch = batch,
                                .max_bytes = e->config.max_bytes == 0 ? 0 : (uint32_t)bytes,
                                .expires_ms = (uint32_t)term_ms,
                                .heartbeat_ms = (uint32_t)p->heartbeat_ms};
    return 1;
}

static void stalled(struct sluice_engine *e, struct pull *p)
{
    e->metrics.pulls_stalled++;
    abandon(e, p);
    shorten_pulls(e);
    if (e->is_connected) {
        if (p->asked_ms >= e->pull_backed_off_ms) { /* or it is part of a silence that is known */
            back_off(e);
        }
        (void)fx_emit(e, SLUICE_FX_CHECK, NULL);
    }
}

static void pull_watch(struct sluice_engine *e, struct pull *p)
{
    if (e->now_ms >= p->expires_ms) {
        pull_free(e, p);
        return;
    }
    int64_t silent_ms = p->beat_ms + 2 * p->heartbeat_ms + BEAT_SLACK_MS;
    if (p->state == PULL_OPEN && e->now_ms >= silent_ms) {
        stalled(e, p);
    }
    int64_t wake = p->state == PULL_OPEN && silent_ms < p->expires_ms ? silent_ms : p->expires_ms;
    if (wake < e->pull_wake_ms) {
        e->pull_wake_ms = wake;
    }
}

void pull_pump(struct sluice_engine *e)
{
    if (e->is_draining) {
        e->pull_wake_ms = NO_TIME;
        return;
    }
    if (e->now_ms >= e->pull_wake_ms) {
        e->pull_wake_ms = NO_TIME;
        for (uint32_t i = 0; i < PULL_ROWS; i++) {
            if (e->pulls[i].state != PULL_FREE) {
                pull_watch(e, &e->pulls[i]);
            }
        }
    }
    if (!e->is_connected) {
        return;
    }
    if (e->now_ms < e->pull_not_before_ms) {
        if (e->pull_not_before_ms < e->pull_wake_ms) {
            e->pull_wake_ms = e->pull_not_before_ms;
        }
        return;
    }
    while (ask(e)) {
    }
}
