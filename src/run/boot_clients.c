/* SPDX-License-Identifier: Apache-2.0 */
/* The clients of a worker process, and whether they answer. */
#include "port/clock.h"
#include "run/boot_state.h"

#include "adapter/llm_threads.h"
#include "adapter/mongo_loader.h"
#include "adapter/nats_publisher.h"
#include "adapter/nats_source.h"
#include "adapter/null_store.h"
#include "adapter/sqlite_store.h"
#include "run/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PING_LIMIT_MS 10000

/* ---- Asking a client whether it is there, before the loop's own thread runs ---- */

struct ping {
    int is_done;
    enum sluice_fate fate;
    sluice_rc rc;
    char text[SLUICE_ERR_TEXT_SIZE];
};

static void on_store_ping(void *ctx, const struct sluice_store_done *done)
{
    struct ping *p = ctx;
    *p = (struct ping){.is_done = 1, .fate = done->fate, .rc = done->rc};
    (void)snprintf(p->text, sizeof p->text, "%s", done->text == NULL ? "" : done->text);
}

static void on_llm_ping(void *ctx, const struct sluice_llm_done *done)
{
    struct ping *p = ctx;
    *p = (struct ping){.is_done = 1, .fate = done->fate, .rc = done->rc};
    (void)snprintf(p->text, sizeof p->text, "%s", done->text == NULL ? "" : done->text);
}

static void ping_wait(struct boot *b, struct ping *p)
{
    int64_t end = sluice_mono_ms() + b->settings->mongodb_timeout_ms + PING_LIMIT_MS;
    while (!p->is_done && sluice_mono_ms() < end) {
        (void)uv_run(&b->loop, UV_RUN_NOWAIT);
        struct timespec pause = {0, 500000};
        (void)nanosleep(&pause, NULL);
    }
}

static sluice_rc store_open(struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    const char *is_bench = getenv("SLUICE_BENCH_NULL_STORE"); /* no option: it loses documents */
    if (is_bench != NULL && strcmp(is_bench, "1") == 0) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "store.null", "documents are thrown away",
                   SLUICE_F_TEXT("for", "sluice bench"));
        return sluice_null_store_create(sluice_loop_mailbox_port(b->mailbox), &b->allocator,
                                        &b->store, &b->err);
    }
    if (strcmp(s->store, "mongodb") == 0) {
        struct sluice_mongo_config mongo = {.uri = s->mongodb_uri,
                                            .database = s->mongodb_database,
                                            .timeout_ms = (uint32_t)s->mongodb_timeout_ms,
                                            .mailbox = sluice_loop_mailbox_port(b->mailbox),
                                            .allocator = &b->allocator};
        return sluice_mongo_loader_create(NULL, &mongo, &b->store, &b->err);
    }
    struct sluice_sqlite_config config = {.path = s->sqlite_path,
                                          .mailbox = sluice_loop_mailbox_port(b->mailbox),
                                          .allocator = &b->allocator};
    return sluice_sqlite_store_create(&config, &b->store, &b->err);
}

static sluice_rc store_check(struct boot *b)
{
    static struct ping p; /* an answer that comes too late must find it */
    p = (struct ping){.is_done = 0};
    if (b->store->ops->ping(b->store, on_store_ping, &p) != SLUICE_OK) {
        return sluice_err_set(&b->err, SLUICE_ERR_NOMEM, "store: out of memory");
    }
    ping_wait(b, &p);
    if (!p.is_done || p.fate != SLUICE_FATE_OK) {
        return sluice_err_set(&b->err, SLUICE_ERR_DB, "store %s does not answer: %s",
                              b->store->ops->name, p.text);
    }
    return SLUICE_OK;
}

uint32_t boot_llm_threads(const struct sluice_settings *s)
{
    if (s->max_in_flight <= SLUICE_LLM_HOME_MAX) {
        return 0; /* they would only sleep */
    }
    return s->llm_threads >= 0
               ? (uint32_t)s->llm_threads
               : sluice_llm_threads_wanted((uint32_t)s->max_in_flight, uv_available_parallelism());
}

static sluice_rc llm_open(struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    sluice_header headers[SLUICE_LLM_HEADERS_MAX];
    uint32_t headers_count = 0;
    for (uint32_t i = 0; i < s->llm_headers_count; i++) {
        if (s->llm_headers[i].value[0] != '\0') {
            headers[headers_count++] =
                (sluice_header){s->llm_headers[i].name, s->llm_headers[i].value};
        }
    }
    struct sluice_llm_threads_options o = {
        .llm = {.loop = &b->loop,
                .allocator = &b->allocator,
                .base_url = s->llm_base_url,
                .api_key = s->llm_api_key,
                .headers = headers,
                .headers_count = headers_count,
                .ca_file = s->llm_ca,
                .is_streamed = s->llm_stream,
                .answer_size_max = (size_t)s->llm_answer_size_max,
                .connections_max = (uint32_t)s->max_in_flight},
        .threads = boot_llm_threads(s),
        .home_max = SLUICE_LLM_HOME_MAX};
    if (o.threads == 0) {
        return sluice_curl_llm_create(&o.llm, &b->llm, &b->err);
    }
    SLUICE_LOG(SLUICE_LOG_INFO, START, "llm.threads", "", SLUICE_F_NUMBER("threads", o.threads));
    return sluice_llm_threads_create(&o, &b->llm, &b->err);
}

sluice_rc boot_clients(struct boot *b)
{
    sluice_rc rc = llm_open(b);
    if (rc == SLUICE_OK) {
        rc = boot_services_open(b);
    }
    if (rc == SLUICE_OK) {
        rc = store_open(b);
    }
    if (rc == SLUICE_OK) {
        rc = store_check(b);
    }
    if (rc == SLUICE_OK) {
        rc = boot_services_check(b);
    }
    if (rc != SLUICE_OK) {
        return rc;
    }
    /* An LLM that is away at boot is no reason to die: its breaker holds pulling back until it
     * answers. */
    static struct ping p;
    p = (struct ping){.is_done = 0};
    if (b->llm->ops->ping(b->llm, on_llm_ping, &p) != SLUICE_OK) {
        return sluice_err_set(&b->err, SLUICE_ERR_NOMEM, "llm: out of memory");
    }
    ping_wait(b, &p);
    if (p.fate != SLUICE_FATE_OK) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "llm.unreachable", p.text,
                   SLUICE_F_TEXT("error", sluice_status_name(p.rc)));
    }
    boot_state_enter(b, SLUICE_RUN_CLIENTS_UP);
    return SLUICE_OK;
}

static void on_publisher_link(void *ctx, enum sluice_link_state state, const char *text)
{
    struct boot *b = ctx;
    if (state == SLUICE_LINK_LOST) {
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "nats.lost", text == NULL ? "" : text,
                   SLUICE_F_TEXT("link", "publish"));
        atomic_store(&b->is_publisher_lost, 1);
    } else if (state == SLUICE_LINK_UP) {
        sluice_refusals_forget(&b->refusals);
        if (b->source != NULL) {
            sluice_nats_source_hurry(b->source);
        }
    } else if (state == SLUICE_LINK_REFUSED) {
        sluice_refusals_tell(&b->refusals, "publish", text, sluice_mono_ms());
    }
}

static void on_publisher_left(void *ctx, const char *server_id)
{
    const struct boot *b = ctx;
    if (b->source != NULL) {
        sluice_nats_source_doubt(b->source, server_id);
    }
}

/* Does `subject` stand for outputs, as `sluice init` sets their stream up? */
static int is_output_subject(const struct sluice_settings *s, const char *subject)
{
    size_t len = strlen(s->subject_ready);
    return strncmp(subject, s->subject_ready, len) == 0 &&
           (subject[len] == '\0' || subject[len] == '.');
}

static void on_unheard(void *ctx, const char *subject, const char *stream)
{
    struct boot *b = ctx;
    if (stream == NULL && is_output_subject(b->settings, subject)) {
        stream = b->settings->stream_ready;
    }
    sluice_refusals_tell_unheard(&b->unheard, subject, stream, sluice_mono_ms());
}

sluice_rc boot_publisher(struct boot *b)
{
    const char *who = b->settings->durable[0] != '\0' ? b->settings->durable : "worker";
    sluice_rc rc = sluice_nats_target_init(&b->target, b->settings, who, &b->err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct sluice_nats_publisher_config config = {.nats = b->target.options,
                                                  .loop = &b->loop,
                                                  .mailbox = sluice_loop_mailbox_port(b->mailbox),
                                                  .timeout_ms = b->settings->publish_timeout_ms,
                                                  .on_link = on_publisher_link,
                                                  .on_left = on_publisher_left,
                                                  .on_unheard = on_unheard,
                                                  .ctx = b};
    rc = sluice_nats_publisher_create(&config, &b->publisher, &b->err);
    if (rc == SLUICE_OK) {
        boot_state_enter(b, SLUICE_RUN_PUBLISHER_UP);
    }
    return rc;
}
