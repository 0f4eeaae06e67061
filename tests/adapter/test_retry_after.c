/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/retry_after.h"

#define HOUR SLUICE_RETRY_AFTER_MS_MAX

static const int64_t now = INT64_C(784111777000); /* Sun, 06 Nov 1994 08:49:37 GMT */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void seconds_are_read_clamped_or_refused(void **state)
{
    static const struct {
        const char *text;
        int is_ok;
        int64_t ms;
    } cases[] = {
        {"0", 1, 0},           {"1", 1, 1000},
        {" 120\t", 1, 120000}, {"1.5", 1, 1500},
        {"0.0019", 1, 1},      {"3600", 1, HOUR},
        {"3601", 1, HOUR},     {"99999999999999999999999999999999", 1, HOUR},
        {"-1", 0, 0},          {"", 0, 0},
        {"soon", 0, 0},        {"12x", 0, 0},
        {"1 2", 0, 0},         {"+1", 0, 0},
        {"1e3", 0, 0},         {"nan", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = 0;
        print_message("# \"%s\"\n", cases[i].text);
        assert_int_equal(sluice_retry_seconds(cases[i].text, &ms), cases[i].is_ok);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void durations_are_read_clamped_or_refused(void **state)
{
    static const struct {
        const char *text;
        int is_ok;
        int64_t ms;
    } cases[] = {
        {"1s", 1, 1000},
        {"20ms", 1, 20},
        {"6m0s", 1, 360000},
        {"1m30.5s", 1, 90500},
        {"1h2m", 1, HOUR},
        {"59m59s999ms", 1, HOUR - 1},
        {"1d", 1, HOUR},
        {"7", 1, 7000},
        {"0", 1, 0},
        {"99999999999999999999d", 1, HOUR},
        {"999999999999999999999999h1s", 1, HOUR},
        {"784111780", 1, HOUR},    /* below 1e9: taken for seconds */
        {"784111780000", 1, 3000}, /* Unix time in milliseconds */
        {"784111770000", 1, 0},    /* past */
        {"1000000000", 1, HOUR},   /* Unix time in seconds, far away from `now` */
        {"", 0, 0},
        {"s", 0, 0},
        {"1x", 0, 0},
        {"1s2", 0, 0},
        {"-1s", 0, 0},
        {"1s garbage", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = 0;
        print_message("# \"%s\"\n", cases[i].text);
        assert_int_equal(sluice_retry_duration(cases[i].text, now, &ms), cases[i].is_ok);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void dates_of_all_three_forms_are_read(void **state)
{
    static const struct {
        const char *text;
        int is_ok;
        int64_t ms;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 1, INT64_C(784111777000)},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 1, INT64_C(784111777000)},
        {"Sun Nov  6 08:49:37 1994", 1, INT64_C(784111777000)},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 1, 0},
        {"Thu, 29 Feb 2024 12:00:00 GMT", 1, INT64_C(1709208000000)},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 1, INT64_C(253402300799000)},
        {"Sun, 06 Nov 1994 08:49:37", 0, 0},
        {"Sun, 06 Nov 1994 08:49:37 CET", 0, 0},
        {"Sun, 06 Foo 1994 08:49:37 GMT", 0, 0},
        {"Sun, 00 Nov 1994 08:49:37 GMT", 0, 0},
        {"Sun, 06 Nov 1994 24:49:37 GMT", 0, 0},
        {"Sun, 06 Nov 0000 08:49:37 GMT", 0, 0},
        {"Sun, 06 Nov 1994 08:49:37 GMT trailing", 0, 0},
        {"Sun", 0, 0},
        {"Sun,", 0, 0},
        {"Su", 0, 0},
        {"", 0, 0},
        {"Sunnnnnnnnnnnnnnnnnnnn, 06 Nov 1994 08:49:37 GMT", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = 0;
        print_message("# \"%s\"\n", cases[i].text);
        assert_int_equal(sluice_retry_date(cases[i].text, &ms), cases[i].is_ok);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void every_prefix_of_a_date_is_refused(void **state)
{
    static const char *const dates[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(dates); i++) {
        char text[64] = "";
        for (size_t len = 0; dates[i][len] != '\0'; len++) {
            int64_t ms = 0;
            assert_int_equal(sluice_retry_date(text, &ms), 0);
            text[len] = dates[i][len];
        }
    }
}

static void the_most_exact_header_wins(void **state)
{
    (void)state;
    struct sluice_retry_headers h = {0};
    assert_int_equal(sluice_retry_after_ms(&h, now), 0);
    h.reset_tokens = "2s";
    assert_int_equal(sluice_retry_after_ms(&h, now), 2000);
    h.retry_after = "7";
    assert_int_equal(sluice_retry_after_ms(&h, now), 7000);
    h.retry_after_ms = "350";
    assert_int_equal(sluice_retry_after_ms(&h, now), 350);
    h.retry_after_ms = "later"; /* garbage: the next one counts */
    assert_int_equal(sluice_retry_after_ms(&h, now), 7000);
    h.retry_after = "-5";
    assert_int_equal(sluice_retry_after_ms(&h, now), 2000);
    h.reset_tokens = "?";
    assert_int_equal(sluice_retry_after_ms(&h, now), 0);
    h.retry_after_ms = "999999999999999999999";
    assert_int_equal(sluice_retry_after_ms(&h, now), HOUR);
}

static void a_date_is_measured_by_the_servers_clock(void **state)
{
    (void)state;
    struct sluice_retry_headers h = {.retry_after = "Sun, 06 Nov 1994 08:49:47 GMT"};
    assert_int_equal(sluice_retry_after_ms(&h, now), 10000);
    assert_int_equal(sluice_retry_after_ms(&h, now + 60000), 0); /* past */
    h.date = "Sun, 06 Nov 1994 08:49:44 GMT"; /* our clock is a minute fast: does not matter */
    assert_int_equal(sluice_retry_after_ms(&h, now + 60000), 3000);
    h.date = "yesterday";
    assert_int_equal(sluice_retry_after_ms(&h, now), 10000);
    h.retry_after = "Fri, 31 Dec 9999 23:59:59 GMT";
    assert_int_equal(sluice_retry_after_ms(&h, now), HOUR);
}

static void the_limit_that_is_used_up_decides(void **state)
{
    (void)state;
    struct sluice_retry_headers h = {.reset_requests = "1s", .reset_tokens = "6m0s"};
    assert_int_equal(sluice_retry_after_ms(&h, now), 1000);
    h.remaining_tokens = "0";
    assert_int_equal(sluice_retry_after_ms(&h, now), 360000);
    h.remaining_requests = "0";
    assert_int_equal(sluice_retry_after_ms(&h, now), 360000);
    h.remaining_tokens = "15000";
    assert_int_equal(sluice_retry_after_ms(&h, now), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds_are_read_clamped_or_refused),
        cmocka_unit_test(durations_are_read_clamped_or_refused),
        cmocka_unit_test(dates_of_all_three_forms_are_read),
        cmocka_unit_test(every_prefix_of_a_date_is_refused),
        cmocka_unit_test(the_most_exact_header_wins),
        cmocka_unit_test(a_date_is_measured_by_the_servers_clock),
        cmocka_unit_test(the_limit_that_is_used_up_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
