/* SPDX-License-Identifier: Apache-2.0 */
/* Kills the process when a request asks for POISON, or in the way of a recursion without end for
 * DEEP. */
#include "context.pb-c.h"
#include <signal.h>
#include <sluice/worker.h>
#include <string.h>

/* Small steps: none over the page that guards the stack. */
__attribute__((noinline)) static int deeper(volatile const char *zero)
{
    volatile char here[64] = {0};
    return zero[0] != 0 ? 0 : deeper(here) + here[1];
}

static sluice_rc poison(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *req;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    if (strcmp(req->query, "POISON") == 0) {
        (void)raise(SIGSEGV);
    }
    if (strcmp(req->query, "DEEP") == 0) {
        return deeper("") == 0 ? SLUICE_OK : SLUICE_REJECT;
    }
    SLUICE_TRY(sluice_store(t, "context_packs", &req->base));
    return sluice_publish(t, "ready", &req->base);
}

SLUICE_WORKER(.name = "poison", .version = "1.0", .key_field = "request_id",
              .require = SLUICE_REQUIRE_DOCUMENT | SLUICE_REQUIRE_OUTPUT, .on_message = poison);
