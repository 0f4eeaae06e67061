/* SPDX-License-Identifier: Apache-2.0 */
/* One operation of the journal's port, from its begin to its callback: what all kinds share. For
 * nats_journal*.c alone; all on the loop thread. */
#ifndef SLUICE_ADAPTER_NATS_JOURNAL_CALL_H
#define SLUICE_ADAPTER_NATS_JOURNAL_CALL_H

#include "adapter/nats_journal_codec.h"
#include "adapter/nats_requests.h"
#include "port/journal.h"
#include "port/publisher.h"

struct sluice_nats_journal {
    struct sluice_journal base; /* first */
    struct sluice_publisher *publisher;
    struct sluice_nats_requests *requests;
    char *bucket, *worker;
    int64_t timeout_ms;
    struct sluice_journal_call *calls; /* without callback yet */
};

/* The first member of what each kind of operation keeps. Lives until its callback was made and none
 * of its requests is open. */
struct sluice_journal_call {
    struct sluice_nats_journal *journal;
    struct sluice_journal_call *next, *prev;
    void (*fini)(struct sluice_journal_call *call); /* before it is freed; NULL: nothing to do */
    sluice_journal_done_fn *done;
    void *ctx;
    int64_t deadline_ms;
    uint32_t waiting; /* requests open: an answer counts itself out */
    int is_over;      /* the callback was made */
    char prefix[SLUICE_JOURNAL_SUBJECT_SIZE];
};

/* `size` bytes, zeroed, that begin with the call. *out is NULL when the message cannot have a
 * journal (the callback follows), and with ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_journal_call_create(struct sluice_journal *base, size_t size,
                                     const struct sluice_journal_key *key,
                                     sluice_journal_done_fn *done, void *ctx,
                                     struct sluice_journal_call **out);
/* What could not be begun: no callback. Returns the reason. */
sluice_rc sluice_journal_call_drop(struct sluice_journal_call *call);
/* At the end of each request's answer. */
void sluice_journal_call_free_when_quiet(struct sluice_journal_call *call);

/* Send one of its requests, which has what is left of the call's time. */
SLUICE_MUST_CHECK
sluice_rc sluice_journal_call_ask(struct sluice_journal_call *call, const char *subject,
                                  const sluice_header *header, sluice_bytes body,
                                  sluice_nats_answer_fn *fn, void *ctx);
/* What is said of a request that was not answered. */
const char *sluice_journal_call_words(enum sluice_nats_outcome outcome);

/* Make the callback, unless it was made. */
void sluice_journal_call_done(struct sluice_journal_call *call, struct sluice_journal_done *done);
void sluice_journal_call_ok(struct sluice_journal_call *call);
void sluice_journal_call_fail(struct sluice_journal_call *call, enum sluice_fate fate, sluice_rc rc,
                              const char *text);
void sluice_journal_call_starve(struct sluice_journal_call *call);

#endif
