/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a language model. */
#ifndef SLUICE_PORT_LLM_H
#define SLUICE_PORT_LLM_H

#include "core/engine.h"
#include "core/err.h"

/* What is asked. */
struct sluice_llm_question {
    const char *model;
    const char *system; /* NULL: none */
    const char *user;
    const char *schema_name; /* [A-Za-z0-9_-]{1,64} */
    const char *schema;      /* JSON Schema of the answer as text; NULL: free text */
    double temperature;      /* negative: not sent */
    uint32_t max_tokens;     /* 0: not sent */
};

/* One attempt. Everything is borrowed until the callback. */
struct sluice_llm_ask {
    sluice_bytes request;        /* as write() made it */
    uint32_t timeout_ms;         /* total */
    const char *correlation_id;  /* X-Correlation-ID */
    const char *traceparent;     /* NULL: none */
    const char *idempotency_key; /* Idempotency-Key; the same on every delivery of a message */
};

/* How it ended; texts borrowed for the callback. */
struct sluice_llm_done {
    enum sluice_fate fate; /* OK: HTTP 200, well-formed, finish reason "stop". BAD_ANSWER: refusal,
                              cut, filtered, malformed, empty. UNREACHABLE: not sent. UNAVAILABLE:
                              502…504, 529. RETRY: lost or timed out when sent, other 5xx, 401/403
                              (rc ERR_AUTH). PERMANENT: other 4xx. RATE_LIMITED: 429 */
    sluice_rc rc;
    int32_t http_status;    /* 0 without an answer */
    int64_t retry_after_ms; /* RATE_LIMITED and 503: what the server asked for, >= 0 */
    sluice_bytes content;   /* OK: the message's text; not yet checked against the schema */
    const char *model, *finish_reason; /* "" when unknown */
    uint32_t prompt_tokens, completion_tokens;
    const char *text; /* reason when not OK: no key, no body, no URL credentials */
    int64_t duration_ms, first_byte_ms;
};

typedef void sluice_llm_done_fn(void *ctx, const struct sluice_llm_done *done);

struct sluice_llm;

struct sluice_llm_ops {
    /* A question as the LLM takes it: equal requests ask the same. The bytes are the LLM's and stay
     * until the next are written. Loop thread. ERR_VALIDATION names the member that is missing, no
     * valid UTF-8 or out of range; ERR_TOO_LARGE; ERR_NOMEM. */
    sluice_rc (*write)(struct sluice_llm *llm, const struct sluice_llm_question *question,
                       sluice_bytes *request, struct sluice_err *err);
    /* Loop thread, never blocks. Exactly one callback on the loop thread, never from inside.
     * Returns a number for cancel, unique among open calls; 0 without memory: no callback then. */
    uint64_t (*ask)(struct sluice_llm *llm, const struct sluice_llm_ask *ask,
                    sluice_llm_done_fn *done, void *ctx);
    /* End a call soon: its callback comes with CANCELLED (or with what it ended with meanwhile).
     * Unknown numbers are ignored. Never calls back from inside. */
    void (*cancel)(struct sluice_llm *llm, uint64_t call);
    /* GET {base}/models: does the endpoint answer? OK for any HTTP answer below 500; ERR_AUTH is
     * reported in rc. ERR_NOMEM as 0 above. */
    sluice_rc (*ping)(struct sluice_llm *llm, sluice_llm_done_fn *done, void *ctx);
    /* Ends open calls with CANCELLED; their callbacks are made before it returns. Accepts NULL. */
    void (*destroy)(struct sluice_llm *llm);
};

struct sluice_llm {
    const struct sluice_llm_ops *ops;
};

#endif
