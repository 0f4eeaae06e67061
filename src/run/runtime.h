/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's driver on real adapters: performs effects, turns completions into events. Loop
 * thread only, but for the two functions that say otherwise. */
#ifndef SLUICE_RUN_RUNTIME_H
#define SLUICE_RUN_RUNTIME_H

#include "port/http.h"
#include "port/llm.h"
#include "port/publisher.h"
#include "run/host.h"
#include "run/probe.h"
#include "run/refusals.h"
#include <stdatomic.h>
#include <uv.h>

struct runtime;

struct runtime_config {
    uv_loop_t *loop;
    const struct sluice_allocator *allocator;
    struct sluice_engine_config engine; /* its hooks are set by the runtime */
    struct worker_host *host;
    struct sluice_probe *probe;
    const char *consumer, *stream_dead, *subject_dead;
    /* Ports but the source, owned by the caller. */
    struct sluice_store *store;
    struct sluice_llm *llm;
    struct sluice_http *const *http; /* of each service of the host */
    struct sluice_publisher *publisher;
    struct sluice_journal *journal;                 /* NULL: off */
    int journal_in_use;                             /* at boot: it holds records */
    const struct sluice_refusals *publish_refusals; /* of the publisher's connection; may be NULL */
    /* Loop thread: the source is connected again. */
    void (*on_reconnected)(void *ctx);
    void *ctx;
};

enum runtime_end { RUNTIME_GOES_ON, RUNTIME_DRAINED, RUNTIME_FAILED };

SLUICE_MUST_CHECK
sluice_rc runtime_create(const struct runtime_config *config, struct runtime **out,
                         struct sluice_err *err);
/* The loop's thread has ended: nobody waits for offloaded functions any more. How many still run;
 * each uses the plug-in's code until it returns. Accepts NULL. */
uint32_t runtime_leave_offloads(struct runtime *rt);
void runtime_destroy(struct runtime *rt); /* accepts NULL; after the ports' destroy */

/* For the source's configuration, with the runtime as its ctx. */
struct sluice_source_events runtime_source_events(void);
void runtime_set_source(struct runtime *rt, struct sluice_source *source);
void runtime_drain(struct runtime *rt);
void runtime_abort(struct runtime *rt);

/* Any thread. */
enum runtime_end runtime_end(const struct runtime *rt);
int runtime_is_connected(const struct runtime *rt);

#endif
