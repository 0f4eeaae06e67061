/* SPDX-License-Identifier: Apache-2.0 */
#include "port/clock.h"
#include "run/runtime_operation.h"

#include "run/dead_letter.h"
#include "run/offload.h"
#include "sluice/names.h"
#include <stdlib.h>

#define LETTER_CHUNK_SIZE 2048u

static const struct sluice_store_done store_starved = {
    .fate = SLUICE_FATE_NO_MEMORY, .rc = SLUICE_ERR_NOMEM, .text = RUNTIME_STARVED};
static const struct sluice_publish_done publish_starved = {
    .fate = SLUICE_FATE_NO_MEMORY, .rc = SLUICE_ERR_NOMEM, .text = RUNTIME_STARVED};

static void fate_event(struct runtime *rt, enum sluice_event_kind kind, const struct inflight *m,
                       enum sluice_fate fate)
{
    struct sluice_event ev = {.kind = kind, .ticket = m->ticket};
    ev.fate = (uint8_t)fate;
    runtime_drive(rt, &ev);
}

void runtime_step_ended(struct runtime *rt, const struct inflight *m, uint32_t step,
                        enum sluice_fate fate, int64_t retry_after_ms)
{
    struct sluice_event ev = {
        .kind = SLUICE_EV_STEP,
        .ticket = m->ticket,
        .step = {.step = (uint16_t)step, .fate = (uint8_t)fate, .retry_after_ms = retry_after_ms}};
    runtime_drive(rt, &ev);
}

static void on_llm(void *ctx, const struct sluice_llm_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    uint32_t step = op->index;
    rt->tokens_prompt += done->prompt_tokens;
    rt->tokens_completion += done->completion_tokens;
    struct inflight *m = runtime_operation_end(op);
    if (m == NULL) {
        return;
    }
    enum sluice_fate fate = runtime_fate_of(done->fate, done->rc);
    if (fate == SLUICE_FATE_OK) {
        fate = host_llm_answer(m, step, done->content, done->model, done->finish_reason,
                               done->prompt_tokens, done->completion_tokens, sluice_wall_ms());
    } else {
        host_step_failed(m, step, done->rc, done->text);
    }
    SLUICE_LOG(SLUICE_LOG_DEBUG, NONE, "step.llm", "", RUNTIME_MESSAGE_FIELDS(m),
               SLUICE_F_TEXT("fate", sluice_fate_name(fate)),
               SLUICE_F_NUMBER("http_status", done->http_status),
               SLUICE_F_NUMBER("duration_ms", done->duration_ms));
    runtime_step_ended(rt, m, step, fate, done->retry_after_ms);
}

static void on_http(void *ctx, const struct sluice_http_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    uint32_t step = op->index;
    struct inflight *m = runtime_operation_end(op);
    if (m == NULL) {
        return;
    }
    enum sluice_fate fate = runtime_fate_of(done->fate, done->rc);
    if (fate == SLUICE_FATE_OK) {
        fate = host_http_answer(m, step, done->http_status, done->body, done->content_type);
    } else {
        host_step_failed(m, step, done->rc, done->text);
    }
    SLUICE_LOG(SLUICE_LOG_DEBUG, NONE, "step.http", "", RUNTIME_MESSAGE_FIELDS(m),
               SLUICE_F_TEXT("service", step < m->steps_count ? m->steps[step]->service : ""),
               SLUICE_F_TEXT("fate", sluice_fate_name(fate)),
               SLUICE_F_NUMBER("http_status", done->http_status),
               SLUICE_F_NUMBER("size", done->body.len),
               SLUICE_F_NUMBER("duration_ms", done->duration_ms));
    runtime_step_ended(rt, m, step, fate, done->retry_after_ms);
}

static void on_found(void *ctx, const struct sluice_store_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    uint32_t step = op->index;
    struct inflight *m = runtime_operation_end(op);
    if (m == NULL) {
        return;
    }
    enum sluice_fate fate = runtime_fate_of(done->fate, done->rc);
    if (done->rc == SLUICE_ERR_NOT_FOUND) {
        host_step_failed(m, step, done->rc, "no such document");
        fate = SLUICE_FATE_BAD_ANSWER; /* the store works; the handler sees NOT_FOUND */
    } else if (fate == SLUICE_FATE_OK) {
        fate = host_found(m, step, done->found);
    } else {
        host_step_failed(m, step, done->rc, done->text);
    }
    runtime_step_ended(rt, m, step, fate, 0);
}

static void stored(struct runtime *rt, struct inflight *m, const struct sluice_store_done *done)
{
    if (done->fate == SLUICE_FATE_OK) {
        SLUICE_LOG(SLUICE_LOG_INFO, STORED, "message.stored", "", RUNTIME_MESSAGE_FIELDS(m),
                   SLUICE_F_NUMBER("documents", m->docs_count));
    } else {
        inflight_blame(m, "store", "%s: %s", sluice_status_name(done->rc), done->text);
    }
    fate_event(rt, SLUICE_EV_STORED, m, runtime_fate_of(done->fate, done->rc));
}

static void on_stored(void *ctx, const struct sluice_store_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct inflight *m = runtime_operation_end(op);
    if (m != NULL) {
        stored(rt, m, done);
    }
}

static void published(struct runtime *rt, struct inflight *m, uint32_t output,
                      const struct sluice_publish_done *done)
{
    rt->outputs_duplicate += done->fate == SLUICE_FATE_OK && done->is_duplicate;
    if (done->fate == SLUICE_FATE_OK) {
        SLUICE_LOG(
            SLUICE_LOG_INFO, MAIL, "message.published", "", RUNTIME_MESSAGE_FIELDS(m),
            SLUICE_F_TEXT("output", rt->config.host->outputs[m->outputs[output].output].name),
            SLUICE_F_NUMBER("output_seq", done->sequence));
    } else {
        inflight_blame(m, "publish", "%s: %s", sluice_status_name(done->rc), done->text);
    }
    /* No connection is the server's trouble: neither the message nor the breaker is to blame. */
    enum sluice_fate fate = done->rc == SLUICE_ERR_CONNECTION
                                ? SLUICE_FATE_CANCELLED
                                : runtime_fate_of(done->fate, done->rc);
    struct sluice_event ev = {.kind = SLUICE_EV_PUBLISHED,
                              .ticket = m->ticket,
                              .published = {.output = (uint8_t)output, .fate = (uint8_t)fate}};
    runtime_drive(rt, &ev);
}

static void on_published(void *ctx, const struct sluice_publish_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    uint32_t output = op->index;
    struct inflight *m = runtime_operation_end(op);
    if (m != NULL) {
        published(rt, m, output, done);
    }
}

static void buried(struct runtime *rt, struct inflight *m, const struct sluice_publish_done *done)
{
    if (done->fate != SLUICE_FATE_OK) {
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "dead_letter.failed", done->text,
                   RUNTIME_MESSAGE_FIELDS(m));
    }
    fate_event(rt, SLUICE_EV_BURIED, m, runtime_fate_of(done->fate, done->rc));
}

static void on_buried(void *ctx, const struct sluice_publish_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct inflight *m = runtime_operation_end(op);
    if (m != NULL) {
        buried(rt, m, done);
    }
}

static struct sluice_http *http_of(const struct runtime *rt, const struct host_step *s)
{
    return rt->config.http[s->dependency - SLUICE_DEP_SERVICES];
}

static sluice_rc start_llm(struct runtime *rt, const struct inflight *m, struct host_step *s,
                           struct operation *op)
{
    struct sluice_llm_ask ask = {.request = s->body,
                                 .timeout_ms = s->timeout_ms,
                                 .correlation_id = m->correlation_id,
                                 .traceparent = m->traceparent,
                                 .idempotency_key = s->idempotency_key};
    s->call = rt->config.llm->ops->ask(rt->config.llm, &ask, on_llm, op);
    return s->call == 0 ? SLUICE_ERR_NOMEM : SLUICE_OK;
}

static sluice_rc start_http(struct runtime *rt, struct host_step *s, struct operation *op)
{
    struct sluice_http_call call = {.method = s->method,
                                    .url = s->url,
                                    .headers = s->headers,
                                    .headers_count = s->headers_count,
                                    .body = s->body,
                                    .timeout_ms = s->timeout_ms,
                                    .answer_size_max = s->answer_size_max};
    struct sluice_http *http = http_of(rt, s);
    s->call = http->ops->call(http, &call, on_http, op);
    return s->call == 0 ? SLUICE_ERR_NOMEM : SLUICE_OK;
}

static sluice_rc start(struct runtime *rt, const struct inflight *m, struct host_step *s,
                       struct operation *op)
{
    struct sluice_store *store = rt->config.store;
    switch (s->kind) {
    case STEP_LLM:
        return start_llm(rt, m, s, op);
    case STEP_HTTP:
        return start_http(rt, s, op);
    case STEP_FIND:
        return store->ops->find(store, s->collection, s->id, on_found, op);
    case STEP_OFFLOAD:
        return offload_start(rt, op);
    }
    return SLUICE_OK;
}

void runtime_call_start(struct runtime *rt, struct inflight *m, uint32_t index)
{
    struct host_step *s = m->steps[index];
    struct operation *op = runtime_operation_new(rt, m, index);
    s->call = 0;
    if (op == NULL || start(rt, m, s, op) != SLUICE_OK) {
        s->owed |= OWED_START;
        m->owed.steps = 1;
        runtime_operation_refused(rt, m, op);
    }
}

void runtime_call_cancel(struct runtime *rt, const struct inflight *m, uint32_t index)
{
    if (index >= m->steps_count) {
        return;
    }
    const struct host_step *s = m->steps[index];
    if (s->kind == STEP_LLM) {
        rt->config.llm->ops->cancel(rt->config.llm, s->call);
    } else if (s->kind == STEP_HTTP) {
        struct sluice_http *http = http_of(rt, s);
        http->ops->cancel(http, s->call);
    }
}

void runtime_call_publish(struct runtime *rt, struct inflight *m, uint32_t index)
{
    const struct staged_output *o = &m->outputs[index];
    const struct host_output *to = &rt->config.host->outputs[o->output];
    sluice_header headers[5] = {{"Nats-Msg-Id", o->message_id},
                                {SLUICE_HEADER_PROTO, o->type},
                                {"Content-Type", SLUICE_TYPE_PROTOBUF},
                                {SLUICE_HEADER_CORRELATION, m->correlation_id},
                                {"traceparent", m->traceparent}};
    struct sluice_publication publication = {.subject = to->subject,
                                             .headers = headers,
                                             .headers_count = m->traceparent == NULL ? 4 : 5,
                                             .body = o->body,
                                             .expected_stream = to->stream};
    struct sluice_publisher *p = rt->config.publisher;
    struct operation *op = runtime_operation_new(rt, m, index);
    if (op == NULL || p->ops->publish(p, &publication, on_published, op) != SLUICE_OK) {
        m->owed.outputs |= UINT64_C(1) << index;
        runtime_operation_refused(rt, m, op);
    }
}

/* The headers' memory is their own and short-lived: publishing copies, and the message's may be
 * what ran out. A letter that cannot be written whole is not written. */
void runtime_call_bury(struct runtime *rt, struct inflight *m, const struct sluice_effect *fx)
{
    struct sluice_arena letter;
    uint32_t count = 0;
    if (fx->failure == SLUICE_FAILURE_TIMEOUT) {
        host_blame_time(m);
    }
    const char *reason = sluice_failure_name((enum sluice_failure)fx->failure);
    sluice_arena_init(&letter, rt->config.allocator, LETTER_CHUNK_SIZE, 0);
    sluice_header *headers =
        dead_letter_headers(m, &letter, rt->config.consumer, reason, fx->failures, &count);
    struct sluice_publication publication = {.subject = rt->config.subject_dead,
                                             .headers = headers,
                                             .headers_count = count,
                                             .body = m->delivery->body,
                                             .expected_stream = rt->config.stream_dead};
    struct sluice_publisher *p = rt->config.publisher;
    struct operation *op = headers == NULL ? NULL : runtime_operation_new(rt, m, 0);
    if (op == NULL || p->ops->publish(p, &publication, on_buried, op) != SLUICE_OK) {
        m->owed.bury++;
        runtime_operation_refused(rt, m, op);
    }
    sluice_arena_fini(&letter);
}

void runtime_call_store(struct runtime *rt, struct inflight *m)
{
    struct sluice_store *s = rt->config.store;
    struct operation *op = runtime_operation_new(rt, m, 0);
    if (op == NULL || s->ops->put(s, m->docs, m->docs_count, on_stored, op) != SLUICE_OK) {
        m->owed.store++;
        runtime_operation_refused(rt, m, op);
    }
}

/* ---- What there was no memory for ---- */

void runtime_call_tell_step(struct runtime *rt, struct inflight *m, uint32_t step, unsigned owed)
{
    if ((owed & OWED_REPLAY) != 0) {
        runtime_step_ended(rt, m, step, (enum sluice_fate)m->steps[step]->replayed, 0);
    }
    if ((owed & OWED_START) != 0) {
        host_step_failed(m, step, SLUICE_ERR_NOMEM, RUNTIME_STARVED);
        runtime_step_ended(rt, m, step, SLUICE_FATE_NO_MEMORY, 0);
    }
    if ((owed & OWED_KEEP) != 0) {
        runtime_starved_keep(rt, m, step);
    }
}

void runtime_call_tell(struct runtime *rt, struct inflight *m)
{
    struct owed owed = m->owed;
    m->owed.load = m->owed.record = m->owed.store = m->owed.bury = 0;
    m->owed.outputs = 0;
    for (; owed.load > 0; owed.load--) {
        runtime_starved_load(rt, m);
    }
    for (; owed.record > 0; owed.record--) {
        runtime_starved_record(rt, m);
    }
    for (; owed.store > 0; owed.store--) {
        stored(rt, m, &store_starved);
    }
    for (uint32_t i = 0; owed.outputs != 0; i++, owed.outputs >>= 1) {
        if ((owed.outputs & 1) != 0) {
            published(rt, m, i, &publish_starved);
        }
    }
    for (; owed.bury > 0; owed.bury--) {
        buried(rt, m, &publish_starved);
    }
}
