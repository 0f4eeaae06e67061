/* SPDX-License-Identifier: Apache-2.0 */
/* Reading answers of openai.h: complete ones, pieces of streams, errors. Each in one walk over its
 * text, without a tree: that costs a quarter of cJSON's. Of a key that comes twice, the last one
 * counts. */
#include "adapter/openai.h"

#include "codec/json_text.h"
#include "codec/json_walk.h"
#include "codec/number.h"
#include "codec/redact.h"
#include <string.h>

/* Longer texts are no words, names or codes. */
#define WORD_TEXT_MAX 1024u
#define TOKENS_MAX    1e9 /* of one answer */

/* The first choice of an answer, or of a piece of one. Spans lie in the answer's text. */
struct choice {
    struct sluice_json_span content; /* of a string; its text is NULL when there is none */
    sluice_bytes parts;              /* content as an array */
    size_t refusal_len, reasoning_len;
    char finish_reason[SLUICE_OPENAI_WORD_SIZE];
    uint8_t is_another; /* than the first */
};

void sluice_openai_answer_init(struct sluice_openai_answer *a,
                               const struct sluice_allocator *allocator, size_t content_size_max,
                               const char *secrets)
{
    *a = (struct sluice_openai_answer){.secrets = secrets};
    sluice_growbuf_init(&a->content, allocator, content_size_max);
}

void sluice_openai_answer_fini(struct sluice_openai_answer *a)
{
    sluice_growbuf_fini(&a->content);
}

/* ---- Texts */

/* The string that follows, plain and with a NUL. 0 when something else did, which is skipped. */
static int read_text(struct sluice_json_walk *w, char text[WORD_TEXT_MAX + 1])
{
    struct sluice_json_span inside;
    if (sluice_json_peek(w) != '"' || !sluice_json_string(w, &inside)) {
        (void)sluice_json_skip(w);
        return 0;
    }
    size_t len = 0;
    if (inside.len > WORD_TEXT_MAX) {
        text[len++] = '*'; /* not a part of it, which might be a part of the key */
    } else if (inside.has_escape) {
        len = sluice_json_unescape(inside.text, inside.len, text);
    } else {
        len = inside.len;
        memcpy(text, inside.text, len);
    }
    text[len] = '\0';
    return 1;
}

/* Servers have been seen to echo the key, in errors above all. */
static int holds_secret(const char *text, const char *secrets)
{
    size_t len;
    const char *secret = NULL;
    while (secrets != NULL && (secret = sluice_redact_next(&secrets, &len)) != NULL) {
        if (memmem(text, strlen(text), secret, len) != NULL) {
            return 1;
        }
    }
    return 0;
}

static int is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-' || c == '*';
}

/* A word from outside that may appear in texts for people: nothing but its letters. */
static void read_word(struct sluice_json_walk *w, char *out, const char *secrets)
{
    char buffer[WORD_TEXT_MAX + 1];
    if (!read_text(w, buffer)) {
        return;
    }
    const char *text = holds_secret(buffer, secrets) ? "***" : buffer;
    size_t n = 0;
    for (; text[n] != '\0' && n < SLUICE_OPENAI_WORD_SIZE - 1; n++) {
        out[n] = text[n];
        if (!is_word(text[n])) {
            out[n] = '_';
        }
    }
    out[n] = '\0';
}

static void read_name(struct sluice_json_walk *w, char *out, const char *secrets)
{
    char buffer[WORD_TEXT_MAX + 1];
    if (!read_text(w, buffer) || buffer[0] == '\0') {
        return;
    }
    const char *text = holds_secret(buffer, secrets) ? "***" : buffer;
    size_t n = 0;
    for (; text[n] != '\0' && n < SLUICE_OPENAI_NAME_SIZE - 1; n++) {
        out[n] = text[n] >= 0x20 && text[n] < 0x7F ? text[n] : '?';
    }
    out[n] = '\0';
}

/* How long the string that follows is; 0 when something else does. */
static size_t read_len(struct sluice_json_walk *w)
{
    struct sluice_json_span inside;
    if (sluice_json_peek(w) == '"') {
        return sluice_json_string(w, &inside) ? inside.len : 0;
    }
    (void)sluice_json_skip(w);
    return 0;
}

static int read_number(struct sluice_json_walk *w, double *value)
{
    char first = sluice_json_peek(w);
    if (first == '-' || (first >= '0' && first <= '9')) {
        return sluice_json_number(w, value);
    }
    (void)sluice_json_skip(w);
    return 0;
}

/* A number that no answer can have is none: it would stay in every sum. */
static uint32_t read_count(struct sluice_json_walk *w)
{
    double value = 0;
    if (!read_number(w, &value) || !(value > 0 && value <= TOKENS_MAX)) {
        return 0;
    }
    return (uint32_t)value;
}

/* ---- Members */

static void read_error(struct sluice_json_walk *w, struct sluice_openai_answer *a)
{
    struct sluice_openai_error *e = &a->error;
    struct sluice_json_span key;
    char first = sluice_json_peek(w);
    a->has_error = a->has_error || first == '{' || first == '"';
    if (!sluice_json_enter(w, '{')) {
        (void)sluice_json_skip(w);
        return;
    }
    while (sluice_json_member(w, &key)) {
        double code = 0;
        if (sluice_json_span_is(&key, "type")) {
            read_word(w, e->type, a->secrets);
        } else if (!sluice_json_span_is(&key, "code")) {
            (void)sluice_json_skip(w);
        } else if (sluice_json_peek(w) == '"') {
            read_word(w, e->code, a->secrets);
        } else if (read_number(w, &code) && code >= 100 && code < 600) {
            e->http_status = (int32_t)code;
        }
    }
}

static void read_usage(struct sluice_json_walk *w, struct sluice_openai_answer *a)
{
    struct sluice_json_span key;
    if (!sluice_json_enter(w, '{')) {
        (void)sluice_json_skip(w);
        return;
    }
    a->prompt_tokens = 0;
    a->completion_tokens = 0;
    while (sluice_json_member(w, &key)) {
        if (sluice_json_span_is(&key, "prompt_tokens")) {
            a->prompt_tokens = read_count(w);
        } else if (sluice_json_span_is(&key, "completion_tokens")) {
            a->completion_tokens = read_count(w);
        } else {
            (void)sluice_json_skip(w);
        }
    }
}

/* `content` is a text, null, or parts of which some are texts. */
static void read_content(struct sluice_json_walk *w, struct choice *c)
{
    c->content.text = NULL;
    c->parts.len = 0;
    if (sluice_json_peek(w) == '"') {
        (void)sluice_json_string(w, &c->content);
        return;
    }
    c->parts.data = w->at;
    if (sluice_json_peek(w) == '[' && sluice_json_skip(w)) {
        c->parts.len = (size_t)(w->at - (const char *)c->parts.data);
    } else {
        (void)sluice_json_skip(w);
    }
}

/* message (complete) or delta (piece). */
static void read_message(struct sluice_json_walk *w, struct choice *c)
{
    struct sluice_json_span key;
    if (!sluice_json_enter(w, '{')) {
        (void)sluice_json_skip(w);
        return;
    }
    while (sluice_json_member(w, &key)) {
        if (sluice_json_span_is(&key, "content")) {
            read_content(w, c);
        } else if (sluice_json_span_is(&key, "refusal")) {
            c->refusal_len = read_len(w);
        } else if (sluice_json_span_is(&key, "reasoning_content")) {
            c->reasoning_len = read_len(w);
        } else {
            (void)sluice_json_skip(w);
        }
    }
}

static void add_span(struct sluice_openai_answer *a, const struct sluice_json_span *span)
{
    if (span->has_escape) {
        sluice_growbuf_unescape(&a->content, span->text, span->len);
    } else {
        sluice_growbuf_add(&a->content, span->text, span->len);
    }
}

/* The texts among the parts, which were walked over before. */
static void add_parts(struct sluice_openai_answer *a, sluice_bytes parts)
{
    struct sluice_json_walk w;
    struct sluice_json_span key;
    sluice_json_walk_init(&w, parts, SLUICE_OPENAI_DEPTH_MAX);
    (void)sluice_json_enter(&w, '[');
    while (sluice_json_element(&w)) {
        struct sluice_json_span type = {.text = NULL};
        struct sluice_json_span text = {.text = NULL};
        if (!sluice_json_enter(&w, '{')) {
            (void)sluice_json_skip(&w);
            continue;
        }
        while (sluice_json_member(&w, &key)) {
            int is_text = sluice_json_peek(&w) == '"';
            if (is_text && sluice_json_span_is(&key, "type")) {
                (void)sluice_json_string(&w, &type);
            } else if (is_text && sluice_json_span_is(&key, "text")) {
                (void)sluice_json_string(&w, &text);
            } else {
                (void)sluice_json_skip(&w);
            }
        }
        if (type.text != NULL && text.text != NULL && sluice_json_span_is(&type, "text")) {
            add_span(a, &text);
        }
    }
}

static void take_choice(struct sluice_openai_answer *a, const struct choice *c)
{
    a->has_choice = 1;
    if (c->content.text != NULL) {
        add_span(a, &c->content);
    } else if (c->parts.len != 0) {
        add_parts(a, c->parts);
    }
    a->is_refused = a->is_refused || c->refusal_len != 0;
    a->reasoning_len += c->reasoning_len;
    if (c->finish_reason[0] != '\0') {
        memcpy(a->finish_reason, c->finish_reason, sizeof a->finish_reason);
    }
}

static void read_choice(struct sluice_json_walk *w, struct sluice_openai_answer *a,
                        const char *name)
{
    struct choice c = {.is_another = 0};
    struct sluice_json_span key;
    double index = 0;
    if (!sluice_json_enter(w, '{')) {
        (void)sluice_json_skip(w);
        return;
    }
    while (sluice_json_member(w, &key)) {
        if (sluice_json_span_is(&key, name)) {
            read_message(w, &c);
        } else if (sluice_json_span_is(&key, "finish_reason")) {
            read_word(w, c.finish_reason, a->secrets);
        } else if (sluice_json_span_is(&key, "index")) {
            c.is_another = read_number(w, &index) && index != 0;
        } else {
            (void)sluice_json_skip(w);
        }
    }
    if (w->why == NULL && !c.is_another) {
        take_choice(a, &c);
    }
}

/* `name`: of the message in a choice. */
static void read_root(struct sluice_json_walk *w, struct sluice_openai_answer *a, const char *name)
{
    struct sluice_json_span key;
    while (sluice_json_member(w, &key)) {
        if (sluice_json_span_is(&key, "choices") && sluice_json_enter(w, '[')) {
            while (sluice_json_element(w)) {
                read_choice(w, a, name);
            }
        } else if (sluice_json_span_is(&key, "model")) {
            read_name(w, a->model, a->secrets);
        } else if (sluice_json_span_is(&key, "usage")) {
            read_usage(w, a);
        } else if (sluice_json_span_is(&key, "error")) {
            read_error(w, a);
        } else {
            (void)sluice_json_skip(w);
        }
    }
}

/* Of a malformed text nothing counts, not even what was read before its fault. */
static void malformed(struct sluice_openai_answer *a, const struct sluice_openai_answer *before,
                      const char *why)
{
    struct sluice_growbuf content = a->content;
    content.len = before->content.len;
    content.rc = before->content.rc;
    *a = *before;
    a->content = content;
    a->is_malformed = 1;
    a->malformed_why = why;
}

static sluice_rc read_json(struct sluice_openai_answer *a, sluice_bytes json, const char *name)
{
    const struct sluice_openai_answer before = *a;
    static const char mark[] = "\xef\xbb\xbf"; /* a byte order mark; some gateways send it */
    struct sluice_json_walk w;
    sluice_json_walk_init(&w, json, SLUICE_OPENAI_DEPTH_MAX);
    w.at += json.len >= 3 && memcmp(json.data, mark, 3) == 0 ? 3 : 0;
    if (sluice_json_enter(&w, '{')) {
        read_root(&w, a, name);
    } else if (sluice_json_skip(&w)) {
        w.why = "not an object";
    }
    if (!sluice_json_ends(&w)) {
        malformed(a, &before, w.why);
        return SLUICE_OK;
    }
    return a->content.rc;
}

sluice_rc sluice_openai_answer_read(struct sluice_openai_answer *a, sluice_bytes json)
{
    if (json.len == 0) {
        malformed(a, a, "no body");
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
