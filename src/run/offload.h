/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of the plug-in on libuv's threads. Nobody can stop one: what outlives its message goes
 * on with memory of its own, and nobody hears of its end. For runtime*.c alone; loop thread. */
#ifndef SLUICE_RUN_OFFLOAD_H
#define SLUICE_RUN_OFFLOAD_H

#include "run/runtime_operation.h"

/* Of the operation's step. SLUICE_ERR_NOMEM: not started. */
sluice_rc offload_start(struct runtime *rt, struct operation *op);
/* The message is released: what it has started is nobody's now. When that holds all threads, so
 * that no other message's function will ever run, the process ends with SLUICE_EXIT_WATCHDOG, as it
 * does for a handler that never returns. */
void offloads_leave(struct runtime *rt, const struct inflight *m);

#endif
