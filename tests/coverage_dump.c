/* SPDX-License-Identifier: Apache-2.0 */
/* Linked into every program of tests/coverage's build: writes the counters again and again, because the end-to-end tests kill
 * processes, and who is killed tells nothing at its end. */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

void __gcov_dump(void);
void __gcov_reset(void);

static void *dump(void *arg)
{
    const struct timespec pause = {1, 0};
    for (;;) {
        (void)nanosleep(&pause, NULL);
        __gcov_dump();
        __gcov_reset();
    }
    return arg;
}

__attribute__((constructor)) static void begin(void)
{
    static pthread_t thread;
    sigset_t all, before; /* signals are for the program's own threads */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, dump, NULL) == 0) {
        (void)pthread_detach(thread);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}
