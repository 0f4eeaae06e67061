/* SPDX-License-Identifier: Apache-2.0 */
/* What the end of an HTTP call, of the LLM or a service, means for the message that asked. */
#ifndef SLUICE_ADAPTER_CALL_VERDICT_H
#define SLUICE_ADAPTER_CALL_VERDICT_H

#include "core/engine.h"
#include "core/err.h"

#define SLUICE_CALL_TEXT_SIZE 512u /* what people read */

struct sluice_call_verdict {
    enum sluice_fate fate;
    sluice_rc rc;
    char text[SLUICE_CALL_TEXT_SIZE]; /* "" when OK; of a body only words, and why it refused */
};

/* All of it; a text that is too long is cut. */
SLUICE_PRINTF(4, 5)
void sluice_call_rule(struct sluice_call_verdict *verdict, enum sluice_fate fate, sluice_rc rc,
                      const char *format, ...);

#endif
