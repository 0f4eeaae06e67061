/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine keeps, and the functions that its files share. Private to src/core. */
#ifndef SLUICE_CORE_ENGINE_STATE_H
#define SLUICE_CORE_ENGINE_STATE_H

#include "core/assert.h"
#include "core/engine.h"
#include "core/prng.h"
#include "core/retry.h"

#define NO_SLOT              UINT32_MAX
#define NO_TIME              INT64_MAX
#define PULL_ROWS            16u  /* open pulls and abandoned ones whose credit is still reserved */
#define FX_HEADROOM          384u /* effects that one event may emit besides what the pump adds */
#define LOAD_TRIES_MAX       5u   /* a failed journal read is repeated before paying */
#define ACK_REPEATS_MAX      3u   /* on a live connection */
#define JOURNAL_FAILURES_MAX 5u   /* in a row: from then on its confirmations are not waited for */

/* The engine's part of a step that the host does not see. */
struct step {
    struct sluice_permit permit;
    int64_t not_before_ms;  /* PARKED: rate limit */
    int64_t retry_after_ms; /* of a RATE_LIMITED failure */
    uint8_t is_missed;      /* its journaled answer could not be used */
    uint8_t limited;        /* how often it was answered with 429, up to 255 */
    uint8_t is_cancelled;   /* RUNNING, and told to end */
    uint8_t is_dropped; /* not to be started any more, or cancelled, by a failure or a lost lease:
                           its end is no failure of its own */
};

/* What a RECORD that is under way is for. */
enum recording { RECORD_NONE, RECORD_MARK, RECORD_CLEAR, RECORD_FAILURE };

struct message {
    uint32_t generation;
    uint8_t state; /* enum sluice_msg_state; DONE: the slot is free */
    uint8_t recording;
    uint8_t failure;       /* enum sluice_failure, of NAKING and BURYING */
    uint8_t worst_publish; /* enum sluice_fate of a failed output */
    uint64_t sequence;
    uint64_t admitted; /* order of admission */
    int64_t stored_ms;
    uint32_t deliveries, size;
    int64_t entered_ms;    /* the state */
    int64_t lease_base_ms; /* send time of what the server last answered */
    int64_t renew_at_ms, attempt_end_ms, op_end_ms;
    int64_t wake_ms; /* key in the heap */
    int64_t nak_delay_ms, retry_after_ms;
    uint32_t heap_at;        /* position in the heap; NO_SLOT: not in it */
    uint32_t next_ready;     /* ready queue */
    uint32_t settle;         /* number of the newest settle */
    uint32_t verdict_settle; /* number of the newest ACK, NAK or TERM */
    uint8_t ack_repeats, load_tries;
    /* What is under way. */
    uint8_t is_renewing_first; /* RECEIVED: waits for the answer to a renewal */
    uint8_t is_loading, is_load_due, is_ready_queued, is_run_out, is_store_out, is_bury_out;
    uint8_t is_nak_sent, is_restarting, is_parked_commit, is_retaken, is_buried;
    uint8_t is_orphaned; /* the consumer that gave it out is no more: settles would reach another */
    uint8_t needs_load;    /* the journal has not been read, or has to be read again */
    uint8_t must_restart;  /* an answer of it has lost its race at a time that was not fit */
    uint8_t has_lost_race; /* its answer is in the journal for certain: not to be paid for again */
    /* What is known. */
    uint8_t has_news; /* a step has ended since its newest run began */
    uint8_t is_suspect, has_run, is_overdue, is_recorded, spends, is_spent, is_aborted;
    uint8_t documents_count, outputs_count, is_stored;
    uint16_t running, keeping; /* calls and journal writes under way */
    uint16_t parked;           /* steps in PARKED */
    uint32_t steps_count, steps_capacity;
    struct sluice_step_status *statuses;
    struct step *steps;
    uint64_t awaited[4];
    uint64_t outputs_sent, outputs_done, outputs_bad; /* bit sets */
    struct sluice_permit store_permit;
    struct sluice_permit *output_permits; /* outputs_capacity of each */
    uint64_t *output_ids;
    uint32_t outputs_capacity;
    struct sluice_record *record; /* NULL: nothing recorded */
    struct sluice_journaled *journaled;
    uint32_t journaled_count;
};

enum pull_state { PULL_FREE, PULL_OPEN, PULL_ABANDONED };

struct pull {
    enum pull_state state;
    uint32_t id;
    uint32_t remaining;
    uint64_t bytes; /* reserved and not yet received */
    int64_t asked_ms, expires_ms, beat_ms;
    int64_t heartbeat_ms;
    uint32_t received;
};

struct dependency {
    struct sluice_breaker breaker;
    int64_t paused_until_ms; /* rate limit */
    int64_t scan_at_ms;      /* no parked step may start before */
    uint32_t parked;         /* messages' steps and commits that wait for it */
};

struct sluice_engine {
    struct sluice_engine_config config;
    struct sluice_prng prng;
    struct sluice_effects *out; /* of the step that is going on */
    int64_t now_ms, wall_ms;
    int64_t lease_ms; /* how long a lease is trusted: ack wait less a margin for the way to the
                         server */
    int64_t read_before_ms; /* wall clock: messages stored before may have been delivered before */
    struct message *messages;
    uint32_t *free_slots;
    uint32_t free_count;
    uint32_t *heap;
    uint32_t heap_count;
    uint32_t *by_sequence; /* open addressing, slots */
    uint32_t by_sequence_mask;
    uint32_t ready_head, ready_tail;
    uint32_t exclusive; /* slot of the suspect whose mark is out; nobody else's handler runs */
    uint32_t runs_out;
    uint64_t admissions;
    struct pull pulls[PULL_ROWS];
    uint32_t pull_ids;
    uint32_t pull_failures; /* in a row, for the back-off */
    int64_t pull_not_before_ms;
    int64_t pull_backed_off_ms;  /* when that was decided, last */
    int64_t pull_short_until_ms; /* pulls are short until then */
    int64_t pull_wake_ms;
    uint32_t journal_failures; /* in a row */
    uint8_t is_connected, was_connected, is_draining, is_intake_stopped, is_drained_told,
        is_aborting;
    uint8_t is_behind; /* the pump stopped for want of room in the effects */
    struct dependency dependencies[SLUICE_DEPENDENCIES_MAX];
    /* Records of messages released in this step: an effect may still point to them. */
    struct sluice_record *graves[SLUICE_FX_CAPACITY];
    uint32_t graves_count;
    struct sluice_engine_metrics metrics;
};

/* engine.c */
struct sluice_effect *fx_emit(struct sluice_engine *e, enum sluice_effect_kind kind,
                              const struct message *m);
int fx_has_room(const struct sluice_engine *e);

/* message.c: slots, states, look-up */
struct message *msg_find(struct sluice_engine *e, struct sluice_ticket ticket); /* NULL: released */
void msg_move(struct sluice_engine *e, struct message *m, enum sluice_msg_state to);
void msg_release(struct sluice_engine *e, struct message *m, enum sluice_outcome outcome);
void msg_on_delivery(struct sluice_engine *e, const struct sluice_ev_message *ev);
void msg_begin(struct sluice_engine *e,
               struct message *m); /* RECEIVED: go on once renewed and loaded */
void msg_begin_if_received(struct sluice_engine *e, struct message *m);
void msg_on_loaded(struct sluice_engine *e, struct message *m, const struct sluice_ev_loaded *ev);
void msg_load(struct sluice_engine *e, struct message *m);
uint32_t msg_slot(const struct sluice_engine *e, const struct message *m);
uint32_t msg_failures(const struct sluice_engine *e,
                      const struct message *m); /* recorded before this delivery */
/* The record, made when it does not exist; NULL without memory. */
struct sluice_record *msg_record(struct sluice_engine *e, struct message *m);

/* timers.c: one wake-up a message, in a heap */
void timer_set(struct sluice_engine *e, struct message *m); /* after a change of any of its times */
void timer_drop(struct sluice_engine *e, struct message *m);
void timer_pump(struct sluice_engine *e);

/* ready.c: whose handler runs next, and the marks of suspects */
void ready_push(struct sluice_engine *e, struct message *m);
void ready_drop(struct sluice_engine *e, struct message *m);
void ready_pump(struct sluice_engine *e);
/* `has_ended`: the handler has returned for good, not only to wait. */
void ready_on_verdict(struct sluice_engine *e, struct message *m, int has_ended);
void ready_on_recorded(struct sluice_engine *e, struct message *m, enum sluice_fate fate);
int ready_is_held(const struct sluice_engine *e, const struct message *m);
void ready_release(struct sluice_engine *e, struct message *m);

/* steps.c: memoised steps, permits, rate limits */
int steps_append(struct sluice_engine *e, struct message *m,
                 const struct sluice_ev_verdict *v); /* 0: no memory */
int steps_are_awaited(const struct message *m);      /* one of the awaited has not ended */
int steps_are_only_parked(const struct message *m);
void steps_on_done(struct sluice_engine *e, struct message *m, const struct sluice_ev_step *ev);
/* Begin again from the journal, with the answers that are there. */
void steps_start_over(struct sluice_engine *e, struct message *m);
void steps_resume(struct sluice_engine *e, struct message *m);
void steps_on_kept(struct sluice_engine *e, struct message *m, const struct sluice_ev_kept *ev);
void steps_cancel(struct sluice_engine *e, struct message *m);
void steps_unpark(struct sluice_engine *e,
                  struct message *m); /* forget what waits: nothing will start any more */
void steps_forget(struct sluice_engine *e, struct message *m);
void steps_restart(struct sluice_engine *e,
                   struct message *m); /* LOAD, once nothing of the lost race is under way */
int steps_will_end(const struct message *m);
uint32_t steps_paid_running(const struct message *m);
/* What a call's end means for the message that made it; to be asked before its permit is finished.
 */
enum sluice_fate fate_of_message(const struct sluice_engine *e, uint32_t dependency,
                                 enum sluice_fate fate);
int permit_acquire(struct sluice_engine *e, uint32_t dependency, struct sluice_permit *permit);
void permit_finish(struct sluice_engine *e, uint32_t dependency, struct sluice_permit *permit,
                   enum sluice_fate fate, const struct message *m);
void parked_pump(struct sluice_engine *e);

/* commit.c: documents, outputs, ACK */
void commit_begin(struct sluice_engine *e, struct message *m, const struct sluice_ev_verdict *v);
void commit_advance(struct sluice_engine *e, struct message *m);
void commit_on_stored(struct sluice_engine *e, struct message *m, enum sluice_fate fate);
void commit_on_published(struct sluice_engine *e, struct message *m,
                         const struct sluice_ev_published *ev);
void commit_ack(struct sluice_engine *e, struct message *m);
int commit_is_complete(const struct message *m);
void commit_unpark(struct sluice_engine *e, struct message *m);

/* failing.c: NAK or dead letter */
void fail_message(struct sluice_engine *e, struct message *m, enum sluice_failure failure);
void fail_advance(struct sluice_engine *e, struct message *m); /* NAKING: journal, then NAK */
/* How long to wait for the confirmation of what is being journaled. */
int64_t journal_patience_ms(const struct sluice_engine *e);
void fail_on_buried(struct sluice_engine *e, struct message *m, enum sluice_fate fate);

/* lease.c: renewal, fencing, settling */
void lease_start(struct sluice_engine *e, struct message *m, int64_t base_ms);
int64_t lease_end_ms(const struct sluice_engine *e, const struct message *m);
int lease_is_over(const struct sluice_engine *e, const struct message *m);
int lease_is_needed(const struct message *m);
void lease_renew(struct sluice_engine *e, struct message *m);
void lease_renew_first(struct sluice_engine *e, struct message *m);
void lease_lose(struct sluice_engine *e, struct message *m);
/* The consumer is no more: what is in hand is nobody's, until it is delivered again. */
void lease_orphan_all(struct sluice_engine *e);
void lease_idle(struct sluice_engine *e,
                struct message *m); /* LOST: release or go on when nothing runs any more */
void settle_send(struct sluice_engine *e, struct message *m, enum sluice_verb verb,
                 int64_t delay_ms);
void settle_repeat(struct sluice_engine *e, struct message *m);
void settle_on_answer(struct sluice_engine *e, struct message *m,
                      const struct sluice_ev_settled *ev);

/* pull.c: asking for exactly the free slots */
void pull_on_connected(struct sluice_engine *e, const struct sluice_ev_connected *ev);
void pull_on_disconnected(struct sluice_engine *e);
void pull_on_consumer(struct sluice_engine *e, enum sluice_consumer state);
void pull_on_delivery(struct sluice_engine *e, uint32_t pull, uint32_t size);
void pull_on_status(struct sluice_engine *e, const struct sluice_ev_pull *ev);
void pull_stop(struct sluice_engine *e);
void pull_pump(struct sluice_engine *e);
int pull_is_held_back(const struct sluice_engine *e, struct sluice_engine_pause *out);

#endif
