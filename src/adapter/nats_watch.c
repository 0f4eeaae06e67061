/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_watch.h"

#include "port/clock.h"
#include <stdio.h>

/* With the timeout and the misses: a frozen server is left within 6 s. */
#define PING_INTERVAL_MS 2000
#define PINGS_MISSED_MAX 2u

/* A ping and its answer, which the loop reads. How many of them in a row were met with silence. One
 * that failed at once, because the connection was closed, or while the loop stood still says
 * nothing about the server; anything that came meanwhile is a sign of life: behind a narrow link
 * the answer waits for all that was sent before it. The lock is held. */
static uint32_t ping(struct sluice_nats_conn *conn, const struct sluice_nats_pump *pump,
                     uint32_t missed)
{
    pthread_mutex_unlock(&conn->monitor->lock);
    int64_t end_ms = sluice_mono_ms() + SLUICE_NATS_PING_TIMEOUT_MS;
    uint64_t turns = sluice_nats_pump_turns(pump);
    uint64_t reads = sluice_nats_socket_reads(conn->socket);
    int is_answered = sluice_nats_conn_flush(conn, SLUICE_NATS_PING_TIMEOUT_MS);
    int is_silent = !is_answered && sluice_nats_socket_reads(conn->socket) == reads &&
                    sluice_mono_ms() >= end_ms - 1; /* cnats counts by another clock */
    int has_turned = sluice_nats_pump_turns(pump) > turns;
    pthread_mutex_lock(&conn->monitor->lock);
    return is_silent ? missed + (has_turned ? 1 : 0) : 0;
}

static int is_over(const struct sluice_nats_conn *conn, const int *must_stop)
{
    return conn->is_closed || conn->must_close || *must_stop;
}

/* The lock is held. */
static void watch_by_pings(struct sluice_nats_conn *conn, const struct sluice_nats_pump *pump,
                           const int *must_stop)
{
    uint32_t missed = 0;
    while (!is_over(conn, must_stop)) {
        int64_t next_ms = sluice_mono_ms() + (missed == 0 ? PING_INTERVAL_MS : 0);
        while (!is_over(conn, must_stop) &&
               sluice_nats_monitor_wait_until(conn->monitor, next_ms)) {
        }
        missed = is_over(conn, must_stop) || !conn->is_up ? 0 : ping(conn, pump, missed);
        if (missed == PINGS_MISSED_MAX && !is_over(conn, must_stop)) {
            (void)snprintf(conn->why, sizeof conn->why, "the server answers no ping");
            conn->must_close = 1;
        }
    }
}

void sluice_nats_watch(struct sluice_nats_conn *conn, const struct sluice_nats_pump *pump,
                       const int *must_stop)
{
    if (conn->socket != NULL) {
        watch_by_pings(conn, pump, must_stop);
    }
    while (!is_over(conn, must_stop)) {
        pthread_cond_wait(&conn->monitor->changed, &conn->monitor->lock);
    }
}
