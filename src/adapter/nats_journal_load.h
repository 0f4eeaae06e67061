/* SPDX-License-Identifier: Apache-2.0 */
/* All that the journal knows of a message. For nats_journal.c alone. */
#ifndef SLUICE_ADAPTER_NATS_JOURNAL_LOAD_H
#define SLUICE_ADAPTER_NATS_JOURNAL_LOAD_H

#include "port/journal.h"

/* See port/journal.h; `base` is a struct sluice_nats_journal. */
sluice_rc sluice_journal_load(struct sluice_journal *base, const struct sluice_journal_key *key,
                              sluice_journal_done_fn *done, void *ctx);

#endif
