/* SPDX-License-Identifier: Apache-2.0 */
/* A subscription: messages of one connection on their way to a callback. It dies with its
 * connection. */
#ifndef SLUICE_ADAPTER_NATS_TAP_H
#define SLUICE_ADAPTER_NATS_TAP_H

#include "adapter/nats_message.h"
#include <stdint.h>

struct sluice_nats_conn;
struct sluice_nats_tap;

/* For sluice_nats_link_subscribe(). */
struct sluice_nats_tap *sluice_nats_tap_create(struct sluice_nats_conn *conn, const char *subject,
                                               sluice_nats_message_fn *fn,
                                               void (*released)(void *ctx), void *ctx);

/* Loop thread. What is on its way is dropped. The tap is not usable afterwards. */
void sluice_nats_tap_unsubscribe(struct sluice_nats_tap *tap);
/* Loop thread. Tell the server to stop and still hand over what it sent before it heard: `released`
 * comes after the last message, within `timeout_ms`. */
void sluice_nats_tap_drain(struct sluice_nats_tap *tap, int64_t timeout_ms);

/* All of a connection that is closed, and none of which may still call back. */
void sluice_nats_taps_destroy(struct sluice_nats_tap *taps);

#endif
