/* SPDX-License-Identifier: Apache-2.0 */
/* Draws for the simulator, all from one seeded stream, integers only. */
#ifndef SLUICE_SIM_RANDOM_H
#define SLUICE_SIM_RANDOM_H

#include "core/prng.h"

/* Below `bound` (at most 2^32), without a division; 0 when bound is 0. */
static inline uint32_t sim_below(struct sluice_prng *r, uint64_t bound)
{
    return (uint32_t)(((sluice_prng_next(r) >> 32) * bound) >> 32);
}

/* From low to high, both included. */
static inline int64_t sim_between(struct sluice_prng *r, int64_t low, int64_t high)
{
    return low >= high ? low : low + (int64_t)sim_below(r, (uint64_t)(high - low) + 1u);
}

/* 1 in `per_mille` of a thousand draws. */
static inline int sim_chance(struct sluice_prng *r, uint32_t per_mille)
{
    return sim_below(r, 1000) < per_mille;
}

/* One of the given numbers. */
#define SIM_PICK(r, ...)                                                                           \
    (((const int64_t[]){                                                                           \
        __VA_ARGS__})[sim_below((r), sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))])

/* A fixed scrambling of two numbers: identities and contents in the simulated world. */
static inline uint64_t sim_mix(uint64_t x, uint64_t y)
{
    uint64_t z = x * 0x9e3779b97f4a7c15u ^ (y + 0xd1b54a32d192ed03u);
    z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u;
    return z ^ (z >> 29);
}

#endif
