/* SPDX-License-Identifier: Apache-2.0 */
#include "port/clock.h"
#include "run/runtime_operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISH_PERIOD_MS 200 /* of the probe's snapshot, and the loop's sign of life */

static void timer_arm(struct runtime *rt);

void runtime_owe(struct runtime *rt, struct inflight *m)
{
    if (m->owed.is_queued) {
        return;
    }
    m->owed.is_queued = 1;
    m->owed.next = NULL;
    m->operations++;
    if (rt->turns_first == NULL) {
        rt->turns_first = m;
    } else {
        rt->turns_last->owed.next = m;
    }
    rt->turns_last = m;
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

static void tell_steps(struct runtime *rt, struct inflight *m)
{
    m->owed.steps = 0;
    for (uint32_t i = 0; i < m->steps_count; i++) { /* what is told may end in a LOAD */
        unsigned owed = m->steps[i]->owed;
        m->steps[i]->owed = 0;
        if (owed != 0) {
            runtime_call_tell_step(rt, m, i, owed);
        }
    }
}

static void take_turn(struct runtime *rt)
{
    struct inflight *m = rt->turns_first;
    rt->turns_first = m->owed.next;
    m->owed.is_queued = 0;
    int is_run = m->owed.run; /* not one that comes of what is told now */
    m->owed.run = 0;
    if (m->owed.steps) {
        tell_steps(rt, m);
    }
    runtime_call_tell(rt, m);
    if (is_run && !m->is_released) {
        run_handler(rt, m);
    }
    m->operations--;
    runtime_inflight_free_if_done(rt, m);
}

void runtime_take_turns(struct runtime *rt)
{
    if (rt->is_taking_turns) {
        return;
    }
    rt->is_taking_turns = 1;
    while (rt->turns_first != NULL) {
        take_turn(rt);
    }
    rt->is_taking_turns = 0;
    timer_arm(rt);
}

void runtime_drive(struct runtime *rt, struct sluice_event *ev)
{
    SLUICE_LOG(SLUICE_LOG_DEBUG, NONE, "engine.event", "",
               SLUICE_F_TEXT("kind", sluice_event_name(ev->kind)));
    runtime_step(rt, ev);
    runtime_take_turns(rt);
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

/* Looked at now and then: a server that limits its rate makes many pauses of a moment. */
static void pause_tell(struct runtime *rt, const struct sluice_probe_snapshot *s)
{
    if (rt->is_pause_told == s->is_degraded) {
        return;
    }
    rt->is_pause_told = s->is_degraded;
    if (!s->is_degraded) {
        SLUICE_LOG(SLUICE_LOG_INFO, START, "pull.resumed", "", SLUICE_F_END);
        return;
    }
    const struct sluice_engine_pause *pause = &s->pause;
    int64_t for_ms = pause->until_ms - sluice_mono_ms();
    SLUICE_LOG(SLUICE_LOG_WARN, WARN, "pull.paused", "no new messages are taken",
               SLUICE_F_TEXT("dependency", s->dependencies[pause->dependency]),
               SLUICE_F_TEXT("reason", sluice_probe_pause_reason(s)),
               SLUICE_F_COUNTED("for_ms", pause->until_ms == INT64_MAX || for_ms < 0 ? 0 : for_ms));
}

static void denied_show(const struct sluice_refusals *refusals, char *out, size_t size)
{
    const char *text =
        refusals == NULL ? NULL : sluice_refusals_current(refusals, sluice_mono_ms());
    (void)snprintf(out, size, "%s", text == NULL ? "" : text);
}

void runtime_show(struct runtime *rt)
{
    struct sluice_probe_snapshot s = {.engine = *sluice_engine_metrics(rt->engine),
                                      .dependencies_count = rt->config.engine.dependencies_count,
                                      .is_connected = sluice_engine_is_connected(rt->engine),
                                      .has_journal = rt->config.journal != NULL,
                                      .is_journal_away = rt->journal_failures != 0,
                                      .tokens_prompt = rt->tokens_prompt,
                                      .tokens_completion = rt->tokens_completion,
                                      .outputs_duplicate = rt->outputs_duplicate};
    s.is_degraded = sluice_engine_is_paused(rt->engine, &s.pause);
    for (uint32_t i = 0; i < s.dependencies_count; i++) {
        s.breakers[i] = (uint8_t)sluice_engine_breaker(rt->engine, i)->state;
        s.dependencies[i] = rt->config.engine.dependencies[i].name;
    }
    denied_show(&rt->refusals, s.denied_pull, sizeof s.denied_pull);
    denied_show(rt->config.publish_refusals, s.denied_publish, sizeof s.denied_publish);
    memcpy(s.step_failures, rt->step_failures, sizeof s.step_failures);
    pause_tell(rt, &s);
    sluice_probe_publish(rt->config.probe, &s);
    sluice_probe_update_loop(rt->config.probe, sluice_mono_ms());
}

static void on_publish(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    if (rt->consumer_missing_ms != 0) {
        rt->source->ops->check(rt->source);
    }
    runtime_show(rt);
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
    rt->is_draining = 1;
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
    sluice_rc rc = rt->slots == NULL ? sluice_err_set(err, SLUICE_ERR_NOMEM, "runtime: no memory")
                                     : sluice_engine_create(&rt->config.engine, sluice_mono_ms(),
                                                            &rt->engine, err);
    if (rc != SLUICE_OK) {
        free(rt->slots);
        free(rt);
        return rc;
    }
    config->host->engine = rt->engine;
    config->host->llm = config->llm;
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
    runtime_operations_free(rt);
    free(rt->slots);
    free(rt->vacant);
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
