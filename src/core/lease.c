/* SPDX-License-Identifier: Apache-2.0 */
/* Leases and settling. The server does not fence stale settles, so we do: after its lease's end an
 * attempt starts nothing and sends no NAK and no TERM; an ACK only when everything is committed. */
#include "core/engine_state.h"

int64_t lease_end_ms(const struct sluice_engine *e, const struct message *m)
{
    return m->lease_base_ms + e->lease_ms;
}

int lease_is_over(const struct sluice_engine *e, const struct message *m)
{
    return e->now_ms >= lease_end_ms(e, m);
}

/* States in which the lease matters: until the verdict is on its way. */
int lease_is_needed(const struct message *m)
{
    return m->state <= SLUICE_MSG_PUBLISHING || m->state == SLUICE_MSG_BURYING ||
           (m->state == SLUICE_MSG_NAKING && !m->is_nak_sent);
}

static void renewal_plan(struct sluice_engine *e, struct message *m)
{
    int64_t third = e->config.ack_wait_ms / 3;
    int64_t jitter = (int64_t)sluice_prng_below(&e->prng, (uint64_t)(third / 4) + 1);
    m->renew_at_ms = m->lease_base_ms + third - jitter;
}

void lease_start(struct sluice_engine *e, struct message *m, int64_t base_ms)
{
    m->lease_base_ms = base_ms < e->now_ms ? base_ms : e->now_ms;
    renewal_plan(e, m);
}

void lease_renew(struct sluice_engine *e, struct message *m)
{
    e->metrics.renewals++;
    settle_send(e, m, SLUICE_VERB_PROGRESS, 0);
    m->renew_at_ms =
        e->now_ms + e->config.ack_wait_ms / 6; /* asked again when it stays unanswered */
}

/* Begun so late after its delivery: somebody else may soon have the next one, so that nothing
 * begins before a renewal is answered. */
void lease_renew_first(struct sluice_engine *e, struct message *m)
{
    m->is_renewing_first = e->now_ms - m->lease_base_ms > e->config.ack_wait_ms / 3;
    if (m->is_renewing_first && e->now_ms < m->attempt_end_ms) {
        lease_renew(e, m);
    }
}

void lease_lose(struct sluice_engine *e, struct message *m)
{
    ready_drop(e, m);
    steps_unpark(e, m);
    commit_unpark(e, m);
    msg_move(e, m, SLUICE_MSG_LOST);
    lease_idle(e, m);
}

static int is_busy(const struct message *m)
{
    return steps_will_end(m) || m->keeping > 0 || m->is_store_out || m->outputs_sent != 0 ||
           m->is_bury_out || m->is_run_out || m->recording == RECORD_MARK ||
           m->recording == RECORD_CLEAR || m->is_loading;
}

/* Back to life under a new delivery: the handler runs again from its top and finds its answers. */
static void revive(struct sluice_engine *e, struct message *m)
{
    /* It has lost a race, and not yet read what won. Or its failure is counted: were its handler to
     * find the call that has failed once more, that would be counted again, with nothing tried. */
    int is_restart_due = m->is_restarting || m->must_restart || m->is_recorded;
    m->is_retaken = 0;
    m->is_restarting = m->must_restart = 0;
    m->is_load_due = 0;
    m->is_nak_sent = 0;
    m->is_recorded = 0;
    m->spends = 0;
    m->is_spent = 0;
    m->retry_after_ms = 0;
    m->failure = SLUICE_FAILURE_NONE;
    m->is_renewing_first = 0;
    if (!m->has_run) { /* what has begun goes on */
        lease_renew_first(e, m);
    }
    if (is_restart_due) {
        steps_start_over(e, m);
        return;
    }
    msg_move(e, m, SLUICE_MSG_RECEIVED);
    if (e->now_ms >= m->attempt_end_ms) { /* the journal, or the commit, has taken all its time */
        m->is_overdue = 1;
        fail_message(e, m, SLUICE_FAILURE_JOURNAL);
        return;
    }
    if (m->needs_load) {
        m->load_tries = 0;
        msg_load(e, m);
    }
    msg_begin(e, m);
    if (m->state == SLUICE_MSG_RUNNING) {
        steps_resume(e, m);
    }
}

void lease_orphan_all(struct sluice_engine *e)
{
    for (uint32_t i = 0; i < e->config.max_in_flight; i++) {
        struct message *m = &e->messages[i];
        if (m->state != SLUICE_MSG_DONE) {
            m->is_orphaned = 1;
            m->lease_base_ms = e->now_ms - e->lease_ms;
            timer_set(e, m);
        }
    }
}

/* The last call of a lost attempt may have been the one that completed its commit. */
static int ack_if_complete(struct sluice_engine *e, struct message *m)
{
    if (m->outputs_count + m->documents_count == 0 || !commit_is_complete(m) ||
        m->failure != SLUICE_FAILURE_NONE) {
        return 0;
    }
    m->is_retaken = 0;
    msg_move(e, m, SLUICE_MSG_ACKING);
    commit_ack(e, m);
    return 1;
}

/* Its dead letter found its place after the lease's end: under a new delivery it only has to go. */
static int term_if_buried(struct sluice_engine *e, struct message *m)
{
    if (!m->is_buried) {
        return 0;
    }
    m->is_retaken = 0;
    msg_move(e, m, SLUICE_MSG_TERMING);
    settle_send(e, m, SLUICE_VERB_TERM, 0);
    return 1;
}

void lease_idle(struct sluice_engine *e, struct message *m)
{
    SLUICE_ASSERT(m->state == SLUICE_MSG_LOST);
    int is_committing = m->is_store_out || m->outputs_sent != 0 || m->is_bury_out;
    if (m->is_retaken && !lease_is_over(e, m)) {
        if (!is_committing && m->keeping == 0 && m->recording == RECORD_NONE && !m->is_run_out &&
            !m->is_loading && !term_if_buried(e, m) && !ack_if_complete(e, m)) {
            revive(e, m);
        }
        return;
    }
    if (!is_busy(m) && !ack_if_complete(e, m)) {
        msg_release(e, m, SLUICE_OUTCOME_LEASE_LOST);
    }
}

/* ---- Settling ---- */

void settle_send(struct sluice_engine *e, struct message *m, enum sluice_verb verb,
                 int64_t delay_ms)
{
    struct sluice_effect *fx = fx_emit(e, SLUICE_FX_SETTLE, m);
    fx->settle.settle = ++m->settle;
    fx->settle.verb = (uint8_t)verb;
    fx->settle.delay_ms = delay_ms;
    if (verb != SLUICE_VERB_PROGRESS) {
        m->verdict_settle = m->settle;
        m->op_end_ms = e->now_ms + e->config.settle_timeout_ms;
    }
}

void settle_repeat(struct sluice_engine *e, struct message *m)
{
    int is_ack = m->state == SLUICE_MSG_ACKING;
    SLUICE_ASSERT(is_ack || m->state == SLUICE_MSG_TERMING);
    int is_fenced = m->is_orphaned || (!is_ack && lease_is_over(e, m));
    /* Silence on a live connection: nats-server 2.12 does not answer for a message that its
     * consumer, gone back after a kill, has not delivered again. It may be that we hold the very
     * slot that this takes. Without a connection nobody can answer, and nothing is gained. */
    m->ack_repeats = (uint8_t)(m->ack_repeats + (e->is_connected ? 1 : 0));
    if (m->ack_repeats > ACK_REPEATS_MAX || is_fenced || e->is_aborting) {
        msg_release(e, m, is_ack ? SLUICE_OUTCOME_ACK_LOST : SLUICE_OUTCOME_TERM_LOST);
        return;
    }
    e->metrics.settles_repeated++;
    settle_send(e, m, is_ack ? SLUICE_VERB_ACK : SLUICE_VERB_TERM, 0);
}

static void renewed(struct sluice_engine *e, struct message *m, int64_t sent_ms)
{
    /* A TERM is repeated as long as the lease lasts. */
    int is_needed = lease_is_needed(m) || m->state == SLUICE_MSG_TERMING;
    if (!is_needed || lease_is_over(e, m)) {
        return;
    }
    if (sent_ms > m->lease_base_ms) {
        m->lease_base_ms = sent_ms < e->now_ms ? sent_ms : e->now_ms;
        renewal_plan(e, m);
    }
    if (m->is_renewing_first) {
        m->is_renewing_first = 0;
        msg_begin_if_received(e, m);
    }
}

void settle_on_answer(struct sluice_engine *e, struct message *m,
                      const struct sluice_ev_settled *ev)
{
    if (ev->verb == SLUICE_VERB_PROGRESS) {
        if (ev->is_answered) {
            renewed(e, m, ev->sent_ms);
        }
        return;
    }
    if (m->state == SLUICE_MSG_NAKING && m->is_nak_sent && ev->settle == m->verdict_settle) {
        e->metrics.naks_unanswered += !ev->is_answered;
        msg_release(e, m, SLUICE_OUTCOME_NAKED); /* a NAK is sent once, answered or not */
        return;
    }
    if (!ev->is_answered) {
        return; /* the deadline repeats it */
    }
    /* An answer to any copy of a repeated ACK or TERM is as good as one to the newest. */
    if (m->state == SLUICE_MSG_ACKING && ev->verb == SLUICE_VERB_ACK) {
        msg_release(e, m, SLUICE_OUTCOME_ACKED);
    } else if (m->state == SLUICE_MSG_TERMING && ev->verb == SLUICE_VERB_TERM) {
        msg_release(e, m, SLUICE_OUTCOME_DEAD);
    }
}
