/* SPDX-License-Identifier: Apache-2.0 */
/* Shutdown: what nothing is done for goes to others at once, not when the grace ends. INV-9 as far
 * as it is the engine's: how long the grace is, the shell decides. */
#include "sim/check.h"

#include "sim/world.h"

/* Something of it is under way, and is left to end. */
static int is_under_way(const struct sim_attempt *a)
{
    int is_busy = a->run_owed || a->load_owed || a->record_owed || a->store_owed ||
                  a->publish_owed != 0 || a->bury_owed;
    for (uint32_t i = 0; i < a->steps_count; i++) {
        is_busy |= a->steps[i].state == SIM_SEEN_RUNNING || a->steps[i].is_keep_owed;
    }
    return is_busy;
}

/* Its handler has asked for a call, or its commit is due, and neither may start: a breaker or a
 * rate limit holds it. For certain: when one of its calls has ended, its handler may be due, and
 * wait for its turn behind a suspect. */
static int only_waits(const struct sim_attempt *a)
{
    if (!a->has_verdict || a->verdict_kind != SLUICE_VERDICT_SUSPENDED) {
        return a->has_verdict && a->verdict_kind == SLUICE_VERDICT_DONE;
    }
    for (uint32_t i = 0; i < a->steps_count && !a->has_news; i++) {
        if (a->steps[i].state == SIM_SEEN_ASKED) {
            return 1;
        }
    }
    return 0;
}

void sim_judge_drain(struct sim_world *w, const struct sim_watch *watch,
                     const struct sluice_event *ev, const struct sluice_effects *effects)
{
    /* What finds no room in the effects of one step comes with the next. */
    if (!watch->is_draining || effects->count > SLUICE_FX_CAPACITY / 2) {
        return;
    }
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        const struct sim_attempt *a = &watch->attempts[i];
        /* What another delivery has brought back runs again, behind a suspect if there is one. */
        int may_be_due = a->is_retaken && watch->has_marked;
        int is_held = a->generation != 0 && a->verdict_verb == 0 && !is_under_way(a) && !may_be_due;
        if (is_held && (!a->has_run || only_waits(a)) && !sim_judge_is_at_end(w, a, ev->mono_ms)) {
            sim_judge_fail(w, SIM_RULE_DRAIN,
                           "message %u %s, and is not handed on while the process drains",
                           a->sequence, a->has_run ? "only waits" : "has not begun");
            return;
        }
    }
}
