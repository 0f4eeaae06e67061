/* SPDX-License-Identifier: Apache-2.0 */
/* The LLM adapter against a server that answers as it should; with the argument `threads` each call
 * is carried by a further thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/curl_memory.h"
#include "curl_fixture.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define COMPLETION                                                                                 \
    "{\"id\":\"x\",\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"message\":{\"role\":"           \
    "\"assistant\",\"content\":\"Hello, too\"},\"finish_reason\":\"stop\"}],\"usage\":{"           \
    "\"prompt_tokens\":7,\"completion_tokens\":3}}"

#define STREAM                                                                                     \
    ": hello\r\n\r\n"                                                                              \
    "data: {\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}"      \
    "\r\n\r\n"                                                                                     \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":"           \
    "\"stop\"}]}\r\n\r\n"                                                                          \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\r\n\r\n"       \
    "data: [DONE]\r\n\r\n"

#define SSE_TYPE "Content-Type: text/event-stream; charset=utf-8\r\n"

static void answer_well(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    int is_stream = strstr(request->body, "\"stream\":true") != NULL;
    tiny_answer_text(out, "200 OK", is_stream ? SSE_TYPE : "Content-Type: application/json\r\n",
                     is_stream ? STREAM : COMPLETION);
}

static void a_call_gets_its_answer(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_well;
    llm_open(f);
    ask_once(f, &o);
    assert_string_equal(o.text, "");
    assert_int_equal(o.fate, SLUICE_FATE_OK);
    assert_int_equal(o.rc, SLUICE_OK);
    assert_int_equal(o.http_status, 200);
    assert_string_equal(o.content, "Hello, too");
    assert_string_equal(o.model, "gpt-x");
    assert_string_equal(o.finish_reason, "stop");
    assert_int_equal(o.prompt_tokens, 7);
    assert_int_equal(o.completion_tokens, 3);
    assert_true(o.duration_ms >= o.first_byte_ms);
}

static void expect_header(const struct fixture *f, const char *header)
{
    char line[512];
    snprintf(line, sizeof line, "\r\n%s", header);
    if (strstr(f->last_head, line) == NULL) {
        print_error("no \"%s\" in\n%s\n", header, f->last_head);
        fail();
    }
}

static void a_request_is_as_the_protocol_wants_it(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    const sluice_header more[] = {{"OpenAI-Organization", "org-1"}, {"X-Empty", ""}};
    f->answer = answer_well;
    f->options.headers = more;
    f->options.headers_count = COUNT(more);
    llm_open(f);
    struct sluice_llm_ask ask = plain_ask(f);
    ask.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    start_ask(f, &ask, &o);
    wait_outcome(f, &o);
    assert_int_equal(strncmp(f->last_head, "POST /v1/chat/completions HTTP/1.1\r\n", 36), 0);
    expect_header(f, "Authorization: Bearer " API_KEY);
    expect_header(f, "Content-Type: application/json");
    expect_header(f, "X-Correlation-ID: 550e8400-e29b-41d4-a716-446655440000");
    expect_header(f, "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    expect_header(f, "Idempotency-Key: stream:1");
    expect_header(f, "User-Agent: sluice/");
    expect_header(f, "OpenAI-Organization: org-1");
    expect_header(f, "X-Empty:");
    assert_null(strstr(f->last_head, "Expect:"));
    assert_null(strstr(f->last_head, "Accept-Encoding"));
    assert_string_equal(
        f->last_body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}");
}

static unsigned count_header(const struct fixture *f, const char *name)
{
    unsigned count = 0;
    size_t len = strlen(name);
    for (const char *line = strstr(f->last_head, "\r\n"); line != NULL;
         line = strstr(line + 2, "\r\n")) {
        count += strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':';
    }
    return count;
}

static void a_further_header_takes_the_place_of_ours(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    const sluice_header more[] = {{"authorization", "Basic abc"},
                                  {"CONTENT-TYPE", "application/json; charset=utf-8"},
                                  {"User-Agent", "gateway-test"}};
    f->answer = answer_well;
    f->options.headers = more;
    f->options.headers_count = COUNT(more);
    llm_open(f);
    ask_once(f, &o);
    assert_int_equal(o.fate, SLUICE_FATE_OK);
    expect_header(f, "authorization: Basic abc\r\n");
    expect_header(f, "CONTENT-TYPE: application/json; charset=utf-8\r\n");
    expect_header(f, "User-Agent: gateway-test\r\n");
    assert_int_equal(count_header(f, "Authorization"), 1);
    assert_int_equal(count_header(f, "Content-Type"), 1);
    assert_int_equal(count_header(f, "User-Agent"), 1);
    assert_null(strstr(f->last_head, API_KEY));
}

static void answer_refused(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    struct fixture *f = ctx;
    (void)request;
    tiny_answer_text(out, "422 Unprocessable Entity", "Content-Type: application/json\r\n",
                     f->script);
}

/* An endpoint quotes what it was sent; short values are no secrets, and would hide every text. */
static void secrets_of_further_headers_do_not_show(void **state)
{
    static const struct {
        const char *body, *shown;
    } cases[] = {
        {"{\"error\":{\"message\":\"the key canary-4711 is no good\"}}", NULL},
        {"{\"error\":{\"message\":\"Bearer hidden-0815\"}}", NULL},
        {"{\"error\":{\"code\":\"hidden-0815\"}}", "(***)"},
        {"{\"error\":{\"message\":\"team blue is no good\"}}", "team blue is no good"},
    };
    struct fixture *f = *state;
    const sluice_header more[] = {
        {"api-key", "canary-4711"}, {"X-Login", "Bearer hidden-0815"}, {"X-Team", "blue"}};
    f->answer = answer_refused;
    f->options.headers = more;
    f->options.headers_count = COUNT(more);
    llm_open(f);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct outcome o;
        f->script = (void *)(uintptr_t)cases[i].body;
        ask_once(f, &o);
        assert_int_not_equal(o.fate, SLUICE_FATE_OK);
        assert_null(strstr(o.text, "canary"));
        assert_null(strstr(o.text, "hidden"));
        assert_true(cases[i].shown == NULL || strstr(o.text, cases[i].shown) != NULL);
    }
}

static void headers_that_would_spoil_a_call_are_refused(void **state)
{
    static const struct {
        sluice_header headers[2];
        uint32_t count;
        const char *text;
    } cases[] = {
        {{{"idempotency-key", "1"}},
         1,
         "llm: header Idempotency-Key: set for each call, expected another one"},
        {{{"X-Correlation-Id", "1"}},
         1,
         "llm: header X-Correlation-ID: set for each call, expected another one"},
        {{{"Traceparent", "1"}},
         1,
         "llm: header traceparent: set for each call, expected another one"},
        {{{"Content-Length", "1"}},
         1,
         "llm: header Content-Length: set for each call, expected another one"},
        {{{"Transfer-Encoding", "x"}},
         1,
         "llm: header Transfer-Encoding: set for each call, expected another one"},
        {{{"Connection", "close"}},
         1,
         "llm: header Connection: set for each call, expected another one"},
        {{{"Expect", "x"}}, 1, "llm: header Expect: set for each call, expected another one"},
        {{{"api-key", "canary-1"}, {"Api-Key", "canary-2"}}, 2, "llm: header Api-Key: given twice"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sluice_err err = {0};
        f->options.headers = cases[i].headers;
        f->options.headers_count = cases[i].count;
        assert_int_equal(sluice_curl_llm_create(&f->options, &f->llm, &err), SLUICE_ERR_CONFIG);
        assert_null(f->llm);
        assert_string_equal(err.text, cases[i].text);
    }
}

static void requests_are_written_one_after_the_other_within_their_bound(void **state)
{
    struct fixture *f = *state;
    struct sluice_llm_question question = {.model = "m", .user = "x", .temperature = -1};
    struct sluice_err err = {0};
    sluice_bytes request = {NULL, 0};
    static char most[100000 + 1];
    memset(most, 'x', sizeof most - 1);
    f->options.request_size_max = 90000;
    llm_open(f);
    static const sluice_rc expected[] = {SLUICE_OK, SLUICE_ERR_TOO_LARGE, SLUICE_OK,
                                         SLUICE_ERR_VALIDATION, SLUICE_OK};
    const char *const texts[] = {"x", most, most + 20000, "\xff", "x"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        question.user = texts[i];
        assert_int_equal(f->llm->ops->write(f->llm, &question, &request, &err), expected[i]);
        if (expected[i] == SLUICE_OK) {
            assert_non_null(memmem(request.data, request.len, texts[i], strlen(texts[i])));
            assert_in_range(request.len - strlen(texts[i]), 40, 100);
        }
    }
}

static void optional_headers_and_an_empty_key_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_well;
    f->options.api_key = "";
    llm_open(f);
    const struct sluice_llm_ask ask = {.request = {"{}", 2}};
    start_ask(f, &ask, &o);
    wait_outcome(f, &o);
    assert_int_equal(o.fate, SLUICE_FATE_OK);
    assert_null(strstr(f->last_head, "Authorization"));
    assert_null(strstr(f->last_head, "X-Correlation-ID"));
    assert_null(strstr(f->last_head, "Idempotency-Key"));
    assert_null(strstr(f->last_head, "traceparent"));
}

static void the_base_url_keeps_its_path_and_query(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_well;
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u/openai/deployments/x/?api-version=1",
             tiny_server_port(f->server));
    llm_open(f);
    ask_once(f, &o);
    assert_non_null(
        strstr(f->last_head, "POST /openai/deployments/x/chat/completions?api-version=1 HTTP/1.1"));
}

static void a_stream_is_assembled(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_well;
    f->options.is_streamed = 1;
    llm_open(f);
    ask_once(f, &o);
    assert_string_equal(o.text, "");
    assert_int_equal(o.fate, SLUICE_FATE_OK);
    assert_string_equal(o.content, "Hello");
    assert_string_equal(o.model, "gpt-x");
    assert_int_equal(o.prompt_tokens, 7);
    assert_int_equal(o.completion_tokens, 2);
    assert_non_null(strstr(f->last_body, "\"stream_options\":{\"include_usage\":true}"));
}

static void answer_the_other_way(void *ctx, const struct tiny_request *request,
                                 struct tiny_answer *out)
{
    (void)ctx;
    int is_stream = strstr(request->body, "\"stream\":true") != NULL;
    tiny_answer_text(out, "200 OK", is_stream ? "" : SSE_TYPE, is_stream ? COMPLETION : STREAM);
}

static void the_server_decides_whether_it_streams(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_the_other_way;
    llm_open(f);
    ask_once(f, &o);
    assert_string_equal(o.content, "Hello");
    llm_close(f);
    f->options.is_streamed = 1;
    llm_open(f);
    ask_once(f, &o);
    assert_string_equal(o.content, "Hello, too");
}

static void answer_in_pieces(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    answer_well(ctx, request, out);
    out->piece_len = 1;
}

static void an_answer_may_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_in_pieces;
    llm_open(f);
    ask_once(f, &o);
    assert_string_equal(o.content, "Hello, too");
    llm_close(f);
    f->options.is_streamed = 1;
    llm_open(f);
    ask_once(f, &o);
    assert_string_equal(o.content, "Hello");
}

static void answer_chunked(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    int len =
        snprintf(out->bytes, sizeof out->bytes,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
                 strlen(COMPLETION), COMPLETION);
    out->len = (size_t)len;
}

static void answer_until_close(void *ctx, const struct tiny_request *request,
                               struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    int len = snprintf(out->bytes, sizeof out->bytes, "HTTP/1.0 200 OK\r\n\r\n%s", COMPLETION);
    out->len = (size_t)len;
    out->after = TINY_CLOSE;
}

static void answer_after_a_100(void *ctx, const struct tiny_request *request,
                               struct tiny_answer *out)
{
    struct tiny_answer *well = calloc(1, sizeof *well);
    answer_well(ctx, request, well);
    int len = snprintf(out->bytes, sizeof out->bytes,
                       "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n%s", well->bytes);
    out->len = (size_t)len;
    free(well);
}

static void every_framing_of_http_1_is_understood(void **state)
{
    struct fixture *f = *state;
    tiny_answer_fn *const answers[] = {answer_chunked, answer_until_close, answer_after_a_100};
    llm_open(f);
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct outcome o;
        f->answer = answers[i];
        ask_once(f, &o);
        assert_int_equal(o.fate, SLUICE_FATE_OK);
        assert_string_equal(o.content, "Hello, too");
    }
}

static void answer_with_an_endless_header(void *ctx, const struct tiny_request *request,
                                          struct tiny_answer *out)
{
    static const char tail[] = "................................................................";
    (void)ctx;
    (void)request;
    int len = snprintf(out->bytes, sizeof out->bytes, "HTTP/1.1 200 OK\r\nX-Header: ");
    out->len = (size_t)len;
    out->tail = tail;
    out->tail_len = sizeof tail - 1;
    out->tail_count = 16384; /* 1 MiB; libcurl takes 100 KiB */
    out->after = TINY_HANG;
}

/* libcurl calls it want of memory, which no peer would ever be blamed for. */
static void a_header_without_end_is_the_peers_fault(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_with_an_endless_header;
    llm_open(f);
    ask_once(f, &o);
    assert_int_equal(o.fate, SLUICE_FATE_RETRY);
    assert_int_equal(o.rc, SLUICE_ERR_UNAVAILABLE);
}

static void connections_are_kept_and_used_again(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_well;
    llm_open(f);
    for (int i = 0; i < 50; i++) {
        ask_once(f, &o);
        assert_int_equal(o.fate, SLUICE_FATE_OK);
    }
    assert_int_equal(tiny_server_requests(f->server), 50);
    assert_int_equal(tiny_server_connections(f->server), 1);
    struct sluice_curl_stats stats = llm_stats(f);
    assert_int_equal(stats.calls_total, 50);
    assert_int_equal(stats.connects_total, 1);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.shards, 1);
    assert_int_equal(stats.running, 0);
}

enum { MANY = 300, ROUNDS = 5 };

static void many_calls_at_once_share_shards_and_connections(void **state)
{
    struct fixture *f = *state;
    struct outcome *o = calloc(MANY, sizeof *o);
    f->answer = answer_well;
    f->options.connections_max = MANY;
    llm_open(f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MANY; i++) {
            start_plain(f, &o[i]);
        }
        wait_ended(f, (round + 1) * MANY);
        for (int i = 0; i < MANY; i++) {
            assert_string_equal(o[i].content, "Hello, too");
        }
    }
    assert_int_equal(tiny_server_requests(f->server), MANY * ROUNDS);
    assert_true(tiny_server_connections(f->server) <= MANY);
    assert_true(llm_stats(f).shards <=
                (MANY + SLUICE_CURL_SHARD_TRANSFERS - 1) / SLUICE_CURL_SHARD_TRANSFERS);
    free(o);
}

static void an_easy_handle_has_room_for_what_is_ours(void **state)
{
    struct fixture *f = *state;
    void *room = NULL;
    char zeros[300] = {0};
    llm_open(f);
    CURL *easy = sluice_curl_memory_easy(sizeof zeros, &room);
    assert_non_null(easy);
    assert_non_null(room);
    assert_int_equal((uintptr_t)room % 16, 0);
    assert_memory_equal(room, zeros, sizeof zeros);
    memset(room, 0xff, sizeof zeros);
    CURL *copy = curl_easy_duphandle(easy); /* asks for one as well, and has no room */
    assert_non_null(copy);
    curl_easy_cleanup(copy);
    curl_easy_cleanup(easy);
}

static void answer_late(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    answer_well(ctx, request, out);
    out->delay_ms = 5;
}

static void calls_beyond_the_connections_wait_their_turn(void **state)
{
    enum { CALLS = 40 };
    struct fixture *f = *state;
    struct outcome *o = calloc(CALLS, sizeof *o);
    f->answer = answer_late;
    f->options.connections_max = 1;
    llm_open(f);
    for (int i = 0; i < CALLS; i++) {
        start_plain(f, &o[i]);
    }
    if (f->threads == 0) { /* else they are on their way */
        assert_int_equal(llm_stats(f).queued, CALLS - 1);
    }
    wait_ended(f, CALLS);
    for (unsigned i = 0; i < CALLS; i++) {
        assert_int_equal(o[i].fate, SLUICE_FATE_OK);
        assert_int_equal(o[i].order, i + 1); /* first come, first served */
    }
    assert_int_equal(tiny_server_connections(f->server), 1);
    free(o);
}

static void answer_with_a_reset(void *ctx, const struct tiny_request *request,
                                struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    out->after = TINY_RESET;
}

static void nobody_there_is_unreachable_and_a_lost_request_is_not(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_with_a_reset;
    llm_open(f);
    ask_once(f, &o);
    assert_int_equal(o.fate, SLUICE_FATE_RETRY);
    assert_int_equal(o.rc, SLUICE_ERR_UNAVAILABLE);
    f->llm->ops->destroy(f->llm);
    f->options.base_url = "http://127.0.0.1:1/v1";
    llm_open(f);
    ask_once(f, &o);
    assert_int_equal(o.fate, SLUICE_FATE_UNREACHABLE);
    assert_int_equal(o.rc, SLUICE_ERR_UNAVAILABLE);
}

static void answer_never(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    out->after = TINY_HANG;
}

static void waiting_for_a_connection_counts_against_the_timeout(void **state)
{
    struct fixture *f = *state;
    struct outcome first;
    struct outcome second;
    f->answer = answer_never;
    f->options.connections_max = 1;
    llm_open(f);
    struct sluice_llm_ask ask = plain_ask(f);
    uint64_t number = start_ask(f, &ask, &first);
    ask.timeout_ms = 150;
    start_ask(f, &ask, &second);
    wait_outcome(f, &second);
    assert_int_equal(second.fate, SLUICE_FATE_UNREACHABLE);
    assert_int_equal(second.rc, SLUICE_ERR_TIMEOUT);
    assert_string_equal(second.text, "chat completion: timeout: no free connection in time");
    assert_true(second.duration_ms >= 150);
    assert_int_equal(first.count, 0);
    f->llm->ops->cancel(f->llm, number);
    wait_outcome(f, &first);
}

/* ---- Ping */

static void answer_with_status(void *ctx, const struct tiny_request *request,
                               struct tiny_answer *out)
{
    struct fixture *f = ctx;
    (void)request;
    tiny_answer_text(out, f->script, "", "{\"data\":[]}");
}

/* A peer that reads nothing yet and has room for little of a request. */
static int narrow_listener(char *url, size_t size)
{
    const int little = 4096;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(url, size, "http://127.0.0.1:%u/v1", ntohs(address.sin_port));
    return listener;
}

/* The kernel would go on sending it, and the provider be paid for an answer that nobody waits for.
 */
static void what_was_given_up_is_not_sent_any_more(void **state)
{
    enum { REQUEST_SIZE = 1 << 20 };
    struct fixture *f = *state;
    struct outcome o;
    char url[64], some[4096];
    int listener = narrow_listener(url, sizeof url);
    f->options.base_url = url;
    llm_open(f);
    char *request = malloc(REQUEST_SIZE);
    assert_non_null(request);
    memset(request, ' ', REQUEST_SIZE);
    struct sluice_llm_ask ask = plain_ask(f);
    ask.request = (sluice_bytes){request, REQUEST_SIZE};
    ask.timeout_ms = 150;
    start_ask(f, &ask, &o);
    wait_outcome(f, &o);
    assert_int_equal(o.rc, SLUICE_ERR_TIMEOUT);
    free(request);
    llm_close(f); /* other threads close it when they like, but by now */
    int peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    ssize_t n;
    while ((n = recv(peer, some, sizeof some, 0)) > 0) {
    }
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
    close(peer);
    close(listener);
}

static void ping_tells_whether_the_endpoint_answers(void **state)
{
    static const struct {
        const char *status;
        enum sluice_fate fate;
        sluice_rc rc;
        const char *text;
    } cases[] = {
        {"200 OK", SLUICE_FATE_OK, SLUICE_OK, ""},
        {"404 Not Found", SLUICE_FATE_OK, SLUICE_OK, ""},
        {"401 Unauthorized", SLUICE_FATE_OK, SLUICE_ERR_AUTH, "models: HTTP 401"},
        {"403 Forbidden", SLUICE_FATE_OK, SLUICE_ERR_AUTH, "models: HTTP 403"},
        {"500 Oops", SLUICE_FATE_RETRY, SLUICE_ERR_UNAVAILABLE, "models: HTTP 500"},
        {"503 Loading", SLUICE_FATE_RETRY, SLUICE_ERR_UNAVAILABLE, "models: HTTP 503"},
    };
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_with_status;
    llm_open(f);
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->script = (void *)(uintptr_t)cases[i].status;
        start_ping(f, &o);
        wait_outcome(f, &o);
        assert_int_equal(o.fate, cases[i].fate);
        assert_int_equal(o.rc, cases[i].rc);
        assert_string_equal(o.text, cases[i].text);
        assert_int_equal(strncmp(f->last_head, "GET /v1/models HTTP/1.1\r\n", 25), 0);
        expect_header(f, "Authorization: Bearer " API_KEY);
        assert_string_equal(f->last_body, "");
    }
    f->answer = answer_well; /* the handle that pinged can post again, and the other way round */
    ask_once(f, &o);
    assert_string_equal(o.content, "Hello, too");
    assert_int_equal(tiny_server_connections(f->server), 1 + f->threads); /* pings stay at home */
}

/* ---- Creation */

static void creation_refuses_what_cannot_work(void **state)
{
    static const struct {
        const char *url, *key;
        uint32_t connections;
        const char *text;
    } cases[] = {
        {"", "k", 1, "llm: base URL: empty"},
        {"ftp://x/", "k", 1, "llm: base URL: another scheme; expected http://… or https://…"},
        {"http://a b/", "k", 1, "llm: base URL: holds a space or control character"},
        {"http://x:99999/", "k", 1, NULL},
        {"http://", "k", 1, NULL},
        {"nonsense://user:" API_KEY "@x/", "k", 1, NULL},
        {"http://x/", "two\nlines", 1, "llm: api key: holds control characters, or is too long"},
        {"http://x/", "k", 65537, "http: transfers at once: 65537 is not 1…65536"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sluice_err err = {0};
        f->options.base_url = cases[i].url;
        f->options.api_key = cases[i].key;
        f->options.connections_max = cases[i].connections;
        print_message("# %s\n", cases[i].url);
        assert_int_equal(llm_create(f, &err), SLUICE_ERR_CONFIG);
        assert_null(f->llm);
        assert_null(strstr(err.text, "canary"));
        if (cases[i].text != NULL) {
            assert_string_equal(err.text, cases[i].text);
        }
    }
}

static void creation_fails_cleanly_wherever_memory_ends(void **state)
{
    struct fixture *f = *state;
    struct sluice_err err = {0};
    long n = 0;
    f->options.ca_file = "/nowhere";
    f->options.max_tokens_field = "max_tokens";
    do {
        f->heap.fail_after = n++;
        f->heap.failed = 0;
        sluice_rc rc = llm_create(f, &err);
        assert_int_equal(rc, f->heap.failed != 0 ? SLUICE_ERR_NOMEM : SLUICE_OK);
        f->heap.fail_after = -1;
        llm_close(f);
        assert_int_equal(f->heap.open, 0);
    } while (f->heap.failed != 0);
    assert_true(n > 5);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    fixture_threads = argc > 1 && strcmp(argv[1], "threads") == 0;
    const struct CMUnitTest tests[] = {
        CASE(a_call_gets_its_answer),
        CASE(a_request_is_as_the_protocol_wants_it),
        CASE(a_further_header_takes_the_place_of_ours),
        CASE(secrets_of_further_headers_do_not_show),
        CASE(headers_that_would_spoil_a_call_are_refused),
        CASE(requests_are_written_one_after_the_other_within_their_bound),
        CASE(optional_headers_and_an_empty_key_are_left_out),
        CASE(the_base_url_keeps_its_path_and_query),
        CASE(a_stream_is_assembled),
        CASE(the_server_decides_whether_it_streams),
        CASE(an_answer_may_come_byte_by_byte),
        CASE(every_framing_of_http_1_is_understood),
        CASE(a_header_without_end_is_the_peers_fault),
        CASE(connections_are_kept_and_used_again),
        CASE(many_calls_at_once_share_shards_and_connections),
        CASE(an_easy_handle_has_room_for_what_is_ours),
        CASE(calls_beyond_the_connections_wait_their_turn),
        CASE(nobody_there_is_unreachable_and_a_lost_request_is_not),
        CASE(waiting_for_a_connection_counts_against_the_timeout),
        CASE(what_was_given_up_is_not_sent_any_more),
        CASE(ping_tells_whether_the_endpoint_answers),
        CASE(creation_refuses_what_cannot_work),
        CASE(creation_fails_cleanly_wherever_memory_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
