/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/faults.h"

#include "sim/world.h"

void sim_faults_arm(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->plan.faults_count; i++) {
        if (!w->plan.faults[i].is_off) {
            sim_world_push(w, w->plan.faults[i].at_ms, SIM_K_FAULT, (struct sim_item){.a = i});
        }
    }
}

static void strike_process(struct sim_world *w, const struct sim_fault *f, struct sim_process *p)
{
    if (!p->is_running) {
        return;
    }
    switch ((enum sim_fault_kind)f->kind) {
    case SIM_FAULT_KILL:
        if (f->how & 1) {
            p->kill_after = (f->how >> 1) % 16;
        } else {
            sim_process_kill(w, p);
        }
        break;
    case SIM_FAULT_KILL_AT:
        p->kill_at = (uint8_t)(f->what + 1u);
        p->kill_is_before = f->how & 1;
        break;
    case SIM_FAULT_FREEZE:
        if (f->how & 1) {
            p->freeze_after = (f->how >> 1) % 16;
            p->freeze_length_ms = f->length_ms;
        } else {
            sim_process_freeze(w, p, f->length_ms);
        }
        break;
    case SIM_FAULT_LINK_BREAK:
        sim_link_break(w, p->index);
        break;
    case SIM_FAULT_LINK_STALL:
        sim_link_stall(w, p->index, f->length_ms, f->how);
        break;
    case SIM_FAULT_DRAIN:
        if (!p->is_frozen) {
            sim_process_drain(w, p);
        }
        break;
    case SIM_FAULT_WALL_JUMP:
        p->wall_ms += (f->how & 1) ? 3600000 : -3600000;
        break;
    default:
        p->heap.failing_per_mille = 1u + f->how * 2u;
        sim_world_push(w, w->now_ms + f->length_ms, SIM_K_FED,
                       (struct sim_item){.worker = p->index, .life = p->life});
        break;
    }
}

void sim_faults_strike(struct sim_world *w, uint32_t index)
{
    const struct sim_fault *f = &w->plan.faults[index];
    if (w->is_calm) {
        return;
    }
    sim_trace_text(w, "fault %s, worker %u, length %lld ms, what %u, how %u",
                   sim_fault_name((enum sim_fault_kind)f->kind), (unsigned)f->worker,
                   (long long)f->length_ms, (unsigned)f->what, (unsigned)f->how);
    switch ((enum sim_fault_kind)f->kind) {
    case SIM_FAULT_SERVER_KILL:
        sim_jetstream_kill(w, f->how);
        sim_world_push(w, w->now_ms + 100 + f->length_ms, SIM_K_SERVER_UP, (struct sim_item){0});
        break;
    case SIM_FAULT_LEADER_CHANGE:
        sim_jetstream_leader_change(w, f->how);
        break;
    case SIM_FAULT_PULLS_LOST:
        sim_jetstream_lose_pulls(w);
        break;
    case SIM_FAULT_CONSUMER_DELETE:
        sim_jetstream_delete_consumer(w);
        sim_world_push(w, w->now_ms + 1000 + f->length_ms, SIM_K_CONSUMER_CREATE,
                       (struct sim_item){0});
        break;
    case SIM_FAULT_PURGE:
        sim_jetstream_purge(w);
        break;
    case SIM_FAULT_OUTAGE:
        w->outage_until_ms[f->what] = w->now_ms + f->length_ms;
        w->outage_hangs[f->what] = (uint8_t)sim_chance(&w->rng, w->plan.outage_hang_per_mille);
        break;
    case SIM_FAULT_UPGRADE:
        w->version = SIM_VERSIONS - 1;
        break;
    case SIM_FAULT_JOURNAL_AGE:
        sim_kv_age(w);
        w->judge.journal_trouble = 1;
        break;
    default:
        strike_process(w, f, &w->processes[f->worker]);
        break;
    }
}

void sim_faults_heal(struct sim_world *w)
{
    sim_trace_text(w, "the faults are over");
    w->is_calm = 1;
    if (!w->js.is_up) {
        sim_jetstream_up(w);
    }
    sim_jetstream_create_consumer(w);
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        struct sim_process *p = &w->processes[i];
        p->kill_after = p->freeze_after = -1;
        p->kill_at = 0;
        p->heap.failing_per_mille = 0;
        p->link.to_server_stalled_ms = p->link.to_client_stalled_ms = 0;
        sim_process_continue(w, p);
    }
}
