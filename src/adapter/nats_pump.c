/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_pump.h"

#include "port/clock.h"
#include <fcntl.h>
#include <nats/version.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_AT_BYTES 32768u /* cnats' own buffer size */
#define NO_FD         (-1)

struct sluice_nats_pump {
    uv_async_t wake;   /* another thread has put something into the buffer */
    uv_prepare_t turn; /* before the loop sleeps */
    uint32_t handles;  /* not closed yet; loop thread */
    atomic_uint refs;  /* owner, handles */
    atomic_int is_tls;
    atomic_ullong turns;
    pthread_mutex_t lock;              /* guards is_closed */
    int is_closed;                     /* `wake` must not be touched */
    pthread_mutex_t reading;           /* held while cnats takes a read apart */
    struct sluice_nats_socket *socket; /* started; loop thread */
};

struct sluice_nats_socket {
    struct sluice_nats_pump *pump;
    natsConnection *nc; /* from attach on */
    int fd;             /* ours: a duplicate */
    int fd_of_cnats;
    atomic_int wants_write; /* bytes wait in cnats' buffer */
    atomic_int is_over;     /* cnats has closed the connection */
    atomic_ullong reads;
    /* Loop thread. */
    uv_poll_t *poll;
    void (*on_tls)(void *ctx);
    void *ctx;
    int has_spoken;        /* the server, since the loop reads */
    size_t bytes;          /* put into the buffer since the last send, about */
    int is_writable_asked; /* the last send did not take everything */
    int64_t stuck_since_ms;
};

/* Set while this thread is inside a call from which cnats asks for a send that the turn's end
 * brings anyway. */
static _Thread_local int is_on_loop;

/* ---- The pump ---- */

void sluice_nats_pump_unref(struct sluice_nats_pump *pump)
{
    if (pump != NULL && atomic_fetch_sub(&pump->refs, 1) == 1) {
        pthread_mutex_destroy(&pump->lock);
        pthread_mutex_destroy(&pump->reading);
        free(pump);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    sluice_nats_pump_unref(handle->data);
}

static void on_wake(uv_async_t *wake)
{
    (void)wake; /* on_turn follows */
}

static void wake(struct sluice_nats_pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    if (!pump->is_closed) {
        (void)uv_async_send(&pump->wake);
    }
    pthread_mutex_unlock(&pump->lock);
}

int sluice_nats_pump_is_usable(const struct sluice_nats_pump *pump)
{
    return !atomic_load(&pump->is_tls);
}

uint64_t sluice_nats_pump_turns(const struct sluice_nats_pump *pump)
{
    return atomic_load_explicit(&pump->turns, memory_order_relaxed);
}

/* ---- What cnats calls: any thread, with the connection's lock held ---- */

static natsStatus attach(void **user, void *loop, natsConnection *nc, natsSock fd)
{
    struct sluice_nats_socket *socket = loop;
    socket->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (socket->fd < 0) {
        return NATS_SYS_ERROR;
    }
    socket->fd_of_cnats = fd;
    socket->nc = nc;
    *user = socket;
    return NATS_OK;
}

static natsStatus want_read(void *user, bool is_wanted)
{
    struct sluice_nats_socket *socket = user;
    if (!is_wanted) {
        atomic_store(&socket->is_over, 1);
        if (!is_on_loop) {
            wake(socket->pump);
        }
    }
    return NATS_OK;
}

static natsStatus want_write(void *user, bool is_wanted)
{
    struct sluice_nats_socket *socket = user;
    atomic_store(&socket->wants_write, is_wanted);
    if (is_wanted && !is_on_loop) {
        wake(socket->pump);
    }
    return NATS_OK;
}

static natsStatus detach(void *user)
{
#if NATS_VERSION_NUMBER >= 0x030a00
    /* Since 3.10 cnats leaves its descriptor to the loop's owner. */
    struct sluice_nats_socket *socket = user;
    (void)close(socket->fd_of_cnats);
#else
    (void)user;
#endif
    return NATS_OK;
}

struct sluice_nats_socket *sluice_nats_socket_create(struct sluice_nats_pump *pump)
{
    struct sluice_nats_socket *socket = calloc(1, sizeof *socket);
    if (socket != NULL) {
        socket->pump = pump;
        socket->fd = socket->fd_of_cnats = NO_FD;
    }
    return socket;
}

natsStatus sluice_nats_socket_use(struct sluice_nats_socket *socket, natsOptions *opts)
{
    natsStatus status =
        natsOptions_SetEventLoop(opts, socket, attach, want_read, want_write, detach);
    /* No flusher thread; what is published asks for a send. */
    status = status == NATS_OK ? natsOptions_SetSendAsap(opts, true) : status;
    return status == NATS_OK ? natsOptions_SetPingInterval(opts, 0) : status;
}

uint64_t sluice_nats_socket_reads(const struct sluice_nats_socket *socket)
{
    return atomic_load_explicit(&socket->reads, memory_order_relaxed);
}

void sluice_nats_socket_free(struct sluice_nats_socket *socket)
{
    if (socket != NULL) {
        if (socket->fd != NO_FD) {
            (void)close(socket->fd);
        }
        free(socket);
    }
}

/* ---- Reading and writing: loop thread ---- */

static void on_event(uv_poll_t *poll, int status, int events);

static void ask(struct sluice_nats_socket *socket, int is_writable_asked)
{
    if (socket->is_writable_asked != is_writable_asked && socket->poll != NULL) {
        socket->is_writable_asked = is_writable_asked;
        (void)uv_poll_start(socket->poll, UV_READABLE | (is_writable_asked ? UV_WRITABLE : 0),
                            on_event);
    }
}

/* Send what waits; what the socket does not take goes when it is writable. */
static void send_all(struct sluice_nats_socket *socket)
{
    if (!atomic_load(&socket->wants_write) || atomic_load(&socket->is_over)) {
        return;
    }
    is_on_loop = 1;
    int before = socket->is_writable_asked ? natsConnection_Buffered(socket->nc) : 0;
    natsConnection_ProcessWriteEvent(socket->nc);
    is_on_loop = 0;
    socket->bytes = 0;
    int is_left = atomic_load(&socket->wants_write) && !atomic_load(&socket->is_over);
    if (!is_left) {
        socket->stuck_since_ms = 0;
    } else if (socket->stuck_since_ms == 0 || natsConnection_Buffered(socket->nc) < before) {
        socket->stuck_since_ms = sluice_mono_ms();
    }
    ask(socket, is_left);
}

/* The first byte of every TLS record is its type, 20 to 24 (RFC 8446, 5.1); NATS speaks in letters,
 * '+' and '-'. */
static int speaks_tls(struct sluice_nats_socket *socket)
{
    unsigned char type;
    if (socket->has_spoken || recv(socket->fd, &type, 1, MSG_PEEK | MSG_DONTWAIT) != 1) {
        return 0;
    }
    socket->has_spoken = 1;
    if (type < 20 || type > 24) {
        return 0;
    }
    atomic_store(&socket->pump->is_tls, 1);
    atomic_store(&socket->is_over, 1);
    return 1;
}

static void receive(struct sluice_nats_socket *socket)
{
    if (speaks_tls(socket)) {
        socket->on_tls(socket->ctx);
        return;
    }
    is_on_loop = 1;
    pthread_mutex_lock(&socket->pump->reading);
    natsConnection_ProcessReadEvent(socket->nc);
    pthread_mutex_unlock(&socket->pump->reading);
    is_on_loop = 0;
    if (!atomic_load(&socket->is_over)) {
        (void)atomic_fetch_add_explicit(&socket->reads, 1, memory_order_relaxed);
    }
}

/* A connection that cnats has closed has an end of file to read for ever. */
static int is_over(struct sluice_nats_socket *socket)
{
    if (!atomic_load(&socket->is_over)) {
        return 0;
    }
    if (socket->poll != NULL) {
        (void)uv_poll_stop(socket->poll);
    }
    return 1;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct sluice_nats_socket *socket = poll->data;
    if (is_over(socket)) {
        return;
    }
    if (status < 0 || (events & UV_READABLE) != 0) {
        receive(socket); /* also what tells cnats of an error */
    }
    if ((events & UV_WRITABLE) != 0) {
        send_all(socket);
    }
}

static void on_turn(uv_prepare_t *turn)
{
    struct sluice_nats_pump *pump = turn->data;
    (void)atomic_fetch_add_explicit(&pump->turns, 1, memory_order_relaxed);
    if (pump->socket != NULL && !is_over(pump->socket) && !pump->socket->is_writable_asked) {
        send_all(pump->socket);
    }
}

static int has_locks(struct sluice_nats_pump *pump)
{
    if (pthread_mutex_init(&pump->lock, NULL) != 0) {
        return 0;
    }
    if (pthread_mutex_init(&pump->reading, NULL) != 0) {
        pthread_mutex_destroy(&pump->lock);
        return 0;
    }
    return 1;
}

struct sluice_nats_pump *sluice_nats_pump_create(uv_loop_t *loop)
{
    struct sluice_nats_pump *pump = calloc(1, sizeof *pump);
    if (pump == NULL || !has_locks(pump)) {
        free(pump);
        return NULL;
    }
    if (uv_async_init(loop, &pump->wake, on_wake) != 0) {
        pthread_mutex_destroy(&pump->lock);
        pthread_mutex_destroy(&pump->reading);
        free(pump);
        return NULL;
    }
    atomic_init(&pump->refs, 3);
    (void)uv_prepare_init(loop, &pump->turn);
    (void)uv_prepare_start(&pump->turn, on_turn);
    pump->wake.data = pump->turn.data = pump;
    uv_unref((uv_handle_t *)&pump->wake);
    uv_unref((uv_handle_t *)&pump->turn);
    return pump;
}

void sluice_nats_pump_close(struct sluice_nats_pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    pump->is_closed = 1;
    pthread_mutex_unlock(&pump->lock);
    uv_close((uv_handle_t *)&pump->wake, on_handle_closed);
    uv_close((uv_handle_t *)&pump->turn, on_handle_closed);
}

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

int sluice_nats_socket_start(struct sluice_nats_socket *socket, void (*on_tls)(void *ctx),
                             void *ctx)
{
    socket->on_tls = on_tls;
    socket->ctx = ctx;
    socket->poll = malloc(sizeof *socket->poll);
    if (socket->poll == NULL) {
        return 0;
    }
    if (uv_poll_init(socket->pump->turn.loop, socket->poll, socket->fd) != 0) {
        free(socket->poll);
        socket->poll = NULL;
        return 0;
    }
    socket->poll->data = socket;
    socket->pump->socket = socket;
    uv_unref((uv_handle_t *)socket->poll);
    (void)uv_poll_start(socket->poll, UV_READABLE, on_event);
    return 1;
}

void sluice_nats_socket_stop(struct sluice_nats_socket *socket)
{
    if (socket->poll != NULL) {
        uv_close((uv_handle_t *)socket->poll, free_poll); /* out of epoll before this returns */
        socket->poll = NULL;
        socket->pump->socket = NULL;
    }
}

void sluice_nats_socket_turn(struct sluice_nats_socket *socket, int timeout_ms)
{
    struct pollfd one = {.fd = socket->fd, .events = POLLIN};
    if (atomic_load(&socket->wants_write)) {
        one.events |= POLLOUT;
    }
    int count = poll(&one, 1, timeout_ms);
    if (count > 0 && !is_over(socket)) {
        if ((one.revents & POLLOUT) != 0) {
            send_all(socket);
        }
        if ((one.revents & ~POLLOUT) != 0) {
            receive(socket);
        }
    }
}

void sluice_nats_socket_begin(void)
{
    is_on_loop = 1;
}

void sluice_nats_socket_end(struct sluice_nats_socket *socket, size_t bytes)
{
    is_on_loop = 0;
    socket->bytes += bytes;
    if (socket->bytes >= SEND_AT_BYTES && !socket->is_writable_asked) {
        send_all(socket);
    }
}

int64_t sluice_nats_socket_stuck_ms(const struct sluice_nats_socket *socket, int64_t now_ms)
{
    return socket->stuck_since_ms == 0 ? 0 : now_ms - socket->stuck_since_ms;
}

void sluice_nats_socket_await_read(struct sluice_nats_socket *socket)
{
    pthread_mutex_lock(&socket->pump->reading);
    pthread_mutex_unlock(&socket->pump->reading);
}
