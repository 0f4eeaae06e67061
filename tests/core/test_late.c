/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that come when their message has gone on: to its commit, to its NAK, into a lost lease,
 * under another delivery, or into a shutdown. */
#include "engine_fixture.h"

#include <string.h>

static struct fixture f;

static enum sluice_msg_state state_now(void)
{
    return sluice_engine_state(f.engine, f.ticket);
}

static const char *kept(uint16_t step, enum sluice_kept result)
{
    return fixture_step(&f,
                        (struct sluice_event){.kind = SLUICE_EV_KEPT,
                                              .ticket = f.ticket,
                                              .kept = {.step = step, .result = (uint8_t)result}});
}

static const char *shut_down(void)
{
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_DRAIN});
    return fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_ABORT});
}

/* The handler asked for two, waited for the first, and runs again while the second is open. */
static void run_with_one_open(void)
{
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    fixture_open_with_one(&f);
    assert_string_equal(fixture_ask(&f, f.ticket, two, 2, 1), "start 0; start 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0; run");
    assert_string_equal(kept(0, SLUICE_KEPT_OK), "");
}

/* …and then commits without it: the answer, which cost money, is kept all the same. */
static void store_with_one_being_kept(void)
{
    run_with_one_open();
    assert_string_equal(fixture_done(&f, f.ticket, 1, 0), "cancel 1; store");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_OK, 0), "keep 1");
}

static void a_late_answer_is_kept_and_disturbs_no_commit(void **state)
{
    (void)state;
    for (int result = SLUICE_KEPT_OK; result <= SLUICE_KEPT_FAILED; result++) {
        store_with_one_being_kept();
        assert_string_equal(kept(1, (enum sluice_kept)result), "");
        assert_int_equal(state_now(), SLUICE_MSG_STORING); /* a lost race starts nothing again */
        assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STORED, SLUICE_FATE_OK), "ack");
        fixture_close(&f);
    }
}

static void a_race_lost_while_the_handler_runs_starts_again_when_it_returns(void **state)
{
    (void)state;
    for (int kind = SLUICE_VERDICT_SUSPENDED; kind <= SLUICE_VERDICT_FAILED; kind++) {
        const struct sluice_step_request one = fixture_request(1), more = fixture_request(2);
        fixture_open_with_one(&f);
        assert_string_equal(fixture_ask(&f, f.ticket, &one, 1, 1), "start 0");
        assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0; run");
        assert_string_equal(kept(0, SLUICE_KEPT_LOST_RACE), "");
        assert_string_equal(kind == SLUICE_VERDICT_DONE ? fixture_done(&f, f.ticket, 1, 1)
                            : kind == SLUICE_VERDICT_FAILED
                                ? fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1)
                                : fixture_ask(&f, f.ticket, &more, 1, 2),
                            "load");
        assert_int_equal(state_now(), SLUICE_MSG_RECEIVED);
        (void)shut_down();
        fixture_close(&f);
    }
}

/* The other step has failed whatever this one's answer would have been. */
static void a_step_s_error_counts_beside_a_lost_race(void **state)
{
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    (void)state;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_ask(&f, f.ticket, two, 2, 1), "start 0; start 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0; run");
    assert_string_equal(kept(0, SLUICE_KEPT_LOST_RACE), "");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_RETRY, 0), "");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 1),
                        "record failures=1 marked=0");
    fixture_close(&f);
}

/* A call that waits for a rate limit is not to be sent when the lease is lost; under another
 * delivery it waits again, and nobody is told that it has failed. */
static void a_call_that_a_lost_lease_dropped_goes_on_under_another_delivery(void **state)
{
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    (void)state;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_ask(&f, f.ticket, two, 2, 3), "start 0; start 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_RATE_LIMITED, 60000), "");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0");
    (void)fixture_tick(&f, fixture_config().ack_wait_ms);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    (void)fixture_deliver(&f, 7, 2);
    assert_string_equal(kept(0, SLUICE_KEPT_OK), "run");
    uint32_t count = 0;
    const struct sluice_step_status *steps = sluice_engine_steps(f.engine, f.ticket, &count);
    assert_int_equal(count, 2);
    assert_int_equal(steps[1].state, SLUICE_STEP_PARKED);
    fixture_close(&f);
}

/* ---- A journal that is away ---- */

/* So many answers of the journal to messages that have gone. */
static void journal_says(enum sluice_fate fate, int times)
{
    for (int i = 0; i < times; i++) {
        (void)fixture_answer(&f, (struct sluice_ticket){0, 99}, SLUICE_EV_KEPT, fate);
    }
}

static void a_journal_that_is_away_is_not_waited_for(void **state)
{
    (void)state;
    static const struct {
        int failures;
        const char *effects;
    } cases[] = {{4, ""}, {5, "store"}, {6, "store"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_open_with_one(&f);
        (void)fixture_suspend(&f, f.ticket, 1, 0);
        assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0; run");
        journal_says(SLUICE_FATE_RETRY, cases[i].failures);
        assert_string_equal(fixture_done(&f, f.ticket, 1, 0), cases[i].effects);
        fixture_close(&f);
    }
}

static void a_failure_is_not_waited_for_in_a_journal_that_is_away(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    journal_says(SLUICE_FATE_RETRY, 5);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1),
                        "record failures=1 marked=0; nak");
    fixture_close(&f);
}

/* One answer that arrives shows that it is back; so does a new connection, for all we know. */
static void a_journal_that_is_back_is_waited_for(void **state)
{
    (void)state;
    for (int is_reconnect = 0; is_reconnect < 2; is_reconnect++) {
        fixture_open_with_one(&f);
        journal_says(SLUICE_FATE_RETRY, 9);
        if (is_reconnect) {
            (void)fixture_connect(&f);
        } else {
            journal_says(SLUICE_FATE_OK, 1);
        }
        assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1),
                            "record failures=1 marked=0");
        assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK),
                            "nak");
        fixture_close(&f);
    }
}

/* ---- Shutting down ---- */

static void a_running_handler_is_heard_out_and_naked(void **state)
{
    (void)state;
    run_with_one_open();
    assert_string_equal(shut_down(), "");
    assert_string_equal(fixture_done(&f, f.ticket, 1, 1), "cancel 1; nak");
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_DRAIN], 1);
    fixture_close(&f);
}

static void nothing_is_parked_while_shutting_down(void **state)
{
    (void)state;
    run_with_one_open();
    (void)shut_down();
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_RATE_LIMITED, 10), "");
    uint32_t count;
    assert_int_equal(sluice_engine_steps(f.engine, f.ticket, &count)[1].state, SLUICE_STEP_FAILED);
    fixture_close(&f);
}

static const char *drain(void)
{
    return fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_DRAIN});
}

/* A rate limit may last longer than the grace, and another process can wait for it as well. */
static void what_only_waits_is_given_back_at_once(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RATE_LIMITED, 10000), "");
    assert_string_equal(drain(), "stop; nak");
    assert_int_equal(f.delay_ms, 0);
    fixture_close(&f);
    fixture_open_with_one(&f); /* it begins to wait only now */
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    assert_string_equal(drain(), "stop");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RATE_LIMITED, 10000),
                        "nak");
    fixture_close(&f);
}

static void a_step_that_ends_while_the_handler_runs_is_no_mistake_of_its(void **state)
{
    (void)state;
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, two, 2, 1);
    (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0); /* it runs … */
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_OK, 0), "keep 1");
    assert_string_equal(fixture_ask(&f, f.ticket, NULL, 0, 2), "run"); /* … and awaited it then */
    assert_string_equal(fixture_ask(&f, f.ticket, NULL, 0, 2), "");    /* would run for ever */
    (void)kept(0, SLUICE_KEPT_OK);
    assert_string_equal(kept(1, SLUICE_KEPT_OK), "record failures=1 marked=0");
    fixture_close(&f);
}

static void what_runs_beside_the_waiting_is_let_end(void **state)
{
    (void)state;
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, two, 2, 3);
    (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RATE_LIMITED, 10000);
    assert_string_equal(drain(), "stop");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_OK, 0), "keep 1");
    assert_string_equal(kept(1, SLUICE_KEPT_OK), "nak"); /* its answer is in the journal */
    fixture_close(&f);
}

static void a_commit_that_waits_for_a_breaker_is_given_back_at_once(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    c.dependencies[SLUICE_DEP_STORE].failure_threshold = 1;
    c.dependencies[SLUICE_DEP_STORE].minimum_sources = 1;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 6, 1);
    (void)fixture_deliver(&f, 7, 1);
    assert_string_equal(fixture_done(&f, (struct sluice_ticket){0, 1}, 1, 0), "store");
    (void)fixture_answer(&f, (struct sluice_ticket){0, 1}, SLUICE_EV_STORED, SLUICE_FATE_RETRY);
    assert_string_equal(fixture_done(&f, f.ticket, 1, 0), "");
    assert_int_equal(state_now(), SLUICE_MSG_STORING);
    assert_string_equal(drain(), "stop; nak");
    fixture_close(&f);
}

/* The handler rejects the message; its dead letter is on its way. */
static void bury_one(void)
{
    struct sluice_engine_config c = fixture_config();
    c.bury_rejected = 1;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, 1);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_REJECTED, -1), "bury rejected");
}

static void a_burial_that_fails_while_shutting_down_is_naked(void **state)
{
    (void)state;
    bury_one();
    assert_string_equal(shut_down(), "");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_RETRY), "nak");
    fixture_close(&f);
}

/* Stored only after it was given up: then it is not ACKed, though nothing is missing. */
static void what_was_given_up_is_not_acked(void **state)
{
    (void)state;
    store_with_one_being_kept();
    f.now_ms += 27600; /* the NAK, which waits for the keeping, would come after the lease's end */
    assert_string_equal(shut_down(), "");
    assert_int_equal(state_now(), SLUICE_MSG_NAKING);
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STORED, SLUICE_FATE_OK), "");
    (void)fixture_tick(&f, 1500);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    assert_string_equal(kept(1, SLUICE_KEPT_OK), "release lease_lost");
    fixture_close(&f);
}

/* ---- Leases ---- */

static void a_commit_that_ends_under_a_new_delivery_is_acked(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_done(&f, f.ticket, 0, 1), "publish 0");
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    (void)fixture_connect(&f);
    struct sluice_ticket t = f.ticket;
    assert_non_null(strstr(fixture_deliver(&f, 7, 2), "rebind"));
    assert_int_equal(sluice_engine_state(f.engine, t), SLUICE_MSG_LOST);
    assert_string_equal(fixture_published(&f, t, 0, SLUICE_FATE_OK), "ack");
    fixture_close(&f);
}

/* The dead letter is there, but somebody else may have the message by now. */
static void a_burial_that_outran_the_lease_is_not_terminated(void **state)
{
    (void)state;
    bury_one();
    f.now_ms += 40000;
    assert_non_null(strstr(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_OK),
                           "release lease_lost"));
    fixture_close(&f);
}

/* Likewise, and another delivery is here: the message has its dead letter, and needs no second. */
static void a_burial_that_ends_under_a_new_delivery_is_terminated(void **state)
{
    (void)state;
    bury_one();
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    (void)fixture_connect(&f);
    struct sluice_ticket t = f.ticket;
    assert_non_null(strstr(fixture_deliver(&f, 7, 2), "rebind"));
    assert_string_equal(fixture_answer(&f, t, SLUICE_EV_BURIED, SLUICE_FATE_OK), "term");
    assert_non_null(strstr(fixture_settled(&f, t, SLUICE_VERB_TERM), "release dead_lettered"));
    fixture_close(&f);
}

/* The dead letter was confirmed before the other delivery came; a call of it has not ended. */
static void a_message_that_has_its_dead_letter_does_not_run_again(void **state)
{
    (void)state;
    const struct sluice_step_request two[] = {{.hash = {1, 1}, .dependency = SLUICE_DEP_STORE},
                                              {.hash = {2, 2}, .dependency = SLUICE_DEP_STORE}};
    struct sluice_engine_config c = fixture_config();
    c.bury_rejected = 1;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, 1);
    (void)fixture_ask(&f, f.ticket, two, 2, 1);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_REJECTED, -1),
                        "cancel 1; bury rejected");
    (void)fixture_tick(&f, 40000);
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_OK), "");
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    (void)fixture_connect(&f);
    struct sluice_ticket t = f.ticket;
    assert_non_null(strstr(fixture_deliver(&f, 7, 2), "term"));
    assert_non_null(strstr(fixture_settled(&f, t, SLUICE_VERB_TERM), "release dead_lettered"));
    fixture_close(&f);
}

/* Renewed on the way to its TERM, it is repeated beyond the end of the lease before. */
static void a_term_is_repeated_as_long_as_its_lease_is_renewed(void **state)
{
    (void)state;
    bury_one();
    int64_t third_ms = fixture_config().ack_wait_ms / 3;
    assert_non_null(strstr(fixture_tick(&f, third_ms), "progress"));
    struct sluice_event renewed = {.kind = SLUICE_EV_SETTLED,
                                   .ticket = f.ticket,
                                   .settled = {.verb = SLUICE_VERB_PROGRESS,
                                               .is_answered = 1,
                                               .settle = f.settle,
                                               .sent_ms = f.now_ms}};
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_OK), "term");
    assert_string_equal(fixture_step(&f, renewed), "");
    assert_non_null(strstr(fixture_tick(&f, 2 * third_ms), "term"));
    assert_null(strstr(f.printed, "release"));
    fixture_close(&f);
}

static void a_handler_that_outran_its_lease_runs_again_for_the_new_delivery(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    struct sluice_ticket t = f.ticket;
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    assert_non_null(strstr(fixture_deliver(&f, 7, 2), "rebind"));
    assert_int_equal(state_now(), SLUICE_MSG_LOST);        /* its run has not ended */
    assert_string_equal(fixture_done(&f, t, 1, 1), "run"); /* and its verdict does not count */
    fixture_close(&f);
}

/* Its record was on the way when the lease ended: with a call still out, and without. */
static void a_failure_that_outran_the_lease_sends_no_nak(void **state)
{
    (void)state;
    const struct sluice_step_request two[] = {{.hash = {1, 1}, .dependency = SLUICE_DEP_STORE},
                                              {.hash = {2, 2}, .dependency = SLUICE_DEP_STORE}};
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, two, 2, 1);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1),
                        "record failures=1 marked=0");
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "");
    assert_non_null(strstr(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_CANCELLED, 0),
                           "release lease_lost"));
    fixture_close(&f);
    fixture_open_with_one(&f);
    (void)fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1);
    f.now_ms += 40000;
    assert_non_null(strstr(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK),
                           "release lease_lost"));
    fixture_close(&f);
}

/* It has no time-out, and may never return. */
static void an_offloaded_function_does_not_keep_a_lost_lease(void **state)
{
    (void)state;
    const struct sluice_step_request two[] = {{.hash = {1, 1}, .dependency = SLUICE_DEP_NONE},
                                              {.hash = {2, 2}, .dependency = SLUICE_DEP_STORE}};
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, two, 2, 3);
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST); /* for the other call, which has one */
    assert_non_null(strstr(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_OK, 0),
                           "cancel 0; release lease_lost"));
    fixture_close(&f);
}

static void a_delivery_that_comes_before_the_nak_takes_over(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    (void)fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1);
    assert_non_null(strstr(fixture_deliver(&f, 7, 2), "rebind")); /* its record is on the way */
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "nak");
    fixture_close(&f);
}

/* ---- The attempt's own deadline */

/* With ample lease: only the deadline counts. */
static void open_with_deadline(int64_t timeout_ms, uint8_t journal)
{
    struct sluice_engine_config c = fixture_config();
    c.ack_wait_ms = 1000 * timeout_ms;
    c.handler_timeout_ms = timeout_ms;
    c.journal = journal;
    c.dependencies[SLUICE_DEP_STORE].failure_threshold = 1;
    c.dependencies[SLUICE_DEP_STORE].minimum_sources = 1;
    c.dependencies[SLUICE_DEP_STORE].reset_timeout_ms = 1000 * timeout_ms;
    fixture_open_connected(&f, &c);
}

static void a_nak_waits_for_a_paid_call_until_the_deadline(void **state)
{
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    (void)state;
    open_with_deadline(5000, 1);
    (void)fixture_deliver(&f, 7, 1);
    (void)fixture_ask(&f, f.ticket, two, 2, 1);
    (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RETRY, 0);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 0), "");
    assert_null(strstr(fixture_tick(&f, 4999), "record"));
    assert_non_null(strstr(fixture_tick(&f, 1), "cancel 1; record failures=1 marked=0"));
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "nak");
    fixture_close(&f);
}

static void a_race_lost_while_the_handler_runs_starts_nothing_past_the_deadline(void **state)
{
    const struct sluice_step_request one = fixture_request(1);
    (void)state;
    open_with_deadline(5000, 1);
    (void)fixture_deliver(&f, 7, 1);
    (void)fixture_ask(&f, f.ticket, &one, 1, 1);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0; run");
    assert_string_equal(kept(0, SLUICE_KEPT_LOST_RACE), "");
    (void)fixture_tick(&f, 5000);
    assert_non_null(strstr(fixture_done(&f, f.ticket, 1, 1), "record failures=1 marked=0"));
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_TIMEOUT], 1);
    fixture_close(&f);
}

/* It has lost a race and waits for its other call to end; the lease ends before that. */
static void a_start_over_that_the_lease_overtakes_goes_on_under_the_next_delivery(void **state)
{
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    (void)state;
    fixture_open_with_one(&f);
    (void)fixture_ask(&f, f.ticket, two, 2, 3);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0");
    assert_string_equal(kept(0, SLUICE_KEPT_LOST_RACE), "cancel 1");
    assert_int_equal(state_now(), SLUICE_MSG_RECEIVED);
    (void)fixture_tick(&f, 60000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    assert_non_null(strstr(fixture_deliver(&f, 7, 2), "rebind"));
    assert_int_equal(state_now(), SLUICE_MSG_RECEIVED);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_CANCELLED, 0), "load");
    fixture_close(&f);
}

static void a_nak_without_a_journal_waits_for_no_call(void **state)
{
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    (void)state;
    open_with_deadline(5000, 0);
    (void)fixture_deliver(&f, 7, 1);
    (void)fixture_ask(&f, f.ticket, two, 2, 1);
    (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RETRY, 0);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 0), "cancel 1; nak");
    fixture_close(&f);
}

static void a_commit_does_not_begin_to_wait_after_the_deadline(void **state)
{
    (void)state;
    open_with_deadline(5000, 1);
    (void)fixture_deliver(&f, 6, 1);
    (void)fixture_deliver(&f, 7, 1);
    (void)fixture_done(&f, (struct sluice_ticket){0, 1}, 1, 0);
    (void)fixture_answer(&f, (struct sluice_ticket){0, 1}, SLUICE_EV_STORED, SLUICE_FATE_RETRY);
    (void)fixture_tick(&f, 5000); /* while the handler runs, which is heard out */
    assert_string_equal(fixture_done(&f, f.ticket, 1, 0), "nak");
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_DEPENDENCY], 1);
    fixture_close(&f);
}

static void a_handler_that_outran_its_deadline_starts_no_call(void **state)
{
    (void)state;
    open_with_deadline(5000, 1);
    (void)fixture_deliver(&f, 7, 1);
    (void)fixture_tick(&f, 5000);
    assert_string_equal(fixture_suspend(&f, f.ticket, 1, 0), "record failures=1 marked=0");
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_TIMEOUT], 1);
    fixture_close(&f);
}

static const char *deliver_late(uint64_t sequence, int64_t age_ms)
{
    return fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_MESSAGE,
                                                  .message = {.sequence = sequence,
                                                              .stored_ms = 5,
                                                              .horizon_ms = f.now_ms - age_ms,
                                                              .deliveries = 2,
                                                              .size = 100,
                                                              .pull = f.pull}});
}

static void a_delivery_read_after_its_lease_takes_nothing_over(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    assert_null(strstr(deliver_late(7, 40000), "re")); /* neither rebind nor refuse */
    assert_int_equal(sluice_engine_metrics(f.engine)->refused, 1);
    assert_int_equal(sluice_engine_metrics(f.engine)->taken_over, 0);
    fixture_close(&f);
}

static void a_delivery_read_late_renews_and_reads_its_journal_first(void **state)
{
    (void)state;
    fixture_start(&f);
    f.now_ms += 20000;
    assert_non_null(strstr(deliver_late(7, 20000), "admit; progress; load"));
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_RETRY), "");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_PROGRESS), "");
    assert_non_null(strstr(fixture_tick(&f, 200), "load")); /* the second try */
    assert_string_equal(fixture_loaded(&f, f.ticket, NULL, NULL, 0), "run");
    fixture_close(&f);
}

static void what_has_not_run_begins_by_its_newest_delivery(void **state)
{
    (void)state;
    fixture_start(&f); /* late, then in time: nothing is waited for any more */
    f.now_ms += 20000;
    assert_non_null(strstr(deliver_late(7, 20000), "admit; progress; load"));
    assert_string_equal(fixture_loaded(&f, f.ticket, NULL, NULL, 0), "");
    assert_non_null(strstr(deliver_late(7, 0), "rebind; run"));
    fixture_close(&f);

    fixture_start(&f); /* in time, then late */
    f.now_ms += 20000;
    assert_non_null(strstr(deliver_late(7, 0), "admit; load"));
    assert_non_null(strstr(deliver_late(7, 15000), "rebind; progress"));
    assert_string_equal(fixture_loaded(&f, f.ticket, NULL, NULL, 0), "");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_PROGRESS), "run");
    fixture_close(&f);
}

/* ---- Marks ---- */

static void suspect_being_marked(void)
{
    fixture_start(&f);
    (void)fixture_deliver(&f, 7, 4);
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_OK),
                        "record failures=0 marked=1");
}

static const char *recorded(struct sluice_ticket t)
{
    return fixture_answer(&f, t, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
}

static void a_suspect_that_has_begun_goes_before_others_begin(void **state)
{
    struct sluice_ticket suspects[3];
    (void)state;
    fixture_start(&f);
    for (uint32_t i = 0; i < 3; i++) {
        (void)fixture_deliver(&f, 7 + i, 9);
        suspects[i] = f.ticket;
    }
    for (uint32_t i = 0; i < 3; i++) {
        (void)fixture_loaded(&f, suspects[i], NULL, NULL, 0);
    }
    assert_string_equal(recorded(suspects[0]), "run");
    (void)fixture_suspend(&f, suspects[0], 1, 0);
    assert_string_equal(recorded(suspects[0]), "record failures=0 marked=1"); /* the next one's */
    assert_int_equal(f.effects.items[0].ticket.slot, suspects[1].slot);
    assert_string_equal(fixture_step_ended(&f, suspects[0], 0, SLUICE_FATE_OK, 0), "keep 0");
    assert_string_equal(recorded(suspects[1]), "run");
    (void)fixture_suspend(&f, suspects[1], 1, 0);
    assert_string_equal(recorded(suspects[1]), "record failures=0 marked=1");
    assert_int_equal(f.effects.items[0].ticket.slot, suspects[0].slot);
    fixture_close(&f);
}

static void a_journal_that_is_read_after_the_lease_and_finds_no_memory_ends_it(void **state)
{
    const struct sluice_record record = {.failures = 1};
    (void)state;
    fixture_start(&f);
    assert_string_equal(fixture_deliver(&f, 7, 2), "admit; load");
    (void)fixture_tick(&f, 40000);
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    fixture_starves_after = 0;
    const char *effects = fixture_loaded(&f, f.ticket, &record, NULL, 0);
    fixture_starves_after = -1;
    assert_string_equal(effects, "release lease_lost; pull 1");
    fixture_close(&f);
}

static void a_mark_that_outran_the_lease_is_cleared_without_a_run(void **state)
{
    (void)state;
    suspect_being_marked();
    f.now_ms += 40000;
    const char *effects = fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
    assert_non_null(strstr(effects, "record failures=0 marked=0"));
    assert_null(strstr(effects, "run"));
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    fixture_close(&f);
}

static void a_mark_that_outran_the_drain_is_cleared_and_naked(void **state)
{
    (void)state;
    suspect_being_marked();
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_DRAIN});
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK),
                        "record failures=0 marked=0");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "nak");
    fixture_close(&f);
}

/* ---- Waiting for a dependency ---- */

static struct sluice_ticket find_started(uint64_t sequence)
{
    const struct sluice_step_request find = {.hash = {1, 1}, .dependency = SLUICE_DEP_STORE};
    assert_string_equal(fixture_deliver(&f, sequence, 1), "admit; run");
    assert_string_equal(fixture_ask(&f, f.ticket, &find, 1, 1), "start 0");
    return f.ticket;
}

/* Who was asked to come back late does not keep those waiting who may go as soon as a trial slot
 * comes free. */
static void what_parks_later_may_go_earlier(void **state)
{
    (void)state;
    for (int is_commit = 0; is_commit < 2; is_commit++) {
        struct sluice_engine_config c = fixture_config();
        struct sluice_breaker_config *store = &c.dependencies[SLUICE_DEP_STORE];
        store->failure_threshold = 1;
        store->half_open_max = 2;
        store->success_threshold = 1;
        store->reset_timeout_ms = 1000;
        c.max_in_flight = 8;
        fixture_open_connected(&f, &c);
        struct sluice_ticket late = find_started(1), failing = find_started(2);
        assert_string_equal(fixture_deliver(&f, 3, 1), "admit; run");
        struct sluice_ticket next = f.ticket;
        (void)fixture_step_ended(&f, failing, 0, SLUICE_FATE_RETRY, 0);
        (void)fixture_step_ended(&f, late, 0, SLUICE_FATE_RATE_LIMITED, 2000);
        (void)fixture_tick(&f, 2000); /* the pause is over, its jitter is not; a trial is due */
        struct sluice_ticket trial = find_started(4);
        (void)find_started(5);
        const struct sluice_step_request find = {.hash = {1, 1}, .dependency = SLUICE_DEP_STORE};
        assert_string_equal(is_commit ? fixture_done(&f, next, 1, 0)
                                      : fixture_ask(&f, next, &find, 1, 1),
                            ""); /* both trial slots are taken */
        assert_non_null(strstr(fixture_step_ended(&f, trial, 0, SLUICE_FATE_OK, 0),
                               is_commit ? "store" : "start 0"));
        assert_int_equal(f.effects.items[0].ticket.slot, next.slot);
        assert_non_null(strstr(fixture_tick(&f, 1000), "start 0"));
        fixture_close(&f);
    }
}

/* ---- Answers from the journal that turn out to be of no use ---- */

/* One journaled answer is being replayed for step 1, while the handler runs again. */
static void run_with_one_replaying(void)
{
    const struct sluice_journaled answer = {.hash = {2, 2}};
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    fixture_start(&f);
    (void)fixture_deliver(&f, 7, 2);
    assert_string_equal(fixture_loaded(&f, f.ticket, NULL, &answer, 1), "run");
    assert_string_equal(fixture_ask(&f, f.ticket, two, 2, 1), "start 0; replay 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0; run");
}

static void a_useless_answer_is_asked_again_while_the_handler_runs(void **state)
{
    (void)state;
    run_with_one_replaying();
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_MISS, 0), "start 1");
    fixture_close(&f);
}

static void a_useless_answer_is_not_asked_again_by_one_that_fails(void **state)
{
    (void)state;
    run_with_one_replaying();
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1), "");
    assert_int_equal(state_now(), SLUICE_MSG_NAKING); /* its answer is being kept */
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_MISS, 0), "");
    fixture_close(&f);
}

static void a_useless_answer_is_not_asked_again_after_the_lease(void **state)
{
    (void)state;
    run_with_one_replaying();
    f.now_ms += 40000;
    assert_null(strstr(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_MISS, 0), "start"));
    assert_int_equal(state_now(), SLUICE_MSG_LOST);
    fixture_close(&f);
}

/* ---- Outputs that fail in different ways ---- */

static void the_worst_outcome_of_the_outputs_decides(void **state)
{
    (void)state;
    static const struct {
        enum sluice_fate first, second;
        enum sluice_failure failure;
    } cases[] = {
        {SLUICE_FATE_OK, SLUICE_FATE_CANCELLED, SLUICE_FAILURE_DEPENDENCY},
        {SLUICE_FATE_CANCELLED, SLUICE_FATE_RETRY, SLUICE_FAILURE_PUBLISH},
        {SLUICE_FATE_RETRY, SLUICE_FATE_CANCELLED, SLUICE_FAILURE_PUBLISH},
        {SLUICE_FATE_PERMANENT, SLUICE_FATE_UNKNOWN, SLUICE_FAILURE_REJECTED},
        {SLUICE_FATE_UNKNOWN, SLUICE_FATE_PERMANENT, SLUICE_FAILURE_REJECTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_open_with_one(&f);
        assert_string_equal(fixture_done(&f, f.ticket, 0, 2), "publish 0; publish 1");
        (void)fixture_published(&f, f.ticket, 0, cases[i].first);
        (void)fixture_published(&f, f.ticket, 1, cases[i].second);
        assert_int_equal(sluice_engine_metrics(f.engine)->failures[cases[i].failure], 1);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_answer_is_kept_and_disturbs_no_commit),
        cmocka_unit_test(a_race_lost_while_the_handler_runs_starts_again_when_it_returns),
        cmocka_unit_test(a_call_that_a_lost_lease_dropped_goes_on_under_another_delivery),
        cmocka_unit_test(a_step_s_error_counts_beside_a_lost_race),
        cmocka_unit_test(a_running_handler_is_heard_out_and_naked),
        cmocka_unit_test(nothing_is_parked_while_shutting_down),
        cmocka_unit_test(a_journal_that_is_away_is_not_waited_for),
        cmocka_unit_test(a_failure_is_not_waited_for_in_a_journal_that_is_away),
        cmocka_unit_test(a_journal_that_is_back_is_waited_for),
        cmocka_unit_test(what_only_waits_is_given_back_at_once),
        cmocka_unit_test(a_step_that_ends_while_the_handler_runs_is_no_mistake_of_its),
        cmocka_unit_test(what_runs_beside_the_waiting_is_let_end),
        cmocka_unit_test(a_commit_that_waits_for_a_breaker_is_given_back_at_once),
        cmocka_unit_test(a_burial_that_fails_while_shutting_down_is_naked),
        cmocka_unit_test(what_was_given_up_is_not_acked),
        cmocka_unit_test(a_commit_that_ends_under_a_new_delivery_is_acked),
        cmocka_unit_test(a_burial_that_outran_the_lease_is_not_terminated),
        cmocka_unit_test(a_burial_that_ends_under_a_new_delivery_is_terminated),
        cmocka_unit_test(a_message_that_has_its_dead_letter_does_not_run_again),
        cmocka_unit_test(a_term_is_repeated_as_long_as_its_lease_is_renewed),
        cmocka_unit_test(a_handler_that_outran_its_lease_runs_again_for_the_new_delivery),
        cmocka_unit_test(a_failure_that_outran_the_lease_sends_no_nak),
        cmocka_unit_test(an_offloaded_function_does_not_keep_a_lost_lease),
        cmocka_unit_test(a_delivery_that_comes_before_the_nak_takes_over),
        cmocka_unit_test(a_nak_waits_for_a_paid_call_until_the_deadline),
        cmocka_unit_test(a_race_lost_while_the_handler_runs_starts_nothing_past_the_deadline),
        cmocka_unit_test(a_start_over_that_the_lease_overtakes_goes_on_under_the_next_delivery),
        cmocka_unit_test(a_nak_without_a_journal_waits_for_no_call),
        cmocka_unit_test(a_commit_does_not_begin_to_wait_after_the_deadline),
        cmocka_unit_test(a_handler_that_outran_its_deadline_starts_no_call),
        cmocka_unit_test(a_delivery_read_after_its_lease_takes_nothing_over),
        cmocka_unit_test(a_delivery_read_late_renews_and_reads_its_journal_first),
        cmocka_unit_test(what_has_not_run_begins_by_its_newest_delivery),
        cmocka_unit_test(a_suspect_that_has_begun_goes_before_others_begin),
        cmocka_unit_test(a_journal_that_is_read_after_the_lease_and_finds_no_memory_ends_it),
        cmocka_unit_test(a_mark_that_outran_the_lease_is_cleared_without_a_run),
        cmocka_unit_test(a_mark_that_outran_the_drain_is_cleared_and_naked),
        cmocka_unit_test(what_parks_later_may_go_earlier),
        cmocka_unit_test(a_useless_answer_is_asked_again_while_the_handler_runs),
        cmocka_unit_test(a_useless_answer_is_not_asked_again_by_one_that_fails),
        cmocka_unit_test(a_useless_answer_is_not_asked_again_after_the_lease),
        cmocka_unit_test(the_worst_outcome_of_the_outputs_decides),
    };
    return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}
