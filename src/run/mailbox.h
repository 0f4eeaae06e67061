/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's mailbox: other threads post, the loop thread delivers. The libuv implementation of
 * port/mailbox.h. */
#ifndef SLUICE_RUN_MAILBOX_H
#define SLUICE_RUN_MAILBOX_H

#include "core/alloc.h"
#include "core/err.h"
#include "port/mailbox.h"
#include <uv.h>

struct sluice_loop_mailbox;

/* Create the mailbox of a loop. Loop thread, or before the loop runs. The allocator is borrowed
 * until the mailbox's memory is gone. The mailbox keeps the loop alive until destroy. Fails with
 * ERR_NOMEM or ERR_INTERNAL (no descriptor). */
SLUICE_MUST_CHECK
sluice_rc sluice_loop_mailbox_create(uv_loop_t *loop, const struct sluice_allocator *allocator,
                                     struct sluice_loop_mailbox **out, struct sluice_err *err);

/* What adapters get. Valid until destroy. Its post() may be called from any thread, also from a
 * deliver(): such a node is delivered in the next round. */
struct sluice_mailbox *sluice_loop_mailbox_port(struct sluice_loop_mailbox *mailbox);

/* Loop thread: deliver what has been posted so far without waiting for the loop's next turn, until
 * nothing is left. For shutting down. Returns how many nodes were delivered. */
size_t sluice_loop_mailbox_drain(struct sluice_loop_mailbox *mailbox);

/* Loop thread, when no thread will post any more: deliver what is left, then close. The memory is
 * given back when the loop has run its close callbacks. Accepts NULL. */
void sluice_loop_mailbox_destroy(struct sluice_loop_mailbox *mailbox);

#endif
