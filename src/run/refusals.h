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

/* Of one link; zeroed at first. One thread. */
struct sluice_refusals {
    struct {
        char text[SLUICE_REFUSALS_TEXT_SIZE]; /* "": free */
        int64_t told_ms;
    } told[SLUICE_REFUSALS_MAX];
    uint32_t untold; /* since the last line */
};

/* Write the line `nats.refused`, or count it for the next one. `link` is what the others of this
 * connection say. */
void sluice_refusals_tell(struct sluice_refusals *r, const char *link, const char *text,
                          int64_t now_ms);
/* Write the line `publish.no_stream`: no stream takes `subject`. `stream` is the one that should;
 * NULL: not known. For a struct of its own. */
void sluice_refusals_tell_unheard(struct sluice_refusals *r, const char *subject,
                                  const char *stream, int64_t now_ms);

#endif
