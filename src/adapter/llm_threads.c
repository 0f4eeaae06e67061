/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/llm_threads.h"

#include "adapter/curl_numbers.h"
#include "adapter/curl_request.h"
#include "adapter/llm_thread.h"

enum {
    CALLS_A_THREAD = 4096, /* a further thread for each so many calls at once */
    BATCH_MAX = 32,        /* calls that a thread is given together */
    TURN_MAX = 256         /* answers in one turn of home's loop, which has other work, too */
};

/* Numbers of home's own LLM have their slot, below 2^31, in the lower half. */
#define CARRIED (UINT64_C(1) << 31)

/* One thread, seen from home. */
struct lane {
    struct sluice_llm_thread *thread;
    struct sluice_llm_ops_list leaving; /* not yet given to it */
    uint32_t open_count;                /* leaving, there, or on the way back */
};

struct llm {
    struct sluice_llm port; /* first */
    const struct sluice_allocator *allocator;
    struct sluice_llm *home;
    uint32_t home_max;
    struct lane lanes[SLUICE_LLM_THREADS_MAX];
    uint32_t lanes_count;
    struct sluice_curl_numbers numbers;
    struct sluice_curl_spares spares;
    struct sluice_llm_ops_list arrived; /* their callbacks are due */
    uv_async_t wake;                    /* answers have come */
    uv_prepare_t turn;                  /* runs while something is leaving */
    uint32_t handles_open;
    int is_turn_due;
    int is_closing;
};

/* ---- Leaving */

static void give(struct llm *llm)
{
    for (uint32_t i = 0; i < llm->lanes_count; i++) {
        sluice_llm_thread_give(llm->lanes[i].thread, &llm->lanes[i].leaving);
    }
    if (llm->is_turn_due) {
        llm->is_turn_due = 0;
        (void)uv_prepare_stop(&llm->turn);
    }
}

static void on_turn(uv_prepare_t *turn)
{
    give(turn->data);
}

/* The calls of one turn of the loop go together: each wake-up costs two system calls. */
static void leave(struct llm *llm, struct lane *lane, struct sluice_llm_op *op)
{
    sluice_llm_ops_push(&lane->leaving, op);
    if (lane->leaving.count >= BATCH_MAX) {
        sluice_llm_thread_give(lane->thread, &lane->leaving);
    } else if (!llm->is_turn_due) {
        llm->is_turn_due = 1;
        (void)uv_prepare_start(&llm->turn, on_turn);
    }
}

/* ---- Coming back */

static struct lane *lane_of(struct llm *llm, const struct sluice_llm_op *op)
{
    struct lane *lane = llm->lanes;
    while (lane->thread != op->thread) {
        lane++;
    }
    return lane;
}

static void deliver(struct llm *llm, struct sluice_llm_op *op)
{
    lane_of(llm, op)->open_count--;
    sluice_curl_numbers_give_back(&llm->numbers, op->slot);
    op->done(op->ctx, &op->result);
    sluice_mem_free(llm->allocator, op->copy);
    sluice_curl_spares_give_back(&llm->spares, op);
}

static void on_wake(uv_async_t *async)
{
    struct llm *llm = async->data;
    for (uint32_t i = 0; i < llm->lanes_count; i++) {
        sluice_llm_thread_take(llm->lanes[i].thread, &llm->arrived);
    }
    for (int i = 0; i < TURN_MAX && llm->arrived.first != NULL; i++) {
        deliver(llm, sluice_llm_ops_pop(&llm->arrived));
    }
    if (llm->arrived.first != NULL) {
        (void)uv_async_send(&llm->wake);
    }
}

/* ---- The port */

static struct lane *lane_choose(struct llm *llm)
{
    struct lane *best = &llm->lanes[0];
    for (uint32_t i = 1; i < llm->lanes_count; i++) {
        best = llm->lanes[i].open_count < best->open_count ? &llm->lanes[i] : best;
    }
    return best;
}

static sluice_rc llm_write(struct sluice_llm *port, const struct sluice_llm_question *question,
                           sluice_bytes *request, struct sluice_err *err)
{
    struct llm *llm = (struct llm *)port;
    return llm->home->ops->write(llm->home, question, request, err);
}

static uint64_t llm_ask(struct sluice_llm *port, const struct sluice_llm_ask *ask,
                        sluice_llm_done_fn *done, void *ctx)
{
    struct llm *llm = (struct llm *)port;
    if (llm->is_closing || sluice_curl_llm_open_count(llm->home) < llm->home_max) {
        return llm->home->ops->ask(llm->home, ask, done, ctx);
    }
    struct sluice_llm_op *op = sluice_curl_spares_take(&llm->spares);
    if (op == NULL) {
        return 0;
    }
    uint64_t number = sluice_curl_numbers_take(&llm->numbers, op, &op->slot);
    if (number == 0) {
        sluice_curl_spares_give_back(&llm->spares, op);
        return 0;
    }
    struct lane *lane = lane_choose(llm);
    op->thread = lane->thread;
    op->done = done;
    op->ctx = ctx;
    op->ask = *ask;
    op->asked_ns = uv_hrtime();
    lane->open_count++;
    leave(llm, lane, op);
    return number | CARRIED;
}

static void llm_cancel(struct sluice_llm *port, uint64_t number)
{
    struct llm *llm = (struct llm *)port;
    if ((number & CARRIED) == 0) {
        llm->home->ops->cancel(llm->home, number);
        return;
    }
    struct sluice_llm_op *op = sluice_curl_numbers_find(&llm->numbers, number & ~CARRIED);
    if (op == NULL || op->is_back || op->is_cancel_asked || llm->is_closing) {
        return; /* it ends soon in any case */
    }
    op->is_cancel_asked = 1;
    sluice_llm_thread_cancel(op->thread, op);
}

static sluice_rc llm_ping(struct sluice_llm *port, sluice_llm_done_fn *done, void *ctx)
{
    struct llm *llm = (struct llm *)port;
    return llm->home->ops->ping(llm->home, done, ctx);
}

static void on_closed(uv_handle_t *handle)
{
    struct llm *llm = handle->data;
    if (--llm->handles_open == 0) {
        sluice_mem_free(llm->allocator, llm);
    }
}

static void threads_end(struct llm *llm)
{
    give(llm);
    for (uint32_t i = 0; i < llm->lanes_count; i++) {
        sluice_llm_thread_stop(llm->lanes[i].thread);
    }
    for (uint32_t i = 0; i < llm->lanes_count; i++) {
        sluice_llm_thread_join(llm->lanes[i].thread, &llm->arrived);
    }
    struct sluice_llm_op *op;
    while ((op = sluice_llm_ops_pop(&llm->arrived)) != NULL) {
        deliver(llm, op); /* what it asks for goes home */
    }
    for (uint32_t i = 0; i < llm->lanes_count; i++) {
        sluice_llm_thread_destroy(llm->lanes[i].thread);
    }
}

static void llm_destroy(struct sluice_llm *port)
{
    struct llm *llm = (struct llm *)port;
    if (llm == NULL) {
        return;
    }
    llm->is_closing = 1;
    threads_end(llm);
    llm->lanes_count = 0;
    if (llm->home != NULL) {
        llm->home->ops->destroy(llm->home);
    }
    sluice_curl_numbers_fini(&llm->numbers);
    sluice_curl_spares_fini(&llm->spares);
    uv_close((uv_handle_t *)&llm->wake, on_closed);
    uv_close((uv_handle_t *)&llm->turn, on_closed);
}

static const struct sluice_llm_ops llm_ops = {llm_write, llm_ask, llm_cancel, llm_ping, llm_destroy};

struct sluice_curl_stats sluice_llm_threads_stats(const struct sluice_llm *port)
{
    const struct llm *llm = (const struct llm *)port;
    struct sluice_curl_stats sum = sluice_curl_llm_stats(llm->home);
    for (uint32_t i = 0; i < llm->lanes_count; i++) {
        struct sluice_curl_stats one = sluice_llm_thread_stats(llm->lanes[i].thread);
        sum.running += one.running;
        sum.queued += one.queued + llm->lanes[i].leaving.count;
        sum.connections += one.connections;
        sum.shards += one.shards;
        sum.calls_total += one.calls_total;
        sum.connects_total += one.connects_total;
        sum.resends_total += one.resends_total;
    }
    return sum;
}

/* ---- Creation */

uint32_t sluice_llm_threads_wanted(uint32_t calls_max, uint32_t processors)
{
    if (calls_max <= SLUICE_LLM_HOME_MAX || processors <= 1) {
        return 0; /* on one processor a further thread only costs */
    }
    uint32_t threads = (calls_max - SLUICE_LLM_HOME_MAX + CALLS_A_THREAD - 1) / CALLS_A_THREAD;
    threads = threads < processors - 1 ? threads : processors - 1;
    return threads < SLUICE_LLM_THREADS_MAX ? threads : SLUICE_LLM_THREADS_MAX;
}

static sluice_rc open_home(struct llm *llm, const struct sluice_llm_threads_options *o,
                           struct sluice_err *err)
{
    struct sluice_curl_llm_options options = o->llm;
    uint32_t max = o->llm.connections_max;
    options.connections_max = o->home_max == 0 ? 1 : o->home_max; /* one for pings */
    options.connections_max = options.connections_max < max ? options.connections_max : max;
    return sluice_curl_llm_create(&options, &llm->home, err);
}

/* A call goes to the thread with the fewest, so that none has more than its share unless there are
 * more calls than connections. */
static sluice_rc open_lanes(struct llm *llm, const struct sluice_llm_threads_options *o,
                            struct sluice_err *err)
{
    struct sluice_curl_llm_options options = o->llm;
    uint32_t max = o->llm.connections_max;
    uint32_t left = max > o->home_max ? max - o->home_max : 1;
    options.connections_max = (left + o->threads - 1) / o->threads;
    sluice_rc rc = SLUICE_OK;
    while (rc == SLUICE_OK && llm->lanes_count < o->threads) {
        struct lane *lane = &llm->lanes[llm->lanes_count];
        rc = sluice_llm_thread_create(&options, &llm->wake, &lane->thread, err);
        llm->lanes_count += rc == SLUICE_OK;
    }
    return rc;
}

static sluice_rc open_handles(struct llm *llm, uv_loop_t *loop, struct sluice_err *err)
{
    int status = uv_async_init(loop, &llm->wake, on_wake);
    if (status != 0) {
        return sluice_err_set(err, SLUICE_ERR_INTERNAL, "llm: wake-up descriptor: %s",
                              uv_strerror(status));
    }
    (void)uv_prepare_init(loop, &llm->turn);
    llm->handles_open = 2;
    llm->wake.data = llm;
    llm->turn.data = llm;
    return SLUICE_OK;
}

sluice_rc sluice_llm_threads_create(const struct sluice_llm_threads_options *options,
                                    struct sluice_llm **out, struct sluice_err *err)
{
    const struct sluice_allocator *a = options->llm.allocator;
    if (options->threads < 1 || options->threads > SLUICE_LLM_THREADS_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "llm: threads: %u is not 1…%u",
                              (unsigned)options->threads, SLUICE_LLM_THREADS_MAX);
    }
    struct llm *llm = sluice_mem_alloc(a, 1, sizeof *llm);
    if (llm == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "llm: out of memory");
    }
    llm->port.ops = &llm_ops;
    llm->allocator = a;
    llm->home_max = options->home_max;
    llm->numbers.allocator = a;
    sluice_curl_spares_init(&llm->spares, a, sizeof(struct sluice_llm_op));
    sluice_rc rc = open_handles(llm, options->llm.loop, err);
    if (rc != SLUICE_OK) {
        sluice_mem_free(a, llm);
        return rc;
    }
    if ((rc = open_home(llm, options, err)) != SLUICE_OK ||
        (rc = open_lanes(llm, options, err)) != SLUICE_OK) {
        llm_destroy(&llm->port);
        return rc;
    }
    *out = &llm->port;
    return SLUICE_OK;
}
