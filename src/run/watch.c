/* SPDX-License-Identifier: Apache-2.0 */
#include "run/watch.h"

#include "port/clock.h"
#include "port/signals.h"
#include "run/log.h"
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS          100  /* how often the thread looks */
#define GAP_MS           1000 /* between two looks: the process was frozen */
#define SAME_MS          500  /* a signal sent twice */
#define CRASH_STACK_SIZE (64u * 1024u)

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

/* What the system shows of it: our own threads and those of libraries that name theirs. */
static void say_thread(void)
{
#if defined(__linux__)
    char name[16] = "";
    if (prctl(PR_GET_NAME, name) == 0 && name[0] != '\0') {
        say(", on thread ");
        say(name);
    }
#endif
}

static void on_crash(int number)
{
    say("sluice: crash: signal ");
    say_number((uint64_t)number);
    const struct worker_host *host = watched;
    if (host != NULL && host->running_sequence != 0 &&
        pthread_equal(host->running_thread, pthread_self())) {
        say(" in the handler;");
        say_where(host);
    } else {
        say(" outside a handler");
        say_thread();
        say("\n");
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

static unsigned guards; /* that are on; main thread */

int sluice_watch_guard(void)
{
    static int is_registered;
    if (!is_registered && atexit(on_exit_called) != 0) {
        return 0;
    }
    is_registered = 1;
    guards++;
    atomic_store(&guarded, getpid());
    return 1;
}

void sluice_watch_unguard(void)
{
    if (--guards == 0) {
        atomic_store(&guarded, 0);
    }
}

/* ---- The watchdog ---- */

/* A full pipe that nobody reads must not keep the process. */
static int can_say(void)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&out, 1, LOOK_MS) > 0;
}

static void look(struct sluice_watch *w, int64_t now)
{
    if (now - w->looked_ms > GAP_MS) {
        w->awake_ms = now;
    }
    w->looked_ms = now;
    if (sluice_probe_loop_age_ms(w->probe) < w->limit_ms || now - w->awake_ms < w->limit_ms) {
        return;
    }
    if (can_say()) {
        say("sluice: watchdog: the loop has stood still for longer than SLUICE_STALL_LIMIT;");
        say_where(w->host);
    }
    _exit(SLUICE_EXIT_WATCHDOG);
}

/* Probe and host live at least until the phase is CLOSE. */
static void end_unfinished(const struct sluice_watch *w)
{
    int is_in_handler = w->phase == SLUICE_WATCH_END && w->host != NULL;
    uint64_t sequence = is_in_handler ? w->host->running_sequence : 0;
    if (can_say()) {
        SLUICE_LOG(SLUICE_LOG_WARN, STOP, "shutdown.unfinished",
                   sequence == 0 ? "closing takes too long" : "the handler does not return",
                   SLUICE_F_KNOWN("worker", sequence == 0 ? NULL : w->host->plugin->worker.name),
                   SLUICE_F_COUNTED("seq", sequence),
                   SLUICE_F_KNOWN("step", sequence == 0 ? NULL : w->host->running_step),
                   SLUICE_F_NUMBER("exit_code", w->code));
    }
    _exit(w->code);
}

/* `since_ms`: it was sent after that; how long after, nobody knows. */
static void on_signal(const struct sluice_watch *w, int number, int64_t since_ms)
{
    if (w->phase == SLUICE_WATCH_RUN) { /* came while the phase changed */
        (void)kill(getpid(), number);
        return;
    }
    if (number == w->number && since_ms - w->begun_ms < SAME_MS) {
        if (can_say()) {
            SLUICE_LOG(SLUICE_LOG_INFO, STOP, "shutdown.same", "the first signal, sent twice",
                       SLUICE_F_END);
        }
        return;
    }
    int is_boot = w->phase == SLUICE_WATCH_BOOT;
    int code = is_boot ? SLUICE_EXIT_OK : w->code;
    if (can_say()) {
        SLUICE_LOG(is_boot ? SLUICE_LOG_INFO : SLUICE_LOG_WARN, STOP,
                   is_boot ? "shutdown" : "shutdown.now",
                   is_boot ? "during boot: nothing to drain" : "second signal",
                   SLUICE_F_NUMBER("exit_code", code));
    }
    _exit(code);
}

static void *watch_thread(void *arg)
{
    struct sluice_watch *w = arg;
    for (int64_t before = 0;;) {
        int number = 0;
        if (w->phase == SLUICE_WATCH_RUN) {
            struct timespec pause = {0, LOOK_MS * 1000000};
            (void)nanosleep(&pause, NULL);
        } else {
            number = sluice_signals_wait(LOOK_MS);
        }
        (void)pthread_mutex_lock(&w->lock);
        int64_t now = sluice_mono_ms();
        if (number > 0) {
            on_signal(w, number, before);
        }
        if (w->probe != NULL && w->phase != SLUICE_WATCH_CLOSE) {
            look(w, now);
        }
        if (w->phase >= SLUICE_WATCH_END && now >= w->end_ms) {
            end_unfinished(w);
        }
        (void)pthread_mutex_unlock(&w->lock);
        before = now;
    }
    return NULL;
}

void sluice_watch_stack_take(stack_t *before)
{
    static char stack[CRASH_STACK_SIZE];
    const stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    (void)sigaltstack(&own, before); /* cannot fail: it is large enough, and not in use */
}

void sluice_watch_stack_give_back(const stack_t *before)
{
    (void)sigaltstack(before, NULL);
}

int sluice_watch_start(struct sluice_watch *w)
{
    pthread_t thread;
    *w = (struct sluice_watch){.phase = SLUICE_WATCH_BOOT, .lock = PTHREAD_MUTEX_INITIALIZER};
    int is_started = pthread_create(&thread, NULL, watch_thread, w) == 0;
    if (is_started) {
        (void)pthread_detach(thread);
    }
    return is_started;
}

void sluice_watch_run(struct sluice_watch *w, struct sluice_probe *probe,
                      const struct worker_host *host, int64_t limit_ms)
{
    watched = host;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_crash;
    action.sa_flags = SA_ONSTACK;
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
    (void)pthread_mutex_lock(&w->lock);
    w->probe = probe;
    w->host = host;
    w->limit_ms = limit_ms;
    w->phase = SLUICE_WATCH_RUN;
    (void)pthread_mutex_unlock(&w->lock);
}

void sluice_watch_end(struct sluice_watch *w, int64_t within_ms, int code, int number)
{
    (void)pthread_mutex_lock(&w->lock);
    w->begun_ms = sluice_mono_ms();
    w->end_ms = w->begun_ms + within_ms;
    w->code = code;
    w->number = number;
    w->phase = SLUICE_WATCH_END;
    (void)pthread_mutex_unlock(&w->lock);
}

void sluice_watch_close(struct sluice_watch *w)
{
    (void)pthread_mutex_lock(&w->lock);
    w->phase = SLUICE_WATCH_CLOSE;
    (void)pthread_mutex_unlock(&w->lock);
}
