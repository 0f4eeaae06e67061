/* SPDX-License-Identifier: Apache-2.0 */
/* The LLM by HTTP: any OpenAI-compatible endpoint. Implements port/llm.h on the libuv loop.
 *
 * The process must ignore SIGPIPE, and raise RLIMIT_NOFILE above connections_max. Each request
 * carries Authorization (when there is a key), X-Correlation-ID, traceparent, Idempotency-Key and
 * User-Agent; certificates are always verified. See curl_pool.h for connections. */
#ifndef SLUICE_ADAPTER_CURL_LLM_H
#define SLUICE_ADAPTER_CURL_LLM_H

#include "adapter/curl_pool.h"
#include "port/llm.h"

/* Zero members mean the default. Texts are copied. */
struct sluice_curl_llm_options {
    uv_loop_t *loop;
    const struct sluice_allocator *allocator; /* borrowed until the loop has run after destroy */
    const char *base_url; /* such as https://api.openai.com/v1; a query is kept */
    const char *api_key;  /* NULL or "": none is sent */
    /* Further ones, such as OpenAI-Organization or api-key. Authorization and Content-Type take the
     * place of ours; those that each call sets for itself are refused, and names given twice. */
    const sluice_header *headers;
    uint32_t headers_count;
    int is_streamed;
    int is_schema_plain;          /* no "strict" beside the schema */
    const char *max_tokens_field; /* "max_completion_tokens"; Ollama only knows "max_tokens" */
    size_t answer_size_max;       /* 4 MiB; of the whole answer as it comes */
    size_t request_size_max;      /* 16 MiB */
    uint32_t connections_max;     /* 256; 1…65536. Calls beyond it wait */
    uint32_t connect_timeout_ms;  /* 3000 */
    uint32_t stall_ms;            /* 30000; longest silence inside a stream */
    const char *ca_file;          /* PEM; instead of the system's */
};

/* ERR_CONFIG names what is wrong with an option (never the key); ERR_NOMEM; ERR_INTERNAL. */
SLUICE_MUST_CHECK
sluice_rc sluice_curl_llm_create(const struct sluice_curl_llm_options *options,
                                 struct sluice_llm **out, struct sluice_err *err);
/* Of an LLM made here, for metrics and tests. */
struct sluice_curl_stats sluice_curl_llm_stats(const struct sluice_llm *llm);
/* Calls and pings whose callback is still to come. */
uint32_t sluice_curl_llm_open_count(const struct sluice_llm *llm);

#endif
