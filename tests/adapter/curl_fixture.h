/* SPDX-License-Identifier: Apache-2.0 */
/* A loop, a server that follows a script, and an LLM that asks it. */
#ifndef SLUICE_TESTS_ADAPTER_CURL_FIXTURE_H
#define SLUICE_TESTS_ADAPTER_CURL_FIXTURE_H

#include "adapter/llm_threads.h"
#include "heap.h"
#include "tiny_server.h"

#define API_KEY "sk-canary-0123456789abcdefghijklmnopqrstuvwxyz-0123456789-0123456789-0123456789"

enum { WAIT_MS = 20000 };

/* How one call ended; copies. */
struct outcome {
    int count; /* of callbacks */
    unsigned order;
    enum sluice_fate fate;
    sluice_rc rc;
    int32_t http_status;
    int64_t retry_after_ms, duration_ms, first_byte_ms;
    uint32_t prompt_tokens, completion_tokens;
    char content[4096];
    size_t content_len;
    char model[256], finish_reason[256], text[600];
};

struct fixture {
    uv_loop_t loop;
    struct heap heap;
    struct tiny_server *server;
    struct sluice_llm *llm;
    struct sluice_curl_llm_options options; /* for llm_open; base_url points into `url` */
    char url[128];
    uint32_t threads, home_max; /* for llm_open; without threads it opens a plain one */
    unsigned ended;             /* calls */
    /* the script, read on the server's threads under its lock */
    tiny_answer_fn *_Atomic answer;
    void *script;
    char request[512];                     /* of plain_ask() */
    size_t request_len;
    char last_head[8192], last_body[8192]; /* of the last request */
};

extern uint32_t fixture_threads; /* of each new fixture; 0 unless main says otherwise */

/* As cmocka's setup and teardown. The fixture has loop and server, the LLM is opened by the test.
 */
int fixture_setup(void **state);
int fixture_teardown(void **state); /* checks that all memory was given back */

void llm_open(struct fixture *f);
SLUICE_MUST_CHECK
sluice_rc llm_create(struct fixture *f, struct sluice_err *err); /* what llm_open opens */
struct sluice_curl_stats llm_stats(const struct fixture *f);
void llm_close(struct fixture *f); /* and run the loop until its handles are closed */

/* The plainest request, as the LLM that is open writes it. */
struct sluice_llm_ask plain_ask(struct fixture *f);

/* Start a call whose end is written to `outcome` (zeroed first). */
uint64_t start_ask(struct fixture *f, const struct sluice_llm_ask *ask, struct outcome *outcome);
uint64_t start_plain(struct fixture *f, struct outcome *outcome);
void start_ping(struct fixture *f, struct outcome *outcome);
/* Run the loop until `outcome` has come; fails the test after WAIT_MS. */
void wait_outcome(struct fixture *f, const struct outcome *outcome);
void wait_ended(struct fixture *f, unsigned ended);
/* Run the loop until the condition holds. */
void wait_until(struct fixture *f, int (*condition)(struct fixture *f, void *arg), void *arg,
                const char *what);
/* Start and wait. */
void ask_once(struct fixture *f, struct outcome *outcome);

#endif
