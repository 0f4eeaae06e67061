/* SPDX-License-Identifier: Apache-2.0 */
/* The fallback identity of a message, "stream:sequence:stored time" in nanoseconds: its key when it
 * has no other, the origin in its dead letter, and what a replay names in Sluice-Replay-Of. */
#ifndef SLUICE_RUN_FALLBACK_H
#define SLUICE_RUN_FALLBACK_H

#include "port/journal.h"

#define FALLBACK_STREAM_SIZE 65u /* a configured name and its NUL, see option_is_name */
#define FALLBACK_SIZE        (FALLBACK_STREAM_SIZE + 42u) /* two colons, two numbers of 20 bytes */

void fallback_write(const struct sluice_journal_key *key, char text[FALLBACK_SIZE]);

/* 1 when the text is exactly what fallback_write makes of a message in some stream (whose sequence
 * and time are above 0, and whose name a configuration may hold); then `key` is
 * that message, its stream's name in `stream`. Else 0, and `key` is untouched. */
int fallback_read(const char *text, char stream[FALLBACK_STREAM_SIZE],
                  struct sluice_journal_key *key);

#endif
