/* SPDX-License-Identifier: Apache-2.0 */
/* A stream's answer to a publish: a strict JSON reader of exactly that, without allocation. */
#ifndef SLUICE_ADAPTER_NATS_PUBACK_H
#define SLUICE_ADAPTER_NATS_PUBACK_H

#include "core/engine.h"

#define SLUICE_PUBACK_SIZE_MAX  65536u /* longer answers are refused unread */
#define SLUICE_PUBACK_TEXT_SIZE 256u

/* Numbers of errors that mean something here (server/errors.json). */
enum {
    SLUICE_JS_ERR_NOT_ENABLED_FOR_ACCOUNT = 10039,
    SLUICE_JS_ERR_MESSAGE_SIZE = 10054, /* over the stream's max_msg_size */
    SLUICE_JS_ERR_WRONG_LAST_SEQUENCE =
        10071, /* Nats-Expected-Last-Subject-Sequence did not match */
    SLUICE_JS_ERR_NOT_ENABLED = 10076,
    SLUICE_JS_ERR_STORE_FAILED = 10077, /* limits of the stream, full disk */
    SLUICE_JS_ERR_ID_IN_PROCESS = 10158 /* a message of this id came before; it is not stored yet */
};

struct sluice_puback {
    int is_error;
    int duplicate;
    uint64_t sequence;                         /* 0 when the server gave none */
    uint32_t code;                             /* error: as in HTTP */
    uint32_t error_code;                       /* error: JetStream's number, 0 when it gave none */
    char stream[SLUICE_PUBACK_TEXT_SIZE];      /* "" when absent; cut */
    char description[SLUICE_PUBACK_TEXT_SIZE]; /* error: the server's words; cut, control characters
                                                  replaced */
};

/* 1: `out` is filled; 0: these bytes are no PubAck (no object, wrong types, neither error nor
 * stream, trailing bytes, deeper than 8, over the size limit) and `out` is all zero. */
int sluice_puback_parse(sluice_bytes bytes, struct sluice_puback *out);

/* Does it say that a message of this id is being stored, and perhaps will be? Servers of 2.10 call
 * it a duplicate without sequence, later ones an error: while a cluster changes the stream's
 * leader, of what they have staged and not committed. */
int sluice_puback_is_not_yet(const struct sluice_puback *ack);

/* What the answer means for the publish: OK only for a stored message (core/puback.h). `rc` gets
 * the matching code. */
enum sluice_fate sluice_puback_fate(const struct sluice_puback *ack, sluice_rc *rc);

#endif
