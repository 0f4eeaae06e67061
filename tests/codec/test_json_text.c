/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json_text.h"

#include "codec/plain.h"
#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_check(const char *text, size_t len, sluice_rc expected, const char *part)
{
    struct fixture f;
    fixture_init(&f);
    sluice_bytes exact = fixture_exact(text, len);
    sluice_rc rc = sluice_json_check(exact, NULL, &f.arena, &f.err);
    if (rc != expected) {
        fail_msg("%s: %d, expected %d: %s", text, rc, expected, f.err.text);
    }
    if (part != NULL) {
        assert_contains(f.err.text, part);
    }
    fixture_exact_free(exact);
    fixture_fini(&f);
}

static void accepts(const char *text)
{
    assert_check(text, strlen(text), SLUICE_OK, NULL);
}

static void refuses(const char *text, const char *part)
{
    assert_check(text, strlen(text), SLUICE_ERR_DECODE, part);
}

static void accepts_what_the_standard_allows(void **state)
{
    (void)state;
    accepts("{}");
    accepts(" [ ] ");
    accepts("null");
    accepts("\"a\"");
    accepts("-1.5e-3");
    accepts("[1,2.5,\"x\",true,false,null,{\"a\":{\"b\":[]}}]");
    accepts("\t\r\n{\"a\" : 1 , \"b\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"}\n");
    accepts("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 \x7f\"");
    accepts("{\"a\":1,\"A\":2,\"aa\":3,\"\":4}");
}

static void refuses_what_it_does_not(void **state)
{
    (void)state;
    assert_check("", 0, SLUICE_ERR_DECODE, "no text");
    refuses(" ", "ends where a value is expected at byte 1");
    refuses("{} x", "something behind the value at byte 3");
    refuses("[1,]", "malformed number at byte 3");
    refuses("[,1]", "at byte 1");
    refuses("[1 2]", "expected a comma or the closing bracket at byte 3");
    refuses("[1}", "expected a comma");
    refuses("{\"a\":1,}", "expected a key at byte 7");
    refuses("{\"a\"}", "expected a colon");
    refuses("{\"a\":}", "malformed number");
    refuses("{a:1}", "expected a key");
    refuses("{'a':1}", "expected a key");
    refuses("[01]", "at byte 2");
    refuses("[+1]", "malformed number");
    refuses("[1e400]", "not finite");
    refuses("[-1e400]", "not finite");
    refuses("[NaN]", "malformed number");
    refuses("[nul]", "unknown word");
    refuses("tru", "unknown word");
    refuses("[1", "ends inside");
    refuses("{\"a\":1", "ends inside");
    refuses("{", "ends inside an object or array");
    refuses("\"abc", "ends inside a string");
    refuses("\"abc\\", "ends inside a string");
    refuses("\"\\x\"", "unknown escape");
    refuses("\"\\u12g4\"", "malformed \\u");
    refuses("\"\\u12\"", "malformed \\u");
    refuses("\"a\nb\"", "control character");
    refuses("// no\n1", "malformed number");
    refuses("\xef\xbb\xbf{}", "malformed number at byte 0");
    assert_check("[\"a\0b\"]", 7, SLUICE_ERR_DECODE, "control character");
    assert_check("[1]\0", 4, SLUICE_ERR_DECODE, "something behind");
    char digits[100] = "[";
    memset(digits + 1, '1', 64);
    digits[65] = ']';
    refuses(digits, "too many digits");
}

static void refuses_text_that_is_none(void **state)
{
    (void)state;
    refuses("\"\xff\"", "invalid UTF-8 at byte 1");
    refuses("\"\xc0\x80\"", "invalid UTF-8");
    refuses("\"\xed\xa0\x80\"", "invalid UTF-8");
    refuses("\"\xc3\"", "invalid UTF-8");
    refuses("\"a\\u0000\"", "NUL in a string at byte 2");
    refuses("\"\\ud800\"", "lone surrogate in a string at byte 1");
    refuses("\"\\ud800x\"", "lone surrogate");
    refuses("\"\\udc00\"", "lone surrogate");
    refuses("\"\\ud800\\ud800\"", "lone surrogate");
    refuses("\"\\ud83d\\n\"", "lone surrogate");
}

static void refuses_a_key_that_comes_twice(void **state)
{
    (void)state;
    refuses("{\"a\":1,\"a\":2}", "comes twice");
    refuses("{\"a\":1,\"b\":{\"c\":1,\"c\":2}}", "comes twice");
    refuses("{\"a\":1,\"\\u0061\":2}", "comes twice");
    refuses("{\"\xc3\xa4\":1,\"\\u00E4\":2}", "comes twice");
    refuses("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", "comes twice");
    refuses("{\"\\n\":1,\"\\u000a\":2}", "comes twice");
    accepts("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}");
    accepts("{\"\\n\":1,\"n\":2,\"\\\\n\":3}");
}

/* Objects large enough to be sorted instead of compared key by key, and to outgrow the stack. */
static void finds_a_double_key_among_many(void **state)
{
    (void)state;
    for (int count = 2; count < 400; count += 37) {
        for (int twice = -1; twice < count; twice += count / 2 + 1) {
            struct fixture f;
            struct sluice_buffer b;
            sluice_bytes text;
            fixture_init(&f);
            sluice_buffer_init(&b, &f.arena, 16);
            for (int i = 0; i < count; i++) {
                sluice_buffer_format(&b, "%s\"key%d\":[%d]", i == 0 ? "{" : ",", i * 7919 % 1009,
                                     i);
            }
            if (twice >= 0) {
                sluice_buffer_format(&b, ",\"\\u006bey%d\":0", twice * 7919 % 1009);
            }
            sluice_buffer_text(&b, "}");
            assert_int_equal(sluice_buffer_finish(&b, &f.err, &text), SLUICE_OK);
            assert_int_equal(sluice_json_check(text, NULL, &f.arena, &f.err),
                             twice >= 0 ? SLUICE_ERR_DECODE : SLUICE_OK);
            fixture_fini(&f);
        }
    }
}

static void bounds_depth_size_and_values(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    char text[200];
    for (size_t depth = 31; depth <= 33; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_check(text, 2 * depth, depth <= 32 ? SLUICE_OK : SLUICE_ERR_TOO_LARGE,
                     depth <= 32 ? NULL : "nested deeper than 32 at byte 32");
    }
    struct sluice_limits limits = {.size_max = 7, .fields_max = 4};
    assert_int_equal(sluice_json_check(BYTES("[1,2,3]"), &limits, &f.arena, &f.err), SLUICE_OK);
    assert_int_equal(sluice_json_check(BYTES("[1,2,3] "), &limits, &f.arena, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    limits.fields_max = 3;
    assert_int_equal(sluice_json_check(BYTES("[1,2,3]"), &limits, &f.arena, &f.err),
                     SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "more than 3 values");
    fixture_fini(&f);
}

static void tells_when_memory_runs_out(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_buffer b;
    fixture_init(&f);
    sluice_buffer_init(&b, &f.arena, 4096);
    for (int i = 0; i < 100; i++) {
        sluice_buffer_format(&b, "%s\"%d\":1", i == 0 ? "{" : ",", i);
    }
    sluice_buffer_text(&b, "}");
    struct sluice_arena none;
    sluice_arena_init(&none, &f.allocator, 256, 0);
    f.fail_at = f.calls + 1;
    assert_int_equal(
        sluice_json_check((sluice_bytes){.data = b.data, .len = b.len}, NULL, &none, &f.err),
        SLUICE_ERR_NOMEM);
    fixture_fini(&f);
}

static void builds_the_tree_of_checked_text_only(void **state)
{
    (void)state;
    struct sluice_err err;
    cJSON *tree = NULL;
    assert_int_equal(sluice_json_parse(BYTES("{\"a\":[1,\"x\"]}"), 100, &tree, &err), SLUICE_OK);
    assert_string_equal(
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(tree, "a"), 1)->valuestring, "x");
    cJSON_Delete(tree);
    tree = NULL;
    assert_int_equal(sluice_json_parse(BYTES("{\"a\":1} x"), 100, &tree, &err), SLUICE_ERR_DECODE);
    assert_int_equal(sluice_json_parse(BYTES("[1]"), 2, &tree, &err), SLUICE_ERR_TOO_LARGE);
    assert_null(tree);
}

static void assert_escaped(const char *text, size_t len, const char *expected)
{
    struct fixture f;
    struct sluice_buffer b;
    sluice_bytes out;
    fixture_init(&f);
    sluice_buffer_init(&b, &f.arena, 0);
    sluice_json_escape(&b, text, len);
    assert_int_equal(sluice_buffer_finish(&b, &f.err, &out), SLUICE_OK);
    assert_string_equal(out.data, expected);
    fixture_fini(&f);
}

static void escapes_and_undoes_it(void **state)
{
    (void)state;
    assert_escaped("plain", 5, "plain");
    assert_escaped("\"\\/\b\f\n\r\t\v\x01\x1f\x7f", 12,
                   "\\\"\\\\/\\b\\f\\n\\r\\t\\u000b\\u0001\\u001f\x7f");
    assert_escaped("a\0b", 3, "a\\u0000b");
    assert_escaped("\xc3\xa4\xff\xe2\x82", 5, "\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    char out[64];
    const char *inside = "\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e4\\u20AC\\ud83d\\ude00z";
    size_t len = sluice_json_unescape(inside, strlen(inside), out);
    out[len] = '\0';
    assert_string_equal(out, "\"\\/\b\f\n\r\tA\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z");
}

/* Every cut and every changed byte of a text is judged without reading beyond it. */
static void judges_mutations(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1.5e3,-2,true,false,null,\"\\u00e4\\ud83d\\ude00 \xc3\xa4\"],\"b\":{\"c\":\"d\"}}";
    struct fixture f;
    fixture_init(&f);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        sluice_bytes cut = fixture_exact(text, len);
        assert_int_equal(sluice_json_check(cut, NULL, &f.arena, &f.err), SLUICE_ERR_DECODE);
        fixture_exact_free(cut);
    }
    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (int value = 0; value < 256; value++) {
            sluice_bytes changed = fixture_exact(text, sizeof text - 1);
            ((char *)(uintptr_t)changed.data)[at] = (char)value;
            sluice_rc rc = sluice_json_check(changed, NULL, &f.arena, &f.err);
            assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_DECODE);
            if (rc == SLUICE_OK) {
                cJSON *tree = cJSON_ParseWithLength(changed.data, changed.len);
                assert_non_null(tree);
                cJSON_Delete(tree);
            }
            fixture_exact_free(changed);
        }
    }
    fixture_fini(&f);
}

/* Each byte at each place of texts of each length up to three words. */
static void plain_span_ends_at_the_first_other_byte(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 24; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                char text[24];
                memset(text, 'a', sizeof text);
                text[at] = (char)c;
                int is_plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
                assert_int_equal(sluice_plain_span(text, len), is_plain ? len : at);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_the_standard_allows),
        cmocka_unit_test(plain_span_ends_at_the_first_other_byte),
        cmocka_unit_test(refuses_what_it_does_not),
        cmocka_unit_test(refuses_text_that_is_none),
        cmocka_unit_test(refuses_a_key_that_comes_twice),
        cmocka_unit_test(finds_a_double_key_among_many),
        cmocka_unit_test(bounds_depth_size_and_values),
        cmocka_unit_test(tells_when_memory_runs_out),
        cmocka_unit_test(builds_the_tree_of_checked_text_only),
        cmocka_unit_test(escapes_and_undoes_it),
        cmocka_unit_test(judges_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
