/* SPDX-License-Identifier: Apache-2.0 */
#include "run/boot.h"

#include "port/clock.h"
#include "port/signals.h"
#include "run/boot_state.h"
#include "run/heap.h"
#include "run/log.h"
#include "run/pages.h"
#include "run/probe_clients.h"
#include "run/watch.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FILES_LLM_THREAD 6u /* of its loop, and of a shard and a connection by rounding */
#define FILES_OF_PROBE   (PROBE_CLIENTS_MAX + 5u) /* one turned away, listening, epoll, a pipe */
#define FILES_OF_LOOP    16u /* standard streams, epoll, its pipes and eventfds, what is inherited */
#define FILES_OF_NATS    8u  /* two connections, two on their way out, one that looks after both */
#define FILES_OF_STORE   32u /* MongoDB: 2 of the pool and 2 that watch, on each of 8 hosts */
#define FILES_OF_WORKER  32u /* the plug-in's own, prompts, what libraries open for a moment */
#define FILES_BESIDE                                                                               \
    (FILES_OF_PROBE + FILES_OF_LOOP + FILES_OF_NATS + FILES_OF_STORE + FILES_OF_WORKER)
#define TICK_MS             100  /* how often the supervising thread looks */
#define FIRST_CONNECTION_MS 1000 /* the source is connected, and only has to say so */
/* After the grace; together below the 5 s that a grace of 25 s leaves of the 30 s that Kubernetes
 * waits. */
#define ABORT_LIMIT_MS   3000 /* for the NAKs */
#define CLOSE_LIMIT_MS   1500 /* for closing what is open */
#define HANDLES_LIMIT_MS 1000 /* of the loop, beside a function that does not return */

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

static void order_take(void *ctx, int kind)
{
    struct boot *b = ctx;
    switch (kind) {
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
}

static void order_give(struct boot *b, int kind, int64_t limit_ms)
{
    sluice_order_give(&b->order, sluice_loop_mailbox_port(b->mailbox), kind, limit_ms);
}

static void *loop_run(void *arg)
{
    struct boot *b = arg;
    stack_t before;
    sluice_watch_stack_take(&before);
    (void)uv_run(&b->loop, UV_RUN_DEFAULT);
    sluice_watch_stack_give_back(&before);
    return NULL;
}

/* ---- Supervising ---- */

static int has_failed(const struct boot *b)
{
    return runtime_end(b->runtime) == RUNTIME_FAILED || atomic_load(&b->is_publisher_lost);
}

/* Connected, and no handler has been inside for longer than it may. */
static int makes_progress(const struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    int64_t limit_ms =
        s->handler_timeout_ms < s->stall_limit_ms ? s->handler_timeout_ms : s->stall_limit_ms;
    return runtime_is_connected(b->runtime) && sluice_probe_loop_age_ms(b->probe) < limit_ms;
}

/* RUNNING means that messages are pulled. What ends the wait otherwise is seen a moment later. */
static void first_connection_wait(const struct boot *b)
{
    int64_t end = sluice_mono_ms() + FIRST_CONNECTION_MS;
    while (!runtime_is_connected(b->runtime) && !has_failed(b) && sluice_mono_ms() < end) {
        struct timespec pause = {0, 1000000};
        (void)nanosleep(&pause, NULL);
    }
}

static sluice_rc loop_step(struct boot *b)
{
    sluice_pages_release();
    sluice_watch_run(&b->watch, b->probe, &b->host, b->settings->stall_limit_ms);
    b->order.take = order_take; /* before the thread that reads it */
    b->order.ctx = b;
    if (pthread_create(&b->thread, NULL, loop_run, b) != 0) {
        return sluice_err_set(&b->err, SLUICE_ERR_INTERNAL, "cannot start the loop's thread");
    }
    b->has_thread = 1;
    first_connection_wait(b);
    sluice_probe_update_last_seen(b->probe, sluice_mono_ms());
    boot_state_enter(b, SLUICE_RUN_RUNNING);
    return SLUICE_OK;
}

/* Until a signal (0, and its number) or a failure (exit code). */
static int keep_alive(struct boot *b, int *number)
{
    int64_t next_tick = sluice_mono_ms() + b->settings->keepalive_ms;
    for (;;) {
        if ((*number = sluice_signals_wait(TICK_MS)) > 0) {
            return SLUICE_EXIT_OK;
        }
        if (has_failed(b)) {
            return SLUICE_EXIT_RUNTIME;
        }
        int64_t now = sluice_mono_ms();
        if (now >= next_tick) {
            next_tick = now + b->settings->keepalive_ms;
            if (makes_progress(b)) {
                sluice_probe_update_last_seen(b->probe, now);
            }
        }
    }
}

/* `number`: of the signal that asked for it; 0: none did. */
static void end_begin(struct boot *b, int code, int number)
{
    sluice_watch_end(&b->watch, b->settings->shutdown_grace_ms + ABORT_LIMIT_MS + CLOSE_LIMIT_MS,
                     code, number);
}

static int has_ended(struct boot *b, int64_t until_ms)
{
    while (runtime_end(b->runtime) == RUNTIME_GOES_ON && sluice_mono_ms() < until_ms) {
        struct timespec pause = {0, 10000000};
        (void)nanosleep(&pause, NULL);
    }
    return runtime_end(b->runtime) != RUNTIME_GOES_ON;
}

static int drain(struct boot *b, int number)
{
    int64_t end = sluice_mono_ms() + b->settings->shutdown_grace_ms;
    end_begin(b, SLUICE_EXIT_GRACE, number);
    SLUICE_LOG(SLUICE_LOG_INFO, STOP, "shutdown", "draining",
               SLUICE_F_NUMBER("grace_ms", b->settings->shutdown_grace_ms));
    sluice_probe_set_state(b->probe, SLUICE_RUN_DRAINING);
    order_give(b, ORDER_DRAIN, b->settings->shutdown_grace_ms);
    if (has_ended(b, end)) {
        return SLUICE_EXIT_OK;
    }
    SLUICE_LOG(SLUICE_LOG_WARN, WARN, "shutdown.grace_exceeded", "giving the rest back",
               SLUICE_F_END);
    order_give(b, ORDER_ABORT, ABORT_LIMIT_MS);
    (void)has_ended(b, end + ABORT_LIMIT_MS);
    return SLUICE_EXIT_GRACE;
}

/* ---- Cleaning up: subscriber, publisher, worker, clients, probe last; every stage accepts half a
 * boot ---- */

static void closed_log(const char *what)
{
    SLUICE_LOG(SLUICE_LOG_INFO, DONE, "closed", "", SLUICE_F_TEXT("what", what));
}

static void on_handle(uv_handle_t *handle, void *count)
{
    (void)handle;
    ++*(uint32_t *)count;
}

/* Until what is being closed is closed; work that is still on a thread is left there. */
static void close_handles(uv_loop_t *loop)
{
    int64_t end = sluice_mono_ms() + HANDLES_LIMIT_MS;
    for (uint32_t left = 1; left > 0 && sluice_mono_ms() < end;) {
        struct timespec pause = {0, 1000000};
        (void)uv_run(loop, UV_RUN_NOWAIT);
        left = 0;
        uv_walk(loop, on_handle, &left);
        (void)nanosleep(&pause, NULL);
    }
}

/* How many functions of the plug-in still run on a thread: the process has to leave by _exit(). */
static uint32_t clean_up(struct boot *b)
{
    if (b->has_thread) {
        order_give(b, ORDER_STOP, 1000);
        (void)pthread_join(b->thread, NULL);
    }
    uint32_t functions = runtime_leave_offloads(b->runtime);
    sluice_watch_close(&b->watch);
    if (b->source != NULL) {
        b->source->ops->destroy(b->source);
        b->source = NULL; /* the publisher may still leave its server */
        closed_log("subscriber");
    }
    if (b->journal != NULL) {
        b->journal->ops->destroy(b->journal);
    }
    if (b->publisher != NULL) {
        b->publisher->ops->destroy(b->publisher);
        closed_log("publisher");
    }
    if (b->is_created && functions == 0) {
        if (b->plugin.worker.destroy != NULL) {
            b->plugin.worker.destroy(b->host.self);
        }
        closed_log("worker");
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
    if (b->has_loop && functions > 0) {
        close_handles(&b->loop);
    } else if (b->has_loop) {
        (void)uv_run(&b->loop, UV_RUN_DEFAULT); /* close callbacks */
        (void)uv_loop_close(&b->loop);
    }
    host_fini(&b->host);
    sluice_worker_config_free(b->worker_config);
    for (uint32_t i = 0; i < SLUICE_SERVICES_MAX; i++) {
        free(b->credentials[i]);
    }
    if (b->probe != NULL) {
        sluice_probe_destroy(b->probe);
        closed_log("probe");
    }
    return functions;
}

static int init_failed(struct boot *b, const char *step)
{
    SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "init.failed", b->err.text, SLUICE_F_TEXT("step", step),
               SLUICE_F_TEXT("error", sluice_status_name(b->err.rc)));
    if (b->probe != NULL) {
        sluice_probe_set_state(b->probe, SLUICE_RUN_FAILED);
    }
    int code = b->is_misconfigured ? SLUICE_EXIT_CONFIG : SLUICE_EXIT_INIT;
    end_begin(b, code, 0);
    return code;
}

static int boot_run(struct boot *b)
{
    static const struct {
        const char *name;
        sluice_rc (*run)(struct boot *b);
    } steps[] = {{"probe", probe_step},         {"clients", boot_clients},
                 {"publisher", boot_publisher}, {"worker", boot_worker},
                 {"subscribe", boot_subscribe}, {"run", loop_step}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        SLUICE_LOG(SLUICE_LOG_INFO, START, "boot", "", SLUICE_F_TEXT("step", steps[i].name));
        if (steps[i].run(b) != SLUICE_OK) {
            return init_failed(b, steps[i].name);
        }
    }
    int number;
    int code = keep_alive(b, &number);
    if (code == SLUICE_EXIT_OK) {
        code = drain(b, number);
        sluice_probe_set_state(b->probe, SLUICE_RUN_STOPPED);
    } else {
        end_begin(b, code, 0);
        sluice_probe_set_state(b->probe, SLUICE_RUN_FAILED);
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "runtime.failed", "", SLUICE_F_NUMBER("code", code));
    }
    return code;
}

/* Of so many connections: each of libcurl's multi handles has a pair of sockets to wake it. */
static uint64_t files_of(int64_t connections)
{
    uint64_t count = (uint64_t)connections;
    uint64_t shards = (count + SLUICE_CURL_SHARD_TRANSFERS - 1) / SLUICE_CURL_SHARD_TRANSFERS;
    return count + 2 * shards;
}

/* Without enough descriptors a connection fails here and there, and the probe's thread finds one
 * that it cannot accept for ever. */
static sluice_rc files_allow(struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    uint64_t needed = FILES_BESIDE + files_of(s->max_in_flight) +
                      (uint64_t)FILES_LLM_THREAD * boot_llm_threads(s);
    struct rlimit files;
    for (uint32_t i = 0; i < s->services_count; i++) {
        needed += files_of(s->services[i].connections);
    }
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return SLUICE_OK;
    }
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max >= needed) {
        return SLUICE_OK;
    }
    b->is_misconfigured = 1;
    return sluice_err_set(
        &b->err, SLUICE_ERR_CONFIG,
        "the limit of open files (ulimit -Hn) is %llu, expected at least %llu for "
        "SLUICE_MAX_IN_FLIGHT %lld and the connections of the services",
        (unsigned long long)files.rlim_max, (unsigned long long)needed,
        (long long)s->max_in_flight);
}

int sluice_worker_run(const struct sluice_settings *settings)
{
    static struct boot b; /* the crash report looks into it */
    b.settings = settings;
    SLUICE_LOG(SLUICE_LOG_INFO, START, "boot", "", SLUICE_F_TEXT("step", "configuration"));
    boot_state_enter(&b, SLUICE_RUN_INIT); /* it is read and was found good */
    b.allocator = sluice_heap;
    if (files_allow(&b) != SLUICE_OK) {
        return init_failed(&b, "files");
    }
    (void)signal(SIGPIPE, SIG_IGN);
    sluice_signals_block(NULL);
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
    if (!sluice_watch_start(&b.watch)) {
        sluice_watch_unguard();
        (void)sluice_err_set(&b.err, SLUICE_ERR_INTERNAL, "cannot start the watchdog's thread");
        return init_failed(&b, "watch");
    }
    int code = sluice_loop_mailbox_create(&b.loop, &b.allocator, &b.mailbox, &b.err) == SLUICE_OK
                   ? boot_run(&b)
                   : init_failed(&b, "mailbox");
    uint32_t functions = clean_up(&b);
    sluice_watch_unguard();
    SLUICE_LOG(SLUICE_LOG_INFO, DONE, "connections.closed", "", SLUICE_F_NUMBER("exit_code", code));
    if (functions > 0) { /* libuv would wait for its threads at an exit() */
        SLUICE_LOG(SLUICE_LOG_WARN, STOP, "shutdown.unfinished",
                   "offloaded functions do not return", SLUICE_F_NUMBER("functions", functions),
                   SLUICE_F_NUMBER("exit_code", code));
        (void)fflush(NULL);
        _exit(code);
    }
    return code;
}
