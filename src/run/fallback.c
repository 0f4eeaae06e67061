/* SPDX-License-Identifier: Apache-2.0 */
#include "run/fallback.h"

#include "codec/fixed.h"
#include "run/option_box.h"
#include <string.h>

void fallback_write(const struct sluice_journal_key *key, char text[FALLBACK_SIZE])
{
    struct sluice_fixed f = sluice_fixed_in(text, FALLBACK_SIZE);
    sluice_fixed_add(&f, key->stream, strnlen(key->stream, FALLBACK_STREAM_SIZE - 1));
    sluice_fixed_text(&f, ":");
    sluice_fixed_uint64(&f, key->sequence);
    sluice_fixed_text(&f, ":");
    sluice_fixed_int64(&f, key->stored_unix_ns);
}

/* Digits up to `end`: what follows them, or NULL when there are none, or too many. */
static const char *read_number(const char *at, char end, uint64_t max, uint64_t *out)
{
    const char *begin = at;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (max - digit) / 10) {
            return NULL;
        }
        value = value * 10 + digit;
    }
    int is_written_so = at > begin && *begin != '0' && *at == end;
    *out = value;
    return is_written_so ? at + 1 : NULL;
}

int fallback_read(const char *text, char stream[FALLBACK_STREAM_SIZE],
                  struct sluice_journal_key *key)
{
    size_t len = strcspn(text, ":");
    uint64_t sequence, stored;
    if (len >= FALLBACK_STREAM_SIZE || text[len] == '\0') {
        return 0;
    }
    memcpy(stream, text, len);
    stream[len] = '\0';
    const char *at = read_number(text + len + 1, ':', UINT64_MAX, &sequence);
    if (at == NULL || read_number(at, '\0', INT64_MAX, &stored) == NULL ||
        !option_is_name(stream)) {
        return 0;
    }
    *key = (struct sluice_journal_key){stream, sequence, (int64_t)stored};
    return 1;
}
