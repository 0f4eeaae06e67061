/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime between ports whose answers the test chooses, and the real engine behind it: every
 * event that the runtime makes for the engine is kept, so a test sees each of its fields. The
 * message is the one of the host fixture. Link with what meson.build calls rig_wraps. */
#ifndef SLUICE_TESTS_SHELL_RIG_H
#define SLUICE_TESTS_SHELL_RIG_H

#include "host_fixture.h"
#include "port/http.h"
#include "run/runtime.h"

#define RIG_CALLS_MAX  64u
#define RIG_EVENTS_MAX 256u
#define RIG_TEXT_SIZE  1024u

enum rig_port {
    RIG_SETTLE,
    RIG_LOAD,
    RIG_RECORD,
    RIG_KEEP,
    RIG_ASK,
    RIG_HTTP,
    RIG_PUT,
    RIG_FIND,
    RIG_PUBLISH
};

/* What a port was asked. Texts and bytes that it may only borrow for the call are copied. */
struct rig_call {
    enum rig_port port;
    int is_open, is_cancelled;
    void *ctx;
    union {
        sluice_journal_done_fn *journal;
        sluice_llm_done_fn *llm;
        sluice_http_done_fn *http;
        sluice_store_done_fn *store;
        sluice_publish_done_fn *publish;
    } done;
    union {
        struct {
            uint64_t op;
            enum sluice_verb verb;
            int64_t delay_ms;
            char reply[64];
        } settle;
        struct {
            struct sluice_journal_key key;
            char stream[64];
            struct sluice_record numbers;
            char step[64], text[RIG_TEXT_SIZE], replay[RIG_TEXT_SIZE];
            struct sluice_journaled id;
            char bytes[RIG_TEXT_SIZE];
        } journal;
        struct sluice_llm_ask llm;
        struct {
            struct sluice_http_call call;
            uint32_t service;
        } http;
        struct {
            const struct sluice_doc *docs;
            uint32_t docs_count;
            const char *collection, *id;
        } store;
        struct {
            char subject[64], stream[64], body[RIG_TEXT_SIZE];
            char headers[RIG_TEXT_SIZE]; /* "Name: value\n", each */
            size_t body_len;
        } publish;
    };
};

struct rig_event {
    struct sluice_event ev; /* what it points to is below */
    struct sluice_record record;
    struct sluice_journaled answers[SLUICE_JOURNALED_MAX];
};

struct rig {
    uv_loop_t loop;
    struct sluice_probe *probe;
    struct runtime_config config; /* changed before rig_restart() */
    struct runtime *runtime;
    struct sluice_source_events events;
    struct sluice_source source;
    struct sluice_fx_pull pull; /* the newest */
    uint32_t checks, stops, abandoned, reconnects, freed;
    unsigned refused;       /* bit set of ports that have no memory for a call */
    int is_starved;         /* nor has the runtime's allocator, */
    int has_no_heap;        /* nor malloc */
    _Atomic int64_t now_ms; /* the clock, which stands still unless a test puts it forward */
    struct {
        uv_timer_t *handle;
        uv_timer_cb fire;
        int64_t due_ms;
        uint32_t starts;
    } timer;                            /* of the runtime, which nothing but a test lets fire */
    struct sluice_probe_snapshot shown; /* the newest */
    struct rig_call calls[RIG_CALLS_MAX];
    uint32_t calls_count;
    struct rig_event seen[RIG_EVENTS_MAX];
    uint32_t seen_count;
};

extern struct rig rig;
/* For cmocka: two services, "one" and "two", a journal, max_in_flight 4; the link is not up. */
int rig_setup(void **state);
/* Ends what is open, so that nothing is left of any message. */
int rig_teardown(void **state);
/* The runtime anew, as rig.config says. */
void rig_restart(void);

/* The link comes up, and the message arrives: first or not, as its `deliveries` says. */
void rig_deliver(sluice_handler_fn *handler, uint32_t deliveries);
/* The n-th call of a port, from 0; fails when there was none. */
struct rig_call *rig_call(enum rig_port port, uint32_t n);
uint32_t rig_calls(enum rig_port port);
/* The newest event of a kind; fails when there was none. */
const struct rig_event *rig_seen(enum sluice_event_kind kind);
uint32_t rig_seen_count(enum sluice_event_kind kind);

/* Answers. */
void rig_journal(struct rig_call *c, const struct sluice_journal_done *done);
void rig_llm(struct rig_call *c, const struct sluice_llm_done *done);
void rig_http(struct rig_call *c, const struct sluice_http_done *done);
void rig_store(struct rig_call *c, const struct sluice_store_done *done);
void rig_publish(struct rig_call *c, const struct sluice_publish_done *done);
void rig_settled(struct rig_call *c, int is_answered, int64_t sent_ms);
/* With "{}" by "m", of 11 and 22 tokens. */
void rig_llm_ok(struct rig_call *c);

#endif
