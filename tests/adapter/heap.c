/* SPDX-License-Identifier: Apache-2.0 */
#include "heap.h"

#include <stdlib.h>

/* 0: this one fails. */
static int may_allocate(struct heap *heap)
{
    long left = heap->fail_after;
    while (left > 0 && !atomic_compare_exchange_weak(&heap->fail_after, &left, left - 1)) {
    }
    return left != 0;
}

static void *heap_resize(void *ctx, void *p, size_t size)
{
    struct heap *heap = ctx;
    if (size == 0) {
        heap->open -= p != NULL;
        free(p);
        return NULL;
    }
    if (!may_allocate(heap)) {
        heap->failed++;
        return NULL;
    }
    heap->open += p == NULL;
    return realloc(p, size);
}

void heap_init(struct heap *heap)
{
    heap->allocator = (struct sluice_allocator){.resize = heap_resize, .ctx = heap};
    atomic_init(&heap->fail_after, -1);
    atomic_init(&heap->failed, 0);
    atomic_init(&heap->open, 0);
}
