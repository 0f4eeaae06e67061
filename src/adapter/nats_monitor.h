/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of a link and its connections, or of a connection alone, and the one condition that is
 * waited for under it: that something has changed. */
#ifndef SLUICE_ADAPTER_NATS_MONITOR_H
#define SLUICE_ADAPTER_NATS_MONITOR_H

#include <pthread.h>
#include <stdint.h>

/* For cnats to end a connection: write deadline (5 s) and callbacks. */
#define SLUICE_NATS_LET_GO_TIMEOUT_MS 15000

struct sluice_nats_monitor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* 0: it cannot be made. */
int sluice_nats_monitor_init(struct sluice_nats_monitor *monitor);
void sluice_nats_monitor_fini(struct sluice_nats_monitor *monitor);

/* Wait for a change, at most until `deadline_ms` (of port/clock.h); 0 when it has passed. The lock
 * is held. */
int sluice_nats_monitor_wait_until(struct sluice_nats_monitor *monitor, int64_t deadline_ms);

#endif
