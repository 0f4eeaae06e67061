/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_api.h"

#include "nats_fixture.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A user with everything, one that is denied some subjects, one that may not hear its inbox; and an
 * account without JetStream. */
static const char config[] =
    "accounts { A { jetstream: enabled, users: [\n"
    "{ user: all, password: x },\n"
    "{ user: some, password: x, permissions { publish { deny: [\"$JS.API.STREAM.INFO.>\", "
    "\"denied.>\"] } } },\n"
    "{ user: deaf, password: x, permissions { subscribe { deny: \"_INBOX.>\" } } } ] },\n"
    "B { users: [ { user: none, password: x } ] }, SYS { users: [ { user: sys, password: x } ] } "
    "}\n"
    "system_account: SYS\n";

struct world {
    struct nats_server server;
    struct sluice_nats_api *api;
    struct sluice_err err;
};

static void open_world(struct world *w, const char *user)
{
    memset(w, 0, sizeof *w);
    if (!nats_server_start(&w->server, config)) {
        (void)fprintf(stderr, "no nats-server on the PATH: skipped\n");
        exit(77);
    }
    const struct sluice_nats_options options = {
        .url = w->server.url, .user = user, .password = "x"};
    if (sluice_nats_api_open(&options, &w->api, &w->err) != SLUICE_OK) {
        fail_msg("%s", w->err.text);
    }
}

static void close_world(struct world *w)
{
    sluice_nats_api_close(w->api);
    nats_server_stop(&w->server);
}

static sluice_rc call(struct world *w, const char *operation)
{
    return sluice_nats_api_call(w->api, operation, NULL, NULL, &w->err);
}

static sluice_rc publish(struct world *w, const char *subject, sluice_bytes body)
{
    const sluice_header header = {"Name", "value"};
    return sluice_nats_api_publish(w->api, subject, &header, 1, body, NULL, &w->err);
}

static void contains(const struct world *w, const char *part)
{
    if (strstr(w->err.text, part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, w->err.text);
    }
}

static void make_stream(struct world *w)
{
    cJSON *in = cJSON_Parse("{\"name\":\"S\",\"subjects\":[\"s.>\"],\"storage\":\"file\"}");
    assert_int_equal(sluice_nats_api_call(w->api, "STREAM.CREATE.S", in, NULL, &w->err), SLUICE_OK);
    cJSON_Delete(in);
}

static void a_stream_is_made_and_takes_messages(void **state)
{
    (void)state;
    struct world w;
    uint64_t sequence = 0;
    cJSON *out = NULL;
    open_world(&w, "all");
    assert_int_equal(call(&w, "STREAM.INFO.S"), SLUICE_ERR_NOT_FOUND);
    make_stream(&w);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(sluice_nats_api_publish(w.api, "s.one", NULL, 0, (sluice_bytes){"x", 1},
                                                 &sequence, &w.err),
                         SLUICE_OK);
        assert_int_equal(sequence, i);
    }
    assert_int_equal(sluice_nats_api_call(w.api, "STREAM.INFO.S", NULL, &out, &w.err), SLUICE_OK);
    const cJSON *stream = cJSON_GetObjectItemCaseSensitive(out, "state");
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(stream, "messages")->valueint, 3);
    cJSON_Delete(out);
    /* over the stream's limit, which the server does not tell */
    cJSON *in = cJSON_Parse("{\"name\":\"T\",\"subjects\":[\"t\"],\"max_msg_size\":125}");
    assert_int_equal(sluice_nats_api_call(w.api, "STREAM.CREATE.T", in, NULL, &w.err), SLUICE_OK);
    cJSON_Delete(in);
    char body[101];
    memset(body, 'x', sizeof body);
    assert_int_equal(publish(&w, "t", (sluice_bytes){body, 100}), SLUICE_OK);
    assert_int_equal(publish(&w, "t", (sluice_bytes){body, 101}), SLUICE_ERR_TOO_LARGE);
    contains(&w, "t: 126 bytes with headers, over the max_msg_size of 125 of stream T: make the");
    assert_int_equal(publish(&w, "nobody", (sluice_bytes){"x", 1}), SLUICE_ERR_PUBLISH);
    contains(&w, "no stream listens on subject nobody");
    close_world(&w);
}

/* It would be met with silence until the time-out. */
static void what_the_server_denies_ends_in_its_words(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "some");
    assert_int_equal(call(&w, "STREAM.INFO.S"), SLUICE_ERR_AUTH);
    contains(&w, "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.S\"");
    make_stream(&w); /* what is allowed goes on */
    assert_int_equal(publish(&w, "denied.x", (sluice_bytes){"x", 1}), SLUICE_ERR_AUTH);
    contains(&w, "\"denied.x\"");
    assert_int_equal(publish(&w, "s.one", (sluice_bytes){"x", 1}), SLUICE_OK);
    close_world(&w);
}

static void an_inbox_that_is_denied_is_told(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "deaf");
    assert_int_equal(call(&w, "STREAM.INFO.S"), SLUICE_ERR_AUTH);
    contains(&w, "Subscription to \"_INBOX.");
    assert_int_equal(publish(&w, "s.one", (sluice_bytes){"x", 1}), SLUICE_ERR_AUTH);
    close_world(&w);
}

static void an_account_without_jetstream_is_told(void **state)
{
    (void)state;
    struct world w;
    char expected[160];
    open_world(&w, "none");
    (void)snprintf(expected, sizeof expected, "JetStream is not enabled for this account on %s",
                   w.server.url);
    assert_int_equal(call(&w, "STREAM.INFO.S"), SLUICE_ERR_UNAVAILABLE);
    contains(&w, expected);
    assert_int_equal(publish(&w, "s.one", (sluice_bytes){"x", 1}), SLUICE_ERR_UNAVAILABLE);
    contains(&w, expected);
    close_world(&w);
}

static void a_message_over_the_limit_is_told_with_both_sizes(void **state)
{
    (void)state;
    struct world w;
    size_t most = 1024 * 1024 - (12 + sizeof "Name: value\r\n" - 1);
    char *body = calloc(1, most + 1);
    assert_non_null(body);
    open_world(&w, "all");
    make_stream(&w);
    assert_int_equal(publish(&w, "s.one", (sluice_bytes){body, most}), SLUICE_OK);
    assert_int_equal(publish(&w, "s.one", (sluice_bytes){body, most + 1}), SLUICE_ERR_TOO_LARGE);
    contains(&w, "s.one: 1048577 bytes with headers, over the server's max_payload of 1048576");
    contains(&w, "raise max_payload");
    free(body);
    close_world(&w);
}

/* A line break would make another header of it. */
static void a_header_that_nats_does_not_carry_is_refused(void **state)
{
    (void)state;
    static const sluice_header bad[] = {{"", "v"},    {"A B", "v"},     {"A\tB", "v"}, {"A:", "v"},
                                        {"A\n", "v"}, {"A", "v\nB: c"}, {"A", "v\r"}};
    struct world w;
    open_world(&w, "all");
    make_stream(&w);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(sluice_nats_api_publish(w.api, "s.one", &bad[i], 1, (sluice_bytes){"x", 1},
                                                 NULL, &w.err),
                         SLUICE_ERR_VALIDATION);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_made_and_takes_messages),
        cmocka_unit_test(what_the_server_denies_ends_in_its_words),
        cmocka_unit_test(an_inbox_that_is_denied_is_told),
        cmocka_unit_test(an_account_without_jetstream_is_told),
        cmocka_unit_test(a_message_over_the_limit_is_told_with_both_sizes),
        cmocka_unit_test(a_header_that_nats_does_not_carry_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
