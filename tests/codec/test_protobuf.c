/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/protobuf.h"

#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RICH  (&rich__v1__rich__descriptor)
#define LEAF  (&rich__v1__leaf__descriptor)
#define CHAIN (&rich__v1__chain__descriptor)

/* The fixture's message in memory of exactly its size. */
static sluice_bytes rich_bytes(void)
{
    const ProtobufCMessage *rich = &fixture_rich()->base;
    size_t len = protobuf_c_message_get_packed_size(rich);
    uint8_t *packed = malloc(len);
    assert_non_null(packed);
    assert_int_equal(protobuf_c_message_pack(rich, packed), len);
    return (sluice_bytes){.data = packed, .len = len};
}

static void assert_scan(const ProtobufCMessageDescriptor *type, const char *wire, size_t len,
                        sluice_rc expected, const char *part)
{
    struct sluice_err err = {0};
    sluice_bytes bytes = fixture_exact(wire, len);
    assert_int_equal(sluice_pb_scan(type, bytes, NULL, NULL, &err), expected);
    assert_int_equal(err.rc, expected);
    if (part != NULL) {
        assert_contains(err.text, part);
    }
    fixture_exact_free(bytes);
}

#define REFUSES(type, wire, part)                                                                  \
    assert_scan((type), (wire), sizeof(wire) - 1, SLUICE_ERR_DECODE, (part))
#define ACCEPTS(type, wire) assert_scan((type), (wire), sizeof(wire) - 1, SLUICE_OK, NULL)

static void decodes_and_encodes_every_field(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    sluice_bytes again;
    fixture_init(&f);
    sluice_bytes bytes = rich_bytes();
    assert_int_equal(sluice_pb_decode(RICH, bytes, NULL, &f.arena, &message, &f.err), SLUICE_OK);
    assert_ptr_equal(message->descriptor, RICH);
    const Rich__V1__Rich *rich = (const Rich__V1__Rich *)message;
    assert_int_equal(rich->sfixed64_field, -9007199254740993);
    assert_string_equal(rich->attributes[0]->value, "red");
    assert_string_equal(rich->children[1]->chosen_text, "text of the second");
    assert_int_equal(sluice_pb_encode(message, &f.arena, &again, &f.err), SLUICE_OK);
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.data, bytes.data, bytes.len);
    fixture_exact_free(bytes);
    fixture_fini(&f);
}

static void accepts_no_bytes_as_an_empty_message(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    sluice_bytes bytes = {0};
    fixture_init(&f);
    assert_int_equal(sluice_pb_decode(RICH, bytes, NULL, &f.arena, &message, &f.err), SLUICE_OK);
    assert_string_equal(((Rich__V1__Rich *)message)->text, "");
    assert_int_equal(
        sluice_pb_decode(&rich__v1__nothing__descriptor, bytes, NULL, &f.arena, &message, &f.err),
        SLUICE_OK);
    assert_int_equal(sluice_pb_encode(message, &f.arena, &bytes, &f.err), SLUICE_OK);
    assert_int_equal(bytes.len, 0);
    fixture_fini(&f);
}

static void counts_values_and_unknown_fields(void **state)
{
    (void)state;
    struct sluice_pb_stats stats;
    /* numbers: packed 1, 2, 300; unknown 99: varint, 8 bytes, text, 4 bytes */
    static const char wire[] = "\xaa\x01\x04\x01\x02\xac\x02"
                               "\x98\x06\x05"
                               "\x99\x06\x01\x02\x03\x04\x05\x06\x07\x08"
                               "\x9a\x06\x02\xff\xfe"
                               "\x9d\x06\x01\x02\x03\x04";
    assert_int_equal(sluice_pb_scan(RICH, BYTES(wire), NULL, &stats, NULL), SLUICE_OK);
    assert_int_equal(stats.fields, 7);
    assert_int_equal(stats.unknown, 4);
    struct fixture f;
    ProtobufCMessage *message = NULL;
    fixture_init(&f);
    assert_int_equal(sluice_pb_decode(RICH, BYTES(wire), NULL, &f.arena, &message, &f.err),
                     SLUICE_OK);
    assert_int_equal(((Rich__V1__Rich *)message)->n_numbers, 3);
    fixture_fini(&f);
}

static void accepts_lists_packed_and_single(void **state)
{
    (void)state;
    ACCEPTS(RICH, "\xa8\x01\x07");         /* numbers, declared packed, single */
    ACCEPTS(RICH, "\xb2\x01\x02\x01\x02"); /* loose_numbers, declared single, packed */
    ACCEPTS(RICH, "\xaa\x01\x00");         /* an empty packed list */
    REFUSES(RICH, "\xaa\x01\x01\x80", "numbers[0]: malformed varint in a packed list");
    REFUSES(RICH, "\xc2\x01\x03\x01\x02\x03", "loose_fixed[0]: packed list of 3 bytes");
    REFUSES(RICH, "\xba\x01\x07\x01\x02\x03\x04\x05\x06\x07", "doubles[0]: packed list");
    REFUSES(RICH, "\xa9\x01\x01\x02\x03\x04\x05\x06\x07\x08", "wire type 1, expected 0 (int32)");
}

static void refuses_malformed_wire(void **state)
{
    (void)state;
    REFUSES(RICH, "\x80", "malformed tag");
    REFUSES(RICH, "\x00\x01", "malformed tag");
    REFUSES(RICH, "\x80\x80\x80\x80\x80\x01", "malformed tag");
    REFUSES(RICH, "\xf8\xff\xff\xff\x1f\x01", "malformed tag"); /* 2^30 - 1 */
    REFUSES(RICH, "\x0b\x0c", "wire type 3");
    REFUSES(RICH, "\x0c", "wire type 4");
    REFUSES(RICH, "\x0e", "wire type 6");
    REFUSES(RICH, "\x0f", "wire type 7");
    REFUSES(RICH, "\x08", "int32_field: cut or malformed int32");
    REFUSES(RICH, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "int32_field: cut");
    REFUSES(RICH, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "int32_field: cut");
    ACCEPTS(RICH, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    REFUSES(RICH, "\x1d\x01\x02\x03", "sfixed32_field: cut");
    REFUSES(RICH, "\x61\x01\x02\x03\x04\x05\x06\x07", "double_field: cut");
    REFUSES(RICH, "\x7a\x05\x61", "text: cut: 5 bytes announced, 1 left");
    REFUSES(RICH, "\x7a\xff\xff\xff\xff\x0f", "text: cut");
    REFUSES(RICH, "\x7a\x80\x80\x80\x80\x80\x00", "text: malformed length");
    REFUSES(RICH, "\x08\x01\x7d\x01\x02\x03\x04", "text: wire type 5, expected 2 (string)");
    REFUSES(RICH, "\x9a\x06\x05\x01", "cut or malformed unknown field");
}

static void refuses_text_that_is_none(void **state)
{
    (void)state;
    REFUSES(RICH, "\x7a\x03\x61\x00\x62", "text: NUL");
    REFUSES(RICH, "\x7a\x02\xc3\x28", "text: invalid UTF-8, expected UTF-8 text, at byte");
    REFUSES(RICH, "\x7a\x03\xed\xa0\x80", "text: invalid UTF-8");
    REFUSES(RICH, "\xda\x01\x01\x61\xda\x01\x01\xff", "texts[1]: invalid UTF-8");
    REFUSES(RICH, "\xca\x02\x03\x0a\x01\xff", "attributes[0].key: invalid UTF-8");
    ACCEPTS(RICH, "\x82\x01\x02\xff\x00"); /* bytes may be anything */
}

static void names_the_path_of_a_bad_field(void **state)
{
    (void)state;
    /* children[1].leaves[2].name, with another field between the children */
    REFUSES(RICH,
            "\xf2\x03\x00"
            "\x08\x01"
            "\xf2\x03\x0b\xea\x01\x00\xea\x01\x00\xea\x01\x02\x0a\x05",
            "children[1].leaves[2].name: cut: 5 bytes announced, 0 left");
}

static void refuses_a_sub_message_that_comes_twice(void **state)
{
    (void)state;
    REFUSES(RICH, "\x8a\x01\x00\x08\x01\x8a\x01\x00", "leaf: message comes twice");
    REFUSES(RICH, "\xea\x03\x06\x8a\x01\x00\x8a\x01\x00", "child.leaf: message comes twice");
    ACCEPTS(RICH, "\xea\x01\x00\xea\x01\x00"); /* a list */
}

/* next.next.next … `levels` messages in all. */
static sluice_bytes chain(uint32_t levels)
{
    static char wire[4096];
    size_t len = 0;
    char *end = wire + sizeof wire;
    for (uint32_t i = 1; i < levels; i++) {
        char head[8] = {0x0a};
        size_t head_len = 1;
        size_t rest = len;
        for (; rest >= 0x80; rest >>= 7) {
            head[head_len++] = (char)(rest | 0x80);
        }
        head[head_len++] = (char)rest;
        memcpy(end - len - head_len, head, head_len);
        len += head_len;
    }
    return (sluice_bytes){.data = end - len, .len = len};
}

static void bounds_the_depth(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    sluice_bytes bytes;
    fixture_init(&f);
    assert_int_equal(sluice_pb_scan(CHAIN, chain(15), NULL, NULL, &f.err), SLUICE_OK);
    assert_int_equal(sluice_pb_decode(CHAIN, chain(16), NULL, &f.arena, &message, &f.err),
                     SLUICE_OK);
    assert_int_equal(sluice_pb_encode(message, &f.arena, &bytes, &f.err), SLUICE_OK);
    assert_int_equal(sluice_pb_scan(CHAIN, chain(17), NULL, NULL, &f.err), SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "next.next.next");
    assert_contains(f.err.text, "nested deeper than 16");
    struct sluice_limits raised = {.depth_max = 100};
    assert_int_equal(sluice_pb_scan(CHAIN, chain(17), &raised, NULL, NULL), SLUICE_ERR_TOO_LARGE);
    struct sluice_limits lowered = {.depth_max = 2};
    assert_int_equal(sluice_pb_scan(CHAIN, chain(3), &lowered, NULL, NULL), SLUICE_ERR_TOO_LARGE);
    fixture_fini(&f);
}

static void bounds_size_and_number_of_values(void **state)
{
    (void)state;
    struct sluice_err err;
    struct sluice_limits limits = {.size_max = 9, .fields_max = 4};
    sluice_bytes four = BYTES("\xaa\x01\x04\x01\x02\x03\x04");
    sluice_bytes five = BYTES("\xaa\x01\x04\x01\x02\x03\x04\x08\x01");
    sluice_bytes ten = BYTES("\x7a\x08 sevens ");
    assert_int_equal(sluice_pb_scan(RICH, four, &limits, NULL, &err), SLUICE_OK);
    assert_int_equal(sluice_pb_scan(RICH, five, &limits, NULL, &err), SLUICE_ERR_TOO_LARGE);
    assert_contains(err.text, "more than 4 values");
    assert_int_equal(sluice_pb_scan(RICH, ten, &limits, NULL, &err), SLUICE_ERR_TOO_LARGE);
    assert_contains(err.text, "expected at most 9");
}

static void a_small_message_cannot_become_a_large_one(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    struct sluice_limits limits = {.memory_max = 20000};
    static char empties[3 * 1000];
    for (size_t i = 0; i < sizeof empties; i += 3) {
        memcpy(empties + i, "\xea\x01\x00", 3);
    }
    sluice_bytes bytes = {.data = empties, .len = sizeof empties};
    fixture_init(&f);
    assert_int_equal(sluice_pb_decode(LEAF, bytes, &limits, &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE); /* as unknown fields */
    assert_int_equal(sluice_pb_decode(RICH, bytes, &limits, &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "more memory than it may have");
    sluice_arena_fini(&f.arena);
    sluice_arena_init(&f.arena, &f.allocator, 256, 20000);
    assert_int_equal(sluice_pb_decode(RICH, bytes, NULL, &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    assert_null(message);
    fixture_fini(&f);
}

static void tells_when_memory_runs_out(void **state)
{
    (void)state;
    sluice_bytes bytes = rich_bytes();
    sluice_rc rc = SLUICE_ERR_NOMEM;
    for (size_t n = 1; rc != SLUICE_OK; n++) {
        struct fixture f;
        ProtobufCMessage *message = NULL;
        sluice_bytes again;
        fixture_init(&f);
        f.fail_at = n;
        rc = sluice_pb_decode(RICH, bytes, NULL, &f.arena, &message, &f.err);
        assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_NOMEM);
        if (rc == SLUICE_OK) {
            struct sluice_arena none;
            sluice_arena_init(&none, &f.allocator, 256, 0);
            f.fail_at = f.calls + 1;
            assert_int_equal(sluice_pb_encode(message, &none, &again, &f.err), SLUICE_ERR_NOMEM);
        } else {
            assert_string_equal(f.err.text, "out of memory");
        }
        fixture_fini(&f);
        assert_true(n < 1000);
    }
    fixture_exact_free(bytes);
}

static void judges_every_truncation(void **state)
{
    (void)state;
    sluice_bytes whole = rich_bytes();
    size_t accepted = 0;
    for (size_t len = 0; len < whole.len; len++) {
        struct fixture f;
        ProtobufCMessage *message = NULL;
        fixture_init(&f);
        sluice_bytes cut = fixture_exact(whole.data, len);
        sluice_rc rc = sluice_pb_decode(RICH, cut, NULL, &f.arena, &message, &f.err);
        assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_DECODE);
        accepted += rc == SLUICE_OK;
        fixture_exact_free(cut);
        fixture_fini(&f);
    }
    /* A cut between two outermost fields leaves a shorter message; all others are errors. */
    assert_in_range(accepted, 30, 90);
    fixture_exact_free(whole);
}

/* What passes the scan unpacks, and is a message that can be encoded again. */
static void judges_every_changed_byte(void **state)
{
    (void)state;
    sluice_bytes whole = rich_bytes();
    static const uint8_t changes[] = {0x01, 0x02, 0x04, 0x07, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};
    size_t accepted = 0;
    size_t refused = 0;
    for (size_t at = 0; at < whole.len; at++) {
        for (size_t change = 0; change < sizeof changes; change++) {
            struct fixture f;
            ProtobufCMessage *message = NULL;
            sluice_bytes again;
            fixture_init(&f);
            sluice_bytes bytes = fixture_exact(whole.data, whole.len);
            ((uint8_t *)(uintptr_t)bytes.data)[at] ^= changes[change];
            sluice_rc scanned = sluice_pb_scan(RICH, bytes, NULL, NULL, &f.err);
            sluice_rc rc = sluice_pb_decode(RICH, bytes, NULL, &f.arena, &message, &f.err);
            assert_int_equal(rc, scanned);
            assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_DECODE);
            if (rc == SLUICE_OK) {
                accepted++;
                assert_int_equal(sluice_pb_encode(message, &f.arena, &again, &f.err), SLUICE_OK);
            } else {
                refused++;
            }
            fixture_exact_free(bytes);
            fixture_fini(&f);
        }
    }
    assert_true(accepted > whole.len && refused > whole.len);
    fixture_exact_free(whole);
}

static void refuses_to_encode_what_a_plugin_got_wrong(void **state)
{
    (void)state;
    struct fixture f;
    sluice_bytes bytes;
    Rich__V1__Rich rich = RICH__V1__RICH__INIT;
    Rich__V1__Leaf *leaves[] = {NULL};
    char *texts[] = {(char *)"good", (char *)"bad\xff"};
    fixture_init(&f);
    rich.n_texts = 2;
    rich.texts = texts;
    assert_int_equal(sluice_pb_encode(&rich.base, &f.arena, &bytes, &f.err), SLUICE_ERR_VALIDATION);
    assert_string_equal(f.err.text, "texts[1]: invalid UTF-8 at byte 3, expected text");
    texts[1] = NULL;
    assert_int_equal(sluice_pb_check(&rich.base, &f.err), SLUICE_ERR_VALIDATION);
    assert_string_equal(f.err.text, "texts[1]: NULL, expected text");
    rich.n_texts = 0;
    rich.n_leaves = 1;
    rich.leaves = leaves;
    assert_int_equal(sluice_pb_check(&rich.base, &f.err), SLUICE_ERR_VALIDATION);
    assert_contains(f.err.text, "leaves[0]: NULL or no descriptor");
    rich.leaves = NULL;
    assert_int_equal(sluice_pb_check(&rich.base, &f.err), SLUICE_ERR_VALIDATION);
    rich.n_leaves = 0;
    rich.blob.len = 3;
    assert_int_equal(sluice_pb_check(&rich.base, &f.err), SLUICE_ERR_VALIDATION);
    assert_contains(f.err.text, "blob: NULL with a length");
    rich.blob.len = 0;
    rich.child = &rich;
    assert_int_equal(sluice_pb_check(&rich.base, &f.err), SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "child.child");
    rich.child = NULL;
    assert_int_equal(sluice_pb_check(&rich.base, &f.err), SLUICE_OK);
    assert_int_equal(sluice_pb_check(NULL, &f.err), SLUICE_ERR_VALIDATION);
    ProtobufCMessage zeroed = {0};
    assert_int_equal(sluice_pb_check(&zeroed, &f.err), SLUICE_ERR_VALIDATION);
    fixture_fini(&f);
}

static void encodes_null_texts_as_absent(void **state)
{
    (void)state;
    struct fixture f;
    sluice_bytes bytes;
    Rich__V1__Rich rich = RICH__V1__RICH__INIT;
    fixture_init(&f);
    rich.text = NULL;
    rich.choice_case = RICH__V1__RICH__CHOICE_CHOSEN_TEXT;
    rich.chosen_text = NULL;
    assert_int_equal(sluice_pb_encode(&rich.base, &f.arena, &bytes, &f.err), SLUICE_OK);
    assert_int_equal(bytes.len, 0);
    fixture_fini(&f);
}

static void bounds_the_encoded_size(void **state)
{
    (void)state;
    struct fixture f;
    sluice_bytes bytes;
    Rich__V1__Leaf leaf = RICH__V1__LEAF__INIT;
    leaf.name = (char *)"12345678";
    fixture_init(&f);
    assert_int_equal(sluice_pb_encode_within(&leaf.base, 11, &f.arena, &bytes, &f.err), SLUICE_OK);
    assert_int_equal(bytes.len, 10);
    assert_int_equal(sluice_pb_encode_within(&leaf.base, 10, &f.arena, &bytes, &f.err), SLUICE_OK);
    assert_int_equal(sluice_pb_encode_within(&leaf.base, 9, &f.arena, &bytes, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "rich.v1.Leaf of 10 bytes, expected at most 9");
    fixture_fini(&f);
}

static void gives_the_text_of_a_field(void **state)
{
    (void)state;
    const ProtobufCMessage *rich = &fixture_rich()->base;
    Rich__V1__Leaf leaf = RICH__V1__LEAF__INIT;
    assert_string_equal(sluice_pb_field_text(rich, "trailing_2_digits"), "last");
    assert_string_equal(sluice_pb_field_text(&leaf.base, "name"), "");
    leaf.name = NULL;
    assert_string_equal(sluice_pb_field_text(&leaf.base, "name"), "");
    assert_string_equal(sluice_pb_field_text(rich, "chosen_text"), "");
    assert_null(sluice_pb_field_text(rich, "int32_field"));
    assert_null(sluice_pb_field_text(rich, "texts"));
    assert_null(sluice_pb_field_text(rich, "nothing"));
    assert_null(sluice_pb_field_text(rich, "trailing_2_digit"));
    assert_true(sluice_pb_has_text(rich->descriptor, "trailing_2_digits"));
    assert_false(sluice_pb_has_text(rich->descriptor, "texts"));
    assert_true(sluice_pb_is_type(rich->descriptor));
    assert_false(sluice_pb_is_type(NULL));
    assert_false(sluice_pb_is_type(&(ProtobufCMessageDescriptor){.magic = 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_and_encodes_every_field),
        cmocka_unit_test(accepts_no_bytes_as_an_empty_message),
        cmocka_unit_test(counts_values_and_unknown_fields),
        cmocka_unit_test(accepts_lists_packed_and_single),
        cmocka_unit_test(refuses_malformed_wire),
        cmocka_unit_test(refuses_text_that_is_none),
        cmocka_unit_test(names_the_path_of_a_bad_field),
        cmocka_unit_test(refuses_a_sub_message_that_comes_twice),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(bounds_size_and_number_of_values),
        cmocka_unit_test(a_small_message_cannot_become_a_large_one),
        cmocka_unit_test(tells_when_memory_runs_out),
        cmocka_unit_test(judges_every_truncation),
        cmocka_unit_test(judges_every_changed_byte),
        cmocka_unit_test(refuses_to_encode_what_a_plugin_got_wrong),
        cmocka_unit_test(encodes_null_texts_as_absent),
        cmocka_unit_test(bounds_the_encoded_size),
        cmocka_unit_test(gives_the_text_of_a_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
