/* SPDX-License-Identifier: Apache-2.0 */
/* What must exist on the server, the engine's limits, and the start of pulling. */
#include "port/clock.h"
#include "run/boot_state.h"

#include "adapter/nats_journal.h"
#include "adapter/nats_source.h"
#include "run/log.h"
#include <string.h>
#include <unistd.h>

#define PULL_EXPIRES_MS    5000 /* short: an abandoned pull reserves its slots until it expires */
#define PULL_HEARTBEAT_MS  1000
#define SETTLE_TIMEOUT_MS  2000
#define JOURNAL_TIMEOUT_MS 2000
#define SUSPECT_DELIVERIES 3
#define BREAKER_SOURCES    3

static void on_told(void *ctx, const char *verb, const char *what)
{
    (void)ctx;
    int is_done = strcmp(verb, "created") == 0 || strcmp(verb, "updated") == 0;
    if (strcmp(verb, "differs") == 0) { /* somebody must act; there may be several */
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "nats.provision", what, SLUICE_F_TEXT("did", verb));
        return;
    }
    SLUICE_LOG(is_done ? SLUICE_LOG_INFO : SLUICE_LOG_WARN, START, "nats.provision", what,
               SLUICE_F_TEXT("did", verb));
}

static sluice_rc provision(struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    struct sluice_nats_plan plan = sluice_nats_plan_of(s, b->durable);
    return sluice_nats_provision(&b->target.options, &plan, s->create_streams, on_told, NULL,
                                 &b->facts, &b->err);
}

/* ---- Mending, on a thread of libuv's pool: it asks and waits ---- */

static void mend(uv_work_t *work)
{
    struct boot *b = work->data;
    const struct sluice_settings *s = b->settings;
    struct sluice_nats_plan plan = sluice_nats_plan_of(s, b->durable);
    struct sluice_err err = {0};
    if (sluice_nats_mend(&b->target.options, &plan, s->create_streams, on_told, NULL, &err) !=
        SLUICE_OK) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "nats.mend_failed", err.text, SLUICE_F_END);
    }
}

static void on_mended(uv_work_t *work, int status)
{
    (void)status;
    ((struct boot *)work->data)->is_mending = 0;
}

static void on_reconnected(void *ctx)
{
    struct boot *b = ctx;
    if (!b->is_mending) {
        b->mending.data = b;
        b->is_mending = uv_queue_work(&b->loop, &b->mending, mend, on_mended) == 0;
    }
}

/* ---- The engine's limits ---- */

static struct sluice_engine_config engine_config(const struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    struct sluice_engine_config c = {.max_in_flight = (uint32_t)s->max_in_flight,
                                     .max_bytes = (uint64_t)s->max_bytes_in_flight,
                                     .message_size_max = (uint32_t)b->facts.message_size_max,
                                     .ack_wait_ms = s->ack_wait_ms,
                                     .handler_timeout_ms = s->handler_timeout_ms,
                                     .nak_delay_ms = s->nak_delay_ms,
                                     .nak_delay_max_ms = s->nak_delay_max_ms,
                                     .retry_after_max_ms = s->retry_after_max_ms,
                                     .settle_timeout_ms = SETTLE_TIMEOUT_MS,
                                     .journal_timeout_ms = JOURNAL_TIMEOUT_MS,
                                     .pull_expires_ms = PULL_EXPIRES_MS,
                                     .pull_heartbeat_ms = PULL_HEARTBEAT_MS,
                                     .max_deliver = (uint32_t)s->max_deliver,
                                     .suspect_deliveries = SUSPECT_DELIVERIES,
                                     .bury_rejected = strcmp(s->on_reject, "dead-letter") == 0,
                                     .journal = strcmp(s->journal, "on") == 0,
                                     .dependencies_count = SLUICE_DEP_SERVICES + s->services_count,
                                     .seed = (uint64_t)sluice_wall_ms() ^ (uint64_t)getpid() << 32,
                                     .allocator = b->allocator};
    c.dependencies[SLUICE_DEP_LLM] = sluice_breaker_service("llm");
    c.dependencies[SLUICE_DEP_LLM].failure_threshold = (uint32_t)s->llm_breaker_failures;
    c.dependencies[SLUICE_DEP_LLM].reset_timeout_ms = s->llm_breaker_reset_ms;
    c.dependencies[SLUICE_DEP_STORE] = sluice_breaker_service("store");
    c.dependencies[SLUICE_DEP_STORE].failure_threshold = (uint32_t)s->mongodb_breaker_failures;
    c.dependencies[SLUICE_DEP_STORE].reset_timeout_ms = s->mongodb_breaker_reset_ms;
    c.dependencies[SLUICE_DEP_PUBLISH] = sluice_breaker_publish("publish");
    c.dependencies[SLUICE_DEP_PUBLISH].failure_threshold = (uint32_t)s->publish_breaker_failures;
    c.dependencies[SLUICE_DEP_PUBLISH].reset_timeout_ms = s->publish_breaker_reset_ms;
    for (uint32_t i = 0; i < s->services_count; i++) {
        struct sluice_breaker_config *d = &c.dependencies[SLUICE_DEP_SERVICES + i];
        *d = sluice_breaker_service(s->services[i].name);
        d->failure_threshold = (uint32_t)s->services[i].breaker_failures;
        d->reset_timeout_ms = s->services[i].breaker_reset_ms;
    }
    for (uint32_t i = 0; i < c.dependencies_count; i++) {
        c.dependencies[i].minimum_sources = BREAKER_SOURCES;
    }
    return c;
}

static sluice_rc journal_open(struct boot *b)
{
    if (strcmp(b->settings->journal, "on") != 0) {
        return SLUICE_OK;
    }
    struct sluice_nats_journal_config config = {.publisher = b->publisher,
                                                .bucket = b->settings->journal_bucket,
                                                .worker = b->plugin.worker.name};
    return sluice_nats_journal_create(&config, &b->journal, &b->err);
}

sluice_rc boot_subscribe(struct boot *b)
{
    sluice_rc rc = provision(b);
    if (rc != SLUICE_OK || (rc = journal_open(b)) != SLUICE_OK) {
        return rc;
    }
    b->host.payload_max = (size_t)b->facts.payload_max;
    struct runtime_config config = {.loop = &b->loop,
                                    .allocator = &b->allocator,
                                    .engine = engine_config(b),
                                    .host = &b->host,
                                    .probe = b->probe,
                                    .consumer = b->durable,
                                    .stream_dead = b->settings->stream_dead,
                                    .subject_dead = b->settings->subject_dead,
                                    .store = b->store,
                                    .llm = b->llm,
                                    .http = b->http,
                                    .publisher = b->publisher,
                                    .journal = b->journal,
                                    .journal_in_use = b->facts.journal_messages > 0,
                                    .publish_refusals = &b->refusals,
                                    .on_reconnected = on_reconnected,
                                    .ctx = b};
    if ((rc = runtime_create(&config, &b->runtime, &b->err)) != SLUICE_OK) {
        return rc;
    }
    struct sluice_nats_source_config source = {.nats = b->target.options,
                                               .loop = &b->loop,
                                               .mailbox = sluice_loop_mailbox_port(b->mailbox),
                                               .stream = b->settings->stream_requests,
                                               .consumer = b->durable,
                                               .ack_wait_ms = b->settings->ack_wait_ms,
                                               .events = runtime_source_events(),
                                               .ctx = b->runtime};
    if ((rc = sluice_nats_source_create(&source, &b->source, &b->err)) != SLUICE_OK) {
        return rc;
    }
    runtime_set_source(b->runtime, b->source);
    boot_state_enter(b, SLUICE_RUN_SUBSCRIBED);
    return SLUICE_OK;
}
