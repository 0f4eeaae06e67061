/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions called where they must not be, or without what they need: the message fails, the
 * process goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "context.pb-c.h"
#include "host_fixture.h"
#include <pthread.h>
#include <string.h>

static struct host_verdict verdict;
static struct inflight *const m = &fixture.m;
static Context__V1__ContextDraft draft = CONTEXT__V1__CONTEXT_DRAFT__INIT;

static void run(sluice_handler_fn *handler)
{
    fixture.plugin.worker.on_message = handler;
    host_run(&fixture.host, m, &verdict);
}

static void expect_failed(const char *reason)
{
    assert_int_equal(verdict.verdict.kind, SLUICE_VERDICT_FAILED);
    assert_string_equal(m->reason, reason);
}

/* ---- Where ---- */

static int calls_count;

static void count_call(void *arg)
{
    (void)arg;
    calls_count++;
}

/* Every function of the table does nothing and says so. */
static void *calls_all(void *arg)
{
    sluice_turn *t = arg;
    const sluice_msg in = {.struct_size = sizeof in};
    const Context__V1__ContextDraft *found = &draft;
    const sluice_llm_reply *reply;
    const sluice_http_reply *answered;
    sluice_bytes out;
    sluice_step step = {0};
    assert_int_equal(sluice_decode(t, &in, context__v1__context_draft, &found),
                     SLUICE_ERR_UNSUPPORTED);
    assert_null(found);
    assert_int_equal(sluice_llm_start(t, &(sluice_llm_request){.user = "?"}).index,
                     SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(sluice_llm_await(t, step, &reply), SLUICE_ERR_UNSUPPORTED);
    assert_null(reply);
    assert_int_equal(sluice_await_all(t, &step, 1), SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(sluice_http(t, "crm", &(sluice_http_request){.path = "/"}, &answered),
                     SLUICE_ERR_UNSUPPORTED);
    assert_null(answered);
    assert_int_equal(sluice_find(t, "c", "i", context__v1__context_draft, &found),
                     SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(sluice_offload(t, "o", NULL, (sluice_bytes){NULL, 0}, &out),
                     SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(sluice_store(t, "c", &draft.base), SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(sluice_publish(t, "ready", &draft.base), SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(sluice_fail(t, SLUICE_REJECT, "not %s", "heard"), SLUICE_REJECT);
    assert_null(sluice_alloc(t, 1, 1));
    assert_string_equal(sluice_format(t, "%d", 1), "");
    sluice_defer(t, count_call, NULL);
    assert_null(sluice_self(t));
    assert_string_equal(sluice_key(t), "");
    assert_string_equal(sluice_correlation_id(t), "");
    assert_null(sluice_msg_header(t, &in, "a", 0));
    assert_true(sluice_now(t) == 0);
    assert_true(sluice_random(t) == 0);
    sluice_log(t, SLUICE_LOG_ERROR, "test", "%d", 1);
    return NULL;
}

static sluice_rc lets_a_thread_call(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, calls_all, t), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return SLUICE_OK;
}

static void a_call_on_another_thread_does_nothing_and_fails_the_message(void **state)
{
    (void)state;
    calls_count = 0;
    run(lets_a_thread_call);
    expect_failed("decode: called on another thread than the handler's");
    assert_int_equal(m->docs_count + m->outputs_count, 0);
    assert_int_equal(calls_count, 0);
}

static sluice_turn *kept;

static sluice_rc keeps_its_turn(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    kept = t;
    return sluice_store(t, "c", &draft.base);
}

static sluice_rc uses_the_kept_turn(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    assert_ptr_not_equal(t, kept);
    (void)calls_all(kept);
    return sluice_publish(t, "ready", &draft.base);
}

static void the_turn_of_an_ended_run_does_nothing(void **state)
{
    (void)state;
    run(keeps_its_turn);
    assert_int_equal(verdict.verdict.kind, SLUICE_VERDICT_DONE);
    (void)calls_all(kept); /* while none runs */
    for (int i = 0; i < 3; i++) {
        run(uses_the_kept_turn); /* while another one runs, which goes its own way */
        assert_int_equal(verdict.verdict.kind, SLUICE_VERDICT_DONE);
        assert_int_equal(m->docs_count, 0);
        assert_int_equal(m->outputs_count, 1);
    }
}

static sluice_rc copies_its_turn(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    sluice_turn copy = *t;
    (void)calls_all(&copy);
    return SLUICE_OK;
}

static void a_copy_of_a_turn_is_none(void **state)
{
    (void)state;
    run(copies_its_turn);
    assert_int_equal(verdict.verdict.kind, SLUICE_VERDICT_DONE);
}

/* ---- What ---- */

static int mistake;

/* NULL in places where the header does not allow it; the variable keeps the compiler from seeing
 * it. */
static sluice_rc makes_mistake(sluice_turn *t, const sluice_msg *in)
{
    const char *volatile no_text = NULL;
    const void *const volatile none = NULL;
    const ProtobufCMessage *no_message = none;
    const Context__V1__ContextDraft *found;
    const sluice_llm_reply *reply;
    const sluice_http_reply *answered;
    const sluice_host *host = t->host;
    sluice_bytes out;
    switch (mistake) {
    case 0:
        return host->decode(t, none, &context__v1__context_draft__descriptor, &found);
    case 1:
        return host->decode(t, in, none, &found);
    case 2:
        return host->decode(t, in, &context__v1__context_draft__descriptor, NULL);
    case 3:
        return sluice_llm(t, none, &reply);
    case 4:
        return sluice_llm(t, &(sluice_llm_request){.user = "?", .more_vars_count = 1}, &reply);
    case 5:
        return host->llm_await(t, (sluice_step){0}, NULL);
    case 6:
        return sluice_await_all(t, none, 2);
    case 7:
        return sluice_http(t, "crm", none, &answered);
    case 8:
        return host->http(t, "crm", none, 0, NULL);
    case 9:
        return sluice_http(t, "crm", &(sluice_http_request){.path = "/", .headers_count = 1},
                           &answered);
    case 10:
        return sluice_http(t, "crm", &(sluice_http_request){.path = "/", .body = {NULL, 1}},
                           &answered);
    case 11:
        return sluice_http(t, no_text, &(sluice_http_request){.path = "/"}, &answered);
    case 12:
        return host->find(t, "c", "i", none, &found);
    case 13:
        return sluice_offload(t, "o", NULL, (sluice_bytes){NULL, 0}, &out);
    case 14:
        return sluice_store(t, no_text, &draft.base);
    case 15:
        return sluice_store(t, "c", no_message);
    case 16:
        return sluice_publish(t, no_text, &draft.base);
    case 17:
        return sluice_publish(t, "ready", no_message);
    case 18:
        sluice_log(t, SLUICE_LOG_INFO, no_text, "x");
        return SLUICE_OK;
    case 19:
        sluice_log(t, SLUICE_LOG_INFO, "e", no_text, 0);
        return SLUICE_OK;
    case 20:
        sluice_defer(t, NULL, NULL);
        return SLUICE_OK;
    case 21:
        return sluice_msg_header(t, in, no_text, 0) == NULL ? SLUICE_OK : SLUICE_RETRY;
    case 22:
        sluice_log(t, 99, "e", "x");
        return SLUICE_OK;
    default:
        return sluice_store(t, "c", &(ProtobufCMessage){.descriptor = NULL});
    }
}

static void a_null_is_a_mistake_of_the_handler(void **state)
{
    (void)state;
    static const char *const reasons[] = {"decode: message, type or result is NULL",
                                          "decode: message, type or result is NULL",
                                          "decode: message, type or result is NULL",
                                          "llm: the request is NULL",
                                          "llm: more_vars is NULL with a count",
                                          "llm: the result is NULL",
                                          "await_all: steps is NULL with a count",
                                          "http: request or result is NULL",
                                          "http: request or result is NULL",
                                          "http: headers or body NULL with a length",
                                          "http: headers or body NULL with a length",
                                          "no such service in the configuration: (null)",
                                          "find: type or result is NULL",
                                          "offload: name, function, input or result is NULL",
                                          "store: collection: expected [A-Za-z0-9_-]{1,64}",
                                          "store: the message is NULL",
                                          "publish: output or message is NULL",
                                          "publish: output or message is NULL",
                                          "log: event or format is NULL",
                                          "log: event or format is NULL",
                                          "defer: the function is NULL",
                                          "msg_header: the name is NULL",
                                          "log: the level is none of SLUICE_LOG_…"};
    fixture.host.services[0] = (struct host_service){.name = "crm", .base_url = "http://h/"};
    fixture.host.services_count = 1;
    for (mistake = 0; mistake < (int)(sizeof reasons / sizeof reasons[0]); mistake++) {
        run(makes_mistake);
        expect_failed(reasons[mistake]);
    }
    run(makes_mistake);
    assert_int_equal(verdict.verdict.kind, SLUICE_VERDICT_FAILED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_fixture_setup, host_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_call_on_another_thread_does_nothing_and_fails_the_message),
        TEST(the_turn_of_an_ended_run_does_nothing), TEST(a_copy_of_a_turn_is_none),
        TEST(a_null_is_a_mistake_of_the_handler)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
