/* SPDX-License-Identifier: Apache-2.0 */
/* Failures: how they are counted, how long a message waits, when and why it is buried. */
#include "sim/check.h"

#include "sim/world.h"

/* A table of the judges' own, from the promises: a wrong flag in the engine's is a mistake like any
 * other. Written down and limited by max_deliver is what a message or its effects are to blame for
 * … */
#define BIT(name) (1u << SLUICE_FAILURE_##name)
#define COUNTING                                                                                   \
    (BIT(STEP) | BIT(HANDLER) | BIT(REJECTED) | BIT(STORE) | BIT(PUBLISH) | BIT(RATE_LIMITED) |    \
     BIT(TIMEOUT))
/* … and what happens around it is never held against it. */
#define OTHERS                                                                                     \
    (BIT(NONE) | BIT(NO_MEMORY) | BIT(DEPENDENCY) | BIT(JOURNAL) | BIT(DRAIN) | BIT(BURY) |        \
     BIT(KILLER))
_Static_assert((COUNTING ^ OTHERS) == (1u << SLUICE_FAILURE_COUNT) - 1u,
               "every reason is in one of the two: a new one has to be judged, too");

static int counts(uint8_t failure)
{
    return (int)((COUNTING >> failure) & 1u);
}

/* min(base × 2^(n−1), max) */
int64_t sim_judge_full_delay_ms(const struct sluice_engine_config *c, uint32_t failures)
{
    int64_t delay = c->nak_delay_ms;
    for (uint32_t n = 1; n < failures && delay < c->nak_delay_max_ms; n++) {
        delay *= 2;
    }
    return delay < c->nak_delay_max_ms ? delay : c->nak_delay_max_ms;
}

/* Does it say that something around the message was to blame? A shutdown and a dead letter without
 * PubAck come after whatever was decided before, and say nothing of it. */
static int is_excuse(uint8_t failure)
{
    return failure == SLUICE_FAILURE_NO_MEMORY || failure == SLUICE_FAILURE_DEPENDENCY ||
           failure == SLUICE_FAILURE_JOURNAL;
}

/* An excuse needs its cause. */
static void judge_excuse(struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a, uint8_t failure)
{
    int was_suspended = a->has_verdict && a->verdict_kind == SLUICE_VERDICT_SUSPENDED;
    int may_read = a->is_retaken || a->was_outrun || a->lost_race;
    if (failure == SLUICE_FAILURE_NO_MEMORY && !a->met_want) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u fails for want of memory, and none was short",
                       a->sequence);
    } else if (failure == SLUICE_FAILURE_DEPENDENCY && was_suspended && a->decided_ms != 0) {
        /* At its deadline, or its call would not have been cancelled. */
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "message %u is not blamed for its deadline, and its calls have started",
                       a->sequence);
    } else if (failure == SLUICE_FAILURE_JOURNAL && was_suspended && !may_read &&
               !watch->has_marked) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "message %u is not blamed for its deadline, and waits for no journal",
                       a->sequence);
    }
}

/* What was lost with a lease is nobody's failure: taken over, and not begun again before its
 * deadline, it fails by what it waited for meanwhile. */
static int is_of_before(const struct sim_attempt *a, uint8_t failure)
{
    return a->is_retaken && failure != SLUICE_FAILURE_DEPENDENCY;
}

/* A failure of a dependency is held against the message exactly when it says something about it. */
static void judge_blame(struct sim_world *w, const struct sim_attempt *a, uint8_t failure)
{
    int is_held = failure == SLUICE_FAILURE_STEP || failure == SLUICE_FAILURE_STORE ||
                  failure == SLUICE_FAILURE_PUBLISH;
    if (is_held && a->blames == SIM_BLAME_NONE) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "message %u is blamed (%s) for a dependency that was away", a->sequence,
                       sluice_failure_name((enum sluice_failure)failure));
    } else if (is_excuse(failure) && (a->blames & SIM_BLAME_SURE) != 0 &&
               !is_of_before(a, failure)) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "message %u is not blamed (%s) for a failure that may be its own",
                       a->sequence, sluice_failure_name((enum sluice_failure)failure));
    }
    if (failure == SLUICE_FAILURE_HANDLER && a->has_verdict &&
        a->verdict_kind == SLUICE_VERDICT_SUSPENDED) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "message %u is blamed for an error that its handler did not return",
                       a->sequence);
    }
}

/* ---- Delays */

static void judge_spread(struct sim_world *w, struct sim_watch *watch, int64_t delay_ms,
                         int64_t full_ms)
{
    sim_judge_spread(w, watch, delay_ms, full_ms / 2, full_ms);
}

/* Which dependencies does the message wait for, or has it failed by? */
static int is_held_by(const struct sim_attempt *a, uint32_t dependency)
{
    if (a->failed_ms != 0) {
        return a->failed_dependency == dependency;
    }
    if (a->has_verdict && a->verdict_kind == SLUICE_VERDICT_DONE) {
        int is_stored = a->documents_count == 0 || a->was_stored;
        return dependency == (is_stored ? SLUICE_DEP_PUBLISH : SLUICE_DEP_STORE);
    }
    for (uint32_t i = 0; i < a->steps_count; i++) {
        if (a->steps[i].state == SIM_SEEN_ASKED && a->steps[i].dependency == dependency) {
            return 1;
        }
    }
    return 0;
}

/* Was it decided in this step, so that nothing that was under way has kept the NAK waiting? */
static int is_decided_now(const struct sim_attempt *a, const struct sluice_event *ev)
{
    int is_free = ev->kind != SLUICE_EV_KEPT && ev->kind != SLUICE_EV_RECORDED &&
                  ev->kind != SLUICE_EV_STEP && !a->record_owed;
    for (uint32_t i = 0; i < a->steps_count; i++) {
        is_free &= !a->steps[i].is_keep_owed && a->steps[i].state != SIM_SEEN_RUNNING;
    }
    return is_free;
}

/* How long it was, when the delay was decided, until the dependencies of the message could be tried
 * again. Breakers that opened later do not matter. */
void sim_judge_nak_sent(const struct sim_world *w, const struct sim_watch *watch,
                        struct sim_attempt *a, const struct sluice_event *ev)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    a->trial_wait_ms = 0;
    if (a->failed_ms == 0 && !is_decided_now(a, ev)) {
        return;
    }
    int64_t decided_ms = w->now_ms - (a->failed_ms == 0 ? 0 : ev->mono_ms - a->failed_ms);
    for (uint32_t i = 0; i < c->dependencies_count; i++) {
        const struct sim_watched_breaker *b = &watch->breakers[i];
        int64_t wait_ms = b->changed_ms + c->dependencies[i].reset_timeout_ms - decided_ms;
        if (b->state == SLUICE_BREAKER_OPEN && b->changed_ms < decided_ms && is_held_by(a, i) &&
            wait_ms > a->trial_wait_ms) {
            a->trial_wait_ms = wait_ms;
        }
    }
    if (a->trial_wait_ms > c->nak_delay_max_ms) {
        a->trial_wait_ms = c->nak_delay_max_ms;
    }
}

/* The process goes, the message need not wait for that. */
static void judge_gift(struct sim_world *w, const struct sim_attempt *a)
{
    if (a->nak_delay_ms != 0) {
        sim_judge_fail(w, SIM_RULE_DRAIN, "message %u is handed on with a delay of %lld ms",
                       a->sequence, (long long)a->nak_delay_ms);
    }
}

/* What is not counted waits as long as what is, growing with the deliveries: at once it would come
 * back to the same want. For a dependency that is away, it waits for the next trial at least. Only
 * a shutdown gives its messages to others without delay. */
static void judge_uncounted_delay(struct sim_world *w, struct sim_watch *watch,
                                  const struct sim_attempt *a, uint8_t failure)
{
    /* One that was taken over may have failed under an earlier delivery. */
    int64_t full = sim_judge_full_delay_ms(&w->plan.engine, a->was_rebound ? 1 : a->deliveries);
    if (failure == SLUICE_FAILURE_DRAIN) {
        judge_gift(w, a);
        return;
    }
    if (a->nak_delay_ms < full / 2) {
        sim_judge_fail(
            w, SIM_RULE_RETRY, "NAK of message %u, delivery %u, for %s waits %lld ms, not %lld",
            a->sequence, a->deliveries, sluice_failure_name((enum sluice_failure)failure),
            (long long)a->nak_delay_ms, (long long)(full / 2));
    } else if (failure == SLUICE_FAILURE_DEPENDENCY && a->nak_delay_ms < a->trial_wait_ms) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "NAK of message %u waits %lld ms, the next trial is in %lld", a->sequence,
                       (long long)a->nak_delay_ms, (long long)a->trial_wait_ms);
    } else if (failure != SLUICE_FAILURE_DEPENDENCY && !a->was_rebound && a->retry_after_ms == 0) {
        judge_spread(w, watch, a->nak_delay_ms, full);
    }
}

/* ---- Reasons */

/* Does its handler pass on that the service wants to be left alone? */
static int is_limited(const struct sim_attempt *a)
{
    return a->failed_step >= 0 && a->failed_ms != 0 &&
           a->steps[a->failed_step].fate == SLUICE_FATE_RATE_LIMITED;
}

/* What can never work is told from what may: it is the reason of a NAK exactly when it was met, and
 * with SLUICE_ON_REJECT=dead-letter it is buried at once. */
static void judge_reason(struct sim_world *w, const struct sim_attempt *a, uint8_t failure,
                         int is_buried)
{
    const char *name = sluice_failure_name((enum sluice_failure)failure);
    int may_differ = failure == SLUICE_FAILURE_DRAIN || failure == SLUICE_FAILURE_BURY ||
                     a->was_rebound || a->may_start_over;
    if (failure == SLUICE_FAILURE_REJECTED && !a->is_rejected) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u fails as %s, and nothing has rejected it",
                       a->sequence, name);
    } else if (a->is_rejected && failure != SLUICE_FAILURE_REJECTED && !may_differ) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u can never work, and fails as %s", a->sequence,
                       name);
    } else if (a->has_own_error && !a->has_lost_error && a->has_verdict &&
               failure != a->own_failure && !may_differ) {
        sim_judge_fail(w, SIM_RULE_RETRY, "the handler of message %u failed by %s, and it by %s",
                       a->sequence, sluice_failure_name((enum sluice_failure)a->own_failure), name);
    } else if (is_limited(a) && failure != SLUICE_FAILURE_RATE_LIMITED && !may_differ) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u was told a rate limit, and fails as %s",
                       a->sequence, name);
    } else if (failure == SLUICE_FAILURE_REJECTED && w->plan.engine.bury_rejected && !is_buried) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u is %s and not buried", a->sequence, name);
    }
}

/* How many failures a NAK for `failure` has to name, given what was known when it was sent. */
static uint32_t expected_failures(const struct sim_world *w, const struct sim_attempt *a,
                                  uint8_t failure)
{
    if (!w->plan.engine.journal) {
        return a->deliveries;
    }
    return a->nak_base + (counts(failure) ? 1u : 0u);
}

static void judge_delay(struct sim_world *w, struct sim_watch *watch, const struct sim_attempt *a,
                        uint32_t failures, uint8_t failure)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    int64_t full = sim_judge_full_delay_ms(c, failures);
    int64_t highest = sim_judge_full_delay_ms(c, failures + a->slack);
    int64_t limited = a->retry_at_ms - a->nak_ms;
    int64_t most = highest > a->retry_after_ms ? highest : a->retry_after_ms;
    if (a->nak_delay_ms < full / 2 || a->nak_delay_ms > most) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "NAK of message %u for %s, failure %u, waits %lld ms, not %lld to %lld",
                       a->sequence, sluice_failure_name((enum sluice_failure)failure), failures,
                       (long long)a->nak_delay_ms, (long long)(full / 2), (long long)most);
        return;
    }
    if (failure == SLUICE_FAILURE_RATE_LIMITED && a->nak_delay_ms < limited) {
        sim_judge_fail(w, SIM_RULE_RETRY, "NAK of message %u comes %lld ms before its Retry-After",
                       a->sequence, (long long)(limited - a->nak_delay_ms));
        return;
    }
    if (failure == SLUICE_FAILURE_RATE_LIMITED && a->failed_step >= 0 &&
        a->steps[a->failed_step].must_wait && !a->was_rebound) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "NAK of message %u for a rate limit that ends inside of its lease",
                       a->sequence);
        return;
    }
    if (a->nak_known && a->retry_after_ms == 0 && full == highest) {
        judge_spread(w, watch, a->nak_delay_ms, full);
    }
}

/* What the next delivery has to know was written before the NAK. */
static void judge_record(struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a, const struct sluice_effect *fx)
{
    if (!w->plan.engine.journal || watch->is_aborted || watch->was_hungry || !counts(fx->failure)) {
        return;
    }
    if (!a->has_recorded) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u is NAKed for %s, which is not recorded",
                       a->sequence, sluice_failure_name((enum sluice_failure)fx->failure));
    } else if (a->has_own_error && !a->has_lost_error && a->has_verdict &&
               a->recorded_epoch == a->base_epoch) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "the handler of message %u failed, and its answers are not spent",
                       a->sequence);
    } else if (a->has_lost_error && a->has_verdict && a->recorded_epoch != a->base_epoch) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "the handler of message %u failed on an answer that had lost its race, and "
                       "the one that won is spent",
                       a->sequence);
    }
}

/* Whatever the reason: the next delivery must not send again what was confirmed. */
static void judge_outputs(struct sim_world *w, const struct sim_watch *watch,
                          const struct sim_attempt *a)
{
    if (!w->plan.engine.journal || watch->is_aborted || watch->was_hungry) {
        return;
    }
    if (a->verdict_kind == SLUICE_VERDICT_DONE && a->has_verdict &&
        (a->published & ~a->recorded_outputs) != 0) {
        sim_judge_fail(w, SIM_RULE_ONCE,
                       "message %u is NAKed, its confirmed outputs (%x) are not recorded (%x)",
                       a->sequence, a->published, a->recorded_outputs);
    }
}

void sim_judge_nak(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                   const struct sluice_effect *fx)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    uint32_t expected = expected_failures(w, a, fx->failure);
    judge_reason(w, a, fx->failure, 0);
    judge_outputs(w, watch, a);
    if (!counts(fx->failure)) {
        judge_uncounted_delay(w, watch, a, fx->failure);
    }
    judge_excuse(w, watch, a, fx->failure);
    judge_blame(w, a, fx->failure);
    if (fx->failure == SLUICE_FAILURE_NO_MEMORY) {
        return; /* what it had read may have found no place */
    }
    /* Without a journal, or when the failure could not be written, it is not among the recorded. */
    int is_true = fx->failures + 1 >= expected && fx->failures <= expected + a->slack;
    if (a->nak_known && !is_true) {
        sim_judge_fail(w, SIM_RULE_RETRY, "NAK of message %u for %s names %u failures, not %u",
                       a->sequence, sluice_failure_name((enum sluice_failure)fx->failure),
                       fx->failures, expected);
        return;
    }
    if (c->journal && !counts(fx->failure) && a->has_recorded && a->nak_known &&
        a->recorded_failures > a->nak_base + a->slack) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u: %s was recorded as a failure", a->sequence,
                       sluice_failure_name((enum sluice_failure)fx->failure));
        return;
    }
    if (a->nak_delay_ms < 0 ||
        (a->nak_delay_ms > c->nak_delay_max_ms && a->nak_delay_ms > c->retry_after_max_ms)) {
        sim_judge_fail(w, SIM_RULE_RETRY, "NAK of message %u waits %lld ms", a->sequence,
                       (long long)a->nak_delay_ms);
        return;
    }
    if (!counts(fx->failure)) {
        return;
    }
    judge_record(w, watch, a, fx);
    uint32_t failures = a->nak_known ? expected : fx->failures;
    judge_delay(w, watch, a, failures, fx->failure);
    if (c->max_deliver > 0 && failures >= c->max_deliver && !watch->is_aborted) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u is NAKed after %u failures of %u",
                       a->sequence, failures, c->max_deliver);
    }
}

void sim_judge_bury(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                    const struct sluice_effect *fx)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    (void)watch;
    if (a->bury_owed || a->verdict_verb != 0) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "BURY of message %u twice, or too late", a->sequence);
        return;
    }
    if (a->was_buried) {
        sim_judge_fail(w, SIM_RULE_DEAD,
                       "another dead letter of message %u, whose first is confirmed", a->sequence);
        return;
    }
    a->bury_owed = 1;
    if (fx->failure == SLUICE_FAILURE_KILLER) {
        sim_judge_killer(w, a);
        return;
    }
    judge_reason(w, a, fx->failure, 1);
    if (fx->failure == SLUICE_FAILURE_REJECTED && c->bury_rejected) {
        return;
    }
    judge_blame(w, a, fx->failure);
    uint32_t least = c->journal ? a->base_failures : a->deliveries;
    int is_known = !c->journal || a->was_loaded || !a->needs_load;
    int is_enough = c->max_deliver > 0 && fx->failures >= c->max_deliver;
    int is_true = !is_known || (fx->failures >= least && fx->failures <= least + 1 + a->slack);
    if (!is_enough || !is_true || !counts(fx->failure)) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u is buried for %s after %u failures of %u",
                       a->sequence, sluice_failure_name((enum sluice_failure)fx->failure),
                       fx->failures, c->max_deliver);
    }
}

void sim_judge_run(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a)
{
    if (a->run_owed || a->load_owed || a->store_owed || a->publish_owed != 0 || a->bury_owed ||
        a->verdict_verb != 0) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "RUN of message %u while something is owed to it",
                       a->sequence);
        return;
    }
    if (a->was_buried) {
        sim_judge_fail(w, SIM_RULE_DEAD, "message %u runs again, its dead letter is confirmed",
                       a->sequence);
        return;
    }
    if (watch->is_draining && !a->has_run) {
        sim_judge_fail(w, SIM_RULE_DRAIN, "message %u is started after DRAIN", a->sequence);
        return;
    }
    /* Its call would be found failed, and be counted for this delivery, too. */
    if (a->recorded_failures > a->base_failures) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "message %u runs again with what it has failed by, and that is counted",
                       a->sequence);
        return;
    }
    sim_judge_marked_run(w, a);
    if (w->judge.has_failed) {
        return;
    }
    a->run_owed = a->has_run = 1;
    a->has_verdict = 0;
    a->was_stored = 0;
    a->published = 0;
    a->is_rejected = a->may_start_over = a->met_want = 0;
    a->decided_ms = a->failed_ms = 0; /* not by a delivery that is taken over while it fails */
    a->failed_step = -1;
    a->failed_dependency = SLUICE_DEP_NONE;
    a->verdicts_sent = a->is_retaken = 0;
}
