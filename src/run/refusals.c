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

void sluice_refusals_tell(struct sluice_refusals *r, const char *link, const char *text,
                          int64_t now_ms)
{
    char kept[SLUICE_REFUSALS_TEXT_SIZE];
    (void)snprintf(kept, sizeof kept, "%s", text == NULL || text[0] == '\0' ? "denied" : text);
    uint32_t i = find_due(r, kept, now_ms);
    if (i == SLUICE_REFUSALS_MAX) {
        r->untold++;
        return;
    }
    SLUICE_LOG(SLUICE_LOG_WARN, WARN, "nats.refused", kept, SLUICE_F_TEXT("link", link),
               SLUICE_F_COUNTED("untold", r->untold));
    memcpy(r->told[i].text, kept, sizeof kept);
    r->told[i].told_ms = now_ms;
    r->untold = 0;
}
