/* SPDX-License-Identifier: Apache-2.0 */
/* A real server that is killed, frozen and started again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "port/clock.h"
#include "store_fixture.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { CROWD = 200, RECOVERY_MS = 60000 };

static struct store_fixture fixture;

static int open_fresh(void **state)
{
    int rc = store_fixture_setup(state);
    struct store_result r = store_put_now(*state, "packs", "before", "before");
    if (r.fate != SLUICE_FATE_OK) {
        fail_msg("%s", r.text);
    }
    return rc;
}

/* How a crowd ended while the server was in trouble: never as stored if it is not. */
static void assert_ended_badly(const struct store_result *results, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (results[i].fate != SLUICE_FATE_UNREACHABLE && results[i].fate != SLUICE_FATE_UNKNOWN) {
            fail_msg("message %u: fate %d: %s", i, (int)results[i].fate, results[i].text);
        }
        assert_true(strlen(results[i].text) > 0);
    }
}

static void assert_recovers(struct store_fixture *f)
{
    int64_t deadline = sluice_mono_ms() + RECOVERY_MS;
    struct store_result r = store_put_now(f, "packs", "after", "after");
    while (r.fate != SLUICE_FATE_OK && sluice_mono_ms() < deadline) {
        r = store_put_now(f, "packs", "after", "after");
    }
    if (r.fate != SLUICE_FATE_OK) {
        fail_msg("not stored within %d ms after the server came back: %s", RECOVERY_MS, r.text);
    }
    assert_string_equal(store_find_now(f, "packs", "after").found_text, "after");
    assert_string_equal(store_find_now(f, "packs", "before").found_text, "before");
}

static void put_crowd(struct store_fixture *f, struct store_result *results)
{
    static char ids[CROWD][16];
    for (uint32_t i = 0; i < CROWD; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "m%u", i);
        store_put_one(f, "packs", ids[i], ids[i], &results[i]);
    }
}

static void killed_server_is_unreachable_and_a_new_one_is_used(void **state)
{
    struct store_fixture *f = *state;
    static struct store_result results[CROWD];
    store_server_kill(&f->server);
    put_crowd(f, results);
    store_wait(f, results, CROWD);
    assert_ended_badly(results, CROWD);
    struct store_result find = store_find_now(f, "packs", "before");
    assert_int_equal(find.fate, SLUICE_FATE_UNREACHABLE);
    assert_int_equal(store_ping_now(f).fate, SLUICE_FATE_UNREACHABLE);
    store_server_start(&f->server);
    assert_recovers(f);
}

static void frozen_server_is_unknown_and_goes_on(void **state)
{
    struct store_fixture *f = *state;
    static struct store_result results[CROWD];
    assert_int_equal(kill(f->server.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(f->server.pid, NULL, WUNTRACED), f->server.pid); /* it has stopped */
    put_crowd(f, results);
    store_wait(f, results, CROWD); /* while it stands still */
    assert_int_equal(kill(f->server.pid, SIGCONT), 0);
    assert_ended_badly(results, CROWD);
    assert_int_equal(results[0].fate, SLUICE_FATE_UNKNOWN);
    assert_int_equal(results[0].rc, SLUICE_ERR_TIMEOUT);
    assert_recovers(f);
}

static void kill_under_load_loses_nothing_that_was_told(void **state)
{
    struct store_fixture *f = *state;
    static struct store_result results[CROWD];
    put_crowd(f, results);
    store_wait(f, results, 1); /* the first group is through */
    store_server_kill(&f->server);
    store_wait(f, results, CROWD);
    store_server_start(&f->server);
    assert_recovers(f);
    for (uint32_t i = 0; i < CROWD; i++) {
        if (results[i].fate == SLUICE_FATE_OK) {
            char id[16];
            (void)snprintf(id, sizeof id, "m%u", i);
            assert_string_equal(store_find_now(f, "packs", id).found_text, id);
        }
    }
}

int main(void)
{
    store_fixture_begin(&fixture, 1);
    if (!store_server_begin(&fixture.server) || !fixture.server.is_ours) {
        (void)printf("skipped: needs a MongoDB server that it may kill: mongod on the PATH, or "
                     "SLUICE_FERRETDB, and no MONGODB_URI\n");
        store_fixture_end(&fixture);
        return 77;
    }
#define CASE(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, open_fresh, store_fixture_teardown, &fixture)
    const struct CMUnitTest tests[] = {
        CASE(killed_server_is_unreachable_and_a_new_one_is_used),
        CASE(frozen_server_is_unknown_and_goes_on),
        CASE(kill_under_load_loses_nothing_that_was_told),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    store_fixture_end(&fixture);
    return failed;
}
