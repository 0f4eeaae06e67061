/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096, REQUEST_SIZE_MAX = 4 * 1024 * 1024, STACK_SIZE = 256 * 1024 };

struct connection {
    struct tiny_server *server;
    pthread_t thread;
    int fd;
    unsigned index;
    char *in;
    size_t in_len, in_size;
};

struct tiny_server {
    tiny_answer_fn *answer;
    void *ctx;
    int listen_fd, stop_fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock; /* what follows, and calls of `answer` */
    struct connection *connections[CONNECTIONS_MAX];
    unsigned accepted, requests, open, open_most;
};

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "tiny server: %s: %s\n", #condition, strerror(errno));                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* 1: the descriptor is ready; 0: time is over; -1: the server stops. */
static int wait_for(struct tiny_server *server, int fd, short events, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = server->stop_fd, .events = POLLIN},
                            {.fd = fd, .events = events}};
    int ready = poll(fds, fd < 0 ? 1 : 2, timeout_ms);
    if (ready < 0 || fds[0].revents != 0) {
        return -1;
    }
    return ready > 0;
}

static int write_all(struct connection *c, const char *bytes, size_t len)
{
    while (len != 0) {
        if (wait_for(c->server, c->fd, POLLOUT, -1) < 0) {
            return -1;
        }
        ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) {
            return -1;
        }
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int write_answer(struct connection *c, const struct tiny_answer *answer)
{
    if (answer->delay_ms != 0 && wait_for(c->server, -1, 0, (int)answer->delay_ms) < 0) {
        return -1;
    }
    size_t piece = answer->piece_len == 0 ? answer->len : answer->piece_len;
    for (size_t at = 0; at < answer->len; at += piece) {
        size_t left = answer->len - at;
        if (write_all(c, answer->bytes + at, left < piece ? left : piece) != 0 ||
            (answer->pause_ms != 0 && wait_for(c->server, -1, 0, (int)answer->pause_ms) < 0)) {
            return -1;
        }
    }
    for (size_t i = 0; i < answer->tail_count; i++) {
        if (write_all(c, answer->tail, answer->tail_len) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_more(struct connection *c)
{
    if (c->in_len + 1 >= c->in_size) {
        c->in_size = c->in_size == 0 ? 4096 : c->in_size * 2;
        MUST(c->in_size <= REQUEST_SIZE_MAX);
        c->in = realloc(c->in, c->in_size);
        MUST(c->in != NULL);
    }
    if (wait_for(c->server, c->fd, POLLIN, -1) < 0) {
        return -1;
    }
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len - 1, 0);
    if (n <= 0) {
        return -1;
    }
    c->in_len += (size_t)n;
    c->in[c->in_len] = '\0';
    return 0;
}

/* Returns the length of the request at the start of `in`, 0 when the connection has ended. */
static size_t read_request(struct connection *c, size_t *head_len, size_t *body_len)
{
    char *end;
    while (c->in_len == 0 || (end = strstr(c->in, "\r\n\r\n")) == NULL) {
        if (read_more(c) != 0) {
            return 0;
        }
    }
    *head_len = (size_t)(end - c->in);
    const char *length = strcasestr(c->in, "\r\nContent-Length:");
    *body_len = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t total = *head_len + 4 + *body_len;
    while (c->in_len < total) {
        if (read_more(c) != 0) {
            return 0;
        }
    }
    return total;
}

static enum tiny_after serve_one(struct connection *c, unsigned number)
{
    size_t head_len;
    size_t body_len;
    struct tiny_server *server = c->server;
    size_t total = read_request(c, &head_len, &body_len);
    if (total == 0) {
        return TINY_CLOSE;
    }
    struct tiny_answer *answer = calloc(1, sizeof *answer);
    char *head = strndup(c->in, head_len);
    char *body = strndup(c->in + head_len + 4, body_len);
    MUST(answer != NULL && head != NULL && body != NULL);
    pthread_mutex_lock(&server->lock);
    const struct tiny_request request = {.connection = c->index,
                                         .number = number,
                                         .total = server->requests++,
                                         .head = head,
                                         .body = body,
                                         .body_len = body_len};
    server->answer(server->ctx, &request, answer);
    pthread_mutex_unlock(&server->lock);
    enum tiny_after after = write_answer(c, answer) == 0 ? answer->after : TINY_CLOSE;
    memmove(c->in, c->in + total, c->in_len - total);
    c->in_len -= total;
    c->in[c->in_len] = '\0';
    free(head);
    free(body);
    free(answer);
    return after;
}

static void *connection_run(void *arg)
{
    struct connection *c = arg;
    enum tiny_after after = TINY_KEEP;
    for (unsigned number = 0; after == TINY_KEEP; number++) {
        after = serve_one(c, number);
    }
    if (after == TINY_HANG) {
        (void)wait_for(c->server, c->fd, POLLIN | POLLHUP, -1);
    }
    if (after == TINY_RESET) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    (void)close(c->fd);
    free(c->in);
    pthread_mutex_lock(&c->server->lock);
    c->server->open--;
    pthread_mutex_unlock(&c->server->lock);
    return NULL;
}

static void accept_one(struct tiny_server *server)
{
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = calloc(1, sizeof *c);
    MUST(c != NULL && server->accepted < CONNECTIONS_MAX);
    c->server = server;
    c->fd = fd;
    pthread_mutex_lock(&server->lock);
    c->index = server->accepted++;
    server->connections[c->index] = c;
    server->open++;
    server->open_most = server->open > server->open_most ? server->open : server->open_most;
    pthread_mutex_unlock(&server->lock);
    pthread_attr_t attributes;
    MUST(pthread_attr_init(&attributes) == 0);
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    MUST(pthread_create(&c->thread, &attributes, connection_run, c) == 0);
    (void)pthread_attr_destroy(&attributes);
}

static void *server_run(void *arg)
{
    struct tiny_server *server = arg;
    while (wait_for(server, server->listen_fd, POLLIN, -1) > 0) {
        accept_one(server);
    }
    return NULL;
}

struct tiny_server *tiny_server_start(tiny_answer_fn *answer, void *ctx)
{
    struct tiny_server *server = calloc(1, sizeof *server);
    MUST(server != NULL);
    server->answer = answer;
    server->ctx = ctx;
    server->stop_fd = eventfd(0, EFD_CLOEXEC);
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(server->stop_fd >= 0 && server->listen_fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    MUST(bind(server->listen_fd, (struct sockaddr *)&address, size) == 0);
    MUST(listen(server->listen_fd, 1024) == 0);
    MUST(getsockname(server->listen_fd, (struct sockaddr *)&address, &size) == 0);
    server->port = ntohs(address.sin_port);
    MUST(pthread_mutex_init(&server->lock, NULL) == 0);
    MUST(pthread_create(&server->thread, NULL, server_run, server) == 0);
    return server;
}

void tiny_server_stop(struct tiny_server *server)
{
    uint64_t one = 1;
    MUST(write(server->stop_fd, &one, sizeof one) == sizeof one);
    MUST(pthread_join(server->thread, NULL) == 0);
    for (unsigned i = 0; i < server->accepted; i++) {
        MUST(pthread_join(server->connections[i]->thread, NULL) == 0);
        free(server->connections[i]);
    }
    (void)close(server->listen_fd);
    (void)close(server->stop_fd);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

uint16_t tiny_server_port(const struct tiny_server *server)
{
    return server->port;
}

static unsigned read_number(struct tiny_server *server, const unsigned *number)
{
    pthread_mutex_lock(&server->lock);
    unsigned value = *number;
    pthread_mutex_unlock(&server->lock);
    return value;
}

unsigned tiny_server_connections(struct tiny_server *server)
{
    return read_number(server, &server->accepted);
}

unsigned tiny_server_requests(struct tiny_server *server)
{
    return read_number(server, &server->requests);
}

unsigned tiny_server_open_most(struct tiny_server *server)
{
    return read_number(server, &server->open_most);
}

void tiny_answer_text(struct tiny_answer *out, const char *status, const char *headers,
                      const char *body)
{
    int len =
        snprintf(out->bytes, sizeof out->bytes, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s",
                 status, headers, strlen(body), body);
    MUST(len > 0 && (size_t)len < sizeof out->bytes);
    out->len = (size_t)len;
}
