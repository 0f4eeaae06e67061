/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign BSON → message: every length is checked against the bytes that are there. */
#include "codec/bson.h"

#include "codec/bson_element.h"
#include "codec/builder.h"
#include "codec/field.h"
#include "codec/path.h"
#include "codec/utf8.h"

struct reader {
    const uint8_t *begin;
    struct sluice_budget budget;
    struct sluice_err *err;
    uint32_t depth, depth_max, values, values_max;
};

struct element {
    enum element_type type;
    const char *name; /* ends with a NUL */
    size_t name_len;
    const uint8_t *value;
    size_t len; /* of the value, its own length prefixes included */
};

/* The elements of one document. */
struct cursor {
    const uint8_t *at, *end; /* the end is its closing NUL */
};

static sluice_rc malformed(struct reader *r, const uint8_t *at, const struct sluice_path *path,
                           const char *what)
{
    return sluice_path_fail(path, r->err, SLUICE_ERR_DECODE, "%s, at byte %zu", what,
                            (size_t)(at - r->begin));
}

static sluice_rc no_memory(struct reader *r)
{
    return sluice_budget_fail(&r->budget, r->err);
}

/* The next element; its type is 0 at the end. */
static sluice_rc next_element(struct reader *r, struct cursor *c, const struct sluice_path *path,
                              struct element *e)
{
    if (c->at == c->end) {
        *e = (struct element){.name = ""};
        return SLUICE_OK;
    }
    const uint8_t *begin = c->at;
    size_t left = (size_t)(c->end - begin) - 1;
    size_t name_len = sluice_bson_cstring_len(begin + 1, left);
    if (name_len == 0) {
        return malformed(r, begin, path, "an element whose name does not end");
    }
    *e = (struct element){.type = (enum element_type)begin[0],
                          .name = (const char *)begin + 1,
                          .name_len = name_len - 1,
                          .value = begin + 1 + name_len};
    left -= name_len;
    if (!sluice_bson_value_len(e->type, e->value, left, &e->len)) {
        return malformed(r, begin, path, "an element that is malformed or of unknown type");
    }
    if (e->len > left) {
        return malformed(r, begin, path, "an element that is cut");
    }
    if (++r->values > r->values_max) {
        return sluice_path_fail(path, r->err, SLUICE_ERR_TOO_LARGE, "more than %u values",
                                r->values_max);
    }
    c->at = e->value + e->len;
    return SLUICE_OK;
}

static struct cursor inside(const struct element *e)
{
    return (struct cursor){.at = e->value + 4, .end = e->value + e->len - 1};
}

static sluice_rc unexpected(struct reader *r, const struct element *e,
                            const struct sluice_path *path, const char *expected)
{
    return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION, "expected %s, got %s", expected,
                            sluice_bson_kind_name(e->type));
}

static const char *string_of(const struct element *e, size_t *len)
{
    *len = e->len - 5;
    return (const char *)e->value + 4;
}

static sluice_rc read_text(struct reader *r, struct sluice_builder *b, const struct element *e,
                           void *place, const struct sluice_path *path)
{
    static const char digits[] = "0123456789abcdef";
    char id[24];
    const char *text = id;
    size_t len = sizeof id;
    if (e->type == ELEMENT_OBJECT_ID) {
        for (size_t i = 0; i < 12; i++) {
            id[2 * i] = digits[e->value[i] >> 4];
            id[2 * i + 1] = digits[e->value[i] & 15];
        }
    } else if (e->type == ELEMENT_STRING || e->type == ELEMENT_SYMBOL) {
        text = string_of(e, &len);
        size_t span = sluice_utf8_span(text, len);
        if (span != len) {
            return malformed(r, (const uint8_t *)text + span, path, "NUL or invalid UTF-8");
        }
    } else {
        return unexpected(r, e, path, "string");
    }
    return sluice_builder_set_text(b, place, text, len) ? SLUICE_OK : no_memory(r);
}

static sluice_rc read_bytes(struct reader *r, struct sluice_builder *b, const struct element *e,
                            void *place, const struct sluice_path *path)
{
    if (e->type != ELEMENT_BINARY) {
        return unexpected(r, e, path, "binary");
    }
    const uint8_t *data = e->value + 5;
    size_t len = e->len - 5;
    if (e->value[4] == ELEMENT_OLD_BINARY) {
        if (len < 4 || get_le32(data) != len - 4) {
            return malformed(r, data, path, "binary of the old kind with a wrong length");
        }
        data += 4;
        len -= 4;
    }
    return sluice_builder_set_bytes(b, place, data, len) ? SLUICE_OK : no_memory(r);
}

static int is_real(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_DOUBLE || field->type == PROTOBUF_C_TYPE_FLOAT;
}

static int number_of(const ProtobufCFieldDescriptor *field, const struct element *e,
                     struct sluice_number *number)
{
    uint64_t bits;
    double real;
    size_t len;
    const char *text;
    switch (e->type) {
    case ELEMENT_INT32:
        *number = sluice_number_of_int64((int32_t)get_le32(e->value));
        return 1;
    case ELEMENT_INT64:
        *number = sluice_number_of_int64((int64_t)get_le64(e->value));
        return 1;
    case ELEMENT_DATE:
        *number = sluice_number_of_int64((int64_t)get_le64(e->value));
        return !is_real(field);
    case ELEMENT_DOUBLE:
        bits = get_le64(e->value);
        memcpy(&real, &bits, sizeof real);
        *number = sluice_number_of_double(real);
        return 1;
    case ELEMENT_STRING:
        text = string_of(e, &len);
        return !is_real(field) && sluice_number_parse(text, len, number);
    default:
        return 0;
    }
}

static sluice_rc read_number(struct reader *r, const ProtobufCFieldDescriptor *field,
                             const struct element *e, void *place, const struct sluice_path *path)
{
    struct sluice_number number;
    if (!number_of(field, e, &number)) {
        return unexpected(r, e, path, is_real(field) ? "number" : "integer");
    }
    if (!sluice_builder_set_number(field, place, &number)) {
        return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION, "number that is no %s",
                                sluice_field_type_name(field->type));
    }
    return SLUICE_OK;
}

static sluice_rc read_enum(struct reader *r, const ProtobufCFieldDescriptor *field,
                           const struct element *e, void *place, const struct sluice_path *path)
{
    if (e->type != ELEMENT_STRING) {
        return read_number(r, field, e, place, path);
    }
    size_t len;
    const char *name = string_of(e, &len);
    const ProtobufCEnumValue *value = sluice_field_enum_named(field, name, len);
    if (value == NULL) {
        return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION,
                                "expected name of a value of %s, got another string",
                                ((const ProtobufCEnumDescriptor *)field->descriptor)->name);
    }
    int32_t number = value->value;
    memcpy(place, &number, sizeof number);
    return SLUICE_OK;
}

static sluice_rc read_message(struct reader *r, struct sluice_builder *b, struct cursor c,
                              const struct sluice_path *up);

static sluice_rc read_nested(struct reader *r, const ProtobufCFieldDescriptor *field,
                             const struct element *e, void *place, const struct sluice_path *path)
{
    struct sluice_builder nested;
    if (e->type != ELEMENT_DOCUMENT) {
        return unexpected(r, e, path, "document");
    }
    if (!sluice_builder_init(&nested, field->descriptor, &r->budget)) {
        return no_memory(r);
    }
    memcpy(place, &nested.message, sizeof nested.message);
    return read_message(r, &nested, inside(e), path);
}

static sluice_rc read_value(struct reader *r, struct sluice_builder *b,
                            const ProtobufCFieldDescriptor *field, const struct element *e,
                            void *place, const struct sluice_path *path)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return read_text(r, b, e, place, path);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, b, e, place, path);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, field, e, place, path);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_nested(r, field, e, place, path);
    case PROTOBUF_C_TYPE_BOOL: {
        protobuf_c_boolean value = e->type == ELEMENT_BOOL && e->value[0] != 0;
        memcpy(place, &value, sizeof value);
        return e->type == ELEMENT_BOOL ? SLUICE_OK : unexpected(r, e, path, "bool");
    }
    default:
        return read_number(r, field, e, place, path);
    }
}

static sluice_rc read_list(struct reader *r, struct sluice_builder *b,
                           const ProtobufCFieldDescriptor *field, const struct element *e,
                           struct sluice_path *path)
{
    struct sluice_builder_list list = {0};
    struct element item;
    if (e->type != ELEMENT_ARRAY) {
        return unexpected(r, e, path, "array");
    }
    struct cursor c = inside(e);
    for (;;) {
        sluice_rc rc = next_element(r, &c, path, &item);
        if (rc != SLUICE_OK) {
            return rc;
        }
        if (item.type == 0) {
            break;
        }
        path->index = (int64_t)list.count;
        void *place = sluice_builder_add(b, &list, field);
        if (place == NULL) {
            return no_memory(r);
        }
        if ((rc = read_value(r, b, field, &item, place, path)) != SLUICE_OK) {
            return rc;
        }
    }
    sluice_builder_set_list(b, field, &list);
    return SLUICE_OK;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The map's key that a name stands for, see bson.h: escapes that the writer does not make are taken
 * as they are, so that documents of others can be read too. Needs as much room as the name. */
static size_t unescape_key(const struct element *e, char *key)
{
    size_t len = 0;
    if (e->name_len == 1 && e->name[0] == '%') {
        return 0;
    }
    for (size_t i = 0; i < e->name_len; i++) {
        char c = e->name[i];
        if (c == '%' && e->name_len - i >= 3) {
            int high = hex_value(e->name[i + 1]);
            int low = hex_value(e->name[i + 2]);
            int byte = high < 0 || low < 0 ? -1 : high * 16 + low;
            if (byte == '%' || byte == '.' || (byte == '$' && i == 0)) {
                c = (char)byte;
                i += 2;
            }
        }
        key[len++] = c;
    }
    return len;
}

static sluice_rc read_entry(struct reader *r, struct sluice_builder *b,
                            struct sluice_builder_list *list, const ProtobufCFieldDescriptor *map,
                            const struct element *e, struct sluice_path *path)
{
    struct sluice_builder entry;
    path->key = e->name;
    path->key_len = e->name_len;
    char *key = sluice_budget_alloc(&r->budget, e->name_len + 1);
    if (key == NULL || !sluice_builder_add_entry(b, list, map, &entry)) {
        return no_memory(r);
    }
    if (sluice_utf8_span(e->name, e->name_len) != e->name_len) {
        return malformed(r, (const uint8_t *)e->name, path, "invalid UTF-8 in a key");
    }
    int is_set = sluice_builder_set_key(&entry, key, unescape_key(e, key));
    if (is_set <= 0) {
        return is_set < 0
                   ? no_memory(r)
                   : sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION, "key is no %s",
                                      sluice_field_type_name(sluice_field_map_part(map, 0)->type));
    }
    const ProtobufCFieldDescriptor *value = sluice_field_map_part(map, 1);
    return read_value(r, &entry, value, e, sluice_builder_place(&entry, value), path);
}

static sluice_rc read_map(struct reader *r, struct sluice_builder *b,
                          const ProtobufCFieldDescriptor *map, const struct element *e,
                          struct sluice_path *path)
{
    struct sluice_builder_list list = {0};
    struct element item;
    if (e->type != ELEMENT_DOCUMENT) {
        return unexpected(r, e, path, "document");
    }
    struct cursor c = inside(e);
    for (;;) {
        sluice_rc rc = next_element(r, &c, path, &item);
        if (rc != SLUICE_OK) {
            return rc;
        }
        if (item.type == 0) {
            break;
        }
        if ((rc = read_entry(r, b, &list, map, &item, path)) != SLUICE_OK) {
            return rc;
        }
    }
    sluice_builder_set_list(b, map, &list);
    return SLUICE_OK;
}

static sluice_rc read_field(struct reader *r, struct sluice_builder *b,
                            const ProtobufCFieldDescriptor *field, const struct element *e,
                            const struct sluice_path *up)
{
    struct sluice_path path = {.up = up, .name = field->name, .index = -1};
    if (!sluice_builder_note(b, field)) {
        return sluice_path_fail(&path, r->err, SLUICE_ERR_VALIDATION, "comes twice, expected once");
    }
    if (e->type == ELEMENT_NULL || e->type == ELEMENT_UNDEFINED) {
        return SLUICE_OK;
    }
    if (sluice_field_is_list(field)) {
        return sluice_field_is_map(b->message->descriptor, field)
                   ? read_map(r, b, field, e, &path)
                   : read_list(r, b, field, e, &path);
    }
    void *place = sluice_builder_place(b, field);
    if (place == NULL) {
        return sluice_path_fail(&path, r->err, SLUICE_ERR_VALIDATION,
                                "another member of its oneof is there, expected one of them");
    }
    return read_value(r, b, field, e, place, &path);
}

static sluice_rc read_message(struct reader *r, struct sluice_builder *b, struct cursor c,
                              const struct sluice_path *up)
{
    struct element e;
    if (r->depth == r->depth_max) {
        return sluice_path_fail(up, r->err, SLUICE_ERR_TOO_LARGE, "messages nested deeper than %u",
                                r->depth_max);
    }
    r->depth++;
    for (;;) {
        sluice_rc rc = next_element(r, &c, up, &e);
        if (rc != SLUICE_OK) {
            return rc;
        }
        if (e.type == 0) {
            break;
        }
        const ProtobufCFieldDescriptor *field =
            sluice_field_by_name(b->message->descriptor, e.name, e.name_len);
        if (field != NULL && (rc = read_field(r, b, field, &e, up)) != SLUICE_OK) {
            return rc;
        }
    }
    r->depth--;
    return SLUICE_OK;
}

sluice_rc sluice_bson_read(const ProtobufCMessageDescriptor *type, sluice_bytes document,
                           const struct sluice_limits *limits, struct sluice_arena *arena,
                           ProtobufCMessage **message, struct sluice_err *err)
{
    struct sluice_limits filled = sluice_limits_fill(limits);
    size_t size_max =
        limits == NULL || limits->size_max == 0 ? SLUICE_BSON_SIZE_MAX : limits->size_max;
    struct reader r = {.begin = document.data,
                       .budget = sluice_budget_of(arena, filled.memory_max),
                       .err = err,
                       .depth_max = filled.depth_max,
                       .values_max = filled.fields_max};
    struct sluice_builder b;
    if (document.len > size_max) {
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE,
                              "document of %zu bytes, expected at most %zu", document.len,
                              size_max);
    }
    if (sluice_bson_document_len(document.data, document.len) != document.len ||
        document.len == 0) {
        return sluice_err_set(err, SLUICE_ERR_DECODE, "%zu bytes that are no BSON document",
                              document.len);
    }
    if (!sluice_builder_init(&b, type, &r.budget)) {
        return no_memory(&r);
    }
    struct cursor c = {.at = r.begin + 4, .end = r.begin + document.len - 1};
    sluice_rc rc = read_message(&r, &b, c, NULL);
    if (rc != SLUICE_OK) {
        return rc;
    }
    *message = b.message;
    return SLUICE_OK;
}

sluice_rc sluice_bson_to_proto(const ProtobufCMessageDescriptor *type, sluice_bytes document,
                               struct sluice_arena *arena, ProtobufCMessage **message,
                               struct sluice_err *err)
{
    return sluice_bson_read(type, document, NULL, arena, message, err);
}
