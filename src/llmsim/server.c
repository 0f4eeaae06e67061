/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/server.h"

#include "llmsim/call.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX        (8u * 1024u * 1024u)
#define CONNECTIONS_MAX 16000

/* ---- The daemon's turns ---- */

static int is_stopping(struct llmsim *s)
{
    (void)pthread_mutex_lock(&s->lock);
    int is = s->is_stopping;
    (void)pthread_mutex_unlock(&s->lock);
    return is;
}

/* libmicrohttpd's own epoll thread (0.9.75) waits for ever when exactly 128 events, the size of its
 * array, are due at once: it asks again before it works on them. Called from a loop of ours it
 * never waits. It looks for resumed connections before it clears its own wake-up, so one that is
 * resumed between the two needs ours. */
static void *pump_run(void *arg)
{
    struct llmsim *s = arg;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd fds[2] = {{.fd = info->epoll_fd, .events = POLLIN},
                            {.fd = s->wake_fd, .events = POLLIN}};
    while (!is_stopping(s)) {
        MHD_UNSIGNED_LONG_LONG ms = 0;
        int has_timeout = MHD_get_timeout(s->daemon, &ms) == MHD_YES;
        (void)poll(fds, 2, has_timeout ? (int)(ms < 60000 ? ms : 60000) : -1);
        if ((fds[1].revents & POLLIN) != 0) {
            eventfd_t count;
            (void)eventfd_read(s->wake_fd, &count);
        }
        (void)MHD_run(s->daemon);
    }
    return NULL;
}

/* ---- HTTP ---- */

static ssize_t on_read(void *ctx, uint64_t at, char *out, size_t size)
{
    const struct call *c = ctx;
    if (at >= c->cut_at) {
        return c->cut_at < c->answer_len || c->fault == LLMSIM_reset
                   ? MHD_CONTENT_READER_END_WITH_ERROR
                   : MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t n = c->cut_at - (size_t)at < size ? c->cut_at - (size_t)at : size;
    memcpy(out, c->answer + at, n);
    return (ssize_t)n;
}

static enum MHD_Result respond(struct call *c)
{
    struct MHD_Response *r;
    if (c->is_streamed || c->fault == LLMSIM_cut || c->fault == LLMSIM_reset) {
        uint64_t size = c->is_streamed ? MHD_SIZE_UNKNOWN : c->answer_len;
        r = MHD_create_response_from_callback(size, 16384, on_read, c, NULL);
    } else {
        r = MHD_create_response_from_buffer(c->answer_len, c->answer, MHD_RESPMEM_PERSISTENT);
    }
    if (r == NULL) {
        return MHD_NO;
    }
    char id[40];
    (void)snprintf(id, sizeof id, "req-%llu", (unsigned long long)c->server->calls);
    (void)MHD_add_response_header(r, "Content-Type",
                                  c->is_streamed ? "text/event-stream" : "application/json");
    (void)MHD_add_response_header(r, "x-request-id", id);
    if ((c->status == 429 || c->status == 503) && c->server->config.retry_after_s > 0) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%u", c->server->config.retry_after_s);
        (void)MHD_add_response_header(r, "Retry-After", seconds);
    }
    enum MHD_Result result = MHD_queue_response(c->connection, c->status, r);
    MHD_destroy_response(r);
    return result;
}

static int body_add(struct call *c, const char *data, size_t len)
{
    if (len > BODY_MAX - c->len) {
        c->is_too_large = 1;
        return 1;
    }
    if (c->len + len > c->size) {
        size_t size = (c->len + len) * 2;
        char *more = realloc(c->body, size);
        if (more == NULL) {
            return 0;
        }
        c->body = more;
        c->size = size;
    }
    memcpy(c->body + c->len, data, len);
    c->len += len;
    return 1;
}

static int is_allowed(const struct call *c)
{
    if (c->server->config.api_key == NULL) {
        return 1;
    }
    const char *given =
        MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "Authorization");
    return given != NULL && strncmp(given, "Bearer ", 7) == 0 &&
           strcmp(given + 7, c->server->config.api_key) == 0;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    (void)version;
    struct llmsim *s = ctx;
    struct call *c = *request;
    if (c == NULL) {
        c = calloc(1, sizeof *c);
        *request = c;
        if (c == NULL) {
            return MHD_NO;
        }
        c->server = s;
        c->connection = connection;
        c->is_chat = strcmp(path, "/v1/chat/completions") == 0;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        int is_good = body_add(c, upload, *upload_size);
        *upload_size = 0;
        return is_good ? MHD_YES : MHD_NO;
    }
    if (c->answer != NULL) { /* woken */
        return respond(c);
    }
    (void)atomic_fetch_add(&s->calls, 1);
    if (c->is_too_large) {
        llmsim_reply_error(c, 413, "invalid_request_error", "body over 8 MiB");
    } else if (c->is_chat && !is_allowed(c)) {
        llmsim_reply_error(c, 401, "invalid_request_error", "Incorrect API key provided");
    } else if (c->is_chat && strcmp(method, "POST") != 0) {
        llmsim_reply_error(c, 405, "invalid_request_error", "expected POST");
    } else if (c->is_chat) {
        llmsim_chat(c);
        if (c->has_slept) {
            return MHD_YES;
        }
    } else {
        llmsim_control(c, path, method);
    }
    return c->answer == NULL ? MHD_NO : respond(c);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    (void)ctx;
    (void)connection;
    struct call *c = *request;
    if (c != NULL) {
        if (c->is_paid && how == MHD_REQUEST_TERMINATED_COMPLETED_OK) {
            llmsim_ledger_answered(c->server->ledger, c->key);
        }
        if (c->is_counted) {
            llmsim_ledger_ended(c->server->ledger, c->key);
        }
        free(c->body);
        free(c->answer);
        free(c);
        *request = NULL;
    }
}

static int listen_on(const struct llmsim_config *config, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(config->port)};
    int yes = 1;
    socklen_t len = sizeof address;
    if (inet_pton(AF_INET, config->host, &address.sin_addr) != 1) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 &&
        (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
         bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0 ||
         getsockname(fd, (struct sockaddr *)&address, &len) != 0)) {
        int why = errno;
        (void)close(fd);
        errno = why;
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

/* What start made; also a part of it. */
static void server_free(struct llmsim *s)
{
    if (s->daemon != NULL) {
        MHD_stop_daemon(s->daemon); /* closes the listening socket */
    } else if (s->listen_fd >= 0) {
        (void)close(s->listen_fd);
    }
    if (s->wake_fd >= 0) {
        (void)close(s->wake_fd);
    }
    llmsim_ledger_destroy(s->ledger);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->changed);
    free(s);
}

static void waker_stop(struct llmsim *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->is_stopping = 1;
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->waker, NULL);
}

/* 0: they could not all be had. */
static int threads_start(struct llmsim *s)
{
    s->wake_fd = eventfd(0, EFD_CLOEXEC);
    s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
                                 on_request, s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (s->wake_fd < 0 || s->daemon == NULL ||
        pthread_create(&s->waker, NULL, llmsim_waker_run, s) != 0) {
        return 0;
    }
    if (pthread_create(&s->pump, NULL, pump_run, s) != 0) {
        waker_stop(s);
        return 0;
    }
    return 1;
}

sluice_rc llmsim_start(const struct llmsim_config *config, struct llmsim **out,
                       struct sluice_err *err)
{
    struct llmsim *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "no memory");
    }
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    s->config = *config;
    s->prng.state = config->seed;
    s->listen_fd = -1;
    s->wake_fd = -1;
    sluice_rc rc = SLUICE_OK;
    s->ledger = llmsim_ledger_create();
    if (s->ledger == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "no memory");
    } else if ((s->listen_fd = listen_on(config, &s->port)) < 0) {
        rc = sluice_err_set(err, SLUICE_ERR_CONFIG, "cannot listen on %s:%u: %s",
                            config->host, config->port, strerror(errno));
    } else if (!threads_start(s)) {
        rc = sluice_err_set(err, SLUICE_ERR_INTERNAL, "cannot start its threads");
    }
    if (rc != SLUICE_OK) {
        server_free(s);
        return rc;
    }
    *out = s;
    return SLUICE_OK;
}

uint16_t llmsim_port(const struct llmsim *s)
{
    return s->port;
}

void llmsim_stop(struct llmsim *s)
{
    if (s == NULL) {
        return;
    }
    waker_stop(s);
    (void)eventfd_write(s->wake_fd, 1);
    (void)pthread_join(s->pump, NULL);
    for (struct call *c = s->sleeping; c != NULL; c = c->next) {
        MHD_resume_connection(c->connection); /* fell asleep behind the waker's back */
    }
    server_free(s);
}
