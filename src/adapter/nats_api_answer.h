/* SPDX-License-Identifier: Apache-2.0 */
/* What the JetStream API answers: the object that was asked for, or why there is none. Pure. */
#ifndef SLUICE_ADAPTER_NATS_API_ANSWER_H
#define SLUICE_ADAPTER_NATS_API_ANSWER_H

#include "core/err.h"
#include "sluice/worker.h"

#include <stdint.h>

struct cJSON;

/* `out` gets the whole answer, owned by the caller; it may be NULL. ERR_DECODE when it is no JSON
 * object; when the server refuses, in its words: ERR_NOT_FOUND (404), ERR_UNAVAILABLE (JetStream is
 * not enabled), ERR_API (anything else). */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_api_answer_read(sluice_bytes answer, struct cJSON **out,
                                      struct sluice_err *err);

/* Has the leader that wrote this CONSUMER.INFO or STREAM.INFO not heard of so many of the other
 * copies for `silent_ms` that it has no majority? It takes itself for the leader for 10 to 20 s
 * more. 0 without copies, without a leader, and when the answer does not tell. Member "cluster" of
 * the answer: leader, replicas of offline and active (nanoseconds since it was heard of). */
int sluice_nats_api_answer_is_cut_off(const struct cJSON *answer, int64_t silent_ms);

#endif
