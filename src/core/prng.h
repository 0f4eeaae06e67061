/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded random numbers (splitmix64), the same on every machine. Not for secrets. */
#ifndef SLUICE_CORE_PRNG_H
#define SLUICE_CORE_PRNG_H

#include <stdint.h>

struct sluice_prng {
    uint64_t state;
};

static inline uint64_t sluice_prng_next(struct sluice_prng *prng)
{
    uint64_t z = (prng->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number below `bound`; 0 when bound is 0. The bias of the remainder is below 2^-32 for the
 * bounds used here. */
static inline uint64_t sluice_prng_below(struct sluice_prng *prng, uint64_t bound)
{
    return bound == 0 ? 0 : sluice_prng_next(prng) % bound;
}

#endif
