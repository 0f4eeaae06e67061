/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/number.h"

#include "fixture.h"
#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sluice_number parsed(const char *text)
{
    struct sluice_number number;
    if (!sluice_number_parse(text, strlen(text), &number)) {
        fail_msg("%s is a number", text);
    }
    return number;
}

static void reads_the_grammar_of_json_and_nothing_else(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "-0", "10", "1.5", "-1.25e3", "1E-2", "1e+2", "0.0"};
    static const char *const bad[] = {"",   "-",    "+1",  "01",  "1.", ".5", "1e",  "1e+",
                                      "0x", "1e1x", "NaN", "--1", " 1", "1 ", "1,5", "1e400"};
    struct sluice_number number;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(sluice_number_span(good[i], strlen(good[i])), strlen(good[i]));
        assert_true(parsed(good[i]).real == strtod(good[i], NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (sluice_number_parse(bad[i], strlen(bad[i]), &number)) {
            fail_msg("%s is no number", bad[i]);
        }
    }
    char longest[SLUICE_NUMBER_TEXT_MAX + 2];
    memset(longest, '1', sizeof longest);
    assert_true(sluice_number_parse(longest, SLUICE_NUMBER_TEXT_MAX, &number));
    assert_false(sluice_number_parse(longest, SLUICE_NUMBER_TEXT_MAX + 1, &number));
}

static void keeps_whole_numbers_exact(void **state)
{
    (void)state;
    int64_t i64;
    uint64_t u64;
    int32_t i32;
    uint32_t u32;
    struct sluice_number n = parsed("-9223372036854775808");
    assert_true(sluice_number_to_int64(&n, &i64));
    assert_int_equal(i64, INT64_MIN);
    assert_false(sluice_number_to_uint64(&n, &u64));
    n = parsed("-9223372036854775809");
    assert_false(sluice_number_to_int64(&n, &i64));
    n = parsed("9223372036854775808");
    assert_false(sluice_number_to_int64(&n, &i64));
    n = parsed("18446744073709551615");
    assert_true(sluice_number_to_uint64(&n, &u64) && u64 == UINT64_MAX);
    n = parsed("18446744073709551616");
    assert_false(sluice_number_to_uint64(&n, &u64));
    n = parsed("9007199254740993");
    assert_true(sluice_number_to_int64(&n, &i64) && i64 == 9007199254740993);
    n = parsed("-2147483648");
    assert_true(sluice_number_to_int32(&n, &i32) && i32 == INT32_MIN);
    n = parsed("-2147483649");
    assert_false(sluice_number_to_int32(&n, &i32));
    n = parsed("2147483648");
    assert_false(sluice_number_to_int32(&n, &i32));
    n = parsed("4294967295");
    assert_true(sluice_number_to_uint32(&n, &u32) && u32 == UINT32_MAX);
    n = parsed("4294967296");
    assert_false(sluice_number_to_uint32(&n, &u32));
    n = parsed("-1");
    assert_false(sluice_number_to_uint32(&n, &u32));
    n = parsed("-0");
    assert_true(sluice_number_to_uint32(&n, &u32) && u32 == 0);
    n = parsed("1.5");
    assert_false(sluice_number_to_int64(&n, &i64));
    n = parsed("1.0e2");
    assert_true(sluice_number_to_int64(&n, &i64) && i64 == 100);
    n = sluice_number_of_double(1e19);
    assert_true(sluice_number_to_uint64(&n, &u64) && u64 == 10000000000000000000u);
    n = sluice_number_of_double((double)NAN);
    assert_false(sluice_number_to_int64(&n, &i64));
    n = sluice_number_of_int64(INT64_MIN);
    assert_true(sluice_number_to_int64(&n, &i64) && i64 == INT64_MIN);
}

static void assert_double(double value, const char *expected)
{
    char text[SLUICE_NUMBER_SIZE];
    size_t len = sluice_number_write_double(value, text);
    assert_int_equal(len, strlen(text));
    assert_int_equal(sluice_number_span(text, len), len);
    if (expected != NULL) {
        assert_string_equal(text, expected);
    }
    double read = parsed(text).real;
    if (memcmp(&read, &value, sizeof value) != 0) {
        fail_msg("%.17g was written as %s", value, text);
    }
}

static void assert_float(float value, const char *expected)
{
    char text[SLUICE_NUMBER_SIZE];
    (void)sluice_number_write_float(value, text);
    if (expected != NULL) {
        assert_string_equal(text, expected);
    }
    assert_true((float)parsed(text).real == value);
}

static void writes_what_reads_back(void **state)
{
    (void)state;
    assert_double(0, "0");
    assert_double(-0.0, "-0");
    assert_double(1, "1");
    assert_double(0.1, "0.1");
    assert_double(-0.25, "-0.25");
    assert_double(0.87, "0.87");
    assert_double(1.0 / 3, NULL);
    assert_double(100000, "100000");
    assert_double(123456.789, "123456.789");
    assert_double(0.000001, "0.000001");
    assert_double(1e-7, "1e-07");
    assert_double(DBL_MAX, NULL);
    assert_double(-DBL_MIN, NULL);
    assert_double(4.9406564584124654e-324, NULL);
    assert_double(9007199254740993.0, NULL);
    assert_float(0.1f, "0.1");
    assert_float(FLT_MAX, NULL);
    assert_float(-FLT_MIN, NULL);
    assert_float(16777217.0f, "16777216");
    assert_float(1e-45f, NULL);
    /* All kinds of bit patterns, from a fixed generator. */
    uint64_t bits = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        double value;
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) {
            assert_double(value, NULL);
        }
        assert_double((double)(int64_t)(bits % 2000001) / 1000.0, NULL);
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        if (isfinite(narrow)) {
            assert_float(narrow, NULL);
        }
    }
}

static void names_what_is_not_finite(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *name;
    } cases[] = {{NAN, "NaN"}, {-NAN, "NaN"}, {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[SLUICE_NUMBER_SIZE];
        assert_int_equal(sluice_number_write_double(cases[i].value, text), strlen(cases[i].name));
        assert_string_equal(text, cases[i].name);
        assert_int_equal(sluice_number_write_float((float)cases[i].value, text),
                         strlen(cases[i].name));
        assert_string_equal(text, cases[i].name);
    }
}

static void writes_whole_numbers(void **state)
{
    (void)state;
    char text[SLUICE_NUMBER_SIZE];
    assert_int_equal(sluice_number_write_uint64(UINT64_MAX, text), 20);
    assert_string_equal(text, "18446744073709551615");
    assert_int_equal(sluice_number_write_uint64(0, text), 1);
    assert_string_equal(text, "0");
    assert_int_equal(sluice_number_write_int64(INT64_MIN, text), 20);
    assert_string_equal(text, "-9223372036854775808");
}

/* A comma for a point, as in half of the world's locales: used if the machine has one. */
static void does_not_care_for_the_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    const char *found = NULL;
    for (size_t i = 0; found == NULL && i < sizeof names / sizeof names[0]; i++) {
        found = setlocale(LC_NUMERIC, names[i]);
    }
    assert_double(1.5, "1.5");
    assert_double(1e-7, "1e-07");
    assert_double(1.25e-7, "1.25e-07");
    (void)setlocale(LC_NUMERIC, "C");
    if (found == NULL) {
        print_message("no locale with a comma on this machine\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_grammar_of_json_and_nothing_else),
        cmocka_unit_test(keeps_whole_numbers_exact),
        cmocka_unit_test(writes_what_reads_back),
        cmocka_unit_test(names_what_is_not_finite),
        cmocka_unit_test(writes_whole_numbers),
        cmocka_unit_test(does_not_care_for_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
