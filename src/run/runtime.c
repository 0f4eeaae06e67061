/* SPDX-License-Identifier: Apache-2.0 */
#include "run/runtime_state.h"

#include <stdlib.h>
#include <string.h>

#define PUBLISH_PERIOD_MS 200 /* of the probe's snapshot, and the loop's sign of life */

static void timer_arm(struct runtime *rt);

void runtime_runs_push(struct runtime *rt, struct sluice_ticket ticket)
{
    if (rt->runs_count == rt->runs_capacity) {
        struct sluice_ticket *more = malloc(2 * (size_t)rt->runs_capacity * sizeof *more);
        if (more == NULL) {
            abort(); /* see operation_new */
        }
        for (uint32_t i = 0; i < rt->runs_count; i++) {
            more[i] = rt->runs[(rt->runs_head + i) % rt->runs_capacity];
        }
        free(rt->runs);
        rt->runs = more;
        rt->runs_head = 0;
        rt->runs_capacity *= 2;
    }
    rt->runs[(rt->runs_head + rt->runs_count++) % rt->runs_capacity] = ticket;
}

void runtime_finish(struct runtime *rt, enum runtime_end end)
{
    int expected = RUNTIME_GOES_ON;
    (void)atomic_compare_exchange_strong(&rt->end, &expected, (int)end);
}

void runtime_step(struct runtime *rt, struct sluice_event *ev)
{
    ev->mono_ms = sluice_mono_ms();
    ev->wall_ms = sluice_wall_ms();
    sluice_engine_step(rt->engine, ev, &rt->effects);
    for (uint32_t i = 0; i < rt->effects.count; i++) {
        runtime_perform(rt, &rt->effects.items[i]);
    }
}

static void run_handler(struct runtime *rt, struct inflight *m)
{
    host_run(rt->config.host, m, &rt->verdict);
    struct sluice_event ev = {
        .kind = SLUICE_EV_VERDICT, .ticket = m->ticket, .verdict = rt->verdict.verdict};
    runtime_step(rt, &ev);
}

static void replayed(struct runtime *rt, const struct inflight *m, uint32_t step)
{
    struct sluice_event ev = {.kind = SLUICE_EV_STEP, .ticket = m->ticket};
    if (step < m->steps_count) {
        ev.step.step = (uint16_t)step;
        ev.step.fate = m->steps[step]->call == 1 ? SLUICE_FATE_OK : SLUICE_FATE_MISS;
        runtime_step(rt, &ev);
    }
}

/* One handler's run, one answer from the journal, or one dead letter that could not be written. */
static void run_next(struct runtime *rt)
{
    struct sluice_ticket t = rt->runs[rt->runs_head];
    rt->runs_head = (rt->runs_head + 1) % rt->runs_capacity;
    rt->runs_count--;
    struct inflight *m = rt->slots[t.slot & ~(RUNTIME_REPLAYED | RUNTIME_UNBURIED)];
    if (m == NULL) {
        return;
    }
    if ((t.slot & RUNTIME_REPLAYED) != 0) {
        replayed(rt, m, t.generation);
    } else if (m->ticket.generation != t.generation) {
        return;
    } else if ((t.slot & RUNTIME_UNBURIED) != 0) {
        struct sluice_event ev = {.kind = SLUICE_EV_BURIED, .ticket = m->ticket};
        ev.fate = SLUICE_FATE_RETRY;
        runtime_step(rt, &ev);
    } else {
        run_handler(rt, m);
    }
}

void runtime_run_all(struct runtime *rt)
{
    while (rt->runs_count > 0) {
        run_next(rt);
    }
    timer_arm(rt);
}

void runtime_drive(struct runtime *rt, struct sluice_event *ev)
{
    SLUICE_LOG(SLUICE_LOG_DEBUG, NONE, "engine.event", "",
               SLUICE_F_TEXT("kind", sluice_event_name(ev->kind)));
    runtime_step(rt, ev);
    runtime_run_all(rt);
}

/* ---- Time ---- */

static void on_timer(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    rt->timer_at = INT64_MAX;
    struct sluice_event ev = {.kind = SLUICE_EV_TICK};
    runtime_drive(rt, &ev);
}

/* An armed timer that is early enough stays: most deadlines only move to later. */
static void timer_arm(struct runtime *rt)
{
    int64_t at = sluice_engine_deadline(rt->engine);
    if (at == INT64_MAX || at >= rt->timer_at) {
        return;
    }
    int64_t now = sluice_mono_ms();
    uv_update_time(rt->config.loop);
    rt->timer_at = at;
    (void)uv_timer_start(&rt->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
}

static void on_publish(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    if (rt->is_consumer_missing) {
        rt->source->ops->check(rt->source);
    }
    struct sluice_probe_snapshot s = {.engine = *sluice_engine_metrics(rt->engine),
                                      .dependencies_count = rt->config.engine.dependencies_count,
                                      .is_connected = sluice_engine_is_connected(rt->engine),
                                      .is_degraded = sluice_engine_is_degraded(rt->engine),
                                      .has_journal = rt->config.journal != NULL,
                                      .is_journal_away = rt->journal_failures != 0,
                                      .tokens_prompt = rt->tokens_prompt,
                                      .tokens_completion = rt->tokens_completion,
                                      .outputs_duplicate = rt->outputs_duplicate};
    for (uint32_t i = 0; i < s.dependencies_count; i++) {
        s.breakers[i] = (uint8_t)sluice_engine_breaker(rt->engine, i)->state;
        s.dependencies[i] = rt->config.engine.dependencies[i].name;
    }
    memcpy(s.step_failures, rt->step_failures, sizeof s.step_failures);
    sluice_probe_publish(rt->config.probe, &s);
    sluice_probe_update_loop(rt->config.probe, sluice_mono_ms());
}

static void on_breaker(void *ctx, uint32_t dependency, enum sluice_breaker_state from,
                       enum sluice_breaker_state to)
{
    struct runtime *rt = ctx;
    const char *name = rt->config.engine.dependencies[dependency].name;
    SLUICE_LOG(to == SLUICE_BREAKER_OPEN ? SLUICE_LOG_WARN : SLUICE_LOG_INFO, WARN,
               "breaker.changed", "", SLUICE_F_TEXT("dependency", name),
               SLUICE_F_TEXT("from", sluice_breaker_state_name(from)),
               SLUICE_F_TEXT("to", sluice_breaker_state_name(to)));
}

/* ---- Life ---- */

void runtime_set_source(struct runtime *rt, struct sluice_source *source)
{
    rt->source = source;
}

void runtime_drain(struct runtime *rt)
{
    struct sluice_event ev = {.kind = SLUICE_EV_DRAIN};
    runtime_drive(rt, &ev);
}

void runtime_abort(struct runtime *rt)
{
    struct sluice_event ev = {.kind = SLUICE_EV_ABORT};
    runtime_drive(rt, &ev);
}

enum runtime_end runtime_end(const struct runtime *rt)
{
    return (enum runtime_end)atomic_load(&rt->end);
}

int runtime_is_connected(const struct runtime *rt)
{
    return atomic_load(&rt->is_connected);
}

sluice_rc runtime_create(const struct runtime_config *config, struct runtime **out,
                         struct sluice_err *err)
{
    struct runtime *rt = calloc(1, sizeof *rt);
    if (rt == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "runtime: no memory");
    }
    rt->config = *config;
    rt->config.engine.on_breaker = on_breaker;
    rt->config.engine.hook_ctx = rt;
    rt->timer_at = INT64_MAX;
    uint32_t n = config->engine.max_in_flight;
    rt->slots = calloc(n, sizeof(struct inflight *));
    rt->runs_capacity = n + 16;
    rt->runs = calloc(rt->runs_capacity, sizeof *rt->runs);
    sluice_rc rc =
        rt->slots == NULL || rt->runs == NULL
            ? sluice_err_set(err, SLUICE_ERR_NOMEM, "runtime: no memory")
            : sluice_engine_create(&rt->config.engine, sluice_mono_ms(), &rt->engine, err);
    if (rc != SLUICE_OK) {
        free(rt->slots);
        free(rt->runs);
        free(rt);
        return rc;
    }
    config->host->engine = rt->engine;
    (void)uv_timer_init(config->loop, &rt->timer);
    (void)uv_timer_init(config->loop, &rt->publisher);
    rt->timer.data = rt;
    rt->publisher.data = rt;
    rt->handles_open = 2;
    (void)uv_timer_start(&rt->publisher, on_publish, 0, PUBLISH_PERIOD_MS);
    *out = rt;
    return SLUICE_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct runtime *rt = handle->data;
    if (--rt->handles_open > 0) {
        return;
    }
    while (rt->free_operations != NULL) {
        struct operation *next = rt->free_operations->next;
        free(rt->free_operations);
        rt->free_operations = next;
    }
    free(rt->slots);
    free(rt->runs);
    sluice_engine_destroy(rt->engine);
    free(rt);
}

void runtime_destroy(struct runtime *rt)
{
    if (rt != NULL) {
        uv_close((uv_handle_t *)&rt->timer, on_closed); /* libuv calls back in any order */
        uv_close((uv_handle_t *)&rt->publisher, on_closed);
    }
}
