/* SPDX-License-Identifier: Apache-2.0 */
/* A map field, which on the wire and in memory is a list of entries, as the map that it means. */
#ifndef SLUICE_CODEC_MAP_H
#define SLUICE_CODEC_MAP_H

#include "codec/number.h"
#include "core/arena.h"
#include "core/err.h"
#include <protobuf-c/protobuf-c.h>

/* The entries, in their order; where a key comes twice only the last of them, as the rule for maps
 * is. `entries` is borrowed from the message or lives in the arena. Errors: SLUICE_ERR_VALIDATION
 * (an entry is NULL), SLUICE_ERR_NOMEM; without a text. */
SLUICE_MUST_CHECK
sluice_rc sluice_map_entries(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *map,
                             struct sluice_arena *arena, const ProtobufCMessage *const **entries,
                             size_t *count);

/* The entry's key as text: itself, decimal digits, true or false. May use `scratch`. */
const char *sluice_map_key_text(const ProtobufCMessage *entry, char scratch[SLUICE_NUMBER_SIZE]);

/* The message that is an entry's value, which the wire may leave out: then an empty one, made in
 * the arena. NULL when memory ran out. `value` is of a message type. */
const ProtobufCMessage *sluice_map_value_message(const ProtobufCMessage *entry,
                                                 const ProtobufCFieldDescriptor *value,
                                                 struct sluice_arena *arena);

#endif
