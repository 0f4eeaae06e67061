/* SPDX-License-Identifier: Apache-2.0 */
/* Calling an HTTP service. */
#ifndef SLUICE_PORT_HTTP_H
#define SLUICE_PORT_HTTP_H

#include "core/engine.h"
#include "core/err.h"

/* One attempt; borrowed until the callback. */
struct sluice_http_call {
    const char *method;
    const char *url; /* complete */
    const sluice_header
        *headers; /* all of them, Content-Type included; checked for CR and LF here */
    uint32_t headers_count;
    sluice_bytes body;
    uint32_t timeout_ms;
    size_t answer_size_max;
};

struct sluice_http_done {
    enum sluice_fate fate; /* OK: 2xx. UNREACHABLE: not sent. UNAVAILABLE: 502…504. RETRY: lost or
                              timed out when sent, other 5xx, 408, 401/403. RATE_LIMITED: 429.
                              PERMANENT: other statuses, body over the limit */
    sluice_rc rc;          /* SVC-7 */
    int32_t http_status;
    int64_t retry_after_ms;
    sluice_bytes body;
    const char *content_type; /* "" when absent */
    const char *text;
    int64_t duration_ms;
};

typedef void sluice_http_done_fn(void *ctx, const struct sluice_http_done *done);

struct sluice_http;

struct sluice_http_ops {
    uint64_t (*call)(struct sluice_http *http, const struct sluice_http_call *call,
                     sluice_http_done_fn *done, void *ctx);
    void (*cancel)(struct sluice_http *http, uint64_t call); /* all rules as in llm.h */
    void (*destroy)(struct sluice_http *http);
};

struct sluice_http {
    const struct sluice_http_ops *ops;
};

#endif
