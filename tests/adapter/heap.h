/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's heap as an allocator whose n-th allocation can be made to fail. */
#ifndef SLUICE_TESTS_ADAPTER_HEAP_H
#define SLUICE_TESTS_ADAPTER_HEAP_H

#include "core/alloc.h"

struct heap {
    struct sluice_allocator allocator;
    long fail_after; /* allocations that still succeed; negative: all */
    long failed;     /* how many were refused */
    long open;       /* allocated and not freed */
};

void heap_init(struct heap *heap);

#endif
