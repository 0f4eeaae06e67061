/* SPDX-License-Identifier: Apache-2.0 */
/* When to come back, as an HTTP answer's headers say it. Pure: no clock, no allocation. */
#ifndef SLUICE_ADAPTER_RETRY_AFTER_H
#define SLUICE_ADAPTER_RETRY_AFTER_H

#include "sluice/worker.h"

/* A server that asks for more is taken to have asked for this: one hour. */
#define SLUICE_RETRY_AFTER_MS_MAX INT64_C(3600000)

/* Values of the headers of these names, NULL when absent. Foreign text, NUL-terminated. */
struct sluice_retry_headers {
    const char *retry_after;        /* Retry-After: seconds or an HTTP-date */
    const char *retry_after_ms;     /* retry-after-ms (Azure) */
    const char *date;               /* Date: the server's clock, for a Retry-After that is a date */
    const char *reset_requests;     /* x-ratelimit-reset-requests: "6m0s", "20ms", seconds */
    const char *reset_tokens;       /* x-ratelimit-reset-tokens */
    const char *remaining_requests; /* x-ratelimit-remaining-requests */
    const char *remaining_tokens;   /* x-ratelimit-remaining-tokens */
};

/* Milliseconds in 0…SLUICE_RETRY_AFTER_MS_MAX; 0 when the headers say nothing that can be
 * understood. The first of retry-after-ms, Retry-After, the reset of the limit that is used up
 * counts. `now_unix_ms` is the wall clock, used where a date comes without the server's own. */
int64_t sluice_retry_after_ms(const struct sluice_retry_headers *headers, int64_t now_unix_ms);

/* The parts, for tests and fuzzing. Each returns 1 and the value, or 0 for text that is none. */

/* "120", "1.5": decimal seconds, not negative, to milliseconds, at most an hour. */
int sluice_retry_seconds(const char *text, int64_t *ms);
/* "1s", "6m0s", "20ms", "1h2m", "1.5s"; a bare number is seconds, or the Unix time in seconds or
 * milliseconds when it is too large for a delay. At most an hour. */
int sluice_retry_duration(const char *text, int64_t now_unix_ms, int64_t *ms);
/* The three forms of an HTTP-date (RFC 9110 section 5.6.7), to milliseconds since 1970. */
int sluice_retry_date(const char *text, int64_t *unix_ms);

#endif
