/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait for a place under way. Everything else about requests is tested through the
 * publisher and the journal. */
#include "adapter/nats_publisher.h"
#include "adapter/nats_queue.h"

#include "nats_fixture.h"
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A publisher's requests, and a listener that answers when the test says so. */
struct world {
    struct nats_server server, other; /* `other` only where it was started */
    struct test_loop loop;
    struct sluice_publisher *publisher;
    natsConnection *nc;
    natsSubscription *sub;
    int ups, wanted;
    int outcomes[SLUICE_NATS_LATE + 1], done;
    char at[128]; /* the server of the last connect */
};

static void on_link(void *ctx, enum sluice_link_state state, const char *text)
{
    struct world *w = ctx;
    if (state == SLUICE_LINK_UP) {
        w->ups++;
        (void)snprintf(w->at, sizeof w->at, "%s", text);
    }
}

static void on_answer(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct world *w = ctx;
    (void)body;
    w->outcomes[outcome]++;
    w->done++;
}

static int is_up(void *ctx)
{
    return ((struct world *)ctx)->ups >= ((struct world *)ctx)->wanted;
}

static int is_done(void *ctx)
{
    return ((struct world *)ctx)->done >= ((struct world *)ctx)->wanted;
}

static int has_heard(void *ctx)
{
    const struct world *w = ctx;
    int count = 0;
    assert_int_equal(natsSubscription_GetPending(w->sub, &count, NULL), NATS_OK);
    return count >= w->wanted;
}

static void wait_for(struct world *w, int (*is)(void *), int wanted, const char *what)
{
    w->wanted = wanted;
    test_loop_until(&w->loop, is, w, what);
}

static struct world *open_world_of(int servers)
{
    struct sluice_err err = {0};
    struct world *w = calloc(1, sizeof *w);
    char url[256];
    assert_non_null(w);
    skip_without_server(&w->server);
    if (servers == 2) {
        skip_without_server(&w->other);
    }
    (void)snprintf(url, sizeof url, "%s%s%s", w->server.url, servers == 2 ? "," : "", w->other.url);
    test_loop_init(&w->loop);
    const struct sluice_nats_publisher_config config = {.nats = {.url = url},
                                                        .loop = &w->loop.loop,
                                                        .mailbox = &w->loop.mailbox,
                                                        .on_link = on_link,
                                                        .ctx = w};
    if (sluice_nats_publisher_create(&config, &w->publisher, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    wait_for(w, is_up, 1, "the connect");
    assert_int_equal(natsConnection_ConnectTo(&w->nc, w->server.url), NATS_OK);
    assert_int_equal(natsConnection_SubscribeSync(&w->sub, w->nc, "quiet.*"), NATS_OK);
    assert_int_equal(natsConnection_Flush(w->nc), NATS_OK);
    return w;
}

static struct world *open_world(void)
{
    return open_world_of(1);
}

static void close_world(struct world *w)
{
    natsSubscription_Destroy(w->sub);
    natsConnection_Destroy(w->nc);
    if (w->publisher != NULL) {
        w->publisher->ops->destroy(w->publisher);
    }
    test_loop_fini(&w->loop);
    nats_server_stop(&w->server);
    if (w->other.pid != 0) {
        nats_server_stop(&w->other);
    }
    free(w);
}

static void ask(struct world *w, const char *subject, int is_last, int count)
{
    const struct sluice_nats_request request = {.subject = subject,
                                                .body = {"x", 1},
                                                .timeout_ms = 60000,
                                                .again = SLUICE_NATS_IF_NOBODY_LISTENS,
                                                .is_last = is_last};
    for (int i = 0; i < count; i++) {
        assert_int_equal(sluice_nats_requests_send(sluice_nats_publisher_requests(w->publisher),
                                                   &request, on_answer, w),
                         SLUICE_OK);
    }
}

/* The listener's next message, answered or not. */
static void hear(struct world *w, const char *subject, int is_answered)
{
    natsMsg *msg = NULL;
    assert_int_equal(natsSubscription_NextMsg(&msg, w->sub, 10000), NATS_OK);
    assert_string_equal(natsMsg_GetSubject(msg), subject);
    if (is_answered) {
        assert_int_equal(natsConnection_PublishString(w->nc, natsMsg_GetReply(msg), "yes"),
                         NATS_OK);
    }
    natsMsg_Destroy(msg);
}

static void ask_for(struct world *w, const char *subject, int64_t timeout_ms)
{
    const struct sluice_nats_request request = {
        .subject = subject, .body = {"x", 1}, .timeout_ms = timeout_ms};
    assert_int_equal(sluice_nats_requests_send(sluice_nats_publisher_requests(w->publisher),
                                               &request, on_answer, w),
                     SLUICE_OK);
}

static void hear_looping(struct world *w, const char *subject, int is_answered)
{
    wait_for(w, has_heard, 1, subject);
    hear(w, subject, is_answered);
}

static void each_answer_lets_one_go_and_last_steps_go_first(void **state)
{
    (void)state;
    struct world *w = open_world();
    ask(w, "quiet.first", 0, SLUICE_NATS_UNDER_WAY_MAX);
    ask(w, "quiet.early", 0, 3);
    ask(w, "quiet.last", 1, 2);
    wait_for(w, has_heard, SLUICE_NATS_UNDER_WAY_MAX, "as many as may be under way");
    for (uint32_t i = 0; i < SLUICE_NATS_UNDER_WAY_MAX; i++) {
        hear(w, "quiet.first", i < 5);
    }
    wait_for(w, has_heard, 5, "those that waited");
    assert_int_equal(w->outcomes[SLUICE_NATS_ANSWERED], 5);
    hear(w, "quiet.last", 1);
    hear(w, "quiet.last", 1);
    for (int i = 0; i < 3; i++) {
        hear(w, "quiet.early", 1);
    }
    wait_for(w, is_done, 10, "the answers to those that waited");
    assert_int_equal(w->outcomes[SLUICE_NATS_ANSWERED], 10);
    close_world(w);
}

/* A stream that says nothing must not stop what goes to others. */
static void silence_holds_nobody_up_for_long(void **state)
{
    (void)state;
    struct world *w = open_world();
    ask(w, "quiet.first", 0, SLUICE_NATS_UNDER_WAY_MAX);
    ask(w, "quiet.other", 0, 3);
    wait_for(w, has_heard, SLUICE_NATS_UNDER_WAY_MAX + 3, "those that have waited long enough");
    assert_int_equal(w->done, 0);
    close_world(w);
}

/* One that was cut off from its cluster still answers pings, and takes what is published. */
static void a_server_without_answers_is_left_for_another(void **state)
{
    (void)state;
    for (int servers = 1; servers <= 2; servers++) {
        struct world *w = open_world_of(servers);
        struct nats_server *at = strcmp(w->at, w->server.url) == 0 ? &w->server : &w->other;
        natsConnection *nc = NULL;
        natsSubscription *sub = NULL;
        char first[sizeof w->at];
        (void)snprintf(first, sizeof first, "%s", w->at);
        assert_int_equal(natsConnection_ConnectTo(&nc, at->url), NATS_OK);
        assert_int_equal(natsConnection_SubscribeSync(&sub, nc, "deaf"), NATS_OK);
        assert_int_equal(natsConnection_Flush(nc), NATS_OK);
        ask_for(w, "deaf", 2000);
        wait_for(w, is_done, 1, "the deadline");
        assert_int_equal(w->outcomes[SLUICE_NATS_LATE], 1);
        if (servers == 2) {
            wait_for(w, is_up, 2, "another server");
            assert_string_not_equal(w->at, first);
        } else {
            test_loop_for(&w->loop, 300);
            assert_int_equal(w->ups, 1);
        }
        natsSubscription_Destroy(sub);
        natsConnection_Destroy(nc);
        close_world(w);
    }
}

/* Two servers, and the listener at the one that the publisher is connected to. */
static struct world *open_world_of_two(void)
{
    struct world *w = open_world_of(2);
    struct nats_server *at = strcmp(w->at, w->server.url) == 0 ? &w->server : &w->other;
    natsSubscription_Destroy(w->sub);
    natsConnection_Destroy(w->nc);
    assert_int_equal(natsConnection_ConnectTo(&w->nc, at->url), NATS_OK);
    assert_int_equal(natsConnection_SubscribeSync(&w->sub, w->nc, "quiet.*"), NATS_OK);
    assert_int_equal(natsConnection_Flush(w->nc), NATS_OK);
    return w;
}

static void an_answer_to_another_request_keeps_the_server(void **state)
{
    (void)state;
    struct world *w = open_world_of_two();
    ask_for(w, "quiet.late", 2000);
    hear_looping(w, "quiet.late", 0);
    test_loop_for(&w->loop, 1000);
    ask_for(w, "quiet.one", 2000);
    hear_looping(w, "quiet.one", 1);
    wait_for(w, is_done, 2, "the deadline");
    test_loop_for(&w->loop, 300);
    assert_int_equal(w->outcomes[SLUICE_NATS_ANSWERED], 1);
    assert_int_equal(w->ups, 1);
    close_world(w);
}

/* The server was silent for 1 s when the second is late: it never heard of the first. */
static void what_was_not_sent_does_not_count_against_the_server(void **state)
{
    (void)state;
    struct world *w = open_world_of_two();
    ask_for(w, "not a subject", 2000);
    wait_for(w, is_done, 1, "the refusal");
    assert_int_equal(w->outcomes[SLUICE_NATS_ILLEGAL], 1);
    test_loop_for(&w->loop, 1000);
    ask_for(w, "quiet.late", 1000);
    hear_looping(w, "quiet.late", 0);
    wait_for(w, is_done, 2, "the deadline");
    assert_int_equal(w->outcomes[SLUICE_NATS_LATE], 1);
    test_loop_for(&w->loop, 300);
    assert_int_equal(w->ups, 1);
    close_world(w);
}

static void what_waited_when_the_link_broke_was_not_sent(void **state)
{
    (void)state;
    struct world *w = open_world();
    ask(w, "quiet.first", 0, SLUICE_NATS_UNDER_WAY_MAX);
    ask(w, "quiet.early", 0, 3);
    nats_server_kill(&w->server);
    wait_for(w, is_done, SLUICE_NATS_UNDER_WAY_MAX + 3, "the loss");
    assert_int_equal(w->outcomes[SLUICE_NATS_LOST], SLUICE_NATS_UNDER_WAY_MAX);
    assert_int_equal(w->outcomes[SLUICE_NATS_NOT_SENT], 3);
    nats_server_restart(&w->server);
    wait_for(w, is_up, 2, "the new connection");
    close_world(w);
}

static void what_waits_ends_with_its_owner(void **state)
{
    (void)state;
    struct world *w = open_world();
    ask(w, "quiet.first", 0, SLUICE_NATS_UNDER_WAY_MAX);
    ask(w, "quiet.early", 0, 3);
    w->publisher->ops->destroy(w->publisher);
    w->publisher = NULL;
    assert_int_equal(w->done, SLUICE_NATS_UNDER_WAY_MAX + 3);
    assert_int_equal(w->outcomes[SLUICE_NATS_ANSWERED], 0);
    close_world(w);
}

static void a_queue_grows_around_its_beginning(void **state)
{
    (void)state;
    struct sluice_nats_queue queue = {0};
    uint64_t item = 0, in = 0, out = 0;
    assert_false(sluice_nats_queue_pop(&queue, &item));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 50; i++) {
            assert_true(sluice_nats_queue_push(&queue, in++));
        }
        for (int i = 0; i < 20; i++) {
            assert_true(sluice_nats_queue_pop(&queue, &item));
            assert_int_equal(item, out++);
        }
    }
    while (sluice_nats_queue_pop(&queue, &item)) {
        assert_int_equal(item, out++);
    }
    assert_int_equal(out, in);
    sluice_nats_queue_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_answer_lets_one_go_and_last_steps_go_first),
        cmocka_unit_test(silence_holds_nobody_up_for_long),
        cmocka_unit_test(a_server_without_answers_is_left_for_another),
        cmocka_unit_test(an_answer_to_another_request_keeps_the_server),
        cmocka_unit_test(what_was_not_sent_does_not_count_against_the_server),
        cmocka_unit_test(what_waited_when_the_link_broke_was_not_sent),
        cmocka_unit_test(what_waits_ends_with_its_owner),
        cmocka_unit_test(a_queue_grows_around_its_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
