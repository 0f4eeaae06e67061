/* SPDX-License-Identifier: Apache-2.0 */
/* The reason that a dead letter gives: what the delivery has failed by, as it was seen. INV-4. */
#include "sim/check.h"

#include "sim/world.h"

#define BIT(name) (1u << SLUICE_FAILURE_##name)

/* A table of the judges' own. */
static uint32_t reason_of_step(uint8_t fate)
{
    switch ((enum sluice_fate)fate) {
    case SLUICE_FATE_PERMANENT:
        return BIT(REJECTED);
    case SLUICE_FATE_RATE_LIMITED:
        return BIT(RATE_LIMITED);
    case SLUICE_FATE_OK: /* nothing that a handler could pass on */
    case SLUICE_FATE_NO_MEMORY:
    case SLUICE_FATE_UNREACHABLE:
        return 0; /* not held against it, so no reason to bury it */
    default:
        return BIT(STEP);
    }
}

static uint32_t reason_of_verdict(const struct sim_attempt *a)
{
    int is_stored = a->documents_count == 0 || a->was_stored;
    switch ((enum sluice_verdict_kind)a->verdict_kind) {
    case SLUICE_VERDICT_FAILED:
        if (a->failed_step >= 0) {
            return reason_of_step(a->steps[a->failed_step].fate);
        }
        return a->is_rejected ? BIT(REJECTED) : BIT(HANDLER);
    case SLUICE_VERDICT_DONE:
        return a->is_rejected ? BIT(REJECTED) : is_stored ? BIT(PUBLISH) : BIT(STORE);
    default:
        return 0;
    }
}

void sim_judge_reason(struct sim_world *w, const struct sim_attempt *a,
                      const struct sluice_event *ev, uint8_t failure)
{
    int is_overdue = ev->mono_ms >= a->delivered_ms + w->plan.engine.handler_timeout_ms;
    /* It waits for a call; or its answer has lost the race, and what won is being read. */
    int is_waiting =
        (a->has_verdict && a->verdict_kind == SLUICE_VERDICT_SUSPENDED) || a->was_outrun;
    uint32_t allowed = a->has_verdict ? reason_of_verdict(a) : 0;
    if (is_overdue && is_waiting) {
        allowed |= BIT(TIMEOUT);
    }
    w->judge.dead_reasons[a->sequence] |= 1u << failure;
    if (failure != SLUICE_FAILURE_KILLER && (allowed >> failure & 1u) == 0) { /* check_marks.c */
        sim_judge_fail(w, SIM_RULE_DEAD, "message %u is buried for %s, and has not failed by that",
                       a->sequence, sluice_failure_name((enum sluice_failure)failure));
    }
}
