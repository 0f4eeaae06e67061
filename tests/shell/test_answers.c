/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of steps: what the handler gets, what the journal keeps, and that the one comes back from
 * the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/bson.h"
#include "context.pb-c.h"
#include "host_fixture.h"
#include <string.h>

#define BYTES(text) ((sluice_bytes){(text), sizeof(text) - 1})

static struct host_step steps[2];
static struct host_step *list[2] = {&steps[0], &steps[1]};
static struct inflight *const m = &fixture.m;

/* Step 0, and one behind it that nothing may touch. */
static struct host_step *ask(enum step_kind kind, const ProtobufCMessageDescriptor *type)
{
    memset(steps, 0, sizeof steps);
    steps[0].kind = kind;
    steps[0].answer_type = type;
    steps[0].rc = SLUICE_ERR_TIMEOUT;
    m->steps = list;
    m->steps_count = 1;
    return &steps[0];
}

static enum sluice_fate answer(sluice_bytes content)
{
    return host_llm_answer(m, 0, content, "sim \"1\"", "stop", 11, 22, 1700000000123);
}

static void expect_bytes(sluice_bytes got, sluice_bytes expected)
{
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.data, expected.data, expected.len);
}

static const char journaled_text[] =
    "{\"v\":1,\"created_ms\":1700000000123,\"prompt_tokens\":11,\"completion_tokens\":22,"
    "\"model\":\"sim \\\"1\\\"\",\"finish_reason\":\"stop\",\"content\":\"a\\nb\"}";

static void expect_reply(const struct host_step *s)
{
    assert_int_equal(s->rc, SLUICE_OK);
    expect_bytes(s->reply.text, BYTES("a\nb"));
    assert_null(s->reply.answer);
    assert_string_equal(s->reply.model, "sim \"1\"");
    assert_string_equal(s->reply.finish_reason, "stop");
    assert_int_equal(s->reply.prompt_tokens, 11);
    assert_int_equal(s->reply.completion_tokens, 22);
    assert_int_equal(s->reply.created_unix_ms, 1700000000123);
}

static void a_text_is_kept_and_journaled(void **state)
{
    (void)state;
    char content[] = "a\nb";
    struct host_step *s = ask(STEP_LLM, NULL);
    assert_int_equal(answer((sluice_bytes){content, 3}), SLUICE_FATE_OK);
    memset(content, 'x', 3); /* it was borrowed */
    expect_reply(s);
    expect_bytes(s->journal_bytes, BYTES(journaled_text));
}

static void a_journaled_text_comes_back_whole(void **state)
{
    (void)state;
    struct host_step *s = ask(STEP_LLM, NULL);
    assert_int_equal(host_replay(m, 0, BYTES(journaled_text)), SLUICE_FATE_OK);
    expect_reply(s);
    expect_bytes(s->journal_bytes, BYTES(journaled_text));
}

static void a_typed_answer_is_read_and_comes_back(void **state)
{
    (void)state;
    struct host_step *s = ask(STEP_LLM, &context__v1__context_draft__descriptor);
    assert_int_equal(answer(BYTES("{\"summary\":\"s\",\"items\":[{\"source\":\"a\",\"kind\":\"b\","
                                  "\"content\":\"c\",\"score\":0.5}]}")),
                     SLUICE_FATE_OK);
    for (int i = 0; i < 2; i++) {
        const Context__V1__ContextDraft *draft = s->reply.answer;
        assert_string_equal(draft->summary, "s");
        assert_int_equal(draft->n_items, 1);
        assert_true(draft->items[0]->score == 0.5);
        sluice_bytes journaled = s->journal_bytes;
        s = ask(STEP_LLM, &context__v1__context_draft__descriptor);
        assert_int_equal(host_replay(m, 0, journaled), SLUICE_FATE_OK);
    }
}

static void an_answer_of_another_type_fails_its_step(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "text",
                                      "[]",
                                      "{\"summary\":7,\"items\":[]}",
                                      "{\"items\":[]}",
                                      "{\"summary\":\"s\",\"items\":[],\"more\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct host_step *s = ask(STEP_LLM, &context__v1__context_draft__descriptor);
        assert_int_equal(answer((sluice_bytes){bad[i], strlen(bad[i])}), SLUICE_FATE_BAD_ANSWER);
        assert_int_equal(s->rc, SLUICE_ERR_LLM);
        assert_null(s->reply.answer);
        assert_int_equal(s->journal_bytes.len, 0);
        const char *begin = "the answer is no context.v1.ContextDraft: ";
        assert_memory_equal(s->text, begin, strlen(begin));
    }
}

static void what_the_journal_cannot_give_is_a_miss(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{\"v\":1,\"model\":\"m\"}",
                                      "{\"v\":1,\"content\":\"{}\"}",
                                      "{\"v\":1,\"model\":7,\"content\":\"{}\"}",
                                      /* of another type: the worker was upgraded */
                                      "{\"v\":1,\"model\":\"m\",\"content\":\"{\\\"x\\\":1}\"}"};
    struct host_step *s = ask(STEP_LLM, &context__v1__context_draft__descriptor);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(host_replay(m, 0, (sluice_bytes){bad[i], strlen(bad[i])}),
                         SLUICE_FATE_MISS);
    }
    assert_int_equal(answer(BYTES("{\"summary\":\"s\",\"items\":[]}")), SLUICE_FATE_OK);
    assert_int_equal(s->rc, SLUICE_OK); /* the question that follows a miss is not spoiled by it */
}

static void a_body_of_a_service_comes_back_byte_for_byte(void **state)
{
    (void)state;
    static const char body[] = "a\n\0b\xff";
    static const char journaled[] = "{\"v\":1,\"status\":207,\"content_type\":\"text/plain\"}\n"
                                    "a\n\0b\xff";
    struct host_step *s = ask(STEP_HTTP, NULL);
    assert_int_equal(host_http_answer(m, 0, 207, BYTES(body), "text/plain"), SLUICE_FATE_OK);
    expect_bytes(s->journal_bytes, BYTES(journaled));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(s->rc, SLUICE_OK);
        assert_int_equal(s->http_reply.status, 207);
        assert_string_equal(s->http_reply.content_type, "text/plain");
        expect_bytes(s->http_reply.body, BYTES(body));
        s = ask(STEP_HTTP, NULL);
        assert_int_equal(host_replay(m, 0, BYTES(journaled)), SLUICE_FATE_OK);
    }
    static const char *const bad[] = {"", "{\"status\":200}", "{\nbody", "\nbody"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)ask(STEP_HTTP, NULL);
        assert_int_equal(host_replay(m, 0, (sluice_bytes){bad[i], strlen(bad[i])}),
                         SLUICE_FATE_MISS);
    }
}

static void an_empty_body_is_an_answer(void **state)
{
    (void)state;
    struct host_step *s = ask(STEP_HTTP, NULL);
    assert_int_equal(host_http_answer(m, 0, 204, (sluice_bytes){NULL, 0}, ""), SLUICE_FATE_OK);
    sluice_bytes journaled = s->journal_bytes;
    s = ask(STEP_HTTP, NULL);
    assert_int_equal(host_replay(m, 0, journaled), SLUICE_FATE_OK);
    assert_int_equal(s->http_reply.status, 204);
    assert_int_equal(s->http_reply.body.len, 0);
}

static void a_document_is_read_in_the_format_of_its_store(void **state)
{
    (void)state;
    Context__V1__ContextDraft draft = CONTEXT__V1__CONTEXT_DRAFT__INIT;
    struct sluice_err err;
    sluice_bytes documents[2] = {
        [SLUICE_DOC_JSON] = BYTES("{\"_id\":\"k\",\"summary\":\"s\",\"more\":1}")};
    draft.summary = (char *)"s";
    assert_int_equal(sluice_proto_to_bson(&draft.base, &m->arena, &documents[SLUICE_DOC_BSON], &err),
                     SLUICE_OK);
    for (int format = 0; format < 2; format++) {
        fixture.host.doc_format = (enum sluice_doc_format)format;
        struct host_step *s = ask(STEP_FIND, &context__v1__context_draft__descriptor);
        assert_int_equal(host_found(m, 0, documents[format]), SLUICE_FATE_OK);
        assert_int_equal(s->rc, SLUICE_OK);
        assert_string_equal(((const Context__V1__ContextDraft *)s->found)->summary, "s");
        s = ask(STEP_FIND, &context__v1__context_draft__descriptor);
        assert_int_equal(host_found(m, 0, BYTES("neither")), SLUICE_FATE_BAD_ANSWER);
        assert_int_equal(s->rc, SLUICE_ERR_DB);
        assert_null(s->found);
        assert_true(s->text[0] != '\0');
    }
}

static void a_failure_is_remembered_with_its_reason(void **state)
{
    (void)state;
    struct host_step *s = ask(STEP_LLM, NULL);
    host_step_failed(m, 0, SLUICE_ERR_AUTH, "no key");
    assert_int_equal(s->rc, SLUICE_ERR_AUTH);
    assert_string_equal(s->text, "no key");
    host_step_failed(m, 0, SLUICE_OK, NULL); /* a failure without a code is one all the same */
    assert_int_equal(s->rc, SLUICE_ERR_INTERNAL);
    assert_string_equal(s->text, "");
}

/* The run that asked for them is over and they were never announced. */
static void answers_of_steps_that_are_no_more_are_dropped(void **state)
{
    (void)state;
    (void)ask(STEP_LLM, NULL);
    assert_int_equal(host_llm_answer(m, 1, BYTES("x"), "m", "stop", 0, 0, 0),
                     SLUICE_FATE_CANCELLED);
    assert_int_equal(host_http_answer(m, 1, 200, BYTES("x"), ""), SLUICE_FATE_CANCELLED);
    assert_int_equal(host_found(m, 1, BYTES("{}")), SLUICE_FATE_CANCELLED);
    assert_int_equal(host_replay(m, 1, BYTES(journaled_text)), SLUICE_FATE_MISS);
    host_step_failed(m, 1, SLUICE_ERR_AUTH, "x");
    static const struct host_step untouched;
    assert_memory_equal(&steps[1], &untouched, sizeof untouched);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_fixture_setup, host_fixture_teardown)
    const struct CMUnitTest tests[] = {TEST(a_text_is_kept_and_journaled),
                                       TEST(a_journaled_text_comes_back_whole),
                                       TEST(a_typed_answer_is_read_and_comes_back),
                                       TEST(an_answer_of_another_type_fails_its_step),
                                       TEST(what_the_journal_cannot_give_is_a_miss),
                                       TEST(a_body_of_a_service_comes_back_byte_for_byte),
                                       TEST(an_empty_body_is_an_answer),
                                       TEST(a_document_is_read_in_the_format_of_its_store),
                                       TEST(a_failure_is_remembered_with_its_reason),
                                       TEST(answers_of_steps_that_are_no_more_are_dropped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
