/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_publisher.h"

#include "nats_fixture.h"
#include <nats/nats.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A publisher with its server, and what its callbacks said. */
struct world {
    struct nats_server server;
    struct test_loop loop;
    struct sluice_publisher *publisher;
    int ups, downs;
    int done, unheard, wanted;
    int fates[SLUICE_FATE_COUNT];
    struct sluice_publish_done last;
    char text[512], stream[64];
    int again; /* publish once more from inside the next callback */
};

static void on_link(void *ctx, enum sluice_link_state state, const char *text)
{
    struct world *w = ctx;
    (void)text;
    w->ups += state == SLUICE_LINK_UP;
    w->downs += state == SLUICE_LINK_DOWN;
}

static void publish(struct world *w, const char *subject, const char *body, const char *id);

static void on_done(void *ctx, const struct sluice_publish_done *done)
{
    struct world *w = ctx;
    w->done++;
    w->fates[done->fate]++;
    w->last = *done;
    (void)snprintf(w->text, sizeof w->text, "%s", done->text);
    (void)snprintf(w->stream, sizeof w->stream, "%s", done->stream);
    if (w->again > 0) {
        w->again--;
        publish(w, "s.one", "again", NULL);
    }
}

static void publish(struct world *w, const char *subject, const char *body, const char *id)
{
    const sluice_header header = {"Nats-Msg-Id", id};
    const struct sluice_publication publication = {.subject = subject,
                                                   .headers = &header,
                                                   .headers_count = id != NULL,
                                                   .body = {body, strlen(body)}};
    int before = w->done;
    w->publisher->ops->publish(w->publisher, &publication, on_done, w);
    assert_int_equal(w->done, before);
}

static int is_done(void *ctx)
{
    return ((struct world *)ctx)->done >= ((struct world *)ctx)->wanted;
}

static int is_up(void *ctx)
{
    return ((struct world *)ctx)->ups >= ((struct world *)ctx)->wanted;
}

static int is_down(void *ctx)
{
    return ((struct world *)ctx)->downs >= ((struct world *)ctx)->wanted;
}

static void wait_for(struct world *w, int (*is)(void *), int wanted, const char *what)
{
    w->wanted = wanted;
    test_loop_until(&w->loop, is, w, what);
}

static void on_unheard(void *ctx, const char *subject, const char *stream)
{
    struct world *w = ctx;
    w->unheard++;
    (void)snprintf(w->text, sizeof w->text, "%s of %s", subject, stream == NULL ? "any" : stream);
}

static int is_unheard(void *ctx)
{
    return ((struct world *)ctx)->unheard >= ((struct world *)ctx)->wanted;
}

static struct world *open_world(int64_t timeout_ms)
{
    struct sluice_err err = {0};
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    skip_without_server(&w->server);
    test_loop_init(&w->loop);
    nats_make_stream(&w->server, 30000);
    const struct sluice_nats_publisher_config config = {
        .nats = {.url = w->server.url},
        .loop = &w->loop.loop,
        .mailbox = &w->loop.mailbox,
        .timeout_ms = timeout_ms,
        .on_link = on_link,
        .on_unheard = on_unheard,
        .ctx = w,
    };
    if (sluice_nats_publisher_create(&config, &w->publisher, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    wait_for(w, is_up, 1, "the connect");
    return w;
}

static void close_publisher(struct world *w)
{
    w->publisher->ops->destroy(w->publisher);
    w->publisher = NULL;
}

static void close_world(struct world *w)
{
    if (w->publisher != NULL) {
        close_publisher(w);
    }
    test_loop_fini(&w->loop);
    nats_server_stop(&w->server);
    free(w);
}

static void a_stored_message_is_ok(void **state)
{
    (void)state;
    struct world *w = open_world(0);
    assert_true(w->publisher->ops->is_up(w->publisher));
    assert_int_equal(w->publisher->ops->payload_max(w->publisher), 1024 * 1024);
    publish(w, "s.one", "hello", "id-1");
    wait_for(w, is_done, 1, "the PubAck");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    assert_int_equal(w->last.rc, SLUICE_OK);
    assert_int_equal(w->last.sequence, 1);
    assert_false(w->last.is_duplicate);
    assert_string_equal(w->stream, "S");
    publish(w, "s.one", "hello", "id-1");
    wait_for(w, is_done, 2, "the PubAck of the duplicate");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    assert_true(w->last.is_duplicate);
    assert_int_equal(w->last.sequence, 1);
    char *stored = nats_ask(&w->server, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":1}");
    assert_non_null(strstr(stored, "\"data\":\"aGVsbG8=\""));
    assert_non_null(strstr(stored, "\"hdrs\":\"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiBpZC0xDQoNCg==\""));
    free(stored);
    close_world(w);
}

static void a_subject_without_stream_is_named(void **state)
{
    (void)state;
    struct world *w = open_world(300);
    publish(w, "nobody.here", "x", NULL);
    wait_for(w, is_done, 1, "the answer");
    assert_int_equal(w->last.fate, SLUICE_FATE_UNAVAILABLE);
    assert_int_equal(w->last.rc, SLUICE_ERR_PUBLISH);
    assert_string_equal(w->text, "no stream listens on subject nobody.here");
    close_world(w);
}

/* As while a stream changes its leader: for a moment nobody listens. */
static void a_stream_that_comes_in_time_gets_it(void **state)
{
    (void)state;
    struct world *w = open_world(0);
    publish(w, "late.one", "hello", NULL);
    wait_for(w, is_unheard, 1, "word that nobody listens");
    assert_string_equal(w->text, "late.one of any");
    test_loop_for(&w->loop, 250);
    assert_int_equal(w->done, 0);
    assert_int_equal(w->unheard, 1); /* the repetitions are not told */
    nats_ask_ok(&w->server, "$JS.API.STREAM.CREATE.LATE",
                "{\"name\":\"LATE\",\"subjects\":[\"late.>\"],\"storage\":\"file\",\"retention\":"
                "\"limits\","
                "\"num_replicas\":1}");
    wait_for(w, is_done, 1, "the PubAck");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    assert_int_equal(w->last.sequence, 1);
    close_world(w);
}

static void the_stream_that_should_take_it_is_told(void **state)
{
    (void)state;
    struct world *w = open_world(300);
    const struct sluice_publication publication = {
        .subject = "dead.one", .body = {"x", 1}, .expected_stream = "DEAD"};
    w->publisher->ops->publish(w->publisher, &publication, on_done, w);
    wait_for(w, is_unheard, 1, "word that nobody listens");
    assert_int_equal(w->done, 0);
    assert_string_equal(w->text, "dead.one of DEAD");
    wait_for(w, is_done, 1, "the answer");
    close_world(w);
}

/* A listener that is no stream: what it was sent, and a way to answer. */
struct listener {
    natsConnection *nc;
    natsSubscription *sub;
    int wanted;
};

static int has_heard(void *ctx)
{
    const struct listener *l = ctx;
    int count = 0;
    assert_int_equal(natsSubscription_GetPending(l->sub, &count, NULL), NATS_OK);
    return count >= l->wanted;
}

static void silence_is_asked_again_when_there_is_an_id(void **state)
{
    (void)state;
    struct world *w = open_world(0);
    struct listener l = {.wanted = 3};
    natsMsg *msg = NULL;
    assert_int_equal(natsConnection_ConnectTo(&l.nc, w->server.url), NATS_OK);
    assert_int_equal(natsConnection_SubscribeSync(&l.sub, l.nc, "deaf.*"), NATS_OK);
    assert_int_equal(natsConnection_Flush(l.nc), NATS_OK);
    publish(w, "deaf.one", "hello", "id-1");
    publish(w, "deaf.none", "hello", NULL);
    test_loop_until(&w->loop, has_heard, &l, "the same again");
    for (int i = 0; i < 3; i++) {
        const char *expected = i == 1 ? "deaf.none" : "deaf.one";
        natsMsg_Destroy(msg);
        assert_int_equal(natsSubscription_NextMsg(&msg, l.sub, 1000), NATS_OK);
        assert_string_equal(natsMsg_GetSubject(msg), expected);
    }
    const char *id = NULL;
    assert_int_equal(natsMsgHeader_Get(msg, "Nats-Msg-Id", &id), NATS_OK);
    assert_string_equal(id, "id-1");
    assert_int_equal(natsMsg_GetDataLength(msg), 5);
    assert_int_equal(
        natsConnection_PublishString(l.nc, natsMsg_GetReply(msg), "{\"stream\":\"D\",\"seq\":7}"),
        NATS_OK);
    wait_for(w, is_done, 1, "its PubAck");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    assert_int_equal(w->last.sequence, 7);
    natsMsg_Destroy(msg);
    natsSubscription_Destroy(l.sub);
    natsConnection_Destroy(l.nc);
    close_world(w);
}

/* The next message that the listener hears is answered; 0 when the publish is over before. */
struct hearing {
    struct world *world;
    struct listener *listener;
};

static int has_heard_or_ended(void *ctx)
{
    struct hearing *h = ctx;
    return has_heard(h->listener) || h->world->done > 0;
}

static int answer_next(struct world *w, struct listener *l, const char *answer)
{
    natsMsg *msg = NULL;
    test_loop_until(&w->loop, has_heard_or_ended, &(struct hearing){w, l}, "a try");
    if (!has_heard(l)) {
        return 0;
    }
    assert_int_equal(natsSubscription_NextMsg(&msg, l->sub, 1000), NATS_OK);
    assert_int_equal(natsConnection_PublishString(l->nc, natsMsg_GetReply(msg), answer), NATS_OK);
    natsMsg_Destroy(msg);
    return 1;
}

/* As while a stream's new leader commits what the old one had staged: the answer is to our own
 * second try, in the words of newer and older servers. */
static void what_is_not_stored_yet_is_asked_again(void **state)
{
    (void)state;
    static const char error[] =
        "{\"error\":{\"code\":409,\"err_code\":10158,\"description\":"
        "\"duplicate message id is in process\"},\"stream\":\"S\",\"seq\":0}";
    static const char staged[] = "{\"stream\":\"S\",\"seq\":0,\"duplicate\":true}";
    static const struct {
        const char *id, *last;
        int tries_min, tries_max;
        enum sluice_fate fate;
        sluice_rc rc;
    } cases[] = {
        {"id-1", "{\"stream\":\"S\",\"seq\":7,\"duplicate\":true}", 3, 3, SLUICE_FATE_OK,
         SLUICE_OK},
        {"id-1", staged, 3, 100, SLUICE_FATE_UNKNOWN, SLUICE_ERR_TIMEOUT},
        {NULL, staged, 1, 1, SLUICE_FATE_UNKNOWN,
         SLUICE_ERR_PUBLISH}, /* it would be stored twice */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *w = open_world(2000);
        struct listener l = {.wanted = 1};
        int tries = 0;
        assert_int_equal(natsConnection_ConnectTo(&l.nc, w->server.url), NATS_OK);
        assert_int_equal(natsConnection_SubscribeSync(&l.sub, l.nc, "slow.one"), NATS_OK);
        assert_int_equal(natsConnection_Flush(l.nc), NATS_OK);
        publish(w, "slow.one", "hello", cases[i].id);
        while (answer_next(w, &l, tries == 0 ? error : tries == 1 ? staged : cases[i].last)) {
            tries++;
        }
        assert_int_equal(w->last.fate, cases[i].fate);
        assert_int_equal(w->last.rc, cases[i].rc);
        assert_int_equal(w->last.sequence, cases[i].fate == SLUICE_FATE_OK ? 7 : 0);
        assert_in_range(tries, cases[i].tries_min, cases[i].tries_max);
        assert_int_equal(w->unheard, 0);
        natsSubscription_Destroy(l.sub);
        natsConnection_Destroy(l.nc);
        close_world(w);
    }
}

static void limits_of_the_stream_are_told(void **state)
{
    (void)state;
    struct world *w = open_world(0);
    nats_ask_ok(
        &w->server, "$JS.API.STREAM.CREATE.L",
        "{\"name\":\"L\",\"subjects\":[\"l.>\"],\"storage\":\"file\",\"retention\":\"limits\","
        "\"max_msgs\":1,\"discard\":\"new\",\"max_msg_size\":100,\"num_replicas\":1}");
    publish(w, "l.one", "x", NULL);
    publish(w, "l.one", "x", NULL);
    wait_for(w, is_done, 2, "the answers");
    assert_int_equal(w->fates[SLUICE_FATE_OK], 1);
    assert_int_equal(w->last.fate, SLUICE_FATE_UNAVAILABLE);
    assert_non_null(strstr(w->text, "l.one"));
    assert_non_null(strstr(w->text, "10077"));
    char body[200];
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    publish(w, "l.one", body, NULL);
    wait_for(w, is_done, 3, "the answer to the large one");
    assert_int_equal(w->last.fate, SLUICE_FATE_PERMANENT);
    assert_int_equal(w->last.rc, SLUICE_ERR_TOO_LARGE);
    close_world(w);
}

static void what_the_server_would_refuse_is_not_sent(void **state)
{
    (void)state;
    struct world *w = open_world(0);
    size_t size = 1024 * 1024 + 1;
    char *body = malloc(size + 1);
    assert_non_null(body);
    memset(body, 'x', size);
    body[size] = '\0';
    publish(w, "s.one", body, NULL);
    wait_for(w, is_done, 1, "the refusal");
    assert_int_equal(w->last.fate, SLUICE_FATE_PERMANENT);
    assert_int_equal(w->last.rc, SLUICE_ERR_TOO_LARGE);
    assert_non_null(strstr(w->text, "1048577"));
    assert_non_null(strstr(w->text, "max_payload of 1048576"));
    body[size - 1] = '\0';
    publish(w, "s.one", body, "with a header it is over");
    wait_for(w, is_done, 2, "the second refusal");
    assert_int_equal(w->last.rc, SLUICE_ERR_TOO_LARGE);
    publish(w, "s.one", body, NULL);
    wait_for(w, is_done, 3, "the largest");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    free(body);
    publish(w, "s.one", "x", "line\r\nNats-Rollup: all");
    wait_for(w, is_done, 4, "the header");
    assert_int_equal(w->last.fate, SLUICE_FATE_PERMANENT);
    assert_int_equal(w->last.rc, SLUICE_ERR_VALIDATION);
    assert_int_equal(w->downs, 0);
    close_world(w);
}

static void the_expected_stream_is_checked_by_the_server(void **state)
{
    (void)state;
    struct world *w = open_world(0);
    struct sluice_publication publication = {
        .subject = "s.one", .body = {"x", 1}, .expected_stream = "OTHER"};
    w->publisher->ops->publish(w->publisher, &publication, on_done, w);
    wait_for(w, is_done, 1, "the answer");
    assert_int_equal(w->last.fate, SLUICE_FATE_RETRY);
    assert_non_null(strstr(w->text, "expected stream"));
    publication.expected_stream = "S";
    w->publisher->ops->publish(w->publisher, &publication, on_done, w);
    wait_for(w, is_done, 2, "the answer");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    close_world(w);
}

/* Another service on the subject: no stream looks at Nats-Expected-Stream here. */
static void answer_for_another(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    (void)sub;
    (void)ctx;
    natsConnection_PublishString(nc, natsMsg_GetReply(msg), "{\"stream\":\"OTHER\",\"seq\":7}");
    natsMsg_Destroy(msg);
}

static void a_puback_of_another_stream_is_none(void **state)
{
    (void)state;
    struct world *w = open_world(0);
    natsConnection *nc = NULL;
    natsSubscription *sub = NULL;
    assert_int_equal(natsConnection_ConnectTo(&nc, w->server.url), NATS_OK);
    assert_int_equal(natsConnection_Subscribe(&sub, nc, "lie.one", answer_for_another, NULL),
                     NATS_OK);
    assert_int_equal(natsConnection_Flush(nc), NATS_OK);
    struct sluice_publication publication = {
        .subject = "lie.one", .body = {"x", 1}, .expected_stream = "S"};
    w->publisher->ops->publish(w->publisher, &publication, on_done, w);
    wait_for(w, is_done, 1, "the answer");
    assert_int_equal(w->last.fate, SLUICE_FATE_UNKNOWN);
    assert_int_equal(w->last.rc, SLUICE_ERR_PUBLISH);
    assert_string_equal(w->text, "the PubAck on lie.one is of stream OTHER, expected S");
    publication.expected_stream = "OTHER";
    w->publisher->ops->publish(w->publisher, &publication, on_done, w);
    wait_for(w, is_done, 2, "the answer");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    natsSubscription_Destroy(sub);
    natsConnection_Destroy(nc);
    close_world(w);
}

static void thousands_may_be_open(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct world *w = open_world(0);
    w->again = COUNT;
    for (int i = 0; i < COUNT; i++) {
        publish(w, "s.one", "hello", NULL);
    }
    wait_for(w, is_done, 2 * COUNT, "all PubAcks");
    assert_int_equal(w->fates[SLUICE_FATE_OK], 2 * COUNT);
    close_world(w);
}

static void a_frozen_server_makes_it_unknown(void **state)
{
    (void)state;
    struct world *w = open_world(300);
    nats_server_signal(&w->server, SIGSTOP);
    publish(w, "s.one", "hello", "id-1");
    wait_for(w, is_done, 1, "the deadline");
    assert_int_equal(w->last.fate, SLUICE_FATE_UNKNOWN);
    assert_int_equal(w->last.rc, SLUICE_ERR_TIMEOUT);
    nats_server_signal(&w->server, SIGCONT);
    /* The late PubAck finds nobody; the same id shows that it was stored. */
    publish(w, "s.one", "hello", "id-1");
    wait_for(w, is_done, 2, "the PubAck");
    assert_true(w->last.is_duplicate);
    close_world(w);
}

/* The link's pings find out that the server is dead after 4 to 6 s; what ends before says nothing
 * of the stream either. A stream that is silent on a live connection is late. */
static void a_silent_connection_is_not_the_streams_silence(void **state)
{
    (void)state;
    for (int is_frozen = 0; is_frozen <= 1; is_frozen++) {
        struct world *w = open_world(3900);
        natsConnection *nc = NULL;
        natsSubscription *sub = NULL;
        assert_int_equal(natsConnection_ConnectTo(&nc, w->server.url), NATS_OK);
        assert_int_equal(natsConnection_SubscribeSync(&sub, nc, "deaf.one"), NATS_OK);
        assert_int_equal(natsConnection_Flush(nc), NATS_OK);
        if (is_frozen) {
            nats_server_signal(&w->server, SIGSTOP);
        }
        publish(w, "deaf.one", "hello", "id-1");
        wait_for(w, is_done, 1, "the deadline");
        assert_int_equal(w->last.fate, SLUICE_FATE_UNKNOWN);
        assert_int_equal(w->last.rc, is_frozen ? SLUICE_ERR_CONNECTION : SLUICE_ERR_TIMEOUT);
        nats_server_signal(&w->server, SIGCONT);
        natsSubscription_Destroy(sub);
        natsConnection_Destroy(nc);
        close_world(w);
    }
}

static void a_killed_server_makes_it_unknown_and_then_not_sent(void **state)
{
    (void)state;
    struct world *w = open_world(60000);
    nats_server_signal(&w->server, SIGSTOP);
    for (int i = 0; i < 10; i++) {
        publish(w, "s.one", "hello", NULL);
    }
    nats_server_kill(&w->server);
    wait_for(w, is_done, 10, "the loss");
    assert_int_equal(w->fates[SLUICE_FATE_UNKNOWN], 10);
    assert_int_equal(w->last.rc, SLUICE_ERR_CONNECTION);
    wait_for(w, is_down, 1, "the loss of the link");
    assert_false(w->publisher->ops->is_up(w->publisher));
    publish(w, "s.one", "hello", NULL);
    wait_for(w, is_done, 11, "what cannot be sent");
    assert_int_equal(w->last.fate, SLUICE_FATE_RETRY);
    assert_int_equal(w->last.rc, SLUICE_ERR_CONNECTION);
    nats_server_restart(&w->server);
    wait_for(w, is_up, 2, "the new connection");
    publish(w, "s.one", "hello", NULL);
    wait_for(w, is_done, 12, "the PubAck");
    assert_int_equal(w->last.fate, SLUICE_FATE_OK);
    close_world(w);
}

static void destroying_ends_what_is_open(void **state)
{
    (void)state;
    struct world *w = open_world(60000);
    nats_server_signal(&w->server, SIGSTOP);
    for (int i = 0; i < 3; i++) {
        publish(w, "s.one", "hello", NULL);
    }
    w->again = 2;
    nats_server_kill(&w->server);
    publish(w, "s.one", "x y", NULL);
    close_publisher(w);
    assert_int_equal(w->done, 6);
    assert_true(w->fates[SLUICE_FATE_UNKNOWN] >= 3);
    assert_int_equal(w->fates[SLUICE_FATE_OK], 0);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stored_message_is_ok),
        cmocka_unit_test(a_subject_without_stream_is_named),
        cmocka_unit_test(a_stream_that_comes_in_time_gets_it),
        cmocka_unit_test(the_stream_that_should_take_it_is_told),
        cmocka_unit_test(silence_is_asked_again_when_there_is_an_id),
        cmocka_unit_test(what_is_not_stored_yet_is_asked_again),
        cmocka_unit_test(limits_of_the_stream_are_told),
        cmocka_unit_test(what_the_server_would_refuse_is_not_sent),
        cmocka_unit_test(the_expected_stream_is_checked_by_the_server),
        cmocka_unit_test(a_puback_of_another_stream_is_none),
        cmocka_unit_test(thousands_may_be_open),
        cmocka_unit_test(a_frozen_server_makes_it_unknown),
        cmocka_unit_test(a_silent_connection_is_not_the_streams_silence),
        cmocka_unit_test(a_killed_server_makes_it_unknown_and_then_not_sent),
        cmocka_unit_test(destroying_ends_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
