/* SPDX-License-Identifier: Apache-2.0 */
/* A mailbox that can be closed: what an adapter's threads post goes to the loop thread in bursts,
 * and nothing of it comes any more once the adapter is gone. */
#ifndef SLUICE_ADAPTER_NATS_BOX_H
#define SLUICE_ADAPTER_NATS_BOX_H

#include "port/mailbox.h"

struct sluice_nats_box;

/* NULL without memory. `outer` is borrowed and must deliver what it was given, also after the box
 * was closed. */
struct sluice_nats_box *sluice_nats_box_create(struct sluice_mailbox *outer);

/* Any thread, never blocks, never fails; the node is the caller's. Nodes are delivered in the order
 * of posting. */
void sluice_nats_box_post(struct sluice_nats_box *box, struct sluice_mail *mail);

/* Loop thread, not from inside a delivery, when nobody can post any more. Delivers what is left
 * before it returns, so that each node's owner can free it; the box frees itself. Accepts NULL. */
void sluice_nats_box_close(struct sluice_nats_box *box);

#endif
