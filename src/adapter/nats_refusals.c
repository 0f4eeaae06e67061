/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_refusals.h"

#include <stdio.h>
#include <stdlib.h>

struct refusal_mail {
    struct sluice_mail mail; /* first */
    struct sluice_nats_refusals *refusals;
    char text[SLUICE_NATS_REFUSAL_TEXT_MAX + 1];
};

static void deliver(struct sluice_mail *mail)
{
    struct refusal_mail *refusal = (struct refusal_mail *)mail;
    struct sluice_nats_refusals *refusals = refusal->refusals;
    pthread_mutex_lock(&refusals->lock);
    refusals->posted_count--;
    int is_closed = refusals->is_closed;
    pthread_mutex_unlock(&refusals->lock);
    if (!is_closed) {
        refusals->tell(refusals->ctx, refusal->text);
    }
    free(refusal);
}

int sluice_nats_refusals_init(struct sluice_nats_refusals *refusals, struct sluice_nats_box *box,
                              sluice_nats_refusal_fn *tell, void *ctx)
{
    *refusals = (struct sluice_nats_refusals){.box = box, .tell = tell, .ctx = ctx};
    return pthread_mutex_init(&refusals->lock, NULL) == 0;
}

void sluice_nats_refusals_fini(struct sluice_nats_refusals *refusals)
{
    pthread_mutex_destroy(&refusals->lock);
}

void sluice_nats_refusals_post(struct sluice_nats_refusals *refusals, const char *text)
{
    struct refusal_mail *refusal = malloc(sizeof *refusal);
    if (refusal == NULL) {
        return;
    }
    refusal->mail.deliver = deliver;
    refusal->refusals = refusals;
    (void)snprintf(refusal->text, sizeof refusal->text, "%.*s", (int)sizeof refusal->text - 1,
                   text);
    /* The box is posted to inside the lock: when close() has returned, no post is in the making. */
    pthread_mutex_lock(&refusals->lock);
    if (!refusals->is_closed && refusals->posted_count < SLUICE_NATS_REFUSALS_MAX) {
        refusals->posted_count++;
        sluice_nats_box_post(refusals->box, &refusal->mail);
        refusal = NULL;
    }
    pthread_mutex_unlock(&refusals->lock);
    free(refusal);
}

void sluice_nats_refusals_close(struct sluice_nats_refusals *refusals)
{
    pthread_mutex_lock(&refusals->lock);
    refusals->is_closed = 1;
    pthread_mutex_unlock(&refusals->lock);
}
