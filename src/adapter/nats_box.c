/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_box.h"

#include "core/assert.h"
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

struct sluice_nats_box {
    struct sluice_mailbox *outer;
    struct sluice_mail wake; /* the one node that the outer mailbox ever holds */
    pthread_mutex_t lock;    /* guards the members below */
    struct sluice_mail *first, **last;
    int is_woken;  /* `wake` is in the outer mailbox */
    int is_closed; /* free at the wake's delivery */
};

static void free_box(struct sluice_nats_box *box)
{
    pthread_mutex_destroy(&box->lock);
    free(box);
}

static void deliver_all(struct sluice_mail *mail)
{
    while (mail != NULL) {
        struct sluice_mail *next = mail->next; /* the owner may free the node */
        mail->deliver(mail);
        mail = next;
    }
}

static struct sluice_mail *take_all(struct sluice_nats_box *box)
{
    struct sluice_mail *first = box->first;
    box->first = NULL;
    box->last = &box->first;
    return first;
}

static void deliver_burst(struct sluice_mail *wake)
{
    struct sluice_nats_box *box =
        (struct sluice_nats_box *)((char *)wake - offsetof(struct sluice_nats_box, wake));
    pthread_mutex_lock(&box->lock);
    box->is_woken = 0;
    int is_closed = box->is_closed;
    struct sluice_mail *first = take_all(box);
    pthread_mutex_unlock(&box->lock);
    if (is_closed) {
        free_box(box);
        return;
    }
    deliver_all(first);
}

struct sluice_nats_box *sluice_nats_box_create(struct sluice_mailbox *outer)
{
    struct sluice_nats_box *box = calloc(1, sizeof *box);
    if (box == NULL || pthread_mutex_init(&box->lock, NULL) != 0) {
        free(box);
        return NULL;
    }
    box->outer = outer;
    box->wake.deliver = deliver_burst;
    box->last = &box->first;
    return box;
}

void sluice_nats_box_post(struct sluice_nats_box *box, struct sluice_mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&box->lock);
    SLUICE_ASSERT(!box->is_closed);
    *box->last = mail;
    box->last = &mail->next;
    int must_wake = !box->is_woken;
    box->is_woken = 1;
    /* Inside the lock: a box whose last poster has returned holds no post in the making. */
    if (must_wake) {
        box->outer->post(box->outer, &box->wake);
    }
    pthread_mutex_unlock(&box->lock);
}

void sluice_nats_box_close(struct sluice_nats_box *box)
{
    if (box == NULL) {
        return;
    }
    pthread_mutex_lock(&box->lock);
    box->is_closed = 1;
    int is_woken = box->is_woken;
    struct sluice_mail *first = take_all(box);
    pthread_mutex_unlock(&box->lock);
    deliver_all(first);
    if (!is_woken) {
        free_box(box);
    }
}
