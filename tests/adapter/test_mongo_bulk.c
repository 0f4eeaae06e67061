/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/mongo_bulk.h"

/* Full commands to a server that answers up to `limit` upserts; how many of them it left
 * unanswered. */
static uint32_t send_full(struct sluice_mongo_bulk *b, uint32_t commands, uint32_t limit)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < commands; i++) {
        uint32_t count = b->size;
        assert_in_range(count, 1, SLUICE_MONGO_BULK_MAX);
        if (count > limit) {
            sluice_mongo_bulk_timed_out(b, count);
            lost++;
        } else {
            sluice_mongo_bulk_answered(b, count);
        }
    }
    return lost;
}

static void each_timeout_halves_down_to_one(void **state)
{
    static const uint32_t sizes[] = {32, 16, 8, 4, 2, 1, 1};
    struct sluice_mongo_bulk b;
    (void)state;
    sluice_mongo_bulk_init(&b);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sluice_mongo_bulk_timed_out(&b, b.size);
        assert_int_equal(b.size, sizes[i]);
    }
}

/* Of what was sent, not of what was allowed. */
static void a_small_command_that_hangs_halves_itself(void **state)
{
    struct sluice_mongo_bulk b;
    (void)state;
    sluice_mongo_bulk_init(&b);
    sluice_mongo_bulk_timed_out(&b, 6);
    assert_int_equal(b.size, 3);
}

static void a_server_that_was_away_has_large_commands_again_soon(void **state)
{
    struct sluice_mongo_bulk b;
    (void)state;
    sluice_mongo_bulk_init(&b);
    (void)send_full(&b, 10, 0);
    assert_int_equal(send_full(&b, 48, SLUICE_MONGO_BULK_MAX), 0);
    assert_int_equal(b.size, SLUICE_MONGO_BULK_MAX);
}

static void small_commands_prove_nothing(void **state)
{
    struct sluice_mongo_bulk b;
    (void)state;
    sluice_mongo_bulk_init(&b);
    sluice_mongo_bulk_timed_out(&b, b.size);
    for (int i = 0; i < 100; i++) {
        sluice_mongo_bulk_answered(&b, 31);
    }
    assert_int_equal(b.size, 32);
}

/* For every limit of a server: 100,000 commands, and only a few of them are lost. */
static void a_server_that_hangs_on_large_commands_is_survived(void **state)
{
    (void)state;
    for (uint32_t limit = 1; limit < SLUICE_MONGO_BULK_MAX; limit++) {
        struct sluice_mongo_bulk b;
        sluice_mongo_bulk_init(&b);
        assert_in_range(send_full(&b, 100000, limit), 1, 6 + 4 + 100000 / 4096);
    }
}

static void a_server_that_was_mended_has_large_commands_again(void **state)
{
    struct sluice_mongo_bulk b;
    (void)state;
    sluice_mongo_bulk_init(&b);
    (void)send_full(&b, 100000, 20);
    assert_true(b.size <= 20);
    assert_int_equal(send_full(&b, 3 * 4096, SLUICE_MONGO_BULK_MAX), 0);
    assert_int_equal(b.size, SLUICE_MONGO_BULK_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_timeout_halves_down_to_one),
        cmocka_unit_test(a_small_command_that_hangs_halves_itself),
        cmocka_unit_test(a_server_that_was_away_has_large_commands_again_soon),
        cmocka_unit_test(small_commands_prove_nothing),
        cmocka_unit_test(a_server_that_hangs_on_large_commands_is_survived),
        cmocka_unit_test(a_server_that_was_mended_has_large_commands_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
