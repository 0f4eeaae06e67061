/* SPDX-License-Identifier: Apache-2.0 */
/* One run of a handler. Turns do not nest, so there is one turn, one scratch arena and one staging
 * area for all. */
#include "run/turn.h"
#include "run/worker_config.h"

#include "codec/hash.h"
#include "codec/header.h"
#include "codec/protobuf.h"
#include <string.h>

static const char *step_name(enum step_kind kind)
{
    static const char *const names[] = {
        [STEP_LLM] = "llm", [STEP_HTTP] = "http", [STEP_FIND] = "find", [STEP_OFFLOAD] = "offload"};
    return names[kind];
}

static const sluice_host the_table = {.struct_size = sizeof(sluice_host),
                                      .abi_major = SLUICE_ABI_MAJOR,
                                      .abi_minor = SLUICE_ABI_MINOR,
                                      .decode = turn_decode,
                                      .llm_start = turn_llm_start,
                                      .llm_await = turn_llm_await,
                                      .await_all = turn_await_all,
                                      .http = turn_http,
                                      .find = turn_find,
                                      .offload = turn_offload,
                                      .store = turn_store,
                                      .publish = turn_publish,
                                      .fail = turn_fail,
                                      .alloc = turn_alloc,
                                      .format = turn_format,
                                      .defer = turn_defer,
                                      .self = turn_self,
                                      .key = turn_key,
                                      .correlation_id = turn_correlation_id,
                                      .header = turn_header,
                                      .now = turn_now,
                                      .random = turn_random,
                                      .log = turn_log,
                                      .option_text = sluice_worker_config_text,
                                      .option_number = sluice_worker_config_number};

const sluice_host *host_table(void)
{
    return &the_table;
}

/* ---- The run ---- */

/* As the handler sees it, who borrows it for the run. */
static sluice_msg msg_of(const struct sluice_delivery *d, const char *type)
{
    return (sluice_msg){.struct_size = sizeof(sluice_msg),
                        .deliveries = d->deliveries,
                        .subject = d->subject,
                        .type = type,
                        .body = d->body,
                        .sequence = d->sequence,
                        .stored_unix_ns = d->stored_unix_ns,
                        .stream = d->stream};
}

/* Which handler takes the message; NULL: none. */
static sluice_handler_fn *handler_find(struct worker_host *host, const struct inflight *m,
                                       const char **key_field)
{
    const sluice_worker *w = &host->plugin->worker;
    *key_field = w->key_field;
    if (w->routes == NULL) {
        return w->on_message;
    }
    for (const sluice_route *r = w->routes; r->on_message != NULL; r++) {
        const char *type = m->type;
        if (r->input != NULL &&
            (type == NULL || strcmp(type, sluice_pb_type_name(r->input)) != 0)) {
            continue;
        }
        if (r->subject != NULL && !sluice_subject_matches(r->subject, m->delivery->subject)) {
            continue;
        }
        if (r->key_field != NULL) {
            *key_field = r->key_field;
        }
        return r->on_message;
    }
    return NULL;
}

static const char *missing_requirement(const struct turn *t)
{
    uint32_t require = t->host->plugin->worker.require;
    if (require == SLUICE_REQUIRE_DEFAULT) {
        require = SLUICE_REQUIRE_LLM | SLUICE_REQUIRE_DOCUMENT | SLUICE_REQUIRE_OUTPUT;
    }
    if ((require & SLUICE_REQUIRE_LLM) != 0 && !t->has_llm_answer) {
        return "llm";
    }
    if ((require & SLUICE_REQUIRE_DOCUMENT) != 0 && t->docs_count == 0) {
        return "store";
    }
    return (require & SLUICE_REQUIRE_OUTPUT) != 0 && t->outputs_count == 0 ? "publish" : NULL;
}

/* What was staged moves from the run's memory to the message's. */
static int staged_keep(struct turn *t)
{
    struct inflight *m = t->m;
    struct sluice_arena *a = &m->arena;
    m->docs = sluice_arena_alloc(a, t->docs_count, sizeof *m->docs);
    m->outputs = sluice_arena_alloc(a, t->outputs_count, sizeof *m->outputs);
    m->output_hashes = sluice_arena_alloc(a, t->outputs_count, sizeof *m->output_hashes);
    if (m->docs == NULL || m->outputs == NULL || m->output_hashes == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < t->docs_count; i++) {
        const struct sluice_doc *d = &t->docs[i];
        m->docs[i] = (struct sluice_doc){
            .collection = sluice_arena_text(a, d->collection),
            .id = sluice_arena_text(a, d->id),
            .body = {sluice_arena_copy(a, d->body.data, d->body.len), d->body.len}};
    }
    for (uint32_t i = 0; i < t->outputs_count; i++) {
        const struct staged_output *o = &t->outputs[i];
        m->outputs[i] = *o;
        m->outputs[i].message_id = sluice_arena_text(a, o->message_id);
        m->outputs[i].body.data = sluice_arena_copy(a, o->body.data, o->body.len);
        struct sluice_hasher h;
        struct sluice_hash hash;
        sluice_hash_begin(&h);
        sluice_hash_text(&h, o->message_id);
        sluice_hash_end(&h, &hash);
        m->output_hashes[i] = hash.high;
    }
    m->docs_count = t->docs_count;
    m->outputs_count = t->outputs_count;
    return !a->is_exhausted;
}

static void deferred_run(struct turn *t)
{
    while (t->deferred_count > 0) {
        t->deferred_count--;
        t->deferred[t->deferred_count].fn(t->deferred[t->deferred_count].arg);
    }
}

static void verdict_failed(struct turn *t, sluice_rc rc, struct sluice_ev_verdict *v)
{
    v->kind = SLUICE_VERDICT_FAILED;
    v->failed_step = -1;
    v->failure = rc == SLUICE_REJECT ? SLUICE_FAILURE_REJECTED : SLUICE_FAILURE_HANDLER;
    if (t->m->arena.is_over_limit || t->host->scratch.is_over_limit) {
        inflight_blame(t->m, "memory", "the message needs more memory than it may have");
        return;
    }
    if (rc == SLUICE_ERR_NOMEM || t->is_out_of_memory) {
        v->failure = SLUICE_FAILURE_NO_MEMORY;
        inflight_blame(t->m, "memory", "out of memory");
        return;
    }
    if (t->fault == SLUICE_OK && t->failed_step >= 0 && rc == t->failed_rc) {
        const struct host_step *step = t->m->steps[t->failed_step];
        v->failed_step = t->failed_step;
        inflight_blame(t->m, step_name(step->kind), "%s: %s%s%s", sluice_status_name(step->rc),
                       step->service == NULL ? "" : step->service,
                       step->service == NULL ? "" : ": ", step->text == NULL ? "" : step->text);
    }
    inflight_blame(t->m, "handler", "returned %s (%d)", sluice_status_name(rc), rc);
}

void host_blame_time(struct inflight *m)
{
    int is_asking = m->steps_count > 0 && m->docs_count == 0;
    const char *step = is_asking ? step_name(m->steps[m->steps_count - 1]->kind) : "handler";
    inflight_blame(m, step, "SLUICE_ERR_TIMEOUT: not done within SLUICE_HANDLER_TIMEOUT, %s",
                   is_asking           ? "an answer is outstanding"
                   : m->docs_count > 0 ? "documents and outputs wait to be committed"
                                       : "the handler has not begun");
}

static void verdict_make(struct turn *t, sluice_rc rc, uint32_t steps_before,
                         struct host_verdict *out)
{
    struct sluice_ev_verdict *v = &out->verdict;
    struct inflight *m = t->m;
    memset(v, 0, sizeof *v);
    v->failed_step = -1;
    if (t->fault != SLUICE_OK || t->is_out_of_memory) {
        verdict_failed(t, t->is_out_of_memory ? SLUICE_ERR_NOMEM : t->fault, v);
        return;
    }
    if (t->is_suspended) {
        v->kind = SLUICE_VERDICT_SUSPENDED;
        memcpy(v->awaited, t->awaited, sizeof v->awaited);
        for (uint32_t i = steps_before; i < m->steps_count; i++) {
            out->requests[v->steps_count++] =
                (struct sluice_step_request){.hash = m->steps[i]->hash,
                                             .dependency = m->steps[i]->dependency,
                                             .is_paid = m->steps[i]->is_paid};
        }
        v->steps = out->requests;
        return;
    }
    if (rc == SLUICE_SUSPEND) {
        inflight_blame(m, "handler", "returned SLUICE_SUSPEND with nothing pending");
    }
    const char *missing = rc == SLUICE_OK ? missing_requirement(t) : NULL;
    if (missing != NULL && strcmp(missing, "llm") == 0 && t->failed_step >= 0 &&
        m->steps[t->failed_step]->kind == STEP_LLM) {
        rc = t->failed_rc; /* it went on without the answer: the step failed, not the handler */
    } else if (missing != NULL) {
        inflight_blame(m, missing, "returned SLUICE_OK without the required step %s", missing);
        rc = SLUICE_ERR_VALIDATION;
    }
    if (rc == SLUICE_OK && !staged_keep(t)) {
        rc = SLUICE_ERR_NOMEM;
    }
    if (rc != SLUICE_OK) {
        verdict_failed(t, rc, v);
        return;
    }
    v->kind = SLUICE_VERDICT_DONE;
    v->documents_count = (uint8_t)m->docs_count;
    v->outputs_count = (uint8_t)m->outputs_count;
    v->outputs = m->output_hashes;
}

void host_run(struct worker_host *host, struct inflight *m, struct host_verdict *out)
{
    static struct turn t; /* large; turns do not nest */
    memset(&t, 0, offsetof(struct turn, docs));
    sluice_turn *handle = turn_begin(&t);
    const sluice_msg msg = msg_of(m->delivery, m->type);
    t.host = host;
    t.m = m;
    t.failed_step = -1;
    t.docs_count = 0;
    t.outputs_count = 0;
    t.has_llm_answer = 0;
    t.deferred_count = 0;
    m->reason = "";
    m->failed_step = NULL;
    m->run++;
    uint32_t steps_before = m->steps_count;
    sluice_handler_fn *handler = handler_find(host, m, &t.key_field);
    sluice_rc rc = SLUICE_RETRY;
    if (handler == NULL) {
        inflight_blame(m, "handler", "no handler for type %s, subject %s",
                       m->type == NULL ? "(none)" : m->type, m->delivery->subject);
    } else if ((rc = turn_key_check(m)) == SLUICE_OK) {
        host->running_step = "start";
        host->running_thread = pthread_self();
        host->running_sequence = m->delivery->sequence;
        rc = handler(handle, &msg);
        host->running_sequence = 0;
    }
    deferred_run(&t);
    const char *misused_by = turn_end(&t);
    if (misused_by != NULL) {
        (void)turn_mistake(&t, SLUICE_ERR_UNSUPPORTED, misused_by,
                           "called on another thread than the handler's");
    }
    verdict_make(&t, rc, steps_before, out);
    if (out->verdict.kind != SLUICE_VERDICT_SUSPENDED) {
        m->steps_count = steps_before; /* asked for and never announced to the engine */
    } else {
        inflight_waits(m);
    }
    sluice_arena_reset(&host->scratch);
}

void host_fini(struct worker_host *host)
{
    for (uint32_t i = 0; i < host->prompts_count; i++) {
        sluice_prompt_destroy(host->prompts[i].prompt);
    }
    host->prompts_count = 0;
    host->schemas_count = 0;
    sluice_arena_fini(&host->schema_texts);
    sluice_arena_fini(&host->scratch);
}
