/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/process.h"

#include "sim/world.h"
#include <string.h>

#define SPIN_MAX 1000u /* ticks in a row at one time that do nothing */

void sim_process_init(struct sim_world *w, uint8_t index)
{
    struct sim_process *p = &w->processes[index];
    p->index = index;
    p->is_running = 0;
    p->life = 0;
    p->tick_ms = INT64_MAX;
    p->engine = NULL;
    p->link = (struct sim_link){0};
    p->clock_ms = sim_between(&w->rng, 1000, 100000000);
    /* Clocks of machines differ. From a generator of its own, as in plan.c. */
    struct sluice_prng skew = {sim_mix(w->plan.seed, 0x636c6f636b + index)};
    p->wall_ms = sim_chance(&skew, 500) ? sim_between(&skew, -SIM_SKEW_MAX_MS, SIM_SKEW_MAX_MS) : 0;
    sim_heap_reset(&p->heap);
    p->heap.rng = &w->rng;
}

void sim_process_fini(struct sim_process *p)
{
    sim_heap_fini(&p->heap);
}

/* ---- The engine's hooks */

static void on_transition(void *ctx, const struct sluice_transition *t)
{
    struct sim_process *p = ctx;
    p->has_moved = 1;
    (void)t;
}

static struct sim_world *world_of(struct sim_process *p)
{
    return (struct sim_world *)(void *)((char *)(p - p->index) -
                                        offsetof(struct sim_world, processes));
}

static void on_breaker(void *ctx, uint32_t dependency, enum sluice_breaker_state from,
                       enum sluice_breaker_state to)
{
    struct sim_process *p = ctx;
    (void)from;
    sim_judge_breaker(world_of(p), p, dependency, to);
}

/* ---- Life and death */

static void reset(const struct sim_world *w, struct sim_process *p)
{
    sim_heap_reset(&p->heap);
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        p->hosted[i].generation = 0;
    }
    for (uint32_t i = 0; i < SIM_INBOXES_MAX; i++) {
        p->inboxes[i].pull.pull = 0;
    }
    p->has_asked_journal = 0;
    p->is_frozen = p->is_draining = p->is_aborted = p->is_stopped = p->stop_owed = 0;
    p->checks_owed = p->is_reporting = 0;
    p->stream_made = 0;
    p->verdicts_count = p->verdicts_first = 0;
    p->rest_count = p->held_count = 0;
    p->kill_after = p->freeze_after = -1;
    p->kill_at = 0;
    p->idle_ticks = 0;
    p->tick_ms = INT64_MAX;
}

/* The consumer that answered, by when its stream was made: the same as before? */
static int32_t met(struct sim_process *p, const struct sim_item *item)
{
    uint32_t known = p->stream_made;
    p->stream_made = item->a ? item->b : 0;
    if (!item->a) {
        return SLUICE_CONSUMER_MISSING;
    }
    return known != 0 && known != item->b ? SLUICE_CONSUMER_ANEW : SLUICE_CONSUMER_THERE;
}

static void connected(struct sim_world *w, struct sim_process *p)
{
    struct sluice_event ev = {.kind = SLUICE_EV_CONNECTED};
    if (!p->has_asked_journal) { /* as the program does: at boot, and never again */
        p->has_asked_journal = 1;
        p->journal_in_use = w->kv.writes_count > 0;
    }
    ev.connected.journal_in_use = p->journal_in_use;
    sim_process_step(w, p, &ev);
    /* As the adapter asks whenever it has connected; no fate strikes that. */
    const struct sim_item answer = {.a = w->js.consumer_exists, .b = w->js.streams_made};
    ev = (struct sluice_event){.kind = SLUICE_EV_CONSUMER, .consumer = met(p, &answer)};
    if (p->is_running && ev.consumer != SLUICE_CONSUMER_THERE) {
        sim_process_step(w, p, &ev);
    }
}

static void reconnect_later(struct sim_world *w, struct sim_process *p)
{
    sim_world_push(w, w->now_ms + sim_between(&w->rng, 50, 2000), SIM_K_TO_CLIENT_UP,
                   (struct sim_item){.worker = p->index, .life = p->life});
}

void sim_process_start(struct sim_world *w, struct sim_process *p)
{
    if (p->is_running) {
        return;
    }
    reset(w, p);
    p->life++;
    p->is_running = 1;
    p->version = w->version;
    p->started_ms = w->now_ms;
    struct sluice_engine_config config = w->plan.engine;
    config.seed = sluice_prng_next(&w->rng);
    config.allocator = sim_heap_allocator(&p->heap);
    config.on_transition = on_transition;
    config.on_breaker = on_breaker;
    config.hook_ctx = p;
    struct sluice_err err = {0};
    sluice_rc rc = sluice_engine_create(&config, w->now_ms + p->clock_ms, &p->engine, &err);
    sim_judge_start(w, p);
    if (rc != SLUICE_OK) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "no engine: %s", err.text);
        return;
    }
    if (sim_link_connect(w, p)) {
        connected(w, p);
    } else {
        reconnect_later(w, p);
    }
}

static void end(struct sim_world *w, struct sim_process *p)
{
    sim_judge_end(w, p);
    p->is_running = 0;
    p->engine = NULL;
    p->tick_ms = INT64_MAX;
    struct sim_link *link = &p->link;
    if (link->is_up) {
        link->is_up = 0;
        if (link->server_epoch == link->epoch) { /* a closed socket: the server sees it */
            sim_jetstream_forget_client(w, p->index, link->epoch);
            link->server_epoch = 0;
        }
    }
    reset(w, p);
    if (!w->is_ending) {
        sim_world_push(w, w->now_ms + sim_between(&w->rng, 1, w->plan.restart_ms), SIM_K_START,
                       (struct sim_item){.worker = p->index});
    }
}

void sim_process_kill(struct sim_world *w, struct sim_process *p)
{
    if (!p->is_running) {
        return;
    }
    w->totals.kills++;
    sim_trace_text(w, "w%u killed", (unsigned)p->index);
    end(w, p);
}

/* The end of an engine that has drained: it must hold nothing. */
static void process_exit(struct sim_world *w, struct sim_process *p)
{
    sluice_engine_destroy(p->engine);
    if (p->heap.live != 0) {
        sim_judge_fail(w, SIM_RULE_DRAIN, "a drained engine left %llu blocks of memory",
                       (unsigned long long)p->heap.live);
    }
    sim_trace_text(w, "w%u exits", (unsigned)p->index);
    end(w, p);
}

void sim_process_freeze(struct sim_world *w, struct sim_process *p, int64_t length_ms)
{
    if (!p->is_running || p->is_frozen) {
        return;
    }
    p->is_frozen = 1;
    w->totals.freezes++;
    sim_trace_text(w, "w%u stopped for %lld ms", (unsigned)p->index, (long long)length_ms);
    sim_judge_freeze(w, p);
    sim_world_push(w, w->now_ms + length_ms, SIM_K_CONTINUE,
                   (struct sim_item){.worker = p->index, .life = p->life});
}

static void perform(struct sim_world *w, struct sim_process *p, const struct sluice_event *ev,
                    const struct sluice_effect *effects, uint32_t count);
static void report_verdicts(struct sim_world *w, struct sim_process *p);

void sim_process_continue(struct sim_world *w, struct sim_process *p)
{
    if (!p->is_running || !p->is_frozen) {
        return;
    }
    sim_trace_text(w, "w%u continues", (unsigned)p->index);
    p->is_frozen = 0;
    uint16_t life = p->life;
    uint32_t rest = p->rest_count;
    p->rest_count = 0;
    perform(w, p, &p->rest_event, p->rest, rest);
    if (p->life == life) {
        report_verdicts(w, p);
    }
    /* Timers or sockets first: an event loop may look at either. */
    if (sim_chance(&w->rng, 500) && p->life == life && p->is_running && !p->is_frozen &&
        p->tick_ms <= w->now_ms) {
        sim_process_tick(w, p);
    }
    uint32_t count = p->held_count;
    for (uint32_t i = 0; i < count && p->life == life && p->is_running; i++) {
        struct sim_item item = p->held[i];
        if (p->is_frozen) { /* again: keep the rest in its place */
            memmove(&p->held[0], &p->held[i], (p->held_count - i) * sizeof p->held[0]);
            p->held_count -= i;
            return;
        }
        sim_process_receive(w, p, &item);
    }
    if (p->life == life && p->is_running) {
        p->held_count = 0;
    }
}

void sim_process_drain(struct sim_world *w, struct sim_process *p)
{
    if (!p->is_running || p->is_draining) {
        return;
    }
    p->is_draining = 1;
    struct sluice_event ev = {.kind = SLUICE_EV_DRAIN};
    uint16_t life = p->life;
    sim_process_step(w, p, &ev);
    if (p->is_running && p->life == life) {
        sim_world_push(w, w->now_ms + w->plan.grace_ms, SIM_K_ABORT,
                       (struct sim_item){.worker = p->index, .life = life});
    }
}

static void process_abort(struct sim_world *w, struct sim_process *p)
{
    if (p->is_aborted) {
        return;
    }
    p->is_aborted = 1;
    struct sluice_event ev = {.kind = SLUICE_EV_ABORT};
    uint16_t life = p->life;
    sim_process_step(w, p, &ev);
    if (p->is_running && p->life == life) {
        sim_world_push(w, w->now_ms + sim_judge_abort_bound_ms(w), SIM_K_OVERDUE,
                       (struct sim_item){.worker = p->index, .life = life});
    }
}

/* ---- What reaches the process */

const struct sim_inbox *sim_process_inbox(const struct sim_process *p, uint32_t pull)
{
    const struct sim_inbox *inbox = &p->inboxes[pull % SIM_INBOXES_MAX];
    return pull != 0 && inbox->pull.pull == pull ? inbox : NULL;
}

static void on_message(struct sim_world *w, struct sim_process *p, const struct sim_item *item)
{
    const struct sim_inbox *inbox = sim_process_inbox(p, item->b);
    int is_gone = inbox == NULL ||
                  (inbox->is_abandoned && inbox->sent_ms + inbox->pull.expires_ms < w->now_ms) ||
                  (p->is_stopped && (!w->plan.hears_after_stop || !p->stop_owed));
    if (is_gone) {
        return; /* nobody is subscribed to that inbox any more */
    }
    const struct sim_input *input = &w->inputs[item->a];
    struct sluice_event ev = {.kind = SLUICE_EV_MESSAGE};
    ev.message = (struct sluice_ev_message){
        .sequence = item->a,
        .stored_ms = input->stored_ms,
        .horizon_ms = p->link.horizon_ms + p->clock_ms,
        .deliveries = (uint32_t)item->c,
        .size = input->size,
        .pull = item->b,
        .is_replay = input->is_replay,
        .has_no_memory =
            p->heap.failing_per_mille > 0 && sim_chance(&w->rng, p->heap.failing_per_mille),
    };
    sim_process_step(w, p, &ev);
}

static void on_settled(struct sim_world *w, struct sim_process *p, const struct sim_item *item)
{
    if (p->link.horizon_ms < item->d) {
        p->link.horizon_ms = item->d;
    }
    struct sim_hosted *h = sim_process_hosted(p, item->ticket);
    if (h != NULL && h->settle == item->a >> 8) {
        h->is_settle_owed = 0;
    }
    struct sluice_event ev = {.kind = SLUICE_EV_SETTLED, .ticket = item->ticket};
    ev.settled = (struct sluice_ev_settled){.verb = (uint8_t)(item->a & SIM_SETTLE_VERB),
                                            .is_answered = item->kind == SIM_K_TO_CLIENT_SETTLED,
                                            .settle = item->a >> 8,
                                            .sent_ms = item->d + p->clock_ms};
    sim_process_step(w, p, &ev);
}

/* Requests that the broken connection will not answer: the adapter knows that, and may say so. */
static void report_lost(struct sim_world *w, struct sim_process *p, uint16_t life)
{
    struct sluice_event ev = {.kind = SLUICE_EV_INTAKE_STOPPED};
    if (p->stop_owed) {
        p->stop_owed = 0;
        sim_process_step(w, p, &ev);
    }
    while (p->life == life && p->is_running && p->checks_owed > 0) {
        p->checks_owed--;
        ev = (struct sluice_event){.kind = SLUICE_EV_CONSUMER, .consumer = SLUICE_CONSUMER_UNKNOWN};
        sim_process_step(w, p, &ev);
    }
    for (uint32_t i = 0; w->plan.reports_lost_settles && i < w->plan.engine.max_in_flight; i++) {
        struct sim_hosted *h = &p->hosted[i];
        if (p->life != life || !p->is_running) {
            return;
        }
        if (h->generation != 0 && h->is_settle_owed) {
            h->is_settle_owed = 0;
            ev = (struct sluice_event){.kind = SLUICE_EV_SETTLED,
                                       .ticket = {.slot = i, .generation = h->generation}};
            ev.settled = (struct sluice_ev_settled){
                .verb = h->settle_verb, .settle = h->settle, .sent_ms = w->now_ms + p->clock_ms};
            sim_process_step(w, p, &ev);
        }
    }
}

static void on_down(struct sim_world *w, struct sim_process *p)
{
    uint16_t life = p->life;
    reconnect_later(w, p);
    if (!w->plan.misses_disconnects || sim_chance(&w->rng, 500)) {
        struct sluice_event ev = {.kind = SLUICE_EV_DISCONNECTED};
        sim_process_step(w, p, &ev);
    }
    if (p->life == life && p->is_running) {
        report_lost(w, p, life);
    }
}

static void read_item(struct sim_world *w, struct sim_process *p, const struct sim_item *item)
{
    struct sluice_event ev = {.kind = SLUICE_EV_TICK};
    switch ((enum sim_kind)item->kind) {
    case SIM_K_TO_CLIENT_MESSAGE:
        on_message(w, p, item);
        break;
    case SIM_K_TO_CLIENT_SETTLED:
    case SIM_K_TO_CLIENT_NOBODY:
        on_settled(w, p, item);
        break;
    case SIM_K_TO_CLIENT_STATUS:
        ev.kind = SLUICE_EV_PULL;
        ev.pull = (struct sluice_ev_pull){.pull = item->b, .status = (uint8_t)item->a};
        sim_process_step(w, p, &ev);
        break;
    case SIM_K_TO_CLIENT_PONG:
        p->link.horizon_ms = p->link.horizon_ms < item->d ? item->d : p->link.horizon_ms;
        break;
    case SIM_K_TO_CLIENT_CONSUMER:
    case SIM_K_UNCHECKED:
        if (p->checks_owed > 0) {
            p->checks_owed--;
            ev.kind = SLUICE_EV_CONSUMER;
            ev.consumer = item->kind == SIM_K_UNCHECKED ? SLUICE_CONSUMER_UNKNOWN : met(p, item);
            sim_process_step(w, p, &ev);
        }
        break;
    case SIM_K_TO_CLIENT_STOPPED:
    case SIM_K_STOPPED_ALONE:
        if (p->stop_owed) {
            p->stop_owed = 0;
            ev.kind = SLUICE_EV_INTAKE_STOPPED;
            sim_process_step(w, p, &ev);
        }
        break;
    case SIM_K_TO_CLIENT_DOWN:
        on_down(w, p);
        break;
    case SIM_K_TO_CLIENT_UP:
        if (sim_link_connect(w, p)) {
            connected(w, p);
        } else {
            reconnect_later(w, p);
        }
        break;
    case SIM_K_UNSENT:
        ev.kind = SLUICE_EV_SETTLED;
        ev.ticket = item->ticket;
        ev.settled = (struct sluice_ev_settled){.verb = (uint8_t)(item->a & SIM_SETTLE_VERB),
                                                .settle = item->a >> 8,
                                                .sent_ms = item->d + p->clock_ms};
        sim_process_step(w, p, &ev);
        break;
    case SIM_K_EXIT:
        process_exit(w, p);
        break;
    case SIM_K_ANSWER:
        sim_host_read_answer(w, p, item);
        break;
    case SIM_K_LOCAL:
        sim_host_report_verdict(w, p, item->ticket);
        break;
    case SIM_K_ABORT:
        process_abort(w, p);
        break;
    default:
        break;
    }
}

void sim_process_receive(struct sim_world *w, struct sim_process *p, const struct sim_item *item)
{
    if (!p->is_running || w->judge.has_failed) {
        return;
    }
    if (p->is_frozen) {
        if (p->held_count < SIM_HELD_MAX) {
            p->held[p->held_count++] = *item;
        }
        return;
    }
    read_item(w, p, item);
}

/* ---- Stepping */

void sim_process_tick(struct sim_world *w, struct sim_process *p)
{
    struct sluice_event ev = {.kind = SLUICE_EV_TICK};
    sim_process_step(w, p, &ev);
}

/* Does the plan say a kill here? */
static int is_said_kill(struct sim_world *w, int is_before)
{
    const struct sim_course *course = &w->plan.course;
    uint32_t here = 2 * w->effects_count + (is_before ? 0 : 1);
    for (uint32_t i = 0; i < SIM_COURSE_KILLS; i++) {
        if (course->kills[i] == here) {
            return 1;
        }
    }
    return 0;
}

/* 1 when an armed fault strikes between two effects. */
static int strikes(struct sim_world *w, struct sim_process *p, const struct sluice_effect *fx,
                   int is_before)
{
    if (!w->is_calm) {
        w->effects_count += (uint32_t)is_before;
        if (is_said_kill(w, is_before)) {
            sim_process_kill(w, p);
            return 1;
        }
    }
    if (p->kill_at == (uint8_t)fx->kind + 1u && p->kill_is_before == is_before) {
        p->kill_at = 0;
        sim_process_kill(w, p);
        return 1;
    }
    if (is_before && p->kill_after >= 0 && p->kill_after-- == 0) {
        sim_process_kill(w, p);
        return 1;
    }
    if (is_before && p->freeze_after >= 0 && p->freeze_after-- == 0) {
        sim_process_freeze(w, p, p->freeze_length_ms);
        return 1;
    }
    return 0;
}

static void perform(struct sim_world *w, struct sim_process *p, const struct sluice_event *ev,
                    const struct sluice_effect *effects, uint32_t count)
{
    uint16_t life = p->life;
    for (uint32_t i = 0; i < count; i++) {
        const struct sluice_effect *fx = &effects[i];
        if (strikes(w, p, fx, 1)) {
            if (p->is_frozen && p->life == life) {
                p->rest_count = count - i;
                p->rest_event = *ev;
                memmove(p->rest, fx, p->rest_count * sizeof *fx);
            }
            return;
        }
        sim_trace_effect(w, p, fx);
        sim_host_perform(w, p, ev, fx);
        if (w->judge.has_failed || p->life != life || !p->is_running || strikes(w, p, fx, 0)) {
            return;
        }
    }
}

/* The engine that asks for a tick again and again without doing anything would stop the clock. */
static void watch_spinning(struct sim_world *w, struct sim_process *p,
                           const struct sluice_event *ev)
{
    int is_idle = ev->kind == SLUICE_EV_TICK && w->effects.count == 0 && !p->has_moved;
    if (!is_idle || p->idle_tick_ms != w->now_ms) {
        p->idle_ticks = 0;
        p->idle_tick_ms = w->now_ms;
    } else if (++p->idle_ticks > SPIN_MAX) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "w%u: %u ticks at one time that do nothing",
                       (unsigned)p->index, SPIN_MAX);
    }
}

/* What handlers returned in the step before. Not from inside of another report: one level deep. */
static void report_verdicts(struct sim_world *w, struct sim_process *p)
{
    uint16_t life = p->life;
    if (p->is_reporting) {
        return;
    }
    p->is_reporting = 1;
    while (p->is_running && p->life == life && !p->is_frozen && p->verdicts_count > 0 &&
           !w->judge.has_failed) {
        struct sluice_ticket ticket = p->verdicts[p->verdicts_first];
        p->verdicts_first = (p->verdicts_first + 1) % SIM_IN_FLIGHT_MAX;
        p->verdicts_count--;
        sim_host_report_verdict(w, p, ticket);
    }
    p->is_reporting = 0;
}

static void plan_tick(struct sim_world *w, struct sim_process *p)
{
    int64_t deadline = sluice_engine_deadline(p->engine);
    if (deadline == INT64_MAX) {
        p->tick_ms = INT64_MAX;
        return;
    }
    int64_t at = deadline - p->clock_ms;
    p->tick_ms = at > w->now_ms ? at : w->now_ms;
}

/* Streams have gaps, and sequences whatever places a table gives them. In every second seed those
 * of four neighbours share one place of the engine's, which multiplies by 0x9e3779b97f4a7c15: this
 * is that number's inverse, times 2 to the 30th. */
static uint64_t stream_sequence(const struct sim_world *w, uint64_t sequence)
{
    return w->plan.seed % 2 == 0 ? sequence * 0x664ddccf40000000u : sequence;
}

static void step_engine(struct sim_world *w, struct sim_process *p, const struct sluice_event *ev)
{
    struct sluice_event told = *ev;
    if (ev->kind == SLUICE_EV_MESSAGE) {
        told.message.sequence = stream_sequence(w, ev->message.sequence);
    }
    sluice_engine_step(p->engine, &told, &w->effects);
}

void sim_process_step(struct sim_world *w, struct sim_process *p, struct sluice_event *ev)
{
    if (w->judge.has_failed) {
        return;
    }
    uint16_t life = p->life;
    ev->mono_ms = w->now_ms + p->clock_ms;
    ev->wall_ms = SIM_WALL_MS + w->now_ms + p->wall_ms;
    p->has_moved = 0;
    sim_trace_event(w, p, ev);
    sim_judge_event(w, p, ev);
    step_engine(w, p, ev);
    w->totals.steps++;
    w->totals.events += p->has_moved || w->effects.count > 0;
    watch_spinning(w, p, ev);
    plan_tick(w, p);
    sim_judge_step(w, p, ev, &w->effects);
    if (w->judge.has_failed) {
        sim_trace_text(w, "what was asked for:");
        for (uint32_t i = 0; i < w->effects.count; i++) {
            sim_trace_effect(w, p, &w->effects.items[i]);
        }
        return;
    }
    perform(w, p, ev, w->effects.items, w->effects.count);
    if (p->life == life) {
        report_verdicts(w, p);
    }
}
