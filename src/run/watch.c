/* SPDX-License-Identifier: Apache-2.0 */
#include "run/watch.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define GAP_MS 1000 /* between two looks: the process was frozen */

static _Atomic(const struct worker_host *) watched; /* for the signal handler */

/* Only write(2) and memory: this runs in a signal handler. */
static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static void say_number(uint64_t value)
{
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    say(digits + at);
}

static void say_where(const struct worker_host *host)
{
    say(" worker=");
    say(host->plugin->worker.name);
    say(" seq=");
    say_number(host->running_sequence);
    const char *step = host->running_step;
    say(" step=");
    say(step == NULL || host->running_sequence == 0 ? "none" : step);
    say("\n");
}

static void on_crash(int number)
{
    say("sluice: crash: signal ");
    say_number((uint64_t)number);
    const struct worker_host *host = watched;
    if (host != NULL && host->running_sequence != 0) {
        say(" in the handler;");
        say_where(host);
    } else {
        say(" outside a handler\n");
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* ---- exit() in a plug-in ---- */

static _Atomic(pid_t) guarded; /* 0: the process may end with whatever code it likes */

/* Nothing of ours calls exit() before the worker has ended, so it is the plug-in. A child that it
 * forked may end as it likes. */
static void on_exit_called(void)
{
    if (atomic_load(&guarded) != getpid()) {
        return;
    }
    say("sluice: exit() was called while the worker ran;");
    const struct worker_host *host = watched;
    if (host != NULL) {
        say_where(host);
    } else {
        say(" before it took messages\n");
    }
    _exit(SLUICE_EXIT_CALLED);
}

int sluice_watch_guard(void)
{
    atomic_store(&guarded, getpid());
    return atexit(on_exit_called) == 0;
}

void sluice_watch_unguard(void)
{
    atomic_store(&guarded, 0);
}

/* ---- The watchdog ---- */

void sluice_watch_open(struct sluice_watch *w, struct sluice_probe *probe,
                       const struct worker_host *host, int64_t limit_ms)
{
    *w = (struct sluice_watch){.probe = probe, .host = host, .limit_ms = limit_ms};
    watched = host;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_crash;
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
}

int sluice_watch_is_moving(const struct sluice_watch *w)
{
    return sluice_probe_loop_age_ms(w->probe) < w->limit_ms;
}

void sluice_watch_look(struct sluice_watch *w)
{
    int64_t now = sluice_mono_ms();
    if (now - w->looked_ms > GAP_MS) {
        w->awake_ms = now;
    }
    w->looked_ms = now;
    if (sluice_watch_is_moving(w) || now - w->awake_ms < w->limit_ms) {
        return;
    }
    say("sluice: watchdog: the loop has stood still for longer than SLUICE_STALL_LIMIT;");
    say_where(w->host);
    _exit(SLUICE_EXIT_WATCHDOG);
}
