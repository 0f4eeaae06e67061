/* SPDX-License-Identifier: Apache-2.0 */
/* Running simulated worlds: one seed, or many. */
#ifndef SLUICE_SIM_SIM_H
#define SLUICE_SIM_SIM_H

#include "sim/world.h"

/* What came of one seed. */
struct sim_result {
    uint64_t hash;  /* of everything that went in and out of the engines */
    uint8_t rule;   /* enum sim_rule; SIM_RULE_NONE: all is well */
    int64_t end_ms; /* world time at the end */
    char text[240]; /* what is wrong */
    struct sim_totals totals;
};

/* Memory for one world, used again for each seed. NULL without memory. Not thread-safe: one per
 * thread. */
struct sim_world *sim_world_create(void);
void sim_world_destroy(struct sim_world *w); /* accepts NULL */

/* Run the world of (seed, profile) to its end or its first violation. */
void sim_world_run(struct sim_world *w, uint64_t seed, enum sim_profile profile,
                   struct sim_result *result);
/* The same with a plan that was drawn and then changed. */
void sim_world_run_plan(struct sim_world *w, const struct sim_plan *plan,
                        struct sim_result *result);

void sim_totals_add(struct sim_totals *sum, const struct sim_totals *more);

#endif
