/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_link.h"

#include "adapter/nats_conn.h"
#include "adapter/nats_refusals.h"
#include "adapter/nats_waits.h"
#include "adapter/nats_watch.h"
#include "core/prng.h"
#include "port/clock.h"
#include "port/signals.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_TIMEOUT_MS 2000 /* at destroy */
#define GIVE_UP_CONNECT_MS                                                                         \
    2000 /* destroy waits so long for a connect in progress, then leaves the thread to itself */
#define CONNECT_MARGIN_MS 5000 /* beyond the timeouts of all servers: then the connect hangs */
#define LOGIN_TRIES       3    /* nats.c before 3.8 loses a signature now and then (#705) */
#define STUCK_MAX_MS      5000 /* a server that takes nothing for so long is given up */
#define STOP_POLL_MS      5

_Static_assert(SLUICE_NATS_REFUSAL_TEXT_MAX + 1 >= SLUICE_NATS_CONN_TEXT_SIZE,
               "a refusal holds what a connection says");

/* A change of state on its way to the loop thread; outlives its connection. */
struct state_mail {
    struct sluice_mail mail;
    struct sluice_nats_link *link;
    struct sluice_nats_conn *conn; /* valid unless the link was stopped */
};

enum thread_state { THREAD_WAITING, THREAD_CONNECTING, THREAD_ENDED };

struct sluice_nats_link {
    struct sluice_nats_settings *settings; /* the link's thread */
    struct state_mail *up, *down;          /* the link's thread: of `current`, not posted yet */
    struct sluice_nats_box *box;
    struct sluice_nats_link_events events;
    void *ctx;
    struct sluice_nats_pump *pump; /* NULL: see nats_pump.h */
    struct sluice_nats_conn *conn; /* loop thread; NULL when down */
    int64_t payload_max;
    int64_t connect_limit_ms;
    int is_lost;    /* loop thread: on_lost was called */
    int is_stopped; /* loop thread */
    struct sluice_prng prng;
    struct sluice_mail lost;
    struct sluice_nats_refusals refusals;
    struct sluice_nats_monitor monitor; /* guards what follows, and the marked members of conn */
    char why_lost[SLUICE_NATS_CONN_TEXT_SIZE + SLUICE_ERR_TEXT_SIZE];
    struct sluice_nats_conn *current; /* what the thread looks after */
    int64_t connecting_since_ms;
    enum thread_state state;
    int must_stop;  /* nothing is posted any more */
    int is_hurried; /* the next attempt is not waited for */
    int is_flushed; /* what was published before the stop has been taken */
    int is_leaked;  /* cnats kept a connection: its memory and the link's stay */
    uint32_t refs;  /* owner, thread, kept connections */
};

static void link_unref(struct sluice_nats_link *link)
{
    pthread_mutex_lock(&link->monitor.lock);
    int is_last = --link->refs == 0;
    pthread_mutex_unlock(&link->monitor.lock);
    if (is_last) {
        sluice_nats_refusals_fini(&link->refusals);
        sluice_nats_monitor_fini(&link->monitor);
        sluice_nats_settings_destroy(link->settings);
        sluice_nats_pump_unref(link->pump);
        free(link);
    }
}

/* ---- What the loop is told ---- */

static void deliver_up(struct sluice_mail *mail)
{
    struct state_mail *up = (struct state_mail *)mail;
    struct sluice_nats_link *link = up->link;
    struct sluice_nats_conn *conn = up->conn;
    free(up);
    if (link->is_stopped) {
        return;
    }
    link->conn = conn;
    link->payload_max = conn->payload_max;
    sluice_nats_conn_up(conn);
    link->events.on_up(link->ctx);
}

static void deliver_down(struct sluice_mail *mail)
{
    struct state_mail *down = (struct state_mail *)mail;
    struct sluice_nats_link *link = down->link;
    struct sluice_nats_conn *conn = down->conn;
    char why[SLUICE_NATS_CONN_TEXT_SIZE];
    free(down);
    if (link->is_stopped) {
        return;
    }
    link->conn = NULL;
    pthread_mutex_lock(&link->monitor.lock);
    memcpy(why, conn->why, sizeof why);
    pthread_mutex_unlock(&link->monitor.lock);
    sluice_nats_conn_let_go(conn);
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

static struct state_mail *state_mail_create(struct sluice_nats_link *link,
                                            void (*deliver)(struct sluice_mail *))
{
    struct state_mail *mail = calloc(1, sizeof *mail);
    if (mail != NULL) {
        mail->mail.deliver = deliver;
        mail->link = link;
    }
    return mail;
}

/* Hand over one of the two mails. */
static void post_state(struct sluice_nats_link *link, struct state_mail **mail)
{
    struct state_mail *posted = *mail;
    *mail = NULL;
    sluice_nats_box_post(link->box, &posted->mail);
}

static void free_unposted(struct sluice_nats_link *link)
{
    free(link->up);
    free(link->down);
    link->up = link->down = NULL;
}

/* ---- The link's thread ---- */

static struct sluice_nats_pump *usable_pump(const struct sluice_nats_link *link)
{
    return link->pump != NULL && sluice_nats_pump_is_usable(link->pump) ? link->pump : NULL;
}

/* cnats' callback thread. */
static void on_denied(void *ctx, const char *text)
{
    sluice_nats_refusals_post(&((struct sluice_nats_link *)ctx)->refusals, text);
}

/* Connect, and have both mails ready: what is to be told then needs no memory. */
static sluice_rc open_conn(struct sluice_nats_link *link, struct sluice_nats_conn **out,
                           struct sluice_err *err)
{
    link->up = state_mail_create(link, deliver_up);
    link->down = state_mail_create(link, deliver_down);
    sluice_rc rc = link->up == NULL || link->down == NULL
                       ? sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory")
                       : sluice_nats_conn_open(link->settings, usable_pump(link), &link->monitor,
                                               on_denied, link, out, err);
    if (rc != SLUICE_OK) {
        free_unposted(link);
        return rc;
    }
    link->up->conn = link->down->conn = *out;
    return SLUICE_OK;
}

/* 0: told to stop. The lock is held. */
static int wait_for_attempt(struct sluice_nats_link *link, struct sluice_nats_waits *waits,
                            int64_t wait_ms)
{
    int64_t deadline = sluice_mono_ms() + wait_ms;
    while (!link->must_stop && !link->is_hurried &&
           sluice_nats_monitor_wait_until(&link->monitor, deadline)) {
    }
    if (link->is_hurried) {
        link->is_hurried = 0;
        sluice_nats_waits_shorten(waits, sluice_mono_ms());
    }
    return !link->must_stop;
}

/* Attempts with pauses until one works; NULL when told to stop or when the budget is used up (then
 * on_lost follows). Called and returns with the lock held. */
static struct sluice_nats_conn *connect_again(struct sluice_nats_link *link)
{
    const struct sluice_nats_options *options = sluice_nats_settings_options(link->settings);
    struct sluice_err err = {0};
    struct sluice_nats_waits waits;
    int64_t wait_ms;
    sluice_nats_waits_begin(&waits, options->reconnect_wait_ms, options->reconnect_attempts_max,
                            &link->prng, sluice_mono_ms());
    link->is_hurried = 0;
    while ((wait_ms = sluice_nats_waits_next(&waits, sluice_mono_ms())) > 0) {
        if (!wait_for_attempt(link, &waits, wait_ms)) {
            return NULL;
        }
        struct sluice_nats_conn *conn = NULL;
        link->state = THREAD_CONNECTING;
        link->connecting_since_ms = sluice_mono_ms();
        pthread_mutex_unlock(&link->monitor.lock);
        sluice_rc rc = open_conn(link, &conn, &err);
        if (rc == SLUICE_ERR_AUTH) {
            sluice_nats_refusals_post(&link->refusals, err.text);
        }
        pthread_mutex_lock(&link->monitor.lock);
        link->state = THREAD_WAITING;
        if (rc == SLUICE_OK) {
            return conn;
        }
    }
    if (!link->must_stop) {
        (void)snprintf(link->why_lost, sizeof link->why_lost,
                       "%u attempts to reconnect failed, the last: %s", waits.attempts, err.text);
        sluice_nats_box_post(link->box, &link->lost);
    }
    return NULL;
}

/* The lock is held. */
static void flush(struct sluice_nats_link *link, struct sluice_nats_conn *conn)
{
    if (conn->socket == NULL || conn->is_up) {
        pthread_mutex_unlock(&link->monitor.lock);
        (void)sluice_nats_conn_flush(conn, FLUSH_TIMEOUT_MS);
        pthread_mutex_lock(&link->monitor.lock);
    }
    link->is_flushed = 1;
    pthread_cond_broadcast(&link->monitor.changed);
}

/* Look after `link->current` until it is over and nobody uses it any more. The lock is held. */
static void watch_current(struct sluice_nats_link *link)
{
    struct sluice_nats_conn *conn = link->current;
    sluice_nats_watch(conn, link->pump, &link->must_stop);
    if (!link->must_stop) {
        post_state(link, &link->down);
        while (!conn->is_released && !link->must_stop) {
            pthread_cond_wait(&link->monitor.changed, &link->monitor.lock);
        }
    } else {
        flush(link, conn);
    }
    while (conn->is_up && !conn->is_released) { /* sluice_nats_link_stop still has it in hand */
        pthread_cond_wait(&link->monitor.changed, &link->monitor.lock);
    }
}

/* The lock is held. */
static void end_current(struct sluice_nats_link *link)
{
    struct sluice_nats_conn *conn = link->current;
    if (conn->must_close) { /* its server may still take connections */
        sluice_nats_settings_skip(link->settings);
    }
    pthread_mutex_unlock(&link->monitor.lock);
    int is_gone = sluice_nats_conn_destroy(conn);
    free_unposted(link);
    pthread_mutex_lock(&link->monitor.lock);
    link->current = NULL;
    if (!is_gone) {
        link->is_leaked = 1;
        link->refs++;
    }
}

static void *link_main(void *arg)
{
    struct sluice_nats_link *link = arg;
    pthread_mutex_lock(&link->monitor.lock);
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
            post_state(link, &link->up);
        }
    }
    while (!link->must_stop) { /* lost for good */
        pthread_cond_wait(&link->monitor.changed, &link->monitor.lock);
    }
    link->state = THREAD_ENDED;
    pthread_cond_broadcast(&link->monitor.changed);
    pthread_mutex_unlock(&link->monitor.lock);
    link_unref(link);
    return NULL;
}

/* ---- Create and stop ---- */

static sluice_rc start_thread(struct sluice_nats_link *link, struct sluice_err *err)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t before;
    link->refs++;
    int error = pthread_attr_init(&attributes);
    if (error == 0) {
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        sluice_signals_block(&before);
        error = pthread_create(&thread, &attributes, link_main, link);
        sluice_signals_restore(&before);
        pthread_attr_destroy(&attributes);
    }
    if (error != 0) {
        link->refs--;
        link->state = THREAD_ENDED;
        return sluice_err_set(err, SLUICE_ERR_INTERNAL, "cannot start a thread: %s",
                              strerror(error));
    }
    return SLUICE_OK;
}

static sluice_rc open_first(struct sluice_nats_link *link, struct sluice_err *err)
{
    sluice_rc rc = SLUICE_ERR_AUTH;
    for (int i = 0; i < LOGIN_TRIES && rc == SLUICE_ERR_AUTH; i++) {
        rc = open_conn(link, &link->current, err);
    }
    if (rc == SLUICE_OK) {
        link->payload_max = link->current->payload_max;
    }
    return rc;
}

static void close_pump(struct sluice_nats_link *link)
{
    if (link->pump != NULL) {
        sluice_nats_pump_close(link->pump);
    }
}

/* Settings and pump are still missing; NULL without memory. */
static struct sluice_nats_link *link_alloc(struct sluice_nats_box *box,
                                           const struct sluice_nats_link_events *events, void *ctx)
{
    struct sluice_nats_link *link = calloc(1, sizeof *link);
    if (link == NULL || !sluice_nats_monitor_init(&link->monitor)) {
        free(link);
        return NULL;
    }
    if (!sluice_nats_refusals_init(&link->refusals, box, events->on_refused, ctx)) {
        sluice_nats_monitor_fini(&link->monitor);
        free(link);
        return NULL;
    }
    link->box = box;
    link->events = *events;
    link->ctx = ctx;
    link->refs = 1;
    link->lost.deliver = deliver_lost;
    link->prng.state = (uint64_t)sluice_mono_ms() ^ (uint64_t)(uintptr_t)link;
    return link;
}

sluice_rc sluice_nats_link_create(const struct sluice_nats_options *options, uv_loop_t *loop,
                                  struct sluice_nats_box *box,
                                  const struct sluice_nats_link_events *events, void *ctx,
                                  struct sluice_nats_link **out, struct sluice_err *err)
{
    sluice_rc rc;
    struct sluice_nats_link *link = link_alloc(box, events, ctx);
    if (link == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
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
    post_state(link, &link->up);
    if ((rc = start_thread(link, err)) != SLUICE_OK) {
        link->is_stopped = 1; /* the mail stays in the box */
        sluice_nats_refusals_close(&link->refusals);
        (void)sluice_nats_conn_destroy(link->current);
        free_unposted(link);
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
static void read_until_flushed(struct sluice_nats_link *link, struct sluice_nats_conn *conn)
{
    int64_t deadline = sluice_mono_ms() + FLUSH_TIMEOUT_MS + SLUICE_NATS_PING_TIMEOUT_MS;
    int is_flushed = conn->socket == NULL;
    while (!is_flushed && sluice_mono_ms() < deadline) {
        sluice_nats_socket_turn(conn->socket, STOP_POLL_MS);
        pthread_mutex_lock(&link->monitor.lock);
        is_flushed = link->is_flushed || conn->is_closed;
        pthread_mutex_unlock(&link->monitor.lock);
    }
}

int sluice_nats_link_stop(struct sluice_nats_link *link)
{
    if (link == NULL) {
        return 1;
    }
    struct sluice_nats_conn *conn = link->conn;
    int64_t now = sluice_mono_ms();
    link->conn = NULL;
    link->is_stopped = 1;
    sluice_nats_refusals_close(&link->refusals);
    pthread_mutex_lock(&link->monitor.lock);
    link->must_stop = 1;
    pthread_cond_broadcast(&link->monitor.changed);
    pthread_mutex_unlock(&link->monitor.lock);
    if (conn != NULL) {
        read_until_flushed(link, conn);
        sluice_nats_conn_let_go(conn);
    }
    close_pump(link);
    pthread_mutex_lock(&link->monitor.lock);
    int64_t short_deadline = now + GIVE_UP_CONNECT_MS;
    int64_t long_deadline = now + FLUSH_TIMEOUT_MS + SLUICE_NATS_LET_GO_TIMEOUT_MS;
    while (link->state != THREAD_ENDED &&
           sluice_nats_monitor_wait_until(
               &link->monitor, link->state == THREAD_CONNECTING ? short_deadline : long_deadline)) {
    }
    /* A thread that still connects has no subscriptions and frees what it makes. */
    int is_over = link->state != THREAD_WAITING && !link->is_leaked;
    pthread_mutex_unlock(&link->monitor.lock);
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

int sluice_nats_link_has_read(const struct sluice_nats_link *link, uint64_t *reads)
{
    if (link->conn == NULL || link->conn->socket == NULL) {
        return 1;
    }
    uint64_t before = *reads;
    *reads = sluice_nats_socket_reads(link->conn->socket);
    return *reads != before;
}

void sluice_nats_link_tick(struct sluice_nats_link *link)
{
    if (link->conn != NULL && link->conn->socket != NULL &&
        sluice_nats_socket_stuck_ms(link->conn->socket, sluice_mono_ms()) > STUCK_MAX_MS) {
        sluice_nats_link_reset(link, "the server takes nothing");
    }
    if (link->conn != NULL || link->is_lost) {
        return;
    }
    pthread_mutex_lock(&link->monitor.lock);
    int is_hanging = link->state == THREAD_CONNECTING &&
                     sluice_mono_ms() - link->connecting_since_ms > link->connect_limit_ms;
    pthread_mutex_unlock(&link->monitor.lock);
    if (is_hanging) {
        link->is_lost = 1;
        link->events.on_lost(link->ctx, "a connect to NATS does not return");
    }
}

void sluice_nats_link_reset(struct sluice_nats_link *link, const char *why)
{
    if (link->conn != NULL) {
        sluice_nats_conn_give_up(link->conn, why);
    }
}

void sluice_nats_link_leave(struct sluice_nats_link *link, const char *why)
{
    if (link->conn != NULL && link->conn->has_others) {
        if (link->events.on_left != NULL) {
            link->events.on_left(link->ctx, link->conn->server_id);
        }
        sluice_nats_link_reset(link, why);
    }
}

void sluice_nats_link_hurry(struct sluice_nats_link *link)
{
    if (link->conn == NULL) {
        pthread_mutex_lock(&link->monitor.lock);
        link->is_hurried = 1;
        pthread_cond_broadcast(&link->monitor.changed);
        pthread_mutex_unlock(&link->monitor.lock);
    }
}

int sluice_nats_link_is_at(const struct sluice_nats_link *link, const char *server_id)
{
    return link->conn != NULL && server_id[0] != '\0' &&
           strcmp(link->conn->server_id, server_id) == 0;
}

struct sluice_nats_tap *sluice_nats_link_subscribe(struct sluice_nats_link *link,
                                                   const char *subject, sluice_nats_message_fn *fn,
                                                   void (*released)(void *ctx), void *ctx)
{
    if (link->conn == NULL) {
        released(ctx);
        return NULL;
    }
    return sluice_nats_tap_create(link->conn, subject, fn, released, ctx);
}

enum sluice_nats_sent sluice_nats_link_publish(struct sluice_nats_link *link, const char *subject,
                                               const char *reply, const sluice_header *headers,
                                               uint32_t headers_count, const void *body,
                                               size_t body_len)
{
    return link->conn == NULL ? SLUICE_NATS_DOWN
                              : sluice_nats_conn_publish(link->conn, subject, reply, headers,
                                                         headers_count, body, body_len);
}
