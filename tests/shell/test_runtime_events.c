/* SPDX-License-Identifier: Apache-2.0 */
/* Between the source and the engine: what the engine is told of each thing that the source says,
 * and what the source is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "port/clock.h"
#include "rig.h"
#include "run/probe_answers.h"
#include "sluice/names.h"
#include <string.h>

#define SENT_MS 123456789

static void anew(void **state)
{
    assert_int_equal(rig_teardown(state) | rig_setup(state), 0);
}

/* ---- Handlers ---- */

static sluice_rc asks(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    return sluice_llm(t, &(sluice_llm_request){.user = "what?"}, &reply);
}

static sluice_rc says_ok(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_OK;
}

static sluice_rc fails(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    return sluice_fail(t, SLUICE_RETRY, "for a reason");
}

static sluice_rc rejects(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_REJECT;
}

/* ---- Deliveries ---- */

static void a_delivery_is_told_whole(void **state)
{
    (void)state;
    fixture.delivery.size = 321;
    rig_deliver(asks, 2);
    const struct sluice_ev_message *told = &rig_seen(SLUICE_EV_MESSAGE)->ev.message;
    assert_int_equal(told->sequence, 7);
    assert_int_equal(told->stored_ms, 1700000000123);
    assert_int_equal(told->horizon_ms, fixture.delivery.horizon_ms);
    assert_int_equal(told->deliveries, 2);
    assert_int_equal(told->size, 321);
    assert_true(rig.pull.pull != 0);
    assert_int_equal(told->pull, rig.pull.pull);
    assert_int_equal(told->is_replay, 0);
    assert_int_equal(told->has_no_memory, 0);
    assert_int_equal(rig.freed, 0);
}

static void a_message_of_an_earlier_one_is_told_as_a_replay(void **state)
{
    static const struct {
        sluice_header header;
        int is_replay;
    } cases[] = {{{SLUICE_HEADER_KEY, "k"}, 1},
                 {{SLUICE_HEADER_REPLAY_OF, "S:3:1600000000000000001"}, 1},
                 {{"Content-Type", "text/plain"}, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture.delivery.headers = &cases[i].header;
        fixture.delivery.headers_count = 1;
        rig_deliver(asks, 1);
        assert_int_equal(rig_seen(SLUICE_EV_MESSAGE)->ev.message.is_replay, cases[i].is_replay);
        assert_int_equal(rig_calls(RIG_LOAD), (uint32_t)cases[i].is_replay);
        anew(state);
    }
}

static void a_delivery_that_is_refused_is_given_back(void **state)
{
    (void)state;
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    runtime_drain(rig.runtime);
    assert_int_equal(rig.stops, 1);
    rig_deliver(asks, 1);
    assert_int_equal(rig.freed, 1);
    const struct rig_call *c = rig_call(RIG_SETTLE, 0);
    assert_int_equal(c->settle.verb, SLUICE_VERB_NAK);
    assert_string_equal(c->settle.reply, "r");
    assert_int_equal(c->settle.delay_ms, 0);
    rig_settled(rig_call(RIG_SETTLE, 0), 1, SENT_MS);
    assert_int_equal(rig_seen_count(SLUICE_EV_SETTLED), 0); /* no message of the engine's */
}

/* There is none to keep it in: it comes back, but not at once to the same want. */
static void a_delivery_without_memory_is_refused_for_a_while(void **state)
{
    (void)state;
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    rig.has_no_heap = 1;
    rig_deliver(asks, 1);
    rig.has_no_heap = 0;
    assert_int_equal(rig_seen(SLUICE_EV_MESSAGE)->ev.message.has_no_memory, 1);
    assert_int_equal(rig.freed, 1);
    assert_int_equal(rig_calls(RIG_ASK), 0);
    assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, SLUICE_VERB_NAK);
    assert_true(rig_call(RIG_SETTLE, 0)->settle.delay_ms > 0);
    rig_settled(rig_call(RIG_SETTLE, 0), 1, SENT_MS);
    rig_deliver(asks, 1);
    assert_int_equal(rig_seen(SLUICE_EV_MESSAGE)->ev.message.has_no_memory, 0);
    assert_int_equal(rig_calls(RIG_ASK), 1);
}

static void another_delivery_is_settled_on_its_own_subject(void **state)
{
    (void)state;
    static struct sluice_delivery later;
    rig_deliver(asks, 1);
    later = fixture.delivery;
    later.reply = "r2";
    later.deliveries = 2;
    rig.events.on_delivery(rig.runtime, &later);
    assert_int_equal(rig.freed, 1); /* the later one; the message is the first one's */
    rig_llm(
        rig_call(RIG_ASK, 0),
        &(struct sluice_llm_done){.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_LLM, .text = "no"});
    rig_journal(rig_call(RIG_RECORD, 0), &(struct sluice_journal_done){.fate = SLUICE_FATE_OK});
    assert_string_equal(rig_call(RIG_SETTLE, 0)->settle.reply, "r2");
}

static sluice_rc rejects_the_answer(sluice_turn *t, const sluice_msg *in)
{
    sluice_rc rc = asks(t, in);
    return rc == SLUICE_OK ? SLUICE_REJECT : rc;
}

static void a_dead_letter_counts_the_newest_delivery(void **state)
{
    (void)state;
    static struct sluice_delivery later;
    rig_deliver(rejects_the_answer, 1);
    later = fixture.delivery;
    later.deliveries = 2;
    rig.events.on_delivery(rig.runtime, &later);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    assert_non_null(
        strstr(rig_call(RIG_PUBLISH, 0)->publish.headers, SLUICE_HEADER_DEAD_DELIVERIES ": 2\n"));
}

/* ---- Settling ---- */

/* By what the message is settled, brought about. */
static struct rig_call *settling(enum sluice_verb verb)
{
    rig_deliver(verb == SLUICE_VERB_ACK ? says_ok : verb == SLUICE_VERB_TERM ? rejects : fails, 1);
    if (verb == SLUICE_VERB_TERM) {
        rig_publish(rig_call(RIG_PUBLISH, 0),
                    &(struct sluice_publish_done){.fate = SLUICE_FATE_OK, .sequence = 1});
    } else if (verb == SLUICE_VERB_NAK) {
        rig_journal(rig_call(RIG_RECORD, 0), &(struct sluice_journal_done){.fate = SLUICE_FATE_OK});
    }
    return rig_call(RIG_SETTLE, 0);
}

static void a_verdict_and_its_answer_are_told_whole(void **state)
{
    static const enum sluice_verb verbs[] = {SLUICE_VERB_ACK, SLUICE_VERB_NAK, SLUICE_VERB_TERM};
    for (size_t i = 0; i < 2 * sizeof verbs / sizeof verbs[0]; i++) {
        enum sluice_verb verb = verbs[i / 2];
        int is_answered = i % 2 == 0;
        struct rig_call *c = settling(verb);
        assert_int_equal(c->settle.verb, verb);
        assert_string_equal(c->settle.reply, "r");
        assert_true((c->settle.delay_ms > 0) == (verb == SLUICE_VERB_NAK));
        rig_settled(c, is_answered, SENT_MS);
        const struct sluice_event *ev = &rig_seen(SLUICE_EV_SETTLED)->ev;
        assert_int_equal(ev->ticket.slot, 0);
        assert_int_equal(ev->ticket.generation, 1);
        assert_int_equal(ev->settled.verb, verb);
        assert_int_equal(ev->settled.is_answered, is_answered);
        assert_int_equal(ev->settled.settle, (uint32_t)c->settle.op);
        assert_int_equal(ev->settled.sent_ms, SENT_MS);
        /* A NAK that could not be sent is not sent again: the ack wait does the same. */
        assert_int_equal(rig.freed, is_answered || verb == SLUICE_VERB_NAK);
        if (rig.freed == 0) {
            rig.now_ms += rig.config.engine.settle_timeout_ms;
            rig.events.on_consumer(rig.runtime, 1); /* any event: time has passed */
            assert_int_equal(rig_call(RIG_SETTLE, 1)->settle.verb, verb);
            rig_settled(rig_call(RIG_SETTLE, 1), 1, SENT_MS);
            assert_int_equal(rig.freed, 1);
        }
        anew(state);
    }
}

/* Each settle of a ticket has its own number: an answer is that of the one it belongs to. */
static void a_renewal_is_told_by_its_number(void **state)
{
    (void)state;
    rig_deliver(asks, 1);
    for (uint32_t i = 0; i < 2; i++) {
        rig.now_ms += rig.config.engine.ack_wait_ms / 3;
        rig.events.on_consumer(rig.runtime, 1); /* any event: time has passed */
        struct rig_call *c = rig_call(RIG_SETTLE, i);
        assert_int_equal(c->settle.verb, SLUICE_VERB_PROGRESS);
        rig_settled(c, 1, sluice_mono_ms());
        assert_int_equal(rig_seen(SLUICE_EV_SETTLED)->ev.settled.verb, SLUICE_VERB_PROGRESS);
        assert_int_equal(rig_seen(SLUICE_EV_SETTLED)->ev.settled.settle, (uint32_t)c->settle.op);
    }
    assert_true((uint32_t)rig_call(RIG_SETTLE, 0)->settle.op !=
                (uint32_t)rig_call(RIG_SETTLE, 1)->settle.op);
}

static void an_answer_for_nobody_is_not_told(void **state)
{
    (void)state;
    const uint64_t op = settling(SLUICE_VERB_ACK)->settle.op;
    const uint64_t others[] = {op + (UINT64_C(1) << 34), /* another generation, another slot, … */
                               op + (UINT64_C(1) << 48), UINT64_C(4) << 48 | (uint32_t)op,
                               UINT64_MAX};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        rig.events.on_settled(rig.runtime, others[i], 1, SENT_MS);
        assert_int_equal(rig_seen_count(SLUICE_EV_SETTLED), 0);
    }
    rig_settled(rig_call(RIG_SETTLE, 0), 1, SENT_MS);
    assert_int_equal(rig_seen_count(SLUICE_EV_SETTLED), 1);
    rig.events.on_settled(rig.runtime, op, 1, SENT_MS); /* it has gone */
    assert_int_equal(rig_seen_count(SLUICE_EV_SETTLED), 1);
}

static void each_message_is_settled_as_itself(void **state)
{
    (void)state;
    static struct sluice_delivery other;
    rig_deliver(says_ok, 1);
    other = fixture.delivery;
    other.sequence = 8;
    other.reply = "r8";
    rig.events.on_delivery(rig.runtime, &other);
    assert_string_equal(rig_call(RIG_SETTLE, 1)->settle.reply, "r8");
    rig_settled(rig_call(RIG_SETTLE, 1), 1, SENT_MS);
    assert_int_equal(rig_seen(SLUICE_EV_SETTLED)->ev.ticket.slot, 1);
    rig_settled(rig_call(RIG_SETTLE, 0), 1, SENT_MS);
    assert_int_equal(rig_seen(SLUICE_EV_SETTLED)->ev.ticket.slot, 0);
    assert_int_equal(rig.freed, 2);
}

/* ---- Pulls, the consumer, the end ---- */

static void what_a_pull_says_is_told(void **state)
{
    (void)state;
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    for (int status = SLUICE_PULL_ALIVE; status <= SLUICE_PULL_UNKNOWN; status++) {
        uint32_t number = rig.pull.pull;
        rig.events.on_pull(rig.runtime, number, (enum sluice_pull_status)status, "");
        assert_int_equal(rig_seen(SLUICE_EV_PULL)->ev.pull.pull, number);
        assert_int_equal(rig_seen(SLUICE_EV_PULL)->ev.pull.status, status);
    }
}

static void what_is_known_of_the_consumer_is_told(void **state)
{
    (void)state;
    static const enum sluice_consumer states[] = {SLUICE_CONSUMER_THERE, SLUICE_CONSUMER_UNKNOWN,
                                                  SLUICE_CONSUMER_MISSING, SLUICE_CONSUMER_ANEW,
                                                  SLUICE_CONSUMER_MISSING};
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        rig.now_ms += 4000; /* missing: not for good before 5 s in a row */
        rig.events.on_consumer(rig.runtime, states[i]);
        assert_int_equal(rig_seen(SLUICE_EV_CONSUMER)->ev.consumer, states[i]);
        assert_int_equal(runtime_end(rig.runtime), RUNTIME_GOES_ON);
    }
    rig.now_ms += 5000;
    rig.events.on_consumer(rig.runtime, SLUICE_CONSUMER_MISSING);
    assert_int_equal(rig_seen(SLUICE_EV_CONSUMER)->ev.consumer, SLUICE_CONSUMER_MISSING);
    assert_int_equal(runtime_end(rig.runtime), RUNTIME_FAILED);
}

static void a_drain_ends_when_the_intake_has_stopped(void **state)
{
    (void)state;
    rig_deliver(says_ok, 1);
    runtime_drain(rig.runtime);
    assert_int_equal(rig_seen_count(SLUICE_EV_DRAIN), 1);
    assert_int_equal(rig.stops, 1);
    rig.events.on_stopped(rig.runtime);
    assert_int_equal(rig_seen_count(SLUICE_EV_INTAKE_STOPPED), 1);
    assert_int_equal(runtime_end(rig.runtime), RUNTIME_GOES_ON);
    rig_settled(rig_call(RIG_SETTLE, 0), 1, SENT_MS);
    assert_int_equal(runtime_end(rig.runtime), RUNTIME_DRAINED);
}

static void a_link_that_is_lost_ends_the_process(void **state)
{
    (void)state;
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    assert_int_equal(runtime_is_connected(rig.runtime), 1);
    assert_int_equal(rig.shown.is_connected, 1);
    rig.events.on_link(rig.runtime, SLUICE_LINK_DOWN, "");
    assert_int_equal(runtime_is_connected(rig.runtime), 0);
    assert_int_equal(rig.shown.is_connected, 0);
    assert_int_equal(runtime_end(rig.runtime), RUNTIME_GOES_ON);
    rig.events.on_link(rig.runtime, SLUICE_LINK_LOST, "");
    assert_int_equal(rig_seen_count(SLUICE_EV_DISCONNECTED), 2);
    assert_int_equal(runtime_end(rig.runtime), RUNTIME_FAILED);
    runtime_drain(rig.runtime); /* as the boot does then */
    rig.events.on_stopped(rig.runtime);
    assert_int_equal(runtime_end(rig.runtime), RUNTIME_FAILED);
}

/* The connection is as it was: the engine hears nothing, the probe does. */
static void a_denial_is_shown_until_the_next_connection(void **state)
{
    (void)state;
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    rig.events.on_link(rig.runtime, SLUICE_LINK_REFUSED, "Permissions Violation");
    assert_int_equal(rig_seen_count(SLUICE_EV_CONNECTED), 1);
    assert_int_equal(rig_seen_count(SLUICE_EV_DISCONNECTED), 0);
    assert_int_equal(runtime_is_connected(rig.runtime), 1);
    rig.events.on_link(rig.runtime, SLUICE_LINK_DOWN, "");
    assert_non_null(strstr(rig.shown.denied_pull, "Permissions Violation"));
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    assert_string_equal(rig.shown.denied_pull, "");
}

/* ---- Time ---- */

static void the_engine_is_woken_when_it_wants_to_be(void **state)
{
    (void)state;
    rig_deliver(asks, 1);
    for (uint32_t times = 1; times <= 20; times++) {
        /* One that is early enough stays armed; what is due already is due now. */
        assert_true(rig.timer.due_ms <= sluice_engine_deadline(fixture.host.engine) ||
                    rig.timer.due_ms == rig.now_ms);
        assert_true(rig.timer.due_ms >= rig.now_ms);
        rig.now_ms = rig.timer.due_ms;
        uint32_t starts = rig.timer.starts;
        rig.timer.fire(rig.timer.handle);
        assert_int_equal(rig_seen_count(SLUICE_EV_TICK), times);
        assert_int_equal(rig.timer.starts, starts + 1);
        int64_t deadline_ms = sluice_engine_deadline(fixture.host.engine);
        assert_int_equal(rig.timer.due_ms, deadline_ms > rig.now_ms ? deadline_ms : rig.now_ms);
    }
}

static void the_engine_is_woken_earlier_when_something_comes_first(void **state)
{
    (void)state;
    rig.config.engine.journal_timeout_ms = 500;
    rig_restart();
    rig_deliver(asks, 1);
    assert_true(rig.timer.due_ms > rig.now_ms + rig.config.engine.journal_timeout_ms);
    rig_llm_ok(rig_call(RIG_ASK, 0)); /* it waits for its journal */
    assert_int_equal(rig.timer.due_ms, rig.now_ms + rig.config.engine.journal_timeout_ms);
}

static int is_ready(void)
{
    static struct probe_answer answer;
    assert_int_equal(probe_path_answer(rig.probe, "/readyz", NULL, &answer), 1);
    return answer.status == 200;
}

static void a_sign_of_life_of_the_server_keeps_it_ready(void **state)
{
    (void)state;
    static struct sluice_delivery other;
    rig_deliver(asks, 1);
    sluice_probe_set_state(rig.probe, SLUICE_RUN_RUNNING);
    assert_int_equal(is_ready(), 1);
    rig.now_ms += 1001;
    assert_int_equal(is_ready(), 0);
    rig.events.on_alive(rig.runtime, rig.now_ms - 1000);
    assert_int_equal(is_ready(), 1);
    rig.now_ms += 1;
    assert_int_equal(is_ready(), 0);
    other = fixture.delivery;
    other.sequence = 8;
    rig.events.on_delivery(rig.runtime, &other);
    assert_int_equal(is_ready(), 1);
}

static void a_consumer_that_is_missing_is_looked_for_again(void **state)
{
    (void)state;
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    for (int is_missing = 0; is_missing <= 1; is_missing++) {
        rig.events.on_consumer(rig.runtime, !is_missing);
        uint32_t checks = rig.checks;
        memset(&rig.shown, 0, sizeof rig.shown);
        while (!rig.shown.is_connected) { /* the next snapshot */
            (void)uv_run(&rig.loop, UV_RUN_ONCE);
        }
        assert_int_equal(rig.checks, checks + (uint32_t)is_missing);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_delivery_is_told_whole),
        CASE(a_message_of_an_earlier_one_is_told_as_a_replay),
        CASE(a_delivery_that_is_refused_is_given_back),
        CASE(a_delivery_without_memory_is_refused_for_a_while),
        CASE(another_delivery_is_settled_on_its_own_subject),
        CASE(a_dead_letter_counts_the_newest_delivery),
        CASE(a_verdict_and_its_answer_are_told_whole),
        CASE(a_renewal_is_told_by_its_number),
        CASE(an_answer_for_nobody_is_not_told),
        CASE(each_message_is_settled_as_itself),
        CASE(what_a_pull_says_is_told),
        CASE(what_is_known_of_the_consumer_is_told),
        CASE(a_drain_ends_when_the_intake_has_stopped),
        CASE(a_link_that_is_lost_ends_the_process),
        CASE(a_denial_is_shown_until_the_next_connection),
        CASE(the_engine_is_woken_when_it_wants_to_be),
        CASE(the_engine_is_woken_earlier_when_something_comes_first),
        CASE(a_sign_of_life_of_the_server_keeps_it_ready),
        CASE(a_consumer_that_is_missing_is_looked_for_again),
    };
    return cmocka_run_group_tests_name("runtime_events", tests, NULL, NULL);
}
