/* SPDX-License-Identifier: Apache-2.0 */
/* Asking for messages: soon when there is room and nothing holds it back, INV-7; and not at once
 * when the server has just ended a pull for a reason that will not have passed, INV-15. */
#include "sim/check.h"

#include "sim/world.h"

#define IDLE_MOST_MS   2000 /* with room, and no pull: a back-off of a second, and some more */
#define EXPIRY_MS      1000 /* after its expiry, what a pull has asked for is not expected any more */
#define QUICK_MS       50   /* so soon, and without a message: the next would end like it */
#define BACKOFF_MS     50   /* grows … */
#define BACKOFF_MAX_MS 1000
#define ABSENT_MS      1000 /* before a missing consumer is asked again */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static struct sim_asked_pull *find(struct sim_intake *in, uint32_t id)
{
    for (uint32_t i = 0; i < in->pulls_count; i++) {
        if (in->pulls[i].id == id) {
            return &in->pulls[i];
        }
    }
    return NULL;
}

static void forget(struct sim_intake *in, struct sim_asked_pull *p)
{
    *p = in->pulls[--in->pulls_count];
}

static void back_off(struct sim_intake *in, int64_t mono_ms)
{
    int64_t delay_ms = BACKOFF_MS;
    for (uint32_t i = 0; i < in->ends && delay_ms < BACKOFF_MAX_MS; i++) {
        delay_ms *= 2;
    }
    in->ends++;
    delay_ms = delay_ms < BACKOFF_MAX_MS ? delay_ms : BACKOFF_MAX_MS;
    in->not_before_ms = larger(in->not_before_ms, mono_ms + delay_ms / 2);
}

static void see_status(struct sim_intake *in, const struct sluice_event *ev)
{
    struct sim_asked_pull *p = find(in, ev->pull.pull);
    if (p == NULL) {
        return;
    }
    if (ev->pull.status == SLUICE_PULL_ALIVE) {
        in->ends = 0;
        return;
    }
    if (!p->is_abandoned) {
        int is_quick = !p->was_heard && ev->mono_ms < p->asked_ms + QUICK_MS;
        if (ev->pull.status != SLUICE_PULL_ENDED || is_quick) {
            back_off(in, ev->mono_ms);
        } else {
            in->ends = 0;
        }
    }
    forget(in, p);
}

static void see_message(const struct sim_world *w, struct sim_intake *in,
                        const struct sluice_event *ev)
{
    struct sim_asked_pull *p = find(in, ev->message.pull);
    in->ends = 0;
    if (ev->message.has_no_memory) { /* nor would the next one fit */
        in->not_before_ms = INT64_MIN;
        in->excused_ms = larger(in->excused_ms, ev->mono_ms + w->plan.engine.nak_delay_ms);
    }
    if (p != NULL) {
        p->was_heard = 1;
        if (--p->left == 0) {
            forget(in, p);
        }
    }
}

/* Until then it has to wait: for a rate limit, or because it was stopped. */
static int64_t held_until_ms(const struct sim_world *w, const struct sim_watch *watch)
{
    int64_t until_ms = larger(watch->intake.excused_ms, watch->intake.idle_ms);
    for (uint32_t i = 0; i < w->plan.engine.dependencies_count; i++) {
        until_ms = larger(until_ms, watch->breakers[i].limited_most_ms);
    }
    return until_ms;
}

void sim_judge_intake_event(struct sim_world *w, struct sim_watch *watch,
                            const struct sluice_event *ev)
{
    struct sim_intake *in = &watch->intake;
    if (in->idle_ms != INT64_MAX) {
        int64_t until_ms = held_until_ms(w, watch);
        if (watch->frozen_ms >= in->idle_ms) {
            in->idle_ms = ev->mono_ms;
        } else if (ev->mono_ms > until_ms + IDLE_MOST_MS) {
            sim_judge_fail(w, SIM_RULE_LIVENESS,
                           "%u in flight of %u, and nothing asked for in "
                           "%lld ms",
                           watch->live, w->plan.engine.max_in_flight,
                           (long long)(ev->mono_ms - until_ms));
        }
    }
    switch (ev->kind) {
    case SLUICE_EV_CONNECTED:
        in->pulls_count = 0; /* those of the connection before bring nothing any more */
        in->not_before_ms = INT64_MIN;
        in->ends = 0;
        break;
    case SLUICE_EV_MESSAGE:
        see_message(w, in, ev);
        break;
    case SLUICE_EV_PULL:
        see_status(in, ev);
        break;
    case SLUICE_EV_CONSUMER:
        if (ev->consumer == SLUICE_CONSUMER_MISSING || ev->consumer == SLUICE_CONSUMER_UNKNOWN) {
            in->excused_ms = larger(in->excused_ms, ev->mono_ms + ABSENT_MS);
        }
        break;
    default:
        break;
    }
}

void sim_judge_intake(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                      const struct sluice_effect *fx)
{
    struct sim_intake *in = &watch->intake;
    if (fx->kind == SLUICE_FX_ABANDON) {
        struct sim_asked_pull *p = find(in, fx->pull.pull);
        if (p != NULL) {
            p->is_abandoned = 1;
        }
        return;
    }
    if (ev->mono_ms < in->not_before_ms) {
        sim_judge_fail(w, SIM_RULE_RETRY, "a pull %lld ms too early after %u that failed",
                       (long long)(in->not_before_ms - ev->mono_ms), in->ends);
    }
    in->idle_ms = INT64_MAX;
    if (in->pulls_count < SIM_WATCHED_PULLS) {
        in->pulls[in->pulls_count++] =
            (struct sim_asked_pull){.id = fx->pull.pull,
                                    .left = fx->pull.batch,
                                    .asked_ms = ev->mono_ms,
                                    .expires_ms = ev->mono_ms + fx->pull.expires_ms};
    }
}

/* Is there room, and no pull that could fill it? A quarter of the places is worth one more. */
static int has_room(const struct sim_world *w, const struct sim_watch *watch)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    const struct sim_intake *in = &watch->intake;
    uint32_t taken = watch->live, open_count = 0;
    for (uint32_t i = 0; i < in->pulls_count; i++) {
        taken += in->pulls[i].left;
        open_count += !in->pulls[i].is_abandoned;
    }
    if (taken >= c->max_in_flight || (c->max_bytes > 0 && taken > 0) ||
        open_count >= SLUICE_PULLS_MAX || in->pulls_count > 2 * SLUICE_PULLS_MAX) {
        return 0;
    }
    return open_count == 0 || c->max_in_flight - taken >= (c->max_in_flight + 3) / 4;
}

static int is_held_back(const struct sim_world *w, const struct sim_watch *watch)
{
    for (uint32_t i = 0; i < w->plan.engine.dependencies_count; i++) {
        if (watch->breakers[i].state != SLUICE_BREAKER_CLOSED) {
            return 1;
        }
    }
    return !watch->is_connected || watch->is_draining;
}

void sim_judge_intake_after(struct sim_world *w, struct sim_watch *watch,
                            const struct sluice_event *ev)
{
    struct sim_intake *in = &watch->intake;
    for (uint32_t i = in->pulls_count; i > 0; i--) {
        if (ev->mono_ms >= in->pulls[i - 1].expires_ms + EXPIRY_MS) {
            forget(in, &in->pulls[i - 1]);
        }
    }
    if (is_held_back(w, watch) || !has_room(w, watch)) {
        in->idle_ms = INT64_MAX;
    } else if (in->idle_ms == INT64_MAX) {
        in->idle_ms = ev->mono_ms;
    }
}
