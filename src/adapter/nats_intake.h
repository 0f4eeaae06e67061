/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a source share: the connection's inbox, and who is told what comes in. For
 * nats_source.c, nats_answers.c and nats_pulls.c alone. */
#ifndef SLUICE_ADAPTER_NATS_INTAKE_H
#define SLUICE_ADAPTER_NATS_INTAKE_H

#include "adapter/nats_box.h"
#include "adapter/nats_link.h"
#include "port/source.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct sluice_nats_answers;

/* The part of a connection that callbacks use: alive until its last subscription is released. */
struct sluice_nats_wire {
    struct sluice_nats_answers *answers; /* who listens on it */
    atomic_uint refs;
    int64_t horizon_ms; /* delivery thread only */
    size_t inbox_len;
    char inbox[128];
};

struct sluice_nats_intake {
    struct sluice_nats_box *box;
    struct sluice_nats_link *link;
    struct sluice_source_events events;
    void *ctx;
    char *stream, *consumer;
    struct sluice_nats_wire *wire; /* of this connection; NULL when down */
    int64_t alive_ms;
    int is_closed; /* no event any more: what still comes is only freed */
};

struct sluice_nats_note;
/* Loop thread; not once the intake is closed. */
typedef void sluice_nats_note_fn(struct sluice_nats_note *note);

/* What a callback, or an operation that failed at once, tells the loop thread. */
struct sluice_nats_note {
    struct sluice_mail mail; /* first */
    struct sluice_nats_intake *intake;
    sluice_nats_note_fn *tell;
    int64_t read_ms; /* 0: no sign of the server */
};

/* `size` bytes, zeroed, that begin with the note; post it. Any thread. NULL without memory: then it
 * is an answer that was not read, for which every sender has a deadline. */
void *sluice_nats_note_create(struct sluice_nats_intake *intake, sluice_nats_note_fn *tell,
                              size_t size);
void sluice_nats_note_post(struct sluice_nats_note *note);

/* The server gave a sign of life. Loop thread. */
void sluice_nats_intake_alive(struct sluice_nats_intake *intake, int64_t read_ms);

/* For the connection of `link`, with one reference. NULL without memory. */
struct sluice_nats_wire *sluice_nats_wire_create(const struct sluice_nats_link *link);
/* Any thread. */
void sluice_nats_wire_ref(struct sluice_nats_wire *wire);
void sluice_nats_wire_unref(struct sluice_nats_wire *wire);

/* What follows the inbox in a subject, e.g. ".a.s.1f.9c"; NULL when the subject is not ours. */
const char *sluice_nats_wire_rest(const struct sluice_nats_wire *wire, const char *subject);
/* A hexadecimal number after a dot, which `*rest` moves behind; 0 when there is none. */
int sluice_nats_wire_number(const char **rest, uint64_t *out);

#endif
