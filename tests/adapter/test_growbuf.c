/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/growbuf.h"
#include "heap.h"

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
    sluice_growbuf_clear(&b);
    sluice_growbuf_add(&b, "x", 1);
    sluice_growbuf_unescape(&b, "a\\\"\\n\\u00e9", 11);
    assert_string_equal(b.data, "xa\"\n\xC3\xA9");
    sluice_growbuf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_to_its_bound_and_no_further),
        cmocka_unit_test(a_buffer_without_memory_stays_as_it_is),
        cmocka_unit_test(writes_json_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
