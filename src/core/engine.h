/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: what happens to each message, as a pure function step(event) → effects.
 *
 * No clock, thread, socket, file or global: time comes with each event, randomness from a seeded
 * generator, memory from the allocator that it was created with (a step that cannot get memory
 * fails that message, never the engine). Same seed and same events give the same effects, byte for
 * byte. The real adapters and the simulator drive the same code.
 *
 * Contract of the driver (src/run, src/sim)
 *  - Perform the effects of a step in their order, before the next step. Report what came of them
 * as events, later; never from inside the performing of an effect.
 *  - Exactly one completion follows each effect that asks for one (see the effect's line), also
 * after CANCEL; none when an offloaded function never returns. A completion for a ticket that has
 * been released is legal and ignored.
 *  - Call step with EV_TICK when sluice_engine_deadline() has passed.
 *
 * Whose fault is a failure
 *  - Counted failures end in the dead letters, so only what may be the message's own fault, or may
 * have cost money, is counted. A dependency that is away says nothing about the message: however
 * long that lasts and however few messages there are, none may end there for it.
 *  - FATE_UNREACHABLE is therefore never counted, neither before the breaker opens nor as a trial
 * of an open one: the request did not go out, so nothing in it can have been the cause.
 *  - FATE_UNAVAILABLE (a gateway's 502, 503, 504 and their like) is not counted either, unless the
 * newest call to that dependency before it was answered while the breaker was closed. What is
 * behind a gateway may be away; or it is there for all the others, and it is this request that
 * makes it crash or that it computes for too long, each time for money. Such a message must come
 * to an end.
 *  - A time-out and a connection that breaks behind the request keep counting, for the same two
 * reasons. So does an error that the handler makes of an unreachable step.
 *  - What is not counted fails as DEPENDENCY: it waits as usual, growing with the deliveries, and
 * at least for the next trial. It is not written down: a later delivery, after a kill too, finds
 * the same count.
 */
#ifndef SLUICE_CORE_ENGINE_H
#define SLUICE_CORE_ENGINE_H

#include "core/alloc.h"
#include "core/breaker.h"
#include "core/err.h"
#include "sluice/worker.h"
#include <stdint.h>

/* ---- Bounds ---- */

#define SLUICE_IN_FLIGHT_MAX    65536u /* largest max_in_flight */
#define SLUICE_PULLS_MAX        4u     /* pulls open at once */
#define SLUICE_DEPENDENCIES_MAX 16u    /* breakers: LLM, store, publish, then HTTP services */
#define SLUICE_JOURNALED_MAX    256u   /* answers of one message that are read back */
#define SLUICE_FX_CAPACITY                                                                         \
    1024u /* effects of one step; what does not fit comes with the next tick, due at once */

/* ---- States ---- */

/* X(name, text, states it may move to). LOST: the lease is gone; the attempt only waits for its
 * running calls to end, those with a time-out. */
#define SLUICE_MSG_STATES(X)                                                                       \
    X(RECEIVED, "received", TO(RUNNING) | TO(NAKING) | TO(BURYING) | TO(LOST))                     \
    X(RUNNING, "running",                                                                          \
      TO(RECEIVED) | TO(WAITING) | TO(STORING) | TO(NAKING) | TO(BURYING) | TO(LOST))              \
    X(WAITING, "waiting", TO(RECEIVED) | TO(RUNNING) | TO(NAKING) | TO(BURYING) | TO(LOST))        \
    X(STORING, "storing", TO(RECEIVED) | TO(PUBLISHING) | TO(NAKING) | TO(BURYING) | TO(LOST))     \
    X(PUBLISHING, "publishing", TO(ACKING) | TO(NAKING) | TO(BURYING) | TO(LOST))                  \
    X(ACKING, "acking", TO(DONE))                                                                  \
    X(DONE, "done", 0u)                                                                            \
    X(NAKING, "naking", TO(DONE) | TO(LOST))                                                       \
    X(BURYING, "burying", TO(TERMING) | TO(NAKING) | TO(LOST))                                     \
    X(TERMING, "terming", TO(DONE))                                                                \
    X(LOST, "lost", TO(DONE) | TO(RECEIVED) | TO(ACKING) | TO(TERMING))

enum sluice_msg_state {
#define SLUICE_MSG_ENUM(name, text, to) SLUICE_MSG_##name,
    SLUICE_MSG_STATES(SLUICE_MSG_ENUM)
#undef SLUICE_MSG_ENUM
        SLUICE_MSG_STATE_COUNT
};

/* How a message left the engine: FX_RELEASE and the metrics. */
#define SLUICE_OUTCOMES(X)                                                                         \
    X(ACKED, "acked")        /* +ACK answered */                                                   \
    X(NAKED, "naked")        /* -NAK sent */                                                       \
    X(DEAD, "dead_lettered") /* dead letter stored, +TERM answered */                              \
    X(ACK_LOST,                                                                                    \
      "ack_lost") /* committed, but no answer to +ACK: it will be redelivered and found done */    \
    X(TERM_LOST, "term_lost")   /* dead letter stored, no answer to +TERM */                       \
    X(LEASE_LOST, "lease_lost") /* the lease ended before a verdict: the server redelivers */

enum sluice_outcome {
#define SLUICE_OUTCOME_ENUM(name, text) SLUICE_OUTCOME_##name,
    SLUICE_OUTCOMES(SLUICE_OUTCOME_ENUM)
#undef SLUICE_OUTCOME_ENUM
        SLUICE_OUTCOME_COUNT
};

/* Why a delivery failed. X(name, text, counts as a recorded failure of the message). */
#define SLUICE_FAILURES(X)                                                                         \
    X(NONE, "none", 0)                                                                             \
    X(STEP, "step", 1)         /* an LLM, HTTP, find or offload step failed */                     \
    X(HANDLER, "handler", 1)   /* the handler returned an error of its own */                      \
    X(REJECTED, "rejected", 1) /* can never work: SLUICE_REJECT, undecodable, permanent answer */  \
    X(STORE, "store", 1)                                                                           \
    X(PUBLISH, "publish", 1)                                                                       \
    X(RATE_LIMITED, "rate_limited", 1)                                                             \
    X(TIMEOUT, "timeout", 1) /* the attempt's own deadline */                                      \
    X(NO_MEMORY, "no_memory", 0)                                                                   \
    X(DEPENDENCY, "dependency_down",                                                               \
      0) /* away: waited for a breaker until the deadline, or a call did not reach it */           \
    X(JOURNAL, "journal", 0)  /* a mark could not be written */                                    \
    X(DRAIN, "drain", 0)      /* shutting down */                                                  \
    X(BURY, "dead_letter", 0) /* the dead letter found no place */                                 \
    X(KILLER, "killed_the_process", 0)

enum sluice_failure {
#define SLUICE_FAILURE_ENUM(name, text, counts) SLUICE_FAILURE_##name,
    SLUICE_FAILURES(SLUICE_FAILURE_ENUM)
#undef SLUICE_FAILURE_ENUM
        SLUICE_FAILURE_COUNT
};

const char *sluice_msg_state_name(enum sluice_msg_state state);
const char *sluice_outcome_name(enum sluice_outcome outcome);
const char *sluice_failure_name(enum sluice_failure failure);

/* ---- Small values ---- */

/* One admitted message: a slot and how often it has been used. Generation 0 is never given out. */
struct sluice_ticket {
    uint32_t slot;
    uint32_t generation;
};

/* SHA-256 of a request, cut to 128 bits. */
struct sluice_hash {
    uint64_t high, low;
};

/* Dependencies by number. */
enum {
    SLUICE_DEP_LLM = 0,
    SLUICE_DEP_STORE = 1,
    SLUICE_DEP_PUBLISH = 2,
    SLUICE_DEP_SERVICES = 3,
    SLUICE_DEP_NONE = 255
};

/* How a call ended, as an adapter classifies it. */
#define SLUICE_FATES(X)                                                                            \
    X(OK, "ok")                                                                                    \
    X(RETRY, "retry") /* transient; counts against the dependency's breaker */                     \
    X(UNREACHABLE,                                                                                 \
      "unreachable") /* did not go out: no connection, no name; counts against the breaker */      \
    X(UNAVAILABLE,                                                                                 \
      "unavailable")            /* told that the other side is away; counts against the breaker */ \
    X(BAD_ANSWER, "bad_answer") /* the server works, its answer is not what was asked for */       \
    X(PERMANENT,                                                                                   \
      "permanent")        /* will never work for this request: too large, refused as malformed */  \
    X(UNKNOWN, "unknown") /* sent, no answer; counts against the breaker */                        \
    X(RATE_LIMITED,                                                                                \
      "rate_limited") /* 429: retry_after_ms says when to come back, 0 when it did not say */      \
    X(CANCELLED, "cancelled") /* ended by FX_CANCEL */                                             \
    X(NO_MEMORY, "no_memory") /* the driver had none for it or for its answer: nobody else is to   \
                                 blame, and it may have happened all the same */                   \
    X(MISS, "miss") /* only FX_REPLAY: the journaled answer could not be used; ask again */

enum sluice_fate {
#define SLUICE_FATE_ENUM(name, text) SLUICE_FATE_##name,
    SLUICE_FATES(SLUICE_FATE_ENUM)
#undef SLUICE_FATE_ENUM
        SLUICE_FATE_COUNT
};

const char *sluice_fate_name(enum sluice_fate fate);

/* A step that waits, as the handler asks for it. */
struct sluice_step_request {
    struct sluice_hash hash;
    uint8_t dependency; /* SLUICE_DEP_…: LLM, STORE for find, a service, NONE for offload */
    uint8_t is_paid;    /* its answer is journaled */
};

/* Status of a step, read by the host to serve a handler's run (the answers themselves are the
 * host's). */
enum sluice_step_state {
    SLUICE_STEP_PARKED, /* waits for its dependency: breaker, rate limit */
    SLUICE_STEP_RUNNING,
    SLUICE_STEP_REPLAYING, /* its answer is being taken from the journal */
    SLUICE_STEP_OK,
    SLUICE_STEP_FAILED
};

struct sluice_step_status {
    struct sluice_hash hash;
    uint32_t occurrence; /* of this hash within the message, from 0 */
    uint8_t state;       /* enum sluice_step_state */
    uint8_t dependency;
    uint8_t is_paid;
    uint8_t fate; /* enum sluice_fate, of a step that ended; UNAVAILABLE has become UNREACHABLE or
                     RETRY */
};

/* Message's small record in the journal: failures, marks, partial outputs. All zero when there is
 * none. */
struct sluice_record {
    uint32_t failures; /* recorded so far */
    uint32_t epoch;    /* answers of other epochs are spent: the handler failed after having them */
    uint16_t stale_marks;  /* marks found that no run had cleared, since a handler ended */
    uint8_t is_marked;     /* a run of the handler is (or was, when the process died) going on */
    uint8_t outputs_count; /* confirmed outputs of a delivery that failed later */
    uint64_t outputs[SLUICE_EFFECTS_MAX]; /* their ids, hashed; sluice_verdict.outputs has the same
                                             hashes */
};

struct sluice_journaled {
    struct sluice_hash hash;
    uint32_t occurrence;
    uint32_t epoch;
};

/* ---- Events ---- */

#define SLUICE_EVENTS(X)                                                                           \
    X(TICK, "tick") /* time passed */                                                              \
    X(CONNECTED,                                                                                   \
      "connected") /* the source can pull and settle; ev->connected. Again after each reconnect,   \
                      without a DISCONNECTED in between if the driver missed it */                 \
    X(DISCONNECTED, "disconnected")                                                                \
    X(MESSAGE, "message") /* ev->message */                                                        \
    X(PULL, "pull")       /* a status or a sign of life of an open pull; ev->pull */               \
    X(CONSUMER,                                                                                    \
      "consumer") /* answer to FX_CHECK, or unasked; ev->consumer: enum sluice_consumer */         \
    X(INTAKE_STOPPED, "intake_stopped") /* answer to FX_STOP: nothing will arrive any more */      \
    X(VERDICT, "verdict")               /* answer to FX_RUN; ev->verdict */                        \
    X(STEP, "step")                     /* answer to FX_START or FX_REPLAY; ev->step */            \
    X(KEPT, "kept")                     /* answer to FX_KEEP; ev->kept */                          \
    X(LOADED, "loaded")                 /* answer to FX_LOAD; ev->loaded */                        \
    X(RECORDED, "recorded")             /* answer to FX_RECORD; ev->fate: OK or anything else */   \
    X(STORED, "stored") /* answer to FX_STORE; ev->fate: OK only if every document is durable */   \
    X(PUBLISHED, "published") /* answer to FX_PUBLISH; ev->published */                            \
    X(BURIED, "buried")       /* answer to FX_BURY; ev->fate: OK only with a PubAck */             \
    X(SETTLED, "settled")     /* answer to FX_SETTLE; ev->settled */                               \
    X(DRAIN, "drain")         /* stop pulling, NAK what has not started, finish the rest */        \
    X(ABORT, "abort")         /* the grace is over: cancel and NAK what is left */

enum sluice_event_kind {
#define SLUICE_EVENT_ENUM(name, text) SLUICE_EV_##name,
    SLUICE_EVENTS(SLUICE_EVENT_ENUM)
#undef SLUICE_EVENT_ENUM
        SLUICE_EV_COUNT
};

struct sluice_ev_connected {
    int32_t journal_in_use; /* the journal holds records: messages stored before now may have been
                               delivered before */
};

struct sluice_ev_message {
    uint64_t sequence;
    int64_t stored_ms;   /* wall clock of the server, Unix */
    int64_t horizon_ms;  /* monotonic: send time of the newest request of this connection whose
                            answer was read */
    uint32_t deliveries; /* from 1; 0 when it could not be read */
    uint32_t size; /* bytes of body and headers, as the server counts them against max_bytes */
    uint32_t pull; /* id of the FX_PULL that it belongs to */
    uint8_t is_replay;     /* Sluice-Key or Sluice-Replay-Of: its journal is read in any case */
    uint8_t has_no_memory; /* the driver has none to keep it: it is not admitted */
};

/* What an open pull said. */
enum sluice_pull_status {
    SLUICE_PULL_ALIVE,  /* idle heartbeat (100) */
    SLUICE_PULL_ENDED,  /* 404, 408, 409 Batch Completed, 409 MaxBytes: over, ask again */
    SLUICE_PULL_MOVED,  /* 409 Leadership Change, 409 Server Shutdown: over, ask again on a new
                           inbox */
    SLUICE_PULL_GONE,   /* 409 Consumer Deleted, 503: over; check the consumer */
    SLUICE_PULL_UNKNOWN /* anything else: over; ask again with back-off */
};

enum sluice_consumer {
    SLUICE_CONSUMER_UNKNOWN = -1,
    SLUICE_CONSUMER_MISSING,
    SLUICE_CONSUMER_THERE,
    SLUICE_CONSUMER_ANEW /* there, but not the one that gave out what is in hand */
};

struct sluice_ev_pull {
    uint32_t pull;  /* id of the FX_PULL; statuses of pulls that are not open are ignored */
    uint8_t status; /* enum sluice_pull_status */
};

enum sluice_verdict_kind {
    SLUICE_VERDICT_SUSPENDED, /* waits for steps */
    SLUICE_VERDICT_DONE,      /* OK: everything staged and validated */
    SLUICE_VERDICT_FAILED     /* any other return, a missing required step, a handler's mistake */
};

struct sluice_ev_verdict {
    uint8_t kind;    /* enum sluice_verdict_kind */
    uint8_t failure; /* FAILED: HANDLER, REJECTED or NO_MEMORY. The engine itself makes it STEP (or
                        what the step's fate implies) when `failed_step` names the step whose error
                        was passed on */
    int16_t failed_step; /* index of the step whose error the handler returned; -1: an error of its
                            own */
    uint16_t
        steps_count; /* steps asked for in this run that the message did not have yet, in order */
    uint8_t documents_count; /* DONE */
    uint8_t outputs_count;   /* DONE */
    const struct sluice_step_request *steps;
    uint64_t awaited[4]; /* SUSPENDED: bit set of step indices; run again when all of them ended */
    const uint64_t *outputs; /* DONE: hash of each output's id */
};

struct sluice_ev_step {
    uint16_t step;
    uint8_t fate; /* enum sluice_fate */
    int64_t retry_after_ms;
};

enum sluice_kept {
    SLUICE_KEPT_OK,
    SLUICE_KEPT_LOST_RACE, /* another delivery's answer was there first: the attempt starts again
                              from its journal (a LOAD follows) so that both use the same answer */
    SLUICE_KEPT_FAILED
};

struct sluice_ev_kept {
    uint16_t step;
    uint8_t result; /* enum sluice_kept */
};

struct sluice_ev_loaded {
    uint8_t fate; /* OK also when there is nothing */
    uint32_t answers_count;
    const struct sluice_record *record;
    const struct sluice_journaled *answers; /* FX_REPLAY names them by index into this list */
};

struct sluice_ev_published {
    uint8_t output;
    uint8_t fate; /* OK only with a PubAck; `duplicate` only with a sequence above 0. CANCELLED: the
                     connection was down: neither the message nor the breaker is to blame */
};

enum sluice_verb { SLUICE_VERB_ACK, SLUICE_VERB_NAK, SLUICE_VERB_PROGRESS, SLUICE_VERB_TERM };

struct sluice_ev_settled {
    uint8_t verb;
    uint8_t is_answered; /* 1: the server saw it; 0: could not be sent, connection lost. Silence
                            needs no event */
    uint32_t settle;     /* number of the FX_SETTLE */
    int64_t sent_ms;     /* monotonic, when it was sent: a renewed lease counts from here */
};

struct sluice_event {
    enum sluice_event_kind kind;
    struct sluice_ticket ticket; /* of the events that answer an effect with a ticket */
    int64_t mono_ms;             /* monotonic clock that counts suspended time; never goes back */
    int64_t wall_ms;             /* Unix */
    union {
        struct sluice_ev_connected connected;
        struct sluice_ev_message message;
        struct sluice_ev_pull pull;
        struct sluice_ev_verdict verdict;
        struct sluice_ev_step step;
        struct sluice_ev_kept kept;
        struct sluice_ev_loaded loaded;
        struct sluice_ev_published published;
        struct sluice_ev_settled settled;
        int32_t consumer; /* enum sluice_consumer */
        uint8_t fate; /* enum sluice_fate */
    };
};

/* ---- Effects ---- */

#define SLUICE_EFFECTS(X)                                                                           \
    X(PULL, "pull")       /* ask the server for fx->pull; answered by MESSAGEs and PULLs */         \
    X(ABANDON, "abandon") /* fx->pull.pull is given up: its inbox stays subscribed until its        \
                             expiry has passed, a later pull uses a new inbox. No answer */         \
    X(CHECK, "check")     /* does the consumer exist? → CONSUMER */                               \
    X(STOP, "stop") /* unsubscribe all inboxes → INTAKE_STOPPED once the server has confirmed */  \
    X(ADMIT,                                                                                        \
      "admit") /* the message of this event is in flight as fx->ticket: keep it. No answer */       \
    X(REBIND, "rebind") /* the message of this event is another delivery of fx->ticket: settle on   \
                           its reply subject from now on, drop its body. No answer */               \
    X(REFUSE, "refuse") /* the message of this event: NAK with fx->settle.delay_ms and forget. No   \
                           answer */                                                                \
    X(SETTLE, "settle") /* send fx->settle → SETTLED, or silence */                               \
    X(LOAD, "load") /* read the message's journal → LOADED. The engine has forgotten the steps of \
                       this message (if any): forget their answers too */                           \
    X(RUN, "run")   /* run the handler from its top → VERDICT */                                  \
    X(START, "start")   /* start the call of step fx->step → STEP */                              \
    X(REPLAY, "replay") /* serve step fx->step from the answer fx->journaled of LOADED → STEP (OK \
                           or MISS) */                                                              \
    X(CANCEL, "cancel") /* end the running call of fx->step soon, if that is possible (neither a    \
                           find nor an offloaded function) → STEP as always, with any fate */     \
    X(KEEP, "keep") /* journal the answer of fx->step, create-only, under fx->epoch → KEPT */     \
    X(RECORD, "record")   /* write fx->record → RECORDED */                                       \
    X(STORE, "store")     /* write all staged documents → STORED */                               \
    X(PUBLISH, "publish") /* publish staged output fx->output → PUBLISHED */                      \
    X(BURY, "bury")       /* publish the dead letter, reason fx->failure → BURIED */              \
    X(RELEASE, "release") /* finished with fx->outcome: forget the message. No answer */            \
    X(DRAINED, "drained") /* after DRAIN: nothing is in flight. No answer */

enum sluice_effect_kind {
#define SLUICE_EFFECT_ENUM(name, text) SLUICE_FX_##name,
    SLUICE_EFFECTS(SLUICE_EFFECT_ENUM)
#undef SLUICE_EFFECT_ENUM
        SLUICE_FX_COUNT
};

struct sluice_fx_pull {
    uint32_t pull; /* unique id, from 1 */
    uint32_t batch;
    uint32_t max_bytes;
    uint32_t expires_ms;
    uint32_t heartbeat_ms;
};

struct sluice_fx_settle {
    uint32_t settle;  /* number, unique within the ticket */
    uint8_t verb;     /* enum sluice_verb */
    int64_t delay_ms; /* NAK */
};

struct sluice_effect {
    enum sluice_effect_kind kind;
    struct sluice_ticket ticket;
    union {
        struct sluice_fx_pull pull;
        struct sluice_fx_settle settle;
        const struct sluice_record *record; /* borrowed until the next step */
        struct {
            uint16_t step;
            uint16_t journaled; /* REPLAY */
            uint32_t epoch;     /* KEEP */
        };
        uint8_t output;
        struct {
            uint8_t failure;   /* BURY, also RELEASE of NAKED: enum sluice_failure */
            uint8_t outcome;   /* RELEASE: enum sluice_outcome */
            uint32_t failures; /* BURY, RELEASE: recorded failures, this one included */
        };
    };
};

const char *sluice_event_name(enum sluice_event_kind kind);
const char *sluice_effect_name(enum sluice_effect_kind kind);

struct sluice_effects {
    uint32_t count;
    struct sluice_effect items[SLUICE_FX_CAPACITY];
};

/* ---- The engine ---- */

/* What the engine tells about itself; write-only, the hook must not call back. */
struct sluice_transition {
    struct sluice_ticket ticket;
    uint64_t sequence;
    int64_t mono_ms;
    int64_t spent_ms; /* in the state that is left */
    enum sluice_msg_state from, to;
    uint32_t deliveries;
    uint32_t failures;
    enum sluice_failure failure; /* the reason, when moving to NAKING or BURYING */
    int64_t delay_ms;            /* of the NAK */
};

struct sluice_engine_config {
    uint32_t max_in_flight;    /* 1…SLUICE_IN_FLIGHT_MAX */
    uint64_t max_bytes;        /* budget for bodies in flight; 0: unlimited */
    uint32_t message_size_max; /* of the stream: no pull asks for less than one of these */
    int64_t ack_wait_ms;       /* of the consumer */
    int64_t handler_timeout_ms;
    int64_t nak_delay_ms, nak_delay_max_ms;
    int64_t retry_after_max_ms; /* a server's Retry-After is cut to this */
    int64_t settle_timeout_ms;  /* an unanswered +ACK or +TERM is repeated after this */
    int64_t journal_timeout_ms; /* how long STORING and NAKING wait for the journal */
    int64_t pull_expires_ms, pull_heartbeat_ms;
    uint32_t max_deliver;        /* recorded failures before the dead letter; 0: never */
    uint32_t suspect_deliveries; /* deliveries without verdict that make a suspect (3) */
    uint8_t bury_rejected;       /* SLUICE_ON_REJECT=dead-letter */
    uint8_t journal;             /* 0: off; then deliveries count as failures */
    uint32_t dependencies_count; /* >= 3 */
    struct sluice_breaker_config dependencies[SLUICE_DEPENDENCIES_MAX];
    uint64_t seed;
    struct sluice_allocator allocator;
    void (*on_transition)(void *ctx, const struct sluice_transition *); /* may be NULL */
    void (*on_breaker)(void *ctx, uint32_t dependency, enum sluice_breaker_state from,
                       enum sluice_breaker_state to);
    void *hook_ctx;
};

/* Counters since the start, and gauges. */
struct sluice_engine_metrics {
    uint64_t received, redelivered, refused, taken_over;
    uint64_t outcomes[SLUICE_OUTCOME_COUNT];
    uint64_t failures[SLUICE_FAILURE_COUNT];
    uint64_t pulls, pulls_stalled, pull_status_unknown;
    uint64_t renewals, leases_lost;
    uint64_t settles_repeated, naks_unanswered;
    uint64_t answers_replayed, answers_kept, answers_unkept, races_lost;
    uint64_t journal_reads,
        journal_unread; /* unread: went on without, a paid answer may be paid for again */
    uint64_t calls_started[SLUICE_DEPENDENCIES_MAX], calls_failed[SLUICE_DEPENDENCIES_MAX];
    uint64_t rate_limited, suspects, marks_stale;
    uint64_t states[SLUICE_MSG_STATE_COUNT]; /* gauge: messages in each state */
    uint32_t in_flight, in_flight_peak;
    uint64_t bytes_in_flight;
    uint32_t pulls_open, pull_credit; /* asked for and not received yet */
};

struct sluice_engine;

/* ERR_CONFIG naming the field, ERR_NOMEM. Memory for max_in_flight messages is taken now. */
sluice_rc sluice_engine_create(const struct sluice_engine_config *config, int64_t mono_ms,
                               struct sluice_engine **out, struct sluice_err *err);
void sluice_engine_destroy(struct sluice_engine *e); /* accepts NULL */

/* Advance by one event. `ev` is borrowed for the call; what is needed later is copied. `out` is
 * overwritten. Cannot fail: failure is a transition. */
void sluice_engine_step(struct sluice_engine *e, const struct sluice_event *ev,
                        struct sluice_effects *out);

/* When the engine wants its next TICK, monotonic; INT64_MAX: never. At or before now: at once. */
int64_t sluice_engine_deadline(const struct sluice_engine *e);

/* The steps of a message so far, for the host to serve a run; NULL and 0 for a ticket that was
 * released. */
const struct sluice_step_status *sluice_engine_steps(const struct sluice_engine *e,
                                                     struct sluice_ticket ticket, uint32_t *count);
enum sluice_msg_state sluice_engine_state(const struct sluice_engine *e,
                                          struct sluice_ticket ticket);
const struct sluice_engine_metrics *sluice_engine_metrics(const struct sluice_engine *e);
const struct sluice_breaker *sluice_engine_breaker(const struct sluice_engine *e,
                                                   uint32_t dependency);

/* Why pulling is held back. */
struct sluice_engine_pause {
    uint32_t dependency;   /* the one that lasts longest */
    int32_t is_rate_limit; /* else its breaker */
    int64_t until_ms;      /* monotonic, no limit but a trial then; INT64_MAX: not known */
};

/* 1 while pulling is held back by a breaker or a rate limit; `out` is untouched otherwise. */
int sluice_engine_is_paused(const struct sluice_engine *e, struct sluice_engine_pause *out);
int sluice_engine_is_connected(const struct sluice_engine *e);

#endif
