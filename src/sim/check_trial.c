/* SPDX-License-Identifier: Apache-2.0 */
/* Whose trial it is, while a dependency takes a few calls only: those that have not failed go
 * first, so that what breaks the dependency does not use up its trials; then the oldest. INV-15. */
#include "sim/check.h"

#include "sim/world.h"

static uint32_t failures_of(const struct sim_world *w, const struct sim_attempt *a)
{
    if (!w->plan.engine.journal) {
        return a->deliveries - 1;
    }
    return a->was_loaded ? a->base_failures : 0;
}

static int goes_before(const struct sim_world *w, const struct sim_attempt *x,
                       const struct sim_attempt *y)
{
    int is_new = failures_of(w, x) == 0;
    return is_new != (failures_of(w, y) == 0) ? is_new : x->order < y->order;
}

/* Nothing of it is under way that could keep it from going on, or has ended it already. */
static int is_idle(const struct sim_world *w, const struct sim_attempt *a, int64_t mono_ms)
{
    int is_over = a->verdict_verb != 0 || a->failed_ms != 0 || a->was_rebound ||
                  a->may_start_over || sim_judge_is_at_end(w, a, mono_ms) ||
                  mono_ms >= a->delivered_ms + w->plan.engine.handler_timeout_ms;
    int is_busy = a->run_owed || a->load_owed || a->record_owed || a->store_owed || a->bury_owed ||
                  a->publish_owed != 0;
    for (uint32_t i = 0; i < a->steps_count; i++) {
        is_busy |= a->steps[i].is_keep_owed || a->steps[i].state == SIM_SEEN_RUNNING;
    }
    return a->has_verdict && !is_over && !is_busy;
}

/* For certain: a step that waits for the end of a pause may not be due yet. */
static int is_waiting(const struct sim_attempt *a, uint8_t dependency, int is_paused)
{
    if (a->verdict_kind == SLUICE_VERDICT_DONE) {
        int is_stored = a->documents_count == 0 || a->was_stored;
        return dependency == (is_stored ? SLUICE_DEP_PUBLISH : SLUICE_DEP_STORE);
    }
    for (uint32_t i = 0; i < a->steps_count; i++) {
        const struct sim_seen *s = &a->steps[i];
        if (s->state == SIM_SEEN_ASKED && s->dependency == dependency && !s->was_started &&
            !is_paused) {
            return a->verdict_kind == SLUICE_VERDICT_SUSPENDED;
        }
    }
    return 0;
}

void sim_judge_trial(struct sim_world *w, const struct sim_watch *watch,
                     const struct sim_attempt *a, uint8_t dependency, const struct sluice_event *ev)
{
    const struct sim_watched_breaker *b = &watch->breakers[dependency];
    /* What comes at the moment of a free trial may take it: only those who wait have an order. */
    int is_its_own = ev->ticket.generation == a->generation &&
                     ev->ticket.slot == (uint32_t)(a - watch->attempts);
    int has_come = is_its_own || !is_idle(w, a, ev->mono_ms);
    int is_paused = ev->mono_ms <= b->limited_most_ms + SIM_LIMIT_SPREAD_MS;
    if (b->state == SLUICE_BREAKER_CLOSED || has_come || watch->is_draining || watch->was_hungry) {
        return;
    }
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        const struct sim_attempt *other = &watch->attempts[i];
        if (other != a && other->generation != 0 && is_idle(w, other, ev->mono_ms) &&
            is_waiting(other, dependency, is_paused) && goes_before(w, other, a)) {
            sim_judge_fail(w, SIM_RULE_RETRY,
                           "message %u (failures %u) has a trial of %s before message %u "
                           "(failures %u), which waits for one",
                           a->sequence, failures_of(w, a),
                           w->plan.engine.dependencies[dependency].name, other->sequence,
                           failures_of(w, other));
            return;
        }
    }
}
