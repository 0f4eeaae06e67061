/* SPDX-License-Identifier: Apache-2.0 */
#include "run/boot.h"

#include "run/boot_state.h"
#include "run/heap.h"
#include "run/log.h"
#include "run/watch.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS        100  /* how often the supervising thread looks */
#define ABORT_LIMIT_MS 3000 /* for the NAKs at the end of the grace */

void boot_state_enter(struct boot *b, enum sluice_run_state state)
{
    if (b->probe != NULL) {
        sluice_probe_set_state(b->probe, state);
    }
    SLUICE_LOG(SLUICE_LOG_INFO, START, "state", "",
               SLUICE_F_TEXT("state", sluice_run_state_name(state)));
}

static sluice_rc probe_step(struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    struct sluice_probe_config config = {.host = s->probe_host,
                                         .port = (uint16_t)s->probe_port,
                                         .readiness_timeout_ms = s->readiness_timeout_ms,
                                         .loop_limit_ms = 3 * s->stall_limit_ms};
    sluice_rc rc = sluice_probe_create(&config, &b->probe, &b->err);
    if (rc == SLUICE_OK) {
        boot_state_enter(b, SLUICE_RUN_PROBE_UP);
        SLUICE_LOG(SLUICE_LOG_INFO, START, "probe.listening", "",
                   SLUICE_F_TEXT("host", s->probe_host),
                   SLUICE_F_NUMBER("port", sluice_probe_port(b->probe)));
    }
    return rc;
}

/* ---- The loop's thread ---- */

enum { ORDER_DRAIN = 1, ORDER_ABORT, ORDER_STOP };

static void on_order(struct sluice_mail *mail)
{
    struct boot *b = (struct boot *)((char *)mail - offsetof(struct boot, order));
    switch (atomic_load(&b->order_kind)) {
    case ORDER_DRAIN:
        runtime_drain(b->runtime);
        break;
    case ORDER_ABORT:
        runtime_abort(b->runtime);
        break;
    default:
        uv_stop(&b->loop);
        break;
    }
    atomic_store(&b->order_kind, 0);
}

/* One order at a time; waits until it was taken, at most so long. */
static void order_give(struct boot *b, int kind, int64_t limit_ms)
{
    atomic_store(&b->order_kind, kind);
    b->order.deliver = on_order;
    struct sluice_mailbox *port = sluice_loop_mailbox_port(b->mailbox);
    port->post(port, &b->order);
    int64_t end = sluice_mono_ms() + limit_ms;
    while (atomic_load(&b->order_kind) != 0 && sluice_mono_ms() < end) {
        struct timespec pause = {0, 1000000};
        (void)nanosleep(&pause, NULL);
    }
}

static void *loop_run(void *arg)
{
    struct boot *b = arg;
    (void)uv_run(&b->loop, UV_RUN_DEFAULT);
    return NULL;
}

static sluice_rc loop_step(struct boot *b)
{
    if (pthread_create(&b->thread, NULL, loop_run, b) != 0) {
        return sluice_err_set(&b->err, SLUICE_ERR_INTERNAL, "cannot start the loop's thread");
    }
    b->has_thread = 1;
    sluice_probe_update_last_seen(b->probe, sluice_mono_ms());
    boot_state_enter(b, SLUICE_RUN_RUNNING);
    return SLUICE_OK;
}

/* ---- Supervising ---- */

static int signal_wait(int64_t ms)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
    return sigtimedwait(&set, NULL, &limit);
}

static int has_failed(const struct boot *b)
{
    return runtime_end(b->runtime) == RUNTIME_FAILED || atomic_load(&b->is_publisher_lost);
}

/* Until a signal (0) or a failure (exit code). */
static int keep_alive(struct boot *b, struct sluice_watch *watch)
{
    int64_t next_tick = sluice_mono_ms() + b->settings->keepalive_ms;
    for (;;) {
        if (signal_wait(TICK_MS) > 0) {
            return SLUICE_EXIT_OK;
        }
        sluice_watch_look(watch);
        if (has_failed(b)) {
            return SLUICE_EXIT_RUNTIME;
        }
        int64_t now = sluice_mono_ms();
        if (now >= next_tick) {
            next_tick = now + b->settings->keepalive_ms;
            if (runtime_is_connected(b->runtime) && sluice_watch_is_moving(watch)) {
                sluice_probe_update_last_seen(b->probe, now);
            }
        }
    }
}

static int drain(struct boot *b, struct sluice_watch *watch)
{
    SLUICE_LOG(SLUICE_LOG_INFO, STOP, "shutdown", "draining",
               SLUICE_F_NUMBER("grace_ms", b->settings->shutdown_grace_ms));
    sluice_probe_set_state(b->probe, SLUICE_RUN_DRAINING);
    order_give(b, ORDER_DRAIN, b->settings->stall_limit_ms);
    int64_t end = sluice_mono_ms() + b->settings->shutdown_grace_ms;
    while (runtime_end(b->runtime) == RUNTIME_GOES_ON && sluice_mono_ms() < end) {
        if (signal_wait(10) > 0) {
            SLUICE_LOG(SLUICE_LOG_WARN, STOP, "shutdown.now", "second signal",
                       SLUICE_F_NUMBER("code", SLUICE_EXIT_GRACE));
            _exit(SLUICE_EXIT_GRACE);
        }
        sluice_watch_look(watch);
    }
    if (runtime_end(b->runtime) != RUNTIME_GOES_ON) {
        return SLUICE_EXIT_OK;
    }
    SLUICE_LOG(SLUICE_LOG_WARN, WARN, "shutdown.grace_exceeded", "giving the rest back",
               SLUICE_F_END);
    order_give(b, ORDER_ABORT, b->settings->stall_limit_ms);
    end = sluice_mono_ms() + ABORT_LIMIT_MS;
    while (runtime_end(b->runtime) == RUNTIME_GOES_ON && sluice_mono_ms() < end) {
        (void)signal_wait(10);
    }
    return SLUICE_EXIT_GRACE;
}

/* ---- Cleaning up: subscriber, publisher, worker, clients, probe last; every stage accepts half a
 * boot ---- */

static void closed_log(const char *what)
{
    SLUICE_LOG(SLUICE_LOG_INFO, DONE, "closed", "", SLUICE_F_TEXT("what", what));
}

static void clean_up(struct boot *b)
{
    if (b->has_thread) {
        order_give(b, ORDER_STOP, 1000);
        (void)pthread_join(b->thread, NULL);
    }
    if (b->source != NULL) {
        b->source->ops->destroy(b->source);
        closed_log("subscriber");
    }
    if (b->journal != NULL) {
        b->journal->ops->destroy(b->journal);
    }
    if (b->publisher != NULL) {
        b->publisher->ops->destroy(b->publisher);
        closed_log("publisher");
    }
    if (b->plugin.worker.destroy != NULL && b->is_created) {
        b->plugin.worker.destroy(b->host.self);
    }
    for (uint32_t i = 0; i < SLUICE_SERVICES_MAX; i++) {
        if (b->http[i] != NULL) {
            b->http[i]->ops->destroy(b->http[i]);
        }
    }
    if (b->llm != NULL) {
        b->llm->ops->destroy(b->llm);
    }
    if (b->store != NULL) {
        b->store->ops->destroy(b->store);
        closed_log("clients");
    }
    runtime_destroy(b->runtime);
    sluice_nats_target_fini(&b->target);
    if (b->mailbox != NULL) {
        sluice_loop_mailbox_destroy(b->mailbox);
    }
    if (b->has_loop) {
        (void)uv_run(&b->loop, UV_RUN_DEFAULT); /* close callbacks */
        (void)uv_loop_close(&b->loop);
    }
    host_fini(&b->host);
    sluice_worker_config_free(b->worker_config);
    for (uint32_t i = 0; i < SLUICE_SERVICES_MAX; i++) {
        free(b->credentials[i]);
    }
    sluice_probe_destroy(b->probe);
}

static int init_failed(struct boot *b, const char *step)
{
    SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "init.failed", b->err.text, SLUICE_F_TEXT("step", step),
               SLUICE_F_TEXT("error", sluice_status_name(b->err.rc)));
    if (b->probe != NULL) {
        sluice_probe_set_state(b->probe, SLUICE_RUN_FAILED);
    }
    return b->is_misconfigured ? SLUICE_EXIT_CONFIG : SLUICE_EXIT_INIT;
}

/* ---- A signal during boot ---- */

/* A client that is being opened may block for its whole time limit and cannot be interrupted. No
 * message has been taken yet, so there is nothing to give back and the process may simply end. */
static void *boot_signals_run(void *arg)
{
    (void)arg;
    sigset_t set;
    int number = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1); /* from boot_signals_end */
    while (sigwait(&set, &number) != 0) {
    }
    if (number != SIGUSR1) {
        SLUICE_LOG(SLUICE_LOG_INFO, STOP, "shutdown", "during boot: nothing to drain",
                   SLUICE_F_NUMBER("exit_code", SLUICE_EXIT_OK));
        _exit(SLUICE_EXIT_OK);
    }
    return NULL;
}

/* Until the loop runs; without the thread a signal waits for the end of the boot. */
static void boot_signals_end(pthread_t thread, int *has_thread)
{
    if (*has_thread) {
        (void)pthread_kill(thread, SIGUSR1);
        (void)pthread_join(thread, NULL);
        *has_thread = 0;
    }
}

static int boot_run(struct boot *b)
{
    static const struct {
        const char *name;
        sluice_rc (*run)(struct boot *b);
    } steps[] = {{"probe", probe_step},         {"clients", boot_clients},
                 {"publisher", boot_publisher}, {"worker", boot_worker},
                 {"subscribe", boot_subscribe}, {"run", loop_step}};
    pthread_t signals;
    int has_signals = pthread_create(&signals, NULL, boot_signals_run, NULL) == 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        SLUICE_LOG(SLUICE_LOG_INFO, START, "boot", "", SLUICE_F_TEXT("step", steps[i].name));
        if (steps[i].run == loop_step) {
            boot_signals_end(signals, &has_signals);
        }
        if (steps[i].run(b) != SLUICE_OK) {
            boot_signals_end(signals, &has_signals);
            return init_failed(b, steps[i].name);
        }
    }
    struct sluice_watch watch;
    sluice_watch_open(&watch, b->probe, &b->host, b->settings->stall_limit_ms);
    int code = keep_alive(b, &watch);
    if (code == SLUICE_EXIT_OK) {
        code = drain(b, &watch);
        sluice_probe_set_state(b->probe, SLUICE_RUN_STOPPED);
    } else {
        sluice_probe_set_state(b->probe, SLUICE_RUN_FAILED);
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "runtime.failed", "", SLUICE_F_NUMBER("code", code));
    }
    return code;
}

int sluice_worker_run(const struct sluice_settings *settings)
{
    static struct boot b; /* the crash report looks into it */
    b.settings = settings;
    b.allocator = sluice_heap;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGABRT);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    int why = uv_loop_init(&b.loop);
    if (why != 0) {
        (void)sluice_err_set(&b.err, SLUICE_ERR_INTERNAL, "event loop: %s", uv_strerror(why));
        return init_failed(&b, "loop");
    }
    b.has_loop = 1;
    if (!sluice_watch_guard()) {
        (void)sluice_err_set(&b.err, SLUICE_ERR_NOMEM, "no memory");
        return init_failed(&b, "guard");
    }
    int code = sluice_loop_mailbox_create(&b.loop, &b.allocator, &b.mailbox, &b.err) == SLUICE_OK
                   ? boot_run(&b)
                   : init_failed(&b, "mailbox");
    clean_up(&b);
    sluice_watch_unguard();
    SLUICE_LOG(SLUICE_LOG_INFO, DONE, "connections.closed", "", SLUICE_F_NUMBER("exit_code", code));
    return code;
}
