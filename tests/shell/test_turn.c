/* SPDX-License-Identifier: Apache-2.0 */
/* A handler's runs: steps asked for, suspended, remembered and handed out. The states of the steps,
 * which the engine keeps, are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "context.pb-c.h"
#include "host_fixture.h"
#include <stdio.h>
#include <string.h>

static struct sluice_step_status status[SLUICE_STEPS_MAX];
static struct host_verdict verdict;
static struct inflight *const m = &fixture.m;

const struct sluice_step_status *__wrap_sluice_engine_steps(const struct sluice_engine *e,
                                                            struct sluice_ticket ticket,
                                                            uint32_t *count);

const struct sluice_step_status *__wrap_sluice_engine_steps(const struct sluice_engine *e,
                                                            struct sluice_ticket ticket,
                                                            uint32_t *count)
{
    (void)e;
    (void)ticket;
    *count = m->steps_count;
    return status;
}

static void run(sluice_handler_fn *handler)
{
    fixture.plugin.worker.on_message = handler;
    host_run(&fixture.host, m, &verdict);
}

/* The run waits for these of the first 64 steps, and has asked for so many new ones. */
static void expect_suspended(uint64_t awaited, unsigned asked)
{
    if (verdict.verdict.kind != SLUICE_VERDICT_SUSPENDED) {
        fail_msg("not suspended: %s", m->reason);
    }
    assert_true(verdict.verdict.awaited[0] == awaited);
    assert_int_equal(verdict.verdict.steps_count, asked);
}

static void expect_done(void)
{
    if (verdict.verdict.kind != SLUICE_VERDICT_DONE) {
        fail_msg("not done: %s", m->reason);
    }
}

static void expect_failed(enum sluice_failure failure, int step, const char *where,
                          const char *reason)
{
    assert_int_equal(verdict.verdict.kind, SLUICE_VERDICT_FAILED);
    assert_string_equal(m->reason, reason);
    assert_string_equal(m->failed_step, where);
    assert_int_equal(verdict.verdict.failure, failure);
    assert_int_equal(verdict.verdict.failed_step, step);
}

static void answer(uint32_t step, const char *text)
{
    status[step].state = SLUICE_STEP_OK;
    assert_int_equal(
        host_llm_answer(m, step, (sluice_bytes){text, strlen(text)}, "m", "stop", 0, 0, 0),
        SLUICE_FATE_OK);
}

static void fail_step(uint32_t step, sluice_rc rc, const char *text)
{
    status[step].state = SLUICE_STEP_FAILED;
    host_step_failed(m, step, rc, text);
}

/* ---- One step ---- */

static char heard[64];

static sluice_rc asks(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    SLUICE_TRY(sluice_llm(t, &(sluice_llm_request){.user = "what?"}, &reply));
    (void)snprintf(heard, sizeof heard, "%.*s", (int)reply->text.len,
                   (const char *)reply->text.data);
    return SLUICE_OK;
}

static void a_run_suspends_until_its_answer_is_there(void **state)
{
    (void)state;
    static const enum sluice_step_state waiting[] = {SLUICE_STEP_PARKED, SLUICE_STEP_RUNNING,
                                                     SLUICE_STEP_REPLAYING};
    heard[0] = '\0';
    run(asks);
    expect_suspended(1, 1);
    assert_memory_equal(&verdict.requests[0].hash, &m->steps[0]->hash, sizeof m->steps[0]->hash);
    assert_int_equal(verdict.requests[0].dependency, SLUICE_DEP_LLM);
    assert_int_equal(verdict.requests[0].is_paid, 1);
    for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
        status[0].state = (uint8_t)waiting[i];
        run(asks);
        expect_suspended(1, 0);
    }
    answer(0, "that");
    run(asks);
    expect_done();
    assert_string_equal(heard, "that");
    assert_int_equal(m->steps_count, 1);
}

static void an_error_of_a_step_that_is_passed_on_is_the_steps(void **state)
{
    (void)state;
    run(asks);
    fail_step(0, SLUICE_ERR_RATE_LIMITED, "slow down");
    run(asks);
    expect_failed(SLUICE_FAILURE_HANDLER, 0, "llm", "SLUICE_ERR_RATE_LIMITED: slow down");
}

static sluice_rc replaces_the_error(sluice_turn *t, const sluice_msg *in)
{
    sluice_rc rc = asks(t, in);
    return rc == SLUICE_ERR_LLM ? SLUICE_RETRY : rc;
}

static void an_error_of_the_handlers_own_is_the_handlers(void **state)
{
    (void)state;
    run(replaces_the_error);
    fail_step(0, SLUICE_ERR_LLM, "nonsense");
    run(replaces_the_error);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler", "returned SLUICE_RETRY (2)");
}

static sluice_rc suspends_for_nothing(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_SUSPEND;
}

static void a_run_cannot_suspend_for_nothing(void **state)
{
    (void)state;
    run(suspends_for_nothing);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler",
                  "returned SLUICE_SUSPEND with nothing pending");
}

/* ---- Several ---- */

static unsigned runs, wanted;

static sluice_rc asks_something_else_each_run(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    return sluice_llm(t, &(sluice_llm_request){.user = sluice_format(t, "run %u?", ++runs)},
                      &reply);
}

static void another_question_than_before_is_a_fault(void **state)
{
    (void)state;
    run(asks_something_else_each_run);
    run(asks_something_else_each_run);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler",
                  "not deterministic: this run asked for another step than the run before");
}

static sluice_llm_request question;

static sluice_rc asks_the_question(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    return sluice_llm(t, &question, &reply);
}

static void each_part_of_a_question_counts(void **state)
{
    (void)state;
    const sluice_llm_request first = {.user = "u", .system = "s", .model = "x", .max_tokens = 5};
    sluice_llm_request others[] = {first, first, first, first, first, first, first};
    others[0].user = "u2";
    others[1].system = "s2";
    others[2].system = NULL;
    others[3].model = "y";
    others[4].max_tokens = 6;
    others[5].temperature = 0.5;
    others[6].answer = &context__v1__context_draft__descriptor;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        host_fixture_redeliver();
        question = first;
        run(asks_the_question);
        expect_suspended(1, 1);
        run(asks_the_question);
        expect_suspended(1, 0);
        question = others[i];
        run(asks_the_question);
        expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler",
                      "not deterministic: this run asked for another step than the run before");
    }
}

static void a_question_that_cannot_be_written_fails_like_a_step(void **state)
{
    (void)state;
    question = (sluice_llm_request){.user = "\xff"};
    run(asks_the_question);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "llm",
                  "SLUICE_ERR_VALIDATION: llm request: a text is not valid UTF-8");
    assert_int_equal(m->steps_count, 0);
}

static sluice_rc asks_for_less(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    static char most[2000000];
    memset(most, 'x', sizeof most - 1);
    const sluice_llm_reply *reply;
    if (sluice_llm(t, &(sluice_llm_request){.user = most}, &reply) != SLUICE_ERR_TOO_LARGE) {
        return SLUICE_REJECT;
    }
    return sluice_llm(t, &(sluice_llm_request){.user = "less?"}, &reply);
}

static void a_handler_whose_question_was_too_large_may_ask_for_less(void **state)
{
    (void)state;
    run(asks_for_less);
    expect_suspended(1, 1);
    answer(0, "that");
    run(asks_for_less);
    expect_done();
}

static sluice_rc errors[4];

static sluice_rc asks_three_at_once(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    sluice_step steps[3];
    const sluice_llm_reply *reply;
    for (int i = 0; i < 3; i++) {
        steps[i] = sluice_llm_start(t, &(sluice_llm_request){.user = sluice_format(t, "%d", i)});
    }
    SLUICE_TRY(sluice_await_all(t, steps, 3));
    for (int i = 0; i < 3; i++) {
        errors[i] = sluice_llm_await(t, steps[i], &reply);
        assert_true((reply != NULL) == (errors[i] == SLUICE_OK));
    }
    return SLUICE_OK;
}

static void steps_run_together_and_fail_alone(void **state)
{
    (void)state;
    run(asks_three_at_once);
    expect_suspended(7, 3);
    answer(0, "a");
    status[1].state = SLUICE_STEP_RUNNING;
    fail_step(2, SLUICE_ERR_LLM, "c");
    run(asks_three_at_once);
    expect_suspended(2, 0);
    answer(1, "b");
    run(asks_three_at_once);
    expect_done();
    assert_int_equal(errors[0], SLUICE_OK);
    assert_int_equal(errors[1], SLUICE_OK);
    assert_int_equal(errors[2], SLUICE_ERR_LLM);
}

static sluice_rc asks_many(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    sluice_step steps[SLUICE_STEPS_MAX + 1];
    for (unsigned i = 0; i < wanted; i++) {
        steps[i] = sluice_llm_start(t, &(sluice_llm_request){.user = sluice_format(t, "%u", i)});
    }
    return sluice_await_all(t, steps, wanted);
}

static void there_is_room_for_256_steps(void **state)
{
    (void)state;
    static const unsigned counts[] = {SLUICE_STEPS_MAX - 1, SLUICE_STEPS_MAX};
    for (size_t i = 0; i < 2; i++) {
        wanted = counts[i];
        host_fixture_redeliver();
        run(asks_many);
        expect_suspended(UINT64_MAX, wanted);
        assert_true(verdict.verdict.awaited[3] == UINT64_MAX >> (SLUICE_STEPS_MAX - wanted));
        run(asks_many); /* all are known again, in their order */
        expect_suspended(UINT64_MAX, 0);
    }
    wanted = SLUICE_STEPS_MAX + 1;
    host_fixture_redeliver();
    run(asks_many);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler", "steps: more than 256 in one message");
}

static sluice_rc never_awaits(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    (void)sluice_llm_start(t, &(sluice_llm_request){.user = "what?"});
    return SLUICE_OK;
}

static void a_step_that_nobody_awaits_is_forgotten(void **state)
{
    (void)state;
    run(never_awaits);
    expect_done();
    assert_int_equal(verdict.verdict.steps_count, 0);
    assert_int_equal(m->steps_count, 0);
}

static sluice_rc awaits_what_was_never_started(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_llm_reply *reply;
    return sluice_llm_await(t, (sluice_step){3}, &reply);
}

static void a_step_that_was_never_started_is_a_mistake(void **state)
{
    (void)state;
    run(awaits_what_was_never_started);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler", "await: of a step that was never started");
}

/* ---- After a suspension ---- */

static sluice_rc goes_on_regardless(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    Context__V1__ContextDraft draft = CONTEXT__V1__CONTEXT_DRAFT__INIT;
    const sluice_llm_reply *reply;
    const sluice_http_reply *answered;
    const Context__V1__ContextDraft *found;
    sluice_bytes out;
    sluice_rc rc = asks(t, in);
    if (rc == SLUICE_SUSPEND) {
        assert_int_equal(asks(t, in), SLUICE_SUSPEND);
        assert_int_equal(sluice_store(t, "c", &draft.base), SLUICE_SUSPEND);
        assert_int_equal(sluice_publish(t, "nowhere", &draft.base), SLUICE_SUSPEND);
        assert_int_equal(sluice_http(t, "nobody", &(sluice_http_request){.path = "/"}, &answered),
                         SLUICE_SUSPEND);
        assert_int_equal(sluice_find(t, "c", "i", context__v1__context_draft, &found),
                         SLUICE_SUSPEND);
        assert_int_equal(sluice_offload(t, "o", NULL, (sluice_bytes){NULL, 0}, &out),
                         SLUICE_SUSPEND);
        assert_int_equal(sluice_llm_await(t, (sluice_step){9}, &reply), SLUICE_SUSPEND);
        return sluice_fail(t, SLUICE_REJECT, "ignored");
    }
    return rc;
}

static void a_suspended_run_does_nothing_more(void **state)
{
    (void)state;
    run(goes_on_regardless);
    expect_suspended(1, 1);
    assert_string_equal(m->reason, "");
    assert_int_equal(m->docs_count, 0);
    answer(0, "x");
    run(goes_on_regardless);
    expect_done();
}

/* ---- Keys of a service's calls ---- */

static sluice_rc calls_twice(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_http_reply *reply;
    const sluice_http_request request = {.path = "/v1/x", .body = {"{}", 2}};
    SLUICE_TRY(sluice_http(t, "crm", &request, &reply));
    assert_int_equal(reply->status, 201);
    return sluice_http(t, "crm", &request, &reply);
}

static const char *header_of(const struct host_step *s, const char *name)
{
    for (uint32_t i = 0; i < s->headers_count; i++) {
        if (strcmp(s->headers[i].name, name) == 0) {
            return s->headers[i].value;
        }
    }
    return "none";
}

/* Both calls of a delivery; their keys. */
static void call_twice(char keys[2][80])
{
    memset(status, 0, sizeof status);
    run(calls_twice);
    expect_suspended(1, 1);
    status[0].state = SLUICE_STEP_OK;
    assert_int_equal(host_http_answer(m, 0, 201, (sluice_bytes){NULL, 0}, ""), SLUICE_FATE_OK);
    run(calls_twice);
    expect_suspended(2, 1);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(keys[i], 80, "%s", m->steps[i]->idempotency_key);
        assert_int_equal(strlen(keys[i]), 32);
        assert_string_equal(header_of(m->steps[i], "Idempotency-Key"), keys[i]);
    }
}

static void a_call_has_a_key_of_its_own_on_every_delivery(void **state)
{
    (void)state;
    char first[2][80];
    char again[2][80];
    char other[2][80];
    fixture.host.services[0] = (struct host_service){.name = "crm", .base_url = "http://h/api/"};
    fixture.host.services_count = 1;
    call_twice(first);
    assert_string_equal(m->steps[0]->url, "http://h/api/v1/x");
    assert_string_equal(m->steps[0]->method, "POST");
    assert_string_equal(header_of(m->steps[0], "Content-Type"), "application/json");
    assert_int_equal(verdict.requests[0].dependency, SLUICE_DEP_SERVICES);
    assert_string_not_equal(first[0], first[1]); /* the same request, asked twice */
    host_fixture_redeliver();
    call_twice(again);
    assert_string_equal(first[0], again[0]);
    assert_string_equal(first[1], again[1]);
    fixture.delivery.sequence++;
    host_fixture_redeliver();
    call_twice(other);
    assert_string_not_equal(first[0], other[0]);
}

static sluice_rc calls_nobody(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const sluice_http_reply *reply;
    return sluice_http(t, "nobody", &(sluice_http_request){.path = "/"}, &reply);
}

static void a_service_that_is_not_configured_is_named(void **state)
{
    (void)state;
    run(calls_nobody);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler",
                  "no such service in the configuration: nobody");
}

/* ---- Look-ups ---- */

static sluice_rc looks_up(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    const Context__V1__ContextDraft *found;
    sluice_rc rc = sluice_find(t, "packs", "k", context__v1__context_draft, &found);
    if (rc == SLUICE_OK) {
        (void)snprintf(heard, sizeof heard, "%s", found->summary);
    }
    return rc;
}

static void a_document_is_found_or_is_told_to_be_missing(void **state)
{
    (void)state;
    static const char document[] = "{\"summary\":\"s\"}";
    run(looks_up);
    expect_suspended(1, 1);
    assert_int_equal(verdict.requests[0].dependency, SLUICE_DEP_STORE);
    assert_int_equal(verdict.requests[0].is_paid, 0);
    status[0].state = SLUICE_STEP_OK;
    run(looks_up);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler", "returned SLUICE_ERR_NOT_FOUND (-13)");
    assert_int_equal(host_found(m, 0, (sluice_bytes){document, sizeof document - 1}),
                     SLUICE_FATE_OK);
    run(looks_up);
    expect_done();
    assert_string_equal(heard, "s");
}

/* ---- What an OK needs ---- */

static sluice_rc says_ok(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_OK;
}

static void an_ok_without_a_required_step_names_it(void **state)
{
    (void)state;
    static const struct {
        uint32_t require;
        const char *step;
    } cases[] = {{SLUICE_REQUIRE_DEFAULT, "llm"},
                 {SLUICE_REQUIRE_LLM, "llm"},
                 {SLUICE_REQUIRE_DOCUMENT | SLUICE_REQUIRE_OUTPUT, "store"},
                 {SLUICE_REQUIRE_OUTPUT, "publish"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[128];
        fixture.plugin.worker.require = cases[i].require;
        run(says_ok);
        (void)snprintf(reason, sizeof reason, "returned SLUICE_OK without the required step %s",
                       cases[i].step);
        expect_failed(SLUICE_FAILURE_HANDLER, -1, cases[i].step, reason);
    }
}

static sluice_rc goes_on_without_the_answer(sluice_turn *t, const sluice_msg *in)
{
    return asks(t, in) == SLUICE_SUSPEND ? SLUICE_SUSPEND : SLUICE_OK;
}

static void an_llm_step_without_an_answer_is_not_the_required_one(void **state)
{
    (void)state;
    fixture.plugin.worker.require = SLUICE_REQUIRE_LLM;
    run(never_awaits);
    expect_failed(SLUICE_FAILURE_HANDLER, -1, "llm",
                  "returned SLUICE_OK without the required step llm");
    run(goes_on_without_the_answer);
    expect_suspended(1, 1);
    fail_step(0, SLUICE_ERR_UNAVAILABLE, "away");
    run(goes_on_without_the_answer);
    expect_failed(SLUICE_FAILURE_HANDLER, 0, "llm", "SLUICE_ERR_UNAVAILABLE: away");
    answer(0, "that");
    m->steps[0]->rc = SLUICE_OK;
    run(goes_on_without_the_answer);
    expect_done();
}

static int setup(void **state)
{
    memset(status, 0, sizeof status);
    runs = 0;
    return host_fixture_setup(state);
}

/* ---- Headers of the message ---- */

static void bring(const sluice_header *headers, uint32_t count, const char *body)
{
    fixture.delivery.headers = headers;
    fixture.delivery.headers_count = count;
    fixture.delivery.body = (sluice_bytes){body, strlen(body)};
    host_fixture_redeliver();
}

static void a_trace_that_nobody_could_carry_on_is_ignored(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\tb", "a\x7f", "a\xff", ""};
    const sluice_header good[] = {{"X-Correlation-ID", "id-\xc3\xa4"},
                                  {"traceparent", "00-1-2-01"}};
    char made[96];
    char endless[258];
    bring(NULL, 0, "");
    (void)snprintf(made, sizeof made, "%s", m->correlation_id);
    assert_null(m->traceparent);
    bring(good, 2, "");
    assert_string_equal(m->correlation_id, "id-\xc3\xa4");
    assert_string_equal(m->traceparent, "00-1-2-01");
    memset(endless, 'x', 257);
    endless[257] = '\0';
    for (size_t i = 0; i < 5; i++) {
        const char *value = i < 4 ? bad[i] : endless;
        const sluice_header headers[] = {{"X-Correlation-ID", value}, {"traceparent", value}};
        bring(headers, 2, "");
        assert_string_equal(m->correlation_id, made);
        assert_null(m->traceparent);
    }
}

static unsigned handled;

static sluice_rc decodes(sluice_turn *t, const sluice_msg *in)
{
    handled++;
    const Context__V1__ContextEnrichRequest *request;
    return sluice_decode(t, in, context__v1__context_enrich_request, &request);
}

static void a_key_header_that_no_output_could_carry_is_rejected_unread(void **state)
{
    (void)state;
    char endless[SLUICE_KEY_MAX + 2];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    const char *const bad[] = {"a\rb", "a\x01", "\xc3", endless};
    handled = 0;
    for (size_t i = 0; i < 4; i++) {
        const sluice_header key = {"Sluice-Key", bad[i]};
        bring(&key, 1, "x");
        run(decodes);
        expect_failed(SLUICE_FAILURE_REJECTED, -1, "parse",
                      "message 7: header Sluice-Key: expected 1 to 256 bytes of UTF-8 without "
                      "control characters");
    }
    assert_int_equal(handled, 0);
}

static const sluice_header as_json = {"Content-Type", "application/json"};

static void a_key_field_that_no_output_could_carry_is_rejected(void **state)
{
    (void)state;
    fixture.plugin.worker.key_field = "request_id";
    bring(&as_json, 1, "{\"request_id\": \"id\\r\\nX-Evil: 1\"}");
    run(decodes);
    expect_failed(SLUICE_FAILURE_REJECTED, -1, "parse",
                  "message 7 (33 bytes): request_id: a control character in what identifies the "
                  "message");
    bring(&as_json, 1, "{\"request_id\": \"id 1\"}");
    run(decodes);
    expect_done();
    assert_string_equal(m->key, "id 1");
}

/* Each publish of such a request is the same request: its name is cut to a hash, not forgotten. */
static void a_key_field_that_is_too_long_is_known_by_its_hash(void **state)
{
    (void)state;
    static const char prefix[] = "{\"request_id\": \"";
    char body[SLUICE_KEY_MAX + 64];
    char id[SLUICE_KEY_MAX + 1];
    fixture.plugin.worker.key_field = "request_id";
    for (size_t len = SLUICE_KEY_MAX - 1; len <= SLUICE_KEY_MAX + 1; len++) {
        memset(id, 'a', sizeof id);
        (void)snprintf(body, sizeof body, "%s%.*s%s\"}", prefix, (int)len - 1, id, "b");
        bring(&as_json, 1, body);
        run(decodes);
        expect_done();
        if (len <= SLUICE_KEY_MAX) {
            assert_int_equal(strlen(m->key), len);
        } else { /* printf %s "$ID" | sha256sum */
            assert_string_equal(m->key,
                                "sha256:"
                                "3dc0aae8fc4eda1fde368fbd878a01aa607b604737af868e7a44e5105bfe99cb");
        }
    }
    (void)snprintf(body, sizeof body, "%s\\u0001%.*s\"}", prefix, (int)sizeof id, id);
    bring(&as_json, 1, body);
    run(decodes);
    expect_failed(SLUICE_FAILURE_REJECTED, -1, "parse",
                  "message 7 (281 bytes): request_id: a control character in what identifies the "
                  "message");
}

static struct {
    char key[64];
    int64_t now;
    uint64_t random, second;
} told;

static sluice_rc is_told(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    (void)snprintf(told.key, sizeof told.key, "%s", sluice_key(t));
    told.now = sluice_now(t);
    told.random = sluice_random(t);
    told.second = sluice_random(t);
    return SLUICE_OK;
}

/* Else it would ask another question, and pay for it. */
static void a_replay_is_told_the_same_as_its_original(void **state)
{
    (void)state;
    const sluice_header replay = {"Sluice-Replay-Of", "S:7:1700000000123456789"};
    run(is_told);
    expect_done();
    assert_string_equal(told.key, replay.value);
    uint64_t random = told.random, second = told.second;
    assert_true(random != second);
    fixture.delivery.sequence = 9;
    fixture.delivery.stored_unix_ns += 5000000000;
    bring(&replay, 1, "");
    run(is_told);
    expect_done();
    assert_string_equal(told.key, replay.value);
    assert_true(told.now == 1700000000123);
    assert_true(told.random == random && told.second == second);
}

/* Where any type may come, the load could not know. */
static void a_key_field_that_the_type_lacks_is_a_mistake(void **state)
{
    (void)state;
    static const char *const wrong[] = {"requestid", "inputs"};
    for (size_t i = 0; i < 2; i++) {
        fixture.plugin.worker.key_field = wrong[i];
        bring(&as_json, 1, "{\"request_id\": \"a\"}");
        run(decodes);
        char text[160];
        (void)snprintf(text, sizeof text,
                       "key_field: \"%s\", expected a text field of "
                       "context.v1.ContextEnrichRequest",
                       wrong[i]);
        expect_failed(SLUICE_FAILURE_HANDLER, -1, "handler", text);
    }
    const sluice_header with_key[] = {as_json, {"Sluice-Key", "k"}};
    bring(with_key, 2, "{\"request_id\": \"a\"}");
    run(decodes);
    expect_done();
    assert_string_equal(m->key, "k");
}

static void a_body_of_another_type_than_the_handlers_is_rejected(void **state)
{
    (void)state;
    const sluice_header types[] = {as_json, {"Sluice-Proto", "context.v1.ContextDraft"}};
    bring(types, 2, "{}");
    run(decodes);
    expect_failed(SLUICE_FAILURE_REJECTED, -1, "parse",
                  "message 7 (2 bytes): type context.v1.ContextDraft, expected "
                  "context.v1.ContextEnrichRequest");
}

/* ---- Lines ---- */

static char lines[256];

static void line_take(void *ctx, const struct inflight *of, int32_t level, const char *event,
                      const char *text)
{
    assert_ptr_equal(ctx, lines);
    assert_ptr_equal(of, m);
    size_t len = strlen(lines);
    (void)snprintf(lines + len, sizeof lines - len, "%d %s %s\n", level, event, text);
}

static sluice_rc logs_around_a_question(sluice_turn *t, const sluice_msg *in)
{
    sluice_log(t, SLUICE_LOG_INFO, "before", "%d", 1);
    SLUICE_TRY(asks(t, in));
    sluice_log(t, SLUICE_LOG_WARN, "after", "%d", 2);
    return SLUICE_OK;
}

static void a_line_is_written_once_however_often_its_run_is_taken(void **state)
{
    (void)state;
    fixture.host.log = line_take;
    fixture.host.log_ctx = lines;
    lines[0] = '\0';
    run(logs_around_a_question);
    run(logs_around_a_question);
    expect_suspended(1, 0);
    answer(0, "that");
    run(logs_around_a_question);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "%d before 1\n%d after 2\n", SLUICE_LOG_INFO,
                   SLUICE_LOG_WARN);
    assert_string_equal(lines, expected);
}

static void json_is_what_its_media_type_says(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int is_json;
    } cases[] = {{"application/json", 1},
                 {"Application/JSON", 1},
                 {"application/json; charset=utf-8", 1},
                 {"application/json ;charset=utf-8", 1},
                 {"application/jsonfoo", 0},
                 {"application/json-seq", 0},
                 {"application/x-protobuf", 0},
                 {"application/protobuf", 0},
                 {"application/jso", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sluice_header type = {"Content-Type", cases[i].type};
        bring(&type, 1, "{}");
        run(decodes);
        int is_done = verdict.verdict.kind == SLUICE_VERDICT_DONE;
        if (is_done != cases[i].is_json) {
            fail_msg("%s: %s", cases[i].type, m->reason);
        }
    }
}

static void json_without_its_header_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"{\"request_id\": \"a\"}",
         "message 7 (19 bytes): wire type 3, expected 0, 1, 2 or 5, at byte 1; it looks like JSON, "
         "which needs the header Content-Type: application/json"},
        {"{ }", "message 7 (3 bytes): wire type 3, expected 0, 1, 2 or 5, at byte 1; it looks like "
                "JSON, which needs the header Content-Type: application/json"},
        {"{{", "message 7 (2 bytes): wire type 3, expected 0, 1, 2 or 5, at byte 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bring(NULL, 0, cases[i].body);
        run(decodes);
        expect_failed(SLUICE_FAILURE_REJECTED, -1, "parse", cases[i].text);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, host_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_run_suspends_until_its_answer_is_there),
        TEST(an_error_of_a_step_that_is_passed_on_is_the_steps),
        TEST(an_error_of_the_handlers_own_is_the_handlers),
        TEST(a_run_cannot_suspend_for_nothing),
        TEST(another_question_than_before_is_a_fault),
        TEST(each_part_of_a_question_counts),
        TEST(a_question_that_cannot_be_written_fails_like_a_step),
        TEST(a_handler_whose_question_was_too_large_may_ask_for_less),
        TEST(steps_run_together_and_fail_alone),
        TEST(there_is_room_for_256_steps),
        TEST(a_step_that_nobody_awaits_is_forgotten),
        TEST(an_llm_step_without_an_answer_is_not_the_required_one),
        TEST(a_step_that_was_never_started_is_a_mistake),
        TEST(a_suspended_run_does_nothing_more),
        TEST(a_call_has_a_key_of_its_own_on_every_delivery),
        TEST(a_service_that_is_not_configured_is_named),
        TEST(a_document_is_found_or_is_told_to_be_missing),
        TEST(an_ok_without_a_required_step_names_it),
        TEST(a_trace_that_nobody_could_carry_on_is_ignored),
        TEST(a_key_header_that_no_output_could_carry_is_rejected_unread),
        TEST(a_key_field_that_no_output_could_carry_is_rejected),
        TEST(a_key_field_that_is_too_long_is_known_by_its_hash),
        TEST(a_replay_is_told_the_same_as_its_original),
        TEST(a_body_of_another_type_than_the_handlers_is_rejected),
        TEST(a_line_is_written_once_however_often_its_run_is_taken),
        TEST(a_key_field_that_the_type_lacks_is_a_mistake),
        TEST(json_without_its_header_is_told),
        TEST(json_is_what_its_media_type_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
