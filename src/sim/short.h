/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short pipelines, exhaustively: one message through one or two workers, each of its first requests
 * with every lot that its target knows, and the process killed just before and just after every
 * effect. What seeds draw by chance, this leaves to none.
 */
#ifndef SLUICE_SIM_SHORT_H
#define SLUICE_SIM_SHORT_H

#include "sim/sim.h"

/* X(name, text, workers, LLM steps, outputs, journal, server): the pipelines. One document each. */
#define SIM_SHORTS(X)                                                                              \
    X(ASK, "ask", 1, 1, 1, 1, 1)                 /* a paid step, a document, an output */          \
    X(ASK_OLD, "ask_old", 1, 1, 1, 1, 0)         /* the same on an older server */                 \
    X(TWO_WORKERS, "two_workers", 2, 1, 1, 1, 1) /* a redelivery may go to the other */            \
    X(ASK_TWICE, "ask_twice", 1, 2, 1, 1, 1)     /* a second step after the first */               \
    X(PLAIN, "plain", 1, 0, 2, 1, 1)             /* no step, two outputs */                        \
    X(NO_JOURNAL, "no_journal", 1, 1, 1, 0, 1)

enum sim_short_kind {
#define SIM_SHORT_ENUM(name, text, workers, steps, outputs, journal, recent) SIM_SHORT_##name,
    SIM_SHORTS(SIM_SHORT_ENUM)
#undef SIM_SHORT_ENUM
        SIM_SHORT_COUNT
};

const char *sim_short_name(enum sim_short_kind kind);

/* How far: all lots of the first `lots` requests; of the first `network` ones to the server of the
 * requests stream (pulls, settles), each with all lots of the first `lots_beside` others. With up
 * to `lots_killed` of them also one kill, with `lots_killed_twice` two. At most SIM_LOTS_MAX. */
struct sim_short_depth {
    uint32_t lots, lots_killed, lots_killed_twice, network, lots_beside;
};

struct sim_short_result {
    uint64_t runs, events, kills;
    uint16_t met[SIM_TARGET_COUNT]; /* bit set of the lots that were said to each target */
    struct sim_plan plan;           /* of the first run that broke a rule */
    struct sim_result broken;
};

/* All courses of one pipeline. 0 when a rule was broken: result->plan repeats it. */
int sim_short_run(struct sim_world *w, enum sim_short_kind kind,
                  const struct sim_short_depth *depth, struct sim_short_result *result);

#endif
