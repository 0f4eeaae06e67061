/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that nobody needs any more, on their way back to cnats. It frees them on a thread of its
 * own, which it wakes whenever that thread is idle, and which then fights for the lock with whoever
 * gives back the next: one by one a tenth of the worker's CPU time, in lists of 64 still 8 %.
 */
#ifndef SLUICE_ADAPTER_NATS_SPENT_H
#define SLUICE_ADAPTER_NATS_SPENT_H

#include <nats/nats.h>
#include <stddef.h>
#include <stdint.h>

#define SLUICE_NATS_SPENT_MAX 128u /* messages given back at once: about 100 KB a connection */

/* One thread fills a list. All zero is an empty one. */
struct sluice_nats_spent {
    natsMsg *messages[SLUICE_NATS_SPENT_MAX];
    uint32_t count;
    size_t bytes;
};

/* `bytes` is about what the message holds. */
void sluice_nats_spent_add(struct sluice_nats_spent *spent, natsMsg *message, size_t bytes);
/* Give all back. */
void sluice_nats_spent_clear(struct sluice_nats_spent *spent);

#endif
