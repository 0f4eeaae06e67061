/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/group_commit.h"

#include "adapter/doc_check.h"
#include "port/clock.h"
#include "port/signals.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define IDLE_S    1
#define READS_MAX 64u /* finds and pings between two groups */

/* The one mail of a group: allocated by itself, because a mailbox cannot give it back. */
struct group_mail {
    struct sluice_mail mail;    /* first member */
    struct sluice_group *group; /* NULL: destroyed while the mail was under way */
    const struct sluice_allocator *allocator;
};

struct sluice_group {
    struct sluice_group_config config;
    struct group_mail *mail;
    pthread_t thread;
    int has_sync; /* mutex and condition are initialised */
    pthread_mutex_t mutex;
    pthread_cond_t work;
    atomic_int is_stopping;

    /* Under the mutex. */
    struct sluice_group_list puts, reads; /* asked for */
    struct sluice_group_list done;        /* to be delivered */
    int is_mailed;                        /* the mail is in the mailbox */

    /* Of the store's thread, and of destroy after it. */
    struct sluice_group_list backlog, backlog_reads; /* taken, not yet tried */
    int is_worked;                                   /* something was done since the last idle */
    struct sluice_group_batch batch;
};

int sluice_group_is_stopping(struct sluice_group *g)
{
    return atomic_load_explicit(&g->is_stopping, memory_order_acquire);
}

/* ---- Delivery */

static void deliver_list(struct sluice_group *g, struct sluice_group_list *list)
{
    struct sluice_group_op *op;
    while ((op = sluice_group_list_pop(list)) != NULL) {
        sluice_group_op_deliver(op);
        sluice_mem_free(g->config.allocator, op);
    }
}

/* Loop thread. */
static void deliver(struct sluice_mail *mail)
{
    struct group_mail *m = (struct group_mail *)mail;
    struct sluice_group *g = m->group;
    if (g == NULL) {
        sluice_mem_free(m->allocator, m);
        return;
    }
    pthread_mutex_lock(&g->mutex);
    struct sluice_group_list done = g->done;
    g->done = (struct sluice_group_list){NULL, NULL};
    g->is_mailed = 0;
    pthread_mutex_unlock(&g->mutex);
    deliver_list(g, &done);
}

/* Any thread. */
static void post(struct sluice_group *g, struct sluice_group_list *ended)
{
    if (ended->first == NULL) {
        return;
    }
    pthread_mutex_lock(&g->mutex);
    sluice_group_list_append(&g->done, ended);
    int is_first = !g->is_mailed;
    g->is_mailed = 1;
    pthread_mutex_unlock(&g->mutex);
    if (is_first) {
        g->config.mailbox->post(g->config.mailbox, &g->mail->mail);
    }
}

/* ---- The store's thread */

static void end(struct sluice_group_op *op, struct sluice_group_list *ended)
{
    if (!op->is_settled) {
        sluice_group_fail(op, SLUICE_FATE_UNKNOWN, SLUICE_ERR_INTERNAL, 0,
                          "the store gave no result");
    }
    sluice_group_list_push(ended, op);
}

static void run_reads(struct sluice_group *g)
{
    const struct sluice_group_config *config = &g->config;
    struct sluice_group_list ended = {NULL, NULL};
    for (uint32_t i = 0; i < READS_MAX && !sluice_group_is_stopping(g); i++) {
        struct sluice_group_op *op = sluice_group_list_pop(&g->backlog_reads);
        if (op == NULL) {
            break;
        }
        sluice_group_screen(op, config->format, sluice_mono_ms(), config->timeout_ms);
        if (!op->is_settled && op->kind == SLUICE_GROUP_FIND) {
            config->backend->find(config->self, op);
        } else if (!op->is_settled) {
            config->backend->ping(config->self, op);
        }
        end(op, &ended);
    }
    post(g, &ended);
}

static void run_group(struct sluice_group *g)
{
    const struct sluice_group_config *config = &g->config;
    struct sluice_group_batch *batch = &g->batch;
    struct sluice_group_list ended = {NULL, NULL};
    if (g->backlog.first == NULL) {
        return;
    }
    sluice_group_batch_form(batch, &g->backlog, &ended, config->format, sluice_mono_ms(),
                            config->timeout_ms);
    post(g, &ended);
    if (batch->count == 0) {
        return;
    }
    config->backend->commit(config->self, batch->ops, batch->count);
    for (uint32_t i = 0; i < batch->count; i++) {
        end(batch->ops[i], &ended);
    }
    post(g, &ended);
}

/* With the mutex held. 0 when it is time to do what a store does when idle. */
static int wait_for_work(struct sluice_group *g)
{
    int is_idle_wanted = g->is_worked && g->config.backend->idle != NULL;
    int rc = 0;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    while (g->puts.first == NULL && g->reads.first == NULL && !sluice_group_is_stopping(g)) {
        if (rc == ETIMEDOUT) {
            return 0;
        }
        rc = is_idle_wanted ? pthread_cond_timedwait(&g->work, &g->mutex, &until)
                            : pthread_cond_wait(&g->work, &g->mutex);
    }
    return 1;
}

/* Take everything that was asked for; wait only if nothing is left over from before. */
static void take(struct sluice_group *g)
{
    int has_work = 1;
    pthread_mutex_lock(&g->mutex);
    if (g->backlog.first == NULL && g->backlog_reads.first == NULL) {
        has_work = wait_for_work(g);
    }
    sluice_group_list_append(&g->backlog, &g->puts);
    sluice_group_list_append(&g->backlog_reads, &g->reads);
    pthread_mutex_unlock(&g->mutex);
    if (!has_work) {
        g->config.backend->idle(g->config.self);
    }
    g->is_worked = has_work;
}

static void *thread_main(void *arg)
{
    struct sluice_group *g = arg;
    while (!sluice_group_is_stopping(g)) {
        take(g);
        run_reads(g);
        if (!sluice_group_is_stopping(g)) {
            run_group(g);
        }
    }
    return NULL;
}

/* ---- Asking */

/* An operation with room for `extra` bytes behind it. NULL without memory. */
static struct sluice_group_op *op_new(struct sluice_group *g, enum sluice_group_kind kind,
                                      size_t extra, sluice_store_done_fn *done, void *ctx)
{
    struct sluice_group_op *op =
        sluice_mem_alloc(g->config.allocator, sizeof(struct sluice_group_op) + extra, 1);
    if (op != NULL) {
        op->kind = kind;
        op->allocator = g->config.allocator;
        op->done = done;
        op->ctx = ctx;
        op->queued_ms = sluice_mono_ms();
    }
    return op;
}

static void enqueue(struct sluice_group *g, struct sluice_group_op *op)
{
    if (op->is_settled) {
        struct sluice_group_list ended = {NULL, NULL};
        sluice_group_list_push(&ended, op);
        post(g, &ended);
        return;
    }
    pthread_mutex_lock(&g->mutex);
    sluice_group_list_push(op->kind == SLUICE_GROUP_PUT ? &g->puts : &g->reads, op);
    pthread_cond_signal(&g->work);
    pthread_mutex_unlock(&g->mutex);
}

/* The array is copied behind the operation. */
static void take_docs(struct sluice_group_op *op, const struct sluice_doc *docs, uint32_t count)
{
    struct sluice_doc *copy = (struct sluice_doc *)(op + 1);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = docs[i];
        /* Saturates: what is over the group's bound goes alone. */
        size_t room = SIZE_MAX - op->bytes;
        op->bytes += docs[i].body.len < room ? docs[i].body.len : room;
    }
    op->docs = copy;
    op->docs_count = count;
}

static struct sluice_group *group_of(struct sluice_store *base)
{
    return ((struct sluice_group_store *)base)->group;
}

sluice_rc sluice_group_put(struct sluice_store *base, const struct sluice_doc *docs, uint32_t count,
                           sluice_store_done_fn *done, void *ctx)
{
    struct sluice_group *g = group_of(base);
    int is_over = count > SLUICE_EFFECTS_MAX;
    struct sluice_group_op *op =
        op_new(g, SLUICE_GROUP_PUT, is_over ? 0 : count * sizeof *docs, done, ctx);
    if (op == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    if (is_over) {
        sluice_group_fail(op, SLUICE_FATE_PERMANENT, SLUICE_ERR_TOO_LARGE, 0,
                          "%u documents in one message, limit %u", count, SLUICE_EFFECTS_MAX);
    } else {
        take_docs(op, docs, count);
    }
    enqueue(g, op);
    return SLUICE_OK;
}

sluice_rc sluice_group_find(struct sluice_store *base, const char *collection, const char *id,
                            sluice_store_done_fn *done, void *ctx)
{
    struct sluice_group *g = group_of(base);
    /* One byte over the limit is enough to be refused for it. */
    size_t collection_len = strnlen(collection, SLUICE_COLLECTION_NAME_MAX + 1);
    size_t id_len = strnlen(id, SLUICE_DOCUMENT_ID_MAX + 1);
    struct sluice_group_op *op = op_new(
        g, SLUICE_GROUP_FIND, sizeof(struct sluice_doc) + collection_len + id_len + 2, done, ctx);
    if (op == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    struct sluice_doc *doc = (struct sluice_doc *)(op + 1);
    char *text = (char *)(doc + 1); /* zeroed */
    memcpy(text, collection, collection_len);
    memcpy(text + collection_len + 1, id, id_len);
    doc->collection = text;
    doc->id = text + collection_len + 1;
    op->docs = doc;
    op->docs_count = 1;
    enqueue(g, op);
    return SLUICE_OK;
}

sluice_rc sluice_group_ping(struct sluice_store *base, sluice_store_done_fn *done, void *ctx)
{
    struct sluice_group *g = group_of(base);
    struct sluice_group_op *op = op_new(g, SLUICE_GROUP_PING, 0, done, ctx);
    if (op == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    enqueue(g, op);
    return SLUICE_OK;
}

/* ---- Beginning and end */

static sluice_rc init_sync(struct sluice_group *g)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return SLUICE_ERR_INTERNAL;
    }
#if !defined(__APPLE__) /* which waits by its own clock only */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    int rc = pthread_mutex_init(&g->mutex, NULL);
    if (rc == 0 && (rc = pthread_cond_init(&g->work, &attributes)) != 0) {
        pthread_mutex_destroy(&g->mutex);
    }
    pthread_condattr_destroy(&attributes);
    g->has_sync = rc == 0;
    return rc == 0 ? SLUICE_OK : SLUICE_ERR_INTERNAL;
}

static sluice_rc start_thread(struct sluice_group *g)
{
    sigset_t before;
    sluice_signals_block(&before);
    int rc = pthread_create(&g->thread, NULL, thread_main, g);
    sluice_signals_restore(&before);
    if (rc != 0) {
        return SLUICE_ERR_INTERNAL;
    }
#if defined(__linux__)
    (void)pthread_setname_np(g->thread, "sluice-store");
#endif
    return SLUICE_OK;
}

static void group_free(struct sluice_group *g)
{
    const struct sluice_allocator *a = g->config.allocator;
    if (g->has_sync) {
        pthread_cond_destroy(&g->work);
        pthread_mutex_destroy(&g->mutex);
    }
    sluice_mem_free(a, g->mail);
    sluice_mem_free(a, g);
}

sluice_rc sluice_group_create(const struct sluice_group_config *config, struct sluice_group **out,
                              struct sluice_err *err)
{
    const struct sluice_allocator *a = config->allocator;
    sluice_rc rc = SLUICE_ERR_NOMEM;
    struct sluice_group *g = sluice_mem_alloc(a, 1, sizeof *g);
    if (g == NULL) {
        return sluice_err_set(err, rc, "store: out of memory");
    }
    g->config = *config;
    g->config.timeout_ms = config->timeout_ms == 0 ? SLUICE_STORE_TIMEOUT_MS : config->timeout_ms;
    g->mail = sluice_mem_alloc(a, 1, sizeof *g->mail);
    if (g->mail == NULL) {
        goto fail;
    }
    *g->mail = (struct group_mail){.mail = {.deliver = deliver}, .group = g, .allocator = a};
    if ((rc = init_sync(g)) != SLUICE_OK || (rc = start_thread(g)) != SLUICE_OK) {
        goto fail;
    }
    *out = g;
    return SLUICE_OK;
fail:
    group_free(g);
    return sluice_err_set(err, rc, "store: %s",
                          rc == SLUICE_ERR_NOMEM ? "out of memory" : "no thread could be started");
}

void sluice_group_destroy(struct sluice_group *g)
{
    if (g == NULL) {
        return;
    }
    pthread_mutex_lock(&g->mutex);
    atomic_store_explicit(&g->is_stopping, 1, memory_order_release);
    pthread_cond_signal(&g->work);
    pthread_mutex_unlock(&g->mutex);
    (void)pthread_join(g->thread, NULL);

    /* From here on this thread is alone. Callbacks may ask for more: that is cancelled, too. */
    do {
        deliver_list(g, &g->done);
        deliver_list(g, &g->backlog_reads);
        deliver_list(g, &g->backlog);
        deliver_list(g, &g->reads);
        deliver_list(g, &g->puts);
    } while (g->done.first != NULL || g->reads.first != NULL || g->puts.first != NULL);
    if (g->is_mailed) {
        g->mail->group = NULL;
        g->mail = NULL;
    }
    group_free(g);
}
