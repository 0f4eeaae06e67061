/* SPDX-License-Identifier: Apache-2.0 */
/* Delays that grow, with jitter from a seeded generator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/retry.h"

static struct sluice_prng prng;

static void delays_double_up_to_the_limit(void **state)
{
    (void)state;
    static const struct {
        uint32_t failures;
        int64_t least, most;
    } cases[] = {
        {0, 500, 1000},    {1, 500, 1000},    {2, 1000, 2000},     {6, 16000, 32000},
        {7, 30000, 60000}, {8, 30000, 60000}, {100, 30000, 60000}, {UINT32_MAX, 30000, 60000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int k = 0; k < 200; k++) {
            assert_in_range(sluice_retry_delay_ms(1000, 60000, cases[i].failures, &prng),
                            cases[i].least, cases[i].most);
        }
    }
}

static void small_and_odd_bounds_hold(void **state)
{
    (void)state;
    assert_int_equal(sluice_retry_delay_ms(0, 60000, 9, &prng), 0);
    assert_int_equal(sluice_retry_delay_ms(1, 1, 9, &prng), 1);
    assert_int_equal(sluice_retry_delay_ms(-5, 60000, 1, &prng), 0);
    assert_in_range(sluice_retry_delay_ms(5000, 1000, 1, &prng), 500, 1000);
    assert_in_range(sluice_retry_delay_ms(INT64_MAX / 2 + 1, INT64_MAX, 9, &prng), INT64_MAX / 2,
                    INT64_MAX);
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
    (void)state;
    struct sluice_prng a = {.state = 7}, b = {.state = 7}, c = {.state = 8};
    uint64_t first = sluice_prng_next(&a);
    assert_true(first == sluice_prng_next(&b));
    assert_true(first != sluice_prng_next(&c));
    assert_int_equal(sluice_prng_below(&a, 0), 0);
    assert_int_equal(sluice_prng_below(&a, 1), 0);
    for (int i = 0; i < 1000; i++) {
        assert_in_range(sluice_prng_below(&a, 10), 0, 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(delays_double_up_to_the_limit),
                                       cmocka_unit_test(small_and_odd_bounds_hold),
                                       cmocka_unit_test(the_same_seed_gives_the_same_numbers)};
    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
