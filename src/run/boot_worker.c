/* SPDX-License-Identifier: Apache-2.0 */
/* The plug-in and what the configuration says about it. */
#include "run/boot_state.h"

#include "run/log.h"
#include "run/prompts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int outputs_set(struct boot *b)
{
    static const char *const standard[] = {"ready", NULL};
    const char *const *names =
        b->plugin.worker.outputs == NULL ? standard : b->plugin.worker.outputs;
    for (; *names != NULL && b->host.outputs_count < HOST_OUTPUTS_MAX; names++) {
        char subject[1024];
        int is_mapped = sluice_worker_output_subject(b->settings, *names, subject, sizeof subject);
        char *own = strdup(subject); /* lives as long as the process */
        if (own == NULL) {
            return 0;
        }
        /* Mapped: whatever stream takes it; the boot looks whether there is one. */
        b->host.outputs[b->host.outputs_count++] =
            (struct host_output){*names, own, is_mapped ? NULL : b->settings->stream_ready};
    }
    return *names == NULL;
}

/* All that the worker finds wrong with its configuration and its prompts, a line each. */
static sluice_rc worker_config_step(struct boot *b)
{
    static struct sluice_report report;
    report = (struct sluice_report){.count = 0};
    b->worker_config = sluice_worker_config_create(b->settings, &b->plugin.worker, &report);
    sluice_worker_config_secrets(b->worker_config, sluice_log_redact);
    sluice_prompts_load(&b->host, b->settings, &report, NULL); /* the command has warned */
    if (report.count == 0) {
        return SLUICE_OK;
    }
    b->is_misconfigured = 1;
    sluice_report_log(&report);
    return sluice_err_set(&b->err, SLUICE_ERR_CONFIG, "worker %s: %u error%s in the configuration",
                          b->plugin.worker.name, report.count, report.count == 1 ? "" : "s");
}

static void host_log(void *ctx, const struct inflight *m, int32_t level, const char *event,
                     const char *text)
{
    (void)ctx;
    SLUICE_LOG(level, NONE, event, text, SLUICE_F_NUMBER("seq", m->delivery->sequence),
               SLUICE_F_TEXT("correlation_id", m->correlation_id));
}

sluice_rc boot_worker(struct boot *b)
{
    const struct sluice_settings *s = b->settings;
    if (s->worker[0] == '\0') {
        b->is_misconfigured = 1;
        return sluice_err_set(&b->err, SLUICE_ERR_CONFIG,
                              "SLUICE_WORKER: not set, expected a plug-in");
    }
    sluice_rc rc = sluice_plugin_load(s->worker, s->worker_dir, &b->plugin, &b->err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    const sluice_worker *w = &b->plugin.worker;
    b->host = (struct worker_host){.plugin = &b->plugin,
                                   .table = host_table(),
                                   .allocator = &b->allocator,
                                   .doc_format = b->store->ops->format,
                                   .model = s->llm_model,
                                   .temperature = s->llm_temperature,
                                   .max_tokens = (uint32_t)s->llm_max_tokens,
                                   .llm_timeout_ms = (uint32_t)s->llm_timeout_ms,
                                   .services_count = s->services_count,
                                   .log = host_log};
    memcpy(b->host.services, b->services, sizeof b->services);
    sluice_arena_init(&b->host.scratch, &b->allocator, 16384, 256u * 1024 * 1024);
    (void)snprintf(b->durable, sizeof b->durable, "%s",
                   s->durable[0] != '\0' ? s->durable : w->name);
    if ((rc = worker_config_step(b)) != SLUICE_OK) {
        return rc;
    }
    if (!outputs_set(b)) {
        return sluice_err_set(&b->err, SLUICE_ERR_NOMEM, "worker %s: no memory", w->name);
    }
    if (w->create != NULL &&
        (rc = w->create(b->host.table, b->worker_config, &b->host.self)) != SLUICE_OK) {
        return sluice_err_set(&b->err, rc, "worker %s (%s): create failed: %s", w->name,
                              b->plugin.path, sluice_status_name(rc));
    }
    b->is_created = 1;
    sluice_probe_set_worker(b->probe, w->name, w->version);
    SLUICE_LOG(SLUICE_LOG_INFO, START, "worker.loaded", "", SLUICE_F_TEXT("worker", w->name),
               SLUICE_F_TEXT("version", w->version), SLUICE_F_TEXT("path", b->plugin.path),
               SLUICE_F_NUMBER("prompts", b->host.prompts_count));
    return SLUICE_OK;
}
