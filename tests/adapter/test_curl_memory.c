/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's own memory ends, at each of its allocations in turn: what the LLM adapter makes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/curl_memory.h"
#include "curl_fixture.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPLETION                                                                                 \
    "{\"model\":\"gpt-x\",\"choices\":[{\"message\":{\"content\":\"Hello\"},\"finish_reason\":"    \
    "\"stop\"}]}"

/* ---- libcurl's heap */

static long left = -1; /* so many allocations succeed; negative: all */
static int failed, is_once, is_connected;
static const struct sluice_llm *asked;

static int may_have(void)
{
    if (left < 0 || left-- > 0) {
        return 1;
    }
    left = is_once ? -1 : 0;
    is_connected = is_connected || sluice_curl_llm_stats(asked).connects_total != 0;
    failed = 1;
    if (is_connected) {
        left = -1;
        return 1;
    }
    sluice_curl_memory_note();
    return 0;
}

static void *heap_malloc(size_t size)
{
    return may_have() ? malloc(size) : NULL;
}

static void *heap_realloc(void *p, size_t size)
{
    return may_have() ? realloc(p, size) : NULL;
}

static void *heap_calloc(size_t count, size_t size)
{
    return may_have() ? calloc(count, size) : NULL;
}

static char *heap_strdup(const char *text)
{
    return may_have() ? strdup(text) : NULL;
}

static void starve(long after, int once)
{
    failed = 0;
    is_connected = 0;
    is_once = once;
    left = after;
}

static void feed(void)
{
    left = -1;
}

CURLcode __real_curl_global_init_mem(long flags, curl_malloc_callback m, curl_free_callback f,
                                     curl_realloc_callback r, curl_strdup_callback s,
                                     curl_calloc_callback c);
CURLcode __wrap_curl_global_init_mem(long flags, curl_malloc_callback m, curl_free_callback f,
                                     curl_realloc_callback r, curl_strdup_callback s,
                                     curl_calloc_callback c);

/* The adapter's own way to its memory, with ours behind it. */
CURLcode __wrap_curl_global_init_mem(long flags, curl_malloc_callback m, curl_free_callback f,
                                     curl_realloc_callback r, curl_strdup_callback s,
                                     curl_calloc_callback c)
{
    assert_true(m != NULL && r != NULL && s != NULL && c != NULL);
    return __real_curl_global_init_mem(flags, heap_malloc, f, heap_realloc, heap_strdup,
                                       heap_calloc);
}

static void answer_well(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    tiny_answer_text(out, "200 OK", "Content-Type: application/json\r\n", COMPLETION);
}

/* Each allocation of the first call fails in turn, alone or with all that follow it, as long as no
 * connection is there: from then on libcurl itself may crash (7.88: a hash without slots). */
static void starve_each(struct fixture *f, int once)
{
    int nomem = 0;
    for (long n = 0;; n++) {
        struct outcome starved, next;
        llm_open(f);
        asked = f->llm;
        struct sluice_llm_ask ask = plain_ask(f);
        starve(n, once);
        uint64_t number = start_ask(f, &ask, &starved);
        assert_true(number != 0);
        wait_outcome(f, &starved);
        feed();
        if (is_connected) {
            llm_close(f);
            break;
        }
        assert_int_equal(failed, 1);
        if (starved.rc != SLUICE_ERR_NOMEM && starved.rc != SLUICE_OK) {
            fail_msg("allocation %ld: %s: %s", n, sluice_status_name(starved.rc), starved.text);
        }
        nomem += starved.rc == SLUICE_ERR_NOMEM;
        ask_once(f, &next);
        assert_int_equal(next.rc, SLUICE_OK);
        llm_close(f);
    }
    assert_true(nomem > 20);
}

static void missing_memory_is_not_the_endpoints_fault(void **state)
{
    struct fixture *f = *state;
    f->answer = answer_well;
    starve_each(f, 1);
    starve_each(f, 0);
}

/* ---- A turn that libcurl gives up */

static int turns_given_up;

CURLMcode __real_curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int flags, int *running);
CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int flags, int *running);

CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int flags, int *running)
{
    if (turns_given_up > 0) {
        turns_given_up--;
        return CURLM_OUT_OF_MEMORY; /* and no word of when to come again */
    }
    return __real_curl_multi_socket_action(multi, fd, flags, running);
}

static void a_turn_without_memory_is_repeated(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    f->answer = answer_well;
    llm_open(f);
    turns_given_up = 3;
    ask_once(f, &o);
    assert_int_equal(turns_given_up, 0);
    assert_int_equal(o.rc, SLUICE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_turn_without_memory_is_repeated, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(missing_memory_is_not_the_endpoints_fault, fixture_setup,
                                        fixture_teardown),
    };
    int code = cmocka_run_group_tests_name("curl_memory", tests, NULL, NULL);
    return code;
}
