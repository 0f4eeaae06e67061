/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker by itself: each transition, each bound, manual control, and results that come
 * late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/breaker.h"

static struct sluice_breaker b;

static void begin(void)
{
    const struct sluice_breaker_config config = {.name = "b",
                                                 .failure_threshold = 2,
                                                 .half_open_max = 2,
                                                 .success_threshold = 2,
                                                 .reset_timeout_ms = 1000};
    assert_int_equal(sluice_breaker_init(&b, &config, 0, NULL), SLUICE_OK);
}

static struct sluice_permit permit_at(int64_t now_ms)
{
    struct sluice_permit permit = {0};
    assert_int_equal(sluice_breaker_acquire(&b, now_ms, &permit, NULL), SLUICE_OK);
    return permit;
}

static void call(int64_t now_ms, enum sluice_call_result result, uint64_t source)
{
    struct sluice_permit permit = permit_at(now_ms);
    sluice_breaker_finish(&b, now_ms, &permit, result, source);
}

static void open_at(int64_t now_ms)
{
    call(now_ms, SLUICE_CALL_FAILED, 1);
    call(now_ms, SLUICE_CALL_TIMED_OUT, 2);
    assert_int_equal(b.state, SLUICE_BREAKER_OPEN);
}

static void configuration_is_checked_by_name(void **state)
{
    (void)state;
    static const struct {
        size_t field;
        uint32_t value;
        const char *text;
    } cases[] = {
        {offsetof(struct sluice_breaker_config, failure_threshold), 0,
         "breaker x: failure_threshold: 0, expected at least 1"},
        {offsetof(struct sluice_breaker_config, half_open_max), 0,
         "breaker x: half_open_max: 0, expected at least 1"},
        {offsetof(struct sluice_breaker_config, success_threshold), 0,
         "breaker x: success_threshold: 0, expected at least 1"},
        {offsetof(struct sluice_breaker_config, minimum_sources), SLUICE_BREAKER_SOURCES_MAX + 1,
         "breaker x: minimum_sources: 9, expected at most 8"},
    };
    struct sluice_err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sluice_breaker_config config = sluice_breaker_service("x");
        *(uint32_t *)(void *)((char *)&config + cases[i].field) = cases[i].value;
        assert_int_equal(sluice_breaker_init(&b, &config, 0, &err), SLUICE_ERR_CONFIG);
        assert_string_equal(err.text, cases[i].text);
    }
    struct sluice_breaker_config config = sluice_breaker_publish(NULL);
    config.reset_timeout_ms = 0;
    assert_int_equal(sluice_breaker_init(&b, &config, 0, &err), SLUICE_ERR_CONFIG);
    assert_string_equal(err.text, "breaker (unnamed): reset_timeout_ms: 0, expected more than 0");
    config.reset_timeout_ms = 1;
    config.minimum_sources = SLUICE_BREAKER_SOURCES_MAX;
    assert_int_equal(sluice_breaker_init(&b, &config, 0, &err), SLUICE_OK);
}

static void opens_tries_and_closes(void **state)
{
    (void)state;
    begin();
    struct sluice_permit permit;
    int64_t wait = -1;
    assert_int_equal(sluice_breaker_allowance(&b, 0), UINT32_MAX);
    assert_true(sluice_breaker_trial_at_ms(&b) == INT64_MAX);
    open_at(100);
    assert_int_equal(sluice_breaker_allowance(&b, 1099), 0);
    assert_int_equal(sluice_breaker_acquire(&b, 600, &permit, &wait), SLUICE_ERR_CIRCUIT_OPEN);
    assert_int_equal(wait, 500);
    assert_int_equal(sluice_breaker_allowance(&b, 1100), 2);
    struct sluice_permit one = permit_at(1100), two = permit_at(1100);
    assert_int_equal(b.state, SLUICE_BREAKER_HALF_OPEN);
    assert_int_equal(sluice_breaker_allowance(&b, 1100), 0);
    assert_int_equal(sluice_breaker_acquire(&b, 1100, &permit, &wait), SLUICE_ERR_CIRCUIT_OPEN);
    assert_int_equal(wait, 0); /* only the trial slots are taken */
    sluice_breaker_finish(&b, 1200, &one, SLUICE_CALL_CANCELLED, 1);
    assert_int_equal(sluice_breaker_allowance(&b, 1200), 1);
    sluice_breaker_finish(&b, 1200, &two, SLUICE_CALL_OK, 1);
    assert_int_equal(b.state, SLUICE_BREAKER_HALF_OPEN);
    call(1300, SLUICE_CALL_OK, 1);
    assert_int_equal(b.state, SLUICE_BREAKER_CLOSED);
    assert_int_equal(b.consecutive_failures, 0);
}

static void a_failed_trial_opens_it_again(void **state)
{
    (void)state;
    begin();
    open_at(0);
    struct sluice_permit one = permit_at(1000), two = permit_at(1000);
    sluice_breaker_finish(&b, 1500, &one, SLUICE_CALL_FAILED, 1);
    assert_int_equal(b.state, SLUICE_BREAKER_OPEN);
    assert_true(sluice_breaker_trial_at_ms(&b) == 2500);
    sluice_breaker_finish(&b, 1600, &two, SLUICE_CALL_OK, 1); /* of the period before */
    assert_int_equal(b.metrics.late, 1);
    assert_int_equal(b.state, SLUICE_BREAKER_OPEN);
}

static void a_permit_ends_once(void **state)
{
    (void)state;
    begin();
    struct sluice_permit permit = permit_at(0);
    sluice_breaker_finish(&b, 0, &permit, SLUICE_CALL_FAILED, 1);
    sluice_breaker_finish(&b, 0, &permit, SLUICE_CALL_FAILED, 1);
    assert_int_equal(b.consecutive_failures, 1);
    assert_int_equal(b.metrics.failures, 1);
}

static void one_source_or_few_calls_open_nothing(void **state)
{
    (void)state;
    begin();
    b.config.minimum_sources = 2;
    b.config.minimum_throughput = 3;
    for (int i = 0; i < 3; i++) {
        call(i, SLUICE_CALL_FAILED, 7);
    }
    assert_int_equal(b.state, SLUICE_BREAKER_CLOSED); /* three calls, one source */
    call(6, SLUICE_CALL_FAILED, 8);
    assert_int_equal(b.state, SLUICE_BREAKER_OPEN);
    begin();
    b.config.minimum_throughput = 3;
    call(0, SLUICE_CALL_FAILED, 1);
    call(0, SLUICE_CALL_FAILED, 2);
    assert_int_equal(b.state, SLUICE_BREAKER_CLOSED);
}

static void one_source_opens_it_after_twice_as_many(void **state)
{
    (void)state;
    begin();
    b.config.minimum_sources = 3;
    for (int i = 0; i < 3; i++) {
        call(i, SLUICE_CALL_FAILED, 7);
    }
    call(3, SLUICE_CALL_OK, 8); /* it works for another one */
    for (int i = 0; i < 3; i++) {
        call(4 + i, SLUICE_CALL_FAILED, 7);
        assert_int_equal(b.state, SLUICE_BREAKER_CLOSED);
    }
    call(7, SLUICE_CALL_FAILED, 7);
    assert_int_equal(b.state, SLUICE_BREAKER_OPEN);
}

static void counters_stop_at_their_end(void **state)
{
    (void)state;
    begin();
    b.config.failure_threshold = UINT32_MAX;
    b.config.minimum_throughput = UINT32_MAX;
    b.config.minimum_sources = SLUICE_BREAKER_SOURCES_MAX;
    b.consecutive_failures = UINT32_MAX;
    b.completed = UINT32_MAX;
    for (uint64_t source = 0; source < SLUICE_BREAKER_SOURCES_MAX; source++) {
        assert_int_equal(b.state, SLUICE_BREAKER_CLOSED);
        call(0, SLUICE_CALL_FAILED, source);
    }
    assert_int_equal(b.state, SLUICE_BREAKER_OPEN);
    assert_true(b.consecutive_failures == UINT32_MAX && b.completed == UINT32_MAX);
    assert_int_equal(b.sources_count, SLUICE_BREAKER_SOURCES_MAX);
    b.state = SLUICE_BREAKER_CLOSED;
    call(0, SLUICE_CALL_FAILED, 99); /* no room for one more */
    assert_int_equal(b.sources_count, SLUICE_BREAKER_SOURCES_MAX);
}

static void can_be_forced_open_and_reset(void **state)
{
    (void)state;
    begin();
    struct sluice_permit permit;
    int64_t wait = 0;
    sluice_breaker_force_open(&b, 0, 1);
    assert_true(sluice_breaker_trial_at_ms(&b) == INT64_MAX);
    assert_int_equal(sluice_breaker_allowance(&b, 100000), 0);
    assert_int_equal(sluice_breaker_acquire(&b, 100000, &permit, &wait), SLUICE_ERR_CIRCUIT_OPEN);
    assert_true(wait == INT64_MAX);
    sluice_breaker_force_open(&b, 100000, 0); /* from now on by the timer */
    assert_int_equal(b.metrics.opened, 1);
    assert_int_equal(sluice_breaker_allowance(&b, 101000), 2);
    sluice_breaker_reset(&b, 100001);
    assert_int_equal(b.state, SLUICE_BREAKER_CLOSED);
    call(100002, SLUICE_CALL_FAILED, 1);
    sluice_breaker_reset(&b, 100003);
    assert_int_equal(b.consecutive_failures, 0);
    assert_int_equal(b.metrics.closed, 1);
}

static void every_state_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < SLUICE_BREAKER_STATE_COUNT; i++) {
        assert_string_not_equal(sluice_breaker_state_name((enum sluice_breaker_state)i), "unknown");
    }
    assert_string_equal(sluice_breaker_state_name(SLUICE_BREAKER_STATE_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(configuration_is_checked_by_name),
                                       cmocka_unit_test(opens_tries_and_closes),
                                       cmocka_unit_test(a_failed_trial_opens_it_again),
                                       cmocka_unit_test(a_permit_ends_once),
                                       cmocka_unit_test(one_source_or_few_calls_open_nothing),
                                       cmocka_unit_test(one_source_opens_it_after_twice_as_many),
                                       cmocka_unit_test(counters_stop_at_their_end),
                                       cmocka_unit_test(can_be_forced_open_and_reset),
                                       cmocka_unit_test(every_state_has_a_name)};
    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
