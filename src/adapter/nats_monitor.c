/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_monitor.h"

#include "port/clock.h"
#include <time.h>

int sluice_nats_monitor_init(struct sluice_nats_monitor *monitor)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return 0;
    }
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int is_made = pthread_cond_init(&monitor->changed, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    if (is_made && pthread_mutex_init(&monitor->lock, NULL) != 0) {
        pthread_cond_destroy(&monitor->changed);
        is_made = 0;
    }
    return is_made;
}

void sluice_nats_monitor_fini(struct sluice_nats_monitor *monitor)
{
    pthread_cond_destroy(&monitor->changed);
    pthread_mutex_destroy(&monitor->lock);
}

int sluice_nats_monitor_wait_until(struct sluice_nats_monitor *monitor, int64_t deadline_ms)
{
    int64_t left = deadline_ms - sluice_mono_ms();
    if (left <= 0) {
        return 0;
    }
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + left % 1000 * 1000000;
    at.tv_sec += (time_t)(left / 1000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    (void)pthread_cond_timedwait(&monitor->changed, &monitor->lock, &at);
    return 1;
}
