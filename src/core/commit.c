/* SPDX-License-Identifier: Apache-2.0 */
/* Committing: all documents, then all outputs, then the ACK. */
#include "core/engine_state.h"

static uint64_t all_outputs(const struct message *m)
{
    return m->outputs_count >= 64 ? UINT64_MAX : (UINT64_C(1) << m->outputs_count) - 1;
}

/* Of an orphan there is nobody to be told: in a stream made anew its number is another message's.
 */
int commit_is_complete(const struct message *m)
{
    return m->is_stored && m->outputs_done == all_outputs(m) && !m->is_orphaned;
}

void commit_unpark(struct sluice_engine *e, struct message *m)
{
    if (m->is_parked_commit) {
        m->is_parked_commit = 0;
        e->dependencies[m->state == SLUICE_MSG_STORING ? SLUICE_DEP_STORE : SLUICE_DEP_PUBLISH]
            .parked--;
    }
}

/* Waits for the breaker, but not beyond the attempt's own deadline. */
static void commit_park(struct sluice_engine *e, struct message *m, uint32_t dependency)
{
    if (m->is_overdue) {
        fail_message(e, m, SLUICE_FAILURE_DEPENDENCY);
        return;
    }
    m->is_parked_commit = 1;
    e->dependencies[dependency].parked++;
    if (e->dependencies[dependency].scan_at_ms > e->now_ms) {
        e->dependencies[dependency].scan_at_ms = e->now_ms;
    }
}

static int outputs_reserve(struct sluice_engine *e, struct message *m, uint32_t count)
{
    if (count <= m->outputs_capacity) {
        return 1;
    }
    const struct sluice_allocator *a = &e->config.allocator;
    void *ids = a->resize(a->ctx, m->output_ids, count * sizeof *m->output_ids);
    if (ids == NULL) {
        return 0;
    }
    m->output_ids = ids;
    void *permits = a->resize(a->ctx, m->output_permits, count * sizeof *m->output_permits);
    if (permits == NULL) {
        return 0;
    }
    m->output_permits = permits;
    m->outputs_capacity = count;
    return 1;
}

/* An output that an earlier delivery got a PubAck for is not sent again. */
static int is_confirmed(const struct message *m, uint64_t id)
{
    for (uint32_t i = 0; m->record != NULL && i < m->record->outputs_count; i++) {
        if (m->record->outputs[i] == id) {
            return 1;
        }
    }
    return 0;
}

void commit_begin(struct sluice_engine *e, struct message *m, const struct sluice_ev_verdict *v)
{
    if (v->outputs_count > SLUICE_EFFECTS_MAX || !outputs_reserve(e, m, v->outputs_count)) {
        fail_message(e, m, SLUICE_FAILURE_NO_MEMORY);
        return;
    }
    m->documents_count = v->documents_count;
    m->outputs_count = v->outputs_count;
    m->outputs_sent = 0;
    m->outputs_done = 0;
    m->outputs_bad = 0;
    m->is_stored = 0;
    m->worst_publish = SLUICE_FATE_OK;
    for (uint32_t i = 0; i < v->outputs_count; i++) {
        m->output_ids[i] = v->outputs[i];
        m->output_permits[i] = (struct sluice_permit){.is_held = 0};
        if (is_confirmed(m, v->outputs[i])) {
            m->outputs_done |= UINT64_C(1) << i;
        }
    }
    steps_cancel(e, m); /* what the handler started and did not wait for */
    msg_move(e, m, SLUICE_MSG_STORING);
    if (m->keeping > 0) {
        m->op_end_ms = e->now_ms + journal_patience_ms(e);
    }
    commit_advance(e, m);
}

static void store(struct sluice_engine *e, struct message *m)
{
    if (m->documents_count == 0) {
        m->is_stored = 1;
        msg_move(e, m, SLUICE_MSG_PUBLISHING);
        commit_advance(e, m);
        return;
    }
    if (!permit_acquire(e, SLUICE_DEP_STORE, &m->store_permit)) {
        commit_park(e, m, SLUICE_DEP_STORE);
        return;
    }
    m->is_store_out = 1;
    m->op_end_ms = NO_TIME;
    (void)fx_emit(e, SLUICE_FX_STORE, m);
}

/* CANCELLED: the connection was down, which is the server's trouble and no failure of the message,
 * nor of the breaker. */
static enum sluice_failure publish_failure(const struct message *m)
{
    switch ((enum sluice_fate)m->worst_publish) {
    case SLUICE_FATE_PERMANENT:
        return SLUICE_FAILURE_REJECTED;
    case SLUICE_FATE_CANCELLED:
    case SLUICE_FATE_UNREACHABLE:
        return SLUICE_FAILURE_DEPENDENCY;
    case SLUICE_FATE_NO_MEMORY:
        return SLUICE_FAILURE_NO_MEMORY;
    default:
        return SLUICE_FAILURE_PUBLISH;
    }
}

static void publish(struct sluice_engine *e, struct message *m)
{
    uint64_t open = all_outputs(m) & ~(m->outputs_sent | m->outputs_done | m->outputs_bad);
    for (uint32_t i = 0; i < m->outputs_count && m->outputs_bad == 0; i++) {
        if ((open >> i & 1u) == 0) {
            continue;
        }
        if (!permit_acquire(e, SLUICE_DEP_PUBLISH, &m->output_permits[i])) {
            if (m->outputs_sent == 0) {
                commit_park(e, m, SLUICE_DEP_PUBLISH);
            }
            return;
        }
        m->outputs_sent |= UINT64_C(1) << i;
        fx_emit(e, SLUICE_FX_PUBLISH, m)->output = (uint8_t)i;
    }
    if (m->outputs_sent != 0) {
        return;
    }
    if (m->outputs_bad != 0) {
        fail_message(e, m, publish_failure(m));
        return;
    }
    msg_move(e, m, SLUICE_MSG_ACKING);
    commit_ack(e, m);
}

/* Go on with what is next, unless something is still under way. */
void commit_advance(struct sluice_engine *e, struct message *m)
{
    if (m->is_parked_commit || m->is_store_out) {
        return;
    }
    if (lease_is_over(e, m)) {
        lease_lose(e, m);
    } else if (m->state == SLUICE_MSG_STORING) {
        if (m->keeping == 0) {
            store(e, m);
        }
    } else {
        publish(e, m);
    }
}

static enum sluice_failure store_failure(enum sluice_fate fate)
{
    switch (fate) {
    case SLUICE_FATE_PERMANENT:
        return SLUICE_FAILURE_REJECTED;
    case SLUICE_FATE_NO_MEMORY:
        return SLUICE_FAILURE_NO_MEMORY;
    case SLUICE_FATE_UNREACHABLE:
        return SLUICE_FAILURE_DEPENDENCY;
    default:
        return SLUICE_FAILURE_STORE;
    }
}

void commit_on_stored(struct sluice_engine *e, struct message *m, enum sluice_fate fate)
{
    if (!m->is_store_out) {
        return;
    }
    m->is_store_out = 0;
    fate = fate_of_message(e, SLUICE_DEP_STORE, fate);
    permit_finish(e, SLUICE_DEP_STORE, &m->store_permit, fate, m);
    m->is_stored = fate == SLUICE_FATE_OK;
    if (m->state == SLUICE_MSG_LOST) {
        lease_idle(e, m);
        return;
    }
    if (m->state != SLUICE_MSG_STORING) {
        return;
    }
    if (fate != SLUICE_FATE_OK) {
        fail_message(e, m, store_failure(fate));
        return;
    }
    msg_move(e, m, SLUICE_MSG_PUBLISHING);
    commit_advance(e, m);
}

/* Does it say something about the message? Such an output decides, not one that does not. */
static int is_blamed(uint8_t fate)
{
    return fate != SLUICE_FATE_OK && fate != SLUICE_FATE_CANCELLED &&
           fate != SLUICE_FATE_NO_MEMORY && fate != SLUICE_FATE_UNREACHABLE;
}

void commit_on_published(struct sluice_engine *e, struct message *m,
                         const struct sluice_ev_published *ev)
{
    uint64_t bit = ev->output < 64 ? UINT64_C(1) << ev->output : 0;
    if ((m->outputs_sent & bit) == 0) {
        return;
    }
    m->outputs_sent &= ~bit;
    enum sluice_fate fate = fate_of_message(e, SLUICE_DEP_PUBLISH, (enum sluice_fate)ev->fate);
    permit_finish(e, SLUICE_DEP_PUBLISH, &m->output_permits[ev->output], fate, m);
    if (fate == SLUICE_FATE_OK) {
        m->outputs_done |= bit;
    } else {
        m->outputs_bad |= bit;
        if (!is_blamed(m->worst_publish) || fate == SLUICE_FATE_PERMANENT) {
            m->worst_publish = (uint8_t)fate;
        }
    }
    if (m->state == SLUICE_MSG_LOST) {
        lease_idle(e, m);
    } else if (m->state == SLUICE_MSG_PUBLISHING) {
        /* Everything committed may be ACKed even when the lease ended meanwhile. */
        if (commit_is_complete(m) && lease_is_over(e, m)) {
            msg_move(e, m, SLUICE_MSG_ACKING);
            commit_ack(e, m);
        } else {
            commit_advance(e, m);
        }
    }
}

void commit_ack(struct sluice_engine *e, struct message *m)
{
    settle_send(e, m, SLUICE_VERB_ACK, 0);
}
