/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "curl_fixture.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS = 256 };

uint32_t fixture_threads;

_Noreturn void sluice_panic(const char *expression, const char *file, int line, const char *state);
void sluice_panic(const char *expression, const char *file, int line, const char *state)
{
    fprintf(stderr, "%s:%d: %s %s\n", file, line, expression, state);
    abort();
}

static void serve(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    struct fixture *f = ctx;
    snprintf(f->last_head, sizeof f->last_head, "%s", request->head);
    snprintf(f->last_body, sizeof f->last_body, "%s", request->body);
    tiny_answer_fn *answer = atomic_load(&f->answer);
    answer(f, request, out);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    heap_init(&f->heap);
    f->threads = fixture_threads;
    f->server = tiny_server_start(serve, f);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u/v1", tiny_server_port(f->server));
    f->options = (struct sluice_curl_llm_options){
        .loop = &f->loop, .allocator = &f->heap.allocator, .base_url = f->url, .api_key = API_KEY};
    *state = f;
    return 0;
}

sluice_rc llm_create(struct fixture *f, struct sluice_err *err)
{
    f->request_len = 0;
    if (f->threads == 0) {
        return sluice_curl_llm_create(&f->options, &f->llm, err);
    }
    struct sluice_llm_threads_options options = {
        .llm = f->options, .threads = f->threads, .home_max = f->home_max};
    if (f->options.connections_max == 0) {
        options.llm.connections_max = CONNECTIONS;
    }
    return sluice_llm_threads_create(&options, &f->llm, err);
}

struct sluice_curl_stats llm_stats(const struct fixture *f)
{
    return f->threads == 0 ? sluice_curl_llm_stats(f->llm) : sluice_llm_threads_stats(f->llm);
}

void llm_open(struct fixture *f)
{
    struct sluice_err err = {0};
    if (llm_create(f, &err) != SLUICE_OK) {
        print_error("%s\n", err.text);
        fail();
    }
}

void llm_close(struct fixture *f)
{
    if (f->llm != NULL) {
        f->llm->ops->destroy(f->llm);
        f->llm = NULL;
    }
    while (uv_run(&f->loop, UV_RUN_DEFAULT) != 0) {
    }
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    llm_close(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(f->heap.open, 0);
    tiny_server_stop(f->server);
    free(f);
    return 0;
}

struct sluice_llm_ask plain_ask(struct fixture *f)
{
    const struct sluice_llm_question question = {.model = "m", .user = "Hello", .temperature = -1};
    struct sluice_err err = {0};
    sluice_bytes request;
    if (f->request_len == 0) { /* else other threads may be reading it */
        assert_int_equal(f->llm->ops->write(f->llm, &question, &request, &err), SLUICE_OK);
        assert_in_range(request.len, 1, sizeof f->request);
        memcpy(f->request, request.data, request.len);
        f->request_len = request.len;
    }
    return (struct sluice_llm_ask){.request = {f->request, f->request_len},
                                   .timeout_ms = WAIT_MS,
                                   .correlation_id = "550e8400-e29b-41d4-a716-446655440000",
                                   .idempotency_key = "stream:1"};
}

/* Where a callback finds its fixture and its outcome. */
struct pending {
    struct fixture *f;
    struct outcome *outcome;
};

static void expect_no_key(const char *text)
{
    assert_null(strstr(text, "canary-0123456789"));
}

static void on_done(void *ctx, const struct sluice_llm_done *done)
{
    struct pending *p = ctx;
    struct outcome *o = p->outcome;
    expect_no_key(done->text);
    expect_no_key(done->model);
    expect_no_key(done->finish_reason);
    assert_true(done->retry_after_ms >= 0);
    *o = (struct outcome){.count = o->count + 1,
                          .order = ++p->f->ended,
                          .fate = done->fate,
                          .rc = done->rc,
                          .http_status = done->http_status,
                          .retry_after_ms = done->retry_after_ms,
                          .duration_ms = done->duration_ms,
                          .first_byte_ms = done->first_byte_ms,
                          .prompt_tokens = done->prompt_tokens,
                          .completion_tokens = done->completion_tokens,
                          .content_len = done->content.len};
    size_t len = done->content.len < sizeof o->content ? done->content.len : sizeof o->content - 1;
    if (len != 0) {
        memcpy(o->content, done->content.data, len);
    }
    snprintf(o->model, sizeof o->model, "%s", done->model);
    snprintf(o->finish_reason, sizeof o->finish_reason, "%s", done->finish_reason);
    snprintf(o->text, sizeof o->text, "%s", done->text);
    free(p);
}

static struct pending *pending_create(struct fixture *f, struct outcome *outcome)
{
    struct pending *p = calloc(1, sizeof *p);
    assert_non_null(p);
    memset(outcome, 0, sizeof *outcome);
    p->f = f;
    p->outcome = outcome;
    return p;
}

uint64_t start_ask(struct fixture *f, const struct sluice_llm_ask *ask, struct outcome *outcome)
{
    uint64_t number = f->llm->ops->ask(f->llm, ask, on_done, pending_create(f, outcome));
    assert_int_equal(outcome->count, 0); /* never from inside */
    return number;
}

uint64_t start_plain(struct fixture *f, struct outcome *outcome)
{
    struct sluice_llm_ask ask = plain_ask(f);
    return start_ask(f, &ask, outcome);
}

void start_ping(struct fixture *f, struct outcome *outcome)
{
    f->llm->ops->ping(f->llm, on_done, pending_create(f, outcome));
    assert_int_equal(outcome->count, 0);
}

static void on_deadline(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
}

static void on_poll(uv_timer_t *timer)
{
    (void)timer; /* conditions on the server's side wake nobody: look every few milliseconds */
}

void wait_until(struct fixture *f, int (*condition)(struct fixture *f, void *arg), void *arg,
                const char *what)
{
    uv_timer_t deadline;
    uv_timer_t poll;
    int is_over = 0;
    uv_timer_init(&f->loop, &deadline);
    uv_timer_init(&f->loop, &poll);
    deadline.data = &is_over;
    uv_update_time(&f->loop);
    uv_timer_start(&deadline, on_deadline, WAIT_MS, 0);
    uv_timer_start(&poll, on_poll, 2, 2);
    while (!condition(f, arg) && !is_over) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&deadline, NULL);
    uv_close((uv_handle_t *)&poll, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    if (is_over) {
        print_error("waited %d ms in vain: %s\n", WAIT_MS, what);
        fail();
    }
}

static int has_come(struct fixture *f, void *arg)
{
    (void)f;
    return ((const struct outcome *)arg)->count != 0;
}

void wait_outcome(struct fixture *f, const struct outcome *outcome)
{
    wait_until(f, has_come, (void *)(uintptr_t)outcome, "the end of a call");
    assert_int_equal(outcome->count, 1);
}

static int have_ended(struct fixture *f, void *arg)
{
    return f->ended >= *(unsigned *)arg;
}

void wait_ended(struct fixture *f, unsigned ended)
{
    wait_until(f, have_ended, &ended, "the end of all calls");
    assert_int_equal(f->ended, ended);
}

void ask_once(struct fixture *f, struct outcome *outcome)
{
    start_plain(f, outcome);
    wait_outcome(f, outcome);
}
