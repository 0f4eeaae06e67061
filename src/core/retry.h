/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before the next try. Integer milliseconds only. */
#ifndef SLUICE_CORE_RETRY_H
#define SLUICE_CORE_RETRY_H

#include "core/prng.h"
#include <stdint.h>

/* Half of min(base × 2^(failures−1), max) plus up to that much again at random: delays grow with
 * each failure and neighbours do not come back together. failures 0 counts as 1. Never 0 for base >
 * 0, never above max. */
int64_t sluice_retry_delay_ms(int64_t base_ms, int64_t max_ms, uint32_t failures,
                              struct sluice_prng *prng);

#endif
