/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/proto_json.h"

#include "codec/protobuf.h"
#include "fixture.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RICH   (&rich__v1__rich__descriptor)
#define LEAF   (&rich__v1__leaf__descriptor)
#define ANSWER (&rich__v1__answer__descriptor)

/* Read the text, expect success, and give its ProtoJSON. */
static void assert_reads(const ProtobufCMessageDescriptor *type, const char *text, unsigned flags,
                         const char *expected)
{
    struct fixture f;
    ProtobufCMessage *message = NULL;
    sluice_bytes again;
    fixture_init(&f);
    sluice_bytes exact = fixture_exact(text, strlen(text));
    sluice_rc rc = sluice_proto_from_json(type, exact, flags, &f.arena, &message, &f.err);
    if (rc != SLUICE_OK) {
        fail_msg("%s: %s", text, f.err.text);
    }
    assert_int_equal(sluice_proto_write_json(message, 0, 0, &f.arena, &again, &f.err), SLUICE_OK);
    assert_string_equal(again.data, expected);
    fixture_exact_free(exact);
    fixture_fini(&f);
}

static void assert_refuses(const ProtobufCMessageDescriptor *type, const char *text, unsigned flags,
                           const char *expected)
{
    struct fixture f;
    ProtobufCMessage *message = NULL;
    fixture_init(&f);
    sluice_bytes exact = fixture_exact(text, strlen(text));
    sluice_rc rc = sluice_proto_from_json(type, exact, flags, &f.arena, &message, &f.err);
    if (rc != SLUICE_ERR_VALIDATION || message != NULL || strcmp(f.err.text, expected) != 0) {
        fail_msg("%s: %d \"%s\", expected \"%s\"", text, rc, f.err.text, expected);
    }
    fixture_exact_free(exact);
    fixture_fini(&f);
}

/* Message → text → message → bytes: as the message's own bytes. */
static void assert_round_trip(unsigned flags)
{
    struct fixture f;
    sluice_bytes wire;
    sluice_bytes text;
    sluice_bytes again;
    ProtobufCMessage *message = NULL;
    fixture_init(&f);
    const ProtobufCMessage *rich = &fixture_rich()->base;
    assert_int_equal(sluice_pb_encode(rich, &f.arena, &wire, &f.err), SLUICE_OK);
    assert_int_equal(sluice_proto_write_json(rich, flags, 0, &f.arena, &text, &f.err), SLUICE_OK);
    sluice_rc rc = sluice_proto_from_json(RICH, text, 0, &f.arena, &message, &f.err);
    if (rc != SLUICE_OK) {
        fail_msg("%s\n%s", f.err.text, (const char *)text.data);
    }
    assert_int_equal(sluice_pb_encode(message, &f.arena, &again, &f.err), SLUICE_OK);
    assert_int_equal(again.len, wire.len);
    assert_memory_equal(again.data, wire.data, wire.len);
    fixture_fini(&f);
}

static void keeps_every_field_both_ways(void **state)
{
    (void)state;
    assert_round_trip(0);
    assert_round_trip(SLUICE_JSON_PROTO_NAMES);
    assert_round_trip(SLUICE_JSON_DEFAULTS);
    assert_round_trip(SLUICE_JSON_NUMBERS);
    assert_round_trip(SLUICE_JSON_DOCUMENT);
}

static void assert_writes(const ProtobufCMessage *message, unsigned flags, const char *expected)
{
    struct fixture f;
    sluice_bytes text;
    fixture_init(&f);
    assert_int_equal(sluice_proto_write_json(message, flags, 0, &f.arena, &text, &f.err),
                     SLUICE_OK);
    assert_string_equal(text.data, expected);
    assert_int_equal(text.len, strlen(expected));
    fixture_fini(&f);
}

static void writes_proto_json(void **state)
{
    (void)state;
    Rich__V1__Rich rich = RICH__V1__RICH__INIT;
    double doubles[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0.5};
    float floats[] = {0.1f};
    Rich__V1__Kind kinds[] = {RICH__V1__KIND__KIND_FIRST, (Rich__V1__Kind)77};
    assert_writes(&rich.base, 0, "{}");
    rich.int64_field = -5;
    rich.uint64_field = UINT64_MAX;
    rich.uint32_field = UINT32_MAX;
    rich.bool_field = 1;
    rich.text = (char *)"\"\n";
    rich.blob = (ProtobufCBinaryData){.len = 2, .data = (uint8_t *)"\xfb\xff"};
    rich.doubles = doubles;
    rich.n_doubles = 4;
    rich.floats = floats;
    rich.n_floats = 1;
    rich.kinds = kinds;
    rich.n_kinds = 2;
    rich.camelname = (char *)"c";
    rich.trailing_2_digits = (char *)"d";
    assert_writes(&rich.base, 0,
                  "{\"int64Field\":\"-5\",\"uint32Field\":4294967295,\"uint64Field\":"
                  "\"18446744073709551615\",\"boolField\":true,\"text\":\"\\\"\\n\",\"blob\":"
                  "\"+/8=\",\"doubles\":[\"NaN\",\"Infinity\",\"-Infinity\",0.5],\"kinds\":[\"KIND_"
                  "FIRST\",77],\"floats\":[0.1],\"camelName\":\"c\",\"trailing2Digits\":\"d\"}");
    rich.n_doubles = 0;
    rich.n_kinds = 0;
    rich.text = NULL;
    assert_writes(&rich.base, SLUICE_JSON_PROTO_NAMES | SLUICE_JSON_NUMBERS,
                  "{\"int64_field\":-5,\"uint32_field\":4294967295,\"uint64_field\":"
                  "18446744073709551615,\"bool_field\":true,\"blob\":\"+/8=\",\"floats\":[0.1],"
                  "\"camelName\":\"c\",\"trailing_2_digits\":\"d\"}");
}

static void writes_defaults_into_documents(void **state)
{
    (void)state;
    Rich__V1__Leaf leaf = RICH__V1__LEAF__INIT;
    Rich__V1__Answer answer = RICH__V1__ANSWER__INIT;
    Rich__V1__Holder holder = RICH__V1__HOLDER__INIT;
    Rich__V1__Holder__Inner inner = RICH__V1__HOLDER__INNER__INIT;
    assert_writes(&leaf.base, SLUICE_JSON_DOCUMENT,
                  "{\"name\":\"\",\"score\":0,\"kind\":\"KIND_UNSPECIFIED\"}");
    assert_writes(&answer.base, SLUICE_JSON_DOCUMENT,
                  "{\"title\":\"\",\"items\":[],\"kind\":\"KIND_UNSPECIFIED\",\"picture\":\"\","
                  "\"votes\":[],\"total\":0,\"weight\":0}");
    holder.inner = &inner;
    assert_writes(&holder.base, SLUICE_JSON_DOCUMENT,
                  "{\"level\":\"LEVEL_ZERO\",\"inner\":{\"words\":{}}}");
}

static void writes_members_of_oneofs_only_when_chosen(void **state)
{
    (void)state;
    Rich__V1__Rich rich = RICH__V1__RICH__INIT;
    rich.choice_case = RICH__V1__RICH__CHOICE_CHOSEN_NUMBER;
    rich.maybe_count_case = RICH__V1__RICH__MAYBE_COUNT_COUNT;
    assert_writes(&rich.base, 0, "{\"chosenNumber\":\"0\",\"count\":0}");
    rich.choice_case = RICH__V1__RICH__CHOICE_CHOSEN_BLOB;
    rich.chosen_blob = (ProtobufCBinaryData){0};
    rich.maybe_count_case = RICH__V1__RICH__MAYBE_COUNT__NOT_SET;
    assert_writes(&rich.base, 0, "{\"chosenBlob\":\"\"}");
}

static void the_last_entry_of_a_key_counts(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    Rich__V1__Holder__Inner inner = RICH__V1__HOLDER__INNER__INIT;
    Rich__V1__Holder__Inner__WordsEntry entries[COUNT];
    Rich__V1__Holder__Inner__WordsEntry *words[COUNT];
    static const char *const keys[] = {"a", "b", "a", "c"};
    for (size_t i = 0; i < COUNT; i++) {
        rich__v1__holder__inner__words_entry__init(&entries[i]);
        entries[i].key = (char *)(uintptr_t)keys[i % 4];
        entries[i].value = (char *)(uintptr_t)(i % 4 == 0 ? "0" : i % 4 == 2 ? "2" : "x");
        words[i] = &entries[i];
    }
    inner.words = words;
    inner.n_words = 4;
    assert_writes(&inner.base, 0, "{\"words\":{\"b\":\"x\",\"a\":\"2\",\"c\":\"x\"}}");
    inner.n_words = COUNT;
    assert_writes(&inner.base, 0, "{\"words\":{\"b\":\"x\",\"a\":\"2\",\"c\":\"x\"}}");
}

static void refuses_to_write_what_a_plugin_got_wrong(void **state)
{
    (void)state;
    struct fixture f;
    sluice_bytes text;
    Rich__V1__Rich rich = RICH__V1__RICH__INIT;
    Rich__V1__Rich__AttributesEntry *attributes[] = {NULL};
    char *texts[] = {(char *)"bad\xff"};
    fixture_init(&f);
    rich.texts = texts;
    rich.n_texts = 1;
    assert_int_equal(sluice_proto_write_json(&rich.base, 0, 0, &f.arena, &text, &f.err),
                     SLUICE_ERR_VALIDATION);
    assert_string_equal(f.err.text, "texts[0]: invalid UTF-8 at byte 3, expected text");
    rich.n_texts = 0;
    rich.attributes = attributes;
    rich.n_attributes = 1;
    assert_int_equal(sluice_proto_write_json(&rich.base, 0, 0, &f.arena, &text, &f.err),
                     SLUICE_ERR_VALIDATION);
    assert_contains(f.err.text, "attributes: NULL");
    rich.n_attributes = 0;
    rich.child = &rich;
    assert_int_equal(sluice_proto_write_json(&rich.base, 0, 0, &f.arena, &text, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    rich.child = NULL;
    rich.text = (char *)"0123456789";
    assert_int_equal(sluice_proto_write_json(&rich.base, 0, 21, &f.arena, &text, &f.err),
                     SLUICE_OK);
    assert_int_equal(text.len, 21);
    assert_int_equal(sluice_proto_write_json(&rich.base, 0, 20, &f.arena, &text, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "over 20 bytes");
    assert_int_equal(sluice_proto_write_json(NULL, 0, 0, &f.arena, &text, &f.err),
                     SLUICE_ERR_VALIDATION);
    fixture_fini(&f);
}

static void reads_both_spellings_and_every_form_of_a_value(void **state)
{
    (void)state;
    assert_reads(RICH, " { } ", 0, "{}");
    assert_reads(RICH, "{\"int32_field\":1,\"sint32Field\":\"-2\",\"int64Field\":3.0e0}", 0,
                 "{\"int32Field\":1,\"sint32Field\":-2,\"int64Field\":\"3\"}");
    assert_reads(RICH, "{\"uint64Field\":18446744073709551615,\"sint64Field\":9007199254740993}", 0,
                 "{\"sint64Field\":\"9007199254740993\",\"uint64Field\":\"18446744073709551615\"}");
    assert_reads(RICH, "{\"doubles\":[1,\"2.5\",\"NaN\",\"-Infinity\"],\"floats\":[\"Infinity\"]}",
                 0, "{\"doubles\":[1,2.5,\"NaN\",\"-Infinity\"],\"floats\":[\"Infinity\"]}");
    assert_reads(RICH, "{\"kind\":\"KIND_SECOND\",\"kinds\":[0,\"KIND_FIRST\",-3,99]}", 0,
                 "{\"kind\":\"KIND_SECOND\",\"kinds\":[\"KIND_UNSPECIFIED\",\"KIND_FIRST\","
                 "\"KIND_BELOW\",99]}");
    assert_reads(RICH, "{\"blob\":\"-_8\",\"blobs\":[\"\",\"+/8=\"]}", 0,
                 "{\"blob\":\"+/8=\",\"blobs\":[\"\",\"+/8=\"]}");
    assert_reads(RICH, "{\"text\":null,\"numbers\":null,\"leaf\":null,\"chosenText\":null}", 0,
                 "{}");
    assert_reads(RICH,
                 "{\"attributes\":{\"\":\"a\",\"\\u0041\":\"\\u00e4\"},\"totals\":{\"true\":"
                 "\"5\",\"false\":6},\"leavesByNumber\":{\"-7\":{}}}",
                 0,
                 "{\"attributes\":{\"\":\"a\",\"A\":\"\xc3\xa4\"},\"leavesByNumber\":{\"-7\":{}},"
                 "\"totals\":{\"true\":\"5\",\"false\":\"6\"}}");
    assert_reads(RICH, "{\"chosenText\":\"\",\"count\":0}", 0, "{\"chosenText\":\"\",\"count\":0}");
    assert_reads(RICH, "{\"camelName\":\"a\",\"trailing2Digits\":\"b\"}", 0,
                 "{\"camelName\":\"a\",\"trailing2Digits\":\"b\"}");
    assert_reads(RICH,
                 "{\"leaves\":[{},{\"name\":\"n\"}],\"child\":{\"child\":{\"flags\":[true]}}}", 0,
                 "{\"leaves\":[{},{\"name\":\"n\"}],\"child\":{\"child\":{\"flags\":[true]}}}");
    assert_reads(RICH, "{\"floatField\":3.4028235e38}", 0, "{\"floatField\":3.4028235e+38}");
}

static void skips_unknown_fields_when_told_to(void **state)
{
    (void)state;
    assert_reads(
        RICH,
        "{\"x\":{\"a\":[1,{\"b\":\"]}\\\"\"}],\"c\":{}},\"y\":-1.5e3 ,\"text\":\"t\",\"z\":"
        "\"\\\\\",\"v\":true,\"w\":[],\"u\":null}",
        SLUICE_JSON_IGNORE_UNKNOWN, "{\"text\":\"t\"}");
    assert_refuses(RICH, "{\"leaf\":{\"colour\":1}}", 0,
                   "leaf[\"colour\"]: unknown, expected a field of rich.v1.Leaf");
    assert_refuses(RICH, "{\"\\u0007\":1}", 0,
                   "[\"?\"]: unknown, expected a field of rich.v1.Rich");
}

static void names_what_is_wrong(void **state)
{
    (void)state;
    assert_refuses(RICH, "[]", 0, "expected object, got array");
    assert_refuses(RICH, "1", 0, "expected object, got number");
    assert_refuses(RICH, "{\"int32Field\":\"x\"}", 0,
                   "int32_field: expected integer, got string that is none");
    assert_refuses(RICH, "{\"int32Field\":1.5}", 0,
                   "int32_field: expected integer, got number with decimals");
    assert_refuses(RICH, "{\"int32Field\":2147483648}", 0,
                   "int32_field: number out of range of int32");
    assert_refuses(RICH, "{\"uint32Field\":-1}", 0, "uint32_field: number out of range of uint32");
    assert_refuses(RICH, "{\"uint64Field\":\"18446744073709551616\"}", 0,
                   "uint64_field: number out of range of uint64");
    assert_refuses(RICH, "{\"int64Field\":1e300}", 0, "int64_field: number out of range of int64");
    assert_refuses(RICH, "{\"floatField\":3.5e38}", 0, "float_field: number out of range of float");
    assert_refuses(RICH, "{\"boolField\":1}", 0, "bool_field: expected boolean, got number");
    assert_refuses(RICH, "{\"boolField\":\"true\"}", 0, "bool_field: expected boolean, got string");
    assert_refuses(RICH, "{\"text\":{}}", 0, "text: expected string, got object");
    assert_refuses(RICH, "{\"texts\":\"a\"}", 0, "texts: expected array, got string");
    assert_refuses(RICH, "{\"texts\":[\"a\",null]}", 0, "texts[1]: expected string, got null");
    assert_refuses(RICH, "{\"attributes\":[]}", 0, "attributes: expected object, got array");
    assert_refuses(RICH, "{\"attributes\":{\"k\":1}}", 0,
                   "attributes[\"k\"]: expected string, got number");
    assert_refuses(RICH, "{\"totals\":{\"yes\":1}}", 0, "totals[\"yes\"]: key is no bool");
    assert_refuses(RICH, "{\"leavesByNumber\":{\"1.5\":{}}}", 0,
                   "leaves_by_number[\"1.5\"]: key is no int32");
    assert_refuses(RICH, "{\"leavesByNumber\":{\"5\":{\"score\":[]}}}", 0,
                   "leaves_by_number[\"5\"].score: expected number, got array");
    assert_refuses(RICH, "{\"kind\":\"KIND_THIRD\"}", 0,
                   "kind: expected name of a value of rich.v1.Kind, got another string");
    assert_refuses(RICH, "{\"kind\":true}", 0,
                   "kind: expected name of an enum's value, got boolean");
    assert_refuses(RICH, "{\"blob\":\"a\"}", 0, "blob: expected base64 string, got another string");
    assert_refuses(RICH, "{\"leaf\":\"x\"}", 0, "leaf: expected object, got string");
    assert_refuses(RICH, "{\"chosenText\":\"a\",\"chosenNumber\":1}", 0,
                   "chosen_number: another member of its oneof is there, expected one of them");
    assert_refuses(RICH, "{\"int32_field\":1,\"int32Field\":1}", 0,
                   "int32_field: comes twice, in both spellings of its name");
    assert_refuses(RICH, "{\"children\":[{},{\"leaves\":[{\"score\":\"high\"}]}]}", 0,
                   "children[1].leaves[0].score: expected number, got string that is none");
}

static const char answer_text[] =
    "{\"title\":\"t\",\"items\":[{\"label\":\"a\",\"score\":1,\"kinds\":[\"KIND_FIRST\"]},{"
    "\"label\":"
    "\"b\",\"score\":0.5,\"kinds\":[]}],\"kind\":\"KIND_SECOND\",\"note\":null,\"leaf\":null,"
    "\"number\":5,\"other_kind\":null,\"best\":{\"name\":\"n\",\"score\":0,\"kind\":\"KIND_BELOW\"}"
    ",\"picture\":\"AA==\",\"votes\":[true],\"total\":3,\"weight\":2}";

/* The answer with one part replaced. */
static void refuses_answer(const char *part, const char *by, const char *expected)
{
    char text[1024];
    const char *at = strstr(answer_text, part);
    assert_non_null(at);
    int len = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - answer_text), answer_text, by,
                       at + strlen(part));
    assert_true(len > 0 && (size_t)len < sizeof text);
    assert_refuses(ANSWER, text, SLUICE_JSON_STRICT, expected);
}

static void takes_an_answer_for_nothing_that_it_is_not(void **state)
{
    (void)state;
    assert_reads(
        ANSWER, answer_text, SLUICE_JSON_STRICT,
        "{\"title\":\"t\",\"items\":[{\"label\":\"a\",\"score\":1,\"kinds\":[\"KIND_FIRST"
        "\"]},{\"label\":\"b\",\"score\":0.5}],\"kind\":\"KIND_SECOND\",\"number\":\"5\","
        "\"best\":{\"name\":\"n\",\"kind\":\"KIND_BELOW\"},\"picture\":\"AA==\",\"votes\":["
        "true],\"total\":\"3\",\"weight\":2}");
    refuses_answer("\"title\":\"t\",", "", "title: missing, expected all fields of rich.v1.Answer");
    refuses_answer("\"label\":\"b\",", "",
                   "items[1].label: missing, expected all fields of rich.v1.Answer.Item");
    refuses_answer("\"score\":0.5", "\"score\":\"0.5\"",
                   "items[1].score: expected number, got string");
    refuses_answer("\"weight\":2", "\"weight\":\"NaN\"", "weight: expected number, got string");
    refuses_answer("\"total\":3", "\"total\":\"3\"", "total: expected integer, got string");
    refuses_answer("\"total\":3", "\"total\":null", "total: expected integer, got null");
    refuses_answer("\"note\":null,", "", "note: missing, expected all fields of rich.v1.Answer");
    refuses_answer("\"note\":null", "\"note\":null,\"more\":1",
                   "[\"more\"]: unknown, expected a field of rich.v1.Answer");
    refuses_answer("\"kind\":\"KIND_SECOND\"", "\"kind\":2",
                   "kind: expected name of an enum's value, got number");
    refuses_answer("\"kind\":\"KIND_SECOND\"", "\"kind\":\"KIND_UNSPECIFIED\"",
                   "kind: expected name of a value of rich.v1.Kind, got another string");
    refuses_answer("\"leaf\":null", "\"leaf\":{\"name\":\"\",\"score\":0,\"kind\":\"KIND_FIRST\"}",
                   "number: another member of its oneof is there, expected one of them");
    refuses_answer("\"best\":{", "\"best\":null,\"x\":{", "best: expected object, got null");
    refuses_answer("\"votes\":[true]", "\"votes\":null", "votes: expected array, got null");
    refuses_answer("\"other_kind\":null", "\"other_kind\":null,\"otherKind\":null",
                   "other_kind: comes twice, in both spellings of its name");
}

static void tells_text_that_is_no_json_with_the_offset(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    fixture_init(&f);
    assert_int_equal(sluice_proto_from_json(LEAF, BYTES("I'm sorry, but"), SLUICE_JSON_STRICT,
                                            &f.arena, &message, &f.err),
                     SLUICE_ERR_DECODE);
    assert_string_equal(f.err.text, "JSON: malformed number at byte 0");
    assert_int_equal(
        sluice_proto_from_json(LEAF, BYTES("{\"name\":\"\xff\"}"), 0, &f.arena, &message, &f.err),
        SLUICE_ERR_DECODE);
    assert_string_equal(f.err.text, "JSON: invalid UTF-8 at byte 9");
    fixture_fini(&f);
}

static void bounds_depth_and_memory(void **state)
{
    (void)state;
    struct fixture f;
    ProtobufCMessage *message = NULL;
    fixture_init(&f);
    char text[600] = "";
    for (int depth = 1; depth < 16; depth++) {
        strcat(text, "{\"next\":");
    }
    strcat(text, "{}}}}}}}}}}}}}}}}");
    assert_int_equal(sluice_proto_from_json(&rich__v1__chain__descriptor, text_bytes(text), 0,
                                            &f.arena, &message, &f.err),
                     SLUICE_OK);
    memmove(text + 8, text, strlen(text) + 1);
    memcpy(text, "{\"next\":", 8);
    strcat(text, "}");
    assert_int_equal(sluice_proto_from_json(&rich__v1__chain__descriptor, text_bytes(text), 0,
                                            &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "next.next");
    size_t need = sizeof(Rich__V1__Rich) + 4 * sizeof(void *) + 3 * sizeof(Rich__V1__Leaf);
    struct sluice_limits limits = {.memory_max = need};
    assert_int_equal(sluice_proto_read_json(RICH, BYTES("{\"leaves\":[{},{},{}]}"), 0, &limits,
                                            &f.arena, &message, &f.err),
                     SLUICE_OK);
    limits.memory_max = need - 1;
    assert_int_equal(sluice_proto_read_json(RICH, BYTES("{\"leaves\":[{},{},{}]}"), 0, &limits,
                                            &f.arena, &message, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    fixture_fini(&f);
}

static void tells_when_memory_runs_out(void **state)
{
    (void)state;
    struct fixture source;
    sluice_bytes text;
    fixture_init(&source);
    assert_int_equal(
        sluice_proto_write_json(&fixture_rich()->base, 0, 0, &source.arena, &text, &source.err),
        SLUICE_OK);
    sluice_rc rc = SLUICE_ERR_NOMEM;
    for (size_t n = 1; rc != SLUICE_OK; n++) {
        struct fixture f;
        ProtobufCMessage *message = NULL;
        fixture_init(&f);
        f.fail_at = n;
        rc = sluice_proto_from_json(RICH, text, 0, &f.arena, &message, &f.err);
        assert_true(rc == SLUICE_OK ? message != NULL : rc == SLUICE_ERR_NOMEM);
        fixture_fini(&f);
        assert_true(n < 1000);
    }
    rc = SLUICE_ERR_NOMEM;
    for (size_t n = 1; rc != SLUICE_OK; n++) {
        struct fixture f;
        fixture_init(&f);
        f.fail_at = n;
        rc = sluice_proto_write_json(&fixture_rich()->base, 0, 0, &f.arena, &text, &f.err);
        assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_NOMEM);
        fixture_fini(&f);
        assert_true(n < 1000);
    }
    fixture_fini(&source);
}

/* Whatever is left of a text after a change, it is judged, and what is accepted can be written. */
static void judges_every_changed_byte(void **state)
{
    (void)state;
    static const char changes[] = "\"\\{}[],:0-9eE.tfn \x01\xff\xc3";
    struct fixture source;
    sluice_bytes text;
    fixture_init(&source);
    assert_int_equal(
        sluice_proto_write_json(&fixture_rich()->base, 0, 0, &source.arena, &text, &source.err),
        SLUICE_OK);
    size_t accepted = 0;
    for (size_t at = 0; at < text.len; at++) {
        for (size_t change = 0; change < sizeof changes - 1; change++) {
            struct fixture f;
            ProtobufCMessage *message = NULL;
            sluice_bytes again;
            fixture_init(&f);
            sluice_bytes changed = fixture_exact(text.data, text.len);
            ((char *)(uintptr_t)changed.data)[at] = changes[change];
            sluice_rc rc = sluice_proto_from_json(RICH, changed, SLUICE_JSON_IGNORE_UNKNOWN,
                                                  &f.arena, &message, &f.err);
            assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_DECODE || rc == SLUICE_ERR_VALIDATION);
            if (rc == SLUICE_OK) {
                accepted++;
                assert_int_equal(sluice_pb_encode(message, &f.arena, &again, &f.err), SLUICE_OK);
            }
            fixture_exact_free(changed);
            fixture_fini(&f);
        }
        sluice_bytes cut = fixture_exact(text.data, at);
        ProtobufCMessage *message = NULL;
        assert_int_equal(sluice_proto_from_json(RICH, cut, 0, &source.arena, &message, &source.err),
                         SLUICE_ERR_DECODE);
        fixture_exact_free(cut);
    }
    assert_true(accepted > text.len);
    fixture_fini(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_field_both_ways),
        cmocka_unit_test(writes_proto_json),
        cmocka_unit_test(writes_defaults_into_documents),
        cmocka_unit_test(writes_members_of_oneofs_only_when_chosen),
        cmocka_unit_test(the_last_entry_of_a_key_counts),
        cmocka_unit_test(refuses_to_write_what_a_plugin_got_wrong),
        cmocka_unit_test(reads_both_spellings_and_every_form_of_a_value),
        cmocka_unit_test(skips_unknown_fields_when_told_to),
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(takes_an_answer_for_nothing_that_it_is_not),
        cmocka_unit_test(tells_text_that_is_no_json_with_the_offset),
        cmocka_unit_test(bounds_depth_and_memory),
        cmocka_unit_test(tells_when_memory_runs_out),
        cmocka_unit_test(judges_every_changed_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
