/* SPDX-License-Identifier: Apache-2.0 */
/* Slots for messages in flight: admission, look-up by sequence, the one function that changes a
 * state, release. */
#include "core/engine_state.h"

#include <string.h>

#define KEPT_STEPS_MAX                                                                             \
    16u /* a released slot keeps room for so many steps, to spare the allocator */

uint32_t msg_slot(const struct sluice_engine *e, const struct message *m)
{
    return (uint32_t)(m - e->messages);
}

struct message *msg_find(struct sluice_engine *e, struct sluice_ticket ticket)
{
    if (ticket.slot >= e->config.max_in_flight) {
        return NULL;
    }
    struct message *m = &e->messages[ticket.slot];
    return m->generation == ticket.generation && m->state != SLUICE_MSG_DONE ? m : NULL;
}

/* ---- Look-up by stream sequence: open addressing, linear probing ---- */

static uint32_t hash_of(const struct sluice_engine *e, uint64_t sequence)
{
    uint64_t z = sequence * 0x9e3779b97f4a7c15u;
    return (uint32_t)(z >> 32) & e->by_sequence_mask;
}

/* A stream that was deleted and made again counts from 1: what has the sequence of another message
 * was stored at another time. */
static struct message *sequence_find(struct sluice_engine *e, uint64_t sequence, int64_t stored_ms)
{
    for (uint32_t i = hash_of(e, sequence);; i = (i + 1) & e->by_sequence_mask) {
        uint32_t slot = e->by_sequence[i];
        if (slot == NO_SLOT) {
            return NULL;
        }
        struct message *m = &e->messages[slot];
        if (m->sequence == sequence && m->stored_ms == stored_ms) {
            return m;
        }
    }
}

static void sequence_add(struct sluice_engine *e, struct message *m)
{
    uint32_t i = hash_of(e, m->sequence);
    while (e->by_sequence[i] != NO_SLOT) {
        i = (i + 1) & e->by_sequence_mask;
    }
    e->by_sequence[i] = msg_slot(e, m);
}

static void sequence_remove(struct sluice_engine *e, const struct message *m)
{
    uint32_t slot = msg_slot(e, m);
    uint32_t hole = hash_of(e, m->sequence);
    while (e->by_sequence[hole] != slot) {
        hole = (hole + 1) & e->by_sequence_mask;
    }
    /* Close the hole: move back what could not stand at its own place. */
    for (uint32_t i = (hole + 1) & e->by_sequence_mask; e->by_sequence[i] != NO_SLOT;
         i = (i + 1) & e->by_sequence_mask) {
        uint32_t home = hash_of(e, e->messages[e->by_sequence[i]].sequence);
        if (((i - home) & e->by_sequence_mask) >= ((i - hole) & e->by_sequence_mask)) {
            e->by_sequence[hole] = e->by_sequence[i];
            hole = i;
        }
    }
    e->by_sequence[hole] = NO_SLOT;
}

/* ---- States ---- */

#define TO(state) (1u << SLUICE_MSG_##state)
static const uint16_t allowed_next[] = {
#define ROW(name, text, to) (uint16_t)(to),
    SLUICE_MSG_STATES(ROW)
#undef ROW
};
#undef TO
_Static_assert(sizeof allowed_next / sizeof allowed_next[0] == SLUICE_MSG_STATE_COUNT,
               "a row each");

/* What must hold for a message in its state, whatever happened. */
static void msg_check(const struct sluice_engine *e, const struct message *m)
{
    const char *state = sluice_msg_state_name((enum sluice_msg_state)m->state);
    SLUICE_ASSERT_IN(m->running <= m->steps_count, state);
    SLUICE_ASSERT_IN((m->outputs_done & m->outputs_bad) == 0, state);
    SLUICE_ASSERT_IN(m->state != SLUICE_MSG_ACKING || commit_is_complete(m), state);
    SLUICE_ASSERT_IN(m->state != SLUICE_MSG_STORING || m->outputs_sent == 0, state);
    SLUICE_ASSERT_IN(m->state != SLUICE_MSG_PUBLISHING || m->is_stored, state);
    SLUICE_ASSERT_IN(m->state != SLUICE_MSG_NAKING || m->failure != SLUICE_FAILURE_NONE, state);
    SLUICE_ASSERT_IN(e->metrics.in_flight <= e->config.max_in_flight, state);
}

void msg_move(struct sluice_engine *e, struct message *m, enum sluice_msg_state to)
{
    enum sluice_msg_state from = (enum sluice_msg_state)m->state;
    SLUICE_ASSERT_IN((allowed_next[from] >> to & 1u) != 0, sluice_msg_state_name(from));
    struct sluice_transition transition = {.ticket = {msg_slot(e, m), m->generation},
                                           .sequence = m->sequence,
                                           .mono_ms = e->now_ms,
                                           .spent_ms = e->now_ms - m->entered_ms,
                                           .from = from,
                                           .to = to,
                                           .deliveries = m->deliveries,
                                           .failures = msg_failures(e, m),
                                           .failure = (enum sluice_failure)m->failure,
                                           .delay_ms = m->nak_delay_ms};
    e->metrics.states[from]--;
    if (to != SLUICE_MSG_DONE) {
        e->metrics.states[to]++;
    }
    m->state = (uint8_t)to;
    m->entered_ms = e->now_ms;
    m->op_end_ms = NO_TIME;
    msg_check(e, m);
    if (e->config.on_transition != NULL) {
        e->config.on_transition(e->config.hook_ctx, &transition);
    }
}

/* ---- Record ---- */

uint32_t msg_failures(const struct sluice_engine *e, const struct message *m)
{
    if (e->config.journal == 0) {
        return m->deliveries > 0 ? m->deliveries - 1 : 0;
    }
    return m->record == NULL ? 0 : m->record->failures;
}

struct sluice_record *msg_record(struct sluice_engine *e, struct message *m)
{
    if (m->record == NULL) {
        m->record = sluice_mem_alloc(&e->config.allocator, 1, sizeof *m->record);
    }
    return m->record;
}

/* ---- Release ---- */

static void buffers_trim(struct sluice_engine *e, struct message *m)
{
    if (m->steps_capacity > KEPT_STEPS_MAX) {
        sluice_mem_free(&e->config.allocator, m->steps);
        sluice_mem_free(&e->config.allocator, m->statuses);
        m->steps = NULL;
        m->statuses = NULL;
        m->steps_capacity = 0;
    }
    if (m->record != NULL) {
        e->graves[e->graves_count++] = m->record; /* each release is an effect: there is room */
    }
    sluice_mem_free(&e->config.allocator, m->journaled);
    m->record = NULL;
    m->journaled = NULL;
    m->journaled_count = 0;
}

void msg_release(struct sluice_engine *e, struct message *m, enum sluice_outcome outcome)
{
    steps_forget(e, m);
    struct sluice_effect *fx = fx_emit(e, SLUICE_FX_RELEASE, m);
    fx->outcome = (uint8_t)outcome;
    fx->failure = m->failure;
    fx->failures = msg_failures(e, m);
    e->metrics.outcomes[outcome]++;
    if (outcome == SLUICE_OUTCOME_LEASE_LOST) {
        e->metrics.leases_lost++;
    }
    commit_unpark(e, m);
    if (m->is_store_out) {
        permit_finish(e, SLUICE_DEP_STORE, &m->store_permit, SLUICE_FATE_CANCELLED, m);
    }
    for (uint32_t i = 0; i < m->outputs_count; i++) {
        permit_finish(e, SLUICE_DEP_PUBLISH, &m->output_permits[i], SLUICE_FATE_CANCELLED, m);
    }
    ready_release(e, m);
    timer_drop(e, m);
    msg_move(e, m, SLUICE_MSG_DONE);
    sequence_remove(e, m);
    e->metrics.in_flight--;
    e->metrics.bytes_in_flight -= m->size;
    m->generation = m->generation % UINT32_MAX + 1;
    buffers_trim(e, m);
    e->free_slots[e->free_count++] = msg_slot(e, m);
}

/* ---- Admission ---- */

static void slot_reset(struct message *m)
{
    struct message kept = *m;
    memset(m, 0, sizeof *m);
    m->generation = kept.generation;
    m->statuses = kept.statuses;
    m->steps = kept.steps;
    m->steps_capacity = kept.steps_capacity;
    m->output_ids = kept.output_ids;
    m->output_permits = kept.output_permits;
    m->outputs_capacity = kept.outputs_capacity;
    m->heap_at = NO_SLOT;
    m->next_ready = NO_SLOT;
    m->op_end_ms = NO_TIME;
    m->renew_at_ms = NO_TIME;
    m->attempt_end_ms = NO_TIME;
}

void msg_load(struct sluice_engine *e, struct message *m)
{
    m->is_load_due = 0;
    m->is_loading = 1;
    m->needs_load = 1;
    steps_forget(e, m);
    sluice_mem_free(&e->config.allocator, m->journaled); /* the host forgets those too */
    m->journaled = NULL;
    m->journaled_count = 0;
    e->metrics.journal_reads++;
    (void)fx_emit(e, SLUICE_FX_LOAD, m);
}

static void admit(struct sluice_engine *e, const struct sluice_ev_message *ev)
{
    struct message *m = &e->messages[e->free_slots[--e->free_count]];
    slot_reset(m);
    m->state = SLUICE_MSG_RECEIVED;
    m->sequence = ev->sequence;
    m->admitted = ++e->admissions;
    m->stored_ms = ev->stored_ms;
    m->deliveries = ev->deliveries;
    m->size = ev->size;
    m->entered_ms = e->now_ms;
    m->attempt_end_ms = e->now_ms + e->config.handler_timeout_ms;
    sequence_add(e, m);
    e->metrics.states[SLUICE_MSG_RECEIVED]++;
    e->metrics.bytes_in_flight += m->size;
    if (++e->metrics.in_flight > e->metrics.in_flight_peak) {
        e->metrics.in_flight_peak = e->metrics.in_flight;
    }
    (void)fx_emit(e, SLUICE_FX_ADMIT, m);
    lease_start(e, m, ev->horizon_ms);
    if (lease_is_over(e, m)) { /* read so late that somebody else may have it */
        lease_lose(e, m);
        return;
    }
    lease_renew_first(e, m);
    if (e->config.journal != 0 &&
        (ev->deliveries != 1 || ev->is_replay || ev->stored_ms <= e->read_before_ms)) {
        msg_load(e, m);
    }
    msg_begin(e, m);
    timer_set(e, m);
}

/* Another delivery of a message that is in flight here: the older attempt's answers and running
 * calls go on under it. */
static void take_over(struct sluice_engine *e, struct message *m,
                      const struct sluice_ev_message *ev)
{
    e->metrics.taken_over++;
    (void)fx_emit(e, SLUICE_FX_REBIND, m);
    m->deliveries = ev->deliveries;
    lease_start(e, m, ev->horizon_ms);
    m->attempt_end_ms = e->now_ms + e->config.handler_timeout_ms;
    m->is_overdue = 0;
    m->is_orphaned = 0;
    switch ((enum sluice_msg_state)m->state) {
    case SLUICE_MSG_RECEIVED:
        lease_renew_first(e, m);
        msg_begin_if_received(e, m);
        break;
    case SLUICE_MSG_ACKING:
        commit_ack(e, m);
        break;
    case SLUICE_MSG_TERMING:
        settle_send(e, m, SLUICE_VERB_TERM, 0);
        break;
    case SLUICE_MSG_LOST:
        m->is_retaken = 1;
        lease_idle(e, m);
        break;
    default:
        break;
    }
}

/* Without memory it has to wait: at once it would come back to the same want. */
static void refuse(struct sluice_engine *e, const struct sluice_ev_message *ev)
{
    struct sluice_effect *fx = fx_emit(e, SLUICE_FX_REFUSE, NULL);
    fx->settle.verb = SLUICE_VERB_NAK;
    if (ev->has_no_memory) {
        e->metrics.failures[SLUICE_FAILURE_NO_MEMORY]++;
        fx->settle.delay_ms = sluice_retry_delay_ms(
            e->config.nak_delay_ms, e->config.nak_delay_max_ms, ev->deliveries, &e->prng);
        e->pull_not_before_ms = e->now_ms + e->config.nak_delay_ms; /* nor would the others fit */
    }
}

void msg_on_delivery(struct sluice_engine *e, const struct sluice_ev_message *ev)
{
    e->metrics.received++;
    e->metrics.redelivered += ev->deliveries > 1;
    pull_on_delivery(e, ev->pull, ev->size);
    struct message *m = sequence_find(e, ev->sequence, ev->stored_ms);
    if (m != NULL && m->state == SLUICE_MSG_NAKING && m->is_nak_sent) {
        msg_release(e, m, SLUICE_OUTCOME_NAKED); /* the redelivery is the answer to the NAK */
        m = NULL;
    }
    /* A frozen process reads deliveries late; a lease that is over already must not take over
     * anything. */
    int is_stale = e->now_ms - ev->horizon_ms >= e->lease_ms;
    if (m != NULL && !is_stale) {
        take_over(e, m, ev);
        timer_set(e, m);
        return;
    }
    if (m != NULL || ev->has_no_memory || e->is_draining || e->free_count == 0) {
        e->metrics.refused++;
        if (!is_stale) {
            refuse(e, ev);
        }
        return;
    }
    admit(e, ev);
}

/* ---- From the delivery to the first run ---- */

static int is_killer(struct sluice_engine *e, struct message *m)
{
    uint32_t failures = msg_failures(e, m);
    uint32_t explained = failures < UINT32_MAX ? failures + 1 : failures;
    uint32_t unexplained = m->deliveries > explained ? m->deliveries - explained : 0;
    if (e->config.journal == 0) { /* no marks: past the limit by far, nobody gave a verdict */
        return e->config.max_deliver != 0 &&
               m->deliveries > e->config.max_deliver + e->config.suspect_deliveries;
    }
    int is_found_marked = m->record != NULL && m->record->is_marked;
    m->is_suspect = unexplained >= e->config.suspect_deliveries || is_found_marked;
    e->metrics.suspects += m->is_suspect;
    if (is_found_marked) {
        e->metrics.marks_stale++;
        m->record->is_marked = 0;
        m->record->stale_marks++;
    }
    /* Twice can be chance: of 100,000 messages under 1,000 kills from outside one was marked at
     * two. Three without a run that ended between them. They count until the dead letter is there.
     */
    return m->record != NULL && m->record->stale_marks >= 3;
}

void msg_begin(struct sluice_engine *e, struct message *m)
{
    SLUICE_ASSERT(m->state == SLUICE_MSG_RECEIVED);
    SLUICE_ASSERT(!m->is_restarting);
    if (m->is_renewing_first || m->is_loading || m->is_load_due) {
        return;
    }
    if (is_killer(e, m)) {
        fail_message(e, m, SLUICE_FAILURE_KILLER);
        return;
    }
    msg_move(e, m, SLUICE_MSG_RUNNING);
    ready_push(e, m);
}

void msg_begin_if_received(struct sluice_engine *e, struct message *m)
{
    if (m->state == SLUICE_MSG_RECEIVED && !m->is_restarting) {
        msg_begin(e, m);
    }
}

static int loaded_keep(struct sluice_engine *e, struct message *m,
                       const struct sluice_ev_loaded *ev)
{
    if (ev->record != NULL) {
        struct sluice_record *record = msg_record(e, m);
        if (record == NULL) {
            return 0;
        }
        *record = *ev->record;
        if (record->outputs_count > SLUICE_EFFECTS_MAX) {
            record->outputs_count = SLUICE_EFFECTS_MAX;
        }
    }
    uint32_t count =
        ev->answers_count > SLUICE_JOURNALED_MAX ? SLUICE_JOURNALED_MAX : ev->answers_count;
    sluice_mem_free(&e->config.allocator, m->journaled);
    m->journaled = NULL;
    m->journaled_count = 0;
    if (count == 0) {
        return 1;
    }
    m->journaled = sluice_mem_alloc(&e->config.allocator, count, sizeof *m->journaled);
    if (m->journaled == NULL) {
        return 0;
    }
    memcpy(m->journaled, ev->answers, count * sizeof *m->journaled);
    m->journaled_count = count;
    return 1;
}

static void fail_without_memory(struct sluice_engine *e, struct message *m)
{
    if (m->state == SLUICE_MSG_RECEIVED) {
        fail_message(e, m, SLUICE_FAILURE_NO_MEMORY);
    } else {
        lease_idle(e, m);
    }
}

/* Without a connection nothing is to be read, and what would be paid for could be neither journaled
 * nor published: wait for it as long as lease and deadline allow. The tries begin when it is back.
 */
static void load_later(struct sluice_engine *e, struct message *m)
{
    uint32_t pause = e->is_connected ? m->load_tries : LOAD_TRIES_MAX - 1;
    m->load_tries = e->is_connected ? m->load_tries : 0;
    m->is_load_due = 1;
    m->op_end_ms = e->now_ms + (100 << pause);
}

void msg_on_loaded(struct sluice_engine *e, struct message *m, const struct sluice_ev_loaded *ev)
{
    if (!m->is_loading) {
        return;
    }
    m->is_loading = 0;
    if (m->state != SLUICE_MSG_RECEIVED && m->state != SLUICE_MSG_LOST) {
        return; /* on its way out: what was decided stands on the record as it was then */
    }
    if (ev->fate == SLUICE_FATE_NO_MEMORY ||
        (ev->fate == SLUICE_FATE_OK && !loaded_keep(e, m, ev))) {
        fail_without_memory(e, m);
        return;
    }
    if (ev->fate == SLUICE_FATE_OK) {
        m->needs_load = 0;
    }
    if (m->state == SLUICE_MSG_LOST) { /* kept all the same: another delivery may take over */
        lease_idle(e, m);
        return;
    }
    if (m->needs_load) {
        if (++m->load_tries < LOAD_TRIES_MAX || !e->is_connected) {
            load_later(e, m);
            return;
        }
        if (m->has_lost_race) {
            fail_message(e, m, SLUICE_FAILURE_JOURNAL);
            return;
        }
        m->needs_load = 0;
        e->metrics.journal_unread++; /* go on: the promise suffers, the message does not */
    }
    msg_begin(e, m);
}
