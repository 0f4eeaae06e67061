/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of each bound: what must not come too often, what must not be awaited for too
 * long, what must not be thrown away. Renewals and what is taken over: INV-5, INV-14; waiting:
 * INV-15. */
#include "sim/check.h"

#include "sim/world.h"

/* A reading of the journal that failed is not tried again at once. */
#define LOAD_AGAIN_MS 100

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- Renewals */

/* Every third of the ack wait, less a quarter of that by jitter. */
static void renew_from(const struct sim_world *w, struct sim_attempt *a, int64_t base_ms)
{
    int64_t third_ms = w->plan.engine.ack_wait_ms / 3;
    a->renew_base_ms = base_ms;
    a->renew_least_ms = base_ms + third_ms - third_ms / 4;
}

static int is_aged(const struct sim_world *w, const struct sim_attempt *a, int64_t mono_ms)
{
    return mono_ms - a->renew_base_ms > w->plan.engine.ack_wait_ms / 3;
}

void sim_judge_paced_delivery(struct sim_world *w, struct sim_attempt *a,
                              const struct sluice_event *ev)
{
    renew_from(w, a, lesser(ev->message.horizon_ms, ev->mono_ms));
    a->load_failed_ms = 0; /* under another delivery it is read anew */
    a->must_renew &= (uint8_t)is_aged(w, a, ev->mono_ms);
    a->was_renewed = 0;
    a->goes_on = a->has_run || ev->mono_ms < a->lease_end_ms;
}

void sim_judge_paced_admission(struct sim_world *w, struct sim_attempt *a,
                               const struct sluice_event *ev)
{
    sim_judge_paced_delivery(w, a, ev);
    a->must_renew = (uint8_t)is_aged(w, a, ev->mono_ms);
}

/* What came back to life under another delivery may count from the older time. */
static void see_renewed(const struct sim_world *w, struct sim_attempt *a, int64_t sent_ms)
{
    int64_t base_ms = a->renew_base_ms, least_ms = a->renew_least_ms;
    if (sent_ms <= base_ms) {
        return;
    }
    renew_from(w, a, sent_ms);
    if (a->is_retaken) {
        a->renew_base_ms = base_ms;
        a->renew_least_ms = lesser(a->renew_least_ms, least_ms);
    }
}

static void judge_renewal(struct sim_world *w, struct sim_attempt *a, const struct sluice_event *ev)
{
    if (ev->mono_ms < a->renew_least_ms) {
        sim_judge_fail(w, SIM_RULE_LEASE, "WPI of message %u comes %lld ms too early", a->sequence,
                       (long long)(a->renew_least_ms - ev->mono_ms));
    }
    a->renew_least_ms = ev->mono_ms + w->plan.engine.ack_wait_ms / 6; /* while it is unanswered */
}

/* ---- What is told */

/* Is an answer being journaled, but for that of step `than`? */
static int is_keep_owed(const struct sim_attempt *a, int than)
{
    int is_owed = 0;
    for (int i = 0; i < a->steps_count; i++) {
        is_owed |= i != than && a->steps[i].is_keep_owed;
    }
    return is_owed;
}

static void await_journal(const struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                          int64_t mono_ms)
{
    a->journal_due_ms = mono_ms + w->plan.engine.journal_timeout_ms;
    watch->journal_due_ms = lesser(watch->journal_due_ms, a->journal_due_ms);
}

/* What another delivery has brought back to life before it ever ran begins like a new one. */
static void see_beginning(const struct sim_world *w, struct sim_attempt *a, int64_t mono_ms)
{
    if (a->is_retaken && !a->goes_on) {
        a->must_renew |= is_aged(w, a, mono_ms) && !a->was_renewed;
        a->goes_on = 1;
    }
}

void sim_judge_paced_event(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                           const struct sluice_event *ev)
{
    switch (ev->kind) {
    case SLUICE_EV_SETTLED:
        if (ev->settled.is_answered && ev->settled.verb == SLUICE_VERB_PROGRESS) {
            a->must_renew = 0;
            a->was_renewed = 1;
            see_renewed(w, a, ev->settled.sent_ms);
        }
        break;
    case SLUICE_EV_LOADED:
        /* Another delivery, after its lease, begins with a reading of its own. */
        a->load_failed_ms = ev->loaded.fate == SLUICE_FATE_OK || a->is_retaken ? 0 : ev->mono_ms;
        if (ev->loaded.fate == SLUICE_FATE_OK) {
            see_beginning(w, a, ev->mono_ms); /* what it waits for from now on are its neighbours */
        }
        break;
    case SLUICE_EV_KEPT: /* what has won is read at once */
        if (ev->kept.result == SLUICE_KEPT_LOST_RACE) {
            a->load_failed_ms = 0;
        }
        if (!a->record_owed && !is_keep_owed(a, ev->kept.step)) {
            a->journal_due_ms = 0;
        }
        break;
    case SLUICE_EV_RECORDED: /* then for an answer that has come meanwhile */
        if (a->journal_due_ms != 0 && is_keep_owed(a, -1)) {
            await_journal(w, watch, a, ev->mono_ms);
        }
        break;
    case SLUICE_EV_VERDICT:
        a->journal_due_ms = 0;
        if (ev->verdict.kind == SLUICE_VERDICT_DONE && is_keep_owed(a, -1)) {
            await_journal(w, watch, a, ev->mono_ms);
        }
        break;
    default:
        break;
    }
}

/* ---- What is asked for */

/* What is not counted waits no longer than its deliveries make it, than a breaker stays shut, or
 * than a server has said. */
static void judge_delay(struct sim_world *w, const struct sim_attempt *a,
                        const struct sluice_effect *fx)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    int is_counted = fx->failure != SLUICE_FAILURE_NO_MEMORY &&
                     fx->failure != SLUICE_FAILURE_DEPENDENCY &&
                     fx->failure != SLUICE_FAILURE_JOURNAL && fx->failure != SLUICE_FAILURE_BURY;
    if (fx->outcome != SLUICE_OUTCOME_NAKED || is_counted) {
        return; /* check_retry.c */
    }
    /* It may have failed before the newest delivery was taken over. */
    int64_t most_ms = larger(sim_judge_full_delay_ms(c, a->most_deliveries), a->retry_after_ms);
    for (uint32_t i = 0; fx->failure == SLUICE_FAILURE_DEPENDENCY && i < c->dependencies_count;
         i++) {
        most_ms = larger(most_ms, lesser(c->dependencies[i].reset_timeout_ms, c->nak_delay_max_ms));
    }
    if (a->nak_delay_ms > most_ms) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "NAK of message %u, delivery %u, for %s waits %lld ms, "
                       "more than %lld",
                       a->sequence, a->deliveries,
                       sluice_failure_name((enum sluice_failure)fx->failure),
                       (long long)a->nak_delay_ms, (long long)most_ms);
    }
}

static void judge_load(struct sim_world *w, struct sim_attempt *a, const struct sluice_event *ev)
{
    if (a->load_failed_ms != 0 && ev->mono_ms < a->load_failed_ms + LOAD_AGAIN_MS) {
        sim_judge_fail(w, SIM_RULE_RETRY, "the journal of message %u is read again after %lld ms",
                       a->sequence, (long long)(ev->mono_ms - a->load_failed_ms));
    }
    a->load_failed_ms = a->journal_due_ms = 0;
}

/* What another delivery inside of the lease finds goes on under it: its calls may be paid for. */
static void judge_taken(struct sim_world *w, const struct sim_watch *watch,
                        const struct sim_attempt *a, const struct sluice_effect *fx)
{
    if (a->taken_step == w->totals.steps && a->taken_step != 0 && a->steps_taken > 0 &&
        !a->was_outrun && !watch->is_aborted) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "%s of message %u, which another delivery has taken over "
                       "inside of its lease",
                       sluice_effect_name(fx->kind), a->sequence);
    }
}

void sim_judge_paced(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                     const struct sluice_event *ev, const struct sluice_effect *fx)
{
    switch (fx->kind) {
    case SLUICE_FX_SETTLE:
        if (fx->settle.verb == SLUICE_VERB_PROGRESS) {
            judge_renewal(w, a, ev);
        } else {
            a->journal_due_ms = 0;
        }
        break;
    case SLUICE_FX_RUN:
        see_beginning(w, a, ev->mono_ms);
        if (a->must_renew) {
            sim_judge_fail(w, SIM_RULE_LEASE,
                           "message %u begins late, and runs before its lease "
                           "is renewed",
                           a->sequence);
        }
        a->journal_due_ms = 0;
        break;
    case SLUICE_FX_LOAD:
        judge_taken(w, watch, a, fx);
        judge_load(w, a, ev);
        see_beginning(w, a, ev->mono_ms);
        break;
    case SLUICE_FX_CANCEL:
        judge_taken(w, watch, a, fx);
        break;
    case SLUICE_FX_RECORD: /* not of a mark: before a NAK */
        if (fx->record->is_marked) {
            see_beginning(w, a, ev->mono_ms); /* a suspect's */
        }
        if (!fx->record->is_marked && !a->is_mark_asked) {
            await_journal(w, watch, a, ev->mono_ms);
        }
        break;
    case SLUICE_FX_STORE:
    case SLUICE_FX_PUBLISH:
        a->journal_due_ms = 0;
        break;
    case SLUICE_FX_BURY:
        sim_judge_reason(w, a, ev, fx->failure);
        break;
    case SLUICE_FX_RELEASE:
        judge_delay(w, a, fx);
        break;
    default:
        break;
    }
}

/* ---- The journal is awaited for so long and no longer */

/* Commits wait for their dependency, too; at the end of the grace they become NAKs, and those have
 * that time once more. */
static int may_wait(const struct sim_world *w, const struct sim_watch *watch,
                    const struct sim_attempt *a, int64_t mono_ms)
{
    uint32_t next = a->documents_count > 0 ? SLUICE_DEP_STORE : SLUICE_DEP_PUBLISH;
    int is_done = a->has_verdict && a->verdict_kind == SLUICE_VERDICT_DONE;
    return a->was_outrun || a->is_retaken || sim_judge_is_at_end(w, a, mono_ms) ||
           (is_done && (watch->is_aborted || watch->breakers[next].state != SLUICE_BREAKER_CLOSED));
}

void sim_judge_paces(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                     const struct sluice_effects *effects)
{
    /* What finds no room in the effects of one step comes with the next. */
    if (ev->mono_ms < watch->journal_due_ms || effects->count > SLUICE_FX_CAPACITY / 2) {
        return;
    }
    watch->journal_due_ms = INT64_MAX;
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        struct sim_attempt *a = &watch->attempts[i];
        if (a->generation == 0 || a->journal_due_ms == 0) {
            continue;
        }
        if (a->journal_due_ms > ev->mono_ms) {
            watch->journal_due_ms = lesser(watch->journal_due_ms, a->journal_due_ms);
        } else if (may_wait(w, watch, a, ev->mono_ms)) {
            a->journal_due_ms = 0;
        } else {
            sim_judge_fail(w, SIM_RULE_RETRY,
                           "message %u waits for the journal for more than "
                           "%lld ms",
                           a->sequence, (long long)w->plan.engine.journal_timeout_ms);
        }
    }
}
