/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that ends the process when nobody else can: the watchdog on the loop, and the limit of a
 * shutdown. Also the last words of a process that crashes or exits in a handler. */
#ifndef SLUICE_RUN_WATCH_H
#define SLUICE_RUN_WATCH_H

#include "run/host.h"
#include "run/probe.h"
#include <pthread.h>
#include <signal.h>

enum sluice_watch_phase {
    SLUICE_WATCH_BOOT,  /* a signal ends the process: no message has been taken yet */
    SLUICE_WATCH_RUN,   /* signals are the main thread's */
    SLUICE_WATCH_END,   /* a signal, or the end of the time, ends the process */
    SLUICE_WATCH_CLOSE, /* the same, and there is no loop any more */
};

struct sluice_watch {
    struct sluice_probe *probe;
    const struct worker_host *host;
    int64_t limit_ms;
    pthread_mutex_t lock;
    _Atomic int phase;           /* changed under the lock */
    int64_t looked_ms, awake_ms; /* the last look; since when there were no gaps between looks */
    int64_t begun_ms, end_ms;    /* of the end */
    int code;
    int number; /* of the signal that the end began with; 0: none */
};

/* Start the thread, which lives as long as the process. Until sluice_watch_run() SIGTERM and SIGINT
 * end the process with exit code 0. Main thread, with these signals blocked. */
SLUICE_MUST_CHECK
int sluice_watch_start(struct sluice_watch *w);
/* On the thread that runs handlers, around all of them: its crash report has a stack of its own,
 * for the crash of which the handler's own recursion is the cause. `before` is the stack that it
 * had, which AddressSanitizer, whose it is, wants back at the thread's end. */
void sluice_watch_stack_take(stack_t *before);
void sluice_watch_stack_give_back(const stack_t *before);
/* The loop runs: from now on the process ends with exit code 5 when a handler has blocked it for
 * longer than the limit. Time in which the watchdog itself did not run, because the whole process
 * was frozen, does not count. Installs the crash report too. */
void sluice_watch_run(struct sluice_watch *w, struct sluice_probe *probe,
                      const struct worker_host *host, int64_t limit_ms);
/* The process ends: with this exit code at the next signal, or when it still lives after so long.
 * `number` is the signal that it ends for, 0: none. The same one within half a second is no second
 * wish: GNU timeout and others send it to the process and to its group. */
void sluice_watch_end(struct sluice_watch *w, int64_t within_ms, int code, int number);
/* The loop's thread has been joined; probe and host may be destroyed. */
void sluice_watch_close(struct sluice_watch *w);
/* Until unguard, exit() ends the process with exit code 6 and a line that says where; _exit() is
 * beyond it. Guards nest; main thread. 0: no memory. */
SLUICE_MUST_CHECK
int sluice_watch_guard(void);
void sluice_watch_unguard(void);

#endif
