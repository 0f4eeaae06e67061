/* SPDX-License-Identifier: Apache-2.0 */
/* What the host keeps of one message in flight: its memory, its answers, what it has staged. */
#ifndef SLUICE_RUN_INFLIGHT_H
#define SLUICE_RUN_INFLIGHT_H

#include "codec/hash.h"
#include "core/arena.h"
#include "core/engine.h"
#include "port/journal.h"
#include "port/source.h"
#include "port/store.h"

struct worker_host;

enum step_kind { STEP_LLM, STEP_HTTP, STEP_FIND, STEP_OFFLOAD };

/* A step as the handler asked for it, and its answer. Everything lives in the message's arena. */
struct host_step {
    enum step_kind kind;
    sluice_rc rc; /* SLUICE_OK or why it failed */
    struct sluice_hash hash;
    const char *text;    /* reason of a failure */
    const char *service; /* HTTP; else NULL */
    uint64_t call;       /* number of the running call, for cancel */
    uint8_t dependency, is_paid;
    uint8_t owed;     /* bit set of enum owed_step */
    uint8_t replayed; /* enum sluice_fate of the replay that is owed */
    uint32_t timeout_ms;
    char idempotency_key[SLUICE_HASH_TEXT_SIZE];
    /* What was asked. */
    const struct ProtobufCMessageDescriptor *answer_type; /* LLM, FIND */
    sluice_bytes body;                                    /* LLM: the request; HTTP, OFFLOAD */
    union {
        struct { /* HTTP */
            const char *method, *url;
            const sluice_header *headers;
            size_t answer_size_max;
            uint32_t headers_count;
        };
        struct { /* FIND */
            const char *collection, *id;
        };
        sluice_offload_fn *offload;
    };
    /* What came back. */
    union {
        sluice_llm_reply reply;
        sluice_http_reply http_reply;
        const void *found;
        sluice_bytes offloaded;
    };
    sluice_bytes journal_bytes; /* what KEEP writes; empty: there was no memory for it */
};

enum owed_step { OWED_REPLAY = 1, OWED_START = 2, OWED_KEEP = 4 };

/* What the engine is still to be told of a message, in the message's turn and not from inside the
 * performing of effects: a run, a replay, and each call for which there was no memory. Noting it
 * takes none. */
struct owed {
    struct inflight *next; /* in the runtime's queue */
    uint8_t is_queued;
    uint8_t run, steps;                /* there is a run; there are steps that owe something */
    uint8_t load, record, store, bury; /* how many of them */
    uint64_t outputs;                  /* bit set */
};

struct staged_output {
    uint32_t output; /* index into the worker's outputs */
    const char *message_id;
    const char *type; /* protobuf type name */
    sluice_bytes body;
};

struct inflight {
    struct sluice_ticket ticket; /* generation 0: the slot is free */
    struct worker_host *host;
    struct sluice_delivery *delivery; /* of the admission: body and headers */
    char *reply; /* newest delivery's reply subject, malloc'd by REBIND; NULL: delivery->reply */
    struct sluice_arena arena;       /* dies with the message */
    size_t arena_waited;             /* of it in use when the first run was suspended; 0: not yet */
    uint32_t operations;             /* calls of ports that will still come back */
    int is_released;                 /* by the engine; freed when operations is 0 */
    struct owed owed;                /* while it is queued, an operation too */
    struct sluice_delivery *rebound; /* newest delivery, kept for its reply subject: there was no
                                        memory to copy that */
    uint32_t deliveries;
    const char *type; /* of the body; NULL: not known */
    const char *key;  /* NULL until it is known */
    const char *correlation_id;
    const char *traceparent; /* NULL: none, or not one to pass on */
    const void *decoded;     /* of type decoded_type, kept over runs */
    const struct ProtobufCMessageDescriptor *decoded_type;
    struct host_step **steps; /* room for steps_capacity; grows in the arena */
    uint32_t steps_count, steps_capacity;
    uint32_t run; /* number of the run */
    uint32_t lines_logged;
    /* Staged by the last run that ended OK. */
    struct sluice_doc *docs;
    uint32_t docs_count;
    struct staged_output *outputs;
    uint32_t outputs_count;
    uint64_t *output_hashes;
    /* Why it failed, for journal, log and dead letter. */
    const char *failed_step;
    const char *reason; /* "": it has not failed */
    /* Journal. */
    struct sluice_journal_key journal_key; /* of the original, for a replay */
    struct sluice_bytes *journaled;        /* answers of LOADED, by index */
    uint32_t journaled_count;
    int64_t received_ms;
};

/* Prepare a slot for a delivery, which it owns from now on. */
void inflight_open(struct inflight *m, struct worker_host *host, struct sluice_ticket ticket,
                   struct sluice_delivery *delivery, const struct sluice_allocator *allocator);
/* The run was suspended: what comes now comes with the answer. */
void inflight_waits(struct inflight *m);
/* Give everything back; the delivery through the source. */
void inflight_close(struct inflight *m, struct sluice_source *source);
/* Settle on another delivery's reply subject from now on. 1: the delivery is kept for that. */
int inflight_rebind(struct inflight *m, struct sluice_source *source,
                    struct sluice_delivery *delivery);
const char *inflight_reply(const struct inflight *m);
/* Remember why the message fails; the first reason of a run stands. */
SLUICE_PRINTF(3, 4)
void inflight_blame(struct inflight *m, const char *step, const char *format, ...);
void inflight_reason(struct inflight *m, const char *text); /* copied; in place of any other */

#endif
