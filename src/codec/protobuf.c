/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/protobuf.h"

#include "codec/field.h"
#include "codec/path.h"
#include "codec/utf8.h"

static void *unpack_alloc(void *budget, size_t size)
{
    return sluice_budget_alloc(budget, size);
}

static void unpack_free(void *budget, void *memory)
{
    (void)budget; /* the arena frees everything at once */
    (void)memory;
}

sluice_rc sluice_pb_decode(const ProtobufCMessageDescriptor *type, sluice_bytes bytes,
                           const struct sluice_limits *limits, struct sluice_arena *arena,
                           ProtobufCMessage **message, struct sluice_err *err)
{
    sluice_rc rc = sluice_pb_scan(type, bytes, limits, NULL, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct sluice_budget budget = sluice_budget_of(arena, sluice_limits_fill(limits).memory_max);
    ProtobufCAllocator allocator = {
        .alloc = unpack_alloc, .free = unpack_free, .allocator_data = &budget};
    int was_exhausted = arena->is_exhausted;
    arena->is_exhausted = 0;
    ProtobufCMessage *unpacked = protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.data);
    int is_exhausted = arena->is_exhausted;
    arena->is_exhausted |= was_exhausted;
    if (unpacked == NULL) {
        if (budget.is_over || is_exhausted) {
            return sluice_budget_fail(&budget, err);
        }
        return sluice_err_set(err, SLUICE_ERR_DECODE, "not a complete message of type %s",
                              type->name);
    }
    *message = unpacked;
    return SLUICE_OK;
}

struct check {
    struct sluice_err *err;
    uint32_t depth;
    size_t values; /* messages and elements of lists: a graph of pointers must end somewhere */
};

static sluice_rc check_message(struct check *c, const ProtobufCMessage *message,
                               const struct sluice_path *path);

static sluice_rc check_value(struct check *c, const ProtobufCFieldDescriptor *field,
                             const void *member, const struct sluice_path *path)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return check_message(c, sluice_field_message(member), path);
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        ProtobufCBinaryData bytes;
        memcpy(&bytes, member, sizeof bytes);
        return bytes.len == 0 || bytes.data != NULL
                   ? SLUICE_OK
                   : sluice_path_fail(path, c->err, SLUICE_ERR_VALIDATION,
                                      "NULL with a length, expected bytes");
    }
    const char *text;
    memcpy(&text, member, sizeof text);
    if (text == NULL) {
        return sluice_path_fail(path, c->err, SLUICE_ERR_VALIDATION, "NULL, expected text");
    }
    size_t len = strlen(text);
    size_t span = sluice_utf8_span(text, len);
    return span == len ? SLUICE_OK
                       : sluice_path_fail(path, c->err, SLUICE_ERR_VALIDATION,
                                          "invalid UTF-8 at byte %zu, expected text", span);
}

static sluice_rc check_list(struct check *c, const ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field, struct sluice_path *path)
{
    size_t count = sluice_field_count(message, field);
    const char *element = sluice_field_elements(message, field);
    size_t size = sluice_field_size(field->type);
    int is_pointed = field->type == PROTOBUF_C_TYPE_STRING ||
                     field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_MESSAGE;
    if (count != 0 && element == NULL) {
        return sluice_path_fail(path, c->err, SLUICE_ERR_VALIDATION,
                                "NULL, expected a list of %zu values", count);
    }
    if (count > SLUICE_MESSAGE_FIELDS_MAX - c->values) {
        return sluice_path_fail(path, c->err, SLUICE_ERR_TOO_LARGE, "more than %u values",
                                SLUICE_MESSAGE_FIELDS_MAX);
    }
    c->values += count;
    for (size_t i = 0; is_pointed && i < count; i++, element += size) {
        path->index = (int64_t)i;
        sluice_rc rc = check_value(c, field, element, path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    return SLUICE_OK;
}

static sluice_rc check_message(struct check *c, const ProtobufCMessage *message,
                               const struct sluice_path *up)
{
    sluice_rc rc = sluice_field_enter(message, up, &c->depth, c->err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields && rc == SLUICE_OK; i++) {
        const ProtobufCFieldDescriptor *field = type->fields + i;
        int is_list = sluice_field_is_list(field);
        if (!is_list && field->type != PROTOBUF_C_TYPE_STRING &&
            field->type != PROTOBUF_C_TYPE_BYTES && field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        struct sluice_path path = {.up = up, .name = field->name, .index = -1};
        if (is_list) {
            rc = check_list(c, message, field, &path);
        } else if (sluice_field_is_set(message, field)) {
            rc = check_value(c, field, sluice_field_member(message, field), &path);
        }
    }
    c->depth--;
    return rc;
}

sluice_rc sluice_pb_check(const ProtobufCMessage *message, struct sluice_err *err)
{
    struct check c = {.err = err};
    return check_message(&c, message, NULL);
}

sluice_rc sluice_pb_encode(const ProtobufCMessage *message, struct sluice_arena *arena,
                           sluice_bytes *bytes, struct sluice_err *err)
{
    return sluice_pb_encode_within(message, SLUICE_MESSAGE_SIZE_MAX, arena, bytes, err);
}

sluice_rc sluice_pb_encode_within(const ProtobufCMessage *message, size_t size_max,
                                  struct sluice_arena *arena, sluice_bytes *bytes,
                                  struct sluice_err *err)
{
    sluice_rc rc = sluice_pb_check(message, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > size_max) {
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE, "%s of %zu bytes, expected at most %zu",
                              message->descriptor->name, size, size_max);
    }
    uint8_t *packed = sluice_arena_alloc(arena, 1, size);
    if (packed == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    (void)protobuf_c_message_pack(message, packed);
    *bytes = (sluice_bytes){.data = packed, .len = size};
    return SLUICE_OK;
}

const char *sluice_pb_type_name(const ProtobufCMessageDescriptor *type)
{
    return type->name;
}

const ProtobufCMessageDescriptor *sluice_pb_descriptor(const ProtobufCMessage *message)
{
    return sluice_field_is_message(message) ? message->descriptor : NULL;
}

int sluice_pb_is_type(const ProtobufCMessageDescriptor *type)
{
    return type != NULL && type->magic == PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC;
}

static const ProtobufCFieldDescriptor *text_field(const ProtobufCMessageDescriptor *type,
                                                  const char *name)
{
    const ProtobufCFieldDescriptor *field = sluice_field_by_name(type, name, strlen(name));
    int is_text =
        field != NULL && field->type == PROTOBUF_C_TYPE_STRING && !sluice_field_is_list(field);
    return is_text ? field : NULL;
}

int sluice_pb_has_text(const ProtobufCMessageDescriptor *type, const char *name)
{
    return text_field(type, name) != NULL;
}

const char *sluice_pb_field_text(const ProtobufCMessage *message, const char *name)
{
    const ProtobufCFieldDescriptor *field = text_field(message->descriptor, name);
    if (field == NULL) {
        return NULL;
    }
    return sluice_field_is_set(message, field)
               ? sluice_field_text(sluice_field_member(message, field))
               : "";
}
