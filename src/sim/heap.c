/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/heap.h"

#include "sim/random.h"
#include <stdlib.h>
#include <string.h>

#define HEAP_SIZE  ((size_t)64u << 20)
#define SPOILED    128u /* bytes of a freed block */
#define BLOCK_HEAD 16u  /* holds the block's class; keeps what follows aligned */

int sim_heap_init(struct sim_heap *heap)
{
    *heap = (struct sim_heap){0};
    heap->memory = malloc(HEAP_SIZE); /* touched only as far as it is used */
    heap->size = HEAP_SIZE;
    return heap->memory == NULL ? -1 : 0;
}

void sim_heap_fini(struct sim_heap *heap)
{
    free(heap->memory);
    *heap = (struct sim_heap){0};
}

void sim_heap_reset(struct sim_heap *heap)
{
    heap->used = 0;
    heap->live = 0;
    heap->failing_per_mille = 0;
    heap->refusals = 0;
    memset(heap->free, 0, sizeof heap->free);
}

static unsigned class_of(size_t size)
{
    unsigned class = 4;
    while (class < SIM_HEAP_CLASSES - 1u && ((size_t)1 << class) < size) {
        class ++;
    }
    return class;
}

static void give_back(struct sim_heap *heap, void *p)
{
    unsigned char *head = (unsigned char *)p - BLOCK_HEAD;
    unsigned class = head[0];
    size_t size = (size_t)1 << class;
    memset(p, 0xdd, size < SPOILED ? size : SPOILED); /* who still reads it, shall see it */
    memcpy(p, &heap->free[class], sizeof(void *));
    heap->free[class] = p;
    heap->live--;
}

static void *take(struct sim_heap *heap, size_t size)
{
    if (heap->failing_per_mille > 0 && sim_chance(heap->rng, heap->failing_per_mille)) {
        return NULL;
    }
    unsigned class = class_of(size);
    void *p = heap->free[class];
    if (p != NULL) {
        memcpy(&heap->free[class], p, sizeof(void *));
        heap->live++;
        return p;
    }
    size_t whole = ((size_t)1 << class) + BLOCK_HEAD;
    if (whole > heap->size - heap->used) {
        return NULL;
    }
    unsigned char *head = heap->memory + heap->used;
    heap->used += whole;
    head[0] = (unsigned char)class;
    heap->live++;
    return head + BLOCK_HEAD;
}

static void *resize(void *ctx, void *p, size_t size)
{
    struct sim_heap *heap = ctx;
    if (size == 0) {
        if (p != NULL) {
            give_back(heap, p);
        }
        return NULL;
    }
    size_t old_size = p == NULL ? 0 : (size_t)1 << ((unsigned char *)p - BLOCK_HEAD)[0];
    if (p != NULL && size <= old_size) {
        return p;
    }
    void *fresh = take(heap, size);
    heap->refusals += fresh == NULL;
    if (fresh != NULL && p != NULL) {
        memcpy(fresh, p, old_size);
        give_back(heap, p);
    }
    return fresh;
}

struct sluice_allocator sim_heap_allocator(struct sim_heap *heap)
{
    return (struct sluice_allocator){.resize = resize, .ctx = heap};
}
