/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_link.h"

#include "adapter/nats_connect.h"
#include "codec/header.h"
#include "core/assert.h"
#include "core/prng.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define TEXT_SIZE  384u
#define INBOX_SIZE 128u
#define FIRST_DELAY_MS                                                                             \
    100 /* doubles up to the configured wait: a restarted local server is found soon */
#define FLUSH_TIMEOUT_MS 2000 /* at destroy */
#define LET_GO_TIMEOUT_MS                                                                          \
    15000 /* for cnats to end a connection: write deadline (5 s) and callbacks */
#define GIVE_UP_CONNECT_MS                                                                         \
    2000 /* destroy waits so long for a connect in progress, then leaves the thread to itself */
#define CONNECT_MARGIN_MS 5000 /* beyond the timeouts of all servers: then the connect hangs */
#define LOGIN_TRIES       3    /* nats.c before 3.8 loses a signature now and then (#705) */
#define PING_INTERVAL_MS                                                                           \
    2000 /* with its timeout and misses: a frozen server is left within 6 s                        \
          */
#define PING_TIMEOUT_MS  2000
#define PINGS_MISSED_MAX 2u
#define STUCK_MAX_MS     5000 /* a server that takes nothing for so long is given up */
#define STOP_POLL_MS     5
#define SPENT_MAX        512u /* messages given back to cnats at once */
#define SPENT_BYTES_MAX  524288u
#define FRAME_BYTES      256u /* about what a message has beside its body */

/* A change of state on its way to the loop thread; outlives its connection. */
struct state_mail {
    struct sluice_mail mail;
    struct sluice_nats_link *link;
    struct conn *conn; /* valid unless the link was stopped */
};

/* Messages that nobody needs any more. cnats frees them on a thread of its own, which it wakes
 * whenever that thread is idle, and which then fights for the lock with whoever gives back the
 * next: one by one a tenth of the worker's CPU time, in lists of 64 still 8 %. One thread fills a
 * list. */
struct spent {
    natsMsg *messages[SPENT_MAX];
    uint32_t count;
    size_t bytes;
};

/* One connection, from its connect to cnats' letting go of it. */
struct conn {
    struct sluice_nats_link *link;
    natsConnection *nc;
    struct sluice_nats_socket *socket; /* NULL: cnats' threads read and write */
    struct sluice_nats_tap *taps;      /* loop thread; the link's thread once is_released */
    struct state_mail *up, *down;      /* not posted yet */
    struct spent sent;                 /* loop thread */
    struct spent received;             /* delivery thread */
    int64_t since_ms;
    char inbox[INBOX_SIZE];
    char server[TEXT_SIZE];
    /* Guarded by the link's lock. */
    char why[TEXT_SIZE];
    uint32_t taps_open; /* that may still call back */
    int is_closed;      /* cnats said so: no state callback follows */
    int is_up;          /* the loop thread uses it */
    int must_close;     /* the link's thread shall close it */
    int is_released;    /* the loop thread has dropped it */
};

struct sluice_nats_tap {
    struct conn *conn;
    struct sluice_nats_tap *next;
    natsSubscription *sub;
    sluice_nats_message_fn *fn;
    void (*released)(void *ctx);
    void *ctx;
};

enum thread_state { THREAD_WAITING, THREAD_CONNECTING, THREAD_ENDED };

struct sluice_nats_link {
    struct sluice_nats_settings *settings; /* the link's thread */
    struct sluice_nats_box *box;
    struct sluice_nats_link_events events;
    void *ctx;
    struct sluice_nats_pump *pump; /* NULL: see nats_pump.h */
    struct conn *conn;             /* loop thread; NULL when down */
    int64_t payload_max;
    int64_t connect_limit_ms;
    int is_lost;    /* loop thread: on_lost was called */
    int is_stopped; /* loop thread */
    struct sluice_prng prng;
    struct sluice_mail lost;
    pthread_mutex_t lock; /* guards what follows, and the marked members of conn */
    pthread_cond_t changed;
    char why_lost[TEXT_SIZE + SLUICE_ERR_TEXT_SIZE];
    struct conn *current; /* what the thread looks after */
    int64_t connecting_since_ms;
    enum thread_state state;
    int must_stop;
    int is_flushed; /* what was published before the stop has been taken */
    int is_leaked;  /* cnats kept a connection: its memory and the link's stay */
    uint32_t refs;  /* owner, thread, kept connections */
};

/* ---- Small things ---- */

int64_t sluice_nats_now_ms(void)
{
    struct timespec now;
#ifdef CLOCK_BOOTTIME
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
#else
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* counts suspended time on macOS */
#endif
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Fill with random letters and digits, for inboxes; `size` includes the end. */
static void random_token(char *out, size_t size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab";
    unsigned char bytes[64];
    size_t len = size - 1 < sizeof bytes ? size - 1 : sizeof bytes;
    size_t got = 0;
    while (got < len) {
        ssize_t n = getrandom(bytes + got, len - got, 0);
        SLUICE_ASSERT(n > 0 || errno == EINTR);
        got += n > 0 ? (size_t)n : 0;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = letters[bytes[i] & 63u];
    }
    out[len] = '\0';
}

static void spent_free(struct spent *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        natsMsg_Destroy(s->messages[i]);
    }
    s->count = 0;
    s->bytes = 0;
}

static void spent_add(struct spent *s, natsMsg *message, size_t bytes)
{
    s->messages[s->count++] = message;
    s->bytes += bytes;
    if (s->count == SPENT_MAX || s->bytes >= SPENT_BYTES_MAX) {
        spent_free(s);
    }
}

/* Wait for a change, at most until `deadline_ms` (monotonic); 0 when it has passed. The lock is
 * held. */
static int wait_until(struct sluice_nats_link *link, int64_t deadline_ms)
{
    int64_t left = deadline_ms - sluice_nats_now_ms();
    if (left <= 0) {
        return 0;
    }
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + left % 1000 * 1000000;
    at.tv_sec += (time_t)(left / 1000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    (void)pthread_cond_timedwait(&link->changed, &link->lock, &at);
    return 1;
}

/* ---- A connection's life: these run on the link's thread ---- */

/* cnats' callback thread: the last that comes of this connection. */
static void on_closed(natsConnection *nc, void *closure)
{
    struct conn *conn = closure;
    struct sluice_nats_link *link = conn->link;
    const char *words = NULL;
    natsStatus status = natsConnection_GetLastError(nc, &words);
    pthread_mutex_lock(&link->lock);
    if (conn->why[0] == '\0') {
        sluice_nats_redact(words != NULL && words[0] != '\0' ? words
                           : status != NATS_OK               ? natsStatus_GetText(status)
                                                             : "connection closed",
                           conn->why, sizeof conn->why);
    }
    conn->is_closed = 1;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void link_unref(struct sluice_nats_link *link)
{
    pthread_mutex_lock(&link->lock);
    int is_last = --link->refs == 0;
    pthread_mutex_unlock(&link->lock);
    if (is_last) {
        pthread_cond_destroy(&link->changed);
        pthread_mutex_destroy(&link->lock);
        sluice_nats_settings_destroy(link->settings);
        sluice_nats_pump_unref(link->pump);
        free(link);
    }
}

static void deliver_up(struct sluice_mail *mail)
{
    struct state_mail *up = (struct state_mail *)mail;
    struct sluice_nats_link *link = up->link;
    struct conn *conn = up->conn;
    free(up);
    if (link->is_stopped) {
        return;
    }
    link->conn = conn;
    link->payload_max = natsConnection_GetMaxPayload(conn->nc);
    pthread_mutex_lock(&link->lock);
    conn->is_up = 1;
    pthread_mutex_unlock(&link->lock);
    if (conn->socket != NULL && !sluice_nats_socket_start(conn->socket)) {
        sluice_nats_link_reset(link, "out of memory");
    }
    link->events.on_up(link->ctx);
}

/* The loop has no part in the connection from here on. */
static void let_go(struct conn *conn)
{
    struct sluice_nats_link *link = conn->link;
    if (conn->socket != NULL) {
        sluice_nats_socket_stop(conn->socket);
    }
    pthread_mutex_lock(&link->lock);
    conn->is_released = 1;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void deliver_down(struct sluice_mail *mail)
{
    struct state_mail *down = (struct state_mail *)mail;
    struct sluice_nats_link *link = down->link;
    struct conn *conn = down->conn;
    char why[TEXT_SIZE];
    free(down);
    if (link->is_stopped) {
        return;
    }
    link->conn = NULL;
    pthread_mutex_lock(&link->lock);
    memcpy(why, conn->why, sizeof why);
    pthread_mutex_unlock(&link->lock);
    let_go(conn);
    link->events.on_down(link->ctx, why);
}

static void deliver_lost(struct sluice_mail *mail)
{
    struct sluice_nats_link *link =
        (struct sluice_nats_link *)((char *)mail - offsetof(struct sluice_nats_link, lost));
    if (!link->is_stopped && !link->is_lost) {
        link->is_lost = 1;
        link->events.on_lost(link->ctx, link->why_lost);
    }
}

static struct state_mail *state_mail_create(struct conn *conn,
                                            void (*deliver)(struct sluice_mail *))
{
    struct state_mail *mail = calloc(1, sizeof *mail);
    if (mail != NULL) {
        mail->mail.deliver = deliver;
        mail->link = conn->link;
        mail->conn = conn;
    }
    return mail;
}

/* Hand over one of the connection's two mails. The lock is held. */
static void post_state(struct conn *conn, struct state_mail **mail)
{
    struct state_mail *posted = *mail;
    *mail = NULL;
    sluice_nats_box_post(conn->link->box, &posted->mail);
}

static void conn_free(struct conn *conn)
{
    spent_free(&conn->sent);
    spent_free(&conn->received);
    sluice_nats_socket_free(conn->socket);
    free(conn->up);
    free(conn->down);
    free(conn);
}

static sluice_rc conn_open(struct sluice_nats_link *link, struct conn **out, struct sluice_err *err)
{
    const struct sluice_nats_options *options = sluice_nats_settings_options(link->settings);
    char token[23], url[TEXT_SIZE];
    struct conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    conn->link = link;
    conn->since_ms = sluice_nats_now_ms();
    conn->up = state_mail_create(conn, deliver_up);
    conn->down = state_mail_create(conn, deliver_down);
    conn->socket = link->pump == NULL ? NULL : sluice_nats_socket_create(link->pump);
    random_token(token, sizeof token);
    (void)snprintf(conn->inbox, sizeof conn->inbox, "%s.%s", options->inbox_prefix, token);
    sluice_rc rc =
        conn->up == NULL || conn->down == NULL || (link->pump != NULL && conn->socket == NULL)
            ? sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory")
            : sluice_nats_settings_connect(link->settings, conn->socket, on_closed, conn, &conn->nc,
                                           err);
    if (rc != SLUICE_OK) {
        conn_free(conn);
        return rc;
    }
    if (natsConnection_GetConnectedUrl(conn->nc, url, sizeof url) == NATS_OK) {
        sluice_nats_redact(url, conn->server, sizeof conn->server);
    }
    sluice_nats_settings_learn(link->settings, conn->nc);
    *out = conn;
    return SLUICE_OK;
}

/* Close, wait for cnats to let go, free. 0 when it does not: then nothing may be freed. */
static int conn_destroy(struct conn *conn)
{
    struct sluice_nats_link *link = conn->link;
    natsConnection_Close(conn->nc);
    int64_t deadline = sluice_nats_now_ms() + LET_GO_TIMEOUT_MS;
    pthread_mutex_lock(&link->lock);
    while ((!conn->is_closed || conn->taps_open > 0) && wait_until(link, deadline)) {
    }
    int is_over = conn->is_closed && conn->taps_open == 0;
    pthread_mutex_unlock(&link->lock);
    if (!is_over) {
        return 0;
    }
    /* Only now: nats.c before 3.6.1 crashes when a message meets a subscription that is being
     * destroyed (#637). */
    for (struct sluice_nats_tap *tap = conn->taps, *next; tap != NULL; tap = next) {
        next = tap->next;
        natsSubscription_Destroy(tap->sub);
        free(tap);
    }
    natsConnection_Destroy(conn->nc);
    conn_free(conn);
    return 1;
}

static int64_t delay_before(struct sluice_nats_link *link, uint32_t attempt)
{
    int64_t most = sluice_nats_settings_options(link->settings)->reconnect_wait_ms;
    int64_t delay = FIRST_DELAY_MS;
    for (uint32_t i = 1; i < attempt && delay < most; i++) {
        delay *= 2;
    }
    delay = delay < most ? delay : most;
    return delay - (int64_t)sluice_prng_below(&link->prng, (uint64_t)delay / 4 + 1);
}

/* Attempts with pauses until one works; NULL when told to stop or when the budget is used up (then
 * on_lost follows). Called and returns with the lock held. */
static struct conn *connect_again(struct sluice_nats_link *link)
{
    uint32_t most = sluice_nats_settings_options(link->settings)->reconnect_attempts_max;
    struct sluice_err err = {0};
    for (uint32_t attempt = 1; attempt <= most; attempt++) {
        int64_t deadline = sluice_nats_now_ms() + delay_before(link, attempt);
        while (!link->must_stop && wait_until(link, deadline)) {
        }
        if (link->must_stop) {
            return NULL;
        }
        struct conn *conn = NULL;
        link->state = THREAD_CONNECTING;
        link->connecting_since_ms = sluice_nats_now_ms();
        pthread_mutex_unlock(&link->lock);
        sluice_rc rc = conn_open(link, &conn, &err);
        pthread_mutex_lock(&link->lock);
        link->state = THREAD_WAITING;
        if (rc == SLUICE_OK) {
            return conn;
        }
    }
    if (!link->must_stop) {
        (void)snprintf(link->why_lost, sizeof link->why_lost,
                       "%u attempts to reconnect failed, the last: %s", most, err.text);
        sluice_nats_box_post(link->box, &link->lost);
    }
    return NULL;
}

/* A ping and its answer, which the loop reads. How many of them in a row have failed; one that
 * failed while the loop stood still says nothing about the server. The lock is held. */
static uint32_t ping(struct sluice_nats_link *link, struct conn *conn, uint32_t missed)
{
    pthread_mutex_unlock(&link->lock);
    uint64_t turns = sluice_nats_pump_turns(link->pump);
    natsStatus status = natsConnection_FlushTimeout(conn->nc, PING_TIMEOUT_MS);
    int has_turned = sluice_nats_pump_turns(link->pump) > turns;
    pthread_mutex_lock(&link->lock);
    return status == NATS_OK ? 0 : missed + (has_turned ? 1 : 0);
}

static int is_over(const struct conn *conn)
{
    return conn->is_closed || conn->must_close || conn->link->must_stop;
}

/* cnats has no ping of its own when the loop reads (nats_pump.h). The lock is held. */
static void watch_by_pings(struct sluice_nats_link *link, struct conn *conn)
{
    uint32_t missed = 0;
    while (!is_over(conn)) {
        int64_t next_ms = sluice_nats_now_ms() + (missed == 0 ? PING_INTERVAL_MS : 0);
        while (!is_over(conn) && wait_until(link, next_ms)) {
        }
        missed = is_over(conn) || !conn->is_up ? 0 : ping(link, conn, missed);
        if (missed == PINGS_MISSED_MAX && !is_over(conn)) {
            (void)snprintf(conn->why, sizeof conn->why, "the server answers no ping");
            conn->must_close = 1;
        }
    }
}

/* The lock is held. */
static void flush(struct sluice_nats_link *link, struct conn *conn)
{
    if (conn->socket == NULL || conn->is_up) {
        pthread_mutex_unlock(&link->lock);
        (void)natsConnection_FlushTimeout(conn->nc, FLUSH_TIMEOUT_MS);
        pthread_mutex_lock(&link->lock);
    }
    link->is_flushed = 1;
    pthread_cond_broadcast(&link->changed);
}

/* Look after `link->current` until it is over and nobody uses it any more. The lock is held. */
static void watch_current(struct sluice_nats_link *link)
{
    struct conn *conn = link->current;
    if (conn->socket != NULL) {
        watch_by_pings(link, conn);
    }
    while (!is_over(conn)) {
        pthread_cond_wait(&link->changed, &link->lock);
    }
    if (!link->must_stop) {
        post_state(conn, &conn->down);
        while (!conn->is_released && !link->must_stop) {
            pthread_cond_wait(&link->changed, &link->lock);
        }
    } else {
        flush(link, conn);
    }
    while (conn->is_up && !conn->is_released) { /* sluice_nats_link_stop still has it in hand */
        pthread_cond_wait(&link->changed, &link->lock);
    }
}

/* The lock is held. */
static void end_current(struct sluice_nats_link *link)
{
    struct conn *conn = link->current;
    pthread_mutex_unlock(&link->lock);
    int is_gone = conn_destroy(conn);
    pthread_mutex_lock(&link->lock);
    link->current = NULL;
    if (!is_gone) {
        link->is_leaked = 1;
        link->refs++;
    }
}

static void *link_main(void *arg)
{
    struct sluice_nats_link *link = arg;
    pthread_mutex_lock(&link->lock);
    for (;;) {
        if (link->current != NULL) { /* at first: the connection of create() */
            watch_current(link);
            end_current(link);
        }
        link->current = link->must_stop ? NULL : connect_again(link);
        if (link->current == NULL) {
            break;
        }
        if (!link->must_stop) {
            post_state(link->current, &link->current->up);
        }
    }
    while (!link->must_stop) { /* lost for good */
        pthread_cond_wait(&link->changed, &link->lock);
    }
    link->state = THREAD_ENDED;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    link_unref(link);
    return NULL;
}

/* ---- Create and stop ---- */

static sluice_rc start_thread(struct sluice_nats_link *link, struct sluice_err *err)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    link->refs++;
    int error = pthread_create(&thread, &attributes, link_main, link);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        link->refs--;
        link->state = THREAD_ENDED;
        return sluice_err_set(err, SLUICE_ERR_INTERNAL, "cannot start a thread: %s",
                              strerror(error));
    }
    return SLUICE_OK;
}

static void init_lock(struct sluice_nats_link *link)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&link->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&link->lock, NULL);
}

static sluice_rc open_first(struct sluice_nats_link *link, struct sluice_err *err)
{
    sluice_rc rc = SLUICE_ERR_AUTH;
    for (int i = 0; i < LOGIN_TRIES && rc == SLUICE_ERR_AUTH; i++) {
        rc = conn_open(link, &link->current, err);
    }
    if (rc == SLUICE_OK) {
        link->payload_max = natsConnection_GetMaxPayload(link->current->nc);
    }
    return rc;
}

static void close_pump(struct sluice_nats_link *link)
{
    if (link->pump != NULL) {
        sluice_nats_pump_close(link->pump);
    }
}

sluice_rc sluice_nats_link_create(const struct sluice_nats_options *options, uv_loop_t *loop,
                                  struct sluice_nats_box *box,
                                  const struct sluice_nats_link_events *events, void *ctx,
                                  struct sluice_nats_link **out, struct sluice_err *err)
{
    sluice_rc rc;
    struct sluice_nats_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    link->box = box;
    link->events = *events;
    link->ctx = ctx;
    link->refs = 1;
    link->lost.deliver = deliver_lost;
    link->prng.state = (uint64_t)sluice_nats_now_ms() ^ (uint64_t)(uintptr_t)link;
    init_lock(link);
    if ((rc = sluice_nats_settings_create(options, &link->settings, err)) != SLUICE_OK) {
        goto fail;
    }
    if (loop != NULL && !sluice_nats_settings_use_tls(link->settings) &&
        (link->pump = sluice_nats_pump_create(loop)) == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
        goto fail;
    }
    link->connect_limit_ms =
        sluice_nats_settings_options(link->settings)->connect_timeout_ms * SLUICE_NATS_SERVERS_MAX +
        CONNECT_MARGIN_MS;
    if ((rc = open_first(link, err)) != SLUICE_OK) {
        goto fail;
    }
    post_state(link->current, &link->current->up);
    if ((rc = start_thread(link, err)) != SLUICE_OK) {
        link->is_stopped = 1; /* the mail stays in the box */
        (void)conn_destroy(link->current);
        close_pump(link);
        return rc;
    }
    *out = link;
    return SLUICE_OK;
fail:
    close_pump(link);
    link_unref(link);
    return rc;
}

/* The loop does not run meanwhile. */
static void read_until_flushed(struct sluice_nats_link *link, struct conn *conn)
{
    int64_t deadline = sluice_nats_now_ms() + FLUSH_TIMEOUT_MS + PING_TIMEOUT_MS;
    int is_flushed = conn->socket == NULL;
    while (!is_flushed && sluice_nats_now_ms() < deadline) {
        sluice_nats_socket_turn(conn->socket, STOP_POLL_MS);
        pthread_mutex_lock(&link->lock);
        is_flushed = link->is_flushed || conn->is_closed;
        pthread_mutex_unlock(&link->lock);
    }
}

int sluice_nats_link_stop(struct sluice_nats_link *link)
{
    if (link == NULL) {
        return 1;
    }
    struct conn *conn = link->conn;
    int64_t now = sluice_nats_now_ms();
    link->conn = NULL;
    link->is_stopped = 1;
    pthread_mutex_lock(&link->lock);
    link->must_stop = 1;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    if (conn != NULL) {
        read_until_flushed(link, conn);
        let_go(conn);
    }
    close_pump(link);
    pthread_mutex_lock(&link->lock);
    int64_t short_deadline = now + GIVE_UP_CONNECT_MS;
    int64_t long_deadline = now + FLUSH_TIMEOUT_MS + LET_GO_TIMEOUT_MS;
    while (link->state != THREAD_ENDED &&
           wait_until(link, link->state == THREAD_CONNECTING ? short_deadline : long_deadline)) {
    }
    /* A thread that still connects has no subscriptions and frees what it makes. */
    int is_over = link->state != THREAD_WAITING && !link->is_leaked;
    pthread_mutex_unlock(&link->lock);
    return is_over;
}

void sluice_nats_link_free(struct sluice_nats_link *link)
{
    if (link != NULL) {
        link_unref(link);
    }
}

/* ---- What the loop thread asks and does ---- */

int sluice_nats_link_is_up(const struct sluice_nats_link *link)
{
    return link->conn != NULL;
}

int64_t sluice_nats_link_up_since_ms(const struct sluice_nats_link *link)
{
    return link->conn == NULL ? 0 : link->conn->since_ms;
}

const char *sluice_nats_link_inbox(const struct sluice_nats_link *link)
{
    return link->conn == NULL ? "" : link->conn->inbox;
}

const char *sluice_nats_link_server(const struct sluice_nats_link *link)
{
    return link->conn == NULL ? "" : link->conn->server;
}

const char *sluice_nats_link_api_prefix(const struct sluice_nats_link *link)
{
    return sluice_nats_settings_options(link->settings)->api_prefix;
}

int64_t sluice_nats_link_payload_max(const struct sluice_nats_link *link)
{
    return link->payload_max;
}

void sluice_nats_link_tick(struct sluice_nats_link *link)
{
    if (link->conn != NULL && link->conn->socket != NULL &&
        sluice_nats_socket_stuck_ms(link->conn->socket, sluice_nats_now_ms()) > STUCK_MAX_MS) {
        sluice_nats_link_reset(link, "the server takes nothing");
    }
    if (link->conn != NULL || link->is_lost) {
        return;
    }
    pthread_mutex_lock(&link->lock);
    int is_hanging = link->state == THREAD_CONNECTING &&
                     sluice_nats_now_ms() - link->connecting_since_ms > link->connect_limit_ms;
    pthread_mutex_unlock(&link->lock);
    if (is_hanging) {
        link->is_lost = 1;
        link->events.on_lost(link->ctx, "a connect to NATS does not return");
    }
}

void sluice_nats_link_reset(struct sluice_nats_link *link, const char *why)
{
    struct conn *conn = link->conn;
    if (conn == NULL) {
        return;
    }
    pthread_mutex_lock(&link->lock);
    if (!conn->must_close && conn->why[0] == '\0') {
        (void)snprintf(conn->why, sizeof conn->why, "%s", why);
    }
    conn->must_close = 1;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

/* ---- Subscriptions ---- */

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    (void)nc;
    (void)sub;
    struct sluice_nats_tap *tap = closure;
    const char *reply = natsMsg_GetReply(msg);
    int len = natsMsg_GetDataLength(msg);
    struct sluice_nats_message message = {.subject = natsMsg_GetSubject(msg),
                                          .reply = reply == NULL ? "" : reply,
                                          .body = natsMsg_GetData(msg),
                                          .body_len = len > 0 ? (size_t)len : 0,
                                          .raw = msg};
    if (tap->conn->socket != NULL) {
        sluice_nats_socket_await_read(tap->conn->socket);
    }
    tap->fn(tap->ctx, &message);
    spent_add(&tap->conn->received, msg, message.body_len);
}

/* Delivery thread: after the subscription's last message. */
static void on_complete(void *closure)
{
    struct sluice_nats_tap *tap = closure;
    struct conn *conn = tap->conn;
    struct sluice_nats_link *link = conn->link;
    tap->released(tap->ctx);
    pthread_mutex_lock(&link->lock);
    conn->taps_open--;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

struct sluice_nats_tap *sluice_nats_link_subscribe(struct sluice_nats_link *link,
                                                   const char *subject, sluice_nats_message_fn *fn,
                                                   void (*released)(void *ctx), void *ctx)
{
    struct conn *conn = link->conn;
    struct sluice_nats_tap *tap = conn == NULL ? NULL : calloc(1, sizeof *tap);
    if (tap == NULL) {
        released(ctx);
        return NULL;
    }
    tap->conn = conn;
    tap->fn = fn;
    tap->released = released;
    tap->ctx = ctx;
    if (natsConnection_Subscribe(&tap->sub, conn->nc, subject, on_message, tap) != NATS_OK) {
        free(tap);
        released(ctx);
        return NULL;
    }
    tap->next = conn->taps;
    conn->taps = tap;
    pthread_mutex_lock(&link->lock);
    conn->taps_open++;
    pthread_mutex_unlock(&link->lock);
    /* No limit of cnats' own: what may be on its way is bounded by the pulls that asked for it. */
    (void)natsSubscription_SetPendingLimits(tap->sub, -1, -1);
    if (natsSubscription_SetOnCompleteCB(tap->sub, on_complete, tap) != NATS_OK) {
        on_complete(tap); /* the connection closed meanwhile; nothing was asked on this inbox yet */
        return NULL;
    }
    return tap;
}

void sluice_nats_tap_unsubscribe(struct sluice_nats_tap *tap)
{
    (void)natsSubscription_Unsubscribe(tap->sub);
}

void sluice_nats_tap_drain(struct sluice_nats_tap *tap, int64_t timeout_ms)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* cnats makes a thread for it */
    /* Draining one subscription is sound in 3.4.1 and 3.10; what loses answers is draining a
     * connection (#911). */
    if (natsSubscription_DrainTimeout(tap->sub, timeout_ms) != NATS_OK) {
        (void)natsSubscription_Unsubscribe(tap->sub);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- Publishing ---- */

static natsStatus publish_with_headers(struct conn *conn, const char *subject, const char *reply,
                                       const sluice_header *headers, uint32_t headers_count,
                                       const void *body, size_t body_len)
{
    natsMsg *msg = NULL;
    natsStatus status = natsMsg_Create(&msg, subject, reply, body, (int)body_len);
    for (uint32_t i = 0; status == NATS_OK && i < headers_count; i++) {
        status = natsMsgHeader_Add(msg, headers[i].name, headers[i].value);
    }
    if (status == NATS_OK) {
        status = natsConnection_PublishMsg(conn->nc, msg);
    }
    if (msg != NULL) {
        spent_add(&conn->sent, msg, body_len);
    }
    return status;
}

/* cnats writes headers as they are: a line break in one would make another. */
static int are_legal(const char *subject, const sluice_header *headers, uint32_t count)
{
    if (subject[0] == '\0' || strpbrk(subject, " \t\r\n") != NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!sluice_header_is_carried(headers[i].name, headers[i].value)) {
            return 0;
        }
    }
    return 1;
}

enum sluice_nats_sent sluice_nats_link_publish(struct sluice_nats_link *link, const char *subject,
                                               const char *reply, const sluice_header *headers,
                                               uint32_t headers_count, const void *body,
                                               size_t body_len)
{
    struct conn *conn = link->conn;
    if (conn == NULL) {
        return SLUICE_NATS_DOWN;
    }
    if (!are_legal(subject, headers, headers_count)) {
        return SLUICE_NATS_REFUSED;
    }
    if (body_len > (size_t)link->payload_max) {
        return SLUICE_NATS_TOO_LARGE;
    }
    if (conn->socket != NULL) {
        sluice_nats_socket_begin();
    }
    natsStatus status;
    if (headers_count > 0) {
        status = publish_with_headers(conn, subject, reply, headers, headers_count, body, body_len);
    } else if (reply != NULL) {
        status = natsConnection_PublishRequest(conn->nc, subject, reply, body, (int)body_len);
    } else {
        status = natsConnection_Publish(conn->nc, subject, body, (int)body_len);
    }
    if (conn->socket != NULL) {
        sluice_nats_socket_end(conn->socket, body_len + FRAME_BYTES);
    }
    switch (status) {
    case NATS_OK:
        return SLUICE_NATS_SENT;
    case NATS_MAX_PAYLOAD:
        return SLUICE_NATS_TOO_LARGE;
    case NATS_INVALID_ARG:
    case NATS_INVALID_SUBJECT:
    case NATS_NO_SERVER_SUPPORT:
        return SLUICE_NATS_REFUSED;
    case NATS_NO_MEMORY:
        return SLUICE_NATS_STARVED;
    default:
        /* A write that failed half-way leaves the stream of bytes unusable; cnats itself would go
         * on. */
        sluice_nats_link_reset(link, natsStatus_GetText(status));
        return SLUICE_NATS_DOWN;
    }
}
