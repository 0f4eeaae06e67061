/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_journal.h"

#include "adapter/nats_publisher.h"
#include "nats_fixture.h"
#include <nats/nats.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWERS_MAX 300

/* Two journals of one worker on one connection, and what the last callback said. */
struct world {
    struct nats_server server;
    struct test_loop loop;
    struct sluice_publisher *publisher;
    struct sluice_journal *journal, *other;
    int is_up, done, wanted;
    int fates[SLUICE_FATE_COUNT];
    enum sluice_fate fate;
    sluice_rc rc;
    char text[512];
    int exists;
    struct sluice_record record;
    char failure[64], step[64], reason[600], replay[64];
    uint32_t answers_count;
    struct sluice_journaled ids[ANSWERS_MAX];
    char *answers[ANSWERS_MAX];
    size_t lens[ANSWERS_MAX];
};

static const struct sluice_journal_key key = {"S", 42, 1700000000123456789};

static void forget(struct world *w)
{
    for (uint32_t i = 0; i < w->answers_count; i++) {
        free(w->answers[i]);
    }
    w->answers_count = 0;
}

static void on_done(void *ctx, const struct sluice_journal_done *done)
{
    struct world *w = ctx;
    forget(w);
    w->done++;
    w->fates[done->fate]++;
    w->fate = done->fate;
    w->rc = done->rc;
    w->exists = done->exists;
    w->record = done->record.numbers;
    (void)snprintf(w->text, sizeof w->text, "%s", done->text);
    (void)snprintf(w->failure, sizeof w->failure, "%s", done->record.failure);
    (void)snprintf(w->step, sizeof w->step, "%s", done->record.step);
    (void)snprintf(w->reason, sizeof w->reason, "%s", done->record.text);
    (void)snprintf(w->replay, sizeof w->replay, "%s", done->record.replay);
    assert_true(done->answers_count <= ANSWERS_MAX);
    for (uint32_t i = 0; i < done->answers_count; i++) {
        w->ids[i] = done->answers[i].id;
        w->lens[i] = done->answers[i].bytes.len;
        w->answers[i] = malloc(w->lens[i] + 1);
        assert_non_null(w->answers[i]);
        memcpy(w->answers[i], done->answers[i].bytes.data, w->lens[i]);
        w->answers[i][w->lens[i]] = '\0';
    }
    w->answers_count = done->answers_count;
}

static void on_link(void *ctx, enum sluice_link_state state, const char *text)
{
    (void)text;
    ((struct world *)ctx)->is_up = state == SLUICE_LINK_UP;
}

static int is_up(void *ctx)
{
    return ((struct world *)ctx)->is_up;
}

static int is_done(void *ctx)
{
    return ((struct world *)ctx)->done >= ((struct world *)ctx)->wanted;
}

static void wait_done(struct world *w, int wanted, const char *what)
{
    w->wanted = wanted;
    test_loop_until(&w->loop, is_done, w, what);
    assert_int_equal(w->done, wanted);
}

static struct sluice_journal *make_journal(struct world *w, const char *worker, int64_t timeout_ms)
{
    struct sluice_err err = {0};
    struct sluice_journal *journal = NULL;
    const struct sluice_nats_journal_config config = {
        .publisher = w->publisher, .bucket = "J", .worker = worker, .timeout_ms = timeout_ms};
    assert_int_equal(sluice_nats_journal_create(&config, &journal, &err), SLUICE_OK);
    return journal;
}

static struct world *open_world(const char *bucket_options)
{
    struct sluice_err err = {0};
    char config[512];
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    skip_without_server(&w->server);
    test_loop_init(&w->loop);
    (void)snprintf(config, sizeof config,
                   "{\"name\":\"KV_J\",\"subjects\":[\"$KV.J.>\"],\"max_msgs_per_subject\":1,"
                   "\"discard\":\"new\","
                   "\"allow_rollup_hdrs\":true,\"deny_delete\":true,\"allow_direct\":true,"
                   "\"storage\":\"file\","
                   "\"num_replicas\":1%s}",
                   bucket_options);
    char *answer = nats_ask(&w->server, "$JS.API.STREAM.CREATE.KV_J", config);
    assert_non_null(answer);
    assert_null(strstr(answer, "\"error\""));
    free(answer);
    const struct sluice_nats_publisher_config publisher = {.nats = {.url = w->server.url},
                                                           .loop = &w->loop.loop,
                                                           .mailbox = &w->loop.mailbox,
                                                           .on_link = on_link,
                                                           .ctx = w};
    assert_int_equal(sluice_nats_publisher_create(&publisher, &w->publisher, &err), SLUICE_OK);
    test_loop_until(&w->loop, is_up, w, "the connect");
    w->journal = make_journal(w, "worker", 0);
    w->other = make_journal(w, "worker", 0);
    return w;
}

static void close_world(struct world *w)
{
    w->journal->ops->destroy(w->journal);
    w->other->ops->destroy(w->other);
    w->publisher->ops->destroy(w->publisher);
    forget(w);
    test_loop_fini(&w->loop);
    nats_server_stop(&w->server);
    free(w);
}

static void put(struct world *w, struct sluice_journal *journal, const struct sluice_journaled *id,
                const char *bytes, size_t len)
{
    int before = w->done;
    journal->ops->answer_put(journal, &key, id, (sluice_bytes){bytes, len}, on_done, w);
    assert_int_equal(w->done, before);
}

static void load(struct world *w)
{
    w->journal->ops->load(w->journal, &key, on_done, w);
}

static void an_unknown_message_has_nothing(void **state)
{
    (void)state;
    struct world *w = open_world("");
    load(w);
    wait_done(w, 1, "the load");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    assert_int_equal(w->answers_count, 0);
    assert_int_equal(w->record.failures, 0);
    assert_string_equal(w->failure, "");
    close_world(w);
}

static void what_is_put_is_loaded(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled first = {{1, 2}, 0, 0}, second = {{1, 2}, 1, 0},
                                  third = {{3, 4}, 0, 1};
    put(w, w->journal, &first, "one", 3);
    put(w, w->journal, &second, "", 0);
    put(w, w->journal, &third, "th\0ee", 5);
    wait_done(w, 3, "three answers");
    assert_int_equal(w->fates[SLUICE_FATE_OK], 3);
    struct sluice_journal_record record = {.numbers = {.failures = 2,
                                                       .epoch = 1,
                                                       .stale_marks = 1,
                                                       .is_marked = 1,
                                                       .outputs_count = 1,
                                                       .outputs = {77}},
                                           .failure = "store",
                                           .step = "put",
                                           .text = "it said \"no\"",
                                           .replay = "S:7:8"};
    w->journal->ops->record_put(w->journal, &key, &record, on_done, w);
    wait_done(w, 4, "the record");
    record.numbers.failures = 3;
    w->journal->ops->record_put(w->journal, &key, &record, on_done, w);
    wait_done(w, 5, "the record again");
    assert_int_equal(w->fates[SLUICE_FATE_OK], 5);
    load(w);
    wait_done(w, 6, "the load");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    assert_memory_equal(&w->record, &record.numbers, sizeof w->record);
    assert_string_equal(w->failure, "store");
    assert_string_equal(w->step, "put");
    assert_string_equal(w->reason, "it said \"no\"");
    assert_string_equal(w->replay, "S:7:8");
    assert_int_equal(w->answers_count, 3);
    int seen = 0;
    for (uint32_t i = 0; i < 3; i++) {
        if (w->ids[i].epoch == 1) {
            assert_int_equal(w->lens[i], 5);
            assert_memory_equal(w->answers[i], "th\0ee", 5);
            seen |= 1;
        } else if (w->ids[i].occurrence == 1) {
            assert_int_equal(w->lens[i], 0);
            seen |= 2;
        } else {
            assert_string_equal(w->answers[i], "one");
            assert_true(w->ids[i].hash.high == 1 && w->ids[i].hash.low == 2);
            seen |= 4;
        }
    }
    assert_int_equal(seen, 7);
    /* Another worker and another message see nothing of it. */
    struct sluice_journal *stranger = make_journal(w, "worker-2", 0);
    stranger->ops->load(stranger, &key, on_done, w);
    wait_done(w, 7, "the stranger's load");
    assert_int_equal(w->answers_count, 0);
    stranger->ops->destroy(stranger);
    const struct sluice_journal_key next = {"S", 4, 1700000000123456789};
    w->journal->ops->load(w->journal, &next, on_done, w);
    wait_done(w, 8, "the other message's load");
    assert_int_equal(w->answers_count, 0);
    close_world(w);
}

static void the_first_writer_wins(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled id = {{1, 2}, 0, 0};
    put(w, w->journal, &id, "mine", 4);
    wait_done(w, 1, "the first");
    assert_false(w->exists);
    put(w, w->other, &id, "theirs", 6);
    wait_done(w, 2, "the second");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    assert_true(w->exists);
    assert_int_equal(w->answers_count, 1);
    assert_string_equal(w->answers[0], "mine");
    put(w, w->other, &id, "mine", 4);
    wait_done(w, 3, "the same again");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    assert_false(w->exists);
    close_world(w);
}

static void a_large_answer_travels_in_chunks(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled id = {{1, 2}, 0, 0};
    size_t len = 5u * 1024 * 1024 + 17;
    char *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 7 + i / 1000);
    }
    put(w, w->journal, &id, bytes, len);
    wait_done(w, 1, "the large answer");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    load(w);
    wait_done(w, 2, "the load");
    assert_int_equal(w->answers_count, 1);
    assert_int_equal(w->lens[0], len);
    assert_memory_equal(w->answers[0], bytes, len);
    put(w, w->other, &id, bytes, len);
    wait_done(w, 3, "the same again");
    assert_false(w->exists);
    put(w, w->other, &id, "small", 5);
    wait_done(w, 4, "another");
    assert_true(w->exists);
    assert_int_equal(w->lens[0], len);
    assert_memory_equal(w->answers[0], bytes, len);
    free(bytes);
    close_world(w);
}

static void a_chunk_that_is_gone_makes_a_miss(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled id = {{1, 2}, 0, 0}, small = {{3, 4}, 0, 0};
    size_t len = 2u * 1024 * 1024;
    char *bytes = calloc(1, len);
    assert_non_null(bytes);
    bytes[0] = 1;
    put(w, w->journal, &id, bytes, len);
    put(w, w->journal, &small, "small", 5);
    wait_done(w, 2, "both answers");
    /* Without the first chunk, by its name. */
    char *answer =
        nats_ask(&w->server, "$JS.API.STREAM.PURGE.KV_J",
                 "{\"filter\":\"$KV.J.worker.S.42.1700000000123456789.c.*\",\"keep\":0}");
    assert_non_null(strstr(answer, "\"success\":true"));
    free(answer);
    load(w);
    wait_done(w, 3, "the load");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    assert_int_equal(w->answers_count, 1);
    assert_string_equal(w->answers[0], "small");
    free(bytes);
    close_world(w);
}

static void foreign_entries_are_passed_over(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled id = {{1, 2}, 0, 0};
    put(w, w->journal, &id, "good", 4);
    wait_done(w, 1, "the answer");
#define BASE "$KV.J.worker.S.42.1700000000123456789."
    nats_say(&w->server, BASE "s", "not json", 1);
    nats_say(&w->server, BASE "x", "what is this", 1);
    nats_say(&w->server, BASE "a.0.zz.0", "bad name", 1);
    nats_say(&w->server, BASE "a.0.00000000000000010000000000000002.1", "no head", 1);
    nats_say(&w->server, BASE "c.00", "bad chunk", 1);
    load(w);
    wait_done(w, 2, "the load");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    assert_int_equal(w->record.failures, 0);
    assert_int_equal(w->answers_count, 1);
    assert_string_equal(w->answers[0], "good");
    close_world(w);
}

static void the_most_answers_of_a_message_are_loaded(void **state)
{
    (void)state;
    struct world *w = open_world("");
    for (uint32_t i = 0; i < SLUICE_JOURNALED_MAX + 10; i++) {
        const struct sluice_journaled id = {{i, 2}, 0, 0};
        put(w, w->journal, &id, "x", 1);
    }
    wait_done(w, SLUICE_JOURNALED_MAX + 10, "the answers");
    load(w);
    wait_done(w, SLUICE_JOURNALED_MAX + 11, "the load");
    assert_int_equal(w->answers_count, SLUICE_JOURNALED_MAX);
    close_world(w);
}

static void a_missing_bucket_is_told(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled id = {{1, 2}, 0, 0};
    free(nats_ask(&w->server, "$JS.API.STREAM.DELETE.KV_J", ""));
    load(w);
    wait_done(w, 1, "the load");
    assert_int_equal(w->fate, SLUICE_FATE_RETRY);
    assert_string_equal(w->text, "journal: stream not found");
    put(w, w->journal, &id, "x", 1);
    wait_done(w, 2, "the put");
    assert_int_equal(w->fate, SLUICE_FATE_RETRY);
    assert_string_equal(w->text, "journal: no stream listens on the bucket's subjects");
    const struct sluice_journal_record record = {.failure = ""};
    w->journal->ops->record_put(w->journal, &key, &record, on_done, w);
    wait_done(w, 3, "the record");
    assert_int_equal(w->fate, SLUICE_FATE_RETRY);
    close_world(w);
}

/* Another service on the bucket's subjects, which there is no stream for. */
static void answer_for(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    char text[64];
    (void)sub;
    (void)snprintf(text, sizeof text, "{\"stream\":\"%s\",\"seq\":7}", (const char *)ctx);
    natsConnection_PublishString(nc, natsMsg_GetReply(msg), text);
    natsMsg_Destroy(msg);
}

static void a_puback_of_another_stream_journals_nothing(void **state)
{
    (void)state;
    char stream[8] = "OTHER";
    const struct sluice_journaled id = {{1, 2}, 0, 0};
    const struct sluice_journal_record record = {.failure = ""};
    struct world *w = open_world("");
    natsConnection *nc = NULL;
    natsSubscription *sub = NULL;
    free(nats_ask(&w->server, "$JS.API.STREAM.DELETE.KV_J", ""));
    assert_int_equal(natsConnection_ConnectTo(&nc, w->server.url), NATS_OK);
    assert_int_equal(natsConnection_Subscribe(&sub, nc, "$KV.J.>", answer_for, stream), NATS_OK);
    assert_int_equal(natsConnection_Flush(nc), NATS_OK);
    put(w, w->journal, &id, "x", 1);
    wait_done(w, 1, "the put");
    assert_int_equal(w->fate, SLUICE_FATE_UNKNOWN);
    assert_string_equal(w->text, "journal: the PubAck is of stream OTHER, expected KV_J");
    w->journal->ops->record_put(w->journal, &key, &record, on_done, w);
    wait_done(w, 2, "the record");
    assert_int_equal(w->fate, SLUICE_FATE_UNKNOWN);
    memcpy(stream, "KV_J", sizeof "KV_J"); /* nobody is asking now */
    put(w, w->journal, &id, "x", 1);
    wait_done(w, 3, "the put");
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    natsSubscription_Destroy(sub);
    natsConnection_Destroy(nc);
    close_world(w);
}

static void a_full_bucket_is_told(void **state)
{
    (void)state;
    struct world *w = open_world(",\"max_msgs\":1");
    const struct sluice_journaled first = {{1, 2}, 0, 0}, second = {{1, 2}, 1, 0};
    put(w, w->journal, &first, "x", 1);
    wait_done(w, 1, "the first");
    put(w, w->journal, &second, "x", 1);
    wait_done(w, 2, "the second");
    assert_int_equal(w->fate, SLUICE_FATE_RETRY);
    assert_non_null(strstr(w->text, "10077"));
    close_world(w);
}

static void a_frozen_server_ends_in_time(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled id = {{1, 2}, 0, 0};
    const struct sluice_journal_record record = {.failure = ""};
    nats_server_signal(&w->server, SIGSTOP);
    load(w);
    wait_done(w, 1, "the load");
    assert_int_equal(w->fate, SLUICE_FATE_RETRY);
    assert_int_equal(w->rc, SLUICE_ERR_TIMEOUT);
    put(w, w->journal, &id, "x", 1);
    w->journal->ops->record_put(w->journal, &key, &record, on_done, w);
    wait_done(w, 3, "both puts");
    assert_int_equal(w->fates[SLUICE_FATE_UNKNOWN], 2);
    nats_server_signal(&w->server, SIGCONT);
    /* The link may be about to give the silent connection up. */
    for (int tries = 0; tries < 3 && w->fate != SLUICE_FATE_OK; tries++) {
        test_loop_until(&w->loop, is_up, w, "the connection");
        put(w, w->journal, &id, "x", 1);
        wait_done(w, 4 + tries, "the put after the thaw");
    }
    assert_int_equal(w->fate, SLUICE_FATE_OK);
    assert_false(w->exists);
    close_world(w);
}

static void destroying_ends_what_is_open(void **state)
{
    (void)state;
    struct world *w = open_world("");
    const struct sluice_journaled id = {{1, 2}, 0, 0};
    struct sluice_journal *journal = make_journal(w, "worker", 60000);
    size_t len = 3u * 1024 * 1024;
    char *bytes = calloc(1, len);
    assert_non_null(bytes);
    nats_server_signal(&w->server, SIGSTOP);
    journal->ops->load(journal, &key, on_done, w);
    put(w, journal, &id, "x", 1);
    put(w, journal, &id, bytes, len / 3);
    journal->ops->destroy(journal);
    assert_int_equal(w->done, 3);
    assert_int_equal(w->fates[SLUICE_FATE_UNKNOWN], 3);
    nats_server_signal(&w->server, SIGCONT);
    load(w);
    wait_done(w, 4, "the next load");
    /* Too large for any journal; not connected. */
    char *huge = calloc(1, 70u << 20);
    assert_non_null(huge);
    put(w, w->journal, &id, huge, 70u << 20);
    wait_done(w, 5, "the huge answer");
    assert_int_equal(w->fate, SLUICE_FATE_RETRY);
    assert_int_equal(w->rc, SLUICE_ERR_TOO_LARGE);
    free(huge);
    free(bytes);
    nats_server_kill(&w->server);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_message_has_nothing),
        cmocka_unit_test(what_is_put_is_loaded),
        cmocka_unit_test(the_first_writer_wins),
        cmocka_unit_test(a_large_answer_travels_in_chunks),
        cmocka_unit_test(a_chunk_that_is_gone_makes_a_miss),
        cmocka_unit_test(foreign_entries_are_passed_over),
        cmocka_unit_test(the_most_answers_of_a_message_are_loaded),
        cmocka_unit_test(a_missing_bucket_is_told),
        cmocka_unit_test(a_puback_of_another_stream_journals_nothing),
        cmocka_unit_test(a_full_bucket_is_told),
        cmocka_unit_test(a_frozen_server_ends_in_time),
        cmocka_unit_test(destroying_ends_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
