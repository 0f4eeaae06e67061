/* SPDX-License-Identifier: Apache-2.0 */
/* What a language model is told about the answer that is wanted: the JSON Schema of a message type,
 * in the subset that strict structured output knows. Pure, any thread. */
#ifndef SLUICE_CODEC_SCHEMA_H
#define SLUICE_CODEC_SCHEMA_H

#include "core/arena.h"
#include "core/err.h"
#include <protobuf-c/protobuf-c.h>

#define SLUICE_SCHEMA_DEPTH_MAX      10u   /* objects inside each other: what servers accept */
#define SLUICE_SCHEMA_PROPERTIES_MAX 5000u /* of all objects together */

/* The schema as compact text in the arena, a NUL behind it; the same type gives the same bytes.
 * Every object lists its fields under their names in the .proto file, all of them required, none
 * further allowed. A oneof's members may be null (at most one of them may be anything else, which
 * the schema cannot say and the reader checks); an enum is the list of its names without the
 * …_UNSPECIFIED one; bytes are a base64 string. Maps and types that contain themselves cannot be
 * expressed: SLUICE_ERR_UNSUPPORTED naming the field's path. SLUICE_ERR_TOO_LARGE over a bound;
 * SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_schema_build(const ProtobufCMessageDescriptor *type, struct sluice_arena *arena,
                              const char **text, struct sluice_err *err);

#endif
