/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as a readable file, and making a failing one smaller. */
#ifndef SLUICE_SIM_SCENARIO_H
#define SLUICE_SIM_SCENARIO_H

#include "core/err.h"
#include "sim/sim.h"
#include <stdio.h>

/* Write every number of the plan, one "name value" a line; zeros are left out. `note` becomes a
 * comment at the top. */
void sim_scenario_write(FILE *out, const struct sim_plan *plan, const char *note);
/* Read such a file. ERR_CONFIG names line and text of what is wrong; the numbers are checked
 * against the bounds of the world. */
sluice_rc sim_scenario_read(FILE *in, struct sim_plan *plan, struct sluice_err *err);

/* Take away faults, messages, workers and kinds of trouble as long as the run still breaks `rule`.
 * Returns how many runs were needed. */
uint32_t sim_shrink(struct sim_world *w, struct sim_plan *plan, enum sim_rule rule);

#endif
