/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of requests to the server of the requests stream while the connection lives: lost,
 * heard and the answer lost, slow, late, heard twice, one behind the other. All of that is the way
 * between (routes of a cluster, queues that overflow), never the server, which answers what it
 * hears as jetstream.c has it. Messages are not overtaken by answers: they come in order. */
#include "sim/process.h"

#include "sim/world.h"

static enum sim_lot draw_lot(struct sim_world *w, enum sim_target target)
{
    const struct sim_rates *rates = &w->plan.rates[target];
    if (w->is_calm) {
        return SIM_LOT_OK;
    }
    int lot = sim_lots_said(&w->plan.course.network, &w->network_asked, target);
    if (lot >= 0 || rates->sum == 0) {
        return lot >= 0 ? (enum sim_lot)lot : SIM_LOT_OK;
    }
    return sim_rates_lot(rates, (uint32_t)(sluice_prng_next(&w->rng) & 0xffff));
}

/* Arrives so much later, whatever was sent after it. */
static void send_later(struct sim_world *w, struct sim_process *p, enum sim_kind kind,
                       struct sim_item item, int64_t after_ms)
{
    const struct sim_link *link = &p->link;
    int64_t at = w->now_ms + after_ms;
    item.worker = p->index;
    item.life = link->epoch;
    sim_world_push(w, at > link->to_server_stalled_ms ? at : link->to_server_stalled_ms, kind,
                   item);
}

/* 1 while the connection is there and the request can be written. */
static int is_sent(struct sim_world *w, struct sim_process *p, enum sim_target target,
                   enum sim_kind kind, struct sim_item item, enum sim_lot lot)
{
    const struct sim_rates *rates = &w->plan.rates[target];
    if (!p->link.is_up || lot == SIM_LOT_FAIL) {
        return 0;
    }
    if (lot != SIM_LOT_OK) {
        sim_trace_text(w, "w%u's %s: %s", (unsigned)p->index, sim_target_name(target),
                       sim_lot_name(lot));
    }
    switch (lot) {
    case SIM_LOT_SLOW:
        if (target == SIM_TARGET_SETTLE && sim_chance(&w->rng, 500)) {
            item.a |= SIM_SETTLE_ANSWER_SLOW;
            break;
        }
        send_later(w, p, kind, item, sim_between(&w->rng, 1, rates->slow_ms));
        return 1;
    case SIM_LOT_TWICE: {
        struct sim_item other = item; /* one of them is answered */
        (sim_chance(&w->rng, 500) ? &item : &other)->a |= SIM_SETTLE_ANSWER_LOST;
        send_later(w, p, kind, other, sim_between(&w->rng, 1, w->plan.engine.ack_wait_ms));
        break;
    }
    case SIM_LOT_ANSWER_LOST:
        item.a |= SIM_SETTLE_ANSWER_LOST;
        break;
    case SIM_LOT_LATE:
        send_later(w, p, kind, item,
                   rates->timeout_ms + sim_between(&w->rng, 1, w->plan.engine.ack_wait_ms));
        return 1;
    case SIM_LOT_NEVER:
        return 1;
    default:
        break;
    }
    return sim_link_send(w, p->index, (uint8_t)kind, item);
}

int sim_network_settle(struct sim_world *w, struct sim_process *p, struct sim_item item)
{
    enum sim_lot lot = draw_lot(w, SIM_TARGET_SETTLE);
    return is_sent(w, p, SIM_TARGET_SETTLE, SIM_K_TO_SERVER_SETTLE, item, lot);
}

void sim_network_pull(struct sim_world *w, struct sim_process *p, struct sim_inbox *inbox)
{
    struct sim_item item = {.b = inbox->pull.pull};
    enum sim_lot lot = draw_lot(w, SIM_TARGET_PULL);
    inbox->is_deaf = lot == SIM_LOT_ANSWER_LOST;
    (void)is_sent(w, p, SIM_TARGET_PULL, SIM_K_TO_SERVER_PULL, item, lot);
}

void sim_network_check(struct sim_world *w, struct sim_process *p)
{
    enum sim_lot lot = draw_lot(w, SIM_TARGET_CHECK);
    int is_out = is_sent(w, p, SIM_TARGET_CHECK, SIM_K_TO_SERVER_CHECK, (struct sim_item){0}, lot);
    if (!is_out || lot == SIM_LOT_NEVER) {
        int64_t after_ms = is_out ? w->plan.rates[SIM_TARGET_CHECK].timeout_ms : 0;
        sim_world_push(w, w->now_ms + after_ms, SIM_K_UNCHECKED,
                       (struct sim_item){.worker = p->index, .life = p->life});
    }
}

/* Does what the server said arrive now? */
int sim_network_arrives(struct sim_world *w, const struct sim_process *p,
                        const struct sim_item *item)
{
    if (item->kind == SIM_K_TO_CLIENT_MESSAGE || item->kind == SIM_K_TO_CLIENT_STATUS) {
        const struct sim_inbox *inbox = sim_process_inbox(p, item->b);
        return inbox == NULL || !inbox->is_deaf || w->is_calm || sim_chance(&w->rng, 500);
    }
    if (item->kind != SIM_K_TO_CLIENT_SETTLED && item->kind != SIM_K_TO_CLIENT_NOBODY) {
        return 1;
    }
    if (item->a & SIM_SETTLE_ANSWER_SLOW) {
        struct sim_item slow = *item;
        slow.a &= ~SIM_SETTLE_ANSWER_SLOW;
        sim_world_push(
            w, w->now_ms + sim_between(&w->rng, 1, w->plan.rates[SIM_TARGET_SETTLE].slow_ms),
            (enum sim_kind)item->kind, slow);
        return 0;
    }
    return (item->a & SIM_SETTLE_ANSWER_LOST) == 0;
}
