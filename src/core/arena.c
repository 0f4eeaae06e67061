/* SPDX-License-Identifier: Apache-2.0 */
#include "core/arena.h"

#include <string.h>

#define ALIGNMENT 16u
#define CHUNK_SIZE_MAX                                                                             \
    (256u * 1024u) /* chunks double up to this; larger requests get a chunk of their own */

struct sluice_arena_chunk {
    struct sluice_arena_chunk *next;
    size_t size; /* of the data behind the header */
    size_t used;
    size_t padding; /* keeps the data aligned */
};

_Static_assert(sizeof(struct sluice_arena_chunk) % ALIGNMENT == 0, "chunk data must stay aligned");

static size_t whole(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void sluice_arena_init(struct sluice_arena *arena, const struct sluice_allocator *allocator,
                       size_t chunk_size, size_t limit)
{
    *arena = (struct sluice_arena){
        .allocator = allocator, .chunk_size = chunk_size < 256 ? 256 : chunk_size, .limit = limit};
}

void sluice_arena_expect(struct sluice_arena *arena, size_t bytes)
{
    arena->expected = bytes > CHUNK_SIZE_MAX ? CHUNK_SIZE_MAX : whole(bytes);
}

void sluice_arena_fini(struct sluice_arena *arena)
{
    struct sluice_arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct sluice_arena_chunk *next = chunk->next;
        sluice_mem_free(arena->allocator, chunk);
        chunk = next;
    }
    arena->chunks = NULL;
    arena->expected = 0;
    arena->used = 0;
    arena->is_exhausted = arena->is_over_limit = 0;
}

void sluice_arena_reset(struct sluice_arena *arena)
{
    struct sluice_arena_chunk *kept = NULL;
    struct sluice_arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct sluice_arena_chunk *next = chunk->next;
        if (kept == NULL || chunk->size > kept->size) {
            sluice_mem_free(arena->allocator, kept);
            kept = chunk;
        } else {
            sluice_mem_free(arena->allocator, chunk);
        }
        chunk = next;
    }
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
    }
    arena->chunks = kept;
    arena->used = 0;
    arena->is_exhausted = arena->is_over_limit = 0;
}

static struct sluice_arena_chunk *chunk_add(struct sluice_arena *arena, size_t need)
{
    size_t usual = arena->expected != 0 ? arena->expected : arena->chunk_size;
    size_t size = usual > need ? usual : need;
    if (size > SIZE_MAX - sizeof(struct sluice_arena_chunk)) {
        return NULL;
    }
    struct sluice_arena_chunk *chunk =
        arena->allocator->resize(arena->allocator->ctx, NULL, sizeof *chunk + size);
    if (chunk == NULL) {
        return NULL;
    }
    *chunk = (struct sluice_arena_chunk){.next = arena->chunks, .size = size};
    arena->chunks = chunk;
    if (arena->expected == 0 && arena->chunk_size < CHUNK_SIZE_MAX) {
        arena->chunk_size *= 2;
    }
    arena->expected = 0;
    return chunk;
}

static void *exhausted(struct sluice_arena *arena)
{
    arena->is_exhausted = 1;
    return NULL;
}

/* More than any limit. */
static void *overflowed(struct sluice_arena *arena)
{
    arena->is_over_limit |= arena->limit != 0;
    return exhausted(arena);
}

/* Aligned bytes, not zeroed. */
static void *take(struct sluice_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGNMENT) {
        return overflowed(arena);
    }
    size_t need = whole(bytes);
    if (need == 0) {
        need = ALIGNMENT;
    }
    if (arena->limit != 0 && (need > arena->limit || arena->used > arena->limit - need)) {
        arena->is_over_limit = 1;
        return exhausted(arena);
    }
    struct sluice_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < need) {
        chunk = chunk_add(arena, need);
        if (chunk == NULL) {
            return exhausted(arena);
        }
    }
    void *p = (char *)(chunk + 1) + chunk->used;
    chunk->used += need;
    arena->used += need;
    return p;
}

void *sluice_arena_alloc(struct sluice_arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return overflowed(arena);
    }
    void *p = take(arena, count * size);
    if (p != NULL) {
        memset(p, 0, count * size);
    }
    return p;
}

void *sluice_arena_copy(struct sluice_arena *arena, const void *data, size_t len)
{
    if (len == SIZE_MAX) {
        return overflowed(arena);
    }
    char *p = take(arena, len + 1);
    if (p != NULL) {
        if (len != 0) {
            memcpy(p, data, len);
        }
        p[len] = '\0';
    }
    return p;
}

char *sluice_arena_text(struct sluice_arena *arena, const char *text)
{
    return sluice_arena_copy(arena, text, strlen(text));
}
