/* SPDX-License-Identifier: Apache-2.0 */
#include "port/clock.h"

#include <time.h>

#ifdef CLOCK_BOOTTIME
#define MONOTONIC CLOCK_BOOTTIME
#else
#define MONOTONIC CLOCK_MONOTONIC /* counts suspended time on macOS */
#endif

static int64_t read_ms(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t sluice_mono_ms(void)
{
    return read_ms(MONOTONIC);
}

int64_t sluice_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}
