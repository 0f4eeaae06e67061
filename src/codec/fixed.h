/* SPDX-License-Identifier: Apache-2.0 */
/* Short texts in buffers of fixed size, for what is written with every message: the same bytes as
 * snprintf's %s, %u, %d, %x, %f at a tenth of its cost. Like snprintf it cuts what does not fit,
 * and there is always a NUL. */
#ifndef SLUICE_CODEC_FIXED_H
#define SLUICE_CODEC_FIXED_H

#include "codec/number.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct sluice_fixed {
    char *text;
    size_t len, room; /* room: for bytes before the NUL */
    int is_cut;
};

/* `size` is at least 1. */
static inline struct sluice_fixed sluice_fixed_in(char *text, size_t size)
{
    text[0] = '\0';
    return (struct sluice_fixed){.text = text, .room = size - 1};
}

static inline void sluice_fixed_add(struct sluice_fixed *f, const char *bytes, size_t len)
{
    if (len > f->room - f->len) {
        len = f->room - f->len;
        f->is_cut = 1;
    }
    memcpy(f->text + f->len, bytes, len);
    f->len += len;
    f->text[f->len] = '\0';
}

static inline void sluice_fixed_text(struct sluice_fixed *f, const char *text)
{
    sluice_fixed_add(f, text, strlen(text));
}

static inline void sluice_fixed_uint64(struct sluice_fixed *f, uint64_t value)
{
    char digits[SLUICE_NUMBER_SIZE];
    (void)sluice_number_write_uint64(value, digits);
    sluice_fixed_text(f, digits);
}

static inline void sluice_fixed_int64(struct sluice_fixed *f, int64_t value)
{
    char digits[SLUICE_NUMBER_SIZE];
    (void)sluice_number_write_int64(value, digits);
    sluice_fixed_text(f, digits);
}

/* Lower-case hexadecimal without leading zeros. */
static inline void sluice_fixed_hex(struct sluice_fixed *f, uint64_t value)
{
    char digits[16];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0 && at > 0); /* it is 0 after 16 digits: the compiler is told the bound */
    sluice_fixed_add(f, digits + at, sizeof digits - at);
}

/* As "%.6f": a double that is the nearest one to whole millionths prints as these. */
static inline void sluice_fixed_millionths(struct sluice_fixed *f, double value)
{
    double size = fabs(value);
    uint64_t millionths = size < 1e6 ? (uint64_t)(size * 1e6 + 0.5) : 0;
    char digits[384];
    if (!(size < 1e6) || (double)millionths / 1e6 != size) {
        int len = snprintf(digits, sizeof digits, "%.6f", value);
        sluice_fixed_add(f, digits, len < 0 ? 0 : (size_t)len);
        return;
    }
    sluice_fixed_text(f, signbit(value) ? "-" : "");
    sluice_fixed_uint64(f, millionths / 1000000);
    sluice_fixed_text(f, ".");
    size_t len = sluice_number_write_uint64(1000000 + millionths % 1000000, digits);
    sluice_fixed_add(f, digits + 1, len - 1);
}

#endif
