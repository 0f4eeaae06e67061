/* SPDX-License-Identifier: Apache-2.0 */
/* A failing run made smaller: what can be left out is left out. */
#include "sim/scenario.h"

#include <string.h>

#define RUNS_MAX 20000u
#define TRIES    24u /* courses of a smaller plan before it is given up */

struct shrinking {
    struct sim_world *w;
    struct sim_plan *plan; /* the smallest so far */
    struct sim_plan trial;
    enum sim_rule rule;
    uint32_t runs;
};

/* Keep the trial when it still fails the same way: 1. Whatever is left out changes all draws after
 * it, so several courses of the smaller plan are tried. */
static int keep(struct shrinking *s)
{
    uint32_t luck = s->trial.luck;
    for (uint32_t i = 0; i < TRIES && s->runs < RUNS_MAX; i++) {
        struct sim_result result;
        s->runs++;
        s->trial.luck = luck + i;
        sim_world_run_plan(s->w, &s->trial, &result);
        if (result.rule == (uint8_t)s->rule) {
            *s->plan = s->trial;
            return 1;
        }
    }
    return 0;
}

static struct sim_plan *try(struct shrinking *s)
{
    s->trial = *s->plan;
    return &s->trial;
}

/* Leave out runs of faults, long ones first. */
static int fewer_faults(struct shrinking *s)
{
    int is_smaller = 0;
    for (uint32_t length = s->plan->faults_count; length > 0; length /= 2) {
        for (uint32_t first = 0; first < s->plan->faults_count; first += length) {
            struct sim_plan *trial = try(s);
            uint32_t changed = 0;
            for (uint32_t i = first; i < first + length && i < trial->faults_count; i++) {
                changed += !trial->faults[i].is_off;
                trial->faults[i].is_off = 1;
            }
            is_smaller |= changed > 0 && keep(s);
        }
    }
    return is_smaller;
}

static int fewer_messages(struct shrinking *s)
{
    int is_smaller = 0;
    for (uint32_t length = s->plan->inputs_count; length > 0; length /= 2) {
        for (uint32_t first = 1; first <= s->plan->inputs_count; first += length) {
            struct sim_plan *trial = try(s);
            uint32_t changed = 0;
            for (uint32_t i = first; i < first + length && i <= trial->inputs_count; i++) {
                changed += !trial->is_skipped[i];
                trial->is_skipped[i] = 1;
            }
            is_smaller |= changed > 0 && keep(s);
        }
    }
    return is_smaller;
}

static int fewer_lots(struct shrinking *s)
{
    int is_smaller = 0;
    for (int target = 0; target < SIM_TARGET_COUNT; target++) {
        struct sim_plan *trial = try(s);
        if (trial->rates[target].sum > 0) {
            memset(trial->rates[target].rate, 0, sizeof trial->rates[target].rate);
            trial->rates[target].sum = 0;
            is_smaller |= keep(s);
        }
        for (int lot = SIM_LOT_SLOW; lot < SIM_LOT_COUNT; lot++) {
            trial = try(s);
            struct sim_rates *r = &trial->rates[target];
            if (r->rate[lot] > 0) {
                r->sum -= r->rate[lot];
                r->rate[lot] = 0;
                is_smaller |= keep(s);
            }
        }
    }
    return is_smaller;
}

/* Numbers that make a run plainer when they are 0. */
static int plainer(struct shrinking *s)
{
    static const size_t offsets[] = {
        offsetof(struct sim_plan, fails_always), offsetof(struct sim_plan, fails_sometimes),
        offsetof(struct sim_plan, rejects),      offsetof(struct sim_plan, poison),
        offsetof(struct sim_plan, skips),        offsetof(struct sim_plan, wavers),
        offsetof(struct sim_plan, refused_step), offsetof(struct sim_plan, replays),
        offsetof(struct sim_plan, bad_answers),  offsetof(struct sim_plan, link_ms),
    };
    int is_smaller = 0;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        uint32_t zero = 0, old;
        struct sim_plan *trial = try(s);
        memcpy(&old, (unsigned char *)trial + offsets[i], sizeof old);
        if (old != 0) {
            memcpy((unsigned char *)trial + offsets[i], &zero, sizeof zero);
            is_smaller |= keep(s);
        }
    }
    return is_smaller;
}

static int fewer_workers(struct shrinking *s)
{
    int is_smaller = 0;
    while (s->plan->workers_count > 1) {
        struct sim_plan *trial = try(s);
        trial->workers_count--;
        for (uint32_t i = 0; i < trial->faults_count; i++) {
            trial->faults[i].is_off |= trial->faults[i].worker >= trial->workers_count;
        }
        if (!keep(s)) {
            return is_smaller;
        }
        is_smaller = 1;
    }
    return is_smaller;
}

uint32_t sim_shrink(struct sim_world *w, struct sim_plan *plan, enum sim_rule rule)
{
    static _Thread_local struct shrinking s;
    s = (struct shrinking){.w = w, .plan = plan, .rule = rule};
    int is_smaller = 1;
    while (is_smaller && s.runs < RUNS_MAX) {
        is_smaller = fewer_workers(&s) | fewer_faults(&s) | fewer_messages(&s) | fewer_lots(&s) |
                     plainer(&s);
    }
    return s.runs;
}
