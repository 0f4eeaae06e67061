/* SPDX-License-Identifier: Apache-2.0 */
/* A journal that cannot be read: how often it is tried before the message goes on without it, and
 * when that would be for nothing. */
#include "engine_fixture.h"

#include <string.h>

static struct fixture f;

#define PAUSE_MS 1600 /* the longest before a reading is tried again */

static const char *unread(void)
{
    return fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_RETRY);
}

static void disconnect(void)
{
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_DISCONNECTED});
}

/* A second delivery, whose journal is being read. */
static void open_with_a_reading(void)
{
    fixture_start(&f);
    assert_string_equal(fixture_deliver(&f, 7, 2), "admit; load");
}

/* So many readings fail; each is tried again. */
static void fail_readings(int count)
{
    for (int i = 0; i < count; i++) {
        assert_string_equal(unread(), "");
        assert_non_null(strstr(fixture_tick(&f, PAUSE_MS), "load"));
    }
}

static void a_message_goes_on_after_five_readings(void **state)
{
    (void)state;
    open_with_a_reading();
    fail_readings(4);
    assert_string_equal(unread(), "run");
    assert_int_equal(sluice_engine_metrics(f.engine)->journal_unread, 1);
    fixture_close(&f);
}

/* It would pay for an answer that can be neither journaled nor published. */
static void without_a_connection_it_is_read_until_the_lease_ends(void **state)
{
    (void)state;
    open_with_a_reading();
    disconnect();
    int64_t end_ms = f.now_ms + fixture_config().ack_wait_ms - 2 * PAUSE_MS;
    while (f.now_ms < end_ms) {
        fail_readings(1);
    }
    assert_string_equal(unread(), "");
    assert_non_null(strstr(fixture_tick(&f, 2 * PAUSE_MS), "release lease_lost"));
    assert_int_equal(sluice_engine_metrics(f.engine)->journal_unread, 0);
    fixture_close(&f);
}

static void it_is_not_read_again_at_once_without_a_connection(void **state)
{
    (void)state;
    open_with_a_reading();
    disconnect();
    assert_string_equal(unread(), "");
    assert_null(strstr(fixture_tick(&f, PAUSE_MS - 1), "load"));
    assert_non_null(strstr(fixture_tick(&f, 1), "load"));
    fixture_close(&f);
}

/* What failed before the connection was back says nothing of the journal now. */
static void a_new_connection_has_five_readings_of_its_own(void **state)
{
    (void)state;
    open_with_a_reading();
    fail_readings(3);
    disconnect();
    fail_readings(2);
    (void)fixture_connect(&f);
    fail_readings(4);
    assert_string_equal(unread(), "run");
    fixture_close(&f);
}

/* The deadline ends it, lease or not. */
static void without_a_connection_it_is_read_until_the_deadline(void **state)
{
    struct sluice_engine_config c = fixture_config();
    (void)state;
    c.ack_wait_ms = 300000;
    c.handler_timeout_ms = 10000;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, 2);
    disconnect();
    fail_readings(6);
    assert_string_equal(unread(), "");
    assert_non_null(strstr(fixture_tick(&f, 400), "nak"));
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_JOURNAL], 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_on_after_five_readings),
        cmocka_unit_test(without_a_connection_it_is_read_until_the_lease_ends),
        cmocka_unit_test(it_is_not_read_again_at_once_without_a_connection),
        cmocka_unit_test(a_new_connection_has_five_readings_of_its_own),
        cmocka_unit_test(without_a_connection_it_is_read_until_the_deadline),
    };
    return cmocka_run_group_tests_name("unread", tests, NULL, NULL);
}
