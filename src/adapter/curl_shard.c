/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_shard.h"

#include "adapter/curl_memory.h"
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    AGAIN_MS = 100,
    FAREWELL_SIZE_MAX = 128 /* TLS's close_notify, at most 85 bytes; a paid request is longer */
};

/* A descriptor that libcurl uses. A connection's is made and closed by us, and outlives the
 * transfers on it: libcurl says REMOVE at the end of each transfer, while the connection stays in
 * its cache. We go on watching it for reading then, which costs nothing, whereas telling epoll at
 * the end and at the start of each transfer costs two system calls each. Other descriptors (those
 * that wake libcurl from its resolver threads) live from ADD to REMOVE. */
struct sluice_curl_socket {
    uv_poll_t poll;
    struct sluice_curl_loop *shared;
    struct sluice_curl_shard *shard; /* NULL until libcurl first asks to watch it */
    curl_socket_t fd;
    uint32_t inode;        /* of a connection's descriptor, its low bits; see is_still_open() */
    uint8_t wanted;        /* UV_READABLE | UV_WRITABLE as libcurl wants it; 0: idle */
    uint8_t watched;       /* as libuv has it */
    uint8_t is_connection; /* opened by us */
    uint8_t is_idle;       /* counted in the shard's load */
    uint8_t has_outlived;  /* a transfer, so libcurl tells us when it closes it */
};

/* ---- Descriptors */

static void handle_closed(struct sluice_curl_loop *shared)
{
    shared->handles_open--;
    if (shared->handles_open == 0) {
        shared->on_closed(shared->ctx);
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct sluice_curl_socket *s = handle->data;
    struct sluice_curl_loop *shared = s->shared;
    sluice_mem_free(shared->allocator, s);
    handle_closed(shared);
}

static struct sluice_curl_socket *socket_find(struct sluice_curl_loop *shared, curl_socket_t fd)
{
    return fd >= 0 && (size_t)fd < shared->by_fd_size ? shared->by_fd[fd] : NULL;
}

static int table_grow(struct sluice_curl_loop *shared, size_t needed)
{
    size_t size = shared->by_fd_size == 0 ? 64 : shared->by_fd_size;
    while (size < needed) {
        size *= 2;
    }
    void *table = shared->allocator->resize(shared->allocator->ctx, shared->by_fd,
                                            size * sizeof *shared->by_fd);
    if (table == NULL) {
        sluice_curl_memory_note();
        return 0;
    }
    shared->by_fd = table;
    memset(shared->by_fd + shared->by_fd_size, 0,
           (size - shared->by_fd_size) * sizeof *shared->by_fd);
    shared->by_fd_size = size;
    return 1;
}

static struct sluice_curl_socket *socket_create(struct sluice_curl_loop *shared, curl_socket_t fd,
                                                int is_connection)
{
    if ((size_t)fd >= shared->by_fd_size && !table_grow(shared, (size_t)fd + 1)) {
        return NULL;
    }
    struct sluice_curl_socket *s = sluice_mem_alloc(shared->allocator, 1, sizeof *s);
    if (s == NULL) {
        sluice_curl_memory_note();
        return NULL;
    }
    if (uv_poll_init(shared->loop, &s->poll, fd) != 0) {
        sluice_mem_free(shared->allocator, s);
        return NULL;
    }
    shared->handles_open++;
    shared->sockets_open += is_connection != 0;
    s->poll.data = s;
    s->shared = shared;
    s->fd = fd;
    s->is_connection = is_connection != 0;
    shared->by_fd[fd] = s;
    return s;
}

static void socket_set_idle(struct sluice_curl_socket *s, int is_idle)
{
    if (s->is_idle != is_idle && s->shard != NULL) {
        s->is_idle = is_idle != 0;
        s->shard->load.idle = (uint16_t)(s->shard->load.idle + (is_idle ? 1 : -1));
    }
}

static void socket_destroy(struct sluice_curl_socket *s)
{
    socket_set_idle(s, 0);
    s->shared->sockets_open -= s->is_connection;
    s->shared->by_fd[s->fd] = NULL;
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}

static void on_poll(uv_poll_t *handle, int status, int events);
static void on_timer(uv_timer_t *timer);

static void socket_watch(struct sluice_curl_socket *s, uint8_t events)
{
    if (events != s->watched) {
        s->watched = events;
        if (events == 0) {
            (void)uv_poll_stop(&s->poll);
        } else if (uv_poll_start(&s->poll, events, on_poll) != 0) {
            s->watched = 0; /* the call's timeout ends it */
        }
    }
}

/* ---- Turns */

/* Let libcurl work on one descriptor, or on what is due (CURL_SOCKET_TIMEOUT). */
static void shard_turn(struct sluice_curl_shard *shard, curl_socket_t fd, int flags)
{
    struct sluice_curl_loop *shared = shard->shared;
    int running = 0;
    shared->is_in_curl = 1;
    CURLMcode code = curl_multi_socket_action(shard->multi, fd, flags, &running);
    shared->is_in_curl = 0;
    if (code != CURLM_OK) {
        /* For want of memory it stops where it is, and does not say when it is to be called again:
         * without that even time-outs would never come. */
        (void)uv_timer_start(&shard->timer, on_timer, AGAIN_MS, 0);
    }
    CURLMsg *message;
    int left = 0;
    while ((message = curl_multi_info_read(shard->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            shared->on_ended(shared->ctx, message->easy_handle, message->data.result);
        }
    }
    shared->on_turn(shared->ctx);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct sluice_curl_socket *s = handle->data;
    if (s->wanted == 0) {
        /* The server closed an idle connection, or speaks without being asked. libcurl notices when
         * it looks for a connection; until then it must not wake us again. */
        socket_watch(s, 0);
        socket_set_idle(s, 0);
        return;
    }
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    shard_turn(s->shard, s->fd, flags);
}

static void on_timer(uv_timer_t *timer)
{
    shard_turn(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- libcurl's callbacks */

static int on_curl_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct sluice_curl_shard *shard = ctx;
    (void)multi;
    if (timeout_ms < 0) {
        (void)uv_timer_stop(&shard->timer);
    } else {
        (void)uv_timer_start(&shard->timer, on_timer, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

/* Of libcurl 7.88 (Debian 12): a descriptor whose connection never came to be, because the transfer
 * was removed or timed out while connecting, is closed without a word; REMOVE comes afterwards. To
 * watch it then would abort in libuv, or watch what another thread has opened under its number. */
static int is_still_open(struct sluice_curl_socket *s)
{
    struct stat st;
    if (!s->has_outlived) {
        s->has_outlived =
            fstat(s->fd, &st) == 0 && S_ISSOCK(st.st_mode) && (uint32_t)st.st_ino == s->inode;
    }
    return s->has_outlived;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    struct sluice_curl_shard *shard = ctx;
    struct sluice_curl_socket *s = socket_find(shard->shared, fd);
    (void)easy;
    (void)unused;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL && s->is_connection && is_still_open(s)) {
            s->wanted = 0;
            socket_set_idle(s, 1);
            if ((s->watched & UV_WRITABLE) != 0) { /* would wake us all the time */
                socket_watch(s, UV_READABLE);
            }
        } else if (s != NULL) {
            socket_destroy(s);
        }
        return 0;
    }
    if (s == NULL) {
        s = socket_create(shard->shared, fd, 0);
    }
    if (s == NULL) {
        return -1; /* libcurl fails the transfer */
    }
    s->shard = shard;
    socket_set_idle(s, 0);
    s->wanted = (uint8_t)(((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
                          ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0));
    socket_watch(s, s->wanted);
    return 0;
}

static curl_socket_t on_curl_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct sluice_curl_loop *shared = ctx;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
    if (fd < 0) {
        return CURL_SOCKET_BAD;
    }
    struct stat st;
    struct sluice_curl_socket *s = fstat(fd, &st) == 0 ? socket_create(shared, fd, 1) : NULL;
    if (s == NULL) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    s->inode = (uint32_t)st.st_ino;
    shared->connects_total++;
    return fd;
}

/* The kernel goes on sending what a closed connection still has, for minutes: a request that was
 * lost in a partition and given up would arrive when that is over, and be paid for beside the one
 * that was made in its place. So it is thrown away, and the peer gets a reset, if anything. */
static void forget_unsent(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    int unacknowledged = 0;
    if (ioctl(fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged > FAREWELL_SIZE_MAX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
}

static int on_curl_close(void *ctx, curl_socket_t fd)
{
    struct sluice_curl_socket *s = socket_find(ctx, fd);
    if (s != NULL) {
        socket_destroy(s); /* leaves epoll before the descriptor is closed */
    }
    forget_unsent(fd);
    return close(fd);
}

/* ---- Shards */

struct sluice_curl_shard *sluice_curl_shard_create(struct sluice_curl_loop *shared)
{
    struct sluice_curl_shard *shard = sluice_mem_alloc(shared->allocator, 1, sizeof *shard);
    if (shard == NULL) {
        return NULL;
    }
    shard->shared = shared;
    shard->multi = curl_multi_init();
    if (shard->multi == NULL) {
        sluice_mem_free(shared->allocator, shard);
        return NULL;
    }
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)SLUICE_CURL_SHARD_TRANSFERS);
    (void)uv_timer_init(shared->loop, &shard->timer);
    shared->handles_open++;
    shard->timer.data = shard;
    shard->used_ms = uv_now(shared->loop);
    return shard;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct sluice_curl_shard *shard = handle->data;
    struct sluice_curl_loop *shared = shard->shared;
    sluice_mem_free(shared->allocator, shard);
    handle_closed(shared);
}

void sluice_curl_shard_destroy(struct sluice_curl_shard *shard)
{
    if (shard == NULL) {
        return;
    }
    (void)curl_multi_cleanup(shard->multi);
    (void)uv_timer_stop(&shard->timer);
    uv_close((uv_handle_t *)&shard->timer, on_timer_closed);
}

int sluice_curl_shard_add(struct sluice_curl_shard *shard, CURL *easy)
{
    if (curl_multi_add_handle(shard->multi, easy) != CURLM_OK) {
        return -1;
    }
    shard->load.running++;
    shard->used_ms = uv_now(shard->shared->loop);
    return 0;
}

void sluice_curl_shard_remove(struct sluice_curl_shard *shard, CURL *easy)
{
    (void)curl_multi_remove_handle(shard->multi, easy);
    shard->load.running--;
    shard->used_ms = uv_now(shard->shared->loop);
}

void sluice_curl_shard_prepare(struct sluice_curl_loop *shared, CURL *easy)
{
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_curl_open);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, shared);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_curl_close);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, shared);
}
