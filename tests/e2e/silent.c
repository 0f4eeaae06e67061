/* SPDX-License-Identifier: Apache-2.0 */
/* Returns OK without having published. */
#include "context.pb-c.h"
#include <sluice/worker.h>

static sluice_rc silent(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *req;
    const sluice_llm_reply *reply;
    sluice_llm_request ask = {.user = "anything"};
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    SLUICE_TRY(sluice_llm(t, &ask, &reply));
    return sluice_store(t, "context_packs", &req->base);
}

SLUICE_WORKER(.name = "silent", .version = "1.0", .key_field = "request_id", .on_message = silent);
