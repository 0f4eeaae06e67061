/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/null_store.h"

#include <stddef.h>

struct owed {
    struct owed *next;
    sluice_store_done_fn *done;
    void *ctx;
    enum sluice_fate fate;
    sluice_rc rc;
};

/* All callbacks of one turn of the loop are made by one mail, so that the store costs next to
 * nothing. */
struct null_store {
    struct sluice_store base; /* first member */
    struct sluice_mail mail;  /* while is_posted, the mailbox's */
    struct sluice_mailbox *mailbox;
    const struct sluice_allocator *allocator;
    struct owed *first, **last;
    struct owed *spare;
    int is_posted, is_closing;
};

static void store_free(struct null_store *s)
{
    while (s->spare != NULL) {
        struct owed *next = s->spare->next;
        sluice_mem_free(s->allocator, s->spare);
        s->spare = next;
    }
    sluice_mem_free(s->allocator, s);
}

static void pay(struct null_store *s)
{
    struct owed *o = s->first;
    s->first = NULL;
    s->last = &s->first;
    while (o != NULL) {
        struct owed *next = o->next;
        struct sluice_store_done done = {.fate = o->fate, .rc = o->rc, .text = ""};
        sluice_store_done_fn *fn = o->done;
        void *ctx = o->ctx;
        o->next = s->spare;
        s->spare = o;
        fn(ctx, &done);
        o = next;
    }
}

static void on_mail(struct sluice_mail *mail)
{
    struct null_store *s = (struct null_store *)((char *)mail - offsetof(struct null_store, mail));
    s->is_posted = 0;
    if (s->is_closing) {
        store_free(s);
    } else {
        pay(s);
    }
}

static sluice_rc owe(struct sluice_store *base, enum sluice_fate fate, sluice_rc rc,
                     sluice_store_done_fn *done, void *ctx)
{
    struct null_store *s = (struct null_store *)base;
    struct owed *o = s->spare;
    if (o != NULL) {
        s->spare = o->next;
    } else if ((o = sluice_mem_alloc(s->allocator, 1, sizeof *o)) == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    *o = (struct owed){.done = done, .ctx = ctx, .fate = fate, .rc = rc};
    *s->last = o;
    s->last = &o->next;
    if (!s->is_posted) {
        s->is_posted = 1;
        s->mailbox->post(s->mailbox, &s->mail);
    }
    return SLUICE_OK;
}

static sluice_rc put(struct sluice_store *base, const struct sluice_doc *docs, uint32_t count,
                     sluice_store_done_fn *done, void *ctx)
{
    (void)docs;
    (void)count;
    return owe(base, SLUICE_FATE_OK, SLUICE_OK, done, ctx);
}

static sluice_rc find(struct sluice_store *base, const char *collection, const char *id,
                      sluice_store_done_fn *done, void *ctx)
{
    (void)collection;
    (void)id;
    return owe(base, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_NOT_FOUND, done, ctx);
}

static sluice_rc ping(struct sluice_store *base, sluice_store_done_fn *done, void *ctx)
{
    return owe(base, SLUICE_FATE_OK, SLUICE_OK, done, ctx);
}

static void destroy(struct sluice_store *base)
{
    struct null_store *s = (struct null_store *)base;
    if (s == NULL) {
        return;
    }
    pay(s);
    s->is_closing = 1;
    if (!s->is_posted) {
        store_free(s);
    }
}

sluice_rc sluice_null_store_create(struct sluice_mailbox *mailbox,
                                   const struct sluice_allocator *allocator,
                                   struct sluice_store **out, struct sluice_err *err)
{
    static const struct sluice_store_ops ops = {.name = "null",
                                                .format = SLUICE_DOC_JSON,
                                                .put = put,
                                                .find = find,
                                                .ping = ping,
                                                .destroy = destroy};
    struct null_store *s = sluice_mem_alloc(allocator, 1, sizeof *s);
    if (s == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "null store: out of memory");
    }
    *s = (struct null_store){
        .base = {&ops}, .mail = {.deliver = on_mail}, .mailbox = mailbox, .allocator = allocator};
    s->last = &s->first;
    *out = &s->base;
    return SLUICE_OK;
}
