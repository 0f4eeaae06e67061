/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a message: alignment, zeroing, growth, limits, overflow, and what running out leaves
 * behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/arena.h"
#include <string.h>

static int is_starved;
static long blocks;
static size_t newest; /* bytes of the newest block */

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        blocks--;
        free(p);
        return NULL;
    }
    if (is_starved || size > (1u << 30)) {
        return NULL;
    }
    blocks += p == NULL;
    newest = size;
    return realloc(p, size);
}

static const struct sluice_allocator allocator = {.resize = resize};
static struct sluice_arena arena;

static int setup(void **state)
{
    (void)state;
    is_starved = 0;
    blocks = 0;
    sluice_arena_init(&arena, &allocator, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sluice_arena_fini(&arena);
    return blocks != 0;
}

static void the_allocator_zeroes_and_refuses_overflow(void **state)
{
    (void)state;
    unsigned char *p = sluice_mem_alloc(&allocator, 3, 5);
    assert_non_null(p);
    for (int i = 0; i < 15; i++) {
        assert_int_equal(p[i], 0);
    }
    sluice_mem_free(&allocator, p);
    sluice_mem_free(&allocator, NULL);
    assert_null(sluice_mem_alloc(&allocator, SIZE_MAX / 2, 3));
    is_starved = 1;
    assert_null(sluice_mem_alloc(&allocator, 1, 1));
}

static void nothing_is_still_an_address(void **state)
{
    (void)state;
    void *nothing = sluice_mem_alloc(&allocator, 0, 8);
    void *no_size = sluice_mem_alloc(&allocator, 8, 0);
    assert_non_null(nothing);
    assert_non_null(no_size);
    sluice_mem_free(&allocator, nothing);
    sluice_mem_free(&allocator, no_size);
    void *a = sluice_arena_alloc(&arena, 0, 8);
    void *b = sluice_arena_alloc(&arena, 8, 0);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
}

static void memory_is_aligned_and_zeroed_whatever_was_there(void **state)
{
    (void)state;
    for (size_t size = 1; size < 3000; size += 37) {
        unsigned char *p = sluice_arena_alloc(&arena, 1, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(p[i], 0);
        }
        memset(p, 0xff, size);
    }
    sluice_arena_reset(&arena);
    assert_int_equal(blocks, 1); /* the largest chunk is kept */
    unsigned char *again = sluice_arena_alloc(&arena, 1, 256);
    assert_int_equal(again[0] | again[255], 0);
}

static void a_reset_keeps_the_largest_wherever_it_stands(void **state)
{
    (void)state;
    (void)sluice_arena_alloc(&arena, 1, 100);
    (void)sluice_arena_alloc(&arena, 1, 50000);
    (void)sluice_arena_alloc(&arena, 1, 10000);
    assert_int_equal(blocks, 3);
    sluice_arena_reset(&arena);
    assert_int_equal(blocks, 1);
    assert_non_null(sluice_arena_alloc(&arena, 1, 50000));
    assert_int_equal(blocks, 1);
    sluice_arena_fini(&arena);
    sluice_arena_reset(&arena); /* with nothing to keep */
    assert_int_equal(blocks, 0);
}

static void copies_end_with_a_nul(void **state)
{
    (void)state;
    char *text = sluice_arena_text(&arena, "text");
    char *bytes = sluice_arena_copy(&arena, "a\0b", 3);
    char *none = sluice_arena_copy(&arena, NULL, 0);
    assert_string_equal(text, "text");
    assert_memory_equal(bytes, "a\0b", 4);
    assert_string_equal(none, "");
}

static void the_limit_holds_at_its_edge(void **state)
{
    (void)state;
    arena.limit = 64;
    assert_non_null(sluice_arena_alloc(&arena, 1, 48));
    assert_int_equal(arena.is_over_limit, 0);
    assert_null(sluice_arena_alloc(&arena, 1, 17));
    assert_int_equal(arena.is_over_limit, 1);
    assert_int_equal(arena.is_exhausted, 1); /* and stays so, though a smaller one fits */
    assert_non_null(sluice_arena_alloc(&arena, 1, 16));
    assert_int_equal(arena.is_exhausted, 1);
    assert_null(sluice_arena_alloc(&arena, 1, 65)); /* more than all of it */
    sluice_arena_reset(&arena);
    assert_int_equal(arena.is_exhausted + arena.is_over_limit, 0);
    assert_non_null(sluice_arena_alloc(&arena, 1, 64));
}

static void sizes_that_overflow_run_out(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 16, SIZE_MAX - 40};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        arena.is_exhausted = 0;
        assert_null(sluice_arena_alloc(&arena, 1, sizes[i]));
        assert_int_equal(arena.is_exhausted, 1);
    }
    assert_null(sluice_arena_alloc(&arena, SIZE_MAX / 2, 3));
    arena.is_exhausted = 0;
    assert_null(sluice_arena_copy(&arena, "", SIZE_MAX));
    assert_int_equal(arena.is_exhausted, 1);
    assert_int_equal(arena.is_over_limit, 0); /* it has none */
    arena.limit = 64;
    assert_null(sluice_arena_alloc(&arena, SIZE_MAX / 2, 3));
    assert_int_equal(arena.is_over_limit, 1);
    sluice_arena_reset(&arena);
    assert_null(sluice_arena_alloc(&arena, 1, SIZE_MAX));
    assert_int_equal(arena.is_over_limit, 1);
}

static void missing_memory_runs_out(void **state)
{
    (void)state;
    is_starved = 1;
    assert_null(sluice_arena_alloc(&arena, 1, 1));
    assert_null(sluice_arena_text(&arena, "text"));
    assert_int_equal(arena.is_exhausted, 1);
    assert_int_equal(arena.is_over_limit, 0);
}

static void chunks_grow_to_their_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        assert_non_null(sluice_arena_alloc(&arena, 1, 1024));
    }
    assert_in_range(blocks, 12, 30); /* 3 MB in chunks of 256 KiB at most */
}

static void what_is_expected_is_one_chunk_and_no_more(void **state)
{
    (void)state;
    sluice_arena_expect(&arena, 3000);
    (void)sluice_arena_alloc(&arena, 1, 1008);
    assert_in_range(newest, 3000, 3100);
    (void)sluice_arena_alloc(&arena, 1, 2000);
    assert_int_equal(blocks, 1);
    (void)sluice_arena_alloc(&arena, 1, 1); /* beyond it: as if nothing had been expected */
    assert_int_equal(blocks, 2);
    assert_in_range(newest, 256, 300);
    sluice_arena_expect(&arena, 64);
    (void)sluice_arena_alloc(&arena, 1, 4096); /* more than that at once */
    assert_in_range(newest, 4096, 4200);
    sluice_arena_expect(&arena, SIZE_MAX); /* nonsense is bounded */
    (void)sluice_arena_alloc(&arena, 1, 4096);
    assert_in_range(newest, 4096, 300000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(the_allocator_zeroes_and_refuses_overflow),
                                       TEST(nothing_is_still_an_address),
                                       TEST(memory_is_aligned_and_zeroed_whatever_was_there),
                                       TEST(a_reset_keeps_the_largest_wherever_it_stands),
                                       TEST(copies_end_with_a_nul),
                                       TEST(the_limit_holds_at_its_edge),
                                       TEST(sizes_that_overflow_run_out),
                                       TEST(missing_memory_runs_out),
                                       TEST(what_is_expected_is_one_chunk_and_no_more),
                                       TEST(chunks_grow_to_their_bound)};
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
