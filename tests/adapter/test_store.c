/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of port/store.h, the same for every store: `test_store sqlite|mongodb`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/doc_check.h"
#include "store_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct store_fixture fixture; /* one server for all cases */

static void assert_stored(const struct store_result *r)
{
    if (r->fate != SLUICE_FATE_OK || r->rc != SLUICE_OK) {
        fail_msg("fate %d, rc %d: %s", (int)r->fate, (int)r->rc, r->text);
    }
    assert_string_equal(r->text, "");
}

static void finds_what_was_put(void **state)
{
    struct store_fixture *f = *state;
    struct store_result r = store_put_now(f, "packs", "one", "first");
    assert_stored(&r);
    r = store_find_now(f, "packs", "one");
    assert_stored(&r);
    assert_string_equal(r.found_id, "one");
    assert_string_equal(r.found_text, "first");
}

static void storing_twice_leaves_the_second(void **state)
{
    struct store_fixture *f = *state;
    struct store_result r = store_put_now(f, "packs", "one", "first");
    assert_stored(&r);
    r = store_put_now(f, "packs", "one", "second");
    assert_stored(&r);
    r = store_put_now(f, "packs", "one", "second"); /* unchanged is stored, too */
    assert_stored(&r);
    r = store_find_now(f, "packs", "one");
    assert_string_equal(r.found_text, "second");
}

static void stores_documents_of_two_collections(void **state)
{
    struct store_fixture *f = *state;
    struct sluice_doc docs[] = {{"packs", "k", store_body(f, "pack")},
                                {"Audit-log_2", "k", store_body(f, "log")},
                                {"packs", "k/2", store_body(f, "second pack")}};
    struct store_result r;
    store_put(f, docs, 3, &r);
    memset(docs, 0, sizeof docs); /* the array itself is not borrowed */
    store_wait(f, &r, 1);
    assert_stored(&r);
    assert_string_equal(store_find_now(f, "packs", "k").found_text, "pack");
    assert_string_equal(store_find_now(f, "Audit-log_2", "k").found_text, "log");
    assert_string_equal(store_find_now(f, "packs", "k/2").found_text, "second pack");
}

static void last_document_of_a_name_counts_within_a_message(void **state)
{
    struct store_fixture *f = *state;
    struct sluice_doc docs[] = {{"packs", "k", store_body(f, "first")},
                                {"packs", "other", store_body(f, "other")},
                                {"packs", "k", store_body(f, "last")}};
    struct store_result r;
    store_put(f, docs, 3, &r);
    store_wait(f, &r, 1);
    assert_stored(&r);
    assert_string_equal(store_find_now(f, "packs", "k").found_text, "last");
    assert_string_equal(store_find_now(f, "packs", "other").found_text, "other");
}

enum { CROWD = 500, EVERY = 50 };

static void one_message_fails_alone_among_500(void **state)
{
    struct store_fixture *f = *state;
    static struct store_result results[CROWD];
    static char ids[CROWD][16];
    static const char *const collections[] = {"crowd_a", "crowd_b", "crowd_c"};
    sluice_bytes large = store_body_large(f, SLUICE_DOCUMENT_SIZE_MAX);
    for (uint32_t i = 0; i < CROWD; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "m%u", i);
        struct sluice_doc docs[] = {{collections[i % 3], ids[i], store_body(f, ids[i])},
                                    {"oversize", ids[i], large}};
        store_put(f, docs, i % EVERY == 7 ? 2 : 1, &results[i]);
    }
    store_wait(f, results, CROWD);
    for (uint32_t i = 0; i < CROWD; i++) {
        if (i % EVERY == 7) {
            assert_int_equal(results[i].fate, SLUICE_FATE_PERMANENT);
            assert_int_equal(results[i].rc, SLUICE_ERR_TOO_LARGE);
            assert_int_equal(results[i].failed_doc, 1);
            assert_int_equal(store_find_now(f, "oversize", ids[i]).rc, SLUICE_ERR_NOT_FOUND);
            continue;
        }
        assert_stored(&results[i]);
        if (i % 10 == 0) {
            assert_string_equal(store_find_now(f, collections[i % 3], ids[i]).found_text, ids[i]);
        }
    }
    free((void *)large.data);
}

/* As after an outage: all of them come again at once. */
static void many_documents_are_stored_again(void **state)
{
    enum { COUNT = 250 };
    struct store_fixture *f = *state;
    static struct store_result results[COUNT];
    static char ids[COUNT][16];
    for (int round = 0; round < 2; round++) {
        memset(results, 0, sizeof results);
        for (int i = 0; i < COUNT; i++) {
            (void)snprintf(ids[i], sizeof ids[i], "again-%d", i);
            struct sluice_doc doc = {"packs", ids[i],
                                     store_body(f, round == 0 ? "first" : "second")};
            store_put(f, &doc, 1, &results[i]);
        }
        store_wait(f, results, COUNT);
        for (int i = 0; i < COUNT; i++) {
            assert_stored(&results[i]);
        }
    }
    struct store_result r = store_find_now(f, "packs", "again-249");
    assert_string_equal(r.found_text, "second");
}

static void largest_document_is_stored(void **state)
{
    struct store_fixture *f = *state;
    size_t frame = store_body(f, "").len;
    sluice_bytes body = store_body_large(f, SLUICE_DOCUMENT_SIZE_MAX - frame);
    assert_int_equal(body.len, SLUICE_DOCUMENT_SIZE_MAX);
    struct sluice_doc doc = {"packs", "large", body};
    struct store_result r;
    store_put(f, &doc, 1, &r);
    store_wait(f, &r, 1);
    assert_stored(&r);
    r = store_find_now(f, "packs", "large");
    assert_stored(&r);
    assert_true(r.found_len > SLUICE_DOCUMENT_SIZE_MAX);
    free((void *)body.data);
}

static void concurrent_writes_of_one_document_keep_their_order(void **state)
{
    enum { WRITES = 60 };
    struct store_fixture *f = *state;
    struct store_result results[WRITES];
    char text[16];
    for (uint32_t i = 0; i < WRITES; i++) {
        (void)snprintf(text, sizeof text, "write %u", i);
        struct sluice_doc docs[] = {{"packs", "same", store_body(f, text)},
                                    {"packs", i % 2 == 0 ? "even" : "odd", store_body(f, text)}};
        store_put(f, docs, 2, &results[i]);
    }
    store_wait(f, results, WRITES);
    for (uint32_t i = 0; i < WRITES; i++) {
        assert_stored(&results[i]);
        assert_true(i == 0 || results[i].order > results[i - 1].order);
    }
    assert_string_equal(store_find_now(f, "packs", "same").found_text, "write 59");
    assert_string_equal(store_find_now(f, "packs", "even").found_text, "write 58");
}

static void what_is_not_there_is_not_found(void **state)
{
    struct store_fixture *f = *state;
    struct store_result r = store_find_now(f, "nowhere", "one");
    assert_int_equal(r.fate, SLUICE_FATE_BAD_ANSWER);
    assert_int_equal(r.rc, SLUICE_ERR_NOT_FOUND);
    assert_non_null(strstr(r.text, "nowhere"));
    r = store_put_now(f, "packs", "one", "first");
    assert_stored(&r);
    r = store_find_now(f, "packs", "two");
    assert_int_equal(r.rc, SLUICE_ERR_NOT_FOUND);
    assert_int_equal(r.found_len, 0);
    r = store_put_now(f, "nowhere", "one", "now it is");
    assert_stored(&r);
    assert_string_equal(store_find_now(f, "nowhere", "one").found_text, "now it is");
}

static void odd_ids_come_back_as_they_were(void **state)
{
    struct store_fixture *f = *state;
    static const struct {
        const char *id, *as_json;
    } ids[] = {{"it's; DROP TABLE packs --", NULL},
               {"a/b:c.d$e%f*g", NULL},
               {"$where", NULL},
               {"Zażółć \xF0\x9F\x90\x99", NULL},
               {"quote\"back\\slash", "quote\\\"back\\\\slash"},
               {"line\nbell\x07", "line\\u000abell\\u0007"}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct store_result r = store_put_now(f, "packs", ids[i].id, "odd");
        assert_stored(&r);
        r = store_find_now(f, "packs", ids[i].id);
        assert_stored(&r);
        int is_escaped = !f->is_mongo && ids[i].as_json != NULL;
        assert_string_equal(r.found_id, is_escaped ? ids[i].as_json : ids[i].id);
        assert_string_equal(r.found_text, "odd");
    }
}

static void empty_document_is_stored(void **state)
{
    struct store_fixture *f = *state;
    static const char bson[] = {5, 0, 0, 0, 0};
    static const char *const json[] = {"{}", " { \n} "};
    for (int i = 0; i < 2; i++) {
        struct sluice_doc doc = {"packs", "empty",
                                 f->is_mongo ? (sluice_bytes){bson, sizeof bson}
                                             : (sluice_bytes){json[i], strlen(json[i])}};
        struct store_result r;
        store_put(f, &doc, 1, &r);
        store_wait(f, &r, 1);
        assert_stored(&r);
        r = store_find_now(f, "packs", "empty");
        assert_stored(&r);
        assert_string_equal(r.found_id, "empty");
    }
}

static void what_no_store_can_hold_is_permanent(void **state)
{
    struct store_fixture *f = *state;
    static char long_name[SLUICE_COLLECTION_NAME_MAX + 2], long_id[SLUICE_DOCUMENT_ID_MAX + 2];
    memset(long_name, 'c', sizeof long_name - 1);
    memset(long_id, 'i', sizeof long_id - 1);
    sluice_bytes good = store_body(f, "good");
    const struct sluice_doc docs[] = {{"", "id", good},
                                      {"a b", "id", good},
                                      {"a\"b", "id", good},
                                      {"a.b", "id", good},
                                      {long_name, "id", good},
                                      {"packs", "", good},
                                      {"packs", long_id, good},
                                      {"packs", "\xC3\x28", good},
                                      {"packs", "\xED\xA0\x80", good},
                                      {"packs", "id", {"", 0}},
                                      {"packs", "id", {NULL, 0}},
                                      {"packs", "id", {"[]", 2}},
                                      {"packs", "id", {"\x06\0\0\0\0", 5}},
                                      {"packs", "id", {good.data, good.len - 1}}};
    for (size_t i = 0; i < sizeof docs / sizeof docs[0]; i++) {
        struct sluice_doc both[] = {{"packs", "before", good}, docs[i]};
        struct store_result r;
        store_put(f, both, 2, &r);
        store_wait(f, &r, 1);
        assert_int_equal(r.fate, SLUICE_FATE_PERMANENT);
        assert_int_equal(r.rc, SLUICE_ERR_VALIDATION);
        assert_int_equal(r.failed_doc, 1);
        assert_true(strlen(r.text) > 10);
    }
    assert_int_equal(store_find_now(f, "packs", "before").rc, SLUICE_ERR_NOT_FOUND);
    assert_int_equal(store_find_now(f, "a b", "id").rc, SLUICE_ERR_VALIDATION);
}

static void message_without_documents_is_stored(void **state)
{
    struct store_fixture *f = *state;
    struct store_result r;
    store_put(f, NULL, 0, &r);
    store_wait(f, &r, 1);
    assert_stored(&r);
}

static void too_many_documents_are_refused(void **state)
{
    struct store_fixture *f = *state;
    static struct sluice_doc docs[SLUICE_EFFECTS_MAX + 1];
    static char ids[SLUICE_EFFECTS_MAX + 1][8];
    for (uint32_t i = 0; i < SLUICE_EFFECTS_MAX + 1; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "d%u", i);
        docs[i] = (struct sluice_doc){"packs", ids[i], store_body(f, ids[i])};
    }
    struct store_result r;
    store_put(f, docs, SLUICE_EFFECTS_MAX + 1, &r);
    store_wait(f, &r, 1);
    assert_int_equal(r.fate, SLUICE_FATE_PERMANENT);
    assert_int_equal(r.rc, SLUICE_ERR_TOO_LARGE);
    store_put(f, docs, SLUICE_EFFECTS_MAX, &r);
    store_wait(f, &r, 1);
    assert_stored(&r);
}

static void ping_answers(void **state)
{
    struct store_result r = store_ping_now(*state);
    assert_stored(&r);
}

static void destroy_ends_each_operation_once(void **state)
{
    enum { OPEN = 300 };
    struct store_fixture *f = *state;
    static struct store_result results[OPEN], find, ping;
    static char ids[OPEN][16];
    for (uint32_t i = 0; i < OPEN; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "m%u", i);
        store_put_one(f, "packs", ids[i], ids[i], &results[i]);
    }
    memset(&find, 0, sizeof find);
    memset(&ping, 0, sizeof ping);
    f->store->ops->find(f->store, "packs", "m0", store_result_done, &find);
    f->store->ops->ping(f->store, store_result_done, &ping);
    f->store->ops->destroy(f->store);
    f->store = NULL;
    assert_int_equal(find.calls, 1);
    assert_int_equal(ping.calls, 1);
    for (uint32_t i = 0; i < OPEN; i++) {
        assert_int_equal(results[i].calls, 1);
    }
    (void)store_mailbox_pump(&f->mailbox, 0); /* what was under way does nothing any more */

    struct sluice_err err = {0};
    assert_int_equal(store_fixture_open(f, &err), SLUICE_OK);
    for (uint32_t i = 0; i < OPEN; i++) {
        assert_int_equal(results[i].calls, 1);
        if (results[i].fate == SLUICE_FATE_OK) {
            assert_string_equal(store_find_now(f, "packs", ids[i]).found_text, ids[i]);
        } else {
            assert_int_equal(results[i].fate, SLUICE_FATE_CANCELLED);
            assert_int_equal(results[i].rc, SLUICE_ERR_CANCELLED);
        }
    }
}

static void destroy_of_nothing_is_fine(void **state)
{
    struct store_fixture *f = *state;
    f->store->ops->destroy(NULL);
}

struct again {
    struct store_fixture *fixture;
    struct store_result result;
};

static void put_again(void *ctx, const struct sluice_store_done *done)
{
    struct again *again = ctx;
    (void)done;
    store_put_one(again->fixture, "packs", "again", "again", &again->result);
}

static void callbacks_may_ask_for_more_even_during_destroy(void **state)
{
    struct store_fixture *f = *state;
    struct again first = {.fixture = f};
    f->store->ops->ping(f->store, put_again, &first);
    store_wait(f, &first.result, 1);
    assert_stored(&first.result);
    struct again second = {.fixture = f};
    f->store->ops->ping(f->store, put_again, &second);
    struct sluice_store *store = f->store;
    store->ops->destroy(store);
    f->store = NULL;
    assert_int_equal(second.result.calls, 1);
    assert_int_equal(second.result.fate, SLUICE_FATE_CANCELLED);
}

static void without_memory_nothing_is_begun_and_the_next_works(void **state)
{
    struct store_fixture *f = *state;
    struct sluice_store *s = f->store;
    struct sluice_doc doc = {.collection = "packs", .id = "one", .body = store_body(f, "first")};
    struct store_result r;
    memset(&r, 0, sizeof r);
    atomic_store(&f->heap.fail_after, 0);
    assert_int_equal(s->ops->put(s, &doc, 1, store_result_done, &r), SLUICE_ERR_NOMEM);
    assert_int_equal(s->ops->find(s, "packs", "one", store_result_done, &r), SLUICE_ERR_NOMEM);
    assert_int_equal(s->ops->ping(s, store_result_done, &r), SLUICE_ERR_NOMEM);
    atomic_store(&f->heap.fail_after, -1);
    struct store_result next = store_put_now(f, "packs", "one", "second");
    assert_stored(&next);
    assert_int_equal(r.calls, 0);
    assert_string_equal(store_find_now(f, "packs", "one").found_text, "second");
}

static void create_survives_every_allocation_failure(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_close(f);
    struct sluice_err err;
    long n = 0;
    sluice_rc rc;
    do {
        memset(&err, 0, sizeof err);
        atomic_store(&f->heap.fail_after, n);
        rc = store_fixture_open(f, &err);
        atomic_store(&f->heap.fail_after, -1);
        assert_true(rc == SLUICE_OK || (rc == SLUICE_ERR_NOMEM && strlen(err.text) > 0));
        assert_true(rc == SLUICE_OK || atomic_load(&f->heap.open) == 0);
        n++;
    } while (rc != SLUICE_OK);
    assert_true(n > 3);
    struct store_result r = store_put_now(f, "packs", "one", "first");
    assert_stored(&r);
}

int main(int argc, char **argv)
{
    int is_mongo = argc > 1 && strcmp(argv[1], "mongodb") == 0;
    store_fixture_begin(&fixture, is_mongo);
    fixture.timeout_ms = 45000; /* the largest document on a busy machine */
    if (is_mongo && !store_server_begin(&fixture.server)) {
        (void)printf("skipped: no MongoDB server: set MONGODB_URI, put mongod on the PATH, or set "
                     "SLUICE_FERRETDB\n");
        store_fixture_end(&fixture);
        return 77;
    }
#define CASE(name) STORE_CASE(name, &fixture)
    const struct CMUnitTest tests[] = {
        CASE(finds_what_was_put),
        CASE(storing_twice_leaves_the_second),
        CASE(stores_documents_of_two_collections),
        CASE(last_document_of_a_name_counts_within_a_message),
        CASE(one_message_fails_alone_among_500),
        CASE(many_documents_are_stored_again),
        CASE(largest_document_is_stored),
        CASE(concurrent_writes_of_one_document_keep_their_order),
        CASE(what_is_not_there_is_not_found),
        CASE(odd_ids_come_back_as_they_were),
        CASE(empty_document_is_stored),
        CASE(what_no_store_can_hold_is_permanent),
        CASE(message_without_documents_is_stored),
        CASE(too_many_documents_are_refused),
        CASE(ping_answers),
        CASE(destroy_ends_each_operation_once),
        CASE(destroy_of_nothing_is_fine),
        CASE(callbacks_may_ask_for_more_even_during_destroy),
        CASE(without_memory_nothing_is_begun_and_the_next_works),
        CASE(create_survives_every_allocation_failure),
    };
    int failed = cmocka_run_group_tests_name(is_mongo ? "store: mongodb" : "store: sqlite", tests,
                                             NULL, NULL);
    store_fixture_end(&fixture);
    return failed;
}
