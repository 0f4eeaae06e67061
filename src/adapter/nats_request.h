/* SPDX-License-Identifier: Apache-2.0 */
/* What a request over a link consists of, how it ends, and its copy, from which it is sent later or
 * again. */
#ifndef SLUICE_ADAPTER_NATS_REQUEST_H
#define SLUICE_ADAPTER_NATS_REQUEST_H

#include "sluice/worker.h"
#include <stdint.h>

/* When a request is sent again before its deadline: while a stream changes its leader nobody
 * listens on its subjects, and what was on the way to the old leader is lost. A request that is
 * sent again is copied. */
enum sluice_nats_again {
    SLUICE_NATS_ONCE,
    SLUICE_NATS_IF_NOBODY_LISTENS, /* nothing has been stored: always safe */
    SLUICE_NATS_IF_SILENT /* also 2 s after the last try: for messages with a Nats-Msg-Id */
};

struct sluice_nats_request {
    const char *subject;
    const sluice_header *headers;
    uint32_t headers_count;
    sluice_bytes body;
    int64_t timeout_ms;
    enum sluice_nats_again again;
    int is_last; /* of its message's steps: where requests have to wait, it goes before others */
    /* Does an answer only say that an earlier try of the same is still being stored? Then it is
     * sent again in a while, too. NULL: each answer is the end. */
    int (*is_not_yet)(sluice_bytes answer);
};

enum sluice_nats_outcome {
    SLUICE_NATS_ANSWERED,
    SLUICE_NATS_NO_RESPONDERS, /* nobody listens on the subject, or did until the deadline */
    SLUICE_NATS_NOT_SENT,      /* not connected */
    SLUICE_NATS_OVERSIZE,      /* over the server's limit; not sent */
    SLUICE_NATS_ILLEGAL,       /* subject or header; not sent */
    SLUICE_NATS_LOST,          /* sent, then the connection broke or fell silent, or destroy came */
    SLUICE_NATS_LATE           /* sent, no answer within the timeout */
};

/* `body` is borrowed for the call, empty unless ANSWERED. May send further requests. */
typedef void sluice_nats_answer_fn(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body);

/* Why nothing of a request is under way. */
enum sluice_nats_pause {
    SLUICE_NATS_NO_PAUSE,
    SLUICE_NATS_HELD,   /* not sent yet: others are before it */
    SLUICE_NATS_UNHEARD /* nobody listened, it was put off, or there was no memory to send it */
};

/* One block of memory, given back with free(). */
struct sluice_nats_copy {
    struct sluice_nats_request request; /* its pointers go into the same block */
    int64_t deadline_ms;
    int64_t wait_ms; /* until the next try when nobody listens, or it was put off */
    enum sluice_nats_pause pause;
    uint8_t is_unknown; /* a try may have been stored */
    uint8_t is_told;    /* that nobody listens */
};

/* NULL without memory. */
struct sluice_nats_copy *sluice_nats_copy_create(const struct sluice_nats_request *request,
                                                 int64_t now_ms);
/* When there is something to do about it that nobody else begins: the next try, or the end. */
int64_t sluice_nats_copy_due(const struct sluice_nats_copy *copy, int64_t now_ms);
/* Nobody listens, or it was put off: the next wait is longer. */
void sluice_nats_copy_wait_longer(struct sluice_nats_copy *copy);

#endif
