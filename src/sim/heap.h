/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one simulated process: bump allocation with free lists, forgotten in one step when the
 * process is killed, and able to run out on demand. */
#ifndef SLUICE_SIM_HEAP_H
#define SLUICE_SIM_HEAP_H

#include "core/alloc.h"
#include "core/prng.h"
#include <stdint.h>

#define SIM_HEAP_CLASSES 32u

struct sim_heap {
    unsigned char *memory;
    size_t size, used;
    void *free[SIM_HEAP_CLASSES]; /* blocks of 2^i bytes */
    uint64_t live;                /* blocks in use */
    struct sluice_prng *rng;
    uint32_t failing_per_mille; /* of the allocations */
    uint64_t refusals;          /* allocations that have failed */
};

/* 0 on success. */
int sim_heap_init(struct sim_heap *heap);
void sim_heap_fini(struct sim_heap *heap);
/* Forget every allocation. */
void sim_heap_reset(struct sim_heap *heap);
struct sluice_allocator sim_heap_allocator(struct sim_heap *heap);

#endif
