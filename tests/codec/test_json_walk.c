/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json_walk.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void tells_what_is_wrong(void **state)
{
    static const struct {
        const char *json;
        size_t len; /* 0: strlen */
        const char *wrong;
    } cases[] = {
        {"{\"a\":[1,2,{\"b\":\"]}\\\"\"}]}", 0, NULL},
        {" [] \r\n\t", 0, NULL},
        {"\"text\"", 0, NULL},
        {"[[[]]]", 0, NULL},
        {"[true, false ,null,-1.5e3,\"\\u0001\\ud83d\\ude00\",{}]", 0, NULL},
        {"[[[[]]]]", 0, "nested too deeply"},
        {"{\"a\":{\"b\":{\"c\":{}}}}", 0, "nested too deeply"},
        {"[\"[[[[[[\"]", 0, NULL},
        {"[]]", 0, "something behind the value"},
        {"[] x", 0, "something behind the value"},
        {"{} {}", 0, "something behind the value"},
        {"]", 0, "malformed number"},
        {"[1,]", 0, "malformed number"},
        {"[,1]", 0, "malformed number"},
        {"[1 2]", 0, "expected a comma or the closing bracket"},
        {"[1}", 0, "expected a comma or the closing bracket"},
        {"{,}", 0, "expected a key"},
        {"{\"a\":1,}", 0, "expected a key"},
        {"{\"a\" 1}", 0, "expected a colon"},
        {"{1:1}", 0, "expected a key"},
        {"", 0, "text ends where a value is expected"},
        {"[1,", 0, "text ends where a value is expected"},
        {"[[]", 0, "text ends inside an object or array"},
        {"{\"a\":1", 0, "text ends inside an object or array"},
        {"[\"a", 0, "text ends inside a string"},
        {"[\"a\\", 0, "text ends inside a string"},
        {"[\"a\\\"", 0, "text ends inside a string"},
        {"[\"a\nb\"]", 0, "control character in a string"},
        {"[\"a\0b\"]", 7, "control character in a string"},
        {"[\0]", 3, "malformed number"},
        {"[\"\\u0000\"]", 0, "NUL in a string"},
        {"[\"\\u12\"]", 0, "malformed \\u escape"},
        {"[\"\\x\"]", 0, "unknown escape in a string"},
        {"[\"\\ud800\"]", 0, "lone surrogate in a string"},
        {"[\"\\\\u0000\"]", 0, NULL},
        {"[\"\xFF\"]", 0, "invalid UTF-8"},
        {"[\"\xC3\"]", 0, "invalid UTF-8"},
        {"[tru]", 0, "unknown word"},
        {"[01]", 0, "expected a comma or the closing bracket"},
        {"[1e999]", 0, "number that is not finite"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = cases[i].len != 0 ? cases[i].len : strlen(cases[i].json);
        struct sluice_json_walk w;
        sluice_json_walk_init(&w, (sluice_bytes){cases[i].json, len}, 3);
        int is_well = sluice_json_skip(&w) && sluice_json_ends(&w);
        print_message("# %s\n", cases[i].json);
        assert_int_equal(is_well, cases[i].wrong == NULL);
        assert_true(w.at <= w.end);
        if (cases[i].wrong != NULL) {
            assert_string_equal(w.why, cases[i].wrong);
        }
    }
}

static void reads_what_is_asked_for_and_skips_the_rest(void **state)
{
    static const char text[] = "{\"skip\":[1,{\"n\":2}],\"list\":[10,20],\"s\":\"a\\nb\",\"n\":4}";
    struct sluice_json_walk w;
    struct sluice_json_span key, inside = {.text = NULL};
    double sum = 0;
    (void)state;
    sluice_json_walk_init(&w, (sluice_bytes){text, sizeof text - 1}, 8);
    assert_int_equal(sluice_json_peek(&w), '{');
    assert_false(sluice_json_enter(&w, '['));
    assert_true(sluice_json_enter(&w, '{'));
    while (sluice_json_member(&w, &key)) {
        double value = 0;
        if (sluice_json_span_is(&key, "list")) {
            assert_true(sluice_json_enter(&w, '['));
            while (sluice_json_element(&w)) {
                assert_true(sluice_json_number(&w, &value));
                sum += value;
            }
        } else if (sluice_json_span_is(&key, "s")) {
            assert_true(sluice_json_string(&w, &inside));
        } else if (sluice_json_span_is(&key, "n")) {
            assert_true(sluice_json_number(&w, &value));
            sum += value;
        } else {
            assert_true(sluice_json_skip(&w));
        }
    }
    assert_true(sluice_json_ends(&w));
    assert_int_equal((int)sum, 34);
    assert_true(inside.has_escape);
    assert_true(sluice_json_span_is(&inside, "a\\nb"));
}

static void after_a_fault_every_step_says_no(void **state)
{
    static const char text[] = "[{]";
    struct sluice_json_walk w;
    struct sluice_json_span span;
    double value = 7;
    (void)state;
    sluice_json_walk_init(&w, (sluice_bytes){text, sizeof text - 1}, 8);
    assert_false(sluice_json_skip(&w));
    assert_string_equal(w.why, "expected a key");
    assert_false(sluice_json_enter(&w, ']'));
    assert_false(sluice_json_element(&w));
    assert_false(sluice_json_member(&w, &span));
    assert_false(sluice_json_string(&w, &span));
    assert_false(sluice_json_number(&w, &value));
    assert_false(sluice_json_skip(&w));
    assert_false(sluice_json_ends(&w));
    assert_string_equal(w.why, "expected a key");
    assert_true(value == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_wrong),
        cmocka_unit_test(reads_what_is_asked_for_and_skips_the_rest),
        cmocka_unit_test(after_a_fault_every_step_says_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
