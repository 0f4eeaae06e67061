/* SPDX-License-Identifier: Apache-2.0 */
/* Calls: which may start, which were paid for already, which must wait: INV-5, INV-14, INV-15. */
#include "sim/check.h"

#include "sim/world.h"

/* Those who wait for the same moment do not come back as one burst, but soon after it. */
#define RATE_LIMIT_SPREAD_MS 1000

static int is_same(const struct sluice_journaled *x, const struct sluice_journaled *y)
{
    return x->hash.low == y->hash.low && x->hash.high == y->hash.high &&
           x->occurrence == y->occurrence;
}

/* ---- Breakers */

/* Failures of several messages, or twice as many of whoever it was. */
static int may_open(const struct sim_watched_breaker *b, const struct sluice_breaker_config *config)
{
    uint32_t needed = config->failure_threshold;
    return b->failures >= needed &&
           (b->sources_count >= config->minimum_sources || b->failures >= 2 * needed);
}

void sim_judge_breaker(struct sim_world *w, const struct sim_process *p, uint32_t dependency,
                       enum sluice_breaker_state to)
{
    struct sim_watched_breaker *b = &w->judge.watches[p->index].breakers[dependency];
    const struct sluice_breaker_config *config = &w->plan.engine.dependencies[dependency];
    sim_trace_text(w, "w%u breaker %s is %s", (unsigned)p->index, config->name,
                   sluice_breaker_state_name(to));
    if (to == SLUICE_BREAKER_HALF_OPEN &&
        (b->state != SLUICE_BREAKER_OPEN || w->now_ms < b->changed_ms + config->reset_timeout_ms)) {
        sim_judge_fail(w, SIM_RULE_RETRY, "the breaker of %s went half open too early",
                       config->name);
    }
    if (to == SLUICE_BREAKER_OPEN && b->state == SLUICE_BREAKER_CLOSED && !may_open(b, config)) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "the breaker of %s opens after %u failures of %u, of %u messages",
                       config->name, b->failures, config->failure_threshold, b->sources_count);
    }
    b->state = (uint8_t)to;
    b->changed_ms = w->now_ms;
    b->period++;
    b->running = b->failures = b->completed = b->sources_count = 0;
    b->is_answering = 0;
}

int sim_judge_is_shut(const struct sim_world *w, const struct sim_watch *watch, uint32_t dependency)
{
    const struct sim_watched_breaker *b = &watch->breakers[dependency];
    return b->state == SLUICE_BREAKER_OPEN &&
           w->now_ms < b->changed_ms + w->plan.engine.dependencies[dependency].reset_timeout_ms;
}

static int must_be_open(const struct sim_watched_breaker *b,
                        const struct sluice_breaker_config *config)
{
    return b->state == SLUICE_BREAKER_CLOSED && b->completed >= config->minimum_throughput &&
           may_open(b, config);
}

uint32_t sim_judge_may_call(struct sim_world *w, struct sim_watch *watch,
                            const struct sim_attempt *a, uint8_t dependency,
                            const struct sluice_event *ev)
{
    if (dependency >= SLUICE_DEPENDENCIES_MAX) {
        return 0;
    }
    struct sim_watched_breaker *b = &watch->breakers[dependency];
    const struct sluice_breaker_config *config = &w->plan.engine.dependencies[dependency];
    if (b->state == SLUICE_BREAKER_OPEN || must_be_open(b, config)) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u calls %s, whose breaker %s open", a->sequence,
                       config->name, b->state == SLUICE_BREAKER_OPEN ? "is" : "should be");
    } else if (b->state == SLUICE_BREAKER_HALF_OPEN && b->running >= config->half_open_max) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u calls %s beside %u trials", a->sequence,
                       config->name, b->running);
    } else if (ev->mono_ms < b->limited_until_ms) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u calls %s %lld ms before its Retry-After",
                       a->sequence, config->name, (long long)(b->limited_until_ms - ev->mono_ms));
    }
    b->running++;
    return b->period;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A table of the judges' own. What did not go out cannot be the message's fault; what is said to be
 * away is, when it was there for the call before. */
static enum sim_blame blame_of(const struct sim_watched_breaker *b, uint8_t fate)
{
    switch ((enum sluice_fate)fate) {
    case SLUICE_FATE_UNREACHABLE:
        return SIM_BLAME_NONE;
    case SLUICE_FATE_UNAVAILABLE:
        return b->is_answering == 0   ? SIM_BLAME_NONE
               : b->is_answering == 1 ? SIM_BLAME_SURE
                                      : SIM_BLAME_UNCLEAR;
    case SLUICE_FATE_RETRY:
    case SLUICE_FATE_UNKNOWN:
    case SLUICE_FATE_BAD_ANSWER:
        return SIM_BLAME_SURE;
    default:
        return SIM_BLAME_UNCLEAR; /* has a reason of its own */
    }
}

static void breaker_called(struct sim_watched_breaker *b, uint32_t sequence, uint8_t fate)
{
    b->running -= b->running > 0;
    if (fate == SLUICE_FATE_CANCELLED || fate == SLUICE_FATE_RATE_LIMITED ||
        fate == SLUICE_FATE_NO_MEMORY) {
        return; /* says nothing about the health of the other side */
    }
    b->completed++;
    if (fate != SLUICE_FATE_RETRY && fate != SLUICE_FATE_UNKNOWN &&
        fate != SLUICE_FATE_UNREACHABLE && fate != SLUICE_FATE_UNAVAILABLE) {
        b->failures = b->sources_count = 0;
        b->is_answering = b->state == SLUICE_BREAKER_CLOSED;
        return;
    }
    b->is_answering = 0;
    b->failures++;
    for (uint32_t i = 0; i < b->sources_count; i++) {
        if (b->sources[i] == sequence) {
            return;
        }
    }
    if (b->sources_count < SLUICE_BREAKER_SOURCES_MAX) {
        b->sources[b->sources_count++] = sequence;
    }
}

enum sim_blame sim_judge_called(struct sim_world *w, struct sim_watch *watch,
                                const struct sim_attempt *a, uint8_t dependency, uint32_t period,
                                uint8_t fate)
{
    (void)w;
    if (dependency >= SLUICE_DEPENDENCIES_MAX) {
        return SIM_BLAME_UNCLEAR;
    }
    struct sim_watched_breaker *b = &watch->breakers[dependency];
    enum sim_blame blame = blame_of(b, fate);
    if (b->period == period) { /* of an older period: counts nowhere */
        breaker_called(b, a->sequence, fate);
    }
    return blame;
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
    /* A reading of the journal that failed is tried again inside the lease before paying. */
    if (a->load_failed && a->loads_failed < 2) {
        sim_judge_fail(w, SIM_RULE_PAID,
                       "message %u pays after its journal could not be read at the first try",
                       a->sequence);
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
        if (s->was_started && !s->was_cancelled) { /* a trial leaves its place at once */
            (void)sim_judge_called(w, watch, a, s->dependency, s->period, SLUICE_FATE_CANCELLED);
        }
        s->was_cancelled = 1;
    }
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
    s->state = may_start ? SIM_SEEN_ASKED : SIM_SEEN_ENDED;
    s->was_missed |= e->fate == SLUICE_FATE_MISS;
    s->fate = e->fate;
    s->blame = SIM_BLAME_UNCLEAR;
    if (!s->was_started) {
        return;
    }
    if (!s->was_cancelled) {
        s->blame = (uint8_t)sim_judge_called(w, watch, a, s->dependency, s->period, e->fate);
    } else if (s->dependency < SLUICE_DEPENDENCIES_MAX && e->fate == SLUICE_FATE_OK) {
        /* It works: an engine may count that. */
        watch->breakers[s->dependency].failures = watch->breakers[s->dependency].sources_count = 0;
        watch->breakers[s->dependency].is_answering = 2;
    }
    s->was_cancelled = 0;
    if (e->fate == SLUICE_FATE_RATE_LIMITED) {
        const struct sluice_engine_config *c = &w->plan.engine;
        int64_t most = c->retry_after_max_ms;
        int64_t after = e->retry_after_ms < most ? e->retry_after_ms : most;
        int64_t until = ev->mono_ms + after;
        int64_t own = c->nak_delay_max_ms < most ? c->nak_delay_max_ms : most;
        a->retry_after_ms = after > a->retry_after_ms ? after : a->retry_after_ms;
        a->retry_at_ms = a->retry_at_ms == 0 || until < a->retry_at_ms ? until : a->retry_at_ms;
        if (s->dependency < SLUICE_DEPENDENCIES_MAX) {
            struct sim_watched_breaker *b = &watch->breakers[s->dependency];
            b->limited_until_ms = larger(b->limited_until_ms, until);
            b->limited_most_ms = larger(b->limited_most_ms, after > 0 ? until : ev->mono_ms + own);
            /* It waits inside its lease, which is renewed until its deadline, if that suffices. */
            s->must_wait =
                !a->was_rebound && !watch->is_aborted &&
                b->limited_most_ms + RATE_LIMIT_SPREAD_MS < a->delivered_ms + c->handler_timeout_ms;
        }
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
    uint32_t most = 1u + a->slack;
    if (knows && (r->failures < a->base_failures || r->failures > a->base_failures + most ||
                  r->epoch < a->base_epoch || r->epoch > a->base_epoch + most)) {
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
    a->is_mark_asked = r->is_marked;
}

void sim_judge_journal(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev, const struct sluice_effect *fx)
{
    (void)watch;
    if (!w->plan.engine.journal) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "%s without a journal", sluice_effect_name(fx->kind));
        return;
    }
    if (fx->kind == SLUICE_FX_RECORD) {
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
