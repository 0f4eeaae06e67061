/* SPDX-License-Identifier: Apache-2.0 */
/* Memoised steps: what the handler asked for, which calls run, and which wait for a breaker or a
 * rate limit. */
#include "core/engine_state.h"
#include "core/retry.h"

#include <string.h>

/* Those who wait for the end of the same pause come back within this time after it. */
#define PAUSE_SPREAD_MS 1000

/* ---- Permits ---- */

static void breaker_tell(struct sluice_engine *e, uint32_t dependency,
                         enum sluice_breaker_state from)
{
    enum sluice_breaker_state to = e->dependencies[dependency].breaker.state;
    if (from == to) {
        return;
    }
    e->dependencies[dependency].scan_at_ms = 0;
    if (e->config.on_breaker != NULL) {
        e->config.on_breaker(e->config.hook_ctx, dependency, from, to);
    }
}

int permit_acquire(struct sluice_engine *e, uint32_t dependency, struct sluice_permit *permit)
{
    if (dependency == SLUICE_DEP_NONE) {
        return 1;
    }
    struct dependency *d = &e->dependencies[dependency];
    if (e->now_ms < d->paused_until_ms) {
        return 0;
    }
    enum sluice_breaker_state before = d->breaker.state;
    int is_admitted = sluice_breaker_acquire(&d->breaker, e->now_ms, permit, NULL) == SLUICE_OK;
    breaker_tell(e, dependency, before);
    e->metrics.calls_started[dependency] += is_admitted;
    return is_admitted;
}

enum sluice_fate fate_of_message(const struct sluice_engine *e, uint32_t dependency,
                                 enum sluice_fate fate)
{
    if (fate != SLUICE_FATE_UNAVAILABLE) {
        return fate;
    }
    int is_there = dependency == SLUICE_DEP_NONE ||
                   sluice_breaker_is_answering(&e->dependencies[dependency].breaker);
    return is_there ? SLUICE_FATE_RETRY : SLUICE_FATE_UNREACHABLE;
}

void permit_finish(struct sluice_engine *e, uint32_t dependency, struct sluice_permit *permit,
                   enum sluice_fate fate, const struct message *m)
{
    /* What the server answered, however unwelcome, shows that it works; a rate limit is handled by
     * pausing. */
    static const enum sluice_call_result results[] = {
        [SLUICE_FATE_OK] = SLUICE_CALL_OK,
        [SLUICE_FATE_RETRY] = SLUICE_CALL_FAILED,
        [SLUICE_FATE_UNREACHABLE] = SLUICE_CALL_FAILED,
        [SLUICE_FATE_UNAVAILABLE] = SLUICE_CALL_FAILED,
        [SLUICE_FATE_BAD_ANSWER] = SLUICE_CALL_OK,
        [SLUICE_FATE_PERMANENT] = SLUICE_CALL_OK,
        [SLUICE_FATE_UNKNOWN] = SLUICE_CALL_TIMED_OUT,
        [SLUICE_FATE_RATE_LIMITED] = SLUICE_CALL_CANCELLED,
        [SLUICE_FATE_CANCELLED] = SLUICE_CALL_CANCELLED,
        [SLUICE_FATE_NO_MEMORY] = SLUICE_CALL_CANCELLED,
        [SLUICE_FATE_MISS] = SLUICE_CALL_CANCELLED,
    };
    _Static_assert(sizeof results / sizeof results[0] == SLUICE_FATE_COUNT, "a result for each");
    if (dependency == SLUICE_DEP_NONE || !permit->is_held) {
        return;
    }
    struct dependency *d = &e->dependencies[dependency];
    enum sluice_breaker_state before = d->breaker.state;
    e->metrics.calls_failed[dependency] +=
        fate != SLUICE_FATE_OK && fate != SLUICE_FATE_CANCELLED && fate != SLUICE_FATE_NO_MEMORY;
    sluice_breaker_finish(&d->breaker, e->now_ms, permit, results[fate], m->sequence);
    if (d->parked > 0) {
        d->scan_at_ms = 0; /* a trial slot may have come free */
    }
    breaker_tell(e, dependency, before);
}

/* ---- Starting ---- */

static void park(struct sluice_engine *e, struct message *m, uint32_t i, int64_t not_before_ms)
{
    m->statuses[i].state = SLUICE_STEP_PARKED;
    m->steps[i].not_before_ms = not_before_ms;
    m->parked++;
    struct dependency *d = &e->dependencies[m->statuses[i].dependency];
    d->parked++;
    if (not_before_ms < d->scan_at_ms) {
        d->scan_at_ms = not_before_ms;
    }
}

static void start(struct sluice_engine *e, struct message *m, uint32_t i)
{
    m->statuses[i].state = SLUICE_STEP_RUNNING;
    m->steps[i].is_cancelled = 0;
    m->running++;
    fx_emit(e, SLUICE_FX_START, m)->step = (uint16_t)i;
}

static void start_or_park(struct sluice_engine *e, struct message *m, uint32_t i)
{
    if (permit_acquire(e, m->statuses[i].dependency, &m->steps[i].permit)) {
        start(e, m, i);
    } else {
        park(e, m, i, e->now_ms);
    }
}

static int journaled_find(const struct message *m, const struct sluice_step_status *status)
{
    uint32_t epoch = m->record == NULL ? 0 : m->record->epoch;
    for (uint32_t i = 0; i < m->journaled_count; i++) {
        const struct sluice_journaled *j = &m->journaled[i];
        if (j->hash.high == status->hash.high && j->hash.low == status->hash.low &&
            j->occurrence == status->occurrence && j->epoch == epoch) {
            return (int)i;
        }
    }
    return -1;
}

static int steps_reserve(struct sluice_engine *e, struct message *m, uint32_t need)
{
    if (need <= m->steps_capacity) {
        return 1;
    }
    uint32_t capacity = m->steps_capacity == 0 ? 1 : m->steps_capacity; /* most ask once */
    while (capacity < need) {
        capacity *= 2;
    }
    const struct sluice_allocator *a = &e->config.allocator;
    void *statuses = a->resize(a->ctx, m->statuses, capacity * sizeof *m->statuses);
    if (statuses == NULL) {
        return 0;
    }
    m->statuses = statuses;
    void *steps = a->resize(a->ctx, m->steps, capacity * sizeof *m->steps);
    if (steps == NULL) {
        return 0;
    }
    m->steps = steps;
    m->steps_capacity = capacity;
    return 1;
}

static void step_add(struct sluice_engine *e, struct message *m,
                     const struct sluice_step_request *request)
{
    uint32_t i = m->steps_count++;
    struct sluice_step_status *status = &m->statuses[i];
    *status = (struct sluice_step_status){
        .hash = request->hash, .dependency = request->dependency, .is_paid = request->is_paid};
    m->steps[i] = (struct step){.not_before_ms = 0};
    for (uint32_t k = 0; k < i; k++) {
        status->occurrence += m->statuses[k].hash.high == request->hash.high &&
                              m->statuses[k].hash.low == request->hash.low;
    }
    int journaled = request->is_paid ? journaled_find(m, status) : -1;
    if (journaled < 0) {
        start_or_park(e, m, i);
        return;
    }
    status->state = SLUICE_STEP_REPLAYING;
    m->running++;
    struct sluice_effect *fx = fx_emit(e, SLUICE_FX_REPLAY, m);
    fx->step = (uint16_t)i;
    fx->journaled = (uint16_t)journaled;
}

int steps_append(struct sluice_engine *e, struct message *m, const struct sluice_ev_verdict *v)
{
    if (v->steps_count > SLUICE_STEPS_MAX - m->steps_count ||
        !steps_reserve(e, m, m->steps_count + v->steps_count)) {
        return 0;
    }
    for (uint32_t i = 0; i < v->steps_count; i++) {
        uint8_t d = v->steps[i].dependency;
        SLUICE_ASSERT(d == SLUICE_DEP_NONE || d < e->config.dependencies_count);
        step_add(e, m, &v->steps[i]);
    }
    memcpy(m->awaited, v->awaited, sizeof m->awaited);
    return 1;
}

/* ---- Looking ---- */

static int has_ended(const struct sluice_step_status *status)
{
    return status->state == SLUICE_STEP_OK || status->state == SLUICE_STEP_FAILED;
}

static int is_awaited(const struct message *m, uint32_t i)
{
    return (int)(m->awaited[i / 64] >> (i % 64) & 1u);
}

int steps_are_awaited(const struct message *m)
{
    for (uint32_t i = 0; i < m->steps_count; i++) {
        if (is_awaited(m, i) && !has_ended(&m->statuses[i])) {
            return 1;
        }
    }
    return 0;
}

int steps_are_only_parked(const struct message *m)
{
    return m->parked > 0 && m->running == 0;
}

/* Does a call run that has a time-out? An offloaded function has none: who waited for it without a
 * deadline would hold its slot, and each shutdown up, for ever. */
int steps_will_end(const struct message *m)
{
    for (uint32_t i = 0; m->running > 0 && i < m->steps_count; i++) {
        const struct sluice_step_status *s = &m->statuses[i];
        int is_running = s->state == SLUICE_STEP_RUNNING || s->state == SLUICE_STEP_REPLAYING;
        if (is_running && s->dependency != SLUICE_DEP_NONE) {
            return 1;
        }
    }
    return 0;
}

uint32_t steps_paid_running(const struct message *m)
{
    uint32_t count = 0;
    for (uint32_t i = 0; m->running > 0 && i < m->steps_count; i++) {
        count += m->statuses[i].state == SLUICE_STEP_RUNNING && m->statuses[i].is_paid;
    }
    return count;
}

/* ---- Ending ---- */

void steps_unpark(struct sluice_engine *e, struct message *m)
{
    for (uint32_t i = 0; m->parked > 0; i++) {
        SLUICE_ASSERT(i < m->steps_count);
        if (m->statuses[i].state == SLUICE_STEP_PARKED) {
            m->statuses[i].state = SLUICE_STEP_FAILED;
            m->statuses[i].fate = SLUICE_FATE_CANCELLED;
            m->steps[i].is_dropped = 1;
            m->parked--;
            e->dependencies[m->statuses[i].dependency].parked--;
        }
    }
}

void steps_cancel(struct sluice_engine *e, struct message *m)
{
    steps_unpark(e, m);
    for (uint32_t i = 0; m->running > 0 && i < m->steps_count; i++) {
        if (m->statuses[i].state == SLUICE_STEP_RUNNING && !m->steps[i].is_cancelled) {
            m->steps[i].is_cancelled = 1;
            m->steps[i].is_dropped = m->failure != SLUICE_FAILURE_NONE; /* or nobody waits for it */
            fx_emit(e, SLUICE_FX_CANCEL, m)->step = (uint16_t)i;
        }
    }
}

void steps_forget(struct sluice_engine *e, struct message *m)
{
    steps_unpark(e, m);
    for (uint32_t i = 0; i < m->steps_count; i++) {
        if (m->statuses[i].state == SLUICE_STEP_RUNNING) {
            fx_emit(e, SLUICE_FX_CANCEL, m)->step = (uint16_t)i;
        }
        permit_finish(e, m->statuses[i].dependency, &m->steps[i].permit, SLUICE_FATE_CANCELLED, m);
    }
    m->steps_count = 0;
    m->running = 0;
    memset(m->awaited, 0, sizeof m->awaited);
}

void steps_restart(struct sluice_engine *e, struct message *m)
{
    /* Read while the mark of its own last run is still being cleared, the journal would accuse the
     * message of having killed a process. */
    SLUICE_ASSERT(m->is_restarting);
    if (m->running == 0 && m->keeping == 0 && m->recording == RECORD_NONE) {
        m->is_restarting = 0;
        msg_load(e, m);
    }
}

/* After a step ended: who was waiting for that? */
static void steps_progress(struct sluice_engine *e, struct message *m)
{
    m->has_news = 1;
    switch ((enum sluice_msg_state)m->state) {
    case SLUICE_MSG_WAITING:
        if (!steps_are_awaited(m)) {
            msg_move(e, m, SLUICE_MSG_RUNNING);
            ready_push(e, m);
        }
        break;
    case SLUICE_MSG_NAKING:
        fail_advance(e, m);
        break;
    case SLUICE_MSG_LOST:
        lease_idle(e, m);
        break;
    case SLUICE_MSG_RECEIVED:
        steps_restart(e, m);
        break;
    default:
        break;
    }
}

/* When to come back after a rate limit's pause, for who waits since `since_ms`. Jitter: they must
 * not come as one burst. */
static int64_t after_pause(struct sluice_engine *e, const struct dependency *d, int64_t since_ms)
{
    int64_t wait = d->paused_until_ms - since_ms;
    if (wait <= 0) {
        return since_ms;
    }
    int64_t spread = wait < PAUSE_SPREAD_MS ? wait : PAUSE_SPREAD_MS;
    return d->paused_until_ms + (int64_t)sluice_prng_below(&e->prng, (uint64_t)spread + 1);
}

/* 429: come back inside the lease when that suffices. 1: parked again. A server that does not say
 * when gets a delay that grows. */
static int rate_limited(struct sluice_engine *e, struct message *m, uint32_t i, int64_t asked_ms)
{
    struct dependency *d = &e->dependencies[m->statuses[i].dependency];
    if (m->steps[i].limited < UINT8_MAX) {
        m->steps[i].limited++;
    }
    int64_t wait = asked_ms > 0
                       ? asked_ms
                       : sluice_retry_delay_ms(e->config.nak_delay_ms, e->config.nak_delay_max_ms,
                                               m->steps[i].limited, &e->prng);
    if (wait > e->config.retry_after_max_ms) {
        wait = e->config.retry_after_max_ms;
    }
    e->metrics.rate_limited++;
    m->steps[i].retry_after_ms =
        asked_ms > 0 ? wait : 0; /* the NAK has a growing delay of its own */
    int64_t until = e->now_ms + wait;
    if (until > d->paused_until_ms) {
        d->paused_until_ms = until;
    }
    int64_t at = after_pause(e, d, e->now_ms);
    int is_worth_waiting = (m->state == SLUICE_MSG_WAITING || m->state == SLUICE_MSG_RUNNING) &&
                           at < m->attempt_end_ms && !e->is_aborting;
    if (is_worth_waiting) {
        park(e, m, i, at);
    }
    return is_worth_waiting;
}

static void keep(struct sluice_engine *e, struct message *m, uint32_t i)
{
    struct sluice_effect *fx = fx_emit(e, SLUICE_FX_KEEP, m);
    fx->step = (uint16_t)i;
    /* An answer that comes after its attempt has failed belongs to that attempt, and is spent with
     * it. */
    fx->epoch = m->record == NULL ? 0 : m->record->epoch - m->is_spent;
    m->keeping++;
}

/* Another delivery goes on with what an earlier one could not start any more, or has
 * cancelled. */
void steps_resume(struct sluice_engine *e, struct message *m)
{
    for (uint32_t i = 0; i < m->steps_count; i++) {
        if (m->steps[i].is_dropped && m->statuses[i].state == SLUICE_STEP_FAILED) {
            m->steps[i].is_dropped = 0;
            start_or_park(e, m, i);
        }
    }
}

static int may_start(const struct sluice_engine *e, const struct message *m)
{
    return !lease_is_over(e, m) &&
           (m->state == SLUICE_MSG_WAITING || m->state == SLUICE_MSG_RUNNING);
}

static void call_done(struct sluice_engine *e, struct message *m, uint32_t i,
                      const struct sluice_ev_step *ev)
{
    struct sluice_step_status *status = &m->statuses[i];
    enum sluice_fate fate = fate_of_message(e, status->dependency, (enum sluice_fate)ev->fate);
    permit_finish(e, status->dependency, &m->steps[i].permit, fate, m);
    m->running--;
    if (fate == SLUICE_FATE_RATE_LIMITED && status->dependency != SLUICE_DEP_NONE &&
        rate_limited(e, m, i, ev->retry_after_ms)) {
        return;
    }
    m->steps[i].is_dropped &= fate == SLUICE_FATE_CANCELLED;
    status->fate = (uint8_t)fate;
    status->state = fate == SLUICE_FATE_OK ? SLUICE_STEP_OK : SLUICE_STEP_FAILED;
    if (may_start(e, m)) {
        steps_resume(e, m); /* another delivery had taken over before it ended */
    }
    if (fate == SLUICE_FATE_OK && status->is_paid && e->config.journal != 0) {
        keep(e, m, i);
    }
}

void steps_on_done(struct sluice_engine *e, struct message *m, const struct sluice_ev_step *ev)
{
    uint32_t i = ev->step;
    if (i >= m->steps_count) {
        return;
    }
    struct sluice_step_status *status = &m->statuses[i];
    if (status->state == SLUICE_STEP_RUNNING) {
        call_done(e, m, i, ev);
    } else if (status->state == SLUICE_STEP_REPLAYING) {
        m->running--;
        if (ev->fate == SLUICE_FATE_OK) {
            status->state = SLUICE_STEP_OK;
            status->fate = SLUICE_FATE_OK;
            e->metrics.answers_replayed++;
        } else if (ev->fate == SLUICE_FATE_MISS && may_start(e, m)) {
            m->steps[i].is_missed = 1;
            start_or_park(e, m, i); /* the journaled answer is of no use: ask again */
        } else {
            status->state = SLUICE_STEP_FAILED;
            status->fate = ev->fate == SLUICE_FATE_NO_MEMORY ? ev->fate : SLUICE_FATE_CANCELLED;
            m->steps[i].is_dropped = m->steps[i].is_missed = ev->fate == SLUICE_FATE_MISS;
        }
    } else {
        return;
    }
    steps_progress(e, m);
}

/* ---- Journal ---- */

/* Another delivery's answer won: start again from the journal, so that both end with the same
 * answers. Or what this one began has failed and is written down: the next starts as elsewhere. */
static void restart(struct sluice_engine *e, struct message *m)
{
    ready_drop(e, m);
    steps_cancel(e, m);
    commit_unpark(e, m);
    msg_move(e, m, SLUICE_MSG_RECEIVED);
    m->is_restarting = 1;
    m->must_restart = 0;
    m->load_tries = 0;
}

void steps_start_over(struct sluice_engine *e, struct message *m)
{
    restart(e, m);
    steps_restart(e, m);
}

void steps_on_kept(struct sluice_engine *e, struct message *m, const struct sluice_ev_kept *ev)
{
    if (m->keeping == 0) {
        return; /* given up after the journal's time-out, and counted then */
    }
    m->keeping--;
    if (ev->result == SLUICE_KEPT_OK) {
        e->metrics.answers_kept++;
    } else if (ev->result == SLUICE_KEPT_FAILED) {
        e->metrics.answers_unkept++;
    } else {
        e->metrics.races_lost++;
        /* What won may be the very answer that could not be used: then ours stands, or the step
         * would be paid for again and again. */
        int is_missed = ev->step < m->steps_count && m->steps[ev->step].is_missed;
        int can_restart = m->state == SLUICE_MSG_WAITING || m->state == SLUICE_MSG_STORING ||
                          (m->state == SLUICE_MSG_RUNNING && !m->is_run_out && m->is_ready_queued);
        if (can_restart && !is_missed && !m->is_store_out) {
            m->has_lost_race = 1;
            restart(e, m);
        } else if ((m->state == SLUICE_MSG_RUNNING || m->state == SLUICE_MSG_LOST) && !is_missed) {
            m->has_lost_race = 1;
            m->must_restart = 1; /* when the run that is out, or its mark, has ended, or when
                                    another delivery takes over */
        }
    }
    if (m->state == SLUICE_MSG_STORING) {
        commit_advance(e, m);
    } else {
        steps_progress(e, m);
    }
}

/* ---- What waits for a dependency ---- */

static int has_trial(const struct message *m, uint32_t dependency)
{
    for (uint32_t i = 0; i < m->steps_count; i++) {
        if (m->statuses[i].dependency == dependency && m->steps[i].permit.is_held) {
            return 1;
        }
    }
    return 0;
}

static int is_parked_for(const struct message *m, uint32_t i, uint32_t dependency)
{
    return m->statuses[i].state == SLUICE_STEP_PARKED && m->statuses[i].dependency == dependency;
}

static int waits_for(struct sluice_engine *e, struct message *m, uint32_t dependency,
                     int64_t *next_ms)
{
    if (m->is_parked_commit) {
        uint32_t mine = m->state == SLUICE_MSG_STORING ? SLUICE_DEP_STORE : SLUICE_DEP_PUBLISH;
        return mine == dependency;
    }
    const struct dependency *d = &e->dependencies[dependency];
    for (uint32_t i = 0; i < m->steps_count; i++) {
        if (is_parked_for(m, i, dependency)) {
            int64_t *at_ms = &m->steps[i].not_before_ms;
            /* It was parked inside of the pause, or before the pause became longer. A breaker that
             * is not closed lets few go at a time. */
            if (d->breaker.state == SLUICE_BREAKER_CLOSED) {
                *at_ms = after_pause(e, d, *at_ms);
            }
            if (*at_ms <= e->now_ms) {
                return 1;
            }
            if (*at_ms < *next_ms) {
                *next_ms = *at_ms;
            }
        }
    }
    return 0;
}

/* The one to go next: first those that have not failed yet, then the oldest. */
static struct message *parked_next(struct sluice_engine *e, uint32_t dependency, int is_limited,
                                   int64_t *next_ms)
{
    struct message *best = NULL;
    for (uint32_t slot = 0; slot < e->config.max_in_flight; slot++) {
        struct message *m = &e->messages[slot];
        if (m->state == SLUICE_MSG_DONE || (m->parked == 0 && !m->is_parked_commit) ||
            !waits_for(e, m, dependency, next_ms) || (is_limited && has_trial(m, dependency))) {
            continue;
        }
        int is_better = best == NULL || (msg_failures(e, m) == 0 && msg_failures(e, best) != 0) ||
                        ((msg_failures(e, m) == 0) == (msg_failures(e, best) == 0) &&
                         m->admitted < best->admitted);
        if (is_better) {
            best = m;
        }
    }
    return best;
}

static void unpark_one(struct sluice_engine *e, struct message *m, uint32_t dependency)
{
    if (m->is_parked_commit) {
        commit_unpark(e, m);
        commit_advance(e, m);
        timer_set(e, m);
        return;
    }
    uint32_t i = 0;
    while (!is_parked_for(m, i, dependency) || m->steps[i].not_before_ms > e->now_ms) {
        i++;
        SLUICE_ASSERT(i < m->steps_count);
    }
    m->parked--;
    e->dependencies[dependency].parked--;
    start_or_park(e, m, i);
}

void parked_pump(struct sluice_engine *e)
{
    for (uint32_t i = 0; i < e->config.dependencies_count; i++) {
        struct dependency *d = &e->dependencies[i];
        while (d->parked > 0 && e->now_ms >= d->paused_until_ms && e->now_ms >= d->scan_at_ms) {
            uint32_t allowance = sluice_breaker_allowance(&d->breaker, e->now_ms);
            if (allowance == 0) {
                break;
            }
            if (!fx_has_room(e)) {
                e->is_behind = 1;
                return;
            }
            int64_t next_ms = NO_TIME;
            struct message *m = parked_next(e, i, allowance != UINT32_MAX, &next_ms);
            if (m == NULL) {
                d->scan_at_ms = next_ms; /* nobody may go before */
                break;
            }
            unpark_one(e, m, i);
        }
    }
}
