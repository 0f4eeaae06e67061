/* SPDX-License-Identifier: Apache-2.0 */
/* Where documents live. One contract, run by tests/adapter against every store. */
#ifndef SLUICE_PORT_STORE_H
#define SLUICE_PORT_STORE_H

#include "core/engine.h"
#include "core/err.h"

enum sluice_doc_format { SLUICE_DOC_JSON, SLUICE_DOC_BSON };

struct sluice_doc {
    const char *collection; /* [A-Za-z0-9_-]{1,64}, checked by the caller */
    const char *id;         /* becomes _id */
    sluice_bytes body;      /* in the store's format, without _id: the store adds it */
};

/* How an operation ended. Texts and bytes are borrowed for the callback. */
struct sluice_store_done {
    enum sluice_fate fate; /* OK: every document is durable (majority + journal, or a committed
                              transaction with synchronous=FULL). PERMANENT: too large for the
                              server, or a name or body that no store can hold. UNREACHABLE: not
                              sent. UNAVAILABLE: undone, the file or its disk is to blame. UNKNOWN:
                              it may have been written. find without a document: BAD_ANSWER and
                              ERR_NOT_FOUND */
    sluice_rc rc; /* SLUICE_OK, ERR_DB, ERR_TOO_LARGE, ERR_TIMEOUT, ERR_NOT_FOUND (find), … */
    uint32_t failed_doc; /* index of the first document that is not durable */
    const char *text;    /* what the library said, without credentials or bodies; "" when OK */
    sluice_bytes found;  /* find: the document in the store's format, its _id included */
};

typedef void sluice_store_done_fn(void *ctx, const struct sluice_store_done *done);

struct sluice_store;

struct sluice_store_ops {
    const char *name; /* "sqlite", "mongodb" */
    enum sluice_doc_format format;
    /* Begin to upsert all documents of one message; concurrent messages share a group commit. Loop
     * thread only, never blocks. Documents are borrowed until the callback. Exactly one callback
     * follows, on the loop thread, never from inside this call; also after cancel and during
     * destroy. None follows ERR_NOMEM: then nothing was begun. */
    sluice_rc (*put)(struct sluice_store *s, const struct sluice_doc *docs, uint32_t count,
                     sluice_store_done_fn *done, void *ctx);
    /* Read one document by id; same rules. A missing collection counts as a missing document. */
    sluice_rc (*find)(struct sluice_store *s, const char *collection, const char *id,
                      sluice_store_done_fn *done, void *ctx);
    /* Is the store answering? Same rules; used by boot and /health. */
    sluice_rc (*ping)(struct sluice_store *s, sluice_store_done_fn *done, void *ctx);
    /* Waits for the operation that is running (bounded by its timeout), ends the others with
     * CANCELLED, joins the thread. Loop thread. Callbacks still owed are made before it returns.
     * Accepts NULL. */
    void (*destroy)(struct sluice_store *s);
};

/* First member of every store. */
struct sluice_store {
    const struct sluice_store_ops *ops;
};

#endif
