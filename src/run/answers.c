/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of steps: checked, kept in the message's memory, and turned into what the journal stores
 * and back. */
#include "run/host.h"

#include "codec/bson.h"
#include "codec/buffer.h"
#include "codec/number.h"
#include "codec/proto_json.h"
#include <string.h>

#define JOURNALED_SIZE_MAX (16u * 1024u * 1024u)

void host_step_failed(struct inflight *m, uint32_t step, sluice_rc rc, const char *text)
{
    if (step >= m->steps_count) {
        return;
    }
    m->steps[step]->rc = rc == SLUICE_OK ? SLUICE_ERR_INTERNAL : rc;
    m->steps[step]->text = sluice_arena_text(&m->arena, text == NULL ? "" : text);
}

static enum sluice_fate failed(struct inflight *m, uint32_t step, sluice_rc rc, const char *text,
                               enum sluice_fate fate)
{
    host_step_failed(m, step, rc, text);
    return fate;
}

static enum sluice_fate starved(struct inflight *m, uint32_t step)
{
    if (m->arena.is_over_limit) { /* it will be on the next delivery, too */
        return failed(m, step, SLUICE_ERR_TOO_LARGE,
                      "the message needs more memory than it may have", SLUICE_FATE_BAD_ANSWER);
    }
    return failed(m, step, SLUICE_ERR_NOMEM, "no memory for the answer", SLUICE_FATE_NO_MEMORY);
}

/* What cannot be used is asked for again; what there is no memory for now can be used later. */
static enum sluice_fate fate_of_replay(enum sluice_fate fate)
{
    return fate == SLUICE_FATE_OK || fate == SLUICE_FATE_NO_MEMORY ? fate : SLUICE_FATE_MISS;
}

static void add_number(struct sluice_buffer *b, int64_t number)
{
    char text[SLUICE_NUMBER_SIZE];
    sluice_buffer_add(b, text, sluice_number_write_int64(number, text));
}

/* The answer as the journal keeps it: small JSON, readable with any NATS tool. */
static sluice_bytes llm_journal_bytes(struct inflight *m, const sluice_llm_reply *r)
{
    struct sluice_buffer b;
    sluice_buffer_init(&b, &m->arena, r->text.len + 256);
    sluice_buffer_text(&b, "{\"v\":1,\"created_ms\":");
    add_number(&b, r->created_unix_ms);
    sluice_buffer_text(&b, ",\"prompt_tokens\":");
    add_number(&b, r->prompt_tokens);
    sluice_buffer_text(&b, ",\"completion_tokens\":");
    add_number(&b, r->completion_tokens);
    sluice_buffer_text(&b, ",\"model\":");
    sluice_buffer_json(&b, r->model, strlen(r->model));
    sluice_buffer_text(&b, ",\"finish_reason\":");
    sluice_buffer_json(&b, r->finish_reason, strlen(r->finish_reason));
    sluice_buffer_text(&b, ",\"content\":");
    sluice_buffer_json(&b, r->text.data, r->text.len);
    sluice_buffer_text(&b, "}");
    return (sluice_bytes){b.data, m->arena.is_exhausted ? 0 : b.len};
}

enum sluice_fate host_llm_answer(struct inflight *m, uint32_t step, sluice_bytes content,
                                 const char *model, const char *finish_reason,
                                 uint32_t prompt_tokens, uint32_t completion_tokens,
                                 int64_t created_unix_ms)
{
    if (step >= m->steps_count) {
        return SLUICE_FATE_CANCELLED;
    }
    struct host_step *s = m->steps[step];
    struct sluice_err err = {.rc = SLUICE_OK};
    sluice_llm_reply *r = &s->reply;
    r->text = (sluice_bytes){sluice_arena_copy(&m->arena, content.data, content.len), content.len};
    r->model = sluice_arena_text(&m->arena, model);
    r->finish_reason = sluice_arena_text(&m->arena, finish_reason);
    r->prompt_tokens = prompt_tokens;
    r->completion_tokens = completion_tokens;
    r->created_unix_ms = created_unix_ms;
    if (m->arena.is_exhausted) {
        return starved(m, step);
    }
    if (s->answer_type != NULL) {
        ProtobufCMessage *answer = NULL;
        sluice_rc rc = sluice_proto_from_json(s->answer_type, r->text, SLUICE_JSON_STRICT,
                                              &m->arena, &answer, &err);
        if (rc == SLUICE_ERR_NOMEM) {
            return starved(m, step);
        }
        if (rc != SLUICE_OK) {
            (void)sluice_err_prefix(&err, rc, "the answer is no %s",
                                    sluice_pb_type_name(s->answer_type));
            return failed(m, step, SLUICE_ERR_LLM, err.text, SLUICE_FATE_BAD_ANSWER);
        }
        r->answer = answer;
    }
    s->rc = SLUICE_OK;
    s->journal_bytes = llm_journal_bytes(m, r);
    return SLUICE_FATE_OK;
}

static const char *text_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static double number_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static enum sluice_fate replay_llm(struct inflight *m, uint32_t step, const cJSON *json)
{
    const char *content = text_of(json, "content");
    const char *model = text_of(json, "model");
    if (content == NULL || model == NULL) {
        return SLUICE_FATE_MISS;
    }
    const char *finish = text_of(json, "finish_reason");
    enum sluice_fate fate = host_llm_answer(
        m, step, (sluice_bytes){content, strlen(content)}, model, finish == NULL ? "" : finish,
        (uint32_t)number_of(json, "prompt_tokens"), (uint32_t)number_of(json, "completion_tokens"),
        (int64_t)number_of(json, "created_ms"));
    return fate_of_replay(fate);
}

/* HTTP answers: a head line of JSON, then the body as it came. */
static enum sluice_fate replay_http(struct inflight *m, uint32_t step, sluice_bytes journaled)
{
    const char *nl = memchr(journaled.data, '\n', journaled.len);
    if (nl == NULL) {
        return SLUICE_FATE_MISS;
    }
    size_t head = (size_t)(nl - (const char *)journaled.data);
    cJSON *json = NULL;
    struct sluice_err err;
    sluice_rc rc = sluice_json_parse((sluice_bytes){journaled.data, head}, 4096, &json, &err);
    if (rc != SLUICE_OK) {
        return rc == SLUICE_ERR_NOMEM ? starved(m, step) : SLUICE_FATE_MISS;
    }
    const char *type = text_of(json, "content_type");
    enum sluice_fate fate = host_http_answer(m, step, (int32_t)number_of(json, "status"),
                                             (sluice_bytes){nl + 1, journaled.len - head - 1},
                                             type == NULL ? "" : type);
    cJSON_Delete(json);
    return fate_of_replay(fate);
}

enum sluice_fate host_replay(struct inflight *m, uint32_t step, sluice_bytes journaled)
{
    if (step >= m->steps_count) {
        return SLUICE_FATE_MISS;
    }
    if (m->steps[step]->kind == STEP_HTTP) {
        return replay_http(m, step, journaled);
    }
    cJSON *json = NULL;
    struct sluice_err err;
    sluice_rc rc = sluice_json_parse(journaled, JOURNALED_SIZE_MAX, &json, &err);
    if (rc != SLUICE_OK) {
        return rc == SLUICE_ERR_NOMEM ? starved(m, step) : SLUICE_FATE_MISS;
    }
    enum sluice_fate fate = replay_llm(m, step, json);
    cJSON_Delete(json);
    return fate;
}

enum sluice_fate host_http_answer(struct inflight *m, uint32_t step, int32_t status,
                                  sluice_bytes body, const char *content_type)
{
    if (step >= m->steps_count) {
        return SLUICE_FATE_CANCELLED;
    }
    struct host_step *s = m->steps[step];
    s->http_reply =
        (sluice_http_reply){.status = status,
                            .body = {sluice_arena_copy(&m->arena, body.data, body.len), body.len},
                            .content_type = sluice_arena_text(&m->arena, content_type)};
    struct sluice_buffer b;
    sluice_buffer_init(&b, &m->arena, body.len + 128);
    sluice_buffer_format(&b, "{\"v\":1,\"status\":%d,\"content_type\":", status);
    sluice_buffer_json(&b, content_type, strnlen(content_type, 256));
    sluice_buffer_text(&b, "}\n");
    sluice_buffer_add(&b, body.data, body.len);
    if (m->arena.is_exhausted) {
        return starved(m, step);
    }
    s->rc = SLUICE_OK;
    s->journal_bytes = (sluice_bytes){b.data, b.len};
    return SLUICE_FATE_OK;
}

enum sluice_fate host_found(struct inflight *m, uint32_t step, sluice_bytes document)
{
    if (step >= m->steps_count) {
        return SLUICE_FATE_CANCELLED;
    }
    struct host_step *s = m->steps[step];
    struct sluice_err err = {.rc = SLUICE_OK};
    ProtobufCMessage *found = NULL;
    sluice_rc rc = m->host->doc_format == SLUICE_DOC_JSON
                       ? sluice_proto_from_json(s->answer_type, document,
                                                SLUICE_JSON_IGNORE_UNKNOWN, &m->arena, &found, &err)
                       : sluice_bson_to_proto(s->answer_type, document, &m->arena, &found, &err);
    if (rc == SLUICE_ERR_NOMEM) {
        return starved(m, step);
    }
    if (rc != SLUICE_OK) {
        return failed(m, step, SLUICE_ERR_DB, err.text, SLUICE_FATE_BAD_ANSWER);
    }
    s->found = found;
    s->rc = SLUICE_OK;
    return SLUICE_FATE_OK;
}
