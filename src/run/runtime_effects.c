/* SPDX-License-Identifier: Apache-2.0 */
#include "port/clock.h"
#include "run/offload.h"
#include "run/runtime_state.h"

static void log_release(const struct inflight *m, const struct sluice_effect *fx)
{
    long long took = sluice_mono_ms() - m->received_ms;
    switch ((enum sluice_outcome)fx->outcome) {
    case SLUICE_OUTCOME_ACKED:
        SLUICE_LOG(SLUICE_LOG_INFO, DONE, "message.acknowledged", "", RUNTIME_MESSAGE_FIELDS(m),
                   SLUICE_F_NUMBER("duration_ms", took));
        break;
    case SLUICE_OUTCOME_NAKED:
        SLUICE_LOG(fx->failure == SLUICE_FAILURE_DRAIN ? SLUICE_LOG_INFO : SLUICE_LOG_WARN, FAILED,
                   "message.failed", m->reason, RUNTIME_MESSAGE_FIELDS(m),
                   SLUICE_F_TEXT("reason", sluice_failure_name((enum sluice_failure)fx->failure)),
                   SLUICE_F_TEXT("step", m->failed_step), SLUICE_F_NUMBER("failures", fx->failures),
                   SLUICE_F_NUMBER("duration_ms", took));
        break;
    case SLUICE_OUTCOME_DEAD:
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "message.dead_lettered", m->reason,
                   RUNTIME_MESSAGE_FIELDS(m),
                   SLUICE_F_TEXT("reason", sluice_failure_name((enum sluice_failure)fx->failure)),
                   SLUICE_F_TEXT("step", m->failed_step));
        break;
    default:
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "message.unsettled", "redelivered after the ack wait",
                   RUNTIME_MESSAGE_FIELDS(m),
                   SLUICE_F_TEXT("outcome", sluice_outcome_name((enum sluice_outcome)fx->outcome)));
        break;
    }
}

static uint64_t settle_op(struct sluice_ticket t, uint32_t settle, uint8_t verb)
{
    return (uint64_t)t.slot << 48 | (uint64_t)(t.generation & 0x3fff) << 34 | (uint64_t)verb << 32 |
           settle;
}

static void perform_admit(struct runtime *rt, struct sluice_ticket ticket)
{
    struct inflight *m = rt->vacant; /* the engine was told when there is none */
    rt->vacant = NULL;
    inflight_open(m, rt->config.host, ticket, rt->arriving, rt->config.allocator);
    m->received_ms = sluice_mono_ms();
    rt->slots[ticket.slot] = m;
    rt->arriving = NULL;
    SLUICE_LOG(SLUICE_LOG_INFO, MAIL, "message.received", "",
               SLUICE_F_NUMBER("seq", m->delivery->sequence),
               SLUICE_F_NUMBER("deliveries", m->deliveries),
               SLUICE_F_TEXT("subject", m->delivery->subject),
               SLUICE_F_TEXT("correlation_id", m->correlation_id),
               SLUICE_F_NUMBER("size", m->delivery->body.len));
}

static void perform_rebind(struct runtime *rt, struct inflight *m)
{
    if (inflight_rebind(m, rt->source, rt->arriving)) {
        rt->arriving = NULL;
    }
}

static void perform_refuse(struct runtime *rt, const struct sluice_effect *fx)
{
    const struct sluice_delivery *d = rt->arriving;
    if (rt->vacant == NULL) {
        SLUICE_LOG(
            SLUICE_LOG_WARN, FAILED, "message.refused", "out of memory",
            SLUICE_F_NUMBER("seq", d->sequence), SLUICE_F_NUMBER("deliveries", d->deliveries),
            SLUICE_F_NUMBER("size", d->body.len), SLUICE_F_NUMBER("delay_ms", fx->settle.delay_ms));
    }
    rt->source->ops->settle(rt->source, UINT64_MAX, d->reply, SLUICE_VERB_NAK, fx->settle.delay_ms);
}

/* Answered from memory, but not from inside the performing of effects: the event waits for its turn
 * like a verdict. */
static void perform_replay(struct runtime *rt, struct inflight *m, const struct sluice_effect *fx)
{
    enum sluice_fate fate = fx->journaled < m->journaled_count
                                ? host_replay(m, fx->step, m->journaled[fx->journaled])
                                : SLUICE_FATE_MISS;
    m->steps[fx->step]->replayed = (uint8_t)fate;
    m->steps[fx->step]->owed |= OWED_REPLAY;
    m->owed.steps = 1;
    runtime_owe(rt, m);
}

static void perform_release(struct runtime *rt, struct inflight *m, const struct sluice_effect *fx)
{
    if (fx->failure == SLUICE_FAILURE_TIMEOUT && fx->outcome == SLUICE_OUTCOME_NAKED) {
        host_blame_time(m);
    }
    log_release(m, fx);
    if ((fx->outcome == SLUICE_OUTCOME_NAKED || fx->outcome == SLUICE_OUTCOME_DEAD) &&
        fx->failure != SLUICE_FAILURE_DRAIN) {
        rt->step_failures[sluice_probe_step_of(m->failed_step)]++;
    }
    rt->slots[m->ticket.slot] = NULL;
    offloads_leave(rt, m);
    m->is_released = 1;
    runtime_inflight_free_if_done(rt, m);
}

/* Effects that concern no message. 1: it was one. */
static int perform_general(struct runtime *rt, const struct sluice_effect *fx)
{
    struct sluice_source *s = rt->source;
    switch (fx->kind) {
    case SLUICE_FX_PULL:
        s->ops->pull(s, &fx->pull);
        return 1;
    case SLUICE_FX_ABANDON:
        s->ops->abandon(s, fx->pull.pull);
        return 1;
    case SLUICE_FX_CHECK:
        s->ops->check(s);
        return 1;
    case SLUICE_FX_STOP:
        s->ops->stop(s);
        return 1;
    case SLUICE_FX_REFUSE:
        perform_refuse(rt, fx);
        return 1;
    case SLUICE_FX_ADMIT:
        perform_admit(rt, fx->ticket);
        return 1;
    case SLUICE_FX_DRAINED:
        runtime_finish(rt, RUNTIME_DRAINED);
        return 1;
    default:
        return 0;
    }
}

void runtime_perform(struct runtime *rt, const struct sluice_effect *fx)
{
    if (perform_general(rt, fx)) {
        return;
    }
    struct inflight *m = rt->slots[fx->ticket.slot];
    switch (fx->kind) {
    case SLUICE_FX_REBIND:
        perform_rebind(rt, m);
        break;
    case SLUICE_FX_SETTLE:
        rt->source->ops->settle(
            rt->source, settle_op(fx->ticket, fx->settle.settle, fx->settle.verb),
            inflight_reply(m), (enum sluice_verb)fx->settle.verb, fx->settle.delay_ms);
        break;
    case SLUICE_FX_LOAD:
        runtime_call_load(rt, m);
        break;
    case SLUICE_FX_RUN:
        m->owed.run = 1;
        runtime_owe(rt, m);
        break;
    case SLUICE_FX_START:
        runtime_call_start(rt, m, fx->step);
        break;
    case SLUICE_FX_REPLAY:
        perform_replay(rt, m, fx);
        break;
    case SLUICE_FX_CANCEL:
        runtime_call_cancel(rt, m, fx->step);
        break;
    case SLUICE_FX_KEEP:
        runtime_call_keep(rt, m, fx);
        break;
    case SLUICE_FX_RECORD:
        runtime_call_record(rt, m, fx->record);
        break;
    case SLUICE_FX_STORE:
        runtime_call_store(rt, m);
        break;
    case SLUICE_FX_PUBLISH:
        runtime_call_publish(rt, m, fx->output);
        break;
    case SLUICE_FX_BURY:
        runtime_call_bury(rt, m, fx);
        break;
    case SLUICE_FX_RELEASE:
        perform_release(rt, m, fx);
        break;
    default:
        break;
    }
}
