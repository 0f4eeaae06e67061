/* SPDX-License-Identifier: Apache-2.0 */
/* What only the SQLite store has: its file. `test_sqlite_store writer PATH` is the child of the
 * durability case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/doc_check.h"
#include "adapter/sqlite_db.h"
#include "adapter/sqlite_store.h"
#include "sqlite_files.h"
#include "store_fixture.h"
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct store_fixture fixture;

/* SQLite's calls come here instead of the C library. They are counted and not made: no test here
 * cuts the power, and nothing but the call tells whether a commit would survive that. */
static atomic_uint syncs;
#if defined(__GNUC__)
#define EXPORTED __attribute__((visibility("default")))
#else
#define EXPORTED
#endif

EXPORTED int fsync(int fd)
{
    (void)fd;
    atomic_fetch_add(&syncs, 1);
    return 0;
}

EXPORTED int fdatasync(int fd)
{
    return fsync(fd);
}

/* Another program's connection to the file. */
static sqlite3 *other(const struct store_fixture *f)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    return db;
}

static void sql(sqlite3 *db, const char *text)
{
    char *error = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK) {
        fail_msg("%s: %s", text, error);
    }
}

/* The first column of the first row, "" if there is none; static memory. */
static const char *value(sqlite3 *db, const char *query)
{
    static char text[1024];
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &statement, NULL), SQLITE_OK);
    int is_there = sqlite3_step(statement) == SQLITE_ROW;
    (void)snprintf(text, sizeof text, "%s",
                   is_there ? (const char *)sqlite3_column_text(statement, 0) : "");
    sqlite3_finalize(statement);
    return text;
}

static void assert_ok(struct store_result r)
{
    if (r.fate != SLUICE_FATE_OK) {
        fail_msg("fate %d: %s", (int)r.fate, r.text);
    }
}

static void assert_failed(struct store_result r, enum sluice_fate fate, const char *text)
{
    assert_int_equal(r.fate, fate);
    assert_int_equal(r.rc, SLUICE_ERR_DB);
    if (strstr(r.text, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", r.text, text);
    }
}

static void file_is_what_the_header_says(void **state)
{
    struct store_fixture *f = *state;
    struct sluice_doc doc = {"packs", "one", {" {\"a\": 1.50}", 12}};
    struct store_result r;
    store_put(f, &doc, 1, &r);
    store_wait(f, &r, 1);
    assert_ok(r);
    sqlite3 *db = other(f);
    assert_string_equal(value(db, "PRAGMA journal_mode"), "wal");
    assert_string_equal(value(db, "SELECT doc FROM packs WHERE _id='one'"), " {\"a\": 1.50}");
    assert_string_equal(value(db, "SELECT abs(updated_at/1000-unixepoch())<5 FROM packs"), "1");
    assert_string_equal(value(db, "SELECT group_concat(name||' '||type) FROM pragma_table_info"
                                  "('packs')"),
                        "_id TEXT,doc TEXT,updated_at INTEGER");
    sqlite3_close(db);
}

static void what_is_told_to_be_stored_was_synced(void **state)
{
    struct store_fixture *f = *state;
    const char *const ids[] = {"one", "two", "three"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct sluice_doc doc = {"packs", ids[i], {"{\"a\": 1}", 8}};
        struct store_result r;
        unsigned before = atomic_load(&syncs);
        store_put(f, &doc, 1, &r);
        store_wait(f, &r, 1);
        assert_ok(r);
        assert_true(atomic_load(&syncs) > before);
    }
}

static void unfit_paths_are_refused_with_their_reason(void **state)
{
    struct store_fixture *f = *state;
    char missing[300], text_file[300], below[320], longest[5000];
    (void)snprintf(missing, sizeof missing, "%s/missing/s.db", f->folder);
    (void)snprintf(text_file, sizeof text_file, "%s/text", f->folder);
    (void)snprintf(below, sizeof below, "%s/s.db", text_file);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    FILE *file = fopen(text_file, "w");
    for (int i = 0; i < 1000; i++) {
        (void)fputs("this is no database\n", file);
    }
    (void)fclose(file);
    const struct {
        const char *path, *reason;
        sluice_rc rc;
    } rows[] = {{"", "empty", SLUICE_ERR_CONFIG},
                {NULL, "empty", SLUICE_ERR_CONFIG},
                {f->folder, "a folder, not a file", SLUICE_ERR_CONFIG},
                {missing, "No such file", SLUICE_ERR_CONFIG},
                {below, "is not a folder", SLUICE_ERR_CONFIG},
                {"/dev/null", "something special", SLUICE_ERR_CONFIG},
                {longest, "longer than", SLUICE_ERR_CONFIG},
                {text_file, "not a database", SLUICE_ERR_DB},
                {":memory:", "stayed \"memory\"", SLUICE_ERR_DB}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sluice_sqlite_config config = {
            .path = rows[i].path, .mailbox = &f->mailbox.base, .allocator = &f->heap.allocator};
        struct sluice_store *store = NULL;
        struct sluice_err err = {0};
        assert_int_equal(sluice_sqlite_store_create(&config, &store, &err), rows[i].rc);
        assert_null(store);
        if (strstr(err.text, rows[i].reason) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", err.text, rows[i].reason);
        }
        assert_true(i < 2 || i == 6 || strstr(err.text, rows[i].path) != NULL);
    }
}

static void network_filesystems_are_known(void **state)
{
    (void)state;
    assert_string_equal(sluice_sqlite_network_name(0x6969), "nfs");
    assert_string_equal(sluice_sqlite_network_name(0xFF534D42), "cifs");
    assert_null(sluice_sqlite_network_name(0xEF53)); /* ext4 */
}

static void names_that_sqlite_cannot_keep_apart_are_refused(void **state)
{
    struct store_fixture *f = *state;
    assert_ok(store_put_now(f, "Packs", "one", "first"));
    struct store_result r = store_put_now(f, "packs", "one", "second");
    assert_int_equal(r.fate, SLUICE_FATE_PERMANENT);
    assert_int_equal(r.rc, SLUICE_ERR_VALIDATION);
    assert_non_null(strstr(r.text, "case"));
    r = store_put_now(f, "sqlite_packs", "one", "second");
    assert_int_equal(r.rc, SLUICE_ERR_VALIDATION);
    assert_int_equal(store_find_now(f, "packs", "one").rc, SLUICE_ERR_NOT_FOUND);
    assert_int_equal(store_find_now(f, "sqlite_schema", "one").rc, SLUICE_ERR_NOT_FOUND);
    assert_string_equal(store_find_now(f, "Packs", "one").found_text, "first");
}

static void more_collections_than_prepared_statements_work(void **state)
{
    enum { COUNT = SLUICE_SQLITE_COLLECTIONS_MAX * 2 };
    struct store_fixture *f = *state;
    static struct store_result results[COUNT];
    static char names[COUNT][16];
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            (void)snprintf(names[i], sizeof names[i], "c%u", i);
            store_put_one(f, names[i], "one", names[i], &results[i]);
        }
        store_wait(f, results, COUNT);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_ok(results[i]);
            assert_string_equal(store_find_now(f, names[i], "one").found_text, names[i]);
        }
    }
}

static void message_is_undone_by_itself(void **state)
{
    enum { COUNT = 40 };
    struct store_fixture *f = *state;
    static struct store_result results[COUNT];
    static char ids[COUNT][16];
    sqlite3 *db = other(f);
    sql(db, "CREATE TABLE guarded(_id TEXT PRIMARY KEY, doc TEXT NOT NULL CHECK(length(doc)<50), "
            "updated_at INTEGER NOT NULL)");
    sql(db, "BEGIN IMMEDIATE"); /* everything below becomes one or two groups */
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "m%u", i);
        const char *text = i % 7 == 3 ? "longer than what the guarded table allows for" : "short";
        struct sluice_doc docs[] = {{"packs", ids[i], store_body(f, ids[i])},
                                    {"guarded", ids[i], store_body(f, text)}};
        store_put(f, docs, 2, &results[i]);
    }
    sql(db, "COMMIT");
    sqlite3_close(db);
    store_wait(f, results, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 7 == 3) {
            assert_failed(results[i], SLUICE_FATE_RETRY, "CHECK constraint failed");
            assert_int_equal(results[i].failed_doc, 1);
            assert_int_equal(store_find_now(f, "packs", ids[i]).rc, SLUICE_ERR_NOT_FOUND);
        } else {
            assert_ok(results[i]);
            assert_string_equal(store_find_now(f, "packs", ids[i]).found_text, ids[i]);
        }
    }
}

static void message_that_ends_the_transaction_takes_no_other_along(void **state)
{
    enum { COUNT = 40 };
    struct store_fixture *f = *state;
    static struct store_result results[COUNT];
    static char ids[COUNT][16];
    assert_ok(store_put_now(f, "packs", "before", "before"));
    sqlite3 *db = other(f);
    sql(db, "CREATE TRIGGER bad BEFORE INSERT ON packs WHEN new._id='m20' BEGIN "
            "SELECT RAISE(ROLLBACK,'everything is lost'); END");
    sql(db, "BEGIN IMMEDIATE");
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "m%u", i);
        store_put_one(f, "packs", ids[i], ids[i], &results[i]);
    }
    sql(db, "COMMIT");
    sqlite3_close(db);
    store_wait(f, results, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i == 20) {
            assert_failed(results[i], SLUICE_FATE_RETRY, "everything is lost");
            continue;
        }
        assert_ok(results[i]);
        assert_string_equal(store_find_now(f, "packs", ids[i]).found_text, ids[i]);
    }
}

static void table_of_somebody_else_fails_its_messages_only(void **state)
{
    struct store_fixture *f = *state;
    sqlite3 *db = other(f);
    sql(db, "CREATE TABLE foreign_one(x)");
    sqlite3_close(db);
    assert_failed(store_put_now(f, "foreign_one", "one", "text"), SLUICE_FATE_RETRY, "foreign_one");
    assert_failed(store_find_now(f, "foreign_one", "one"), SLUICE_FATE_RETRY,
                  "no column named _id");
    assert_ok(store_put_now(f, "packs", "one", "text"));
}

static void dropped_table_is_made_again(void **state)
{
    struct store_fixture *f = *state;
    assert_ok(store_put_now(f, "packs", "one", "first"));
    sqlite3 *db = other(f);
    sql(db, "DROP TABLE packs");
    sqlite3_close(db);
    assert_failed(store_put_now(f, "packs", "one", "second"), SLUICE_FATE_RETRY, "no such table");
    assert_ok(store_put_now(f, "packs", "one", "third"));
    assert_string_equal(store_find_now(f, "packs", "one").found_text, "third");
}

static void lock_of_another_program_is_waited_for(void **state)
{
    struct store_fixture *f = *state;
    struct store_result r;
    sqlite3 *db = other(f);
    sql(db, "BEGIN IMMEDIATE");
    store_put_one(f, "packs", "one", "first", &r);
    (void)store_mailbox_pump(&f->mailbox, 50);
    assert_int_equal(r.calls, 0);
    sql(db, "ROLLBACK");
    sqlite3_close(db);
    store_wait(f, &r, 1);
    assert_ok(r);
}

static void deleted_file_is_noticed_and_made_again(void **state)
{
    struct store_fixture *f = *state;
    assert_ok(store_put_now(f, "packs", "one", "first"));
    sqlite_files_remove(f->path);
    assert_failed(store_ping_now(f), SLUICE_FATE_UNREACHABLE, "deleted or replaced");
    assert_ok(store_ping_now(f));
    sqlite_files_remove(f->path);
    assert_failed(store_put_now(f, "packs", "two", "second"), SLUICE_FATE_UNREACHABLE,
                  "deleted or replaced");
    assert_ok(store_put_now(f, "packs", "two", "second"));
    sqlite3 *db = other(f);
    assert_string_equal(value(db, "SELECT count(*) FROM packs"), "1");
    sqlite3_close(db);
    sqlite_files_remove(f->path);
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_failed(store_put_now(f, "packs", "two", "second"), SLUICE_FATE_UNREACHABLE,
                  "deleted or replaced");
    assert_failed(store_put_now(f, "packs", "two", "second"), SLUICE_FATE_UNREACHABLE,
                  "a folder, not a file");
    assert_int_equal(rmdir(f->path), 0);
    assert_ok(store_put_now(f, "packs", "two", "second"));
}

/* A file that may not grow is as good as a full disk. */
static void full_disk_is_retried_and_recovers(void **state)
{
    struct store_fixture *f = *state;
    sluice_bytes large = store_body_large(f, 1000000);
    struct sluice_doc doc = {"packs", "large", large};
    struct store_result r;
    struct rlimit before, small;
    assert_ok(store_put_now(f, "packs", "one", "first"));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 200000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    store_put(f, &doc, 1, &r);
    store_wait(f, &r, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_failed(r, SLUICE_FATE_UNAVAILABLE, "a write failed");
    assert_int_equal(store_find_now(f, "packs", "large").rc, SLUICE_ERR_NOT_FOUND);
    assert_string_equal(store_find_now(f, "packs", "one").found_text, "first");
    store_put(f, &doc, 1, &r);
    store_wait(f, &r, 1);
    assert_ok(r);
    free((void *)large.data);
}

static void waiting_longer_than_the_timeout_is_untried(void **state)
{
    struct store_fixture *f = *state;
    static struct store_result results[3];
    sqlite3 *db = other(f);
    sql(db, "BEGIN IMMEDIATE"); /* for longer than the store's 5 s, and its timeout of 3 */
    store_put_one(f, "packs", "one", "first", &results[0]);
    (void)store_mailbox_pump(&f->mailbox, 50);
    store_put_one(f, "packs", "two", "second", &results[1]);
    memset(&results[2], 0, sizeof results[2]);
    f->store->ops->find(f->store, "packs", "one", store_result_done, &results[2]);
    store_wait(f, results, 3);
    assert_failed(results[0], SLUICE_FATE_UNAVAILABLE, "locked");
    for (int i = 1; i < 3; i++) {
        assert_int_equal(results[i].fate, SLUICE_FATE_UNREACHABLE);
        assert_int_equal(results[i].rc, SLUICE_ERR_TIMEOUT);
    }
    sql(db, "ROLLBACK");
    sqlite3_close(db);
    assert_ok(store_put_now(f, "packs", "one", "again"));
}

/* ---- kill -9 */

enum { OUTSTANDING = 64, KILLS = 8 };

struct writing {
    struct store_fixture *fixture;
    char id[24];
    unsigned long number;
};

static unsigned long next_number;

static void write_next(struct writing *w);

static void tell(void *ctx, const struct sluice_store_done *done)
{
    struct writing *w = ctx;
    if (done->fate != SLUICE_FATE_OK) {
        (void)fprintf(stderr, "writer: %s\n", done->text);
        _exit(1);
    }
    char line[32];
    int len = snprintf(line, sizeof line, "%s\n", w->id);
    if (write(STDOUT_FILENO, line, (size_t)len) != len) {
        _exit(1);
    }
    write_next(w);
}

static void write_next(struct writing *w)
{
    w->number = ++next_number;
    (void)snprintf(w->id, sizeof w->id, "%ld-%lu", (long)getpid(), w->number);
    struct sluice_doc docs[] = {{"packs", w->id, store_body(w->fixture, w->id)},
                                {"packs_more", w->id, store_body(w->fixture, w->id)}};
    w->fixture->store->ops->put(w->fixture->store, docs, 2, tell, w);
}

/* Writes until it is killed; prints each id when its callback has come. */
static int writer_main(const char *path)
{
    static struct writing writings[OUTSTANDING];
    struct sluice_err err = {0};
    store_fixture_begin(&fixture, 0);
    (void)snprintf(fixture.path, sizeof fixture.path, "%s", path);
    (void)rmdir(fixture.folder);
    if (store_fixture_open(&fixture, &err) != SLUICE_OK) {
        (void)fprintf(stderr, "writer: %s\n", err.text);
        return 1;
    }
    for (int i = 0; i < OUTSTANDING; i++) {
        writings[i].fixture = &fixture;
        write_next(&writings[i]);
    }
    for (;;) {
        (void)store_mailbox_pump(&fixture.mailbox, 1000);
    }
}

/* Let a writer print `lines` ids, kill it, and return all that it had printed. */
static char *run_writer(const struct store_fixture *f, unsigned lines, size_t *len)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(pipes[1], STDOUT_FILENO);
        (void)close(pipes[0]);
        (void)close(pipes[1]);
        (void)execl("/proc/self/exe", "test_sqlite_store", "writer", f->path, (char *)NULL);
        _exit(127);
    }
    (void)close(pipes[1]);
    size_t size = 1 << 20;
    char *text = malloc(size);
    assert_non_null(text);
    unsigned seen = 0;
    ssize_t n;
    *len = 0;
    while (*len + 4096 < size && (n = read(pipes[0], text + *len, 4096)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            seen += text[*len + (size_t)i] == '\n';
        }
        *len += (size_t)n;
        if (seen >= lines) {
            (void)kill(pid, SIGKILL); /* what is still in the pipe was told, too */
        }
    }
    (void)close(pipes[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return text;
}

static void nothing_told_is_lost_by_kill_9(void **state)
{
    struct store_fixture *f = *state;
    unsigned seed = (unsigned)getpid();
    unsigned told = 0;
    store_fixture_close(f);
    for (int round = 0; round < KILLS; round++) {
        size_t len = 0;
        seed = seed * 1664525u + 1013904223u;
        char *text = run_writer(f, 1 + (seed >> 16) % 400, &len);
        struct sluice_err err = {0};
        assert_int_equal(store_fixture_open(f, &err), SLUICE_OK);
        for (char *line = text; line < text + len;) {
            char *end = memchr(line, '\n', (size_t)(text + len - line));
            if (end == NULL) {
                break; /* cut in the middle of a write: not told */
            }
            *end = '\0';
            assert_string_equal(store_find_now(f, "packs", line).found_text, line);
            assert_string_equal(store_find_now(f, "packs_more", line).found_text, line);
            told++;
            line = end + 1;
        }
        free(text);
        store_fixture_close(f);
        sqlite3 *db = other(f);
        assert_string_equal(value(db, "PRAGMA integrity_check"), "ok");
        assert_string_equal(value(db, "SELECT (SELECT count(*) FROM packs)="
                                      "(SELECT count(*) FROM packs_more)"),
                            "1");
        sqlite3_close(db);
    }
    assert_true(told >= KILLS);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "writer") == 0) {
        return writer_main(argv[2]);
    }
    store_fixture_begin(&fixture, 0);
#define CASE(name) STORE_CASE(name, &fixture)
    const struct CMUnitTest tests[] = {
        CASE(file_is_what_the_header_says),
        CASE(what_is_told_to_be_stored_was_synced),
        CASE(unfit_paths_are_refused_with_their_reason),
        cmocka_unit_test(network_filesystems_are_known),
        CASE(names_that_sqlite_cannot_keep_apart_are_refused),
        CASE(more_collections_than_prepared_statements_work),
        CASE(message_is_undone_by_itself),
        CASE(message_that_ends_the_transaction_takes_no_other_along),
        CASE(table_of_somebody_else_fails_its_messages_only),
        CASE(dropped_table_is_made_again),
        CASE(lock_of_another_program_is_waited_for),
        CASE(deleted_file_is_noticed_and_made_again),
        CASE(full_disk_is_retried_and_recovers),
        CASE(waiting_longer_than_the_timeout_is_untried),
        CASE(nothing_told_is_lost_by_kill_9),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    store_fixture_end(&fixture);
    return failed;
}
