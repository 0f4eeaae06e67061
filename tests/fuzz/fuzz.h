/* SPDX-License-Identifier: Apache-2.0 */
/* What the targets have in common. Each target is one file with one entry function, driven by
 * libFuzzer (tests/fuzz/run) or by replay.c over its corpus. */
#ifndef SLUICE_TESTS_FUZZ_H
#define SLUICE_TESTS_FUZZ_H

#include "core/arena.h"
#include "core/err.h"
#include <stddef.h>
#include <stdint.h>

/* One input. Ends the process when an expectation of the target does not hold. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An expectation: what must hold whatever the input is. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fuzz_fail(__FILE__, __LINE__, #condition);                                             \
        }                                                                                          \
    } while (0)
_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/* Memory that knows what was not given back. */
struct fuzz_memory {
    struct sluice_allocator allocator;
    struct sluice_arena arena;
    long open;
};
void fuzz_memory_init(struct fuzz_memory *m);
void fuzz_memory_fini(struct fuzz_memory *m); /* checks that all was freed */

/* The input from one end to the other. What is taken is a copy of exactly its size, so that a
 * sanitizer sees a read behind it; fuzz_input_fini frees all copies. */
struct fuzz_input {
    const uint8_t *at, *end;
    void *copies[16];
    size_t count;
};
struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size);
void fuzz_input_fini(struct fuzz_input *in);
/* The next byte below `count`; 0 at the end. Digits and letters count from '0' and 'A', so that
 * corpus files can be read. */
unsigned fuzz_take_choice(struct fuzz_input *in, unsigned count);
/* Up to the next line feed (or the end) as text; a NUL ends it, too. NULL behind the end. */
char *fuzz_take_line(struct fuzz_input *in);
sluice_bytes fuzz_take_rest(struct fuzz_input *in);
char *fuzz_take_rest_text(struct fuzz_input *in);

int fuzz_is_same(sluice_bytes a, sluice_bytes b);
/* `part` lies inside `whole`. */
int fuzz_is_inside(const void *part, size_t part_len, const void *whole, size_t whole_len);

#endif
