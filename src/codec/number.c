/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/number.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX     9007199254740992.0 /* 2^53: whole doubles up to here are exact */
#define EXACT_DIGITS  15u                /* decimal digits that always fit into a double */
#define EXACT_POWER   22                 /* largest exact power of ten */
#define DECIMALS_FAST 6u                 /* decimals that are tried without printf */

static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static size_t digits_span(const char *text, size_t len, size_t at)
{
    size_t end = at;
    while (end < len && text[end] >= '0' && text[end] <= '9') {
        end++;
    }
    return end - at;
}

size_t sluice_number_span(const char *text, size_t len)
{
    size_t at = len > 0 && text[0] == '-';
    size_t digits = digits_span(text, len, at);
    if (digits == 0) {
        return 0;
    }
    at += text[at] == '0' ? 1 : digits; /* no leading zeros */
    if (at < len && text[at] == '.') {
        digits = digits_span(text, len, at + 1);
        if (digits == 0) {
            return 0;
        }
        at += 1 + digits;
    }
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = at + 1 < len && (text[at + 1] == '+' || text[at + 1] == '-');
        digits = digits_span(text, len, at + 1 + sign);
        if (digits == 0) {
            return 0;
        }
        at += 1 + sign + digits;
    }
    return at;
}

/* strtod wants the point of the process's locale, which a plug-in may have changed. */
static double slow_double(const char *text, size_t len)
{
    char copy[SLUICE_NUMBER_TEXT_MAX + 16];
    const char *point = localeconv()->decimal_point;
    size_t point_len = strlen(point);
    size_t at = 0;
    if (point_len > 8) {
        return (double)NAN;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.') {
            memcpy(copy + at, point, point_len);
            at += point_len;
        } else {
            copy[at++] = text[i];
        }
    }
    copy[at] = '\0';
    return strtod(copy, NULL);
}

/* The significant digits of a number without exponent, as one integer, and how many of them stand
 * behind the point. 0 when it has an exponent or does not fit into 64 bits. */
static int plain_digits(const char *text, size_t len, uint64_t *digits, size_t *decimals)
{
    uint64_t sum = 0;
    size_t behind = 0;
    int is_behind = 0;
    for (size_t i = text[0] == '-'; i < len; i++) {
        if (text[i] == '.') {
            is_behind = 1;
            continue;
        }
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (sum > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        sum = sum * 10 + digit;
        behind += (size_t)is_behind;
    }
    *digits = sum;
    *decimals = behind;
    return 1;
}

int sluice_number_parse(const char *text, size_t len, struct sluice_number *number)
{
    if (len == 0 || len > SLUICE_NUMBER_TEXT_MAX || sluice_number_span(text, len) != len) {
        return 0;
    }
    uint64_t digits = 0;
    size_t decimals = 0;
    int is_plain = plain_digits(text, len, &digits, &decimals);
    if (is_plain && decimals == 0) {
        double real = (double)digits;
        *number = (struct sluice_number){.is_whole = 1,
                                         .is_negative = text[0] == '-' && digits != 0,
                                         .magnitude = digits,
                                         .real = text[0] == '-' ? -real : real};
        return 1;
    }
    double real;
    if (is_plain && digits < (uint64_t)EXACT_MAX && decimals <= EXACT_POWER) {
        /* Both are exact, so that the one division rounds correctly. */
        real = (double)digits / powers[decimals];
        real = text[0] == '-' ? -real : real;
    } else {
        real = slow_double(text, len);
    }
    if (!isfinite(real)) {
        return 0;
    }
    *number = sluice_number_of_double(real);
    return 1;
}

struct sluice_number sluice_number_of_int64(int64_t value)
{
    return (struct sluice_number){.is_whole = 1,
                                  .is_negative = value < 0,
                                  .magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value,
                                  .real = (double)value};
}

struct sluice_number sluice_number_of_double(double value)
{
    struct sluice_number number = {.real = value};
    double size = fabs(value);
    if (size < 18446744073709551616.0 && !(trunc(size) < size)) {
        number.is_whole = 1;
        number.magnitude = (uint64_t)size;
        number.is_negative = value < 0;
    }
    return number;
}

int sluice_number_to_int64(const struct sluice_number *number, int64_t *value)
{
    uint64_t limit = (uint64_t)INT64_MAX + (number->is_negative ? 1 : 0);
    if (!number->is_whole || number->magnitude > limit) {
        return 0;
    }
    /* Negated in unsigned arithmetic: the smallest value has no positive twin. */
    uint64_t bits = number->is_negative ? 0 - number->magnitude : number->magnitude;
    memcpy(value, &bits, sizeof bits);
    return 1;
}

int sluice_number_to_uint64(const struct sluice_number *number, uint64_t *value)
{
    if (!number->is_whole || number->is_negative) {
        return 0;
    }
    *value = number->magnitude;
    return 1;
}

int sluice_number_to_int32(const struct sluice_number *number, int32_t *value)
{
    int64_t wide;
    if (!sluice_number_to_int64(number, &wide) || wide < INT32_MIN || wide > INT32_MAX) {
        return 0;
    }
    *value = (int32_t)wide;
    return 1;
}

int sluice_number_to_uint32(const struct sluice_number *number, uint32_t *value)
{
    if (!number->is_whole || number->is_negative || number->magnitude > UINT32_MAX) {
        return 0;
    }
    *value = (uint32_t)number->magnitude;
    return 1;
}

static size_t write_digits(uint64_t value, char *text)
{
    char digits[SLUICE_NUMBER_SIZE];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (size_t i = 0; i < count; i++) {
        text[i] = digits[count - 1 - i];
    }
    text[count] = '\0';
    return count;
}

size_t sluice_number_write_uint64(uint64_t value, char text[SLUICE_NUMBER_SIZE])
{
    return write_digits(value, text);
}

size_t sluice_number_write_int64(int64_t value, char text[SLUICE_NUMBER_SIZE])
{
    if (value >= 0) {
        return write_digits((uint64_t)value, text);
    }
    text[0] = '-';
    return 1 + write_digits(0 - (uint64_t)value, text + 1);
}

/* Write `digits` with the last `decimals` of them behind a point. */
static size_t write_decimals(uint64_t digits, unsigned decimals, int is_negative,
                             char text[SLUICE_NUMBER_SIZE])
{
    char plain[SLUICE_NUMBER_SIZE];
    size_t count = write_digits(digits, plain);
    size_t at = 0;
    if (is_negative) {
        text[at++] = '-';
    }
    if (count <= decimals) {
        text[at++] = '0';
        text[at++] = '.';
        for (size_t i = count; i < decimals; i++) {
            text[at++] = '0';
        }
        memcpy(text + at, plain, count + 1);
        return at + count;
    }
    memcpy(text + at, plain, count - decimals);
    at += count - decimals;
    if (decimals > 0) {
        text[at++] = '.';
        memcpy(text + at, plain + count - decimals, decimals);
        at += decimals;
    }
    text[at] = '\0';
    return at;
}

/* Does the text that stands for digits / 10^decimals read back as the value? */
static int is_same(uint64_t digits, unsigned decimals, double value, int is_float)
{
    double read = (double)digits / powers[decimals];
    return is_float ? (float)read == (float)value : read == value;
}

/* Replace whatever the locale uses as a point. */
static size_t fix_point(char *text, size_t len)
{
    size_t to = 0;
    int has_point = 0;
    for (size_t i = 0; i < len; i++) {
        int is_plain = (text[i] >= '0' && text[i] <= '9') || text[i] == '-' || text[i] == '+' ||
                       text[i] == 'e';
        if (is_plain) {
            text[to++] = text[i];
        } else if (!has_point) {
            text[to++] = '.';
            has_point = 1;
        }
    }
    text[to] = '\0';
    return to;
}

static size_t write_real(double value, int is_float, char text[SLUICE_NUMBER_SIZE])
{
    if (!isfinite(value)) {
        const char *name = isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
        return (size_t)snprintf(text, SLUICE_NUMBER_SIZE, "%s", name);
    }
    double size = fabs(value);
    int is_negative = signbit(value) != 0;
    /* Most scores and prices have few decimals, and the search below would cost a printf and a
     * strtod for each try. */
    for (unsigned decimals = 0; decimals <= DECIMALS_FAST; decimals++) {
        double scaled = size * powers[decimals];
        if (scaled >= EXACT_MAX / 8) {
            break;
        }
        uint64_t digits = (uint64_t)(scaled + 0.5);
        if (is_same(digits, decimals, size, is_float)) {
            return write_decimals(digits, decimals, is_negative, text);
        }
    }
    int first = is_float ? 6 : (int)EXACT_DIGITS;
    int last = is_float ? 9 : 17;
    size_t len = 0;
    for (int digits = first; digits <= last; digits++) {
        int written = snprintf(text, SLUICE_NUMBER_SIZE, "%.*g", digits, value);
        len = fix_point(text, written < 0 ? 0 : (size_t)written);
        double read = slow_double(text, len);
        if (is_float ? (float)read == (float)value : read == value) {
            break;
        }
    }
    return len;
}

size_t sluice_number_write_double(double value, char text[SLUICE_NUMBER_SIZE])
{
    return write_real(value, 0, text);
}

size_t sluice_number_write_float(float value, char text[SLUICE_NUMBER_SIZE])
{
    return write_real((double)value, 1, text);
}
