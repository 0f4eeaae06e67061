/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SQLite database: opened durably, with the statements that the store needs. Of one thread at a
 * time. Functions that can fail return SQLite's extended code; sluice_sqlite_db_text() says more
 * until the next call.
 */
#ifndef SLUICE_ADAPTER_SQLITE_DB_H
#define SLUICE_ADAPTER_SQLITE_DB_H

#include "core/alloc.h"
#include "core/err.h"

#define SLUICE_SQLITE_COLLECTIONS_MAX                                                              \
    64u /* with prepared statements; the others are opened anew                                    \
         */

struct sqlite3;
struct sqlite3_stmt;
struct sluice_doc;

/* Statements without parameters. */
#define SLUICE_SQLITE_STATEMENTS(X)                                                                \
    X(BEGIN, "BEGIN IMMEDIATE") /* so that no lock has to be upgraded later */                     \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(SAVEPOINT, "SAVEPOINT message")                                                              \
    X(RELEASE, "RELEASE message")                                                                  \
    X(UNDO, "ROLLBACK TO message")

enum sluice_sqlite_statement {
#define SLUICE_SQLITE_ENUM(name, sql) SLUICE_SQLITE_##name,
    SLUICE_SQLITE_STATEMENTS(SLUICE_SQLITE_ENUM)
#undef SLUICE_SQLITE_ENUM
        SLUICE_SQLITE_STATEMENT_COUNT
};

struct sluice_sqlite_db;

/* Opens or creates the file, in WAL mode with synchronous=FULL; both are read back. Refuses, with a
 * text that names path and reason: an empty path, a folder, what cannot be written, a network
 * filesystem, what is not a database. ERR_CONFIG, ERR_DB, ERR_NOMEM. */
sluice_rc sluice_sqlite_db_open(const char *path, const struct sluice_allocator *a,
                                struct sluice_sqlite_db **out, struct sluice_err *err);
void sluice_sqlite_db_close(struct sluice_sqlite_db *db); /* accepts NULL */

int sluice_sqlite_db_run(struct sluice_sqlite_db *db, enum sluice_sqlite_statement statement);

/* Make sure that the collection's table is there; in a transaction, outside of savepoints.
 * SQLITE_MISMATCH: the name cannot be a table of its own. */
int sluice_sqlite_db_prepare(struct sluice_sqlite_db *db, const char *collection);
int sluice_sqlite_db_upsert(struct sluice_sqlite_db *db, const struct sluice_doc *doc,
                            int64_t unix_ms);
/* SQLITE_ROW: found, `body` is valid until sluice_sqlite_db_found_end(). SQLITE_DONE: not found. */
int sluice_sqlite_db_find(struct sluice_sqlite_db *db, const char *collection, const char *id,
                          sluice_bytes *body);
void sluice_sqlite_db_found_end(struct sluice_sqlite_db *db);

/* After a rollback tables may be gone: forget what was prepared for them. */
void sluice_sqlite_db_forget(struct sluice_sqlite_db *db);
int sluice_sqlite_db_is_in_transaction(struct sluice_sqlite_db *db);
/* The file at the path is no longer the one that is open: what would be written is lost. */
int sluice_sqlite_db_is_moved(struct sluice_sqlite_db *db);
/* Bring the log into the database as far as nobody is in the way. */
void sluice_sqlite_db_checkpoint(struct sluice_sqlite_db *db);
const char *sluice_sqlite_db_text(struct sluice_sqlite_db *db);

/* The name of a network filesystem by its number in statfs(2), NULL for any other. */
const char *sluice_sqlite_network_name(unsigned long magic);

#endif
