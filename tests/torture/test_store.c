/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store and its group commit, with each allocation and each call of theirs failing in
 * turn: every operation ends exactly once, what is reported as stored is there afterwards, and
 * nothing is left behind. */
#include "adapter/sqlite_store.h"
#include "failing.h"
#include "run/mailbox.h"
#include "sqlite_files.h"
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define PUTS 3

static char path[64];

struct operations {
    uv_loop_t *loop;
    int ended, stored, is_answered;
    struct put {
        struct operations *all;
        int is_stored;
    } puts[PUTS];
};

static void on_put(void *ctx, const struct sluice_store_done *done)
{
    struct put *put = ctx;
    assert_true((done->fate == SLUICE_FATE_OK) == (done->rc == SLUICE_OK));
    put->is_stored = done->fate == SLUICE_FATE_OK;
    put->all->stored += put->is_stored;
    put->all->ended++;
}

static void on_found(void *ctx, const struct sluice_store_done *done)
{
    struct operations *o = ctx;
    o->is_answered = done->rc == SLUICE_ERR_NOT_FOUND; /* nobody stored it */
    o->ended++;
}

/* One that is refused makes no callback: it has ended. */
static void note_refusal(struct operations *o, sluice_rc rc)
{
    if (rc != SLUICE_OK) {
        assert_int_equal(rc, SLUICE_ERR_NOMEM);
        o->ended++;
    }
}

static void operate(struct sluice_store *store, struct operations *o)
{
    const struct sluice_doc docs[PUTS][2] = {
        {{"packs", "a", {"{\"n\":1}", 7}}, {"packs", "a/2", {"{\"n\":2}", 7}}},
        {{"packs", "b", {"{\"n\":3}", 7}}, {"others", "b", {"{\"n\":4}", 7}}},
        {{"packs", "c", {"{\"n\":5}", 7}}, {"packs", "c", {"{\"n\":6}", 7}}}};
    for (size_t i = 0; i < PUTS; i++) {
        o->puts[i].all = o;
        note_refusal(o, store->ops->put(store, docs[i], 2, on_put, &o->puts[i]));
    }
    note_refusal(o, store->ops->find(store, "packs", "none", on_found, o));
    while (o->ended <= PUTS) {
        (void)uv_run(o->loop, UV_RUN_ONCE);
    }
}

/* The library's own functions, which never fail here. */
int __real_sqlite3_open_v2(const char *, sqlite3 **, int, const char *);
int __real_sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
int __real_sqlite3_step(sqlite3_stmt *);

/* What is in the file, looked at by a connection of its own. */
static void assert_in_file(const char *table, const char *id)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE _id = '%s'", table, id);
    assert_int_equal(__real_sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(__real_sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(__real_sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 1);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
}

static void check_file(const struct operations *o)
{
    if (o->puts[0].is_stored) {
        assert_in_file("packs", "a");
        assert_in_file("packs", "a/2");
    }
    if (o->puts[1].is_stored) {
        assert_in_file("packs", "b");
        assert_in_file("others", "b");
    }
    if (o->puts[2].is_stored) {
        assert_in_file("packs", "c");
    }
}

static int storing(void *ctx)
{
    uv_loop_t loop;
    struct sluice_loop_mailbox *mailbox = NULL;
    struct sluice_store *store = NULL;
    struct sluice_err err = {0};
    struct operations o = {.loop = &loop};
    (void)ctx;
    sqlite_files_remove(path);
    if (uv_loop_init(&loop) != 0) {
        return 0;
    }
    sluice_rc rc = sluice_loop_mailbox_create(&loop, &failing_allocator, &mailbox, &err);
    if (rc == SLUICE_OK) {
        const struct sluice_sqlite_config config = {.path = path,
                                                    .timeout_ms = 1000,
                                                    .mailbox = sluice_loop_mailbox_port(mailbox),
                                                    .allocator = &failing_allocator};
        rc = sluice_sqlite_store_create(&config, &store, &err);
    }
    if (rc == SLUICE_OK) {
        operate(store, &o);
        assert_int_equal(o.ended, PUTS + 1);
        store->ops->destroy(store);
        assert_int_equal(o.ended, PUTS + 1);
    } else {
        assert_true(err.text[0] != '\0');
    }
    sluice_loop_mailbox_destroy(mailbox);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(failing_open_blocks(), 0);
    check_file(&o);
    return rc == SLUICE_OK && o.stored == PUTS && o.is_answered;
}

static void every_operation_ends_once(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/sluice-torture-%d.db", (int)getpid());
    print_message("# %ld allocations\n",
                  failing_sweep(FAILING_MEMORY | FAILING_TOLERATED, storing, NULL));
    print_message("# %ld calls\n", failing_sweep(FAILING_CALLS | FAILING_TOLERATED, storing, NULL));
    sqlite_files_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_operation_ends_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
