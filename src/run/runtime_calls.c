/* SPDX-License-Identifier: Apache-2.0 */
#include "run/runtime_state.h"

#include "run/dead_letter.h"
#include "sluice/names.h"
#include <stdio.h>
#include <stdlib.h>

#define LETTER_CHUNK_SIZE 2048u
#define JOURNAL_LINE_MS   60000

/* What is said of a call for which there was no memory. */
static const char starved[] = "out of memory";
static const struct sluice_store_done store_starved = {
    .fate = SLUICE_FATE_NO_MEMORY, .rc = SLUICE_ERR_NOMEM, .text = starved};
static const struct sluice_publish_done publish_starved = {
    .fate = SLUICE_FATE_NO_MEMORY, .rc = SLUICE_ERR_NOMEM, .text = starved};
static const struct sluice_journal_done journal_starved = {
    .fate = SLUICE_FATE_NO_MEMORY, .rc = SLUICE_ERR_NOMEM, .text = starved};

/* NULL without memory. */
static struct operation *operation_new(struct runtime *rt, struct inflight *m, uint32_t index)
{
    struct operation *op = rt->free_operations;
    if (op != NULL) {
        rt->free_operations = op->next;
    } else if ((op = malloc(sizeof *op)) == NULL) {
        return NULL;
    }
    op->rt = rt;
    op->m = m;
    op->index = index;
    m->operations++;
    return op;
}

void runtime_inflight_free_if_done(struct runtime *rt, struct inflight *m)
{
    if (m->is_released && m->operations == 0) {
        inflight_close(m, rt->source);
        free(m);
    }
}

static void operation_give_back(struct operation *op)
{
    struct runtime *rt = op->rt;
    op->m->operations--;
    op->next = rt->free_operations;
    rt->free_operations = op;
}

/* There was no memory for the call: no answer will come, so the engine hears of it in the message's
 * turn. `op` may be NULL. */
static void operation_refused(struct runtime *rt, struct inflight *m, struct operation *op)
{
    if (op != NULL) {
        operation_give_back(op);
    }
    runtime_owe(rt, m);
}

/* The message of an ended operation; NULL when nobody waits for it any more. */
static struct inflight *operation_end(struct operation *op)
{
    struct runtime *rt = op->rt;
    struct inflight *m = op->m;
    operation_give_back(op);
    if (m->is_released) {
        runtime_inflight_free_if_done(rt, m);
        return NULL;
    }
    return m;
}

/* Whatever an adapter makes of it: without memory here nobody else is to blame. */
static enum sluice_fate fate_of(enum sluice_fate fate, sluice_rc rc)
{
    return rc == SLUICE_ERR_NOMEM ? SLUICE_FATE_NO_MEMORY : fate;
}

static void fate_event(struct runtime *rt, enum sluice_event_kind kind, const struct inflight *m,
                       enum sluice_fate fate)
{
    struct sluice_event ev = {.kind = kind, .ticket = m->ticket};
    ev.fate = (uint8_t)fate;
    runtime_drive(rt, &ev);
}

static void step_event(struct runtime *rt, const struct inflight *m, uint32_t step,
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
    struct inflight *m = operation_end(op);
    if (m == NULL) {
        return;
    }
    enum sluice_fate fate = fate_of(done->fate, done->rc);
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
    step_event(rt, m, step, fate, done->retry_after_ms);
}

static void on_http(void *ctx, const struct sluice_http_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    uint32_t step = op->index;
    struct inflight *m = operation_end(op);
    if (m == NULL) {
        return;
    }
    enum sluice_fate fate = fate_of(done->fate, done->rc);
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
    step_event(rt, m, step, fate, done->retry_after_ms);
}

static void on_found(void *ctx, const struct sluice_store_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    uint32_t step = op->index;
    struct inflight *m = operation_end(op);
    if (m == NULL) {
        return;
    }
    enum sluice_fate fate = fate_of(done->fate, done->rc);
    if (done->rc == SLUICE_ERR_NOT_FOUND) {
        host_step_failed(m, step, done->rc, "no such document");
        fate = SLUICE_FATE_BAD_ANSWER; /* the store works; the handler sees NOT_FOUND */
    } else if (fate == SLUICE_FATE_OK) {
        fate = host_found(m, step, done->found);
    } else {
        host_step_failed(m, step, done->rc, done->text);
    }
    step_event(rt, m, step, fate, 0);
}

static void offload_run(uv_work_t *work)
{
    struct operation *op = work->data;
    const struct host_step *s = op->m->steps[op->index];
    op->rc = s->offload(s->body, &op->out, &op->out_len);
}

static void on_offloaded(uv_work_t *work, int status)
{
    struct operation *op = work->data;
    struct runtime *rt = op->rt;
    uint32_t step = op->index;
    void *out = op->out;
    size_t len = op->out_len;
    sluice_rc rc = status != 0 ? SLUICE_ERR_CANCELLED : op->rc;
    struct inflight *m = operation_end(op);
    if (m != NULL) {
        struct host_step *s = m->steps[step];
        if (rc == SLUICE_OK) {
            s->offloaded = (sluice_bytes){sluice_arena_copy(&m->arena, out, len), len};
            rc = s->offloaded.data == NULL ? SLUICE_ERR_NOMEM : SLUICE_OK;
        }
        if (rc != SLUICE_OK) {
            host_step_failed(m, step, rc, "the offloaded function failed");
        }
        step_event(rt, m, step,
                   rc == SLUICE_OK ? SLUICE_FATE_OK : fate_of(SLUICE_FATE_BAD_ANSWER, rc), 0);
    }
    free(out);
}

static void stored(struct runtime *rt, struct inflight *m, const struct sluice_store_done *done)
{
    if (done->fate == SLUICE_FATE_OK) {
        SLUICE_LOG(SLUICE_LOG_INFO, STORED, "message.stored", "", RUNTIME_MESSAGE_FIELDS(m),
                   SLUICE_F_NUMBER("documents", m->docs_count));
    } else {
        inflight_blame(m, "store", "%s: %s", sluice_status_name(done->rc), done->text);
    }
    fate_event(rt, SLUICE_EV_STORED, m, fate_of(done->fate, done->rc));
}

static void on_stored(void *ctx, const struct sluice_store_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct inflight *m = operation_end(op);
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
    enum sluice_fate fate =
        done->rc == SLUICE_ERR_CONNECTION ? SLUICE_FATE_CANCELLED : fate_of(done->fate, done->rc);
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
    struct inflight *m = operation_end(op);
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
    fate_event(rt, SLUICE_EV_BURIED, m, fate_of(done->fate, done->rc));
}

static void on_buried(void *ctx, const struct sluice_publish_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct inflight *m = operation_end(op);
    if (m != NULL) {
        buried(rt, m, done);
    }
}

/* Without its journal the worker goes on, slower, and pays again for what it would have found
 * there: said at once, then once a minute, not for each message. Called whether or not the message
 * still waits, as most do not after the journal's time-out. */
static void journal_note(struct runtime *rt, const struct sluice_journal_done *done)
{
    if (done->fate == SLUICE_FATE_OK) {
        if (rt->journal_failures != 0) {
            SLUICE_LOG(SLUICE_LOG_INFO, DONE, "journal.available", "",
                       SLUICE_F_NUMBER("failures", rt->journal_failures));
            rt->journal_failures = rt->journal_untold = 0;
            rt->journal_line_ms = 0;
        }
        return;
    }
    rt->journal_failures++;
    rt->journal_untold++;
    int64_t now = sluice_mono_ms();
    if (now >= rt->journal_line_ms) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "journal.unavailable", done->text,
                   SLUICE_F_NUMBER("failures", rt->journal_untold));
        rt->journal_untold = 0;
        rt->journal_line_ms = now + JOURNAL_LINE_MS;
    }
}

/* An answer of the journal may come when its message has gone, since nobody waits for a journal
 * that is away. The engine hears of it all the same, and so knows when the journal is back. */
static void kept(struct runtime *rt, struct sluice_ticket ticket, uint32_t step,
                 const struct sluice_journal_done *done)
{
    journal_note(rt, done);
    enum sluice_kept result = done->fate != SLUICE_FATE_OK ? SLUICE_KEPT_FAILED
                              : done->exists               ? SLUICE_KEPT_LOST_RACE
                                                           : SLUICE_KEPT_OK;
    struct sluice_event ev = {.kind = SLUICE_EV_KEPT,
                              .ticket = ticket,
                              .kept = {.step = (uint16_t)step, .result = (uint8_t)result}};
    runtime_drive(rt, &ev);
}

static void on_kept(void *ctx, const struct sluice_journal_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct sluice_ticket ticket = op->m->ticket;
    uint32_t step = op->index;
    (void)operation_end(op);
    kept(rt, ticket, step, done);
}

static void recorded(struct runtime *rt, struct sluice_ticket ticket,
                     const struct sluice_journal_done *done)
{
    journal_note(rt, done);
    struct sluice_event ev = {.kind = SLUICE_EV_RECORDED, .ticket = ticket};
    ev.fate = (uint8_t)fate_of(done->fate, done->rc);
    runtime_drive(rt, &ev);
}

static void on_recorded(void *ctx, const struct sluice_journal_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct sluice_ticket ticket = op->m->ticket;
    (void)operation_end(op);
    recorded(rt, ticket, done);
}

/* Nothing was read, or nobody waits for it any more. */
static void not_loaded(struct runtime *rt, struct sluice_ticket ticket, enum sluice_fate fate)
{
    struct sluice_event ev = {
        .kind = SLUICE_EV_LOADED, .ticket = ticket, .loaded = {.fate = (uint8_t)fate}};
    runtime_drive(rt, &ev);
}

static void on_loaded(void *ctx, const struct sluice_journal_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct sluice_ticket ticket = op->m->ticket;
    journal_note(rt, done);
    struct inflight *m = operation_end(op);
    if (m == NULL || done->fate != SLUICE_FATE_OK) {
        not_loaded(rt, ticket, fate_of(done->fate, done->rc));
        return;
    }
    uint32_t count =
        done->answers_count < SLUICE_JOURNALED_MAX ? done->answers_count : SLUICE_JOURNALED_MAX;
    struct sluice_journaled ids[SLUICE_JOURNALED_MAX];
    m->journaled = sluice_arena_alloc(&m->arena, count, sizeof *m->journaled);
    m->journaled_count = m->journaled == NULL ? 0 : count;
    for (uint32_t i = 0; i < m->journaled_count; i++) {
        sluice_bytes bytes = done->answers[i].bytes;
        ids[i] = done->answers[i].id;
        m->journaled[i] =
            (sluice_bytes){sluice_arena_copy(&m->arena, bytes.data, bytes.len), bytes.len};
    }
    if (m->arena.is_exhausted) {
        m->journaled_count = 0;
        not_loaded(rt, ticket, SLUICE_FATE_NO_MEMORY);
        return;
    }
    struct sluice_event ev = {.kind = SLUICE_EV_LOADED,
                              .ticket = ticket,
                              .loaded = {.fate = SLUICE_FATE_OK,
                                         .answers_count = m->journaled_count,
                                         .record = &done->record.numbers,
                                         .answers = ids}};
    if (done->record.text != NULL && m->reason[0] == '\0') {
        inflight_reason(m, done->record.text); /* of the last delivery */
    }
    runtime_drive(rt, &ev);
}

static struct sluice_http *http_of(const struct runtime *rt, const struct host_step *s)
{
    return rt->config.http[s->dependency - SLUICE_DEP_SERVICES];
}

static sluice_rc start_llm(struct runtime *rt, const struct inflight *m, struct host_step *s,
                           struct operation *op)
{
    struct sluice_llm_ask ask = {.model = s->model,
                                 .system = s->system,
                                 .user = s->user,
                                 .schema_name = "answer",
                                 .schema = s->schema,
                                 .temperature = s->temperature,
                                 .max_tokens = s->max_tokens,
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
        op->work.data = op;
        op->out = NULL;
        op->out_len = 0;
        (void)uv_queue_work(rt->config.loop, &op->work, offload_run, on_offloaded);
        break;
    }
    return SLUICE_OK;
}

void runtime_call_start(struct runtime *rt, struct inflight *m, uint32_t index)
{
    struct host_step *s = m->steps[index];
    struct operation *op = operation_new(rt, m, index);
    s->call = 0;
    if (op == NULL || start(rt, m, s, op) != SLUICE_OK) {
        s->owed |= OWED_START;
        m->owed.steps = 1;
        operation_refused(rt, m, op);
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
    struct operation *op = operation_new(rt, m, index);
    if (op == NULL || p->ops->publish(p, &publication, on_published, op) != SLUICE_OK) {
        m->owed.outputs |= UINT64_C(1) << index;
        operation_refused(rt, m, op);
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
    struct operation *op = headers == NULL ? NULL : operation_new(rt, m, 0);
    if (op == NULL || p->ops->publish(p, &publication, on_buried, op) != SLUICE_OK) {
        m->owed.bury++;
        operation_refused(rt, m, op);
    }
    sluice_arena_fini(&letter);
}

void runtime_call_record(struct runtime *rt, struct inflight *m,
                         const struct sluice_record *numbers)
{
    struct sluice_journal_record record = {.numbers = *numbers,
                                           .failure = "",
                                           .step = m->failed_step == NULL ? "" : m->failed_step,
                                           .text = m->reason};
    struct sluice_journal *j = rt->config.journal;
    struct operation *op = operation_new(rt, m, 0);
    if (op == NULL ||
        j->ops->record_put(j, &m->journal_key, &record, on_recorded, op) != SLUICE_OK) {
        m->owed.record++;
        operation_refused(rt, m, op);
    }
}

void runtime_call_keep(struct runtime *rt, struct inflight *m, const struct sluice_effect *fx)
{
    uint32_t count = 0;
    const struct sluice_step_status *status = sluice_engine_steps(rt->engine, m->ticket, &count);
    struct host_step *s = m->steps[fx->step];
    struct sluice_journaled id = {.hash = s->hash,
                                  .occurrence = fx->step < count ? status[fx->step].occurrence : 0,
                                  .epoch = fx->epoch};
    struct sluice_journal *j = rt->config.journal;
    struct operation *op = s->journal_bytes.len == 0 ? NULL : operation_new(rt, m, fx->step);
    if (op == NULL ||
        j->ops->answer_put(j, &m->journal_key, &id, s->journal_bytes, on_kept, op) != SLUICE_OK) {
        s->owed |= OWED_KEEP;
        m->owed.steps = 1;
        operation_refused(rt, m, op);
    }
}

void runtime_call_store(struct runtime *rt, struct inflight *m)
{
    struct sluice_store *s = rt->config.store;
    struct operation *op = operation_new(rt, m, 0);
    if (op == NULL || s->ops->put(s, m->docs, m->docs_count, on_stored, op) != SLUICE_OK) {
        m->owed.store++;
        operation_refused(rt, m, op);
    }
}

void runtime_call_load(struct runtime *rt, struct inflight *m)
{
    struct sluice_journal *j = rt->config.journal;
    m->steps_count = 0;
    struct operation *op = operation_new(rt, m, 0);
    if (op == NULL || j->ops->load(j, &m->journal_key, on_loaded, op) != SLUICE_OK) {
        m->owed.load++;
        operation_refused(rt, m, op);
    }
}

/* ---- What there was no memory for ---- */

void runtime_call_tell_step(struct runtime *rt, struct inflight *m, uint32_t step, unsigned owed)
{
    if ((owed & OWED_REPLAY) != 0) {
        step_event(rt, m, step, (enum sluice_fate)m->steps[step]->replayed, 0);
    }
    if ((owed & OWED_START) != 0) {
        host_step_failed(m, step, SLUICE_ERR_NOMEM, starved);
        step_event(rt, m, step, SLUICE_FATE_NO_MEMORY, 0);
    }
    if ((owed & OWED_KEEP) != 0) {
        kept(rt, m->ticket, step, &journal_starved);
    }
}

void runtime_call_tell(struct runtime *rt, struct inflight *m)
{
    struct owed owed = m->owed;
    m->owed.load = m->owed.record = m->owed.store = m->owed.bury = 0;
    m->owed.outputs = 0;
    for (; owed.load > 0; owed.load--) {
        inflight_blame(m, "journal", "%s", starved);
        journal_note(rt, &journal_starved);
        not_loaded(rt, m->ticket, SLUICE_FATE_NO_MEMORY);
    }
    for (; owed.record > 0; owed.record--) {
        recorded(rt, m->ticket, &journal_starved);
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
