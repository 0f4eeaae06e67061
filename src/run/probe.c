/* SPDX-License-Identifier: Apache-2.0 */
#include "port/clock.h"
#include "run/probe_answers.h"

#include "port/signals.h"
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

#define HEAD_SIZE_MAX 8192 /* request line and headers together */
#define MEMORY_PER_CONNECTION                                                                      \
    (12 * 1024) /* such a head and an answer's; much above is MHD's 4xx                            \
                 */

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

/* ---- Requests ---- */

static enum MHD_Result reply(struct MHD_Connection *connection, const struct probe_answer *a,
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
    struct probe_answer *a = calloc(1, sizeof *a);
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
    } else if (!probe_path_answer(ctx, path, accept, a)) {
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
    while (!atomic_load(&p->is_stopping)) {
        if (poll(wanted, 2, wait_ms(p)) < 0) {
            struct timespec pause = {0, 10000000}; /* 10 ms: without memory it fails at once */
            (void)nanosleep(&pause, NULL);
        }
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
        atomic_store(&p->is_stopping, 1);
        (void)close(p->stop[1]);
        (void)pthread_join(p->thread, NULL);
        (void)close(p->stop[0]);
        MHD_stop_daemon(p->daemon);
        free(p);
    }
}
