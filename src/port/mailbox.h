/* SPDX-License-Identifier: Apache-2.0 */
/* How an adapter's own threads hand something to the loop thread. The shell (src/run) and the tests
 * implement it. */
#ifndef SLUICE_PORT_MAILBOX_H
#define SLUICE_PORT_MAILBOX_H

/* An intrusive node inside an adapter's own struct. */
struct sluice_mail {
    struct sluice_mail *next;
    void (*deliver)(struct sluice_mail *mail); /* called once on the loop thread; the adapter may
                                                  free the node there */
};

struct sluice_mailbox {
    /* Any thread, never blocks, never fails: the node is the adapter's memory, so the queue is
     * bounded by the adapter's own number of open operations. Nodes are delivered in the order of
     * posting. */
    void (*post)(struct sluice_mailbox *mailbox, struct sluice_mail *mail);
};

#endif
