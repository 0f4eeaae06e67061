/* SPDX-License-Identifier: Apache-2.0 */
/* Between the engine and the LLM, the services, the store and the publisher: what they are asked,
 * and what the engine is told of each kind of answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "context.pb-c.h"
#include "rig.h"
#include "sluice/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void anew(void **state)
{
    assert_int_equal(rig_teardown(state) | rig_setup(state), 0);
}

/* The newest STEP is the message's, of this step. */
static void expect_step(uint32_t step, enum sluice_fate fate, int64_t retry_after_ms)
{
    const struct sluice_event *ev = &rig_seen(SLUICE_EV_STEP)->ev;
    assert_int_equal(ev->ticket.slot, 0);
    assert_int_equal(ev->ticket.generation, 1);
    assert_int_equal(ev->step.step, step);
    assert_int_equal(ev->step.fate, fate);
    assert_int_equal(ev->step.retry_after_ms, retry_after_ms);
}

/* Why the delivery failed, as its record says. */
static void expect_record(const char *step, const char *text)
{
    const struct rig_call *c = rig_call(RIG_RECORD, 0);
    assert_string_equal(c->journal.step, step);
    assert_string_equal(c->journal.text, text);
}

static const char *header_of(const struct rig_call *c, const char *name)
{
    static char value[RIG_TEXT_SIZE];
    char begin[64];
    (void)snprintf(begin, sizeof begin, "%s: ", name);
    const char *at = strstr(c->publish.headers, begin);
    if (at == NULL) {
        return "(none)";
    }
    at += strlen(begin);
    (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

/* ---- The LLM ---- */

static sluice_rc second_answer;
static char heard[8];

static sluice_rc asks_two(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    sluice_step steps[2];
    for (unsigned i = 0; i < 2; i++) {
        steps[i] = sluice_llm_start(
            t, &(sluice_llm_request){.user = i == 0 ? "one?" : "two?", .timeout_ms = i * 77});
    }
    SLUICE_TRY(sluice_await_all(t, steps, 2));
    second_answer = sluice_llm_await(t, steps[1], &reply);
    if (second_answer == SLUICE_OK) {
        (void)snprintf(heard, sizeof heard, "%.*s", (int)reply->text.len,
                       (const char *)reply->text.data);
    }
    return second_answer;
}

static void a_question_goes_out_as_it_was_asked(void **state)
{
    (void)state;
    static const sluice_header headers[] = {{"X-Correlation-ID", "corr"}, {"traceparent", "00-a"}};
    fixture.delivery.headers = headers;
    fixture.delivery.headers_count = 2;
    rig_deliver(asks_two, 1);
    for (uint32_t i = 0; i < 2; i++) {
        const struct sluice_llm_ask *ask = &rig_call(RIG_ASK, i)->llm;
        char request[RIG_TEXT_SIZE];
        (void)snprintf(request, sizeof request, "%.*s", (int)ask->request.len,
                       (const char *)ask->request.data);
        assert_non_null(strstr(request, i == 0 ? "one?" : "two?"));
        assert_int_equal(ask->timeout_ms, i == 0 ? 1000 : 77);
        assert_string_equal(ask->correlation_id, "corr");
        assert_string_equal(ask->traceparent, "00-a");
        assert_int_equal(strlen(ask->idempotency_key), SLUICE_HASH_TEXT_SIZE - 1);
    }
    assert_string_not_equal(rig_call(RIG_ASK, 0)->llm.idempotency_key,
                            rig_call(RIG_ASK, 1)->llm.idempotency_key);
}

static void how_a_question_ended_is_told(void **state)
{
    static const struct {
        struct sluice_llm_done done;
        enum sluice_fate told;
    } cases[] = {
        {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_LLM}, SLUICE_FATE_RETRY},
        {{.fate = SLUICE_FATE_UNREACHABLE, .rc = SLUICE_ERR_UNAVAILABLE}, SLUICE_FATE_UNREACHABLE},
        {{.fate = SLUICE_FATE_UNAVAILABLE, .rc = SLUICE_ERR_UNAVAILABLE}, SLUICE_FATE_UNAVAILABLE},
        {{.fate = SLUICE_FATE_BAD_ANSWER, .rc = SLUICE_ERR_LLM}, SLUICE_FATE_BAD_ANSWER},
        {{.fate = SLUICE_FATE_PERMANENT, .rc = SLUICE_ERR_CLIENT}, SLUICE_FATE_PERMANENT},
        {{.fate = SLUICE_FATE_RATE_LIMITED, .rc = SLUICE_ERR_RATE_LIMITED, .retry_after_ms = 4321},
         SLUICE_FATE_RATE_LIMITED},
        {{.fate = SLUICE_FATE_CANCELLED, .rc = SLUICE_ERR_CANCELLED}, SLUICE_FATE_CANCELLED},
        {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_NOMEM}, SLUICE_FATE_NO_MEMORY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_deliver(asks_two, 1);
        struct sluice_llm_done done = cases[i].done;
        done.text = "why";
        rig_llm(rig_call(RIG_ASK, 1), &done);
        assert_int_equal(rig_seen_count(SLUICE_EV_STEP), 1);
        expect_step(1, cases[i].told, cases[i].done.retry_after_ms);
        if (cases[i].told != SLUICE_FATE_RATE_LIMITED) {
            rig_llm_ok(rig_call(RIG_ASK, 0));
            assert_int_equal(second_answer, cases[i].done.rc);
        }
        anew(state);
    }
}

static void an_answer_is_that_of_its_own_question(void **state)
{
    (void)state;
    heard[0] = '\0';
    rig_deliver(asks_two, 1);
    rig_llm(rig_call(RIG_ASK, 1), &(struct sluice_llm_done){.fate = SLUICE_FATE_OK,
                                                            .content = {"two", 3},
                                                            .model = "m",
                                                            .finish_reason = "stop",
                                                            .text = ""});
    expect_step(1, SLUICE_FATE_OK, 0);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    expect_step(0, SLUICE_FATE_OK, 0);
    assert_string_equal(heard, "two");
}

static void tokens_are_counted_whoever_waits_for_them(void **state)
{
    (void)state;
    rig_deliver(asks_two, 1);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    rig_llm_ok(rig_call(RIG_ASK, 1));
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    assert_int_equal(rig.shown.tokens_prompt, 22);
    assert_int_equal(rig.shown.tokens_completion, 44);
}

static void an_answer_that_finds_no_memory_is_told_so(void **state)
{
    (void)state;
    static char large[100000];
    memset(large, 'x', sizeof large);
    rig_deliver(asks_two, 1);
    rig.is_starved = 1;
    rig_llm(rig_call(RIG_ASK, 1), &(struct sluice_llm_done){.fate = SLUICE_FATE_OK,
                                                            .content = {large, sizeof large},
                                                            .model = "m",
                                                            .finish_reason = "stop",
                                                            .text = ""});
    expect_step(1, SLUICE_FATE_NO_MEMORY, 0);
}

static void a_call_that_finds_no_memory_is_told_so(void **state)
{
    (void)state;
    rig.refused = 1u << RIG_ASK;
    rig_deliver(asks_two, 1);
    assert_int_equal(rig_seen_count(SLUICE_EV_STEP), 2);
    expect_step(1, SLUICE_FATE_NO_MEMORY, 0);
    assert_int_equal(second_answer, SLUICE_ERR_NOMEM);
    assert_int_equal(rig_seen_count(SLUICE_EV_VERDICT), 2); /* one run for both, and no more */
    rig_settled(rig_call(RIG_SETTLE, 0), 1, 0);
    assert_int_equal(rig.freed, 1); /* nobody will come back to it */
}

static sluice_rc wants_the_first(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    sluice_step first = sluice_llm_start(t, &(sluice_llm_request){.user = "one?"});
    (void)sluice_llm_start(t, &(sluice_llm_request){.user = "two?"});
    return sluice_llm_await(t, first, &reply);
}

static void what_nobody_waits_for_is_cancelled_by_its_number(void **state)
{
    (void)state;
    rig_deliver(wants_the_first, 1);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    assert_int_equal(rig_call(RIG_ASK, 0)->is_cancelled, 0);
    assert_int_equal(rig_call(RIG_ASK, 1)->is_cancelled, 1);
}

static void an_answer_for_a_message_that_has_gone_is_not_told(void **state)
{
    (void)state;
    rig_deliver(wants_the_first, 1);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    rig_journal(rig_call(RIG_KEEP, 0), &(struct sluice_journal_done){.fate = SLUICE_FATE_OK});
    rig_settled(rig_call(RIG_SETTLE, 0), 1, 0);
    assert_int_equal(rig.freed, 0);
    rig_llm_ok(rig_call(RIG_ASK, 1));
    assert_int_equal(rig_seen_count(SLUICE_EV_STEP), 1);
    assert_int_equal(rig.freed, 1);
}

/* ---- Services ---- */

static sluice_rc calls_both(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_http_reply *reply;
    SLUICE_TRY(
        sluice_http(t, "one", &(sluice_http_request){.path = "/a", .body = {"b", 1}}, &reply));
    return sluice_http(t, "two", &(sluice_http_request){.path = "/c"}, &reply);
}

static void a_call_goes_to_its_own_service(void **state)
{
    (void)state;
    rig_deliver(calls_both, 1);
    const struct rig_call *c = rig_call(RIG_HTTP, 0);
    assert_int_equal(c->http.service, 0);
    assert_string_equal(c->http.call.method, "POST");
    assert_string_equal(c->http.call.url, "http://service/a");
    assert_int_equal(c->http.call.body.len, 1);
    assert_int_equal(c->http.call.timeout_ms, 500);
    assert_int_equal(c->http.call.answer_size_max, 9000);
    assert_true(c->http.call.headers_count > 0);
    rig_http(rig_call(RIG_HTTP, 0), &(struct sluice_http_done){.fate = SLUICE_FATE_OK,
                                                               .http_status = 200,
                                                               .body = {"x", 1},
                                                               .content_type = "",
                                                               .text = ""});
    expect_step(0, SLUICE_FATE_OK, 0);
    c = rig_call(RIG_HTTP, 1);
    assert_int_equal(c->http.service, 1);
    assert_string_equal(c->http.call.method, "GET");
    assert_string_equal(c->http.call.url, "http://service/c");
    assert_int_equal(c->http.call.timeout_ms, 501);
    assert_int_equal(c->http.call.answer_size_max, 9001);
    runtime_abort(rig.runtime);
    assert_int_equal(rig_call(RIG_HTTP, 1)->is_cancelled, 1);
}

static void how_a_service_s_call_ended_is_told(void **state)
{
    static const struct {
        struct sluice_http_done done;
        enum sluice_fate told;
    } cases[] = {
        {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_TIMEOUT, .text = "late"}, SLUICE_FATE_RETRY},
        {{.fate = SLUICE_FATE_PERMANENT, .rc = SLUICE_ERR_CLIENT, .text = "no"},
         SLUICE_FATE_PERMANENT},
        {{.fate = SLUICE_FATE_RATE_LIMITED,
          .rc = SLUICE_ERR_RATE_LIMITED,
          .retry_after_ms = 1234,
          .text = "slow"},
         SLUICE_FATE_RATE_LIMITED},
        {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_NOMEM, .text = "full"},
         SLUICE_FATE_NO_MEMORY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_deliver(calls_both, 1);
        rig_http(rig_call(RIG_HTTP, 0), &cases[i].done);
        expect_step(0, cases[i].told, cases[i].done.retry_after_ms);
        anew(state);
    }
    rig_deliver(calls_both, 1);
    rig_http(rig_call(RIG_HTTP, 0), &cases[0].done);
    expect_record("http", "SLUICE_ERR_TIMEOUT: one: late");
}

/* ---- Look-ups ---- */

static sluice_rc found;

static sluice_rc looks_up(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const Context__V1__ContextDraft *draft;
    found = sluice_find(t, "packs", "k", context__v1__context_draft, &draft);
    return found;
}

static void how_a_look_up_ended_is_told(void **state)
{
    static const char document[] = "{\"summary\":\"s\"}";
    static const struct {
        struct sluice_store_done done;
        enum sluice_fate told;
        sluice_rc heard;
    } cases[] = {{{.fate = SLUICE_FATE_OK, .text = "", .found = {document, sizeof document - 1}},
                  SLUICE_FATE_OK,
                  SLUICE_OK},
                 {{.fate = SLUICE_FATE_BAD_ANSWER, .rc = SLUICE_ERR_NOT_FOUND, .text = ""},
                  SLUICE_FATE_BAD_ANSWER,
                  SLUICE_ERR_NOT_FOUND},
                 {{.fate = SLUICE_FATE_OK, .rc = SLUICE_ERR_NOT_FOUND, .text = ""},
                  SLUICE_FATE_BAD_ANSWER,
                  SLUICE_ERR_NOT_FOUND},
                 {{.fate = SLUICE_FATE_OK, .text = "", .found = {"!", 1}},
                  SLUICE_FATE_BAD_ANSWER,
                  SLUICE_ERR_DB},
                 {{.fate = SLUICE_FATE_UNREACHABLE, .rc = SLUICE_ERR_DB, .text = "away"},
                  SLUICE_FATE_UNREACHABLE,
                  SLUICE_ERR_DB},
                 {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_NOMEM, .text = "full"},
                  SLUICE_FATE_NO_MEMORY,
                  SLUICE_ERR_NOMEM}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_deliver(looks_up, 1);
        assert_string_equal(rig_call(RIG_FIND, 0)->store.collection, "packs");
        assert_string_equal(rig_call(RIG_FIND, 0)->store.id, "k");
        rig_store(rig_call(RIG_FIND, 0), &cases[i].done);
        expect_step(0, cases[i].told, 0);
        assert_int_equal(found, cases[i].heard);
        anew(state);
    }
}

/* ---- Functions on another thread ---- */

static char offloaded[8];

static sluice_rc shouts(sluice_bytes in, void **out, size_t *out_len)
{
    const char *text = in.data;
    if (text[0] == '!') {
        return SLUICE_ERR_VALIDATION;
    }
    if (text[0] == '?') {
        return SLUICE_ERR_NOMEM;
    }
    *out = strdup("HELLO");
    *out_len = 5;
    return *out == NULL ? SLUICE_ERR_NOMEM : SLUICE_OK;
}

static const char *to_shout;

static sluice_rc offloads(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    sluice_bytes out;
    SLUICE_TRY(
        sluice_offload(t, "shout", shouts, (sluice_bytes){to_shout, strlen(to_shout)}, &out));
    (void)snprintf(offloaded, sizeof offloaded, "%.*s", (int)out.len, (const char *)out.data);
    return SLUICE_OK;
}

static void how_an_offloaded_function_ended_is_told(void **state)
{
    static const struct {
        const char *in;
        enum sluice_fate told;
    } cases[] = {
        {"hello", SLUICE_FATE_OK}, {"!", SLUICE_FATE_BAD_ANSWER}, {"?", SLUICE_FATE_NO_MEMORY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        to_shout = cases[i].in;
        offloaded[0] = '\0';
        rig_deliver(offloads, 1);
        while (rig_seen_count(SLUICE_EV_STEP) == 0) {
            (void)uv_run(&rig.loop, UV_RUN_ONCE);
        }
        expect_step(0, cases[i].told, 0);
        assert_string_equal(offloaded, i == 0 ? "HELLO" : "");
        if (i == 1) {
            expect_record("offload", "SLUICE_ERR_VALIDATION: the offloaded function failed");
        }
        anew(state);
    }
}

/* A function that does not end before its message has gone. */
static uv_sem_t may_end;

static sluice_rc hangs(sluice_bytes in, void **out, size_t *out_len)
{
    (void)in;
    (void)out;
    (void)out_len;
    uv_sem_wait(&may_end);
    return SLUICE_OK;
}

static sluice_rc offloads_what_hangs(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    sluice_bytes out;
    return sluice_offload(t, "hang", hangs, (sluice_bytes){"x", 1}, &out);
}

static void a_message_does_not_wait_for_a_function_that_hangs(void **state)
{
    (void)state;
    assert_int_equal(uv_sem_init(&may_end, 0), 0);
    rig_deliver(offloads_what_hangs, 1);
    runtime_drain(rig.runtime);
    runtime_abort(rig.runtime);
    rig_settled(rig_call(RIG_SETTLE, 0), 1, 0);
    uint32_t freed = rig.freed;
    uv_sem_post(&may_end); /* before anything can fail: the loop waits for it in the end */
    (void)runtime_leave_offloads(rig.runtime);
    assert_int_equal(freed, 1);
    assert_int_equal(rig_seen_count(SLUICE_EV_STEP), 0);
}

/* ---- Documents and outputs ---- */

static sluice_rc commits(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    Context__V1__ContextDraft draft;
    context__v1__context_draft__init(&draft);
    for (unsigned i = 0; i < 2; i++) {
        draft.summary = (char *)(i == 0 ? "first" : "second");
        SLUICE_TRY(sluice_store(t, "packs", &draft.base));
        SLUICE_TRY(sluice_publish(t, "ready", &draft.base));
    }
    return SLUICE_OK;
}

static const struct sluice_store_done stored = {.fate = SLUICE_FATE_OK, .text = ""};

static void documents_go_before_outputs(void **state)
{
    (void)state;
    rig_deliver(commits, 1);
    const struct rig_call *c = rig_call(RIG_PUT, 0);
    assert_int_equal(rig_calls(RIG_PUT), 1);
    assert_int_equal(c->store.docs_count, 2);
    assert_string_equal(c->store.docs[0].collection, "packs");
    assert_string_equal(c->store.docs[0].id, "S:7:1700000000123456789");
    assert_string_equal(c->store.docs[1].id, "S:7:1700000000123456789/2");
    assert_int_equal(rig_calls(RIG_PUBLISH), 0);
    rig_store(rig_call(RIG_PUT, 0), &stored);
    assert_int_equal(rig_seen(SLUICE_EV_STORED)->ev.fate, SLUICE_FATE_OK);
    assert_int_equal(rig_calls(RIG_PUBLISH), 2);
    assert_int_equal(rig_calls(RIG_SETTLE), 0);
}

static void how_storing_ended_is_told(void **state)
{
    static const struct {
        struct sluice_store_done done;
        enum sluice_fate told;
    } cases[] = {{{.fate = SLUICE_FATE_UNKNOWN, .rc = SLUICE_ERR_TIMEOUT, .text = "late"},
                  SLUICE_FATE_UNKNOWN},
                 {{.fate = SLUICE_FATE_UNREACHABLE, .rc = SLUICE_ERR_DB, .text = "away"},
                  SLUICE_FATE_UNREACHABLE},
                 {{.fate = SLUICE_FATE_PERMANENT, .rc = SLUICE_ERR_TOO_LARGE, .text = "large"},
                  SLUICE_FATE_PERMANENT},
                 {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_NOMEM, .text = "full"},
                  SLUICE_FATE_NO_MEMORY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_deliver(commits, 1);
        rig_store(rig_call(RIG_PUT, 0), &cases[i].done);
        assert_int_equal(rig_seen(SLUICE_EV_STORED)->ev.fate, cases[i].told);
        assert_int_equal(rig_seen(SLUICE_EV_STORED)->ev.ticket.generation, 1);
        if (i == 0) {
            expect_record("store", "SLUICE_ERR_TIMEOUT: late");
        }
        anew(state);
    }
    rig.refused = 1u << RIG_PUT;
    rig_deliver(commits, 1);
    assert_int_equal(rig_seen_count(SLUICE_EV_STORED), 1);
    assert_int_equal(rig_seen(SLUICE_EV_STORED)->ev.fate, SLUICE_FATE_NO_MEMORY);
}

static void an_output_goes_out_as_it_was_staged(void **state)
{
    for (int is_traced = 0; is_traced <= 1; is_traced++) {
        static const sluice_header headers[] = {{"X-Correlation-ID", "corr"},
                                                {"traceparent", "00-a"}};
        fixture.delivery.headers = headers;
        fixture.delivery.headers_count = is_traced ? 2 : 1;
        rig_deliver(commits, 1);
        rig_store(rig_call(RIG_PUT, 0), &stored);
        for (uint32_t i = 0; i < 2; i++) {
            const struct rig_call *c = rig_call(RIG_PUBLISH, i);
            char id[64];
            (void)snprintf(id, sizeof id, "w:S:7:1700000000123456789:ready:%u", i + 1);
            assert_string_equal(c->publish.subject, "a.ready");
            assert_string_equal(c->publish.stream, "S");
            assert_string_equal(header_of(c, "Nats-Msg-Id"), id);
            assert_string_equal(header_of(c, SLUICE_HEADER_PROTO), "context.v1.ContextDraft");
            assert_string_equal(header_of(c, "Content-Type"), SLUICE_TYPE_PROTOBUF);
            assert_string_equal(header_of(c, SLUICE_HEADER_CORRELATION), "corr");
            assert_string_equal(header_of(c, "traceparent"), is_traced ? "00-a" : "(none)");
            assert_memory_equal(c->publish.body + 2, i == 0 ? "first" : "second", 5);
        }
        anew(state);
    }
}

static void how_publishing_ended_is_told_of_each_output(void **state)
{
    static const struct {
        struct sluice_publish_done done;
        enum sluice_fate told;
    } cases[] = {{{.fate = SLUICE_FATE_OK, .sequence = 5, .text = ""}, SLUICE_FATE_OK},
                 {{.fate = SLUICE_FATE_UNKNOWN, .rc = SLUICE_ERR_TIMEOUT, .text = "late"},
                  SLUICE_FATE_UNKNOWN},
                 {{.fate = SLUICE_FATE_PERMANENT, .rc = SLUICE_ERR_TOO_LARGE, .text = "large"},
                  SLUICE_FATE_PERMANENT},
                 {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_CONNECTION, .text = "away"},
                  SLUICE_FATE_CANCELLED},
                 {{.fate = SLUICE_FATE_UNKNOWN, .rc = SLUICE_ERR_CONNECTION, .text = "away"},
                  SLUICE_FATE_CANCELLED},
                 {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_NOMEM, .text = "full"},
                  SLUICE_FATE_NO_MEMORY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_deliver(commits, 1);
        rig_store(rig_call(RIG_PUT, 0), &stored);
        rig_publish(rig_call(RIG_PUBLISH, 1), &cases[i].done);
        const struct sluice_event *ev = &rig_seen(SLUICE_EV_PUBLISHED)->ev;
        assert_int_equal(ev->ticket.generation, 1);
        assert_int_equal(ev->published.output, 1);
        assert_int_equal(ev->published.fate, cases[i].told);
        assert_int_equal(rig_calls(RIG_SETTLE), 0);
        anew(state);
    }
    rig_deliver(commits, 1);
    rig_store(rig_call(RIG_PUT, 0), &stored);
    rig_publish(rig_call(RIG_PUBLISH, 0), &cases[0].done);
    rig_publish(rig_call(RIG_PUBLISH, 1), &cases[1].done);
    expect_record("publish", "SLUICE_ERR_TIMEOUT: late");
    assert_int_equal(rig_call(RIG_RECORD, 0)->journal.numbers.outputs_count, 1);
}

static void an_output_that_finds_no_memory_is_told_so(void **state)
{
    (void)state;
    rig_deliver(commits, 1);
    rig.refused = 1u << RIG_PUBLISH;
    rig_store(rig_call(RIG_PUT, 0), &stored);
    assert_int_equal(rig_seen_count(SLUICE_EV_PUBLISHED), 2);
    assert_int_equal(rig_seen(SLUICE_EV_PUBLISHED)->ev.published.output, 1);
    assert_int_equal(rig_seen(SLUICE_EV_PUBLISHED)->ev.published.fate, SLUICE_FATE_NO_MEMORY);
}

static void duplicates_are_counted(void **state)
{
    (void)state;
    rig_deliver(commits, 1);
    rig_store(rig_call(RIG_PUT, 0), &stored);
    for (uint32_t i = 0; i < 2; i++) {
        rig_publish(rig_call(RIG_PUBLISH, i), &(struct sluice_publish_done){.fate = SLUICE_FATE_OK,
                                                                            .sequence = i + 1,
                                                                            .is_duplicate = i == 1,
                                                                            .text = ""});
    }
    assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, SLUICE_VERB_ACK);
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    assert_int_equal(rig.shown.outputs_duplicate, 1);
}

/* ---- No memory for the runtime's own part of a call ---- */

static int has_no_heap_when_run; /* from its first run on */
static sluice_handler_fn *wanted;

static sluice_rc starves(sluice_turn *t, const sluice_msg *in)
{
    rig.has_no_heap = has_no_heap_when_run;
    return wanted(t, in);
}

static void each_call_without_memory_is_told_so(void **state)
{
    static const struct {
        sluice_handler_fn *handler;
        enum rig_port port;
        enum sluice_event_kind told;
    } cases[] = {{asks_two, RIG_ASK, SLUICE_EV_STEP},
                 {calls_both, RIG_HTTP, SLUICE_EV_STEP},
                 {looks_up, RIG_FIND, SLUICE_EV_STEP},
                 {offloads, RIG_PUBLISH, SLUICE_EV_STEP},
                 {commits, RIG_PUT, SLUICE_EV_STORED}};
    has_no_heap_when_run = 1;
    to_shout = "hello";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wanted = cases[i].handler;
        rig_deliver(starves, 1);
        rig.has_no_heap = 0;
        assert_int_equal(rig_calls(cases[i].port), 0);
        const struct sluice_event *ev = &rig_seen(cases[i].told)->ev;
        assert_int_equal(ev->kind == SLUICE_EV_STEP ? ev->step.fate : ev->fate,
                         SLUICE_FATE_NO_MEMORY);
        assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, SLUICE_VERB_NAK);
        rig_settled(rig_call(RIG_SETTLE, 0), 1, 0);
        assert_int_equal(rig.freed, 1);
        anew(state);
    }
}

/* ---- Dead letters ---- */

static sluice_rc rejects(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    return sluice_fail(t, SLUICE_REJECT, "unreadable");
}

static void a_dead_letter_says_why(void **state)
{
    (void)state;
    fixture.delivery.body = (sluice_bytes){"body", 4};
    rig_deliver(rejects, 1);
    const struct rig_call *c = rig_call(RIG_PUBLISH, 0);
    assert_string_equal(c->publish.subject, "dead");
    assert_string_equal(c->publish.stream, "DEAD");
    assert_int_equal(c->publish.body_len, 4);
    assert_memory_equal(c->publish.body, "body", 4);
    assert_string_equal(header_of(c, SLUICE_HEADER_DEAD_REASON), "rejected");
    assert_string_equal(header_of(c, SLUICE_HEADER_DEAD_STEP), "handler");
    assert_string_equal(header_of(c, SLUICE_HEADER_DEAD_ERROR), "unreadable");
    assert_string_equal(header_of(c, SLUICE_HEADER_DEAD_FAILURES), "1");
}

static void how_burying_ended_is_told(void **state)
{
    static const struct {
        struct sluice_publish_done done;
        enum sluice_fate told;
        enum sluice_verb verb;
    } cases[] = {
        {{.fate = SLUICE_FATE_OK, .sequence = 1, .text = ""}, SLUICE_FATE_OK, SLUICE_VERB_TERM},
        {{.fate = SLUICE_FATE_UNKNOWN, .rc = SLUICE_ERR_TIMEOUT, .text = "late"},
         SLUICE_FATE_UNKNOWN,
         SLUICE_VERB_NAK},
        {{.fate = SLUICE_FATE_RETRY, .rc = SLUICE_ERR_NOMEM, .text = "full"},
         SLUICE_FATE_NO_MEMORY,
         SLUICE_VERB_NAK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_deliver(rejects, 1);
        rig_publish(rig_call(RIG_PUBLISH, 0), &cases[i].done);
        assert_int_equal(rig_seen(SLUICE_EV_BURIED)->ev.fate, cases[i].told);
        assert_int_equal(rig_seen(SLUICE_EV_BURIED)->ev.ticket.generation, 1);
        assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, cases[i].verb);
        anew(state);
    }
}

/* ---- What is shown of failures ---- */

static void a_failed_delivery_counts_at_its_step(void **state)
{
    (void)state;
    rig_deliver(rejects, 1);
    rig_publish(rig_call(RIG_PUBLISH, 0),
                &(struct sluice_publish_done){.fate = SLUICE_FATE_OK, .sequence = 1, .text = ""});
    rig_settled(rig_call(RIG_SETTLE, 0), 1, 0);
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    assert_int_equal(rig.shown.step_failures[PROBE_STEP_HANDLER], 1);
    assert_int_equal(rig.shown.engine.outcomes[SLUICE_OUTCOME_DEAD], 1);
}

static void what_a_shutdown_sends_back_counts_at_no_step(void **state)
{
    (void)state;
    rig_deliver(asks_two, 1);
    runtime_drain(rig.runtime);
    runtime_abort(rig.runtime);
    rig_llm_ok(rig_call(RIG_ASK, 0));
    rig_llm_ok(rig_call(RIG_ASK, 1));
    for (uint32_t i = 0; i < rig_calls(RIG_KEEP); i++) {
        rig_journal(rig_call(RIG_KEEP, i), &(struct sluice_journal_done){.fate = SLUICE_FATE_OK});
    }
    assert_int_equal(rig_call(RIG_SETTLE, 0)->settle.verb, SLUICE_VERB_NAK);
    rig_settled(rig_call(RIG_SETTLE, 0), 1, 0);
    rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    assert_int_equal(rig.shown.engine.outcomes[SLUICE_OUTCOME_NAKED], 1);
    for (int i = 0; i < PROBE_STEPS_COUNT; i++) {
        assert_int_equal(rig.shown.step_failures[i], 0);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_question_goes_out_as_it_was_asked),
        CASE(how_a_question_ended_is_told),
        CASE(an_answer_is_that_of_its_own_question),
        CASE(tokens_are_counted_whoever_waits_for_them),
        CASE(an_answer_that_finds_no_memory_is_told_so),
        CASE(a_call_that_finds_no_memory_is_told_so),
        CASE(what_nobody_waits_for_is_cancelled_by_its_number),
        CASE(an_answer_for_a_message_that_has_gone_is_not_told),
        CASE(a_call_goes_to_its_own_service),
        CASE(how_a_service_s_call_ended_is_told),
        CASE(how_a_look_up_ended_is_told),
        CASE(how_an_offloaded_function_ended_is_told),
        CASE(a_message_does_not_wait_for_a_function_that_hangs),
        CASE(documents_go_before_outputs),
        CASE(how_storing_ended_is_told),
        CASE(an_output_goes_out_as_it_was_staged),
        CASE(how_publishing_ended_is_told_of_each_output),
        CASE(an_output_that_finds_no_memory_is_told_so),
        CASE(duplicates_are_counted),
        CASE(each_call_without_memory_is_told_so),
        CASE(a_dead_letter_says_why),
        CASE(how_burying_ended_is_told),
        CASE(a_failed_delivery_counts_at_its_step),
        CASE(what_a_shutdown_sends_back_counts_at_no_step),
    };
    return cmocka_run_group_tests_name("runtime_calls", tests, NULL, NULL);
}
