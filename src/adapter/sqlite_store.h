/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents in an SQLite file: one table per collection, made when it is first written to:
 * "<collection>"(_id TEXT PRIMARY KEY, doc TEXT NOT NULL, updated_at INTEGER NOT NULL). `doc` is
 * the JSON text as it was given, `updated_at` Unix milliseconds. WAL with synchronous=FULL: a
 * document that is reported as stored survives a power cut. One transaction per group; a message is
 * undone by itself when one of its documents cannot be stored.
 */
#ifndef SLUICE_ADAPTER_SQLITE_STORE_H
#define SLUICE_ADAPTER_SQLITE_STORE_H

#include "core/alloc.h"
#include "port/mailbox.h"
#include "port/store.h"

struct sluice_sqlite_config {
    const char *path;                         /* on a local disk; its folder exists; copied */
    uint32_t timeout_ms;                      /* 0: 10 s; see group_commit.h */
    struct sluice_mailbox *mailbox;           /* outlives the store */
    const struct sluice_allocator *allocator; /* thread-safe; outlives the mailbox */
};

/* Opens the file, at once, and starts the thread. ERR_CONFIG (the path is not fit, with the
 * reason), ERR_DB, ERR_NOMEM, ERR_INTERNAL. While running: trouble of the disk, a lock that another
 * process holds for 5 s are UNAVAILABLE, a file that cannot be opened, was deleted or replaced is
 * UNREACHABLE; it is opened again by itself.
 */
sluice_rc sluice_sqlite_store_create(const struct sluice_sqlite_config *config,
                                     struct sluice_store **out, struct sluice_err *err);

#endif
