/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_link.h"

#include "adapter/nats_nkey.h"
#include "nats_fixture.h"
#include "nats_jwt.h"
#include "text_file.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOUR_MS INT64_C(3600000)

/* A link with all that it needs, and what it reported. */
struct world {
    struct nats_server server;
    struct test_loop loop;
    struct sluice_nats_box *box;
    struct sluice_nats_link *link;
    int ups, downs, losts, refusals;
    char text[512];
    atomic_int messages, released;
    char last[256];
};

/* So far ahead is the clock of the link. */
static atomic_llong later_ms;

int64_t __real_sluice_mono_ms(void);
int64_t __wrap_sluice_mono_ms(void);

int64_t __wrap_sluice_mono_ms(void)
{
    return __real_sluice_mono_ms() + later_ms;
}

/* Each test runs with the socket on the loop and again with cnats' threads. */
static int is_read_by_loop;

static uv_loop_t *loop_of(struct test_loop *loop)
{
    return is_read_by_loop ? &loop->loop : NULL;
}

static void wait_until(struct world *w, int (*is_done)(void *), const char *what)
{
    test_loop_until(&w->loop, is_done, w, what);
}

static void on_up(void *ctx)
{
    ((struct world *)ctx)->ups++;
}

static void on_down(void *ctx, const char *text)
{
    struct world *w = ctx;
    w->downs++;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
}

static void on_lost(void *ctx, const char *text)
{
    struct world *w = ctx;
    w->losts++;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
}

static void on_refused(void *ctx, const char *text)
{
    struct world *w = ctx;
    w->refusals++;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
}

static const struct sluice_nats_link_events events = {on_up, on_down, on_lost, on_refused, NULL};

static void open_world(struct world *w, const char *extra)
{
    memset(w, 0, sizeof *w);
    if (!nats_server_start(&w->server, extra)) {
        (void)fprintf(stderr, "no nats-server on the PATH: skipped\n");
        exit(77);
    }
    test_loop_init(&w->loop);
    w->box = sluice_nats_box_create(&w->loop.mailbox);
    assert_non_null(w->box);
}

static void open_link(struct world *w, struct sluice_nats_options options)
{
    struct sluice_err err = {0};
    options.url = options.url == NULL ? w->server.url : options.url;
    options.name = "sluice/test@here";
    sluice_rc rc =
        sluice_nats_link_create(&options, loop_of(&w->loop), w->box, &events, w, &w->link, &err);
    if (rc != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
}

/* It cannot be opened with these settings; why, with `text` in it and no password. */
static void open_is_refused(struct world *w, const struct sluice_nats_options *options,
                            sluice_rc expected, const char *text)
{
    struct sluice_err err = {0};
    assert_int_equal(
        sluice_nats_link_create(options, loop_of(&w->loop), w->box, &events, w, &w->link, &err),
        expected);
    if (strstr(err.text, text) == NULL || strstr(err.text, "secret") != NULL) {
        fail_msg("%s", err.text);
    }
}

static void close_world(struct world *w)
{
    assert_int_equal(sluice_nats_link_stop(w->link), 1);
    sluice_nats_box_close(w->box);
    sluice_nats_link_free(w->link);
    test_loop_fini(&w->loop);
    nats_server_stop(&w->server);
}

static int is_up_once(void *ctx)
{
    return ((struct world *)ctx)->ups == 1;
}

/* A server, and a link that is up. */
static void open_up(struct world *w, const char *extra)
{
    open_world(w, extra);
    open_link(w, (struct sluice_nats_options){0});
    test_loop_until(&w->loop, is_up_once, w, "the first connect");
}

static int is_up_twice(void *ctx)
{
    return ((struct world *)ctx)->ups == 2;
}

static int is_down(void *ctx)
{
    return ((struct world *)ctx)->downs == 1;
}

static int is_lost(void *ctx)
{
    return ((struct world *)ctx)->losts == 1;
}

static void on_message(void *ctx, const struct sluice_nats_message *message)
{
    struct world *w = ctx;
    (void)snprintf(w->last, sizeof w->last, "%s|%s|%.*s", message->subject, message->reply,
                   (int)message->body_len, (const char *)message->body);
    w->messages++;
    (void)uv_async_send(&w->loop.wake); /* this is another thread */
}

static void on_released(void *ctx)
{
    struct world *w = ctx;
    w->released++;
    (void)uv_async_send(&w->loop.wake);
}

static int has_message(void *ctx)
{
    return ((struct world *)ctx)->messages >= 1;
}

static int is_released(void *ctx)
{
    return ((struct world *)ctx)->released >= 1;
}

static void publishes_and_receives(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, NULL);
    open_link(&w, (struct sluice_nats_options){0});
    assert_int_equal(sluice_nats_link_publish(w.link, "a", NULL, NULL, 0, "x", 1),
                     SLUICE_NATS_DOWN);
    test_loop_until(&w.loop, is_up_once, &w, "the first connect");
    assert_true(sluice_nats_link_is_up(w.link));
    assert_true(sluice_nats_link_payload_max(w.link) >= 1024 * 1024);
    assert_string_equal(sluice_nats_link_server(w.link), w.server.url);
    assert_non_null(sluice_nats_link_subscribe(w.link, "a.*", on_message, on_released, &w));
    assert_int_equal(sluice_nats_link_publish(w.link, "a.b", "c", NULL, 0, "xyz", 3),
                     SLUICE_NATS_SENT);
    test_loop_for(&w.loop, 1);
    wait_until(&w, has_message, "the message");
    assert_string_equal(w.last, "a.b|c|xyz");
    close_world(&w);
    assert_int_equal(w.released, 1);
    assert_int_equal(w.downs, 0);
}

static void refuses_what_would_break_the_protocol(void **state)
{
    (void)state;
    struct world w;
    open_up(&w, "max_payload: 1000");
    const sluice_header split = {"A", "b\r\nNats-Rollup: all"};
    const sluice_header name = {"A: b\r\nC", "d"};
    char large[1001] = {0};
    assert_int_equal(sluice_nats_link_publish(w.link, "a", NULL, &split, 1, "x", 1),
                     SLUICE_NATS_REFUSED);
    assert_int_equal(sluice_nats_link_publish(w.link, "a", NULL, &name, 1, "x", 1),
                     SLUICE_NATS_REFUSED);
    assert_int_equal(sluice_nats_link_publish(w.link, "a b", NULL, NULL, 0, "x", 1),
                     SLUICE_NATS_REFUSED);
    assert_int_equal(sluice_nats_link_publish(w.link, "", NULL, NULL, 0, "x", 1),
                     SLUICE_NATS_REFUSED);
    assert_int_equal(sluice_nats_link_publish(w.link, "a", NULL, NULL, 0, large, 1001),
                     SLUICE_NATS_TOO_LARGE);
    const sluice_header header = {"A", "b"};
    assert_int_equal(sluice_nats_link_publish(w.link, "a", NULL, &header, 1, large, 1000),
                     SLUICE_NATS_TOO_LARGE);
    assert_int_equal(sluice_nats_link_publish(w.link, "a", NULL, NULL, 0, large, 1000),
                     SLUICE_NATS_SENT);
    close_world(&w);
}

static void comes_back_after_the_server_was_killed(void **state)
{
    (void)state;
    struct world w;
    open_up(&w, NULL);
    char inbox[128];
    (void)snprintf(inbox, sizeof inbox, "%s", sluice_nats_link_inbox(w.link));
    assert_non_null(sluice_nats_link_subscribe(w.link, "a.*", on_message, on_released, &w));
    nats_server_kill(&w.server);
    test_loop_until(&w.loop, is_down, &w, "the loss");
    assert_int_equal(sluice_nats_link_publish(w.link, "a.b", NULL, NULL, 0, "lost", 4),
                     SLUICE_NATS_DOWN);
    nats_server_restart(&w.server);
    test_loop_until(&w.loop, is_up_twice, &w, "the second connect");
    assert_string_not_equal(sluice_nats_link_inbox(w.link), inbox);
    assert_int_equal(w.released, 1);
    assert_non_null(sluice_nats_link_subscribe(w.link, "a.*", on_message, on_released, &w));
    assert_int_equal(sluice_nats_link_publish(w.link, "a.b", NULL, NULL, 0, "new", 3),
                     SLUICE_NATS_SENT);
    wait_until(&w, has_message, "the message");
    assert_string_equal(w.last, "a.b||new");
    close_world(&w);
    assert_int_equal(w.released, 2);
}

static void is_lost_when_the_attempts_are_used_up(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, NULL);
    open_link(&w,
              (struct sluice_nats_options){.reconnect_attempts_max = 3, .reconnect_wait_ms = 150});
    test_loop_until(&w.loop, is_up_once, &w, "the first connect");
    nats_server_kill(&w.server);
    test_loop_until(&w.loop, is_lost, &w, "the end of the attempts");
    assert_non_null(strstr(w.text, " attempts to reconnect failed"));
    assert_int_equal(w.downs, 1);
    close_world(&w);
}

static void a_reset_makes_a_new_connection(void **state)
{
    (void)state;
    struct world w;
    open_up(&w, NULL);
    sluice_nats_link_reset(w.link, "for the test");
    test_loop_until(&w.loop, is_up_twice, &w, "the second connect");
    assert_int_equal(w.downs, 1);
    assert_string_equal(w.text, "for the test");
    close_world(&w);
}

static void draining_hands_over_what_was_sent(void **state)
{
    (void)state;
    struct world w;
    open_up(&w, NULL);
    struct sluice_nats_tap *tap =
        sluice_nats_link_subscribe(w.link, "a.*", on_message, on_released, &w);
    assert_non_null(tap);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(sluice_nats_link_publish(w.link, "a.b", NULL, NULL, 0, "x", 1),
                         SLUICE_NATS_SENT);
    }
    sluice_nats_tap_drain(tap, 5000);
    wait_until(&w, is_released, "the end of the drain");
    assert_int_equal(w.messages, 500);
    close_world(&w);
    assert_int_equal(w.released, 1);
}

static void leaves_a_server_that_stands_still(void **state)
{
    (void)state;
    struct world w;
    open_up(&w, NULL);
    nats_server_signal(&w.server, SIGSTOP);
    test_loop_until(&w.loop, is_down, &w, "the silence");
    nats_server_signal(&w.server, SIGCONT);
    test_loop_until(&w.loop, is_up_twice, &w, "the second connect");
    close_world(&w);
}

/* A server that talks but answers no ping, as one behind a link that is full of something else. */
struct talker {
    int listener;
    atomic_int pings, is_answering;
};

static void *talk(void *ctx)
{
    struct talker *t = ctx;
    char line[4096];
    int fd = accept(t->listener, NULL, NULL);
    FILE *in = fdopen(fd, "r");
    const char *text = "INFO {\"server_id\":\"T\",\"version\":\"2.10.0\",\"proto\":1,"
                       "\"headers\":true,\"max_payload\":1048576}\r\n";
    while (in != NULL && send(fd, text, strlen(text), MSG_NOSIGNAL) > 0) {
        while (fgets(line, sizeof line, in) != NULL && strcmp(line, "PING\r\n") != 0) {
        }
        if (feof(in)) {
            break;
        }
        text = t->pings++ == 0 || t->is_answering ? "PONG\r\n" : "+OK\r\n";
    }
    (void)(in == NULL ? close(fd) : fclose(in));
    return NULL;
}

static int has_pinged_thrice(void *ctx)
{
    return ((struct talker *)ctx)->pings >= 1 + 3;
}

static void a_server_that_is_heard_is_not_given_up(void **state)
{
    (void)state;
    struct world w = {0};
    struct talker t = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    pthread_t thread;
    if (!is_read_by_loop) {
        return; /* cnats looks for answers only */
    }
    assert_int_equal(bind(t.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(t.listener, (struct sockaddr *)&at, &size), 0);
    assert_int_equal(listen(t.listener, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, talk, &t), 0);
    test_loop_init(&w.loop);
    w.box = sluice_nats_box_create(&w.loop.mailbox);
    (void)snprintf(w.server.url, sizeof w.server.url, "nats://127.0.0.1:%d", ntohs(at.sin_port));
    open_link(&w, (struct sluice_nats_options){0});
    test_loop_until(&w.loop, has_pinged_thrice, &t, "three pings");
    assert_int_equal(w.downs, 0);
    t.is_answering = 1;
    assert_int_equal(sluice_nats_link_stop(w.link), 1);
    sluice_nats_box_close(w.box);
    sluice_nats_link_free(w.link);
    test_loop_fini(&w.loop);
    (void)pthread_join(thread, NULL);
    (void)close(t.listener);
}

#define LARGE_COUNT 200

static int has_all_large(void *ctx)
{
    return ((struct world *)ctx)->messages == LARGE_COUNT;
}

static void what_the_socket_does_not_take_leaves_later(void **state)
{
    (void)state;
    static char large[100000];
    struct world w;
    if (!is_read_by_loop) {
        return; /* there the call waits for the server */
    }
    open_up(&w, NULL);
    assert_non_null(sluice_nats_link_subscribe(w.link, "a.*", on_message, on_released, &w));
    nats_server_signal(&w.server, SIGSTOP);
    for (int i = 0; i < LARGE_COUNT; i++) {
        assert_int_equal(
            sluice_nats_link_publish(w.link, "a.b", NULL, NULL, 0, large, sizeof large),
            SLUICE_NATS_SENT);
    }
    test_loop_for(&w.loop, 1);
    nats_server_signal(&w.server, SIGCONT);
    wait_until(&w, has_all_large, "all messages");
    assert_int_equal(w.downs, 0);
    close_world(&w);
}

static void stopping_sends_what_was_published(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, NULL);
    nats_make_stream(&w.server, 30000);
    open_link(&w, (struct sluice_nats_options){0});
    test_loop_until(&w.loop, is_up_once, &w, "the first connect");
    for (int i = 0; i < 500; i++) {
        assert_int_equal(sluice_nats_link_publish(w.link, "s.a", NULL, NULL, 0, "x", 1),
                         SLUICE_NATS_SENT);
    }
    assert_int_equal(sluice_nats_link_stop(w.link), 1);
    nats_wait_stored(&w.server, 500);
    sluice_nats_box_close(w.box);
    sluice_nats_link_free(w.link);
    test_loop_fini(&w.loop);
    nats_server_stop(&w.server);
}

/* Until somebody connects to the port of the server that is gone; it fails so much later. */
static void await_attempt(struct world *w, int64_t passed_ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)w->server.port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    struct pollfd wanted = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&wanted, 1, 20000), 1);
    later_ms += passed_ms;
    (void)close(listener);
}

/* The thread that waits for its next attempt is woken and ends: only then the stop says so. */
static void stopping_while_the_server_is_gone_ends_the_thread(void **state)
{
    (void)state;
    struct world w;
    open_up(&w, NULL);
    nats_server_kill(&w.server);
    test_loop_until(&w.loop, is_down, &w, "the loss");
    await_attempt(&w, 0);
    close_world(&w);
}

static void a_hurried_link_does_not_wait_for_its_next_attempt(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, NULL);
    open_link(&w, (struct sluice_nats_options){.reconnect_wait_ms = HOUR_MS});
    test_loop_until(&w.loop, is_up_once, &w, "the first connect");
    nats_server_kill(&w.server);
    test_loop_until(&w.loop, is_down, &w, "the loss");
    await_attempt(&w, 10 * HOUR_MS);
    nats_server_restart(&w.server);
    sluice_nats_link_hurry(w.link);
    test_loop_until(&w.loop, is_up_twice, &w, "the second connect, an hour early");
    close_world(&w);
    later_ms = 0;
}

static void a_first_connect_that_fails_names_the_server_and_no_password(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "authorization { user: \"u\", password: \"right\" }");
    char url[128];
    (void)snprintf(url, sizeof url, "nats://u:wrongsecret@127.0.0.1:%d", w.server.port);
    struct sluice_nats_options options = {.url = url};
    open_is_refused(&w, &options, SLUICE_ERR_AUTH, "127.0.0.1");
    options.url = w.server.url;
    options.user = "u";
    options.password = "right";
    open_link(&w, options);
    test_loop_until(&w.loop, is_up_once, &w, "the login");
    close_world(&w);
    open_world(&w, NULL);
    nats_server_kill(&w.server);
    options = (struct sluice_nats_options){.url = w.server.url};
    open_is_refused(&w, &options, SLUICE_ERR_CONNECTION, w.server.url);
    close_world(&w);
}

static void settings_that_cannot_be_right_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct sluice_nats_options options;
        const char *text;
    } rows[] = {
        {{.url = "http://a"}, "expected nats:// or tls://"},
        {{.url = "nats://u:secret@h:99999"}, "\"nats://u:***@h:99999\""},
        {{.url = "nats://u:sec,secret@h"}, "\"nats://u:***@h\""},
        {{.url = "nats://h,,nats://i"}, "empty"},
        {{.url = "nats://:4222"}, "expected host"},
        {{.user = "u", .token = "t"}, "more than one"},
        {{.url = "nats://u:secret@h", .user = "v", .password = "secret"}, "beside NATS_USER"},
        {{.url = "nats://h,nats://secret@h", .token = "secret"}, "beside NATS_TOKEN"},
        {{.url = "nats://u:secret@h", .creds_file = "c"}, "beside NATS_CREDS"},
        {{.password = "secret"}, "expected with NATS_USER"},
        {{.tls_cert = "c"}, "NATS_KEY"},
        {{.nkey_file = "/nonexistent"}, "/nonexistent"},
        {{.nkey_file = "/dev/null"}, "NATS_NKEY: /dev/null: no valid nkey"},
        {{.creds_file = "/nonexistent"}, "NATS_CREDS: /nonexistent: No such file"},
        {{.creds_file = "/dev/null"}, "NATS_CREDS: /dev/null: no JWT"},
        {{.creds_file = "/dev/zero"}, "NATS_CREDS: /dev/zero: expected less than 65536 bytes"},
        {{.tls_ca = "/nonexistent"}, "NATS_CA: /nonexistent: No such file"},
        {{.tls_ca = "/dev/null"}, "NATS_CA: /dev/null: no certificate"},
        {{.tls_cert = "/dev/null", .tls_key = "/dev/null"}, "NATS_CERT: /dev/null: no certificate"},
        {{.url = "nats://us%er:secret@h"}, "for h has a %"},
        {{.url = "nats://secret%0@h:1"}, "for h:1 has a %"},
        {{.url = "nats://u:secret%zz@h"}, "the sign itself is %25"},
        {{.url = "nats://u:sec%00ret@h"}, "or %00"},
        {{.url = "http://u:a/secret@h"}, "http://u:***@h"},
    };
    struct test_loop loop;
    test_loop_init(&loop);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sluice_err err = {0};
        struct sluice_nats_link *link = NULL;
        struct sluice_nats_options options = rows[i].options;
        options.url = options.url == NULL ? "nats://127.0.0.1:1" : options.url;
        struct sluice_nats_box *box = sluice_nats_box_create(&loop.mailbox);
        assert_int_equal(sluice_nats_options_check(&options, &err), SLUICE_ERR_CONFIG);
        assert_int_equal(
            sluice_nats_link_create(&options, loop_of(&loop), box, &events, NULL, &link, &err),
            SLUICE_ERR_CONFIG);
        sluice_nats_box_close(box);
        if (strstr(err.text, rows[i].text) == NULL || strstr(err.text, "secret") != NULL) {
            fail_msg("row %d: %s", (int)i, err.text);
        }
    }
    test_loop_fini(&loop);
}

/* As other clients take it: escapes, and what would end a JSON string. */
static void a_login_may_hold_any_character(void **state)
{
    (void)state;
    static const struct {
        const char *userinfo; /* NULL: the settings say it */
        const char *user, *password, *token;
    } rows[] = {
        {"us%40er:p%3Aw%22%5C%2f%25x@", NULL, NULL, NULL},
        {"secret%2Ctoken@", NULL, NULL, NULL},
        {NULL, "us@er", "p:w\"\\/%x", NULL},
        {NULL, NULL, NULL, "secret,token"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world w;
        char url[128];
        open_world(&w, i % 2 == 0 ? "authorization { users: [ { user: \"us@er\", password: "
                                    "\"p:w\\\"\\\\/%x\" } ] }"
                                  : "authorization { token: \"secret,token\" }");
        (void)snprintf(url, sizeof url, "nats://%s127.0.0.1:%d",
                       rows[i].userinfo == NULL ? "" : rows[i].userinfo, w.server.port);
        open_link(&w, (struct sluice_nats_options){.url = url,
                                                   .user = rows[i].user,
                                                   .password = rows[i].password,
                                                   .token = rows[i].token});
        test_loop_until(&w.loop, is_up_once, &w, "the login");
        assert_null(strchr(sluice_nats_link_server(w.link), '@'));
        close_world(&w);
    }
}

/* A pair made with the nkeys library of the Go client. */
#define SEED   "SUAKGBWJCRE2IRVEKMURVPQZ4AKSAB7XZHIGETT7FSSLZ6BO6ILS4NIAWQ"
#define PUBLIC "UBRC6SG3NC2INI2IDNA5BPC6OZBI5R6ZMQLLVGNDXFQQWCL3LCU35Z4K"

static void an_nkey_seed_logs_in(void **state)
{
    (void)state;
    struct world w;
    char public_key[SLUICE_NKEY_SIZE], path[128];
    assert_int_equal(sluice_nkey_public(SEED "\n", strlen(SEED) + 1, public_key, NULL), SLUICE_OK);
    assert_string_equal(public_key, PUBLIC);
    open_world(&w, "authorization { users: [ { nkey: " PUBLIC " } ] }");
    (void)snprintf(path, sizeof path, "%s/seed", w.server.folder);
    text_file_write(path, SEED "\n");
    open_link(&w, (struct sluice_nats_options){.nkey_file = path});
    test_loop_until(&w.loop, is_up_once, &w, "the login by nkey");
    close_world(&w);
}

static void a_credentials_file_logs_in(void **state)
{
    (void)state;
    struct world w;
    char path[128];
    char *config = malloc(8192);
    assert_non_null(config);
    (void)snprintf(config, 8192, "operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }",
                   TEST_OPERATOR_JWT, TEST_ACCOUNT, TEST_ACCOUNT_JWT);
    open_world(&w, config);
    free(config);
    (void)snprintf(path, sizeof path, "%s/user.creds", w.server.folder);
    text_file_write(path, TEST_USER_CREDS);
    open_link(&w, (struct sluice_nats_options){.creds_file = path});
    test_loop_until(&w.loop, is_up_once, &w, "the login by credentials");
    close_world(&w);
}

static int is_refused(void *ctx)
{
    return ((struct world *)ctx)->refusals == 1;
}

static int is_refused_twice(void *ctx)
{
    return ((struct world *)ctx)->refusals == 2;
}

static void what_the_server_denies_is_told(void **state)
{
    (void)state;
    struct world w;
    open_world(&w,
               "authorization { users: [ { user: u, password: p, permissions: {\n"
               "publish: { deny: [\"denied.>\"] }, subscribe: { deny: [\"secret.>\"] } } } ] }");
    open_link(&w, (struct sluice_nats_options){.user = "u", .password = "p"});
    test_loop_until(&w.loop, is_up_once, &w, "the first connect");
    assert_int_equal(sluice_nats_link_publish(w.link, "denied.a", NULL, NULL, 0, "x", 1),
                     SLUICE_NATS_SENT);
    test_loop_until(&w.loop, is_refused, &w, "the refused publish");
    assert_non_null(strstr(w.text, "Publish"));
    assert_non_null(strstr(w.text, "denied.a"));
    assert_non_null(sluice_nats_link_subscribe(w.link, "secret.b", on_message, on_released, &w));
    test_loop_until(&w.loop, is_refused_twice, &w, "the refused subscription");
    assert_non_null(strstr(w.text, "secret.b"));
    assert_int_equal(w.downs, 0);
    /* Refusals that meet the stop. */
    for (int i = 0; i < 500; i++) {
        assert_int_equal(sluice_nats_link_publish(w.link, "denied.a", NULL, NULL, 0, "x", 1),
                         SLUICE_NATS_SENT);
    }
    close_world(&w);
    assert_int_equal(w.refusals, 2);
}

/* A CA, a server's and a client's certificate in `folder`; 0 without the openssl program. */
static int make_certificates(const char *folder)
{
    char command[2048];
    (void)snprintf(
        command, sizeof command,
        "cd '%s' && exec >/dev/null 2>&1 && "
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem "
        "&& "
        "printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >ext && for i in server client; do "
        "openssl req -newkey rsa:2048 -nodes -subj /CN=$i -keyout $i.key -out $i.csr && "
        "openssl x509 -req -days 2 -in $i.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile "
        "ext "
        "-out $i.pem || exit 1; done && "
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout o.key -out "
        "other.pem",
        folder);
    return system(command) == 0;
}

static void tls_in_both_directions(void **state)
{
    (void)state;
    struct world w;
    struct sluice_err err = {0};
    char folder[] = "/tmp/sluice-tls-XXXXXX", config[512], url[64], ca[64], cert[64], key[64],
         other[64], other_key[64];
    assert_non_null(mkdtemp(folder));
    if (!make_certificates(folder)) {
        (void)fprintf(stderr, "no openssl program: TLS is not tested\n");
        skip();
    }
    (void)snprintf(config, sizeof config,
                   "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\", ca_file: "
                   "\"%s/ca.pem\", verify: true }",
                   folder, folder, folder);
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", folder);
    (void)snprintf(cert, sizeof cert, "%s/client.pem", folder);
    (void)snprintf(key, sizeof key, "%s/client.key", folder);
    (void)snprintf(other, sizeof other, "%s/other.pem", folder);
    (void)snprintf(other_key, sizeof other_key, "%s/o.key", folder);
    open_world(&w, config);
    (void)snprintf(url, sizeof url, "tls://localhost:%d", w.server.port);
    struct sluice_nats_options options = {
        .url = url, .tls_ca = other, .tls_cert = cert, .tls_key = key};
    open_is_refused(&w, &options, SLUICE_ERR_CONNECTION, "set NATS_CA");
    options.tls_ca = ca;
    options.tls_cert = options.tls_key = NULL;
    open_is_refused(&w, &options, SLUICE_ERR_CONNECTION,
                    "demands a client certificate: set NATS_CERT and NATS_KEY");
    options.tls_cert = other;
    options.tls_key = other_key;
    open_is_refused(&w, &options, SLUICE_ERR_CONNECTION, "may not know the authority");
    options.tls_key = key;
    assert_int_equal(sluice_nats_options_check(&options, &err), SLUICE_ERR_CONFIG);
    assert_non_null(strstr(err.text, "not the key of the certificate"));
    options.tls_cert = cert;
    options.tls_key = key;
    open_link(&w, options);
    test_loop_until(&w.loop, is_up_once, &w, "the TLS connect");
    assert_non_null(sluice_nats_link_subscribe(w.link, "a.*", on_message, on_released, &w));
    assert_int_equal(sluice_nats_link_publish(w.link, "a.b", NULL, NULL, 0, "secret", 6),
                     SLUICE_NATS_SENT);
    wait_until(&w, has_message, "the message");
    assert_string_equal(w.last, "a.b||secret");
    close_world(&w);
    (void)snprintf(config, sizeof config, "rm -rf '%s'", folder);
    assert_int_equal(system(config), 0);
}

/* cnats goes over to TLS by itself. */
static void a_server_that_requires_tls_unasked_gets_threads(void **state)
{
    (void)state;
    struct world w;
    char folder[] = "/tmp/sluice-tls-XXXXXX", config[512], url[64], ca[64];
    assert_non_null(mkdtemp(folder));
    if (!make_certificates(folder)) {
        (void)fprintf(stderr, "no openssl program: TLS is not tested\n");
        skip();
    }
    (void)snprintf(config, sizeof config,
                   "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\" }", folder,
                   folder);
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", folder);
    assert_int_equal(setenv("SSL_CERT_FILE", ca, 1), 0);
    open_world(&w, config);
    (void)snprintf(url, sizeof url, "nats://localhost:%d", w.server.port);
    open_link(&w, (struct sluice_nats_options){.url = url});
    test_loop_until(&w.loop, is_read_by_loop ? is_up_twice : is_up_once, &w, "the TLS connect");
    if (is_read_by_loop) {
        assert_non_null(strstr(w.text, "requires TLS"));
    }
    assert_non_null(sluice_nats_link_subscribe(w.link, "a.*", on_message, on_released, &w));
    assert_int_equal(sluice_nats_link_publish(w.link, "a.b", NULL, NULL, 0, "secret", 6),
                     SLUICE_NATS_SENT);
    wait_until(&w, has_message, "the message");
    assert_string_equal(w.last, "a.b||secret");
    close_world(&w);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    (void)snprintf(config, sizeof config, "rm -rf '%s'", folder);
    assert_int_equal(system(config), 0);
}

static void a_broken_seed_is_refused_without_showing_it(void **state)
{
    (void)state;
    char out[SLUICE_NKEY_SIZE];
    struct sluice_err err = {0};
    char seed[] = SEED;
    for (size_t i = 2; i < strlen(SEED); i++) {
        memcpy(seed, SEED, sizeof seed);
        seed[i] = seed[i] == 'A' ? 'B' : 'A';
        assert_int_equal(sluice_nkey_public(seed, strlen(seed), out, &err), SLUICE_ERR_CONFIG);
        assert_null(strstr(err.text, seed));
    }
    for (size_t len = 0; len < strlen(SEED); len++) {
        assert_int_equal(sluice_nkey_public(SEED, len, out, &err), SLUICE_ERR_CONFIG);
    }
}

static void credentials_are_a_jwt_and_a_seed(void **state)
{
    (void)state;
    struct sluice_err err = {0};
    static const char creds[] = TEST_USER_CREDS;
    const char *seed = strstr(creds, "SUAK");
    size_t len = strlen(creds), before = (size_t)(seed - creds);
    assert_int_equal(sluice_creds_check(creds, len, &err), SLUICE_OK);
    assert_int_equal(sluice_creds_check(creds, before, &err), SLUICE_ERR_CONFIG);
    assert_non_null(strstr(err.text, "nkey user seed"));
    assert_int_equal(sluice_creds_check(seed, len - before, &err), SLUICE_ERR_CONFIG);
    assert_non_null(strstr(err.text, "no JWT"));
    assert_null(strstr(err.text, "SUAK"));
    static const char *const none[] = {"",      "\n",   "ey..",     "ey.a.",
                                       ".ey.a", "ey.a", "ey.a.b.c", "ab.c.d"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(sluice_creds_check(none[i], strlen(none[i]), &err), SLUICE_ERR_CONFIG);
        assert_non_null(strstr(err.text, "no JWT"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishes_and_receives),
        cmocka_unit_test(refuses_what_would_break_the_protocol),
        cmocka_unit_test(comes_back_after_the_server_was_killed),
        cmocka_unit_test(is_lost_when_the_attempts_are_used_up),
        cmocka_unit_test(a_reset_makes_a_new_connection),
        cmocka_unit_test(draining_hands_over_what_was_sent),
        cmocka_unit_test(leaves_a_server_that_stands_still),
        cmocka_unit_test(a_server_that_is_heard_is_not_given_up),
        cmocka_unit_test(what_the_socket_does_not_take_leaves_later),
        cmocka_unit_test(stopping_sends_what_was_published),
        cmocka_unit_test(stopping_while_the_server_is_gone_ends_the_thread),
        cmocka_unit_test(a_hurried_link_does_not_wait_for_its_next_attempt),
        cmocka_unit_test(a_first_connect_that_fails_names_the_server_and_no_password),
        cmocka_unit_test(settings_that_cannot_be_right_are_refused),
        cmocka_unit_test(a_login_may_hold_any_character),
        cmocka_unit_test(an_nkey_seed_logs_in),
        cmocka_unit_test(a_credentials_file_logs_in),
        cmocka_unit_test(what_the_server_denies_is_told),
        cmocka_unit_test(tls_in_both_directions),
        cmocka_unit_test(a_server_that_requires_tls_unasked_gets_threads),
        cmocka_unit_test(a_broken_seed_is_refused_without_showing_it),
        cmocka_unit_test(credentials_are_a_jwt_and_a_seed),
    };
    int failed = 0;
    for (is_read_by_loop = 0; is_read_by_loop <= 1; is_read_by_loop++) {
        (void)printf("with %s\n", is_read_by_loop ? "the loop" : "threads of cnats");
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
