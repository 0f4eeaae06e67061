/* SPDX-License-Identifier: Apache-2.0 */
#include "heap.h"

#include <stdlib.h>

static void *heap_resize(void *ctx, void *p, size_t size)
{
    struct heap *heap = ctx;
    if (size == 0) {
        heap->open -= p != NULL;
        free(p);
        return NULL;
    }
    if (heap->fail_after == 0) {
        heap->failed++;
        return NULL;
    }
    heap->fail_after -= heap->fail_after > 0;
    heap->open += p == NULL;
    return realloc(p, size);
}

void heap_init(struct heap *heap)
{
    *heap = (struct heap){.allocator = {.resize = heap_resize, .ctx = heap}, .fail_after = -1};
}
