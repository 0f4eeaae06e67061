/* SPDX-License-Identifier: Apache-2.0 */
/* What must exist on the server, and the start of pulling. */
#include "port/clock.h"
#include "run/boot_state.h"

#include "adapter/nats_journal.h"
#include "adapter/nats_publisher.h"
#include "adapter/nats_source.h"
#include "run/engine_config.h"
#include "run/log.h"
#include <string.h>
#include <unistd.h>

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
    sluice_nats_publisher_hurry(b->publisher); /* what is pulled waits for its journal */
    if (!b->is_mending) {
        b->mending.data = b;
        b->is_mending = uv_queue_work(&b->loop, &b->mending, mend, on_mended) == 0;
    }
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
    struct sluice_engine_config engine = sluice_engine_config_of(b->settings);
    engine.message_size_max = (uint32_t)b->facts.message_size_max;
    engine.seed = (uint64_t)sluice_wall_ms() ^ (uint64_t)getpid() << 32;
    engine.allocator = b->allocator;
    struct runtime_config config = {.loop = &b->loop,
                                    .allocator = &b->allocator,
                                    .engine = engine,
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
