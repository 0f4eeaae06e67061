/* SPDX-License-Identifier: Apache-2.0 */
/* How much a foreign message may ask of us, in every encoding. */
#ifndef SLUICE_CODEC_LIMITS_H
#define SLUICE_CODEC_LIMITS_H

#include "core/arena.h"
#include "core/err.h"
#include <stddef.h>
#include <stdint.h>

#define SLUICE_MESSAGE_SIZE_MAX   (8u * 1024u * 1024u)  /* encoded bytes */
#define SLUICE_MESSAGE_MEMORY_MAX (32u * 1024u * 1024u) /* decoded bytes */
#define SLUICE_MESSAGE_FIELDS_MAX 100000u /* values: each occurrence, each element of a list */
#define SLUICE_MESSAGE_DEPTH_MAX  16u     /* messages inside messages; the outermost is 1 */
#define SLUICE_JSON_DEPTH_MAX     32u     /* objects and arrays inside each other */

/* A zero member means the constant above. Where a limits argument is NULL, all of them do. */
struct sluice_limits {
    size_t size_max;
    size_t memory_max; /* bites long before the arena's own limit should */
    uint32_t fields_max;
    uint32_t depth_max; /* may lower the limit, not raise it: it bounds the C stack */
};

static inline struct sluice_limits sluice_limits_fill(const struct sluice_limits *limits)
{
    struct sluice_limits full = {0};
    if (limits != NULL) {
        full = *limits;
    }
    if (full.size_max == 0) {
        full.size_max = SLUICE_MESSAGE_SIZE_MAX;
    }
    if (full.memory_max == 0) {
        full.memory_max = SLUICE_MESSAGE_MEMORY_MAX;
    }
    if (full.fields_max == 0) {
        full.fields_max = SLUICE_MESSAGE_FIELDS_MAX;
    }
    if (full.depth_max == 0 || full.depth_max > SLUICE_MESSAGE_DEPTH_MAX) {
        full.depth_max = SLUICE_MESSAGE_DEPTH_MAX;
    }
    return full;
}

/* A part of an arena: tells a message that is too large from a machine that is out of memory. */
struct sluice_budget {
    struct sluice_arena *arena;
    size_t left;
    int is_over; /* sticky: the message asked for more than its part */
};

static inline struct sluice_budget sluice_budget_of(struct sluice_arena *arena, size_t memory_max)
{
    return (struct sluice_budget){.arena = arena, .left = memory_max};
}

/* Zeroed and aligned; NULL when the budget, the arena or the machine is exhausted. */
static inline void *sluice_budget_alloc(struct sluice_budget *budget, size_t size)
{
    struct sluice_arena *arena = budget->arena;
    if (size > budget->left ||
        (arena->limit != 0 && (size > arena->limit || arena->used > arena->limit - size))) {
        budget->is_over = 1;
        return NULL;
    }
    budget->left -= size;
    return sluice_arena_alloc(arena, 1, size);
}

/* Why an allocation failed: SLUICE_ERR_TOO_LARGE or SLUICE_ERR_NOMEM. */
static inline sluice_rc sluice_budget_fail(const struct sluice_budget *budget,
                                           struct sluice_err *err)
{
    if (budget->is_over) {
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE,
                              "message needs more memory than it may have");
    }
    return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
}

#endif
