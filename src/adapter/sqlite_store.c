/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/sqlite_store.h"

#include "adapter/doc_check.h"
#include "adapter/group_commit.h"
#include "adapter/sqlite_db.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct sqlite_store {
    struct sluice_group_store grouped; /* first member */
    const struct sluice_allocator *allocator;
    char *path;
    struct sluice_sqlite_db *db; /* NULL: to be opened again; of the store's thread */
};

/* How a transaction ended. */
enum end {
    END_COMMITTED,
    END_LOST, /* one message, which is settled, took all others with it */
    END_FAILED
};

/* ---- Errors */

/* After these the connection may be of no use any more, whatever SQLite says next. */
static int is_reopen_wanted(int code)
{
    switch (code & 0xFF) {
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_READONLY:
        return 1;
    default:
        return 0;
    }
}

/* The file, its disk or whoever has locked it is to blame, as far as SQLite can tell: a message
 * that no disk has room for is told so, too. */
static enum sluice_fate fate_of(int code)
{
    switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_PERM:
        return SLUICE_FATE_UNAVAILABLE;
    default:
        return is_reopen_wanted(code) ? SLUICE_FATE_UNAVAILABLE : SLUICE_FATE_RETRY;
    }
}

static void fail(struct sqlite_store *s, struct sluice_group_op *op, int code, uint32_t doc)
{
    enum sluice_fate fate = fate_of(code);
    sluice_rc rc = SLUICE_ERR_DB;
    if ((code & 0xFF) == SQLITE_TOOBIG) {
        fate = SLUICE_FATE_PERMANENT;
        rc = SLUICE_ERR_TOO_LARGE;
    } else if ((code & 0xFF) == SQLITE_MISMATCH) {
        fate = SLUICE_FATE_PERMANENT;
        rc = SLUICE_ERR_VALIDATION;
    }
    sluice_group_fail(op, fate, rc, doc, "sqlite: collection %s: %s", op->docs[doc].collection,
                      sluice_sqlite_db_text(s->db));
}

/* Operations that are settled already are left alone. */
static void fail_all(struct sluice_group_op **ops, uint32_t count, enum sluice_fate fate,
                     const char *text)
{
    for (uint32_t i = 0; i < count; i++) {
        sluice_group_fail(ops[i], fate, SLUICE_ERR_DB, 0, "sqlite: %s", text);
    }
}

static void close_db(struct sqlite_store *s)
{
    sluice_sqlite_db_close(s->db);
    s->db = NULL;
}

/* A connection to the file that is at the path now. */
static sluice_rc open_db(struct sqlite_store *s, struct sluice_err *err)
{
    if (s->db != NULL && sluice_sqlite_db_is_moved(s->db)) {
        close_db(s);
        return sluice_err_set(err, SLUICE_ERR_DB, "%s was deleted or replaced while it was in use",
                              s->path);
    }
    return s->db != NULL ? SLUICE_OK : sluice_sqlite_db_open(s->path, s->allocator, &s->db, err);
}

/* ---- Commit */

static int64_t unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int prepare_tables(struct sqlite_store *s, struct sluice_group_op *op)
{
    for (uint32_t i = 0; i < op->docs_count; i++) {
        int code = sluice_sqlite_db_prepare(s->db, op->docs[i].collection);
        if (code != SQLITE_OK) {
            fail(s, op, code, i);
            return code;
        }
    }
    return SQLITE_OK;
}

/* One message inside the group's transaction: all of it or nothing. The savepoint comes after its
 * tables, so that undoing it cannot take away a table that others use. */
static int put_message(struct sqlite_store *s, struct sluice_group_op *op, int64_t now)
{
    int code = prepare_tables(s, op);
    if (code != SQLITE_OK) {
        return code;
    }
    uint32_t i = 0;
    code = sluice_sqlite_db_run(s->db, SLUICE_SQLITE_SAVEPOINT);
    while (code == SQLITE_OK && i < op->docs_count) {
        code = sluice_sqlite_db_upsert(s->db, &op->docs[i], now);
        i += code == SQLITE_OK;
    }
    if (code == SQLITE_OK) {
        code = sluice_sqlite_db_run(s->db, SLUICE_SQLITE_RELEASE);
    }
    if (code == SQLITE_OK) {
        return SQLITE_OK;
    }
    fail(s, op, code, i < op->docs_count ? i : 0);
    if (sluice_sqlite_db_is_in_transaction(s->db)) {
        if (sluice_sqlite_db_run(s->db, SLUICE_SQLITE_UNDO) != SQLITE_OK ||
            sluice_sqlite_db_run(s->db, SLUICE_SQLITE_RELEASE) != SQLITE_OK) {
            (void)sluice_sqlite_db_run(s->db, SLUICE_SQLITE_ROLLBACK);
        }
    }
    if (code == SQLITE_ERROR) {
        sluice_sqlite_db_forget(s->db); /* the table was dropped by somebody: look again */
    }
    return code;
}

/* The text of what went wrong must be used before. */
static void roll_back(struct sqlite_store *s, int code)
{
    if (sluice_sqlite_db_is_in_transaction(s->db)) {
        (void)sluice_sqlite_db_run(s->db, SLUICE_SQLITE_ROLLBACK);
    }
    sluice_sqlite_db_forget(s->db);
    if (is_reopen_wanted(code)) {
        close_db(s);
    }
}

/* One transaction for all that is not settled. Some SQLite errors (no memory, no space) end the
 * whole transaction wherever they happen. */
static enum end run_transaction(struct sqlite_store *s, struct sluice_group_op **ops,
                                uint32_t count)
{
    int64_t now = unix_ms();
    int code = sluice_sqlite_db_run(s->db, SLUICE_SQLITE_BEGIN);
    for (uint32_t i = 0; code == SQLITE_OK && i < count; i++) {
        int message_code = ops[i]->is_settled ? SQLITE_OK : put_message(s, ops[i], now);
        if (message_code != SQLITE_OK && !sluice_sqlite_db_is_in_transaction(s->db)) {
            roll_back(s, message_code);
            return END_LOST;
        }
    }
    if (code == SQLITE_OK) {
        code = sluice_sqlite_db_run(s->db, SLUICE_SQLITE_COMMIT);
    }
    if (code == SQLITE_OK) {
        return END_COMMITTED;
    }
    fail_all(ops, count, fate_of(code), sluice_sqlite_db_text(s->db));
    roll_back(s, code);
    return END_FAILED;
}

static void store_commit(void *self, struct sluice_group_op **ops, uint32_t count)
{
    struct sqlite_store *s = self;
    struct sluice_err err = {0};
    /* Twice: the second time without the message that spoilt the first. */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (open_db(s, &err) != SLUICE_OK) {
            fail_all(ops, count, SLUICE_FATE_UNREACHABLE, err.text);
            return;
        }
        enum end end = run_transaction(s, ops, count);
        if (end == END_COMMITTED) {
            for (uint32_t i = 0; i < count; i++) {
                sluice_group_ok(ops[i]);
            }
        }
        if (end != END_LOST) {
            return;
        }
    }
    fail_all(ops, count, SLUICE_FATE_UNAVAILABLE,
             "the transaction was lost to another message's error");
}

/* ---- Find */

static size_t escape(char *out, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t len = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p != 0; p++) {
        if (*p < 0x20) {
            memcpy(out + len, "\\u00", 4);
            out[len + 4] = hex[*p >> 4];
            out[len + 5] = hex[*p & 15];
            len += 6;
            continue;
        }
        if (*p == '"' || *p == '\\') {
            out[len++] = '\\';
        }
        out[len++] = (char)*p;
    }
    return len;
}

static size_t skip_space(const char *text, size_t from, size_t len)
{
    while (from < len &&
           (text[from] == ' ' || text[from] == '\t' || text[from] == '\n' || text[from] == '\r')) {
        from++;
    }
    return from;
}

/* The stored object with "_id" put in as its first member. */
static void found(struct sluice_group_op *op, const char *id, sluice_bytes body)
{
    char head[SLUICE_DOCUMENT_ID_MAX * 6 + 16] = "{\"_id\":\"";
    const char *text = body.data;
    size_t at = skip_space(text, 0, body.len);
    if (at >= body.len || text[at] != '{') {
        sluice_group_fail(op, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_DB, 0,
                          "sqlite: collection %s: a stored document is not a JSON object",
                          op->docs[0].collection);
        return;
    }
    at = skip_space(text, at + 1, body.len);
    int is_empty = at < body.len && text[at] == '}';
    size_t len = strlen(head);
    len += escape(head + len, id);
    head[len++] = '"';
    if (!is_empty) {
        head[len++] = ',';
    }
    sluice_group_found(op, (sluice_bytes){.data = head, .len = len},
                       (sluice_bytes){.data = text + at, .len = body.len - at});
}

static void store_find(void *self, struct sluice_group_op *op)
{
    struct sqlite_store *s = self;
    const struct sluice_doc *doc = &op->docs[0];
    struct sluice_err err = {0};
    if (open_db(s, &err) != SLUICE_OK) {
        fail_all(&op, 1, SLUICE_FATE_UNREACHABLE, err.text);
        return;
    }
    sluice_bytes body = {.data = NULL, .len = 0};
    int code = sluice_sqlite_db_find(s->db, doc->collection, doc->id, &body);
    if (code == SQLITE_ROW) {
        found(op, doc->id, body);
    } else if (code == SQLITE_DONE) {
        sluice_group_missing(op);
    } else {
        fail(s, op, code, 0);
    }
    sluice_sqlite_db_found_end(s->db);
    if (code == SQLITE_ERROR) {
        sluice_sqlite_db_forget(s->db);
    }
    if (is_reopen_wanted(code)) {
        close_db(s);
    }
}

/* ---- Ping and idle */

/* The lock of a writer is taken and given back: the file is there and can be written to. */
static void store_ping(void *self, struct sluice_group_op *op)
{
    struct sqlite_store *s = self;
    struct sluice_err err = {0};
    if (open_db(s, &err) != SLUICE_OK) {
        fail_all(&op, 1, SLUICE_FATE_UNREACHABLE, err.text);
        return;
    }
    int code = sluice_sqlite_db_run(s->db, SLUICE_SQLITE_BEGIN);
    if (code == SQLITE_OK) {
        code = sluice_sqlite_db_run(s->db, SLUICE_SQLITE_ROLLBACK);
    }
    if (code == SQLITE_OK) {
        sluice_group_ok(op);
        return;
    }
    fail_all(&op, 1, SLUICE_FATE_RETRY, sluice_sqlite_db_text(s->db));
    roll_back(s, code);
}

static void store_idle(void *self)
{
    struct sqlite_store *s = self;
    if (s->db != NULL) {
        sluice_sqlite_db_checkpoint(s->db);
    }
}

/* ---- The port */

static void destroy(struct sluice_store *base)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    if (s == NULL) {
        return;
    }
    sluice_group_destroy(s->grouped.group);
    close_db(s);
    sluice_mem_free(s->allocator, s->path);
    sluice_mem_free(s->allocator, s);
}

sluice_rc sluice_sqlite_store_create(const struct sluice_sqlite_config *config,
                                     struct sluice_store **out, struct sluice_err *err)
{
    static const struct sluice_store_ops ops = {.name = "sqlite",
                                                .format = SLUICE_DOC_JSON,
                                                .put = sluice_group_put,
                                                .find = sluice_group_find,
                                                .ping = sluice_group_ping,
                                                .destroy = destroy};
    static const struct sluice_group_backend backend = {
        .commit = store_commit, .find = store_find, .ping = store_ping, .idle = store_idle};
    const struct sluice_allocator *a = config->allocator;
    struct sqlite_store *s = sluice_mem_alloc(a, 1, sizeof *s);
    if (s == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "sqlite store: out of memory");
    }
    s->grouped.base.ops = &ops;
    s->allocator = a;
    sluice_rc rc = sluice_sqlite_db_open(config->path, a, &s->db, err);
    if (rc != SLUICE_OK) {
        goto fail;
    }
    size_t size = strlen(config->path) + 1;
    s->path = sluice_mem_alloc(a, size, 1);
    if (s->path == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "sqlite store: out of memory");
        goto fail;
    }
    memcpy(s->path, config->path, size);
    struct sluice_group_config group = {.format = SLUICE_DOC_JSON,
                                        .timeout_ms = config->timeout_ms,
                                        .mailbox = config->mailbox,
                                        .allocator = a,
                                        .backend = &backend,
                                        .self = s};
    if ((rc = sluice_group_create(&group, &s->grouped.group, err)) != SLUICE_OK) {
        goto fail;
    }
    *out = &s->grouped.base;
    return SLUICE_OK;
fail:
    destroy(&s->grouped.base);
    return rc;
}
