/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/jetstream.h"

#include "sim/world.h"
#include <string.h>

void sim_jetstream_init(struct sim_world *w)
{
    struct sim_jetstream *js = &w->js;
    memset(js->stored, 0, (w->inputs_count + 1u) * sizeof js->stored[0]);
    memset(js->pulls, 0, sizeof js->pulls);
    js->waiting_count = 0;
    js->redeliver_first = js->redeliver_count = 0;
    js->next_new = 1;
    js->highest = 0;
    js->pending_count = js->settled_count = 0;
    js->is_up = js->consumer_exists = 1;
    js->consumers_made = js->streams_made = 1;
    js->delivered_ms = js->leader_ms = 0;
}

/* ---- Pulls */

/* Does somebody listen for the consumer? */
static int is_there(const struct sim_world *w)
{
    return w->js.consumer_exists && w->js.leader_ms <= w->now_ms;
}

static void close_pull(struct sim_jetstream *js, uint32_t index)
{
    js->pulls[index].is_open = 0;
    for (uint32_t i = 0; i < js->waiting_count; i++) {
        if (js->waiting[i] == index) {
            js->waiting_count--;
            memmove(&js->waiting[i], &js->waiting[i + 1], js->waiting_count - i);
            return;
        }
    }
}

static void say(struct sim_world *w, const struct sim_server_pull *pull,
                enum sluice_pull_status status)
{
    sim_link_reply(w, pull->worker, pull->epoch, SIM_K_TO_CLIENT_STATUS,
                   (struct sim_item){.a = (uint32_t)status, .b = pull->id});
}

static void arm_pull(struct sim_world *w, uint32_t index)
{
    const struct sim_server_pull *pull = &w->js.pulls[index];
    int64_t at = pull->expires_ms;
    if (pull->heartbeat_ms > 0 && pull->spoken_ms + pull->heartbeat_ms < at) {
        at = pull->spoken_ms + pull->heartbeat_ms;
    }
    sim_world_push(w, at, SIM_K_PULL_TIMER, (struct sim_item){.a = index, .b = pull->serial});
}

void sim_jetstream_on_pull(struct sim_world *w, const struct sim_item *item)
{
    struct sim_jetstream *js = &w->js;
    const struct sim_process *p = &w->processes[item->worker];
    const struct sim_inbox *inbox = sim_process_inbox(p, item->b);
    if (inbox == NULL) {
        return;
    }
    if (!is_there(w)) {
        if (w->plan.is_server_recent) { /* 503 */
            sim_link_reply(w, item->worker, item->life, SIM_K_TO_CLIENT_STATUS,
                           (struct sim_item){.a = SLUICE_PULL_GONE, .b = item->b});
        }
        return;
    }
    for (uint32_t i = 0; i < SIM_SERVER_PULLS_MAX; i++) {
        struct sim_server_pull *pull = &js->pulls[i];
        if (pull->is_open) {
            continue;
        }
        *pull = (struct sim_server_pull){
            .id = item->b,
            .serial = pull->serial + 1,
            .epoch = item->life,
            .worker = item->worker,
            .is_open = 1,
            .left = inbox->pull.batch,
            .bytes_left = inbox->pull.max_bytes == 0 ? INT64_MAX : inbox->pull.max_bytes,
            .expires_ms = w->now_ms + inbox->pull.expires_ms,
            .heartbeat_ms = inbox->pull.heartbeat_ms,
            .spoken_ms = w->now_ms,
        };
        js->waiting[js->waiting_count++] = (uint8_t)i;
        arm_pull(w, i);
        sim_jetstream_dispatch(w);
        return;
    }
    sim_link_reply(w, item->worker, item->life, SIM_K_TO_CLIENT_STATUS,
                   (struct sim_item){.a = SLUICE_PULL_UNKNOWN, .b = item->b}); /* MaxWaiting */
}

void sim_jetstream_on_pull_timer(struct sim_world *w, const struct sim_item *item)
{
    struct sim_server_pull *pull = &w->js.pulls[item->a];
    if (!pull->is_open || pull->serial != item->b) {
        return;
    }
    if (pull->expires_ms <= w->now_ms) {
        say(w, pull, SLUICE_PULL_ENDED);
        close_pull(&w->js, item->a);
        return;
    }
    if (pull->spoken_ms + pull->heartbeat_ms <= w->now_ms) {
        say(w, pull, SLUICE_PULL_ALIVE);
        pull->spoken_ms = w->now_ms;
    }
    arm_pull(w, item->a);
}

void sim_jetstream_forget_client(struct sim_world *w, uint8_t worker, uint16_t epoch)
{
    for (uint32_t i = 0; i < SIM_SERVER_PULLS_MAX; i++) {
        const struct sim_server_pull *pull = &w->js.pulls[i];
        if (pull->is_open && pull->worker == worker && pull->epoch == epoch) {
            close_pull(&w->js, i);
        }
    }
}

/* ---- Delivery */

static void queue_redelivery(struct sim_jetstream *js, uint32_t sequence)
{
    uint32_t size = SIM_INPUTS_MAX + 1;
    if (js->stored[sequence].is_queued || js->redeliver_count == size) {
        return;
    }
    js->stored[sequence].is_queued = 1;
    js->redeliver[(js->redeliver_first + js->redeliver_count++) % size] = (uint16_t)sequence;
}

static void unqueue_redelivery(struct sim_jetstream *js, uint32_t sequence)
{
    uint32_t size = SIM_INPUTS_MAX + 1, kept = 0;
    if (!js->stored[sequence].is_queued) {
        return;
    }
    js->stored[sequence].is_queued = 0;
    if (js->redeliver[js->redeliver_first] == sequence) { /* nearly always */
        js->redeliver_first = (js->redeliver_first + 1) % size;
        js->redeliver_count--;
        return;
    }
    for (uint32_t i = 0; i < js->redeliver_count; i++) {
        uint16_t one = js->redeliver[(js->redeliver_first + i) % size];
        if (one != sequence) {
            js->redeliver[(js->redeliver_first + kept++) % size] = one;
        }
    }
    js->redeliver_count = kept;
}

/* The next message to deliver, not yet taken; 0 when there is none. */
static uint32_t next_ready(struct sim_world *w)
{
    struct sim_jetstream *js = &w->js;
    while (js->redeliver_count > 0) {
        uint32_t sequence = js->redeliver[js->redeliver_first];
        const struct sim_stored *m = &js->stored[sequence];
        if (m->is_queued && m->state == SIM_STORED_PENDING) {
            return sequence;
        }
        js->stored[sequence].is_queued = 0;
        js->redeliver_first = (js->redeliver_first + 1) % (SIM_INPUTS_MAX + 1);
        js->redeliver_count--;
    }
    if (js->pending_count >= w->plan.ack_pending_max) {
        return 0;
    }
    while (js->next_new <= js->highest && js->stored[js->next_new].state > SIM_STORED_NEW) {
        js->next_new++;
    }
    for (uint32_t sequence = js->next_new; sequence <= js->highest; sequence++) {
        if (js->stored[sequence].state == SIM_STORED_NEW) {
            return sequence;
        }
    }
    return 0;
}

void sim_jetstream_arm(struct sim_world *w, uint32_t sequence)
{
    struct sim_stored *m = &w->js.stored[sequence];
    m->is_timer_armed = 1;
    m->armed_ms = m->due_ms > w->now_ms ? m->due_ms : w->now_ms;
    m->timer++;
    sim_world_push(w, m->armed_ms, SIM_K_ACK_TIMER,
                   (struct sim_item){.a = sequence, .b = m->timer});
}

/* A new due_ms. An armed timer that is earlier arms itself again; a later one would come too late.
 */
static void put_off(struct sim_world *w, uint32_t sequence, int64_t due_ms)
{
    struct sim_stored *m = &w->js.stored[sequence];
    m->due_ms = due_ms;
    if (!m->is_timer_armed || m->armed_ms > due_ms) {
        sim_jetstream_arm(w, sequence);
    }
}

void sim_jetstream_on_ack_timer(struct sim_world *w, const struct sim_item *item)
{
    struct sim_stored *m = &w->js.stored[item->a];
    if (item->b != m->timer) {
        return;
    }
    m->is_timer_armed = 0;
    if (m->state != SIM_STORED_PENDING || m->is_queued || !w->js.is_up) {
        return; /* a server that comes up arms all of them */
    }
    if (m->due_ms > w->now_ms) { /* it was put off meanwhile */
        sim_jetstream_arm(w, item->a);
        return;
    }
    m->changed_ms = w->now_ms;
    queue_redelivery(&w->js, item->a);
    sim_jetstream_dispatch(w);
}

static void deliver(struct sim_world *w, uint32_t sequence, struct sim_server_pull *pull)
{
    struct sim_jetstream *js = &w->js;
    struct sim_stored *m = &js->stored[sequence];
    if (m->state == SIM_STORED_NEW) {
        m->state = SIM_STORED_PENDING;
        js->pending_count++;
    }
    unqueue_redelivery(js, sequence);
    m->deliveries++;
    m->holder = pull->worker;
    m->changed_ms = js->delivered_ms = pull->spoken_ms = w->now_ms;
    put_off(w, sequence, w->now_ms + w->plan.engine.ack_wait_ms);
    w->totals.deliveries++;
    const struct sim_input *input = &w->inputs[sequence];
    sim_link_reply(w, pull->worker, pull->epoch, SIM_K_TO_CLIENT_MESSAGE,
                   (struct sim_item){.a = sequence, .b = pull->id, .c = m->deliveries});
    pull->left--;
    if (pull->bytes_left != INT64_MAX) {
        pull->bytes_left -= input->size;
    }
}

void sim_jetstream_dispatch(struct sim_world *w)
{
    struct sim_jetstream *js = &w->js;
    if (!js->is_up || !js->consumer_exists) {
        return;
    }
    while (js->waiting_count > 0) {
        uint32_t sequence = next_ready(w);
        if (sequence == 0) {
            return;
        }
        uint32_t index = js->waiting[0];
        struct sim_server_pull *pull = &js->pulls[index];
        if (w->processes[pull->worker].link.server_epoch != pull->epoch) {
            close_pull(js, index); /* nobody listens there any more */
            continue;
        }
        if (pull->bytes_left < (int64_t)w->inputs[sequence].size) {
            say(w, pull, SLUICE_PULL_ENDED); /* 409 Message Size Exceeds MaxBytes */
            close_pull(js, index);
            continue;
        }
        deliver(w, sequence, pull);
        if (pull->left == 0 || pull->bytes_left == 0) {
            if (w->plan.is_server_recent && pull->bytes_left > 0 && pull->bytes_left != INT64_MAX) {
                say(w, pull, SLUICE_PULL_ENDED); /* 409 Batch Completed */
            }
            close_pull(js, index);
        } else if (js->waiting_count > 1 && sim_chance(&w->rng, 500)) {
            memmove(&js->waiting[0], &js->waiting[1], js->waiting_count - 1);
            js->waiting[js->waiting_count - 1] = (uint8_t)index;
        }
    }
}

void sim_jetstream_publish(struct sim_world *w, uint32_t sequence)
{
    struct sim_stored *m = &w->js.stored[sequence];
    m->state = SIM_STORED_NEW;
    m->changed_ms = w->now_ms;
    w->js.highest = sequence > w->js.highest ? sequence : w->js.highest;
    w->inputs[sequence].is_published = 1;
    w->inputs[sequence].stored_ms = SIM_WALL_MS + w->now_ms;
    sim_jetstream_dispatch(w);
}

/* ---- Settling */

/* 1 when the server answers. */
static int settle(struct sim_world *w, uint32_t sequence, enum sluice_verb verb)
{
    struct sim_jetstream *js = &w->js;
    struct sim_stored *m = &js->stored[sequence];
    if (m->state == SIM_STORED_NEW && w->plan.is_server_recent) {
        return 0;
    }
    if (m->state >= SIM_STORED_SETTLED || (m->state == SIM_STORED_NEW && !w->plan.is_work_queue)) {
        return 1; /* a limits stream knows nothing of a message that is not pending */
    }
    if (m->state == SIM_STORED_PENDING) {
        js->pending_count--;
    }
    m->state = SIM_STORED_SETTLED;
    m->settled_by = (uint8_t)verb;
    m->is_queued = 0;
    m->changed_ms = w->now_ms;
    js->settled_count++;
    sim_judge_settled(w, sequence, verb);
    return 1;
}

static void nak(struct sim_world *w, uint32_t sequence, int64_t delay_ms)
{
    struct sim_stored *m = &w->js.stored[sequence];
    if (m->state != SIM_STORED_PENDING) {
        return;
    }
    m->changed_ms = w->now_ms;
    if (delay_ms > 0) {
        unqueue_redelivery(&w->js, sequence);
        put_off(w, sequence, w->now_ms + delay_ms);
    } else {
        queue_redelivery(&w->js, sequence);
    }
}

void sim_jetstream_on_settle(struct sim_world *w, const struct sim_item *item)
{
    struct sim_jetstream *js = &w->js;
    if (!is_there(w)) {
        sim_link_reply(w, item->worker, item->life, SIM_K_TO_CLIENT_NOBODY, *item);
        return;
    }
    struct sim_stored *m = &js->stored[item->b];
    int is_answered = 1;
    switch ((enum sluice_verb)(item->a & SIM_SETTLE_VERB)) {
    case SLUICE_VERB_ACK:
    case SLUICE_VERB_TERM:
        is_answered = settle(w, item->b, (enum sluice_verb)(item->a & SIM_SETTLE_VERB));
        break;
    case SLUICE_VERB_NAK:
        nak(w, item->b, item->c);
        break;
    case SLUICE_VERB_PROGRESS:
        if (m->state == SIM_STORED_PENDING) {
            m->changed_ms = w->now_ms;
            put_off(w, item->b, w->now_ms + w->plan.engine.ack_wait_ms);
        }
        break;
    }
    if (is_answered) {
        sim_link_reply(w, item->worker, item->life, SIM_K_TO_CLIENT_SETTLED, *item);
    }
    sim_jetstream_dispatch(w);
}

void sim_jetstream_on_check(struct sim_world *w, const struct sim_item *item)
{
    sim_link_reply(w, item->worker, item->life, SIM_K_TO_CLIENT_CONSUMER,
                   (struct sim_item){.a = w->js.consumer_exists, .b = w->js.streams_made});
}

void sim_jetstream_on_stop(struct sim_world *w, const struct sim_item *item)
{
    sim_jetstream_forget_client(w, item->worker, item->life);
    sim_link_reply(w, item->worker, item->life, SIM_K_TO_CLIENT_STOPPED, *item);
}

void sim_jetstream_on_ping(struct sim_world *w, const struct sim_item *item)
{
    sim_link_reply(w, item->worker, item->life, SIM_K_TO_CLIENT_PONG, *item);
}
