/* SPDX-License-Identifier: Apache-2.0 */
/* Uses what the reference worker does not: routes, several questions at once, a look-up, another thread, own ids. */
#include "context.pb-c.h"
#include <sluice/worker.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef Context__V1__ContextEnrichRequest Request;
typedef Context__V1__ContextPack Pack;

enum { QUESTIONS = 3 };

static sluice_rc reverse(sluice_bytes in, void **out, size_t *out_len)
{
    char *text = malloc(in.len + 1);
    if (text == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    for (size_t i = 0; i < in.len; i++) {
        text[i] = ((const char *)in.data)[in.len - 1 - i];
    }
    *out = text;
    *out_len = in.len;
    return SLUICE_OK;
}

static int deferred;

static void count_deferred(void *arg)
{
    *(int *)arg += 1;
}

static sluice_rc all(sluice_turn *t, const sluice_msg *in)
{
    const Request *req;
    const Pack *before = NULL;
    const sluice_llm_reply *replies[QUESTIONS];
    sluice_step steps[QUESTIONS];
    sluice_bytes reversed;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    sluice_defer(t, count_deferred, &deferred);
    sluice_log(t, SLUICE_LOG_INFO, "everything.begins", "deferred %d", deferred);
    for (int i = 0; i < QUESTIONS; i++) {
        sluice_llm_request ask = {.user = sluice_format(t, "%s, part number%d", req->query, i)};
        steps[i] = sluice_llm_start(t, &ask);
    }
    SLUICE_TRY(sluice_await_all(t, steps, QUESTIONS));
    for (int i = 0; i < QUESTIONS; i++) {
        SLUICE_TRY(sluice_llm_await(t, steps[i], &replies[i]));
    }
    sluice_rc rc = sluice_find(t, "context_packs", req->entity_id, context__v1__context_pack, &before);
    if (rc != SLUICE_OK && rc != SLUICE_ERR_NOT_FOUND) {
        return rc;
    }
    SLUICE_TRY(sluice_offload(t, "reverse", reverse, (sluice_bytes){req->query, strlen(req->query)}, &reversed));
    Pack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.request_id = req->request_id;
    pack.summary = sluice_format(t, "%.*s | %.*s", (int)reversed.len, (const char *)reversed.data,
                                 (int)replies[2]->text.len, (const char *)replies[2]->text.data);
    pack.entity_id = before == NULL ? sluice_format(t, "nothing before") : before->request_id;
    pack.pack_id = sluice_format(t, "%llx", (unsigned long long)sluice_random(t));
    pack.created_at = sluice_now(t);
    SLUICE_TRY(sluice_store(t, "context_packs", &pack.base));
    SLUICE_TRY(sluice_store(t, "context_packs", &pack.base));
    SLUICE_TRY(sluice_store_as(t, "context_packs", sluice_format(t, "own-%s", sluice_key(t)), &pack.base));
    SLUICE_TRY(sluice_publish(t, "ready", &pack.base));
    return sluice_publish(t, "ready", &pack.base);
}

static void *stores(void *turn)
{
    Pack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    sluice_rc rc = sluice_store((sluice_turn *)turn, "context_packs", &pack.base);
    return rc == SLUICE_OK ? turn : NULL;
}

/* Each does one thing that a handler must not do. */
static sluice_rc mistake(sluice_turn *t, const sluice_msg *in)
{
    const Request *req;
    static int runs;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    runs++;
    if (strcmp(req->query, "suspend") == 0) {
        return SLUICE_SUSPEND;
    }
    if (strcmp(req->query, "differ") == 0) {
        sluice_llm_request ask = {.user = sluice_format(t, "run %d", runs)};
        const sluice_llm_reply *reply;
        SLUICE_TRY(sluice_llm(t, &ask, &reply));
    }
    if (strcmp(req->query, "prompt") == 0) {
        sluice_llm_request ask = {.prompt = "missing"};
        const sluice_llm_reply *reply;
        SLUICE_TRY(sluice_llm(t, &ask, &reply));
    }
    if (strcmp(req->query, "thread") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, stores, t) == 0) {
            (void)pthread_join(thread, NULL);
        }
        return SLUICE_OK;
    }
    if (strcmp(req->query, "null") == 0) {
        return sluice_publish(t, NULL, &req->base);
    }
    if (strcmp(req->query, "exit") == 0) {
        exit(0);
    }
    if (strcmp(req->query, "output") == 0) {
        return sluice_publish(t, "nowhere", &req->base);
    }
    if (strcmp(req->query, "collection") == 0) {
        return sluice_store(t, "a b", &req->base);
    }
    if (strcmp(req->query, "many") == 0) {
        for (int i = 0; i < 65; i++) {
            SLUICE_TRY(sluice_publish(t, "ready", &req->base));
        }
    }
    return sluice_fail(t, (sluice_rc)77, "an odd code");
}

static const sluice_route routes[] = {
    {.input = &context__v1__context_enrich_request__descriptor, .subject = "context.*.request", .on_message = all},
    {.subject = "context.mistake.>", .on_message = mistake},
    {.on_message = NULL}};

SLUICE_WORKER(.name = "everything", .version = "1.0", .input = &context__v1__context_enrich_request__descriptor,
              .key_field = "request_id", .routes = routes, .require = SLUICE_REQUIRE_DOCUMENT);
