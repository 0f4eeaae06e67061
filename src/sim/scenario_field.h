/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a plan by name, as scenarios have them. Private to scenario.c and scenario_read.c.
 */
#ifndef SLUICE_SIM_SCENARIO_FIELD_H
#define SLUICE_SIM_SCENARIO_FIELD_H

#include "sim/plan.h"
#include <stddef.h>

#define SIM_SCENARIO_TIME_MAX INT64_C(1000000000)
#define SIM_RATES_WHOLE       65536u /* all of a target's requests */

/* One number of the plan: where it is, how wide, and what it may be. */
struct sim_field {
    const char *name;
    size_t offset;
    size_t size;
    int64_t min, max;
};

extern const struct sim_field sim_fields[];
extern const size_t sim_fields_count;
#define SIM_FIELDS_MAX 64u

uint64_t sim_field_get(const struct sim_plan *plan, const struct sim_field *f);
void sim_field_set(struct sim_plan *plan, const struct sim_field *f, uint64_t value);

#endif
