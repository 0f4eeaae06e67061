/* SPDX-License-Identifier: Apache-2.0 */
/* Deciding about a chat completion. */
#include "llmsim/answer.h"
#include "llmsim/call.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t latency_draw(struct llmsim *s)
{
    (void)pthread_mutex_lock(&s->lock);
    uint32_t latency = s->config.latency_ms;
    if (s->config.jitter_ms > 0) {
        latency += (uint32_t)sluice_prng_below(&s->prng, s->config.jitter_ms + 1);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return latency;
}

/* The last message of a role. */
static const char *message_of(const cJSON *request, const char *role)
{
    const char *found = NULL;
    const cJSON *message;
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(request, "messages"))
    {
        const cJSON *r = cJSON_GetObjectItemCaseSensitive(message, "role");
        const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
        if (cJSON_IsString(r) && strcmp(r->valuestring, role) == 0 && cJSON_IsString(content)) {
            found = content->valuestring;
        }
    }
    return found;
}

static const cJSON *schema_of(const cJSON *request)
{
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(request, "response_format");
    const cJSON *schema = cJSON_GetObjectItemCaseSensitive(format, "json_schema");
    return cJSON_GetObjectItemCaseSensitive(schema, "schema");
}

static void key_set(struct call *c, const char *prompt)
{
    const char *given =
        MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "Idempotency-Key");
    if (given != NULL) {
        (void)snprintf(c->key, sizeof c->key, "%s", given);
        return;
    }
    uint64_t hash = 1469598103934665603u;
    for (const char *p = prompt; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    }
    (void)snprintf(c->key, sizeof c->key, "prompt-%016llx", (unsigned long long)hash);
}

/* The model's name goes wherever an answer goes: with its call behind it, whoever has documents and
 * outputs can tell whether they were made of one answer. The port tells several simulators apart.
 */
static const char *stamped(struct llmsim *s, const char *model, char *out, size_t size)
{
    if (!s->config.is_stamped) {
        return model;
    }
    unsigned long long call = atomic_fetch_add(&s->stamps, 1) + 1;
    (void)snprintf(out, size, "%.64s#%u.%llu", model, s->port, call);
    return out;
}

void llmsim_chat(struct call *c)
{
    struct llmsim *s = c->server;
    cJSON *request = cJSON_ParseWithLength(c->body == NULL ? "" : c->body, c->len);
    const char *prompt = message_of(request, "user");
    if (prompt == NULL) {
        llmsim_reply_error(c, 400, "invalid_request_error",
                           request == NULL ? "body is not JSON"
                                           : "messages: expected one of role user");
        cJSON_Delete(request);
        return;
    }
    struct llmsim_orders orders;
    if (!llmsim_orders_read(
            MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "X-Sluice-Fault"),
            MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "X-Sluice-Latency-Ms"),
            prompt, &orders)) {
        llmsim_reply_error(c, 400, "invalid_request_error", orders.why);
        cJSON_Delete(request);
        return;
    }
    const cJSON *model_item = cJSON_GetObjectItemCaseSensitive(request, "model");
    char name[128];
    const char *model =
        stamped(s, cJSON_IsString(model_item) ? model_item->valuestring : s->config.model, name,
                sizeof name);
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(request, "stream_options");
    int is_streamed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "stream"));
    int with_usage = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(options, "include_usage"));
    key_set(c, prompt);
    enum llmsim_fault fault =
        llmsim_orders_fault(s, &orders, llmsim_ledger_call(s->ledger, c->key));
    llmsim_ledger_fault(s->ledger, fault);
    c->is_counted = 1;
    c->fault = fault;
    char *content = fault == LLMSIM_blank ? llmsim_content_blank(schema_of(request))
                                          : llmsim_content(prompt, schema_of(request));
    const char *text = content == NULL ? "" : fault == LLMSIM_bad_json ? "{\"oops\": tru" : content;
    const char *finish = fault == LLMSIM_length ? "length" : "stop";
    if (is_streamed) {
        llmsim_reply_stream(c, model, prompt, text, finish, with_usage);
    } else {
        llmsim_reply_complete(c, model, prompt, text, finish);
    }
    c->is_paid = fault == LLMSIM_OK;
    if (fault != LLMSIM_OK) {
        char *was = c->answer;
        llmsim_fault_apply(c);
        if (c->answer != was) {
            free(was);
            c->is_streamed = 0;
        }
    }
    uint32_t latency = fault == LLMSIM_stall ? 3600000
                       : orders.has_latency  ? orders.latency_ms
                                             : latency_draw(s);
    free(content);
    cJSON_Delete(request);
    if (latency > 0) {
        c->has_slept = 1;
        llmsim_sleep_until(s, c, llmsim_now_ms() + latency);
    }
}
