/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP transfers on the libuv loop: many at once over few connections, each with its own deadline,
 * bounds and exactly one end. Only for the other curl_ files. Everything on the loop thread.
 *
 * A connection that has carried a call is kept for 30 s. When a kept connection turns out to be
 * dead after a request went out on it and before any byte came back, libcurl sends the request
 * once more on a fresh one, POST included; the server may then have seen it twice. That is allowed
 * once a call, because giving up instead would make the caller ask again all the same; it is
 * counted in resends_total. A second time ends the call. */
#ifndef SLUICE_ADAPTER_CURL_POOL_H
#define SLUICE_ADAPTER_CURL_POOL_H

#include "adapter/curl_shard.h"
#include "sluice/worker.h"

struct sluice_curl_pool;
struct sluice_curl_call;
struct sluice_curl_handle;

struct sluice_curl_options {
    uv_loop_t *loop;
    const struct sluice_allocator *allocator; /* borrowed until the loop has run after destroy */
    uint32_t transfers_max;                   /* at once; calls beyond it wait. 1…65536 */
    uint32_t queue_max;          /* calls that wait; beyond it they fail at once; 0: 65536 */
    uint32_t connecting_max;     /* calls at once that open a connection; 0: 64 */
    uint32_t connect_timeout_ms; /* name, connection and TLS together; 0: 3000 */
    const char *ca_file;         /* NULL: the system's */
    const char *user_agent;
};

/* How a transfer ended. An HTTP answer of any status is ANSWERED. */
enum sluice_curl_end {
    SLUICE_CURL_ANSWERED,
    SLUICE_CURL_CUT,       /* the answer had begun */
    SLUICE_CURL_UNREACHED, /* no answer: name, connection, TLS, reset, no slot in the queue */
    SLUICE_CURL_TIMEOUT,
    SLUICE_CURL_STALLED,   /* no byte for stall_ms after the first */
    SLUICE_CURL_TOO_LARGE, /* over answer_size_max */
    SLUICE_CURL_STOPPED,   /* by on_body */
    SLUICE_CURL_REFUSED,   /* by prepare */
    SLUICE_CURL_CANCELLED,
    SLUICE_CURL_NOMEM
};

/* Borrowed for the callback. */
struct sluice_curl_result {
    enum sluice_curl_end end;
    uint8_t is_sent;          /* the request went out, if only in part: it may have been acted on */
    int32_t http_status;      /* 0 without an answer */
    int64_t retry_after_ms;   /* 0 when the server did not say */
    int64_t duration_ms;      /* from start, waiting for a slot included */
    int64_t first_byte_ms;    /* from start to the body's first byte; 0: there was none */
    const char *content_type; /* "" when absent */
    const char *text;         /* libcurl's words, without control characters; "" when ANSWERED */
};

struct sluice_curl_call_ops {
    /* The call got its slot: set URL, method, headers and body on the handle. What they point to
     * stays until on_end. 0; anything else ends the call with REFUSED. Called at most once. */
    int (*prepare)(struct sluice_curl_call *call, CURL *easy);
    /* Bytes of the answer's body; `http_status` is known. 0 to go on. libcurl is on the stack:
     * start no call here. */
    int (*on_body)(struct sluice_curl_call *call, int32_t http_status, const char *bytes,
                   size_t len);
    /* Once, last; the call's memory is the caller's again. May start and cancel calls, but not
     * destroy the pool. */
    void (*on_end)(struct sluice_curl_call *call, const struct sluice_curl_result *result);
};

/* Embedded in the caller's own struct; zeroed, then filled up to the line. */
struct sluice_curl_call {
    const struct sluice_curl_call_ops *ops;
    uint32_t timeout_ms; /* total, waiting for a slot included; at least 1 */
    uint32_t stall_ms;   /* longest silence after the first byte of the body; 0: no such limit */
    size_t answer_size_max;
    /* ---- the pool's own */
    struct sluice_curl_call *previous, *next; /* in one of the pool's lists */
    struct sluice_curl_handle *handle;        /* while it runs */
    struct sluice_curl_shard *shard;
    uint64_t started_ns, first_byte_ns;
    uint64_t deadline_ms, last_byte_ms; /* of uv_now() */
    size_t received;
    uint32_t slot;            /* in the table of numbers */
    uint32_t failures_before; /* of libcurl's allocations, when it began to run */
    uint8_t list;
    uint8_t end;         /* enum sluice_curl_end, once it is known before libcurl says it */
    uint8_t is_end_set;  /* `end` counts */
    uint8_t is_reserved; /* counted in the shard's load.reserved */
    uint8_t is_connecting;
    uint8_t sends; /* how often the request went out */
};

struct sluice_curl_stats {
    uint32_t running, queued, connections, shards;
    uint64_t calls_total, connects_total, resends_total;
};

/* ERR_CONFIG names what is out of range; ERR_NOMEM; ERR_INTERNAL. */
SLUICE_MUST_CHECK
sluice_rc sluice_curl_pool_create(const struct sluice_curl_options *options,
                                  struct sluice_curl_pool **out, struct sluice_err *err);
/* Begin a call, or queue it. Its on_end follows, never from inside. Returns its number; 0 without
 * memory for one: then the call is the caller's still, and no on_end follows. */
uint64_t sluice_curl_pool_start(struct sluice_curl_pool *pool, struct sluice_curl_call *call);
/* on_end follows soon, not from inside. Unknown numbers are ignored. */
void sluice_curl_pool_cancel(struct sluice_curl_pool *pool, uint64_t number);
/* Within on_body: the answer's content type, "" when absent. */
const char *sluice_curl_call_content_type(const struct sluice_curl_call *call);
struct sluice_curl_stats sluice_curl_pool_stats(const struct sluice_curl_pool *pool);
/* Calls whose on_end is still to come. */
uint32_t sluice_curl_pool_open_count(const struct sluice_curl_pool *pool);
/* Ends all calls with CANCELLED (their on_end is called before it returns), closes all connections.
 * The memory goes when the loop has run its close callbacks. Accepts NULL. */
void sluice_curl_pool_destroy(struct sluice_curl_pool *pool);

#endif
