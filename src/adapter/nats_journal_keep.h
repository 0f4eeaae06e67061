/* SPDX-License-Identifier: Apache-2.0 */
/* What is put into the journal: a message's record, and its answers. For nats_journal.c alone. */
#ifndef SLUICE_ADAPTER_NATS_JOURNAL_KEEP_H
#define SLUICE_ADAPTER_NATS_JOURNAL_KEEP_H

#include "port/journal.h"

/* See port/journal.h; `base` is a struct sluice_nats_journal. */
sluice_rc sluice_journal_record_put(struct sluice_journal *base,
                                    const struct sluice_journal_key *key,
                                    const struct sluice_journal_record *record,
                                    sluice_journal_done_fn *done, void *ctx);
sluice_rc sluice_journal_answer_put(struct sluice_journal *base,
                                    const struct sluice_journal_key *key,
                                    const struct sluice_journaled *id, sluice_bytes bytes,
                                    sluice_journal_done_fn *done, void *ctx);

#endif
