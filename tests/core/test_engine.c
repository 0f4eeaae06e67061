/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's decisions, one by one: events in, printed effects out. */
#include "engine_fixture.h"

#include <stdio.h>
#include <string.h>

/* To the point where the handler's one LLM answer has arrived and is kept. */
static void answered(struct fixture *f)
{
    assert_string_equal(fixture_suspend(f, f->ticket, 1, 0), "start 0");
    assert_string_equal(fixture_answer(f, f->ticket, SLUICE_EV_STEP, SLUICE_FATE_OK),
                        "keep 0; run");
}

static void acks_only_after_documents_and_outputs(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    answered(&f);
    assert_string_equal(fixture_done(&f, f.ticket, 1, 2), ""); /* the journal has not answered */
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_KEPT, SLUICE_FATE_OK), "store");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STORED, SLUICE_FATE_OK),
                        "publish 0; publish 1");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_PUBLISHED, SLUICE_FATE_OK), "");
    struct sluice_event second = {
        .kind = SLUICE_EV_PUBLISHED, .ticket = f.ticket, .published = {.output = 1}};
    assert_string_equal(fixture_step(&f, second), "ack");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_ACK), "release acked; pull 1");
    assert_int_equal(sluice_engine_metrics(f.engine)->in_flight, 0);
    fixture_close(&f);
}

/* Until an ACK under way is given up: how often it was sent again, or -1 when that never happens.
 */
static int repeats_of_ack(struct fixture *f)
{
    int repeats = 0;
    (void)fixture_done(f, f->ticket, 1, 0);
    assert_string_equal(fixture_answer(f, f->ticket, SLUICE_EV_STORED, SLUICE_FATE_OK), "ack");
    for (int i = 0; i < 600; i++) {
        const char *effects = fixture_tick(f, 100);
        repeats += strstr(effects, "ack") != NULL && strstr(effects, "release") == NULL;
        if (strstr(effects, "release ack_lost") != NULL) {
            return repeats;
        }
    }
    return -1;
}

static void gives_its_slot_back_when_an_ack_stays_unanswered(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    assert_int_equal(repeats_of_ack(&f), 3);
    assert_int_equal(sluice_engine_metrics(f.engine)->in_flight, 0);
    fixture_close(&f);
}

static void keeps_an_ack_while_there_is_no_connection(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_DISCONNECTED});
    assert_int_equal(repeats_of_ack(&f), -1);
    assert_int_equal(sluice_engine_state(f.engine, f.ticket), SLUICE_MSG_ACKING);
    fixture_close(&f);
}

static void waits_for_one_answer_only_after_the_grace(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    (void)fixture_done(&f, f.ticket, 1, 0);
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STORED, SLUICE_FATE_OK), "ack");
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_ABORT});
    assert_non_null(
        strstr(fixture_tick(&f, fixture_config().settle_timeout_ms), "release ack_lost"));
    fixture_close(&f);
}

static void naks_with_growing_delay_and_buries_at_the_limit(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1),
                        "record failures=1 marked=0");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "nak");
    assert_in_range(f.delay_ms, 500, 1000);
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_NAK), "release naked; pull 1");
    struct sluice_record record = {.failures = 2, .epoch = 1};
    assert_string_equal(fixture_deliver(&f, 7, 3), "admit; load");
    struct sluice_event loaded = {
        .kind = SLUICE_EV_LOADED, .ticket = f.ticket, .loaded = {.record = &record}};
    assert_string_equal(fixture_step(&f, loaded), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1), "bury handler");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_OK), "term");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_TERM),
                        "release dead_lettered; pull 1");
    fixture_close(&f);
}

static void naks_when_the_dead_letter_finds_no_place(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_engine_config c = fixture_config();
    c.bury_rejected = 1;
    fixture_open_connected(&f, &c);
    assert_string_equal(fixture_deliver(&f, 7, 1), "admit; run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_REJECTED, -1), "bury rejected");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_UNKNOWN), "nak");
    fixture_close(&f);
}

static void sends_no_nak_after_the_lease_has_ended(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_suspend(&f, f.ticket, 1, 0), "start 0");
    f.now_ms += 40000; /* frozen: not one renewal was sent */
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STEP, SLUICE_FATE_RETRY),
                        "release lease_lost; pull 4");
    fixture_close(&f);
}

static void renews_while_it_waits_and_counts_from_the_sending(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    int renewals = 0;
    for (int i = 0; i < 100; i++) {
        if (strstr(fixture_tick(&f, 1000), "progress") != NULL) {
            renewals++;
            (void)fixture_settled(&f, f.ticket, SLUICE_VERB_PROGRESS);
        }
    }
    assert_in_range(renewals, 10, 14);
    assert_int_equal(sluice_engine_state(f.engine, f.ticket), SLUICE_MSG_WAITING);
    fixture_close(&f);
}

static void takes_journaled_answers_instead_of_paying_again(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f);
    assert_string_equal(fixture_deliver(&f, 7, 2), "admit; load");
    struct sluice_journaled answer = {.hash = {1, 1}};
    struct sluice_event loaded = {.kind = SLUICE_EV_LOADED,
                                  .ticket = f.ticket,
                                  .loaded = {.answers_count = 1, .answers = &answer}};
    assert_string_equal(fixture_step(&f, loaded), "run");
    assert_string_equal(fixture_suspend(&f, f.ticket, 1, 0), "replay 0");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STEP, SLUICE_FATE_OK), "run");
    assert_string_equal(fixture_suspend(&f, f.ticket, 2, 1), "start 1"); /* another request */
    fixture_close(&f);
}

static void marks_a_suspect_and_runs_it_alone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f);
    (void)fixture_deliver(&f, 7, 4);
    struct sluice_ticket suspect = f.ticket;
    assert_string_equal(fixture_answer(&f, suspect, SLUICE_EV_LOADED, SLUICE_FATE_OK),
                        "record failures=0 marked=1");
    assert_string_equal(fixture_deliver(&f, 8, 1), "admit"); /* its neighbour waits */
    assert_string_equal(fixture_answer(&f, suspect, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "run");
    assert_string_equal(fixture_suspend(&f, suspect, 1, 0), "record failures=0 marked=0; start 0");
    assert_string_equal(fixture_answer(&f, suspect, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "run");
    fixture_close(&f);
}

static void forgets_the_marks_of_a_handler_that_ended(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f);
    (void)fixture_deliver(&f, 7, 6);
    struct sluice_ticket suspect = f.ticket;
    struct sluice_record record = {.is_marked = 1, .stale_marks = 1};
    struct sluice_event loaded = {
        .kind = SLUICE_EV_LOADED, .ticket = suspect, .loaded = {.record = &record}};
    assert_string_equal(fixture_step(&f, loaded), "record failures=0 marked=1 stale=2");
    assert_string_equal(fixture_answer(&f, suspect, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "run");
    /* to wait is not the end: the next run may kill */
    assert_string_equal(fixture_suspend(&f, suspect, 1, 0),
                        "record failures=0 marked=0 stale=2; start 0");
    (void)fixture_answer(&f, suspect, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
    assert_string_equal(fixture_answer(&f, suspect, SLUICE_EV_STEP, SLUICE_FATE_OK),
                        "keep 0; record failures=0 marked=1 stale=2");
    assert_string_equal(fixture_answer(&f, suspect, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "run");
    assert_string_equal(fixture_failed(&f, suspect, SLUICE_FAILURE_HANDLER, -1),
                        "record failures=0 marked=0");
    fixture_close(&f);
}

static void buries_the_killer_at_the_third_stale_mark(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f);
    (void)fixture_deliver(&f, 7, 6);
    struct sluice_record record = {.is_marked = 1, .stale_marks = 2};
    struct sluice_event loaded = {
        .kind = SLUICE_EV_LOADED, .ticket = f.ticket, .loaded = {.record = &record}};
    assert_string_equal(fixture_step(&f, loaded), "bury killed_the_process");
    /* without a dead letter it is a killer still, whoever has it next */
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_UNKNOWN), "nak");
    (void)fixture_settled(&f, f.ticket, SLUICE_VERB_NAK);
    (void)fixture_deliver(&f, 7, 7);
    record = (struct sluice_record){.is_marked = 0, .stale_marks = 3};
    loaded.ticket = f.ticket;
    assert_string_equal(fixture_step(&f, loaded), "bury killed_the_process");
    fixture_close(&f);
}

static void asks_for_exactly_the_free_slots(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_engine_config c = fixture_config();
    fixture_open(&f, &c);
    assert_string_equal(fixture_connect(&f), "pull 4");
    for (uint64_t i = 1; i <= 4; i++) {
        assert_string_equal(fixture_deliver(&f, i, 1), "admit; run");
    }
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_NO_MEMORY, -1), "nak");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_NAK), "release naked; pull 1");
    fixture_close(&f);
}

static void finds_a_message_whose_neighbour_in_the_table_has_gone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f);
    const uint64_t step = 0x664ddccf40000000u; /* 4, 5 and 6 times it have the same place */
    assert_string_equal(fixture_deliver(&f, 4 * step, 1), "admit; run");
    struct sluice_ticket first = f.ticket;
    assert_string_equal(fixture_deliver(&f, 5 * step, 1), "admit; run");
    assert_string_equal(fixture_deliver(&f, 6 * step, 1), "admit; run");
    (void)fixture_failed(&f, first, SLUICE_FAILURE_NO_MEMORY, -1);
    (void)fixture_settled(&f, first, SLUICE_VERB_NAK);
    assert_string_equal(fixture_deliver(&f, 6 * step, 2), "rebind; pull 1");
    assert_string_equal(fixture_deliver(&f, 5 * step, 2), "rebind; pull 1");
    fixture_close(&f);
}

static void notices_a_silent_pull_and_reserves_its_slots(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f);
    assert_string_equal(fixture_tick(&f, 1499), ""); /* the first one beats each 500 ms */
    assert_string_equal(fixture_tick(&f, 1), "abandon; check");
    assert_string_equal(fixture_tick(&f, 499), ""); /* it may still bring something */
    assert_string_equal(fixture_tick(&f, 1), "pull 4");
    fixture_close(&f);
}

/* Nothing comes any more of a connection that is gone: neither of an open pull, nor of one that was
 * given up on it. */
static void a_new_connection_reserves_nothing_for_earlier_pulls(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f);
    assert_string_equal(fixture_connect(&f), "abandon; pull 4");
    assert_string_equal(fixture_tick(&f, 1500), "abandon; check");
    assert_string_equal(fixture_connect(&f), "pull 4");
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_DISCONNECTED});
    (void)fixture_deliver(&f, 1, 1); /* it was on its way to us already */
    assert_string_equal(fixture_connect(&f), "abandon; pull 3");
    assert_int_equal(sluice_engine_metrics(f.engine)->pulls_open, 1);
    assert_int_equal(sluice_engine_metrics(f.engine)->pull_credit, 3);
    fixture_close(&f);
}

static void opens_the_breaker_after_failures_of_three_messages(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_engine_config c = fixture_config();
    c.dependencies[SLUICE_DEP_LLM].minimum_sources = 3;
    c.max_in_flight = 8;
    fixture_open_connected(&f, &c);
    struct sluice_ticket t[6];
    struct sluice_engine_pause pause;
    for (uint64_t i = 0; i < 6; i++) {
        (void)fixture_deliver(&f, i + 1, 1);
        t[i] = f.ticket;
        assert_string_equal(fixture_suspend(&f, t[i], 1, 0), "start 0");
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sluice_engine_is_paused(f.engine, &pause), 0);
        (void)fixture_answer(&f, t[i], SLUICE_EV_STEP, SLUICE_FATE_RETRY);
    }
    assert_int_equal(sluice_engine_is_paused(f.engine, &pause), 1);
    assert_int_equal(pause.dependency, SLUICE_DEP_LLM);
    assert_int_equal(pause.is_rate_limit, 0);
    (void)fixture_deliver(&f, 9, 1);
    assert_string_equal(fixture_suspend(&f, f.ticket, 1, 0), ""); /* waits inside its lease */
    fixture_close(&f);
}

/* A rate limit and an open breaker hold back at once: the one that lasts longer is told. */
static void what_holds_back_longest_is_told(void **state)
{
    (void)state;
    static const struct {
        int64_t retry_after_ms;
        uint32_t dependency;
    } cases[] = {{1000, SLUICE_DEP_STORE}, {9000, SLUICE_DEP_LLM}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        struct sluice_engine_config c = fixture_config();
        struct sluice_engine_pause pause;
        c.retry_after_max_ms = 60000;
        c.dependencies[SLUICE_DEP_STORE].failure_threshold = 1;
        c.dependencies[SLUICE_DEP_STORE].minimum_sources = 1;
        c.dependencies[SLUICE_DEP_STORE].reset_timeout_ms = 5000;
        fixture_open_connected(&f, &c);
        (void)fixture_deliver(&f, 1, 1);
        (void)fixture_suspend(&f, f.ticket, 1, 0);
        (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RATE_LIMITED,
                                 cases[i].retry_after_ms);
        assert_int_equal(sluice_engine_is_paused(f.engine, &pause), 1);
        assert_int_equal(pause.dependency, SLUICE_DEP_LLM);
        assert_int_equal(pause.is_rate_limit, 1);
        (void)fixture_deliver(&f, 2, 1);
        assert_string_equal(fixture_done(&f, f.ticket, 1, 0), "store");
        (void)fixture_answer(&f, f.ticket, SLUICE_EV_STORED, SLUICE_FATE_RETRY);
        assert_int_equal(sluice_engine_is_paused(f.engine, &pause), 1);
        assert_int_equal(pause.dependency, cases[i].dependency);
        assert_int_equal(pause.is_rate_limit, cases[i].dependency == SLUICE_DEP_LLM);
        fixture_close(&f);
    }
}

/* Our clock and the server's may differ by minutes: what a killed server may have delivered before
 * is read from the journal all the same. */
static void reads_the_journal_after_a_reconnect_whatever_the_clocks_say(void **state)
{
    (void)state;
    static const struct {
        int64_t ahead_ms; /* the server's clock */
        const char *effects;
    } cases[] = {{0, "admit; load"}, {300000, "admit; load"}, {300001, "admit; run"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        fixture_start(&f);
        (void)fixture_connect(&f);
        struct sluice_event ev = {.kind = SLUICE_EV_MESSAGE,
                                  .message = {.sequence = 7,
                                              .stored_ms = f.now_ms + cases[i].ahead_ms,
                                              .horizon_ms = f.now_ms,
                                              .deliveries = 1,
                                              .size = 100,
                                              .pull = f.pull}};
        assert_string_equal(fixture_step(&f, ev), cases[i].effects);
        fixture_close(&f);
    }
}

static void drains_and_tells_when_nothing_is_left(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_with_one(&f);
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    assert_string_equal(fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_DRAIN}), "stop");
    assert_string_equal(fixture_deliver(&f, 9, 1), "refuse");
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_INTAKE_STOPPED});
    assert_string_equal(fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_ABORT}),
                        "cancel 0; nak");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_NAK),
                        "cancel 0; release naked; drained");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks_only_after_documents_and_outputs),
        cmocka_unit_test(gives_its_slot_back_when_an_ack_stays_unanswered),
        cmocka_unit_test(keeps_an_ack_while_there_is_no_connection),
        cmocka_unit_test(waits_for_one_answer_only_after_the_grace),
        cmocka_unit_test(naks_with_growing_delay_and_buries_at_the_limit),
        cmocka_unit_test(naks_when_the_dead_letter_finds_no_place),
        cmocka_unit_test(sends_no_nak_after_the_lease_has_ended),
        cmocka_unit_test(renews_while_it_waits_and_counts_from_the_sending),
        cmocka_unit_test(takes_journaled_answers_instead_of_paying_again),
        cmocka_unit_test(marks_a_suspect_and_runs_it_alone),
        cmocka_unit_test(forgets_the_marks_of_a_handler_that_ended),
        cmocka_unit_test(buries_the_killer_at_the_third_stale_mark),
        cmocka_unit_test(asks_for_exactly_the_free_slots),
        cmocka_unit_test(finds_a_message_whose_neighbour_in_the_table_has_gone),
        cmocka_unit_test(notices_a_silent_pull_and_reserves_its_slots),
        cmocka_unit_test(a_new_connection_reserves_nothing_for_earlier_pulls),
        cmocka_unit_test(opens_the_breaker_after_failures_of_three_messages),
        cmocka_unit_test(what_holds_back_longest_is_told),
        cmocka_unit_test(reads_the_journal_after_a_reconnect_whatever_the_clocks_say),
        cmocka_unit_test(drains_and_tells_when_nothing_is_left),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
