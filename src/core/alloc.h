/* SPDX-License-Identifier: Apache-2.0 */
/* Where memory comes from. Long-lived allocations of core, codec and adapters go through this, so
 * tests can fail the n-th one; core itself never calls malloc. */
#ifndef SLUICE_CORE_ALLOC_H
#define SLUICE_CORE_ALLOC_H

#include <stddef.h>

struct sluice_allocator {
    /* As realloc(p, size); size 0 frees and returns NULL; NULL on failure leaves p as it was. The
     * memory is not zeroed. */
    void *(*resize)(void *ctx, void *p, size_t size);
    void *ctx;
};

/* Zeroed memory for count × size bytes; NULL on overflow or exhaustion. */
void *sluice_mem_alloc(const struct sluice_allocator *a, size_t count, size_t size);
void sluice_mem_free(const struct sluice_allocator *a, void *p); /* accepts NULL */

#endif
