/* SPDX-License-Identifier: Apache-2.0 */
/* What the probe says on each of its paths. Shared by probe.c and probe_answers.c only. */
#ifndef SLUICE_RUN_PROBE_ANSWERS_H
#define SLUICE_RUN_PROBE_ANSWERS_H

#include "run/probe.h"
#include "run/probe_clients.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

struct sluice_probe {
    struct MHD_Daemon *daemon;
    int daemon_fd;                /* readable when there is something to do */
    int stop[2];                  /* a pipe whose writing end is closed to wake the thread */
    atomic_int is_stopping;       /* then the thread ends */
    pthread_t thread;             /* all of libmicrohttpd's callbacks are its */
    struct probe_clients clients; /* the thread's */
    int has_closed;               /* the thread's: a connection has ended in this run */
    struct sluice_probe_config config;
    uint16_t port;
    _Atomic int64_t last_seen_ms, loop_ms, started_ms;
    _Atomic int state;
    _Atomic(const char *) worker, version;
    /* A sequence lock: odd while the loop writes. Words are atomic, so a torn read is seen and
     * never undefined. */
    _Atomic uint32_t sequence;
    _Atomic uint64_t words[(sizeof(struct sluice_probe_snapshot) + 7) / 8];
};

struct probe_answer {
    unsigned status;
    const char *type;
    char body[64 * 1024];
    size_t len;
};

/* `accept` may be NULL. 0: no such path. The probe's thread. */
int probe_path_answer(const struct sluice_probe *p, const char *path, const char *accept,
                      struct probe_answer *a);

#endif
