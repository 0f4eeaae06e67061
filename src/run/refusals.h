/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines about what the NATS server denies or has no stream for: the same text at most once a
 * minute, and not more than SLUICE_REFUSALS_MAX texts in a minute, since the subject may differ for
 * each message. */
#ifndef SLUICE_RUN_REFUSALS_H
#define SLUICE_RUN_REFUSALS_H

#include <stdint.h>

#define SLUICE_REFUSALS_MAX       8u
#define SLUICE_REFUSALS_TEXT_SIZE 384u
#define SLUICE_REFUSALS_MINUTE_MS 60000
/* A denied publish comes again with its message: after the longest delay of a NAK (60 s by default,
 * with jitter) and the publish timeout. A denied pull is tried again within seconds. */
#define SLUICE_REFUSALS_CURRENT_MS 120000

/* Of one link; zeroed at first. One thread. */
struct sluice_refusals {
    struct {
        char text[SLUICE_REFUSALS_TEXT_SIZE]; /* "": free */
        int64_t told_ms;
    } told[SLUICE_REFUSALS_MAX];
    uint32_t untold;                      /* since the last line */
    char last[SLUICE_REFUSALS_TEXT_SIZE]; /* "": none since the connection */
    int64_t last_ms;
};

/* Write the line `nats.refused`, or count it for the next one. `link` is what the others of this
 * connection say. */
void sluice_refusals_tell(struct sluice_refusals *r, const char *link, const char *text,
                          int64_t now_ms);
/* What was denied last, if that is not longer ago than SLUICE_REFUSALS_CURRENT_MS; else NULL. */
const char *sluice_refusals_current(const struct sluice_refusals *r, int64_t now_ms);
/* The connection is a new one, perhaps with other permissions. */
void sluice_refusals_forget(struct sluice_refusals *r);
/* Write the line `publish.no_stream`: no stream takes `subject`. `stream` is the one that should;
 * NULL: not known. For a struct of its own. */
void sluice_refusals_tell_unheard(struct sluice_refusals *r, const char *subject,
                                  const char *stream, int64_t now_ms);

#endif
