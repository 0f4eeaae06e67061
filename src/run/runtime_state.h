/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's inside, shared by runtime*.c only. */
#ifndef SLUICE_RUN_RUNTIME_STATE_H
#define SLUICE_RUN_RUNTIME_STATE_H

#include "run/log.h"
#include "run/refusals.h"
#include "run/runtime.h"

struct operation; /* runtime_operation.h */
struct offload;   /* offload.h */

struct runtime {
    struct runtime_config config;
    struct sluice_engine *engine;
    struct sluice_source *source;
    struct inflight **slots; /* by ticket.slot */
    struct sluice_effects effects;
    struct host_verdict verdict;
    struct inflight *turns_first, *turns_last; /* whose turn it is when the effects are performed */
    int is_taking_turns;
    struct sluice_delivery *arriving; /* of the MESSAGE event that is being stepped */
    struct inflight *vacant;          /* for the next message that is admitted; may be NULL */
    struct operation *free_operations;
    struct offload *offloads; /* on their threads, or waiting for one */
    uv_timer_t timer, publisher;
    uint32_t handles_open; /* of these two; the last one closed frees the rest */
    int64_t timer_at;
    int has_been_connected, is_pause_told, is_draining;
    int64_t consumer_missing_ms; /* seen first; 0: it is there */
    uint64_t tokens_prompt, tokens_completion, outputs_duplicate;
    uint64_t step_failures[PROBE_STEPS_COUNT];
    /* The journal's failures: in a row, not told in the log yet, and when the next line may be. */
    uint32_t journal_failures, journal_untold;
    int64_t journal_line_ms;
    struct sluice_refusals refusals;
    _Atomic int end, is_connected;
};

/* What each line about a message names. */
#define RUNTIME_MESSAGE_FIELDS(m)                                                                  \
    SLUICE_F_NUMBER("seq", (m)->delivery->sequence),                                               \
        SLUICE_F_NUMBER("deliveries", (m)->deliveries), SLUICE_F_KNOWN("message_id", (m)->key),    \
        SLUICE_F_TEXT("correlation_id", (m)->correlation_id)

/* Let the engine take one event, perform what it asks for. */
void runtime_step(struct runtime *rt, struct sluice_event *ev);
/* One event from outside: the step, then all turns that it led to. */
void runtime_drive(struct runtime *rt, struct sluice_event *ev);
/* The turns that wait, until none does. From inside a turn: left to whoever takes it. */
void runtime_take_turns(struct runtime *rt);
/* Something is owed of a message: it gets a turn. */
void runtime_owe(struct runtime *rt, struct inflight *m);
/* Publish a snapshot for the probe. */
void runtime_show(struct runtime *rt);
void runtime_finish(struct runtime *rt, enum runtime_end end);

/* runtime_effects.c */
void runtime_perform(struct runtime *rt, const struct sluice_effect *fx);

/* The calls of ports, which come back as events: runtime_calls.c. */
void runtime_call_start(struct runtime *rt, struct inflight *m, uint32_t step);
void runtime_call_cancel(struct runtime *rt, const struct inflight *m, uint32_t step);
void runtime_call_store(struct runtime *rt, struct inflight *m);
void runtime_call_publish(struct runtime *rt, struct inflight *m, uint32_t output);
void runtime_call_bury(struct runtime *rt, struct inflight *m, const struct sluice_effect *fx);
/* An answer, or that there will be none. */
void runtime_step_ended(struct runtime *rt, const struct inflight *m, uint32_t step,
                        enum sluice_fate fate, int64_t retry_after_ms);
/* Tell the engine of the calls for which there was no memory. */
void runtime_call_tell(struct runtime *rt, struct inflight *m);
void runtime_call_tell_step(struct runtime *rt, struct inflight *m, uint32_t step, unsigned owed);

/* The journal's: runtime_journal.c. */
void runtime_call_load(struct runtime *rt, struct inflight *m);
void runtime_call_keep(struct runtime *rt, struct inflight *m, const struct sluice_effect *fx);
void runtime_call_record(struct runtime *rt, struct inflight *m,
                         const struct sluice_record *numbers);
/* Tell the engine of one for which there was no memory. */
void runtime_starved_load(struct runtime *rt, struct inflight *m);
void runtime_starved_keep(struct runtime *rt, const struct inflight *m, uint32_t step);
void runtime_starved_record(struct runtime *rt, const struct inflight *m);

/* runtime_operation.c: when the engine has released it and no call will come back. */
void runtime_inflight_free_if_done(struct runtime *rt, struct inflight *m);

#endif
