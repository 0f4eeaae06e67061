/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervising thread tells the loop to do: drain, abort, stop. One order at a time. */
#ifndef SLUICE_RUN_ORDER_H
#define SLUICE_RUN_ORDER_H

#include "port/mailbox.h"
#include <stdatomic.h>
#include <stdint.h>

struct sluice_order {
    struct sluice_mail mail; /* first */
    _Atomic int kind;        /* 0: none waits */
    /* Loop thread; once for each order that was not replaced before. */
    void (*take)(void *ctx, int kind);
    void *ctx;
};

/* Give an order, `kind` above 0, and wait until the loop has taken it, at most so long. It takes
 * the place of one that was not taken. One thread gives orders; what it gives must live until the
 * mailbox is destroyed. */
void sluice_order_give(struct sluice_order *order, struct sluice_mailbox *port, int kind,
                       int64_t limit_ms);

#endif
