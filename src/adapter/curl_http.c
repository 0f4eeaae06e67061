/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_http.h"

#include "adapter/call_verdict.h"
#include "adapter/curl_request.h"
#include <string.h>
#include <strings.h>

enum {
    TIMEOUT_MS = 30000, /* where a call gives none (SVC-3) */
    CONNECTIONS_MAX = 100,
    LINES_SIZE_MAX = 64 * 1024
};

#define ANSWER_SIZE_MAX ((size_t)16 * 1024 * 1024)

struct http {
    struct sluice_http port; /* first */
    struct sluice_curl_pool *pool;
    const struct sluice_allocator *allocator;
    size_t answer_size_max;
    char *ca_file;
    struct sluice_curl_spares spares;
};

struct call {
    struct sluice_curl_call base; /* first */
    struct http *http;
    struct sluice_http_call request; /* its texts and bytes are borrowed */
    sluice_http_done_fn *done;
    void *ctx;
    CURLU *url;
    struct sluice_growbuf lines; /* headers, or why the call was refused */
    struct curl_slist *nodes;
    struct sluice_growbuf body;
    sluice_rc refused_rc;
};

static int refuse(struct call *call, sluice_rc rc, const char *text)
{
    call->refused_rc = rc;
    sluice_growbuf_clear(&call->lines);
    sluice_growbuf_text(&call->lines, text);
    return -1;
}

/* ---- Sending */

static int write_headers(struct call *call)
{
    const struct sluice_http_call *request = &call->request;
    uint32_t count = request->headers_count;
    if (count > SLUICE_HTTP_HEADERS_MAX) {
        return refuse(call, SLUICE_ERR_VALIDATION, "http request: more than 64 headers");
    }
    int has_type = 0;
    sluice_growbuf_add(&call->lines, "Expect:", sizeof "Expect:");
    for (uint32_t i = 0; i < count; i++) {
        const sluice_header *header = &request->headers[i];
        if (header->name == NULL || header->value == NULL) {
            return refuse(call, SLUICE_ERR_VALIDATION, "http request: a header without a value");
        }
        sluice_rc rc = sluice_curl_header_add(&call->lines, header->name, header->value);
        if (rc != SLUICE_OK) {
            return refuse(call, rc,
                          "http request: a header is too long, its name is no token or "
                          "its value holds control characters");
        }
        has_type |= strcasecmp(header->name, "Content-Type") == 0;
    }
    if (!has_type) { /* else libcurl calls each body a form */
        sluice_growbuf_add(&call->lines, "Content-Type:", sizeof "Content-Type:");
        count++;
    }
    call->nodes = sluice_mem_alloc(call->http->allocator, count + 1u, sizeof *call->nodes);
    if (call->nodes == NULL || call->lines.rc != SLUICE_OK) {
        return refuse(call, SLUICE_ERR_NOMEM, "http request: out of memory");
    }
    (void)sluice_curl_headers_link(&call->lines, call->nodes, count + 1u, NULL);
    return 0;
}

static int is_method(const char *method)
{
    size_t len = method == NULL ? 0 : strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return len >= 1 && len <= 16 && method[len] == '\0';
}

static int prepare(struct sluice_curl_call *base, CURL *easy)
{
    struct call *call = (struct call *)base;
    const struct sluice_http_call *request = &call->request;
    struct sluice_err err = {0};
    if (!is_method(request->method)) {
        return refuse(call, SLUICE_ERR_VALIDATION, "http request: method is not [A-Z]{1,16}");
    }
    sluice_rc rc = sluice_curl_url_parse(request->url, NULL, "http request: URL",
                                         SLUICE_ERR_VALIDATION, &call->url, &err);
    if (rc != SLUICE_OK) {
        return refuse(call, rc, err.text);
    }
    if (write_headers(call) != 0) {
        return -1;
    }
    (void)curl_easy_setopt(easy, CURLOPT_CURLU, call->url);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->nodes);
    if (request->body.len != 0 || strcmp(request->method, "POST") == 0) {
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                               request->body.len == 0 ? "" : request->body.data);
    } else if (strcmp(request->method, "HEAD") == 0) {
        (void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return 0;
    }
    rc = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK
             ? SLUICE_OK
             : SLUICE_ERR_NOMEM;
    return rc == SLUICE_OK ? 0 : refuse(call, rc, "http request: out of memory");
}

/* ---- Receiving */

static int on_body(struct sluice_curl_call *base, int32_t http_status, const char *bytes,
                   size_t len)
{
    struct call *call = (struct call *)base;
    (void)http_status;
    sluice_growbuf_add(&call->body, bytes, len);
    return call->body.rc != SLUICE_OK;
}

/* ---- Ending */

static void judge_status(int32_t status, struct sluice_call_verdict *verdict)
{
    enum sluice_fate fate = SLUICE_FATE_PERMANENT;
    sluice_rc rc = SLUICE_ERR_CLIENT;
    if (status == 429) {
        fate = SLUICE_FATE_RATE_LIMITED;
        rc = SLUICE_ERR_RATE_LIMITED;
    } else if (status == 404 || status == 410) {
        rc = SLUICE_ERR_NOT_FOUND;
    } else if (status == 401 || status == 403) {
        fate = SLUICE_FATE_RETRY;
        rc = SLUICE_ERR_AUTH;
    } else if (status == 408) {
        fate = SLUICE_FATE_RETRY;
        rc = SLUICE_ERR_TIMEOUT;
    } else if (status >= 502 && status <= 504) {
        fate = SLUICE_FATE_UNAVAILABLE;
        rc = SLUICE_ERR_UNAVAILABLE;
    } else if (status >= 500) {
        fate = SLUICE_FATE_RETRY;
    }
    sluice_call_rule(verdict, fate, rc, "service request failed: HTTP %d", (int)status);
}

static void judge_end(const struct call *call, const struct sluice_curl_result *result,
                      struct sluice_call_verdict *verdict)
{
    size_t max = call->base.answer_size_max;
    enum sluice_fate lost = result->is_sent ? SLUICE_FATE_RETRY : SLUICE_FATE_UNREACHABLE;
    switch (result->end) {
    case SLUICE_CURL_ANSWERED:
        sluice_call_rule(verdict, SLUICE_FATE_OK, SLUICE_OK, "%s", "");
        break;
    case SLUICE_CURL_REFUSED:
        sluice_call_rule(
            verdict,
            call->refused_rc == SLUICE_ERR_NOMEM ? SLUICE_FATE_RETRY : SLUICE_FATE_PERMANENT,
            call->refused_rc, "%s",
            call->lines.data == NULL ? "http request: out of memory" : call->lines.data);
        break;
    case SLUICE_CURL_CANCELLED:
        sluice_call_rule(verdict, SLUICE_FATE_CANCELLED, SLUICE_ERR_CANCELLED,
                         "service request cancelled");
        break;
    case SLUICE_CURL_TIMEOUT:
    case SLUICE_CURL_STALLED:
        sluice_call_rule(verdict, lost, SLUICE_ERR_TIMEOUT, "service request failed: timeout: %s",
                         result->text);
        break;
    case SLUICE_CURL_TOO_LARGE:
        sluice_call_rule(verdict, SLUICE_FATE_PERMANENT, SLUICE_ERR_TOO_LARGE,
                         "service request failed: the answer is over %zu bytes", max);
        break;
    case SLUICE_CURL_STOPPED: /* on_body refuses for want of memory only */
    case SLUICE_CURL_NOMEM:
        sluice_call_rule(verdict, SLUICE_FATE_RETRY, SLUICE_ERR_NOMEM,
                         "service request failed: out of memory");
        break;
    case SLUICE_CURL_CUT:
    case SLUICE_CURL_UNREACHED:
        sluice_call_rule(verdict, lost, SLUICE_ERR_UNAVAILABLE, "service request failed: %s",
                         result->text);
        break;
    }
}

static void call_free(struct call *call)
{
    struct http *http = call->http;
    curl_url_cleanup(call->url);
    sluice_mem_free(http->allocator, call->nodes);
    sluice_growbuf_fini(&call->lines);
    sluice_growbuf_fini(&call->body);
    sluice_curl_spares_give_back(&http->spares, call);
}

static void on_end(struct sluice_curl_call *base, const struct sluice_curl_result *result)
{
    struct call *call = (struct call *)base;
    struct sluice_call_verdict verdict;
    int32_t status = result->http_status;
    if (status != 0 && (status < 200 || status > 299) && result->end != SLUICE_CURL_CANCELLED) {
        judge_status(status, &verdict);
    } else {
        judge_end(call, result, &verdict);
    }
    const struct sluice_http_done done = {
        .fate = verdict.fate,
        .rc = verdict.rc,
        .http_status = status,
        .retry_after_ms = result->retry_after_ms,
        .body = {call->body.data, call->body.len},
        .content_type = result->content_type,
        .text = verdict.text,
        .duration_ms = result->duration_ms,
    };
    call->done(call->ctx, &done);
    call_free(call);
}

static const struct sluice_curl_call_ops call_ops = {prepare, on_body, on_end};

/* ---- The port */

static uint64_t http_call(struct sluice_http *port, const struct sluice_http_call *request,
                          sluice_http_done_fn *done, void *ctx)
{
    struct http *http = (struct http *)port;
    struct call *call = sluice_curl_spares_take(&http->spares);
    if (call == NULL) {
        return 0;
    }
    size_t max = request->answer_size_max == 0 ? http->answer_size_max : request->answer_size_max;
    call->base.ops = &call_ops;
    call->base.timeout_ms = request->timeout_ms == 0 ? TIMEOUT_MS : request->timeout_ms;
    call->base.answer_size_max = max;
    call->http = http;
    call->request = *request;
    call->done = done;
    call->ctx = ctx;
    sluice_growbuf_init(&call->lines, http->allocator, LINES_SIZE_MAX);
    sluice_growbuf_init(&call->body, http->allocator, max);
    uint64_t number = sluice_curl_pool_start(http->pool, &call->base);
    if (number == 0) {
        call_free(call);
    }
    return number;
}

static void http_cancel(struct sluice_http *port, uint64_t number)
{
    sluice_curl_pool_cancel(((struct http *)port)->pool, number);
}

static void http_destroy(struct sluice_http *port)
{
    struct http *http = (struct http *)port;
    if (http == NULL) {
        return;
    }
    sluice_curl_pool_destroy(http->pool);
    sluice_curl_spares_fini(&http->spares);
    sluice_mem_free(http->allocator, http->ca_file);
    sluice_mem_free(http->allocator, http);
}

static const struct sluice_http_ops http_ops = {http_call, http_cancel, http_destroy};

sluice_rc sluice_curl_http_create(const struct sluice_curl_http_options *options,
                                  struct sluice_http **out, struct sluice_err *err)
{
    const struct sluice_allocator *a = options->allocator;
    struct http *http = sluice_mem_alloc(a, 1, sizeof *http);
    if (http == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "http: out of memory");
    }
    http->port.ops = &http_ops;
    http->allocator = a;
    http->answer_size_max =
        options->answer_size_max == 0 ? ANSWER_SIZE_MAX : options->answer_size_max;
    sluice_rc rc = SLUICE_ERR_NOMEM;
    sluice_curl_spares_init(&http->spares, a, sizeof(struct call));
    if (sluice_curl_text_copy(a, options->ca_file, &http->ca_file) != 0) {
        (void)sluice_err_set(err, rc, "http: out of memory");
        goto fail;
    }
    const struct sluice_curl_options pool_options = {
        .loop = options->loop,
        .allocator = a,
        .transfers_max = options->connections_max == 0 ? CONNECTIONS_MAX : options->connections_max,
        .connect_timeout_ms = options->connect_timeout_ms,
        .ca_file = http->ca_file,
        .user_agent = "sluice/" SLUICE_VERSION,
    };
    if ((rc = sluice_curl_pool_create(&pool_options, &http->pool, err)) != SLUICE_OK) {
        goto fail;
    }
    *out = &http->port;
    return SLUICE_OK;
fail:
    http_destroy(&http->port);
    return rc;
}
