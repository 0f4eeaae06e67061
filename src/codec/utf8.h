/* SPDX-License-Identifier: Apache-2.0 */
/* Is it text? UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Pure, any thread. */
#ifndef SLUICE_CODEC_UTF8_H
#define SLUICE_CODEC_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* How many leading bytes are valid UTF-8 without a NUL: `len` when all of it is text, else the
 * offset of the first bad byte. */
size_t sluice_utf8_span(const void *data, size_t len);

/* The same, for bytes among which a NUL is welcome. */
size_t sluice_utf8_valid_prefix(const void *data, size_t len);

/* Bytes of the sequence that starts at data[0]: 1…4, or 0 when it is not valid or cut. A NUL counts
 * as valid here. */
size_t sluice_utf8_next(const uint8_t *data, size_t len);

/* Write the code point (not a surrogate, at most 0x10FFFF) to out[0…3]; returns the bytes. */
size_t sluice_utf8_put(uint32_t code_point, char *out);

#endif
