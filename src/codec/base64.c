/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base64.h"

#include <stdint.h>
#include <string.h>

void sluice_base64_encode(const void *data, size_t len, char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = data;
    for (; len >= 3; len -= 3, in += 3, text += 4) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        text[0] = alphabet[bits >> 18];
        text[1] = alphabet[bits >> 12 & 63];
        text[2] = alphabet[bits >> 6 & 63];
        text[3] = alphabet[bits & 63];
    }
    if (len > 0) {
        uint32_t bits = (uint32_t)in[0] << 16 | (len > 1 ? (uint32_t)in[1] << 8 : 0);
        text[0] = alphabet[bits >> 18];
        text[1] = alphabet[bits >> 12 & 63];
        text[2] = '=';
        if (len > 1) {
            text[2] = alphabet[bits >> 6 & 63];
        }
        text[3] = '=';
    }
}

#define URL_SAFE 64u  /* flag beside the value: '-' or '_' */
#define STANDARD 128u /* '+' or '/' */
#define BAD      255u

static unsigned value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (unsigned)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (unsigned)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0') + 52;
    }
    switch (c) {
    case '+':
        return 62 | STANDARD;
    case '/':
        return 63 | STANDARD;
    case '-':
        return 62 | URL_SAFE;
    case '_':
        return 63 | URL_SAFE;
    default:
        return BAD;
    }
}

int sluice_base64_decode(const char *text, size_t len, void *data, size_t *data_len)
{
    uint8_t *out = data;
    size_t to = 0;
    uint32_t bits = 0;
    unsigned seen = 0;
    if (len > 0 && len % 4 == 0 && text[len - 1] == '=') {
        len -= text[len - 2] == '=' ? 2 : 1;
    }
    if (len % 4 == 1) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned value = value_of(text[i]);
        if (value == BAD) {
            return 0;
        }
        seen |= value & (URL_SAFE | STANDARD);
        bits = bits << 6 | (value & 63);
        if (i % 4 == 3) {
            out[to++] = (uint8_t)(bits >> 16);
            out[to++] = (uint8_t)(bits >> 8);
            out[to++] = (uint8_t)bits;
            bits = 0;
        }
    }
    if (seen == (URL_SAFE | STANDARD)) {
        return 0;
    }
    if (len % 4 == 2) {
        if ((bits & 15) != 0) {
            return 0;
        }
        out[to++] = (uint8_t)(bits >> 4);
    } else if (len % 4 == 3) {
        if ((bits & 3) != 0) {
            return 0;
        }
        out[to++] = (uint8_t)(bits >> 10);
        out[to++] = (uint8_t)(bits >> 2);
    }
    *data_len = to;
    return 1;
}
