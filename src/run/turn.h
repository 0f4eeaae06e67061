/* SPDX-License-Identifier: Apache-2.0 */
/* What the host functions share: one run of a handler. Inside src/run/host*.c only. */
#ifndef SLUICE_RUN_TURN_H
#define SLUICE_RUN_TURN_H

#include "run/host.h"
#include <stdatomic.h>

#define TURN_DEFERRED_MAX 64u

/* What the plug-in holds of a run. Each run has another one, so that one that was kept from an
 * earlier run is known as such; they are used again after TURN_HANDLES_COUNT runs. */
struct turn_handle {
    sluice_turn base;                 /* first: what the plug-in sees */
    _Atomic(const char *) misused_by; /* the function that was called where it must not be; NULL */
};

#define TURN_HANDLES_COUNT 256u

struct turn {
    struct turn_handle *handle;
    struct worker_host *host;
    struct inflight *m;
    const char *key_field;
    uint32_t steps_seen; /* steps that this run has asked for */
    uint32_t lines;
    uint64_t randoms;
    int is_suspended, is_out_of_memory;
    sluice_rc fault;     /* a mistake of the handler that fails the message whatever it returns */
    int16_t failed_step; /* the newest step whose error was handed out; -1: none */
    sluice_rc failed_rc;
    uint64_t awaited[4];
    struct sluice_doc docs[SLUICE_EFFECTS_MAX];
    uint32_t docs_count;
    struct staged_output outputs[SLUICE_EFFECTS_MAX];
    uint32_t outputs_count;
    int has_llm_answer; /* was handed out */
    struct {
        void (*fn)(void *);
        void *arg;
    } deferred[TURN_DEFERRED_MAX];
    uint32_t deferred_count;
};

/* The run that begins on this thread: its handle. Until turn_end, which returns the function that
 * another thread called with it; NULL: none. */
sluice_turn *turn_begin(struct turn *t);
const char *turn_end(struct turn *t);
/* The run that a host function was called in. NULL when it was called on another thread than the
 * handler's or with a turn whose run has ended: logged, nothing else may be done. Any thread. */
struct turn *turn_of(sluice_turn *t, const char *call);
/* The same, and remember where the handler is, for watchdog and crash report. */
struct turn *turn_enter(sluice_turn *t, const char *step);
/* The same for what does nothing in a turn that is suspended already: SUSPEND then, ERR_UNSUPPORTED
 * where there is no turn. */
SLUICE_MUST_CHECK
sluice_rc turn_enter_going(sluice_turn *t, const char *step, struct turn **out);

/* A handler's mistake fails the message, never the process; the first one stands. Returns rc. */
sluice_rc turn_mistake(struct turn *t, sluice_rc rc, const char *what, const char *detail);
sluice_rc turn_out_of_memory(struct turn *t);
/* A copy that lives as long as the message; NULL for NULL. */
const char *turn_text(struct inflight *m, const char *text);
/* SLUICE_REJECT, and blamed, when the message brings a key that no output could carry. */
sluice_rc turn_key_check(struct inflight *m);
/* The message's key, see design section 3; never NULL. */
const char *message_key(struct turn *t);
int is_collection_name(const char *name);
/* A step that waits at once: known from an earlier run, or new. `out` is the step when it is OK. */
sluice_rc turn_step_call(struct turn *t, struct host_step *step, struct host_step **out);

void turn_idempotency_key(const struct turn *t, struct host_step *step);

/* The functions of the table, each as worker.h describes it. */
sluice_rc turn_decode(sluice_turn *, const sluice_msg *, const struct ProtobufCMessageDescriptor *,
                      void *out);
sluice_step turn_llm_start(sluice_turn *, const sluice_llm_request *, size_t size);
sluice_rc turn_llm_await(sluice_turn *, sluice_step, const sluice_llm_reply **);
sluice_rc turn_await_all(sluice_turn *, const sluice_step *, uint32_t count);
sluice_rc turn_http(sluice_turn *, const char *name, const sluice_http_request *, size_t size,
                    const sluice_http_reply **);
sluice_rc turn_find(sluice_turn *, const char *collection, const char *id,
                    const struct ProtobufCMessageDescriptor *, void *out);
sluice_rc turn_offload(sluice_turn *, const char *name, sluice_offload_fn *, sluice_bytes in,
                       sluice_bytes *out);
sluice_rc turn_store(sluice_turn *, const char *collection, const char *id,
                     const struct ProtobufCMessage *);
sluice_rc turn_publish(sluice_turn *, const char *output, const struct ProtobufCMessage *);
sluice_rc turn_fail(sluice_turn *, sluice_rc, const char *format, va_list);
void *turn_alloc(sluice_turn *, size_t count, size_t size);
char *turn_format(sluice_turn *, const char *format, va_list);
void turn_defer(sluice_turn *, void (*fn)(void *), void *arg);
void *turn_self(sluice_turn *);
const char *turn_key(sluice_turn *);
const char *turn_correlation_id(sluice_turn *);
const char *turn_header(sluice_turn *, const sluice_msg *, const char *name, uint32_t index);
int64_t turn_now(sluice_turn *);
uint64_t turn_random(sluice_turn *);
void turn_log(sluice_turn *, int32_t level, const char *event, const char *format, va_list);

#endif
