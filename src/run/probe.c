/* SPDX-License-Identifier: Apache-2.0 */
#include "run/probe.h"

#include "core/engine.h"
#include "port/signals.h"
#include "run/metrics.h"
#include "run/probe_clients.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_SIZE    256
#define DENIED_SIZE   (2 * SLUICE_PROBE_DENIED_SIZE + 64)
#define HEAD_SIZE_MAX 8192 /* request line and headers together */
#define MEMORY_PER_CONNECTION                                                                      \
    (12 * 1024) /* such a head and an answer's; much above is MHD's 4xx                            \
                 */

struct sluice_probe {
    struct MHD_Daemon *daemon;
    int daemon_fd;                /* readable when there is something to do */
    int stop[2];                  /* a pipe whose writing end is closed to end the thread */
    pthread_t thread;             /* all of libmicrohttpd's callbacks are its */
    struct probe_clients clients; /* the thread's */
    int has_closed;               /* the thread's: a connection has ended in this run */
    struct sluice_probe_config config;
    uint16_t port;
    _Atomic int64_t last_seen_ms, loop_ms, started_ms;
    _Atomic int state;
    _Atomic(const char *) worker, version;
    /* A sequence lock: odd while the loop writes. Words are atomic, so a torn read is seen and
     * never undefined. */
    _Atomic uint32_t sequence;
    _Atomic uint64_t words[(sizeof(struct sluice_probe_snapshot) + 7) / 8];
};

static const char *const step_names[] = {
#define STEP_NAME(name, text) text,
    PROBE_STEPS(STEP_NAME)
#undef STEP_NAME
};

const char *sluice_probe_step_name(enum probe_step step)
{
    return step_names[step];
}

enum probe_step sluice_probe_step_of(const char *name)
{
    int i = 0;
    while (name != NULL && i < PROBE_STEP_OTHER && strcmp(step_names[i], name) != 0) {
        i++;
    }
    return name == NULL ? PROBE_STEP_OTHER : (enum probe_step)i;
}

const char *sluice_probe_pause_reason(const struct sluice_probe_snapshot *s)
{
    if (s->pause.is_rate_limit) {
        return "rate_limited";
    }
    return s->breakers[s->pause.dependency] == SLUICE_BREAKER_OPEN ? "breaker_open"
                                                                   : "breaker_half_open";
}

int64_t sluice_mono_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t sluice_wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *sluice_run_state_name(enum sluice_run_state state)
{
    static const char *const names[] = {
#define NAME(name) #name,
        SLUICE_RUN_STATES(NAME)
#undef NAME
    };
    return (unsigned)state < SLUICE_RUN_STATE_COUNT ? names[state] : "UNKNOWN";
}

void sluice_probe_update_last_seen(struct sluice_probe *p, int64_t mono_ms)
{
    atomic_store_explicit(&p->last_seen_ms, mono_ms, memory_order_relaxed);
}

void sluice_probe_update_loop(struct sluice_probe *p, int64_t mono_ms)
{
    atomic_store_explicit(&p->loop_ms, mono_ms, memory_order_relaxed);
}

int64_t sluice_probe_loop_age_ms(const struct sluice_probe *p)
{
    int64_t loop_ms = atomic_load_explicit(&p->loop_ms, memory_order_relaxed);
    return loop_ms == 0 ? 0 : sluice_mono_ms() - loop_ms;
}

void sluice_probe_set_state(struct sluice_probe *p, enum sluice_run_state state)
{
    atomic_store(&p->state, (int)state);
}

enum sluice_run_state sluice_probe_state(const struct sluice_probe *p)
{
    return (enum sluice_run_state)atomic_load(&p->state);
}

void sluice_probe_set_worker(struct sluice_probe *p, const char *name, const char *version)
{
    atomic_store(&p->version, version);
    atomic_store(&p->worker, name);
}

uint16_t sluice_probe_port(const struct sluice_probe *p)
{
    return p->port;
}

void sluice_probe_publish(struct sluice_probe *p, const struct sluice_probe_snapshot *snapshot)
{
    uint64_t words[sizeof p->words / 8] = {0};
    memcpy(words, snapshot, sizeof *snapshot);
    uint32_t sequence = atomic_load_explicit(&p->sequence, memory_order_relaxed);
    atomic_store_explicit(&p->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < sizeof words / 8; i++) {
        atomic_store_explicit(&p->words[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&p->sequence, sequence + 2, memory_order_release);
}

static void snapshot_read(const struct sluice_probe *p, struct sluice_probe_snapshot *out)
{
    uint64_t words[sizeof p->words / 8];
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t before = atomic_load_explicit(&p->sequence, memory_order_acquire);
        for (size_t i = 0; i < sizeof words / 8; i++) {
            words[i] = atomic_load_explicit(&p->words[i], memory_order_relaxed);
        }
        atomic_thread_fence(memory_order_acquire);
        if ((before & 1) == 0 &&
            before == atomic_load_explicit(&p->sequence, memory_order_relaxed)) {
            break;
        }
    }
    memcpy(out, words, sizeof *out);
}

/* ---- Answers ---- */

struct answer {
    unsigned status;
    const char *type;
    char body[64 * 1024];
    size_t len;
};

/* A member that says why pulling is held back, or nothing. */
static const char *pause_member(const struct sluice_probe_snapshot *s, char *out, size_t size)
{
    out[0] = '\0';
    if (s->is_degraded) {
        int64_t left_ms = s->pause.until_ms - sluice_mono_ms();
        double left_s = s->pause.until_ms == INT64_MAX || left_ms < 0 ? 0 : (double)left_ms / 1000;
        (void)snprintf(out, size,
                       ",\"pull_paused\":{\"dependency\":\"%s\",\"reason\":\"%s\",\"for_s\":%.3f}",
                       s->dependencies[s->pause.dependency], sluice_probe_pause_reason(s), left_s);
    }
    return out;
}

/* The inside of a JSON string. */
static void escape(const char *text, char *out, size_t size)
{
    size_t len = 0;
    for (; *text != '\0' && len + 2 < size; text++) {
        if (*text == '"' || *text == '\\') {
            out[len++] = '\\';
        }
        out[len++] = (unsigned char)*text < 0x20 ? '?' : *text;
    }
    out[len] = '\0';
}

/* A member that names what the NATS server denies, or nothing. */
static const char *denied_member(const struct sluice_probe_snapshot *s, char *out, size_t size)
{
    char text[2 * SLUICE_PROBE_DENIED_SIZE];
    int is_pull = s->denied_pull[0] != '\0';
    out[0] = '\0';
    if (is_pull || s->denied_publish[0] != '\0') {
        escape(is_pull ? s->denied_pull : s->denied_publish, text, sizeof text);
        (void)snprintf(out, size, ",\"denied\":{\"link\":\"%s\",\"text\":\"%s\"}",
                       is_pull ? "pull" : "publish", text);
    }
    return out;
}

static void ready_answer(const struct sluice_probe *p, struct answer *a)
{
    struct sluice_probe_snapshot s;
    snapshot_read(p, &s);
    enum sluice_run_state state = sluice_probe_state(p);
    int64_t age = sluice_mono_ms() - atomic_load(&p->last_seen_ms);
    const char *reason = NULL;
    if (state == SLUICE_RUN_FAILED) {
        reason = "failed";
    } else if (state == SLUICE_RUN_DRAINING || state == SLUICE_RUN_STOPPED) {
        reason = "draining";
    } else if (state != SLUICE_RUN_RUNNING) {
        reason = "starting";
    } else if (age > p->config.readiness_timeout_ms) {
        reason = s.is_connected ? "stale" : "nats_disconnected";
    } else if (s.denied_pull[0] != '\0') {
        reason = "nats_denied"; /* it gets no messages, or cannot acknowledge them */
    }
    a->status = reason == NULL ? 200 : 503;
    char pause[PAUSE_SIZE], denied[DENIED_SIZE];
    int is_degraded = s.is_degraded || s.denied_publish[0] != '\0';
    double age_s = state < SLUICE_RUN_RUNNING ? 0 : (double)age / 1000;
    int n =
        snprintf(a->body, sizeof a->body,
                 "{\"status\":\"%s\",\"state\":\"%s\",\"last_seen_age_s\":%.3f,"
                 "\"timeout_s\":%.3f,\"degraded\":%s%s%s%s%s%s}\n",
                 reason == NULL ? "ready" : "not_ready", sluice_run_state_name(state), age_s,
                 (double)p->config.readiness_timeout_ms / 1000, is_degraded ? "true" : "false",
                 pause_member(&s, pause, sizeof pause), denied_member(&s, denied, sizeof denied),
                 reason == NULL ? "" : ",\"reason\":\"", reason == NULL ? "" : reason,
                 reason == NULL ? "" : "\"");
    a->len = (size_t)n;
}

static void live_answer(const struct sluice_probe *p, struct answer *a)
{
    enum sluice_run_state state = sluice_probe_state(p);
    int64_t age = sluice_probe_loop_age_ms(p);
    int is_alive = state != SLUICE_RUN_FAILED && age <= p->config.loop_limit_ms;
    a->status = is_alive ? 200 : 503;
    a->len = (size_t)snprintf(
        a->body, sizeof a->body, "{\"status\":\"%s\",\"state\":\"%s\",\"loop_age_s\":%.3f}\n",
        is_alive ? "alive" : "dead", sluice_run_state_name(state), (double)age / 1000);
}

static void startup_answer(const struct sluice_probe *p, struct answer *a)
{
    enum sluice_run_state state = sluice_probe_state(p);
    int is_up = state >= SLUICE_RUN_RUNNING && state != SLUICE_RUN_FAILED;
    a->status = is_up ? 200 : 503;
    a->len = (size_t)snprintf(a->body, sizeof a->body, "{\"status\":\"%s\",\"state\":\"%s\"}\n",
                              is_up ? "started" : "starting", sluice_run_state_name(state));
}

static void health_answer(const struct sluice_probe *p, struct answer *a)
{
    struct sluice_probe_snapshot s;
    snapshot_read(p, &s);
    enum sluice_run_state state = sluice_probe_state(p);
    int is_allowed = s.denied_pull[0] == '\0' && s.denied_publish[0] == '\0';
    int is_healthy = s.is_connected && is_allowed && !s.is_degraded && !s.is_journal_away &&
                     state == SLUICE_RUN_RUNNING;
    for (uint32_t i = 0; i < s.dependencies_count; i++) {
        is_healthy &= s.breakers[i] == SLUICE_BREAKER_CLOSED;
    }
    const char *worker = atomic_load(&p->worker);
    const char *version = atomic_load(&p->version);
    int n = snprintf(a->body, sizeof a->body,
                     "{\"status\":\"%s\",\"state\":\"%s\",\"worker\":{\"name\":\"%s\",\"version\":"
                     "\"%s\"},\"in_flight\":%u,\"services\":{\"nats\":{\"status\":\"%s\"}",
                     is_healthy ? "healthy" : "degraded", sluice_run_state_name(state),
                     worker == NULL ? "" : worker, version == NULL ? "" : version,
                     s.engine.in_flight, s.is_connected && is_allowed ? "healthy" : "unhealthy");
    if (s.has_journal) {
        n += snprintf(a->body + n, sizeof a->body - (size_t)n, ",\"journal\":{\"status\":\"%s\"}",
                      s.is_journal_away ? "unhealthy" : "healthy");
    }
    for (uint32_t i = 0; i < s.dependencies_count; i++) {
        n += snprintf(a->body + n, sizeof a->body - (size_t)n,
                      ",\"%s\":{\"status\":\"%s\",\"breaker\":\"%s\"}", s.dependencies[i],
                      s.breakers[i] == SLUICE_BREAKER_CLOSED ? "healthy" : "unhealthy",
                      sluice_breaker_state_name((enum sluice_breaker_state)s.breakers[i]));
    }
    char pause[PAUSE_SIZE], denied[DENIED_SIZE];
    n += snprintf(a->body + n, sizeof a->body - (size_t)n, "}%s%s}\n",
                  pause_member(&s, pause, sizeof pause), denied_member(&s, denied, sizeof denied));
    a->status = 200;
    a->len = (size_t)n;
}

static void metrics_answer(const struct sluice_probe *p, const char *accept, struct answer *a)
{
    struct sluice_probe_snapshot s;
    snapshot_read(p, &s);
    struct sluice_metrics_context context = {
        .snapshot = &s,
        .is_ready = sluice_probe_state(p) == SLUICE_RUN_RUNNING,
        .worker = atomic_load(&p->worker),
        .version = atomic_load(&p->version),
        .started_ms = atomic_load(&p->started_ms),
        .as_openmetrics = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL};
    a->status = 200;
    a->type = context.as_openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                     : "text/plain; version=0.0.4; charset=utf-8";
    a->len = sluice_metrics_render(&context, a->body, sizeof a->body);
}

static int path_answer(const struct sluice_probe *p, const char *path, const char *accept,
                       struct answer *a)
{
    a->type = "application/json";
    if (strcmp(path, "/readyz") == 0 || strcmp(path, "/ready") == 0) {
        ready_answer(p, a);
    } else if (strcmp(path, "/livez") == 0) {
        live_answer(p, a);
    } else if (strcmp(path, "/startupz") == 0) {
        startup_answer(p, a);
    } else if (strcmp(path, "/health") == 0) {
        health_answer(p, a);
    } else if (strcmp(path, "/metrics") == 0) {
        metrics_answer(p, accept, a);
    } else if (strcmp(path, "/version") == 0) {
        a->status = 200;
        a->len =
            (size_t)snprintf(a->body, sizeof a->body, "{\"version\":\"%s\",\"abi\":\"%u.%u\"}\n",
                             SLUICE_VERSION, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    } else {
        return 0;
    }
    return 1;
}

static enum MHD_Result reply(struct MHD_Connection *connection, const struct answer *a,
                             const char *allow)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->len, (void *)(uintptr_t)a->body, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", a->type);
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    if (allow != NULL) {
        (void)MHD_add_response_header(response, "Allow", allow);
    }
    enum MHD_Result result = MHD_queue_response(connection, a->status, response);
    MHD_destroy_response(response);
    return result;
}

static int is_oversize(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info == NULL || info->header_size > HEAD_SIZE_MAX;
}

static struct probe_client *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct sluice_probe *p = ctx;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        probe_clients_remove(*socket_context);
        p->has_closed = 1;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context =
        info == NULL ? NULL : probe_clients_add(&p->clients, info->connect_fd, sluice_mono_ms());
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
    struct sluice_probe *p = ctx;
    (void)request;
    (void)code;
    probe_client_answered(&p->clients, client_of(connection), sluice_mono_ms());
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    (void)version;
    (void)upload;
    static char seen;
    if (*request == NULL) { /* headers only so far */
        *request = &seen;
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    probe_client_asked(client_of(connection));
    struct answer *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return MHD_NO;
    }
    a->type = "application/json";
    const char *allow = NULL;
    const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
    if (is_oversize(connection)) {
        a->status = 431;
        a->len = (size_t)snprintf(a->body, sizeof a->body,
                                  "{\"error\":\"request line and headers over 8 KiB\"}\n");
    } else if (!path_answer(ctx, path, accept, a)) {
        a->status = 404;
        a->len = (size_t)snprintf(a->body, sizeof a->body, "{\"error\":\"no such path\"}\n");
    } else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        a->status = 405;
        allow = "GET, HEAD";
        a->len =
            (size_t)snprintf(a->body, sizeof a->body, "{\"error\":\"expected GET or HEAD\"}\n");
    }
    enum MHD_Result result = reply(connection, a, allow);
    free(a);
    return result;
}

/* ---- Life ---- */

static int listen_on(const char *host, uint16_t port, uint16_t *bound)
{
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, service, &hints, &list) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int yes = 1;
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
                    bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, 64) != 0 ||
                    getsockname(fd, (struct sockaddr *)&address, &len) != 0)) {
        int why = errno;
        (void)close(fd);
        errno = why;
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd >= 0) {
        *bound = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                     : ((struct sockaddr_in *)&address)->sin_port);
    }
    return fd;
}

/* Until the next moment at which a client's time is over, or libmicrohttpd's own. */
static int wait_ms(struct sluice_probe *p)
{
    MHD_UNSIGNED_LONG_LONG own;
    int ms = probe_clients_expire(&p->clients, sluice_mono_ms());
    if (MHD_get_timeout(p->daemon, &own) == MHD_YES && (ms < 0 || own < (unsigned)ms)) {
        ms = own > 1000 ? 1000 : (int)own;
    }
    return ms;
}

/* Not libmicrohttpd's own thread: that one knows idle clients only, and one that sends a byte now
 * and then is never idle. */
static void *serve(void *ctx)
{
    struct sluice_probe *p = ctx;
    struct pollfd wanted[2] = {{.fd = p->daemon_fd, .events = POLLIN},
                               {.fd = p->stop[0], .events = POLLIN}};
    while (wanted[1].revents == 0) {
        (void)poll(wanted, 2, wait_ms(p));
        do { /* at its limit the daemon looks for new clients only in the run after an end */
            p->has_closed = 0;
            (void)MHD_run(p->daemon);
        } while (p->has_closed);
    }
    return NULL;
}

static int daemon_start(struct sluice_probe *p, int fd)
{
    p->daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, p, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)PROBE_CLIENTS_MAX,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION,
                         MHD_OPTION_NOTIFY_CONNECTION, on_connection, p,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, p, MHD_OPTION_END);
    if (p->daemon == NULL) {
        (void)close(fd);
        return 0;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    p->daemon_fd = info == NULL ? -1 : info->epoll_fd;
    return p->daemon_fd >= 0;
}

static int thread_start(struct sluice_probe *p)
{
    sigset_t before;
    if (pipe2(p->stop, O_CLOEXEC) != 0) {
        return 0;
    }
    sluice_signals_block(&before);
    int is_started = pthread_create(&p->thread, NULL, serve, p) == 0;
    sluice_signals_restore(&before);
    if (!is_started) {
        (void)close(p->stop[0]);
        (void)close(p->stop[1]);
    }
    return is_started;
}

sluice_rc sluice_probe_create(const struct sluice_probe_config *config, struct sluice_probe **out,
                              struct sluice_err *err)
{
    struct sluice_probe *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "probe: no memory");
    }
    p->config = *config;
    int64_t now = sluice_mono_ms();
    atomic_store(&p->last_seen_ms, now);
    atomic_store(&p->started_ms, sluice_wall_ms());
    int fd = listen_on(config->host, config->port, &p->port);
    if (fd < 0) {
        sluice_rc rc = sluice_err_set(err, SLUICE_ERR_CONFIG, "probe: cannot listen on %s:%u: %s",
                                      config->host, config->port, strerror(errno));
        free(p);
        return rc;
    }
    if (!daemon_start(p, fd) || !thread_start(p)) {
        if (p->daemon != NULL) {
            MHD_stop_daemon(p->daemon);
        }
        free(p);
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "probe: cannot start its thread");
    }
    *out = p;
    return SLUICE_OK;
}

void sluice_probe_destroy(struct sluice_probe *p)
{
    if (p != NULL) {
        (void)close(p->stop[1]);
        (void)pthread_join(p->thread, NULL);
        (void)close(p->stop[0]);
        MHD_stop_daemon(p->daemon);
        free(p);
    }
}
