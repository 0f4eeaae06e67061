/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/proto_json.h"

#include "codec/base64.h"
#include "codec/buffer.h"
#include "codec/field.h"
#include "codec/json_text.h"
#include "codec/json_value.h"
#include "codec/map.h"
#include "codec/number.h"
#include "codec/path.h"
#include "codec/utf8.h"
#include <math.h>

#define SCRATCH_SIZE 4096u /* most texts are shorter and cost the arena exactly their length */

struct writer {
    struct sluice_buffer *out;
    struct sluice_arena *arena;
    struct sluice_err *err;
    unsigned flags;
    uint32_t depth;
};

static sluice_rc write_message(struct writer *w, const ProtobufCMessage *message,
                               const struct sluice_path *path);

static void write_name(struct writer *w, const char *name)
{
    struct sluice_buffer *out = w->out;
    sluice_buffer_byte(out, '"');
    if (w->flags & SLUICE_JSON_PROTO_NAMES) {
        sluice_buffer_text(out, name);
    } else {
        int is_upper_next = 0;
        for (; *name != '\0'; name++) {
            if (*name == '_') {
                is_upper_next = 1;
                continue;
            }
            int is_small = *name >= 'a' && *name <= 'z';
            sluice_buffer_byte(out, is_upper_next && is_small ? (char)(*name - 'a' + 'A') : *name);
            is_upper_next = 0;
        }
    }
    sluice_buffer_add(out, "\":", 2);
}

static sluice_rc write_text(struct writer *w, const char *text, const struct sluice_path *path)
{
    size_t len = strlen(text);
    size_t span = sluice_utf8_span(text, len);
    if (span != len) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "invalid UTF-8 at byte %zu, expected text", span);
    }
    sluice_buffer_json(w->out, text, len);
    return SLUICE_OK;
}

static sluice_rc write_bytes(struct writer *w, const void *member, const struct sluice_path *path)
{
    ProtobufCBinaryData bytes;
    memcpy(&bytes, member, sizeof bytes);
    if (bytes.len != 0 && bytes.data == NULL) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "NULL with a length, expected bytes");
    }
    if (bytes.len > w->out->limit) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_TOO_LARGE,
                                "%zu bytes, expected a result of at most %zu", bytes.len,
                                w->out->limit);
    }
    sluice_buffer_byte(w->out, '"');
    char *to = sluice_buffer_extend(w->out, SLUICE_BASE64_SIZE(bytes.len));
    if (to != NULL) {
        sluice_base64_encode(bytes.data, bytes.len, to);
    }
    sluice_buffer_byte(w->out, '"');
    return SLUICE_OK;
}

static void write_real(struct writer *w, double value, int is_float)
{
    char text[SLUICE_NUMBER_SIZE];
    size_t len = is_float ? sluice_number_write_float((float)value, text)
                          : sluice_number_write_double(value, text);
    const char *quote = isfinite(value) ? "" : "\"";
    sluice_buffer_text(w->out, quote);
    sluice_buffer_add(w->out, text, len);
    sluice_buffer_text(w->out, quote);
}

static void write_wide(struct writer *w, uint64_t bits, int is_signed)
{
    char text[SLUICE_NUMBER_SIZE];
    size_t len = is_signed ? sluice_number_write_int64((int64_t)bits, text)
                           : sluice_number_write_uint64(bits, text);
    int is_quoted = !(w->flags & SLUICE_JSON_NUMBERS);
    if (is_quoted) {
        sluice_buffer_byte(w->out, '"');
    }
    sluice_buffer_add(w->out, text, len);
    if (is_quoted) {
        sluice_buffer_byte(w->out, '"');
    }
}

static void write_narrow(struct writer *w, int64_t value)
{
    char text[SLUICE_NUMBER_SIZE];
    sluice_buffer_add(w->out, text, sluice_number_write_int64(value, text));
}

static void write_enum(struct writer *w, const ProtobufCFieldDescriptor *field, int32_t number)
{
    const ProtobufCEnumValue *value = sluice_field_enum_value(field, number);
    if (value == NULL) {
        write_narrow(w, number);
        return;
    }
    sluice_buffer_byte(w->out, '"');
    sluice_buffer_text(w->out, value->name);
    sluice_buffer_byte(w->out, '"');
}

static sluice_rc write_value(struct writer *w, const ProtobufCFieldDescriptor *field,
                             const void *member, const struct sluice_path *path)
{
    uint64_t wide;
    uint32_t narrow;
    double real;
    float small;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return write_text(w, sluice_field_text(member), path);
    case PROTOBUF_C_TYPE_BYTES:
        return write_bytes(w, member, path);
    case PROTOBUF_C_TYPE_MESSAGE:
        return write_message(w, sluice_field_message(member), path);
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&real, member, sizeof real);
        write_real(w, real, 0);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        memcpy(&small, member, sizeof small);
        write_real(w, (double)small, 1);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(&wide, member, sizeof wide);
        write_wide(w, wide,
                   field->type != PROTOBUF_C_TYPE_UINT64 && field->type != PROTOBUF_C_TYPE_FIXED64);
        break;
    default:
        memcpy(&narrow, member, sizeof narrow);
        if (field->type == PROTOBUF_C_TYPE_BOOL) {
            sluice_buffer_text(w->out, narrow != 0 ? "true" : "false");
        } else if (field->type == PROTOBUF_C_TYPE_ENUM) {
            write_enum(w, field, (int32_t)narrow);
        } else {
            int is_unsigned =
                field->type == PROTOBUF_C_TYPE_UINT32 || field->type == PROTOBUF_C_TYPE_FIXED32;
            write_narrow(w, is_unsigned ? (int64_t)narrow : (int64_t)(int32_t)narrow);
        }
        break;
    }
    return SLUICE_OK;
}

static sluice_rc write_list(struct writer *w, const ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field, struct sluice_path *path)
{
    size_t count = sluice_field_count(message, field);
    const char *element = sluice_field_elements(message, field);
    size_t size = sluice_field_size(field->type);
    if (count != 0 && element == NULL) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "NULL, expected a list of %zu values", count);
    }
    sluice_buffer_byte(w->out, '[');
    for (size_t i = 0; i < count && w->out->rc == SLUICE_OK; i++, element += size) {
        path->index = (int64_t)i;
        if (i > 0) {
            sluice_buffer_byte(w->out, ',');
        }
        sluice_rc rc = write_value(w, field, element, path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    sluice_buffer_byte(w->out, ']');
    return SLUICE_OK;
}

static sluice_rc write_entry_value(struct writer *w, const ProtobufCMessage *entry,
                                   const ProtobufCFieldDescriptor *value,
                                   const struct sluice_path *path)
{
    if (value->type != PROTOBUF_C_TYPE_MESSAGE) {
        return write_value(w, value, sluice_field_member(entry, value), path);
    }
    const ProtobufCMessage *message = sluice_map_value_message(entry, value, w->arena);
    return message == NULL ? sluice_path_fail(path, w->err, SLUICE_ERR_NOMEM, "out of memory")
                           : write_message(w, message, path);
}

static sluice_rc write_map(struct writer *w, const ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field, struct sluice_path *path)
{
    const ProtobufCMessage *const *entries;
    size_t count;
    sluice_rc rc = sluice_map_entries(message, field, w->arena, &entries, &count);
    if (rc != SLUICE_OK) {
        return sluice_path_fail(path, w->err, rc, "%s",
                                rc == SLUICE_ERR_NOMEM ? "out of memory"
                                                       : "NULL, expected the entries of a map");
    }
    const ProtobufCFieldDescriptor *value = sluice_field_map_part(field, 1);
    sluice_buffer_byte(w->out, '{');
    for (size_t i = 0; i < count && w->out->rc == SLUICE_OK; i++) {
        char scratch[SLUICE_NUMBER_SIZE];
        const char *key = sluice_map_key_text(entries[i], scratch);
        path->key = key;
        path->key_len = strlen(key);
        if (i > 0) {
            sluice_buffer_byte(w->out, ',');
        }
        if ((rc = write_text(w, key, path)) != SLUICE_OK) {
            return rc;
        }
        sluice_buffer_byte(w->out, ':');
        if ((rc = write_entry_value(w, entries[i], value, path)) != SLUICE_OK) {
            return rc;
        }
    }
    sluice_buffer_byte(w->out, '}');
    return SLUICE_OK;
}

/* Whether the field appears: when it is set, or by default when it can have a default. */
static int is_written(const struct writer *w, const ProtobufCMessage *message,
                      const ProtobufCFieldDescriptor *field)
{
    int has_default = (w->flags & SLUICE_JSON_DEFAULTS) != 0;
    if (sluice_field_is_list(field)) {
        return has_default || sluice_field_count(message, field) != 0;
    }
    if (sluice_field_is_set(message, field)) {
        return 1;
    }
    return has_default && field->type != PROTOBUF_C_TYPE_MESSAGE &&
           !sluice_field_is_nullable(field);
}

static sluice_rc write_field(struct writer *w, const ProtobufCMessage *message,
                             const ProtobufCFieldDescriptor *field, struct sluice_path *path)
{
    if (!sluice_field_is_list(field)) {
        return write_value(w, field, sluice_field_member(message, field), path);
    }
    return sluice_field_is_map(message->descriptor, field) ? write_map(w, message, field, path)
                                                           : write_list(w, message, field, path);
}

static sluice_rc write_message(struct writer *w, const ProtobufCMessage *message,
                               const struct sluice_path *up)
{
    sluice_rc rc = sluice_field_enter(message, up, &w->depth, w->err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    const ProtobufCMessageDescriptor *type = message->descriptor;
    int is_first = 1;
    sluice_buffer_byte(w->out, '{');
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = type->fields + i;
        if (!is_written(w, message, field)) {
            continue;
        }
        struct sluice_path path = {.up = up, .name = field->name, .index = -1};
        if (!is_first) {
            sluice_buffer_byte(w->out, ',');
        }
        is_first = 0;
        write_name(w, field->name);
        rc = write_field(w, message, field, &path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    sluice_buffer_byte(w->out, '}');
    w->depth--;
    return SLUICE_OK;
}

static struct writer writer_of(struct sluice_buffer *out, unsigned flags, struct sluice_err *err)
{
    return (struct writer){.out = out, .arena = out->arena, .err = err, .flags = flags};
}

sluice_rc sluice_json_put_value(struct sluice_buffer *out, const ProtobufCFieldDescriptor *field,
                                const void *member, unsigned flags, struct sluice_err *err)
{
    struct writer w = writer_of(out, flags, err);
    return write_value(&w, field, member, NULL);
}

sluice_rc sluice_json_put_field(struct sluice_buffer *out, const ProtobufCMessage *message,
                                const ProtobufCFieldDescriptor *field, unsigned flags,
                                struct sluice_err *err)
{
    struct writer w = writer_of(out, flags, err);
    struct sluice_path path = {.name = field->name, .index = -1};
    return write_field(&w, message, field, &path);
}

sluice_rc sluice_json_put_message(struct sluice_buffer *out, const ProtobufCMessage *message,
                                  unsigned flags, struct sluice_err *err)
{
    struct writer w = writer_of(out, flags, err);
    return write_message(&w, message, NULL);
}

sluice_rc sluice_proto_write_json(const ProtobufCMessage *message, unsigned flags, size_t size_max,
                                  struct sluice_arena *arena, sluice_bytes *text,
                                  struct sluice_err *err)
{
    char scratch[SCRATCH_SIZE];
    struct sluice_buffer out;
    sluice_buffer_init_within(&out, arena, scratch, sizeof scratch,
                              size_max == 0 ? SLUICE_MESSAGE_SIZE_MAX : size_max);
    sluice_rc rc = sluice_json_put_message(&out, message, flags, err);
    return rc == SLUICE_OK ? sluice_buffer_finish(&out, err, text) : rc;
}

sluice_rc sluice_proto_to_doc_json(const ProtobufCMessage *message, struct sluice_arena *arena,
                                   sluice_bytes *text, struct sluice_err *err)
{
    return sluice_proto_write_json(message, SLUICE_JSON_DOCUMENT, 0, arena, text, err);
}
