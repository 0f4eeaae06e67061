/* SPDX-License-Identifier: Apache-2.0 */
/* A field of a message, seen through its descriptor alone: the layout of generated structs is known
 * nowhere else. All borrowed, any thread. */
#ifndef SLUICE_CODEC_FIELD_H
#define SLUICE_CODEC_FIELD_H

#include "codec/path.h"
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of one element in a list; 0 for a type that does not exist. */
static inline size_t sluice_field_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    default:
        return 0;
    }
}

/* The member itself: a scalar, a char *, a ProtobufCBinaryData, a ProtobufCMessage *, or of a list
 * the pointer to its first element. */
static inline void *sluice_field_member(const ProtobufCMessage *message,
                                        const ProtobufCFieldDescriptor *field)
{
    return (char *)(uintptr_t)message + field->offset;
}

/* Number of elements (lists), has_x (optional) or the case (oneof). */
static inline void *sluice_field_quantifier(const ProtobufCMessage *message,
                                            const ProtobufCFieldDescriptor *field)
{
    return (char *)(uintptr_t)message + field->quantifier_offset;
}

static inline int sluice_field_is_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

static inline int sluice_field_is_list(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED;
}

static inline size_t sluice_field_count(const ProtobufCMessage *message,
                                        const ProtobufCFieldDescriptor *field)
{
    size_t count;
    memcpy(&count, sluice_field_quantifier(message, field), sizeof count);
    return count;
}

/* The first element of a list; NULL when there is none. */
static inline const char *sluice_field_elements(const ProtobufCMessage *message,
                                                const ProtobufCFieldDescriptor *field)
{
    const char *elements;
    memcpy(&elements, sluice_field_member(message, field), sizeof elements);
    return elements;
}

static inline const ProtobufCMessage *sluice_field_message(const void *member)
{
    const ProtobufCMessage *message;
    memcpy(&message, member, sizeof message);
    return message;
}

/* Never NULL: a text that is not set reads as "". */
static inline const char *sluice_field_text(const void *member)
{
    const char *text;
    memcpy(&text, member, sizeof text);
    return text == NULL ? "" : text;
}

/* Whether a value is its type's default: an element, or a field taken by itself. */
int sluice_field_is_zero(const ProtobufCFieldDescriptor *field, const void *member);

/* Whether a field that is no list is there: the rule by which protobuf-c puts it on the wire. */
int sluice_field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/* Whether it can be absent visibly (member of a oneof, proto2's optional), so that a reader may
 * take null for it. */
int sluice_field_is_nullable(const ProtobufCFieldDescriptor *field);

/* Whether the list is a map: its type is the entry that the compiler derives from the field's name,
 * <message>.<FieldName>Entry with key = 1 and value = 2. The descriptor has no flag for it. */
int sluice_field_is_map(const ProtobufCMessageDescriptor *of,
                        const ProtobufCFieldDescriptor *field);

/* Key and value of a map's entry type. */
static inline const ProtobufCFieldDescriptor *
sluice_field_map_part(const ProtobufCFieldDescriptor *map, unsigned part)
{
    return ((const ProtobufCMessageDescriptor *)map->descriptor)->fields + part;
}

/* The field with exactly this name; NULL when there is none. */
const ProtobufCFieldDescriptor *sluice_field_by_name(const ProtobufCMessageDescriptor *of,
                                                     const char *name, size_t len);

/* As above, or the field whose lowerCamelCase name it is. */
const ProtobufCFieldDescriptor *sluice_field_by_json_name(const ProtobufCMessageDescriptor *of,
                                                          const char *name, size_t len);

/* NULL when the number has no name. */
const ProtobufCEnumValue *sluice_field_enum_value(const ProtobufCFieldDescriptor *field,
                                                  int32_t number);
/* By any of its names; NULL when there is none. */
const ProtobufCEnumValue *sluice_field_enum_named(const ProtobufCFieldDescriptor *field,
                                                  const char *name, size_t len);

/* Whether the number is an enum's placeholder: zero, called …_UNSPECIFIED, and not the only one. */
int sluice_field_enum_is_placeholder(const ProtobufCEnumDescriptor *type,
                                     const ProtobufCEnumValue *value);

/* "int32", "message" … as written in a .proto file. Static text. */
const char *sluice_field_type_name(ProtobufCType type);

/* Whether a pointer that came from a plug-in is a message at all. */
static inline int sluice_field_is_message(const ProtobufCMessage *message)
{
    return message != NULL && message->descriptor != NULL &&
           message->descriptor->magic == PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC;
}

/* Before the fields of a message: is it one, and not nested deeper than SLUICE_MESSAGE_DEPTH_MAX?
 * `*depth` counts it then. ERR_VALIDATION, ERR_TOO_LARGE. */
SLUICE_MUST_CHECK
sluice_rc sluice_field_enter(const ProtobufCMessage *message, const struct sluice_path *at,
                             uint32_t *depth, struct sluice_err *err);

#endif
