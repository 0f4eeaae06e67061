/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's heap as an allocator, for several threads, whose n-th allocation can be made to
 * fail. */
#ifndef SLUICE_TESTS_ADAPTER_HEAP_H
#define SLUICE_TESTS_ADAPTER_HEAP_H

#include "core/alloc.h"
#include <stdatomic.h>

struct heap {
    struct sluice_allocator allocator;
    atomic_long fail_after; /* allocations that still succeed; negative: all */
    atomic_long failed;     /* how many were refused */
    atomic_long open;       /* allocated and not freed */
};

void heap_init(struct heap *heap);

#endif
