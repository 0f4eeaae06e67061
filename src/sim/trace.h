/* SPDX-License-Identifier: Apache-2.0 */
/* What happened in a run: always as a hash, that two runs can be compared; on demand as text. */
#ifndef SLUICE_SIM_TRACE_H
#define SLUICE_SIM_TRACE_H

#include "core/engine.h"
#include <stdint.h>
#include <stdio.h>

#define SIM_TRACE_LINE 200u

struct sim_trace {
    uint64_t hash;
    FILE *out;                     /* every line is written here; NULL: nowhere */
    char (*ring)[SIM_TRACE_LINE];  /* the last ring_size lines; NULL: none */
    uint32_t ring_size, ring_next; /* lines so far, modulo the size for the place */
};

struct sim_world;
struct sim_process;

void sim_trace_event(struct sim_world *w, const struct sim_process *p,
                     const struct sluice_event *ev);
void sim_trace_effect(struct sim_world *w, const struct sim_process *p,
                      const struct sluice_effect *fx);
/* The plan of the run, at its start. */
void sim_trace_plan(struct sim_world *w);
/* A remark about the world. Not part of the hash. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void sim_trace_text(struct sim_world *w, const char *format, ...);

#endif
