/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory a message in flight takes: as much as the ones before it needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host_fixture.h"

#define WAITING 2000u /* bytes, until it waits */
#define MORE    3000u /* and beyond that */

static size_t taken; /* bytes, since it was zeroed */
static unsigned blocks;

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    taken += size;
    blocks++;
    return realloc(p, size);
}

static const struct sluice_allocator counting = {.resize = resize};

static void delivery_free(struct sluice_source *s, struct sluice_delivery *delivery)
{
    (void)s;
    (void)delivery;
}

static void use(struct inflight *m, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 100) {
        assert_non_null(sluice_arena_alloc(&m->arena, 1, 100));
    }
}

static void message(size_t waiting, size_t more)
{
    static const struct sluice_source_ops ops = {.delivery_free = delivery_free};
    struct sluice_source source = {.ops = &ops};
    struct inflight m;
    taken = 0;
    blocks = 0;
    inflight_open(&m, &fixture.host, (struct sluice_ticket){0, 1}, &fixture.delivery, &counting);
    use(&m, waiting);
    inflight_waits(&m);
    use(&m, more);
    inflight_close(&m, &source);
}

static void equal_messages_take_little_more_than_they_use(void **state)
{
    (void)state;
    size_t all = 0;
    unsigned all_blocks = 0;
    for (int i = 0; i < 1000; i++) {
        message(WAITING, MORE);
        if (i > 0) {
            assert_true(taken < (WAITING + MORE) * 135 / 100);
        }
        all += taken;
        all_blocks += blocks;
    }
    assert_in_range(all / 1000, WAITING + MORE, (WAITING + MORE) * 120 / 100); /* 112 are bytes */
    assert_in_range(all_blocks, 2000, 2200);
}

static void a_large_one_in_a_hundred_does_not_count(void **state)
{
    (void)state;
    size_t small = 0;
    for (int i = 0; i < 4000; i++) {
        message(i % 100 == 50 ? 30 * WAITING : WAITING, MORE);
        small += i % 100 == 50 ? 0 : taken;
    }
    assert_in_range(small / 3960, WAITING + MORE, (WAITING + MORE) * 120 / 100);
}

static void what_grows_is_learned_within_fifty_messages(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        message(WAITING, MORE);
    }
    for (int i = 0; i < 50; i++) {
        message(3 * WAITING, MORE);
    }
    assert_in_range(blocks, 2, 3);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, host_fixture_setup, host_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(equal_messages_take_little_more_than_they_use),
        CASE(a_large_one_in_a_hundred_does_not_count),
        CASE(what_grows_is_learned_within_fifty_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
