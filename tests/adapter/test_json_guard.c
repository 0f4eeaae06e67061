/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/growbuf.h"
#include "adapter/json_guard.h"
#include "heap.h"

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
        {"[[[[]]]]", 0, "nested too deeply"},
        {"{\"a\":{\"b\":{\"c\":{}}}}", 0, "nested too deeply"},
        {"[\"[[[[[[\"]", 0, NULL},
        {"[]]", 0, "bytes behind the value"},
        {"[] x", 0, "bytes behind the value"},
        {"{} {}", 0, "bytes behind the value"},
        {"]", 0, "a bracket too many"},
        {"[[]", 0, "a bracket missing"},
        {"[\"a", 0, "a text that does not end"},
        {"[\"a\\", 0, "a text that does not end"},
        {"[\"a\\\"", 0, "a text that does not end"},
        {"[\"a\nb\"]", 0, "a control character in a text"},
        {"[\"a\0b\"]", 7, "a control character in a text"},
        {"[\0]", 3, "a NUL"},
        {"[\"\\u0000\"]", 0, "a NUL in a text"},
        {"[\"\\\\u0000\"]", 0, NULL},
        {"[\"\\u0001\"]", 0, NULL},
        {"[\"\xFF\"]", 0, "invalid UTF-8"},
        {"[\"\xC3\"]", 0, "invalid UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = cases[i].len != 0 ? cases[i].len : strlen(cases[i].json);
        const char *wrong = sluice_json_guard(cases[i].json, len, 3);
        print_message("# %s\n", cases[i].json);
        if (cases[i].wrong == NULL) {
            assert_null(wrong);
        } else {
            assert_non_null(wrong);
            assert_string_equal(wrong, cases[i].wrong);
        }
    }
}

static void knows_well_formed_utf8(void **state)
{
    static const struct {
        const char *text;
        int is_ok;
    } cases[] = {
        {"", 1},
        {"plain ASCII text that is longer than a word", 1},
        {"\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80 \xEF\xBF\xBF", 1},
        {"\xF0\x90\x80\x80 \xF4\x8F\xBF\xBF", 1},
        {"12345678\xC3\xA9", 1},
        {"\x80", 0},
        {"\xC0\x80", 0},     /* overlong */
        {"\xC1\xBF", 0},     /* overlong */
        {"\xE0\x9F\xBF", 0}, /* overlong */
        {"\xED\xA0\x80", 0}, /* a surrogate */
        {"\xF0\x8F\xBF\xBF", 0},
        {"\xF4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", 0},
        {"\xC3", 0},
        {"\xE2\x82", 0},
        {"\xF0\x9F\x98", 0},
        {"\xE2\x28\xA1", 0},
        {"1234567\xC3", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(sluice_is_utf8(cases[i].text, strlen(cases[i].text)), cases[i].is_ok);
    }
}

static void a_buffer_grows_to_its_bound_and_no_further(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap);
    struct sluice_growbuf b;
    sluice_growbuf_init(&b, &heap.allocator, 1000);
    assert_null(b.data);
    for (int i = 0; i < 1000; i++) {
        sluice_growbuf_add(&b, "x", 1);
    }
    assert_int_equal(b.rc, SLUICE_OK);
    assert_int_equal(b.len, 1000);
    assert_int_equal(strlen(b.data), 1000);
    assert_true(b.size <= 1001);
    sluice_growbuf_add(&b, "x", 1);
    assert_int_equal(b.rc, SLUICE_ERR_TOO_LARGE);
    sluice_growbuf_clear(&b);
    sluice_growbuf_text(&b, "ok");
    sluice_growbuf_shrink(&b);
    assert_string_equal(b.data, "ok");
    assert_int_equal(b.size, 3);
    sluice_growbuf_add(&b, "y", SIZE_MAX); /* the sum would overflow */
    assert_int_equal(b.rc, SLUICE_ERR_TOO_LARGE);
    sluice_growbuf_fini(&b);
    sluice_growbuf_fini(&b);
    assert_int_equal(heap.open, 0);
}

static void a_buffer_without_memory_stays_as_it_is(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap);
    struct sluice_growbuf b;
    sluice_growbuf_init(&b, &heap.allocator, 100000);
    sluice_growbuf_text(&b, "first");
    heap.fail_after = 0;
    char big[1000] = {0};
    sluice_growbuf_add(&b, big, sizeof big);
    assert_int_equal(b.rc, SLUICE_ERR_NOMEM);
    sluice_growbuf_text(&b, "second");
    assert_string_equal(b.data, "first");
    sluice_growbuf_fini(&b);
    assert_int_equal(heap.open, 0);
}

static void writes_json_strings(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap);
    struct sluice_growbuf b;
    sluice_growbuf_init(&b, &heap.allocator, 1000);
    sluice_growbuf_json(&b, "a\"\\\n\r\t\x01\x1f/\x7f\xC3\xA9", 12);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\r\\t\\u0001\\u001f/\x7f\xC3\xA9\"");
    sluice_growbuf_clear(&b);
    sluice_growbuf_json(&b, "", 0);
    assert_string_equal(b.data, "\"\"");
    sluice_growbuf_json(&b, "\xFF", 1);
    assert_int_equal(b.rc, SLUICE_ERR_VALIDATION);
    sluice_growbuf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_wrong),
        cmocka_unit_test(knows_well_formed_utf8),
        cmocka_unit_test(a_buffer_grows_to_its_bound_and_no_further),
        cmocka_unit_test(a_buffer_without_memory_stays_as_it_is),
        cmocka_unit_test(writes_json_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
