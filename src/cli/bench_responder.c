/* SPDX-License-Identifier: Apache-2.0 */
/* The LLM of the bench: one canned answer after a set time, from one epoll loop. It must cost less
 * than what is measured; `sluice llm-sim` thinks about its answers and does not. */
#include "cli/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_NS  500000
#define TICKS    16384 /* 8 s: the longest delay */
#define BUF_SIZE 16384
#define EVENTS   256

static const char content[] =
    "{\\\"summary\\\":\\\"About the copper shipments from Antwerp that arrive late this month, and "
    "what the carrier reports on terminal four "
    "say.\\\",\\\"items\\\":[{\\\"source\\\":\\\"input\\\","
    "\\\"kind\\\":\\\"fact\\\",\\\"content\\\":\\\"The carrier reports a strike at terminal "
    "four.\\\","
    "\\\"score\\\":0.75},{\\\"source\\\":\\\"input\\\",\\\"kind\\\":\\\"figure\\\",\\\"content\\\":"
    "\\\"The average delay is 4.2 days.\\\",\\\"score\\\":0.5}]}";

struct conn {
    int fd;
    size_t len, want;  /* want: of the request that is being read, 0 while its head is open */
    struct conn *next; /* in a tick */
    uint32_t message;
    int is_waiting;
    char *buf;
    size_t size;
};

struct responder {
    struct bench_shared *shared;
    int epoll, listener;
    struct conn *ticks[TICKS];
    int64_t tick; /* the last one that was worked off */
    uint32_t waiting;
    char answer[2048];
    size_t answer_len;
};

/* Both sides of the measurement compute it, so that the added time is exact. */
uint32_t bench_delay_us(uint32_t message, uint32_t latency_us, uint32_t jitter_us)
{
    uint64_t hash = (message + 1u) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
    jitter_us = jitter_us > latency_us ? latency_us : jitter_us;
    return latency_us - jitter_us + (uint32_t)(hash % (2u * jitter_us + 1u));
}

static void conn_close(struct conn *c)
{
    (void)close(c->fd); /* leaves epoll too */
    c->fd = -1;
    if (!c->is_waiting) {
        free(c->buf);
        free(c);
    }
}

static void respond(struct responder *r, struct conn *c)
{
    size_t sent = 0;
    while (sent < r->answer_len) { /* an answer fits into the socket's buffer */
        ssize_t n = send(c->fd, r->answer + sent, r->answer_len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            conn_close(c);
            return;
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    (void)atomic_fetch_add(&r->shared->bytes_out, r->answer_len);
}

static void call_take(struct responder *r, struct conn *c)
{
    const char *mark = memmem(c->buf, c->want, "#bench-", 7);
    c->message = mark == NULL ? 0 : (uint32_t)strtoul(mark + 7, NULL, 10);
    (void)atomic_fetch_add(&r->shared->calls, 1);
    (void)atomic_fetch_add(&r->shared->bytes_in, c->want);
    memmove(c->buf, c->buf + c->want, c->len - c->want);
    c->len -= c->want;
    c->want = 0;
    uint32_t delay = bench_delay_us(c->message, atomic_load(&r->shared->latency_us),
                                    atomic_load(&r->shared->jitter_us));
    if (mark == NULL || delay == 0) {
        respond(r, c);
        return;
    }
    /* The tick before the due time: less than one tick late with the wait's own lateness. */
    int64_t due = (bench_now_ns() + (int64_t)delay * 1000) / TICK_NS;
    due = due <= r->tick ? r->tick + 1 : due;
    due = due >= r->tick + TICKS ? r->tick + TICKS - 1 : due;
    c->is_waiting = 1;
    c->next = r->ticks[due % TICKS];
    r->ticks[due % TICKS] = c;
    r->waiting++;
}

static size_t request_size(struct conn *c)
{
    char *end = memmem(c->buf, c->len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end - c->buf) + 4;
    *end = '\0';
    const char *length = strcasestr(c->buf, "\r\ncontent-length:");
    *end = '\r';
    return head + (length == NULL ? 0 : strtoul(length + 17, NULL, 10));
}

static void on_readable(struct responder *r, struct conn *c)
{
    if (c->size - c->len < 4096) {
        char *more = realloc(c->buf, c->size * 2 + BUF_SIZE);
        if (more == NULL) {
            conn_close(c);
            return;
        }
        c->buf = more;
        c->size = c->size * 2 + BUF_SIZE;
    }
    ssize_t n = recv(c->fd, c->buf + c->len, c->size - c->len - 1, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            conn_close(c);
        }
        return;
    }
    c->len += (size_t)n;
    c->buf[c->len] = '\0';
    if (c->want == 0) {
        c->want = request_size(c);
    }
    if (c->want > 0 && c->len >= c->want && !c->is_waiting) {
        call_take(r, c);
    }
}

static void on_connection(struct responder *r)
{
    int fd;
    while ((fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        struct epoll_event ev = {.events = EPOLLIN, .data = {.ptr = c}};
        int yes = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (c == NULL || epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
            free(c);
            (void)close(fd);
            return;
        }
        c->fd = fd;
        (void)atomic_fetch_add(&r->shared->connections, 1);
    }
}

static void due_answer(struct responder *r)
{
    int64_t now = bench_now_ns() / TICK_NS;
    if (r->waiting == 0) {
        r->tick = now;
    }
    while (r->tick < now) {
        r->tick++;
        struct conn *c = r->ticks[r->tick % TICKS];
        r->ticks[r->tick % TICKS] = NULL;
        while (c != NULL) {
            struct conn *next = c->next;
            c->is_waiting = 0;
            r->waiting--;
            if (c->fd < 0) { /* the client has gone meanwhile */
                free(c->buf);
                free(c);
            } else {
                respond(r, c);
            }
            c = next;
        }
    }
}

static int responder_listen(struct responder *r)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    struct epoll_event ev = {.events = EPOLLIN, .data = {.ptr = NULL}};
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r->listener < 0 || r->epoll < 0 ||
        bind(r->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(r->listener, 16384) != 0 ||
        getsockname(r->listener, (struct sockaddr *)&address, &len) != 0 ||
        epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->listener, &ev) != 0) {
        return 0;
    }
    atomic_store(&r->shared->llm_port, ntohs(address.sin_port));
    return 1;
}

static void answer_make(struct responder *r)
{
    char body[1536];
    int len =
        snprintf(body, sizeof body,
                 "{\"id\":\"bench\",\"object\":\"chat.completion\",\"created\":1,\"model\":"
                 "\"bench-1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                 "\"content\":\"%s\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":"
                 "200,\"completion_tokens\":80,\"total_tokens\":280}}",
                 content);
    r->answer_len = (size_t)snprintf(r->answer, sizeof r->answer,
                                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                     "Content-Length: %d\r\n\r\n%s",
                                     len, body);
}

int bench_responder(struct bench_shared *shared)
{
    static struct responder r;
    static struct epoll_event events[EVENTS];
    r.shared = shared;
    r.tick = bench_now_ns() / TICK_NS;
    answer_make(&r);
    if (!responder_listen(&r)) {
        perror("sluice bench: responder");
        return 1;
    }
    for (;;) { /* ends by the signal of its parent, or with it */
        struct timespec tick = {0, TICK_NS};
        int n = epoll_pwait2(r.epoll, events, EVENTS, r.waiting > 0 ? &tick : NULL, NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                on_connection(&r);
            } else {
                on_readable(&r, events[i].data.ptr);
            }
        }
        due_answer(&r); /* last: it may free what the events name */
    }
}
