/* SPDX-License-Identifier: Apache-2.0 */
/* A lease is lost while its message fails, and the next delivery comes to the same process: what
 * the one before has to answer for, and what the new one tries again. */
#include "engine_fixture.h"

#include <string.h>

static struct fixture f;

static enum sluice_msg_state state_now(void)
{
    return sluice_engine_state(f.engine, f.ticket);
}

/* A call of the LLM, and a look-up, which nothing can end: it keeps the lost lease in mind. */
static const struct sluice_step_request call_and_find[] = {
    {.hash = {1, 1}, .dependency = SLUICE_DEP_LLM, .is_paid = 1},
    {.hash = {2, 2}, .dependency = SLUICE_DEP_STORE}};

static const char *recorded(void)
{
    return fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
}

/* The call of a delivery has failed, which is written down; then its lease ends. */
static void lose_a_failed_one(void)
{
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, call_and_find, 2, 1);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_BAD_ANSWER, 0), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 0),
                        "record failures=1 marked=0");
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    assert_string_equal(recorded(), "");
}

/* One call, one failure: the next delivery makes a call of its own, as in another process. */
static void a_failure_that_was_counted_is_not_counted_for_the_next_delivery(void **state)
{
    (void)state;
    lose_a_failed_one();
    assert_non_null(strstr(fixture_deliver(&f, 7, 2), "rebind"));
    const struct sluice_record record = f.record;
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_OK, 0), "load");
    assert_string_equal(fixture_loaded(&f, f.ticket, &record, NULL, 0), "run");
    assert_string_equal(fixture_ask(&f, f.ticket, call_and_find, 2, 1), "start 0; start 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_BAD_ANSWER, 0), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 0),
                        "record failures=2 marked=0");
    fixture_close(&f);
}

/* No race was lost, so that a journal that cannot be read holds nothing up for ever. */
static void a_counted_failure_begins_again_without_a_journal_that_answers(void **state)
{
    (void)state;
    lose_a_failed_one();
    (void)fixture_deliver(&f, 7, 2);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_OK, 0), "load");
    for (int i = 1; i < 5; i++) {
        assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_RETRY), "");
        assert_non_null(strstr(fixture_tick(&f, 100 << i), "load"));
    }
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_RETRY), "run");
    fixture_close(&f);
}

/* What a failure has cancelled has not failed: under another delivery it begins again, whether its
 * end comes before or after that. */
static void a_call_that_a_failure_cancelled_begins_again_under_the_next_delivery(void **state)
{
    (void)state;
    static const struct sluice_step_request two[] = {
        {.hash = {1, 1}, .dependency = SLUICE_DEP_STORE},
        {.hash = {2, 2}, .dependency = SLUICE_DEP_LLM, .is_paid = 1}};
    for (int is_late = 0; is_late < 2; is_late++) {
        struct sluice_engine_config c = fixture_config();
        c.max_deliver = 1;
        fixture_open_connected(&f, &c);
        (void)fixture_deliver(&f, 7, 1);
        (void)fixture_ask(&f, f.ticket, two, 2, 1);
        (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_BAD_ANSWER, 0);
        assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 0),
                            "cancel 1; bury step");
        (void)fixture_tick(&f, 40000);
        assert_int_equal(state_now(), SLUICE_MSG_LOST);
        if (!is_late) {
            assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_CANCELLED, 0), "");
        }
        (void)fixture_deliver(&f, 7, 2);
        const char *begun = fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_RETRY);
        assert_string_equal(begun, is_late ? "run" : "start 1; run");
        assert_string_equal(fixture_ask(&f, f.ticket, NULL, 0, 2), "");
        if (is_late) {
            assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_CANCELLED, 0),
                                "start 1");
        }
        assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_OK, 0), "keep 1; run");
        fixture_close(&f);
    }
}

/* Nor is it asked again when it has an answer all the same, or has failed by itself. */
static void a_cancelled_call_that_has_ended_by_itself_stands(void **state)
{
    (void)state;
    static const enum sluice_fate fates[] = {SLUICE_FATE_OK, SLUICE_FATE_BAD_ANSWER};
    static const struct sluice_step_request two[] = {
        {.hash = {1, 1}, .dependency = SLUICE_DEP_STORE},
        {.hash = {2, 2}, .dependency = SLUICE_DEP_STORE}};
    for (int i = 0; i < 2; i++) {
        struct sluice_engine_config c = fixture_config();
        c.max_deliver = 1;
        fixture_open_connected(&f, &c);
        (void)fixture_deliver(&f, 7, 1);
        (void)fixture_ask(&f, f.ticket, two, 2, 1);
        (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_BAD_ANSWER, 0);
        (void)fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 0);
        (void)fixture_tick(&f, 40000);
        (void)fixture_deliver(&f, 7, 2);
        assert_string_equal(fixture_step_ended(&f, f.ticket, 1, fates[i], 0), "");
        assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_RETRY),
                            "run");
        fixture_close(&f);
    }
}

/* What a commit has cancelled nobody waits for. */
static void a_call_that_a_commit_cancelled_is_not_begun_again(void **state)
{
    (void)state;
    static const struct sluice_step_request two[] = {
        {.hash = {1, 1}, .dependency = SLUICE_DEP_STORE},
        {.hash = {2, 2}, .dependency = SLUICE_DEP_LLM, .is_paid = 1}};
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, two, 2, 1);
    (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0);
    assert_string_equal(fixture_done(&f, f.ticket, 1, 0), "cancel 1; store");
    (void)fixture_tick(&f, 40000);
    (void)fixture_deliver(&f, 7, 2);
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STORED, SLUICE_FATE_RETRY), "run");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_CANCELLED, 0), "");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_that_was_counted_is_not_counted_for_the_next_delivery),
        cmocka_unit_test(a_counted_failure_begins_again_without_a_journal_that_answers),
        cmocka_unit_test(a_call_that_a_failure_cancelled_begins_again_under_the_next_delivery),
        cmocka_unit_test(a_cancelled_call_that_has_ended_by_itself_stands),
        cmocka_unit_test(a_call_that_a_commit_cancelled_is_not_begun_again),
    };
    return cmocka_run_group_tests_name("revived", tests, NULL, NULL);
}
