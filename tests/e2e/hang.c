/* SPDX-License-Identifier: Apache-2.0 */
/* A handler that never returns. */
#include <sluice/worker.h>

static sluice_rc hang(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    for (volatile int forever = 1; forever != 0;) {
    }
    return SLUICE_OK;
}

SLUICE_WORKER(.name = "hang", .version = "1.0", .require = SLUICE_REQUIRE_NONE, .on_message = hang);
