/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the engine at its edge: configuration, outputs, steps, records, effects, pulls,
 * memory. */
#include "engine_fixture.h"

#include <stdio.h>
#include <string.h>

#define MANY 1000u /* messages: more than one step's effects have room for */

static struct fixture f;

static uint64_t failures_of(enum sluice_failure failure)
{
    return sluice_engine_metrics(f.engine)->failures[failure];
}

/* ---- Configuration ---- */

static void expect_refused(const struct sluice_engine_config *c, const char *field)
{
    struct sluice_engine *engine = NULL;
    struct sluice_err err = {.rc = SLUICE_OK};
    assert_int_equal(sluice_engine_create(c, 0, &engine, &err), SLUICE_ERR_CONFIG);
    assert_null(engine);
    assert_non_null(strstr(err.text, field));
}

static void configuration_is_checked_by_name(void **state)
{
    (void)state;
#define REFUSED_AS(field, value, name)                                                             \
    do {                                                                                           \
        struct sluice_engine_config c = fixture_config();                                          \
        c.field = (value);                                                                         \
        expect_refused(&c, name);                                                                  \
    } while (0)
#define REFUSED(field, value) REFUSED_AS(field, value, #field)
    REFUSED(ack_wait_ms, 0);
    REFUSED(handler_timeout_ms, -1);
    REFUSED(nak_delay_ms, 0);
    REFUSED(settle_timeout_ms, 0);
    REFUSED(journal_timeout_ms, 0);
    REFUSED(pull_expires_ms, 0);
    REFUSED(pull_heartbeat_ms, 0);
    REFUSED(suspect_deliveries, 0);
    REFUSED(max_in_flight, 0);
    REFUSED(max_in_flight, SLUICE_IN_FLIGHT_MAX + 1);
    REFUSED(nak_delay_max_ms, 999);
    REFUSED(pull_heartbeat_ms, 2501);
    REFUSED(dependencies_count, 2);
    REFUSED(dependencies_count, SLUICE_DEPENDENCIES_MAX + 1);
    REFUSED_AS(dependencies[0].half_open_max, 0, "breaker llm: half_open_max");
    REFUSED_AS(dependencies[2].half_open_max, 0, "breaker publish: half_open_max");
}

static void the_largest_configuration_is_accepted(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    c.max_in_flight = SLUICE_IN_FLIGHT_MAX;
    c.nak_delay_max_ms = c.nak_delay_ms;
    c.pull_heartbeat_ms = 2500;
    c.dependencies_count = SLUICE_DEPENDENCIES_MAX;
    for (uint32_t i = SLUICE_DEP_SERVICES; i < SLUICE_DEPENDENCIES_MAX; i++) {
        c.dependencies[i] = sluice_breaker_service("service");
    }
    fixture_open(&f, &c);
    assert_string_equal(fixture_connect(&f), "pull 65536");
    fixture_close(&f);
}

/* ---- Steps, outputs, records ---- */

static void done_with_outputs(uint8_t count, const char *expected)
{
    static uint64_t ids[SLUICE_EFFECTS_MAX + 1];
    for (uint32_t i = 0; i <= SLUICE_EFFECTS_MAX; i++) {
        ids[i] = 100 + i;
    }
    struct sluice_event ev = {
        .kind = SLUICE_EV_VERDICT,
        .ticket = f.ticket,
        .verdict = {.kind = SLUICE_VERDICT_DONE, .outputs_count = count, .outputs = ids}};
    const char *printed = fixture_step(&f, ev);
    assert_memory_equal(printed, expected, strlen(expected));
}

static void sixty_four_outputs_are_all_awaited(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    done_with_outputs(SLUICE_EFFECTS_MAX, "publish 0; publish 1;");
    assert_int_equal(f.effects.count, SLUICE_EFFECTS_MAX);
    for (uint8_t i = 0; i < SLUICE_EFFECTS_MAX - 1; i++) {
        assert_string_equal(fixture_published(&f, f.ticket, i, SLUICE_FATE_OK), "");
    }
    assert_string_equal(fixture_published(&f, f.ticket, 63, SLUICE_FATE_OK), "ack");
    fixture_close(&f);
}

static void sixty_five_outputs_are_refused(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    done_with_outputs(SLUICE_EFFECTS_MAX + 1, "nak");
    assert_int_equal(failures_of(SLUICE_FAILURE_NO_MEMORY), 1);
    fixture_close(&f);
}

static void ask_for(uint16_t count)
{
    static struct sluice_step_request requests[SLUICE_STEPS_MAX + 1];
    for (uint32_t i = 0; i <= SLUICE_STEPS_MAX; i++) {
        requests[i] = (struct sluice_step_request){.hash = {i, i}, .dependency = SLUICE_DEP_NONE};
    }
    (void)fixture_ask(&f, f.ticket, requests, count, 1);
}

static void steps_are_bounded(void **state)
{
    (void)state;
    for (uint16_t over = 0; over <= 1; over++) {
        fixture_open_with_one(&f);
        ask_for((uint16_t)(SLUICE_STEPS_MAX + over));
        assert_int_equal(sluice_engine_state(f.engine, f.ticket),
                         over ? SLUICE_MSG_NAKING : SLUICE_MSG_WAITING);
        assert_int_equal(failures_of(SLUICE_FAILURE_NO_MEMORY), over);
        fixture_close(&f);
    }
}

static void a_slot_forgets_the_room_of_many_steps(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    ask_for(100);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "run");
    (void)fixture_failed(&f, f.ticket, SLUICE_FAILURE_NO_MEMORY, -1);
    (void)fixture_settled(&f, f.ticket, SLUICE_VERB_NAK);
    assert_string_equal(fixture_deliver(&f, 8, 1), "admit; run");
    ask_for(3);
    assert_int_equal(sluice_engine_state(f.engine, f.ticket), SLUICE_MSG_WAITING);
    fixture_close(&f);
}

/* The journal's contents are foreign: more outputs than there can be are cut, and one more that was
 * confirmed finds no room but does no harm. */
static void a_full_record_takes_no_more_outputs(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    struct sluice_record record = {.outputs_count = UINT8_MAX};
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, 2);
    assert_string_equal(fixture_loaded(&f, f.ticket, &record, NULL, 0), "run");
    assert_string_equal(fixture_done(&f, f.ticket, 0, 2), "publish 0; publish 1");
    (void)fixture_published(&f, f.ticket, 0, SLUICE_FATE_OK);
    assert_string_equal(fixture_published(&f, f.ticket, 1, SLUICE_FATE_RETRY),
                        "record failures=1 marked=0");
    assert_int_equal(f.record.outputs_count, SLUICE_EFFECTS_MAX);
    assert_int_equal(f.record.outputs[SLUICE_EFFECTS_MAX - 1], 0);
    fixture_close(&f);
}

static void failures_without_number_explain_every_delivery(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    struct sluice_record record = {.failures = UINT32_MAX};
    c.max_deliver = 0;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, UINT32_MAX);
    assert_string_equal(fixture_loaded(&f, f.ticket, &record, NULL, 0), "run");
    assert_int_equal(sluice_engine_metrics(f.engine)->suspects, 0);
    fixture_close(&f);
}

static void an_unread_delivery_count_is_no_failure(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    c.journal = 0;
    c.max_deliver = 1;
    fixture_open_connected(&f, &c);
    assert_string_equal(fixture_deliver(&f, 7, 0), "admit; run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_NO_MEMORY, -1), "nak");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_NAK), "release naked; pull 1");
    assert_int_equal(f.effects.items[0].failures, 0);
    fixture_close(&f);
}

/* ---- Rate limits ---- */

static void a_step_may_be_limited_without_end(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    c.ack_wait_ms = INT32_MAX;
    c.handler_timeout_ms = INT32_MAX;
    c.nak_delay_max_ms = 1000;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, 1);
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    for (int i = 0; i < 300; i++) {
        (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RATE_LIMITED, 0);
        assert_non_null(strstr(fixture_tick(&f, 5000), "start 0"));
    }
    assert_int_equal(sluice_engine_metrics(f.engine)->rate_limited, 300);
    fixture_close(&f);
}

static uint32_t starts_in(const char *printed)
{
    uint32_t count = 0;
    for (const char *at = printed; (at = strstr(at, "start ")) != NULL; at++) {
        count++;
    }
    return count;
}

#define CALLERS 64u

/* Those that are first asked for while a rate limit holds, and those that waited for an earlier end
 * of it: all come back within a second after it, never as one burst. */
static void calls_after_a_rate_limit_are_spread(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    struct sluice_ticket tickets[CALLERS];
    c.max_in_flight = CALLERS;
    c.retry_after_max_ms = 60000;
    fixture_open_connected(&f, &c);
    for (uint32_t i = 0; i < CALLERS; i++) {
        (void)fixture_deliver(&f, 7 + i, 1);
        tickets[i] = f.ticket;
    }
    for (uint32_t i = 0; i < CALLERS / 2; i++) {
        assert_string_equal(fixture_suspend(&f, tickets[i], i, 0), "start 0");
    }
    for (uint32_t i = 1; i < CALLERS / 2; i++) {
        (void)fixture_step_ended(&f, tickets[i], 0, SLUICE_FATE_RATE_LIMITED, 3000);
    }
    (void)fixture_step_ended(&f, tickets[0], 0, SLUICE_FATE_RATE_LIMITED, 6000);
    for (uint32_t i = CALLERS / 2; i < CALLERS; i++) {
        assert_string_equal(fixture_suspend(&f, tickets[i], i, 0), "");
    }
    assert_int_equal(starts_in(fixture_tick(&f, 5999)), 0);
    uint32_t all = 0;
    for (int i = 0; i < 5; i++) {
        uint32_t now = starts_in(fixture_tick(&f, i == 0 ? 201 : 200));
        assert_in_range(now, 1, CALLERS / 2); /* of about 13 */
        all += now;
    }
    assert_int_equal(all, CALLERS);
    fixture_close(&f);
}

/* A step that belongs to no dependency has nothing to wait for. */
static void a_limit_without_a_dependency_is_a_failure(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    ask_for(1);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RATE_LIMITED, 5000), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, 0),
                        "record failures=1 marked=0");
    assert_int_equal(failures_of(SLUICE_FAILURE_RATE_LIMITED), 1);
    fixture_close(&f);
}

/* ---- Effects and pulls ---- */

/* A suspect's mark holds back more handlers than one step can start. */
static void what_has_no_room_comes_with_the_next_step(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    c.max_in_flight = MANY + 1;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, MANY + 1, 4);
    struct sluice_ticket suspect = f.ticket;
    (void)fixture_answer(&f, suspect, SLUICE_EV_LOADED, SLUICE_FATE_OK);
    for (uint64_t i = 1; i <= MANY; i++) {
        assert_string_equal(fixture_deliver(&f, i, 1), "admit");
    }
    (void)fixture_answer(&f, suspect, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
    (void)fixture_suspend(&f, suspect, 1, 0);
    (void)fixture_answer(&f, suspect, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
    uint32_t first = f.effects.count;
    assert_in_range(first, 1, MANY - 1);
    assert_int_equal(sluice_engine_deadline(f.engine), f.now_ms); /* due at once */
    (void)fixture_tick(&f, 0);
    assert_int_equal(first + f.effects.count, MANY);
    assert_true(sluice_engine_deadline(f.engine) > f.now_ms);
    fixture_close(&f);
}

static struct sluice_engine_config open_with_many_waiting(void)
{
    struct sluice_engine_config c = fixture_config();
    c.max_in_flight = MANY;
    fixture_open_connected(&f, &c);
    for (uint64_t i = 1; i <= MANY; i++) {
        (void)fixture_deliver(&f, i, 1);
        (void)fixture_suspend(&f, f.ticket, 1, 0);
    }
    return c;
}

static void more_timers_than_a_step_has_room_for_come_with_the_next(void **state)
{
    (void)state;
    struct sluice_engine_config c = open_with_many_waiting();
    (void)fixture_tick(&f, c.ack_wait_ms / 3); /* each is due to be renewed */
    assert_int_equal(sluice_engine_deadline(f.engine), f.now_ms);
    assert_in_range(sluice_engine_metrics(f.engine)->renewals, 1, MANY - 1);
    (void)fixture_tick(&f, 0);
    assert_int_equal(sluice_engine_metrics(f.engine)->renewals, MANY);
    fixture_close(&f);
}

static void more_shutting_down_than_a_step_has_room_for_goes_on_with_the_next(void **state)
{
    (void)state;
    (void)open_with_many_waiting();
    (void)fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_ABORT});
    assert_int_equal(sluice_engine_deadline(f.engine), f.now_ms);
    assert_in_range(failures_of(SLUICE_FAILURE_DRAIN), 1, MANY - 1);
    while (sluice_engine_deadline(f.engine) == f.now_ms) {
        (void)fixture_tick(&f, 0);
    }
    assert_int_equal(failures_of(SLUICE_FAILURE_DRAIN), MANY);
    fixture_close(&f);
}

static void more_waiting_than_a_step_has_room_for_start_with_the_next(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    c.max_in_flight = MANY + 1;
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, MANY + 1, 1);
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_RATE_LIMITED, 1000);
    for (uint64_t i = 1; i <= MANY; i++) {
        (void)fixture_deliver(&f, i, 1);
        assert_string_equal(fixture_suspend(&f, f.ticket, 1, 0), "");
    }
    const uint64_t *started = &sluice_engine_metrics(f.engine)->calls_started[SLUICE_DEP_LLM];
    (void)fixture_tick(&f, 2000);
    assert_in_range(*started, 2, MANY);
    assert_int_equal(sluice_engine_deadline(f.engine), f.now_ms);
    (void)fixture_tick(&f, 0);
    assert_int_equal(*started, MANY + 2);
    fixture_close(&f);
}

static void end_pull(void)
{
    (void)fixture_tick(&f, 1000);
    (void)fixture_step(
        &f, (struct sluice_event){.kind = SLUICE_EV_PULL,
                                  .pull = {.pull = f.pull, .status = SLUICE_PULL_ENDED}});
}

/* The pull, which is a long one, brings all its messages but one and falls silent: it is given up
 * and keeps a slot reserved, like those before. */
static void silence_with_one_missing(uint32_t given_up)
{
    static uint64_t sequence;
    struct sluice_ticket tickets[64];
    uint32_t count = 0;
    while (sluice_engine_metrics(f.engine)->pull_credit > given_up + 1) {
        (void)fixture_deliver(&f, ++sequence, 1);
        tickets[count++] = f.ticket;
    }
    assert_non_null(strstr(fixture_tick(&f, 2500), "abandon; check"));
    for (uint32_t i = 0; i < count; i++) {
        (void)fixture_done(&f, tickets[i], 0, 0);
        (void)fixture_settled(&f, tickets[i], SLUICE_VERB_ACK);
    }
}

static void pulls_that_were_given_up_leave_room_or_wait(void **state)
{
    (void)state;
    char expected[16];
    struct sluice_engine_config c = fixture_config();
    c.max_in_flight = 64;
    c.journal = 0;
    c.pull_expires_ms = 3600000;
    fixture_open_connected(&f, &c);
    for (uint32_t given_up = 0; given_up < 16; given_up++) {
        for (int i = 0; i < 16; i++) { /* the short ones after a connect and after a silence */
            end_pull();
        }
        silence_with_one_missing(given_up);
        (void)snprintf(expected, sizeof expected, "pull %u", 64 - given_up - 1);
        assert_string_equal(fixture_tick(&f, 1000), given_up < 15 ? expected : ""); /* all rows */
    }
    assert_string_equal(fixture_tick(&f, 3600000), "pull 64"); /* they have expired */
    fixture_close(&f);
}

static void a_budget_below_one_message_lets_one_come_alone(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    c.max_bytes = 500; /* a message may have 1000 */
    fixture_open(&f, &c);
    assert_string_equal(fixture_connect(&f), "pull 4");
    assert_int_equal(f.effects.items[0].pull.max_bytes, 1000);
    fixture_close(&f);
}

static void a_pull_that_ends_at_once_is_not_asked_for_at_once(void **state)
{
    (void)state;
    fixture_start(&f);
    struct sluice_event ended = {.kind = SLUICE_EV_PULL,
                                 .pull = {.pull = f.pull, .status = SLUICE_PULL_ENDED}};
    assert_string_equal(fixture_step(&f, ended), "");
    assert_string_equal(fixture_tick(&f, 24), "");
    assert_string_equal(fixture_tick(&f, 26), "pull 4");
    (void)fixture_tick(&f, 100);
    ended.pull.pull = f.pull;
    assert_string_equal(fixture_step(&f, ended), "pull 4"); /* it had been open for a while */
    fixture_close(&f);
}

/* ---- Memory ---- */

static void creation_says_when_memory_is_missing(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    struct sluice_err err = {.rc = SLUICE_OK};
    int needed = 0;
    sluice_rc rc;
    do {
        fixture_starves_after = needed++;
        rc = sluice_engine_create(&c, 0, &f.engine, &err);
    } while (rc == SLUICE_ERR_NOMEM);
    assert_int_equal(rc, SLUICE_OK);
    assert_int_equal(needed, 6); /* the engine, messages, free slots, heap, table: and then it is */
    fixture_starves_after = -1;
    fixture_close(&f);
    sluice_engine_destroy(NULL);
}

static void a_message_without_memory_is_naked(void **state)
{
    (void)state;
    for (int enough = 0; enough < 2; enough++) { /* for none or the first of two arrays */
        for (int is_done = 0; is_done < 2; is_done++) {
            fixture_open_with_one(&f);
            fixture_starves_after = enough;
            assert_string_equal(is_done ? fixture_done(&f, f.ticket, 1, 2)
                                        : fixture_suspend(&f, f.ticket, 1, 0),
                                "nak");
            fixture_starves_after = -1;
            fixture_close(&f);
        }
    }
}

static void a_nak_goes_out_without_memory_for_its_record(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    fixture_starves_after = 0;
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1), "nak");
    fixture_starves_after = -1;
    fixture_close(&f);
}

static void a_journal_without_memory_is_no_journal(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    struct sluice_record record = {.failures = 1};
    struct sluice_journaled answer = {.hash = {1, 1}};
    for (int enough = 0; enough < 2; enough++) { /* for the record, for the answers */
        fixture_open_connected(&f, &c);
        (void)fixture_deliver(&f, 7, 2);
        fixture_starves_after = enough;
        assert_string_equal(fixture_loaded(&f, f.ticket, &record, &answer, 1), "nak");
        fixture_starves_after = -1;
        fixture_close(&f);
    }
}

static void a_suspect_without_memory_for_its_mark_does_not_run(void **state)
{
    (void)state;
    fixture_start(&f);
    (void)fixture_deliver(&f, 7, 4);
    fixture_starves_after = 0;
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_OK), "nak");
    fixture_starves_after = -1;
    assert_string_equal(fixture_deliver(&f, 8, 1), "admit; run"); /* nobody waits for it */
    fixture_close(&f);
}

/* ---- The driver's memory ---- */

static const char *deliver_without_memory(uint64_t sequence, uint32_t deliveries)
{
    const char *printed =
        fixture_step(&f, (struct sluice_event){.kind = SLUICE_EV_MESSAGE,
                                               .message = {.sequence = sequence,
                                                           .stored_ms = 5,
                                                           .horizon_ms = f.now_ms,
                                                           .deliveries = deliveries,
                                                           .size = 100,
                                                           .pull = f.pull,
                                                           .has_no_memory = 1}});
    f.delay_ms = f.effects.items[0].settle.delay_ms;
    return printed;
}

static void a_delivery_that_there_is_no_memory_for_is_refused_for_a_while(void **state)
{
    (void)state;
    fixture_start(&f);
    assert_string_equal(deliver_without_memory(7, 1), "refuse");
    assert_in_range(f.delay_ms, 500, 1000);
    assert_string_equal(deliver_without_memory(8, 4), "refuse");
    assert_in_range(f.delay_ms, 4000, 8000);
    assert_string_equal(fixture_tick(&f, 999), "");
    assert_string_equal(fixture_tick(&f, 1), "pull 2"); /* nor is the next asked for at once */
    assert_int_equal(failures_of(SLUICE_FAILURE_NO_MEMORY), 2);
    assert_int_equal(sluice_engine_metrics(f.engine)->refused, 2);
    fixture_close(&f);
}

static void a_redelivery_is_taken_over_without_memory(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    assert_string_equal(deliver_without_memory(7, 2), "rebind; pull 1");
    fixture_close(&f);
}

static void expect_no_memory(void)
{
    assert_int_equal(sluice_engine_state(f.engine, f.ticket), SLUICE_MSG_NAKING);
    assert_int_equal(failures_of(SLUICE_FAILURE_NO_MEMORY), 1);
    assert_int_equal(sluice_engine_breaker(f.engine, SLUICE_DEP_STORE)->consecutive_failures, 0);
    (void)fixture_settled(&f, f.ticket, SLUICE_VERB_NAK);
    assert_string_equal(fixture_deliver(&f, 8, 1), "admit; run");
    fixture_close(&f);
}

static void a_call_without_memory_fails_the_message_and_is_nobodys_fault(void **state)
{
    (void)state;
    fixture_open_with_one(&f); /* a step, and the handler passes its error on */
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_NO_MEMORY, 0), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, 0), "nak");
    assert_int_equal(sluice_engine_metrics(f.engine)->calls_failed[SLUICE_DEP_LLM], 0);
    expect_no_memory();

    fixture_open_with_one(&f);
    assert_string_equal(fixture_done(&f, f.ticket, 1, 0), "store");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_STORED, SLUICE_FATE_NO_MEMORY),
                        "nak");
    expect_no_memory();

    fixture_open_with_one(&f);
    assert_string_equal(fixture_done(&f, f.ticket, 0, 1), "publish 0");
    assert_string_equal(fixture_published(&f, f.ticket, 0, SLUICE_FATE_NO_MEMORY), "nak");
    expect_no_memory();
}

static void an_output_that_failed_outright_outweighs_one_without_memory(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    (void)fixture_done(&f, f.ticket, 0, 2);
    (void)fixture_published(&f, f.ticket, 0, SLUICE_FATE_NO_MEMORY);
    (void)fixture_published(&f, f.ticket, 1, SLUICE_FATE_RETRY);
    assert_int_equal(failures_of(SLUICE_FAILURE_PUBLISH), 1);
    assert_int_equal(failures_of(SLUICE_FAILURE_NO_MEMORY), 0);
    fixture_close(&f);
}

static void a_journal_that_cannot_be_read_for_want_of_memory_is_not_gone_without(void **state)
{
    (void)state;
    fixture_start(&f);
    assert_string_equal(fixture_deliver(&f, 7, 2), "admit; load");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_NO_MEMORY),
                        "nak");
    expect_no_memory();
}

static void a_replay_without_memory_is_not_paid_for_again(void **state)
{
    (void)state;
    struct sluice_engine_config c = fixture_config();
    struct sluice_journaled answer = {.hash = {1, 1}};
    fixture_open_connected(&f, &c);
    (void)fixture_deliver(&f, 7, 2);
    assert_string_equal(fixture_loaded(&f, f.ticket, NULL, &answer, 1), "run");
    assert_string_equal(fixture_suspend(&f, f.ticket, 1, 0), "replay 0");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_NO_MEMORY, 0), "run");
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, 0), "nak");
    expect_no_memory();
}

static void a_mark_without_memory_runs_nothing(void **state)
{
    (void)state;
    fixture_start(&f);
    (void)fixture_deliver(&f, 7, 4);
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_LOADED, SLUICE_FATE_OK),
                        "record failures=0 marked=1");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_NO_MEMORY),
                        "nak");
    expect_no_memory();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_is_checked_by_name),
        cmocka_unit_test(the_largest_configuration_is_accepted),
        cmocka_unit_test(sixty_four_outputs_are_all_awaited),
        cmocka_unit_test(sixty_five_outputs_are_refused),
        cmocka_unit_test(steps_are_bounded),
        cmocka_unit_test(a_slot_forgets_the_room_of_many_steps),
        cmocka_unit_test(a_full_record_takes_no_more_outputs),
        cmocka_unit_test(failures_without_number_explain_every_delivery),
        cmocka_unit_test(an_unread_delivery_count_is_no_failure),
        cmocka_unit_test(a_step_may_be_limited_without_end),
        cmocka_unit_test(calls_after_a_rate_limit_are_spread),
        cmocka_unit_test(a_limit_without_a_dependency_is_a_failure),
        cmocka_unit_test(what_has_no_room_comes_with_the_next_step),
        cmocka_unit_test(more_timers_than_a_step_has_room_for_come_with_the_next),
        cmocka_unit_test(more_shutting_down_than_a_step_has_room_for_goes_on_with_the_next),
        cmocka_unit_test(more_waiting_than_a_step_has_room_for_start_with_the_next),
        cmocka_unit_test(pulls_that_were_given_up_leave_room_or_wait),
        cmocka_unit_test(a_budget_below_one_message_lets_one_come_alone),
        cmocka_unit_test(a_pull_that_ends_at_once_is_not_asked_for_at_once),
        cmocka_unit_test(creation_says_when_memory_is_missing),
        cmocka_unit_test(a_message_without_memory_is_naked),
        cmocka_unit_test(a_nak_goes_out_without_memory_for_its_record),
        cmocka_unit_test(a_journal_without_memory_is_no_journal),
        cmocka_unit_test(a_suspect_without_memory_for_its_mark_does_not_run),
        cmocka_unit_test(a_delivery_that_there_is_no_memory_for_is_refused_for_a_while),
        cmocka_unit_test(a_redelivery_is_taken_over_without_memory),
        cmocka_unit_test(a_call_without_memory_fails_the_message_and_is_nobodys_fault),
        cmocka_unit_test(an_output_that_failed_outright_outweighs_one_without_memory),
        cmocka_unit_test(a_journal_that_cannot_be_read_for_want_of_memory_is_not_gone_without),
        cmocka_unit_test(a_replay_without_memory_is_not_paid_for_again),
        cmocka_unit_test(a_mark_without_memory_runs_nothing),
    };
    return cmocka_run_group_tests_name("bounds", tests, NULL, NULL);
}
