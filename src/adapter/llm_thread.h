/* SPDX-License-Identifier: Apache-2.0 */
/* One further thread that carries LLM calls, with a loop and an LLM of its own: no handle of
 * libcurl is ever used by two threads at once. Only for llm_threads.c; all functions are for the
 * thread of its port ("home"), and none blocks but create and destroy.
 *
 * Operations and answers change hands in batches under the thread's mutex, which is the only
 * memory barrier there is. */
#ifndef SLUICE_ADAPTER_LLM_THREAD_H
#define SLUICE_ADAPTER_LLM_THREAD_H

#include "adapter/curl_llm.h"

struct sluice_llm_thread;

/* One call that is carried by another thread. */
struct sluice_llm_op {
    struct sluice_llm_op *next; /* in the list where it is */

    /* Of home. */
    struct sluice_llm_thread *thread;
    sluice_llm_done_fn *done;
    void *ctx;
    uint32_t slot; /* in the table of numbers */
    uint8_t is_cancel_asked;
    uint8_t is_back; /* taken back from its thread */

    /* Written by home before it gives the operation away. */
    struct sluice_llm_ask ask; /* its texts are borrowed */
    uint64_t asked_ns;

    /* Of the carrying thread, until it gives the operation back. */
    uint64_t number;    /* of its own LLM; 0: not asked yet, or ended */
    uint32_t waited_ms; /* from home's asking to its own */
    uint8_t is_doomed;  /* cancelled before it was asked */
    uint8_t is_ended;
    struct sluice_llm_done result; /* points into `copy`, or to constants */
    void *copy;                    /* NULL: there was nothing to copy, or no memory */

    /* Under the thread's mutex: the list of those to be cancelled. */
    struct sluice_llm_op *cancel_previous, *cancel_next;
    uint8_t is_in_cancels;
};

/* Zeroed: empty. */
struct sluice_llm_ops_list {
    struct sluice_llm_op *first, *last;
    uint32_t count;
};

void sluice_llm_ops_push(struct sluice_llm_ops_list *list, struct sluice_llm_op *op);
struct sluice_llm_op *sluice_llm_ops_pop(struct sluice_llm_ops_list *list); /* NULL: empty */
/* Empties `from`. */
void sluice_llm_ops_append(struct sluice_llm_ops_list *list, struct sluice_llm_ops_list *from);

/* `llm` as for curl_llm.h, but the loop is the thread's own, and the allocator must be one for
 * several threads. `wake` is told when answers have come; it lives until destroy. */
SLUICE_MUST_CHECK
sluice_rc sluice_llm_thread_create(const struct sluice_curl_llm_options *llm, uv_async_t *wake,
                                   struct sluice_llm_thread **out, struct sluice_err *err);
/* Empties the list; each operation comes back once by take(). */
void sluice_llm_thread_give(struct sluice_llm_thread *t, struct sluice_llm_ops_list *ops);
/* Of an operation that is not back; it may not even have been given yet. Once for each. */
void sluice_llm_thread_cancel(struct sluice_llm_thread *t, struct sluice_llm_op *op);
/* Append what has ended. The operations are home's again. */
void sluice_llm_thread_take(struct sluice_llm_thread *t, struct sluice_llm_ops_list *ended);
/* As of the thread's last turn. */
struct sluice_curl_stats sluice_llm_thread_stats(struct sluice_llm_thread *t);
/* Tell it to end, without waiting: several end at the same time. */
void sluice_llm_thread_stop(struct sluice_llm_thread *t);
/* Wait until it has ended, and append all operations that it had to `ended`: those still open with
 * CANCELLED. Nothing may be given or cancelled from stop() on. */
void sluice_llm_thread_join(struct sluice_llm_thread *t, struct sluice_llm_ops_list *ended);
/* After join(), or after a failed create. Accepts NULL. */
void sluice_llm_thread_destroy(struct sluice_llm_thread *t);

#endif
