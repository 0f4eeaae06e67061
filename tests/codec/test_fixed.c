/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "codec/fixed.h"
#include <inttypes.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void writes_what_snprintf_does(void **state)
{
    static const uint64_t numbers[] = {0, 1, 9, 10, 15, 16, 255, 4096, INT64_MAX, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        char text[128], expected[128];
        struct sluice_fixed f = sluice_fixed_in(text, sizeof text);
        sluice_fixed_text(&f, "a:");
        sluice_fixed_uint64(&f, numbers[i]);
        sluice_fixed_add(&f, "/xyz", 2);
        sluice_fixed_hex(&f, numbers[i]);
        sluice_fixed_text(&f, ".");
        sluice_fixed_int64(&f, (int64_t)(0 - numbers[i]));
        (void)snprintf(expected, sizeof expected, "a:%" PRIu64 "/x%" PRIx64 ".%" PRId64, numbers[i],
                       numbers[i], (int64_t)(0 - numbers[i]));
        assert_string_equal(text, expected);
        assert_int_equal(f.len, strlen(expected));
        assert_false(f.is_cut);
    }
}

static void writes_millionths_as_printf_does(void **state)
{
    static const double values[] = {
        0,     -0.0,   -1,        1,         0.7,      0.1 + 0.2,      1e-6,
        5e-7,  4.9e-7, 0.0000015, 0.9999999, 123456.7, 999999.9999999, 1e6,
        1e300, -0.3,   1.0 / 3,   2.0000005, INFINITY, (double)NAN};
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        char text[400], expected[400];
        struct sluice_fixed f = sluice_fixed_in(text, sizeof text);
        sluice_fixed_millionths(&f, values[i]);
        (void)snprintf(expected, sizeof expected, "%.6f", values[i]);
        assert_string_equal(text, expected);
    }
}

static void cuts_what_does_not_fit(void **state)
{
    char text[8] = "???????";
    (void)state;
    struct sluice_fixed f = sluice_fixed_in(text, sizeof text);
    assert_string_equal(text, "");
    sluice_fixed_text(&f, "1234567");
    assert_string_equal(text, "1234567");
    assert_false(f.is_cut);
    sluice_fixed_hex(&f, 0);
    assert_string_equal(text, "1234567");
    assert_true(f.is_cut);
    f = sluice_fixed_in(text, sizeof text);
    sluice_fixed_uint64(&f, 123456789);
    assert_string_equal(text, "1234567");
    assert_true(f.is_cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_snprintf_does),
        cmocka_unit_test(writes_millionths_as_printf_does),
        cmocka_unit_test(cuts_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
