/* SPDX-License-Identifier: Apache-2.0 */
/* What only the MongoDB store has: a server that is away, slow, wrong, or says odd things. These
 * cases bring their own server; test_mongo_outage.c needs a real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/group_batch.h"
#include "adapter/mongo_loader.h"
#include "scripted_mongo.h"
#include "store_fixture.h"
#include "text_file.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGES = 20, CALLS_MAX = 128 };
#define SECRET "s3kr3t-p4ss"

/* What the scripted server was asked, and what it is to say; its threads read and write it. */
struct script {
    _Atomic uint32_t calls;
    _Atomic uint32_t sizes[CALLS_MAX]; /* upserts of each call */
    _Atomic int answer;                /* enum scripted_answer */
    _Atomic int32_t command_code;      /* fail the whole call with it */
    _Atomic int32_t write_code;        /* fail the upsert of "bad" with it */
    _Atomic uint32_t write_failures;   /* so many times */
    _Atomic int is_bad_fatal;          /* a call with "bad" fails as a whole */
    _Atomic int is_vague;              /* say nothing about bulks of more than one */
    _Atomic uint32_t silent_above;     /* no answer to more upserts than that; 0: to any number */
    _Atomic int is_unconfirmed;        /* a write concern error */
};

static struct store_fixture fixture;
static struct script script;
static struct scripted_mongo *server;

static void append_error(bson_t *list, uint32_t index, int32_t code)
{
    char key[16];
    bson_t error;
    (void)snprintf(key, sizeof key, "%u", 0u);
    BSON_APPEND_DOCUMENT_BEGIN(list, key, &error);
    BSON_APPEND_INT32(&error, "index", (int32_t)index);
    BSON_APPEND_INT32(&error, "code", code);
    BSON_APPEND_UTF8(&error, "errmsg", "E11000 refused, dup key: { owner: \"Jane Doe\" }");
    bson_append_document_end(list, &error);
}

static enum scripted_answer answer_update(void *ctx, const char *const *ids, uint32_t count,
                                          bson_t *reply)
{
    struct script *s = ctx;
    uint32_t bad = count;
    s->sizes[s->calls++ % CALLS_MAX] = count;
    for (uint32_t i = 0; i < count; i++) {
        bad = strcmp(ids[i], "bad") == 0 ? i : bad;
    }
    int is_gate = count == 1 && strcmp(ids[0], "gate") == 0;
    if (s->answer != SCRIPTED_REPLY && !is_gate) {
        return (enum scripted_answer)s->answer;
    }
    if (s->silent_above != 0 && count > s->silent_above) {
        return SCRIPTED_SILENCE;
    }
    if (!is_gate && (s->command_code != 0 || (s->is_bad_fatal && bad < count))) {
        BSON_APPEND_DOUBLE(reply, "ok", 0);
        BSON_APPEND_INT32(reply, "code", s->command_code != 0 ? s->command_code : 8);
        BSON_APPEND_UTF8(reply, "errmsg", "the whole command is refused");
        return SCRIPTED_REPLY;
    }
    BSON_APPEND_DOUBLE(reply, "ok", 1);
    int is_failing = bad < count && s->write_failures > 0;
    if (is_failing) {
        bson_t list;
        s->write_failures--;
        BSON_APPEND_ARRAY_BEGIN(reply, "writeErrors", &list);
        append_error(&list, bad, s->write_code);
        bson_append_array_end(reply, &list);
    }
    if (s->is_unconfirmed && !is_gate) {
        bson_t unmet;
        BSON_APPEND_DOCUMENT_BEGIN(reply, "writeConcernError", &unmet);
        BSON_APPEND_INT32(&unmet, "code", 64);
        BSON_APPEND_UTF8(&unmet, "errmsg", "waiting for replication timed out");
        bson_append_document_end(reply, &unmet);
    }
    int is_silent = s->is_vague && count > 1;
    BSON_APPEND_INT32(reply, "n", is_silent ? 1 : (int32_t)count - is_failing);
    BSON_APPEND_INT32(reply, "nModified", is_silent ? 1 : (int32_t)count - is_failing);
    return SCRIPTED_REPLY;
}

static int open_scripted(void **state)
{
    struct sluice_err err = {0};
    memset(&script, 0, sizeof script);
    server = scripted_mongo_start(answer_update, &script);
    (void)snprintf(fixture.server.uri, sizeof fixture.server.uri, "mongodb://127.0.0.1:%u/",
                   scripted_mongo_port(server));
    if (store_fixture_open(&fixture, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    *state = &fixture;
    return 0;
}

static int close_scripted(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_close(f);
    scripted_mongo_stop(server);
    assert_int_equal(atomic_load(&f->heap.open), 0);
    return 0;
}

/* Messages of one document each, all in one group; number 7 stores "bad". */
static void put_together(struct store_fixture *f, struct store_result *results)
{
    static char ids[MESSAGES][16];
    struct store_result gate;
    scripted_mongo_close_gate(server);
    store_put_one(f, "packs", "gate", "gate", &gate);
    scripted_mongo_await_at_gate(server);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        (void)snprintf(ids[i], sizeof ids[i], i == 7 ? "bad" : "m%u", i);
        store_put_one(f, "packs", ids[i], ids[i], &results[i]);
    }
    scripted_mongo_open_gate(server);
    store_wait(f, &gate, 1);
    assert_int_equal(gate.fate, SLUICE_FATE_OK);
    store_wait(f, results, MESSAGES);
}

static void put_group(struct store_fixture *f, struct store_result *results)
{
    put_together(f, results);
    assert_int_equal(script.sizes[1], MESSAGES); /* in one command */
}

static void assert_all(const struct store_result *results, enum sluice_fate fate, sluice_rc rc)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        if (results[i].fate != fate || results[i].rc != rc) {
            fail_msg("message %u: fate %d, rc %d: %s", i, (int)results[i].fate, (int)results[i].rc,
                     results[i].text);
        }
    }
}

/* All are stored but "bad", which ended as given. */
static void assert_all_but_bad(const struct store_result *results, enum sluice_fate fate,
                               sluice_rc rc)
{
    struct store_result others[MESSAGES];
    memcpy(others, results, sizeof others);
    assert_int_equal(results[7].fate, fate);
    assert_int_equal(results[7].rc, rc);
    others[7] = others[0];
    assert_all(others, SLUICE_FATE_OK, SLUICE_OK);
}

static void group_is_one_command(void **state)
{
    struct store_result results[MESSAGES];
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_OK, SLUICE_OK);
    assert_int_equal(script.calls, 2);
}

static void what_a_reply_leaves_open_is_asked_for_alone(void **state)
{
    struct store_result results[MESSAGES];
    script.is_vague = 1;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_OK, SLUICE_OK);
    assert_int_equal(script.calls, 2 + MESSAGES);
}

static void upsert_that_lost_a_race_is_repeated_once(void **state)
{
    struct store_result results[MESSAGES];
    script.write_code = 11000;
    script.write_failures = 1;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_OK, SLUICE_OK);
    assert_int_equal(script.calls, 3);
    assert_int_equal(script.sizes[2], 1);
}

static void duplicate_key_that_stays_is_retry_without_its_values(void **state)
{
    struct store_result results[MESSAGES];
    script.write_code = 11000;
    script.write_failures = 2;
    put_group(*state, results);
    assert_all_but_bad(results, SLUICE_FATE_RETRY, SLUICE_ERR_DB);
    assert_int_equal(script.calls, 3);
    assert_non_null(strstr(results[7].text, "E11000 refused"));
    assert_null(strstr(results[7].text, "Jane"));
}

static void refusals_of_one_document_are_its_messages_alone(void **state)
{
    static const struct {
        int32_t code;
        enum sluice_fate fate;
        sluice_rc rc;
    } rows[] = {{121, SLUICE_FATE_PERMANENT, SLUICE_ERR_DB},
                {10334, SLUICE_FATE_PERMANENT, SLUICE_ERR_TOO_LARGE},
                {17419, SLUICE_FATE_PERMANENT, SLUICE_ERR_TOO_LARGE},
                {112, SLUICE_FATE_RETRY, SLUICE_ERR_DB}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct store_result results[MESSAGES];
        script.calls = 0;
        script.write_code = rows[i].code;
        script.write_failures = 1;
        put_group(*state, results);
        assert_all_but_bad(results, rows[i].fate, rows[i].rc);
        assert_int_equal(script.calls, 2);
    }
}

static void document_that_fails_the_whole_command_fails_alone(void **state)
{
    struct store_result results[MESSAGES];
    script.is_bad_fatal = 1;
    put_group(*state, results);
    assert_all_but_bad(results, SLUICE_FATE_RETRY, SLUICE_ERR_DB);
    assert_non_null(strstr(results[7].text, "whole command"));
}

static void command_that_always_fails_is_given_up(void **state)
{
    struct store_result results[MESSAGES];
    script.command_code = 8;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_RETRY, SLUICE_ERR_DB);
    assert_int_equal(script.calls, 2 + 4);
}

static void server_that_is_not_primary_is_not_asked_again(void **state)
{
    struct store_result results[MESSAGES];
    script.command_code = 10107;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_RETRY, SLUICE_ERR_DB);
    assert_int_equal(script.calls, 2);
}

static void login_that_is_not_allowed_is_named(void **state)
{
    struct store_result results[MESSAGES];
    script.command_code = 13;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_RETRY, SLUICE_ERR_AUTH);
}

static void unmet_write_concern_fails_the_group(void **state)
{
    struct store_result results[MESSAGES];
    script.is_unconfirmed = 1;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_RETRY, SLUICE_ERR_DB);
    assert_non_null(strstr(results[0].text, "replication timed out"));
    assert_int_equal(script.calls, 2);
}

static void connection_lost_after_sending_is_unknown(void **state)
{
    struct store_result results[MESSAGES];
    script.answer = SCRIPTED_CLOSE;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_UNKNOWN, SLUICE_ERR_DB);
    assert_int_equal(script.calls, 2);
    script.answer = SCRIPTED_REPLY;
    struct store_result r = store_put_now(*state, "packs", "one", "again");
    assert_int_equal(r.fate, SLUICE_FATE_OK);
}

static void silence_is_unknown_at_the_timeout(void **state)
{
    struct store_result results[MESSAGES];
    script.answer = SCRIPTED_SILENCE;
    put_group(*state, results);
    assert_all(results, SLUICE_FATE_UNKNOWN, SLUICE_ERR_TIMEOUT);
    assert_int_equal(script.calls, 2); /* not sent again */
    script.answer = SCRIPTED_REPLY;
    struct store_result r = store_put_now(*state, "packs", "one", "again");
    assert_int_equal(r.fate, SLUICE_FATE_OK);
}

static void server_that_hangs_on_large_commands_gets_smaller_ones(void **state)
{
    static const uint32_t sizes[] = {1, 20, 1, 10, 1, 5, 5, 5, 5};
    struct store_result results[MESSAGES];
    script.silent_above = 8;
    for (int i = 0; i < 2; i++) {
        put_together(*state, results);
        assert_all(results, SLUICE_FATE_UNKNOWN, SLUICE_ERR_TIMEOUT);
    }
    put_together(*state, results);
    assert_all(results, SLUICE_FATE_OK, SLUICE_OK);
    assert_int_equal(script.calls, sizeof sizes / sizeof sizes[0]);
    for (uint32_t i = 0; i < script.calls; i++) {
        assert_int_equal(script.sizes[i], sizes[i]);
    }
}

static void unsound_bodies_never_reach_the_server(void **state)
{
    struct store_fixture *f = *state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *reason;
    } rows[] = {
        /* invalid UTF-8, and behind it a text that is longer than the document */
        {"\x18\0\0\0\x02"
         "a\0\x02\0\0\0\xff\0\x02"
         "b\0\x64\0\0\0x\0\0",
         24, "not UTF-8"},
        /* {"a": <document that claims 100 bytes>} */
        {"\x0d\0\0\0\x03"
         "a\0\x64\0\0\0\0\0",
         13, "not valid BSON"},
        /* {"a": "text that is longer than the document"} */
        {"\x0e\0\0\0\x02"
         "a\0\xff\x00\0\0x\0\0",
         14, "not valid BSON"},
        {"\x0e\0\0\0\x02"
         "a\0\x02\0\0\0\xff\0\0",
         14, "not UTF-8"},
        {"\x0c\0\0\0\x10"
         "$\0\x01\0\0\0\0",
         12, "begins with $"},
        {"\x0e\0\0\0\x10_id\0\x01\0\0\0\0", 14, "_id of its own"},
        {"\x0c\0\0\0\x77"
         "a\0\x01\0\0\0\0",
         12, "not valid BSON"} /* no such type */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sluice_doc docs[] = {{"packs", "good", store_body(f, "good")},
                                    {"packs", "odd", {rows[i].bytes, rows[i].len}}};
        struct store_result r;
        store_put(f, docs, 2, &r);
        store_wait(f, &r, 1);
        if (r.fate != SLUICE_FATE_PERMANENT || r.rc != SLUICE_ERR_VALIDATION || r.failed_doc != 1 ||
            strstr(r.text, rows[i].reason) == NULL) {
            fail_msg("row %zu: fate %d: %s", i, (int)r.fate, r.text);
        }
    }
    assert_int_equal(script.calls, 0);
}

static void destroy_does_not_wait_for_more_than_the_running_call(void **state)
{
    struct store_fixture *f = *state;
    static struct store_result results[3];
    script.answer = SCRIPTED_SILENCE;
    scripted_mongo_close_gate(server);
    for (int i = 0; i < 3; i++) {
        store_put_one(f, "packs", "same", "text", &results[i]); /* three groups */
    }
    scripted_mongo_await_at_gate(server);
    scripted_mongo_open_gate(server);
    store_fixture_close(f);
    assert_int_equal(script.calls, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(results[i].calls, 1);
        assert_int_equal(results[i].fate, i == 0 ? SLUICE_FATE_UNKNOWN : SLUICE_FATE_CANCELLED);
    }
}

/* ---- Without any server */

static sluice_rc create(const char *uri, const char *database, uint32_t timeout_ms,
                        const char *folder, struct sluice_err *err)
{
    struct sluice_mongo_config config = {.uri = uri,
                                         .database = database,
                                         .timeout_ms = timeout_ms,
                                         .mailbox = &fixture.mailbox.base,
                                         .allocator = &fixture.heap.allocator};
    memset(err, 0, sizeof *err);
    return sluice_mongo_loader_create(folder, &config, &fixture.store, err);
}

static void bad_configuration_is_refused_without_showing_secrets(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *database, *reason;
        uint32_t timeout_ms;
    } rows[] = {
        {"", "db", "empty", 0},
        {"postgres://user:" SECRET "@host/", "db", "", 0},
        {"mongodb://user:" SECRET "@", "db", "", 0},
        {"mongodb://user:" SECRET "@host:99999/", "db", "", 0},
        {"mongodb://user:%zz" SECRET "@host/", "db", "", 0},
        {"mongodb://host/?w=0&journal=true", "db", "", 0},
        {"mongodb://host/?tls=true&tlsCAFile=/nonexistent/ca.pem", "db", "/nonexistent/ca.pem", 0},
        {"mongodb://host/", "", "database", 0},
        {"mongodb://host/", "a.b", "a.b", 0},
        {"mongodb://host/", "a/b", "a/b", 0},
        {"mongodb://host/", "x234567890123456789012345678901234567890123456789012345678901234",
         "63", 0},
        {"mongodb://host/", "db", "99 ms", 99},
        {"mongodb://host/", "db", "3600001 ms", 3600001},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sluice_err err;
        sluice_rc rc =
            create(rows[i].uri, rows[i].database, rows[i].timeout_ms, SLUICE_MONGO_MODULE, &err);
        if (rc != SLUICE_ERR_CONFIG || strstr(err.text, rows[i].reason) == NULL ||
            strstr(err.text, SECRET) != NULL || strlen(err.text) < 15) {
            fail_msg("%s: rc %d: %s", rows[i].uri, (int)rc, err.text);
        }
        assert_null(fixture.store);
    }
    assert_int_equal(atomic_load(&fixture.heap.open), 0);
}

static void missing_module_is_named(void **state)
{
    (void)state;
    struct sluice_err err;
    assert_int_equal(create("mongodb://host/", "db", 0, "/nonexistent", &err),
                     SLUICE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "MongoDB support is not installed"));
    assert_non_null(strstr(err.text, "/nonexistent"));

    char path[300];
    (void)snprintf(path, sizeof path, "%s/sluice_mongo.so", fixture.folder);
    text_file_write(path, "not a module");
    assert_int_equal(create("mongodb://host/", "db", 0, fixture.folder, &err),
                     SLUICE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, path));
    (void)unlink(path);
}

/* A port where nobody listens, or (is_hole) where nobody ever accepts. */
static int dead_port(int is_hole, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_true(!is_hole || listen(fd, 16) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void absent_server_is_unreachable(int is_hole)
{
    enum { WAITING = SLUICE_GROUP_MESSAGES_MAX * 2 + 3 };
    static struct store_result results[WAITING];
    static char ids[WAITING][16];
    char host[64], uri[256];
    uint16_t port;
    struct sluice_err err;
    int fd = dead_port(is_hole, &port);
    (void)snprintf(host, sizeof host, "127.0.0.1:%u", port);
    (void)snprintf(uri, sizeof uri, "mongodb://user:%s@%s/?authSource=admin", SECRET, host);
    if (create(uri, "db", STORE_TIMEOUT_MS, SLUICE_MONGO_MODULE, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    struct store_result ping = store_ping_now(&fixture);
    assert_int_equal(ping.fate, SLUICE_FATE_UNREACHABLE);
    for (uint32_t i = 0; i < WAITING; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "m%u", i);
        store_put_one(&fixture, "packs", ids[i], "text", &results[i]);
    }
    store_wait(&fixture, results, WAITING);
    for (uint32_t i = 0; i < WAITING; i++) {
        assert_int_equal(results[i].fate, SLUICE_FATE_UNREACHABLE);
        assert_null(strstr(results[i].text, SECRET));
        assert_true(results[i].rc == SLUICE_ERR_TIMEOUT || strstr(results[i].text, host) != NULL);
    }
    assert_non_null(strstr(ping.text, host));
    assert_null(strstr(ping.text, SECRET));
    store_fixture_close(&fixture);
    assert_int_equal(atomic_load(&fixture.heap.open), 0);
    (void)close(fd);
}

static void refused_connection_is_unreachable(void **state)
{
    (void)state;
    absent_server_is_unreachable(0);
}

static void server_that_never_greets_is_unreachable(void **state)
{
    (void)state;
    absent_server_is_unreachable(1);
}

int main(void)
{
    store_fixture_begin(&fixture, 1);
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_scripted, close_scripted)
    const struct CMUnitTest tests[] = {
        CASE(group_is_one_command),
        CASE(what_a_reply_leaves_open_is_asked_for_alone),
        CASE(upsert_that_lost_a_race_is_repeated_once),
        CASE(duplicate_key_that_stays_is_retry_without_its_values),
        CASE(refusals_of_one_document_are_its_messages_alone),
        CASE(document_that_fails_the_whole_command_fails_alone),
        CASE(command_that_always_fails_is_given_up),
        CASE(server_that_is_not_primary_is_not_asked_again),
        CASE(login_that_is_not_allowed_is_named),
        CASE(unmet_write_concern_fails_the_group),
        CASE(connection_lost_after_sending_is_unknown),
        CASE(silence_is_unknown_at_the_timeout),
        CASE(server_that_hangs_on_large_commands_gets_smaller_ones),
        CASE(unsound_bodies_never_reach_the_server),
        CASE(destroy_does_not_wait_for_more_than_the_running_call),
        cmocka_unit_test(bad_configuration_is_refused_without_showing_secrets),
        cmocka_unit_test(missing_module_is_named),
        cmocka_unit_test(refused_connection_is_unreachable),
        cmocka_unit_test(server_that_never_greets_is_unreachable),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    store_fixture_end(&fixture);
    return failed;
}
