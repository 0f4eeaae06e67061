/* SPDX-License-Identifier: Apache-2.0 */
/* Calling HTTP services: what each answer means, what is sent, what is refused, what never shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/curl_http.h"
#include "curl_fixture.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct end {
    int count;
    enum sluice_fate fate;
    sluice_rc rc;
    int32_t status;
    int64_t retry_after_ms;
    size_t body_len;
    char body[256], content_type[64], text[512];
};

static struct sluice_http *http;
static char url[256];
/* The server's answer. */
static char status_line[64], headers[128], body[256];

static void answer(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    tiny_answer_text(out, status_line, headers, body);
}

static void answer_is(struct fixture *f, const char *status, const char *lines, const char *text)
{
    f->answer = answer;
    (void)snprintf(status_line, sizeof status_line, "%s", status);
    (void)snprintf(headers, sizeof headers, "%s", lines);
    (void)snprintf(body, sizeof body, "%s", text);
}

static int setup(void **state)
{
    (void)fixture_setup(state);
    struct fixture *f = *state;
    struct sluice_err err = {0};
    struct sluice_curl_http_options options = {.loop = &f->loop, .allocator = &f->heap.allocator};
    assert_int_equal(sluice_curl_http_create(&options, &http, &err), SLUICE_OK);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/a/b", tiny_server_port(f->server));
    return 0;
}

static int teardown(void **state)
{
    if (http != NULL) {
        http->ops->destroy(http);
        http = NULL;
    }
    return fixture_teardown(state);
}

static void on_end(void *ctx, const struct sluice_http_done *done)
{
    struct end *e = ctx;
    e->count++;
    e->fate = done->fate;
    e->rc = done->rc;
    e->status = done->http_status;
    e->retry_after_ms = done->retry_after_ms;
    e->body_len = done->body.len;
    (void)snprintf(e->body, sizeof e->body, "%.*s", (int)done->body.len,
                   done->body.data == NULL ? "" : (const char *)done->body.data);
    (void)snprintf(e->content_type, sizeof e->content_type, "%s", done->content_type);
    (void)snprintf(e->text, sizeof e->text, "%s", done->text);
}

static int has_ended(struct fixture *f, void *arg)
{
    (void)f;
    return ((struct end *)arg)->count > 0;
}

static struct sluice_http_call plain_call(void)
{
    return (struct sluice_http_call){.method = "GET", .url = url, .timeout_ms = WAIT_MS};
}

static struct end call_once(struct fixture *f, const struct sluice_http_call *call)
{
    struct end e = {.count = 0};
    (void)http->ops->call(http, call, on_end, &e);
    assert_int_equal(e.count, 0); /* never from inside */
    wait_until(f, has_ended, &e, "the end of a call");
    assert_int_equal(e.count, 1);
    return e;
}

/* ---- What answers mean ---- */

static void each_status_has_its_fate_and_code(void **state)
{
    static const struct {
        const char *status;
        enum sluice_fate fate;
        sluice_rc rc;
    } cases[] = {{"200 OK", SLUICE_FATE_OK, SLUICE_OK},
                 {"201 Created", SLUICE_FATE_OK, SLUICE_OK},
                 {"299 Odd", SLUICE_FATE_OK, SLUICE_OK},
                 {"300 Choices", SLUICE_FATE_PERMANENT, SLUICE_ERR_CLIENT},
                 {"302 Found", SLUICE_FATE_PERMANENT, SLUICE_ERR_CLIENT},
                 {"400 Bad", SLUICE_FATE_PERMANENT, SLUICE_ERR_CLIENT},
                 {"401 Who", SLUICE_FATE_RETRY, SLUICE_ERR_AUTH},
                 {"403 No", SLUICE_FATE_RETRY, SLUICE_ERR_AUTH},
                 {"404 Not Found", SLUICE_FATE_PERMANENT, SLUICE_ERR_NOT_FOUND},
                 {"408 Slow", SLUICE_FATE_RETRY, SLUICE_ERR_TIMEOUT},
                 {"410 Gone", SLUICE_FATE_PERMANENT, SLUICE_ERR_NOT_FOUND},
                 {"422 Bad", SLUICE_FATE_PERMANENT, SLUICE_ERR_CLIENT},
                 {"429 Busy", SLUICE_FATE_RATE_LIMITED, SLUICE_ERR_RATE_LIMITED},
                 {"500 Broken", SLUICE_FATE_RETRY, SLUICE_ERR_CLIENT},
                 {"501 What", SLUICE_FATE_RETRY, SLUICE_ERR_CLIENT},
                 {"502 Bad Gateway", SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_UNAVAILABLE},
                 {"503 Away", SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_UNAVAILABLE},
                 {"504 Slow Gateway", SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_UNAVAILABLE},
                 {"599 Odd", SLUICE_FATE_RETRY, SLUICE_ERR_CLIENT}};
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    for (size_t i = 0; i < COUNT(cases); i++) {
        answer_is(f, cases[i].status, "", "a body with canary-1 in it");
        struct end e = call_once(f, &call);
        if (e.fate != cases[i].fate || e.rc != cases[i].rc || e.status != atoi(cases[i].status)) {
            fail_msg("%s: fate %s, %s, status %d", cases[i].status, sluice_fate_name(e.fate),
                     sluice_status_name(e.rc), e.status);
        }
        assert_null(strstr(e.text, "canary")); /* SVC-8: no answer's body in a text */
        assert_int_equal(e.text[0] == '\0', e.fate == SLUICE_FATE_OK);
    }
}

static void an_answer_comes_with_its_body_and_type(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    answer_is(f, "200 OK", "Content-Type: application/json\r\n", "{\"a\":1}");
    struct end e = call_once(f, &call);
    assert_string_equal(e.body, "{\"a\":1}");
    assert_string_equal(e.content_type, "application/json");
    answer_is(f, "204 No Content", "", "");
    e = call_once(f, &call);
    assert_int_equal(e.fate, SLUICE_FATE_OK);
    assert_int_equal(e.body_len, 0);
    assert_string_equal(e.content_type, "");
    answer_is(f, "429 Busy", "Retry-After: 7\r\n", "");
    e = call_once(f, &call);
    assert_int_equal(e.retry_after_ms, 7000);
}

static void a_redirect_is_not_followed(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    char location[128];
    (void)snprintf(location, sizeof location, "Location: http://127.0.0.1:%u/other\r\n",
                   tiny_server_port(f->server));
    answer_is(f, "307 Elsewhere", location, "");
    assert_int_equal(call_once(f, &call).status, 307);
    assert_int_equal(tiny_server_requests(f->server), 1);
}

/* ---- What is sent ---- */

static void a_request_has_what_the_call_gives_and_no_more(void **state)
{
    struct fixture *f = *state;
    static const sluice_header given[] = {{"Authorization", "Bearer x"}, {"X-Empty", ""}};
    struct sluice_http_call call = plain_call();
    call.method = "PUT";
    call.headers = given;
    call.headers_count = COUNT(given);
    call.body = (sluice_bytes){"some\0body", 9};
    answer_is(f, "200 OK", "", "");
    assert_int_equal(call_once(f, &call).fate, SLUICE_FATE_OK);
    assert_int_equal(strncmp(f->last_head, "PUT /a/b HTTP/1.1\r\n", 19), 0);
    assert_non_null(strstr(f->last_head, "\r\nAuthorization: Bearer x\r\n"));
    assert_non_null(strstr(f->last_head, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(f->last_head, "\r\nContent-Length: 9"));
    assert_non_null(strstr(f->last_head, "\r\nUser-Agent: sluice/"));
    assert_null(strstr(f->last_head, "Content-Type"));
    assert_null(strstr(f->last_head, "Expect:"));
    assert_string_equal(f->last_body, "some");
}

static void each_method_goes_out_as_it_is(void **state)
{
    static const char *const methods[] = {"GET",   "HEAD",   "POST",   "PUT",
                                          "PATCH", "DELETE", "OPTIONS"};
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(methods); i++) {
        struct sluice_http_call call = plain_call();
        call.method = methods[i];
        answer_is(f, "200 OK", "", "");
        assert_int_equal(call_once(f, &call).fate, SLUICE_FATE_OK);
        assert_int_equal(strncmp(f->last_head, methods[i], strlen(methods[i])), 0);
    }
}

static void what_could_smuggle_is_refused_before_anything_is_sent(void **state)
{
    static const sluice_header bad[] = {{"X", "a\r\nY: b"}, {"X\r\nY", "b"}, {"X Y", "b"},
                                        {"", "b"},          {"X", "a\001b"}, {"X", NULL},
                                        {NULL, "b"}};
    static const char *const methods[] = {"GET /x", "get", "", "G\r\nE", "AAAAAAAAAAAAAAAAA"};
    static const char *const urls[] = {"http://127.0.0.1/a b", "http://127.0.0.1/a\r\nX: y", "",
                                       "ftp://127.0.0.1/", "file:///etc/passwd"};
    struct fixture *f = *state;
    answer_is(f, "200 OK", "", "");
    for (size_t i = 0; i < COUNT(bad) + COUNT(methods) + COUNT(urls); i++) {
        struct sluice_http_call call = plain_call();
        if (i < COUNT(bad)) {
            call.headers = &bad[i];
            call.headers_count = 1;
        } else if (i < COUNT(bad) + COUNT(methods)) {
            call.method = methods[i - COUNT(bad)];
        } else {
            call.url = urls[i - COUNT(bad) - COUNT(methods)];
        }
        struct end e = call_once(f, &call);
        if (e.fate != SLUICE_FATE_PERMANENT || e.rc != SLUICE_ERR_VALIDATION) {
            fail_msg("case %zu: fate %s, %s: %s", i, sluice_fate_name(e.fate),
                     sluice_status_name(e.rc), e.text);
        }
    }
    assert_int_equal(tiny_server_requests(f->server), 0);
}

static void there_are_at_most_64_headers(void **state)
{
    struct fixture *f = *state;
    sluice_header many[SLUICE_HTTP_HEADERS_MAX + 1];
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = (sluice_header){"X", "y"};
    }
    struct sluice_http_call call = plain_call();
    call.headers = many;
    call.headers_count = SLUICE_HTTP_HEADERS_MAX;
    answer_is(f, "200 OK", "", "");
    assert_int_equal(call_once(f, &call).fate, SLUICE_FATE_OK);
    call.headers_count++;
    assert_int_equal(call_once(f, &call).rc, SLUICE_ERR_VALIDATION);
}

/* ---- What goes wrong on the way ---- */

static void an_answer_over_its_bound_is_cut_off(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    call.answer_size_max = 10;
    answer_is(f, "200 OK", "", "0123456789");
    assert_int_equal(call_once(f, &call).fate, SLUICE_FATE_OK);
    answer_is(f, "200 OK", "", "0123456789a");
    struct end e = call_once(f, &call);
    assert_int_equal(e.fate, SLUICE_FATE_PERMANENT);
    assert_int_equal(e.rc, SLUICE_ERR_TOO_LARGE);
}

static void answer_never(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    out->after = TINY_HANG;
}

static void answer_half(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    out->len = (size_t)snprintf(out->bytes, sizeof out->bytes,
                                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    out->after = TINY_RESET;
}

static void answer_with_a_reset(void *ctx, const struct tiny_request *request,
                                struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    out->after = TINY_RESET;
}

static void answer_with_a_close(void *ctx, const struct tiny_request *request,
                                struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    out->after = TINY_CLOSE;
}

static void silence_ends_in_a_timeout(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    call.timeout_ms = 50;
    f->answer = answer_never;
    struct end e = call_once(f, &call);
    assert_int_equal(e.fate, SLUICE_FATE_RETRY);
    assert_int_equal(e.rc, SLUICE_ERR_TIMEOUT);
    assert_int_equal(e.status, 0);
}

static void half_an_answer_is_none(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    f->answer = answer_half;
    struct end e = call_once(f, &call);
    assert_int_equal(e.fate, SLUICE_FATE_RETRY);
    assert_int_equal(e.rc, SLUICE_ERR_UNAVAILABLE);
}

/* It may have been done, and it may be what made the peer crash. */
static void a_connection_closed_behind_the_request_is_not_unreachable(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    for (int after = 0; after < 2; after++) {
        f->answer = after == 0 ? answer_with_a_reset : answer_with_a_close;
        struct end e = call_once(f, &call);
        assert_int_equal(e.fate, SLUICE_FATE_RETRY);
        assert_int_equal(e.rc, SLUICE_ERR_UNAVAILABLE);
        assert_int_equal(e.status, 0);
    }
}

static void nobody_there_is_unreachable_and_shows_no_password(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    call.url = "http://me:canary-1@127.0.0.1:1/x";
    struct end e = call_once(f, &call);
    assert_int_equal(e.fate, SLUICE_FATE_UNREACHABLE);
    assert_int_equal(e.rc, SLUICE_ERR_UNAVAILABLE);
    assert_null(strstr(e.text, "canary"));
}

static void a_cancelled_call_ends_once(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    struct end e = {.count = 0};
    f->answer = answer_never;
    uint64_t number = http->ops->call(http, &call, on_end, &e);
    http->ops->cancel(http, number);
    http->ops->cancel(http, number + 1000);
    wait_until(f, has_ended, &e, "the end of a cancelled call");
    http->ops->cancel(http, number);
    assert_int_equal(e.count, 1);
    assert_int_equal(e.fate, SLUICE_FATE_CANCELLED);
}

/* At each moment of a call, connecting above all: what libcurl closes then must leave the loop. */
static void a_call_may_be_cancelled_at_any_moment(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    f->answer = answer_never;
    for (int turns = 0; turns < 12; turns++) {
        struct end e = {.count = 0};
        uint64_t number = http->ops->call(http, &call, on_end, &e);
        for (int i = 0; i < turns; i++) {
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        http->ops->cancel(http, number);
        wait_until(f, has_ended, &e, "the end of a cancelled call");
        assert_int_equal(e.fate, SLUICE_FATE_CANCELLED);
    }
}

/* A server whose queue of connections is full answers no SYN; libcurl closes the descriptor itself
 * when its time for connecting is over. */
static void a_connection_that_never_comes_is_unavailable(void **state)
{
    struct fixture *f = *state;
    struct sluice_http *impatient = NULL;
    struct sluice_err err = {0};
    struct sluice_curl_http_options options = {
        .loop = &f->loop, .allocator = &f->heap.allocator, .connect_timeout_ms = 100};
    int waiting[16];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (size_t i = 0; i < COUNT(waiting); i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (struct sockaddr *)&address, sizeof address);
    }
    char full[64];
    (void)snprintf(full, sizeof full, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    assert_int_equal(sluice_curl_http_create(&options, &impatient, &err), SLUICE_OK);
    struct sluice_http *patient = http;
    http = impatient;
    struct sluice_http_call call = plain_call();
    call.url = full;
    for (int i = 0; i < 2; i++) {
        struct end e = call_once(f, &call);
        assert_int_equal(e.fate, SLUICE_FATE_UNREACHABLE);
        assert_int_equal(e.rc, SLUICE_ERR_UNAVAILABLE);
    }
    http = patient;
    impatient->ops->destroy(impatient);
    for (size_t i = 0; i < COUNT(waiting); i++) {
        close(waiting[i]);
    }
    close(listener);
}

/* connect() fails from inside for a broadcast address. */
static void a_connection_that_fails_at_once_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    call.url = "http://255.255.255.255:9/";
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call_once(f, &call).rc, SLUICE_ERR_UNAVAILABLE);
    }
    answer_is(f, "200 OK", "", "");
    call.url = url;
    assert_int_equal(call_once(f, &call).fate, SLUICE_FATE_OK);
}

static void destroy_ends_what_runs(void **state)
{
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    struct end e[3] = {{.count = 0}};
    f->answer = answer_never;
    for (size_t i = 0; i < COUNT(e); i++) {
        (void)http->ops->call(http, &call, on_end, &e[i]);
    }
    http->ops->destroy(http);
    http = NULL;
    for (size_t i = 0; i < COUNT(e); i++) {
        assert_int_equal(e[i].count, 1);
        assert_int_equal(e[i].fate, SLUICE_FATE_CANCELLED);
    }
}

/* ---- Memory ---- */

static void a_call_ends_once_wherever_memory_ends(void **state)
{
    static const sluice_header given[] = {{"X-A", "b"}};
    struct fixture *f = *state;
    struct sluice_http_call call = plain_call();
    call.method = "POST";
    call.headers = given;
    call.headers_count = 1;
    call.body = (sluice_bytes){"body", 4};
    answer_is(f, "200 OK", "", "answer");
    (void)call_once(f, &call); /* connected */
    long n = 0;
    do {
        f->heap.fail_after = n++;
        f->heap.failed = 0;
        struct end e = {.count = 0};
        uint64_t number = http->ops->call(http, &call, on_end, &e);
        if (number != 0) {
            wait_until(f, has_ended, &e, "the end of a call without memory");
        }
        f->heap.fail_after = -1;
        assert_int_equal(e.count, number != 0);
        if (number == 0) {
            continue; /* not begun */
        }
        if (f->heap.failed == 0) {
            assert_int_equal(e.fate, SLUICE_FATE_OK);
        } else if (e.fate != SLUICE_FATE_OK) {
            assert_int_equal(e.rc, SLUICE_ERR_NOMEM);
            assert_int_equal(e.fate, SLUICE_FATE_RETRY);
        }
    } while (f->heap.failed != 0);
    assert_true(n > 3);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_status_has_its_fate_and_code),
        CASE(an_answer_comes_with_its_body_and_type),
        CASE(a_redirect_is_not_followed),
        CASE(a_request_has_what_the_call_gives_and_no_more),
        CASE(each_method_goes_out_as_it_is),
        CASE(what_could_smuggle_is_refused_before_anything_is_sent),
        CASE(there_are_at_most_64_headers),
        CASE(an_answer_over_its_bound_is_cut_off),
        CASE(silence_ends_in_a_timeout),
        CASE(half_an_answer_is_none),
        CASE(a_connection_closed_behind_the_request_is_not_unreachable),
        CASE(nobody_there_is_unreachable_and_shows_no_password),
        CASE(a_cancelled_call_ends_once),
        CASE(a_call_may_be_cancelled_at_any_moment),
        CASE(a_connection_that_never_comes_is_unavailable),
        CASE(a_connection_that_fails_at_once_leaves_nothing),
        CASE(destroy_ends_what_runs),
        CASE(a_call_ends_once_wherever_memory_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
