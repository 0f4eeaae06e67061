/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting steps other than the LLM's: services, look-ups, functions on another thread. */
#include "run/turn.h"

#include "codec/hash.h"
#include "run/option.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct host_service *service_find(const struct worker_host *host, const char *name)
{
    for (uint32_t i = 0; i < host->services_count; i++) {
        if (name != NULL && sluice_service_name_is_same(host->services[i].name, name)) {
            return &host->services[i];
        }
    }
    return NULL;
}

/* A worker's own header of the same name takes the place of ours. */
static int gives_header(const sluice_http_request *r, const char *name)
{
    for (uint32_t i = 0; i < r->headers_count; i++) {
        if (r->headers[i].name != NULL && strcasecmp(r->headers[i].name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static sluice_rc http_headers(struct turn *t, const struct host_service *service,
                              const sluice_http_request *r, struct host_step *step)
{
    const sluice_header ours[] = {{"Content-Type", r->body.len == 0          ? NULL
                                                   : r->content_type != NULL ? r->content_type
                                                                             : "application/json"},
                                  {"X-Correlation-ID", t->m->correlation_id},
                                  {"traceparent", t->m->traceparent},
                                  {"Idempotency-Key", step->idempotency_key}};
    uint32_t room = service->headers_count + r->headers_count + sizeof ours / sizeof ours[0];
    sluice_header *headers = sluice_arena_alloc(&t->m->arena, room, sizeof *headers);
    if (headers == NULL) {
        return turn_out_of_memory(t);
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->headers_count; i++) {
        if (r->headers[i].name == NULL || r->headers[i].value == NULL) {
            return turn_mistake(t, SLUICE_ERR_VALIDATION, "http header", "a name or value is NULL");
        }
        headers[n++] = (sluice_header){turn_text(t->m, r->headers[i].name),
                                       turn_text(t->m, r->headers[i].value)};
    }
    for (uint32_t i = 0; i < service->headers_count; i++) {
        if (!gives_header(r, service->headers[i].name)) {
            headers[n++] = service->headers[i];
        }
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (ours[i].value != NULL && !gives_header(r, ours[i].name)) {
            headers[n++] = (sluice_header){ours[i].name, turn_text(t->m, ours[i].value)};
        }
    }
    step->headers = headers;
    step->headers_count = n;
    return SLUICE_OK;
}

/* `/` at the end of the base URL and at the beginning of the path is one. */
static sluice_rc http_fill(struct turn *t, const struct host_service *service,
                           const sluice_http_request *r, struct host_step *step)
{
    struct sluice_arena *a = &t->m->arena;
    size_t base = strlen(service->base_url);
    base -= base > 0 && service->base_url[base - 1] == '/';
    size_t len = base + strlen(r->path) + 1;
    char *url = sluice_arena_alloc(a, 1, len);
    void *body = sluice_arena_copy(a, r->body.data, r->body.len);
    if (url == NULL || body == NULL) {
        return turn_out_of_memory(t);
    }
    (void)snprintf(url, len, "%.*s%s", (int)base, service->base_url, r->path);
    step->url = url;
    step->service = service->name;
    step->body = (sluice_bytes){body, r->body.len};
    step->method = r->method != NULL ? turn_text(t->m, r->method)
                   : r->body.len > 0 ? "POST"
                                     : "GET";
    step->timeout_ms = r->timeout_ms != 0 ? r->timeout_ms : service->timeout_ms;
    step->answer_size_max = service->answer_size_max;
    turn_idempotency_key(t, step);
    sluice_rc rc = http_headers(t, service, r, step);
    return rc == SLUICE_OK && a->is_exhausted ? turn_out_of_memory(t) : rc;
}

/* All that decides about the answer; where the service is reached does not. */
static void http_hash(const char *name, const sluice_http_request *r, struct sluice_hash *hash)
{
    struct sluice_hasher h;
    sluice_hash_begin(&h);
    sluice_hash_text(&h, "http");
    sluice_hash_text(&h, name);
    sluice_hash_text(&h, r->method);
    sluice_hash_text(&h, r->path);
    sluice_hash_bytes(&h, r->body);
    sluice_hash_text(&h, r->content_type);
    for (uint32_t i = 0; i < r->headers_count; i++) {
        sluice_hash_text(&h, r->headers[i].name);
        sluice_hash_text(&h, r->headers[i].value);
    }
    sluice_hash_end(&h, hash);
}

sluice_rc turn_http(sluice_turn *base, const char *name, const sluice_http_request *given,
                    size_t size, const sluice_http_reply **reply)
{
    if (reply != NULL) {
        *reply = NULL;
    }
    struct turn *t;
    sluice_rc rc = turn_enter_going(base, "http", &t);
    if (rc != SLUICE_OK) {
        return rc;
    }
    if (given == NULL || reply == NULL) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "http", "request or result is NULL");
    }
    const struct host_service *service = service_find(t->host, name);
    if (service == NULL) {
        return turn_mistake(t, SLUICE_ERR_CONFIG, "no such service in the configuration",
                            name == NULL ? "(null)" : name);
    }
    sluice_http_request r;
    memset(&r, 0, sizeof r);
    memcpy(&r, given, size < sizeof r ? size : sizeof r);
    if ((r.headers == NULL && r.headers_count != 0) || (r.body.data == NULL && r.body.len != 0)) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "http", "headers or body NULL with a length");
    }
    if (r.path == NULL || r.path[0] != '/') {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "http path", "must begin with /");
    }
    struct host_step step = {.kind = STEP_HTTP,
                             .dependency =
                                 (uint8_t)(SLUICE_DEP_SERVICES + (service - t->host->services)),
                             .is_paid = 1};
    http_hash(name, &r, &step.hash);
    if (t->steps_seen >= t->m->steps_count) {
        rc = http_fill(t, service, &r, &step);
    }
    struct host_step *done = NULL;
    if (rc == SLUICE_OK && (rc = turn_step_call(t, &step, &done)) == SLUICE_OK) {
        *reply = &done->http_reply;
    }
    return rc;
}

sluice_rc turn_find(sluice_turn *base, const char *collection, const char *id,
                    const struct ProtobufCMessageDescriptor *type, void *out)
{
    const void *nothing = NULL;
    if (out != NULL) {
        memcpy(out, &nothing, sizeof nothing);
    }
    struct turn *t;
    sluice_rc rc = turn_enter_going(base, "find", &t);
    if (rc != SLUICE_OK) {
        return rc;
    }
    if (type == NULL || out == NULL) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "find", "type or result is NULL");
    }
    if (!is_collection_name(collection) || id == NULL || strlen(id) > SLUICE_KEY_MAX) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "find", "bad collection name or id");
    }
    struct host_step step = {.kind = STEP_FIND,
                             .dependency = SLUICE_DEP_STORE,
                             .answer_type = type,
                             .collection = turn_text(t->m, collection),
                             .id = turn_text(t->m, id)};
    struct sluice_hasher h;
    sluice_hash_begin(&h);
    sluice_hash_text(&h, "find");
    sluice_hash_text(&h, collection);
    sluice_hash_text(&h, id);
    sluice_hash_end(&h, &step.hash);
    struct host_step *done = NULL;
    rc = turn_step_call(t, &step, &done);
    if (rc == SLUICE_OK) {
        if (done->found == NULL) {
            return SLUICE_ERR_NOT_FOUND;
        }
        memcpy(out, &done->found, sizeof done->found);
    }
    return rc;
}

sluice_rc turn_offload(sluice_turn *base, const char *name, sluice_offload_fn *fn, sluice_bytes in,
                       sluice_bytes *out)
{
    if (out != NULL) {
        *out = (sluice_bytes){NULL, 0};
    }
    struct turn *t;
    sluice_rc rc = turn_enter_going(base, "offload", &t);
    if (rc != SLUICE_OK) {
        return rc;
    }
    if (name == NULL || fn == NULL || out == NULL || (in.data == NULL && in.len != 0)) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "offload",
                            "name, function, input or result is NULL");
    }
    struct host_step step = {.kind = STEP_OFFLOAD, .dependency = SLUICE_DEP_NONE, .offload = fn};
    struct sluice_hasher h;
    sluice_hash_begin(&h);
    sluice_hash_text(&h, "offload");
    sluice_hash_text(&h, name);
    sluice_hash_bytes(&h, in);
    sluice_hash_end(&h, &step.hash);
    if (t->steps_seen >= t->m->steps_count) {
        step.body = (sluice_bytes){sluice_arena_copy(&t->m->arena, in.data, in.len), in.len};
        if (step.body.data == NULL) {
            return turn_out_of_memory(t);
        }
    }
    struct host_step *done = NULL;
    rc = turn_step_call(t, &step, &done);
    if (rc == SLUICE_OK) {
        *out = done->offloaded;
    }
    return rc;
}
