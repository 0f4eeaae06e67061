/* SPDX-License-Identifier: Apache-2.0 */
/* A message being filled from another encoding: what readers of JSON and BSON have in common. */
#ifndef SLUICE_CODEC_BUILDER_H
#define SLUICE_CODEC_BUILDER_H

#include "codec/limits.h"
#include "codec/number.h"
#include <protobuf-c/protobuf-c.h>

#define SLUICE_BUILDER_FIELDS 128u /* of a type, tracked without memory of its own */

struct sluice_builder {
    struct sluice_budget *budget;
    ProtobufCMessage *message;
    uint64_t *seen; /* bit n: the n-th field came */
    uint64_t seen_here[SLUICE_BUILDER_FIELDS / 64];
};

/* An initialised message of the type, nothing seen. 0 when memory ran out. */
int sluice_builder_init(struct sluice_builder *b, const ProtobufCMessageDescriptor *type,
                        struct sluice_budget *budget);

/* Note that the field came; 0 when it had come before. */
int sluice_builder_note(struct sluice_builder *b, const ProtobufCFieldDescriptor *field);
int sluice_builder_has(const struct sluice_builder *b, const ProtobufCFieldDescriptor *field);

/* Where the value of a field that is no list goes, the field marked as present; NULL when another
 * member of its oneof is. */
void *sluice_builder_place(struct sluice_builder *b, const ProtobufCFieldDescriptor *field);

/* Elements of a list on their way. */
struct sluice_builder_list {
    char *elements;
    size_t count, size;
};

/* Where the next element goes, zeroed; NULL when memory ran out. */
void *sluice_builder_add(struct sluice_builder *b, struct sluice_builder_list *list,
                         const ProtobufCFieldDescriptor *field);
/* Hand the elements over to the message. */
void sluice_builder_set_list(struct sluice_builder *b, const ProtobufCFieldDescriptor *field,
                             const struct sluice_builder_list *list);

/* An entry of a map: `entry` is the builder of its message, added to the list. 0 when memory ran
 * out. */
int sluice_builder_add_entry(struct sluice_builder *b, struct sluice_builder_list *list,
                             const ProtobufCFieldDescriptor *map, struct sluice_builder *entry);
/* Set the entry's key from its text. 0 when the text is no value of the key's type; negative when
 * memory ran out. */
int sluice_builder_set_key(struct sluice_builder *entry, const char *text, size_t len);

/* Copy text or bytes into the message's memory; 0 when it ran out. */
int sluice_builder_set_text(struct sluice_builder *b, void *place, const char *text, size_t len);
int sluice_builder_set_bytes(struct sluice_builder *b, void *place, const void *data, size_t len);

/* Store a number as the field's type (any number type or an enum); 0 when it is not in the type's
 * range or not whole though it must be. */
int sluice_builder_set_number(const ProtobufCFieldDescriptor *field, void *place,
                              const struct sluice_number *number);

#endif
