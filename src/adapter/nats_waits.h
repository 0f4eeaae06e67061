/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before each attempt to reconnect. A wait is an eighth of the time that no server
 * has been found, at most the configured one: what was away for a moment is found at once, and
 * nobody waits much longer than he already had to. An attempt counts for the share that its wait
 * has of the configured one, so that `attempts_max` of them last as long as the two settings say,
 * however short the first waits are.
 */
#ifndef SLUICE_ADAPTER_NATS_WAITS_H
#define SLUICE_ADAPTER_NATS_WAITS_H

#include "core/prng.h"
#include <stdint.h>

struct sluice_nats_waits {
    int64_t most_ms;  /* the configured wait */
    int64_t left_ms;  /* of all waits together */
    int64_t since_ms; /* no server has been found */
    uint32_t attempts;
    struct sluice_prng *prng; /* borrowed */
};

/* The connection was lost now. Times are of the monotonic clock. */
void sluice_nats_waits_begin(struct sluice_nats_waits *waits, int64_t most_ms,
                             uint32_t attempts_max, struct sluice_prng *prng, int64_t now_ms);
/* The wait before the next attempt, up to a quarter shorter by chance; 0: all attempts are used up.
 */
int64_t sluice_nats_waits_next(struct sluice_nats_waits *waits, int64_t now_ms);
/* Somebody else has found a server: the next waits are short again. */
void sluice_nats_waits_shorten(struct sluice_nats_waits *waits, int64_t now_ms);

#endif
