/* SPDX-License-Identifier: Apache-2.0 */
/* Linked into a `sluice` of its own: SLUICE_FAILING="KINDS NTH ON FILE" makes its calls fail as
 * failing.h says; FILE then holds the name of the one that failed first and, behind a line feed,
 * how many there were.
 *
 * SLUICE_STARVING="KINDS ON FILE" does so while it runs: a SIGUSR2 with the value N has the Nth
 * call from then on fail, one with the value 0 ends that; FILE then holds a struct told. */
#include "failing.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void tell(void)
{
    (void)dprintf(failing_tell_fd, "\n%ld\n", failing_end());
}

struct told {
    int64_t wanted, calls; /* the signal's number; how many calls there were since the one before */
    char first[64];        /* which of them failed first; "" for none */
};

static int starving_kinds, starving_on, starving_fd = -1;

static void *starve(void *arg)
{
    sigset_t set;
    siginfo_t info;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    for (;;) {
        if (sigwaitinfo(&set, &info) != SIGUSR2) {
            continue;
        }
        struct told told = {.wanted = info.si_value.sival_int, .calls = failing_end()};
        (void)snprintf(told.first, sizeof told.first, "%s", failing_name());
        if (told.wanted > 0) {
            failing_begin((enum failing_kind)starving_kinds, (long)told.wanted, starving_on);
        }
        (void)!pwrite(starving_fd, &told, sizeof told, 0);
    }
    return NULL;
}

/* The signal is taken by a thread of its own, because the program blocks all of them. */
static void begin_starving(void)
{
    char path[4096];
    pthread_t thread;
    sigset_t set;
    const char *text = getenv("SLUICE_STARVING");
    if (text != NULL && sscanf(text, "%d %d %4095s", &starving_kinds, &starving_on, path) == 3) {
        starving_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
        (void)pthread_create(&thread, NULL, starve, NULL);
        failing_hook_cjson(1);
    }
}

__attribute__((constructor)) static void begin(void)
{
    int kinds, on;
    long nth;
    char path[4096];
    const char *text = getenv("SLUICE_FAILING");
    begin_starving();
    if (text != NULL && sscanf(text, "%d %ld %d %4095s", &kinds, &nth, &on, path) == 4) {
        failing_tell_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        (void)atexit(tell);
        failing_begin((enum failing_kind)kinds, nth, on);
    }
}
