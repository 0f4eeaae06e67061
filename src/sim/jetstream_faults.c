/* SPDX-License-Identifier: Apache-2.0 */
/* What befalls the server: kills, leader changes, forgotten pulls, a deleted consumer, a purge. */
#include "sim/jetstream.h"

#include "sim/world.h"

/* How far a killed server goes back at most. Measured: nothing was lost 300 ms after an ACK. */
#define REWIND_MS 300

/* How long a consumer whose leader stepped down has none, at most. Measured: some 500 ms after it
 * there was one. What was confirmed stays, what is held keeps its count and its time. */
#define NO_LEADER_MS 500

static void make_new(struct sim_world *w, uint32_t sequence, int forgets_count)
{
    struct sim_jetstream *js = &w->js;
    struct sim_stored *m = &js->stored[sequence];
    js->pending_count -= m->state == SIM_STORED_PENDING;
    js->settled_count -= m->state == SIM_STORED_SETTLED;
    m->state = SIM_STORED_NEW;
    m->is_queued = 0;
    m->changed_ms = w->now_ms;
    if (forgets_count) {
        m->deliveries = 0;
    }
    if (sequence < js->next_new) {
        js->next_new = sequence;
    }
}

static void close_all(struct sim_world *w, int per_mille_told, enum sluice_pull_status status)
{
    struct sim_jetstream *js = &w->js;
    for (uint32_t i = 0; i < js->waiting_count; i++) {
        struct sim_server_pull *pull = &js->pulls[js->waiting[i]];
        pull->is_open = 0;
        if (sim_chance(&w->rng, (uint32_t)per_mille_told)) {
            sim_link_reply(w, pull->worker, pull->epoch, SIM_K_TO_CLIENT_STATUS,
                           (struct sim_item){.a = (uint32_t)status, .b = pull->id});
        }
    }
    js->waiting_count = 0;
}

/* The consumer as it was on disk: settles and deliveries of the last moments are undone, and
 * counts of what is held may be forgotten (nats-server 2.9.10: 98 of 100 confirmed ACKs; 2.12.1:
 * 60 of 100 held messages came again with count 1). */
static void rewind_consumer(struct sim_world *w, uint8_t how)
{
    uint32_t settled_undone = (how & 1) ? 980 : (how & 2) ? 300 : 0;
    uint32_t held_forgotten = (how & 4) ? 600 : (how & 8) ? 200 : 0;
    for (uint32_t sequence = 1; sequence <= w->inputs_count; sequence++) {
        const struct sim_stored *m = &w->js.stored[sequence];
        int is_recent = m->changed_ms + REWIND_MS > w->now_ms;
        if (m->state == SIM_STORED_SETTLED && is_recent && sim_chance(&w->rng, settled_undone)) {
            make_new(w, sequence, sim_chance(&w->rng, 600));
        } else if (m->state == SIM_STORED_PENDING && sim_chance(&w->rng, held_forgotten)) {
            make_new(w, sequence, sim_chance(&w->rng, 800));
        }
    }
}

void sim_jetstream_kill(struct sim_world *w, uint8_t how)
{
    if (!w->js.is_up) {
        return;
    }
    w->totals.server_kills++;
    close_all(w, 0, SLUICE_PULL_MOVED);
    rewind_consumer(w, how);
    w->js.is_up = 0;
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        w->processes[i].link.server_epoch = 0;
        sim_link_break(w, (uint8_t)i);
    }
}

void sim_jetstream_up(struct sim_world *w)
{
    w->js.is_up = 1;
    for (uint32_t sequence = 1; sequence <= w->inputs_count; sequence++) {
        const struct sim_stored *m = &w->js.stored[sequence];
        if (m->state == SIM_STORED_PENDING && !m->is_queued) {
            sim_jetstream_arm(w, sequence);
        }
    }
}

void sim_jetstream_leader_change(struct sim_world *w, uint8_t how)
{
    if (w->js.is_up && w->js.consumer_exists) {
        close_all(w, (how & 1) ? 1000 : 500, (how & 2) ? SLUICE_PULL_MOVED : SLUICE_PULL_UNKNOWN);
        w->js.leader_ms = w->now_ms + ((how & 4) ? 0 : sim_between(&w->rng, 1, NO_LEADER_MS));
    }
}

void sim_jetstream_lose_pulls(struct sim_world *w)
{
    close_all(w, 0, SLUICE_PULL_ENDED);
}

void sim_jetstream_delete_consumer(struct sim_world *w)
{
    if (w->js.is_up && w->js.consumer_exists) {
        close_all(w, 900, SLUICE_PULL_GONE);
        w->js.consumer_exists = 0;
    }
}

static int is_stored(const struct sim_world *w, const struct sim_stored *m)
{
    return m->state == SIM_STORED_NEW || m->state == SIM_STORED_PENDING ||
           (m->state == SIM_STORED_SETTLED && !w->plan.is_work_queue);
}

void sim_jetstream_create_consumer(struct sim_world *w)
{
    if (w->js.consumer_exists) {
        return;
    }
    w->js.consumer_exists = 1;
    if (w->js.consumers_made++ % 2 ==
        1) { /* the first, the third time with its stream, from a copy */
        w->js.streams_made++;
    }
    for (uint32_t sequence = 1; sequence <= w->inputs_count; sequence++) {
        const struct sim_stored *m = &w->js.stored[sequence];
        if (is_stored(w, m)) {
            make_new(w, sequence, 1);
        }
    }
}

uint32_t sim_jetstream_count(const struct sim_world *w)
{
    uint32_t count = 0;
    for (uint32_t sequence = 1; sequence <= w->js.highest; sequence++) {
        count += (uint32_t)is_stored(w, &w->js.stored[sequence]);
    }
    return count;
}

void sim_jetstream_omit(struct sim_world *w, uint32_t sequence)
{
    struct sim_jetstream *js = &w->js;
    struct sim_stored *m = &js->stored[sequence];
    js->pending_count -= m->state == SIM_STORED_PENDING;
    js->settled_count += m->state != SIM_STORED_SETTLED;
    m->state = SIM_STORED_PURGED;
    m->is_queued = 0;
    m->changed_ms = w->now_ms;
}

void sim_jetstream_purge(struct sim_world *w)
{
    for (uint32_t sequence = 1; w->js.is_up && sequence <= w->js.highest; sequence++) {
        uint8_t state = w->js.stored[sequence].state;
        if (state != SIM_STORED_NONE && state != SIM_STORED_PURGED) {
            sim_jetstream_omit(w, sequence);
        }
    }
}
