/* SPDX-License-Identifier: Apache-2.0 */
/* Whose handler runs next.
 *
 * A suspect (deliveries that ended without a verdict) runs alone: its mark is written and
 * confirmed, nobody else's handler runs until the mark has been cleared and that is confirmed too.
 * So a mark that is found later names the one message whose handler was running when the process
 * died, and never a neighbour. */
#include "core/engine_state.h"

static void push_first(struct sluice_engine *e, struct message *m)
{
    m->next_ready = e->ready_head;
    e->ready_head = msg_slot(e, m);
    if (e->ready_tail == NO_SLOT) {
        e->ready_tail = e->ready_head;
    }
}

void ready_push(struct sluice_engine *e, struct message *m)
{
    SLUICE_ASSERT(!m->is_ready_queued);
    uint32_t slot = msg_slot(e, m);
    m->is_ready_queued = 1;
    /* Each run of a suspect waits for two writes of the journal, all others meanwhile for it. Were
     * they served in turn, none of many would be done within its deadline, for ever. */
    if (m->is_suspect && m->has_run) {
        push_first(e, m);
        return;
    }
    m->next_ready = NO_SLOT;
    if (e->ready_tail == NO_SLOT) {
        e->ready_head = slot;
    } else {
        e->messages[e->ready_tail].next_ready = slot;
    }
    e->ready_tail = slot;
}

void ready_drop(struct sluice_engine *e, struct message *m)
{
    if (!m->is_ready_queued) {
        return;
    }
    m->is_ready_queued = 0;
    uint32_t slot = msg_slot(e, m);
    uint32_t before = NO_SLOT;
    for (uint32_t at = e->ready_head; at != slot; at = e->messages[at].next_ready) {
        before = at;
    }
    if (before == NO_SLOT) {
        e->ready_head = m->next_ready;
    } else {
        e->messages[before].next_ready = m->next_ready;
    }
    if (e->ready_tail == slot) {
        e->ready_tail = before;
    }
}

static void run(struct sluice_engine *e, struct message *m)
{
    m->is_run_out = 1;
    m->has_run = 1;
    m->has_news = 0;
    e->runs_out++;
    (void)fx_emit(e, SLUICE_FX_RUN, m);
}

static void record_write(struct sluice_engine *e, struct message *m, enum recording purpose)
{
    m->recording = (uint8_t)purpose;
    fx_emit(e, SLUICE_FX_RECORD, m)->record = m->record;
}

/* 1 when the head of the queue was dealt with. */
static int start_suspect(struct sluice_engine *e, struct message *m)
{
    if (e->runs_out != 0) {
        return 0;
    }
    struct sluice_record *record = msg_record(e, m);
    ready_drop(e, m);
    if (record == NULL) {
        fail_message(e, m, SLUICE_FAILURE_NO_MEMORY);
        timer_set(e, m);
        return 1;
    }
    e->exclusive = msg_slot(e, m);
    record->is_marked = 1;
    record_write(e, m, RECORD_MARK);
    return 1;
}

void ready_pump(struct sluice_engine *e)
{
    while (e->ready_head != NO_SLOT && e->exclusive == NO_SLOT) {
        if (!fx_has_room(e)) {
            e->is_behind = 1;
            return;
        }
        struct message *m = &e->messages[e->ready_head];
        SLUICE_ASSERT(!lease_is_over(e, m)); /* the timers come before */
        if (m->is_suspect) {
            if (!start_suspect(e, m)) {
                return;
            }
        } else {
            ready_drop(e, m);
            run(e, m);
        }
    }
}

/* Kept from its run by the mark of a suspect, its own or another's? */
int ready_is_held(const struct sluice_engine *e, const struct message *m)
{
    SLUICE_ASSERT(m->state == SLUICE_MSG_RUNNING && !m->is_run_out);
    int is_head_waiting =
        e->ready_head != NO_SLOT && e->messages[e->ready_head].is_suspect && e->runs_out != 0;
    return e->exclusive != NO_SLOT || is_head_waiting;
}

static void exclusive_end(struct sluice_engine *e)
{
    e->exclusive = NO_SLOT;
}

static int is_exclusive(const struct sluice_engine *e, const struct message *m)
{
    return e->exclusive == msg_slot(e, m);
}

void ready_on_verdict(struct sluice_engine *e, struct message *m, int has_ended)
{
    m->is_run_out = 0;
    e->runs_out--;
    if (is_exclusive(e, m)) {
        m->record->is_marked = 0;
        if (has_ended) { /* whatever left the marks before, this handler did not */
            m->record->stale_marks = 0;
        }
        record_write(e, m, RECORD_CLEAR);
    }
}

void ready_on_recorded(struct sluice_engine *e, struct message *m, enum sluice_fate fate)
{
    enum recording purpose = (enum recording)m->recording;
    m->recording = RECORD_NONE;
    if (purpose == RECORD_CLEAR) {
        exclusive_end(e); /* a clear that failed leaves a stale mark; one alone buries nobody */
        if (m->state == SLUICE_MSG_NAKING) {
            fail_advance(e, m);
        } else if (m->state == SLUICE_MSG_LOST) {
            lease_idle(e, m);
        } else if (m->state == SLUICE_MSG_RECEIVED) {
            steps_restart(e, m);
        }
        return;
    }
    if (purpose != RECORD_MARK) {
        return;
    }
    int is_unstarted = e->is_draining && !m->has_run;
    if (m->state != SLUICE_MSG_RUNNING || lease_is_over(e, m) || is_unstarted) {
        m->record->is_marked = 0;
        record_write(e, m, RECORD_CLEAR);
        if (is_unstarted && m->state == SLUICE_MSG_RUNNING) {
            fail_message(e, m, SLUICE_FAILURE_DRAIN); /* its NAK waits for the clearing */
        }
        return;
    }
    if (fate != SLUICE_FATE_OK) { /* a run without a mark could kill the neighbours for ever */
        m->record->is_marked = 0;
        exclusive_end(e);
        fail_message(e, m,
                     fate == SLUICE_FATE_NO_MEMORY ? SLUICE_FAILURE_NO_MEMORY
                                                   : SLUICE_FAILURE_JOURNAL);
        return;
    }
    run(e, m);
}

void ready_release(struct sluice_engine *e, struct message *m)
{
    ready_drop(e, m);
    if (is_exclusive(e, m)) {
        exclusive_end(e);
    }
    SLUICE_ASSERT(!m->is_run_out);
}
