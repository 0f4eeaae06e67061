/* SPDX-License-Identifier: Apache-2.0 */
/* Performs effects: each request gets its lot, and exactly one answer at the latest at its own
 * timeout, whatever happened in the world. */
#include "sim/process.h"

#include "core/puback.h"
#include "sim/world.h"
#include <string.h>

/* Numbers of an ANSWER item.
 *   a: target | index << 8 | serial << 16     b: fate, or enum sluice_kept
 *   c: retry_after_ms, or the content of an answer     d: deferred write that happens with it */
static uint32_t answer_a(enum sim_target target, uint32_t index, uint32_t serial)
{
    return (uint32_t)target | (index & 0xff) << 8 | (serial & 0xffff) << 16;
}

struct request {
    enum sim_target target;
    uint32_t index, serial;
    struct sluice_ticket ticket;
    struct sim_write write;
};

struct lot {
    enum sim_lot lot;
    enum sluice_fate failed_as; /* FAIL */
    int64_t answered_ms;        /* from now */
};

/* What the caller is told of a request that failed at once. */
static enum sluice_fate failed_as(const struct sim_world *w, enum sim_target target, uint64_t draw)
{
    uint32_t where = (uint32_t)(draw >> 16 & 0xffff) * 1000u >> 16;
    uint32_t how = (uint32_t)(draw >> 32 & 0xffff) * 1000u >> 16;
    /* The program says of an output that there was no connection to publish it on. */
    int is_cancelled = target == SIM_TARGET_PUBLISH && (draw >> 16 & 1u) != 0;
    return where < w->plan.unreachable
               ? (is_cancelled ? SLUICE_FATE_CANCELLED : SLUICE_FATE_UNREACHABLE)
           : how < w->plan.unavailable ? SLUICE_FATE_UNAVAILABLE
                                       : SLUICE_FATE_RETRY;
}

static struct lot draw_lot(struct sim_world *w, enum sim_target target)
{
    const struct sim_rates *rates = &w->plan.rates[target];
    uint64_t draw = sluice_prng_next(&w->rng);
    enum sluice_fate failed = failed_as(w, target, draw);
    int64_t fast = (int64_t)(((draw >> 48) * (uint64_t)(rates->fast_ms + 1)) >> 16);
    if (w->is_calm || w->plan.profile == SIM_PROFILE_CALM) {
        int64_t most = w->plan.engine.handler_timeout_ms / 32; /* all of a script's steps fit */
        return (struct lot){SIM_LOT_OK, failed, fast < most ? fast : most};
    }
    int is_nats = target >= SIM_TARGET_PUBLISH;
    if (w->outage_until_ms[target] > w->now_ms || (is_nats && !w->js.is_up)) {
        return w->outage_hangs[target] ? (struct lot){SIM_LOT_NEVER, failed, rates->timeout_ms}
                                       : (struct lot){SIM_LOT_FAIL, failed, fast};
    }
    uint32_t low = (uint32_t)(draw & 0xffff);
    int lot = sim_lots_said(&w->plan.course.requests, &w->asked, target);
    lot = lot >= 0 ? lot : (int)sim_rates_lot(rates, low);
    int64_t answered = fast;
    if (lot == SIM_LOT_SLOW) {
        answered = sim_between(&w->rng, rates->fast_ms, rates->slow_ms);
    } else if (lot == SIM_LOT_ANSWER_LOST || lot == SIM_LOT_LATE || lot == SIM_LOT_NEVER) {
        answered = rates->timeout_ms;
    }
    return (struct lot){(enum sim_lot)lot, failed, answered};
}

static enum sluice_fate fate_of(struct sim_world *w, const struct lot *lot)
{
    switch (lot->lot) {
    case SIM_LOT_OK:
    case SIM_LOT_SLOW:
    case SIM_LOT_TWICE:
        return SLUICE_FATE_OK;
    case SIM_LOT_FAIL:
        return lot->failed_as;
    case SIM_LOT_NEVER:
        return sim_chance(&w->rng, 500) ? SLUICE_FATE_RETRY : SLUICE_FATE_UNKNOWN;
    case SIM_LOT_LIMITED:
        return SLUICE_FATE_RATE_LIMITED;
    case SIM_LOT_BAD:
        return SLUICE_FATE_BAD_ANSWER;
    case SIM_LOT_PERMANENT:
        return SLUICE_FATE_PERMANENT;
    case SIM_LOT_STAGED: /* as the driver of the product reads it when it has waited long enough */
        return sluice_puback_is_stored(0, 0) ? SLUICE_FATE_OK : SLUICE_FATE_UNKNOWN;
    default:
        return SLUICE_FATE_UNKNOWN;
    }
}

static void write_later(struct sim_world *w, const struct sim_write *write, int64_t after_ms)
{
    uint32_t index = sim_sink_defer(w, write);
    if (index != 0) {
        sim_world_push(w, w->now_ms + after_ms, SIM_K_WRITE, (struct sim_item){.a = index});
    }
}

/* Do to the world what the lot says. Returns the deferred write that happens with the answer. */
static uint32_t touch_world(struct sim_world *w, struct request *q, const struct lot *lot,
                            uint32_t *kept, uint64_t *value)
{
    int changes = q->target >= SIM_TARGET_STORE && q->target != SIM_TARGET_LOAD;
    w->totals.paid_calls += q->target == SIM_TARGET_LLM && lot->lot == SIM_LOT_TWICE;
    if (!changes) {
        return 0;
    }
    switch (lot->lot) {
    case SIM_LOT_OK:
    case SIM_LOT_SLOW:
        if (sim_chance(&w->rng, 400)) {
            uint32_t index = sim_sink_defer(w, &q->write);
            if (index != 0) {
                return index;
            }
        }
        break;
    case SIM_LOT_TWICE:
        write_later(w, &q->write, sim_between(&w->rng, 1, 3000));
        break;
    case SIM_LOT_ANSWER_LOST:
        break;
    case SIM_LOT_STAGED: /* committed at last, or lost with the leader */
        if (sim_chance(&w->rng, 500)) {
            write_later(w, &q->write, sim_between(&w->rng, 1, 3000));
        }
        return 0;
    case SIM_LOT_LATE:
        write_later(w, &q->write, lot->answered_ms + sim_between(&w->rng, 1, lot->answered_ms));
        return 0;
    case SIM_LOT_FAIL:
        if (q->target == SIM_TARGET_STORE && q->write.count > 1 &&
            lot->failed_as == SLUICE_FATE_RETRY) { /* some documents only */
            q->write.count = (uint8_t)sim_below(&w->rng, q->write.count);
            break;
        }
        return 0;
    default:
        return 0;
    }
    int done = sim_sink_write(w, &q->write, value);
    *kept = done ? SLUICE_KEPT_OK : SLUICE_KEPT_LOST_RACE;
    return 0;
}

/* A process without memory: the request was not made, or its answer could not be read. */
static int is_starved(struct sim_world *w, const struct sim_process *p)
{
    return p->heap.failing_per_mille > 0 && sim_chance(&w->rng, p->heap.failing_per_mille);
}

static void starve(struct sim_world *w, struct sim_process *p, struct request *q)
{
    struct sim_item item = {.worker = p->index, .life = p->life, .ticket = q->ticket};
    item.a = answer_a(q->target, q->index, q->serial);
    item.b = q->target == SIM_TARGET_KEEP ? (uint32_t)SLUICE_KEPT_FAILED : SLUICE_FATE_NO_MEMORY;
    if (q->target == SIM_TARGET_RECORD) {
        sim_judge_record_in_doubt(w, q->write.key);
    }
    if (sim_chance(&w->rng, 500)) {
        uint32_t kept;
        uint64_t value;
        (void)touch_world(w, q, &(struct lot){.lot = SIM_LOT_ANSWER_LOST}, &kept, &value);
    }
    sim_world_push(w, w->now_ms, SIM_K_ANSWER, item);
}

static void request(struct sim_world *w, struct sim_process *p, struct request *q)
{
    if (is_starved(w, p)) {
        starve(w, p, q);
        return;
    }
    struct lot lot = draw_lot(w, q->target);
    if (q->target == SIM_TARGET_OFFLOAD && lot.lot == SIM_LOT_NEVER) {
        return; /* a function that hangs hangs until the process ends */
    }
    if (q->target == SIM_TARGET_OFFLOAD && lot.lot == SIM_LOT_LATE) {
        lot = (struct lot){SIM_LOT_OK, lot.failed_as,
                           sim_between(&w->rng, 1, 4 * w->plan.engine.handler_timeout_ms)};
    }
    struct sim_item item = {.worker = p->index, .life = p->life, .ticket = q->ticket};
    item.a = answer_a(q->target, q->index, q->serial);
    enum sluice_fate fate = fate_of(w, &lot);
    if (q->target == SIM_TARGET_RECORD && fate != SLUICE_FATE_OK) {
        sim_judge_record_in_doubt(w, q->write.key);
    }
    uint32_t kept = SLUICE_KEPT_OK;
    uint64_t value = 0;
    item.d = touch_world(w, q, &lot, &kept, &value);
    item.b = fate;
    if (q->target == SIM_TARGET_KEEP) {
        item.b = fate != SLUICE_FATE_OK ? SLUICE_KEPT_FAILED : kept;
        item.c = (int64_t)value;
    } else if (q->target <= SIM_TARGET_OFFLOAD) {
        item.c = fate == SLUICE_FATE_OK ? (int64_t)(sluice_prng_next(&w->rng) | 1u) : 0;
        if (fate == SLUICE_FATE_RATE_LIMITED) {
            item.c = sim_between(&w->rng, 0, w->plan.retry_after_ms);
        }
    }
    sim_world_push(w, w->now_ms + lot.answered_ms, SIM_K_ANSWER, item);
}

/* ---- Answers */

static void snapshot(struct sim_world *w, struct sim_hosted *h, enum sluice_fate fate)
{
    const struct sim_kv_entry *e = &w->kv.entries[h->key];
    h->loaded_fate = (uint8_t)fate;
    h->loaded_count = 0;
    h->loaded_record = (struct sluice_record){0};
    if (fate != SLUICE_FATE_OK) {
        return;
    }
    h->loaded_record = e->record;
    h->loaded_count = e->answers_count;
    for (uint32_t i = 0; i < e->answers_count; i++) {
        h->loaded[i] = e->answers[i].id;
        h->loaded_values[i] = e->answers[i].value;
        h->loaded_is_bad[i] = e->answers[i].is_bad;
    }
}

void sim_host_on_answer(struct sim_world *w, struct sim_item *item)
{
    struct sim_process *p = &w->processes[item->worker];
    uint64_t value = 0;
    if (item->d != 0) {
        int done = sim_sink_undefer(w, (uint32_t)item->d, &value);
        if ((item->a & 0xff) == SIM_TARGET_KEEP) {
            item->b = done ? SLUICE_KEPT_OK : SLUICE_KEPT_LOST_RACE;
            item->c = (int64_t)value;
        }
    }
    if (!p->is_running || p->life != item->life) {
        return;
    }
    struct sim_hosted *h = sim_process_hosted(p, item->ticket);
    if ((item->a & 0xff) == SIM_TARGET_LOAD && h != NULL) {
        snapshot(w, h, (enum sluice_fate)item->b);
        sim_judge_loaded(w, p, item->ticket, h->key);
    }
    sim_process_receive(w, p, item);
}

static void read_call(struct sim_hosted *h, const struct sim_item *item, struct sluice_event *ev)
{
    uint32_t step = (item->a >> 8) & 0xff;
    ev->kind = SLUICE_EV_STEP;
    ev->step = (struct sluice_ev_step){.step = (uint16_t)step, .fate = (uint8_t)item->b};
    if (item->b == SLUICE_FATE_RATE_LIMITED) {
        ev->step.retry_after_ms = item->c;
    }
    if (h != NULL) {
        h->call_owed[step] = 0;
        h->has_answer[step] = item->b == SLUICE_FATE_OK;
        h->answers[step] = (uint64_t)item->c;
    }
}

static void read_loaded(struct sim_hosted *h, const struct sim_item *item, struct sluice_event *ev)
{
    static const struct sluice_record none;
    ev->kind = SLUICE_EV_LOADED;
    ev->loaded = (struct sluice_ev_loaded){.fate = (uint8_t)item->b, .record = &none};
    if (h != NULL) {
        ev->loaded.record = &h->loaded_record;
        ev->loaded.answers = h->loaded;
        ev->loaded.answers_count = h->loaded_count;
    }
}

void sim_host_read_answer(struct sim_world *w, struct sim_process *p, const struct sim_item *item)
{
    struct sim_hosted *h = sim_process_hosted(p, item->ticket);
    struct sluice_event ev = {.ticket = item->ticket};
    enum sim_target target = (enum sim_target)(item->a & 0xff);
    uint32_t index = (item->a >> 8) & 0xff;
    switch (target) {
    case SIM_TARGET_STORE:
        ev.kind = SLUICE_EV_STORED;
        ev.fate = (uint8_t)item->b;
        break;
    case SIM_TARGET_PUBLISH:
        ev.kind = SLUICE_EV_PUBLISHED;
        ev.published = (struct sluice_ev_published){(uint8_t)index, (uint8_t)item->b};
        break;
    case SIM_TARGET_BURY:
        ev.kind = SLUICE_EV_BURIED;
        ev.fate = (uint8_t)item->b;
        break;
    case SIM_TARGET_RECORD:
        ev.kind = SLUICE_EV_RECORDED;
        ev.fate = (uint8_t)item->b;
        break;
    case SIM_TARGET_LOAD:
        read_loaded(h, item, &ev);
        break;
    case SIM_TARGET_KEEP:
        ev.kind = SLUICE_EV_KEPT;
        ev.kept = (struct sluice_ev_kept){(uint16_t)index, (uint8_t)item->b};
        break;
    default:
        if (p->hosted[item->ticket.slot].call_serial[index] != item->a >> 16) {
            return; /* a cancelled call has been answered already */
        }
        read_call(h, item, &ev);
        break;
    }
    sim_process_step(w, p, &ev);
}

void sim_host_report_verdict(struct sim_world *w, struct sim_process *p,
                             struct sluice_ticket ticket)
{
    struct sim_hosted *h = sim_process_hosted(p, ticket);
    struct sluice_event ev = {.kind = SLUICE_EV_VERDICT, .ticket = ticket};
    if (h != NULL) {
        ev.verdict = h->verdict;
    } else { /* released meanwhile */
        ev.verdict = (struct sluice_ev_verdict){
            .kind = SLUICE_VERDICT_FAILED, .failure = SLUICE_FAILURE_HANDLER, .failed_step = -1};
    }
    sim_process_step(w, p, &ev);
}

/* ---- Effects */

static enum sim_target target_of_step(const struct sim_script_step *step)
{
    switch (step->dependency) {
    case SLUICE_DEP_LLM:
        return SIM_TARGET_LLM;
    case SLUICE_DEP_STORE:
        return SIM_TARGET_FIND;
    case SLUICE_DEP_NONE:
        return SIM_TARGET_OFFLOAD;
    default:
        return SIM_TARGET_SERVICE;
    }
}

static void start_call(struct sim_world *w, struct sim_process *p, struct sluice_ticket ticket,
                       struct sim_hosted *h, uint32_t step)
{
    const struct sim_script_step *s = &h->script->steps[step];
    h->call_owed[step] = 1;
    h->has_answer[step] = 0;
    w->totals.paid_calls += s->is_paid;
    struct request q = {.target = target_of_step(s),
                        .index = step,
                        .serial = ++h->call_serial[step],
                        .ticket = ticket};
    if (s->is_refused) {
        struct sim_item item = {.worker = p->index, .life = p->life, .ticket = ticket};
        item.a = answer_a(q.target, step, q.serial);
        item.b = SLUICE_FATE_PERMANENT;
        sim_world_push(w, w->now_ms + sim_below(&w->rng, 20), SIM_K_ANSWER, item);
        return;
    }
    request(w, p, &q);
}

static void replay(struct sim_world *w, struct sim_process *p, const struct sluice_effect *fx,
                   struct sim_hosted *h)
{
    int is_miss = fx->journaled < h->loaded_count && h->loaded_is_bad[fx->journaled];
    int is_lost = is_starved(w, p);
    w->totals.answers_replayed += !is_miss && !is_lost;
    h->call_owed[fx->step] = 1;
    if (fx->journaled < h->loaded_count) {
        h->ids[fx->step].epoch = h->loaded[fx->journaled].epoch;
    }
    struct sim_item item = {.worker = p->index, .life = p->life, .ticket = fx->ticket};
    item.a = answer_a(SIM_TARGET_LLM, fx->step, ++h->call_serial[fx->step]);
    item.b = is_lost ? SLUICE_FATE_NO_MEMORY : is_miss ? SLUICE_FATE_MISS : SLUICE_FATE_OK;
    item.c = fx->journaled < h->loaded_count ? (int64_t)h->loaded_values[fx->journaled] : 0;
    sim_world_push(w, w->now_ms, SIM_K_ANSWER, item);
}

static void cancel(struct sim_world *w, struct sim_process *p, const struct sluice_effect *fx,
                   struct sim_hosted *h)
{
    enum sim_target target = target_of_step(&h->script->steps[fx->step]);
    if (!h->call_owed[fx->step] || target == SIM_TARGET_FIND || target == SIM_TARGET_OFFLOAD) {
        return; /* its answer is on the way, or comes when it comes: nothing ends such a call */
    }
    struct sim_item item = {.worker = p->index, .life = p->life, .ticket = fx->ticket};
    item.a = answer_a(SIM_TARGET_LLM, fx->step, ++h->call_serial[fx->step]);
    item.b = sim_chance(&w->rng, 900) ? SLUICE_FATE_CANCELLED : SLUICE_FATE_OK;
    item.c = item.b == SLUICE_FATE_OK ? (int64_t)(sluice_prng_next(&w->rng) | 1u) : 0;
    sim_world_push(w, w->now_ms + sim_below(&w->rng, 4), SIM_K_ANSWER, item);
}

static void admit(struct sim_world *w, struct sim_process *p, const struct sluice_event *ev,
                  const struct sluice_effect *fx)
{
    struct sim_hosted *h = &p->hosted[fx->ticket.slot];
    const struct sim_input *input = &w->inputs[ev->message.sequence];
    h->generation = fx->ticket.generation;
    h->sequence = (uint32_t)ev->message.sequence;
    h->key = input->key;
    h->deliveries = ev->message.deliveries;
    h->runs = 0;
    h->script = sim_world_script(w, h->key, p->version);
    h->is_settle_owed = 0;
    h->settle = 0;
    h->loaded_count = 0;
    memset(h->has_answer, 0, sizeof h->has_answer);
    memset(h->call_owed, 0, sizeof h->call_owed);
}

static void settle(struct sim_world *w, struct sim_process *p, const struct sluice_effect *fx,
                   struct sim_hosted *h)
{
    h->settle = fx->settle.settle;
    h->settle_verb = fx->settle.verb;
    h->is_settle_owed = 1;
    struct sim_item item = {.ticket = fx->ticket,
                            .a = fx->settle.verb | fx->settle.settle << 8,
                            .b = h->sequence,
                            .c = fx->settle.delay_ms,
                            .d = w->now_ms};
    if (sim_network_settle(w, p, item)) {
        return;
    }
    /* Could not be sent: told at once, but not from inside the effect. */
    h->is_settle_owed = 0;
    item.worker = p->index;
    item.life = p->life;
    sim_world_push(w, w->now_ms, SIM_K_UNSENT, item);
}

static void pull(struct sim_world *w, struct sim_process *p, const struct sluice_fx_pull *fx)
{
    struct sim_inbox *inbox = &p->inboxes[fx->pull % SIM_INBOXES_MAX];
    *inbox = (struct sim_inbox){.pull = *fx, .sent_ms = w->now_ms};
    sim_network_pull(w, p, inbox);
}

static void run_handler(struct sim_world *w, struct sim_process *p, const struct sluice_effect *fx,
                        struct sim_hosted *h)
{
    if (sim_handler_run(w, p, fx->ticket, h)) {
        sim_judge_poisoned(w, p, h->key);
        sim_process_kill(w, p);
    } else if (sim_chance(&w->rng, 60)) { /* the loop is busy */
        sim_world_push(
            w, w->now_ms + sim_below(&w->rng, 30), SIM_K_LOCAL,
            (struct sim_item){.worker = p->index, .life = p->life, .ticket = fx->ticket});
    } else if (p->verdicts_count < SIM_IN_FLIGHT_MAX) {
        uint32_t at = (p->verdicts_first + p->verdicts_count++) % SIM_IN_FLIGHT_MAX;
        p->verdicts[at] = fx->ticket;
    }
}

/* Requests whose only number is the message. */
static void write_request(struct sim_world *w, struct sim_process *p,
                          const struct sluice_effect *fx, struct sim_hosted *h)
{
    struct request q = {.ticket = fx->ticket, .write = {.key = h->key, .sequence = h->sequence}};
    switch (fx->kind) {
    case SLUICE_FX_LOAD:
        q.target = SIM_TARGET_LOAD;
        memset(h->has_answer, 0, sizeof h->has_answer);
        break;
    case SLUICE_FX_KEEP:
        q.target = SIM_TARGET_KEEP;
        q.index = fx->step;
        q.write.value = h->answers[fx->step];
        h->ids[fx->step].epoch = fx->epoch;
        q.write.id = h->ids[fx->step];
        break;
    case SLUICE_FX_RECORD:
        q.target = SIM_TARGET_RECORD;
        q.write.record = *fx->record;
        q.write.value = w->totals.steps;
        q.write.writer = (uint32_t)(p->index + 1) << 16 | p->life;
        break;
    case SLUICE_FX_STORE:
        q.target = SIM_TARGET_STORE;
        q.write.count = h->verdict.documents_count;
        q.write.content = h->content;
        break;
    case SLUICE_FX_PUBLISH:
        q.target = SIM_TARGET_PUBLISH;
        q.index = fx->output;
        q.write.value = h->outputs[fx->output];
        q.write.content = h->content;
        break;
    default:
        q.target = SIM_TARGET_BURY;
        q.write.count = fx->failure;
        break;
    }
    q.write.target = (uint8_t)q.target;
    request(w, p, &q);
}

void sim_host_perform(struct sim_world *w, struct sim_process *p, const struct sluice_event *ev,
                      const struct sluice_effect *fx)
{
    struct sim_hosted *h = sim_process_hosted(p, fx->ticket);
    switch (fx->kind) {
    case SLUICE_FX_PULL:
        pull(w, p, &fx->pull);
        break;
    case SLUICE_FX_ABANDON:
        p->inboxes[fx->pull.pull % SIM_INBOXES_MAX].is_abandoned = 1;
        break;
    case SLUICE_FX_CHECK:
        p->checks_owed++;
        sim_network_check(w, p);
        break;
    case SLUICE_FX_STOP:
        p->is_stopped = p->stop_owed = 1;
        if (!sim_link_send(w, p->index, SIM_K_TO_SERVER_STOP, (struct sim_item){0})) {
            sim_world_push(w, w->now_ms, SIM_K_STOPPED_ALONE,
                           (struct sim_item){.worker = p->index, .life = p->life});
        }
        break;
    case SLUICE_FX_ADMIT:
        admit(w, p, ev, fx);
        break;
    case SLUICE_FX_REBIND:
        h->deliveries = ev->message.deliveries;
        break;
    case SLUICE_FX_REFUSE:
        (void)sim_network_settle(w, p,
                                 (struct sim_item){.a = SLUICE_VERB_NAK,
                                                   .b = (uint32_t)ev->message.sequence,
                                                   .c = fx->settle.delay_ms,
                                                   .d = w->now_ms});
        break;
    case SLUICE_FX_SETTLE:
        settle(w, p, fx, h);
        break;
    case SLUICE_FX_RUN:
        run_handler(w, p, fx, h);
        break;
    case SLUICE_FX_START:
        start_call(w, p, fx->ticket, h, fx->step);
        break;
    case SLUICE_FX_REPLAY:
        replay(w, p, fx, h);
        break;
    case SLUICE_FX_CANCEL:
        cancel(w, p, fx, h);
        break;
    case SLUICE_FX_RELEASE:
        h->generation = 0;
        break;
    case SLUICE_FX_DRAINED:
        sim_world_push(w, w->now_ms, SIM_K_EXIT,
                       (struct sim_item){.worker = p->index, .life = p->life});
        break;
    default:
        write_request(w, p, fx, h);
        break;
    }
}
