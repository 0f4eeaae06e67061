/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/retry_after.h"

#include <stddef.h>
#include <string.h>

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_spaces(const char *p)
{
    while (*p == ' ' || *p == '\t') {
        p++;
    }
    return p;
}

static int64_t clamp_ms(int64_t ms)
{
    if (ms < 0) {
        return 0;
    }
    return ms > SLUICE_RETRY_AFTER_MS_MAX ? SLUICE_RETRY_AFTER_MS_MAX : ms;
}

/* A decimal number with up to three digits behind the point that count, in thousandths. Saturates
 * instead of overflowing. Returns the first byte behind it, NULL when there is no digit. */
static const char *read_thousandths(const char *p, int64_t *thousandths)
{
    if (!is_digit(*p)) {
        return NULL;
    }
    const int64_t limit = INT64_C(1000000000000000); /* leaves room for × 3,600 (hours) */
    int64_t value = 0;
    for (; is_digit(*p); p++) {
        value = value * 10 + (*p - '0');
        if (value > limit / 1000) {
            value = limit / 1000;
        }
    }
    value *= 1000;
    if (*p == '.') {
        int64_t weight = 100;
        for (p++; is_digit(*p); p++) {
            value += weight * (*p - '0');
            weight /= 10;
        }
    }
    *thousandths = value;
    return p;
}

int sluice_retry_seconds(const char *text, int64_t *ms)
{
    int64_t value;
    const char *p = read_thousandths(skip_spaces(text), &value);
    if (p == NULL || *skip_spaces(p) != '\0') {
        return 0;
    }
    *ms = clamp_ms(value);
    return 1;
}

/* Milliseconds of one unit; advances over its letters. 0: no unit. */
static int64_t read_unit(const char **text)
{
    const char *p = *text;
    if (p[0] == 'm' && p[1] == 's') {
        *text = p + 2;
        return 1;
    }
    *text = p + 1;
    switch (*p) {
    case 's':
        return 1000;
    case 'm':
        return INT64_C(60000);
    case 'h':
        return INT64_C(3600000);
    case 'd':
        return INT64_C(86400000);
    default:
        *text = p;
        return 0;
    }
}

/* A number without a unit: seconds, or a point in time when no delay can be meant. */
static int64_t bare_number_ms(int64_t thousandths, int64_t now_unix_ms)
{
    int64_t number = thousandths / 1000;
    if (number >= INT64_C(100000000000)) { /* from 1973 on in milliseconds, 5138 in seconds */
        return number - now_unix_ms;
    }
    if (number >= INT64_C(1000000000)) { /* from 2001 on in seconds, 31 years as a delay */
        return thousandths - now_unix_ms;
    }
    return thousandths;
}

int sluice_retry_duration(const char *text, int64_t now_unix_ms, int64_t *ms)
{
    const char *p = skip_spaces(text);
    int64_t total = 0;
    int parts = 0;
    while (is_digit(*p)) {
        int64_t thousandths = 0;
        p = read_thousandths(p, &thousandths);
        int64_t unit = read_unit(&p);
        if (unit == 0) {
            if (parts != 0 || *skip_spaces(p) != '\0') {
                return 0;
            }
            *ms = clamp_ms(bare_number_ms(thousandths, now_unix_ms));
            return 1;
        }
        if (thousandths >
            INT64_C(1000000000)) { /* over any limit in each unit, no overflow below */
            thousandths = INT64_C(1000000000);
            unit = INT64_C(86400000);
        }
        total = clamp_ms(total + thousandths * unit / 1000);
        parts++;
    }
    if (parts == 0 || *skip_spaces(p) != '\0') {
        return 0;
    }
    *ms = total;
    return 1;
}

struct date {
    int year, month, day, hour, minute, second;
};

/* The readers below return the first byte behind what they read, NULL when it is not there, and
 * pass a NULL on. */

static const char *read_text(const char *p, const char *text)
{
    size_t len = strlen(text);
    return p != NULL && strncmp(p, text, len) == 0 ? p + len : NULL;
}

/* Exactly `count` digits (the first of two may be a space: the asctime form pads so). */
static const char *read_digits(const char *p, int count, int *value)
{
    int v = 0;
    for (int i = 0; p != NULL && i < count; i++) {
        char c = p[i] == ' ' && i == 0 && count == 2 ? '0' : p[i];
        if (!is_digit(c)) {
            return NULL;
        }
        v = v * 10 + (c - '0');
    }
    *value = v;
    return p == NULL ? NULL : p + count;
}

static const char *read_month(const char *p, int *month)
{
    static const char names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (int i = 0; p != NULL && i < 12; i++) {
        if (strncmp(p, names[i], 3) == 0) {
            *month = i + 1;
            return p + 3;
        }
    }
    return NULL;
}

static const char *read_clock(const char *p, struct date *d)
{
    p = read_digits(p, 2, &d->hour);
    p = read_digits(read_text(p, ":"), 2, &d->minute);
    return read_digits(read_text(p, ":"), 2, &d->second);
}

/* ", 06 Nov 1994 08:49:37 GMT" behind "Sun", ", 06-Nov-94 08:49:37 GMT" behind "Sunday". */
static const char *read_http_form(const char *p, int is_old, struct date *d)
{
    const char *separator = is_old ? "-" : " ";
    p = read_digits(read_text(p, ", "), 2, &d->day);
    p = read_month(read_text(p, separator), &d->month);
    p = read_digits(read_text(p, separator), is_old ? 2 : 4, &d->year);
    if (is_old) {
        d->year += d->year < 70 ? 2000 : 1900;
    }
    return read_text(read_clock(read_text(p, " "), d), " GMT");
}

/* " Nov  6 08:49:37 1994" behind "Sun". */
static const char *read_asctime_form(const char *p, struct date *d)
{
    p = read_month(read_text(p, " "), &d->month);
    p = read_digits(read_text(p, " "), 2, &d->day);
    p = read_clock(read_text(p, " "), d);
    return read_digits(read_text(p, " "), 4, &d->year);
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (years from March on, so that the leap
 * day is a year's last). */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int sluice_retry_date(const char *text, int64_t *unix_ms)
{
    struct date d = {0};
    const char *p = skip_spaces(text);
    size_t name_len = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (name_len < 3 || name_len > 9) {
        return 0;
    }
    p += name_len;
    p = *p == ',' ? read_http_form(p, name_len != 3, &d) : read_asctime_form(p, &d);
    if (p == NULL || *skip_spaces(p) != '\0' || d.year < 1601 || d.day < 1 || d.day > 31 ||
        d.hour > 23 || d.minute > 59 || d.second > 60) {
        return 0;
    }
    int64_t seconds = days_of(d.year, d.month, d.day) * 86400;
    seconds += d.hour * 3600 + d.minute * 60 + d.second;
    *unix_ms = seconds * 1000;
    return 1;
}

/* Milliseconds until the reset of the limit that is used up; of both, the later. Where the headers
 * do not tell which one it was, the earlier: asking once too often is cheaper than idling. */
static int64_t reset_ms(const struct sluice_retry_headers *h, int64_t now_unix_ms)
{
    const char *resets[2] = {h->reset_requests, h->reset_tokens};
    const char *remaining[2] = {h->remaining_requests, h->remaining_tokens};
    int64_t used_up = 0;
    int64_t earliest = 0;
    for (int i = 0; i < 2; i++) {
        int64_t ms = 0;
        if (resets[i] == NULL || !sluice_retry_duration(resets[i], now_unix_ms, &ms) || ms == 0) {
            continue;
        }
        int64_t left = 0;
        int is_known = remaining[i] != NULL && sluice_retry_seconds(remaining[i], &left);
        if (is_known && left == 0 && ms > used_up) {
            used_up = ms;
        }
        if (earliest == 0 || ms < earliest) {
            earliest = ms;
        }
    }
    return used_up != 0 ? used_up : earliest;
}

int64_t sluice_retry_after_ms(const struct sluice_retry_headers *headers, int64_t now_unix_ms)
{
    int64_t thousandths = 0;
    if (headers->retry_after_ms != NULL) {
        const char *p = read_thousandths(skip_spaces(headers->retry_after_ms), &thousandths);
        if (p != NULL && *skip_spaces(p) == '\0') {
            return clamp_ms(thousandths / 1000);
        }
    }
    int64_t ms = 0;
    if (headers->retry_after != NULL) {
        if (sluice_retry_seconds(headers->retry_after, &ms)) {
            return ms;
        }
        int64_t then = 0;
        if (sluice_retry_date(headers->retry_after, &then)) {
            int64_t server_now = 0;
            int has_date = headers->date != NULL && sluice_retry_date(headers->date, &server_now);
            return clamp_ms(then - (has_date ? server_now : now_unix_ms));
        }
    }
    return reset_ms(headers, now_unix_ms);
}
