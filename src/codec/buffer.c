/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#define SIZE_MIN 512u

void sluice_buffer_init(struct sluice_buffer *b, struct sluice_arena *arena, size_t size)
{
    *b = (struct sluice_buffer){.arena = arena, .limit = SIZE_MAX - 1};
    if (size < SIZE_MAX) {
        b->data = sluice_arena_alloc(arena, 1, size + 1);
        b->size = b->data == NULL ? 0 : size + 1;
    }
}

void sluice_buffer_init_within(struct sluice_buffer *b, struct sluice_arena *arena, void *scratch,
                               size_t scratch_size, size_t limit)
{
    *b = (struct sluice_buffer){.arena = arena, .data = scratch, .limit = limit, .is_scratch = 1};
    /* One byte stays free for the NUL, and the limit must be met before the end of the space. */
    b->size = limit < scratch_size ? limit + 1 : scratch_size;
}

static char *fail(struct sluice_buffer *b, sluice_rc rc)
{
    if (b->rc == SLUICE_OK) {
        b->rc = rc;
    }
    b->size = b->len; /* every further append comes here too */
    return NULL;
}

char *sluice_buffer_extend(struct sluice_buffer *b, size_t len)
{
    if (b->rc != SLUICE_OK) {
        return fail(b, b->rc);
    }
    if (len > b->limit - b->len) {
        return fail(b, SLUICE_ERR_TOO_LARGE);
    }
    size_t need = b->len + len;
    if (need >= b->size) {
        size_t size = b->size < SIZE_MIN ? SIZE_MIN : b->size;
        while (size <= need) {
            size = size <= b->limit / 2 ? size * 2 : b->limit + 1;
        }
        if (size > b->limit) {
            size = b->limit + 1;
        }
        char *data = sluice_arena_alloc(b->arena, 1, size);
        if (data == NULL) {
            return fail(b, SLUICE_ERR_NOMEM);
        }
        if (b->len != 0) {
            memcpy(data, b->data, b->len);
        }
        b->data = data;
        b->size = size;
        b->is_scratch = 0;
    }
    char *to = b->data + b->len;
    b->len = need;
    return to;
}

void sluice_buffer_format(struct sluice_buffer *b, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len > 0) {
        sluice_buffer_add(b, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
    }
}

sluice_rc sluice_buffer_finish(struct sluice_buffer *b, struct sluice_err *err, sluice_bytes *bytes)
{
    if (b->rc == SLUICE_ERR_TOO_LARGE) {
        return sluice_err_set(err, b->rc, "result over %zu bytes", b->limit);
    }
    if (b->rc == SLUICE_OK && b->is_scratch) {
        b->data = sluice_arena_copy(b->arena, b->data, b->len);
        b->rc = b->data == NULL ? SLUICE_ERR_NOMEM : SLUICE_OK;
    } else if (b->rc == SLUICE_OK) {
        b->data[b->len] = '\0';
    }
    if (b->rc != SLUICE_OK) {
        return sluice_err_set(err, b->rc, "out of memory");
    }
    *bytes = (sluice_bytes){.data = b->data, .len = b->len};
    return SLUICE_OK;
}
