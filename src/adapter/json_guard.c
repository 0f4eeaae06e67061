/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/json_guard.h"

#include <stdint.h>
#include <string.h>

/* Length of the well-formed sequence at `s` (not overlong, no surrogate, at most U+10FFFF), 0 if
 * there is none. */
static size_t sequence_len(const unsigned char *s, size_t left)
{
    unsigned char c = s[0];
    size_t len = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (c < 0x80) {
        return 1;
    }
    if (c >= 0xC2 && c <= 0xDF) {
        len = 2;
    } else if (c >= 0xE0 && c <= 0xEF) {
        len = 3;
        low = c == 0xE0 ? 0xA0 : low;
        high = c == 0xED ? 0x9F : high;
    } else if (c >= 0xF0 && c <= 0xF4) {
        len = 4;
        low = c == 0xF0 ? 0x90 : low;
        high = c == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (left < len || s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

int sluice_is_utf8(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < len) {
        uint64_t word;
        if (len - i >= sizeof word) { /* most text is ASCII: eight bytes at once */
            memcpy(&word, s + i, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t step = sequence_len(s + i, len - i);
        if (step == 0) {
            return 0;
        }
        i += step;
    }
    return 1;
}

/* From behind the opening quote to behind the closing one. */
static const char *guard_text(const char *json, size_t len, size_t *at)
{
    size_t i = *at;
    while (i < len) {
        unsigned char c = (unsigned char)json[i];
        if (c == '"') {
            *at = i + 1;
            return NULL;
        }
        if (c < 0x20) {
            return "a control character in a text";
        }
        if (c == '\\') {
            if (len - i >= 6 && memcmp(json + i + 1, "u0000", 5) == 0) {
                return "a NUL in a text";
            }
            i++; /* what follows is not a quote that ends the text */
        }
        i++;
    }
    return "a text that does not end";
}

const char *sluice_json_guard(const char *json, size_t len, unsigned depth_max)
{
    if (!sluice_is_utf8(json, len)) {
        return "invalid UTF-8";
    }
    unsigned depth = 0;
    int is_complete = 0; /* the outermost value, if it is an object or array, has ended */
    for (size_t i = 0; i < len;) {
        char c = json[i++];
        const char *wrong = NULL;
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            continue;
        }
        if (is_complete) {
            return "bytes behind the value";
        }
        switch (c) {
        case '"':
            wrong = guard_text(json, len, &i);
            break;
        case '{':
        case '[':
            wrong = ++depth > depth_max ? "nested too deeply" : NULL;
            break;
        case '}':
        case ']':
            wrong = depth == 0 ? "a bracket too many" : NULL;
            is_complete = depth == 1;
            depth -= depth != 0;
            break;
        case '\0':
            wrong = "a NUL";
            break;
        default:
            break;
        }
        if (wrong != NULL) {
            return wrong;
        }
    }
    return depth != 0 ? "a bracket missing" : NULL;
}
