/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking NATS client for commands (`dev`, `send`, `tail`); never used by a worker. One thread.
 */
#ifndef SLUICE_ADAPTER_NATS_DESK_H
#define SLUICE_ADAPTER_NATS_DESK_H

#include "adapter/nats_options.h"
#include "core/err.h"

struct sluice_nats_desk;

/* ERR_CONNECTION, ERR_AUTH, ERR_CONFIG, ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_desk_open(const struct sluice_nats_options *options,
                                struct sluice_nats_desk **out, struct sluice_err *err);
void sluice_nats_desk_close(struct sluice_nats_desk *desk); /* accepts NULL */

/* Publish into a stream and wait for the PubAck (5 s). ERR_PUBLISH naming subject and cause. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_desk_publish(struct sluice_nats_desk *desk, const char *subject,
                                   const sluice_header *headers, uint32_t headers_count,
                                   sluice_bytes body, uint64_t *sequence, struct sluice_err *err);
/* How many messages a stream holds. ERR_NOT_FOUND. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_desk_stream(struct sluice_nats_desk *desk, const char *stream,
                                  uint64_t *messages, struct sluice_err *err);
/* The sequence of its last message, also when that is gone. ERR_NOT_FOUND. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_desk_last(struct sluice_nats_desk *desk, const char *stream,
                                uint64_t *sequence, struct sluice_err *err);
/* What a consumer has not delivered, and what it waits for. ERR_NOT_FOUND. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_desk_consumer(struct sluice_nats_desk *desk, const char *stream,
                                    const char *consumer, uint64_t *pending, uint64_t *ack_pending,
                                    struct sluice_err *err);

/* A message of sluice_nats_desk_get; all in one allocation that the caller frees with free(). */
struct sluice_nats_letter {
    uint64_t sequence;
    const char *subject;
    const char *time; /* when it was stored, RFC 3339 */
    sluice_header *headers;
    uint32_t headers_count;
    sluice_bytes body;
};
/* The message of a stream at or behind `sequence`; ERR_NOT_FOUND when there is none (yet). */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_desk_get(struct sluice_nats_desk *desk, const char *stream, uint64_t sequence,
                               struct sluice_nats_letter **out, struct sluice_err *err);

#endif
