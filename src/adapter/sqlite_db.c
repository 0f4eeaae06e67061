/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/sqlite_db.h"

#include "adapter/doc_check.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/vfs.h>
#endif

#define BUSY_TIMEOUT_MS 5000
#define PATH_SIZE       4096u
#define TEXT_SIZE       384u
#define SQL_SIZE        512u
/* The log is cut to this after a checkpoint that emptied it. */
#define PRAGMA_LOG_LIMIT "PRAGMA journal_size_limit=67108864"
/* 512 KiB of pages in memory instead of SQLite's 2 MiB: documents are written once and read after a crash only, so more
 * of them spare no work (100 and 98 us a message at 256 in flight, medians of 5 interleaved runs, equal within their
 * spread), and the rest was 0.75 KiB for each of 2,000 messages in flight. Negative: KiB, not pages. */
#define PRAGMA_CACHE "PRAGMA cache_size=-512"

struct collection {
    char name[SLUICE_COLLECTION_NAME_MAX + 1]; /* "": free */
    uint64_t used;                             /* when, in uses of any; the oldest is replaced */
    sqlite3_stmt *upsert;
    sqlite3_stmt *find;
};

struct sluice_sqlite_db {
    const struct sluice_allocator *allocator;
    sqlite3 *handle;
    sqlite3_stmt *statements[SLUICE_SQLITE_STATEMENT_COUNT];
    sqlite3_stmt *schema; /* the table's name as it is spelt */
    sqlite3_stmt *finding;
    uint64_t uses;
    const char *own_text; /* static; NULL: SQLite's */
    char text[TEXT_SIZE];
    struct collection collections[SLUICE_SQLITE_COLLECTIONS_MAX];
};

/* ---- Is the path fit for a database? */

const char *sluice_sqlite_network_name(unsigned long magic)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } networks[] = {
        {0x6969, "nfs"},          {0xFF534D42, "cifs"},  {0xFE534D42, "smb2"},
        {0x517B, "smb"},          {0x5346414F, "afs"},   {0x00C36400, "ceph"},
        {0x0BD00BD0, "lustre"},   {0x47504653, "gpfs"},  {0x01161970, "gfs2"},
        {0x7461636F, "ocfs2"},    {0x73757245, "coda"},  {0x564C, "ncp"},
        {0x20030528, "orangefs"}, {0x19830326, "fhgfs"},
    };
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        if (networks[i].magic == magic) {
            return networks[i].name;
        }
    }
    return NULL;
}

static const char *network_of(const char *folder)
{
#if defined(__linux__)
    struct statfs fs;
    if (statfs(folder, &fs) == 0) {
        return sluice_sqlite_network_name((unsigned long)fs.f_type & 0xFFFFFFFFu);
    }
#else
    (void)folder;
#endif
    return NULL;
}

static sluice_rc check_folder(const char *path, const char *folder, struct sluice_err *err)
{
    struct stat status;
    if (stat(folder, &status) != 0) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "SQLite path %s: folder %s: %s", path, folder,
                              strerror(errno));
    }
    if (!S_ISDIR(status.st_mode)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "SQLite path %s: %s is not a folder", path,
                              folder);
    }
    /* The log and its index lie beside the file. */
    if (access(folder, W_OK | X_OK) != 0) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "SQLite path %s: folder %s cannot be written: %s", path, folder,
                              strerror(errno));
    }
    const char *network = network_of(folder);
    if (network != NULL) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "SQLite path %s is on a network filesystem (%s); its write-ahead log "
                              "needs a local disk",
                              path, network);
    }
    return SLUICE_OK;
}

static sluice_rc check_path(const char *path, struct sluice_err *err)
{
    if (path == NULL || path[0] == '\0') {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "SQLite path is empty");
    }
    char folder[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (strlen(path) >= PATH_SIZE) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "SQLite path is longer than %u bytes",
                              PATH_SIZE - 1);
    }
    memcpy(folder, len == 0 ? "." : path, len == 0 ? 1 : len);
    folder[len == 0 ? 1 : len] = '\0';
    sluice_rc rc = check_folder(path, folder, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct stat status;
    if (stat(path, &status) != 0) {
        return errno == ENOENT ? SLUICE_OK
                               : sluice_err_set(err, SLUICE_ERR_CONFIG, "SQLite path %s: %s", path,
                                                strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "SQLite path %s is %s, not a file", path,
                              S_ISDIR(status.st_mode) ? "a folder" : "something special");
    }
    if (access(path, R_OK | W_OK) != 0) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "SQLite path %s cannot be written: %s", path,
                              strerror(errno));
    }
    return SLUICE_OK;
}

/* ---- Statements */

/* SQLite's own text is "disk I/O error" for all of them. */
static const char *io_detail(int code)
{
    switch (code) {
    case SQLITE_IOERR_WRITE:
        return ": a write failed";
    case SQLITE_IOERR_READ:
    case SQLITE_IOERR_SHORT_READ:
        return ": a read failed";
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        return ": fsync failed";
    case SQLITE_IOERR_TRUNCATE:
        return ": the file could not be cut";
    case SQLITE_IOERR_SHMOPEN:
    case SQLITE_IOERR_SHMSIZE:
    case SQLITE_IOERR_SHMMAP:
        return ": its shared memory failed";
    default:
        return "";
    }
}

const char *sluice_sqlite_db_text(struct sluice_sqlite_db *db)
{
    if (db->own_text != NULL) {
        return db->own_text;
    }
    int code = sqlite3_extended_errcode(db->handle);
    (void)snprintf(db->text, sizeof db->text, "%s%s (SQLite code %d)", sqlite3_errmsg(db->handle),
                   io_detail(code), code);
    return db->text;
}

static int prepare(struct sluice_sqlite_db *db, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

/* Run to its end a statement that gives no rows. The code of a failure is step's; reset only
 * repeats it. */
static int run(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    (void)sqlite3_reset(statement);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int sluice_sqlite_db_run(struct sluice_sqlite_db *db, enum sluice_sqlite_statement statement)
{
    db->own_text = NULL;
    return run(db->statements[statement]);
}

/* Set a pragma and read back what holds. */
static sluice_rc set_pragma(struct sluice_sqlite_db *db, const char *set, const char *get,
                            const char *expected, struct sluice_err *err)
{
    sqlite3_stmt *statement = NULL;
    char value[32] = "";
    int rc = sqlite3_exec(db->handle, set, NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(db->handle, get, -1, &statement, NULL);
    }
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        (void)snprintf(value, sizeof value, "%s", text == NULL ? "" : text);
        rc = text == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    (void)sqlite3_finalize(statement);
    if (rc != SQLITE_OK) {
        return sluice_err_set(err, SLUICE_ERR_DB, "%s: %s", set, sluice_sqlite_db_text(db));
    }
    if (strcmp(value, expected) != 0) {
        return sluice_err_set(err, SLUICE_ERR_DB, "%s: it stayed \"%s\", expected \"%s\"", set,
                              value, expected);
    }
    return SLUICE_OK;
}

static sluice_rc set_up(struct sluice_sqlite_db *db, struct sluice_err *err)
{
    static const char *const sql[] = {
#define SQL_TEXT(name, text) text,
        SLUICE_SQLITE_STATEMENTS(SQL_TEXT)
#undef SQL_TEXT
    };
    (void)sqlite3_extended_result_codes(db->handle, 1);
    (void)sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    (void)sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH,
                        (int)(SLUICE_DOCUMENT_SIZE_MAX + 64u * 1024u));
    sluice_rc rc = set_pragma(db, "PRAGMA journal_mode=WAL", "PRAGMA journal_mode", "wal", err);
    if (rc == SLUICE_OK) {
        rc = set_pragma(db, "PRAGMA synchronous=FULL", "PRAGMA synchronous", "2", err);
    }
    if (rc == SLUICE_OK) {
        rc = set_pragma(db, "PRAGMA wal_autocheckpoint=1000", "PRAGMA wal_autocheckpoint", "1000",
                        err);
    }
    if (rc != SLUICE_OK) {
        return rc;
    }
    int code = sqlite3_exec(db->handle, PRAGMA_LOG_LIMIT "; " PRAGMA_CACHE, NULL, NULL, NULL);
    for (int i = 0; code == SQLITE_OK && i < SLUICE_SQLITE_STATEMENT_COUNT; i++) {
        code = prepare(db, sql[i], &db->statements[i]);
    }
    if (code == SQLITE_OK) {
        code = prepare(
            db, "SELECT name FROM sqlite_schema WHERE name=?1 COLLATE NOCASE AND type<>'index'",
            &db->schema);
    }
    return code == SQLITE_OK ? SLUICE_OK
                             : sluice_err_set(err, SLUICE_ERR_DB, "%s", sluice_sqlite_db_text(db));
}

sluice_rc sluice_sqlite_db_open(const char *path, const struct sluice_allocator *a,
                                struct sluice_sqlite_db **out, struct sluice_err *err)
{
    sluice_rc rc = check_path(path, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct sluice_sqlite_db *db = sluice_mem_alloc(a, 1, sizeof *db);
    if (db == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "SQLite path %s: out of memory", path);
    }
    db->allocator = a;
    /* Without SQLite's own mutex: a connection is used by one thread at a time. */
    int code = sqlite3_open_v2(
        path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (db->handle == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    } else if (code != SQLITE_OK) {
        rc = sluice_err_set(err, SLUICE_ERR_DB, "%s", sluice_sqlite_db_text(db));
    } else {
        rc = set_up(db, err);
    }
    if (rc != SLUICE_OK) {
        sluice_sqlite_db_close(db);
        return sluice_err_prefix(err, rc, "SQLite path %s", path);
    }
    *out = db;
    return SLUICE_OK;
}

static void close_collection(struct collection *c)
{
    (void)sqlite3_finalize(c->upsert);
    (void)sqlite3_finalize(c->find);
    *c = (struct collection){.used = 0};
}

void sluice_sqlite_db_forget(struct sluice_sqlite_db *db)
{
    for (uint32_t i = 0; i < SLUICE_SQLITE_COLLECTIONS_MAX; i++) {
        close_collection(&db->collections[i]);
    }
    db->finding = NULL;
}

void sluice_sqlite_db_close(struct sluice_sqlite_db *db)
{
    if (db == NULL) {
        return;
    }
    sluice_sqlite_db_forget(db);
    for (int i = 0; i < SLUICE_SQLITE_STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(db->statements[i]);
    }
    (void)sqlite3_finalize(db->schema);
    (void)sqlite3_close(db->handle);
    sluice_mem_free(db->allocator, db);
}

/* ---- Collections */

static int refuse_name(struct sluice_sqlite_db *db, const char *text)
{
    db->own_text = text;
    return SQLITE_MISMATCH;
}

/* SQLITE_ROW: there is a table of exactly this name. SQLITE_DONE: there is none. */
static int look_up_table(struct sluice_sqlite_db *db, const char *name)
{
    if (strncasecmp(name, "sqlite_", 7) == 0) {
        return refuse_name(db, "names that begin with sqlite_ are SQLite's own");
    }
    int rc = sqlite3_bind_text(db->schema, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(db->schema);
    }
    const char *found = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(db->schema, 0) : name;
    if (found == NULL) {
        rc = SQLITE_NOMEM;
    } else if (strcmp(found, name) != 0) {
        rc = refuse_name(db, "SQLite does not tell names apart that differ only in case, and there "
                             "is such a collection already");
    }
    (void)sqlite3_reset(db->schema);
    return rc;
}

static struct collection *slot_for(struct sluice_sqlite_db *db)
{
    struct collection *oldest = &db->collections[0];
    for (uint32_t i = 0; i < SLUICE_SQLITE_COLLECTIONS_MAX; i++) {
        if (db->collections[i].used < oldest->used) {
            oldest = &db->collections[i];
        }
    }
    close_collection(oldest);
    return oldest;
}

static struct collection *cached(struct sluice_sqlite_db *db, const char *name)
{
    for (uint32_t i = 0; i < SLUICE_SQLITE_COLLECTIONS_MAX; i++) {
        if (strcmp(db->collections[i].name, name) == 0) {
            db->collections[i].used = ++db->uses;
            return &db->collections[i];
        }
    }
    return NULL;
}

/* The name has been checked: letters, digits, _ and - need no quoting inside the quotes. */
static int prepare_collection(struct sluice_sqlite_db *db, const char *name)
{
    char sql[SQL_SIZE];
    struct collection *c = slot_for(db);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO \"%s\"(_id,doc,updated_at)VALUES(?1,?2,?3)"
                   "ON CONFLICT(_id)DO UPDATE SET doc=excluded.doc,updated_at=excluded.updated_at",
                   name);
    int rc = prepare(db, sql, &c->upsert);
    if (rc == SQLITE_OK) {
        (void)snprintf(sql, sizeof sql, "SELECT doc FROM \"%s\" WHERE _id=?1", name);
        rc = prepare(db, sql, &c->find);
    }
    if (rc != SQLITE_OK) {
        close_collection(c);
        return rc;
    }
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    c->used = ++db->uses;
    return SQLITE_OK;
}

int sluice_sqlite_db_prepare(struct sluice_sqlite_db *db, const char *collection)
{
    db->own_text = NULL;
    if (cached(db, collection) != NULL) {
        return SQLITE_OK;
    }
    int rc = look_up_table(db, collection);
    if (rc == SQLITE_DONE) {
        char sql[SQL_SIZE];
        (void)snprintf(sql, sizeof sql,
                       "CREATE TABLE \"%s\"(_id TEXT PRIMARY KEY,doc TEXT NOT NULL,"
                       "updated_at INTEGER NOT NULL)",
                       collection);
        rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    } else if (rc == SQLITE_ROW) {
        rc = SQLITE_OK;
    }
    return rc == SQLITE_OK ? prepare_collection(db, collection) : rc;
}

int sluice_sqlite_db_upsert(struct sluice_sqlite_db *db, const struct sluice_doc *doc,
                            int64_t unix_ms)
{
    int rc = sluice_sqlite_db_prepare(db, doc->collection);
    if (rc != SQLITE_OK) {
        return rc;
    }
    sqlite3_stmt *upsert = cached(db, doc->collection)->upsert;
    rc = sqlite3_bind_text(upsert, 1, doc->id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text64(upsert, 2, doc->body.data, doc->body.len, SQLITE_STATIC,
                                 SQLITE_UTF8);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(upsert, 3, unix_ms);
    }
    if (rc == SQLITE_OK) {
        rc = run(upsert);
    }
    (void)sqlite3_clear_bindings(upsert); /* they are borrowed */
    return rc;
}

int sluice_sqlite_db_find(struct sluice_sqlite_db *db, const char *collection, const char *id,
                          sluice_bytes *body)
{
    db->own_text = NULL;
    if (cached(db, collection) == NULL) {
        int rc = look_up_table(db, collection);
        if (rc == SQLITE_ROW) {
            rc = prepare_collection(db, collection);
        } else if (rc == SQLITE_MISMATCH) {
            rc = SQLITE_DONE; /* a name that cannot be stored under holds nothing */
        }
        if (rc != SQLITE_OK) {
            return rc;
        }
    }
    sqlite3_stmt *find = cached(db, collection)->find;
    int rc = sqlite3_bind_text(find, 1, id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(find);
    }
    db->finding = find;
    if (rc == SQLITE_ROW) {
        body->data = sqlite3_column_blob(find, 0);
        body->len = (size_t)sqlite3_column_bytes(find, 0);
        rc = body->data == NULL && body->len > 0 ? SQLITE_NOMEM : rc;
    }
    return rc;
}

void sluice_sqlite_db_found_end(struct sluice_sqlite_db *db)
{
    if (db->finding != NULL) {
        (void)sqlite3_reset(db->finding);
        (void)sqlite3_clear_bindings(db->finding);
        db->finding = NULL;
    }
}

/* ---- State */

int sluice_sqlite_db_is_in_transaction(struct sluice_sqlite_db *db)
{
    return !sqlite3_get_autocommit(db->handle);
}

int sluice_sqlite_db_is_moved(struct sluice_sqlite_db *db)
{
    int is_moved = 0;
    (void)sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &is_moved);
    return is_moved;
}

void sluice_sqlite_db_checkpoint(struct sluice_sqlite_db *db)
{
    (void)sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}
