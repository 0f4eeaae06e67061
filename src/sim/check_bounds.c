/* SPDX-License-Identifier: Apache-2.0 */
/* Never more in flight than allowed, counting what was asked for and has not arrived: INV-6. */
#include "sim/check.h"

#include "sim/world.h"

#define SILENCE_SLACK_MS 1000
/* nats-server 2.9.10, just come back, may lose a pull, and hands out what it has only when another
 * one comes: seen for so long. So whoever has connected asks again soon. */
#define LOST_PULLS_MS 11000
#define SHORT_PULL_MS 2000

static struct sim_watched_pull *find(struct sim_watch *watch, uint32_t id)
{
    for (uint32_t i = 0; i < watch->pulls_count; i++) {
        if (id != 0 && watch->pulls[i].id == id) {
            return &watch->pulls[i];
        }
    }
    return NULL;
}

/* Forget those that are over: ended, complete, or expired so long ago that nobody asks. */
static void tidy(struct sim_watch *watch, int64_t mono_ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < watch->pulls_count; i++) {
        const struct sim_watched_pull *p = &watch->pulls[i];
        if (!p->is_closed && p->received < p->batch && mono_ms < p->expires_ms + 60000) {
            watch->pulls[kept++] = *p;
        }
    }
    watch->pulls_count = kept;
}

/* Can the server still deliver for it? */
static int is_open(const struct sim_watched_pull *p, int64_t mono_ms)
{
    return p->id != 0 && !p->is_closed && p->received < p->batch && mono_ms < p->expires_ms;
}

/* While a dependency is away nothing new is asked for: nothing until its breaker may try again or
 * its rate limit has passed, and then no more, with what is in flight, than may be tried. */
static void judge_pause(struct sim_world *w, const struct sim_watch *watch,
                        const struct sluice_event *ev, uint32_t credit)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    for (uint32_t i = 0; i < c->dependencies_count; i++) {
        const struct sim_watched_breaker *b = &watch->breakers[i];
        if (sim_judge_is_shut(w, watch, i)) {
            sim_judge_fail(w, SIM_RULE_RETRY, "a pull while the breaker of %s is open",
                           c->dependencies[i].name);
        } else if (ev->mono_ms < b->limited_until_ms) {
            sim_judge_fail(w, SIM_RULE_RETRY, "a pull %lld ms before the Retry-After of %s",
                           (long long)(b->limited_until_ms - ev->mono_ms), c->dependencies[i].name);
        } else if (b->state != SLUICE_BREAKER_CLOSED &&
                   watch->live + credit > c->dependencies[i].half_open_max) {
            sim_judge_fail(w, SIM_RULE_RETRY,
                           "%u in flight and %u asked for, while %s takes %u trials", watch->live,
                           credit, c->dependencies[i].name, c->dependencies[i].half_open_max);
        }
    }
}

void sim_judge_pull(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                    const struct sluice_fx_pull *fx)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    uint32_t credit = fx->batch, open_count = 1;
    uint64_t bytes = fx->max_bytes;
    tidy(watch, ev->mono_ms);
    for (uint32_t i = 0; i < watch->pulls_count; i++) {
        const struct sim_watched_pull *p = &watch->pulls[i];
        if (is_open(p, ev->mono_ms)) {
            credit += p->batch - p->received;
            bytes += p->bytes_left;
            open_count += !p->is_abandoned;
        }
    }
    if (watch->is_draining) {
        sim_judge_fail(w, SIM_RULE_DRAIN, "a pull after DRAIN");
    } else if (fx->batch == 0 || find(watch, fx->pull) != NULL || fx->expires_ms == 0 ||
               2 * fx->heartbeat_ms > fx->expires_ms) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "pull %u: batch %u, expires %u, heartbeat %u",
                       fx->pull, fx->batch, fx->expires_ms, fx->heartbeat_ms);
    } else if (watch->live + credit > c->max_in_flight) {
        sim_judge_fail(w, SIM_RULE_BOUNDS, "%u in flight and %u asked for, with %u allowed",
                       watch->live, credit, c->max_in_flight);
    } else if (open_count > SLUICE_PULLS_MAX) {
        sim_judge_fail(w, SIM_RULE_BOUNDS, "%u pulls open", open_count);
    } else if (c->max_bytes > 0 &&
               (fx->max_bytes < c->message_size_max || watch->live_bytes + bytes > c->max_bytes)) {
        sim_judge_fail(w, SIM_RULE_BOUNDS,
                       "%llu bytes in flight and %llu asked for, with %llu allowed",
                       (unsigned long long)watch->live_bytes, (unsigned long long)bytes,
                       (unsigned long long)c->max_bytes);
    }
    judge_pause(w, watch, ev, credit);
    if (fx->expires_ms > SHORT_PULL_MS && ev->mono_ms < watch->connected_ms + LOST_PULLS_MS) {
        sim_judge_fail(w, SIM_RULE_LIVENESS,
                       "a pull of %u ms, %lld ms after a reconnect, in which it may be lost",
                       fx->expires_ms, (long long)(ev->mono_ms - watch->connected_ms));
    }
    if (watch->pulls_count == SIM_WATCHED_PULLS) {
        sim_judge_fail(w, SIM_RULE_BOUNDS, "%u pulls are kept", watch->pulls_count);
        return;
    }
    watch->pulls[watch->pulls_count++] =
        (struct sim_watched_pull){.id = fx->pull,
                                  .batch = fx->batch,
                                  .bytes_left = fx->max_bytes,
                                  .heard_ms = ev->mono_ms,
                                  .heartbeat_ms = fx->heartbeat_ms,
                                  .expires_ms = ev->mono_ms + fx->expires_ms};
}

void sim_judge_abandon(struct sim_world *w, struct sim_watch *watch, uint32_t pull)
{
    struct sim_watched_pull *p = find(watch, pull);
    if (p == NULL || p->is_abandoned) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "ABANDON of pull %u, which is not open", pull);
        return;
    }
    p->is_abandoned = 1;
    watch->must_check |= watch->is_connected && !watch->is_draining && !p->is_closed; /* silence */
}

void sim_judge_pull_event(struct sim_world *w, struct sim_watch *watch,
                          const struct sluice_event *ev)
{
    (void)w;
    if (ev->kind == SLUICE_EV_CONNECTED || ev->kind == SLUICE_EV_DISCONNECTED) {
        for (uint32_t i = 0; i < watch->pulls_count; i++) {
            watch->pulls[i].is_closed = 1;
        }
        return;
    }
    uint32_t id = ev->kind == SLUICE_EV_MESSAGE ? ev->message.pull : ev->pull.pull;
    struct sim_watched_pull *p = find(watch, id);
    if (p == NULL) {
        return;
    }
    p->heard_ms = ev->mono_ms;
    if (ev->kind == SLUICE_EV_PULL) {
        watch->must_check = ev->pull.status == SLUICE_PULL_GONE && !p->is_abandoned &&
                            is_open(p, ev->mono_ms) && !watch->is_draining;
        p->is_closed |= ev->pull.status != SLUICE_PULL_ALIVE;
        return;
    }
    p->received++;
    p->bytes_left -= ev->message.size < p->bytes_left ? ev->message.size : p->bytes_left;
}

/* Two missed heartbeats: a pull that the server has lost must not be waited for. */
static void judge_silence(struct sim_world *w, const struct sim_watch *watch,
                          const struct sluice_event *ev)
{
    if (!watch->is_connected || watch->is_draining) {
        return;
    }
    for (uint32_t i = 0; i < watch->pulls_count; i++) {
        const struct sim_watched_pull *p = &watch->pulls[i];
        if (!p->is_abandoned && is_open(p, ev->mono_ms) &&
            ev->mono_ms > p->heard_ms + 2 * p->heartbeat_ms + SILENCE_SLACK_MS) {
            sim_judge_fail(w, SIM_RULE_LIVENESS, "pull %u has been silent for %lld ms", p->id,
                           (long long)(ev->mono_ms - p->heard_ms));
            return;
        }
    }
}

/* A consumer that is gone says so (2.12) or is silent (2.9); nobody would ever find out by asking
 * for more. So whoever is told, or gives a pull up for its silence, looks whether it is there. */
static void judge_check(struct sim_world *w, struct sim_watch *watch)
{
    if (watch->must_check && !watch->has_checked) {
        sim_judge_fail(w, SIM_RULE_LIVENESS,
                       "a pull met no consumer, and nobody looks whether it is there");
    }
    watch->must_check = 0;
}

void sim_judge_bounds(struct sim_world *w, struct sim_watch *watch, const struct sim_process *p,
                      const struct sluice_event *ev)
{
    const struct sluice_engine_metrics *m = sluice_engine_metrics(p->engine);
    judge_silence(w, watch, ev);
    judge_check(w, watch);
    if (watch->live > w->plan.engine.max_in_flight) {
        sim_judge_fail(w, SIM_RULE_BOUNDS, "%u in flight, with %u allowed", watch->live,
                       w->plan.engine.max_in_flight);
    } else if (!w->judge.has_failed &&
               (m->in_flight != watch->live || m->bytes_in_flight != watch->live_bytes)) {
        sim_judge_fail(w, SIM_RULE_BOUNDS,
                       "the engine counts %u in flight with %llu bytes, it holds %u with %llu",
                       m->in_flight, (unsigned long long)m->bytes_in_flight, watch->live,
                       (unsigned long long)watch->live_bytes);
    }
}
