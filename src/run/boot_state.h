/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the boot share. Inside src/run/boot*.c only. */
#ifndef SLUICE_RUN_BOOT_STATE_H
#define SLUICE_RUN_BOOT_STATE_H

#include "adapter/curl_http.h"
#include "adapter/curl_llm.h"
#include "adapter/nats_provision.h"
#include "run/boot.h"
#include "run/mailbox.h"
#include "run/nats_target.h"
#include "run/order.h"
#include "run/refusals.h"
#include "run/runtime.h"
#include "run/watch.h"
#include "run/worker_config.h"
#include <pthread.h>

struct boot {
    const struct sluice_settings *settings;
    struct sluice_allocator allocator;
    uv_loop_t loop;
    int has_loop;
    struct sluice_loop_mailbox *mailbox;
    struct sluice_probe *probe;
    struct sluice_store *store;
    struct sluice_llm *llm;
    struct sluice_http *http[SLUICE_SERVICES_MAX]; /* one each: a slow service must not hold the
                                                      connections of the others */
    struct sluice_publisher *publisher;
    struct sluice_refusals refusals; /* of the publisher's connection; loop thread */
    struct sluice_refusals unheard;  /* subjects that no stream takes; loop thread */
    struct sluice_journal *journal;
    struct sluice_source *source;
    struct sluice_plugin plugin;
    struct worker_host host;
    struct sluice_config *worker_config;
    sluice_header service_headers[SLUICE_SERVICES_MAX]; /* of each service's credential */
    char *credentials[SLUICE_SERVICES_MAX];
    struct host_service services[SLUICE_SERVICES_MAX];
    int is_created;       /* the worker's create() has succeeded, or it has none */
    int is_misconfigured; /* the configuration is at fault: exit code 2 */
    struct runtime *runtime;
    struct sluice_nats_facts facts;
    struct sluice_nats_target target;
    char durable[80];
    pthread_t thread;
    int has_thread;
    struct sluice_watch watch;
    uv_work_t mending; /* after a reconnect: see nats_provision.h */
    int is_mending;
    struct sluice_order order; /* to the loop thread */
    _Atomic int is_publisher_lost;
    struct sluice_err err;
};

void boot_state_enter(struct boot *b, enum sluice_run_state state);

/* How many further threads carry LLM calls. */
uint32_t boot_llm_threads(const struct sluice_settings *s);

/* Parts of boot_clients(). */
sluice_rc boot_services_open(struct boot *b);
sluice_rc boot_services_check(struct boot *b); /* ERR_UNAVAILABLE: a required one does not answer */

/* Steps, in the order in which they are taken. */
sluice_rc boot_clients(struct boot *b);   /* LLM, services, store */
sluice_rc boot_publisher(struct boot *b); /* the connection for outputs and journal */
sluice_rc boot_worker(struct boot *b);    /* plug-in, its configuration, create() */
sluice_rc boot_subscribe(struct boot *b); /* streams, journal, engine, source */

#endif
