/* SPDX-License-Identifier: Apache-2.0 */
/* The context enricher: asks an LLM for a structured context of a request, stores it as a pack, and
 * says so. */
#include "context.pb-c.h"
#include <sluice/worker.h>

typedef Context__V1__ContextEnrichRequest Request;
typedef Context__V1__ContextItem Item;

/* The items as the LLM wrote them, in the pack's own type. */
static Item **pack_items(sluice_turn *t, const Context__V1__ContextDraft *draft)
{
    Item **items = sluice_alloc(t, draft->n_items, sizeof *items);
    for (size_t i = 0; items != NULL && i < draft->n_items; i++) {
        if ((items[i] = sluice_alloc(t, 1, sizeof *items[i])) == NULL) {
            return NULL;
        }
        context__v1__context_item__init(items[i]);
        items[i]->source = draft->items[i]->source;
        items[i]->kind = draft->items[i]->kind;
        items[i]->content = draft->items[i]->content;
        items[i]->score = draft->items[i]->score;
    }
    return items;
}

static sluice_rc enrich(sluice_turn *t, const sluice_msg *in)
{
    const Request *req;
    const sluice_llm_reply *reply;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    if (req->request_id[0] == '\0' || (req->query[0] == '\0' && req->n_inputs == 0)) {
        return sluice_fail(t, SLUICE_REJECT, "expected a request_id, and a query or inputs");
    }
    sluice_llm_request ask = {.prompt = "context", .vars = &req->base};
    ask.answer = &context__v1__context_draft__descriptor;
    SLUICE_TRY(sluice_llm(t, &ask, &reply));
    const Context__V1__ContextDraft *draft = reply->answer;
    if (draft->summary[0] == '\0') { /* of the right type, and worth nothing */
        return sluice_fail(t, SLUICE_ERR_LLM, "the answer has no summary");
    }
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.pack_id = sluice_format(t, "pack-%s", sluice_key(t));
    pack.request_id = req->request_id;
    pack.entity_id = req->entity_id;
    pack.summary = draft->summary;
    pack.items = pack_items(t, draft);
    pack.n_items = pack.items == NULL ? 0 : draft->n_items;
    pack.model = (char *)reply->model;
    pack.prompt_tokens = reply->prompt_tokens;
    pack.completion_tokens = reply->completion_tokens;
    pack.created_at = reply->created_unix_ms;
    pack.schema_version = 1;
    SLUICE_TRY(sluice_store(t, "context_packs", &pack.base));
    Context__V1__ContextEnrichReady ready = CONTEXT__V1__CONTEXT_ENRICH_READY__INIT;
    ready.request_id = req->request_id;
    ready.correlation_id = (char *)sluice_correlation_id(t);
    ready.pack = &pack;
    ready.published_at = reply->created_unix_ms; /* sluice_now is when the request was stored */
    return sluice_publish(t, "ready", &ready.base);
}

static const char *const prompts[] = {"context", NULL};

SLUICE_WORKER(.name = "context-enricher", .version = "1.0",
              .input = &context__v1__context_enrich_request__descriptor, .key_field = "request_id",
              .on_message = enrich, .prompts = prompts);
