/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a configuration's errors: each place in its own words, and its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/report.h"
#include <stdio.h>
#include <string.h>

static struct sluice_report report;

static int setup(void **state)
{
    (void)state;
    report = (struct sluice_report){.count = 0};
    return 0;
}

static void each_place_is_told_as_people_look_for_it(void **state)
{
    (void)state;
    static const struct {
        struct sluice_place place;
        const char *text;
    } cases[] = {
        {{.option = NULL}, "wrong"},
        {{.option = "--flag"}, "--flag: wrong"},
        {{.option = "NAME", .is_variable = 1}, "environment: NAME: wrong"},
        {{.file = "w.yaml"}, "w.yaml: wrong"},
        {{.file = "w.yaml", .line = 3, .column = 5}, "w.yaml:3:5: wrong"},
        {{.option = "a.b", .file = "w.yaml", .line = 3, .column = 5}, "w.yaml:3:5: a.b: wrong"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)setup(NULL);
        sluice_report_add(&report, &cases[i].place, "%s", "wrong");
        char line[64];
        (void)snprintf(line, sizeof line, "%s\n", cases[i].text);
        assert_string_equal(report.text, line);
        assert_int_equal(report.count, 1);
        assert_int_equal(report.errors_count, 1);
        assert_int_equal(report.errors[0].line, cases[i].place.line);
        assert_int_equal(report.errors[0].column, cases[i].place.column);
        assert_int_equal(report.errors[0].at, 0);
        const char *option = cases[i].place.option;
        assert_string_equal(report.errors[0].option, option == NULL ? "" : option);
    }
}

static void errors_stand_in_their_order(void **state)
{
    (void)state;
    sluice_report_add(&report, NULL, "one");
    sluice_report_add(&report, &(struct sluice_place){.option = "o"}, "%d", 2);
    assert_string_equal(report.text, "one\no: 2\n");
    assert_int_equal(report.errors[1].at, 4);
}

static void more_errors_than_there_is_room_are_counted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SLUICE_REPORT_ERRORS_MAX + 1; i++) {
        sluice_report_add(&report, NULL, "%u", i);
    }
    assert_int_equal(report.count, SLUICE_REPORT_ERRORS_MAX + 1);
    assert_int_equal(report.errors_count, SLUICE_REPORT_ERRORS_MAX);
    assert_non_null(strstr(report.text, "\n127\n128\n"));
}

static void a_text_that_is_full_says_so_once(void **state)
{
    (void)state;
    char value[900];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (unsigned i = 0; i < 100; i++) {
        sluice_report_add(&report, &(struct sluice_place){.option = value}, "%s", value);
    }
    assert_int_equal(report.count, 100);
    assert_true(report.errors_count > 10 && report.errors_count < 20);
    assert_true(strlen(report.text) < sizeof report.text);
    const char *more = strstr(report.text, "… more errors\n");
    assert_non_null(more);
    assert_int_equal(more[strlen("… more errors\n")], '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_place_is_told_as_people_look_for_it, setup),
        cmocka_unit_test_setup(errors_stand_in_their_order, setup),
        cmocka_unit_test_setup(more_errors_than_there_is_room_are_counted, setup),
        cmocka_unit_test_setup(a_text_that_is_full_says_so_once, setup)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
