/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_journal_call.h"

#include "port/clock.h"
#include <stdlib.h>

static void free_call(struct sluice_journal_call *call)
{
    if (call->fini != NULL) {
        call->fini(call);
    }
    free(call);
}

void sluice_journal_call_free_when_quiet(struct sluice_journal_call *call)
{
    if (call->is_over && call->waiting == 0) {
        free_call(call);
    }
}

static void unlink_call(struct sluice_journal_call *call)
{
    if (call->prev != NULL) {
        call->prev->next = call->next;
    } else {
        call->journal->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }
}

sluice_rc sluice_journal_call_drop(struct sluice_journal_call *call)
{
    unlink_call(call);
    free_call(call);
    return SLUICE_ERR_NOMEM;
}

void sluice_journal_call_done(struct sluice_journal_call *call, struct sluice_journal_done *done)
{
    if (call->is_over) {
        return;
    }
    call->is_over = 1;
    unlink_call(call);
    done->text = done->text == NULL ? "" : done->text;
    if (done->record.failure == NULL) {
        done->record.failure = done->record.step = done->record.text = "";
    }
    call->done(call->ctx, done);
}

void sluice_journal_call_fail(struct sluice_journal_call *call, enum sluice_fate fate, sluice_rc rc,
                              const char *text)
{
    struct sluice_journal_done done = {.fate = fate, .rc = rc, .text = text};
    sluice_journal_call_done(call, &done);
}

void sluice_journal_call_starve(struct sluice_journal_call *call)
{
    sluice_journal_call_fail(call, SLUICE_FATE_NO_MEMORY, SLUICE_ERR_NOMEM,
                             "journal: out of memory");
}

void sluice_journal_call_ok(struct sluice_journal_call *call)
{
    struct sluice_journal_done done = {.fate = SLUICE_FATE_OK};
    sluice_journal_call_done(call, &done);
}

static void on_bad_key(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct sluice_journal_call *call = ctx;
    (void)outcome;
    (void)body;
    call->waiting--;
    sluice_journal_call_fail(call, SLUICE_FATE_RETRY, SLUICE_ERR_VALIDATION,
                             "journal: the stream's name is too long");
    sluice_journal_call_free_when_quiet(call);
}

sluice_rc sluice_journal_call_create(struct sluice_journal *base, size_t size,
                                     const struct sluice_journal_key *key,
                                     sluice_journal_done_fn *done, void *ctx,
                                     struct sluice_journal_call **out)
{
    struct sluice_nats_journal *j = (struct sluice_nats_journal *)base;
    struct sluice_journal_call *call = calloc(1, size);
    *out = call;
    if (call == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    call->journal = j;
    call->done = done;
    call->ctx = ctx;
    call->deadline_ms = sluice_mono_ms() + j->timeout_ms;
    call->next = j->calls;
    if (j->calls != NULL) {
        j->calls->prev = call;
    }
    j->calls = call;
    if (!sluice_journal_prefix(call->prefix, j->bucket, j->worker, key)) {
        *out = NULL;
        call->waiting++;
        return sluice_nats_requests_defer(j->requests, on_bad_key, call) == SLUICE_OK
                   ? SLUICE_OK
                   : sluice_journal_call_drop(call);
    }
    return SLUICE_OK;
}

sluice_rc sluice_journal_call_ask(struct sluice_journal_call *call, const char *subject,
                                  const sluice_header *header, sluice_bytes body,
                                  sluice_nats_answer_fn *fn, void *ctx)
{
    int64_t left = call->deadline_ms - sluice_mono_ms();
    const struct sluice_nats_request request = {.subject = subject,
                                                .headers = header,
                                                .headers_count = header != NULL,
                                                .body = body,
                                                .timeout_ms = left > 0 ? left : 0,
                                                .again = SLUICE_NATS_IF_NOBODY_LISTENS};
    sluice_rc rc = sluice_nats_requests_send(call->journal->requests, &request, fn, ctx);
    call->waiting += rc == SLUICE_OK;
    return rc;
}

const char *sluice_journal_call_words(enum sluice_nats_outcome outcome)
{
    switch (outcome) {
    case SLUICE_NATS_NO_RESPONDERS:
        return "journal: no stream listens on the bucket's subjects";
    case SLUICE_NATS_NOT_SENT:
        return "journal: not connected";
    case SLUICE_NATS_OVERSIZE:
        return "journal: over the server's payload limit";
    case SLUICE_NATS_ILLEGAL:
        return "journal: a subject that NATS does not allow";
    case SLUICE_NATS_LOST:
        return "journal: the connection broke or fell silent";
    case SLUICE_NATS_LATE:
        return "journal: no answer in time";
    default:
        return "journal: answered";
    }
}
