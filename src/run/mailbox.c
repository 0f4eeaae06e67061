/* SPDX-License-Identifier: Apache-2.0 */
#include "run/mailbox.h"

#include <stdatomic.h>

/* Nodes wait in a stack that posters push to and that the loop takes whole: with a single taker and
 * no pop of one node there is no ABA problem and no lock. The loop turns the stack round, which
 * gives the order of posting. */
struct sluice_loop_mailbox {
    struct sluice_mailbox port; /* first: post() gets a pointer to it */
    _Atomic(struct sluice_mail *) newest;
    uv_async_t async;
    const struct sluice_allocator *allocator;
};

static void mailbox_post(struct sluice_mailbox *port, struct sluice_mail *mail)
{
    struct sluice_loop_mailbox *mailbox = (struct sluice_loop_mailbox *)port;
    struct sluice_mail *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do {
        mail->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, mail,
                                                    memory_order_release, memory_order_relaxed));
    /* Only the first of a burst wakes the loop; the others find a wake-up on its way. `mail` may be
     * gone already. */
    if (newest == NULL) {
        (void)uv_async_send(&mailbox->async);
    }
}

/* Deliver one batch: what was posted before this call. */
static size_t mailbox_deliver(struct sluice_loop_mailbox *mailbox)
{
    struct sluice_mail *mail =
        atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
    struct sluice_mail *oldest = NULL;
    while (mail != NULL) {
        struct sluice_mail *older = mail->next;
        mail->next = oldest;
        oldest = mail;
        mail = older;
    }
    size_t count = 0;
    while (oldest != NULL) {
        struct sluice_mail *next = oldest->next; /* deliver() may free or post the node again */
        oldest->next = NULL;
        oldest->deliver(oldest);
        oldest = next;
        count++;
    }
    return count;
}

static void on_async(uv_async_t *async)
{
    (void)mailbox_deliver((struct sluice_loop_mailbox *)async->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct sluice_loop_mailbox *mailbox = (struct sluice_loop_mailbox *)handle->data;
    sluice_mem_free(mailbox->allocator, mailbox);
}

sluice_rc sluice_loop_mailbox_create(uv_loop_t *loop, const struct sluice_allocator *allocator,
                                     struct sluice_loop_mailbox **out, struct sluice_err *err)
{
    struct sluice_loop_mailbox *mailbox = sluice_mem_alloc(allocator, 1, sizeof *mailbox);
    if (mailbox == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "mailbox: out of memory");
    }
    mailbox->port.post = mailbox_post;
    mailbox->allocator = allocator;
    atomic_init(&mailbox->newest, NULL);
    int status = uv_async_init(loop, &mailbox->async, on_async);
    if (status != 0) {
        sluice_mem_free(allocator, mailbox);
        return sluice_err_set(err, SLUICE_ERR_INTERNAL, "mailbox: wake-up descriptor: %s",
                              uv_strerror(status));
    }
    mailbox->async.data = mailbox;
    *out = mailbox;
    return SLUICE_OK;
}

struct sluice_mailbox *sluice_loop_mailbox_port(struct sluice_loop_mailbox *mailbox)
{
    return &mailbox->port;
}

size_t sluice_loop_mailbox_drain(struct sluice_loop_mailbox *mailbox)
{
    size_t total = 0;
    size_t count;
    while ((count = mailbox_deliver(mailbox)) != 0) {
        total += count;
    }
    return total;
}

void sluice_loop_mailbox_destroy(struct sluice_loop_mailbox *mailbox)
{
    if (mailbox == NULL) {
        return;
    }
    (void)sluice_loop_mailbox_drain(mailbox);
    uv_close((uv_handle_t *)&mailbox->async, on_closed);
}
