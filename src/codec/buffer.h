/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that are written in one go: begins in memory of the caller's, moves to the arena when that
 * is full. A failed append is remembered, so writers check once, at the end. Not thread-safe. */
#ifndef SLUICE_CODEC_BUFFER_H
#define SLUICE_CODEC_BUFFER_H

#include "core/arena.h"
#include "core/err.h"
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sluice_buffer {
    struct sluice_arena *arena;
    char *data;
    size_t len, size;
    size_t limit; /* bytes that may be written */
    sluice_rc rc; /* SLUICE_OK, or why an append failed: SLUICE_ERR_TOO_LARGE, _NOMEM */
    int is_scratch;
};

/* With room for `size` bytes in the arena, and as many more as the arena has. */
void sluice_buffer_init(struct sluice_buffer *b, struct sluice_arena *arena, size_t size);
/* In `scratch` (borrowed until the buffer is finished) as long as that suffices, and never over
 * `limit` bytes. */
void sluice_buffer_init_within(struct sluice_buffer *b, struct sluice_arena *arena, void *scratch,
                               size_t scratch_size, size_t limit);

/* Space for `len` more bytes, which are then counted as written; NULL when there is none. */
char *sluice_buffer_extend(struct sluice_buffer *b, size_t len);

SLUICE_PRINTF(2, 3)
void sluice_buffer_format(struct sluice_buffer *b, const char *format, ...); /* at most 255 bytes */
/* A text as JSON has it, quotes included. Bytes that are not UTF-8 become U+FFFD. */
void sluice_buffer_json(struct sluice_buffer *b, const char *text, size_t len);

/* The bytes in the arena, a NUL behind them; or why an append failed, told in err. */
SLUICE_MUST_CHECK
sluice_rc sluice_buffer_finish(struct sluice_buffer *b, struct sluice_err *err,
                               sluice_bytes *bytes);

static inline void sluice_buffer_add(struct sluice_buffer *b, const void *data, size_t len)
{
    if (len == 0) { /* then data may be NULL, which memcpy does not take */
        return;
    }
    if (len < b->size - b->len) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
        return;
    }
    char *to = sluice_buffer_extend(b, len);
    if (to != NULL) {
        memcpy(to, data, len);
    }
}

static inline void sluice_buffer_byte(struct sluice_buffer *b, char byte)
{
    if (b->len + 1 < b->size) {
        b->data[b->len++] = byte;
        return;
    }
    sluice_buffer_add(b, &byte, 1);
}

static inline void sluice_buffer_text(struct sluice_buffer *b, const char *text)
{
    sluice_buffer_add(b, text, strlen(text));
}

#endif
