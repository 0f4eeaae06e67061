/* SPDX-License-Identifier: Apache-2.0 */
/* Reading entries of the journal's bucket by their exact names. For nats_journal*.c alone; all on
 * the loop thread. */
#ifndef SLUICE_ADAPTER_NATS_JOURNAL_READING_H
#define SLUICE_ADAPTER_NATS_JOURNAL_READING_H

#include "adapter/nats_journal_call.h"

/* One thing to read, and what was found. Stays in its place while its request is open. */
struct sluice_journal_item {
    struct sluice_journal_reading *reading;
    char name[96]; /* below the prefix */
    struct sluice_journal_entry entry;
    int is_found;
};

/* An operation that reads. */
struct sluice_journal_reading {
    struct sluice_journal_call call; /* first */
    struct sluice_journal_item *items;
    uint32_t items_count, items_asked;
    size_t items_bytes;
    void (*complete)(struct sluice_journal_reading *reading); /* all items are there */
    sluice_rc failed_rc;                                      /* the first failure */
    struct sluice_err *err; /* its words, large and rarely there; NULL: no memory for them */
};

/* What the reading itself holds. */
void sluice_journal_reading_fini(struct sluice_journal_reading *reading);

/* Not while a request is open. */
void sluice_journal_reading_add(struct sluice_journal_reading *reading, const char *name,
                                size_t len);
void sluice_journal_reading_add_chunks(struct sluice_journal_reading *reading,
                                       const struct sluice_journal_head *head);
/* Ask for the items that were added since the last time; `complete` or the callback of a failure
 * follows. There must be one, unless there was no memory for it. */
void sluice_journal_reading_fetch(struct sluice_journal_reading *reading);

/* There was no memory for something of it. */
void sluice_journal_reading_starve(struct sluice_journal_reading *reading);
/* Something that was asked for failed, and nothing is open any more. 1: the callback was made. */
int sluice_journal_reading_failed(struct sluice_journal_reading *reading);

/* NULL when it is not there. */
const struct sluice_journal_item *
sluice_journal_reading_find(const struct sluice_journal_reading *reading, const char *name,
                            size_t len);
/* The answer of an item; `owned` gets what must be freed. 0 when it cannot be read. */
int sluice_journal_reading_answer(struct sluice_journal_reading *reading,
                                  const struct sluice_journal_item *item,
                                  struct sluice_journal_answer *out, char **owned);

#endif
