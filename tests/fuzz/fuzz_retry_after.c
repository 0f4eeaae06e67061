/* SPDX-License-Identifier: Apache-2.0 */
/* Seven lines: the headers of an answer; "-" is an absent one. A delay is never negative and never
 * over an hour; a date that is read and written in today's form reads the same. */
#include "adapter/retry_after.h"
#include "fuzz.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NOW INT64_C(1750000000000)

static void check_date(const char *text)
{
    int64_t ms, again;
    if (text == NULL || !sluice_retry_date(text, &ms)) {
        return;
    }
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char form[64];
    FUZZ_CHECK(ms % 1000 == 0 && gmtime_r(&seconds, &tm) != NULL);
    FUZZ_CHECK(strftime(form, sizeof form, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
    if (tm.tm_year + 1900 >= 1601 && tm.tm_year + 1900 <= 9999) {
        FUZZ_CHECK(sluice_retry_date(form, &again) && again == ms);
    }
}

static void check_parts(const char *text)
{
    int64_t ms = -1, as_duration = -1;
    if (text == NULL) {
        return;
    }
    if (sluice_retry_seconds(text, &ms)) {
        FUZZ_CHECK(ms >= 0 && ms <= SLUICE_RETRY_AFTER_MS_MAX);
        FUZZ_CHECK(sluice_retry_duration(text, NOW, &as_duration));
    }
    if (sluice_retry_duration(text, NOW, &as_duration)) {
        FUZZ_CHECK(as_duration >= 0 && as_duration <= SLUICE_RETRY_AFTER_MS_MAX);
    }
    check_date(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input_of(data, size);
    const char *lines[7];
    for (int i = 0; i < 7; i++) {
        lines[i] = fuzz_take_line(&in);
        if (lines[i] != NULL && strcmp(lines[i], "-") == 0) {
            lines[i] = NULL;
        }
        check_parts(lines[i]);
    }
    const struct sluice_retry_headers headers = {lines[0], lines[1], lines[2], lines[3],
                                                 lines[4], lines[5], lines[6]};
    int64_t ms = sluice_retry_after_ms(&headers, NOW);
    FUZZ_CHECK(ms >= 0 && ms <= SLUICE_RETRY_AFTER_MS_MAX);
    fuzz_input_fini(&in);
    return 0;
}
