/* SPDX-License-Identifier: Apache-2.0 */
#include "core/retry.h"

int64_t sluice_retry_delay_ms(int64_t base_ms, int64_t max_ms, uint32_t failures,
                              struct sluice_prng *prng)
{
    int64_t delay = base_ms < max_ms ? base_ms : max_ms;
    for (uint32_t i = 1; i < failures && delay < max_ms; i++) {
        delay = delay > max_ms / 2 ? max_ms : delay * 2;
    }
    if (delay <= 1) {
        return delay < 0 ? 0 : delay;
    }
    int64_t half = delay / 2;
    return delay - (int64_t)sluice_prng_below(prng, (uint64_t)half + 1);
}
