/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_wheel.h"

#include "nats_fixture.h"
#include <stdlib.h>

#define STEP SLUICE_NATS_WHEEL_STEP_MS
#define NONE SLUICE_NATS_WHEEL_NONE

struct world {
    struct sluice_nats_wheel wheel;
    int calls;
    uint32_t last;
    int64_t again_ms; /* not 0: link it again until then */
};

static void on_answer(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    (void)ctx, (void)outcome, (void)body;
}

static void on_entry(void *ctx, uint32_t index)
{
    struct world *w = ctx;
    w->calls++;
    w->last = index;
    sluice_nats_wheel_unlink(&w->wheel, index);
    if (w->again_ms != 0) {
        sluice_nats_wheel_link(&w->wheel, index, w->again_ms);
    } else {
        sluice_nats_wheel_give_back(&w->wheel, index);
    }
}

static uint32_t open_until(struct world *w, int64_t due_ms)
{
    uint32_t index = sluice_nats_wheel_take(&w->wheel, on_answer, w);
    assert_int_not_equal(index, NONE);
    sluice_nats_wheel_link(&w->wheel, index, due_ms);
    return index;
}

static void close_world(struct world *w)
{
    w->again_ms = 0;
    sluice_nats_wheel_empty(&w->wheel, on_entry, w);
    assert_true(sluice_nats_wheel_is_empty(&w->wheel));
    sluice_nats_wheel_fini(&w->wheel);
}

/* Each is found in the first turn that begins after its time, also when the wheel goes round
 * several times before, or has stood still for longer than it takes to go round. */
static void finds_each_once_within_a_step_of_its_time(void **state)
{
    (void)state;
    static const int64_t waits[] = {0, 1, STEP - 1, STEP, STEP + 1, 2000, 12799, 12800, 60000};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        for (int64_t every = 1; every <= 512; every *= 512) {
            struct world w = {.calls = 0};
            int64_t now = 1000010, due = now + waits[i];
            sluice_nats_wheel_init(&w.wheel);
            sluice_nats_wheel_start(&w.wheel, now);
            uint32_t index = open_until(&w, due);
            while (w.calls == 0 && now <= due + 2 * every * STEP) {
                now += every * STEP;
                sluice_nats_wheel_pass(&w.wheel, now, on_entry, &w);
            }
            assert_int_equal(w.calls, 1);
            assert_int_equal(w.last, index);
            assert_in_range(now - due, 0, every * STEP + STEP);
            assert_int_equal(sluice_nats_wheel_behind(&w.wheel, now + STEP), 1);
            close_world(&w);
        }
    }
}

static void what_is_linked_again_is_found_at_its_new_time(void **state)
{
    (void)state;
    struct world w = {.again_ms = 20 * STEP};
    sluice_nats_wheel_init(&w.wheel);
    sluice_nats_wheel_start(&w.wheel, 0);
    for (int i = 0; i < 100; i++) {
        (void)open_until(&w, STEP);
    }
    sluice_nats_wheel_pass(&w.wheel, 10 * STEP, on_entry, &w);
    assert_int_equal(w.calls, 100);
    sluice_nats_wheel_pass(&w.wheel, 20 * STEP, on_entry, &w);
    assert_int_equal(w.calls, 100);
    w.again_ms = 0;
    sluice_nats_wheel_pass(&w.wheel, 21 * STEP, on_entry, &w);
    assert_int_equal(w.calls, 200);
    assert_true(sluice_nats_wheel_is_empty(&w.wheel));
    close_world(&w);
}

static void a_token_means_no_later_request_in_the_same_entry(void **state)
{
    (void)state;
    struct world w = {.calls = 0};
    sluice_nats_wheel_init(&w.wheel);
    uint32_t first = open_until(&w, STEP);
    uint64_t token = sluice_nats_wheel_token(&w.wheel, first);
    assert_int_equal(sluice_nats_wheel_find(&w.wheel, token), first);
    assert_int_equal(sluice_nats_wheel_find(&w.wheel, token + 1), NONE);
    assert_int_equal(sluice_nats_wheel_find(&w.wheel, token | UINT32_MAX), NONE);
    sluice_nats_wheel_empty(&w.wheel, on_entry, &w);
    assert_int_equal(sluice_nats_wheel_find(&w.wheel, token), NONE);
    assert_int_equal(open_until(&w, STEP), first);
    assert_int_equal(sluice_nats_wheel_find(&w.wheel, token), NONE);
    close_world(&w);
}

static void counts_what_is_under_way(void **state)
{
    (void)state;
    const struct sluice_nats_request request = {.subject = "a", .timeout_ms = 1000};
    struct world w = {.calls = 0};
    sluice_nats_wheel_init(&w.wheel);
    (void)open_until(&w, STEP);
    uint32_t index = sluice_nats_wheel_take(&w.wheel, on_answer, &w);
    struct sluice_nats_entry *e = sluice_nats_wheel_at(&w.wheel, index);
    e->copy = sluice_nats_copy_create(&request, 0);
    assert_non_null(e->copy);
    e->copy->pause = SLUICE_NATS_HELD;
    sluice_nats_wheel_link(&w.wheel, index, STEP);
    assert_int_equal(sluice_nats_wheel_under_way(&w.wheel), 1);
    sluice_nats_wheel_unlink(&w.wheel, index);
    e->copy->pause = SLUICE_NATS_NO_PAUSE;
    sluice_nats_wheel_link(&w.wheel, index, STEP);
    assert_int_equal(sluice_nats_wheel_under_way(&w.wheel), 2);
    close_world(&w);
    assert_int_equal(sluice_nats_wheel_under_way(&w.wheel), 0);
}

static void those_that_ended_come_in_their_order(void **state)
{
    (void)state;
    struct world w = {.calls = 0};
    enum sluice_nats_outcome outcome = SLUICE_NATS_ANSWERED;
    sluice_nats_wheel_init(&w.wheel);
    for (int round = 0; round < 2; round++) {
        uint32_t indexes[SLUICE_NATS_LATE + 1];
        for (int i = 0; i <= SLUICE_NATS_LATE; i++) {
            indexes[i] = sluice_nats_wheel_take(&w.wheel, on_answer, &w);
            sluice_nats_wheel_end(&w.wheel, indexes[i], (enum sluice_nats_outcome)i);
        }
        for (int i = 0; i <= SLUICE_NATS_LATE; i++) {
            assert_int_equal(sluice_nats_wheel_next_ended(&w.wheel, &outcome), indexes[i]);
            assert_int_equal(outcome, i);
            sluice_nats_wheel_give_back(&w.wheel, indexes[i]);
        }
        assert_int_equal(sluice_nats_wheel_next_ended(&w.wheel, &outcome), NONE);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_each_once_within_a_step_of_its_time),
        cmocka_unit_test(what_is_linked_again_is_found_at_its_new_time),
        cmocka_unit_test(a_token_means_no_later_request_in_the_same_entry),
        cmocka_unit_test(counts_what_is_under_way),
        cmocka_unit_test(those_that_ended_come_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
