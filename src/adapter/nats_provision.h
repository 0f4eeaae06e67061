/* SPDX-License-Identifier: Apache-2.0 */
/* What has to exist on the server: looked at field by field, or made. Blocking; not for the loop
 * thread. */
#ifndef SLUICE_ADAPTER_NATS_PROVISION_H
#define SLUICE_ADAPTER_NATS_PROVISION_H

#include "adapter/nats_options.h"
#include "core/err.h"

#define SLUICE_DUPLICATE_WINDOW_MS (10 * 60 * 1000)
#define SLUICE_DEAD_LETTER_ROOM    (16 * 1024) /* a dead letter adds headers and must still fit */

struct sluice_nats_plan {
    const char *stream_requests, *subject_request;
    const char *stream_ready, *subject_ready; /* all outputs: the subject and everything below it */
    const char *stream_dead, *subject_dead;
    const char *consumer;
    int64_t ack_wait_ms;
    uint32_t max_in_flight;
    const char *bucket; /* NULL: no journal */
    int64_t journal_ttl_ms;
    /* Subjects that outputs are mapped to: some stream must take each. Looked at, never made. */
    const char *output_subjects[16];
    uint32_t output_subjects_count;
};

struct sluice_nats_facts {
    char server_version[32];  /* "" when it could not be read */
    int64_t payload_max;      /* this and the next: from 0 to INT32_MAX */
    int64_t message_size_max; /* of the request stream */
    uint64_t journal_messages;
};

/* How far to go. */
enum {
    SLUICE_NATS_VERIFY = 0, /* alter nothing */
    SLUICE_NATS_CREATE = 1, /* make what is missing, alter nothing that exists */
    SLUICE_NATS_UPDATE = 2  /* and bring fields in line that can be changed in place */
};

/* Called for each thing that was made, changed or found: verb "created", "updated", "repaired",
 * "differs" (an error follows), "note" (works, but a promise is weaker) or "warning" (versions of
 * server and library). `what` names object, field, found and expected. May be NULL. */
typedef void sluice_nats_told_fn(void *ctx, const char *verb, const char *what);

/* Verify after having done what `mode` allows. All differences are told; the error has the first,
 * how many more there are, and the names of the other objects. ERR_CONNECTION, ERR_AUTH,
 * ERR_TIMEOUT, ERR_UNAVAILABLE, ERR_NOT_FOUND (names what is missing and the remedy), ERR_CONFIG
 * (names object, field, value and expectation), ERR_API (the server refused to make it), ERR_DECODE
 * (an answer is none). */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_provision(const struct sluice_nats_options *options,
                                const struct sluice_nats_plan *plan, int mode,
                                sluice_nats_told_fn *told, void *ctx,
                                struct sluice_nats_facts *facts, struct sluice_err *err);

/* After a reconnect: is the consumer ahead of its stream? A nats-server that was killed can come
 * back with a stream that counts from an earlier sequence (2.10.27: from 1, when the stream was
 * empty) while the consumer remembers how far it was, and then delivers nothing up to there: an
 * everlasting stall. Such a consumer is made anew if `mode` allows to make things (told as
 * "repaired"); else it is told as "differs". provision() looks for it too. Errors as above. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_mend(const struct sluice_nats_options *options,
                           const struct sluice_nats_plan *plan, int mode, sluice_nats_told_fn *told,
                           void *ctx, struct sluice_err *err);

#endif
