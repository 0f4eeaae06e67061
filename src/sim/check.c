/* SPDX-License-Identifier: Apache-2.0 */
/* The judges' history: what each event tells, and which effect goes to which judge. */
#include "sim/check.h"

#include "sim/world.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *sim_rule_name(enum sim_rule rule)
{
    static const char *const names[] = {
#define SIM_RULE_NAME(name, text, about) text,
        SIM_RULES(SIM_RULE_NAME)
#undef SIM_RULE_NAME
    };
    return rule < SIM_RULE_COUNT ? names[rule] : "?";
}

const char *sim_rule_about(enum sim_rule rule)
{
    static const char *const abouts[] = {
#define SIM_RULE_ABOUT(name, text, about) about,
        SIM_RULES(SIM_RULE_ABOUT)
#undef SIM_RULE_ABOUT
    };
    return rule < SIM_RULE_COUNT ? abouts[rule] : "?";
}

void sim_judge_init(struct sim_world *w)
{
    struct sim_judge *j = &w->judge;
    j->has_failed = j->rule = j->journal_trouble = 0;
    j->text[0] = '\0';
    memset(j->spreads, 0, sizeof j->spreads);
    memset(j->histories, 0, (w->inputs_count + 1u) * sizeof j->histories[0]);
    memset(j->dead_reasons, 0, (w->inputs_count + 1u) * sizeof j->dead_reasons[0]);
    memset(j->was_acked, 0, (w->inputs_count + 1u) * sizeof j->was_acked[0]);
    memset(j->dead_ms, 0xff, (w->inputs_count + 1u) * sizeof j->dead_ms[0]);
}

void sim_judge_fail(struct sim_world *w, enum sim_rule rule, const char *format, ...)
{
    struct sim_judge *j = &w->judge;
    if (j->has_failed) {
        return;
    }
    j->has_failed = 1;
    j->rule = (uint8_t)rule;
    j->failed_ms = w->now_ms;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(j->text, sizeof j->text, format, arguments);
    va_end(arguments);
    sim_trace_text(w, "VIOLATION %s: %s", sim_rule_name(rule), j->text);
}

struct sim_attempt *sim_judge_attempt(struct sim_watch *watch, struct sluice_ticket ticket)
{
    struct sim_attempt *a = ticket.slot < SIM_IN_FLIGHT_MAX ? &watch->attempts[ticket.slot] : NULL;
    return a != NULL && ticket.generation != 0 && a->generation == ticket.generation ? a : NULL;
}

int sim_judge_is_late(const struct sim_attempt *a, int64_t mono_ms)
{
    return mono_ms > a->lease_end_ms;
}

/* ---- Processes */

void sim_judge_start(struct sim_world *w, const struct sim_process *p)
{
    struct sim_watch *watch = &w->judge.watches[p->index];
    memset(watch, 0, offsetof(struct sim_watch, attempts));
    watch->connected_wall_ms = INT64_MIN;
    watch->step_ms = INT64_MIN;
    watch->due_ms = watch->journal_due_ms = INT64_MAX;
    watch->intake.idle_ms = INT64_MAX;
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        watch->attempts[i].generation = watch->attempts[i].last_generation = 0;
    }
}

void sim_judge_end(struct sim_world *w, const struct sim_process *p)
{
    struct sim_watch *watch = &w->judge.watches[p->index];
    /* An end by a handler is no excuse for burying its neighbours: it is what must not happen. */
    if (!watch->has_drained && !watch->is_poisoned) {
        sim_judge_marks_left(w, p);
    }
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        watch->attempts[i].generation = 0;
    }
    watch->live = 0;
}

void sim_judge_freeze(struct sim_world *w, const struct sim_process *p)
{
    sim_judge_marks_left(w, p);
    w->judge.watches[p->index].frozen_ms = w->now_ms + p->clock_ms;
}

/* ---- Events */

/* Why the handler failed, as it told. */
static void see_failed(struct sim_attempt *a, const struct sluice_event *ev)
{
    const struct sluice_ev_verdict *v = &ev->verdict;
    if (v->kind != SLUICE_VERDICT_FAILED) {
        return;
    }
    int is_own = v->failed_step < 0 || v->failed_step >= (int)a->steps_count;
    a->failed_ms = ev->mono_ms;
    if (is_own) {
        a->is_rejected = v->failure == SLUICE_FAILURE_REJECTED;
        return;
    }
    a->failed_step = v->failed_step;
    a->failed_dependency = a->steps[v->failed_step].dependency;
    a->is_rejected = a->steps[v->failed_step].fate == SLUICE_FATE_PERMANENT;
}

/* Had the handler no memory, or the step whose error it passes on? */
static int has_no_memory(const struct sim_attempt *a, const struct sluice_ev_verdict *v)
{
    if (v->kind != SLUICE_VERDICT_FAILED) {
        return 0;
    }
    return v->failed_step < 0 ? v->failure == SLUICE_FAILURE_NO_MEMORY
                              : v->failed_step < (int)a->steps_count &&
                                    a->steps[v->failed_step].fate == SLUICE_FATE_NO_MEMORY;
}

static void see_verdict(struct sim_world *w, const struct sim_watch *watch,
                        const struct sim_process *p, struct sim_attempt *a,
                        const struct sluice_event *ev)
{
    const struct sluice_ev_verdict *v = &ev->verdict;
    /* Steps that an earlier run asked for may be forgotten (its verdict came after the lease), but
     * not while they run. */
    uint32_t steps_count = p->hosted[ev->ticket.slot].steps_served;
    for (uint32_t i = steps_count; i < a->steps_count; i++) {
        if (a->steps[i].state != SIM_SEEN_ASKED) {
            sim_judge_fail(w, SIM_RULE_CONTRACT, "step %u of message %u was started and forgotten",
                           i, a->sequence);
        }
    }
    a->steps_count = (uint8_t)(steps_count < a->steps_count ? steps_count : a->steps_count);
    a->run_owed = a->has_news = 0;
    a->blames = 0;
    if (v->kind == SLUICE_VERDICT_FAILED && v->failed_step >= 0 &&
        v->failed_step < (int)a->steps_count) {
        const struct sim_seen *s = &a->steps[v->failed_step];
        a->blames = s->blame;
        if (s->state == SIM_SEEN_ENDED && s->fate == SLUICE_FATE_CANCELLED) {
            sim_judge_fail(w, SIM_RULE_RETRY,
                           "message %u fails by step %d, which has not failed but been cancelled",
                           a->sequence, (int)v->failed_step);
        }
    }
    see_failed(a, ev);
    a->has_verdict = 1;
    a->verdict_kind = v->kind;
    a->decided_ms = v->kind == SLUICE_VERDICT_SUSPENDED ? 0 : ev->mono_ms;
    a->has_own_error = v->kind == SLUICE_VERDICT_FAILED && v->failed_step < 0 &&
                       v->failure != SLUICE_FAILURE_NO_MEMORY;
    a->own_failure = v->failure;
    a->has_lost_error = a->has_own_error && a->lost_race;
    a->own_errors = (uint8_t)(a->own_errors + (a->has_own_error && !a->has_lost_error));
    a->met_want |= (uint8_t)has_no_memory(a, v);
    for (uint32_t i = 0; i < v->steps_count && a->steps_count < SIM_STEPS_MAX; i++) {
        struct sim_seen *s = &a->steps[a->steps_count];
        *s = (struct sim_seen){.id = {.hash = v->steps[i].hash},
                               .dependency = v->steps[i].dependency,
                               .is_paid = v->steps[i].is_paid};
        for (uint32_t k = 0; k < a->steps_count; k++) {
            s->id.occurrence += a->steps[k].id.hash.low == s->id.hash.low &&
                                a->steps[k].id.hash.high == s->id.hash.high;
        }
        sim_judge_asked(w, watch, a, s, ev);
        a->steps_count++;
    }
    if (v->kind == SLUICE_VERDICT_DONE) {
        a->documents_count = v->documents_count;
        a->outputs_count = v->outputs_count;
        memcpy(a->outputs, v->outputs, v->outputs_count * sizeof a->outputs[0]);
    }
}

static void see_loaded(struct sim_world *w, const struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev)
{
    const struct sluice_ev_loaded *l = &ev->loaded;
    a->load_owed = 0;
    a->load_failed = l->fate != SLUICE_FATE_OK;
    a->met_want |= l->fate == SLUICE_FATE_NO_MEMORY;
    sim_judge_mark_loaded(w, a, l);
    if (a->load_failed) {
        /* Without a connection nothing could be read, and nothing could be journaled. */
        uint8_t tried = watch->is_connected ? a->loads_failed : 0;
        a->loads_failed = (uint8_t)(tried + (watch->is_connected && tried < UINT8_MAX));
        return;
    }
    a->was_loaded = 1;
    a->loads_failed = a->must_read = 0;
    a->base_failures = a->recorded_failures = l->record->failures;
    a->slack = a->own_errors = 0;
    a->base_epoch = l->record->epoch;
    a->skippable_count = 0;
    for (uint32_t i = 0; i < l->record->outputs_count && i < SIM_OUTPUTS_MAX; i++) {
        a->skippable[a->skippable_count++] = l->record->outputs[i];
    }
}

static void see_settled(struct sim_world *w, const struct sim_watch *watch, struct sim_attempt *a,
                        const struct sluice_event *ev)
{
    const struct sluice_ev_settled *s = &ev->settled;
    if (!s->is_answered) {
        a->is_unsent |= s->verb + 1u == a->verdict_verb;
        return;
    }
    a->answered_verbs |= (uint8_t)(1u << s->verb);
    int64_t end = s->sent_ms + w->plan.engine.ack_wait_ms;
    /* An answer proves that the server still counted this lease only while the engine, at its
     * step before, had no reason to think that it was over. */
    if (s->verb == SLUICE_VERB_PROGRESS && end > a->lease_end_ms &&
        !sim_judge_is_late(a, watch->step_ms)) {
        if (a->lease_end_ms - ev->mono_ms < w->plan.engine.ack_wait_ms / 3) {
            a->was_short = 1;
        }
        a->lease_end_ms = end;
        sim_judge_leased(w, watch, a, ev);
    }
}

/* Another delivery's answer was journaled first: both have to go on with that one. Not when what is
 * there cannot be used, and not when the answer to KEEP came so late that it was given up. */
static void see_kept(struct sim_world *w, const struct sim_watch *watch, struct sim_attempt *a,
                     const struct sluice_event *ev)
{
    struct sim_seen *s = &a->steps[ev->kept.step];
    int is_in_time = ev->mono_ms < s->keep_ms + w->plan.engine.journal_timeout_ms &&
                     s->keep_ms > watch->journal_away_ms;
    a->lost_race |=
        s->is_keep_owed && is_in_time && !s->was_missed && ev->kept.result == SLUICE_KEPT_LOST_RACE;
    if (ev->kept.result == SLUICE_KEPT_FAILED || !is_in_time || s->was_missed) {
        sim_judge_unsure(w, a, s);
    }
    a->was_outrun |= ev->kept.result == SLUICE_KEPT_LOST_RACE;
    s->is_keep_owed = 0;
    a->may_start_over |= ev->kept.result == SLUICE_KEPT_LOST_RACE;
}

static void see_committed(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                          uint8_t dependency, uint32_t period, uint8_t fate, int64_t mono_ms)
{
    enum sim_blame blame = sim_judge_called(w, watch, a, dependency, period, fate);
    if (fate != SLUICE_FATE_OK) {
        a->blames |= (uint8_t)blame;
        a->failed_dependency = dependency;
        a->is_rejected |= fate == SLUICE_FATE_PERMANENT;
        a->met_want |= fate == SLUICE_FATE_NO_MEMORY;
    }
    if (a->failed_dependency == dependency) { /* it fails when all have been answered */
        a->failed_ms = mono_ms;
    }
}

static void see_attempt(struct sim_world *w, struct sim_watch *watch, const struct sim_process *p,
                        struct sim_attempt *a, const struct sluice_event *ev)
{
    switch (ev->kind) {
    case SLUICE_EV_VERDICT:
        see_verdict(w, watch, p, a, ev);
        break;
    case SLUICE_EV_STEP:
        a->has_news = 1;
        sim_judge_call_ended(w, watch, a, ev);
        break;
    case SLUICE_EV_KEPT:
        see_kept(w, watch, a, ev);
        break;
    case SLUICE_EV_LOADED:
        see_loaded(w, watch, a, ev);
        break;
    case SLUICE_EV_RECORDED:
        a->record_owed = 0;
        a->met_want |= ev->fate == SLUICE_FATE_NO_MEMORY;
        sim_judge_mark_recorded(w, a, ev->fate);
        break;
    case SLUICE_EV_STORED:
        a->store_owed = 0;
        a->was_stored = ev->fate == SLUICE_FATE_OK;
        see_committed(w, watch, a, SLUICE_DEP_STORE, a->store_period, ev->fate, ev->mono_ms);
        break;
    case SLUICE_EV_PUBLISHED:
        a->publish_owed &= ~(1u << ev->published.output);
        if (ev->published.fate == SLUICE_FATE_OK) {
            a->published |= 1u << ev->published.output;
        }
        see_committed(w, watch, a, SLUICE_DEP_PUBLISH, a->publish_period[ev->published.output],
                      ev->published.fate, ev->mono_ms);
        break;
    case SLUICE_EV_BURIED:
        a->bury_owed = 0;
        a->was_buried |= ev->fate == SLUICE_FATE_OK;
        break;
    case SLUICE_EV_SETTLED:
        see_settled(w, watch, a, ev);
        break;
    default:
        break;
    }
}

/* A journal that has failed so often in a row need not be waited for. */
#define JOURNAL_AWAY_COUNT 5u

static void see_journal(struct sim_watch *watch, const struct sluice_event *ev)
{
    int is_bad = ev->kind == SLUICE_EV_KEPT       ? ev->kept.result == SLUICE_KEPT_FAILED
                 : ev->kind == SLUICE_EV_LOADED   ? ev->loaded.fate != SLUICE_FATE_OK
                 : ev->kind == SLUICE_EV_RECORDED ? ev->fate != SLUICE_FATE_OK
                                                  : -1;
    if (is_bad >= 0) {
        watch->journal_failures = is_bad ? watch->journal_failures + 1 : 0;
    }
    if (watch->journal_failures >= JOURNAL_AWAY_COUNT) {
        watch->journal_away_ms = ev->mono_ms;
    }
}

/* By the server's clock, unless the process's own is behind it by more than can be borne. */
static int64_t server_time_ms(const struct sim_world *w, const struct sluice_event *ev)
{
    int64_t there_ms = SIM_WALL_MS + w->now_ms;
    int64_t most_ms = ev->wall_ms + SIM_SKEW_MAX_MS;
    return there_ms < most_ms ? there_ms : most_ms;
}

/* Of a consumer that is no more nobody holds a lease, and another one counts from 1: whatever was
 * stored before may have been delivered before. */
static void see_consumer(const struct sim_world *w, struct sim_watch *watch,
                         const struct sluice_event *ev)
{
    if (ev->consumer == SLUICE_CONSUMER_THERE || ev->consumer == SLUICE_CONSUMER_UNKNOWN) {
        return;
    }
    watch->connected_wall_ms = server_time_ms(w, ev);
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        struct sim_attempt *a = &watch->attempts[i];
        a->is_orphaned = 1;
        if (a->lease_end_ms >= ev->mono_ms) {
            a->lease_end_ms = ev->mono_ms - 1;
        }
    }
}

void sim_judge_event(struct sim_world *w, const struct sim_process *p,
                     const struct sluice_event *ev)
{
    struct sim_watch *watch = &w->judge.watches[p->index];
    watch->was_hungry |= p->heap.failing_per_mille > 0;
    watch->refusals = p->heap.refusals;
    see_journal(watch, ev);
    sim_judge_intake_event(w, watch, ev);
    switch (ev->kind) {
    case SLUICE_EV_CONNECTED:
        /* The journal is asked for at boot alone; who connects again has it in use himself. */
        if (ev->connected.journal_in_use || watch->connected_ms != 0) {
            watch->connected_wall_ms = server_time_ms(w, ev);
        }
        watch->is_connected = 1;
        watch->journal_failures = 0;
        watch->connected_ms = ev->mono_ms;
        sim_judge_pull_event(w, watch, ev);
        break;
    case SLUICE_EV_CONSUMER:
        see_consumer(w, watch, ev);
        break;
    case SLUICE_EV_DISCONNECTED:
        watch->is_connected = 0;
        sim_judge_pull_event(w, watch, ev);
        break;
    case SLUICE_EV_MESSAGE:
    case SLUICE_EV_PULL:
        sim_judge_pull_event(w, watch, ev);
        break;
    case SLUICE_EV_DRAIN:
        watch->is_draining = 1;
        break;
    case SLUICE_EV_ABORT:
        watch->is_aborted = 1;
        break;
    default: {
        struct sim_attempt *a = sim_judge_attempt(watch, ev->ticket);
        if (a != NULL) {
            sim_judge_paced_event(w, watch, a, ev);
            see_attempt(w, watch, p, a, ev);
        }
        break;
    }
    }
}

/* ---- Effects */

static int is_about_message(enum sluice_effect_kind kind)
{
    return kind == SLUICE_FX_ADMIT || kind == SLUICE_FX_REBIND || kind == SLUICE_FX_REFUSE;
}

static void judge_ticketed(struct sim_world *w, struct sim_watch *watch,
                           const struct sim_process *p, const struct sluice_event *ev,
                           const struct sluice_effect *fx)
{
    struct sim_attempt *a = sim_judge_attempt(watch, fx->ticket);
    if (a == NULL) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "%s for %u.%u, which is not in flight",
                       sluice_effect_name(fx->kind), fx->ticket.slot, fx->ticket.generation);
        return;
    }
    sim_judge_paced(w, watch, a, ev, fx);
    switch (fx->kind) {
    case SLUICE_FX_SETTLE:
        sim_judge_settle(w, watch, a, ev, &fx->settle);
        break;
    case SLUICE_FX_LOAD:
    case SLUICE_FX_KEEP:
    case SLUICE_FX_RECORD:
        sim_judge_journal(w, watch, a, ev, fx);
        break;
    case SLUICE_FX_RUN:
        sim_judge_run(w, watch, a);
        break;
    case SLUICE_FX_START:
    case SLUICE_FX_REPLAY:
    case SLUICE_FX_CANCEL:
        sim_judge_call(w, watch, p, a, ev, fx);
        break;
    case SLUICE_FX_RELEASE:
        sim_judge_release(w, watch, a, ev, fx);
        break;
    default:
        sim_judge_commit(w, watch, a, ev, fx);
        break;
    }
}

static void judge_effect(struct sim_world *w, struct sim_watch *watch, const struct sim_process *p,
                         const struct sluice_event *ev, const struct sluice_effect *fx)
{
    if (watch->has_drained) {
        sim_judge_fail(w, SIM_RULE_DRAIN, "%s after DRAINED", sluice_effect_name(fx->kind));
        return;
    }
    if (is_about_message(fx->kind) && ev->kind != SLUICE_EV_MESSAGE) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "%s without a message", sluice_effect_name(fx->kind));
        return;
    }
    switch (fx->kind) {
    case SLUICE_FX_PULL:
        sim_judge_intake(w, watch, ev, fx);
        sim_judge_pull(w, watch, ev, &fx->pull);
        break;
    case SLUICE_FX_ABANDON:
        sim_judge_intake(w, watch, ev, fx);
        sim_judge_abandon(w, watch, fx->pull.pull);
        break;
    case SLUICE_FX_CHECK:
        watch->has_checked = 1;
        break;
    case SLUICE_FX_STOP:
        if (watch->is_stopped || !watch->is_draining) {
            sim_judge_fail(w, SIM_RULE_DRAIN, "STOP twice, or without DRAIN");
        }
        watch->is_stopped = 1;
        break;
    case SLUICE_FX_ADMIT:
        sim_judge_admit(w, watch, ev, fx);
        break;
    case SLUICE_FX_REBIND:
        sim_judge_rebind(w, watch, ev, fx);
        break;
    case SLUICE_FX_REFUSE:
        sim_judge_refuse(w, watch, ev, fx);
        break;
    case SLUICE_FX_DRAINED:
        if (!watch->is_draining || watch->live != 0) {
            sim_judge_fail(w, SIM_RULE_DRAIN, "DRAINED with %u messages in flight", watch->live);
        }
        watch->has_drained = 1;
        break;
    default:
        judge_ticketed(w, watch, p, ev, fx);
        break;
    }
}

/* The engine itself has found no memory in this step: for what the event told of a message, or for
 * the mark of one that has not begun. */
static void see_want(const struct sim_world *w, struct sim_watch *watch,
                     const struct sim_process *p, const struct sluice_event *ev)
{
    const struct sim_attempt *met = sim_judge_attempt(watch, ev->ticket);
    if (p->heap.refusals == watch->refusals) {
        return;
    }
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        struct sim_attempt *a = &watch->attempts[i];
        a->met_want |= a == met || !a->has_run;
    }
}

void sim_judge_step(struct sim_world *w, const struct sim_process *p, const struct sluice_event *ev,
                    const struct sluice_effects *effects)
{
    struct sim_watch *watch = &w->judge.watches[p->index];
    uint32_t received = 0;
    watch->has_checked = 0;
    see_want(w, watch, p, ev);
    for (uint32_t i = 0; i < effects->count && !w->judge.has_failed; i++) {
        judge_effect(w, watch, p, ev, &effects->items[i]);
        received += (uint32_t)is_about_message(effects->items[i].kind);
    }
    sim_judge_answered(w, ev, received);
    sim_judge_breakers(w, watch);
    sim_judge_due(w, watch, ev, effects);
    sim_judge_drain(w, watch, ev, effects);
    sim_judge_paces(w, watch, ev, effects);
    sim_judge_intake_after(w, watch, ev);
    sim_judge_bounds(w, watch, p, ev);
    sim_judge_probe(w, watch, p, ev);
    watch->step_ms = ev->mono_ms;
}
