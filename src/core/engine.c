/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's entry: creation, one step, the next deadline. */
#include "core/engine_state.h"

#include <string.h>

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct sluice_effect *fx_emit(struct sluice_engine *e, enum sluice_effect_kind kind,
                              const struct message *m)
{
    SLUICE_ASSERT(e->out->count < SLUICE_FX_CAPACITY);
    struct sluice_effect *fx = &e->out->items[e->out->count++];
    memset(fx, 0, sizeof *fx);
    fx->kind = kind;
    if (m != NULL) {
        fx->ticket = (struct sluice_ticket){msg_slot(e, m), m->generation};
    }
    return fx;
}

int fx_has_room(const struct sluice_engine *e)
{
    return e->out->count < SLUICE_FX_CAPACITY - FX_HEADROOM;
}

/* ---- Creation ---- */

static sluice_rc out_of_range(struct sluice_err *err, const char *field, long long value,
                              const char *expected)
{
    return sluice_err_set(err, SLUICE_ERR_CONFIG, "engine: %s: %lld, expected %s", field, value,
                          expected);
}

static sluice_rc config_check(const struct sluice_engine_config *c, struct sluice_err *err)
{
    const struct {
        const char *name;
        int64_t value;
    } positive[] = {
        {"ack_wait_ms", c->ack_wait_ms},
        {"handler_timeout_ms", c->handler_timeout_ms},
        {"nak_delay_ms", c->nak_delay_ms},
        {"settle_timeout_ms", c->settle_timeout_ms},
        {"journal_timeout_ms", c->journal_timeout_ms},
        {"pull_expires_ms", c->pull_expires_ms},
        {"pull_heartbeat_ms", c->pull_heartbeat_ms},
        {"suspect_deliveries", c->suspect_deliveries},
    };
    for (size_t i = 0; i < sizeof positive / sizeof positive[0]; i++) {
        if (positive[i].value <= 0) {
            return out_of_range(err, positive[i].name, positive[i].value, "more than 0");
        }
    }
    if (c->max_in_flight < 1 || c->max_in_flight > SLUICE_IN_FLIGHT_MAX) {
        return out_of_range(err, "max_in_flight", c->max_in_flight, "1 to 65536");
    }
    if (c->nak_delay_max_ms < c->nak_delay_ms) {
        return out_of_range(err, "nak_delay_max_ms", c->nak_delay_max_ms, "at least nak_delay_ms");
    }
    if (c->pull_heartbeat_ms * 2 > c->pull_expires_ms) {
        return out_of_range(err, "pull_heartbeat_ms", c->pull_heartbeat_ms,
                            "at most half of pull_expires_ms");
    }
    if (c->dependencies_count < SLUICE_DEP_SERVICES ||
        c->dependencies_count > SLUICE_DEPENDENCIES_MAX) {
        return out_of_range(err, "dependencies_count", c->dependencies_count, "3 to 16");
    }
    return SLUICE_OK;
}

static int tables_create(struct sluice_engine *e)
{
    const struct sluice_allocator *a = &e->config.allocator;
    uint32_t n = e->config.max_in_flight;
    uint32_t places = 4;
    while (places < 2 * n) {
        places *= 2;
    }
    e->messages = sluice_mem_alloc(a, n, sizeof *e->messages);
    e->free_slots = sluice_mem_alloc(a, n, sizeof *e->free_slots);
    e->heap = sluice_mem_alloc(a, n, sizeof *e->heap);
    e->by_sequence = sluice_mem_alloc(a, places, sizeof *e->by_sequence);
    if (e->messages == NULL || e->free_slots == NULL || e->heap == NULL || e->by_sequence == NULL) {
        return 0;
    }
    memset(e->by_sequence, 0xff, places * sizeof *e->by_sequence);
    e->by_sequence_mask = places - 1;
    for (uint32_t i = 0; i < n; i++) {
        e->messages[i].state = SLUICE_MSG_DONE;
        e->messages[i].generation = 1;
        e->messages[i].heap_at = NO_SLOT;
        e->free_slots[e->free_count++] = n - 1 - i;
    }
    return 1;
}

sluice_rc sluice_engine_create(const struct sluice_engine_config *config, int64_t mono_ms,
                               struct sluice_engine **out, struct sluice_err *err)
{
    sluice_rc rc = config_check(config, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct sluice_engine *e = sluice_mem_alloc(&config->allocator, 1, sizeof *e);
    if (e == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "engine: no memory");
    }
    e->config = *config;
    e->prng.state = config->seed;
    e->now_ms = mono_ms;
    e->read_before_ms = INT64_MIN;
    e->ready_head = NO_SLOT;
    e->ready_tail = NO_SLOT;
    e->exclusive = NO_SLOT;
    e->pull_wake_ms = NO_TIME;
    /* A settle needs time to reach the server: what is decided just before the end must still
     * arrive before it. */
    int64_t margin = earlier(config->ack_wait_ms / 20, 1000);
    e->lease_ms = config->ack_wait_ms - margin;
    for (uint32_t i = 0; i < config->dependencies_count && rc == SLUICE_OK; i++) {
        rc = sluice_breaker_init(&e->dependencies[i].breaker, &config->dependencies[i], mono_ms,
                                 err);
    }
    if (rc == SLUICE_OK && !tables_create(e)) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "engine: no memory for %u messages in flight",
                            config->max_in_flight);
    }
    if (rc != SLUICE_OK) {
        sluice_engine_destroy(e);
        return rc;
    }
    *out = e;
    return SLUICE_OK;
}

void sluice_engine_destroy(struct sluice_engine *e)
{
    if (e == NULL) {
        return;
    }
    struct sluice_allocator a = e->config.allocator;
    for (uint32_t i = 0; e->messages != NULL && i < e->config.max_in_flight; i++) {
        struct message *m = &e->messages[i];
        sluice_mem_free(&a, m->steps);
        sluice_mem_free(&a, m->statuses);
        sluice_mem_free(&a, m->record);
        sluice_mem_free(&a, m->journaled);
        sluice_mem_free(&a, m->output_ids);
        sluice_mem_free(&a, m->output_permits);
    }
    while (e->graves_count > 0) {
        sluice_mem_free(&a, e->graves[--e->graves_count]);
    }
    sluice_mem_free(&a, e->messages);
    sluice_mem_free(&a, e->free_slots);
    sluice_mem_free(&a, e->heap);
    sluice_mem_free(&a, e->by_sequence);
    sluice_mem_free(&a, e);
}

/* ---- Verdicts of handlers ---- */

/* A handler that passes a step's error on has no error of its own. */
static int is_own_error(const struct message *m, const struct sluice_ev_verdict *v)
{
    return v->failed_step < 0 || (uint32_t)v->failed_step >= m->steps_count;
}

static enum sluice_failure failure_of(struct message *m, const struct sluice_ev_verdict *v)
{
    if (is_own_error(m, v)) {
        m->spends = v->failure != SLUICE_FAILURE_NO_MEMORY;
        return (enum sluice_failure)v->failure;
    }
    switch ((enum sluice_fate)m->statuses[v->failed_step].fate) {
    case SLUICE_FATE_PERMANENT:
        return SLUICE_FAILURE_REJECTED;
    case SLUICE_FATE_RATE_LIMITED:
        m->retry_after_ms = m->steps[v->failed_step].retry_after_ms;
        return SLUICE_FAILURE_RATE_LIMITED;
    case SLUICE_FATE_NO_MEMORY:
        return SLUICE_FAILURE_NO_MEMORY;
    case SLUICE_FATE_UNREACHABLE:
        return SLUICE_FAILURE_DEPENDENCY;
    default:
        return SLUICE_FAILURE_STEP;
    }
}

static void on_verdict(struct sluice_engine *e, struct message *m,
                       const struct sluice_ev_verdict *v)
{
    if (!m->is_run_out) {
        return;
    }
    ready_on_verdict(e, m, v->kind != SLUICE_VERDICT_SUSPENDED);
    if (m->state == SLUICE_MSG_LOST) {
        lease_idle(e, m);
        return;
    }
    SLUICE_ASSERT(m->state == SLUICE_MSG_RUNNING);
    if (m->is_aborted || lease_is_over(e, m)) {
        fail_message(e, m, SLUICE_FAILURE_DRAIN); /* or LOST */
        return;
    }
    /* What it made of an answer that lost says nothing of the one that won, nor does its error. */
    if (m->must_restart && (v->kind != SLUICE_VERDICT_FAILED || is_own_error(m, v))) {
        if (m->is_overdue) {
            fail_message(e, m, SLUICE_FAILURE_TIMEOUT);
        } else {
            steps_start_over(e, m);
        }
        return;
    }
    switch ((enum sluice_verdict_kind)v->kind) {
    case SLUICE_VERDICT_SUSPENDED:
        msg_move(e, m, SLUICE_MSG_WAITING);
        if (m->is_overdue) { /* its deadline passed while the handler ran */
            fail_message(e, m, SLUICE_FAILURE_TIMEOUT);
        } else if (!steps_append(e, m, v)) {
            fail_message(e, m, SLUICE_FAILURE_NO_MEMORY);
        } else if (!steps_are_awaited(m)) {
            if (m->has_news) { /* what it waits for has ended while it ran */
                msg_move(e, m, SLUICE_MSG_RUNNING);
                ready_push(e, m);
                break;
            }
            m->spends = 1; /* would run for ever */
            fail_message(e, m, SLUICE_FAILURE_HANDLER);
        }
        break;
    case SLUICE_VERDICT_DONE:
        commit_begin(e, m, v);
        break;
    case SLUICE_VERDICT_FAILED:
    default:
        fail_message(e, m, failure_of(m, v));
        break;
    }
}

/* ---- Shutting down ---- */

static void on_drain(struct sluice_engine *e)
{
    if (e->is_draining) {
        return;
    }
    e->is_draining = 1;
    pull_stop(e);
}

static void abort_message(struct sluice_engine *e, struct message *m)
{
    m->is_aborted = 1;
    switch ((enum sluice_msg_state)m->state) {
    case SLUICE_MSG_RECEIVED:
    case SLUICE_MSG_RUNNING:
    case SLUICE_MSG_WAITING:
    case SLUICE_MSG_STORING:
    case SLUICE_MSG_PUBLISHING:
        if (!m->is_run_out) {
            fail_message(e, m, SLUICE_FAILURE_DRAIN);
        }
        break;
    case SLUICE_MSG_NAKING:
        steps_cancel(e, m);
        m->keeping = 0;
        fail_advance(e, m);
        break;
    case SLUICE_MSG_LOST:
        steps_cancel(e, m);
        break;
    default:
        break;
    }
    timer_set(e, m);
}

/* Nothing of it is under way: it waits for a breaker or a rate limit, which may last longer than
 * the grace, and another process can wait as well. Its answers are in the journal. */
static int is_only_parked(const struct message *m)
{
    return m->is_parked_commit || (m->state == SLUICE_MSG_WAITING && steps_are_only_parked(m));
}

/* NAK what has not started or only waits, or at the end of the grace everything, as far as the
 * effects have room. */
static void shutdown_pump(struct sluice_engine *e)
{
    for (uint32_t i = 0; i < e->config.max_in_flight; i++) {
        struct message *m = &e->messages[i];
        if (m->state == SLUICE_MSG_DONE) {
            continue;
        }
        int is_unstarted = m->state == SLUICE_MSG_RECEIVED ||
                           (m->state == SLUICE_MSG_RUNNING && !m->has_run && m->is_ready_queued);
        if (!(e->is_aborting && !m->is_aborted) && !is_unstarted && !is_only_parked(m)) {
            continue;
        }
        if (!fx_has_room(e)) {
            e->is_behind = 1;
            return;
        }
        if (e->is_aborting) {
            abort_message(e, m);
        } else {
            fail_message(e, m, SLUICE_FAILURE_DRAIN);
            timer_set(e, m);
        }
    }
    if (e->is_intake_stopped && e->metrics.in_flight == 0 && !e->is_drained_told) {
        e->is_drained_told = 1;
        (void)fx_emit(e, SLUICE_FX_DRAINED, NULL);
    }
}

/* ---- The step ---- */

static void on_recorded(struct sluice_engine *e, struct message *m, enum sluice_fate fate)
{
    if (m->recording == RECORD_FAILURE) {
        m->recording = RECORD_NONE;
        m->op_end_ms = NO_TIME;
        if (m->state == SLUICE_MSG_NAKING) {
            fail_advance(e, m);
        } else {
            lease_idle(e, m);
        }
        return;
    }
    ready_on_recorded(e, m, fate);
}

static void journal_note(struct sluice_engine *e, int is_ok)
{
    if (is_ok) {
        e->journal_failures = 0;
    } else if (e->journal_failures < JOURNAL_FAILURES_MAX) {
        e->journal_failures++;
    }
}

static void on_message_event(struct sluice_engine *e, const struct sluice_event *ev)
{
    if (ev->kind == SLUICE_EV_KEPT) {
        journal_note(e, ev->kept.result != SLUICE_KEPT_FAILED);
    } else if (ev->kind == SLUICE_EV_LOADED) {
        journal_note(e, ev->loaded.fate == SLUICE_FATE_OK);
    } else if (ev->kind == SLUICE_EV_RECORDED) {
        journal_note(e, ev->fate == SLUICE_FATE_OK);
    }
    struct message *m = msg_find(e, ev->ticket);
    if (m == NULL) {
        return;
    }
    switch (ev->kind) {
    case SLUICE_EV_VERDICT:
        on_verdict(e, m, &ev->verdict);
        break;
    case SLUICE_EV_STEP:
        steps_on_done(e, m, &ev->step);
        break;
    case SLUICE_EV_KEPT:
        steps_on_kept(e, m, &ev->kept);
        break;
    case SLUICE_EV_LOADED:
        msg_on_loaded(e, m, &ev->loaded);
        break;
    case SLUICE_EV_RECORDED:
        on_recorded(e, m, (enum sluice_fate)ev->fate);
        break;
    case SLUICE_EV_STORED:
        commit_on_stored(e, m, (enum sluice_fate)ev->fate);
        break;
    case SLUICE_EV_PUBLISHED:
        commit_on_published(e, m, &ev->published);
        break;
    case SLUICE_EV_BURIED:
        fail_on_buried(e, m, (enum sluice_fate)ev->fate);
        break;
    case SLUICE_EV_SETTLED:
        settle_on_answer(e, m, &ev->settled);
        break;
    default:
        break;
    }
    if (m->state != SLUICE_MSG_DONE) {
        timer_set(e, m);
    }
}

static void dispatch(struct sluice_engine *e, const struct sluice_event *ev)
{
    switch (ev->kind) {
    case SLUICE_EV_TICK:
    case SLUICE_EV_COUNT:
        break;
    case SLUICE_EV_CONNECTED:
        pull_on_connected(e, &ev->connected);
        break;
    case SLUICE_EV_DISCONNECTED:
        pull_on_disconnected(e);
        break;
    case SLUICE_EV_MESSAGE:
        msg_on_delivery(e, &ev->message);
        break;
    case SLUICE_EV_PULL:
        pull_on_status(e, &ev->pull);
        break;
    case SLUICE_EV_CONSUMER:
        pull_on_consumer(e, (enum sluice_consumer)ev->consumer);
        break;
    case SLUICE_EV_INTAKE_STOPPED:
        e->is_intake_stopped = 1;
        break;
    case SLUICE_EV_DRAIN:
        on_drain(e);
        break;
    case SLUICE_EV_ABORT:
        on_drain(e);
        e->is_aborting = 1;
        break;
    default:
        on_message_event(e, ev);
        break;
    }
}

void sluice_engine_step(struct sluice_engine *e, const struct sluice_event *ev,
                        struct sluice_effects *out)
{
    while (e->graves_count > 0) {
        sluice_mem_free(&e->config.allocator, e->graves[--e->graves_count]);
    }
    out->count = 0;
    e->out = out;
    e->is_behind = 0;
    if (ev->mono_ms > e->now_ms) {
        e->now_ms = ev->mono_ms;
    }
    e->wall_ms = ev->wall_ms;
    dispatch(e, ev);
    timer_pump(e);
    parked_pump(e);
    if (e->is_draining) {
        shutdown_pump(e);
    }
    ready_pump(e);
    pull_pump(e);
    e->out = NULL;
}

int64_t sluice_engine_deadline(const struct sluice_engine *e)
{
    if (e->is_behind) {
        return e->now_ms;
    }
    int64_t at = e->heap_count == 0 ? NO_TIME : e->messages[e->heap[0]].wake_ms;
    if (!e->is_draining) {
        at = earlier(at, e->pull_wake_ms);
    }
    for (uint32_t i = 0; i < e->config.dependencies_count; i++) {
        const struct dependency *d = &e->dependencies[i];
        if (d->breaker.state == SLUICE_BREAKER_OPEN) {
            int64_t trial = sluice_breaker_trial_at_ms(&d->breaker);
            at = trial > e->now_ms ? earlier(at, trial) : at;
        }
        if (d->paused_until_ms > e->now_ms) {
            at = earlier(at, d->paused_until_ms);
        }
        if (d->parked > 0 && d->scan_at_ms > e->now_ms) {
            at = earlier(at, d->scan_at_ms);
        }
    }
    return at;
}

/* ---- Looking in ---- */

const struct sluice_step_status *sluice_engine_steps(const struct sluice_engine *e,
                                                     struct sluice_ticket ticket, uint32_t *count)
{
    const struct message *m =
        ticket.slot < e->config.max_in_flight ? &e->messages[ticket.slot] : NULL;
    if (m == NULL || m->generation != ticket.generation || m->state == SLUICE_MSG_DONE) {
        *count = 0;
        return NULL;
    }
    *count = m->steps_count;
    return m->statuses;
}

enum sluice_msg_state sluice_engine_state(const struct sluice_engine *e,
                                          struct sluice_ticket ticket)
{
    if (ticket.slot >= e->config.max_in_flight ||
        e->messages[ticket.slot].generation != ticket.generation) {
        return SLUICE_MSG_DONE;
    }
    return (enum sluice_msg_state)e->messages[ticket.slot].state;
}

const struct sluice_engine_metrics *sluice_engine_metrics(const struct sluice_engine *e)
{
    return &e->metrics;
}

const struct sluice_breaker *sluice_engine_breaker(const struct sluice_engine *e,
                                                   uint32_t dependency)
{
    return dependency < e->config.dependencies_count ? &e->dependencies[dependency].breaker : NULL;
}

int sluice_engine_is_paused(const struct sluice_engine *e, struct sluice_engine_pause *out)
{
    return pull_is_held_back(e, out);
}

int sluice_engine_is_connected(const struct sluice_engine *e)
{
    return e->is_connected;
}
