/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_source.h"

#include "adapter/nats_link.h"
#include "nats_fixture.h"
#include "port/clock.h"
#include <nats/nats.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DELIVERIES_MAX 8192

/* A source with its server, and everything it reported. */
struct world {
    struct nats_server server;
    struct test_loop loop;
    struct sluice_source *source;
    int ups, downs, losts, stopped;
    struct sluice_delivery *deliveries[DELIVERIES_MAX];
    int64_t delivered_ms[DELIVERIES_MAX];
    int delivered;
    int settled, answered;
    uint64_t last_op;
    int64_t last_sent_ms;
    int alive;
    int heartbeats, statuses;
    uint32_t status_pull;
    enum sluice_pull_status status;
    char status_text[200];
    int checks, consumer, anew;
    const char *api_prefix; /* NULL: the usual one */
    /* what a wait waits for */
    int wanted;
};

static void on_link(void *ctx, enum sluice_link_state state, const char *text)
{
    (void)text;
    struct world *w = ctx;
    w->ups += state == SLUICE_LINK_UP;
    w->downs += state == SLUICE_LINK_DOWN;
    w->losts += state == SLUICE_LINK_LOST;
}

static void on_delivery(void *ctx, struct sluice_delivery *delivery)
{
    struct world *w = ctx;
    assert_true(w->delivered < DELIVERIES_MAX);
    w->delivered_ms[w->delivered] = sluice_mono_ms();
    w->deliveries[w->delivered++] = delivery;
}

static void on_pull(void *ctx, uint32_t pull, enum sluice_pull_status status, const char *text)
{
    struct world *w = ctx;
    if (status == SLUICE_PULL_ALIVE) {
        w->heartbeats++;
        return;
    }
    w->statuses++;
    w->status_pull = pull;
    w->status = status;
    (void)snprintf(w->status_text, sizeof w->status_text, "%s", text);
}

static void on_settled(void *ctx, uint64_t op, int is_answered, int64_t sent_ms)
{
    struct world *w = ctx;
    w->settled++;
    w->answered += is_answered;
    w->last_op = op;
    w->last_sent_ms = sent_ms;
}

static void on_consumer(void *ctx, enum sluice_consumer exists)
{
    struct world *w = ctx;
    w->checks++;
    w->anew += exists == SLUICE_CONSUMER_ANEW;
    w->consumer = exists;
}

static void on_stopped(void *ctx)
{
    ((struct world *)ctx)->stopped++;
}

static void on_alive(void *ctx, int64_t mono_ms)
{
    (void)mono_ms;
    ((struct world *)ctx)->alive++;
}

static int is_up(void *ctx)
{
    return ((struct world *)ctx)->ups >= ((struct world *)ctx)->wanted;
}

static int is_down(void *ctx)
{
    return ((struct world *)ctx)->downs >= ((struct world *)ctx)->wanted;
}

static int has_delivered(void *ctx)
{
    return ((struct world *)ctx)->delivered >= ((struct world *)ctx)->wanted;
}

static int has_settled(void *ctx)
{
    return ((struct world *)ctx)->settled >= ((struct world *)ctx)->wanted;
}

static int has_status(void *ctx)
{
    return ((struct world *)ctx)->statuses >= ((struct world *)ctx)->wanted;
}

static int has_heartbeat(void *ctx)
{
    return ((struct world *)ctx)->heartbeats >= ((struct world *)ctx)->wanted;
}

static int has_checked(void *ctx)
{
    return ((struct world *)ctx)->checks >= ((struct world *)ctx)->wanted;
}

static int has_stopped(void *ctx)
{
    return ((struct world *)ctx)->stopped >= ((struct world *)ctx)->wanted;
}

static int is_alive_often(void *ctx)
{
    return ((struct world *)ctx)->alive >= ((struct world *)ctx)->wanted;
}

static void wait_for(struct world *w, int (*is_done)(void *), int wanted, const char *what)
{
    w->wanted = wanted;
    test_loop_until(&w->loop, is_done, w, what);
}

static void open_source_with(struct world *w, int64_t ack_wait_ms,
                             void (*delivery)(void *ctx, struct sluice_delivery *delivery))
{
    int ups = w->ups;
    struct sluice_err err = {0};
    const struct sluice_nats_source_config config = {
        .nats = {.url = w->server.url, .name = "sluice/test@here", .api_prefix = w->api_prefix},
        .loop = &w->loop.loop,
        .mailbox = &w->loop.mailbox,
        .stream = "S",
        .consumer = "C",
        .ack_wait_ms = ack_wait_ms,
        .events = {on_link, delivery, on_pull, on_settled, on_consumer, on_stopped, on_alive},
        .ctx = w,
    };
    if (sluice_nats_source_create(&config, &w->source, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    wait_for(w, is_up, ups + 1, "the first connect");
}

static void open_source(struct world *w, int64_t ack_wait_ms)
{
    open_source_with(w, ack_wait_ms, on_delivery);
}

static struct world *open_world(int64_t ack_wait_ms)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    skip_without_server(&w->server);
    test_loop_init(&w->loop);
    nats_make_stream(&w->server, ack_wait_ms);
    open_source(w, ack_wait_ms);
    return w;
}

static void close_world(struct world *w)
{
    for (int i = 0; i < w->delivered; i++) {
        w->source->ops->delivery_free(w->source, w->deliveries[i]);
    }
    w->source->ops->destroy(w->source);
    test_loop_fini(&w->loop);
    nats_server_stop(&w->server);
    free(w);
}

static void pull(struct world *w, uint32_t id, uint32_t batch, uint32_t expires_ms,
                 uint32_t heartbeat_ms)
{
    const struct sluice_fx_pull fx = {
        .pull = id, .batch = batch, .expires_ms = expires_ms, .heartbeat_ms = heartbeat_ms};
    w->source->ops->pull(w->source, &fx);
}

static void settle(struct world *w, int delivery, enum sluice_verb verb, int64_t delay_ms)
{
    w->source->ops->settle(w->source, 1000 + (uint64_t)delivery, w->deliveries[delivery]->reply,
                           verb, delay_ms);
}

/* A number of the consumer's state. */
static int consumer_says(struct world *w, const char *name)
{
    char wanted[64];
    char *info = nats_ask(&w->server, "$JS.API.CONSUMER.INFO.S.C", "");
    assert_non_null(info);
    (void)snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(info, wanted);
    assert_non_null(at);
    int number = atoi(at + strlen(wanted));
    free(info);
    return number;
}

/* From 2.10 on the server may store what it has taken a moment later. */
static int are_stored(void *ctx)
{
    return consumer_says(ctx, "num_pending") == ((struct world *)ctx)->wanted;
}

static void pulls_and_settles(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    int64_t start = sluice_mono_ms();
    nats_say(&w->server, "s.one", "body %d", 5);
    w->wanted = 5;
    test_wait_until(are_stored, w, "five messages in the stream");
    pull(w, 1, 5, 5000, 1000);
    wait_for(w, has_delivered, 5, "five messages");
    for (int i = 0; i < 5; i++) {
        const struct sluice_delivery *d = w->deliveries[i];
        char body[16];
        (void)snprintf(body, sizeof body, "body %d", i);
        assert_int_equal(d->body.len, strlen(body));
        assert_memory_equal(d->body.data, body, strlen(body));
        assert_string_equal(d->subject, "s.one");
        assert_string_equal(d->stream, "S");
        assert_string_equal(d->consumer, "C");
        assert_int_equal(d->sequence, i + 1);
        assert_int_equal(d->pending, 4 - i);
        assert_int_equal(d->deliveries, 1);
        assert_int_equal(d->headers_count, 0);
        assert_int_equal(d->pull, 1);
        assert_true(d->horizon_ms <= w->delivered_ms[i]);
        assert_true(d->horizon_ms >= start - 5000);
        assert_true(d->stored_unix_ns > 1700000000000000000);
        assert_true(d->size > d->body.len + strlen(d->reply));
        settle(w, i, SLUICE_VERB_ACK, 0);
    }
    wait_for(w, has_settled, 5, "five answers");
    assert_int_equal(w->answered, 5);
    assert_true(w->last_op >= 1000 && w->last_op <= 1004);
    assert_true(w->last_sent_ms >= start && w->last_sent_ms <= sluice_mono_ms());
    assert_int_equal(consumer_says(w, "num_ack_pending"), 0);
    close_world(w);
}

static void a_nak_comes_back_after_its_delay(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    nats_say(&w->server, "s.one", "x", 1);
    pull(w, 1, 2, 10000, 1000);
    wait_for(w, has_delivered, 1, "the message");
    settle(w, 0, SLUICE_VERB_NAK, 300);
    wait_for(w, has_delivered, 2, "the redelivery");
    assert_int_equal(w->deliveries[1]->deliveries, 2);
    assert_int_equal(w->deliveries[1]->sequence, 1);
    assert_true(w->delivered_ms[1] - w->delivered_ms[0] >= 280);
    pull(w, 2, 1, 10000, 1000);
    settle(w, 1, SLUICE_VERB_NAK, 0);
    wait_for(w, has_delivered, 3, "the redelivery at once");
    assert_true(w->delivered_ms[2] - w->delivered_ms[1] < 280);
    assert_int_equal(w->deliveries[2]->pull, 2);
    settle(w, 2, SLUICE_VERB_TERM, 0);
    wait_for(w, has_settled, 3, "three answers");
    assert_int_equal(w->answered, 3);
    assert_int_equal(consumer_says(w, "num_ack_pending"), 0);
    assert_int_equal(consumer_says(w, "num_pending"), 0);
    close_world(w);
}

static void progress_holds_a_message_beyond_the_ack_wait(void **state)
{
    (void)state;
    struct world *w = open_world(1000);
    nats_say(&w->server, "s.one", "x", 1);
    pull(w, 1, 2, 20000, 1000);
    wait_for(w, has_delivered, 1, "the message");
    int64_t first_horizon = w->deliveries[0]->horizon_ms;
    for (int i = 0; i < 6; i++) {
        test_loop_for(&w->loop, 300);
        settle(w, 0, SLUICE_VERB_PROGRESS, 0);
    }
    wait_for(w, has_settled, 6, "six answers");
    assert_int_equal(w->delivered, 1);
    wait_for(w, has_delivered, 2, "the redelivery after the silence");
    assert_int_equal(w->deliveries[1]->deliveries, 2);
    assert_true(w->deliveries[1]->horizon_ms > first_horizon);
    assert_true(w->delivered_ms[1] - w->deliveries[1]->horizon_ms < 1000);
    close_world(w);
}

/* When it was handed out cannot be seen: not before the newest request whose answer came before it.
 * A process that was frozen reads deliveries long after, when somebody else has them. */
static int is_handed_out(void *ctx)
{
    return consumer_says(ctx, "num_ack_pending") == ((struct world *)ctx)->wanted;
}

static int is_a_moment_later(void *ctx)
{
    return sluice_mono_ms() > *(int64_t *)ctx;
}

static void a_lease_counts_from_the_last_answer_heard(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    pull(w, 1, 1, 20000, 500);
    wait_for(w, has_heartbeat, 1, "the pull is parked");
    int64_t last_sent = sluice_mono_ms(); /* without the loop nothing more is sent */
    test_wait_until(is_a_moment_later, &last_sent, "the clock to go on");
    nats_say(&w->server, "s.one", "x", 1);
    w->wanted = 1;
    test_wait_until(is_handed_out, w, "the message to be handed out");
    wait_for(w, has_delivered, 1, "the message");
    assert_true(w->deliveries[0]->horizon_ms <= last_sent);
    close_world(w);
}

/* An answer is read late as well, and in front of the delivery: it counts from when the
 * echo was sent. */
static void an_answer_that_is_read_late_counts_from_its_question(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    pull(w, 1, 1, 20000, 500);
    wait_for(w, has_heartbeat, 1, "the pull is parked");
    nats_server_signal(&w->server, SIGSTOP);
    w->source->ops->settle(w->source, 5, "nobody.listens", SLUICE_VERB_PROGRESS, 0);
    (void)uv_run(&w->loop.loop, UV_RUN_NOWAIT); /* sends it, and reads nothing of the message */
    int64_t last_sent = sluice_mono_ms();
    test_wait_until(is_a_moment_later, &last_sent, "the clock to go on");
    nats_server_signal(&w->server, SIGCONT);
    nats_say(&w->server, "s.one", "x", 1);
    w->wanted = 1;
    test_wait_until(is_handed_out, w, "the message to be handed out");
    wait_for(w, has_settled, 1, "the answer that nobody listens");
    wait_for(w, has_delivered, 1, "the message");
    assert_true(w->deliveries[0]->horizon_ms <= last_sent);
    close_world(w);
}

static void a_parked_pull_beats_and_expires(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    pull(w, 7, 10, 1000, 200);
    wait_for(w, has_heartbeat, 2, "two heartbeats");
    wait_for(w, has_status, 1, "the expiry");
    assert_int_equal(w->status, SLUICE_PULL_ENDED);
    assert_int_equal(w->status_pull, 7);
    assert_non_null(strstr(w->status_text, "408"));
    assert_true(w->alive > 0);
    /* The same inbox serves the next pull. */
    pull(w, 8, 1, 5000, 1000);
    nats_say(&w->server, "s.one", "x", 1);
    wait_for(w, has_delivered, 1, "a message for the next pull");
    assert_int_equal(w->deliveries[0]->pull, 8);
    close_world(w);
}

/* The server ends it without a word. */
static void a_full_pull_gives_its_inbox_back(void **state)
{
    (void)state;
    enum { PULLS = 100 }; /* more than there may be inboxes */
    struct world *w = open_world(30000);
    nats_say(&w->server, "s.one", "x", PULLS);
    for (int i = 0; i < PULLS; i++) {
        pull(w, (uint32_t)i + 1, 1, 30000, 1000);
        wait_for(w, has_delivered, i + 1, "one message for each pull");
        assert_int_equal(w->deliveries[i]->pull, i + 1);
    }
    assert_int_equal(w->statuses, 0);
    close_world(w);
}

static void messages_belong_to_the_pull_that_asked(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    pull(w, 1, 2, 10000, 1000);
    pull(w, 2, 3, 10000, 1000);
    wait_for(w, has_heartbeat, 2, "both pulls are parked");
    nats_say(&w->server, "s.one", "x", 5);
    wait_for(w, has_delivered, 5, "five messages");
    int counts[3] = {0};
    for (int i = 0; i < 5; i++) {
        assert_in_range(w->deliveries[i]->pull, 1, 2);
        counts[w->deliveries[i]->pull]++;
    }
    assert_int_equal(counts[1], 2);
    assert_int_equal(counts[2], 3);
    close_world(w);
}

static void an_abandoned_pull_still_hands_over_what_it_gets(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    pull(w, 1, 1, 20000, 1000);
    wait_for(w, has_heartbeat, 1, "the pull is parked");
    w->source->ops->abandon(w->source, 1);
    pull(w, 2, 1, 20000, 1000);
    nats_say(&w->server, "s.one", "x", 2);
    wait_for(w, has_delivered, 2, "both messages");
    assert_int_equal(w->deliveries[0]->pull + w->deliveries[1]->pull, 3);
    close_world(w);
}

static void what_is_too_large_for_the_pull_ends_it(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    char body[1000];
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    nats_say(&w->server, "s.one", body, 1);
    const struct sluice_fx_pull fx = {
        .pull = 1, .batch = 1, .max_bytes = 500, .expires_ms = 5000, .heartbeat_ms = 1000};
    w->source->ops->pull(w->source, &fx);
    wait_for(w, has_status, 1, "the refusal");
    assert_int_equal(w->status, SLUICE_PULL_ENDED);
    assert_non_null(strstr(w->status_text, "MaxBytes"));
    assert_int_equal(w->delivered, 0);
    close_world(w);
}

static void a_deleted_consumer_is_noticed(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    pull(w, 1, 1, 20000, 1000);
    w->source->ops->check(w->source);
    wait_for(w, has_checked, 1, "the first check");
    assert_int_equal(w->consumer, 1);
    wait_for(w, has_heartbeat, 1, "the pull is parked");
    free(nats_ask(&w->server, "$JS.API.CONSUMER.DELETE.S.C", ""));
    wait_for(w, has_status, 1, "the end of the pull");
    assert_int_equal(w->status, SLUICE_PULL_GONE);
    w->source->ops->check(w->source);
    wait_for(w, has_checked, 2, "the second check");
    assert_int_equal(w->consumer, 0);
    close_world(w);
}

static int is_anew(void *ctx)
{
    return ((struct world *)ctx)->anew > 0;
}

/* With its stream; no pull is parked that could tell. */
static void a_consumer_that_is_made_anew_is_told_from_the_one_before(void **state)
{
    (void)state;
    struct world *w = open_world(600000);
    w->source->ops->check(w->source);
    wait_for(w, has_checked, 1, "the check");
    assert_int_equal(w->consumer, SLUICE_CONSUMER_THERE);
    int ups = w->ups;
    nats_server_kill(&w->server); /* which changes when the consumer was made, says 2.9 */
    nats_server_restart(&w->server);
    wait_for(w, is_up, ups + 1, "the reconnect, and what is asked at each");
    w->source->ops->check(w->source);
    wait_for(w, has_checked, w->checks + 1, "a check behind it");
    assert_int_equal(w->anew, 0);
    free(nats_ask(&w->server, "$JS.API.STREAM.DELETE.S", ""));
    nats_make_stream(&w->server, 600000);
    wait_for(w, is_anew, 1, "it is another one");
    w->source->ops->check(w->source);
    wait_for(w, has_checked, w->checks + 1, "the next check");
    assert_int_equal(w->consumer, SLUICE_CONSUMER_THERE);
    close_world(w);
}

static void a_server_without_jetstream_is_no_missing_consumer(void **state)
{
    (void)state;
    struct world *w = open_world(30000);
    free(nats_ask(&w->server, "$JS.API.STREAM.DELETE.S", ""));
    /* Nobody listens on the subjects of a domain that does not exist. */
    w->source->ops->destroy(w->source);
    struct sluice_err err = {0};
    const struct sluice_nats_source_config config = {
        .nats = {.url = w->server.url, .api_prefix = "$JS.nowhere.API"},
        .loop = &w->loop.loop,
        .mailbox = &w->loop.mailbox,
        .stream = "S",
        .consumer = "C",
        .ack_wait_ms = 30000,
        .events = {on_link, on_delivery, on_pull, on_settled, on_consumer, on_stopped, on_alive},
        .ctx = w,
    };
    assert_int_equal(sluice_nats_source_create(&config, &w->source, &err), SLUICE_OK);
    wait_for(w, is_up, 2, "the connect");
    pull(w, 1, 1, 5000, 1000);
    wait_for(w, has_status, 1, "the status");
    assert_int_equal(w->status, SLUICE_PULL_GONE);
    w->source->ops->check(w->source);
    wait_for(w, has_checked, 1, "the check");
    assert_int_equal(w->consumer, -1);
    w->source->ops->settle(w->source, 5, "$JS.ACK.S.C.1.1.1.1.0", SLUICE_VERB_ACK, 0);
    wait_for(w, has_settled, 1, "the settle");
    assert_int_equal(w->answered, 0);
    assert_int_equal(w->last_op, 5);
    close_world(w);
}

/* Two servers, and a source that may go to either; what it publishes on "deaf" is never answered.
 */
struct pair {
    struct nats_server other;
    natsConnection *nc[2];
    natsSubscription *sub[2];
};

static struct world *open_pair(struct pair *p)
{
    struct world *w = calloc(1, sizeof *w);
    char url[30];
    assert_non_null(w);
    memset(p, 0, sizeof *p);
    skip_without_server(&w->server);
    skip_without_server(&p->other);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(natsConnection_ConnectTo(&p->nc[i], i == 0 ? w->server.url : p->other.url),
                         NATS_OK);
        assert_int_equal(natsConnection_SubscribeSync(&p->sub[i], p->nc[i], "deaf"), NATS_OK);
        assert_int_equal(natsConnection_Flush(p->nc[i]), NATS_OK);
    }
    test_loop_init(&w->loop);
    (void)snprintf(url, sizeof url, "%.29s", w->server.url);
    (void)snprintf(w->server.url, sizeof w->server.url, "%s,%.30s", url, p->other.url);
    w->api_prefix = "$JS.nowhere.API"; /* as if their JetStream had lost its majority */
    open_source(w, 3000);
    return w;
}

static void close_pair(struct world *w, struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        natsSubscription_Destroy(p->sub[i]);
        natsConnection_Destroy(p->nc[i]);
    }
    close_world(w);
    nats_server_stop(&p->other);
}

/* Cut off from its cluster a server answers pings, and nothing of what the others must agree to. */
static void a_server_that_does_not_know_the_consumer_is_left_for_another(void **state)
{
    (void)state;
    struct pair p;
    struct world *w = open_pair(&p);
    w->source->ops->check(w->source);
    wait_for(w, has_checked, 1, "the check");
    assert_int_equal(w->consumer, -1);
    wait_for(w, is_up, 2, "another server");
    close_pair(w, &p);
}

/* Who asks for the consumer is answered with this. */
struct informant {
    struct pair *pair;
    natsSubscription *sub[2];
    const char *info;
    int asked;
};

static int has_asked(void *ctx)
{
    struct informant *i = ctx;
    natsMsg *question = NULL;
    int before = i->asked;
    for (int k = 0; k < 2; k++) {
        while (natsSubscription_NextMsg(&question, i->sub[k], 1) == NATS_OK) {
            const char *reply = natsMsg_GetReply(question);
            if (strstr(reply, ".a.d.") != NULL) { /* or it asks whether the consumer is the same */
                i->asked++;
                assert_int_equal(natsConnection_PublishString(i->pair->nc[k], reply, i->info),
                                 NATS_OK);
            }
            natsMsg_Destroy(question);
        }
    }
    return i->asked > before;
}

/* The publisher suspects the server: the source leaves it if the consumer's leader hears of no
 * copy, and stays where it does. */
static void a_suspected_server_is_left_when_it_is_cut_off(void **state)
{
    (void)state;
    struct pair p;
    struct world *w = open_pair(&p);
    struct informant i = {.pair = &p};
    char id[100];
    for (int k = 0; k < 2; k++) {
        assert_int_equal(
            natsConnection_SubscribeSync(&i.sub[k], p.nc[k], "$JS.nowhere.API.CONSUMER.INFO.S.C"),
            NATS_OK);
        assert_int_equal(natsConnection_Flush(p.nc[k]), NATS_OK);
    }
    for (int is_cut_off = 0; is_cut_off < 2; is_cut_off++) {
        i.info = is_cut_off
                     ? "{\"cluster\":{\"leader\":\"a\",\"replicas\":[{\"active\":3000000000},"
                       "{\"active\":4000000000}]}}"
                     : "{\"cluster\":{\"leader\":\"a\",\"replicas\":[{\"active\":3000000000},"
                       "{\"active\":400000000}]}}";
        sluice_nats_source_doubt(w->source, "another");
        for (int k = 0; k < 2; k++) { /* it is connected to one of them */
            assert_int_equal(natsConnection_GetConnectedServerId(p.nc[k], id, sizeof id), NATS_OK);
            sluice_nats_source_doubt(w->source, id);
        }
        test_loop_until(&w->loop, has_asked, &i, "the question");
        assert_int_equal(i.asked, is_cut_off + 1);
        w->source->ops->settle(w->source, 5, "nobody.listens", SLUICE_VERB_PROGRESS, 0);
        wait_for(w, is_cut_off ? is_up : has_settled, is_cut_off + 1, "an answer behind it");
        assert_int_equal(w->ups, is_cut_off + 1);
    }
    for (int k = 0; k < 2; k++) {
        natsSubscription_Destroy(i.sub[k]);
    }
    close_pair(w, &p);
}

static void a_server_that_confirms_no_verdict_is_left_for_another(void **state)
{
    (void)state;
    struct pair p;
    struct world *w = open_pair(&p);
    w->source->ops->settle(w->source, 5, "deaf", SLUICE_VERB_PROGRESS, 0);
    test_loop_for(&w->loop, 100);
    w->source->ops->settle(w->source, 6, "deaf", SLUICE_VERB_ACK, 0);
    wait_for(w, is_up, 2, "another server");
    close_pair(w, &p);
}

static void a_killed_server_is_found_again(void **state)
{
    (void)state;
    struct world *w = open_world(2000);
    nats_say(&w->server, "s.one", "x", 1);
    pull(w, 1, 1, 20000, 1000);
    wait_for(w, has_delivered, 1, "the message");
    for (int round = 1; round <= 3; round++) {
        pull(w, (uint32_t)round * 10, 5, 20000, 500);
        wait_for(w, has_heartbeat, w->heartbeats + 1, "the pull is parked");
        nats_server_kill(&w->server);
        wait_for(w, is_down, round, "the loss");
        int settled = w->settled, answered = w->answered;
        settle(w, 0, SLUICE_VERB_ACK, 0);
        wait_for(w, has_settled, settled + 1, "the settle that cannot be sent");
        assert_int_equal(w->answered, answered);
        w->source->ops->check(w->source);
        pull(w, (uint32_t)round * 10 + 1, 5, 20000, 500);
        nats_server_restart(&w->server);
        wait_for(w, is_up, round + 1, "the new connection");
        int before = w->delivered;
        pull(w, (uint32_t)round * 10 + 2, 1, 20000, 500);
        wait_for(w, has_delivered, before + 1, "the message again");
        assert_int_equal(w->deliveries[before]->pull, round * 10 + 2);
        settle(w, before, SLUICE_VERB_NAK, 0);
        wait_for(w, has_settled, settled + 2, "the answer");
        assert_int_equal(w->answered, answered + 1);
    }
    close_world(w);
}

static void publish_with_headers(struct world *w, int count)
{
    natsConnection *nc = NULL;
    assert_int_equal(natsConnection_ConnectTo(&nc, w->server.url), NATS_OK);
    for (int i = 0; i < count; i++) {
        natsMsg *msg = NULL;
        char body[2000], number[16];
        memset(body, 'a' + i % 26, sizeof body);
        (void)snprintf(number, sizeof number, "%d", i);
        assert_int_equal(natsMsg_Create(&msg, "s.burst", NULL, body, 100 + i % 1900), NATS_OK);
        assert_int_equal(natsMsgHeader_Add(msg, "Number", number), NATS_OK);
        assert_int_equal(natsMsgHeader_Add(msg, "Twice", "first"), NATS_OK);
        assert_int_equal(natsMsgHeader_Add(msg, "Twice", "second"), NATS_OK);
        assert_int_equal(natsMsgHeader_Add(msg, "A-Empty", ""), NATS_OK);
        assert_int_equal(natsConnection_PublishMsg(nc, msg), NATS_OK);
        natsMsg_Destroy(msg);
    }
    assert_int_equal(natsConnection_FlushTimeout(nc, 5000), NATS_OK);
    natsConnection_Destroy(nc);
}

/* Kills under load: every message is acknowledged in the end. */
enum { FLOOD = 2000, KILLS = 6 };

static struct flood {
    unsigned char seen[FLOOD + 1];
    int distinct;
    uint32_t pulls;
    int batch_end;
} flood;

static void on_flood_delivery(void *ctx, struct sluice_delivery *delivery)
{
    struct world *w = ctx;
    assert_in_range(delivery->sequence, 1, FLOOD);
    flood.distinct += !flood.seen[delivery->sequence];
    flood.seen[delivery->sequence] = 1;
    w->delivered++;
    w->source->ops->settle(w->source, delivery->sequence, delivery->reply, SLUICE_VERB_ACK, 0);
    w->source->ops->delivery_free(w->source, delivery);
}

/* The pull ended, or filled up without a word. */
static int has_status_or_batch(void *ctx)
{
    struct world *w = ctx;
    return w->statuses >= w->wanted || w->delivered >= flood.batch_end;
}

static void kills_under_load_cost_no_message(void **state)
{
    (void)state;
    struct world *w = open_world(1000);
    memset(&flood, 0, sizeof flood);
    w->source->ops->destroy(w->source);
    open_source_with(w, 1000, on_flood_delivery);
    nats_say(&w->server, "s.one", "body %d", FLOOD);
    nats_wait_stored(&w->server, FLOOD);
    for (int round = 1; round <= KILLS; round++) {
        for (int i = 0; i < 4; i++) {
            pull(w, ++flood.pulls, 50, 20000, 500);
        }
        wait_for(w, has_delivered, w->delivered + 100, "some messages");
        int downs = w->downs, ups = w->ups;
        nats_server_kill(&w->server);
        wait_for(w, is_down, downs + 1, "the loss");
        nats_server_restart(&w->server);
        wait_for(w, is_up, ups + 1, "the new connection");
    }
    for (int i = 0; i < 500 && flood.distinct < FLOOD; i++) {
        flood.batch_end = w->delivered + 50;
        pull(w, ++flood.pulls, 50, 200, 100);
        wait_for(w, has_status_or_batch, w->statuses + 1, "the end of a pull");
    }
    assert_int_equal(flood.distinct, FLOOD);
    w->delivered = 0; /* they were freed as they came */
    close_world(w);
}

static const char *header(const struct sluice_delivery *d, const char *name, int index)
{
    for (uint32_t i = 0; i < d->headers_count; i++) {
        if (strcmp(d->headers[i].name, name) == 0 && index-- == 0) {
            return d->headers[i].value;
        }
    }
    return "(absent)";
}

static void a_burst_arrives_whole(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct world *w = open_world(60000);
    pull(w, 1, COUNT, 30000, 1000);
    publish_with_headers(w, COUNT);
    wait_for(w, has_delivered, COUNT, "the burst");
    for (int i = 0; i < COUNT; i++) {
        const struct sluice_delivery *d = w->deliveries[i];
        int n = (int)d->sequence - 1;
        char number[16];
        (void)snprintf(number, sizeof number, "%d", n);
        assert_int_equal(d->body.len, 100 + n % 1900);
        const char *body = d->body.data;
        assert_int_equal(body[0], 'a' + n % 26);
        assert_int_equal(body[d->body.len - 1], 'a' + n % 26);
        assert_int_equal(d->headers_count, 4);
        assert_string_equal(header(d, "Number", 0), number);
        assert_string_equal(header(d, "Twice", 0), "first");
        assert_string_equal(header(d, "Twice", 1), "second");
        assert_string_equal(header(d, "A-Empty", 0), "");
        settle(w, i, SLUICE_VERB_ACK, 0);
    }
    wait_for(w, has_settled, COUNT, "the answers");
    assert_int_equal(w->answered, COUNT);
    assert_int_equal(consumer_says(w, "num_ack_pending"), 0);
    close_world(w);
}

static void after_stopping_the_server_hands_out_nothing(void **state)
{
    (void)state;
    struct world *w = open_world(60000);
    for (uint32_t i = 1; i <= 4; i++) {
        pull(w, i, 1000, 30000, 1000);
    }
    nats_say(&w->server, "s.one", "some text to fill the wire %d", 3000);
    wait_for(w, has_delivered, 3000, "the messages");
    w->source->ops->stop(w->source);
    wait_for(w, has_stopped, 1, "the stop");
    nats_say(&w->server, "s.one", "after the stop", 10);
    test_loop_for(&w->loop, 200);
    assert_int_equal(w->delivered, 3000);
    assert_int_equal(consumer_says(w, "num_ack_pending"), 3000);
    assert_int_equal(consumer_says(w, "num_pending"), 10);
    /* Settling goes on. */
    settle(w, 0, SLUICE_VERB_ACK, 0);
    wait_for(w, has_settled, 1, "the answer");
    assert_int_equal(w->answered, 1);
    close_world(w);
}

static void stopping_in_a_flood_hands_over_all_that_was_read(void **state)
{
    (void)state;
    struct world *w = open_world(60000);
    pull(w, 1, 4000, 30000, 1000);
    nats_say(&w->server, "s.one", "some text to fill the wire %d", 3000);
    wait_for(w, has_delivered, 1, "the first message");
    w->source->ops->stop(w->source);
    wait_for(w, has_stopped, 1, "the stop");
    int delivered = w->delivered;
    for (int i = 0; i < delivered; i++) {
        assert_int_equal(w->deliveries[i]->sequence, i + 1);
        settle(w, i, SLUICE_VERB_ACK, 0);
    }
    wait_for(w, has_settled, delivered, "the answers");
    assert_int_equal(w->answered, delivered);
    test_loop_for(&w->loop, 100);
    assert_int_equal(w->delivered, delivered);
    close_world(w);
}

static void stopping_without_pulls_or_server_answers_too(void **state)
{
    (void)state;
    struct world *w = open_world(60000);
    w->source->ops->stop(w->source);
    assert_int_equal(w->stopped, 0);
    wait_for(w, has_stopped, 1, "the stop without pulls");
    pull(w, 1, 1, 30000, 1000);
    wait_for(w, has_heartbeat, 1, "the pull is parked");
    nats_server_kill(&w->server);
    w->source->ops->stop(w->source);
    wait_for(w, has_stopped, 2, "the stop without server");
    close_world(w);
}

static void an_idle_connection_shows_signs_of_life(void **state)
{
    (void)state;
    struct world *w = open_world(1200);
    wait_for(w, is_alive_often, 5, "echoes");
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pulls_and_settles),
        cmocka_unit_test(a_nak_comes_back_after_its_delay),
        cmocka_unit_test(progress_holds_a_message_beyond_the_ack_wait),
        cmocka_unit_test(a_lease_counts_from_the_last_answer_heard),
        cmocka_unit_test(an_answer_that_is_read_late_counts_from_its_question),
        cmocka_unit_test(a_parked_pull_beats_and_expires),
        cmocka_unit_test(a_full_pull_gives_its_inbox_back),
        cmocka_unit_test(messages_belong_to_the_pull_that_asked),
        cmocka_unit_test(an_abandoned_pull_still_hands_over_what_it_gets),
        cmocka_unit_test(what_is_too_large_for_the_pull_ends_it),
        cmocka_unit_test(a_deleted_consumer_is_noticed),
        cmocka_unit_test(a_consumer_that_is_made_anew_is_told_from_the_one_before),
        cmocka_unit_test(a_server_without_jetstream_is_no_missing_consumer),
        cmocka_unit_test(a_server_that_does_not_know_the_consumer_is_left_for_another),
        cmocka_unit_test(a_server_that_confirms_no_verdict_is_left_for_another),
        cmocka_unit_test(a_suspected_server_is_left_when_it_is_cut_off),
        cmocka_unit_test(a_killed_server_is_found_again),
        cmocka_unit_test(kills_under_load_cost_no_message),
        cmocka_unit_test(a_burst_arrives_whole),
        cmocka_unit_test(after_stopping_the_server_hands_out_nothing),
        cmocka_unit_test(stopping_in_a_flood_hands_over_all_that_was_read),
        cmocka_unit_test(stopping_without_pulls_or_server_answers_too),
        cmocka_unit_test(an_idle_connection_shows_signs_of_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
