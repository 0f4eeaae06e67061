/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated world of one run: everything outside of the engines, and the judges that watch. */
#ifndef SLUICE_SIM_WORLD_H
#define SLUICE_SIM_WORLD_H

#include "core/engine.h"
#include "sim/check.h"
#include "sim/jetstream.h"
#include "sim/kv.h"
#include "sim/plan.h"
#include "sim/process.h"
#include "sim/queue.h"
#include "sim/script.h"
#include "sim/sink.h"
#include "sim/trace.h"

/* Kinds of queued items. X(name, what the numbers mean). */
#define SIM_KINDS(X)                                                                               \
    X(INPUT)            /* a: sequence that is published */                                        \
    X(TO_SERVER_PULL)   /* b: pull id */                                                           \
    X(TO_SERVER_SETTLE) /* a: verb, fate of its answer, settle << 8; b: sequence, c: delay,        \
                           d: sent */                                                              \
    X(TO_SERVER_CHECK)                                                                             \
    X(TO_SERVER_STOP)                                                                              \
    X(TO_SERVER_PING)     /* d: sent */                                                            \
    X(TO_CLIENT_MESSAGE)  /* a: sequence, b: pull id, c: deliveries, d: stored */                  \
    X(TO_CLIENT_STATUS)   /* a: enum sluice_pull_status, b: pull id */                             \
    X(TO_CLIENT_SETTLED)  /* a, d as TO_SERVER_SETTLE */                                           \
    X(TO_CLIENT_NOBODY)   /* the same, but 503: there is no such consumer */                       \
    X(TO_CLIENT_CONSUMER) /* a: exists */                                                          \
    X(TO_CLIENT_STOPPED)                                                                           \
    X(TO_CLIENT_PONG) /* d: sent */                                                                \
    X(TO_CLIENT_DOWN) /* the connection is gone */                                                 \
    X(TO_CLIENT_UP)                                                                                \
    X(ACK_TIMER)     /* a: sequence */                                                             \
    X(PULL_TIMER)    /* a: index of the server's pull, b: its serial */                            \
    X(ANSWER)        /* to a request, see host.c */                                                \
    X(WRITE)         /* a: index of a pending write that takes effect now */                       \
    X(LOCAL)         /* to the process itself: a verdict */                                        \
    X(UNSENT)        /* a settle that could not be sent; numbers as TO_SERVER_SETTLE */            \
    X(UNCHECKED)     /* a look at the consumer that could not be sent */                           \
    X(STOPPED_ALONE) /* intake stopped without a connection */                                     \
    X(EXIT)          /* a drained process ends */                                                  \
    X(FED)           /* allocations work again */                                                  \
    X(PING_DUE)                                                                                    \
    X(LINK_CUT)     /* a stalled connection breaks */                                              \
    X(LINK_NOTICED) /* the server sees that a connection is gone */                                \
    X(CONTINUE)     /* SIGCONT */                                                                  \
    X(START)        /* a new process */                                                            \
    X(ABORT)                                                                                       \
    X(OVERDUE) /* a process that was told to end is still there */                                 \
    X(SERVER_UP)                                                                                   \
    X(CONSUMER_CREATE)                                                                             \
    X(FAULT) /* a: index into the plan */                                                          \
    X(CALM)

enum sim_kind {
#define SIM_KIND_ENUM(name) SIM_K_##name,
    SIM_KINDS(SIM_KIND_ENUM)
#undef SIM_KIND_ENUM
        SIM_K_COUNT
};

/* A settle's verb, and what the network does to the answer. */
#define SIM_SETTLE_VERB        0x0fu
#define SIM_SETTLE_ANSWER_LOST 0x10u
#define SIM_SETTLE_ANSWER_SLOW 0x20u

/* One message of the requests stream, by sequence, and what has become of it. */
struct sim_input {
    int64_t stored_ms; /* wall clock of the server */
    uint32_t size;
    uint32_t key; /* identity: its own sequence, or that of the message that it replays */
    uint8_t is_replay;
    uint8_t is_published;
    struct sim_script scripts[SIM_VERSIONS];
};

struct sim_totals {
    uint64_t steps;               /* engine steps */
    uint64_t events;              /* those that moved a message or emitted an effect */
    uint64_t inputs, acked, dead; /* messages: all, ACKed at least once, with a dead letter */
    uint64_t dead_and_done;       /* those that are both */
    uint64_t purged;              /* those that are neither */
    uint64_t kills, freezes, server_kills, deliveries;
    uint64_t paid_calls, answers_kept, answers_replayed, excused_payments;
    uint64_t naks, duplicates_outside_window, items;
};

struct sim_world {
    struct sim_plan plan;
    struct sluice_prng rng;
    int64_t now_ms;
    uint8_t is_calm;   /* faults are over */
    uint8_t is_ending; /* all messages are finished: processes are told to drain */
    int64_t outage_until_ms[SIM_TARGET_COUNT];
    uint8_t outage_hangs[SIM_TARGET_COUNT];
    uint32_t version;        /* of workers that start now */
    uint32_t inputs_count;   /* published or to be, sequences 1 … inputs_count */
    uint32_t finished_count; /* keys that need nothing more */
    struct sim_queue queue;
    struct sim_jetstream js;
    struct sim_kv kv;
    struct sim_sink sink;
    struct sim_process processes[SIM_WORKERS_MAX];
    struct sim_judge judge;
    struct sim_trace trace;
    struct sim_totals totals;
    struct sim_input inputs[SIM_INPUTS_MAX + 1];
    struct sluice_effects effects;
    /* Of a course, until the calm: whom the first requests were for, effects performed. */
    struct sim_asked asked, network_asked;
    uint32_t effects_count;
};

/* The script that a worker of `version` follows for a message. */
const struct sim_script *sim_world_script(struct sim_world *w, uint32_t sequence, uint32_t version);

static inline void sim_world_push(struct sim_world *w, int64_t at_ms, enum sim_kind kind,
                                  struct sim_item item)
{
    item.at_ms = at_ms;
    item.kind = (uint8_t)kind;
    sim_queue_push(&w->queue, &item);
}

#endif
