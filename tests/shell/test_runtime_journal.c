/* SPDX-License-Identifier: Apache-2.0 */
/* Between the journal and the engine: what the journal is asked, and what the engine is told of
 * each kind of answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "port/clock.h"
#include "rig.h"
#include "run/heap.h"
#include "sluice/names.h"
#include <stdio.h>
#include <string.h>

#define STORED_NS INT64_C(1700000000123456789) /* of the host fixture's message, S:7 */

static const struct sluice_journal_done kept = {.fate = SLUICE_FATE_OK, .text = ""};
static const struct sluice_journal_done nothing_there = {.fate = SLUICE_FATE_OK, .text = ""};

/* How the journal fails, and what the engine is to hear of it. */
static const struct {
    struct sluice_journal_done done;
    enum sluice_fate told;
} failures[] = {
    {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_CONNECTION, .text = "away"}, SLUICE_FATE_RETRY},
    {{.fate = SLUICE_FATE_UNKNOWN, .rc = SLUICE_ERR_TIMEOUT, .text = "late"}, SLUICE_FATE_UNKNOWN},
    {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_NOMEM, .text = "full"}, SLUICE_FATE_NO_MEMORY}};
enum { FAILURES = sizeof failures / sizeof failures[0] };

static void anew(void **state)
{
    assert_int_equal(rig_teardown(state) | rig_setup(state), 0);
}

static void expect_key(const struct rig_call *c, const char *stream, uint64_t sequence,
                       int64_t stored_unix_ns)
{
    assert_string_equal(c->journal.key.stream, stream);
    assert_int_equal(c->journal.key.sequence, sequence);
    assert_int_equal(c->journal.key.stored_unix_ns, stored_unix_ns);
}

static void expect_ticket(const struct rig_event *s)
{
    assert_int_equal(s->ev.ticket.slot, 0);
    assert_int_equal(s->ev.ticket.generation, 1);
}

/* ---- Handlers ---- */

static sluice_rc asks(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    return sluice_llm(t, &(sluice_llm_request){.user = "what?"}, &reply);
}

/* Two questions of one hash, then another: the second and the third are awaited one by one. */
static sluice_rc asks_twice_the_same(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    sluice_step steps[3];
    for (unsigned i = 0; i < 3; i++) {
        steps[i] = sluice_llm_start(t, &(sluice_llm_request){.user = i < 2 ? "same" : "other"});
    }
    SLUICE_TRY(sluice_await_all(t, steps, 3));
    return sluice_llm_await(t, steps[2], &reply);
}

static sluice_rc fails(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    return sluice_fail(t, SLUICE_RETRY, "for a reason");
}

/* ---- At boot ---- */

static void the_engine_is_told_whether_the_journal_holds_records(void **state)
{
    (void)state;
    for (int is_in_use = 0; is_in_use <= 1; is_in_use++) {
        rig.config.journal_in_use = is_in_use;
        rig_restart();
        for (uint32_t times = 1; times <= 2; times++) { /* on a reconnect, too */
            rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
            assert_int_equal(rig_seen_count(SLUICE_EV_CONNECTED), times);
            assert_int_equal(rig_seen(SLUICE_EV_CONNECTED)->ev.connected.journal_in_use, is_in_use);
            assert_int_equal(rig.reconnects, (uint32_t)is_in_use + times - 1);
        }
        rig.events.on_link(rig.runtime, SLUICE_LINK_DOWN, "");
        assert_int_equal(rig_seen_count(SLUICE_EV_DISCONNECTED), 1);
    }
}

/* A first delivery may be of a message that an earlier process, or another stream, has seen. */
static void a_journal_in_use_is_read_for_first_deliveries_too(void **state)
{
    (void)state;
    rig_deliver(asks, 1);
    assert_int_equal(rig_calls(RIG_LOAD), 0);
    rig.config.journal_in_use = 1;
    rig_restart();
    rig_deliver(asks, 1);
    assert_int_equal(rig_calls(RIG_LOAD), 1);
}

/* ---- Reading ---- */

static void what_was_read_is_told_whole(void **state)
{
    (void)state;
    static const struct sluice_journal_answer answers[] = {
        {.id = {.hash = {1, 2}, .occurrence = 3, .epoch = 4}, .bytes = {"a", 1}},
        {.id = {.hash = {5, 6}, .occurrence = 7, .epoch = 8}, .bytes = {"b", 1}}};
    const struct sluice_journal_done done = {.fate = SLUICE_FATE_OK,
                                             .text = "",
                                             .answers = answers,
                                             .answers_count = 2,
                                             .record = {.numbers = {.failures = 1,
                                                                    .epoch = 4,
                                                                    .stale_marks = 1,
                                                                    .is_marked = 1,
                                                                    .outputs_count = 2,
                                                                    .outputs = {11, 12}}}};
    rig_deliver(asks, 2);
    expect_key(rig_call(RIG_LOAD, 0), "S", 7, STORED_NS);
    assert_int_equal(rig_calls(RIG_ASK), 0);
    rig_journal(rig_call(RIG_LOAD, 0), &done);
    const struct rig_event *s = rig_seen(SLUICE_EV_LOADED);
    expect_ticket(s);
    assert_int_equal(s->ev.loaded.fate, SLUICE_FATE_OK);
    assert_int_equal(s->ev.loaded.answers_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_memory_equal(&s->answers[i], &answers[i].id, sizeof s->answers[i]);
    }
    assert_memory_equal(&s->record, &done.record.numbers, sizeof s->record);
}

static void an_empty_journal_was_read_all_the_same(void **state)
{
    (void)state;
    static const struct sluice_record none;
    rig_deliver(asks, 2);
    rig_journal(rig_call(RIG_LOAD, 0), &nothing_there);
    const struct rig_event *s = rig_seen(SLUICE_EV_LOADED);
    assert_int_equal(s->ev.loaded.fate, SLUICE_FATE_OK);
    assert_int_equal(s->ev.loaded.answers_count, 0);
    assert_memory_equal(&s->record, &none, sizeof none);
    assert_int_equal(rig_calls(RIG_ASK), 1);
}

static void a_journal_that_cannot_be_read_says_why(void **state)
{
    for (int i = 0; i < FAILURES; i++) {
        rig_deliver(asks, 2);
        rig_journal(rig_call(RIG_LOAD, 0), &failures[i].done);
        assert_int_equal(rig_seen_count(SLUICE_EV_LOADED), 1);
        const struct rig_event *s = rig_seen(SLUICE_EV_LOADED);
        expect_ticket(s);
        assert_int_equal(s->ev.loaded.fate, failures[i].told);
        assert_int_equal(s->ev.loaded.answers_count, 0);
        anew(state);
    }
}

static void a_read_that_has_no_memory_is_told(void **state)
{
    (void)state;
    rig.refused = 1u << RIG_LOAD;
    rig_deliver(asks, 2);
    assert_int_equal(rig_calls(RIG_LOAD), 0);
    assert_int_equal(rig_seen_count(SLUICE_EV_LOADED), 1);
    assert_int_equal(rig_seen(SLUICE_EV_LOADED)->ev.loaded.fate, SLUICE_FATE_NO_MEMORY);
    expect_ticket(rig_seen(SLUICE_EV_LOADED));
}

/* The arena's chunk is made for what a message needs: this is more. */
static void answers_that_find_no_memory_were_not_read(void **state)
{
    (void)state;
    static char large[100000];
    const struct sluice_journal_answer answer = {.id = {.hash = {1, 2}},
                                                 .bytes = {large, sizeof large}};
    const struct sluice_journal_done done = {
        .fate = SLUICE_FATE_OK, .text = "", .answers = &answer, .answers_count = 1};
    rig_deliver(asks, 2);
    rig.is_starved = 1;
    rig_journal(rig_call(RIG_LOAD, 0), &done);
    assert_int_equal(rig_seen(SLUICE_EV_LOADED)->ev.loaded.fate, SLUICE_FATE_NO_MEMORY);
    assert_int_equal(rig_seen(SLUICE_EV_LOADED)->ev.loaded.answers_count, 0);
}

static void no_more_answers_are_told_than_there_is_room_for(void **state)
{
    static struct sluice_journal_answer answers[SLUICE_JOURNALED_MAX + 1];
    static const uint32_t counts[] = {SLUICE_JOURNALED_MAX - 1, SLUICE_JOURNALED_MAX,
                                      SLUICE_JOURNALED_MAX + 1};
    for (uint32_t i = 0; i < SLUICE_JOURNALED_MAX + 1; i++) {
        answers[i] = (struct sluice_journal_answer){.id = {.hash = {i, i}}, .bytes = {"x", 1}};
    }
    for (uint32_t i = 0; i < 3; i++) {
        rig_deliver(asks, 2);
        rig_journal(rig_call(RIG_LOAD, 0),
                    &(struct sluice_journal_done){.fate = SLUICE_FATE_OK,
                                                  .text = "",
                                                  .answers = answers,
                                                  .answers_count = counts[i]});
        assert_int_equal(rig_seen(SLUICE_EV_LOADED)->ev.loaded.answers_count,
                         counts[i] < SLUICE_JOURNALED_MAX ? counts[i] : SLUICE_JOURNALED_MAX);
        anew(state);
    }
}

/* ---- Replays of dead letters ---- */

static const struct sluice_record written = {
    .failures = 2, .epoch = 5, .outputs_count = 1, .outputs = {11}};

static void name_origin(const char *origin)
{
    static sluice_header header = {.name = SLUICE_HEADER_REPLAY_OF};
    header.value = origin;
    fixture.delivery.headers = &header;
    fixture.delivery.headers_count = 1;
}

/* What the engine is told of a record that `writer` wrote. */
static const struct sluice_record *replayed(const char *origin, const char *writer,
                                            uint32_t deliveries)
{
    name_origin(origin);
    rig_deliver(asks, deliveries);
    rig_journal(rig_call(RIG_LOAD, 0), &(struct sluice_journal_done){
                                           .fate = SLUICE_FATE_OK,
                                           .text = "",
                                           .record = {.numbers = written, .replay = writer}});
    return &rig_seen(SLUICE_EV_LOADED)->record;
}

static void a_replay_begins_without_the_failures_of_its_original(void **state)
{
    static const struct sluice_record anew_record = {.epoch = 5};
    static const char *const origins[] = {
        "S:3:1600000000000000001", "S:7:1600000000000000001", /* of another time, or place */
        "S:3:1700000000123456789", "T:7:1700000000123456789"};
    /* Also what an earlier delivery of it left no record for, and a replay after another. */
    static const char *const writers[] = {"", "S:5:1600000000000000001", "S:7:1600000000000000001"};
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 3; k++) {
            for (uint32_t deliveries = 1; deliveries <= 2; deliveries++) {
                assert_memory_equal(replayed(origins[i], writers[k], deliveries), &anew_record,
                                    sizeof anew_record);
                anew(state);
            }
        }
    }
    (void)replayed(origins[0], "", 1);
    expect_key(rig_call(RIG_LOAD, 0), "S", 3, 1600000000000000001);
}

static void what_is_delivered_again_has_its_own_failures(void **state)
{
    static const char own[] = "S:7:1700000000123456789";
    assert_memory_equal(replayed("S:3:1600000000000000001", own, 2), &written, sizeof written);
    anew(state);
    assert_memory_equal(replayed(own, "", 1), &written, sizeof written);
}

static void a_replay_signs_its_record(void **state)
{
    name_origin("S:3:1600000000000000001");
    rig_deliver(fails, 1);
    rig_journal(rig_call(RIG_LOAD, 0),
                &(struct sluice_journal_done){.fate = SLUICE_FATE_OK, .text = ""});
    const struct rig_call *c = rig_call(RIG_RECORD, 0);
    expect_key(c, "S", 3, 1600000000000000001);
    assert_string_equal(c->journal.replay, "S:7:1700000000123456789");
    anew(state);
    rig_deliver(fails, 1);
    assert_string_equal(rig_call(RIG_RECORD, 0)->journal.replay, "");
}

/* ---- Answers of an earlier delivery ---- */

static char heard[2][8];

static sluice_rc asks_two(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    static const char *const users[] = {"same", "other"};
    for (unsigned i = 0; i < 2; i++) {
        const sluice_llm_reply *reply;
        SLUICE_TRY(sluice_llm(t, &(sluice_llm_request){.user = users[i]}, &reply));
        (void)snprintf(heard[i], sizeof heard[i], "%.*s", (int)reply->text.len,
                       (const char *)reply->text.data);
    }
    return SLUICE_OK;
}

static void each_answer_comes_back_to_its_own_question(void **state)
{
    static const char *const texts[] = {"1", "2"};
    struct sluice_journal_answer answers[2];
    static char bytes[2][RIG_TEXT_SIZE];
    rig_deliver(asks_two, 1);
    for (uint32_t i = 0; i < 2; i++) {
        rig_llm(rig_call(RIG_ASK, i), &(struct sluice_llm_done){.fate = SLUICE_FATE_OK,
                                                                .content = {texts[i], 1},
                                                                .model = "m",
                                                                .finish_reason = "stop",
                                                                .text = ""});
        const struct rig_call *c = rig_call(RIG_KEEP, i);
        memcpy(bytes[i], c->journal.bytes, sizeof bytes[i]);
        answers[1 - i] =
            (struct sluice_journal_answer){c->journal.id, {bytes[i], strlen(bytes[i])}};
    }
    anew(state);
    memset(heard, 0, sizeof heard);
    rig_deliver(asks_two, 2);
    rig_journal(rig_call(RIG_LOAD, 0),
                &(struct sluice_journal_done){
                    .fate = SLUICE_FATE_OK, .text = "", .answers = answers, .answers_count = 2});
    assert_int_equal(rig_calls(RIG_ASK), 0);
    assert_int_equal(rig_seen_count(SLUICE_EV_STEP), 2);
    assert_int_equal(rig_seen(SLUICE_EV_STEP)->ev.step.step, 1);
    assert_int_equal(rig_seen(SLUICE_EV_STEP)->ev.step.fate, SLUICE_FATE_OK);
    assert_string_equal(heard[0], "1");
    assert_string_equal(heard[1], "2");
    assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, SLUICE_VERB_ACK);
}

static void an_answer_that_cannot_be_read_is_asked_for_again(void **state)
{
    rig_deliver(asks, 1);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    const struct sluice_journal_answer answer = {rig_call(RIG_KEEP, 0)->journal.id, {"!", 1}};
    anew(state);
    rig_deliver(asks, 2);
    rig_journal(rig_call(RIG_LOAD, 0),
                &(struct sluice_journal_done){
                    .fate = SLUICE_FATE_OK, .text = "", .answers = &answer, .answers_count = 1});
    assert_int_equal(rig_seen(SLUICE_EV_STEP)->ev.step.fate, SLUICE_FATE_MISS);
    assert_int_equal(rig_calls(RIG_ASK), 1);
}

static sluice_rc asks_and_starves(sluice_turn *t, const sluice_msg *in)
{
    sluice_rc rc = asks(t, in);
    rig.is_starved = 1;
    return rc;
}

/* It can be used later, and asking again would find no memory either. */
static void an_answer_that_finds_no_memory_is_not_paid_for_again(void **state)
{
    static char bytes[100000];
    rig_deliver(asks, 1);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    int len =
        snprintf(bytes, sizeof bytes, "{\"v\":1,\"model\":\"m\",\"content\":\"%090000d\"}", 0);
    const struct sluice_journal_answer answer = {rig_call(RIG_KEEP, 0)->journal.id,
                                                 {bytes, (size_t)len}};
    anew(state);
    rig.config.engine.allocator = sluice_heap; /* the engine has memory for its step */
    rig_restart();
    rig_deliver(asks_and_starves, 2);
    rig_journal(rig_call(RIG_LOAD, 0),
                &(struct sluice_journal_done){
                    .fate = SLUICE_FATE_OK, .text = "", .answers = &answer, .answers_count = 1});
    assert_int_equal(rig_seen_count(SLUICE_EV_STEP), 1);
    assert_int_equal(rig_seen(SLUICE_EV_STEP)->ev.step.fate, SLUICE_FATE_NO_MEMORY);
    assert_int_equal(rig_calls(RIG_ASK), 0);
}

/* ---- Keeping ---- */

static void a_paid_answer_is_kept_as_what_it_is(void **state)
{
    (void)state;
    static const struct sluice_journal_done record = {
        .fate = SLUICE_FATE_OK, .text = "", .record = {.numbers = {.failures = 1, .epoch = 9}}};
    rig_deliver(asks_twice_the_same, 2);
    rig_journal(rig_call(RIG_LOAD, 0), &record);
    for (uint32_t i = 0; i < 3; i++) {
        rig_llm_ok(rig_call(RIG_ASK, i));
        const struct rig_call *c = rig_call(RIG_KEEP, i);
        expect_key(c, "S", 7, STORED_NS);
        assert_int_equal(c->journal.id.occurrence, i == 1);
        assert_int_equal(c->journal.id.epoch, 9);
        assert_non_null(strstr(c->journal.bytes, "\"content\":\"{}\""));
    }
    const struct sluice_hash *same = &rig_call(RIG_KEEP, 0)->journal.id.hash;
    assert_memory_equal(same, &rig_call(RIG_KEEP, 1)->journal.id.hash, sizeof *same);
    assert_memory_not_equal(same, &rig_call(RIG_KEEP, 2)->journal.id.hash, sizeof *same);
}

/* The third step's: an index that is not the first's by accident. */
static struct rig_call *keeping(sluice_handler_fn *handler, uint32_t step)
{
    rig_deliver(handler, 1);
    rig_llm_ok(rig_call(RIG_ASK, step));
    return rig_call(RIG_KEEP, 0);
}

static void expect_kept(uint32_t step, enum sluice_kept result)
{
    assert_int_equal(rig_seen_count(SLUICE_EV_KEPT), 1);
    const struct rig_event *s = rig_seen(SLUICE_EV_KEPT);
    expect_ticket(s);
    assert_int_equal(s->ev.kept.step, step);
    assert_int_equal(s->ev.kept.result, result);
}

static void an_answer_that_was_written_is_kept(void **state)
{
    (void)state;
    rig_journal(keeping(asks_twice_the_same, 2), &kept);
    expect_kept(2, SLUICE_KEPT_OK);
    assert_int_equal(rig_calls(RIG_LOAD), 0);
}

/* Both deliveries end with what came first. */
static void an_answer_that_came_second_has_lost_its_race(void **state)
{
    (void)state;
    static const char first[] =
        "{\"v\":1,\"model\":\"m\",\"finish_reason\":\"stop\",\"content\":\"1st\"}";
    struct rig_call *c = keeping(asks_two, 0);
    const struct sluice_journal_answer answer = {c->journal.id, {first, sizeof first - 1}};
    rig_journal(c, &(struct sluice_journal_done){.fate = SLUICE_FATE_OK, .text = "", .exists = 1});
    expect_kept(0, SLUICE_KEPT_LOST_RACE);
    rig_llm(rig_call(RIG_ASK, 1), &(struct sluice_llm_done){.fate = SLUICE_FATE_CANCELLED,
                                                            .rc = SLUICE_ERR_CANCELLED,
                                                            .text = ""});
    assert_int_equal(rig_calls(RIG_LOAD), 1); /* the attempt starts again from its journal */
    rig_journal(rig_call(RIG_LOAD, 0),
                &(struct sluice_journal_done){
                    .fate = SLUICE_FATE_OK, .text = "", .answers = &answer, .answers_count = 1});
    assert_string_equal(heard[0], "1st");
    assert_int_equal(rig_calls(RIG_ASK), 3); /* the second question, once more */
}

static void an_answer_that_was_not_written_is_not_kept(void **state)
{
    for (int i = 0; i < FAILURES; i++) {
        /* Whether one exists is not known then, whatever the member says. */
        struct sluice_journal_done done = failures[i].done;
        done.exists = i == 1;
        rig_journal(keeping(asks_twice_the_same, 1), &done);
        expect_kept(1, SLUICE_KEPT_FAILED);
        assert_int_equal(rig_calls(RIG_LOAD), 0);
        anew(state);
    }
}

static void an_answer_that_has_no_memory_is_not_kept(void **state)
{
    (void)state;
    rig.refused = 1u << RIG_KEEP;
    rig_deliver(asks_twice_the_same, 1);
    rig_llm_ok(rig_call(RIG_ASK, 2));
    expect_kept(2, SLUICE_KEPT_FAILED);
}

/* ---- The record ---- */

static void the_record_says_what_failed(void **state)
{
    (void)state;
    rig_deliver(fails, 1);
    const struct rig_call *c = rig_call(RIG_RECORD, 0);
    expect_key(c, "S", 7, STORED_NS);
    assert_int_equal(c->journal.numbers.failures, 1);
    assert_int_equal(c->journal.numbers.epoch, 1);
    assert_string_equal(c->journal.step, "handler");
    assert_string_equal(c->journal.text, "for a reason");
    assert_int_equal(rig_calls(RIG_SETTLE), 0); /* the NAK waits for it */
}

static void the_record_s_fate_is_told(void **state)
{
    for (int i = -1; i < FAILURES; i++) {
        rig_deliver(fails, 1);
        rig_journal(rig_call(RIG_RECORD, 0), i < 0 ? &kept : &failures[i].done);
        assert_int_equal(rig_seen_count(SLUICE_EV_RECORDED), 1);
        const struct rig_event *s = rig_seen(SLUICE_EV_RECORDED);
        expect_ticket(s);
        assert_int_equal(s->ev.fate, i < 0 ? SLUICE_FATE_OK : failures[i].told);
        assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, SLUICE_VERB_NAK);
        anew(state);
    }
}

static void a_record_that_has_no_memory_is_told(void **state)
{
    (void)state;
    rig.refused = 1u << RIG_RECORD;
    rig_deliver(fails, 1);
    assert_int_equal(rig_seen_count(SLUICE_EV_RECORDED), 1);
    assert_int_equal(rig_seen(SLUICE_EV_RECORDED)->ev.fate, SLUICE_FATE_NO_MEMORY);
    expect_ticket(rig_seen(SLUICE_EV_RECORDED));
}

/* The mark of a suspect, which no run may go without. */
static void a_suspect_runs_once_its_mark_is_written(void **state)
{
    (void)state;
    rig_deliver(asks, 4);
    rig_journal(rig_call(RIG_LOAD, 0), &nothing_there);
    assert_int_equal(rig_call(RIG_RECORD, 0)->journal.numbers.is_marked, 1);
    assert_int_equal(rig_calls(RIG_ASK), 0);
    rig_journal(rig_call(RIG_RECORD, 0), &kept);
    assert_int_equal(rig_call(RIG_RECORD, 1)->journal.numbers.is_marked, 0);
    assert_int_equal(rig_calls(RIG_ASK), 1);
}

/* What the delivery before it failed of, when this one ends without a run: its mark cannot be
 * written any more. */
static void the_reason_of_the_last_delivery_is_remembered(void **state)
{
    (void)state;
    static const struct sluice_journal_done killer = {
        .fate = SLUICE_FATE_OK,
        .text = "",
        .record = {.numbers = {.is_marked = 1, .stale_marks = 3}, .text = "of last time"}};
    rig_deliver(asks, 5);
    rig_journal(rig_call(RIG_LOAD, 0), &killer);
    assert_int_equal(rig_calls(RIG_ASK), 0);
    assert_non_null(strstr(rig_call(RIG_PUBLISH, 0)->publish.headers, "of last time"));
}

/* ---- Late answers ---- */

static void an_answer_for_a_message_that_has_gone_is_told_with_its_old_ticket(void **state)
{
    (void)state;
    struct rig_call *c = keeping(asks_twice_the_same, 2);
    runtime_abort(rig.runtime); /* the journal is waited for, not for ever */
    for (uint32_t i = 0; i < 2; i++) {
        rig_llm(rig_call(RIG_ASK, i), &(struct sluice_llm_done){.fate = SLUICE_FATE_CANCELLED,
                                                                .rc = SLUICE_ERR_CANCELLED,
                                                                .text = ""});
    }
    rig.now_ms += rig.config.engine.journal_timeout_ms;
    rig.events.on_consumer(rig.runtime, 1); /* any event: time has passed */
    assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, SLUICE_VERB_NAK);
    rig_settled(rig_call(RIG_SETTLE, 0), 1, sluice_mono_ms());
    assert_int_equal(rig_seen_count(SLUICE_EV_KEPT), 0);
    assert_int_equal(rig.freed, 0); /* not while a port may come back to it */
    rig_journal(c, &kept);
    expect_kept(2, SLUICE_KEPT_OK);
    assert_int_equal(rig.freed, 1);
}

/* ---- Whether it is there ---- */

/* Each reconnect shows anew. */
static int is_journal_away(void)
{
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    return rig.shown.is_journal_away;
}

static void a_journal_that_fails_is_shown_until_it_answers(void **state)
{
    (void)state;
    assert_int_equal(is_journal_away(), 0);
    assert_int_equal(rig.shown.has_journal, 1);
    rig_deliver(asks, 2);
    assert_int_equal(is_journal_away(), 0);
    rig_journal(rig_call(RIG_LOAD, 0), &failures[0].done);
    assert_int_equal(is_journal_away(), 1);
    rig.config.journal = NULL;
    rig_restart();
    assert_int_equal(is_journal_away(), 0);
    assert_int_equal(rig.shown.has_journal, 0);
}

static void each_kind_of_answer_shows_whether_the_journal_is_there(void **state)
{
    for (int is_ok = 0; is_ok <= 1; is_ok++) {
        const struct sluice_journal_done *done = is_ok ? &kept : &failures[1].done;
        rig_journal(keeping(asks_twice_the_same, 0), done);
        assert_int_equal(is_journal_away(), !is_ok);
        rig_llm_ok(rig_call(RIG_ASK, 1));
        rig_journal(rig_call(RIG_KEEP, 1), &kept);
        assert_int_equal(is_journal_away(), 0);
        anew(state);
        rig_deliver(fails, 1);
        rig_journal(rig_call(RIG_RECORD, 0), done);
        assert_int_equal(is_journal_away(), !is_ok);
        anew(state);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_engine_is_told_whether_the_journal_holds_records),
        CASE(a_journal_in_use_is_read_for_first_deliveries_too),
        CASE(what_was_read_is_told_whole),
        CASE(an_empty_journal_was_read_all_the_same),
        CASE(a_journal_that_cannot_be_read_says_why),
        CASE(a_read_that_has_no_memory_is_told),
        CASE(answers_that_find_no_memory_were_not_read),
        CASE(no_more_answers_are_told_than_there_is_room_for),
        CASE(a_replay_begins_without_the_failures_of_its_original),
        CASE(what_is_delivered_again_has_its_own_failures),
        CASE(a_replay_signs_its_record),
        CASE(each_answer_comes_back_to_its_own_question),
        CASE(an_answer_that_cannot_be_read_is_asked_for_again),
        CASE(an_answer_that_finds_no_memory_is_not_paid_for_again),
        CASE(a_paid_answer_is_kept_as_what_it_is),
        CASE(an_answer_that_was_written_is_kept),
        CASE(an_answer_that_came_second_has_lost_its_race),
        CASE(an_answer_that_was_not_written_is_not_kept),
        CASE(an_answer_that_has_no_memory_is_not_kept),
        CASE(the_record_says_what_failed),
        CASE(the_record_s_fate_is_told),
        CASE(a_record_that_has_no_memory_is_told),
        CASE(a_suspect_runs_once_its_mark_is_written),
        CASE(the_reason_of_the_last_delivery_is_remembered),
        CASE(an_answer_for_a_message_that_has_gone_is_told_with_its_old_ticket),
        CASE(a_journal_that_fails_is_shown_until_it_answers),
        CASE(each_kind_of_answer_shows_whether_the_journal_is_there),
    };
    return cmocka_run_group_tests_name("runtime_journal", tests, NULL, NULL);
}
