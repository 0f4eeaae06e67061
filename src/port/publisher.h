/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing into streams: outputs and dead letters. */
#ifndef SLUICE_PORT_PUBLISHER_H
#define SLUICE_PORT_PUBLISHER_H

#include "core/engine.h"
#include "core/err.h"

struct sluice_publication {
    const char *subject;
    const sluice_header *headers; /* all of them, Nats-Msg-Id included */
    uint32_t headers_count;
    sluice_bytes body;
    const char *expected_stream; /* sent as Nats-Expected-Stream, and compared with the PubAck's;
                                    NULL: any */
};

struct sluice_publish_done {
    enum sluice_fate fate; /* OK: a PubAck (a duplicate only with sequence > 0). RETRY: not sent,
                              refused. UNAVAILABLE: no responders, error 503 of the stream.
                              UNKNOWN: no PubAck in time, or none that can be right. PERMANENT: over
                              the server's limit */
    sluice_rc rc;
    uint64_t sequence;
    int is_duplicate;
    const char *stream;
    const char *text; /* the server's words, borrowed */
};

typedef void sluice_publish_done_fn(void *ctx, const struct sluice_publish_done *done);

struct sluice_publisher;

struct sluice_publisher_ops {
    /* Loop thread, never blocks; copied or sent before it returns. Exactly one callback, never from
     * inside; none after ERR_NOMEM: then nothing was sent. */
    sluice_rc (*publish)(struct sluice_publisher *p, const struct sluice_publication *publication,
                         sluice_publish_done_fn *done, void *ctx);
    size_t (*payload_max)(
        struct sluice_publisher *p); /* of the server, headers included; 0: not known yet */
    int (*is_up)(struct sluice_publisher *p);
    /* Open publications end with UNKNOWN, their callbacks made before it returns. Accepts NULL. */
    void (*destroy)(struct sluice_publisher *p);
};

struct sluice_publisher {
    const struct sluice_publisher_ops *ops;
};

#endif
