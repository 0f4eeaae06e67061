/* SPDX-License-Identifier: Apache-2.0 */
/* One transfer of the pool: libcurl's callbacks for it, and how it ends. */
#include "adapter/curl_pool_state.h"
#include "adapter/retry_after.h"
#include <string.h>
#include <time.h>

/* How often a request may go out: see curl_pool.h. */
enum { SENDS_MAX = 2 };

/* ---- libcurl's callbacks for one transfer */

size_t sluice_curl_pool_on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct sluice_curl_handle *handle = ctx;
    struct sluice_curl_call *call = handle->call;
    struct sluice_curl_pool *pool = handle->owner;
    size_t len = size * count;
    long status = 0;
    if (call->first_byte_ns == 0) {
        call->first_byte_ns = uv_hrtime();
    }
    call->last_byte_ms = uv_now(pool->options.loop);
    if (len > call->answer_size_max - call->received) {
        call->end = SLUICE_CURL_TOO_LARGE;
        call->is_end_set = 1;
        return CURL_WRITEFUNC_ERROR;
    }
    call->received += len;
    (void)curl_easy_getinfo(handle->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->ops->on_body(call, (int32_t)status, bytes, len) != 0) {
        call->end = SLUICE_CURL_STOPPED;
        call->is_end_set = 1;
        return CURL_WRITEFUNC_ERROR;
    }
    return len;
}

/* The call has its connection: it needs no other one, so the reservations end. */
static void connected(struct sluice_curl_pool *pool, struct sluice_curl_call *call)
{
    pool->connecting -= call->is_connecting;
    call->shard->load.reserved = (uint16_t)(call->shard->load.reserved - call->is_reserved);
    call->is_connecting = 0;
    call->is_reserved = 0;
}

/* A request is about to be sent, the first time or once more. */
int sluice_curl_pool_on_send(void *ctx, char *peer, char *local, int peer_port, int local_port)
{
    struct sluice_curl_handle *handle = ctx;
    struct sluice_curl_pool *pool = handle->owner;
    (void)peer;
    (void)local;
    (void)peer_port;
    (void)local_port;
    connected(pool, handle->call);
    handle->call->sends++;
    pool->resends_total += handle->call->sends == 2;
    return handle->call->sends <= SENDS_MAX ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* ---- Ends */

const char *sluice_curl_call_content_type(const struct sluice_curl_call *call)
{
    char *type = NULL;
    (void)curl_easy_getinfo(call->handle->easy, CURLINFO_CONTENT_TYPE, &type);
    return type == NULL ? "" : type;
}

static int64_t since_ms(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns <= from_ns ? 0 : (int64_t)((to_ns - from_ns) / 1000000u);
}

static const char *header_of(CURL *easy, const char *name)
{
    struct curl_header *header = NULL;
    return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value
                                                                                   : NULL;
}

static int64_t retry_after_of(CURL *easy)
{
    struct sluice_retry_headers headers = {
        .retry_after = header_of(easy, "Retry-After"),
        .retry_after_ms = header_of(easy, "retry-after-ms"),
        .date = header_of(easy, "Date"),
        .reset_requests = header_of(easy, "x-ratelimit-reset-requests"),
        .reset_tokens = header_of(easy, "x-ratelimit-reset-tokens"),
        .remaining_requests = header_of(easy, "x-ratelimit-remaining-requests"),
        .remaining_tokens = header_of(easy, "x-ratelimit-remaining-tokens"),
    };
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return sluice_retry_after_ms(&headers, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

/* What libcurl's code means, unless we know better. */
static enum sluice_curl_end end_of(const struct sluice_curl_call *call, CURLcode code,
                                   int32_t status)
{
    if (call->is_end_set && code != CURLE_OK) {
        return (enum sluice_curl_end)call->end;
    }
    if (code != CURLE_OK && sluice_curl_memory_failures() != call->failures_before) {
        return SLUICE_CURL_NOMEM; /* whatever it says: the peer is not to blame */
    }
    switch (code) {
    case CURLE_OK:
        return SLUICE_CURL_ANSWERED;
    case CURLE_OPERATION_TIMEDOUT: /* of the whole call, or of connecting */
        return call->sends == 0 && since_ms(call->started_ns, uv_hrtime()) < call->timeout_ms
                   ? SLUICE_CURL_UNREACHED
                   : SLUICE_CURL_TIMEOUT;
    case CURLE_FILESIZE_EXCEEDED:
        return SLUICE_CURL_TOO_LARGE;
    case CURLE_OUT_OF_MEMORY:
        /* libcurl before 8.6 says so of a header line over its 100 KiB, too: an answer like that is
         * the peer's fault, and must not be asked for again for ever. */
        return call->sends == 0 ? SLUICE_CURL_NOMEM : SLUICE_CURL_CUT;
    default:
        return status != 0 ? SLUICE_CURL_CUT : SLUICE_CURL_UNREACHED;
    }
}

/* libcurl's words become part of log lines. */
static const char *clean_text(struct sluice_curl_handle *handle, CURLcode code)
{
    if (code == CURLE_OUT_OF_MEMORY) {
        return "a header that is too long, or no memory for the answer";
    }
    if (handle->error[0] == '\0') {
        return curl_easy_strerror(code);
    }
    for (char *p = handle->error; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) {
            *p = ' ';
        }
    }
    return handle->error;
}

static void finish(struct sluice_curl_pool *pool, struct sluice_curl_call *call,
                   struct sluice_curl_result *result)
{
    uint64_t now = uv_hrtime();
    result->duration_ms = since_ms(call->started_ns, now);
    result->first_byte_ms =
        call->first_byte_ns == 0 ? 0 : since_ms(call->started_ns, call->first_byte_ns);
    sluice_curl_numbers_give_back(&pool->numbers, call->slot);
    sluice_curl_pool_unlink(pool, call);
    call->ops->on_end(call, result); /* the call's memory may be gone */
}

static void leave_shard(struct sluice_curl_pool *pool, struct sluice_curl_call *call)
{
    connected(pool, call);
    pool->transfers--;
    pool->stall_watched -= call->stall_ms != 0;
    sluice_curl_shard_remove(call->shard, call->handle->easy);
}

/* A running call ended, by itself (`code`) or because we say so (is_end_set). */
static void end_running(struct sluice_curl_pool *pool, struct sluice_curl_call *call, CURLcode code)
{
    struct sluice_curl_handle *handle = call->handle;
    long status = 0;
    (void)curl_easy_getinfo(handle->easy, CURLINFO_RESPONSE_CODE, &status);
    leave_shard(pool, call);
    struct sluice_curl_result result = {
        .end = end_of(call, code, (int32_t)status),
        .is_sent = call->sends != 0,
        .http_status = (int32_t)status,
        .content_type = sluice_curl_call_content_type(call),
        .text = code == CURLE_OK ? "" : clean_text(handle, code),
        .retry_after_ms = status == 429 || status == 503 ? retry_after_of(handle->easy) : 0,
    };
    pool->answer_size = (pool->answer_size * 15 + call->received) / 16;
    call->handle = NULL;
    finish(pool, call, &result);
    sluice_curl_handle_reset(handle);
    handle->next = pool->spare;
    pool->spare = handle;
    pool->spare_count++;
}

void sluice_curl_pool_on_ended(void *ctx, CURL *easy, CURLcode code)
{
    void *private = NULL;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct sluice_curl_handle *handle = private;
    end_running(ctx, handle->call, code);
}

static const char *end_text(enum sluice_curl_end end)
{
    switch (end) {
    case SLUICE_CURL_TIMEOUT:
        return "no free connection in time";
    case SLUICE_CURL_STALLED:
        return "the answer stalled";
    case SLUICE_CURL_CANCELLED:
        return "cancelled";
    case SLUICE_CURL_NOMEM:
        return "out of memory";
    case SLUICE_CURL_UNREACHED:
        return "too many calls wait for a connection";
    default:
        return "";
    }
}

/* A call that we end, running or not. */
void sluice_curl_pool_end(struct sluice_curl_pool *pool, struct sluice_curl_call *call)
{
    enum sluice_curl_end end = (enum sluice_curl_end)call->end;
    if (call->handle != NULL) {
        const char *text = end_text(end);
        memcpy(call->handle->error, text, strlen(text) + 1);
        end_running(pool, call, CURLE_ABORTED_BY_CALLBACK);
        return;
    }
    struct sluice_curl_result result = {.end = end, .content_type = "", .text = end_text(end)};
    finish(pool, call, &result);
}
