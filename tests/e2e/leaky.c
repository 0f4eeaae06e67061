/* SPDX-License-Identifier: Apache-2.0 */
/* Gives nothing back of what it takes: memory and a descriptor for each message. */
#include "context.pb-c.h"
#include <fcntl.h>
#include <sluice/worker.h>
#include <stdlib.h>
#include <string.h>

enum { LEAK = 4 << 20 };

static sluice_rc leak(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *req;
    const sluice_llm_reply *reply;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    sluice_llm_request ask = {.user = req->query};
    SLUICE_TRY(sluice_llm(t, &ask, &reply));
    char *taken = malloc(LEAK);
    if (taken == NULL || open("/dev/null", O_RDONLY) < 0) {
        return sluice_fail(t, SLUICE_RETRY, "nothing left to take");
    }
    memset(taken, 1, LEAK);
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.request_id = req->request_id;
    pack.summary = (char *)reply->text.data;
    Context__V1__ContextEnrichReady ready = CONTEXT__V1__CONTEXT_ENRICH_READY__INIT;
    ready.request_id = req->request_id;
    SLUICE_TRY(sluice_store(t, "context_packs", &pack.base));
    return sluice_publish(t, "ready", &ready.base);
}

SLUICE_WORKER(.name = "leaky", .version = "1.0", .key_field = "request_id", .on_message = leak);
