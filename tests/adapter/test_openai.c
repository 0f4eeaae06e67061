/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/openai.h"
#include "heap.h"
#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct heap heap;

static int setup(void **state)
{
    (void)state;
    heap_init(&heap);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(heap.open, 0);
    return 0;
}

/* ---- requests */

static const struct sluice_llm_question plain = {
    .model = "m", .user = "Hello \"you\"\n", .temperature = -1};

static void expect_request(const struct sluice_llm_question *question,
                           const struct sluice_openai_quirks *quirks, const char *expected)
{
    struct sluice_growbuf out;
    struct sluice_err err = {0};
    sluice_growbuf_init(&out, &heap.allocator, 10000);
    assert_int_equal(sluice_openai_request(&out, question, quirks, &err), SLUICE_OK);
    assert_string_equal(out.data, expected);
    sluice_growbuf_fini(&out);
}

static void builds_the_smallest_request(void **state)
{
    (void)state;
    expect_request(&plain, &(struct sluice_openai_quirks){0},
                   "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello "
                   "\\\"you\\\"\\n\"}]}");
}

static void builds_a_request_with_everything(void **state)
{
    (void)state;
    struct sluice_llm_question question = plain;
    question.system = "Be brief.";
    question.schema_name = "Draft";
    question.schema = "{\"type\": \"object\"}";
    question.temperature = 0.25;
    question.max_tokens = 700;
    expect_request(
        &question, &(struct sluice_openai_quirks){.is_streamed = 1},
        "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
        "{\"role\":\"user\",\"content\":\"Hello \\\"you\\\"\\n\"}],"
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"Draft\","
        "\"strict\":true,\"schema\":{\"type\": \"object\"}}},\"temperature\":0.25,"
        "\"max_completion_tokens\":700,\"stream\":true,\"stream_options\":{\"include_usage\":true}"
        "}");
    question.system = NULL;
    question.temperature = 0;
    expect_request(
        &question,
        &(struct sluice_openai_quirks){.max_tokens_field = "max_tokens", .is_schema_plain = 1},
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello "
        "\\\"you\\\"\\n\"}],"
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
        "\"Draft\",\"schema\":{\"type\": \"object\"}}},\"temperature\":0.0,"
        "\"max_tokens\":700}");
}

static void refuses_what_cannot_be_asked(void **state)
{
    (void)state;
    struct sluice_llm_question cases[] = {plain, plain, plain, plain, plain, plain, plain};
    static const char *const texts[] = {
        "llm request: no model",
        "llm request: no model",
        "llm request: no user message",
        "llm request: schema name is not [A-Za-z0-9_-]{1,64}",
        "llm request: schema name is not [A-Za-z0-9_-]{1,64}",
        "llm request: temperature is no number up to 1000",
        "llm request: a text is not valid UTF-8",
    };
    cases[0].model = "";
    cases[1].model = NULL;
    cases[2].user = NULL;
    cases[3].schema = "{}";
    cases[3].schema_name = "a b";
    cases[4].schema = "{}";
    cases[4].schema_name = NULL;
    cases[5].temperature = NAN;
    cases[6].user = "\xFF";
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sluice_growbuf out;
        struct sluice_err err = {0};
        sluice_growbuf_init(&out, &heap.allocator, 10000);
        assert_int_equal(
            sluice_openai_request(&out, &cases[i], &(struct sluice_openai_quirks){0}, &err),
            SLUICE_ERR_VALIDATION);
        assert_string_equal(err.text, texts[i]);
        sluice_growbuf_fini(&out);
    }
}

static void a_request_over_the_bound_or_without_memory_fails(void **state)
{
    (void)state;
    struct sluice_growbuf out;
    struct sluice_err err = {0};
    sluice_growbuf_init(&out, &heap.allocator, 40);
    assert_int_equal(sluice_openai_request(&out, &plain, &(struct sluice_openai_quirks){0}, &err),
                     SLUICE_ERR_TOO_LARGE);
    sluice_growbuf_fini(&out);
    sluice_growbuf_init(&out, &heap.allocator, 4000);
    heap.fail_after = 0;
    assert_int_equal(sluice_openai_request(&out, &plain, &(struct sluice_openai_quirks){0}, &err),
                     SLUICE_ERR_NOMEM);
    sluice_growbuf_fini(&out);
}

/* ---- complete answers */

static void read_answer(struct sluice_openai_answer *a, const char *json)
{
    sluice_openai_answer_init(a, &heap.allocator, 10000, "sk-canary");
    (void)sluice_openai_answer_read(a, (sluice_bytes){json, strlen(json)});
}

static void reads_a_complete_answer(void **state)
{
    (void)state;
    struct sluice_openai_answer a;
    struct sluice_call_verdict v;
    read_answer(&a, "{\"id\":\"x\",\"object\":\"chat.completion\",\"model\":\"gpt-x\",\"choices\":"
                    "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi "
                    "\\u00e9\\ud83d\\ude00\",\"refusal\":null},\"finish_reason\":\"stop\"}],"
                    "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3}}");
    sluice_openai_judge_answer(&a, 0, &v);
    assert_int_equal(v.fate, SLUICE_FATE_OK);
    assert_int_equal(v.rc, SLUICE_OK);
    assert_string_equal(v.text, "");
    assert_string_equal(a.content.data, "Hi \xC3\xA9\xF0\x9F\x98\x80");
    assert_string_equal(a.model, "gpt-x");
    assert_string_equal(a.finish_reason, "stop");
    assert_int_equal(a.prompt_tokens, 12);
    assert_int_equal(a.completion_tokens, 3);
    sluice_openai_answer_fini(&a);
}

#define CHOICE(members) "{\"choices\":[{\"index\":0," members "}]}"

static void judges_complete_answers(void **state)
{
    static const struct {
        const char *json;
        enum sluice_fate fate;
        sluice_rc rc;
        const char *text;
    } cases[] = {
        {CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\""), SLUICE_FATE_OK,
         SLUICE_OK, ""},
        {CHOICE("\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"image\"},"
                "7]},\"finish_reason\":\"stop\""),
         SLUICE_FATE_OK, SLUICE_OK, ""},
        {"{\"choices\":[{\"index\":1,\"message\":{\"content\":\"other\"},\"finish_reason\":"
         "\"length\"},{\"index\":0,\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}",
         SLUICE_FATE_OK, SLUICE_OK, ""},
        {CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":\"length\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: finish reason length instead of stop"},
        {CHOICE("\"message\":{\"content\":null},\"finish_reason\":\"content_filter\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: finish reason content_filter instead of stop"},
        {CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":\"new %s\\nreason\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: finish reason new__s_reason instead of stop"},
        {CHOICE(
             "\"message\":{\"content\":null,\"refusal\":\"I cannot\"},\"finish_reason\":\"stop\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM, "chat completion: the model refused"},
        {CHOICE("\"message\":{\"content\":\"\"},\"finish_reason\":\"stop\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM, "chat completion: empty answer"},
        {CHOICE("\"message\":{\"reasoning_content\":\"hm\"},\"finish_reason\":\"stop\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM, "chat completion: empty answer"},
        {CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":null"), SLUICE_FATE_BAD_ANSWER,
         SLUICE_ERR_LLM, "chat completion: no finish reason"},
        {CHOICE("\"message\":\"x\",\"finish_reason\":\"stop\""), SLUICE_FATE_BAD_ANSWER,
         SLUICE_ERR_LLM, "chat completion: empty answer"},
        {"{\"choices\":[]}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: no choices"},
        {"{\"choices\":\"no\"}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: no choices"},
        {"{\"choices\":[null]}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: no choices"},
        {"{}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: no choices"},
        {"", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM, "chat completion: malformed answer: no body"},
        {"[]", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: not an object"},
        {"<html>", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: malformed number"},
        {"{\"choices\":[{\"message\":", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: text ends where a value is expected"},
        {"{\"choices\":\"\\ud800\"}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: lone surrogate in a string"},
        {"\xef\xbb\xbf" CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":\"length\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: finish reason length instead of stop"},
        /* nothing of what stands before a fault counts */
        {"{\"error\":{\"code\":429},\"choices\":[}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: malformed number"},
        {"{\"choices\":[{\"finish_reason\":\"length\",\"message\":{\"content\":\"x\"}}]}x",
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: something behind the value"},
        /* the order of members is the server's */
        {"{\"choices\":[{\"finish_reason\":\"length\",\"message\":{\"content\":\"x\"},"
         "\"index\":1}]}",
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM, "chat completion: malformed answer: no choices"},
        {CHOICE("\"message\":{\"content\":\"a\\u0000b\"},\"finish_reason\":\"stop\""),
         SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: malformed answer: NUL in a string"},
        {"{\"error\":{\"message\":\"secret\",\"type\":\"server_error\",\"code\":null}}",
         SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: error in the answer: server_error"},
        {"{\"error\":\"secret words\"}", SLUICE_FATE_RETRY, SLUICE_ERR_LLM,
         "chat completion: error in the answer: without a code"},
        {"{\"error\":{\"code\":429}}", SLUICE_FATE_RATE_LIMITED, SLUICE_ERR_RATE_LIMITED,
         "chat completion: error in the answer: without a code"},
        {"{\"error\":{\"code\":\"rate_limit_exceeded\"}}", SLUICE_FATE_RATE_LIMITED,
         SLUICE_ERR_RATE_LIMITED, "chat completion: error in the answer: rate_limit_exceeded"},
        {"{\"error\":{\"code\":\"insufficient_quota\"}}", SLUICE_FATE_RETRY, SLUICE_ERR_LLM,
         "chat completion: error in the answer: insufficient_quota"},
        {"{\"error\":{\"code\":\"context_length_exceeded\"}}", SLUICE_FATE_PERMANENT,
         SLUICE_ERR_LLM, "chat completion: error in the answer: context_length_exceeded"},
        {"{\"error\":{\"code\":\"content_filter\"}}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: error in the answer: content_filter"},
        {"{\"error\":{\"code\":\"invalid_api_key\"}}", SLUICE_FATE_RETRY, SLUICE_ERR_AUTH,
         "chat completion: error in the answer: invalid_api_key"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sluice_openai_answer a;
        struct sluice_call_verdict v;
        print_message("# %s\n", cases[i].json);
        read_answer(&a, cases[i].json);
        sluice_openai_judge_answer(&a, 0, &v);
        assert_string_equal(v.text, cases[i].text);
        assert_int_equal(v.fate, cases[i].fate);
        assert_int_equal(v.rc, cases[i].rc);
        sluice_openai_answer_fini(&a);
    }
}

static void token_counts_that_are_none_become_0(void **state)
{
    static const struct {
        const char *number;
        uint32_t count;
    } cases[] = {{"5", 5},    {"-1", 0},         {"1e30", 0},       {"\"7\"", 0},
                 {"null", 0}, {"4294967295", 0}, {"1000000001", 0}, {"1000000000", 1000000000},
                 {"1.9", 1},  {"[1]", 0},        {"4294967294", 0}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char json[128];
        struct sluice_openai_answer a;
        snprintf(json, sizeof json, "{\"usage\":{\"prompt_tokens\":%s}}", cases[i].number);
        read_answer(&a, json);
        assert_int_equal(a.prompt_tokens, cases[i].count);
        sluice_openai_answer_fini(&a);
    }
}

static void an_answer_over_its_bound_or_without_memory_fails(void **state)
{
    (void)state;
    const char *json = CHOICE("\"message\":{\"content\":\"12345\"},\"finish_reason\":\"stop\"");
    struct sluice_openai_answer a;
    struct sluice_call_verdict v;
    sluice_openai_answer_init(&a, &heap.allocator, 4, "sk-canary");
    assert_int_equal(sluice_openai_answer_read(&a, (sluice_bytes){json, strlen(json)}),
                     SLUICE_ERR_TOO_LARGE);
    sluice_openai_judge_answer(&a, 0, &v);
    assert_int_equal(v.fate, SLUICE_FATE_BAD_ANSWER);
    assert_string_equal(v.text, "chat completion: the answer is over 4 bytes");
    sluice_openai_answer_fini(&a);
    sluice_openai_answer_init(&a, &heap.allocator, 1000, "sk-canary");
    heap.fail_after = 0;
    assert_int_equal(sluice_openai_answer_read(&a, (sluice_bytes){json, strlen(json)}),
                     SLUICE_ERR_NOMEM);
    sluice_openai_judge_answer(&a, 0, &v);
    assert_int_equal(v.fate, SLUICE_FATE_RETRY);
    assert_int_equal(v.rc, SLUICE_ERR_NOMEM);
    sluice_openai_answer_fini(&a);
}

static void an_answer_that_was_cut_is_never_ok(void **state)
{
    (void)state;
    struct sluice_openai_answer a;
    struct sluice_call_verdict v;
    read_answer(&a, CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\""));
    sluice_openai_judge_answer(&a, 1, &v);
    assert_int_equal(v.fate, SLUICE_FATE_RETRY);
    assert_int_equal(v.rc, SLUICE_ERR_UNAVAILABLE);
    sluice_openai_answer_fini(&a);
}

/* ---- streams */

#define DELTA(delta, reason)                                                                       \
    "{\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{" delta                             \
    "},\"finish_reason\":" reason "}],\"usage\":null}"

static void feed(struct sluice_openai_answer *a, const char *const *chunks)
{
    sluice_openai_answer_init(a, &heap.allocator, 10000, "sk-canary");
    for (; *chunks != NULL; chunks++) {
        assert_int_equal(sluice_openai_answer_chunk(a, (sluice_bytes){*chunks, strlen(*chunks)}),
                         SLUICE_OK);
    }
}

static void assembles_a_stream(void **state)
{
    static const char *const chunks[] = {
        "{\"choices\":[],\"prompt_filter_results\":[]}", /* Azure's first chunk */
        DELTA("\"role\":\"assistant\",\"content\":\"\"", "null"),
        DELTA("\"reasoning_content\":\"thinking\"", "null"),
        DELTA("\"content\":\"Hel\"", "null"),
        "", /* an event without data */
        DELTA("\"content\":\"lo\"", "null"),
        DELTA("", "\"stop\""),
        "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}",
        "[DONE]",
        "garbage behind the end",
        NULL,
    };
    (void)state;
    struct sluice_openai_answer a;
    struct sluice_call_verdict v;
    feed(&a, chunks);
    sluice_openai_judge_answer(&a, 0, &v);
    assert_int_equal(v.fate, SLUICE_FATE_OK);
    assert_string_equal(a.content.data, "Hello");
    assert_string_equal(a.model, "gpt-x");
    assert_int_equal(a.reasoning_len, 8);
    assert_int_equal(a.prompt_tokens, 9);
    assert_int_equal(a.completion_tokens, 2);
    assert_true(a.is_done);
    /* what the network does after [DONE] does not matter any more */
    sluice_openai_judge_answer(&a, 1, &v);
    assert_int_equal(v.fate, SLUICE_FATE_OK);
    sluice_openai_answer_fini(&a);
}

static void judges_streams(void **state)
{
    static const struct {
        const char *chunks[4];
        int is_cut;
        enum sluice_fate fate;
        const char *text;
    } cases[] = {
        /* without [DONE], but with a finish reason and a clean end */
        {{DELTA("\"content\":\"x\"", "\"stop\"")}, 0, SLUICE_FATE_OK, ""},
        {{DELTA("\"content\":\"x\"", "\"stop\"")},
         1,
         SLUICE_FATE_RETRY,
         "chat completion: the answer was cut before its end"},
        {{DELTA("\"content\":\"x\"", "null")},
         1,
         SLUICE_FATE_RETRY,
         "chat completion: the answer was cut before its end"},
        {{NULL}, 1, SLUICE_FATE_RETRY, "chat completion: the answer was cut before its end"},
        {{DELTA("\"content\":\"x\"", "null"), "[DONE]"},
         0,
         SLUICE_FATE_BAD_ANSWER,
         "chat completion: no finish reason"},
        {{"[DONE]"}, 0, SLUICE_FATE_BAD_ANSWER, "chat completion: malformed answer: no choices"},
        {{DELTA("\"content\":\"x\"", "null"), "{\"error\":{\"code\":\"server_error\"}}", "[DONE]"},
         0,
         SLUICE_FATE_RETRY,
         "chat completion: error in the answer: server_error"},
        {{DELTA("\"refusal\":\"No\"", "null"), DELTA("", "\"stop\""), "[DONE]"},
         0,
         SLUICE_FATE_BAD_ANSWER,
         "chat completion: the model refused"},
        {{DELTA("\"content\":\"x\"", "null"), "{\"choices\":[", "[DONE]"},
         0,
         SLUICE_FATE_BAD_ANSWER,
         "chat completion: malformed answer: text ends inside an object or array"},
        {{DELTA("\"content\":\"x\"", "\"tool_calls\""), "[DONE]"},
         0,
         SLUICE_FATE_BAD_ANSWER,
         "chat completion: finish reason tool_calls instead of stop"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sluice_openai_answer a;
        struct sluice_call_verdict v;
        feed(&a, cases[i].chunks);
        sluice_openai_judge_answer(&a, cases[i].is_cut, &v);
        assert_string_equal(v.text, cases[i].text);
        assert_int_equal(v.fate, cases[i].fate);
        sluice_openai_answer_fini(&a);
    }
}

/* ---- statuses */

static void judges_statuses(void **state)
{
    static const struct {
        int32_t status;
        const char *body;
        enum sluice_fate fate;
        sluice_rc rc;
        const char *text;
    } cases[] = {
        {429, "{\"error\":{\"message\":\"canary\",\"code\":\"rate_limit_exceeded\"}}",
         SLUICE_FATE_RATE_LIMITED, SLUICE_ERR_RATE_LIMITED,
         "chat completion: HTTP 429 (rate_limit_exceeded): canary"},
        {429, "", SLUICE_FATE_RATE_LIMITED, SLUICE_ERR_RATE_LIMITED, "chat completion: HTTP 429"},
        {429, "{\"error\":{\"type\":\"insufficient_quota\",\"code\":null}}", SLUICE_FATE_RETRY,
         SLUICE_ERR_LLM, "chat completion: HTTP 429 (insufficient_quota)"},
        {402, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 402"},
        {401, "<html>canary</html>", SLUICE_FATE_RETRY, SLUICE_ERR_AUTH,
         "chat completion: HTTP 401"},
        {403, "canary", SLUICE_FATE_RETRY, SLUICE_ERR_AUTH, "chat completion: HTTP 403"},
        {400, "{\"error\":{\"code\":\"context_length_exceeded\"}}", SLUICE_FATE_PERMANENT,
         SLUICE_ERR_LLM, "chat completion: HTTP 400 (context_length_exceeded)"},
        {400, "{\"error\":{\"code\":\"content_filter\"}}", SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
         "chat completion: HTTP 400 (content_filter)"},
        {400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"}}",
         SLUICE_FATE_PERMANENT, SLUICE_ERR_LLM,
         "chat completion: HTTP 400 (invalid_request_error)"},
        {404, "{\"error\":{\"code\":\"model_not_found\"}}", SLUICE_FATE_RETRY, SLUICE_ERR_LLM,
         "chat completion: HTTP 404 (model_not_found)"},
        {404, "404 page not found\n", SLUICE_FATE_RETRY, SLUICE_ERR_LLM,
         "chat completion: HTTP 404: 404 page not found"},
        {403, "{\"error\":{\"message\":\"the key sk-c***\"}}", SLUICE_FATE_RETRY, SLUICE_ERR_AUTH,
         "chat completion: HTTP 403"},
        {405, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 405"},
        {407, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 407"},
        {410, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 410"},
        {421, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 421"},
        {426, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 426"},
        {451, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 451"},
        {414, "", SLUICE_FATE_PERMANENT, SLUICE_ERR_LLM, "chat completion: HTTP 414"},
        {413, "", SLUICE_FATE_PERMANENT, SLUICE_ERR_LLM, "chat completion: HTTP 413"},
        {422, "", SLUICE_FATE_PERMANENT, SLUICE_ERR_LLM, "chat completion: HTTP 422"},
        {408, "", SLUICE_FATE_RETRY, SLUICE_ERR_TIMEOUT, "chat completion: HTTP 408"},
        {409, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 409"},
        {425, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 425"},
        {500, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 500"},
        {501, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 501"},
        {502, "", SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_UNAVAILABLE, "chat completion: HTTP 502"},
        {503, "", SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_UNAVAILABLE, "chat completion: HTTP 503"},
        {504, "", SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_UNAVAILABLE, "chat completion: HTTP 504"},
        {529, "", SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_UNAVAILABLE, "chat completion: HTTP 529"},
        {301, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 301"},
        {204, "", SLUICE_FATE_RETRY, SLUICE_ERR_LLM, "chat completion: HTTP 204"},
        {500, CHOICE("\"message\":{\"content\":\"canary\"}"), SLUICE_FATE_RETRY, SLUICE_ERR_LLM,
         "chat completion: HTTP 500"},
        {500, CHOICE("\"message\":{\"content\":\"\"}"), SLUICE_FATE_RETRY, SLUICE_ERR_LLM,
         "chat completion: HTTP 500"},
        {401, "{\"error\":{\"code\":\"bad_key_sk-canary\"}}", SLUICE_FATE_RETRY, SLUICE_ERR_AUTH,
         "chat completion: HTTP 401 (***)"},
        {500, "{\"error\":{\"code\":\"two words\\n\"}}", SLUICE_FATE_RETRY, SLUICE_ERR_LLM,
         "chat completion: HTTP 500 (two_words_)"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sluice_call_verdict v;
        sluice_bytes body = {cases[i].body, strlen(cases[i].body)};
        sluice_openai_judge_status(cases[i].status, body, "sk-canary", &v);
        assert_string_equal(v.text, cases[i].text);
        assert_int_equal(v.fate, cases[i].fate);
        assert_int_equal(v.rc, cases[i].rc);
    }
}

static void tells_why_a_request_was_refused(void **state)
{
#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"{\"error\":{\"type\":\"t\",\"message\":\"schema \\u0027a\\u0027:\\r\\n not supported\"}}",
         "schema 'a': not supported"},
        {"{\"error\":\"model \\\"m\\\" not found\"}", "model \"m\" not found"},
        {"{\"object\":\"error\",\"message\":\"too long\",\"code\":400}", "too long"},
        {"{\"detail\":\"Not Found\"}", "Not Found"},
        {"\xef\xbb\xbf{\"detail\":\"marked\"}", "marked"},
        {"{\"detail\":[{\"input\":\"what was asked\"}]}", ""},
        {"{\"error\":{\"message\":7}}", ""},
        {"{\"error\":{\"message\":\"cut", ""},
        {"[\"a list\"]", ""},
        {"<html>a page</html>", ""},
        {" \t a\x01\x1b[31m\xc3\xa4\xe2\x80\xae b\x7f ", "a [31m?? b"},
        {"", ""},
        {"{\"error\":{\"message\":\"\\ud83d\\ude00!\"}}", "?!"},
        {"the key sk-canary-0123 is no good", ""},
        {"the key sk-canar***23 is no good", ""}, /* 8 letters of it */
        {"the key sk-cana***23 is no good", "the key sk-cana***23 is no good"},
    };
    (void)state;
    char text[SLUICE_OPENAI_MESSAGE_SIZE];
    for (size_t i = 0; i < COUNT(cases); i++) {
        sluice_openai_message((sluice_bytes){cases[i].body, strlen(cases[i].body)},
                              "sk-canary-0123", text);
        assert_string_equal(text, cases[i].text);
    }
    /* Long ones are cut, wherever their escapes stand. */
    char body[4096];
    for (size_t lead = 0; lead < 16; lead++) {
        int len = snprintf(body, sizeof body, "{\"error\":\"%.*s", (int)lead, X64);
        while (len < 1500) {
            len += snprintf(body + len, sizeof body - (size_t)len, "\\ud83d\\ude00\\n");
        }
        len += snprintf(body + len, sizeof body - (size_t)len, "\"}");
        sluice_openai_message((sluice_bytes){body, (size_t)len}, NULL, text);
        assert_int_equal(strncmp(text, X64, lead), 0);
        assert_string_equal(text + strlen(text) - 2, " ?");
    }
    memset(body, 'y', sizeof body);
    sluice_openai_message((sluice_bytes){body, sizeof body}, NULL, text);
    assert_int_equal(strlen(text), SLUICE_OPENAI_MESSAGE_SIZE - 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(builds_the_smallest_request),
        CASE(builds_a_request_with_everything),
        CASE(refuses_what_cannot_be_asked),
        CASE(a_request_over_the_bound_or_without_memory_fails),
        CASE(reads_a_complete_answer),
        CASE(judges_complete_answers),
        CASE(token_counts_that_are_none_become_0),
        CASE(an_answer_over_its_bound_or_without_memory_fails),
        CASE(an_answer_that_was_cut_is_never_ok),
        CASE(assembles_a_stream),
        CASE(judges_streams),
        CASE(judges_statuses),
        CASE(tells_why_a_request_was_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
