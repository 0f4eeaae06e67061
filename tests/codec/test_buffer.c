/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/buffer.h"

#include "codec/path.h"
#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void grows_from_scratch_into_the_arena(void **state)
{
    (void)state;
    for (size_t scratch_size = 0; scratch_size < 40; scratch_size++) {
        struct fixture f;
        struct sluice_buffer b;
        sluice_bytes out;
        char scratch[40];
        fixture_init(&f);
        sluice_buffer_init_within(&b, &f.arena, scratch, scratch_size, 10000);
        for (int i = 0; i < 1000; i++) {
            sluice_buffer_byte(&b, (char)('a' + i % 26));
            sluice_buffer_add(&b, "-", 1);
            sluice_buffer_text(&b, "");
        }
        assert_int_equal(sluice_buffer_finish(&b, &f.err, &out), SLUICE_OK);
        assert_int_equal(out.len, 2000);
        assert_int_equal(strlen(out.data), 2000);
        assert_memory_equal(out.data, "a-b-c-", 6);
        memset(scratch, 0, sizeof scratch);
        assert_memory_equal((const char *)out.data + 1994, "j-k-l-", 6);
        fixture_fini(&f);
    }
}

static void stops_at_its_limit(void **state)
{
    (void)state;
    for (size_t scratch_size = 0; scratch_size <= 8; scratch_size += 4) {
        for (size_t len = 3; len <= 6; len++) {
            struct fixture f;
            struct sluice_buffer b;
            sluice_bytes out;
            char scratch[8];
            fixture_init(&f);
            sluice_buffer_init_within(&b, &f.arena, scratch, scratch_size, 5);
            for (size_t i = 0; i < len; i++) {
                sluice_buffer_byte(&b, 'x');
            }
            assert_int_equal(sluice_buffer_finish(&b, &f.err, &out),
                             len <= 5 ? SLUICE_OK : SLUICE_ERR_TOO_LARGE);
            fixture_fini(&f);
        }
    }
}

static void remembers_that_memory_ran_out(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_buffer b;
    sluice_bytes out = {0};
    fixture_init(&f);
    f.fail_at = 1;
    sluice_buffer_init(&b, &f.arena, 10);
    sluice_buffer_text(&b, "lost");
    sluice_buffer_byte(&b, 'x');
    assert_null(sluice_buffer_extend(&b, 1));
    assert_int_equal(sluice_buffer_finish(&b, &f.err, &out), SLUICE_ERR_NOMEM);
    assert_true(f.arena.is_exhausted);
    assert_null(out.data);
    fixture_fini(&f);
}

static void formats_and_quotes(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_buffer b;
    sluice_bytes out;
    fixture_init(&f);
    sluice_buffer_init(&b, &f.arena, 0);
    sluice_buffer_format(&b, "%d-%s:", 5, "x");
    sluice_buffer_json(&b, "a\"\n", 3);
    assert_int_equal(sluice_buffer_finish(&b, &f.err, &out), SLUICE_OK);
    assert_string_equal(out.data, "5-x:\"a\\\"\\n\"");
    fixture_fini(&f);
}

static void a_path_reads_as_people_write_it(void **state)
{
    (void)state;
    char text[SLUICE_PATH_TEXT_SIZE];
    struct sluice_path top = {.name = "items", .index = 2};
    struct sluice_path map = {
        .up = &top, .name = "tags", .key = "a\n\"b", .key_len = 4, .index = -1};
    struct sluice_path none = {.up = &map, .index = -1};
    struct sluice_path leaf = {.up = &none, .name = "score", .index = -1};
    sluice_path_text(&leaf, text);
    assert_string_equal(text, "items[2].tags[\"a?\"b\"].score");
    sluice_path_text(NULL, text);
    assert_string_equal(text, "");
    struct sluice_err err;
    assert_int_equal(sluice_path_fail(&top, &err, SLUICE_ERR_DECODE, "%d", 7), SLUICE_ERR_DECODE);
    assert_string_equal(err.text, "items[2]: 7");
    assert_int_equal(sluice_path_fail(&top, NULL, SLUICE_ERR_DECODE, "x"), SLUICE_ERR_DECODE);
}

static void a_path_is_cut_between_characters(void **state)
{
    (void)state;
    char text[SLUICE_PATH_TEXT_SIZE];
    char key[100];
    for (size_t i = 0; i < sizeof key; i += 2) {
        memcpy(key + i, "\xc3\xa4", 2);
    }
    struct sluice_path links[60];
    for (size_t i = 0; i < 60; i++) {
        links[i] = (struct sluice_path){.up = i == 0 ? NULL : &links[i - 1],
                                        .key = key,
                                        .key_len = sizeof key - i % 2,
                                        .index = -1};
        sluice_path_text(&links[i], text);
        assert_true(strlen(text) < SLUICE_PATH_TEXT_SIZE);
        assert_true(strlen(text) >= 48);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_from_scratch_into_the_arena),
        cmocka_unit_test(stops_at_its_limit),
        cmocka_unit_test(remembers_that_memory_ran_out),
        cmocka_unit_test(formats_and_quotes),
        cmocka_unit_test(a_path_reads_as_people_write_it),
        cmocka_unit_test(a_path_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
