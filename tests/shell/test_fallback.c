/* SPDX-License-Identifier: Apache-2.0 */
/* The fallback identity as text, and which message's journal a replay goes on with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host_fixture.h"
#include "run/fallback.h"
#include <stdio.h>
#include <string.h>

#define NAME_OF_64 "0123456789abcdef0123456789ABCDEF0123456789-_cdef0123456789abcdef"

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const struct sluice_journal_key keys[] = {
        {"S", 7, 1700000000123456789}, {"a-b_C", 1, 1}, {NAME_OF_64, UINT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char text[FALLBACK_SIZE], stream[FALLBACK_STREAM_SIZE];
        struct sluice_journal_key read;
        fallback_write(&keys[i], text);
        assert_true(fallback_read(text, stream, &read));
        assert_string_equal(read.stream, keys[i].stream);
        assert_true(read.sequence == keys[i].sequence);
        assert_true(read.stored_unix_ns == keys[i].stored_unix_ns);
    }
}

static void the_longest_is_not_cut(void **state)
{
    (void)state;
    char text[FALLBACK_SIZE];
    fallback_write(&(struct sluice_journal_key){NAME_OF_64, UINT64_MAX, INT64_MIN}, text);
    assert_string_equal(text, NAME_OF_64 ":18446744073709551615:-9223372036854775808");
}

static const char *const bad[] = {"",
                                  ":",
                                  "::",
                                  "S",
                                  "S:",
                                  "S:7",
                                  "S:7:",
                                  "S::9",
                                  ":7:9",
                                  "S:7:9:",
                                  "S:7:9:1",
                                  "S:7:9 ",
                                  " S:7:9",
                                  "S: 7:9",
                                  "S:7: 9",
                                  "S:+7:9",
                                  "S:-7:9",
                                  "S:7:-9",
                                  "S:07:9",
                                  "S:7:09",
                                  "S:0:9",
                                  "S:7:0",
                                  "S:7x:9",
                                  "S:7:9x",
                                  "S:0x7:9",
                                  "S:7.0:9",
                                  "S:7:9e1",
                                  "S.T:7:9",
                                  "*:7:9",
                                  ">:7:9",
                                  "S T:7:9",
                                  "S\tT:7:9",
                                  "S/T:7:9",
                                  "S\\T:7:9",
                                  "\"S:7:9",
                                  "\xc3\xa9:7:9",
                                  "S:18446744073709551616:9",
                                  "S:99999999999999999999999:9",
                                  "S:7:9223372036854775808",
                                  "S:7:18446744073709551616",
                                  NAME_OF_64 "x:7:9"};

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const struct sluice_journal_key before = {"before", 1, 2};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char stream[FALLBACK_STREAM_SIZE];
        struct sluice_journal_key key = before;
        if (fallback_read(bad[i], stream, &key)) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
        assert_memory_equal(&key, &before, sizeof key);
    }
}

static void expect_journal(const sluice_header *header, const char *stream, uint64_t sequence,
                           int64_t stored_unix_ns)
{
    fixture.delivery.headers = header;
    fixture.delivery.headers_count = header != NULL;
    host_fixture_redeliver();
    assert_string_equal(fixture.m.journal_key.stream, stream);
    assert_true(fixture.m.journal_key.sequence == sequence);
    assert_true(fixture.m.journal_key.stored_unix_ns == stored_unix_ns);
}

static void a_replay_has_the_journal_of_its_original(void **state)
{
    (void)state;
    expect_journal(NULL, "S", 7, 1700000000123456789);
    expect_journal(&(sluice_header){"Sluice-Replay-Of", "T:5:1600000000123456789"}, "T", 5,
                   1600000000123456789);
    assert_int_equal(fixture.m.delivery->sequence, 7);
}

static void what_names_no_original_has_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_journal(&(sluice_header){"Sluice-Replay-Of", bad[i]}, "S", 7, 1700000000123456789);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_fixture_setup, host_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read), TEST(the_longest_is_not_cut), TEST(anything_else_is_refused),
        TEST(a_replay_has_the_journal_of_its_original), TEST(what_names_no_original_has_its_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
