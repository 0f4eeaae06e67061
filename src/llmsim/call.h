/* SPDX-License-Identifier: Apache-2.0 */
/* One request and the server that it belongs to. Private to src/llmsim. */
#ifndef SLUICE_LLMSIM_CALL_H
#define SLUICE_LLMSIM_CALL_H

#include "core/prng.h"
#include "llmsim/ledger.h"
#include "llmsim/server.h"
#include <cjson/cJSON.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

struct call {
    struct llmsim *server;
    struct MHD_Connection *connection;
    char *body;
    size_t len, size;
    char key[72];
    enum llmsim_fault fault;
    int is_chat, is_too_large, is_streamed, is_paid, is_counted;
    unsigned status;
    char *answer; /* malloc'd */
    size_t answer_len, cut_at;
    int64_t due_ms;
    struct call *next; /* sleeping */
    int has_slept;
};

struct llmsim {
    struct llmsim_config config;
    struct MHD_Daemon *daemon;
    int listen_fd; /* the daemon's, once there is one */
    uint16_t port;
    struct llmsim_ledger *ledger;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    pthread_t waker;
    pthread_t pump;
    int wake_fd;           /* for the pump: a connection was resumed, or it is to end */
    struct call *sleeping; /* by due time */
    struct sluice_prng prng;
    int is_stopping;
    _Atomic uint64_t calls, stamps;
};

/* ---- clock.c: of the monotonic clock, as `changed` has it ---- */

int64_t llmsim_now_ms(void);

/* ---- sleep.c: latency ---- */

/* Suspend the connection until then. */
void llmsim_sleep_until(struct llmsim *s, struct call *c, int64_t due_ms);
/* The thread that wakes them; `arg` is the server. */
void *llmsim_waker_run(void *arg);

/* ---- fault.c ---- */

/* LLMSIM_OK for a name that is none. */
enum llmsim_fault llmsim_fault_named(const char *name, size_t len);
enum llmsim_fault llmsim_fault_draw(struct llmsim *s);

/* What a request asks for. */
struct llmsim_orders {
    enum llmsim_fault header, marked;
    int has_header, is_marked, has_latency;
    uint32_t times; /* the mark is for so many first calls of a key */
    uint32_t latency_ms;
    char why[256]; /* it was refused */
};

/* Headers X-Sluice-Fault: KIND and X-Sluice-Latency-Ms: MS (may be NULL), and in the prompt
 * [[latency:MS]], [[fault:500]] always, [[fault:500x3]] for the first three calls of a key. 0 and
 * why when one of them cannot be read: a test that mistypes it must not pass. */
int llmsim_orders_read(const char *fault, const char *latency, const char *prompt,
                       struct llmsim_orders *out);
/* The header, or else the draw, goes before the mark. */
enum llmsim_fault llmsim_orders_fault(struct llmsim *s, const struct llmsim_orders *orders,
                                      unsigned calls_before);
/* Turn the good answer of a call into what its fault makes of it. */
void llmsim_fault_apply(struct call *c);

/* ---- reply.c: what is answered. Takes the JSON. ---- */

void llmsim_reply_json(struct call *c, unsigned status, cJSON *json);
void llmsim_reply_error(struct call *c, unsigned status, const char *type, const char *message);
void llmsim_reply_complete(struct call *c, const char *model, const char *prompt,
                           const char *content, const char *finish);
void llmsim_reply_stream(struct call *c, const char *model, const char *prompt, const char *content,
                         const char *finish, int with_usage);

/* ---- chat.c, control.c: the paths ---- */

/* Answer the chat completion whose body has come, or put it to sleep. */
void llmsim_chat(struct call *c);
/* Every other path. */
void llmsim_control(struct call *c, const char *path, const char *method);

#endif
