/* SPDX-License-Identifier: Apache-2.0 */
/* The source on NATS JetStream: own pull loop and own settles over plain subscriptions of one
 * connection. */
#ifndef SLUICE_ADAPTER_NATS_SOURCE_H
#define SLUICE_ADAPTER_NATS_SOURCE_H

#include "adapter/nats_options.h"
#include "port/mailbox.h"
#include "port/source.h"
#include <uv.h>

struct sluice_nats_source_config {
    struct sluice_nats_options nats;
    uv_loop_t *loop;                /* for timers */
    struct sluice_mailbox *mailbox; /* outlives the source */
    const char *stream, *consumer;  /* copied */
    int64_t ack_wait_ms;            /* of the consumer: the horizon is renewed every sixth of it */
    struct sluice_source_events events;
    void *ctx;
};

/* Connects (blocking, see nats_link.h) and binds nothing yet: on_link(UP) follows through the
 * mailbox, then pulls may be opened. The consumer is expected to exist (nats_provision.h).
 * ERR_CONFIG, ERR_CONNECTION, ERR_AUTH, ERR_NOMEM. Boot thread before the loop runs, or the loop's
 * thread.
 *
 * The source's destroy() must not be called from inside one of its events, and the loop must run
 * once more afterwards (its timer's handle is closed). */
sluice_rc sluice_nats_source_create(const struct sluice_nats_source_config *config,
                                    struct sluice_source **out, struct sluice_err *err);

/* Something else suspects this server of having lost its cluster. If the source is connected to it,
 * it asks in a moment: the server of a consumer's leader that is cut off answers for the consumer
 * as before, and says that it hears of no copy. Then it is left; not at once, because one leader
 * that is away silences a server that is well. Loop thread. */
void sluice_nats_source_doubt(struct sluice_source *source, const char *server_id);

/* Another connection has found a server: the source does not wait for its next attempt. Loop
 * thread. */
void sluice_nats_source_hurry(struct sluice_source *source);

#endif
