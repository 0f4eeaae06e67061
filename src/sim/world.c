/* SPDX-License-Identifier: Apache-2.0 */
/* One run: faults first, then calm, then the end of all processes. */
#include "sim/world.h"

#include "sim/faults.h"
#include "sim/sim.h"
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX 20000000u /* a run that needs more than this never ends */

const struct sim_script *sim_world_script(struct sim_world *w, uint32_t sequence, uint32_t version)
{
    struct sim_script *s = &w->inputs[sequence].scripts[version];
    if (!s->is_made) {
        sim_script_make(s, &w->plan, sequence, version);
    }
    return s;
}

struct sim_world *sim_world_create(void)
{
    struct sim_world *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    int rc = sim_queue_init(&w->queue);
    for (uint32_t i = 0; i < SIM_WORKERS_MAX; i++) {
        rc |= sim_heap_init(&w->processes[i].heap);
    }
    if (rc != 0) {
        sim_world_destroy(w);
        return NULL;
    }
    return w;
}

void sim_world_destroy(struct sim_world *w)
{
    if (w == NULL) {
        return;
    }
    for (uint32_t i = 0; i < SIM_WORKERS_MAX; i++) {
        sim_process_fini(&w->processes[i]);
    }
    sim_queue_fini(&w->queue);
    free(w);
}

/* ---- The inputs */

static void add_input(struct sim_world *w, int64_t at_ms, uint32_t replayed)
{
    uint32_t sequence = ++w->inputs_count;
    struct sim_input *input = &w->inputs[sequence];
    input->size = 100u + sim_below(&w->rng, 900);
    input->key = replayed == 0 ? sequence : w->inputs[replayed].key;
    input->is_replay = replayed != 0;
    input->is_published = 0;
    for (uint32_t i = 0; i < SIM_VERSIONS; i++) {
        input->scripts[i].is_made = 0;
    }
    if (!w->plan.is_skipped[sequence]) {
        sim_world_push(w, at_ms, SIM_K_INPUT, (struct sim_item){.a = sequence});
    }
}

static int by_time(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

static void add_inputs(struct sim_world *w)
{
    int64_t times[SIM_INPUTS_MAX];
    uint32_t count = w->plan.inputs_count;
    for (uint32_t i = 0; i < count; i++) {
        times[i] = sim_between(&w->rng, 0, w->plan.publish_span_ms);
    }
    qsort(times, count, sizeof times[0], by_time);
    w->inputs_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        add_input(w, times[i], 0);
    }
    /* Some are published once more with the identity of an earlier one, as a replay does. */
    for (uint32_t i = 1; i <= count && w->inputs_count < SIM_INPUTS_MAX; i++) {
        if (sim_chance(&w->rng, w->plan.replays)) {
            add_input(w, w->plan.publish_span_ms + sim_between(&w->rng, 0, w->plan.calm_at_ms), i);
        }
    }
}

/* ---- Items */

static void input(struct sim_world *w, uint32_t sequence)
{
    const struct sim_input *in = &w->inputs[sequence];
    if (in->is_replay && w->js.stored[in->key].state == SIM_STORED_PURGED) {
        sim_jetstream_omit(w, sequence); /* what is purged may still be under way */
        return;
    }
    if (in->is_replay && !w->plan.is_skipped[in->key] &&
        w->js.stored[in->key].state != SIM_STORED_SETTLED) {
        /* Nobody replays what is still under way. */
        sim_world_push(w, w->now_ms + w->plan.engine.ack_wait_ms, SIM_K_INPUT,
                       (struct sim_item){.a = sequence});
        return;
    }
    w->judge.histories[in->key].is_shared |= in->is_replay;
    sim_jetstream_publish(w, sequence);
}

/* Does an item that the network carries still belong to a living connection? */
static int reaches_server(const struct sim_world *w, const struct sim_item *item)
{
    return w->js.is_up && w->processes[item->worker].link.server_epoch == item->life;
}

static void to_server(struct sim_world *w, const struct sim_item *item)
{
    if (!reaches_server(w, item)) {
        return;
    }
    switch ((enum sim_kind)item->kind) {
    case SIM_K_TO_SERVER_PULL:
        sim_jetstream_on_pull(w, item);
        break;
    case SIM_K_TO_SERVER_SETTLE:
        sim_jetstream_on_settle(w, item);
        break;
    case SIM_K_TO_SERVER_CHECK:
        sim_jetstream_on_check(w, item);
        break;
    case SIM_K_TO_SERVER_STOP:
        sim_jetstream_on_stop(w, item);
        break;
    default:
        sim_jetstream_on_ping(w, item);
        break;
    }
}

static void to_client(struct sim_world *w, const struct sim_item *item)
{
    struct sim_process *p = &w->processes[item->worker];
    if (p->is_running && p->link.is_up && p->link.epoch == item->life &&
        sim_network_arrives(w, p, item)) {
        sim_process_receive(w, p, item);
    }
}

static void ping(struct sim_world *w, const struct sim_item *item)
{
    struct sim_process *p = &w->processes[item->worker];
    if (!p->is_running || !p->link.is_up || p->link.epoch != item->life) {
        return;
    }
    if (!p->is_frozen) {
        (void)sim_link_send(w, p->index, SIM_K_TO_SERVER_PING, (struct sim_item){.d = w->now_ms});
    }
    sim_world_push(w, w->now_ms + w->plan.ping_ms, SIM_K_PING_DUE, *item);
}

static void on_process(struct sim_world *w, const struct sim_item *item)
{
    struct sim_process *p = &w->processes[item->worker];
    if (item->kind == SIM_K_START) {
        if (w->is_ending) {
            return;
        }
        sim_process_start(w, p);
        return;
    }
    if (!p->is_running || p->life != item->life) {
        return;
    }
    if (item->kind == SIM_K_CONTINUE) {
        sim_process_continue(w, p);
    } else if (item->kind == SIM_K_FED) {
        p->heap.failing_per_mille = 0;
    } else if (item->kind == SIM_K_OVERDUE) {
        if (!p->is_frozen && w->is_calm) {
            sim_judge_fail(w, SIM_RULE_DRAIN, "w%u holds %u messages long after ABORT",
                           (unsigned)p->index, w->judge.watches[p->index].live);
        }
        sim_process_kill(w, p);
    } else {
        sim_process_receive(w, p, item);
    }
}

static void on_link(struct sim_world *w, const struct sim_item *item)
{
    struct sim_process *p = &w->processes[item->worker];
    if (item->kind == SIM_K_LINK_CUT) {
        if (p->link.epoch == item->life) {
            sim_link_break(w, p->index);
        }
    } else {
        sim_jetstream_forget_client(w, p->index, item->life);
        if (p->link.server_epoch == item->life) {
            p->link.server_epoch = 0;
        }
    }
}

static void handle(struct sim_world *w, struct sim_item *item)
{
    uint64_t value;
    switch ((enum sim_kind)item->kind) {
    case SIM_K_INPUT:
        input(w, item->a);
        break;
    case SIM_K_TO_SERVER_PULL:
    case SIM_K_TO_SERVER_SETTLE:
    case SIM_K_TO_SERVER_CHECK:
    case SIM_K_TO_SERVER_STOP:
    case SIM_K_TO_SERVER_PING:
        to_server(w, item);
        break;
    case SIM_K_TO_CLIENT_MESSAGE:
    case SIM_K_TO_CLIENT_STATUS:
    case SIM_K_TO_CLIENT_SETTLED:
    case SIM_K_TO_CLIENT_NOBODY:
    case SIM_K_TO_CLIENT_CONSUMER:
    case SIM_K_TO_CLIENT_STOPPED:
    case SIM_K_TO_CLIENT_PONG:
        to_client(w, item);
        break;
    case SIM_K_ACK_TIMER:
        sim_jetstream_on_ack_timer(w, item);
        break;
    case SIM_K_PULL_TIMER:
        sim_jetstream_on_pull_timer(w, item);
        break;
    case SIM_K_ANSWER:
        sim_host_on_answer(w, item);
        break;
    case SIM_K_WRITE:
        (void)sim_sink_undefer(w, item->a, &value);
        break;
    case SIM_K_PING_DUE:
        ping(w, item);
        break;
    case SIM_K_LINK_CUT:
    case SIM_K_LINK_NOTICED:
        on_link(w, item);
        break;
    case SIM_K_SERVER_UP:
        if (!w->js.is_up) {
            sim_jetstream_up(w);
        }
        break;
    case SIM_K_CONSUMER_CREATE:
        sim_jetstream_create_consumer(w);
        sim_jetstream_dispatch(w);
        break;
    case SIM_K_FAULT:
        sim_faults_strike(w, item->a);
        break;
    case SIM_K_CALM:
        sim_faults_heal(w);
        break;
    default:
        on_process(w, item);
        break;
    }
}

/* ---- The run */

static struct sim_process *next_tick(struct sim_world *w, int64_t *at_ms)
{
    struct sim_process *best = NULL;
    *at_ms = INT64_MAX;
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        struct sim_process *p = &w->processes[i];
        if (p->is_running && !p->is_frozen && p->tick_ms < *at_ms) {
            best = p;
            *at_ms = p->tick_ms;
        }
    }
    return best;
}

static int is_finished(const struct sim_world *w)
{
    return w->is_calm && w->js.settled_count == w->inputs_count;
}

static void end_processes(struct sim_world *w)
{
    w->is_ending = 1;
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        sim_process_drain(w, &w->processes[i]);
    }
}

static int is_anybody_there(const struct sim_world *w)
{
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        if (w->processes[i].is_running) {
            return 1;
        }
    }
    return 0;
}

/* Advance to the next thing. 0 when there is nothing left. */
static int advance(struct sim_world *w)
{
    int64_t tick_ms;
    struct sim_process *p = next_tick(w, &tick_ms);
    int64_t item_ms = sim_queue_next_ms(&w->queue);
    if (p == NULL && item_ms == INT64_MAX) {
        return 0;
    }
    w->totals.items++;
    if (item_ms <= tick_ms) {
        struct sim_item item;
        sim_queue_pop(&w->queue, &item);
        w->now_ms = item.at_ms;
        handle(w, &item);
        return 1;
    }
    w->now_ms = tick_ms > w->now_ms ? tick_ms : w->now_ms;
    sim_process_tick(w, p);
    return 1;
}

static void begin(struct sim_world *w)
{
    w->rng = (struct sluice_prng){sim_mix(w->plan.seed + w->plan.luck, 0x776f726c64)};
    w->now_ms = 0;
    w->is_calm = w->is_ending = 0;
    w->version = 0;
    w->asked.count = w->network_asked.count = w->effects_count = 0;
    memset(w->outage_until_ms, 0, sizeof w->outage_until_ms);
    memset(w->outage_hangs, 0, sizeof w->outage_hangs);
    memset(&w->totals, 0, sizeof w->totals);
    w->trace.hash = w->plan.seed;
    w->trace.ring_next = 0;
    sim_queue_clear(&w->queue);
    add_inputs(w);
    w->totals.inputs = w->inputs_count;
    sim_jetstream_init(w);
    for (uint32_t i = 1; i <= w->inputs_count; i++) {
        w->js.settled_count += w->plan.is_skipped[i];
    }
    sim_kv_init(w);
    sim_sink_init(w);
    sim_judge_init(w);
    sim_trace_plan(w);
    sim_faults_arm(w);
    sim_world_push(w, w->plan.calm_at_ms, SIM_K_CALM, (struct sim_item){0});
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        sim_process_init(w, (uint8_t)i);
        sim_world_push(w, (int64_t)sim_below(&w->rng, 100), SIM_K_START,
                       (struct sim_item){.worker = (uint8_t)i});
    }
}

static void run(struct sim_world *w)
{
    int64_t end_ms = w->plan.calm_at_ms + sim_judge_calm_bound_ms(w);
    while (!w->judge.has_failed && w->now_ms <= end_ms && w->totals.items < ITEMS_MAX) {
        if (!advance(w)) {
            break;
        }
        if (!w->is_ending && is_finished(w)) {
            end_processes(w);
            end_ms = w->now_ms + w->plan.grace_ms + sim_judge_abort_bound_ms(w) + 1;
        }
        if (w->is_ending && !is_anybody_there(w)) {
            break;
        }
    }
    if (!w->judge.has_failed) {
        sim_judge_finish(w, w->is_ending);
    }
}

void sim_world_run_plan(struct sim_world *w, const struct sim_plan *plan, struct sim_result *result)
{
    w->plan = *plan;
    begin(w);
    run(w);
    *result = (struct sim_result){
        .hash = w->trace.hash, .rule = w->judge.rule, .end_ms = w->now_ms, .totals = w->totals};
    memcpy(result->text, w->judge.text, sizeof result->text);
}

void sim_world_run(struct sim_world *w, uint64_t seed, enum sim_profile profile,
                   struct sim_result *result)
{
    struct sim_plan plan;
    sim_plan_draw(&plan, seed, profile);
    sim_world_run_plan(w, &plan, result);
}

void sim_totals_add(struct sim_totals *sum, const struct sim_totals *more)
{
    /* All members are counters of one type. */
    uint64_t *to = (uint64_t *)(void *)sum;
    const uint64_t *from = (const uint64_t *)(const void *)more;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        to[i] += from[i];
    }
}
