/* SPDX-License-Identifier: Apache-2.0 */
/* The words around a message: header lines, subjects, names of streams, consumers and buckets. All
 * borrowed, any thread. */
#ifndef SLUICE_CODEC_HEADER_H
#define SLUICE_CODEC_HEADER_H

#include "sluice/worker.h"

#define SLUICE_HEADER_NAME_MAX 256u /* bytes of a header's name */
#define SLUICE_SUBJECT_MAX     512u /* bytes of a subject or pattern */
#define SLUICE_STREAM_NAME_MAX 255u /* bytes of a stream's, consumer's or bucket's name */

/* The index-th value of a header, counted from 0 among the lines whose name is exactly this; when
 * there is no such line at all, among those that differ in ASCII case only. NULL when absent. */
const char *sluice_header_find(const sluice_header *headers, uint32_t count, const char *name,
                               uint32_t index);

/* 1 when it is there and can be sent: a name is printable ASCII without space and colon; a value
 * holds no CR and no LF, so that nothing can be smuggled in behind it. NULL: 0. */
int sluice_header_name_is_valid(const char *name);
int sluice_header_value_is_valid(const char *value);

/* 1 when NATS carries the header as it is: of others' headers more than of ours. */
int sluice_header_is_carried(const char *name, const char *value);

/* 1 when it is 1 to `max` bytes of UTF-8 without control characters: what may go on as an identity
 * or a trace, to NATS and to HTTP. NULL: 0. */
int sluice_header_text_is_valid(const char *text, size_t max);

/* To publish to: tokens between dots, none empty, no white space or control character, no wildcard.
 */
int sluice_subject_is_valid(const char *subject);
/* To subscribe with: as above, and a token may be `*`, the last one `>`. */
int sluice_subject_pattern_is_valid(const char *pattern);
/* Both valid: is the subject one of the pattern's? */
int sluice_subject_matches(const char *pattern, const char *subject);

/* [A-Za-z0-9_-]+ */
int sluice_bucket_name_is_valid(const char *name);

#endif
