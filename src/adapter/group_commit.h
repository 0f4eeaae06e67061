/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stores share: one thread that takes everything that is waiting and commits it as one
 * group.
 *
 * A group forms while the one before it is being committed; nothing is ever delayed to make a group
 * larger. The loop thread queues operations, the store's thread runs them, and the results of a
 * round travel back in one mail.
 */
#ifndef SLUICE_ADAPTER_GROUP_COMMIT_H
#define SLUICE_ADAPTER_GROUP_COMMIT_H

#include "adapter/group_batch.h"
#include "port/mailbox.h"

#define SLUICE_STORE_TIMEOUT_MS 10000u /* when the configuration says 0 */

/* What a store does on its own thread. Each function settles every operation that it is given; what
 * it leaves open fails with ERR_INTERNAL. */
struct sluice_group_backend {
    /* Make the documents of all messages durable. Each has passed sluice_doc_check, and no document
     * is written by two messages (one message may name a document twice: its last counts). */
    void (*commit)(void *self, struct sluice_group_op **ops, uint32_t count);
    void (*find)(void *self, struct sluice_group_op *op);
    void (*ping)(void *self, struct sluice_group_op *op);
    void (*idle)(void *self); /* nothing came for a second after work was done; may be NULL */
};

struct sluice_group_config {
    enum sluice_doc_format format;
    uint32_t timeout_ms; /* an operation that waited longer ends with UNREACHABLE */
    struct sluice_mailbox *mailbox;
    const struct sluice_allocator *allocator; /* called by both threads; outlives the mailbox */
    const struct sluice_group_backend *backend;
    void *self; /* for the backend */
};

struct sluice_group;

/* Starts the thread, with all signals blocked in it. ERR_NOMEM, ERR_INTERNAL. */
sluice_rc sluice_group_create(const struct sluice_group_config *config, struct sluice_group **out,
                              struct sluice_err *err);
/* As sluice_store_ops.destroy; the backend is not called any more after it returned. Not from a
 * callback. A mail that is still in the mailbox then does nothing but free itself. Accepts NULL. */
void sluice_group_destroy(struct sluice_group *g);

/* What each store on a group begins with. */
struct sluice_group_store {
    struct sluice_store base; /* first */
    struct sluice_group *group;
};

/* For sluice_store_ops, of a store that begins so. What `docs` points to stays borrowed, the array
 * itself is copied; find copies its arguments. */
SLUICE_MUST_CHECK
sluice_rc sluice_group_put(struct sluice_store *base, const struct sluice_doc *docs, uint32_t count,
                           sluice_store_done_fn *done, void *ctx);
SLUICE_MUST_CHECK
sluice_rc sluice_group_find(struct sluice_store *base, const char *collection, const char *id,
                            sluice_store_done_fn *done, void *ctx);
SLUICE_MUST_CHECK
sluice_rc sluice_group_ping(struct sluice_store *base, sluice_store_done_fn *done, void *ctx);

/* Store thread: 1 once destroy has begun; a backend then begins nothing more. */
int sluice_group_is_stopping(struct sluice_group *g);

#endif
