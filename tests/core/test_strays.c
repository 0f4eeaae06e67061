/* SPDX-License-Identifier: Apache-2.0 */
/* Events that belong to nothing: of a ticket that is not out, told twice, for a state that did not
 * ask, or of no known kind. They change nothing and ask for nothing. */
#include "engine_fixture.h"

#include <string.h>

static struct fixture f;

/* Every answer to an effect, none of which is out for ticket `t` but for its step 0. */
static void feed_strays(struct sluice_ticket t)
{
    static const struct sluice_event strays[] = {
        {.kind = SLUICE_EV_VERDICT, .verdict = {.kind = SLUICE_VERDICT_DONE, .failed_step = -1}},
        {.kind = SLUICE_EV_VERDICT, .verdict = {.kind = SLUICE_VERDICT_FAILED, .failed_step = -1}},
        {.kind = SLUICE_EV_STEP, .step = {.step = 1}},
        {.kind = SLUICE_EV_STEP, .step = {.step = UINT16_MAX}},
        {.kind = SLUICE_EV_KEPT, .kept = {.result = SLUICE_KEPT_LOST_RACE}},
        {.kind = SLUICE_EV_LOADED, .loaded = {.fate = SLUICE_FATE_OK}},
        {.kind = SLUICE_EV_RECORDED},
        {.kind = SLUICE_EV_STORED},
        {.kind = SLUICE_EV_PUBLISHED},
        {.kind = SLUICE_EV_PUBLISHED, .published = {.output = 63}},
        {.kind = SLUICE_EV_PUBLISHED, .published = {.output = 64}},
        {.kind = SLUICE_EV_BURIED},
        {.kind = SLUICE_EV_SETTLED, .settled = {.verb = SLUICE_VERB_ACK, .is_answered = 1}},
        {.kind = SLUICE_EV_SETTLED, .settled = {.verb = SLUICE_VERB_NAK, .is_answered = 1}},
        {.kind = SLUICE_EV_SETTLED, .settled = {.verb = SLUICE_VERB_TERM, .is_answered = 1}},
        {.kind = SLUICE_EV_PULL, .pull = {.pull = 99, .status = SLUICE_PULL_GONE}},
        {.kind = SLUICE_EV_COUNT},
        {.kind = (enum sluice_event_kind)(SLUICE_EV_COUNT + 1)}};
    enum sluice_msg_state before = sluice_engine_state(f.engine, t);
    for (size_t i = 0; i < sizeof strays / sizeof strays[0]; i++) {
        struct sluice_event ev = strays[i];
        ev.ticket = t;
        assert_string_equal(fixture_step(&f, ev), "");
        assert_int_equal(sluice_engine_state(f.engine, t), before);
    }
}

static void a_waiting_message_waits_for_its_step_alone(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    (void)fixture_suspend(&f, f.ticket, 1, 0);
    assert_int_equal(sluice_engine_state(f.engine, f.ticket), SLUICE_MSG_WAITING);
    feed_strays(f.ticket);
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0; run");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), ""); /* twice */
    fixture_close(&f);
}

static void a_message_on_its_way_out_hears_its_own_verdict_alone(void **state)
{
    (void)state;
    static const struct {
        enum sluice_verb mine, others[3];
    } cases[] = {{SLUICE_VERB_ACK, {SLUICE_VERB_TERM, SLUICE_VERB_NAK, SLUICE_VERB_PROGRESS}},
                 {SLUICE_VERB_TERM, {SLUICE_VERB_ACK, SLUICE_VERB_NAK, SLUICE_VERB_PROGRESS}}};
    for (size_t i = 0; i < 2; i++) {
        struct sluice_engine_config c = fixture_config();
        c.bury_rejected = 1;
        fixture_open_connected(&f, &c);
        (void)fixture_deliver(&f, 7, 1);
        if (cases[i].mine == SLUICE_VERB_ACK) {
            assert_string_equal(fixture_done(&f, f.ticket, 0, 0), "ack");
        } else {
            (void)fixture_failed(&f, f.ticket, SLUICE_FAILURE_REJECTED, -1);
            assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_OK),
                                "term");
        }
        for (int k = 0; k < 3; k++) {
            assert_string_equal(fixture_settled(&f, f.ticket, cases[i].others[k]), "");
        }
        assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_BURIED, SLUICE_FATE_OK), "");
        assert_non_null(strstr(fixture_settled(&f, f.ticket, cases[i].mine), "release"));
        fixture_close(&f);
    }
}

static void a_nak_is_answered_once_it_has_been_sent(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, -1),
                        "record failures=1 marked=0");
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_NAK), "");
    assert_string_equal(fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK), "nak");
    f.settle++;
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_NAK), ""); /* of another */
    f.settle--;
    assert_string_equal(fixture_settled(&f, f.ticket, SLUICE_VERB_NAK), "release naked; pull 1");
    fixture_close(&f);
}

static void tickets_that_are_not_out_are_nobodys(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    struct sluice_ticket t = f.ticket;
    const struct sluice_ticket others[] = {{t.slot, t.generation + 1}, /* not yet */
                                           {t.slot, 0},
                                           {t.slot + 1, 1}, /* never used */
                                           {4, 1},          /* beyond the last */
                                           {UINT32_MAX, UINT32_MAX}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        uint32_t count = 99;
        feed_strays(others[i]);
        assert_int_equal(sluice_engine_state(f.engine, others[i]), SLUICE_MSG_DONE);
        assert_null(sluice_engine_steps(f.engine, others[i], &count));
        assert_int_equal(count, 0);
    }
    assert_string_equal(fixture_done(&f, t, 0, 0), "ack"); /* the one that is out is as it was */
    fixture_close(&f);
}

static void looking_in_has_bounds(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    uint32_t count = 0;
    (void)fixture_suspend(&f, f.ticket, 5, 0);
    assert_int_equal(sluice_engine_steps(f.engine, f.ticket, &count)[0].hash.low, 5);
    assert_int_equal(count, 1);
    assert_int_equal(sluice_engine_breaker(f.engine, 2)->state, SLUICE_BREAKER_CLOSED);
    assert_null(sluice_engine_breaker(f.engine, 3));
    assert_int_equal(sluice_engine_is_connected(f.engine), 1);
    fixture_close(&f);
}

static void an_unknown_verdict_is_a_failure(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    struct sluice_event ev = {
        .kind = SLUICE_EV_VERDICT,
        .ticket = f.ticket,
        .verdict = {.kind = 99, .failure = SLUICE_FAILURE_HANDLER, .failed_step = -1}};
    assert_string_equal(fixture_step(&f, ev), "record failures=1 marked=0");
    fixture_close(&f);
}

/* The step that it names does not exist: then the error is the handler's own. */
static void a_verdict_may_name_no_step_of_others(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_HANDLER, 0),
                        "record failures=1 marked=0");
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_HANDLER], 1);
    assert_int_equal(f.record.epoch, 1);
    fixture_close(&f);
}

/* The answers of KEPT come from outside: an index beyond the steps names none of them. */
static void a_lost_race_of_no_step_starts_again(void **state)
{
    (void)state;
    fixture_open_with_one(&f);
    const struct sluice_step_request two[] = {fixture_request(1), fixture_request(2)};
    assert_string_equal(fixture_ask(&f, f.ticket, two, 2, 3), "start 0; start 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_OK, 0), "keep 0");
    struct sluice_event kept = {.kind = SLUICE_EV_KEPT,
                                .ticket = f.ticket,
                                .kept = {.step = 99, .result = SLUICE_KEPT_LOST_RACE}};
    assert_string_equal(fixture_step(&f, kept), "cancel 1");
    assert_string_equal(fixture_step_ended(&f, f.ticket, 1, SLUICE_FATE_CANCELLED, 0), "load");
    fixture_close(&f);
}

static void every_list_has_names_and_an_end(void **state)
{
    (void)state;
#define NAMES(function, type, count, unknown)                                                      \
    do {                                                                                           \
        for (int i = 0; i < (count); i++) {                                                        \
            assert_int_equal(strcmp(function((type)i), "unknown") == 0, i == (unknown));           \
        }                                                                                          \
        assert_string_equal(function((type)(count)), "unknown");                                   \
        assert_string_equal(function((type)-1), "unknown");                                        \
    } while (0)
    NAMES(sluice_msg_state_name, enum sluice_msg_state, SLUICE_MSG_STATE_COUNT, -1);
    NAMES(sluice_outcome_name, enum sluice_outcome, SLUICE_OUTCOME_COUNT, -1);
    NAMES(sluice_failure_name, enum sluice_failure, SLUICE_FAILURE_COUNT, -1);
    NAMES(sluice_fate_name, enum sluice_fate, SLUICE_FATE_COUNT, (int)SLUICE_FATE_UNKNOWN);
    NAMES(sluice_event_name, enum sluice_event_kind, SLUICE_EV_COUNT, -1);
    NAMES(sluice_effect_name, enum sluice_effect_kind, SLUICE_FX_COUNT, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_waiting_message_waits_for_its_step_alone),
        cmocka_unit_test(a_message_on_its_way_out_hears_its_own_verdict_alone),
        cmocka_unit_test(a_nak_is_answered_once_it_has_been_sent),
        cmocka_unit_test(tickets_that_are_not_out_are_nobodys),
        cmocka_unit_test(looking_in_has_bounds),
        cmocka_unit_test(an_unknown_verdict_is_a_failure),
        cmocka_unit_test(a_verdict_may_name_no_step_of_others),
        cmocka_unit_test(a_lost_race_of_no_step_starts_again),
        cmocka_unit_test(every_list_has_names_and_an_end),
    };
    return cmocka_run_group_tests_name("strays", tests, NULL, NULL);
}
