/* SPDX-License-Identifier: Apache-2.0 */
/* What must be sent in time and may not be given up early: renewals of a lease, confirmed verdicts,
 * what was under way when DRAIN came. INV-5, INV-9 and one confirmed verdict for each delivery. */
#include "sim/check.h"

#include "sim/world.h"

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* So near to the end of its lease that a careful engine may give it up. */
int sim_judge_is_at_end(const struct sim_world *w, const struct sim_attempt *a, int64_t mono_ms)
{
    return a->was_short || mono_ms + w->plan.engine.ack_wait_ms / 3 >= a->lease_end_ms;
}

/* What is decided just before the end of a lease must reach the server before it: later it would
 * strike the delivery of another. That a link needs more than a twentieth of the ack wait for one
 * way is not expected of anybody. */
static int64_t way_ms(const struct sim_world *w)
{
    return lesser(w->plan.link_ms, w->plan.engine.ack_wait_ms / 20);
}

int sim_judge_is_late_there(const struct sim_world *w, const struct sim_attempt *a, int64_t mono_ms)
{
    return sim_judge_is_late(a, mono_ms + way_ms(w));
}

static int is_answered(const struct sim_attempt *a)
{
    return a->verdict_verb != 0 && ((a->answered_verbs >> (a->verdict_verb - 1)) & 1);
}

/* ---- In time */

/* A lease is renewed every third of the ack wait, counted from the sending of an answered renewal,
 * until the attempt's own deadline. */
static int64_t renewal_due_ms(const struct sim_world *w, const struct sim_attempt *a)
{
    int64_t wait_ms = w->plan.engine.ack_wait_ms;
    int64_t due_ms = larger(a->lease_end_ms - wait_ms, a->renewed_ms) + wait_ms / 3;
    int is_over = due_ms >= a->delivered_ms + w->plan.engine.handler_timeout_ms;
    return a->is_retaken || is_over ? INT64_MAX : due_ms;
}

/* Until the attempt's verdict is sent, renewals; then its answer, the verdict once more, or the
 * release. */
static int64_t due_ms(const struct sim_world *w, const struct sim_attempt *a)
{
    return a->verdict_verb == 0 ? renewal_due_ms(w, a)
                                : a->verdict_ms + w->plan.engine.settle_timeout_ms;
}

void sim_judge_is_due(const struct sim_world *w, struct sim_watch *watch,
                      const struct sim_attempt *a)
{
    watch->due_ms = lesser(watch->due_ms, due_ms(w, a));
}

static void judge_overdue(struct sim_world *w, const struct sim_attempt *a, int64_t mono_ms)
{
    static const char *const verbs[] = {"ACK", "NAK", "WPI", "TERM"};
    if (a->verdict_verb != 0) {
        sim_judge_fail(w, SIM_RULE_VERDICT,
                       "%s of message %u has had no answer for %lld ms, and was neither repeated "
                       "nor given up",
                       verbs[(a->verdict_verb - 1) & 3], a->sequence,
                       (long long)(mono_ms - a->verdict_ms));
    } else if (!sim_judge_is_at_end(w, a, mono_ms)) {
        sim_judge_fail(w, SIM_RULE_LEASE, "the lease of message %u ends in %lld ms, and no WPI",
                       a->sequence, (long long)(a->lease_end_ms - mono_ms));
    }
}

void sim_judge_due(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                   const struct sluice_effects *effects)
{
    /* What finds no room in the effects of one step comes with the next. */
    if (ev->mono_ms <= watch->due_ms || effects->count > SLUICE_FX_CAPACITY / 2) {
        return;
    }
    watch->due_ms = INT64_MAX;
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        const struct sim_attempt *a = &watch->attempts[i];
        int64_t at_ms = a->generation == 0 ? INT64_MAX : due_ms(w, a);
        if (at_ms >= ev->mono_ms) {
            watch->due_ms = lesser(watch->due_ms, at_ms);
        } else {
            judge_overdue(w, a, ev->mono_ms);
        }
    }
}

void sim_judge_renewal(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev)
{
    sim_judge_renewed(w, watch, a, ev);
    /* The server does not fence it: it would put off a delivery that another process holds. */
    if (sim_judge_is_late_there(w, a, ev->mono_ms)) {
        sim_judge_fail(w, SIM_RULE_LEASE, "WPI of message %u may arrive %lld ms after its lease",
                       a->sequence, (long long)(ev->mono_ms + way_ms(w) - a->lease_end_ms));
    }
    a->renewed_ms = ev->mono_ms;
}

/* ---- Confirmed */

void sim_judge_verdict_sent(const struct sim_world *w, struct sim_watch *watch,
                            struct sim_attempt *a, const struct sluice_event *ev)
{
    a->verdict_ms = ev->mono_ms;
    if (watch->is_connected && a->verdicts_sent < UINT8_MAX) {
        a->verdicts_sent++;
    }
    a->is_unsent = 0;
    sim_judge_is_due(w, watch, a);
}

/* An ACK or TERM is given up when its answer has been awaited, and it was sent again on a living
 * connection: not a TERM whose lease is over, nor at the end of the grace. */
static int may_give_up(const struct sim_world *w, const struct sim_watch *watch,
                       const struct sim_attempt *a, int64_t mono_ms)
{
    int is_awaited = mono_ms >= a->verdict_ms + w->plan.engine.settle_timeout_ms;
    int is_fenced = a->is_orphaned ||
                    (a->verdict_verb == SLUICE_VERB_TERM + 1 && sim_judge_is_at_end(w, a, mono_ms));
    return !is_answered(a) && is_awaited &&
           (a->verdicts_sent > 1 || watch->is_aborted || is_fenced);
}

/* A NAK is sent once. Its answer is awaited, too, unless it is known that there will be none, or a
 * redelivery shows that it was heard. */
static int is_nak_awaited(const struct sim_world *w, const struct sim_attempt *a,
                          const struct sluice_event *ev)
{
    int is_back = ev->kind == SLUICE_EV_MESSAGE && ev->message.sequence == a->sequence;
    return is_answered(a) || a->is_unsent || is_back ||
           ev->mono_ms >= a->verdict_ms + w->plan.engine.settle_timeout_ms;
}

/* Has it really left the way that the engine says? */
int sim_judge_is_outcome(const struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a, const struct sluice_event *ev,
                         enum sluice_outcome outcome)
{
    switch (outcome) {
    case SLUICE_OUTCOME_ACKED:
        return a->verdict_verb == SLUICE_VERB_ACK + 1 && is_answered(a);
    case SLUICE_OUTCOME_NAKED:
        return a->verdict_verb == SLUICE_VERB_NAK + 1 && is_nak_awaited(w, a, ev);
    case SLUICE_OUTCOME_DEAD:
        return a->verdict_verb == SLUICE_VERB_TERM + 1 && is_answered(a);
    case SLUICE_OUTCOME_ACK_LOST:
        return a->verdict_verb == SLUICE_VERB_ACK + 1 && may_give_up(w, watch, a, ev->mono_ms);
    case SLUICE_OUTCOME_TERM_LOST:
        return a->verdict_verb == SLUICE_VERB_TERM + 1 && may_give_up(w, watch, a, ev->mono_ms);
    case SLUICE_OUTCOME_LEASE_LOST:
        return a->verdict_verb == SLUICE_VERB_NAK + 1 || !watch->is_connected ||
               sim_judge_is_at_end(w, a, ev->mono_ms);
    default:
        return 0;
    }
}

/* ---- Finished within the grace */

static enum sim_rule rule_of(const struct sim_watch *watch)
{
    return watch->is_draining ? SIM_RULE_DRAIN : SIM_RULE_CONTRACT;
}

/* A call whose answer the handler waits for is left to end, after DRAIN as before: it may have been
 * paid for. Only the attempt's own deadline, another delivery's answer and the end of the grace end
 * it: neither the end of its lease, when its answer is still journaled, nor another delivery, which
 * takes it over, but for one that shows its message to be a killer. An offloaded function may never
 * end, and is given up with its lease. */
void sim_judge_cancel(struct sim_world *w, const struct sim_watch *watch,
                      const struct sim_attempt *a, const struct sluice_event *ev, uint32_t step)
{
    int is_waiting =
        a->has_verdict && a->verdict_kind == SLUICE_VERDICT_SUSPENDED && a->verdict_verb == 0;
    int is_overdue = ev->mono_ms >= a->delivered_ms + w->plan.engine.handler_timeout_ms;
    if (a->steps[step].dependency == SLUICE_DEP_NONE && sim_judge_is_at_end(w, a, ev->mono_ms)) {
        return;
    }
    if (is_waiting && !is_overdue && !a->was_outrun && !watch->is_aborted && !watch->was_hungry &&
        !sim_judge_is_killer(w, a)) {
        sim_judge_fail(w, rule_of(watch),
                       "the call of step %u of message %u, which its handler waits for, is "
                       "cancelled",
                       step, a->sequence);
    }
}

/* Likewise what is being committed or buried. */
void sim_judge_nak_under_way(struct sim_world *w, const struct sim_watch *watch,
                             const struct sim_attempt *a)
{
    if (!watch->is_aborted &&
        (a->run_owed || a->store_owed || a->publish_owed != 0 || a->bury_owed)) {
        sim_judge_fail(w, rule_of(watch), "NAK of message %u while its %s is under way",
                       a->sequence, a->run_owed ? "run" : "commit");
    }
}

/* A message that has been started is handed on for the shutdown only when it waits for a breaker or
 * a rate limit, with nothing of it under way; or when it would have to begin again, because another
 * delivery's answer has won. */
void sim_judge_handed_on(struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a)
{
    int waits = a->verdict_kind == SLUICE_VERDICT_DONE || a->was_outrun;
    for (uint32_t i = 0; i < a->steps_count; i++) {
        waits |= a->steps[i].state == SIM_SEEN_ASKED;
    }
    if (!watch->is_draining || (!watch->is_aborted && a->has_run && a->has_verdict && !waits)) {
        sim_judge_fail(w, SIM_RULE_DRAIN, "message %u is handed on %s", a->sequence,
                       watch->is_draining ? "within the grace, though it waits for nothing"
                                          : "for a shutdown that nobody asked for");
    }
}
