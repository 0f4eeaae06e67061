/* SPDX-License-Identifier: Apache-2.0 */
/* What is in hand when its consumer, or its whole stream, is deleted and made anew. */
#include "core/engine.h"

#include "engine_fixture.h"
#include <string.h>

static struct fixture f;

static const char *consumer_is(enum sluice_consumer state)
{
    return fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_CONSUMER, .consumer = state});
}

/* Message 7 of another stream. */
static const char *deliver_namesake(void)
{
    return fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_MESSAGE,
                                                  .message = {.sequence = 7,
                                                              .stored_ms = 6,
                                                              .horizon_ms = f.now_ms,
                                                              .deliveries = 1,
                                                              .size = 100,
                                                              .pull = f.pull}});
}

static void another_message_of_the_same_number_is_another_message(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    struct sluice_ticket before = f.ticket;
    assert_string_equal(deliver_namesake(), "admit; run");
    assert_int_not_equal(f.ticket.slot, before.slot);
    assert_int_equal(sluice_engine_metrics(f.engine)->taken_over, 0);
    assert_int_equal(sluice_engine_metrics(f.engine)->in_flight, 2);
    fixture_close(&f);
}

static void what_a_deleted_consumer_gave_out_is_not_acked(void **state)
{
    static const enum sluice_consumer gone[] = {SLUICE_CONSUMER_MISSING, SLUICE_CONSUMER_ANEW};
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture_open_with_one(&f);
        assert_string_equal(fixture_done(&f, f.ticket, 0, 1), "publish 0");
        (void)consumer_is(gone[i]);
        assert_int_equal(sluice_engine_state(f.engine, f.ticket), SLUICE_MSG_LOST);
        assert_non_null(
            strstr(fixture_published(&f, f.ticket, 0, SLUICE_FATE_OK), "release lease_lost"));
        fixture_close(&f);
    }
}

static void what_the_next_consumer_gives_out_goes_on(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_done(&f, f.ticket, 0, 1), "publish 0");
    struct sluice_ticket t = f.ticket;
    (void)consumer_is(SLUICE_CONSUMER_ANEW);
    assert_non_null(strstr(fixture_deliver(&f, 7, 1), "rebind"));
    assert_string_equal(fixture_published(&f, t, 0, SLUICE_FATE_OK), "ack");
    fixture_close(&f);
}

static void an_ack_to_a_deleted_consumer_is_not_repeated(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    (void)fixture_done(&f, f.ticket, 0, 1);
    assert_string_equal(fixture_published(&f, f.ticket, 0, SLUICE_FATE_OK), "ack");
    (void)consumer_is(SLUICE_CONSUMER_ANEW);
    const char *after = fixture_tick(&f, 10000);
    assert_non_null(strstr(after, "release ack_lost"));
    fixture_close(&f);
}

static void a_consumer_that_is_the_same_changes_nothing(void **state)
{
    static const enum sluice_consumer same[] = {SLUICE_CONSUMER_THERE, SLUICE_CONSUMER_UNKNOWN};
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture_open_with_one(&f);
        assert_string_equal(fixture_done(&f, f.ticket, 0, 1), "publish 0");
        (void)consumer_is(same[i]);
        assert_string_equal(fixture_published(&f, f.ticket, 0, SLUICE_FATE_OK), "ack");
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_message_of_the_same_number_is_another_message),
        cmocka_unit_test(what_a_deleted_consumer_gave_out_is_not_acked),
        cmocka_unit_test(what_the_next_consumer_gives_out_goes_on),
        cmocka_unit_test(an_ack_to_a_deleted_consumer_is_not_repeated),
        cmocka_unit_test(a_consumer_that_is_the_same_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
