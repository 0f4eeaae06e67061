/* SPDX-License-Identifier: Apache-2.0 */
/* When a delivery fails: the journal learns why, then the NAK; or the dead letter, its PubAck, then
 * the TERM. */
#include "core/engine_state.h"

static const uint8_t counts_as_failure[] = {
#define ROW(name, text, counts) counts,
    SLUICE_FAILURES(ROW)
#undef ROW
};

static int must_bury(const struct sluice_engine *e, const struct message *m,
                     enum sluice_failure failure)
{
    if (failure == SLUICE_FAILURE_KILLER) {
        return 1;
    }
    if (!counts_as_failure[failure]) {
        return 0;
    }
    if (failure == SLUICE_FAILURE_REJECTED && e->config.bury_rejected) {
        return 1;
    }
    return e->config.max_deliver != 0 && msg_failures(e, m) + 1 >= e->config.max_deliver;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How long until the first held-back dependency may be tried again; 0 when none is. */
static int64_t trial_wait_ms(const struct sluice_engine *e)
{
    int64_t wait = 0;
    for (uint32_t i = 0; i < e->config.dependencies_count; i++) {
        const struct dependency *d = &e->dependencies[i];
        if (d->breaker.state == SLUICE_BREAKER_OPEN) {
            wait = larger(wait, sluice_breaker_trial_at_ms(&d->breaker) - e->now_ms);
        }
    }
    return wait < e->config.nak_delay_max_ms ? wait : e->config.nak_delay_max_ms;
}

static int64_t nak_delay_ms(struct sluice_engine *e, const struct message *m,
                            enum sluice_failure failure)
{
    if (failure == SLUICE_FAILURE_DRAIN) {
        return 0;
    }
    uint32_t failures = msg_failures(e, m) + 1;
    if (!counts_as_failure[failure]) {
        failures = m->deliveries; /* not recorded: the deliveries at least make the delay grow */
    }
    int64_t delay = sluice_retry_delay_ms(e->config.nak_delay_ms, e->config.nak_delay_max_ms,
                                          failures, &e->prng);
    if (failure == SLUICE_FAILURE_DEPENDENCY) {
        delay = larger(delay, trial_wait_ms(e));
    }
    return larger(delay, m->retry_after_ms);
}

/* Calls that cost money may end, so that their answers are journaled. Without a journal nothing is
 * gained, and a delivery that comes meanwhile would count once more; a deadline or a shutdown does
 * not wait. */
static int may_calls_end(const struct sluice_engine *e, const struct message *m)
{
    return e->config.journal != 0 && !m->is_overdue && !m->is_aborted &&
           m->failure != SLUICE_FAILURE_DRAIN;
}

void fail_message(struct sluice_engine *e, struct message *m, enum sluice_failure failure)
{
    if (m->state != SLUICE_MSG_BURYING && lease_is_over(e, m)) {
        lease_lose(e, m);
        return;
    }
    e->metrics.failures[failure]++;
    m->failure = (uint8_t)failure;
    ready_drop(e, m);
    steps_unpark(e, m);
    commit_unpark(e, m);
    if (must_bury(e, m, failure)) {
        steps_cancel(e, m);
        msg_move(e, m, SLUICE_MSG_BURYING);
        m->is_bury_out = 1;
        struct sluice_effect *fx = fx_emit(e, SLUICE_FX_BURY, m);
        fx->failure = m->failure;
        fx->failures = msg_failures(e, m) + counts_as_failure[failure];
        return;
    }
    m->nak_delay_ms = nak_delay_ms(e, m, failure);
    msg_move(e, m, SLUICE_MSG_NAKING);
    if (!may_calls_end(e, m)) {
        steps_cancel(e, m);
    }
    fail_advance(e, m);
}

/* What the next delivery has to know. 0: nothing, or it cannot be written. */
static int record_prepare(struct sluice_engine *e, struct message *m)
{
    int counts = counts_as_failure[m->failure];
    if (e->config.journal == 0 || m->is_aborted || (!counts && m->outputs_done == 0)) {
        return 0;
    }
    struct sluice_record *record = msg_record(e, m);
    if (record == NULL) {
        return 0;
    }
    record->failures += (uint32_t)counts;
    record->epoch += m->spends;
    m->is_spent = m->spends;
    record->is_marked = 0;
    for (uint32_t i = 0; i < m->outputs_count; i++) {
        if ((m->outputs_done >> i & 1u) == 0) {
            continue;
        }
        uint32_t at = 0;
        while (at < record->outputs_count && record->outputs[at] != m->output_ids[i]) {
            at++;
        }
        if (at == record->outputs_count && at < SLUICE_EFFECTS_MAX) {
            record->outputs[record->outputs_count++] = m->output_ids[i];
        }
    }
    return 1;
}

int64_t journal_patience_ms(const struct sluice_engine *e)
{
    /* Each message would pay the time-out for a journal that is gone. What is written goes out all
     * the same, so that the first one that arrives shows that it is back. */
    return e->journal_failures < JOURNAL_FAILURES_MAX ? e->config.journal_timeout_ms : 0;
}

void fail_advance(struct sluice_engine *e, struct message *m)
{
    if (m->is_nak_sent) {
        return;
    }
    if (may_calls_end(e, m) && steps_paid_running(m) > 0) {
        return;
    }
    if (m->keeping > 0 || m->recording != RECORD_NONE) {
        if (m->op_end_ms == NO_TIME) { /* the clearing of a mark is waited for whatever it takes */
            int is_mark = m->recording == RECORD_MARK || m->recording == RECORD_CLEAR;
            m->op_end_ms =
                e->now_ms + (is_mark ? e->config.journal_timeout_ms : journal_patience_ms(e));
        }
        return;
    }
    if (lease_is_over(e, m)) {
        lease_lose(e, m);
        return;
    }
    if (!m->is_recorded) {
        m->is_recorded = 1;
        if (record_prepare(e, m)) {
            m->recording = RECORD_FAILURE;
            m->op_end_ms = e->now_ms + journal_patience_ms(e);
            fx_emit(e, SLUICE_FX_RECORD, m)->record = m->record;
            return;
        }
    }
    m->is_nak_sent = 1;
    settle_send(e, m, SLUICE_VERB_NAK, m->nak_delay_ms);
}

void fail_on_buried(struct sluice_engine *e, struct message *m, enum sluice_fate fate)
{
    if (!m->is_bury_out) {
        return;
    }
    m->is_bury_out = 0;
    m->is_buried = fate == SLUICE_FATE_OK;
    if (m->state == SLUICE_MSG_LOST) {
        lease_idle(e, m);
        return;
    }
    SLUICE_ASSERT(m->state == SLUICE_MSG_BURYING);
    if (lease_is_over(e, m)) {
        lease_lose(e, m);
    } else if (fate == SLUICE_FATE_OK) {
        msg_move(e, m, SLUICE_MSG_TERMING);
        settle_send(e, m, SLUICE_VERB_TERM, 0);
    } else {
        fail_message(e, m, SLUICE_FAILURE_BURY);
    }
}
