/* SPDX-License-Identifier: Apache-2.0 */
/* The connection between a worker and the server. */
#include "sim/process.h"

#include "sim/world.h"

static int64_t later(int64_t x, int64_t y)
{
    return x > y ? x : y;
}

int sim_link_send(struct sim_world *w, uint8_t worker, uint8_t kind, struct sim_item item)
{
    struct sim_link *link = &w->processes[worker].link;
    if (!link->is_up) {
        return 0;
    }
    int64_t at = w->now_ms + sim_below(&w->rng, (uint64_t)w->plan.link_ms + 1u);
    at = later(at, later(link->to_server_ms, link->to_server_stalled_ms));
    link->to_server_ms = at;
    item.worker = worker;
    item.life = link->epoch;
    sim_world_push(w, at, (enum sim_kind)kind, item);
    return 1;
}

void sim_link_reply(struct sim_world *w, uint8_t worker, uint16_t epoch, uint8_t kind,
                    struct sim_item item)
{
    struct sim_link *link = &w->processes[worker].link;
    if (!link->is_up || link->epoch != epoch) {
        return; /* into the void */
    }
    int64_t at = w->now_ms + sim_below(&w->rng, (uint64_t)w->plan.link_ms + 1u);
    at = later(at, later(link->to_client_ms, link->to_client_stalled_ms));
    link->to_client_ms = at;
    item.worker = worker;
    item.life = epoch;
    sim_world_push(w, at, (enum sim_kind)kind, item);
}

int sim_link_connect(struct sim_world *w, struct sim_process *p)
{
    struct sim_link *link = &p->link;
    if (!w->js.is_up) {
        return 0;
    }
    link->epoch++;
    link->server_epoch = link->epoch;
    link->is_up = 1;
    link->to_server_ms = link->to_client_ms = w->now_ms;
    link->to_server_stalled_ms = link->to_client_stalled_ms = 0;
    link->horizon_ms = w->now_ms; /* the PING of the handshake */
    sim_world_push(w, w->now_ms + w->plan.ping_ms, SIM_K_PING_DUE,
                   (struct sim_item){.worker = p->index, .life = link->epoch});
    return 1;
}

void sim_link_break(struct sim_world *w, uint8_t worker)
{
    struct sim_process *p = &w->processes[worker];
    struct sim_link *link = &p->link;
    if (!p->is_running || !link->is_up) {
        return;
    }
    link->is_up = 0;
    if (link->server_epoch == link->epoch) {
        if (sim_chance(&w->rng, 600)) {
            sim_jetstream_forget_client(w, worker, link->epoch);
            link->server_epoch = 0;
        } else { /* it goes on delivering into the void for a while */
            sim_world_push(w, w->now_ms + sim_below(&w->rng, 10000), SIM_K_LINK_NOTICED,
                           (struct sim_item){.worker = worker, .life = link->epoch});
        }
    }
    struct sim_item down = {
        .at_ms = w->now_ms, .kind = SIM_K_TO_CLIENT_DOWN, .worker = worker, .life = link->epoch};
    sim_process_receive(w, p, &down);
}

void sim_link_stall(struct sim_world *w, uint8_t worker, int64_t length_ms, uint8_t how)
{
    struct sim_link *link = &w->processes[worker].link;
    if (!link->is_up) {
        return;
    }
    int64_t end = w->now_ms + length_ms;
    if ((how & 3) != 1) {
        link->to_server_stalled_ms = later(link->to_server_stalled_ms, end);
    }
    if ((how & 3) != 2) {
        link->to_client_stalled_ms = later(link->to_client_stalled_ms, end);
    }
    if ((how & 4) || length_ms > 20000) { /* pings find out, or the peer gives up */
        sim_world_push(w, w->now_ms + (length_ms < 20000 ? length_ms : 20000), SIM_K_LINK_CUT,
                       (struct sim_item){.worker = worker, .life = link->epoch});
    }
}
