/* SPDX-License-Identifier: Apache-2.0 */
#include "run/offload.h"

#include "run/state.h"
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libuv, "Thread pool work scheduling": as many threads, unless the variable says something else.
 */
#define POOL_VARIABLE "UV_THREADPOOL_SIZE"
#define POOL_THREADS  4

struct offload {
    uv_work_t work;
    struct runtime *rt;   /* NULL: given up with all others */
    struct operation *op; /* NULL: its message has gone */
    struct offload *before, *next;
    sluice_offload_fn *fn;
    int has_begun;         /* known of one whose message has gone */
    _Atomic int has_ended; /* it holds no thread, though the loop may not know yet */
    sluice_rc rc;
    void *out;
    size_t out_len, in_len;
    alignas(max_align_t) unsigned char in[];
};

static void unlink_from(struct runtime *rt, struct offload *o)
{
    *(o->before == NULL ? &rt->offloads : &o->before->next) = o->next;
    if (o->next != NULL) {
        o->next->before = o->before;
    }
}

static void on_thread(uv_work_t *work)
{
    struct offload *o = work->data;
    o->rc = o->fn((sluice_bytes){o->in, o->in_len}, &o->out, &o->out_len);
    atomic_store(&o->has_ended, 1);
}

static void hand_over(struct runtime *rt, struct inflight *m, uint32_t step,
                      const struct offload *o, sluice_rc rc)
{
    struct host_step *s = m->steps[step];
    if (rc == SLUICE_OK) {
        s->offloaded = (sluice_bytes){sluice_arena_copy(&m->arena, o->out, o->out_len), o->out_len};
        rc = s->offloaded.data == NULL ? SLUICE_ERR_NOMEM : SLUICE_OK;
    }
    if (rc != SLUICE_OK) {
        host_step_failed(m, step, rc, "the offloaded function failed");
    }
    runtime_step_ended(
        rt, m, step, rc == SLUICE_OK ? SLUICE_FATE_OK : runtime_fate_of(SLUICE_FATE_BAD_ANSWER, rc),
        0);
}

static void on_done(uv_work_t *work, int status)
{
    struct offload *o = work->data;
    struct runtime *rt = o->rt;
    if (rt != NULL) {
        unlink_from(rt, o);
    }
    if (o->op != NULL) {
        uint32_t step = o->op->index;
        struct inflight *m = runtime_operation_end(o->op);
        if (m != NULL) {
            hand_over(rt, m, step, o, status != 0 ? SLUICE_ERR_CANCELLED : o->rc);
        }
    }
    free(o->out);
    free(o);
}

sluice_rc offload_start(struct runtime *rt, struct operation *op)
{
    const struct host_step *s = op->m->steps[op->index];
    struct offload *o = calloc(1, sizeof *o + s->body.len);
    if (o == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    o->rt = rt;
    o->op = op;
    o->fn = s->offload;
    o->in_len = s->body.len;
    if (s->body.len > 0) {
        memcpy(o->in, s->body.data, s->body.len);
    }
    o->next = rt->offloads;
    if (o->next != NULL) {
        o->next->before = o;
    }
    rt->offloads = o;
    o->work.data = o;
    (void)uv_queue_work(rt->config.loop, &o->work, on_thread, on_done); /* cannot fail */
    return SLUICE_OK;
}

static long threads_of_pool(void)
{
    const char *text = getenv(POOL_VARIABLE);
    long threads = text == NULL ? POOL_THREADS : strtol(text, NULL, 10);
    return threads < 1 ? 1 : threads > 1024 ? 1024 : threads;
}

static void end_when_stuck(const struct runtime *rt)
{
    long lost = 0;
    for (const struct offload *o = rt->offloads; o != NULL; o = o->next) {
        lost += o->has_begun && !atomic_load(&o->has_ended);
    }
    if (lost < threads_of_pool()) {
        return;
    }
    SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "offload.stuck",
               "offloaded functions that do not return hold all threads of their pool",
               SLUICE_F_NUMBER("threads", lost),
               SLUICE_F_NUMBER("exit_code", SLUICE_EXIT_WATCHDOG));
    _exit(SLUICE_EXIT_WATCHDOG);
}

void offloads_leave(struct runtime *rt, const struct inflight *m)
{
    int has_left = 0;
    for (struct offload *o = m->operations == 0 ? NULL : rt->offloads; o != NULL; o = o->next) {
        if (o->op != NULL && o->op->m == m) {
            (void)runtime_operation_end(o->op);
            o->op = NULL;
            o->has_begun = uv_cancel((uv_req_t *)&o->work) != 0; /* else it waited for a thread */
            has_left |= o->has_begun;
        }
    }
    if (has_left && !rt->is_draining) {
        end_when_stuck(rt);
    }
}

uint32_t runtime_leave_offloads(struct runtime *rt)
{
    uint32_t running = 0;
    while (rt != NULL && rt->offloads != NULL) {
        struct offload *o = rt->offloads;
        unlink_from(rt, o);
        if (o->op != NULL) {
            (void)runtime_operation_end(o->op);
        }
        o->op = NULL;
        o->rt = NULL;
        running += uv_cancel((uv_req_t *)&o->work) != 0;
    }
    return running;
}
