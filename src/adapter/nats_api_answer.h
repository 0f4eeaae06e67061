/* SPDX-License-Identifier: Apache-2.0 */
/* What the JetStream API answers: the object that was asked for, or why there is none. Pure. */
#ifndef SLUICE_ADAPTER_NATS_API_ANSWER_H
#define SLUICE_ADAPTER_NATS_API_ANSWER_H

#include "core/err.h"
#include "sluice/worker.h"

struct cJSON;

/* `out` gets the whole answer, owned by the caller; it may be NULL. ERR_DECODE when it is no JSON
 * object; when the server refuses, in its words: ERR_NOT_FOUND (404), ERR_UNAVAILABLE (JetStream is
 * not enabled), ERR_API (anything else). */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_api_answer_read(sluice_bytes answer, struct cJSON **out,
                                      struct sluice_err *err);

#endif
