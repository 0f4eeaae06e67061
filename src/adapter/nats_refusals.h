/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server denied, on its way from the threads that hear of it to the loop thread. A flood is
 * cut: a client whose right is missing may be denied each of its messages, and a few texts say it
 * all.
 */
#ifndef SLUICE_ADAPTER_NATS_REFUSALS_H
#define SLUICE_ADAPTER_NATS_REFUSALS_H

#include "adapter/nats_box.h"
#include <pthread.h>
#include <stdint.h>

#define SLUICE_NATS_REFUSALS_MAX     16u  /* on their way at a time; more are dropped */
#define SLUICE_NATS_REFUSAL_TEXT_MAX 383u /* bytes; what is longer is cut */

/* Loop thread. The text is borrowed. */
typedef void sluice_nats_refusal_fn(void *ctx, const char *text);

struct sluice_nats_refusals {
    struct sluice_nats_box *box;
    sluice_nats_refusal_fn *tell;
    void *ctx;
    pthread_mutex_t lock;  /* guards what follows; held while posting, never while telling */
    uint32_t posted_count; /* and not delivered yet */
    int is_closed;
};

/* `box` and `ctx` are borrowed until close. 0: it cannot be made, and nothing is to be undone. */
int sluice_nats_refusals_init(struct sluice_nats_refusals *refusals, struct sluice_nats_box *box,
                              sluice_nats_refusal_fn *tell, void *ctx);
/* When nobody can post any more and the box has delivered all. Any thread. */
void sluice_nats_refusals_fini(struct sluice_nats_refusals *refusals);

/* `text` is copied. Never blocks, never fails: without memory and behind too many others it is
 * dropped, because a repetition is denied again. Any thread, until fini. */
void sluice_nats_refusals_post(struct sluice_nats_refusals *refusals, const char *text);

/* From here on nothing is posted to the box and nothing is told, not even what is under way; the
 * box still has to deliver that, which frees it. May be repeated. Loop thread. */
void sluice_nats_refusals_close(struct sluice_nats_refusals *refusals);

#endif
