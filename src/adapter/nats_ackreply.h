/* SPDX-License-Identifier: Apache-2.0 */
/* What the reply subject of a delivered message tells: stream, consumer, counts, times. */
#ifndef SLUICE_ADAPTER_NATS_ACKREPLY_H
#define SLUICE_ADAPTER_NATS_ACKREPLY_H

#include <stddef.h>
#include <stdint.h>

struct sluice_ackreply {
    const char *stream, *consumer; /* point into the subject, not terminated */
    size_t stream_len, consumer_len;
    uint32_t deliveries; /* from 1 */
    uint64_t sequence;   /* in the stream, from 1 */
    int64_t stored_unix_ns;
    uint64_t pending;
};

/* Reads `$JS.ACK.` with 9 tokens (servers to 2.13) or with domain and account hash, 11 tokens and
 * any number of further ones (2.14). Returns 0 for every other shape, with `out` all zero: such a
 * message can still be settled. */
int sluice_ackreply_parse(const char *reply, struct sluice_ackreply *out);

#endif
