/* SPDX-License-Identifier: Apache-2.0 */
/* Calls: which may start, which were paid for already, which must wait: INV-5, INV-14. */
#include "sim/check.h"

#include "sim/world.h"

/* Those who wait for the same moment do not come back as one burst, but soon after it. */
#define RATE_LIMIT_SPREAD_MS 1000

static int is_same(const struct sluice_journaled *x, const struct sluice_journaled *y)
{
    return x->hash.low == y->hash.low && x->hash.high == y->hash.high &&
           x->occurrence == y->occurrence;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- Paid for already? */

/* Was this answer in the journal, and of the present epoch, when the attempt read it? */
static int was_there(const struct sim_kv_entry *e, const struct sim_attempt *a,
                     const struct sim_seen *s, int64_t read_ms, uint32_t epoch)
{
    (void)a;
    for (uint32_t i = 0; i < e->answers_count; i++) {
        const struct sim_kept *kept = &e->answers[i];
        if (is_same(&kept->id, &s->id) && kept->id.epoch == epoch && kept->kept_ms < read_ms) {
            return 1;
        }
    }
    return 0;
}

static void judge_payment(struct sim_world *w, struct sim_attempt *a, const struct sim_seen *s,
                          const struct sluice_event *ev)
{
    const struct sim_kv_entry *e = &w->kv.entries[a->key];
    if (!w->plan.engine.journal || !s->is_paid) {
        return;
    }
    /* A reading of the journal that failed is tried again inside the lease before paying; what
     * fails while the connection is known to be down is no try. */
    if (a->load_failed && a->must_read) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "message %u pays unread, and has lost a race to an answer that is there",
                       a->sequence);
        return;
    }
    if (a->load_failed && a->loads_failed < 2) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "message %u pays after %u tries to read its journal on a connection",
                       a->sequence, (unsigned)a->loads_failed);
        return;
    }
    if (s->was_missed) {
        if (++a->misses_paid > SIM_STEPS_MAX) {
            sim_judge_fail(w, SIM_RULE_PAID, "message %u pays without end for one useless answer",
                           a->sequence);
        }
        return;
    }
    if (a->has_gap && was_there(e, a, s, a->rebound_ms, a->base_epoch) &&
        !was_there(e, a, s, a->loaded_ms, a->base_epoch)) {
        w->totals.excused_payments++; /* others had deliveries between two of this process */
        return;
    }
    if (a->was_loaded) {
        if (was_there(e, a, s, a->loaded_ms, a->base_epoch)) {
            sim_judge_fail(w, SIM_RULE_PAID, "message %u pays again for an answer that it read",
                           a->sequence);
        }
        return;
    }
    int64_t received_ms = w->now_ms - (ev->mono_ms - a->admitted_ms);
    if (!was_there(e, a, s, received_ms, e->record.epoch)) {
        return;
    }
    if (a->load_failed) {
        w->totals.excused_payments++; /* it was tried */
    } else if (a->needs_load) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "message %u, delivery %u, pays again without having read the journal",
                       a->sequence, a->deliveries);
    } else {
        w->totals.excused_payments++; /* nothing hinted at an earlier delivery */
    }
}

/* ---- Effects */

static void start(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                  struct sim_seen *s, const struct sluice_event *ev)
{
    if (sim_judge_is_late(a, ev->mono_ms)) {
        sim_judge_fail(w, SIM_RULE_LEASE, "message %u starts a call %lld ms after its lease",
                       a->sequence, (long long)(ev->mono_ms - a->lease_end_ms));
        return;
    }
    int is_again = s->state == SIM_SEEN_ENDED && (s->fate == SLUICE_FATE_OK || !a->was_rebound);
    if (s->state == SIM_SEEN_RUNNING || is_again || a->verdict_verb != 0) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "message %u starts a step twice, or too late",
                       a->sequence);
        return;
    }
    judge_payment(w, a, s, ev);
    sim_judge_unlimited(w, watch, a, s, ev);
    if (s->dependency < SLUICE_DEPENDENCIES_MAX) {
        sim_judge_trial(w, watch, a, s->dependency, ev);
    }
    s->period = sim_judge_may_call(w, watch, a, s->dependency, ev);
    s->was_started = 1;
    s->state = SIM_SEEN_RUNNING;
}

static void replay(struct sim_world *w, const struct sim_process *p, struct sim_attempt *a,
                   struct sim_seen *s, const struct sluice_effect *fx)
{
    const struct sim_hosted *h = &p->hosted[fx->ticket.slot];
    if (s->state != SIM_SEEN_ASKED || fx->journaled >= h->loaded_count || !a->was_loaded) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "message %u replays answer %u of %u", a->sequence,
                       (unsigned)fx->journaled, h->loaded_count);
        return;
    }
    const struct sluice_journaled *id = &h->loaded[fx->journaled];
    if (!is_same(id, &s->id) || id->epoch != a->base_epoch) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "message %u is served another request's answer, or a "
                       "spent one",
                       a->sequence);
        return;
    }
    s->was_started = 0;
    s->state = SIM_SEEN_RUNNING;
}

void sim_judge_call(struct sim_world *w, struct sim_watch *watch, const struct sim_process *p,
                    struct sim_attempt *a, const struct sluice_event *ev,
                    const struct sluice_effect *fx)
{
    if (fx->step >= a->steps_count) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "%s of step %u of message %u, which has %u",
                       sluice_effect_name(fx->kind), (unsigned)fx->step, a->sequence,
                       (unsigned)a->steps_count);
        return;
    }
    struct sim_seen *s = &a->steps[fx->step];
    if (fx->kind == SLUICE_FX_START) {
        start(w, watch, a, s, ev);
    } else if (fx->kind == SLUICE_FX_REPLAY) {
        replay(w, p, a, s, fx);
    } else if (s->state != SIM_SEEN_RUNNING) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "CANCEL of step %u of message %u, which does not run",
                       (unsigned)fx->step, a->sequence);
    } else {
        sim_judge_cancel(w, watch, a, ev, fx->step);
        a->decided_ms = a->decided_ms == 0 ? ev->mono_ms : a->decided_ms;
        s->was_cancelled = 1;
    }
}

/* A 429 was read. Until when is the dependency left alone, at least and at most? Who does not say
 * when is not asked again at once either: after a delay that grows with each 429 of the step. */
static void see_limited(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                        struct sim_seen *s, const struct sluice_event *ev)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    int64_t after = smaller(ev->step.retry_after_ms, c->retry_after_max_ms);
    int64_t until = ev->mono_ms + after;
    a->retry_after_ms = larger(a->retry_after_ms, after);
    a->retry_at_ms = a->retry_at_ms == 0 || until < a->retry_at_ms ? until : a->retry_at_ms;
    s->limits = (uint8_t)(s->limits + (s->limits < UINT8_MAX));
    if (s->dependency >= SLUICE_DEPENDENCIES_MAX) {
        return;
    }
    int64_t own = sim_judge_full_delay_ms(c, s->limits);
    int64_t least = after > 0 ? after : smaller(own / 2, c->retry_after_max_ms);
    int64_t most = after > 0 ? after : smaller(own, c->retry_after_max_ms);
    struct sim_watched_breaker *b = &watch->breakers[s->dependency];
    b->limited_until_ms = larger(b->limited_until_ms, ev->mono_ms + least);
    b->limited_most_ms = larger(b->limited_most_ms, ev->mono_ms + most);
    sim_judge_limited(w, watch, a, s, ev);
}

void sim_judge_call_ended(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                          const struct sluice_event *ev)
{
    const struct sluice_ev_step *e = &ev->step;
    if (e->step >= a->steps_count) {
        return;
    }
    struct sim_seen *s = &a->steps[e->step];
    /* A rate limit may be waited for inside of the lease. */
    int may_start = e->fate == SLUICE_FATE_MISS || e->fate == SLUICE_FATE_RATE_LIMITED;
    int has_run = s->was_started && s->state == SIM_SEEN_RUNNING;
    s->state = may_start ? SIM_SEEN_ASKED : SIM_SEEN_ENDED;
    s->was_missed |= e->fate == SLUICE_FATE_MISS;
    s->fate = e->fate;
    s->blame = SIM_BLAME_UNCLEAR;
    if (!has_run) {
        return;
    }
    /* An answer that has overtaken its CANCEL counts for the breaker as any other. */
    enum sim_blame blame = sim_judge_called(w, watch, a, s->dependency, s->period, e->fate);
    s->blame = (uint8_t)(s->was_cancelled ? SIM_BLAME_UNCLEAR : blame);
    s->was_cancelled = 0;
    if (e->fate == SLUICE_FATE_RATE_LIMITED) {
        see_limited(w, watch, a, s, ev);
    }
}

/* ---- The journal */

static void record(struct sim_world *w, struct sim_attempt *a, const struct sluice_record *r)
{
    if (a->record_owed) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "RECORD of message %u beside another", a->sequence);
        return;
    }
    a->record_owed = 1;
    int knows = a->was_loaded || !a->needs_load;
    uint32_t most = 1u;
    if (knows && r->epoch > a->base_epoch + a->own_errors) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "record of message %u spends its answers: epoch %u after %u, and its "
                       "handler has returned %u errors of its own",
                       a->sequence, r->epoch, a->base_epoch, (unsigned)a->own_errors);
        return;
    }
    if (knows && (r->failures < a->base_failures || r->failures > a->base_failures + most ||
                  r->epoch < a->base_epoch)) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "record of message %u: failures %u after %u, epoch %u "
                       "after %u",
                       a->sequence, r->failures, a->base_failures, r->epoch, a->base_epoch);
        return;
    }
    a->recorded_failures = r->failures;
    a->recorded_epoch = r->epoch;
    a->recorded_outputs = 0;
    for (uint32_t i = 0; i < a->outputs_count; i++) {
        for (uint32_t k = 0; k < r->outputs_count; k++) {
            a->recorded_outputs |= r->outputs[k] == a->outputs[i] ? 1u << i : 0;
        }
    }
    a->has_recorded = 1;
    a->is_mark_confirmed = 0;
    a->clears_mark = a->is_mark_asked && !r->is_marked;
    a->is_mark_asked = r->is_marked;
}

void sim_judge_journal(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev, const struct sluice_effect *fx)
{
    if (!w->plan.engine.journal) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "%s without a journal", sluice_effect_name(fx->kind));
        return;
    }
    if (fx->kind == SLUICE_FX_RECORD) {
        watch->has_marked |= fx->record->is_marked;
        sim_judge_mark_cleared(w, a, fx->record);
        record(w, a, fx->record);
        return;
    }
    if (fx->kind == SLUICE_FX_LOAD) {
        if (a->load_owed || a->run_owed) {
            sim_judge_fail(w, SIM_RULE_CONTRACT, "LOAD of message %u beside a LOAD or RUN",
                           a->sequence);
        }
        for (uint32_t i = 0; i < a->steps_count; i++) {
            if (a->steps[i].state == SIM_SEEN_RUNNING) {
                sim_judge_fail(w, SIM_RULE_CONTRACT, "LOAD of message %u while step %u runs",
                               a->sequence, i);
            }
        }
        a->load_owed = 1;
        a->must_read |= a->lost_race;
        a->was_loaded = a->load_failed = a->has_verdict = a->has_gap = a->lost_race = 0;
        a->is_rejected = a->may_start_over = 0;
        a->steps_count = 0;
        return;
    }
    struct sim_seen *s = &a->steps[fx->step];
    if (fx->step >= a->steps_count || s->state != SIM_SEEN_ENDED || s->fate != SLUICE_FATE_OK ||
        !s->is_paid || !s->was_started || s->is_keep_owed) {
        sim_judge_fail(w, SIM_RULE_CONTRACT,
                       "KEEP of step %u of message %u, which has %u: state %u, fate %u, paid %u, "
                       "started %u, being kept %u",
                       (unsigned)fx->step, a->sequence, (unsigned)a->steps_count,
                       (unsigned)s->state, (unsigned)s->fate, (unsigned)s->is_paid,
                       (unsigned)s->was_started, (unsigned)s->is_keep_owed);
        return;
    }
    if (fx->epoch != a->base_epoch) {
        sim_judge_fail(w, SIM_RULE_PAID, "an answer of message %u is kept under epoch %u, not %u",
                       a->sequence, fx->epoch, a->base_epoch);
    }
    s->is_keep_owed = s->was_kept = 1;
    s->is_unsure = 0;
    s->keep_ms = ev->mono_ms;
}

void sim_judge_loaded(struct sim_world *w, const struct sim_process *p, struct sluice_ticket ticket,
                      uint32_t key)
{
    struct sim_attempt *a = sim_judge_attempt(&w->judge.watches[p->index], ticket);
    (void)key;
    if (a != NULL) {
        a->loaded_ms = w->now_ms;
    }
}
