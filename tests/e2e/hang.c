/* SPDX-License-Identifier: Apache-2.0 */
/* A handler that never returns, or after HANG_MS; with HANG_IN_DESTROY the end does not return. */
#include <sluice/worker.h>

#include <stdlib.h>
#include <time.h>

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void hang_for(const char *ms)
{
    long long end = ms == NULL ? 0 : now_ms() + atoll(ms);
    while (ms == NULL || now_ms() < end) {
        struct timespec pause = {0, 10000000};
        (void)nanosleep(&pause, NULL);
    }
}

static sluice_rc hang(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const char *ms = getenv("HANG_MS");
    sluice_log(t, SLUICE_LOG_INFO, "hang.begins", "for %s ms", ms == NULL ? "all" : ms);
    hang_for(ms);
    return SLUICE_OK;
}

static void hang_at_the_end(void *self)
{
    (void)self;
    if (getenv("HANG_IN_DESTROY") != NULL) {
        hang_for(NULL);
    }
}

SLUICE_WORKER(.name = "hang", .version = "1.1", .require = SLUICE_REQUIRE_NONE, .on_message = hang,
              .destroy = hang_at_the_end);
