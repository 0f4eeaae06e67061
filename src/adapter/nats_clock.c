/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_clock.h"

#include <time.h>

int64_t sluice_nats_now_ms(void)
{
    struct timespec now;
#ifdef CLOCK_BOOTTIME
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
#else
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* counts suspended time on macOS */
#endif
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
