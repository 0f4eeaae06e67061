/* SPDX-License-Identifier: Apache-2.0 */
/* Order of a message's commit, its one verdict, and how it leaves: INV-1, INV-4, INV-5. */
#include "sim/check.h"

#include "sim/world.h"

static int is_skippable(const struct sim_attempt *a, uint64_t output)
{
    for (uint32_t i = 0; i < a->skippable_count; i++) {
        if (a->skippable[i] == output) {
            return 1;
        }
    }
    return 0;
}

static void judge_ack(struct sim_world *w, const struct sim_attempt *a)
{
    if (!a->has_verdict || a->verdict_kind != SLUICE_VERDICT_DONE) {
        sim_judge_fail(w, SIM_RULE_ACK, "ACK of message %u, whose handler has not finished",
                       a->sequence);
        return;
    }
    if (a->documents_count > 0 && !a->was_stored) {
        sim_judge_fail(w, SIM_RULE_ACK, "ACK of message %u before its documents were confirmed",
                       a->sequence);
        return;
    }
    for (uint32_t i = 0; i < a->outputs_count; i++) {
        int is_confirmed = (a->published >> i) & 1;
        if (!is_confirmed && !is_skippable(a, a->outputs[i])) {
            sim_judge_fail(w, SIM_RULE_ACK, "ACK of message %u before the PubAck of output %u",
                           a->sequence, i);
            return;
        }
        if (!sim_sink_has_output(w, a->key, a->outputs[i])) {
            sim_judge_fail(w, SIM_RULE_ACK, "ACK of message %u, whose output %u is nowhere",
                           a->sequence, i);
            return;
        }
    }
    if (!sim_sink_has_documents(w, a->key, a->documents_count)) {
        sim_judge_fail(w, SIM_RULE_ACK, "ACK of message %u, whose documents are nowhere",
                       a->sequence);
    }
}

static void judge_term(struct sim_world *w, const struct sim_attempt *a)
{
    if (!a->was_buried || w->sink.sunk[a->sequence].dead_copies == 0) {
        sim_judge_fail(w, SIM_RULE_DEAD, "TERM of message %u without the dead letter's PubAck",
                       a->sequence);
    }
}

/* Journaled answers are waited for before a message's next station, but not for ever. */
int sim_judge_is_keep_awaited(const struct sim_world *w, const struct sim_watch *watch,
                              const struct sim_attempt *a, const struct sim_seen *s,
                              const struct sluice_event *ev)
{
    int64_t timeout_ms = w->plan.engine.journal_timeout_ms;
    int is_short = a->lease_end_ms - ev->mono_ms < w->plan.engine.ack_wait_ms / 4;
    int has_waited = a->decided_ms != 0 && ev->mono_ms >= a->decided_ms + timeout_ms;
    int is_given_up = s->keep_ms <= watch->journal_away_ms;
    return s->is_keep_owed && !watch->is_aborted && !is_short && !has_waited && !is_given_up &&
           ev->mono_ms < s->keep_ms + timeout_ms;
}

static void judge_keeps(struct sim_world *w, const struct sim_watch *watch,
                        const struct sim_attempt *a, const struct sluice_event *ev,
                        const char *what)
{
    for (uint32_t i = 0; i < a->steps_count; i++) {
        if (sim_judge_is_keep_awaited(w, watch, a, &a->steps[i], ev)) {
            sim_judge_fail(w, SIM_RULE_PAID, "%s of message %u while an answer is being journaled",
                           what, a->sequence);
        }
    }
}

/* A lease is renewed until the attempt's own deadline. After it, what has been begun is awaited (a
 * run, a commit, a dead letter, the journal and its few retries), and no call. */
static void judge_deadline(struct sim_world *w, const struct sim_attempt *a,
                           const struct sluice_event *ev)
{
    int64_t late_ms = ev->mono_ms - a->delivered_ms - w->plan.engine.handler_timeout_ms;
    int is_begun = a->run_owed || a->load_owed || a->load_failed || a->record_owed ||
                   a->store_owed || a->publish_owed != 0 || a->bury_owed;
    for (uint32_t i = 0; i < a->steps_count; i++) {
        is_begun |= a->steps[i].is_keep_owed;
    }
    if (late_ms > 0 && !is_begun) {
        sim_judge_fail(w, SIM_RULE_LEASE, "WPI of message %u, %lld ms after its deadline",
                       a->sequence, (long long)late_ms);
    }
}

void sim_judge_settle(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                      const struct sluice_event *ev, const struct sluice_fx_settle *fx)
{
    static const char *const verbs[] = {"ACK", "NAK", "WPI", "TERM"};
    if (fx->settle <= a->settle) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "settle number %u after %u", fx->settle, a->settle);
        return;
    }
    a->settle = fx->settle;
    if (fx->verb == SLUICE_VERB_PROGRESS) {
        judge_deadline(w, a, ev);
        sim_judge_renewal(w, watch, a, ev);
        return;
    }
    if (a->verdict_verb != 0 && (a->verdict_verb != fx->verb + 1 || fx->verb == SLUICE_VERB_NAK)) {
        sim_judge_fail(w, SIM_RULE_VERDICT, "%s of message %u, delivery %u, after %s",
                       verbs[fx->verb & 3], a->sequence, a->deliveries,
                       verbs[(a->verdict_verb - 1) & 3]);
        return;
    }
    a->verdict_verb = fx->verb + 1;
    sim_judge_verdict_sent(w, watch, a, ev);
    if (a->was_buried && fx->verb != SLUICE_VERB_TERM) {
        sim_judge_fail(w, SIM_RULE_DEAD, "%s of message %u, whose dead letter is confirmed",
                       verbs[fx->verb & 3], a->sequence);
        return;
    }
    if (fx->verb == SLUICE_VERB_ACK) {
        if (a->is_orphaned) { /* a stream made anew has another message under its number */
            sim_judge_fail(w, SIM_RULE_LEASE, "ACK of message %u to a consumer that is no more",
                           a->sequence);
            return;
        }
        judge_ack(w, a);
        return;
    }
    if (sim_judge_is_late_there(w, a, ev->mono_ms)) {
        sim_judge_fail(w, SIM_RULE_LEASE,
                       "%s of message %u, %lld ms after its lease, or too late to arrive before",
                       verbs[fx->verb & 3], a->sequence,
                       (long long)(ev->mono_ms - a->lease_end_ms));
        return;
    }
    if (fx->verb == SLUICE_VERB_TERM) {
        judge_term(w, a);
        return;
    }
    w->totals.naks++;
    a->nak_delay_ms = fx->delay_ms;
    a->nak_ms = ev->mono_ms;
    a->nak_known = !w->plan.engine.journal || a->was_loaded || !a->needs_load;
    a->nak_base = a->base_failures;
    sim_judge_nak_sent(w, watch, a, ev);
    judge_keeps(w, watch, a, ev, "NAK");
    sim_judge_nak_under_way(w, watch, a);
}

static void judge_store(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                        const struct sluice_event *ev)
{
    if (a->store_owed || a->was_stored) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "STORE of message %u twice", a->sequence);
    }
    if (a->lost_race) {
        sim_judge_fail(w, SIM_RULE_ONCE,
                       "STORE of message %u from an answer that another delivery's had outrun",
                       a->sequence);
    }
    judge_keeps(w, watch, a, ev, "STORE");
    sim_judge_trial(w, watch, a, SLUICE_DEP_STORE, ev);
    a->store_owed = 1;
    a->store_period = sim_judge_may_call(w, watch, a, SLUICE_DEP_STORE, ev);
}

static void judge_publish(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                          const struct sluice_event *ev, uint32_t output)
{
    if (output >= a->outputs_count || ((a->publish_owed | a->published) >> output & 1)) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "PUBLISH of output %u of message %u: none or twice",
                       output, a->sequence);
        return;
    }
    if (a->documents_count > 0 && !a->was_stored) {
        sim_judge_fail(w, SIM_RULE_ACK, "output %u of message %u before its documents", output,
                       a->sequence);
        return;
    }
    if (is_skippable(a, a->outputs[output])) {
        sim_judge_fail(w, SIM_RULE_ONCE, "output %u of message %u again, though it was confirmed",
                       output, a->sequence);
        return;
    }
    sim_judge_trial(w, watch, a, SLUICE_DEP_PUBLISH, ev);
    a->publish_owed |= 1u << output;
    a->publish_period[output] = sim_judge_may_call(w, watch, a, SLUICE_DEP_PUBLISH, ev);
}

void sim_judge_commit(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                      const struct sluice_event *ev, const struct sluice_effect *fx)
{
    if (sim_judge_is_late(a, ev->mono_ms)) {
        sim_judge_fail(w, SIM_RULE_LEASE, "%s of message %u, %lld ms after its lease",
                       sluice_effect_name(fx->kind), a->sequence,
                       (long long)(ev->mono_ms - a->lease_end_ms));
        return;
    }
    if (fx->kind == SLUICE_FX_BURY) {
        sim_judge_bury(w, watch, a, fx);
        return;
    }
    if (!a->has_verdict || a->verdict_kind != SLUICE_VERDICT_DONE || a->verdict_verb != 0) {
        sim_judge_fail(w, SIM_RULE_ACK, "%s of message %u, which has no OK of its handler",
                       sluice_effect_name(fx->kind), a->sequence);
        return;
    }
    sim_judge_answers(w, watch, a, ev);
    if (fx->kind == SLUICE_FX_STORE) {
        judge_store(w, watch, a, ev);
    } else {
        judge_publish(w, watch, a, ev, fx->output);
    }
}

void sim_judge_release(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev, const struct sluice_effect *fx)
{
    enum sluice_outcome outcome = (enum sluice_outcome)fx->outcome;
    if (!sim_judge_is_outcome(w, watch, a, ev, outcome)) {
        sim_judge_fail(w, SIM_RULE_VERDICT,
                       "message %u, delivery %u, released as %s, which is "
                       "not what happened",
                       a->sequence, a->deliveries, sluice_outcome_name(outcome));
        return;
    }
    for (uint32_t i = 0; i < a->steps_count; i++) {
        const struct sim_seen *s = &a->steps[i];
        if (s->was_started && s->state == SIM_SEEN_RUNNING && !s->was_cancelled) {
            sim_judge_fail(w, SIM_RULE_CONTRACT,
                           "message %u is released, its step %u runs on without it", a->sequence,
                           i);
            return;
        }
        int is_paid =
            s->is_paid && s->was_started && s->state == SIM_SEEN_ENDED && s->fate == SLUICE_FATE_OK;
        if (w->plan.engine.journal && is_paid && !s->was_kept) {
            sim_judge_fail(w, SIM_RULE_PAID, "message %u released, its answer %u never journaled",
                           a->sequence, i);
            return;
        }
    }
    if (outcome == SLUICE_OUTCOME_NAKED) {
        sim_judge_nak(w, watch, a, fx);
        if (fx->failure == SLUICE_FAILURE_DRAIN) {
            sim_judge_handed_on(w, watch, a);
        }
    }
    sim_judge_uncalled(w, watch, a);
    a->generation = 0;
    watch->live--;
    watch->live_bytes -= a->size;
}
