/* SPDX-License-Identifier: Apache-2.0 */
/* Messages ↔ JSON, by descriptor: ProtoJSON as other tools speak it, plain documents as a store
 * keeps them, and answers of a language model, which are taken for nothing that they are not.
 * Pure, any thread.
 *
 * Well-known types (Timestamp, Struct …) have no special form: they are messages like others. A
 * json_name of the .proto file is not in the descriptor and therefore not known. Fields that the
 * type does not have (unknown fields of the wire) are not written. */
#ifndef SLUICE_CODEC_PROTO_JSON_H
#define SLUICE_CODEC_PROTO_JSON_H

#include "codec/json_text.h"
#include "codec/limits.h"
#include "codec/protobuf.h"
#include "core/arena.h"
#include "core/err.h"
#include <protobuf-c/protobuf-c.h>

enum {
    /* Writing. 0 is ProtoJSON: lowerCamelCase, 64-bit integers as strings, defaults left out. */
    SLUICE_JSON_PROTO_NAMES = 1, /* names as in the .proto file */
    SLUICE_JSON_DEFAULTS = 2,    /* also what is not set, but for messages and members of oneofs */
    SLUICE_JSON_NUMBERS = 4,     /* 64-bit integers as numbers */
    SLUICE_JSON_DOCUMENT = SLUICE_JSON_PROTO_NAMES | SLUICE_JSON_DEFAULTS | SLUICE_JSON_NUMBERS,

    /* Reading. 0: an unknown field is an error. */
    SLUICE_JSON_IGNORE_UNKNOWN = 16,
    /* An answer as its schema (codec/schema.h) asks for it: every field is there, none is unknown;
     * null only for members of oneofs; numbers are numbers, enums are names, never the
     * placeholder. Stronger than IGNORE_UNKNOWN. */
    SLUICE_JSON_STRICT = 32
};

/* Write a message, read through its own descriptor, into the arena (a NUL behind the text). Bytes
 * are base64, enums their name (their number when it has none), NaN and infinities strings; a map
 * is an object, and of entries with the same key the last one counts. Errors:
 * SLUICE_ERR_VALIDATION with the field's path (NULL in a list, invalid UTF-8);
 * SLUICE_ERR_TOO_LARGE (depth, or over size_max bytes; 0: SLUICE_MESSAGE_SIZE_MAX);
 * SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_proto_write_json(const ProtobufCMessage *message, unsigned flags, size_t size_max,
                                  struct sluice_arena *arena, sluice_bytes *text,
                                  struct sluice_err *err);

/* Check foreign text as sluice_json_check does, then read it as a message of the type, into the
 * arena. Both spellings of names are taken, whole numbers of all widths as number or string, enums
 * as name or number, base64 of both alphabets, null as "not set". Every number must be in its
 * type's range. Errors: SLUICE_ERR_DECODE (no JSON, with the offset); SLUICE_ERR_VALIDATION with
 * the path, e.g. "items[2].score: expected number, got string"; SLUICE_ERR_TOO_LARGE (limits);
 * SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_proto_read_json(const ProtobufCMessageDescriptor *type, sluice_bytes text,
                                 unsigned flags, const struct sluice_limits *limits,
                                 struct sluice_arena *arena, ProtobufCMessage **message,
                                 struct sluice_err *err);

/* The two ways in which they are mostly used: a document for a store, and reading with the default
 * limits. */
SLUICE_MUST_CHECK
sluice_rc sluice_proto_to_doc_json(const ProtobufCMessage *message, struct sluice_arena *arena,
                                   sluice_bytes *text, struct sluice_err *err);
SLUICE_MUST_CHECK
sluice_rc sluice_proto_from_json(const ProtobufCMessageDescriptor *type, sluice_bytes text,
                                 unsigned flags, struct sluice_arena *arena,
                                 ProtobufCMessage **message, struct sluice_err *err);

#endif
