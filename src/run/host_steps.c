/* SPDX-License-Identifier: Apache-2.0 */
/* Memoised steps, and asking the LLM. */
#include "run/turn.h"

#include "codec/fixed.h"
#include "codec/hash.h"
#include "codec/schema.h"
#include <string.h>

/* ---- Steps ---- */

static int steps_reserve(struct inflight *m)
{
    if (m->steps_count < m->steps_capacity) {
        return 1;
    }
    uint32_t capacity = m->steps_capacity == 0 ? 4 : m->steps_capacity * 2;
    struct host_step **steps = sluice_arena_alloc(&m->arena, capacity, sizeof *steps);
    if (steps == NULL) {
        return 0;
    }
    if (m->steps_count > 0) {
        memcpy(steps, m->steps, m->steps_count * sizeof *steps);
    }
    m->steps = steps;
    m->steps_capacity = capacity;
    return 1;
}

/* The n-th step of the run: the one known from an earlier run, checked, or NULL for a new one.
 * `fault` says why not. */
static struct host_step *step_known(struct turn *t, const struct sluice_hash *hash,
                                    sluice_rc *fault)
{
    *fault = SLUICE_OK;
    if (t->steps_seen >= t->m->steps_count) {
        return NULL;
    }
    struct host_step *step = t->m->steps[t->steps_seen];
    if (step->hash.high != hash->high || step->hash.low != hash->low) {
        *fault = turn_mistake(t, SLUICE_ERR_NONDETERMINISTIC, "not deterministic",
                              "this run asked for another step than the run before");
        return NULL;
    }
    return step;
}

/* The same on every delivery of this message, and no other's: two messages may ask the same. */
void turn_idempotency_key(const struct turn *t, struct host_step *step)
{
    const struct sluice_journal_key *d = &t->m->journal_key;
    char numbers[96];
    struct sluice_hasher h;
    struct sluice_hash hash;
    struct sluice_fixed text = sluice_fixed_in(numbers, sizeof numbers);
    sluice_fixed_uint64(&text, d->sequence);
    sluice_fixed_text(&text, ":");
    sluice_fixed_int64(&text, d->stored_unix_ns);
    sluice_fixed_text(&text, ":");
    sluice_fixed_uint64(&text, t->steps_seen);
    sluice_hash_begin(&h);
    sluice_hash_text(&h, t->host->plugin->worker.name);
    sluice_hash_text(&h, d->stream);
    sluice_hash_text(&h, numbers);
    sluice_hash_bytes(&h, (sluice_bytes){&step->hash, sizeof step->hash});
    sluice_hash_end(&h, &hash);
    sluice_hash_hex(&hash, step->idempotency_key);
}

/* Remember a new step; returns its index or a negative code. */
static int32_t step_new(struct turn *t, const struct host_step *like)
{
    struct inflight *m = t->m;
    if (m->steps_count >= SLUICE_STEPS_MAX) {
        (void)turn_mistake(t, SLUICE_ERR_TOO_LARGE, "steps", "more than 256 in one message");
        return SLUICE_ERR_TOO_LARGE;
    }
    struct host_step *step = sluice_arena_alloc(&m->arena, 1, sizeof *step);
    if (step == NULL || !steps_reserve(m)) {
        return turn_out_of_memory(t);
    }
    *step = *like;
    turn_idempotency_key(t, step);
    m->steps[m->steps_count] = step;
    t->steps_seen = m->steps_count + 1;
    return (int32_t)m->steps_count++;
}

static enum sluice_step_state step_state(const struct turn *t, uint32_t index)
{
    uint32_t count = 0;
    const struct sluice_step_status *status =
        sluice_engine_steps(t->host->engine, t->m->ticket, &count);
    return index < count ? (enum sluice_step_state)status[index].state : SLUICE_STEP_PARKED;
}

static sluice_rc suspend_for(struct turn *t, uint32_t index)
{
    t->awaited[index / 64] |= UINT64_C(1) << (index % 64);
    t->is_suspended = 1;
    return SLUICE_SUSPEND;
}

/* Has the step ended well? SUSPEND while it has not ended. */
static sluice_rc step_await(struct turn *t, int32_t index)
{
    if (t->is_suspended) {
        return SLUICE_SUSPEND;
    }
    if (index < 0) {
        return index;
    }
    if ((uint32_t)index >= t->m->steps_count) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "await", "of a step that was never started");
    }
    switch (step_state(t, (uint32_t)index)) {
    case SLUICE_STEP_OK:
        return SLUICE_OK;
    case SLUICE_STEP_FAILED: {
        const struct host_step *step = t->m->steps[index];
        t->failed_step = (int16_t)index;
        t->failed_rc = step->rc == SLUICE_OK ? SLUICE_ERR_CANCELLED : step->rc;
        return t->failed_rc;
    }
    default:
        return suspend_for(t, (uint32_t)index);
    }
}

/* ---- LLM ---- */

static const struct host_prompt *prompt_find(const struct worker_host *host, const char *name)
{
    for (uint32_t i = 0; i < host->prompts_count; i++) {
        if (strcmp(host->prompts[i].name, name) == 0) {
            return &host->prompts[i];
        }
    }
    return NULL;
}

/* Fill the texts of the question. A rendered prompt is scratch. */
static sluice_rc llm_texts(struct turn *t, const sluice_llm_request *r,
                           struct sluice_llm_question *q)
{
    struct worker_host *host = t->host;
    q->model = r->model != NULL ? r->model : host->model;
    q->temperature = r->temperature == 0.0 ? host->temperature
                     : r->temperature < 0  ? 0.0
                                           : r->temperature;
    q->max_tokens = r->max_tokens != 0 ? r->max_tokens : host->max_tokens;
    q->system = r->system;
    q->user = r->user;
    if (r->prompt != NULL) {
        const struct host_prompt *prompt = prompt_find(host, r->prompt);
        if (prompt == NULL) {
            return turn_mistake(t, SLUICE_ERR_CONFIG, "no such prompt", r->prompt);
        }
        struct sluice_err err = {.rc = SLUICE_OK};
        struct sluice_prompt_text text;
        sluice_rc rc = sluice_prompt_render(prompt->prompt, r->vars, r->more_vars,
                                            r->more_vars_count, &host->scratch, &text, &err);
        if (rc != SLUICE_OK) {
            return rc == SLUICE_ERR_NOMEM ? turn_out_of_memory(t)
                                          : turn_mistake(t, rc, r->prompt, err.text);
        }
        q->system = text.system;
        q->user = text.user;
    }
    if (q->user == NULL) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "llm", "neither a prompt nor a user text");
    }
    if (q->model == NULL || q->model[0] == '\0') {
        return turn_mistake(t, SLUICE_ERR_CONFIG, "llm", "no model: set LLM_MODEL");
    }
    return SLUICE_OK;
}

static const char *schema_build(struct turn *t, const struct ProtobufCMessageDescriptor *type,
                                struct sluice_arena *arena)
{
    struct sluice_err err = {.rc = SLUICE_OK};
    const char *text = NULL;
    sluice_rc rc = sluice_schema_build(type, arena, &text, &err);
    if (rc != SLUICE_OK) {
        (void)turn_mistake(t, rc, "answer type", err.text);
        return NULL;
    }
    return text;
}

/* The schema of an answer, made once a type: it lives as long as the host, that of a type too many
 * as long as the run. NULL and a fault when it cannot be made. */
static const char *schema_of(struct turn *t, const struct ProtobufCMessageDescriptor *type)
{
    struct worker_host *host = t->host;
    for (uint32_t i = 0; i < host->schemas_count; i++) {
        if (host->schemas[i].type == type) {
            return host->schemas[i].text;
        }
    }
    if (type == NULL) {
        return NULL;
    }
    if (host->schemas_count == HOST_SCHEMAS_MAX) {
        return schema_build(t, type, &host->scratch);
    }
    if (host->schema_texts.allocator == NULL) {
        sluice_arena_init(&host->schema_texts, host->allocator, 0, 0);
    }
    const char *text = schema_build(t, type, &host->schema_texts);
    host->schema_texts.is_exhausted = 0; /* the next message may find memory */
    if (text != NULL) {
        host->schemas[host->schemas_count++] = (struct host_schema){type, text};
    }
    return text;
}

/* The request, which is all of the question that is kept: the message waits with it, and a later
 * run is compared with it. One that cannot be written is the step's failure, not yet the message's:
 * the handler may ask for less. */
static sluice_rc llm_write(struct turn *t, const struct sluice_llm_question *q,
                           sluice_bytes *request)
{
    struct sluice_err err = {.rc = SLUICE_OK};
    struct sluice_llm *llm = t->host->llm;
    sluice_rc rc = llm->ops->write(llm, q, request, &err);
    if (rc == SLUICE_ERR_NOMEM) {
        return turn_out_of_memory(t);
    }
    if (rc != SLUICE_OK) {
        inflight_blame(t->m, "llm", "%s: %s", sluice_status_name(rc), err.text);
    }
    return rc;
}

/* Is it what the run before asked at this place? Cheaper than a hash, and the usual case. */
static int is_known_llm(const struct turn *t, sluice_bytes request)
{
    if (t->steps_seen >= t->m->steps_count) {
        return 0;
    }
    const struct host_step *known = t->m->steps[t->steps_seen];
    return known->kind == STEP_LLM && known->body.len == request.len &&
           memcmp(known->body.data, request.data, request.len) == 0;
}

static void llm_hash(const struct sluice_llm_question *q, struct sluice_hash *hash)
{
    struct sluice_hasher h;
    sluice_hash_begin(&h);
    char numbers[96];
    struct sluice_fixed text = sluice_fixed_in(numbers, sizeof numbers);
    sluice_fixed_text(&text, "llm ");
    sluice_fixed_uint64(&text, q->max_tokens);
    sluice_fixed_text(&text, " ");
    sluice_fixed_millionths(&text, q->temperature);
    sluice_hash_text(&h, numbers);
    sluice_hash_text(&h, q->model);
    sluice_hash_text(&h, q->system == NULL ? "" : q->system);
    sluice_hash_text(&h, q->user);
    sluice_hash_text(&h, q->schema == NULL ? "" : q->schema);
    sluice_hash_end(&h, hash);
}

sluice_step turn_llm_start(sluice_turn *base, const sluice_llm_request *given, size_t size)
{
    struct turn *t = turn_enter(base, "llm");
    if (t == NULL) {
        return (sluice_step){SLUICE_ERR_UNSUPPORTED};
    }
    if (t->is_suspended) {
        return (sluice_step){SLUICE_ERR_CANCELLED}; /* await suspends before it looks */
    }
    if (given == NULL) {
        return (sluice_step){turn_mistake(t, SLUICE_ERR_VALIDATION, "llm", "the request is NULL")};
    }
    sluice_llm_request r;
    memset(&r, 0, sizeof r);
    memcpy(&r, given, size < sizeof r ? size : sizeof r);
    if (r.more_vars == NULL && r.more_vars_count != 0) {
        return (sluice_step){
            turn_mistake(t, SLUICE_ERR_VALIDATION, "llm", "more_vars is NULL with a count")};
    }
    struct sluice_llm_question question = {.schema_name = "answer"};
    sluice_bytes request = {NULL, 0};
    sluice_rc rc = llm_texts(t, &r, &question);
    if (rc != SLUICE_OK) {
        return (sluice_step){rc};
    }
    question.schema = schema_of(t, r.answer);
    if (t->fault != SLUICE_OK) {
        return (sluice_step){t->fault};
    }
    if ((rc = llm_write(t, &question, &request)) != SLUICE_OK) {
        return (sluice_step){rc};
    }
    if (is_known_llm(t, request)) {
        return (sluice_step){(int32_t)t->steps_seen++};
    }
    struct host_step step = {.kind = STEP_LLM,
                             .dependency = SLUICE_DEP_LLM,
                             .is_paid = 1,
                             .answer_type = r.answer,
                             .timeout_ms =
                                 r.timeout_ms != 0 ? r.timeout_ms : t->host->llm_timeout_ms};
    llm_hash(&question, &step.hash);
    if (step_known(t, &step.hash, &rc) != NULL) {
        return (sluice_step){(int32_t)t->steps_seen++};
    }
    if (rc != SLUICE_OK) {
        return (sluice_step){rc};
    }
    step.body =
        (sluice_bytes){sluice_arena_copy(&t->m->arena, request.data, request.len), request.len};
    if (step.body.data == NULL) {
        return (sluice_step){turn_out_of_memory(t)};
    }
    return (sluice_step){step_new(t, &step)};
}

sluice_rc turn_llm_await(sluice_turn *base, sluice_step s, const sluice_llm_reply **reply)
{
    if (reply != NULL) {
        *reply = NULL;
    }
    struct turn *t = turn_enter(base, "llm");
    if (t == NULL) {
        return SLUICE_ERR_UNSUPPORTED;
    }
    if (reply == NULL) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "llm", "the result is NULL");
    }
    sluice_rc rc = step_await(t, s.index);
    if (rc == SLUICE_OK) {
        t->has_llm_answer = 1;
        *reply = &t->m->steps[s.index]->reply;
    }
    return rc;
}

sluice_rc turn_await_all(sluice_turn *base, const sluice_step *steps, uint32_t count)
{
    struct turn *t = turn_of(base, "await_all");
    if (t == NULL) {
        return SLUICE_ERR_UNSUPPORTED;
    }
    if (t->is_suspended) {
        return SLUICE_SUSPEND;
    }
    if (steps == NULL && count != 0) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "await_all", "steps is NULL with a count");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (steps[i].index < 0 || (uint32_t)steps[i].index >= t->m->steps_count) {
            continue;
        }
        enum sluice_step_state state = step_state(t, (uint32_t)steps[i].index);
        if (state != SLUICE_STEP_OK && state != SLUICE_STEP_FAILED) {
            (void)suspend_for(t, (uint32_t)steps[i].index);
        }
    }
    return t->is_suspended ? SLUICE_SUSPEND : SLUICE_OK;
}

/* A step that waits at once: known from an earlier run, or new. */
sluice_rc turn_step_call(struct turn *t, struct host_step *step, struct host_step **out)
{
    *out = NULL;
    sluice_rc rc;
    int32_t index;
    if (step_known(t, &step->hash, &rc) != NULL) {
        index = (int32_t)t->steps_seen++;
    } else if (rc != SLUICE_OK) {
        return rc;
    } else {
        index = step_new(t, step);
    }
    rc = step_await(t, index);
    if (rc == SLUICE_OK) {
        *out = t->m->steps[index];
    }
    return rc;
}
