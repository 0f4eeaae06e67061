/* SPDX-License-Identifier: Apache-2.0 */
#include "run/order.h"

#include "port/clock.h"
#include "run/probe.h"
#include <time.h>

static void deliver(struct sluice_mail *mail)
{
    struct sluice_order *order = (struct sluice_order *)mail;
    order->take(order->ctx, atomic_exchange(&order->kind, 0));
}

void sluice_order_give(struct sluice_order *order, struct sluice_mailbox *port, int kind,
                       int64_t limit_ms)
{
    /* While one waits, its mail lies in the box, and a mail may be in that list only once. */
    if (atomic_exchange(&order->kind, kind) == 0) {
        order->mail.deliver = deliver;
        port->post(port, &order->mail);
    }
    int64_t end = sluice_mono_ms() + limit_ms;
    while (atomic_load(&order->kind) != 0 && sluice_mono_ms() < end) {
        struct timespec pause = {0, 1000000};
        (void)nanosleep(&pause, NULL);
    }
}
