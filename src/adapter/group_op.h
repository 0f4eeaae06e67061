/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation of a store on its way: asked for by the loop thread, settled by the store's thread,
 * delivered by the loop thread. It has one owner at a time, the list that it is in.
 */
#ifndef SLUICE_ADAPTER_GROUP_OP_H
#define SLUICE_ADAPTER_GROUP_OP_H

#include "core/alloc.h"
#include "port/store.h"

enum sluice_group_kind { SLUICE_GROUP_PUT, SLUICE_GROUP_FIND, SLUICE_GROUP_PING };

struct sluice_group_op {
    enum sluice_group_kind kind;
    uint32_t docs_count;
    const struct sluice_doc *docs; /* put: the message's documents; find: one without a body */
    size_t bytes;                  /* of all bodies */

    /* How it ended. */
    enum sluice_fate fate;
    sluice_rc rc;
    uint32_t failed_doc;
    int is_settled;
    char *text; /* owned; NULL: see sluice_group_op_deliver */
    struct {
        void *data; /* owned */
        size_t len;
    } found;

    const struct sluice_allocator *allocator;
    struct sluice_group_op *next;
    sluice_store_done_fn *done;
    void *ctx;
    int64_t queued_ms;
};

/* ---- For backends, on the store's thread. The first word counts, later ones are ignored. */

void sluice_group_ok(struct sluice_group_op *op);
SLUICE_PRINTF(5, 6)
void sluice_group_fail(struct sluice_group_op *op, enum sluice_fate fate, sluice_rc rc,
                       uint32_t failed_doc, const char *format, ...);
/* A find has its document: `head` followed by `tail`, copied. */
void sluice_group_found(struct sluice_group_op *op, sluice_bytes head, sluice_bytes tail);
void sluice_group_missing(struct sluice_group_op *op); /* a find has none */

/* ---- For the group */

/* As sluice_group_fail, without a text. */
void sluice_group_op_settle(struct sluice_group_op *op, enum sluice_fate fate, sluice_rc rc);
/* Make the callback and free what the operation owns, but not the operation. One that nobody
 * settled is cancelled. */
void sluice_group_op_deliver(struct sluice_group_op *op);

struct sluice_group_list {
    struct sluice_group_op *first, *last;
};

void sluice_group_list_push(struct sluice_group_list *list, struct sluice_group_op *op);
struct sluice_group_op *sluice_group_list_pop(struct sluice_group_list *list); /* NULL: empty */
/* Move all of `more` behind the end of `list`. */
void sluice_group_list_append(struct sluice_group_list *list, struct sluice_group_list *more);

#endif
