/* SPDX-License-Identifier: Apache-2.0 */
/* The signal mask under which threads are made, by us or by a library: they inherit it; and the
 * signals that end the process. */
#ifndef SLUICE_PORT_SIGNALS_H
#define SLUICE_PORT_SIGNALS_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

/* Block all signals on this thread, since they are the main thread's business, but those that the
 * thread raises itself by what it does: a crash while they are blocked ends the process without the
 * crash report. `before`: what to restore, or NULL. */
static inline void sluice_signals_block(sigset_t *before)
{
    sigset_t set;
    (void)sigfillset(&set);
    (void)sigdelset(&set, SIGSEGV);
    (void)sigdelset(&set, SIGBUS);
    (void)sigdelset(&set, SIGABRT);
    (void)sigdelset(&set, SIGFPE);
    (void)sigdelset(&set, SIGILL);
    (void)pthread_sigmask(SIG_SETMASK, &set, before);
}

static inline void sluice_signals_restore(const sigset_t *before)
{
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Wait so long for SIGTERM or SIGINT, blocked on this thread. Its number; not above 0: none came.
 */
static inline int sluice_signals_wait(int64_t ms)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
    return sigtimedwait(&set, NULL, &limit);
}

#endif
