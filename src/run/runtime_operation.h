/* SPDX-License-Identifier: Apache-2.0 */
/* A call of a port that will come back, from its begin to its end. For runtime*.c alone. */
#ifndef SLUICE_RUN_RUNTIME_OPERATION_H
#define SLUICE_RUN_RUNTIME_OPERATION_H

#include "run/runtime_state.h"

/* What is said of a call for which there was no memory. */
#define RUNTIME_STARVED "out of memory"

struct operation {
    struct operation *next;
    struct runtime *rt;
    struct inflight *m;
    uint32_t index; /* step or output */
};

/* NULL without memory. */
struct operation *runtime_operation_new(struct runtime *rt, struct inflight *m, uint32_t index);
/* There was no memory for the call: no answer will come, so the engine hears of it in the message's
 * turn. `op` may be NULL. */
void runtime_operation_refused(struct runtime *rt, struct inflight *m, struct operation *op);
/* The message of an ended operation; NULL when nobody waits for it any more. */
struct inflight *runtime_operation_end(struct operation *op);
/* The memory of those that ended. */
void runtime_operations_free(struct runtime *rt);

/* Whatever an adapter makes of it: without memory here nobody else is to blame. */
static inline enum sluice_fate runtime_fate_of(enum sluice_fate fate, sluice_rc rc)
{
    return rc == SLUICE_ERR_NOMEM ? SLUICE_FATE_NO_MEMORY : fate;
}

#endif
