/* SPDX-License-Identifier: Apache-2.0 */
#include "run/heap.h"

#include <stdlib.h>

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, size);
}

const struct sluice_allocator sluice_heap = {.resize = resize};
