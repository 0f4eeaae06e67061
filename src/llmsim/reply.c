/* SPDX-License-Identifier: Apache-2.0 */
/* What is answered: completions, streams, errors. */
#include "llmsim/answer.h"
#include "llmsim/call.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK_WORDS 24 /* bytes of content in one streamed chunk, at least */

void llmsim_reply_json(struct call *c, unsigned status, cJSON *json)
{
    c->status = status;
    c->answer = cJSON_PrintUnformatted(json);
    c->answer_len = c->answer == NULL ? 0 : strlen(c->answer);
    c->cut_at = c->answer_len;
    cJSON_Delete(json);
}

void llmsim_reply_error(struct call *c, unsigned status, const char *type, const char *message)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddStringToObject(error, "message", message);
    cJSON_AddStringToObject(error, "type", type);
    cJSON_AddNullToObject(error, "param");
    cJSON_AddNullToObject(error, "code");
    llmsim_reply_json(c, status, json);
}

static cJSON *usage_make(const char *prompt, const char *content)
{
    unsigned in = llmsim_tokens(prompt);
    unsigned out = llmsim_tokens(content);
    cJSON *usage = cJSON_CreateObject();
    cJSON_AddNumberToObject(usage, "prompt_tokens", in);
    cJSON_AddNumberToObject(usage, "completion_tokens", out);
    cJSON_AddNumberToObject(usage, "total_tokens", in + out);
    return usage;
}

static cJSON *envelope(const struct call *c, const char *object, const char *model)
{
    cJSON *json = cJSON_CreateObject();
    char id[64];
    (void)snprintf(id, sizeof id, "chatcmpl-%llu", (unsigned long long)c->server->calls);
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddStringToObject(json, "object", object);
    cJSON_AddNumberToObject(json, "created", (double)time(NULL));
    cJSON_AddStringToObject(json, "model", model);
    return json;
}

/* The answer's one choice. */
static cJSON *choice_add(cJSON *json)
{
    cJSON *choice = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "choices"), choice);
    cJSON_AddNumberToObject(choice, "index", 0);
    return choice;
}

void llmsim_reply_complete(struct call *c, const char *model, const char *prompt,
                           const char *content, const char *finish)
{
    cJSON *json = envelope(c, "chat.completion", model);
    cJSON *choice = choice_add(json);
    cJSON *message = cJSON_AddObjectToObject(choice, "message");
    cJSON_AddStringToObject(message, "role", "assistant");
    if (c->fault == LLMSIM_refuse) {
        cJSON_AddNullToObject(message, "content");
        cJSON_AddStringToObject(message, "refusal", "I can't help with that.");
    } else {
        cJSON_AddStringToObject(message, "content", content);
        cJSON_AddNullToObject(message, "refusal");
    }
    cJSON_AddStringToObject(choice, "finish_reason", finish);
    cJSON_AddItemToObject(json, "usage", usage_make(prompt, content));
    llmsim_reply_json(c, 200, json);
}

struct text {
    char *data;
    size_t len, size;
};

static void text_add(struct text *t, const char *data, size_t len)
{
    if (t->len + len + 1 > t->size) {
        size_t size = (t->len + len + 1) * 2;
        char *more = realloc(t->data, size);
        if (more == NULL) {
            return;
        }
        t->data = more;
        t->size = size;
    }
    memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
}

static void event_add(struct text *t, cJSON *json)
{
    char *line = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (line != NULL) {
        text_add(t, "data: ", 6);
        text_add(t, line, strlen(line));
        text_add(t, "\n\n", 2);
        free(line);
    }
}

static cJSON *chunk_make(const struct call *c, const char *model, const char *field,
                         const char *value, const char *finish)
{
    cJSON *json = envelope(c, "chat.completion.chunk", model);
    cJSON *choice = choice_add(json);
    cJSON *delta = cJSON_AddObjectToObject(choice, "delta");
    if (field != NULL) {
        cJSON_AddStringToObject(delta, field, value);
    }
    if (finish == NULL) {
        cJSON_AddNullToObject(choice, "finish_reason");
    } else {
        cJSON_AddStringToObject(choice, "finish_reason", finish);
    }
    return json;
}

void llmsim_reply_stream(struct call *c, const char *model, const char *prompt, const char *content,
                         const char *finish, int with_usage)
{
    struct text t = {.data = NULL};
    event_add(&t, chunk_make(c, model, "role", "assistant", NULL));
    size_t len = strlen(content);
    for (size_t at = 0; at < len && c->fault != LLMSIM_refuse;) {
        size_t end = at + CHUNK_WORDS < len ? at + CHUNK_WORDS : len;
        while (end < len && ((unsigned char)content[end] & 0xc0) == 0x80) {
            end++;
        }
        char piece[CHUNK_WORDS + 8];
        (void)snprintf(piece, sizeof piece, "%.*s", (int)(end - at), content + at);
        event_add(&t, chunk_make(c, model, "content", piece, NULL));
        at = end;
    }
    if (c->fault == LLMSIM_refuse) {
        event_add(&t, chunk_make(c, model, "refusal", "I can't help with that.", NULL));
    }
    event_add(&t, chunk_make(c, model, NULL, NULL, finish));
    if (with_usage) {
        cJSON *json = envelope(c, "chat.completion.chunk", model);
        cJSON_AddArrayToObject(json, "choices");
        cJSON_AddItemToObject(json, "usage", usage_make(prompt, content));
        event_add(&t, json);
    }
    text_add(&t, "data: [DONE]\n\n", 14);
    c->status = 200;
    c->is_streamed = 1;
    c->answer = t.data;
    c->answer_len = t.len;
    c->cut_at = t.len;
}
