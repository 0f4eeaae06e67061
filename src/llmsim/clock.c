/* SPDX-License-Identifier: Apache-2.0 */
/* The time, in a file of its own: a test can put another clock in its place. */
#include "llmsim/call.h"

#include <time.h>

int64_t llmsim_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
