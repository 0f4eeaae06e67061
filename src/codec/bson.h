/* SPDX-License-Identifier: Apache-2.0 */
/* Messages ↔ BSON documents, by descriptor and without libbson, which aborts the process when
 * memory runs out. Pure, any thread.
 *
 * Names are those of the .proto file. int32, sint32, sfixed32: int32. All other whole numbers:
 * int64, but an unsigned one beyond it is a string of decimal digits. float and double: double.
 * Enums: a string, their name (int32 when a number has none). bytes: binary. Lists: array. Messages
 * and maps: document. What is not set is written as its default, except messages and members of
 * oneofs.
 *
 * A map's key becomes a field name, which queries take apart at dots and which must not start with
 * a dollar. So that every key is stored and comes back: '%' is written %25, '.' is %2E, a '$' at
 * the beginning is %24, the empty key is a single '%'. */
#ifndef SLUICE_CODEC_BSON_H
#define SLUICE_CODEC_BSON_H

#include "codec/limits.h"
#include "codec/protobuf.h"
#include "core/arena.h"
#include "core/err.h"
#include <protobuf-c/protobuf-c.h>

#define SLUICE_BSON_SIZE_MAX (16u * 1024u * 1024u) /* of a document, as the server has it */

/* One document without _id, read through the message's own descriptor, in the arena. Errors:
 * SLUICE_ERR_VALIDATION with the field's path (NULL in a list, invalid UTF-8, an outermost field
 * called _id); SLUICE_ERR_TOO_LARGE (depth, size); SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_proto_to_bson(const ProtobufCMessage *message, struct sluice_arena *arena,
                               sluice_bytes *document, struct sluice_err *err);

/* Read foreign bytes as a message of the type, in the arena. Members that the type does not have
 * (_id among them) are skipped; null and undefined mean "not set". Numbers are taken from int32,
 * int64, double (whole and in range where the field is) and decimal strings, int64 from a date (its
 * milliseconds), text from an object id (its digits), enums from name and number. Errors:
 * SLUICE_ERR_DECODE with path and offset (cut, lengths that contradict each other, invalid UTF-8);
 * SLUICE_ERR_VALIDATION with the path (a value that does not fit); SLUICE_ERR_TOO_LARGE (limits,
 * NULL: the default ones with SLUICE_BSON_SIZE_MAX); SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_bson_read(const ProtobufCMessageDescriptor *type, sluice_bytes document,
                           const struct sluice_limits *limits, struct sluice_arena *arena,
                           ProtobufCMessage **message, struct sluice_err *err);
/* The same with the default limits. */
SLUICE_MUST_CHECK
sluice_rc sluice_bson_to_proto(const ProtobufCMessageDescriptor *type, sluice_bytes document,
                               struct sluice_arena *arena, ProtobufCMessage **message,
                               struct sluice_err *err);

#endif
