/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/percent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void decodes_what_is_escaped(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"", ""},
                                          {"abc", "abc"},
                                          {"us%40er", "us@er"},
                                          {"%3A%3a", "::"},
                                          {"%25%41", "%A"},
                                          {"a+b", "a+b"},
                                          {"%c3%A9", "\xc3\xa9"},
                                          {"%2541", "%41"},
                                          {"%7Fx%01", "\x7fx\x01"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%s", rows[i][0]);
        assert_true(sluice_percent_decode(text));
        assert_string_equal(text, rows[i][1]);
    }
}

static void refuses_what_is_no_escape(void **state)
{
    (void)state;
    static const char *const rows[] = {"%",    "%4",  "a%",  "%zz",  "%4g", "%g4",
                                       "%%41", "%00", "a%0", "% 41", "%-1"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%s", rows[i]);
        assert_false(sluice_percent_decode(text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_is_escaped),
        cmocka_unit_test(refuses_what_is_no_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
