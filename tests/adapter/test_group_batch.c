/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/group_batch.h"
#include "store_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPS_MAX = 3000, NOW = 1000000, TIMEOUT = 5000 };

struct bench {
    struct heap heap;
    struct sluice_group_list backlog, ended;
    struct sluice_group_batch batch;
    struct sluice_group_op ops[OPS_MAX];
    struct sluice_doc docs[OPS_MAX * 2];
    char ids[OPS_MAX * 2][16];
    uint32_t ops_count, docs_count;
};

static struct bench bench;

static int setup(void **state)
{
    memset(&bench, 0, sizeof bench);
    heap_init(&bench.heap);
    *state = &bench;
    return 0;
}

/* A message with the documents "a", or "a" and "b", of `bytes` each. */
static struct sluice_group_op *add(struct bench *b, const char *first, const char *second,
                                   size_t bytes)
{
    struct sluice_group_op *op = &b->ops[b->ops_count++];
    *op = (struct sluice_group_op){.kind = SLUICE_GROUP_PUT,
                                   .docs = &b->docs[b->docs_count],
                                   .allocator = &b->heap.allocator,
                                   .queued_ms = NOW};
    const char *ids[] = {first, second};
    for (int i = 0; i < 2 && ids[i] != NULL; i++) {
        uint32_t n = b->docs_count++;
        (void)snprintf(b->ids[n], sizeof b->ids[n], "%s", ids[i]);
        b->docs[n] = (struct sluice_doc){"packs", b->ids[n], {"{}", 2}};
        op->docs_count++;
        op->bytes += bytes;
    }
    sluice_group_list_push(&b->backlog, op);
    return op;
}

static void form(struct bench *b)
{
    sluice_group_batch_form(&b->batch, &b->backlog, &b->ended, SLUICE_DOC_JSON, NOW, TIMEOUT);
}

static void assert_group(struct bench *b, uint32_t count, struct sluice_group_op **expected)
{
    form(b);
    assert_int_equal(b->batch.count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_ptr_equal(b->batch.ops[i], expected[i]);
    }
}

static void document_is_never_twice_in_a_group_and_keeps_its_order(void **state)
{
    struct bench *b = *state;
    struct sluice_group_op *x1 = add(b, "x", NULL, 10);
    struct sluice_group_op *y1 = add(b, "y", NULL, 10);
    struct sluice_group_op *xz = add(b, "x", "z", 10);  /* waits for x1 */
    struct sluice_group_op *z1 = add(b, "z", NULL, 10); /* behind xz, though z is free */
    struct sluice_group_op *w1 = add(b, "w", NULL, 10);
    struct sluice_group_op *x2 = add(b, "x", NULL, 10);
    assert_group(b, 3, (struct sluice_group_op *[]){x1, y1, w1});
    assert_group(b, 1, (struct sluice_group_op *[]){xz});
    assert_group(b, 2, (struct sluice_group_op *[]){z1, x2});
    assert_group(b, 0, NULL);
}

static void same_id_in_another_collection_is_another_document(void **state)
{
    struct bench *b = *state;
    struct sluice_group_op *one = add(b, "x", NULL, 10);
    struct sluice_group_op *two = add(b, "x", NULL, 10);
    b->docs[1].collection = "logs";
    assert_group(b, 2, (struct sluice_group_op *[]){one, two});
}

static void message_may_name_a_document_twice(void **state)
{
    struct bench *b = *state;
    struct sluice_group_op *one = add(b, "x", "x", 10);
    assert_group(b, 1, (struct sluice_group_op *[]){one});
}

static void add_many(struct bench *b, uint32_t count, int with_second, size_t bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        char first[16], second[16];
        (void)snprintf(first, sizeof first, "a%u", i);
        (void)snprintf(second, sizeof second, "b%u", i);
        (void)add(b, first, with_second ? second : NULL, bytes);
    }
}

static void group_holds_as_many_messages_as_its_bound(void **state)
{
    struct bench *b = *state;
    add_many(b, SLUICE_GROUP_MESSAGES_MAX + 1, 0, 10);
    form(b);
    assert_int_equal(b->batch.count, SLUICE_GROUP_MESSAGES_MAX);
    form(b);
    assert_int_equal(b->batch.count, 1);
}

static void group_holds_as_many_documents_as_its_bound(void **state)
{
    struct bench *b = *state;
    /* 16 messages of 64 documents fill a group. */
    static struct sluice_doc docs[17][SLUICE_EFFECTS_MAX];
    static char ids[17][SLUICE_EFFECTS_MAX][16];
    for (uint32_t i = 0; i < 17; i++) {
        struct sluice_group_op *op = add(b, "unused", NULL, 10);
        for (uint32_t k = 0; k < SLUICE_EFFECTS_MAX; k++) {
            (void)snprintf(ids[i][k], sizeof ids[i][k], "m%u/%u", i, k);
            docs[i][k] = (struct sluice_doc){"packs", ids[i][k], {"{}", 2}};
        }
        op->docs = docs[i];
        op->docs_count = SLUICE_EFFECTS_MAX;
    }
    form(b);
    assert_int_equal(b->batch.count, 16);
    assert_int_equal(b->batch.documents, SLUICE_GROUP_DOCUMENTS_MAX);
    form(b);
    assert_int_equal(b->batch.count, 1);
}

static void group_holds_as_many_bytes_as_its_bound(void **state)
{
    struct bench *b = *state;
    add_many(b, 4, 0, SLUICE_GROUP_BYTES_MAX / 2);
    b->ops[2].bytes++;
    form(b);
    assert_int_equal(b->batch.count, 2); /* exactly full */
    form(b);
    assert_int_equal(b->batch.count, 1); /* one byte too many for two */
    form(b);
    assert_int_equal(b->batch.count, 1);
}

static void message_over_the_bound_goes_alone(void **state)
{
    struct bench *b = *state;
    add_many(b, 3, 0, 10);
    b->ops[0].bytes = SIZE_MAX;
    form(b);
    assert_int_equal(b->batch.count, 1);
    form(b);
    assert_int_equal(b->batch.count, 2);
}

static void message_that_waited_too_long_is_not_tried(void **state)
{
    struct bench *b = *state;
    add_many(b, 3, 0, 10);
    b->ops[1].queued_ms = NOW - TIMEOUT - 1;
    b->ops[2].queued_ms = NOW - TIMEOUT;
    form(b);
    assert_int_equal(b->batch.count, 2);
    assert_ptr_equal(b->ended.first, &b->ops[1]);
    assert_int_equal(b->ops[1].fate, SLUICE_FATE_UNREACHABLE);
    assert_int_equal(b->ops[1].rc, SLUICE_ERR_TIMEOUT);
    b->heap.allocator.resize(&b->heap, b->ops[1].text, 0);
}

static void crowd_of_one_document_makes_progress(void **state)
{
    struct bench *b = *state;
    for (uint32_t i = 0; i < OPS_MAX; i++) {
        (void)add(b, "x", NULL, 10);
    }
    for (uint32_t i = 0; i < OPS_MAX; i++) {
        assert_group(b, 1, (struct sluice_group_op *[]){&b->ops[i]});
    }
    assert_null(b->backlog.first);
}

static void every_message_comes_exactly_once_whatever_it_shares(void **state)
{
    struct bench *b = *state;
    uint32_t seed = 12345;
    uint32_t last_of[40] = {0}; /* op number + 1 that wrote the document last */
    for (uint32_t i = 0; i < 2000; i++) {
        char ids[2][16];
        for (int k = 0; k < 2; k++) {
            seed = seed * 1664525u + 1013904223u;
            (void)snprintf(ids[k], sizeof ids[k], "%u", (seed >> 16) % 40u);
        }
        (void)add(b, ids[0], ids[1], 10);
    }
    uint32_t seen = 0;
    while (b->backlog.first != NULL) {
        form(b);
        assert_true(b->batch.count > 0);
        uint8_t in_group[40] = {0};
        for (uint32_t i = 0; i < b->batch.count; i++) {
            const struct sluice_group_op *op = b->batch.ops[i];
            uint32_t number = (uint32_t)(op - b->ops) + 1;
            for (uint32_t k = 0; k < 2; k++) {
                uint32_t doc = (uint32_t)strtoul(op->docs[k].id, NULL, 10);
                assert_true(last_of[doc] < number || (k == 1 && last_of[doc] == number));
                assert_true(!in_group[doc] || last_of[doc] == number);
                in_group[doc] = 1;
                last_of[doc] = number;
            }
            seen++;
        }
    }
    assert_int_equal(seen, 2000);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        CASE(document_is_never_twice_in_a_group_and_keeps_its_order),
        CASE(same_id_in_another_collection_is_another_document),
        CASE(message_may_name_a_document_twice),
        CASE(group_holds_as_many_messages_as_its_bound),
        CASE(group_holds_as_many_documents_as_its_bound),
        CASE(group_holds_as_many_bytes_as_its_bound),
        CASE(message_over_the_bound_goes_alone),
        CASE(message_that_waited_too_long_is_not_tried),
        CASE(crowd_of_one_document_makes_progress),
        CASE(every_message_comes_exactly_once_whatever_it_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
