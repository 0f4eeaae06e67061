/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_waits.h"

#define FIRST_MS 100 /* a restarted local server is found soon */
#define SHARE    8   /* of the time without a server; 10 s are reached after 80 s */

void sluice_nats_waits_begin(struct sluice_nats_waits *waits, int64_t most_ms,
                             uint32_t attempts_max, struct sluice_prng *prng, int64_t now_ms)
{
    *waits = (struct sluice_nats_waits){.most_ms = most_ms,
                                        .left_ms = most_ms * (int64_t)attempts_max,
                                        .since_ms = now_ms,
                                        .prng = prng};
}

int64_t sluice_nats_waits_next(struct sluice_nats_waits *waits, int64_t now_ms)
{
    if (waits->left_ms <= 0) {
        return 0;
    }
    int64_t wait_ms = (now_ms - waits->since_ms) / SHARE;
    wait_ms = wait_ms > FIRST_MS ? wait_ms : FIRST_MS;
    wait_ms = wait_ms < waits->most_ms ? wait_ms : waits->most_ms;
    wait_ms -= (int64_t)sluice_prng_below(waits->prng, (uint64_t)wait_ms / 4 + 1);
    waits->left_ms -= wait_ms;
    waits->attempts++;
    return wait_ms;
}

void sluice_nats_waits_shorten(struct sluice_nats_waits *waits, int64_t now_ms)
{
    waits->since_ms = now_ms;
}
