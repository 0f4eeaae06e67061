/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/builder.h"

#include "codec/field.h"
#include <math.h>

/* Half a step above the largest float: what is below still rounds to it. */
#define FLOAT_LIMIT 3.4028235677973366e+38
#define LIST_FIRST  4u

int sluice_builder_init(struct sluice_builder *b, const ProtobufCMessageDescriptor *type,
                        struct sluice_budget *budget)
{
    *b = (struct sluice_builder){.budget = budget};
    b->seen = b->seen_here;
    if (type->n_fields > SLUICE_BUILDER_FIELDS) {
        b->seen = sluice_budget_alloc(budget, (type->n_fields / 64 + 1) * sizeof *b->seen);
    }
    b->message = sluice_budget_alloc(budget, type->sizeof_message);
    if (b->seen == NULL || b->message == NULL) {
        return 0;
    }
    protobuf_c_message_init(type, b->message);
    return 1;
}

int sluice_builder_has(const struct sluice_builder *b, const ProtobufCFieldDescriptor *field)
{
    size_t index = (size_t)(field - b->message->descriptor->fields);
    return (b->seen[index / 64] >> (index % 64) & 1) != 0;
}

int sluice_builder_note(struct sluice_builder *b, const ProtobufCFieldDescriptor *field)
{
    size_t index = (size_t)(field - b->message->descriptor->fields);
    if (sluice_builder_has(b, field)) {
        return 0;
    }
    b->seen[index / 64] |= UINT64_C(1) << (index % 64);
    return 1;
}

void *sluice_builder_place(struct sluice_builder *b, const ProtobufCFieldDescriptor *field)
{
    if (sluice_field_is_oneof(field)) {
        uint32_t *chosen = sluice_field_quantifier(b->message, field);
        if (*chosen != 0) {
            return NULL;
        }
        *chosen = field->id;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING &&
               field->type != PROTOBUF_C_TYPE_MESSAGE) {
        protobuf_c_boolean *has = sluice_field_quantifier(b->message, field);
        *has = 1;
    }
    return sluice_field_member(b->message, field);
}

void *sluice_builder_add(struct sluice_builder *b, struct sluice_builder_list *list,
                         const ProtobufCFieldDescriptor *field)
{
    size_t element = sluice_field_size(field->type);
    if (list->count == list->size) {
        size_t size = list->size == 0 ? LIST_FIRST : list->size * 2;
        char *more = sluice_budget_alloc(b->budget, size * element);
        if (more == NULL) {
            return NULL;
        }
        if (list->count != 0) {
            memcpy(more, list->elements, list->count * element);
        }
        list->elements = more;
        list->size = size;
    }
    return list->elements + list->count++ * element;
}

void sluice_builder_set_list(struct sluice_builder *b, const ProtobufCFieldDescriptor *field,
                             const struct sluice_builder_list *list)
{
    memcpy(sluice_field_quantifier(b->message, field), &list->count, sizeof list->count);
    memcpy(sluice_field_member(b->message, field), &list->elements, sizeof list->elements);
}

int sluice_builder_add_entry(struct sluice_builder *b, struct sluice_builder_list *list,
                             const ProtobufCFieldDescriptor *map, struct sluice_builder *entry)
{
    void *place = sluice_builder_add(b, list, map);
    if (place == NULL || !sluice_builder_init(entry, map->descriptor, b->budget)) {
        return 0;
    }
    memcpy(place, &entry->message, sizeof entry->message);
    return 1;
}

int sluice_builder_set_key(struct sluice_builder *entry, const char *text, size_t len)
{
    const ProtobufCFieldDescriptor *key = entry->message->descriptor->fields;
    void *place = sluice_builder_place(entry, key);
    if (key->type == PROTOBUF_C_TYPE_STRING) {
        return sluice_builder_set_text(entry, place, text, len) ? 1 : -1;
    }
    if (key->type == PROTOBUF_C_TYPE_BOOL) {
        protobuf_c_boolean is_true = len == 4 && memcmp(text, "true", 4) == 0;
        memcpy(place, &is_true, sizeof is_true);
        return is_true || (len == 5 && memcmp(text, "false", 5) == 0);
    }
    struct sluice_number number;
    return sluice_number_parse(text, len, &number) &&
           sluice_builder_set_number(key, place, &number);
}

int sluice_builder_set_text(struct sluice_builder *b, void *place, const char *text, size_t len)
{
    char *copy = sluice_budget_alloc(b->budget, len + 1); /* zeroed, so the NUL is there */
    if (copy == NULL) {
        return 0;
    }
    if (len != 0) {
        memcpy(copy, text, len);
    }
    memcpy(place, &copy, sizeof copy);
    return 1;
}

int sluice_builder_set_bytes(struct sluice_builder *b, void *place, const void *data, size_t len)
{
    ProtobufCBinaryData bytes = {.len = len};
    if (len != 0) {
        bytes.data = sluice_budget_alloc(b->budget, len);
        if (bytes.data == NULL) {
            return 0;
        }
        memcpy(bytes.data, data, len);
    }
    memcpy(place, &bytes, sizeof bytes);
    return 1;
}

static int set_float(void *place, double value)
{
    if (isfinite(value) && (value >= FLOAT_LIMIT || value <= -FLOAT_LIMIT)) {
        return 0;
    }
    float narrow = (float)value;
    memcpy(place, &narrow, sizeof narrow);
    return 1;
}

int sluice_builder_set_number(const ProtobufCFieldDescriptor *field, void *place,
                              const struct sluice_number *number)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(place, &number->real, sizeof number->real);
        return 1;
    case PROTOBUF_C_TYPE_FLOAT:
        return set_float(place, number->real);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        return sluice_number_to_int32(number, place);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return sluice_number_to_uint32(number, place);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return sluice_number_to_int64(number, place);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sluice_number_to_uint64(number, place);
    default:
        return 0;
    }
}
