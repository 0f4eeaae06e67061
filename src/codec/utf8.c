/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/utf8.h"

#include <string.h>

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

static int is_continuation(uint8_t byte)
{
    return (byte & 0xc0u) == 0x80u;
}

size_t sluice_utf8_next(const uint8_t *data, size_t len)
{
    uint8_t first = data[0];
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    if (len < 2 || !is_continuation(data[1])) {
        return 0;
    }
    if (first < 0xe0) {
        return 2;
    }
    if ((first == 0xe0 && data[1] < 0xa0) || (first == 0xed && data[1] > 0x9f) ||
        (first == 0xf0 && data[1] < 0x90) || (first == 0xf4 && data[1] > 0x8f)) {
        return 0;
    }
    if (len < 3 || !is_continuation(data[2])) {
        return 0;
    }
    if (first < 0xf0) {
        return 3;
    }
    return len >= 4 && is_continuation(data[3]) ? 4 : 0;
}

size_t sluice_utf8_span(const void *data, size_t len)
{
    const uint8_t *bytes = data;
    size_t at = 0;
    while (at < len) {
        /* Eight plain ASCII bytes at a time: most texts are nothing else. */
        while (len - at >= 8) {
            uint64_t word;
            memcpy(&word, bytes + at, sizeof word);
            if ((((word - ONES) & ~word) | word) & HIGHS) {
                break;
            }
            at += 8;
        }
        if (at == len) {
            break;
        }
        size_t step = bytes[at] == 0 ? 0 : sluice_utf8_next(bytes + at, len - at);
        if (step == 0) {
            return at;
        }
        at += step;
    }
    return at;
}

size_t sluice_utf8_valid_prefix(const void *data, size_t len)
{
    const char *bytes = data;
    size_t at = sluice_utf8_span(bytes, len);
    while (at < len && bytes[at] == '\0') {
        at++;
        at += sluice_utf8_span(bytes + at, len - at);
    }
    return at;
}

size_t sluice_utf8_put(uint32_t code_point, char *out)
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xc0u | code_point >> 6);
        out[1] = (char)(0x80u | (code_point & 0x3fu));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xe0u | code_point >> 12);
        out[1] = (char)(0x80u | (code_point >> 6 & 0x3fu));
        out[2] = (char)(0x80u | (code_point & 0x3fu));
        return 3;
    }
    out[0] = (char)(0xf0u | code_point >> 18);
    out[1] = (char)(0x80u | (code_point >> 12 & 0x3fu));
    out[2] = (char)(0x80u | (code_point >> 6 & 0x3fu));
    out[3] = (char)(0x80u | (code_point & 0x3fu));
    return 4;
}
