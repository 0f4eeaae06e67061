/* SPDX-License-Identifier: Apache-2.0 */
/* What is delivered again while it waits: for its journal, for a renewal, for its turn behind a
 * suspect. */
#include "engine_fixture.h"

#include <string.h>

static struct fixture f;

static enum sluice_msg_state state_now(void)
{
    return sluice_engine_state(f.engine, f.ticket);
}

static const char *deliver_late(int64_t age_ms)
{
    return fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_MESSAGE,
                                                  .message = {.sequence = 7,
                                                              .stored_ms = 5,
                                                              .horizon_ms = f.now_ms - age_ms,
                                                              .deliveries = 2,
                                                              .size = 100,
                                                              .pull = f.pull}});
}

/* Its lease ended while the journal was read; the next delivery was read late. */
static void retake_while_reading(void)
{
    struct sluice_engine_config c = fixture_config();
    c.handler_timeout_ms = 5000;
    fixture_open_connected(&f, &c);
    assert_non_null(strstr(deliver_late(0), "admit; load"));
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    assert_non_null(strstr(deliver_late(15000), "rebind"));
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
}

static void a_late_one_is_renewed_when_it_comes_back_to_life(void **state)
{
    (void)state;
    retake_while_reading();
    assert_string_equal(fixture_loaded(&f, f.ticket, NULL, NULL, 0), "progress");
    assert_int_equal(state_now(), SLUICE_MSG_RECEIVED);
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_PROGRESS), "run");
    fixture_close(&f);
}

/* The journal has taken all its time: nothing is renewed for a NAK. */
static void one_whose_time_is_over_is_not_renewed(void **state)
{
    (void)state;
    retake_while_reading();
    f.now_ms += 6000;
    assert_string_equal(fixture_loaded(&f, f.ticket, NULL, NULL, 0), "nak; pull 3");
    fixture_close(&f);
}

/* It was waiting for its renewal when its lease ended; the answer comes behind the next delivery.
 */
static void a_renewal_that_is_answered_late_begins_nothing(void **state)
{
    (void)state;
    fixture_start(&f);
    f.now_ms += 20000;
    assert_non_null(strstr(deliver_late(20000), "admit; progress; load"));
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    assert_non_null(strstr(deliver_late(0), "rebind"));
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_PROGRESS), "");
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    fixture_close(&f);
}

/* It starts over: what is left of the run before has to end first, whoever delivers it again. */
static void one_that_starts_over_waits_for_what_it_had_begun(void **state)
{
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    (void)state;
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, two, 2, 3);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0");
    assert_string_equal(
        fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_KEPT,
                                               .ticket = f.ticket,
                                               .kept = {.result = SLUICE_KEPT_LOST_RACE}}),
        "cancel 1");
    assert_int_equal(state_now(), SLUICE_MSG_RECEIVED);
    assert_string_equal(deliver_late(0), "rebind; pull 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_CANCELLED, 0), "load");
    fixture_close(&f);
}

/* Who may run, but for a suspect that waits for those who run now, is not to blame for its time. */
static void waiting_behind_a_suspect_is_no_fault(void **state)
{
    struct sluice_engine_config c = fixture_config();
    struct sluice_ticket seven, suspect;
    (void)state;
    c.handler_timeout_ms = 5000;
    c.max_in_flight = 3;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, 1);
    seven = f.ticket;
    (void)fixture_suspend(&f, seven, 1, 0);
    f.now_ms += 1000;
    (void)fixture_deliver(&f, 9, 4);
    suspect = f.ticket;
    assert_non_null(strstr(fixture_deliver(&f, 8, 1), "run")); /* and does not return */
    (void)fixture_loaded(&f, suspect, NULL, NULL, 0);
    assert_string_equal(fixture_step_ended(&f, seven, 0, SLUICE_FATE_OK, 0), "keep 0");
    assert_string_equal(fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_KEPT,
                                                               .ticket = seven,
                                                               .kept = {.result = SLUICE_KEPT_OK}}),
                        "");
    assert_string_equal(fixture_tick(&f, 4000), "nak");
    assert_int_equal(f.effects.items[0].ticket.slot, seven.slot);
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_JOURNAL], 1);
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_TIMEOUT], 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_one_is_renewed_when_it_comes_back_to_life),
        cmocka_unit_test(one_whose_time_is_over_is_not_renewed),
        cmocka_unit_test(a_renewal_that_is_answered_late_begins_nothing),
        cmocka_unit_test(one_that_starts_over_waits_for_what_it_had_begun),
        cmocka_unit_test(waiting_behind_a_suspect_is_no_fault),
    };
    return cmocka_run_group_tests_name("retaken", tests, NULL, NULL);
}
