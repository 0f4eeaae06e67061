/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_provision.h"

#include "nats_fixture.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server and what provisioning told. */
struct world {
    struct nats_server server;
    struct sluice_nats_plan plan;
    struct sluice_nats_facts facts;
    struct sluice_err err;
    char told[8192];
};

static void on_told(void *ctx, const char *verb, const char *what)
{
    struct world *w = ctx;
    size_t len = strlen(w->told);
    (void)snprintf(w->told + len, sizeof w->told - len, "%s: %s\n", verb, what);
}

static sluice_rc provision(struct world *w, int mode)
{
    const struct sluice_nats_options options = {.url = w->server.url};
    w->told[0] = '\0';
    memset(&w->err, 0, sizeof w->err);
    return sluice_nats_provision(&options, &w->plan, mode, on_told, w, &w->facts, &w->err);
}

static void must(struct world *w, int mode)
{
    if (provision(w, mode) != SLUICE_OK) {
        fail_msg("%s", w->err.text);
    }
}

static struct world *open_world(void)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    skip_without_server(&w->server);
    w->plan = (struct sluice_nats_plan){.stream_requests = "REQ",
                                        .subject_request = "app.request",
                                        .stream_ready = "READY",
                                        .subject_ready = "app.ready",
                                        .stream_dead = "DEAD",
                                        .subject_dead = "app.dead",
                                        .consumer = "worker",
                                        .ack_wait_ms = 30000,
                                        .max_in_flight = 256,
                                        .bucket = "JOURNAL",
                                        .journal_ttl_ms = 86400000};
    return w;
}

static void close_world(struct world *w)
{
    nats_server_stop(&w->server);
    free(w);
}

static void contains(const char *text, const char *part)
{
    assert_non_null(text);
    if (text != NULL && strstr(text, part) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", part, text);
    }
}

static void all_that_is_missing_is_named(void **state)
{
    (void)state;
    struct world *w = open_world();
    assert_int_equal(provision(w, SLUICE_NATS_VERIFY), SLUICE_ERR_NOT_FOUND);
    contains(w->err.text, "stream REQ does not exist; `sluice init`");
    contains(w->err.text, "(and 4 more: stream READY, stream DEAD, stream KV_JOURNAL, "
                          "consumer worker)");
    contains(w->told, "stream READY does not exist");
    contains(w->told, "stream DEAD does not exist");
    contains(w->told, "stream KV_JOURNAL does not exist");
    contains(w->told, "consumer worker does not exist");
    close_world(w);
}

static int is_between(const char *text, const char *object)
{
    const char *found = strstr(text, object);
    return found != NULL && strchr(",)", found[strlen(object)]) != NULL;
}

static void many_missing_outputs_are_named_as_far_as_there_is_room(void **state)
{
    (void)state;
    char subjects[16][64], object[1100];
    struct world *w = open_world();
    for (uint32_t i = 0; i < 16; i++) {
        (void)snprintf(subjects[i], sizeof subjects[i], "nobody.takes.this.output.number.%u", i);
        w->plan.output_subjects[i] = subjects[i];
    }
    w->plan.output_subjects_count = 3;
    assert_int_equal(provision(w, SLUICE_NATS_VERIFY), SLUICE_ERR_NOT_FOUND);
    contains(w->err.text, "(and 7 more: stream READY");
    for (uint32_t i = 0; i < 3; i++) {
        (void)snprintf(object, sizeof object, "output subject %s", subjects[i]);
        assert_true(is_between(w->err.text, object));
    }
    assert_true(is_between(w->err.text, "consumer worker"));
    w->plan.output_subjects_count = 16;
    assert_int_equal(provision(w, SLUICE_NATS_VERIFY), SLUICE_ERR_NOT_FOUND);
    contains(w->err.text, "(and 20 more: stream READY");
    contains(w->err.text, ", …)");
    contains(w->told, "number.15: no stream takes it"); /* each has a line all the same */
    close_world(w);
}

static void what_it_makes_it_finds_right(void **state)
{
    (void)state;
    struct world *w = open_world();
    must(w, SLUICE_NATS_CREATE);
    contains(w->told, "created: stream REQ");
    contains(w->told, "created: consumer worker");
    assert_int_equal(w->facts.payload_max, 1024 * 1024);
    assert_int_equal(w->facts.message_size_max, 1024 * 1024 - 16 * 1024);
    assert_int_equal(w->facts.journal_messages, 0);
    assert_true(w->facts.server_version[0] == '2' && nats_server_has(w->facts.server_version));
    must(w, SLUICE_NATS_VERIFY);
    assert_string_equal(w->told, "");
    must(w, SLUICE_NATS_CREATE);
    assert_string_equal(w->told, "");
    must(w, SLUICE_NATS_UPDATE);
    assert_string_equal(w->told, "");
    char *info = nats_ask(&w->server, "$JS.API.STREAM.INFO.REQ", "");
    contains(info, "\"retention\":\"workqueue\"");
    contains(info, "\"storage\":\"file\"");
    contains(info, "\"duplicate_window\":600000000000");
    free(info);
    info = nats_ask(&w->server, "$JS.API.STREAM.INFO.READY", "");
    contains(info, "\"app.ready\",\"app.ready.\\u003e\"");
    contains(info, "\"retention\":\"limits\"");
    contains(info, "\"duplicate_window\":600000000000");
    free(info);
    info = nats_ask(&w->server, "$JS.API.STREAM.INFO.KV_JOURNAL", "");
    contains(info, "\"max_msgs_per_subject\":1");
    contains(info, "\"max_age\":86400000000000");
    free(info);
    info = nats_ask(&w->server, "$JS.API.CONSUMER.INFO.REQ.worker", "");
    contains(info, "\"ack_wait\":30000000000");
    contains(info, "\"max_deliver\":-1");
    contains(info, "\"max_ack_pending\":1000");
    free(info);
    nats_say(&w->server, "$KV.JOURNAL.a", "x", 3);
    must(w, SLUICE_NATS_VERIFY);
    assert_int_equal(w->facts.journal_messages, 1);
    close_world(w);
}

/* Make the consumer again with one member different. */
static void seed_consumer(struct world *w, const char *member)
{
    char body[600];
    free(nats_ask(&w->server, "$JS.API.CONSUMER.DELETE.REQ.worker", ""));
    (void)snprintf(body, sizeof body,
                   "{\"stream_name\":\"REQ\",\"config\":{%s,\"durable_name\":\"worker\"%s%s%s}}",
                   member,
                   strstr(member, "ack_policy") != NULL ? "" : ",\"ack_policy\":\"explicit\"",
                   strstr(member, "ack_wait") != NULL || strstr(member, "backoff") != NULL
                       ? ""
                       : ",\"ack_wait\":30000000000",
                   strstr(member, "max_deliver") != NULL ? "" : ",\"max_deliver\":-1");
    nats_ask_ok(&w->server, "$JS.API.CONSUMER.DURABLE.CREATE.REQ.worker", body);
}

static void each_difference_of_the_consumer_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *member, *text;
        int is_fixable;
    } rows[] = {
        {"\"ack_policy\":\"all\"", "consumer worker: ack_policy is \"all\", expected \"explicit\"",
         0},
        {"\"max_deliver\":5", "consumer worker: max_deliver is 5, expected -1", 1},
        {"\"max_deliver\":5,\"backoff\":[1000000000,2000000000]",
         "consumer worker: backoff is [1000000000,2000000000], expected absent", 1},
        {"\"ack_wait\":10000000000",
         "consumer worker: ack_wait is 10 s, expected 30 s (SLUICE_ACK_WAIT)", 1},
        {"\"max_ack_pending\":100",
         "consumer worker: max_ack_pending is 100, expected at least 256 (SLUICE_MAX_IN_FLIGHT)",
         1},
        {"\"filter_subject\":\"app.other\"",
         "consumer worker: filter_subject is \"app.other\", expected \"app.request\"", 0},
        {"\"inactive_threshold\":60000000000",
         "consumer worker: inactive_threshold is 60 s, expected absent", 1},
        {"\"headers_only\":true", "consumer worker: headers_only is true, expected false", 1},
        {"\"replay_policy\":\"original\"",
         "consumer worker: replay_policy is \"original\", expected \"instant\"", 0},
        {"\"max_waiting\":1", "consumer worker: max_waiting is 1, expected at least 8", 0},
        {"\"max_batch\":10", "consumer worker: max_batch is 10, expected none, or at least 256", 1},
        {"\"deliver_subject\":\"push.here\"",
         "consumer worker: deliver_subject is \"push.here\", expected absent", 0},
    };
    struct world *w = open_world();
    nats_ask_ok(&w->server, "$JS.API.STREAM.CREATE.REQ",
                "{\"name\":\"REQ\",\"subjects\":[\"app.request\",\"app.other\"],"
                "\"retention\":\"limits\",\"storage\":\"file\",\"num_replicas\":1}");
    must(w, SLUICE_NATS_CREATE);
    contains(w->told, "note: stream REQ: retention is \"limits\", expected \"workqueue\"");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        seed_consumer(w, rows[i].member);
        assert_int_equal(provision(w, SLUICE_NATS_VERIFY), SLUICE_ERR_CONFIG);
        contains(w->told, rows[i].text);
        assert_int_equal(provision(w, SLUICE_NATS_CREATE), SLUICE_ERR_CONFIG);
        sluice_rc rc = provision(w, SLUICE_NATS_UPDATE);
        if ((rc == SLUICE_OK) != rows[i].is_fixable) {
            fail_msg("%s: %d %s", rows[i].member, rc, w->err.text);
        }
        if (rows[i].is_fixable) {
            contains(w->told, "updated: consumer worker");
            must(w, SLUICE_NATS_VERIFY);
        }
    }
    close_world(w);
}

static void each_difference_of_the_streams_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *stream, *config, *text;
        sluice_rc rc;
        int is_fixable;
    } rows[] = {
        {"READY", "\"subjects\":[\"app.else\"]",
         "differs: stream READY: subjects is [\"app.else\"], expected one that takes app.ready",
         SLUICE_ERR_CONFIG, 1},
        {"READY", "\"subjects\":[\"app.ready\"],\"no_ack\":true",
         "differs: stream READY: no_ack is true, expected false", SLUICE_ERR_CONFIG, 1},
        {"READY", "\"subjects\":[\"app.ready\"],\"duplicate_window\":1000000000",
         "note: stream READY: duplicate_window is 1 s, expected at least 600 s", SLUICE_OK, 1},
        {"READY",
         "\"subjects\":[\"app.ready\"],\"storage\":\"memory\",\"duplicate_window\":600000000000",
         "note: stream READY: storage is \"memory\", expected \"file\"", SLUICE_OK, 0},
        {"DEAD",
         "\"subjects\":[\"app.dead\"],\"retention\":\"interest\",\"duplicate_window\":600000000000",
         "differs: stream DEAD: retention is \"interest\", expected \"limits\"", SLUICE_ERR_CONFIG,
         0},
        {"DEAD",
         "\"subjects\":[\"app.dead\"],\"max_msg_size\":1000,\"duplicate_window\":600000000000",
         "differs: stream DEAD: max_msg_size is 1000, expected none, or at least 1048576",
         SLUICE_ERR_CONFIG, 1},
        {"KV_JOURNAL", "\"subjects\":[\"$KV.JOURNAL.>\"],\"max_age\":86400000000000",
         "differs: stream KV_JOURNAL: max_msgs_per_subject is -1, expected 1 (history)",
         SLUICE_ERR_CONFIG, 1},
        {"KV_JOURNAL",
         "\"subjects\":[\"$KV.JOURNAL.>\"],\"max_age\":60000000000,\"duplicate_window\":"
         "60000000000,"
         "\"max_msgs_per_subject\":1",
         "note: stream KV_JOURNAL: max_age is 60 s, expected 86400 s "
         "(SLUICE_JOURNAL_TTL)",
         SLUICE_OK, 1},
    };
    struct world *w = open_world();
    must(w, SLUICE_NATS_CREATE);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char subject[64], body[400];
        (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.%s", rows[i].stream);
        nats_ask_ok(&w->server, subject, "");
        (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.%s", rows[i].stream);
        (void)snprintf(body, sizeof body, "{\"name\":\"%s\",%s%s%s,\"num_replicas\":1}",
                       rows[i].stream, rows[i].config,
                       strstr(rows[i].config, "storage") != NULL ? "" : ",\"storage\":\"file\"",
                       strstr(rows[i].config, "retention") != NULL ? ""
                                                                   : ",\"retention\":\"limits\"");
        nats_ask_ok(&w->server, subject, body);
        assert_int_equal(provision(w, SLUICE_NATS_VERIFY), rows[i].rc);
        contains(w->told, rows[i].text);
        (void)provision(w, SLUICE_NATS_UPDATE);
        assert_int_equal(provision(w, SLUICE_NATS_VERIFY),
                         rows[i].is_fixable ? SLUICE_OK : rows[i].rc);
        if (rows[i].is_fixable) {
            assert_string_equal(w->told, "");
        }
        (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.%s", rows[i].stream);
        nats_ask_ok(&w->server, subject, "");
        must(w, SLUICE_NATS_CREATE);
    }
    close_world(w);
}

static void room_for_the_dead_letter_is_watched(void **state)
{
    (void)state;
    struct world *w = open_world();
    nats_ask_ok(
        &w->server, "$JS.API.STREAM.CREATE.REQ",
        "{\"name\":\"REQ\",\"subjects\":[\"app.>\"],\"retention\":\"workqueue\",\"storage\":"
        "\"file\",\"num_replicas\":1,"
        "\"max_msg_size\":1048576,\"duplicate_window\":600000000000}");
    w->plan.subject_ready = "out.ready";
    w->plan.subject_dead = "out.dead";
    must(w, SLUICE_NATS_CREATE);
    contains(w->told, "note: stream REQ: max_msg_size is 1048576, expected at most 1032192, so "
                      "that a dead letter fits");
    assert_int_equal(w->facts.message_size_max, 1048576);
    must(w, SLUICE_NATS_UPDATE);
    contains(w->told, "updated: stream REQ");
    assert_int_equal(w->facts.message_size_max, 1032192);
    close_world(w);
}

static void a_server_without_jetstream_is_told(void **state)
{
    (void)state;
    struct world *w = open_world();
    const struct sluice_nats_options options = {.url = w->server.url,
                                                .api_prefix = "$JS.nowhere.API"};
    assert_int_equal(sluice_nats_provision(&options, &w->plan, SLUICE_NATS_VERIFY, NULL, NULL,
                                           &w->facts, &w->err),
                     SLUICE_ERR_UNAVAILABLE);
    contains(w->err.text, "JetStream is not enabled");
    nats_server_kill(&w->server);
    assert_int_equal(provision(w, SLUICE_NATS_VERIFY), SLUICE_ERR_CONNECTION);
    contains(w->err.text, w->server.url);
    close_world(w);
}

static void what_the_server_refuses_to_make_is_told(void **state)
{
    (void)state;
    struct world *w = open_world();
    nats_ask_ok(
        &w->server, "$JS.API.STREAM.CREATE.OTHER",
        "{\"name\":\"OTHER\",\"subjects\":[\"app.ready\"],\"retention\":\"limits\",\"storage\":"
        "\"file\",\"num_replicas\":1}");
    assert_int_equal(provision(w, SLUICE_NATS_CREATE), SLUICE_ERR_API);
    contains(w->err.text,
             "stream READY: STREAM.CREATE.READY: subjects overlap with an existing stream");
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_missing_is_named),
        cmocka_unit_test(many_missing_outputs_are_named_as_far_as_there_is_room),
        cmocka_unit_test(what_it_makes_it_finds_right),
        cmocka_unit_test(each_difference_of_the_consumer_is_found),
        cmocka_unit_test(each_difference_of_the_streams_is_found),
        cmocka_unit_test(room_for_the_dead_letter_is_watched),
        cmocka_unit_test(a_server_without_jetstream_is_told),
        cmocka_unit_test(what_the_server_refuses_to_make_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
