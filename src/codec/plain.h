/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a text that JSON takes as they are, eight at a time: all scanning and writing of
 * strings spends its time in them. */
#ifndef SLUICE_CODEC_PLAIN_H
#define SLUICE_CODEC_PLAIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline int sluice_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many bytes from the start are printable ASCII or DEL, neither quote nor backslash. */
static inline size_t sluice_plain_span(const char *text, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    size_t at = 0;
    for (; len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, text + at, sizeof word);
        uint64_t quotes = word ^ ones * '"', slashes = word ^ ones * '\\';
        /* Each term has a high bit where, and only if, some byte is 0 or below 0x20. */
        uint64_t others = (((quotes - ones) & ~quotes) | ((slashes - ones) & ~slashes) |
                           ((word - ones * 0x20) & ~word) | word) &
                          highs;
        if (others != 0) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            /* The lowest high bit is always true, a borrow only goes upwards: count the bytes below
             * it. JSON in JSON has a quote in each second word. */
            uint64_t lowest = others & (0 - others);
            return at + (size_t)(((lowest - 1) & ones) * ones >> 56) - 1;
#else
            break;
#endif
        }
    }
    while (at < len && sluice_is_plain((unsigned char)text[at])) {
        at++;
    }
    return at;
}

#endif
