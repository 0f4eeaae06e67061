/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_journal.h"

#include "adapter/nats_journal_call.h"
#include "adapter/nats_journal_keep.h"
#include "adapter/nats_journal_load.h"
#include "adapter/nats_publisher.h"
#include "codec/header.h"
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS   2000
#define NAME_MAX_LEN 64u

static void journal_destroy(struct sluice_journal *base)
{
    struct sluice_nats_journal *j = (struct sluice_nats_journal *)base;
    if (j == NULL) {
        return;
    }
    while (j->calls != NULL) {
        struct sluice_journal_call *call = j->calls;
        sluice_journal_call_fail(call, SLUICE_FATE_UNKNOWN, SLUICE_ERR_CANCELLED,
                                 "journal: shutting down");
        sluice_journal_call_free_when_quiet(call);
    }
    free(j->bucket);
    free(j->worker);
    free(j);
}

static const struct sluice_journal_ops ops = {
    .load = sluice_journal_load,
    .answer_put = sluice_journal_answer_put,
    .record_put = sluice_journal_record_put,
    .destroy = journal_destroy,
};

static int is_name(const char *text)
{
    return text != NULL && sluice_bucket_name_is_valid(text) && strlen(text) <= NAME_MAX_LEN;
}

sluice_rc sluice_nats_journal_create(const struct sluice_nats_journal_config *config,
                                     struct sluice_journal **out, struct sluice_err *err)
{
    if (!is_name(config->bucket) || !is_name(config->worker)) {
        return sluice_err_set(
            err, SLUICE_ERR_CONFIG,
            "journal: bucket \"%s\" and worker \"%s\" must be [A-Za-z0-9_-]{1,64}",
            config->bucket == NULL ? "" : config->bucket,
            config->worker == NULL ? "" : config->worker);
    }
    struct sluice_nats_journal *j = calloc(1, sizeof *j);
    if (j == NULL || (j->bucket = strdup(config->bucket)) == NULL ||
        (j->worker = strdup(config->worker)) == NULL) {
        if (j != NULL) {
            free(j->bucket);
        }
        free(j);
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "journal: out of memory");
    }
    j->base.ops = &ops;
    j->publisher = config->publisher;
    j->requests = sluice_nats_publisher_requests(config->publisher);
    j->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_MS;
    *out = &j->base;
    return SLUICE_OK;
}
