/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_waits.h"

#include "nats_fixture.h"

#define READINESS_MS 500000 /* SERVICE_READINESS_TIME_OUT by default */

/* All waits of an outage in which every attempt fails at once; returns how long it was. */
static int64_t outage(int64_t most_ms, uint32_t attempts_max, uint64_t seed, uint32_t *attempts)
{
    struct sluice_prng prng = {seed};
    struct sluice_nats_waits waits;
    int64_t start = 5000, now = start, wait;
    sluice_nats_waits_begin(&waits, most_ms, attempts_max, &prng, now);
    while ((wait = sluice_nats_waits_next(&waits, now)) > 0) {
        int64_t away = now - start, longest = away / 8 > 100 ? away / 8 : 100;
        longest = longest < most_ms ? longest : most_ms;
        assert_in_range(wait, longest - longest / 4, longest);
        now += wait;
    }
    *attempts = waits.attempts;
    return now - start;
}

static void an_outage_of_any_length_is_at_most_an_eighth_longer(void **state)
{
    (void)state;
    uint32_t attempts;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        (void)outage(10000, 60, seed, &attempts);
    }
}

static void the_attempts_by_default_outlast_the_readiness(void **state)
{
    (void)state;
    uint32_t attempts;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        int64_t lasted_ms = outage(10000, 60, seed, &attempts);
        assert_true(lasted_ms > READINESS_MS);
        assert_in_range(lasted_ms, 600000, 610000);
        assert_in_range(attempts, 60, 160);
    }
}

static void one_attempt_lasts_as_long_as_its_wait(void **state)
{
    (void)state;
    uint32_t attempts;
    assert_in_range(outage(100, 1, 1, &attempts), 100, 200);
    assert_in_range(outage(10000, 1, 1, &attempts), 10000, 12000);
    assert_true(outage(3600000, 1000000, 1, &attempts) >= INT64_C(3600000) * 1000000);
}

static void waits_are_short_again_when_a_server_was_found(void **state)
{
    (void)state;
    struct sluice_prng prng = {1};
    struct sluice_nats_waits waits;
    sluice_nats_waits_begin(&waits, 10000, 60, &prng, 5000);
    assert_in_range(sluice_nats_waits_next(&waits, 505000), 7500, 10000);
    sluice_nats_waits_shorten(&waits, 505000);
    assert_in_range(sluice_nats_waits_next(&waits, 505000), 75, 100);
    assert_in_range(sluice_nats_waits_next(&waits, 521000), 1500, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_of_any_length_is_at_most_an_eighth_longer),
        cmocka_unit_test(the_attempts_by_default_outlast_the_readiness),
        cmocka_unit_test(one_attempt_lasts_as_long_as_its_wait),
        cmocka_unit_test(waits_are_short_again_when_a_server_was_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
