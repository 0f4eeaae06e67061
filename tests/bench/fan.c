/* SPDX-License-Identifier: Apache-2.0 */
/* The context enricher's work for `sluice bench`, with any number of outputs. */
#include "context.pb-c.h"
#include <sluice/worker.h>

typedef Context__V1__ContextEnrichRequest Request;

static const sluice_option options[] = {
    {.key = "outputs", .kind = SLUICE_OPTION_NUMBER, .default_value = "1", .min = 1, .max = 32, .help = "outputs of a message"},
    {0}};

static int64_t outputs;

static sluice_rc create(const sluice_host *host, const sluice_config *config, void **self)
{
    *self = NULL;
    outputs = host->option_number(config, "outputs");
    return SLUICE_OK;
}

static sluice_rc enrich(sluice_turn *t, const sluice_msg *in)
{
    const Request *req;
    const sluice_llm_reply *reply;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    sluice_llm_request ask = {.prompt = "context", .vars = &req->base};
    ask.answer = &context__v1__context_draft__descriptor;
    SLUICE_TRY(sluice_llm(t, &ask, &reply));
    const Context__V1__ContextDraft *draft = reply->answer;
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.pack_id = sluice_format(t, "pack-%s", sluice_key(t));
    pack.request_id = req->request_id;
    pack.entity_id = req->entity_id;
    pack.summary = draft->summary;
    pack.model = (char *)reply->model;
    SLUICE_TRY(sluice_store(t, "context_packs", &pack.base));
    Context__V1__ContextEnrichReady ready = CONTEXT__V1__CONTEXT_ENRICH_READY__INIT;
    ready.request_id = req->request_id;
    ready.correlation_id = (char *)sluice_correlation_id(t);
    ready.pack = &pack;
    ready.published_at = reply->created_unix_ms;
    for (int64_t i = 0; i < outputs; i++) {
        SLUICE_TRY(sluice_publish(t, "ready", &ready.base));
    }
    return SLUICE_OK;
}

SLUICE_WORKER(.name = "context-enricher", .version = "1.0", .input = &context__v1__context_enrich_request__descriptor,
              .key_field = "request_id", .on_message = enrich, .options = options, .create = create);
