/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/bson.h"

#include "codec/bson_format.h"
#include "codec/buffer.h"
#include "codec/field.h"
#include "codec/map.h"
#include "codec/number.h"
#include "codec/path.h"
#include "codec/utf8.h"

#define SCRATCH_SIZE                                                                               \
    4096u /* most documents are shorter and cost the arena exactly their length                    \
           */

struct writer {
    struct sluice_buffer out;
    struct sluice_err *err;
    uint32_t depth;
};

static sluice_rc write_message(struct writer *w, const ProtobufCMessage *message,
                               const struct sluice_path *path);

/* The name of an element: a field's, an index, or a map's key. */
struct name {
    const char *text;
    size_t len;
};

static void put_head(struct writer *w, enum element_type type, const struct name *name)
{
    sluice_buffer_byte(&w->out, (char)type);
    sluice_buffer_add(&w->out, name->text, name->len);
    sluice_buffer_byte(&w->out, '\0');
}

static void put32(struct writer *w, uint32_t value)
{
    char bytes[4];
    put_le32(bytes, value);
    sluice_buffer_add(&w->out, bytes, sizeof bytes);
}

static void put64(struct writer *w, uint64_t value)
{
    char bytes[8];
    put_le64(bytes, value);
    sluice_buffer_add(&w->out, bytes, sizeof bytes);
}

/* Documents begin with their length, known only at their end. */
static size_t document_begin(struct writer *w)
{
    size_t at = w->out.len;
    put32(w, 0);
    return at;
}

static void document_end(struct writer *w, size_t begin)
{
    sluice_buffer_byte(&w->out, '\0');
    if (w->out.rc == SLUICE_OK) {
        put_le32(w->out.data + begin, (uint32_t)(w->out.len - begin));
    }
}

static void put_string(struct writer *w, const struct name *name, const char *text, size_t len)
{
    put_head(w, ELEMENT_STRING, name);
    put32(w, (uint32_t)len + 1);
    sluice_buffer_add(&w->out, text, len);
    sluice_buffer_byte(&w->out, '\0');
}

static sluice_rc write_text(struct writer *w, const struct name *name, const char *text,
                            const struct sluice_path *path)
{
    size_t len = strlen(text);
    size_t span = sluice_utf8_span(text, len);
    if (span != len) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "invalid UTF-8 at byte %zu, expected text", span);
    }
    put_string(w, name, text, len);
    return SLUICE_OK;
}

static sluice_rc write_bytes(struct writer *w, const struct name *name, const void *member,
                             const struct sluice_path *path)
{
    ProtobufCBinaryData bytes;
    memcpy(&bytes, member, sizeof bytes);
    if (bytes.len != 0 && bytes.data == NULL) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "NULL with a length, expected bytes");
    }
    put_head(w, ELEMENT_BINARY, name);
    put32(w, (uint32_t)bytes.len); /* more than the limit fails in the next line */
    sluice_buffer_byte(&w->out, '\0');
    sluice_buffer_add(&w->out, bytes.data, bytes.len);
    return SLUICE_OK;
}

static void write_real(struct writer *w, const struct name *name, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_head(w, ELEMENT_DOUBLE, name);
    put64(w, bits);
}

static void write_wide(struct writer *w, const struct name *name, uint64_t value, int is_signed)
{
    if (!is_signed && value > INT64_MAX) {
        char digits[SLUICE_NUMBER_SIZE];
        put_string(w, name, digits, sluice_number_write_uint64(value, digits));
        return;
    }
    put_head(w, ELEMENT_INT64, name);
    put64(w, value);
}

static void write_narrow(struct writer *w, const struct name *name,
                         const ProtobufCFieldDescriptor *field, uint32_t value)
{
    const ProtobufCEnumValue *known;
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        write_wide(w, name, value, 0);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        put_head(w, ELEMENT_BOOL, name);
        sluice_buffer_byte(&w->out, value != 0);
        return;
    case PROTOBUF_C_TYPE_ENUM:
        known = sluice_field_enum_value(field, (int32_t)value);
        if (known != NULL) {
            put_string(w, name, known->name, strlen(known->name));
            return;
        }
        break;
    default:
        break;
    }
    put_head(w, ELEMENT_INT32, name);
    put32(w, value);
}

static sluice_rc write_value(struct writer *w, const struct name *name,
                             const ProtobufCFieldDescriptor *field, const void *member,
                             const struct sluice_path *path)
{
    uint64_t wide;
    uint32_t narrow;
    double real;
    float small;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return write_text(w, name, sluice_field_text(member), path);
    case PROTOBUF_C_TYPE_BYTES:
        return write_bytes(w, name, member, path);
    case PROTOBUF_C_TYPE_MESSAGE:
        put_head(w, ELEMENT_DOCUMENT, name);
        return write_message(w, sluice_field_message(member), path);
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&real, member, sizeof real);
        write_real(w, name, real);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        memcpy(&small, member, sizeof small);
        write_real(w, name, (double)small);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(&wide, member, sizeof wide);
        write_wide(w, name, wide,
                   field->type != PROTOBUF_C_TYPE_UINT64 && field->type != PROTOBUF_C_TYPE_FIXED64);
        break;
    default:
        memcpy(&narrow, member, sizeof narrow);
        write_narrow(w, name, field, narrow);
        break;
    }
    return SLUICE_OK;
}

static sluice_rc write_list(struct writer *w, const struct name *name,
                            const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                            struct sluice_path *path)
{
    size_t count = sluice_field_count(message, field);
    const char *element = sluice_field_elements(message, field);
    size_t size = sluice_field_size(field->type);
    if (count != 0 && element == NULL) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "NULL, expected a list of %zu values", count);
    }
    put_head(w, ELEMENT_ARRAY, name);
    size_t begin = document_begin(w);
    for (size_t i = 0; i < count && w->out.rc == SLUICE_OK; i++, element += size) {
        char digits[SLUICE_NUMBER_SIZE];
        struct name index = {.text = digits, .len = sluice_number_write_uint64(i, digits)};
        path->index = (int64_t)i;
        sluice_rc rc = write_value(w, &index, field, element, path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    document_end(w, begin);
    return SLUICE_OK;
}

static int must_escape(const char *key, size_t at)
{
    return key[at] == '%' || key[at] == '.' || (key[at] == '$' && at == 0);
}

/* The key as a field name, see bson.h. Sets the name to the key itself or to memory of the arena;
 * 0 when that ran out. */
static int escape_key(struct writer *w, const char *key, struct name *name)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = strlen(key);
    size_t escapes = 0;
    for (size_t i = 0; i < len; i++) {
        escapes += (size_t)must_escape(key, i);
    }
    *name = (struct name){.text = len == 0 ? "%" : key, .len = len == 0 ? 1 : len};
    if (escapes == 0) {
        return 1;
    }
    char *to = sluice_arena_alloc(w->out.arena, escapes, 2 + len);
    if (to == NULL) {
        return 0;
    }
    *name = (struct name){.text = to, .len = len + 2 * escapes};
    for (size_t i = 0; i < len; i++) {
        if (must_escape(key, i)) {
            *to++ = '%';
            *to++ = digits[key[i] >> 4];
            *to++ = digits[key[i] & 15];
        } else {
            *to++ = key[i];
        }
    }
    return 1;
}

static sluice_rc write_entry(struct writer *w, const ProtobufCMessage *entry,
                             const ProtobufCFieldDescriptor *map, struct sluice_path *path)
{
    char scratch[SLUICE_NUMBER_SIZE];
    const char *key = sluice_map_key_text(entry, scratch);
    const ProtobufCFieldDescriptor *value = sluice_field_map_part(map, 1);
    const void *member = sluice_field_member(entry, value);
    struct name name;
    path->key = key;
    path->key_len = strlen(key);
    if (sluice_utf8_span(key, path->key_len) != path->key_len) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "invalid UTF-8 in the key, expected text");
    }
    if (!escape_key(w, key, &name)) {
        return sluice_err_set(w->err, SLUICE_ERR_NOMEM, "out of memory");
    }
    const ProtobufCMessage *message = NULL;
    if (value->type == PROTOBUF_C_TYPE_MESSAGE) {
        message = sluice_map_value_message(entry, value, w->out.arena);
        if (message == NULL) {
            return sluice_path_fail(path, w->err, SLUICE_ERR_NOMEM, "out of memory");
        }
        member = &message;
    }
    return write_value(w, &name, value, member, path);
}

static sluice_rc write_map(struct writer *w, const struct name *name,
                           const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                           struct sluice_path *path)
{
    const ProtobufCMessage *const *entries;
    size_t count;
    sluice_rc rc = sluice_map_entries(message, field, w->out.arena, &entries, &count);
    if (rc != SLUICE_OK) {
        return sluice_path_fail(path, w->err, rc, "%s",
                                rc == SLUICE_ERR_NOMEM ? "out of memory"
                                                       : "NULL, expected the entries of a map");
    }
    put_head(w, ELEMENT_DOCUMENT, name);
    size_t begin = document_begin(w);
    for (size_t i = 0; i < count && w->out.rc == SLUICE_OK; i++) {
        if ((rc = write_entry(w, entries[i], field, path)) != SLUICE_OK) {
            return rc;
        }
    }
    document_end(w, begin);
    return SLUICE_OK;
}

static sluice_rc write_field(struct writer *w, const ProtobufCMessage *message,
                             const ProtobufCFieldDescriptor *field, struct sluice_path *path)
{
    struct name name = {.text = field->name, .len = strlen(field->name)};
    if (w->depth == 1 && strcmp(field->name, "_id") == 0) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_VALIDATION,
                                "a name that is the document's own identity");
    }
    if (!sluice_field_is_list(field)) {
        int has_default =
            field->type != PROTOBUF_C_TYPE_MESSAGE && !sluice_field_is_nullable(field);
        return has_default || sluice_field_is_set(message, field)
                   ? write_value(w, &name, field, sluice_field_member(message, field), path)
                   : SLUICE_OK;
    }
    return sluice_field_is_map(message->descriptor, field)
               ? write_map(w, &name, message, field, path)
               : write_list(w, &name, message, field, path);
}

static sluice_rc write_message(struct writer *w, const ProtobufCMessage *message,
                               const struct sluice_path *up)
{
    sluice_rc rc = sluice_field_enter(message, up, &w->depth, w->err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    const ProtobufCMessageDescriptor *type = message->descriptor;
    size_t begin = document_begin(w);
    for (unsigned i = 0; i < type->n_fields; i++) {
        struct sluice_path path = {.up = up, .name = type->fields[i].name, .index = -1};
        rc = write_field(w, message, type->fields + i, &path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    document_end(w, begin);
    w->depth--;
    return SLUICE_OK;
}

sluice_rc sluice_proto_to_bson(const ProtobufCMessage *message, struct sluice_arena *arena,
                               sluice_bytes *document, struct sluice_err *err)
{
    char scratch[SCRATCH_SIZE];
    struct writer w = {.err = err};
    sluice_buffer_init_within(&w.out, arena, scratch, sizeof scratch, SLUICE_BSON_SIZE_MAX);
    sluice_rc rc = write_message(&w, message, NULL);
    return rc == SLUICE_OK ? sluice_buffer_finish(&w.out, err, document) : rc;
}
