/* SPDX-License-Identifier: Apache-2.0 */
/* The written-down order of simultaneous events. */
#include "sim/queue.h"

#include "sim/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void earlier_things_come_first(void **state)
{
    struct sim_queue q;
    struct sluice_prng r = {7};
    struct sim_item item = {0};
    int64_t last = INT64_MIN;
    (void)state;
    assert_int_equal(sim_queue_init(&q), 0);
    for (int i = 0; i < 5000; i++) { /* more than its first capacity */
        item.at_ms = (int64_t)sim_below(&r, 1000);
        sim_queue_push(&q, &item);
    }
    for (int i = 0; i < 5000; i++) {
        assert_true(sim_queue_next_ms(&q) >= last);
        sim_queue_pop(&q, &item);
        assert_true(item.at_ms >= last);
        last = item.at_ms;
    }
    assert_true(sim_queue_next_ms(&q) == INT64_MAX);
    sim_queue_fini(&q);
}

static void at_one_time_the_order_is_that_of_insertion(void **state)
{
    struct sim_queue q;
    struct sim_item item = {0};
    (void)state;
    assert_int_equal(sim_queue_init(&q), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        item.at_ms = i % 3;
        item.a = i;
        sim_queue_push(&q, &item);
    }
    uint32_t last[3] = {0, 0, 0};
    for (uint32_t i = 0; i < 1000; i++) {
        sim_queue_pop(&q, &item);
        assert_int_equal(item.a % 3, item.at_ms);
        assert_true(item.a == item.at_ms || item.a > last[item.at_ms]);
        last[item.at_ms] = item.a;
    }
    sim_queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(earlier_things_come_first),
        cmocka_unit_test(at_one_time_the_order_is_that_of_insertion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
