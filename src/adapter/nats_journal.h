/* SPDX-License-Identifier: Apache-2.0 */
/* The journal in a NATS key-value bucket, over the publisher's connection. */
#ifndef SLUICE_ADAPTER_NATS_JOURNAL_H
#define SLUICE_ADAPTER_NATS_JOURNAL_H

#include "port/journal.h"
#include "port/publisher.h"

struct sluice_nats_journal_config {
    struct sluice_publisher *publisher; /* of nats_publisher.h; outlives the journal */
    const char *bucket, *worker;        /* copied; [A-Za-z0-9_-]{1,64} */
    int64_t timeout_ms;                 /* of one operation; 0: 2 s */
};

/* Does not touch the network: the bucket is checked by nats_provision.h. ERR_CONFIG, ERR_NOMEM. */
sluice_rc sluice_nats_journal_create(const struct sluice_nats_journal_config *config,
                                     struct sluice_journal **out, struct sluice_err *err);

#endif
