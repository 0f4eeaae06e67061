/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of numbers that grows. */
#ifndef SLUICE_ADAPTER_NATS_QUEUE_H
#define SLUICE_ADAPTER_NATS_QUEUE_H

#include <stdint.h>

/* Zeroed: empty. */
struct sluice_nats_queue {
    uint64_t *items;
    uint32_t first, count, size; /* size: a power of two, or 0 */
};

int sluice_nats_queue_push(struct sluice_nats_queue *queue, uint64_t item); /* 0: no memory */
int sluice_nats_queue_pop(struct sluice_nats_queue *queue, uint64_t *item); /* 0: empty */
void sluice_nats_queue_fini(struct sluice_nats_queue *queue);

#endif
