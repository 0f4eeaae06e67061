/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/bson.h"

#include "codec/protobuf.h"
#include "fixture.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RICH (&rich__v1__rich__descriptor)
#define LEAF (&rich__v1__leaf__descriptor)

static sluice_bytes rich_document(struct fixture *f)
{
    sluice_bytes document;
    assert_int_equal(sluice_proto_to_bson(&fixture_rich()->base, &f->arena, &document, &f->err),
                     SLUICE_OK);
    return document;
}

static void keeps_every_field_both_ways(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    sluice_bytes wire;
    sluice_bytes again;
    fixture_init(&f);
    sluice_bytes document = rich_document(&f);
    sluice_rc rc = sluice_bson_to_proto(RICH, document, &f.arena, &message, &f.err);
    if (rc != SLUICE_OK) {
        fail_msg("%s", f.err.text);
    }
    assert_int_equal(sluice_pb_encode(&fixture_rich()->base, &f.arena, &wire, &f.err), SLUICE_OK);
    assert_int_equal(sluice_pb_encode(message, &f.arena, &again, &f.err), SLUICE_OK);
    assert_int_equal(again.len, wire.len);
    assert_memory_equal(again.data, wire.data, wire.len);
    fixture_fini(&f);
}

static void keeps_floats_that_are_no_numbers(void **state)
{
    (void)state;
    float floats[] = {(float)INFINITY, -(float)INFINITY, (float)NAN};
    Rich__V1__Rich rich = RICH__V1__RICH__INIT;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    sluice_bytes document;
    fixture_init(&f);
    rich.n_floats = 3;
    rich.floats = floats;
    assert_int_equal(sluice_proto_to_bson(&rich.base, &f.arena, &document, &f.err), SLUICE_OK);
    sluice_rc rc = sluice_bson_to_proto(RICH, document, &f.arena, &message, &f.err);
    if (rc != SLUICE_OK) {
        fail_msg("%s", f.err.text);
    }
    const Rich__V1__Rich *again = (const Rich__V1__Rich *)message;
    assert_int_equal(again->n_floats, 3);
    assert_true(again->floats[0] == floats[0] && again->floats[1] == floats[1]);
    assert_true(isnan(again->floats[2]));
    fixture_fini(&f);
}

static void assert_document(const ProtobufCMessage *message, const char *expected, size_t len)
{
    struct fixture f;
    sluice_bytes document;
    fixture_init(&f);
    assert_int_equal(sluice_proto_to_bson(message, &f.arena, &document, &f.err), SLUICE_OK);
    assert_int_equal(document.len, len);
    assert_memory_equal(document.data, expected, len);
    fixture_fini(&f);
}

#define ASSERT_DOCUMENT(message, expected)                                                         \
    assert_document((message), (expected), sizeof(expected) - 1)

/* Bytes as bsonspec.org has them. */
static void writes_the_bytes_of_the_specification(void **state)
{
    (void)state;
    Rich__V1__Nothing nothing = RICH__V1__NOTHING__INIT;
    Rich__V1__Leaf leaf = RICH__V1__LEAF__INIT;
    Rich__V1__Holder holder = RICH__V1__HOLDER__INIT;
    Rich__V1__Holder__Inner inner = RICH__V1__HOLDER__INNER__INIT;
    ASSERT_DOCUMENT(&nothing.base, "\x05\x00\x00\x00\x00");
    leaf.name = (char *)"world";
    leaf.score = 5.05;
    leaf.kind = (Rich__V1__Kind)7;
    ASSERT_DOCUMENT(&leaf.base, "\x2e\x00\x00\x00"
                                "\x02name\x00\x06\x00\x00\x00world\x00"
                                "\x01score\x00\x33\x33\x33\x33\x33\x33\x14\x40"
                                "\x10kind\x00\x07\x00\x00\x00"
                                "\x00");
    holder.inner = &inner;
    ASSERT_DOCUMENT(&holder.base, "\x33\x00\x00\x00"
                                  "\x02level\x00\x0b\x00\x00\x00LEVEL_ZERO\x00"
                                  "\x03inner\x00\x11\x00\x00\x00"
                                  "\x03words\x00\x05\x00\x00\x00\x00"
                                  "\x00"
                                  "\x00");
}

static void writes_numbers_by_the_documented_rule(void **state)
{
    (void)state;
    Rich__V1__Answer answer = RICH__V1__ANSWER__INIT;
    answer.kind = RICH__V1__KIND__KIND_BELOW;
    answer.total = (uint64_t)INT64_MAX + 1;
    answer.weight = 0.5f;
    ASSERT_DOCUMENT(&answer.base, "\x7b\x00\x00\x00"
                                  "\x02title\x00\x01\x00\x00\x00\x00"
                                  "\x04items\x00\x05\x00\x00\x00\x00"
                                  "\x02kind\x00\x0b\x00\x00\x00KIND_BELOW\x00"
                                  "\x05picture\x00\x00\x00\x00\x00\x00"
                                  "\x04votes\x00\x05\x00\x00\x00\x00"
                                  "\x02total\x00\x14\x00\x00\x00"
                                  "9223372036854775808\x00"
                                  "\x01weight\x00\x00\x00\x00\x00\x00\x00\xe0\x3f"
                                  "\x00");
}

static void every_key_of_a_map_comes_back(void **state)
{
    (void)state;
    static const char *const keys[][2] = {{"", "%"},
                                          {"plain", "plain"},
                                          {"a.b", "a%2Eb"},
                                          {"$set", "%24set"},
                                          {"a$b", "a$b"},
                                          {"%", "%25"},
                                          {"%24", "%2524"},
                                          {"$", "%24"},
                                          {"..", "%2E%2E"},
                                          {"%%", "%25%25"},
                                          {"\xc3\xa4.", "\xc3\xa4%2E"},
                                          {"100%", "100%25"}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct fixture f;
        Rich__V1__Holder__Inner inner = RICH__V1__HOLDER__INNER__INIT;
        Rich__V1__Holder__Inner__WordsEntry entry = RICH__V1__HOLDER__INNER__WORDS_ENTRY__INIT;
        Rich__V1__Holder__Inner__WordsEntry *words[] = {&entry};
        ProtobufCMessage *message = NULL;
        sluice_bytes document;
        entry.key = (char *)(uintptr_t)keys[i][0];
        inner.words = words;
        inner.n_words = 1;
        fixture_init(&f);
        assert_int_equal(sluice_proto_to_bson(&inner.base, &f.arena, &document, &f.err), SLUICE_OK);
        /* length, type, words NUL, length, type, key */
        assert_string_equal((const char *)document.data + 4 + 1 + 6 + 4 + 1, keys[i][1]);
        assert_int_equal(
            sluice_bson_to_proto(inner.base.descriptor, document, &f.arena, &message, &f.err),
            SLUICE_OK);
        assert_string_equal(((Rich__V1__Holder__Inner *)message)->words[0]->key, keys[i][0]);
        fixture_fini(&f);
    }
}

static void refuses_to_write_what_a_plugin_got_wrong(void **state)
{
    (void)state;
    struct fixture f;
    sluice_bytes document;
    Rich__V1__Rich rich = RICH__V1__RICH__INIT;
    Rich__V1__Leaf *leaves[] = {NULL};
    fixture_init(&f);
    rich.text = (char *)"a\xff";
    assert_int_equal(sluice_proto_to_bson(&rich.base, &f.arena, &document, &f.err),
                     SLUICE_ERR_VALIDATION);
    assert_string_equal(f.err.text, "text: invalid UTF-8 at byte 1, expected text");
    rich.text = NULL;
    rich.n_leaves = 1;
    rich.leaves = leaves;
    assert_int_equal(sluice_proto_to_bson(&rich.base, &f.arena, &document, &f.err),
                     SLUICE_ERR_VALIDATION);
    assert_contains(f.err.text, "leaves[0]: NULL");
    rich.n_leaves = 0;
    rich.n_texts = 1;
    assert_int_equal(sluice_proto_to_bson(&rich.base, &f.arena, &document, &f.err),
                     SLUICE_ERR_VALIDATION);
    rich.n_texts = 0;
    rich.child = &rich;
    assert_int_equal(sluice_proto_to_bson(&rich.base, &f.arena, &document, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    rich.child = NULL;
    rich.blob.len = SLUICE_BSON_SIZE_MAX;
    rich.blob.data = malloc(SLUICE_BSON_SIZE_MAX);
    assert_non_null(rich.blob.data);
    assert_int_equal(sluice_proto_to_bson(&rich.base, &f.arena, &document, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    free(rich.blob.data);
    assert_int_equal(sluice_proto_to_bson(NULL, &f.arena, &document, &f.err),
                     SLUICE_ERR_VALIDATION);
    fixture_fini(&f);
}

/* A document of these elements, in memory of exactly its size. */
static sluice_bytes document_of(const char *elements, size_t len)
{
    unsigned char *bytes = malloc(len + 5);
    assert_non_null(bytes);
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (unsigned char)((len + 5) >> (8 * i));
    }
    memcpy(bytes + 4, elements, len);
    bytes[len + 4] = 0;
    return (sluice_bytes){.data = bytes, .len = len + 5};
}

static void assert_read(const char *elements, size_t len, sluice_rc expected, const char *text)
{
    struct fixture f;
    ProtobufCMessage *message = NULL;
    fixture_init(&f);
    sluice_bytes document = document_of(elements, len);
    sluice_rc rc = sluice_bson_to_proto(RICH, document, &f.arena, &message, &f.err);
    if (rc != expected || (text != NULL && strcmp(f.err.text, text) != 0)) {
        fail_msg("%d \"%s\", expected %d \"%s\"", rc, f.err.text, expected,
                 text == NULL ? "" : text);
    }
    fixture_exact_free(document);
    fixture_fini(&f);
}

#define READS(elements) assert_read((elements), sizeof(elements) - 1, SLUICE_OK, NULL)
#define MISFITS(elements, text)                                                                    \
    assert_read((elements), sizeof(elements) - 1, SLUICE_ERR_VALIDATION, (text))
#define BREAKS(elements, text)                                                                     \
    assert_read((elements), sizeof(elements) - 1, SLUICE_ERR_DECODE, (text))

static void skips_members_of_every_type(void **state)
{
    (void)state;
    READS("\x01x\0"
          "12345678");
    READS("\x02x\0\x03\0\0\0ab\0");
    READS("\x03x\0\x05\0\0\0\0\x04x\0\x05\0\0\0\0");
    READS("\x05x\0\x02\0\0\0\x80zz\x06x\0");
    READS("\x07x\0"
          "123456789abc"
          "\x08x\0\x01\x09x\0"
          "12345678"
          "\x0ax\0");
    READS("\x0bx\0ab\0i\0");
    READS("\x0cx\0\x02\0\0\0n\0"
          "123456789abc");
    READS("\x0dx\0\x02\0\0\0c\0\x0ex\0\x02\0\0\0s\0");
    READS("\x0fx\0\x0e\0\0\0\x01\0\0\0\0\x05\0\0\0\0");
    READS("\x10x\0"
          "1234"
          "\x11x\0"
          "12345678"
          "\x12x\0"
          "12345678");
    READS("\x13x\0"
          "1234567890123456"
          "\xffx\0\x7fx\0");
    READS("\x02_id\0\x02\0\0\0k\0");
}

static void takes_numbers_in_every_form(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    static const char elements[] = "\x12int32_field\0\x05\0\0\0\0\0\0\0"
                                   "\x01int64_field\0\0\0\0\0\0\0\x08\x40"
                                   "\x10uint64_field\0\x07\0\0\0"
                                   "\x10"
                                   "double_field\0\x09\0\0\0"
                                   "\x01"
                                   "float_field\0\0\0\0\0\0\0\xe0\x3f"
                                   "\x09sint64_field\0\x0b\0\0\0\0\0\0\0"
                                   "\x02"
                                   "fixed64_field\0\x03\0\0\0"
                                   "13\0"
                                   "\x10kind\0\x02\0\0\0"
                                   "\x07text\0\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67"
                                   "\x05"
                                   "blob\0\x06\0\0\0\x02\x02\0\0\0hi"
                                   "\x0aleaf\0"
                                   "\x0atexts\0";
    fixture_init(&f);
    sluice_bytes document = document_of(elements, sizeof elements - 1);
    sluice_rc rc = sluice_bson_to_proto(RICH, document, &f.arena, &message, &f.err);
    if (rc != SLUICE_OK) {
        fail_msg("%s", f.err.text);
    }
    const Rich__V1__Rich *rich = (const Rich__V1__Rich *)message;
    assert_int_equal(rich->int32_field, 5);
    assert_int_equal(rich->int64_field, 3);
    assert_int_equal(rich->uint64_field, 7);
    assert_true(rich->double_field == 9 && rich->float_field == 0.5f);
    assert_int_equal(rich->sint64_field, 11);
    assert_int_equal(rich->fixed64_field, 13);
    assert_int_equal(rich->kind, RICH__V1__KIND__KIND_SECOND);
    assert_string_equal(rich->text, "0123456789abcdef01234567");
    assert_int_equal(rich->blob.len, 2);
    assert_memory_equal(rich->blob.data, "hi", 2);
    fixture_exact_free(document);
    fixture_fini(&f);
}

static void names_a_value_that_does_not_fit(void **state)
{
    (void)state;
    MISFITS("\x12int32_field\0\0\0\0\x80\0\0\0\0", "int32_field: number that is no int32");
    MISFITS("\x01int32_field\0\0\0\0\0\0\0\xe0\x3f", "int32_field: number that is no int32");
    MISFITS("\x01int32_field\0\0\0\0\0\0\0\xf8\x7f", "int32_field: number that is no int32");
    MISFITS("\x10uint32_field\0\xff\xff\xff\xff", "uint32_field: number that is no uint32");
    MISFITS("\x02int32_field\0\x02\0\0\0x\0", "int32_field: expected integer, got string");
    MISFITS("\x08int32_field\0\x01", "int32_field: expected integer, got bool");
    MISFITS("\x02"
            "double_field\0\x02\0\0\0"
            "1\0",
            "double_field: expected number, got string");
    MISFITS("\x10"
            "bool_field\0\x01\0\0\0",
            "bool_field: expected bool, got integer");
    MISFITS("\x10text\0\x01\0\0\0", "text: expected string, got integer");
    MISFITS("\x02"
            "blob\0\x01\0\0\0\0",
            "blob: expected binary, got string");
    MISFITS("\x04leaf\0\x05\0\0\0\0", "leaf: expected document, got array");
    MISFITS("\x03texts\0\x05\0\0\0\0", "texts: expected array, got document");
    MISFITS("\x04texts\0\x08\0\0\0\x0a"
            "0\0\0",
            "texts[0]: expected string, got null");
    MISFITS("\x04"
            "attributes\0\x05\0\0\0\0",
            "attributes: expected document, got array");
    MISFITS("\x03totals\0\x0a\0\0\0\x0ayes\0\0", "totals[\"yes\"]: key is no bool");
    MISFITS("\x02kind\0\x02\0\0\0x\0",
            "kind: expected name of a value of rich.v1.Kind, got another string");
    MISFITS("\x02text\0\x01\0\0\0\0\x02text\0\x01\0\0\0\0", "text: comes twice, expected once");
    MISFITS("\x10"
            "count\0\x01\0\0\0\x12"
            "chosen_number\0"
            "12345678\x02"
            "chosen_text\0\x01\0\0\0\0",
            "chosen_text: another member of its oneof is there, expected one of them");
    MISFITS("\x04leaves\0\x14\0\0\0\x03"
            "0\0\x0c\0\0\0\x08name\0\x01\0\0\0\0\0",
            NULL);
}

static void refuses_lengths_that_contradict_each_other(void **state)
{
    (void)state;
    BREAKS("\x02text", "an element whose name does not end, at byte 4");
    BREAKS("\x10int32_field\0\x01\0\0", "an element that is cut, at byte 4");
    BREAKS("\x02text\0\x03\0\0\0a\0", "an element that is malformed or of unknown type, at byte 4");
    BREAKS("\x02text\0\0\0\0\0", NULL);
    BREAKS("\x02text\0\xff\xff\xff\xff"
           "a\0",
           NULL);
    BREAKS("\x02text\0\x02\0\0\0ab", NULL);
    BREAKS("\x02text\0\x04\0\0\0a\0b\0", "text: NUL or invalid UTF-8, at byte 15");
    BREAKS("\x02text\0\x02\0\0\0\xff\0", "text: NUL or invalid UTF-8, at byte 14");
    BREAKS("\x03leaf\0\x06\0\0\0\0", NULL);
    BREAKS("\x03leaf\0\x04\0\0\0\0", NULL);
    BREAKS("\x03leaf\0\xff\xff\xff\xff\0", NULL);
    BREAKS("\x03leaf\0\x0d\0\0\0\x10kind\0\x01\0\0", NULL);
    BREAKS("\x05"
           "blob\0\x05\0\0\0\0zz",
           NULL);
    BREAKS("\x05"
           "blob\0\xff\xff\xff\xff\0",
           NULL);
    BREAKS("\x05"
           "blob\0\x06\0\0\0\x02\x03\0\0\0hi",
           NULL);
    BREAKS("\x14x\0", NULL);
    BREAKS("\x0bx\0ab", NULL);
    BREAKS("\x0cx\0\x02\0\0\0n\0"
           "123",
           NULL);
    BREAKS("\x0fx\0\x0d\0\0\0", NULL);
    BREAKS("\x03"
           "attributes\0\x09\0\0\0\x0a\xff\0\0",
           NULL);
    static const sluice_bytes bad[] = {{"", 0},
                                       {"\x04\0\0\0", 4},
                                       {"\x05\0\0\0\x01", 5},
                                       {"\x06\0\0\0\0", 5},
                                       {"\x05\0\0\0\0\0", 6}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fixture f;
        ProtobufCMessage *message = NULL;
        fixture_init(&f);
        sluice_bytes exact = fixture_exact(bad[i].data, bad[i].len);
        assert_int_equal(sluice_bson_to_proto(RICH, exact, &f.arena, &message, &f.err),
                         SLUICE_ERR_DECODE);
        fixture_exact_free(exact);
        fixture_fini(&f);
    }
}

static void bounds_depth_values_and_memory(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    static char chain[1024] = "\x05";
    size_t len = 5;
    fixture_init(&f);
    for (int depth = 2; depth <= 17; depth++) {
        /* One more document around what is there: its length, a head, the end. */
        memmove(chain + 10, chain, len);
        len += 11;
        memset(chain, 0, 4);
        chain[0] = (char)(len & 0xff);
        memcpy(chain + 4, "\x03next", 6);
        chain[len - 1] = 0;
        sluice_bytes document = {.data = chain, .len = len};
        assert_true(len < 256);
        assert_int_equal(sluice_bson_to_proto(&rich__v1__chain__descriptor, document, &f.arena,
                                              &message, &f.err),
                         depth <= 16 ? SLUICE_OK : SLUICE_ERR_TOO_LARGE);
    }
    sluice_bytes document = rich_document(&f);
    struct sluice_limits limits = {.fields_max = 50};
    assert_int_equal(sluice_bson_read(RICH, document, &limits, &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    limits = (struct sluice_limits){.memory_max = 1000};
    assert_int_equal(sluice_bson_read(RICH, document, &limits, &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    limits = (struct sluice_limits){.size_max = document.len};
    assert_int_equal(sluice_bson_read(RICH, document, &limits, &f.arena, &message, &f.err),
                     SLUICE_OK);
    limits.size_max--;
    assert_int_equal(sluice_bson_read(RICH, document, &limits, &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    fixture_fini(&f);
}

static void tells_when_memory_runs_out(void **state)
{
    (void)state;
    struct fixture source;
    fixture_init(&source);
    sluice_bytes document = rich_document(&source);
    sluice_rc rc = SLUICE_ERR_NOMEM;
    for (size_t n = 1; rc != SLUICE_OK; n++) {
        struct fixture f;
        ProtobufCMessage *message = NULL;
        fixture_init(&f);
        f.fail_at = n;
        rc = sluice_bson_to_proto(RICH, document, &f.arena, &message, &f.err);
        assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_NOMEM);
        fixture_fini(&f);
        assert_true(n < 100);
    }
    rc = SLUICE_ERR_NOMEM;
    for (size_t n = 1; rc != SLUICE_OK; n++) {
        struct fixture f;
        sluice_bytes again;
        fixture_init(&f);
        f.fail_at = n;
        rc = sluice_proto_to_bson(&fixture_rich()->base, &f.arena, &again, &f.err);
        assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_NOMEM);
        fixture_fini(&f);
        assert_true(n < 100);
    }
    fixture_fini(&source);
}

static void judges_every_cut_and_changed_byte(void **state)
{
    (void)state;
    struct fixture source;
    fixture_init(&source);
    sluice_bytes whole = rich_document(&source);
    size_t accepted = 0;
    size_t refused = 0;
    for (size_t at = 0; at < whole.len; at++) {
        for (int change = 0; change < 9; change++) {
            struct fixture f;
            ProtobufCMessage *message = NULL;
            sluice_bytes again;
            fixture_init(&f);
            sluice_bytes bytes = fixture_exact(whole.data, whole.len);
            ((unsigned char *)(uintptr_t)bytes.data)[at] ^=
                (unsigned char)(change < 8 ? 1 << change : 0xff);
            sluice_rc rc = sluice_bson_to_proto(RICH, bytes, &f.arena, &message, &f.err);
            assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_DECODE || rc == SLUICE_ERR_VALIDATION);
            if (rc == SLUICE_OK) {
                accepted++;
                assert_int_equal(sluice_pb_encode(message, &f.arena, &again, &f.err), SLUICE_OK);
            } else {
                refused++;
            }
            fixture_exact_free(bytes);
            fixture_fini(&f);
        }
        /* A cut of which the outermost length knows is found further inside. */
        ProtobufCMessage *message = NULL;
        sluice_bytes cut = fixture_exact(whole.data, at);
        if (at >= 5) {
            unsigned char *bytes = (unsigned char *)(uintptr_t)cut.data;
            bytes[0] = (unsigned char)(at & 0xff);
            bytes[1] = (unsigned char)(at >> 8);
            bytes[at - 1] = 0;
        }
        sluice_rc rc = sluice_bson_to_proto(RICH, cut, &source.arena, &message, &source.err);
        assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_DECODE);
        fixture_exact_free(cut);
    }
    assert_true(accepted > whole.len && refused > whole.len);
    fixture_fini(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_field_both_ways),
        cmocka_unit_test(keeps_floats_that_are_no_numbers),
        cmocka_unit_test(writes_the_bytes_of_the_specification),
        cmocka_unit_test(writes_numbers_by_the_documented_rule),
        cmocka_unit_test(every_key_of_a_map_comes_back),
        cmocka_unit_test(refuses_to_write_what_a_plugin_got_wrong),
        cmocka_unit_test(skips_members_of_every_type),
        cmocka_unit_test(takes_numbers_in_every_form),
        cmocka_unit_test(names_a_value_that_does_not_fit),
        cmocka_unit_test(refuses_lengths_that_contradict_each_other),
        cmocka_unit_test(bounds_depth_values_and_memory),
        cmocka_unit_test(tells_when_memory_runs_out),
        cmocka_unit_test(judges_every_cut_and_changed_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
