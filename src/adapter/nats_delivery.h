/* SPDX-License-Identifier: Apache-2.0 */
/* A delivered message, copied out of cnats' memory into one block of ours. */
#ifndef SLUICE_ADAPTER_NATS_DELIVERY_H
#define SLUICE_ADAPTER_NATS_DELIVERY_H

#include "adapter/nats_message.h"
#include "port/mailbox.h"
#include "port/source.h"

struct sluice_nats_delivery {
    struct sluice_mail mail; /* first */
    void *owner;
    int64_t read_ms; /* when the callback had it */
    uint32_t slot;   /* the inbox that it came on */
    struct sluice_delivery delivery;
    sluice_header headers[]; /* then all texts and the body */
};

/* Delivery thread. NULL without memory. `stream` and `consumer` are what the worker is bound to:
 * used when the reply subject cannot be read. */
struct sluice_nats_delivery *sluice_nats_delivery_create(const struct sluice_nats_message *message,
                                                         const char *stream, const char *consumer);

/* Any thread. */
void sluice_nats_delivery_free(struct sluice_delivery *delivery);

#endif
