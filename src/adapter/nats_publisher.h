/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher on NATS JetStream: a connection of its own, so that large outputs do not delay
 * settles. */
#ifndef SLUICE_ADAPTER_NATS_PUBLISHER_H
#define SLUICE_ADAPTER_NATS_PUBLISHER_H

#include "adapter/nats_options.h"
#include "adapter/nats_requests.h"
#include "port/mailbox.h"
#include "port/publisher.h"
#include "port/source.h"
#include <uv.h>

struct sluice_nats_publisher_config {
    struct sluice_nats_options nats;
    uv_loop_t *loop;                /* for timers */
    struct sluice_mailbox *mailbox; /* outlives the publisher */
    int64_t timeout_ms;             /* of one publish, its repetitions included; 0: 10 s */
    /* Loop thread; may be NULL. The state of the publisher's connection; text without credentials.
     */
    void (*on_link)(void *ctx, enum sluice_link_state state, const char *text);
    /* Loop thread; may be NULL. The publisher leaves a server that answers pings and no request:
     * what else is connected to it had better doubt it. Text borrowed for the call. */
    void (*on_left)(void *ctx, const char *server_id);
    /* Loop thread; may be NULL. No stream takes this subject, as the server said at once; the
     * publish goes on until its timeout, in case the stream comes back. Once for each publish.
     * `stream` is the one that was expected; NULL: any. */
    void (*on_unheard)(void *ctx, const char *subject, const char *stream);
    void *ctx;
};

/* Connects (blocking, see nats_link.h). Same rules for threads and destroy as nats_source.h. */
sluice_rc sluice_nats_publisher_create(const struct sluice_nats_publisher_config *config,
                                       struct sluice_publisher **out, struct sluice_err *err);

/* Another connection has found a server: the publisher does not wait for its next attempt. Loop
 * thread. */
void sluice_nats_publisher_hurry(struct sluice_publisher *publisher);

/* For the journal, which shares the connection. Borrowed until the publisher is destroyed. */
struct sluice_nats_requests *sluice_nats_publisher_requests(struct sluice_publisher *publisher);
const char *sluice_nats_publisher_api_prefix(const struct sluice_publisher *publisher);

#endif
