/* SPDX-License-Identifier: Apache-2.0 */
/* Wants more memory than a message may have. */
#include "context.pb-c.h"
#include <sluice/worker.h>

static sluice_rc greedy(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *req;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    while (sluice_alloc(t, 1024, 1024) != NULL) {
    }
    return SLUICE_ERR_NOMEM;
}

SLUICE_WORKER(.name = "greedy", .version = "1.0", .key_field = "request_id", .on_message = greedy);
