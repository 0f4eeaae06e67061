/* SPDX-License-Identifier: Apache-2.0 */
/* Running a worker's handler: the host's table of functions, memoised steps, staging. Loop thread
 * only. */
#ifndef SLUICE_RUN_HOST_H
#define SLUICE_RUN_HOST_H

#include "codec/prompt.h"
#include "port/llm.h"
#include "run/inflight.h"
#include "run/loader.h"
#include <pthread.h>

#define HOST_OUTPUTS_MAX  16u
#define HOST_PROMPTS_MAX  64u
#define HOST_SERVICES_MAX 13u
#define HOST_SCHEMAS_MAX  16u

struct host_output {
    const char *name, *subject, *stream;
};

struct host_prompt {
    char name[SLUICE_NAME_MAX + 1];
    struct sluice_prompt *prompt;
};

struct host_service {
    const char *name, *base_url;
    uint32_t timeout_ms;
    size_t answer_size_max;
    const sluice_header *headers; /* of the configuration, credentials among them */
    uint32_t headers_count;
};

/* What stays the same for all messages. */
struct host_schema {
    const struct ProtobufCMessageDescriptor *type;
    const char *text;
};

struct worker_host {
    const struct sluice_plugin *plugin;
    void *self;
    const sluice_host *table;
    const struct sluice_engine *engine;
    const struct sluice_allocator *allocator;
    struct host_output outputs[HOST_OUTPUTS_MAX];
    uint32_t outputs_count;
    struct host_prompt prompts[HOST_PROMPTS_MAX];
    uint32_t prompts_count;
    struct host_service services[HOST_SERVICES_MAX];
    uint32_t services_count;
    enum sluice_doc_format doc_format;
    struct sluice_llm *llm; /* writes the requests */
    const char *model;
    double temperature; /* negative: not sent */
    uint32_t max_tokens, llm_timeout_ms;
    size_t payload_max;                           /* of an output with its headers; 0: not known */
    struct host_schema schemas[HOST_SCHEMAS_MAX]; /* of answers that were asked for */
    uint32_t schemas_count;
    struct sluice_arena schema_texts;
    struct sluice_arena scratch; /* of the run that is going on */
    size_t arena_waiting,
        arena_more; /* what messages use until they wait, and beyond it: learned */
    void (*log)(void *ctx, const struct inflight *m, int32_t level, const char *event,
                const char *text);
    void *log_ctx;
    /* Where the loop is, for the watchdog and the crash report: read by other threads. */
    _Atomic uint64_t running_sequence; /* 0: no handler runs */
    _Atomic(const char *)
        running_step; /* the host function it called last; "start" before the first */
    _Atomic pthread_t running_thread; /* of the handler that ran last */
};

/* Free prompts and scratch memory. */
void host_fini(struct worker_host *host);

/* The table that turns begin with. */
const sluice_host *host_table(void);

/* A verdict and what it points to; valid until the next run of any message. */
struct host_verdict {
    struct sluice_ev_verdict verdict;
    struct sluice_step_request requests[SLUICE_STEPS_MAX];
};

/* Run the handler once for a message. */
void host_run(struct worker_host *host, struct inflight *m, struct host_verdict *out);

/* Take the answer of an LLM call: checked against the asked-for type, kept in the message. Returns
 * the fate for the engine (BAD_ANSWER when the answer is not what was asked for). */
enum sluice_fate host_llm_answer(struct inflight *m, uint32_t step, sluice_bytes content,
                                 const char *model, const char *finish_reason,
                                 uint32_t prompt_tokens, uint32_t completion_tokens,
                                 int64_t created_unix_ms);
/* The same from bytes that were journaled by an earlier delivery; MISS when they cannot be used. */
enum sluice_fate host_replay(struct inflight *m, uint32_t step, sluice_bytes journaled);
/* The answer of an HTTP call. */
enum sluice_fate host_http_answer(struct inflight *m, uint32_t step, int32_t status,
                                  sluice_bytes body, const char *content_type);
/* A document that was found. */
enum sluice_fate host_found(struct inflight *m, uint32_t step, sluice_bytes document);
/* A step failed. */
void host_step_failed(struct inflight *m, uint32_t step, sluice_rc rc, const char *text);

/* The attempt's time is over while nothing has failed: the log shall say what it was about. */
void host_blame_time(struct inflight *m);

#endif
