/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine has the probes tell: whether it is connected, and why pulling is held back. INV-8
 * as far as an engine knows it; states of the process and times of answers are the shell's. */
#include "sim/check.h"

#include "sim/world.h"

/* Must pulling be held back because of this dependency, or may it be? */
static int must_wait(const struct sim_watched_breaker *b, int64_t mono_ms)
{
    return b->state != SLUICE_BREAKER_CLOSED || mono_ms < b->limited_until_ms;
}

static int may_wait(const struct sim_watched_breaker *b, int64_t mono_ms)
{
    return b->state != SLUICE_BREAKER_CLOSED || mono_ms < b->limited_most_ms;
}

/* The reason that is told is one, and its end is not made up. */
static void judge_pause(struct sim_world *w, const struct sim_watch *watch,
                        const struct sluice_engine_pause *pause, int64_t mono_ms)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    const struct sim_watched_breaker *b = &watch->breakers[pause->dependency];
    int64_t reset_ms = c->dependencies[pause->dependency].reset_timeout_ms;
    int is_true = b->state != SLUICE_BREAKER_CLOSED && mono_ms >= b->limited_until_ms &&
                  (b->state != SLUICE_BREAKER_OPEN || pause->until_ms <= mono_ms + reset_ms);
    if (pause->is_rate_limit) {
        is_true = mono_ms < pause->until_ms && pause->until_ms >= b->limited_until_ms &&
                  pause->until_ms <= b->limited_most_ms;
    }
    if (!is_true) {
        sim_judge_fail(w, SIM_RULE_PROBE, "the probe says that %s %s for another %lld ms",
                       c->dependencies[pause->dependency].name,
                       pause->is_rate_limit ? "limits the rate" : "has an open breaker",
                       (long long)(pause->until_ms - mono_ms));
    }
}

void sim_judge_probe(struct sim_world *w, const struct sim_watch *watch,
                     const struct sim_process *p, const struct sluice_event *ev)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    struct sluice_engine_pause pause = {.dependency = 0};
    int is_paused = sluice_engine_is_paused(p->engine, &pause);
    int must = 0, may = 0;
    for (uint32_t i = 0; i < c->dependencies_count; i++) {
        must |= must_wait(&watch->breakers[i], ev->mono_ms);
        may |= may_wait(&watch->breakers[i], ev->mono_ms);
    }
    if (sluice_engine_is_connected(p->engine) != watch->is_connected) {
        sim_judge_fail(w, SIM_RULE_PROBE, "the probe says that it is %sconnected",
                       watch->is_connected ? "not " : "");
    } else if (is_paused ? !may : must) {
        sim_judge_fail(w, SIM_RULE_PROBE, "the probe says that pulling is %sheld back",
                       is_paused ? "" : "not ");
    } else if (is_paused) {
        judge_pause(w, watch, &pause, ev->mono_ms);
    }
}
