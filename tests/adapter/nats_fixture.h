/* SPDX-License-Identifier: Apache-2.0 */
/* What the NATS tests share: a real server in a scratch folder, a loop with a mailbox, waiting with
 * a deadline. */
#ifndef TESTS_ADAPTER_NATS_FIXTURE_H
#define TESTS_ADAPTER_NATS_FIXTURE_H

#include "port/mailbox.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include <cmocka.h>

/* ---- A server: the binary of $SLUICE_NATS_SERVER, else nats-server of the PATH ---- */

struct nats_server {
    char folder[64];
    char url[64];
    char extra[1024]; /* lines of its configuration file */
    int port;
    pid_t pid;
};

/* Returns 0 when there is no server binary. `extra` may be NULL. */
int nats_server_start(struct nats_server *server, const char *extra);
void nats_server_kill(struct nats_server *server); /* kill -9 and wait */
void nats_server_restart(
    struct nats_server *server); /* same port and folder; returns when it answers */
void nats_server_stop(struct nats_server *server); /* kill and remove the folder */
/* After SIGSTOP it answers nothing any more. */
void nats_server_signal(struct nats_server *server, int signal);
int nats_server_has(const char *version_prefix); /* what `nats-server --version` says after "v" */

/* ---- A loop with a mailbox ---- */

struct test_loop {
    struct sluice_mailbox mailbox; /* first */
    uv_loop_t loop;
    uv_async_t wake;
    pthread_mutex_t lock;
    struct sluice_mail *first, **last;
};

void test_loop_init(struct test_loop *loop);
void test_loop_fini(struct test_loop *loop);
/* Run the loop until `is_done` says so; fails the test with `what` after 20 s. */
void test_loop_until(struct test_loop *loop, int (*is_done)(void *), void *ctx, const char *what);
/* The same without running the loop, for what other threads do. */
void test_wait_until(int (*is_done)(void *), void *ctx, const char *what);
/* Run the loop for what happens within `ms`: only to see that something does not happen. */
void test_loop_for(struct test_loop *loop, int ms);

/* ---- A plain client beside the adapters: one request and its answer as text (malloc), NULL when
 * none came ---- */
char *nats_ask(struct nats_server *server, const char *subject, const char *body);
/* The JetStream API has to grant it. */
void nats_ask_ok(struct nats_server *server, const char *subject, const char *body);
/* Publish without waiting, `count` times; "%d" in the body becomes the number. */
void nats_say(struct nats_server *server, const char *subject, const char *body, int count);
/* Until stream "S" holds so many: it stores what the server has read a moment later. */
void nats_wait_stored(struct nats_server *server, int count);
/* Stream "S" on subjects "s.>" with a pull consumer "C". */
void nats_make_stream(struct nats_server *server, int64_t ack_wait_ms);

#define skip_without_server(server)                                                                \
    do {                                                                                           \
        if (!nats_server_start((server), NULL)) {                                                  \
            (void)fprintf(stderr, "no nats-server on the PATH: skipped\n");                        \
            exit(77);                                                                              \
        }                                                                                          \
    } while (0)

#endif
