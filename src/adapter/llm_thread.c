/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/llm_thread.h"

#include "core/assert.h"
#include "port/signals.h"
#include <pthread.h>
#include <string.h>

/* Answers that go home together, before the turn of the loop is over: a turn of many answers must
 * not keep home without work. */
enum { BATCH_MAX = 32 };

struct sluice_llm_thread {
    const struct sluice_allocator *allocator;
    uv_async_t *wake_home;
    pthread_t thread;
    uint8_t has_loop, has_mutex, has_thread;

    /* Of the thread while it runs, of home before and after. */
    uv_loop_t loop;
    uv_async_t wake;
    uv_prepare_t turn; /* before each wait */
    struct sluice_llm *llm;
    struct sluice_llm_ops_list fresh; /* ended since the last turn */

    pthread_mutex_t mutex;
    /* Under the mutex. */
    struct sluice_llm_ops_list asked, ended;
    struct sluice_llm_op *cancels;
    struct sluice_curl_stats stats;
    int is_stopping;
};

/* ---- Lists */

void sluice_llm_ops_push(struct sluice_llm_ops_list *list, struct sluice_llm_op *op)
{
    op->next = NULL;
    *(list->last == NULL ? &list->first : &list->last->next) = op;
    list->last = op;
    list->count++;
}

struct sluice_llm_op *sluice_llm_ops_pop(struct sluice_llm_ops_list *list)
{
    struct sluice_llm_op *op = list->first;
    if (op != NULL) {
        list->first = op->next;
        list->last = list->first == NULL ? NULL : list->last;
        list->count--;
        op->next = NULL;
    }
    return op;
}

void sluice_llm_ops_append(struct sluice_llm_ops_list *list, struct sluice_llm_ops_list *from)
{
    if (from->first != NULL) {
        *(list->last == NULL ? &list->first : &list->last->next) = from->first;
        list->last = from->last;
        list->count += from->count;
        *from = (struct sluice_llm_ops_list){NULL, NULL, 0};
    }
}

/* With the mutex held. */
static void cancels_unlink(struct sluice_llm_thread *t, struct sluice_llm_op *op)
{
    if (op->is_in_cancels) {
        *(op->cancel_previous == NULL ? &t->cancels : &op->cancel_previous->cancel_next) =
            op->cancel_next;
        if (op->cancel_next != NULL) {
            op->cancel_next->cancel_previous = op->cancel_previous;
        }
        op->is_in_cancels = 0;
    }
}

/* ---- Ends */

static void flush(struct sluice_llm_thread *t)
{
    pthread_mutex_lock(&t->mutex);
    int is_first = t->ended.first == NULL && t->fresh.first != NULL;
    sluice_llm_ops_append(&t->ended, &t->fresh);
    t->stats = sluice_curl_llm_stats(t->llm);
    pthread_mutex_unlock(&t->mutex);
    if (is_first) {
        (void)uv_async_send(t->wake_home);
    }
}

static void end(struct sluice_llm_thread *t, struct sluice_llm_op *op)
{
    op->number = 0;
    op->is_ended = 1;
    sluice_llm_ops_push(&t->fresh, op);
    if (t->fresh.count >= BATCH_MAX) {
        flush(t);
    }
}

/* Without texts to copy. */
static void set_result(struct sluice_llm_op *op, enum sluice_fate fate, sluice_rc rc,
                       const char *text)
{
    op->result.fate = fate;
    op->result.rc = rc;
    op->result.content = (sluice_bytes){NULL, 0};
    op->result.model = "";
    op->result.finish_reason = "";
    op->result.text = text;
}

static void cancel_unasked(struct sluice_llm_thread *t, struct sluice_llm_op *op)
{
    set_result(op, SLUICE_FATE_CANCELLED, SLUICE_ERR_CANCELLED, "chat completion: cancelled");
    end(t, op);
}

static const char *put(char **to, const char *text, size_t len)
{
    char *at = *to;
    memcpy(at, text, len);
    *to += len + 1; /* the block is zeroed */
    return at;
}

/* What an answer borrows is copied in one block. 0 without memory. */
static int copy_result(struct sluice_llm_thread *t, struct sluice_llm_op *op,
                       const struct sluice_llm_done *done)
{
    size_t model_len = strlen(done->model);
    size_t reason_len = strlen(done->finish_reason);
    size_t text_len = strlen(done->text);
    size_t size = model_len + reason_len + text_len + done->content.len + 4;
    char *to = sluice_mem_alloc(t->allocator, 1, size);
    if (to == NULL) {
        return 0;
    }
    op->copy = to;
    op->result.model = put(&to, done->model, model_len);
    op->result.finish_reason = put(&to, done->finish_reason, reason_len);
    op->result.text = put(&to, done->text, text_len);
    if (done->content.len != 0) {
        op->result.content.data = put(&to, done->content.data, done->content.len);
    }
    return 1;
}

/* Our LLM's callback. */
static void on_done(void *ctx, const struct sluice_llm_done *done)
{
    struct sluice_llm_op *op = ctx;
    struct sluice_llm_thread *t = op->thread;
    op->result = *done;
    op->result.duration_ms += op->waited_ms;
    op->result.first_byte_ms += done->first_byte_ms == 0 ? 0 : op->waited_ms;
    if (!copy_result(t, op, done)) {
        set_result(op, SLUICE_FATE_RETRY, SLUICE_ERR_NOMEM, "chat completion: out of memory");
    }
    end(t, op);
}

/* ---- The thread */

/* The way here counts against the timeout. */
static void start(struct sluice_llm_thread *t, struct sluice_llm_op *op)
{
    if (op->is_doomed) {
        cancel_unasked(t, op);
        return;
    }
    struct sluice_llm_ask ask = op->ask;
    uint64_t now = uv_hrtime();
    op->waited_ms = now > op->asked_ns ? (uint32_t)((now - op->asked_ns) / 1000000u) : 0;
    if (ask.timeout_ms != 0) {
        ask.timeout_ms = ask.timeout_ms > op->waited_ms ? ask.timeout_ms - op->waited_ms : 1;
    }
    op->number = t->llm->ops->ask(t->llm, &ask, on_done, op);
    if (op->number == 0) {
        set_result(op, SLUICE_FATE_RETRY, SLUICE_ERR_NOMEM, "llm request: out of memory");
        end(t, op);
    }
}

/* One at a time: home takes back an operation, and with it out of this list, whenever it likes. */
static int cancel_next(struct sluice_llm_thread *t)
{
    uint64_t number = 0;
    pthread_mutex_lock(&t->mutex);
    struct sluice_llm_op *op = t->cancels;
    if (op != NULL) {
        cancels_unlink(t, op);
        number = op->number;
        op->is_doomed = number == 0 && !op->is_ended;
    }
    pthread_mutex_unlock(&t->mutex);
    t->llm->ops->cancel(t->llm, number); /* 0 is nobody's */
    return op != NULL;
}

static void on_wake(uv_async_t *async)
{
    struct sluice_llm_thread *t = async->data;
    struct sluice_llm_ops_list asked = {NULL, NULL, 0};
    pthread_mutex_lock(&t->mutex);
    int is_stopping = t->is_stopping;
    if (!is_stopping) {
        sluice_llm_ops_append(&asked, &t->asked);
    }
    pthread_mutex_unlock(&t->mutex);
    if (is_stopping) {
        uv_stop(&t->loop); /* join() ends what is open */
        return;
    }
    struct sluice_llm_op *op;
    while ((op = sluice_llm_ops_pop(&asked)) != NULL) {
        start(t, op);
    }
    while (cancel_next(t)) {
    }
}

static void on_turn(uv_prepare_t *turn)
{
    flush(turn->data);
}

static void *run(void *arg)
{
    struct sluice_llm_thread *t = arg;
    (void)uv_run(&t->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- For home */

void sluice_llm_thread_give(struct sluice_llm_thread *t, struct sluice_llm_ops_list *ops)
{
    if (ops->first == NULL) {
        return;
    }
    pthread_mutex_lock(&t->mutex);
    int is_first = t->asked.first == NULL;
    sluice_llm_ops_append(&t->asked, ops);
    pthread_mutex_unlock(&t->mutex);
    if (is_first) {
        (void)uv_async_send(&t->wake);
    }
}

void sluice_llm_thread_cancel(struct sluice_llm_thread *t, struct sluice_llm_op *op)
{
    pthread_mutex_lock(&t->mutex);
    int is_first = t->cancels == NULL;
    op->cancel_previous = NULL;
    op->cancel_next = t->cancels;
    if (t->cancels != NULL) {
        t->cancels->cancel_previous = op;
    }
    t->cancels = op;
    op->is_in_cancels = 1;
    pthread_mutex_unlock(&t->mutex);
    if (is_first) {
        (void)uv_async_send(&t->wake);
    }
}

void sluice_llm_thread_take(struct sluice_llm_thread *t, struct sluice_llm_ops_list *ended)
{
    pthread_mutex_lock(&t->mutex);
    for (struct sluice_llm_op *op = t->ended.first; op != NULL; op = op->next) {
        cancels_unlink(t, op);
        op->is_back = 1;
    }
    sluice_llm_ops_append(ended, &t->ended);
    pthread_mutex_unlock(&t->mutex);
}

struct sluice_curl_stats sluice_llm_thread_stats(struct sluice_llm_thread *t)
{
    pthread_mutex_lock(&t->mutex);
    struct sluice_curl_stats stats = t->stats;
    stats.queued += t->asked.count;
    pthread_mutex_unlock(&t->mutex);
    return stats;
}

/* ---- Beginning and end */

static int start_thread(struct sluice_llm_thread *t)
{
    sigset_t before;
    sluice_signals_block(&before);
    int rc = pthread_create(&t->thread, NULL, run, t);
    sluice_signals_restore(&before);
    if (rc != 0) {
        return -1;
    }
    t->has_thread = 1;
#if defined(__linux__)
    (void)pthread_setname_np(t->thread, "sluice-llm");
#endif
    return 0;
}

static int init_loop(struct sluice_llm_thread *t)
{
    if (uv_loop_init(&t->loop) != 0) {
        return -1;
    }
    t->has_loop = 1;
    if (uv_async_init(&t->loop, &t->wake, on_wake) != 0) {
        return -1;
    }
    t->wake.data = t;
    (void)uv_prepare_init(&t->loop, &t->turn);
    t->turn.data = t;
    return uv_prepare_start(&t->turn, on_turn);
}

/* The LLM is made and ended by home, while the thread does not run: so its errors are create's, and
 * libcurl's global parts never meet each other. */
sluice_rc sluice_llm_thread_create(const struct sluice_curl_llm_options *llm, uv_async_t *wake,
                                   struct sluice_llm_thread **out, struct sluice_err *err)
{
    struct sluice_llm_thread *t = sluice_mem_alloc(llm->allocator, 1, sizeof *t);
    if (t == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "llm: out of memory");
    }
    t->allocator = llm->allocator;
    t->wake_home = wake;
    sluice_rc rc = SLUICE_ERR_INTERNAL;
    t->has_mutex = pthread_mutex_init(&t->mutex, NULL) == 0;
    if (!t->has_mutex || init_loop(t) != 0) {
        rc = sluice_err_set(err, rc, "llm: a further thread cannot have its loop");
        goto fail;
    }
    struct sluice_curl_llm_options options = *llm;
    options.loop = &t->loop;
    if ((rc = sluice_curl_llm_create(&options, &t->llm, err)) != SLUICE_OK) {
        goto fail;
    }
    if (start_thread(t) != 0) {
        rc = sluice_err_set(err, SLUICE_ERR_INTERNAL, "llm: no further thread could be started");
        goto fail;
    }
    *out = t;
    return SLUICE_OK;
fail:
    sluice_llm_thread_destroy(t);
    return rc;
}

void sluice_llm_thread_stop(struct sluice_llm_thread *t)
{
    pthread_mutex_lock(&t->mutex);
    t->is_stopping = 1;
    pthread_mutex_unlock(&t->mutex);
    (void)uv_async_send(&t->wake);
}

void sluice_llm_thread_join(struct sluice_llm_thread *t, struct sluice_llm_ops_list *ended)
{
    (void)pthread_join(t->thread, NULL);
    t->has_thread = 0;
    struct sluice_llm_op *op;
    while ((op = sluice_llm_ops_pop(&t->asked)) != NULL) {
        cancel_unasked(t, op);
    }
    flush(t);
    t->llm->ops->destroy(t->llm);
    t->llm = NULL;
    /* not flush(): there are no statistics any more */
    sluice_llm_ops_append(&t->ended, &t->fresh);
    sluice_llm_thread_take(t, ended);
}

static void on_walk(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void sluice_llm_thread_destroy(struct sluice_llm_thread *t)
{
    if (t == NULL) {
        return;
    }
    SLUICE_ASSERT(!t->has_thread);
    if (t->llm != NULL) {
        t->llm->ops->destroy(t->llm);
    }
    if (t->has_loop) {
        uv_walk(&t->loop, on_walk, NULL);
        (void)uv_run(&t->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&t->loop);
    }
    if (t->has_mutex) {
        pthread_mutex_destroy(&t->mutex);
    }
    sluice_mem_free(t->allocator, t);
}
