/* SPDX-License-Identifier: Apache-2.0 */
/* What the handler of the simulated worker does with one message: derived from the seed, the
 * message's identity and the worker's version, so that each run and each delivery asks for the
 * same. */
#ifndef SLUICE_SIM_SCRIPT_H
#define SLUICE_SIM_SCRIPT_H

#include "sim/plan.h"

#define SIM_STEPS_MAX     16u
#define SIM_GROUPS_MAX    5u
#define SIM_OUTPUTS_MAX   8u
#define SIM_DOCUMENTS_MAX 3u
#define SIM_VERSIONS      2u

#define SIM_SCRIPT_KINDS(X)                                                                        \
    X(PLAIN, "plain")                                                                              \
    X(FAILS_ALWAYS, "fails_always")       /* an error of its own after its steps */                \
    X(FAILS_SOMETIMES, "fails_sometimes") /* likewise, but not each time */                        \
    X(REJECTS, "rejects")                 /* SLUICE_REJECT after its steps */                      \
    X(UNREADABLE, "unreadable")           /* the body cannot be decoded: rejected before a step */ \
    X(SKIPS, "skips")                     /* returns OK without a required step */                 \
    X(WAVERS, "wavers")                   /* asks for something else when it runs again */         \
    X(POISON, "poison")                   /* kills the process at its first run */                 \
    X(POISON_LATE, "poison_late")         /* kills the process when it has all answers */

enum sim_script_kind {
#define SIM_SCRIPT_ENUM(name, text) SIM_SCRIPT_##name,
    SIM_SCRIPT_KINDS(SIM_SCRIPT_ENUM)
#undef SIM_SCRIPT_ENUM
        SIM_SCRIPT_KIND_COUNT
};

/* What a handler does when a step of a group failed. */
enum sim_reaction { SIM_REACT_PASS_ON, SIM_REACT_OWN_ERROR, SIM_REACT_IGNORE };

struct sim_script_step {
    uint64_t hash;
    uint8_t dependency; /* SLUICE_DEP_… */
    uint8_t is_paid;
    uint8_t is_chained; /* its request contains the earlier answers */
    uint8_t is_refused; /* the other side will never accept this request */
};

struct sim_script {
    uint8_t is_made;
    uint8_t kind; /* enum sim_script_kind */
    uint8_t groups_count, steps_count, documents_count, outputs_count;
    uint8_t group_size[SIM_GROUPS_MAX];    /* steps started together */
    uint8_t reaction[SIM_GROUPS_MAX];      /* enum sim_reaction */
    uint8_t awaits_singly[SIM_GROUPS_MAX]; /* one after the other instead of all */
    struct sim_script_step steps[SIM_STEPS_MAX];
    uint64_t outputs[SIM_OUTPUTS_MAX]; /* ids, hashed */
};

/* Write the script of message identity `key` for a worker of `version`. */
void sim_script_make(struct sim_script *script, const struct sim_plan *plan, uint32_t key,
                     uint32_t version);

/* Will this message end as a dead letter at the latest, whatever the world does? */
int sim_script_is_hopeless(const struct sim_script *script);
int sim_script_is_poison(const struct sim_script *script);
const char *sim_script_kind_name(enum sim_script_kind kind);

#endif
