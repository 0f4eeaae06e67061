/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: answers that were paid for, and the small record of a message. One worker's part of
 * one bucket. */
#ifndef SLUICE_PORT_JOURNAL_H
#define SLUICE_PORT_JOURNAL_H

#include "core/engine.h"
#include "core/err.h"

/* The fallback identity of a message: it cannot mix re-created streams or reused request ids. */
struct sluice_journal_key {
    const char *stream;
    uint64_t sequence;
    int64_t stored_unix_ns;
};

/* Numbers of the record plus what people read in it. */
struct sluice_journal_record {
    struct sluice_record numbers;
    const char *failure; /* name of the last failure's class, "" if none */
    const char *step;    /* which step, "" */
    const char *text;    /* reason, shortened to 512 bytes */
    const char *replay;  /* which message wrote it under its original's key, "": the key's own */
};

struct sluice_journal_answer {
    struct sluice_journaled id;
    sluice_bytes bytes; /* as given to answer_put */
};

/* How an operation ended; everything borrowed for the callback. */
struct sluice_journal_done {
    enum sluice_fate fate; /* OK, RETRY (not written), UNKNOWN (no answer in time) */
    sluice_rc rc;
    const char *text;
    int exists; /* answer_put: fate OK, but another answer was there first; `answers[0]` is that one
                 */
    struct sluice_journal_record record;         /* load */
    const struct sluice_journal_answer *answers; /* load: all that could be read, in any order */
    uint32_t answers_count;
};

typedef void sluice_journal_done_fn(void *ctx, const struct sluice_journal_done *done);

struct sluice_journal;

struct sluice_journal_ops {
    /* All: loop thread, never block; arguments are copied or sent before the call returns; exactly
     * one callback, never from inside; none after ERR_NOMEM: then nothing was asked. Reads go to
     * the bucket's leader, never to a mirror. */
    sluice_rc (*load)(struct sluice_journal *j, const struct sluice_journal_key *key,
                      sluice_journal_done_fn *done, void *ctx);
    /* Create-only. An answer over the payload limit is cut into chunks named by their content, its
     * head written last. */
    sluice_rc (*answer_put)(struct sluice_journal *j, const struct sluice_journal_key *key,
                            const struct sluice_journaled *id, sluice_bytes bytes,
                            sluice_journal_done_fn *done, void *ctx);
    sluice_rc (*record_put)(struct sluice_journal *j, const struct sluice_journal_key *key,
                            const struct sluice_journal_record *record,
                            sluice_journal_done_fn *done, void *ctx);
    /* Open operations end with UNKNOWN, their callbacks made before it returns. Accepts NULL. */
    void (*destroy)(struct sluice_journal *j);
};

struct sluice_journal {
    const struct sluice_journal_ops *ops;
};

#endif
