/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into the dead-letter stream: body byte for byte, headers made harmless, and why. */
#ifndef SLUICE_RUN_DEAD_LETTER_H
#define SLUICE_RUN_DEAD_LETTER_H

#include "run/inflight.h"

/* Headers for the dead letter of a message, in `a`. Every Nats-* header becomes
 * Sluice-Origin-Nats-*, because the server would act on it; `authorization` is left out. What NATS would
 * refuse to carry, and the letter with it, is dropped and counted. NULL without memory. */
sluice_header *dead_letter_headers(const struct inflight *m, struct sluice_arena *a,
                                   const char *consumer, const char *reason, uint32_t failures,
                                   uint32_t *count);

#endif
