/* SPDX-License-Identifier: Apache-2.0 */
/* The faults that strike at a time. */
#ifndef SLUICE_SIM_FAULTS_H
#define SLUICE_SIM_FAULTS_H

#include <stdint.h>

struct sim_world;

/* Put the plan's faults into the queue of future events. */
void sim_faults_arm(struct sim_world *w);
/* Fault `index` of the plan strikes now. */
void sim_faults_strike(struct sim_world *w, uint32_t index);
/* The faults are over: undo what would last. */
void sim_faults_heal(struct sim_world *w);

#endif
