/* SPDX-License-Identifier: Apache-2.0 */
/* One wake-up a message, in a binary heap. A wake-up may come early (its cause went away): it is
 * then set anew. That keeps the hot path free of heap moves, because most times of a message only
 * move to later. */
#include "core/engine_state.h"

static int64_t key(const struct sluice_engine *e, uint32_t at)
{
    return e->messages[e->heap[at]].wake_ms;
}

static int is_before(const struct sluice_engine *e, uint32_t a, uint32_t b)
{
    int64_t ka = key(e, a);
    int64_t kb = key(e, b);
    return ka != kb ? ka < kb : e->heap[a] < e->heap[b];
}

static void swap(struct sluice_engine *e, uint32_t a, uint32_t b)
{
    uint32_t slot = e->heap[a];
    e->heap[a] = e->heap[b];
    e->heap[b] = slot;
    e->messages[e->heap[a]].heap_at = a;
    e->messages[e->heap[b]].heap_at = b;
}

static void sift_up(struct sluice_engine *e, uint32_t at)
{
    while (at > 0 && is_before(e, at, (at - 1) / 2)) {
        swap(e, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void sift_down(struct sluice_engine *e, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < e->heap_count; child++) {
            if (is_before(e, child, least)) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        swap(e, at, least);
        at = least;
    }
}

void timer_drop(struct sluice_engine *e, struct message *m)
{
    uint32_t at = m->heap_at;
    if (at == NO_SLOT) {
        return;
    }
    m->heap_at = NO_SLOT;
    uint32_t last = --e->heap_count;
    if (at == last) {
        return;
    }
    e->heap[at] = e->heap[last];
    e->messages[e->heap[at]].heap_at = at;
    sift_up(e, at);
    sift_down(e, at);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The attempt's own deadline counts until its verdict is on its way. */
static int has_deadline(const struct message *m)
{
    return !m->is_overdue && (m->state <= SLUICE_MSG_PUBLISHING ||
                              (m->state == SLUICE_MSG_NAKING && !m->is_nak_sent));
}

/* When the message next needs attention by itself. */
static int64_t wake_time(const struct sluice_engine *e, const struct message *m)
{
    int64_t wake = m->op_end_ms;
    if (lease_is_needed(m)) {
        wake = earlier(wake, earlier(m->renew_at_ms, lease_end_ms(e, m)));
    }
    if (has_deadline(m)) {
        wake = earlier(wake, m->attempt_end_ms);
    }
    return wake;
}

void timer_set(struct sluice_engine *e, struct message *m)
{
    int64_t wake = wake_time(e, m);
    if (m->heap_at == NO_SLOT) {
        if (wake == NO_TIME) {
            return;
        }
        m->wake_ms = wake;
        m->heap_at = e->heap_count;
        e->heap[e->heap_count++] = msg_slot(e, m);
        sift_up(e, m->heap_at);
    } else if (wake < m->wake_ms) {
        m->wake_ms = wake;
        sift_up(e, m->heap_at);
    }
}

/* The attempt's own deadline. What is being committed is left to end by its own time-outs. */
static void overdue(struct sluice_engine *e, struct message *m)
{
    m->is_overdue = 1;
    switch ((enum sluice_msg_state)m->state) {
    case SLUICE_MSG_RECEIVED:
        fail_message(e, m, SLUICE_FAILURE_JOURNAL);
        break;
    case SLUICE_MSG_RUNNING:
        if (!m->is_run_out) {
            fail_message(e, m,
                         m->has_run && !ready_is_held(e, m) ? SLUICE_FAILURE_TIMEOUT
                                                            : SLUICE_FAILURE_JOURNAL);
        }
        break;
    case SLUICE_MSG_WAITING:
        fail_message(e, m,
                     steps_are_only_parked(m) ? SLUICE_FAILURE_DEPENDENCY : SLUICE_FAILURE_TIMEOUT);
        break;
    case SLUICE_MSG_NAKING: /* kept waiting by a paid call */
        steps_cancel(e, m);
        fail_advance(e, m);
        break;
    default: /* STORING, PUBLISHING */
        if (m->is_parked_commit) {
            fail_message(e, m, SLUICE_FAILURE_DEPENDENCY);
        }
        break;
    }
}

static void operation_late(struct sluice_engine *e, struct message *m)
{
    m->op_end_ms = NO_TIME;
    switch ((enum sluice_msg_state)m->state) {
    case SLUICE_MSG_RECEIVED:
        SLUICE_ASSERT(m->is_load_due);
        msg_load(e, m);
        break;
    case SLUICE_MSG_STORING: /* the journal did not answer in time */
        e->metrics.answers_unkept += m->keeping;
        m->keeping = 0;
        commit_advance(e, m);
        break;
    case SLUICE_MSG_NAKING:
        if (m->is_nak_sent) {
            e->metrics.naks_unanswered++;
            msg_release(e, m, SLUICE_OUTCOME_NAKED);
            return;
        }
        e->metrics.answers_unkept += m->keeping;
        m->keeping = 0;
        if (m->recording == RECORD_FAILURE) {
            m->recording = RECORD_NONE;
            m->is_recorded = 1;
        }
        fail_advance(e, m);
        break;
    default: /* ACKING, TERMING */
        settle_repeat(e, m);
        break;
    }
}

static void wake(struct sluice_engine *e, struct message *m)
{
    uint32_t generation = m->generation;
    if (lease_is_needed(m) && lease_is_over(e, m)) {
        lease_lose(e, m);
    }
    if (m->generation == generation && has_deadline(m) && e->now_ms >= m->attempt_end_ms) {
        overdue(e, m);
    }
    if (m->generation == generation && e->now_ms >= m->op_end_ms) {
        operation_late(e, m);
    }
    if (m->generation == generation && lease_is_needed(m) && e->now_ms >= m->renew_at_ms) {
        lease_renew(e, m);
    }
    if (m->generation == generation) {
        timer_set(e, m);
    }
}

void timer_pump(struct sluice_engine *e)
{
    while (e->heap_count > 0 && key(e, 0) <= e->now_ms) {
        if (!fx_has_room(e)) {
            e->is_behind = 1;
            return;
        }
        struct message *m = &e->messages[e->heap[0]];
        timer_drop(e, m);
        wake(e, m);
    }
}
