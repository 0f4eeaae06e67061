/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf bytes ↔ messages. protobuf-c itself has no limit of depth, accepts strings that are no
 * text, and turns one byte into dozens: so foreign bytes are scanned by descriptor first. Pure, any
 * thread. */
#ifndef SLUICE_CODEC_PROTOBUF_H
#define SLUICE_CODEC_PROTOBUF_H

#include "codec/limits.h"
#include "core/arena.h"
#include "core/err.h"
#include <protobuf-c/protobuf-c.h>

struct sluice_pb_stats {
    uint32_t fields;  /* values seen: each occurrence, each element of a packed list */
    uint32_t unknown; /* of these, fields that the type does not have; skipped */
};

/* Is this a message of the type, within the limits (NULL: the default ones)? Nothing is allocated.
 * Checked: no cut, overlong or malformed wire data; wire types that match (packed and single for
 * lists of numbers); no groups; strings are UTF-8 without NUL; a sub-message that is no list comes
 * at most once (protobuf-c would merge a second one wrongly). `stats` may be NULL and is filled on
 * success. Errors, with the field's path and the offset: SLUICE_ERR_DECODE; SLUICE_ERR_TOO_LARGE
 * for size, depth and number of values. */
SLUICE_MUST_CHECK
sluice_rc sluice_pb_scan(const ProtobufCMessageDescriptor *type, sluice_bytes bytes,
                         const struct sluice_limits *limits, struct sluice_pb_stats *stats,
                         struct sluice_err *err);

/* Scan, then unpack into the arena; never free the message, it lives as long as the arena. Errors
 * as above, and SLUICE_ERR_TOO_LARGE when it would need more than memory_max or the arena's limit,
 * SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_pb_decode(const ProtobufCMessageDescriptor *type, sluice_bytes bytes,
                           const struct sluice_limits *limits, struct sluice_arena *arena,
                           ProtobufCMessage **message, struct sluice_err *err);

/* Would sluice_pb_encode take it? A plug-in's message, read through its own descriptor only:
 * strings are UTF-8, lists hold no NULL and no more values than the limit, messages are not nested
 * deeper than the limit (a cycle of pointers ends there). SLUICE_ERR_VALIDATION with the field's
 * path; SLUICE_ERR_TOO_LARGE (depth).
 */
SLUICE_MUST_CHECK
sluice_rc sluice_pb_check(const ProtobufCMessage *message, struct sluice_err *err);

/* Check, then pack into the arena. Errors as of the check, SLUICE_ERR_TOO_LARGE over
 * SLUICE_MESSAGE_SIZE_MAX, SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_pb_encode(const ProtobufCMessage *message, struct sluice_arena *arena,
                           sluice_bytes *bytes, struct sluice_err *err);
/* The same with a bound of the caller's. */
SLUICE_MUST_CHECK
sluice_rc sluice_pb_encode_within(const ProtobufCMessage *message, size_t size_max,
                                  struct sluice_arena *arena, sluice_bytes *bytes,
                                  struct sluice_err *err);

/* The full name of a type, e.g. "context.v1.ContextPack", and the type of a message: for those who
 * know protobuf-c's structs by name only. NULL for a pointer that is no message. */
const char *sluice_pb_type_name(const ProtobufCMessageDescriptor *type);
const ProtobufCMessageDescriptor *sluice_pb_descriptor(const ProtobufCMessage *message);

/* 0 for a pointer that is no descriptor: what a plug-in hands over. NULL: 0. */
int sluice_pb_is_type(const ProtobufCMessageDescriptor *type);

/* Whether the type has an outermost field of this name that is a string and no list. */
int sluice_pb_has_text(const ProtobufCMessageDescriptor *type, const char *name);
/* The text of such a field, borrowed; NULL when the type has no such field. A field that is not set
 * is "". */
const char *sluice_pb_field_text(const ProtobufCMessage *message, const char *name);

#endif
