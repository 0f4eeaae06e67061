/* SPDX-License-Identifier: Apache-2.0 */
/* Kills the process when a request asks for POISON. */
#include "context.pb-c.h"
#include <signal.h>
#include <sluice/worker.h>
#include <string.h>

static sluice_rc poison(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *req;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    if (strcmp(req->query, "POISON") == 0) {
        (void)raise(SIGSEGV);
    }
    SLUICE_TRY(sluice_store(t, "context_packs", &req->base));
    return sluice_publish(t, "ready", &req->base);
}

SLUICE_WORKER(.name = "poison", .version = "1.0", .key_field = "request_id",
              .require = SLUICE_REQUIRE_DOCUMENT | SLUICE_REQUIRE_OUTPUT, .on_message = poison);
