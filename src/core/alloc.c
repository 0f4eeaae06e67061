/* SPDX-License-Identifier: Apache-2.0 */
#include "core/alloc.h"

#include <stdint.h>
#include <string.h>

void *sluice_mem_alloc(const struct sluice_allocator *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    size_t total = count * size;
    void *p = a->resize(a->ctx, NULL, total == 0 ? 1 : total);
    if (p != NULL) {
        memset(p, 0, total);
    }
    return p;
}

void sluice_mem_free(const struct sluice_allocator *a, void *p)
{
    if (p != NULL) {
        (void)a->resize(a->ctx, p, 0);
    }
}
