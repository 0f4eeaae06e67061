/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog on the loop, and the last words of a process that crashes or exits in a handler. */
#ifndef SLUICE_RUN_WATCH_H
#define SLUICE_RUN_WATCH_H

#include "run/host.h"
#include "run/probe.h"

struct sluice_watch {
    struct sluice_probe *probe;
    const struct worker_host *host;
    int64_t limit_ms;
    int64_t looked_ms, awake_ms; /* the last look; since when there were no gaps between looks */
};

/* Installs the crash report too. Main thread. */
void sluice_watch_open(struct sluice_watch *w, struct sluice_probe *probe,
                       const struct worker_host *host, int64_t limit_ms);
/* To be called several times a second. Ends the process with exit code 5 when a handler has blocked
 * the loop for longer than the limit. Time in which the watchdog itself did not run, because the
 * whole process was frozen, does not count. */
void sluice_watch_look(struct sluice_watch *w);
int sluice_watch_is_moving(const struct sluice_watch *w);
/* Until unguard, exit() ends the process with exit code 6 and a line that says where; _exit() is
 * beyond it. 0: no memory. Once a process. */
SLUICE_MUST_CHECK
int sluice_watch_guard(void);
void sluice_watch_unguard(void);

#endif
