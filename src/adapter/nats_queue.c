/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_queue.h"

#include <stdlib.h>

#define FIRST_SIZE 64u
#define SIZE_LIMIT (UINT32_C(1) << 30)

static int grow(struct sluice_nats_queue *queue)
{
    uint32_t size = queue->size == 0 ? FIRST_SIZE : queue->size * 2;
    uint64_t *items = size > SIZE_LIMIT ? NULL : malloc(size * sizeof items[0]);
    if (items == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        items[i] = queue->items[(queue->first + i) & (queue->size - 1)];
    }
    free(queue->items);
    queue->items = items;
    queue->first = 0;
    queue->size = size;
    return 1;
}

int sluice_nats_queue_push(struct sluice_nats_queue *queue, uint64_t item)
{
    if (queue->count == queue->size && !grow(queue)) {
        return 0;
    }
    queue->items[(queue->first + queue->count++) & (queue->size - 1)] = item;
    return 1;
}

int sluice_nats_queue_pop(struct sluice_nats_queue *queue, uint64_t *item)
{
    if (queue->count == 0) {
        return 0;
    }
    *item = queue->items[queue->first];
    queue->first = (queue->first + 1) & (queue->size - 1);
    queue->count--;
    return 1;
}

void sluice_nats_queue_fini(struct sluice_nats_queue *queue)
{
    free(queue->items);
    *queue = (struct sluice_nats_queue){0};
}
