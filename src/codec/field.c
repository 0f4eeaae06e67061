/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/field.h"

#include "codec/limits.h"

int sluice_field_is_zero(const ProtobufCFieldDescriptor *field, const void *member)
{
    ProtobufCBinaryData bytes;
    double number;
    float small;
    static const char zeros[8];
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return sluice_field_text(member)[0] == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&bytes, member, sizeof bytes);
        return bytes.len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return sluice_field_message(member) == NULL;
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&number, member, sizeof number);
        return !(number < 0 || number > 0 || number != number);
    case PROTOBUF_C_TYPE_FLOAT:
        memcpy(&small, member, sizeof small);
        return !(small < 0 || small > 0 || small != small);
    default:
        return memcmp(member, zeros, sluice_field_size(field->type)) == 0;
    }
}

int sluice_field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *member = sluice_field_member(message, field);
    int is_pointer =
        field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
    if (sluice_field_is_oneof(field)) {
        uint32_t chosen;
        memcpy(&chosen, sluice_field_quantifier(message, field), sizeof chosen);
        if (chosen != field->id) {
            return 0;
        }
    } else if (field->label == PROTOBUF_C_LABEL_NONE) {
        return !sluice_field_is_zero(field, member);
    } else if (field->label == PROTOBUF_C_LABEL_REQUIRED) {
        return field->type != PROTOBUF_C_TYPE_MESSAGE || sluice_field_message(member) != NULL;
    } else if (!is_pointer) {
        protobuf_c_boolean has;
        memcpy(&has, sluice_field_quantifier(message, field), sizeof has);
        return has != 0;
    }
    if (is_pointer) {
        const void *pointer;
        memcpy(&pointer, member, sizeof pointer);
        return pointer != NULL && pointer != field->default_value;
    }
    return 1;
}

int sluice_field_is_nullable(const ProtobufCFieldDescriptor *field)
{
    return sluice_field_is_oneof(field) || field->label == PROTOBUF_C_LABEL_OPTIONAL;
}

/* Is `entry` the CamelCase of `field` with "Entry" behind it? The rule of protoc's MapEntryName. */
static int is_entry_name(const char *entry, const char *field)
{
    int is_upper_next = 1;
    for (; *field != '\0'; field++) {
        if (*field == '_') {
            is_upper_next = 1;
            continue;
        }
        char c = *field;
        if (is_upper_next && c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        }
        if (*entry != c) {
            return 0;
        }
        entry++;
        is_upper_next = 0;
    }
    return strcmp(entry, "Entry") == 0;
}

int sluice_field_is_map(const ProtobufCMessageDescriptor *of, const ProtobufCFieldDescriptor *field)
{
    if (!sluice_field_is_list(field) || field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return 0;
    }
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    if (entry->n_fields != 2 || entry->fields[0].id != 1 || entry->fields[1].id != 2 ||
        strcmp(entry->fields[0].name, "key") != 0 || strcmp(entry->fields[1].name, "value") != 0) {
        return 0;
    }
    size_t prefix = strlen(of->name);
    return strncmp(entry->name, of->name, prefix) == 0 && entry->name[prefix] == '.' &&
           is_entry_name(entry->name + prefix + 1, field->name);
}

/* As strcmp(name, key), for a key without a NUL behind it. */
static int name_compare(const char *name, const char *key, size_t len)
{
    int order = strncmp(name, key, len);
    if (order != 0) {
        return order;
    }
    return name[len] == '\0' ? 0 : 1;
}

const ProtobufCFieldDescriptor *sluice_field_by_name(const ProtobufCMessageDescriptor *of,
                                                     const char *name, size_t len)
{
    unsigned low = 0;
    unsigned high = of->n_fields;
    if (memchr(name, '\0', len) != NULL) {
        return NULL;
    }
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const ProtobufCFieldDescriptor *field = of->fields + of->fields_sorted_by_name[middle];
        int order = name_compare(field->name, name, len);
        if (order == 0) {
            return field;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* Is `key` the lowerCamelCase of `name`? The rule of protoc's ToJsonName. */
static int is_camel_of(const char *name, const char *key, size_t len)
{
    size_t at = 0;
    int is_upper_next = 0;
    for (; *name != '\0'; name++) {
        if (*name == '_') {
            is_upper_next = 1;
            continue;
        }
        char c = *name;
        if (is_upper_next && c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        }
        if (at == len || key[at] != c) {
            return 0;
        }
        at++;
        is_upper_next = 0;
    }
    return at == len;
}

const ProtobufCFieldDescriptor *sluice_field_by_json_name(const ProtobufCMessageDescriptor *of,
                                                          const char *name, size_t len)
{
    const ProtobufCFieldDescriptor *field = sluice_field_by_name(of, name, len);
    for (unsigned i = 0; field == NULL && i < of->n_fields; i++) {
        if (is_camel_of(of->fields[i].name, name, len)) {
            field = of->fields + i;
        }
    }
    return field;
}

const ProtobufCEnumValue *sluice_field_enum_value(const ProtobufCFieldDescriptor *field,
                                                  int32_t number)
{
    return protobuf_c_enum_descriptor_get_value(field->descriptor, number);
}

const ProtobufCEnumValue *sluice_field_enum_named(const ProtobufCFieldDescriptor *field,
                                                  const char *name, size_t len)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    unsigned low = 0;
    unsigned high = type->n_value_names;
    if (memchr(name, '\0', len) != NULL) {
        return NULL;
    }
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const ProtobufCEnumValueIndex *candidate = type->values_by_name + middle;
        int order = name_compare(candidate->name, name, len);
        if (order == 0) {
            return type->values + candidate->index;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const char *sluice_field_type_name(ProtobufCType type)
{
    static const char *const names[] = {
        [PROTOBUF_C_TYPE_INT32] = "int32",       [PROTOBUF_C_TYPE_SINT32] = "sint32",
        [PROTOBUF_C_TYPE_SFIXED32] = "sfixed32", [PROTOBUF_C_TYPE_INT64] = "int64",
        [PROTOBUF_C_TYPE_SINT64] = "sint64",     [PROTOBUF_C_TYPE_SFIXED64] = "sfixed64",
        [PROTOBUF_C_TYPE_UINT32] = "uint32",     [PROTOBUF_C_TYPE_FIXED32] = "fixed32",
        [PROTOBUF_C_TYPE_UINT64] = "uint64",     [PROTOBUF_C_TYPE_FIXED64] = "fixed64",
        [PROTOBUF_C_TYPE_FLOAT] = "float",       [PROTOBUF_C_TYPE_DOUBLE] = "double",
        [PROTOBUF_C_TYPE_BOOL] = "bool",         [PROTOBUF_C_TYPE_ENUM] = "enum",
        [PROTOBUF_C_TYPE_STRING] = "string",     [PROTOBUF_C_TYPE_BYTES] = "bytes",
        [PROTOBUF_C_TYPE_MESSAGE] = "message"};
    return (size_t)type < sizeof names / sizeof names[0] ? names[type] : "unknown type";
}

int sluice_field_enum_is_placeholder(const ProtobufCEnumDescriptor *type,
                                     const ProtobufCEnumValue *value)
{
    static const char suffix[] = "_UNSPECIFIED";
    size_t len = strlen(value->name);
    return value->value == 0 && type->n_values > 1 && len >= sizeof suffix - 1 &&
           strcmp(value->name + len - (sizeof suffix - 1), suffix) == 0;
}

sluice_rc sluice_field_enter(const ProtobufCMessage *message, const struct sluice_path *at,
                             uint32_t *depth, struct sluice_err *err)
{
    if (!sluice_field_is_message(message)) {
        return sluice_path_fail(at, err, SLUICE_ERR_VALIDATION,
                                "NULL or no descriptor, expected an initialised message");
    }
    if (*depth == SLUICE_MESSAGE_DEPTH_MAX) {
        return sluice_path_fail(at, err, SLUICE_ERR_TOO_LARGE, "messages nested deeper than %u",
                                SLUICE_MESSAGE_DEPTH_MAX);
    }
    ++*depth;
    return SLUICE_OK;
}
