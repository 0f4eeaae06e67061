/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_llm.h"

#include "adapter/curl_llm_headers.h"
#include "adapter/curl_request.h"
#include "adapter/openai.h"
#include "adapter/sse.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    TIMEOUT_MS = 60000, /* where a call gives none: there is no call without one */
    PING_TIMEOUT_MS = 5000,
    PING_SIZE_MAX = 4 * 1024 * 1024, /* a gateway's list of models may be long */
    ERROR_BODY_SIZE_MAX = 16 * 1024, /* what is kept of an answer that is no success */
    LINES_SIZE_MAX = 64 * 1024,      /* of a call's headers */
    CORRELATION_LEN_MAX = 128,       /* SVC-37 */
    CONNECTIONS_MAX = 256,
    STALL_MS = 30000,
    LINGER_MS = 500, /* for the end of a connection behind [DONE] */
    CALL_HEADERS = 3
};

#define ANSWER_SIZE_MAX  ((size_t)4 * 1024 * 1024)
#define REQUEST_SIZE_MAX ((size_t)16 * 1024 * 1024)
#define EXPECTED_MAX     ((size_t)16 * 1024)
#define WRITING_MAX      ((size_t)64 * 1024) /* is kept for the next request */

struct llm {
    struct sluice_llm port; /* first */
    struct sluice_curl_llm_options options;
    struct sluice_openai_quirks quirks;
    struct sluice_curl_pool *pool;
    CURLU *chat_url, *models_url;
    struct sluice_curl_llm_headers headers;
    char *ca_file, *max_tokens_field; /* copies; NULL: none */
    struct sluice_curl_spares spares;
    struct sluice_growbuf writing;  /* the request that was written last */
    size_t headers_len, answer_len; /* of the last ones: the next will be about as long */
};

/* A streamed answer being read. */
struct stream {
    struct sluice_sse sse;
    struct sluice_openai_answer answer;
};

struct call {
    struct sluice_curl_call base; /* first */
    struct llm *llm;
    struct sluice_llm_ask ask; /* its texts are borrowed */
    sluice_llm_done_fn *done;
    void *ctx;
    struct sluice_growbuf lines; /* headers of this call; or why it was refused */
    struct sluice_growbuf body;  /* of an answer that is no stream */
    struct curl_slist nodes[CALL_HEADERS];
    struct stream *stream; /* NULL unless the answer is one */
    sluice_rc refused_rc;
    uint8_t is_ping, is_body_begun;
};

/* ---- Sending */

static void refuse(struct call *call, sluice_rc rc, const char *text)
{
    call->refused_rc = rc;
    sluice_growbuf_clear(&call->lines);
    sluice_growbuf_text(&call->lines, text);
}

/* Headers of this call. -1 and refused when one is not acceptable. */
static int write_headers(struct call *call)
{
    const struct sluice_llm_ask *ask = &call->ask;
    const char *const headers[CALL_HEADERS][2] = {{"X-Correlation-ID", ask->correlation_id},
                                                  {"traceparent", ask->traceparent},
                                                  {"Idempotency-Key", ask->idempotency_key}};
    uint32_t count = 0;
    for (size_t i = 0; i < CALL_HEADERS; i++) {
        const char *value = headers[i][1];
        if (value == NULL || value[0] == '\0') {
            continue;
        }
        sluice_rc rc = i == 0 && strlen(value) > CORRELATION_LEN_MAX
                           ? SLUICE_ERR_VALIDATION
                           : sluice_curl_header_add(&call->lines, headers[i][0], value);
        if (rc != SLUICE_OK) {
            char text[128];
            (void)snprintf(text, sizeof text,
                           "llm request: %s is too long or holds control "
                           "characters",
                           headers[i][0]);
            refuse(call, rc, rc == SLUICE_ERR_NOMEM ? "llm request: out of memory" : text);
            return -1;
        }
        count++;
    }
    call->llm->headers_len = call->lines.len;
    struct curl_slist *common = call->llm->headers.nodes;
    (void)sluice_curl_headers_link(&call->lines, call->nodes, count, common);
    return (int)count;
}

static int prepare(struct sluice_curl_call *base, CURL *easy)
{
    struct call *call = (struct call *)base;
    struct llm *llm = call->llm;
    int count = write_headers(call);
    if (count < 0) {
        return -1;
    }
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, count == 0 ? llm->headers.nodes : call->nodes);
    if (call->is_ping) {
        return curl_easy_setopt(easy, CURLOPT_CURLU, llm->models_url) != CURLE_OK;
    }
    (void)curl_easy_setopt(easy, CURLOPT_CURLU, llm->chat_url);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->ask.request.len);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->ask.request.data);
    return 0;
}

/* ---- Receiving */

static sluice_rc on_event(void *ctx, const char *type, sluice_bytes data)
{
    struct call *call = ctx;
    struct sluice_openai_answer *answer = &call->stream->answer;
    (void)type;
    sluice_rc rc = sluice_openai_answer_chunk(answer, data);
    if (answer->is_done && call->base.stall_ms != 0) {
        call->base.stall_ms = LINGER_MS;
    }
    /* nothing that follows could mend these */
    return rc == SLUICE_OK && (answer->has_error || answer->is_malformed) ? SLUICE_ERR_LLM : rc;
}

/* The first bytes of an answer that is a success: is it a stream? The server decides. */
static int begin_body(struct call *call)
{
    static const char type[] = "text/event-stream";
    const struct llm *llm = call->llm;
    call->is_body_begun = 1;
    if (strncasecmp(sluice_curl_call_content_type(&call->base), type, sizeof type - 1) != 0) {
        return 0;
    }
    call->stream = sluice_mem_alloc(llm->options.allocator, 1, sizeof *call->stream);
    if (call->stream == NULL) {
        return -1;
    }
    size_t max = llm->options.answer_size_max;
    const struct sluice_sse_limits limits = {max, max, max};
    sluice_sse_init(&call->stream->sse, llm->options.allocator, &limits, on_event, call);
    sluice_openai_answer_init(&call->stream->answer, llm->options.allocator, max,
                              llm->headers.secrets.data);
    return 0;
}

static int on_body(struct sluice_curl_call *base, int32_t http_status, const char *bytes,
                   size_t len)
{
    struct call *call = (struct call *)base;
    if (call->is_ping) {
        return 0;
    }
    if (http_status != 200) {
        size_t room = ERROR_BODY_SIZE_MAX - call->body.len;
        sluice_growbuf_add(&call->body, bytes, len < room ? len : room);
        return 0;
    }
    if (!call->is_body_begun && begin_body(call) != 0) {
        call->body.rc = SLUICE_ERR_NOMEM;
        return -1;
    }
    if (call->stream != NULL) {
        return sluice_sse_feed(&call->stream->sse, bytes, len) != SLUICE_OK;
    }
    sluice_growbuf_add(&call->body, bytes, len);
    return call->body.rc != SLUICE_OK;
}

/* ---- Ending */

/* The answer had status 200. */
static void judge_success(struct call *call, const struct sluice_curl_result *result,
                          struct sluice_openai_answer *answer, struct sluice_call_verdict *verdict)
{
    /* not cut: it came to its end, or we stopped reading because it was of no use */
    int is_cut = result->end != SLUICE_CURL_ANSWERED && result->end != SLUICE_CURL_STOPPED;
    if (call->stream != NULL && !answer->is_done && answer->finish_reason[0] == '\0' &&
        result->end == SLUICE_CURL_ANSWERED) {
        is_cut = 1; /* a connection that closes is how HTTP/1 servers die, too */
    } else if (call->stream == NULL && !is_cut) {
        call->llm->answer_len = call->body.len;
        (void)sluice_openai_answer_read(answer, (sluice_bytes){call->body.data, call->body.len});
    }
    sluice_openai_judge_answer(answer, is_cut, verdict);
}

/* The call ended without a usable status, or with 200. */
static void judge_end(struct call *call, const struct sluice_curl_result *result,
                      struct sluice_openai_answer *answer, struct sluice_call_verdict *verdict)
{
    const char *what = call->is_ping ? "models" : "chat completion";
    enum sluice_fate lost = result->is_sent ? SLUICE_FATE_RETRY : SLUICE_FATE_UNREACHABLE;
    int is_done = call->stream != NULL && answer->is_done;
    size_t max = call->base.answer_size_max;
    switch (result->end) {
    case SLUICE_CURL_REFUSED:
        sluice_call_rule(
            verdict,
            call->refused_rc == SLUICE_ERR_NOMEM ? SLUICE_FATE_RETRY : SLUICE_FATE_PERMANENT,
            call->refused_rc, "%s",
            call->lines.len == 0 ? "llm request: out of memory" : call->lines.data);
        break;
    case SLUICE_CURL_CANCELLED:
        sluice_call_rule(verdict, SLUICE_FATE_CANCELLED, SLUICE_ERR_CANCELLED, "%s: cancelled",
                         what);
        break;
    case SLUICE_CURL_NOMEM:
        sluice_call_rule(verdict, SLUICE_FATE_RETRY, SLUICE_ERR_NOMEM, "%s: out of memory", what);
        break;
    case SLUICE_CURL_UNREACHED:
        sluice_call_rule(verdict, lost, SLUICE_ERR_UNAVAILABLE, "%s: no answer: %s", what,
                         result->text);
        break;
    case SLUICE_CURL_TIMEOUT:
    case SLUICE_CURL_STALLED:
        if (!is_done) {
            sluice_call_rule(verdict, lost, SLUICE_ERR_TIMEOUT, "%s: timeout: %s", what,
                             result->text);
            break;
        }
        judge_success(call, result, answer, verdict);
        break;
    default:
        if (result->end == SLUICE_CURL_TOO_LARGE ||
            (call->stream != NULL && call->stream->sse.rc == SLUICE_ERR_TOO_LARGE)) {
            sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                             "%s: the answer is over %zu bytes", what, max);
        } else if (call->body.rc == SLUICE_ERR_NOMEM ||
                   (call->stream != NULL && call->stream->sse.rc == SLUICE_ERR_NOMEM)) {
            sluice_call_rule(verdict, SLUICE_FATE_RETRY, SLUICE_ERR_NOMEM, "%s: out of memory",
                             what);
        } else {
            judge_success(call, result, answer, verdict);
        }
    }
}

/* Any answer below 500 shows that the endpoint is there. */
static void judge_ping(int32_t status, struct sluice_call_verdict *verdict)
{
    if (status >= 500) {
        sluice_call_rule(verdict, SLUICE_FATE_RETRY, SLUICE_ERR_UNAVAILABLE, "models: HTTP %d",
                         (int)status);
    } else if (status == 401 || status == 403) {
        sluice_call_rule(verdict, SLUICE_FATE_OK, SLUICE_ERR_AUTH, "models: HTTP %d", (int)status);
    } else {
        sluice_call_rule(verdict, SLUICE_FATE_OK, SLUICE_OK, "%s", "");
    }
}

static void call_free(struct call *call)
{
    struct llm *llm = call->llm;
    sluice_growbuf_fini(&call->lines);
    sluice_growbuf_fini(&call->body);
    if (call->stream != NULL) {
        sluice_sse_fini(&call->stream->sse);
        sluice_openai_answer_fini(&call->stream->answer);
        sluice_mem_free(llm->options.allocator, call->stream);
    }
    sluice_curl_spares_give_back(&llm->spares, call);
}

static void on_end(struct sluice_curl_call *base, const struct sluice_curl_result *result)
{
    struct call *call = (struct call *)base;
    struct llm *llm = call->llm;
    struct sluice_call_verdict verdict;
    struct sluice_openai_answer complete;
    struct sluice_openai_answer *answer = call->stream != NULL ? &call->stream->answer : &complete;
    sluice_openai_answer_init(&complete, llm->options.allocator, llm->options.answer_size_max,
                              llm->headers.secrets.data);
    int is_ours = result->end == SLUICE_CURL_CANCELLED || result->end == SLUICE_CURL_NOMEM;
    if (call->is_ping && result->http_status != 0 && !is_ours) {
        judge_ping(result->http_status, &verdict);
    } else if (result->http_status != 0 && result->http_status != 200 && !is_ours) {
        sluice_openai_judge_status(result->http_status,
                                   (sluice_bytes){call->body.data, call->body.len},
                                   llm->headers.secrets.data, &verdict);
    } else {
        judge_end(call, result, answer, &verdict);
    }
    sluice_curl_scrub(verdict.text, llm->headers.secrets.data);
    const struct sluice_llm_done done = {
        .fate = verdict.fate,
        .rc = verdict.rc,
        .http_status = result->http_status,
        .retry_after_ms = result->retry_after_ms,
        .content = {answer->content.data, verdict.fate == SLUICE_FATE_OK ? answer->content.len : 0},
        .model = answer->model,
        .finish_reason = answer->finish_reason,
        .prompt_tokens = answer->prompt_tokens,
        .completion_tokens = answer->completion_tokens,
        .text = verdict.text,
        .duration_ms = result->duration_ms,
        .first_byte_ms = result->first_byte_ms,
    };
    call->done(call->ctx, &done);
    sluice_openai_answer_fini(&complete);
    call_free(call);
}

static const struct sluice_curl_call_ops call_ops = {prepare, on_body, on_end};

/* ---- The port */

/* A little more than the last was. A single long one must not make a thousand waiting ones large.
 */
static size_t expected_size(size_t last_len)
{
    return last_len < EXPECTED_MAX ? last_len + last_len / 16 : 0;
}

static struct call *call_create(struct llm *llm, sluice_llm_done_fn *done, void *ctx)
{
    struct call *call = sluice_curl_spares_take(&llm->spares);
    if (call == NULL) {
        return NULL;
    }
    const struct sluice_allocator *a = llm->options.allocator;
    call->base.ops = &call_ops;
    call->llm = llm;
    call->done = done;
    call->ctx = ctx;
    sluice_growbuf_init(&call->lines, a, LINES_SIZE_MAX);
    sluice_growbuf_init(&call->body, a, llm->options.answer_size_max);
    call->lines.expected = expected_size(llm->headers_len);
    call->body.expected = expected_size(llm->answer_len);
    return call;
}

static uint64_t call_start(struct call *call)
{
    uint64_t number = sluice_curl_pool_start(call->llm->pool, &call->base);
    if (number == 0) {
        call_free(call);
    }
    return number;
}

static sluice_rc llm_write(struct sluice_llm *port, const struct sluice_llm_question *question,
                           sluice_bytes *request, struct sluice_err *err)
{
    struct llm *llm = (struct llm *)port;
    if (llm->writing.size > WRITING_MAX) {
        sluice_growbuf_fini(&llm->writing);
    }
    sluice_growbuf_clear(&llm->writing);
    sluice_rc rc = sluice_openai_request(&llm->writing, question, &llm->quirks, err);
    if (rc == SLUICE_OK) {
        *request = (sluice_bytes){llm->writing.data, llm->writing.len};
    }
    return rc;
}

static uint64_t llm_ask(struct sluice_llm *port, const struct sluice_llm_ask *ask,
                        sluice_llm_done_fn *done, void *ctx)
{
    struct llm *llm = (struct llm *)port;
    struct call *call = call_create(llm, done, ctx);
    if (call == NULL) {
        return 0;
    }
    call->ask = *ask;
    call->base.timeout_ms = ask->timeout_ms == 0 ? TIMEOUT_MS : ask->timeout_ms;
    call->base.stall_ms = llm->quirks.is_streamed ? llm->options.stall_ms : 0;
    call->base.answer_size_max = llm->options.answer_size_max;
    return call_start(call);
}

static void llm_cancel(struct sluice_llm *port, uint64_t number)
{
    sluice_curl_pool_cancel(((struct llm *)port)->pool, number);
}

static sluice_rc llm_ping(struct sluice_llm *port, sluice_llm_done_fn *done, void *ctx)
{
    struct call *call = call_create((struct llm *)port, done, ctx);
    if (call == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    call->is_ping = 1;
    call->base.timeout_ms = PING_TIMEOUT_MS;
    call->base.answer_size_max = PING_SIZE_MAX;
    return call_start(call) == 0 ? SLUICE_ERR_NOMEM : SLUICE_OK;
}

static void llm_destroy(struct sluice_llm *port)
{
    struct llm *llm = (struct llm *)port;
    if (llm == NULL) {
        return;
    }
    const struct sluice_allocator *a = llm->options.allocator;
    sluice_curl_pool_destroy(llm->pool);
    curl_url_cleanup(llm->chat_url);
    curl_url_cleanup(llm->models_url);
    sluice_curl_spares_fini(&llm->spares);
    sluice_growbuf_fini(&llm->writing);
    sluice_curl_llm_headers_fini(&llm->headers, a);
    sluice_mem_free(a, llm->ca_file);
    sluice_mem_free(a, llm->max_tokens_field);
    sluice_mem_free(a, llm);
}

static const struct sluice_llm_ops llm_ops = {llm_write, llm_ask, llm_cancel, llm_ping, llm_destroy};

struct sluice_curl_stats sluice_curl_llm_stats(const struct sluice_llm *port)
{
    return sluice_curl_pool_stats(((const struct llm *)port)->pool);
}

uint32_t sluice_curl_llm_open_count(const struct sluice_llm *port)
{
    return sluice_curl_pool_open_count(((const struct llm *)port)->pool);
}

/* ---- Creation */

static sluice_rc create_pool(struct llm *llm, struct sluice_err *err)
{
    const struct sluice_curl_options options = {
        .loop = llm->options.loop,
        .allocator = llm->options.allocator,
        .transfers_max = llm->options.connections_max,
        .connect_timeout_ms = llm->options.connect_timeout_ms,
        .ca_file = llm->ca_file,
        .user_agent = "sluice/" SLUICE_VERSION,
    };
    return sluice_curl_pool_create(&options, &llm->pool, err);
}

static void set_defaults(struct llm *llm, const struct sluice_curl_llm_options *o)
{
    llm->port.ops = &llm_ops;
    llm->options = *o;
    struct sluice_curl_llm_options *mine = &llm->options;
    mine->answer_size_max = o->answer_size_max == 0 ? ANSWER_SIZE_MAX : o->answer_size_max;
    mine->request_size_max = o->request_size_max == 0 ? REQUEST_SIZE_MAX : o->request_size_max;
    mine->connections_max = o->connections_max == 0 ? CONNECTIONS_MAX : o->connections_max;
    mine->stall_ms = o->stall_ms == 0 ? STALL_MS : o->stall_ms;
}

sluice_rc sluice_curl_llm_create(const struct sluice_curl_llm_options *options,
                                 struct sluice_llm **out, struct sluice_err *err)
{
    const struct sluice_allocator *a = options->allocator;
    struct llm *llm = sluice_mem_alloc(a, 1, sizeof *llm);
    if (llm == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "llm: out of memory");
    }
    set_defaults(llm, options);
    sluice_rc rc;
    sluice_curl_spares_init(&llm->spares, a, sizeof(struct call));
    sluice_growbuf_init(&llm->writing, a, llm->options.request_size_max);
    if (sluice_curl_text_copy(a, options->ca_file, &llm->ca_file) != 0 ||
        sluice_curl_text_copy(a, options->max_tokens_field, &llm->max_tokens_field) != 0) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "llm: out of memory");
        goto fail;
    }
    llm->quirks = (struct sluice_openai_quirks){.max_tokens_field = llm->max_tokens_field,
                                                .is_streamed = options->is_streamed != 0,
                                                .is_schema_plain = options->is_schema_plain != 0};
    static const char what[] = "llm: base URL";
    if ((rc = sluice_curl_url_parse(options->base_url, "/chat/completions", what, SLUICE_ERR_CONFIG,
                                    &llm->chat_url, err)) != SLUICE_OK ||
        (rc = sluice_curl_url_parse(options->base_url, "/models", what, SLUICE_ERR_CONFIG,
                                    &llm->models_url, err)) != SLUICE_OK ||
        (rc = sluice_curl_llm_headers_make(options, &llm->headers, err)) != SLUICE_OK ||
        (rc = create_pool(llm, err)) != SLUICE_OK) {
        goto fail;
    }
    *out = &llm->port;
    return SLUICE_OK;
fail:
    llm_destroy(&llm->port);
    return rc;
}
