/* SPDX-License-Identifier: Apache-2.0 */
/* Bump memory of one message or one run: many small allocations, freed in one call. Running out is
 * sticky and checked once, at the end of a run. Not thread-safe. */
#ifndef SLUICE_CORE_ARENA_H
#define SLUICE_CORE_ARENA_H

#include "core/alloc.h"
#include "sluice/worker.h"
#include <stdint.h>

struct sluice_arena_chunk;

struct sluice_arena {
    const struct sluice_allocator *allocator;
    struct sluice_arena_chunk *chunks; /* newest first */
    size_t chunk_size;                 /* of the next chunk, grows */
    size_t expected;                   /* of the next chunk instead, once; 0: nothing is */
    size_t used;                       /* bytes handed out */
    size_t limit;                      /* bytes that may be handed out; 0: unlimited */
    int is_exhausted;                  /* sticky: an allocation failed */
    int is_over_limit;                 /* sticky: and not for want of memory */
};

void sluice_arena_init(struct sluice_arena *arena, const struct sluice_allocator *allocator,
                       size_t chunk_size, size_t limit);
/* So much is about to be used, as far as anybody knows: the next chunk, which is made when it is
 * needed, has room for it and no more. What comes beyond it goes on as begun. */
void sluice_arena_expect(struct sluice_arena *arena, size_t bytes);
/* Frees everything; the arena can be used again. */
void sluice_arena_fini(struct sluice_arena *arena);
/* Forget all allocations but keep the largest chunk for the next use; clears what is sticky. */
void sluice_arena_reset(struct sluice_arena *arena);
/* 16-byte aligned, zeroed. NULL when memory or the limit ran out or count × size overflows. */
void *sluice_arena_alloc(struct sluice_arena *arena, size_t count, size_t size);
/* A copy with a NUL behind it, so that it also serves as text. NULL as above. */
void *sluice_arena_copy(struct sluice_arena *arena, const void *data, size_t len);
char *sluice_arena_text(struct sluice_arena *arena, const char *text);

#endif
