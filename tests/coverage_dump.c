/* SPDX-License-Identifier: Apache-2.0 */
/* Linked into every program of tests/coverage's build: while the file KILLED exists, it writes the counters again and again,
 * because the end-to-end tests kill processes, and who is killed tells nothing at its end. */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static pid_t writer; /* a forked child has no such thread */

static void *dump(void *arg)
{
    const struct timespec pause = {1, 0};
    for (;;) {
        (void)nanosleep(&pause, NULL);
        (void)pthread_mutex_lock(&writing);
        __gcov_dump();
        __gcov_reset();
        (void)pthread_mutex_unlock(&writing);
    }
    return arg;
}

__attribute__((constructor)) static void begin(void)
{
    static pthread_t thread;
    sigset_t all, before; /* signals are for the program's own threads, but for those of a crash */
    if (access(KILLED, F_OK) != 0) {
        return;
    }
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    sigfillset(&all);
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
        sigdelset(&all, crashes[i]);
    }
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, dump, NULL) == 0) {
        (void)pthread_detach(thread);
        writer = getpid();
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The last writing is the process's own, at its exit; this runs before it. */
__attribute__((destructor)) static void end(void)
{
    if (writer == getpid()) {
        (void)pthread_mutex_lock(&writing);
    }
}
