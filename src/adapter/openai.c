/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/openai.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_member(struct sluice_growbuf *out, const char *before, const char *text)
{
    sluice_growbuf_text(out, before);
    sluice_growbuf_json(out, text, strlen(text));
}

/* In decimal without the locale's comma. */
static void add_millionths(struct sluice_growbuf *out, double value)
{
    long long millionths = llround(value * 1e6);
    char text[32];
    int len =
        snprintf(text, sizeof text, "%lld.%06lld", millionths / 1000000, millionths % 1000000);
    while (text[len - 1] == '0' && text[len - 2] != '.') {
        len--;
    }
    sluice_growbuf_add(out, text, (size_t)len);
}

static int is_schema_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return len >= 1 && len <= 64 && name[len] == '\0';
}

static sluice_rc check_question(const struct sluice_llm_question *q, struct sluice_err *err)
{
    if (q->model == NULL || q->model[0] == '\0') {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION, "llm request: no model");
    }
    if (q->user == NULL) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION, "llm request: no user message");
    }
    if (q->schema != NULL && (q->schema_name == NULL || !is_schema_name(q->schema_name))) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "llm request: schema name is not [A-Za-z0-9_-]{1,64}");
    }
    if (q->temperature > 1000.0 || isnan(q->temperature)) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "llm request: temperature is no number up to 1000");
    }
    return SLUICE_OK;
}

static void add_schema(struct sluice_growbuf *out, const struct sluice_llm_question *q,
                       const struct sluice_openai_quirks *quirks)
{
    add_member(out, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":",
               q->schema_name);
    sluice_growbuf_text(out,
                        quirks->is_schema_plain ? ",\"schema\":" : ",\"strict\":true,\"schema\":");
    sluice_growbuf_text(out, q->schema);
    sluice_growbuf_text(out, "}}");
}

static void add_max_tokens(struct sluice_growbuf *out, uint32_t max_tokens,
                           const struct sluice_openai_quirks *quirks)
{
    const char *field = quirks->max_tokens_field;
    char number[16];
    sluice_growbuf_text(out, ",");
    add_member(out, "", field == NULL ? "max_completion_tokens" : field);
    snprintf(number, sizeof number, ":%u", (unsigned)max_tokens);
    sluice_growbuf_text(out, number);
}

sluice_rc sluice_openai_request(struct sluice_growbuf *out, const struct sluice_llm_question *q,
                                const struct sluice_openai_quirks *quirks, struct sluice_err *err)
{
    sluice_rc rc = check_question(q, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    add_member(out, "{\"model\":", q->model);
    sluice_growbuf_text(out, ",\"messages\":[");
    if (q->system != NULL) {
        add_member(out, "{\"role\":\"system\",\"content\":", q->system);
        sluice_growbuf_text(out, "},");
    }
    add_member(out, "{\"role\":\"user\",\"content\":", q->user);
    sluice_growbuf_text(out, "}]");
    if (q->schema != NULL) {
        add_schema(out, q, quirks);
    }
    if (q->temperature >= 0) {
        sluice_growbuf_text(out, ",\"temperature\":");
        add_millionths(out, q->temperature);
    }
    if (q->max_tokens != 0) {
        add_max_tokens(out, q->max_tokens, quirks);
    }
    if (quirks->is_streamed) {
        sluice_growbuf_text(out, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    }
    sluice_growbuf_text(out, "}");
    switch (out->rc) {
    case SLUICE_OK:
        return SLUICE_OK;
    case SLUICE_ERR_VALIDATION:
        return sluice_err_set(err, out->rc, "llm request: a text is not valid UTF-8");
    case SLUICE_ERR_TOO_LARGE:
        return sluice_err_set(err, out->rc, "llm request: over %zu bytes", out->size_max);
    default:
        return sluice_err_set(err, out->rc, "llm request: out of memory");
    }
}
