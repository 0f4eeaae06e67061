/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries: each is admitted, or taken over by an attempt at the same message, or sent back. */
#include "sim/check.h"

#include "sim/world.h"

#include <string.h>

void sim_judge_admit(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                     const struct sluice_effect *fx)
{
    uint32_t slot = fx->ticket.slot;
    if (ev->message.has_no_memory) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "ADMIT of message %llu, for which there is no memory",
                       (unsigned long long)ev->message.sequence);
        return;
    }
    if (slot >= w->plan.engine.max_in_flight || fx->ticket.generation == 0 ||
        watch->attempts[slot].generation != 0 ||
        watch->attempts[slot].last_generation == fx->ticket.generation) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "ADMIT as %u.%u: the ticket is not free", slot,
                       fx->ticket.generation);
        return;
    }
    struct sim_attempt *a = &watch->attempts[slot];
    const struct sluice_ev_message *m = &ev->message;
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        if (watch->attempts[i].generation != 0 && watch->attempts[i].sequence == m->sequence) {
            sim_judge_fail(w, SIM_RULE_CONTRACT, "ADMIT of message %u, which is in hand already",
                           watch->attempts[i].sequence);
            return;
        }
    }
    memset(a, 0, sizeof *a);
    a->generation = a->last_generation = fx->ticket.generation;
    a->sequence = (uint32_t)m->sequence;
    a->key = w->inputs[m->sequence].key;
    a->deliveries = a->most_deliveries = m->deliveries;
    a->size = m->size;
    a->admitted_ms = a->delivered_ms = ev->mono_ms;
    a->failed_step = -1;
    a->failed_dependency = SLUICE_DEP_NONE;
    a->lease_end_ms = m->horizon_ms + w->plan.engine.ack_wait_ms;
    a->needs_load = w->plan.engine.journal &&
                    (m->deliveries != 1 || m->is_replay || m->stored_ms < watch->connected_wall_ms);
    a->order = ++watch->admissions;
    watch->live++;
    watch->live_bytes += m->size;
    sim_judge_is_due(w, watch, a);
    sim_judge_leased(w, watch, a, ev);
    sim_judge_paced_admission(w, a, ev);
}

void sim_judge_rebind(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                      const struct sluice_effect *fx)
{
    struct sim_attempt *a = sim_judge_attempt(watch, fx->ticket);
    if (a == NULL || a->sequence != ev->message.sequence) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "REBIND of message %llu to %u.%u, which is another",
                       (unsigned long long)ev->message.sequence, fx->ticket.slot,
                       fx->ticket.generation);
        return;
    }
    int64_t end = ev->message.horizon_ms + w->plan.engine.ack_wait_ms;
    if (!sim_judge_is_at_end(w, a, ev->mono_ms)) {
        a->taken_step = w->totals.steps;
        a->steps_taken = a->steps_count;
    }
    sim_judge_paced_delivery(w, a, ev);
    a->is_retaken |= (uint8_t)sim_judge_is_at_end(w, a, ev->mono_ms);
    if (sim_judge_is_late(a, ev->mono_ms) || end > a->lease_end_ms) {
        a->lease_end_ms = end;
        sim_judge_leased(w, watch, a, ev);
    }
    a->has_gap |= ev->message.deliveries != a->deliveries + 1;
    a->rebound_ms = w->now_ms;
    a->delivered_ms = ev->mono_ms;
    a->deliveries = ev->message.deliveries;
    if (a->most_deliveries < a->deliveries) {
        a->most_deliveries = a->deliveries;
    }
    a->was_rebound = 1;
    a->verdict_verb = a->answered_verbs = a->is_orphaned = 0;
    a->was_short = a->misses_paid = 0;
    a->slack = a->slack || a->has_recorded; /* it may fail once more, under the new delivery */
    sim_judge_is_due(w, watch, a);
}

/* Nothing else is a reason to send a delivery back: one of a message in hand takes that over. */
static int may_refuse(const struct sim_world *w, const struct sim_watch *watch,
                      const struct sluice_ev_message *m)
{
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        const struct sim_attempt *a = &watch->attempts[i];
        if (a->generation != 0 && a->sequence == m->sequence) {
            return 0;
        }
    }
    return m->has_no_memory || watch->is_draining || watch->live >= w->plan.engine.max_in_flight;
}

/* For want of memory it waits longer with each delivery: at once it would come back to that. */
void sim_judge_refuse(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                      const struct sluice_effect *fx)
{
    if (!may_refuse(w, watch, &ev->message)) {
        sim_judge_fail(w, SIM_RULE_CONTRACT,
                       "message %llu is refused with %u in flight of %u, and no want of memory",
                       (unsigned long long)ev->message.sequence, watch->live,
                       w->plan.engine.max_in_flight);
        return;
    }
    /* Nor would the next one fit. A missing consumer, found meanwhile, is looked for in a second.
     */
    if (ev->message.has_no_memory) {
        int64_t pause_ms = w->plan.engine.nak_delay_ms;
        watch->intake.not_before_ms = ev->mono_ms + (pause_ms < 1000 ? pause_ms : 1000);
    }
    int64_t full = sim_judge_full_delay_ms(&w->plan.engine, ev->message.deliveries);
    int64_t least = ev->message.has_no_memory ? full / 2 : 0;
    int64_t most = ev->message.has_no_memory ? full : 0;
    if (fx->settle.delay_ms < least || fx->settle.delay_ms > most) {
        sim_judge_fail(w, SIM_RULE_RETRY, "refused message %llu waits %lld ms, not %lld to %lld",
                       (unsigned long long)ev->message.sequence, (long long)fx->settle.delay_ms,
                       (long long)least, (long long)most);
    }
    if (ev->mono_ms > ev->message.horizon_ms + w->plan.engine.ack_wait_ms) {
        sim_judge_fail(w, SIM_RULE_LEASE, "message %llu was refused (NAK) after its lease",
                       (unsigned long long)ev->message.sequence);
    }
}

void sim_judge_answered(struct sim_world *w, const struct sluice_event *ev, uint32_t received)
{
    /* What is read at the end of its lease may be dropped without a word: it will be delivered
     * again. */
    int64_t careful_ms = w->plan.engine.ack_wait_ms * 3 / 4;
    int may_drop =
        ev->kind == SLUICE_EV_MESSAGE && ev->mono_ms >= ev->message.horizon_ms + careful_ms;
    if (ev->kind == SLUICE_EV_MESSAGE && received != 1 && !(received == 0 && may_drop)) {
        sim_judge_fail(w, SIM_RULE_CONTRACT,
                       "message %llu was answered by %u of ADMIT, REBIND and REFUSE",
                       (unsigned long long)ev->message.sequence, received);
    }
}
