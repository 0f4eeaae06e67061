/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as text: checked strictly before anything reads it, and written safely. Pure, any thread. */
#ifndef SLUICE_CODEC_JSON_TEXT_H
#define SLUICE_CODEC_JSON_TEXT_H

#include "codec/buffer.h"
#include "codec/limits.h"
#include "core/arena.h"
#include "core/err.h"
#include <cjson/cJSON.h>

/* Is this one JSON value (RFC 8259), and nothing behind it but white space? Refused beyond the
 * grammar: invalid UTF-8, NUL (\u0000), lone surrogates, a key twice in an object however it is
 * spelled, numbers that are not finite or longer than SLUICE_NUMBER_TEXT_MAX, a byte order mark,
 * nesting deeper than SLUICE_JSON_DEPTH_MAX, more values than fields_max. The arena is only used
 * for objects of many keys. Errors with the offset: SLUICE_ERR_DECODE; SLUICE_ERR_TOO_LARGE (size,
 * depth, values); SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_json_check(sluice_bytes text, const struct sluice_limits *limits,
                            struct sluice_arena *arena, struct sluice_err *err);

/* Check text of at most size_max bytes, then build cJSON's tree; the caller frees it with
 * cJSON_Delete. Whole numbers over 2^53
 * lose digits in it, as cJSON has doubles only. */
SLUICE_MUST_CHECK
sluice_rc sluice_json_parse(sluice_bytes text, size_t size_max, cJSON **tree,
                            struct sluice_err *err);

/* Append text as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD. */
void sluice_json_escape(struct sluice_buffer *b, const char *text, size_t len);
/* The inside of a checked JSON string as plain UTF-8; `out` has at least `len` bytes and gets no
 * NUL. Returns the length. */
size_t sluice_json_unescape(const char *inside, size_t len, char *out);

#endif
