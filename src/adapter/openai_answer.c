/* SPDX-License-Identifier: Apache-2.0 */
/* Reading answers of openai.h: complete ones, pieces of streams, errors. */
#include "adapter/json_guard.h"
#include "adapter/openai.h"

#include <cjson/cJSON.h>
#include <string.h>

void sluice_openai_answer_init(struct sluice_openai_answer *a,
                               const struct sluice_allocator *allocator, size_t content_size_max,
                               const char *secret)
{
    *a = (struct sluice_openai_answer){.secret = secret};
    sluice_growbuf_init(&a->content, allocator, content_size_max);
}

void sluice_openai_answer_fini(struct sluice_openai_answer *a)
{
    sluice_growbuf_fini(&a->content);
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* The member's text; NULL unless it is one. */
static const char *member_text(const cJSON *object, const char *name)
{
    const cJSON *item = member(object, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* Servers have been seen to echo the key, in errors above all. */
static int holds_secret(const char *text, const char *secret)
{
    return text != NULL && secret != NULL && secret[0] != '\0' && strstr(text, secret) != NULL;
}

/* A word from outside that may appear in texts for people: nothing but its letters. */
static void copy_word(char *out, const char *text, const char *secret)
{
    text = holds_secret(text, secret) ? "***" : text;
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-*";
    size_t n = 0;
    for (; text != NULL && text[n] != '\0' && n < SLUICE_OPENAI_WORD_SIZE - 1; n++) {
        out[n] = strchr(allowed, text[n]) == NULL ? '_' : text[n];
    }
    out[n] = '\0';
}

static void copy_name(char *out, const char *text, const char *secret)
{
    text = holds_secret(text, secret) ? "***" : text;
    size_t n = 0;
    for (; text[n] != '\0' && n < SLUICE_OPENAI_NAME_SIZE - 1; n++) {
        out[n] = text[n] >= 0x20 && text[n] < 0x7F ? text[n] : '?';
    }
    out[n] = '\0';
}

static uint32_t member_count(const cJSON *object, const char *name)
{
    const cJSON *item = member(object, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble > 0)) {
        return 0;
    }
    return item->valuedouble >= 4294967295.0 ? UINT32_MAX : (uint32_t)item->valuedouble;
}

static void malformed(struct sluice_openai_answer *a, const char *why)
{
    a->is_malformed = 1;
    a->malformed_why = why;
}

/* Parse what the guard let pass; NULL and the reason otherwise. */
static cJSON *parse_object(sluice_bytes json, const char **why)
{
    *why = sluice_json_guard(json.data, json.len, SLUICE_OPENAI_DEPTH_MAX);
    if (*why != NULL) {
        return NULL;
    }
    /* with the NUL behind it: that is how cJSON notices bytes behind the value */
    cJSON *root = cJSON_ParseWithLengthOpts(json.data, json.len + 1, NULL, 1);
    if (!cJSON_IsObject(root)) {
        *why = root == NULL ? "not JSON" : "not an object";
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

static void read_error(struct sluice_openai_answer *a, const cJSON *error)
{
    struct sluice_openai_error *e = &a->error;
    copy_word(e->code, member_text(error, "code"), a->secret);
    copy_word(e->type, member_text(error, "type"), a->secret);
    const cJSON *code = member(error, "code");
    if (cJSON_IsNumber(code) && code->valuedouble >= 100 && code->valuedouble < 600) {
        e->http_status = (int32_t)code->valuedouble;
    }
}

/* `content` is a text, null, or parts of which some are texts. */
static void read_content(struct sluice_openai_answer *a, const cJSON *content)
{
    if (cJSON_IsString(content)) {
        sluice_growbuf_text(&a->content, content->valuestring);
        return;
    }
    if (!cJSON_IsArray(content)) {
        return;
    }
    const cJSON *part;
    cJSON_ArrayForEach(part, content)
    {
        const char *type = member_text(part, "type");
        const char *text = member_text(part, "text");
        if (type != NULL && text != NULL && strcmp(type, "text") == 0) {
            sluice_growbuf_text(&a->content, text);
        }
    }
}

static size_t text_len(const char *text)
{
    return text == NULL ? 0 : strlen(text);
}

/* Of the first choice: message (complete) or delta (piece). */
static void read_choice(struct sluice_openai_answer *a, const cJSON *choice, const char *name)
{
    const cJSON *index = member(choice, "index");
    if (!cJSON_IsObject(choice) || (cJSON_IsNumber(index) && index->valuedouble != 0)) {
        return;
    }
    a->has_choice = 1;
    const cJSON *message = member(choice, name);
    read_content(a, member(message, "content"));
    if (text_len(member_text(message, "refusal")) != 0) {
        a->is_refused = 1;
    }
    a->reasoning_len += text_len(member_text(message, "reasoning_content"));
    const char *reason = member_text(choice, "finish_reason");
    if (reason != NULL && reason[0] != '\0') {
        copy_word(a->finish_reason, reason, a->secret);
    }
}

static void read_root(struct sluice_openai_answer *a, const cJSON *root, const char *name)
{
    const cJSON *error = member(root, "error");
    if (cJSON_IsObject(error) || cJSON_IsString(error)) {
        a->has_error = 1;
        read_error(a, error);
        return;
    }
    const char *model = member_text(root, "model");
    if (model != NULL && model[0] != '\0') {
        copy_name(a->model, model, a->secret);
    }
    const cJSON *usage = member(root, "usage");
    if (cJSON_IsObject(usage)) {
        a->prompt_tokens = member_count(usage, "prompt_tokens");
        a->completion_tokens = member_count(usage, "completion_tokens");
    }
    const cJSON *choice;
    cJSON_ArrayForEach(choice, member(root, "choices"))
    {
        read_choice(a, choice, name);
    }
}

static sluice_rc read_json(struct sluice_openai_answer *a, sluice_bytes json, const char *name)
{
    const char *why;
    cJSON *root = parse_object(json, &why);
    if (root == NULL) {
        malformed(a, why);
        return SLUICE_OK;
    }
    read_root(a, root, name);
    cJSON_Delete(root);
    return a->content.rc;
}

sluice_rc sluice_openai_answer_read(struct sluice_openai_answer *a, sluice_bytes json)
{
    if (json.len == 0) {
        malformed(a, "no body");
        return SLUICE_OK;
    }
    return read_json(a, json, "message");
}

sluice_rc sluice_openai_answer_chunk(struct sluice_openai_answer *a, sluice_bytes data)
{
    if (a->is_done || a->is_malformed || a->has_error || data.len == 0) {
        return SLUICE_OK;
    }
    if (data.len == 6 && memcmp(data.data, "[DONE]", 6) == 0) {
        a->is_done = 1;
        return SLUICE_OK;
    }
    return read_json(a, data, "delta");
}
