/* SPDX-License-Identifier: Apache-2.0 */
#include "run/refusals.h"

#include "run/log.h"
#include <stdio.h>
#include <string.h>

/* Where the line for `text` is noted; SLUICE_REFUSALS_MAX: none is due. */
static uint32_t find_due(const struct sluice_refusals *r, const char *text, int64_t now_ms)
{
    uint32_t due = SLUICE_REFUSALS_MAX;
    for (uint32_t i = 0; i < SLUICE_REFUSALS_MAX; i++) {
        int is_due =
            r->told[i].text[0] == '\0' || now_ms - r->told[i].told_ms >= SLUICE_REFUSALS_MINUTE_MS;
        if (strcmp(r->told[i].text, text) == 0) {
            return is_due ? i : SLUICE_REFUSALS_MAX;
        }
        due = is_due && due == SLUICE_REFUSALS_MAX ? i : due;
    }
    return due;
}

/* Note that `text` is told now; 0: it is not due, and counted for the next line. */
static int note(struct sluice_refusals *r, const char *text, int64_t now_ms)
{
    char kept[SLUICE_REFUSALS_TEXT_SIZE];
    (void)snprintf(kept, sizeof kept, "%s", text);
    uint32_t i = find_due(r, kept, now_ms);
    if (i == SLUICE_REFUSALS_MAX) {
        r->untold++;
        return 0;
    }
    memcpy(r->told[i].text, kept, sizeof kept);
    r->told[i].told_ms = now_ms;
    return 1;
}

void sluice_refusals_tell(struct sluice_refusals *r, const char *link, const char *text,
                          int64_t now_ms)
{
    const char *words = text == NULL || text[0] == '\0' ? "denied" : text;
    (void)snprintf(r->last, sizeof r->last, "%s", words);
    r->last_ms = now_ms;
    if (note(r, words, now_ms)) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "nats.refused", words, SLUICE_F_TEXT("link", link),
                   SLUICE_F_COUNTED("untold", r->untold));
        r->untold = 0;
    }
}

const char *sluice_refusals_current(const struct sluice_refusals *r, int64_t now_ms)
{
    return r->last[0] != '\0' && now_ms - r->last_ms <= SLUICE_REFUSALS_CURRENT_MS ? r->last : NULL;
}

void sluice_refusals_forget(struct sluice_refusals *r)
{
    r->last[0] = '\0';
}

void sluice_refusals_tell_unheard(struct sluice_refusals *r, const char *subject,
                                  const char *stream, int64_t now_ms)
{
    if (note(r, subject, now_ms)) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "publish.no_stream",
                   "no stream takes the subject; it is tried again until the publish timeout",
                   SLUICE_F_TEXT("subject", subject), SLUICE_F_KNOWN("stream", stream),
                   SLUICE_F_COUNTED("untold", r->untold));
        r->untold = 0;
    }
}
