/* SPDX-License-Identifier: Apache-2.0 */
/* A message as a callback gets it, and what becomes of one that is published. */
#ifndef SLUICE_ADAPTER_NATS_MESSAGE_H
#define SLUICE_ADAPTER_NATS_MESSAGE_H

#include "adapter/nats_headers.h"
#include <stddef.h>

/* A message during its callback; borrowed. */
struct sluice_nats_message {
    const char *subject;
    const char *reply; /* "" when there is none */
    const void *body;
    size_t body_len;
    void *raw; /* for the functions below */
};

/* Called on the delivery thread: copy, post, return. */
typedef void sluice_nats_message_fn(void *ctx, const struct sluice_nats_message *message);

enum sluice_nats_sent {
    SLUICE_NATS_SENT,      /* in the connection's buffer; no proof of anything */
    SLUICE_NATS_DOWN,      /* not connected, or the connection broke meanwhile: not sent */
    SLUICE_NATS_TOO_LARGE, /* over the server's max payload */
    SLUICE_NATS_REFUSED,   /* not a legal subject or header */
    SLUICE_NATS_STARVED    /* no memory */
};

/* ---- Inside a callback ---- */

/* The code of the first header line ("NATS/1.0 503"), 0 without one; `text` gets its words, "" if
 * none. */
int sluice_nats_message_status(const struct sluice_nats_message *message, char *text, size_t size);

/* Each header, see nats_headers.h. In the order of arrival; with a cnats newer than 3.13, names in
 * alphabetical order and the values of one name in theirs. */
void sluice_nats_message_headers(const struct sluice_nats_message *message,
                                 sluice_nats_header_fn *visit, void *ctx);

#endif
