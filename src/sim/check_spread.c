/* SPDX-License-Identifier: Apache-2.0 */
/* Jitter: what waits for the same moment does not come as one burst. INV-15; of renewals INV-5.
 *
 * A time is drawn in the engine and seen when it comes. Those that come first say nothing of the
 * others, so the draws to be looked at are chosen when they are made. */
#include "sim/check.h"

#include "sim/world.h"

#define PARTS 8 /* of the range of a draw */
/* A shorter range is not worth a look. */
#define RANGE_LEAST_MS 32

/* So many draws meet at least so many parts of their range: by chance they miss that once in 10^8.
 */
static const struct {
    uint32_t count;
    int least;
    enum sim_rule rule;
    const char *name;
} kinds[] = {
    [SIM_SPREAD_NAKS] = {16, 3, SIM_RULE_RETRY, "NAK delays"},
    [SIM_SPREAD_LIMITED] = {10, 2, SIM_RULE_RETRY, "calls after a rate limit"},
    [SIM_SPREAD_RENEWALS] = {16, 3, SIM_RULE_LEASE, "renewals"},
};
_Static_assert(sizeof kinds / sizeof kinds[0] == SIM_SPREAD_COUNT, "a row for each");

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A draw was made, of which `at_ms` will tell; one that has not come by its end is given up. */
static void expect(struct sim_spread *spread, enum sim_spread_kind kind, struct sim_draw draw,
                   int64_t mono_ms)
{
    for (uint32_t i = 0; i < kinds[kind].count; i++) {
        struct sim_draw *place = &spread->draws[i];
        if (!place->is_open && place->part != 0) {
            continue;
        }
        if (!place->is_open || place->high_ms < mono_ms) {
            *place = draw;
            place->is_open = 1;
            return;
        }
    }
}

static void judge(struct sim_world *w, struct sim_spread *spread, enum sim_spread_kind kind)
{
    uint32_t met = 0;
    int count = 0;
    for (uint32_t i = 0; i < kinds[kind].count; i++) {
        met |= spread->draws[i].part;
        if (spread->draws[i].is_open || spread->draws[i].part == 0) {
            return;
        }
    }
    for (int i = 0; i < PARTS; i++) {
        count += (int)(met >> i & 1u);
    }
    if (count < kinds[kind].least) {
        sim_judge_fail(w, kinds[kind].rule, "%u %s with no jitter to speak of", kinds[kind].count,
                       kinds[kind].name);
    }
    *spread = (struct sim_spread){.draws = {{.part = 0}}};
}

/* It has come, or something else has decided when. */
static void come(struct sim_world *w, struct sim_spread *spread, enum sim_spread_kind kind,
                 struct sim_draw draw, int64_t at_ms, int is_clear)
{
    for (uint32_t i = 0; i < kinds[kind].count; i++) {
        struct sim_draw *d = &spread->draws[i];
        if (!d->is_open || d->slot != draw.slot || d->step != draw.step ||
            d->generation != draw.generation || d->low_ms != draw.low_ms) {
            continue;
        }
        d->is_open = 0;
        if (is_clear && at_ms >= d->low_ms && at_ms <= d->high_ms) {
            int64_t range_ms = d->high_ms - d->low_ms + 1;
            d->part = (uint8_t)(1u << ((at_ms - d->low_ms) * PARTS / range_ms));
            judge(w, spread, kind);
        }
        return;
    }
}

static struct sim_spread *spread_of(struct sim_world *w, const struct sim_watch *watch,
                                    enum sim_spread_kind kind)
{
    return &w->judge.spreads[watch - w->judge.watches][kind];
}

void sim_judge_spread(struct sim_world *w, const struct sim_watch *watch, int64_t delay_ms,
                      int64_t low_ms, int64_t high_ms)
{
    struct sim_spread *spread = spread_of(w, watch, SIM_SPREAD_NAKS);
    struct sim_draw draw = {.low_ms = low_ms, .high_ms = high_ms};
    if (high_ms - low_ms >= RANGE_LEAST_MS) {
        expect(spread, SIM_SPREAD_NAKS, draw, low_ms);
        come(w, spread, SIM_SPREAD_NAKS, draw, delay_ms, 1);
    }
}

static struct sim_draw draw_of(const struct sim_watch *watch, const struct sim_attempt *a)
{
    return (struct sim_draw){.slot = (uint16_t)(a - watch->attempts), .generation = a->generation};
}

/* ---- After a rate limit */

static int is_certain_to_wait(const struct sim_world *w, const struct sim_watch *watch,
                              const struct sim_attempt *a, const struct sim_watched_breaker *b)
{
    return !a->was_rebound && !watch->is_aborted &&
           b->limited_most_ms + SIM_LIMIT_SPREAD_MS <
               a->delivered_ms + w->plan.engine.handler_timeout_ms;
}

/* The end of the pause, from `since_ms` on, is what step `s` waits for now. */
static void wait_for_end(struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a, struct sim_seen *s,
                         const struct sluice_event *ev, int64_t since_ms)
{
    const struct sim_watched_breaker *b = &watch->breakers[s->dependency];
    struct sim_draw draw = draw_of(watch, a);
    draw.step = (uint8_t)(s - a->steps);
    draw.low_ms = b->limited_until_ms;
    draw.high_ms = draw.low_ms + lesser(draw.low_ms - since_ms, SIM_LIMIT_SPREAD_MS);
    /* Only where the server has said when, and no other call's limit is a longer one. */
    s->limit_ms = 0;
    if (is_certain_to_wait(w, watch, a, b) && b->state == SLUICE_BREAKER_CLOSED &&
        b->limited_most_ms == b->limited_until_ms && draw.high_ms - draw.low_ms >= RANGE_LEAST_MS) {
        s->limit_ms = draw.low_ms;
        s->limited_ms = ev->mono_ms;
        expect(spread_of(w, watch, SIM_SPREAD_LIMITED), SIM_SPREAD_LIMITED, draw, ev->mono_ms);
    }
}

/* The pause has become longer: who waited for its earlier end waits on. When that is not far
 * behind, how long each may be put off is not known. */
static void wait_on(struct sim_world *w, struct sim_watch *watch, uint8_t dependency,
                    const struct sluice_event *ev)
{
    const struct sim_watched_breaker *b = &watch->breakers[dependency];
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        struct sim_attempt *a = &watch->attempts[i];
        for (uint32_t k = 0; a->generation != 0 && k < a->steps_count; k++) {
            struct sim_seen *s = &a->steps[k];
            int64_t latest_ms = s->limit_ms + SIM_LIMIT_SPREAD_MS;
            if (s->state != SIM_SEEN_ASKED || s->dependency != dependency || s->limit_ms == 0 ||
                s->limit_ms >= b->limited_until_ms) {
                continue;
            }
            if (b->limited_until_ms - latest_ms >= SIM_LIMIT_SPREAD_MS) {
                wait_for_end(w, watch, a, s, ev, latest_ms);
            } else {
                s->limit_ms = 0;
            }
        }
    }
}

void sim_judge_limited(struct sim_world *w, struct sim_watch *watch, const struct sim_attempt *a,
                       struct sim_seen *s, const struct sluice_event *ev)
{
    s->must_wait = (uint8_t)is_certain_to_wait(w, watch, a, &watch->breakers[s->dependency]);
    s->limit_ms = 0;
    wait_on(w, watch, s->dependency, ev);
    wait_for_end(w, watch, a, s, ev, ev->mono_ms);
}

void sim_judge_asked(struct sim_world *w, const struct sim_watch *watch,
                     const struct sim_attempt *a, struct sim_seen *s, const struct sluice_event *ev)
{
    if (s->dependency >= SLUICE_DEPENDENCIES_MAX) {
        return;
    }
    const struct sim_watched_breaker *b = &watch->breakers[s->dependency];
    s->period = b->period;
    if (ev->mono_ms < b->limited_until_ms) {
        wait_for_end(w, watch, a, s, ev, ev->mono_ms);
    }
}

/* Before its new start is counted. It may have waited for something else in the end: another limit,
 * a breaker, a stopped process. */
void sim_judge_unlimited(struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a, const struct sim_seen *s,
                         const struct sluice_event *ev)
{
    if (s->limit_ms == 0) {
        return;
    }
    const struct sim_watched_breaker *b = &watch->breakers[s->dependency];
    struct sim_draw draw = draw_of(watch, a);
    draw.step = (uint8_t)(s - a->steps);
    draw.low_ms = s->limit_ms;
    int is_clear = b->limited_most_ms - s->limit_ms < RANGE_LEAST_MS / PARTS &&
                   b->state == SLUICE_BREAKER_CLOSED && b->period == s->period &&
                   s->limited_ms > watch->frozen_ms && !a->was_rebound;
    come(w, spread_of(w, watch, SIM_SPREAD_LIMITED), SIM_SPREAD_LIMITED, draw, ev->mono_ms,
         is_clear);
}

/* ---- Renewals */

/* Leases that begin together are not renewed together, but within the last quarter of the third. */
static struct sim_draw renewal_of(const struct sim_world *w, const struct sim_watch *watch,
                                  const struct sim_attempt *a)
{
    int64_t third_ms = w->plan.engine.ack_wait_ms / 3;
    struct sim_draw draw = draw_of(watch, a);
    draw.high_ms = a->lease_end_ms - w->plan.engine.ack_wait_ms + third_ms;
    draw.low_ms = draw.high_ms - third_ms / 4;
    return draw;
}

void sim_judge_leased(struct sim_world *w, const struct sim_watch *watch,
                      const struct sim_attempt *a, const struct sluice_event *ev)
{
    struct sim_draw draw = renewal_of(w, watch, a);
    if (ev->mono_ms < draw.low_ms && draw.high_ms - draw.low_ms >= RANGE_LEAST_MS) {
        expect(spread_of(w, watch, SIM_SPREAD_RENEWALS), SIM_SPREAD_RENEWALS, draw, ev->mono_ms);
    }
}

void sim_judge_renewed(struct sim_world *w, const struct sim_watch *watch,
                       const struct sim_attempt *a, const struct sluice_event *ev)
{
    struct sim_draw draw = renewal_of(w, watch, a);
    int64_t base_ms = a->lease_end_ms - w->plan.engine.ack_wait_ms;
    int is_clear = a->renewed_ms <= base_ms && base_ms > watch->frozen_ms;
    come(w, spread_of(w, watch, SIM_SPREAD_RENEWALS), SIM_SPREAD_RENEWALS, draw, ev->mono_ms,
         is_clear);
}
