/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"
#include "llmsim/answer.h"
#include "llmsim/call.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CHAT "/v1/chat/completions"
#define ASK(prompt)                                                                                \
    "{\"model\":\"m-1\",\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"            \
    "{\"role\":\"user\",\"content\":\"" prompt "\"}]"
#define PLAIN ASK("about glaciers") "}"
#define STREAM                                                                                     \
    ASK("about glaciers")                                                                          \
    ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"

static const struct llmsim_config plain_config = {.host = "127.0.0.1", .model = "sim-1", .seed = 1};

static struct llmsim *start(const struct llmsim_config *config)
{
    struct llmsim *s = NULL;
    struct sluice_err err = {0};
    if (llmsim_start(config, &s, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    return s;
}

static struct reply chat(struct llmsim *s, const char *headers, const char *body)
{
    return client_call(llmsim_port(s), "POST", CHAT, headers, body);
}

static cJSON *ledger(struct llmsim *s, const char *path)
{
    struct reply r = client_call(llmsim_port(s), "GET", path, NULL, NULL);
    assert_int_equal(r.status, 200);
    cJSON *json = reply_json(&r);
    reply_free(&r);
    return json;
}

static int ledger_count(struct llmsim *s, const char *name)
{
    cJSON *json = ledger(s, "/ledger");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    assert_true(cJSON_IsNumber(item));
    int count = item->valueint;
    cJSON_Delete(json);
    return count;
}

/* The answer is counted when the server has closed it, a moment after the client has read it. */
static void await_answered(struct llmsim *s, int wanted)
{
    time_t end = time(NULL) + 60;
    int count;
    while ((count = ledger_count(s, "answered")) != wanted) {
        if (time(NULL) > end) {
            fail_msg("the ledger says %d answered, awaited %d", count, wanted);
        }
    }
}

/* choices[0].message.NAME of an answer, or of it */
static const cJSON *choice_of(const cJSON *json)
{
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "choices"), 0);
    assert_non_null(choice);
    return choice;
}

static const cJSON *message_member(const cJSON *json, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(choice_of(json), "message"), name);
}

static const char *text_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

static double usage_of(const cJSON *json, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "usage"), name)
        ->valuedouble;
}

static void answers_as_the_protocol_has_it(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    struct reply r = chat(s, NULL, PLAIN);
    assert_int_equal(r.status, 200);
    assert_true(r.is_whole);
    assert_string_equal(reply_header(&r, "Content-Type"), "application/json");
    assert_non_null(reply_header(&r, "x-request-id"));
    cJSON *json = reply_json(&r);
    assert_string_equal(text_of(json, "object"), "chat.completion");
    assert_string_equal(text_of(json, "model"), "m-1");
    assert_string_equal(text_of(choice_of(json), "finish_reason"), "stop");
    assert_true(cJSON_IsNull(message_member(json, "refusal")));
    const char *content = message_member(json, "content")->valuestring;
    assert_non_null(strstr(content, "glaciers"));
    assert_true(usage_of(json, "prompt_tokens") == llmsim_tokens("about glaciers"));
    assert_true(usage_of(json, "completion_tokens") == llmsim_tokens(content));
    assert_true(usage_of(json, "total_tokens") ==
                usage_of(json, "prompt_tokens") + usage_of(json, "completion_tokens"));
    cJSON_Delete(json);
    reply_free(&r);
    llmsim_stop(s);
}

static void a_stamped_answer_names_its_call(void **state)
{
    (void)state;
    struct llmsim_config config = plain_config;
    config.is_stamped = 1;
    struct llmsim *s = start(&config);
    for (unsigned n = 1; n <= 2; n++) { /* of the same question, too */
        char expected[64];
        (void)snprintf(expected, sizeof expected, "m-1#%u.%u", llmsim_port(s), n);
        struct reply r = chat(s, NULL, PLAIN);
        cJSON *json = reply_json(&r);
        assert_string_equal(text_of(json, "model"), expected);
        cJSON_Delete(json);
        reply_free(&r);
    }
    llmsim_stop(s);
}

static void uses_its_own_model_when_none_is_asked_for(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    struct reply r = chat(s, NULL, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    cJSON *json = reply_json(&r);
    assert_string_equal(text_of(json, "model"), "sim-1");
    cJSON_Delete(json);
    reply_free(&r);
    r = client_call(llmsim_port(s), "GET", "/v1/models", NULL, NULL);
    json = reply_json(&r);
    assert_string_equal(
        text_of(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "data"), 0), "id"),
        "sim-1");
    cJSON_Delete(json);
    reply_free(&r);
    llmsim_stop(s);
}

static void follows_the_schema_of_the_request(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    struct reply r =
        chat(s, NULL,
             ASK("about glaciers") ",\"response_format\":{\"type\":\"json_schema\","
                                   "\"json_schema\":{\"name\":\"x\",\"schema\":{\"type\":"
                                   "\"object\",\"properties\":{\"summary\":{\"type\":\"string\"},"
                                   "\"score\":{\"type\":\"number\"}}}}}}");
    cJSON *json = reply_json(&r);
    cJSON *content = cJSON_Parse(message_member(json, "content")->valuestring);
    assert_int_equal(cJSON_GetArraySize(content), 2);
    assert_non_null(strstr(text_of(content, "summary"), "glaciers"));
    assert_true(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(content, "score")));
    cJSON_Delete(content);
    cJSON_Delete(json);
    reply_free(&r);
    llmsim_stop(s);
}

/* What a stream's events amount to. */
struct streamed {
    char content[4096], finish[32], refusal[64];
    int has_usage, is_done, events;
};

static void event_read(struct streamed *out, const cJSON *json)
{
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "choices"), 0);
    const cJSON *delta = cJSON_GetObjectItemCaseSensitive(choice, "delta");
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(delta, "content");
    const cJSON *refusal = cJSON_GetObjectItemCaseSensitive(delta, "refusal");
    const cJSON *finish = cJSON_GetObjectItemCaseSensitive(choice, "finish_reason");
    assert_string_equal(text_of(json, "object"), "chat.completion.chunk");
    out->has_usage |= cJSON_GetObjectItemCaseSensitive(json, "usage") != NULL;
    if (cJSON_IsString(content)) {
        assert_true(strlen(out->content) + strlen(content->valuestring) < sizeof out->content);
        (void)strcat(out->content, content->valuestring);
    }
    if (cJSON_IsString(refusal)) {
        (void)snprintf(out->refusal, sizeof out->refusal, "%s", refusal->valuestring);
    }
    if (cJSON_IsString(finish)) {
        (void)snprintf(out->finish, sizeof out->finish, "%s", finish->valuestring);
    }
}

static struct streamed stream_read(const struct reply *r)
{
    struct streamed out = {.events = 0};
    const char *end;
    for (const char *at = r->body; (end = strstr(at, "\n\n")) != NULL; at = end + 2) {
        assert_memory_equal(at, "data: ", 6);
        if (strncmp(at + 6, "[DONE]", 6) == 0) {
            out.is_done = 1;
            continue;
        }
        assert_false(out.is_done);
        cJSON *json = cJSON_ParseWithLength(at + 6, (size_t)(end - at - 6));
        assert_non_null(json);
        event_read(&out, json);
        out.events++;
        cJSON_Delete(json);
    }
    return out;
}

static void streams_the_same_content(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    struct reply whole = chat(s, NULL, PLAIN);
    struct reply stream = chat(s, NULL, STREAM);
    struct reply no_usage = chat(s, NULL, ASK("about glaciers") ",\"stream\":true}");
    assert_string_equal(reply_header(&stream, "Content-Type"), "text/event-stream");
    assert_true(stream.is_whole);
    struct streamed read = stream_read(&stream);
    cJSON *json = reply_json(&whole);
    assert_string_equal(read.content, message_member(json, "content")->valuestring);
    assert_string_equal(read.finish, "stop");
    assert_true(read.is_done && read.has_usage && read.events > 4);
    read = stream_read(&no_usage);
    assert_true(read.is_done && !read.has_usage);
    cJSON_Delete(json);
    reply_free(&whole);
    reply_free(&stream);
    reply_free(&no_usage);
    llmsim_stop(s);
}

static int status_of_fault(enum llmsim_fault fault)
{
    return fault == LLMSIM_f429   ? 429
           : fault == LLMSIM_f500 ? 500
           : fault == LLMSIM_f503 ? 503
                                  : 200;
}

static void check_message_fault(enum llmsim_fault fault, const struct reply *r)
{
    cJSON *json = reply_json(r);
    const cJSON *content = message_member(json, "content");
    const char *finish = text_of(choice_of(json), "finish_reason");
    assert_string_equal(finish, fault == LLMSIM_length ? "length" : "stop");
    if (fault == LLMSIM_refuse) {
        assert_true(cJSON_IsNull(content) && cJSON_IsString(message_member(json, "refusal")));
    } else if (fault == LLMSIM_bad_json) {
        assert_null(cJSON_Parse(content->valuestring));
    } else if (fault == LLMSIM_blank) {
        assert_string_equal(content->valuestring, "");
    }
    cJSON_Delete(json);
}

static void check_fault(enum llmsim_fault fault, const struct reply *r)
{
    switch (fault) {
    case LLMSIM_f429:
    case LLMSIM_f500:
    case LLMSIM_f503: {
        assert_int_equal(r->status, status_of_fault(fault));
        cJSON *json = reply_json(r);
        assert_non_null(text_of(cJSON_GetObjectItemCaseSensitive(json, "error"), "message"));
        cJSON_Delete(json);
        break;
    }
    case LLMSIM_cut:
        assert_true(r->status == 200 && !r->is_whole && r->len > 0);
        break;
    case LLMSIM_reset:
        assert_true(!r->is_whole && r->len == 0);
        break;
    case LLMSIM_empty:
        assert_true(r->status == 200 && r->len == 0);
        break;
    default:
        assert_true(r->status == 200 && r->is_whole);
        check_message_fault(fault, r);
    }
}

static void check_streamed_fault(enum llmsim_fault fault, const struct reply *r)
{
    struct streamed read;
    switch (fault) {
    case LLMSIM_cut:
        read = stream_read(r);
        assert_true(r->status == 200 && !r->is_whole && !read.is_done && read.events > 0);
        break;
    case LLMSIM_refuse:
        read = stream_read(r);
        assert_true(read.is_done && read.content[0] == '\0' && read.refusal[0] != '\0');
        break;
    case LLMSIM_bad_json:
        read = stream_read(r);
        assert_true(read.is_done);
        assert_null(cJSON_Parse(read.content));
        break;
    case LLMSIM_blank:
        read = stream_read(r);
        assert_true(read.is_done && read.content[0] == '\0');
        break;
    case LLMSIM_length:
        read = stream_read(r);
        assert_string_equal(read.finish, "length");
        break;
    default: /* looks the same as without a stream */
        check_fault(fault, r);
    }
}

/* Every fault but the one that never answers. */
static void faults_can_be_asked_for_in_a_header(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    for (int i = 1; i < LLMSIM_FAULT_COUNT; i++) {
        enum llmsim_fault fault = (enum llmsim_fault)i;
        if (fault == LLMSIM_stall) {
            continue;
        }
        char header[64];
        (void)snprintf(header, sizeof header, "X-Sluice-Fault: %s\r\n", llmsim_fault_name(fault));
        print_message("# %s\n", llmsim_fault_name(fault));
        struct reply r = chat(s, header, PLAIN);
        check_fault(fault, &r);
        assert_null(reply_header(&r, "Retry-After"));
        reply_free(&r);
        r = chat(s, header, STREAM);
        check_streamed_fault(fault, &r);
        reply_free(&r);
    }
    struct reply r = chat(s, "X-Sluice-Fault: ok\r\n", PLAIN);
    assert_int_equal(r.status, 200);
    assert_true(r.is_whole);
    reply_free(&r);
    int calls = ledger_count(s, "calls");
    r = chat(s, "X-Sluice-Fault: no-such-fault\r\n", PLAIN);
    assert_int_equal(r.status, 400);
    assert_non_null(
        strstr(r.body, "X-Sluice-Fault: no-such-fault: no such fault, expected one of"));
    reply_free(&r);
    assert_int_equal(ledger_count(s, "calls"), calls);
    llmsim_stop(s);
}

static void faults_can_be_configured(void **state)
{
    (void)state;
    for (int i = 1; i < LLMSIM_FAULT_COUNT; i++) {
        enum llmsim_fault fault = (enum llmsim_fault)i;
        if (fault == LLMSIM_stall) {
            continue;
        }
        struct llmsim_config config = plain_config;
        config.faults[i] = 100;
        config.retry_after_s = 7;
        struct llmsim *s = start(&config);
        struct reply r = chat(s, NULL, PLAIN);
        check_fault(fault, &r);
        const char *after = reply_header(&r, "Retry-After");
        if (fault == LLMSIM_f429 || fault == LLMSIM_f503) {
            assert_string_equal(after, "7");
        } else {
            assert_null(after);
        }
        reply_free(&r);
        assert_int_equal(ledger_count(s, "failed"), 1);
        assert_int_equal(ledger_count(s, "answered"), 0);
        llmsim_stop(s);
    }
}

static void a_mark_in_the_prompt_fails_the_first_calls(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    static const int statuses[] = {500, 500, 200, 200};
    for (size_t i = 0; i < 4; i++) {
        struct reply r = chat(s, NULL, ASK("[[fault:500x2]] glaciers") "}");
        assert_int_equal(r.status, statuses[i]);
        reply_free(&r);
    }
    for (size_t i = 0; i < 3; i++) {
        struct reply r = chat(s, NULL, ASK("[[fault:429]] glaciers") "}");
        assert_int_equal(r.status, 429);
        reply_free(&r);
    }
    struct reply r = chat(s, NULL, ASK("[[fault:bad-jsonx1]] glaciers") "}");
    check_fault(LLMSIM_bad_json, &r);
    reply_free(&r);
    r = chat(s, NULL, ASK("[[fault:ok]] then [[fault:500]] glaciers") "}"); /* the first counts */
    assert_int_equal(r.status, 200);
    reply_free(&r);
    llmsim_stop(s);
}

static void a_mark_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    static const struct {
        const char *headers, *body, *says;
    } cases[] = {
        {NULL, ASK("[[fault:nope]]") "}",
         "[[fault:nope]]: no such fault, expected one of 429 500 503 "},
        {NULL, ASK("a [[fault:5000]] b") "}", "[[fault:5000]]: "},
        {NULL, ASK("[[fault:500x]]") "}", "[[fault:500x]]: "},
        {NULL, ASK("[[fault:500xx3]]") "}", "[[fault:500xx3]]: "},
        {NULL, ASK("[[fault:500x0]]") "}", "[[fault:500x0]]: no such fault"},
        {NULL, ASK("[[fault:bad-jsonx00]]") "}", "[[fault:bad-jsonx00]]: "},
        {NULL, ASK("[[fault:x3]]") "}", "[[fault:x3]]: "},
        {NULL, ASK("[[fault:CUT]]") "}", "[[fault:CUT]]: "},
        {NULL, ASK("[[fault:500]] and [[fault:bad-jsn]]") "}", "[[fault:bad-jsn]]: "},
        {NULL, ASK("[[latency:8O]]") "}",
         "[[latency:8O]]: no such time, expected milliseconds from 0 to 3600000"},
        {NULL, ASK("[[latency:-1]]") "}", "[[latency:-1]]: "},
        {NULL, ASK("[[latency:1.5]]") "}", "[[latency:1.5]]: "},
        {NULL, ASK("[[latency:80ms]]") "}", "[[latency:80ms]]: "},
        {NULL, ASK("[[latency:3600001]]") "}", "[[latency:3600001]]: "},
        {NULL, ASK("[[latency:4294967297]]") "}", "[[latency:4294967297]]: "},
        {NULL, ASK("[[latency:1]] and [[latency:x]]") "}", "[[latency:x]]: "},
        {"X-Sluice-Latency-Ms: soon\r\n", PLAIN, "X-Sluice-Latency-Ms: soon: no such time"},
        {"X-Sluice-Latency-Ms: -5\r\n", PLAIN, "X-Sluice-Latency-Ms: -5: "},
        {"X-Sluice-Latency-Ms: 1s\r\n", ASK("[[latency:1]]") "}", "X-Sluice-Latency-Ms: 1s: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r = chat(s, cases[i].headers, cases[i].body);
        assert_int_equal(r.status, 400);
        cJSON *json = cJSON_Parse(r.body);
        const cJSON *error = cJSON_GetObjectItem(json, "error");
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(error, "message"));
        assert_non_null(text);
        assert_memory_equal(text, cases[i].says, strlen(cases[i].says));
        cJSON_Delete(json);
        reply_free(&r);
    }
    assert_int_equal(ledger_count(s, "calls"), 0);
    llmsim_stop(s);
}

static void what_only_resembles_a_mark_is_text(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    static const char *const bodies[] = {
        ASK("[[fault:") "}",        ASK("[[fault:]]") "}",     ASK("[[fault:500]") "}",
        ASK("[[fault: 500]]") "}",  ASK("[fault:nope]]") "}",  ASK("[[fault:see the log]]") "}",
        ASK("[[fault:nope ]]") "}", ASK("[[Fault:nope]]") "}", ASK("[[latency:") "}",
        ASK("[[latency:]]") "}",    ASK("[[latency:x]") "}",   ASK("[[latency: see above]]") "}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct reply r = chat(s, NULL, bodies[i]);
        assert_int_equal(r.status, 200);
        reply_free(&r);
    }
    llmsim_stop(s);
}

static void the_seed_decides_which_calls_fail(void **state)
{
    (void)state;
    char drawn[3][65] = {"", "", ""};
    for (size_t run = 0; run < 3; run++) {
        struct llmsim_config config = plain_config;
        config.faults[LLMSIM_f500] = 30;
        config.faults[LLMSIM_f429] = 30;
        config.seed = run == 2 ? 99 : 7;
        struct llmsim *s = start(&config);
        for (size_t i = 0; i < 64; i++) {
            struct reply r = chat(s, NULL, PLAIN);
            drawn[run][i] = r.status == 200 ? '.' : r.status == 500 ? '5' : '4';
            reply_free(&r);
        }
        llmsim_stop(s);
    }
    assert_string_equal(drawn[0], drawn[1]);
    assert_string_not_equal(drawn[0], drawn[2]);
    assert_true(strchr(drawn[0], '.') && strchr(drawn[0], '5') && strchr(drawn[0], '4'));
}

static void a_stalled_call_gets_nothing_while_others_are_answered(void **state)
{
    (void)state;
    char byte;
    struct llmsim *s = start(&plain_config);
    int fd = client_send(llmsim_port(s), "POST", CHAT, "X-Sluice-Fault: stall\r\n", PLAIN);
    time_t end = time(NULL) + 60;
    while (ledger_count(s, "calls") != 1) {
        assert_true(time(NULL) < end);
    }
    struct reply r = chat(s, NULL, PLAIN);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
    llmsim_stop(s); /* ends while it sleeps */
    (void)close(fd);
}

/* A clock that a case can stop and put forward. */
static _Atomic int64_t stopped_at_ms; /* 0: it goes */

int64_t __real_llmsim_now_ms(void);
int64_t __wrap_llmsim_now_ms(void);

int64_t __wrap_llmsim_now_ms(void)
{
    return stopped_at_ms != 0 ? stopped_at_ms : __real_llmsim_now_ms();
}

static void clock_put(struct llmsim *s, int64_t at_ms)
{
    (void)pthread_mutex_lock(&s->lock);
    stopped_at_ms = at_ms;
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

/* How many sleep, and until when, the first to wake first. */
static int sleeping(struct llmsim *s, int64_t *due_ms, int max)
{
    int count = 0;
    (void)pthread_mutex_lock(&s->lock);
    for (const struct call *c = s->sleeping; c != NULL; c = c->next) {
        if (count < max) {
            due_ms[count] = c->due_ms;
        }
        count++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return count;
}

static void answers_wait_as_long_as_asked(void **state)
{
    (void)state;
    enum { CALLS = 5 };
    static const struct {
        const char *headers, *body;
        int64_t least_ms, most_ms;
    } cases[CALLS] = {{NULL, STREAM, 20, 25},
                      {NULL, ASK("[[latency:30]] then [[latency:3600000]]") "}", 30, 30},
                      {"X-Sluice-Latency-Ms: 100000\r\n", ASK("[[latency:40]]") "}", 40, 40},
                      {"X-Sluice-Latency-Ms: 60\r\n", PLAIN, 60, 60},
                      {NULL, ASK("[[latency:80]] glaciers") "}", 80, 80}};
    struct llmsim_config config = plain_config;
    config.latency_ms = 20;
    config.jitter_ms = 5;
    struct llmsim *s = start(&config);
    int64_t now_ms = llmsim_now_ms() + 3600000; /* it does not come by itself */
    int64_t due_ms[CALLS];
    int fds[CALLS];
    clock_put(s, now_ms);
    struct reply r = chat(s, "X-Sluice-Latency-Ms: 0\r\n", PLAIN);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    for (int i = CALLS - 1; i >= 0; i--) { /* the last to be answered is the first to ask */
        fds[i] = client_send(llmsim_port(s), "POST", CHAT, cases[i].headers, cases[i].body);
        time_t end = time(NULL) + 60;
        while (sleeping(s, due_ms, CALLS) != CALLS - i) {
            assert_true(time(NULL) < end);
        }
    }
    for (int i = 0; i < CALLS; i++) {
        assert_in_range(due_ms[i] - now_ms, cases[i].least_ms, cases[i].most_ms);
    }
    for (int i = 0; i < CALLS; i++) {
        clock_put(s, due_ms[i]);
        r = client_receive(fds[i]);
        assert_int_equal(r.status, 200);
        assert_true(r.is_whole);
        reply_free(&r);
        assert_int_equal(sleeping(s, NULL, 0), CALLS - 1 - i); /* the others sleep on */
    }
    stopped_at_ms = 0;
    llmsim_stop(s);
}

static void many_sleep_at_once_and_all_are_answered(void **state)
{
    (void)state;
    enum { CALLS = 300 }; /* more than libmicrohttpd's 128 events at once */
    int fds[CALLS];
    char headers[64];
    struct llmsim *s = start(&plain_config);
    for (int i = 0; i < CALLS; i++) {
        (void)snprintf(headers, sizeof headers, "X-Sluice-Latency-Ms: %d\r\n", 100 + i * 7 % 50);
        fds[i] = client_send(llmsim_port(s), "POST", CHAT, headers, PLAIN);
    }
    for (int i = 0; i < CALLS; i++) {
        struct reply r = client_receive(fds[i]);
        assert_int_equal(r.status, 200);
        assert_true(r.is_whole);
        reply_free(&r);
    }
    await_answered(s, CALLS);
    llmsim_stop(s);
}

static void the_ledger_counts_by_key(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    static const char *const headers[] = {"Idempotency-Key: k-1\r\n",
                                          "Idempotency-Key: k-1\r\nX-Sluice-Fault: 503\r\n",
                                          "Idempotency-Key: k-2\r\nX-Sluice-Fault: cut\r\n", NULL};
    for (size_t i = 0; i < 4; i++) {
        struct reply r = chat(s, headers[i], PLAIN);
        reply_free(&r);
    }
    await_answered(s, 2);
    cJSON *json = ledger(s, "/ledger?keys=1");
    const cJSON *keys = cJSON_GetObjectItemCaseSensitive(json, "by_key");
    const cJSON *one = cJSON_GetObjectItemCaseSensitive(keys, "k-1");
    const cJSON *two = cJSON_GetObjectItemCaseSensitive(keys, "k-2");
    assert_int_equal(cJSON_GetArraySize(keys), 3);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(one, "calls")->valueint, 2);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(one, "answered")->valueint, 1);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(two, "calls")->valueint, 1);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(two, "answered")->valueint, 0);
    assert_memory_equal(cJSON_GetArrayItem(keys, 2)->string, "prompt-", 7);
    cJSON_Delete(json);
    struct reply r = client_call(llmsim_port(s), "POST", "/ledger/reset", NULL, NULL);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    assert_int_equal(ledger_count(s, "calls"), 0);
    llmsim_stop(s);
}

static void control_changes_what_happens(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config);
    struct reply r = client_call(llmsim_port(s), "POST", "/control", NULL,
                                 "{\"503\":100,\"retry-after\":3,\"latency-ms\":0}");
    cJSON *json = reply_json(&r);
    assert_int_equal(r.status, 200);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "503")->valueint, 100);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "500")->valueint, 0);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "latency-ms")->valueint, 0);
    cJSON_Delete(json);
    reply_free(&r);
    r = chat(s, NULL, PLAIN);
    assert_int_equal(r.status, 503);
    assert_string_equal(reply_header(&r, "Retry-After"), "3");
    reply_free(&r);
    static const char *const bad[][2] = {
        {"{\"503\":0", "expected a JSON object"},
        {"", "expected a JSON object"},
        {"[0]", "expected a JSON object"},
        {"{\"503\":0,\"x\":1}", "\\\"x\\\": unknown"},
        {"{\"503\":0,\"429\":\"much\"}", "\\\"429\\\": expected a number from 0 to 100"},
        {"{\"503\":0,\"500\":-1}", "\\\"500\\\": expected a number from 0 to 100"},
        {"{\"503\":0,\"500\":1000}", "\\\"500\\\": expected a number from 0 to 100"},
        {"{\"503\":50,\"500\":50.1}", "all faults together 100.1 %, expected at most 100"},
        {"{\"500\":1}", "all faults together 101 %"}, /* with the 100 that stand */
        {"{\"503\":0,\"latency-ms\":1e30}", "expected a whole number from 0 to 3600000"},
        {"{\"503\":0,\"latency-ms\":0.5}", "expected a whole number from 0 to 3600000"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) { /* nothing of it changes anything */
        r = client_call(llmsim_port(s), "POST", "/control", NULL, bad[i][0]);
        if (r.status != 400 || strstr(r.body, bad[i][1]) == NULL) {
            fail_msg("%s: %u %s", bad[i][0], r.status, r.body);
        }
        reply_free(&r);
    }
    r = client_call(llmsim_port(s), "GET", "/control", NULL, NULL);
    json = reply_json(&r);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "503")->valueint, 100);
    cJSON_Delete(json);
    reply_free(&r);
    llmsim_stop(s);
}

/* Also where floating point has their sum a little above 100. */
static void all_calls_may_fail_in_several_ways(void **state)
{
    (void)state;
    static const char *const good[] = {"{\"503\":40,\"500\":60}",
                                       "{\"429\":0.2,\"500\":83.9,\"503\":15.9}"};
    struct llmsim *s = start(&plain_config);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct reply r = client_call(llmsim_port(s), "POST", "/control", NULL, good[i]);
        assert_int_equal(r.status, 200);
        reply_free(&r);
        r = chat(s, NULL, PLAIN);
        assert_int_not_equal(r.status, 200);
        reply_free(&r);
    }
    llmsim_stop(s);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *body;
        int status;
    } cases[] = {{"POST", CHAT, "{\"messages\":", 400},
                 {"POST", CHAT, "", 400},
                 {"POST", CHAT, "{\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}", 400},
                 {"POST", CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":5}]}", 400},
                 {"GET", CHAT, NULL, 405},
                 {"GET", "/v2/models", NULL, 404},
                 {"GET", "/ledger/reset", NULL, 404},
                 {"GET", "/health", NULL, 200}};
    struct llmsim *s = start(&plain_config);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r =
            client_call(llmsim_port(s), cases[i].method, cases[i].path, NULL, cases[i].body);
        assert_int_equal(r.status, cases[i].status);
        assert_true(r.is_whole);
        reply_free(&r);
    }
    size_t len = 9u << 20;
    char *body = malloc(len + 1);
    assert_non_null(body);
    memset(body, ' ', len);
    body[len] = '\0';
    struct reply r = chat(s, NULL, body);
    assert_int_equal(r.status, 413);
    reply_free(&r);
    free(body);
    llmsim_stop(s);
}

static void a_key_is_asked_for_when_there_is_one(void **state)
{
    (void)state;
    struct llmsim_config config = plain_config;
    config.api_key = "sk-1";
    struct llmsim *s = start(&config);
    static const struct {
        const char *header;
        int status;
    } cases[] = {{NULL, 401},
                 {"Authorization: sk-1\r\n", 401},
                 {"Authorization: Bearer sk-12\r\n", 401},
                 {"Authorization: Bearer sk-1\r\n", 200}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r = chat(s, cases[i].header, PLAIN);
        assert_int_equal(r.status, cases[i].status);
        reply_free(&r);
    }
    assert_int_equal(ledger_count(s, "calls"), 1); /* what was refused was not asked */
    llmsim_stop(s);
}

static void a_start_that_fails_names_the_address(void **state)
{
    (void)state;
    struct llmsim *s = start(&plain_config), *other = NULL;
    struct llmsim_config config = plain_config;
    struct sluice_err err = {0};
    char address[64];
    config.port = llmsim_port(s);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", config.port);
    assert_int_equal(llmsim_start(&config, &other, &err), SLUICE_ERR_CONFIG);
    assert_non_null(strstr(err.text, address));
    config.host = "no-address";
    assert_int_equal(llmsim_start(&config, &other, &err), SLUICE_ERR_CONFIG);
    assert_non_null(strstr(err.text, "no-address"));
    assert_null(other);
    llmsim_stop(s);
    llmsim_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_the_protocol_has_it),
        cmocka_unit_test(a_stamped_answer_names_its_call),
        cmocka_unit_test(uses_its_own_model_when_none_is_asked_for),
        cmocka_unit_test(follows_the_schema_of_the_request),
        cmocka_unit_test(streams_the_same_content),
        cmocka_unit_test(faults_can_be_asked_for_in_a_header),
        cmocka_unit_test(faults_can_be_configured),
        cmocka_unit_test(a_mark_in_the_prompt_fails_the_first_calls),
        cmocka_unit_test(a_mark_that_cannot_be_read_is_refused),
        cmocka_unit_test(what_only_resembles_a_mark_is_text),
        cmocka_unit_test(the_seed_decides_which_calls_fail),
        cmocka_unit_test(a_stalled_call_gets_nothing_while_others_are_answered),
        cmocka_unit_test(answers_wait_as_long_as_asked),
        cmocka_unit_test(many_sleep_at_once_and_all_are_answered),
        cmocka_unit_test(the_ledger_counts_by_key),
        cmocka_unit_test(control_changes_what_happens),
        cmocka_unit_test(all_calls_may_fail_in_several_ways),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(a_key_is_asked_for_when_there_is_one),
        cmocka_unit_test(a_start_that_fails_names_the_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
