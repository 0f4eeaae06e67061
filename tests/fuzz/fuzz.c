/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

static void *resize(void *ctx, void *p, size_t size)
{
    struct fuzz_memory *m = ctx;
    if (size == 0) {
        m->open -= p != NULL;
        free(p);
        return NULL;
    }
    void *memory = realloc(p, size);
    m->open += p == NULL && memory != NULL;
    return memory;
}

void fuzz_memory_init(struct fuzz_memory *m)
{
    *m = (struct fuzz_memory){.allocator = {.resize = resize, .ctx = m}};
    /* Small chunks: neighbours in the arena are seldom in one allocation, so overruns are seen. */
    sluice_arena_init(&m->arena, &m->allocator, 64, 64u << 20);
}

void fuzz_memory_fini(struct fuzz_memory *m)
{
    sluice_arena_fini(&m->arena);
    FUZZ_CHECK(m->open == 0);
}

struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size)
{
    return (struct fuzz_input){.at = data, .end = data + size};
}

void fuzz_input_fini(struct fuzz_input *in)
{
    for (size_t i = 0; i < in->count; i++) {
        free(in->copies[i]);
    }
    in->count = 0;
}

unsigned fuzz_take_choice(struct fuzz_input *in, unsigned count)
{
    if (in->at == in->end) {
        return 0;
    }
    unsigned byte = *in->at++;
    if (byte >= '0' && byte <= '9') {
        return (byte - '0') % count;
    }
    if (byte >= 'A' && byte <= 'Z') {
        return (byte - 'A') % count;
    }
    return byte % count;
}

static char *copy(struct fuzz_input *in, const void *data, size_t len, size_t extra)
{
    char *memory = malloc(len + extra == 0 ? 1 : len + extra);
    FUZZ_CHECK(memory != NULL);
    FUZZ_CHECK(in->count < sizeof in->copies / sizeof in->copies[0]);
    in->copies[in->count++] = memory;
    if (len != 0) {
        memcpy(memory, data, len);
    }
    if (extra != 0) {
        memory[len] = '\0';
    }
    return memory;
}

static char *copy_text(struct fuzz_input *in, const void *data, size_t len)
{
    const void *nul = len == 0 ? NULL : memchr(data, '\0', len);
    return copy(in, data,
                nul == NULL ? len : (size_t)((const uint8_t *)nul - (const uint8_t *)data), 1);
}

char *fuzz_take_line(struct fuzz_input *in)
{
    if (in->at == in->end) {
        return NULL;
    }
    size_t left = (size_t)(in->end - in->at);
    const uint8_t *lf = memchr(in->at, '\n', left);
    size_t len = lf == NULL ? left : (size_t)(lf - in->at);
    char *line = copy_text(in, in->at, len);
    in->at += lf == NULL ? len : len + 1;
    return line;
}

sluice_bytes fuzz_take_rest(struct fuzz_input *in)
{
    size_t len = (size_t)(in->end - in->at);
    const char *data = copy(in, in->at, len, 0);
    in->at = in->end;
    return (sluice_bytes){.data = data, .len = len};
}

char *fuzz_take_rest_text(struct fuzz_input *in)
{
    char *text = copy_text(in, in->at, (size_t)(in->end - in->at));
    in->at = in->end;
    return text;
}

int fuzz_is_same(sluice_bytes a, sluice_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int fuzz_is_inside(const void *part, size_t part_len, const void *whole, size_t whole_len)
{
    uintptr_t from = (uintptr_t)part, begin = (uintptr_t)whole;
    return from >= begin && part_len <= whole_len && from - begin <= whole_len - part_len;
}
