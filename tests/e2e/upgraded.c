/* SPDX-License-Identifier: Apache-2.0 */
/* The context enricher's next version: publishes to another output first, and stores another text. */
#include "context.pb-c.h"
#include <sluice/worker.h>

static sluice_rc enrich(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *req;
    const sluice_llm_reply *reply;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    sluice_llm_request ask = {.prompt = "context", .vars = &req->base};
    ask.answer = &context__v1__context_draft__descriptor;
    SLUICE_TRY(sluice_llm(t, &ask, &reply));
    const Context__V1__ContextDraft *draft = reply->answer;
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.request_id = req->request_id;
    pack.summary = sluice_format(t, "upgraded: %s", draft->summary);
    SLUICE_TRY(sluice_store(t, "context_packs", &pack.base));
    SLUICE_TRY(sluice_publish(t, "audit", &pack.base));
    return sluice_publish(t, "ready", &pack.base);
}

static const char *const outputs[] = {"ready", "audit", NULL};

SLUICE_WORKER(.name = "context-enricher", .version = "1.1",
              .input = &context__v1__context_enrich_request__descriptor, .key_field = "request_id",
              .on_message = enrich, .outputs = outputs);
