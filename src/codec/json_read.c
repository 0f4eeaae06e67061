/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign JSON → message. The text has passed sluice_json_check, so the reader below walks it
 * without looking for its end; what it judges is whether the values fit the type. It reads the text
 * itself, not cJSON's tree, because that keeps numbers as doubles. */
#include "codec/proto_json.h"

#include "codec/base64.h"
#include "codec/builder.h"
#include "codec/field.h"
#include "codec/json_text.h"
#include "codec/path.h"
#include <math.h>

struct reader {
    const char *at;
    struct sluice_budget budget;
    struct sluice_err *err;
    unsigned flags;
    uint32_t depth, depth_max;
};

/* The inside of a string, its escapes undone. */
struct text {
    const char *data;
    size_t len;
};

static char next_char(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r') {
        r->at++;
    }
    return *r->at;
}

static const char *kind_name(char first)
{
    switch (first) {
    case '"':
        return "string";
    case '{':
        return "object";
    case '[':
        return "array";
    case 't':
    case 'f':
        return "boolean";
    case 'n':
        return "null";
    default:
        return "number";
    }
}

static sluice_rc unexpected(struct reader *r, const struct sluice_path *path, const char *expected)
{
    return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION, "expected %s, got %s", expected,
                            kind_name(*r->at));
}

/* Move behind the string at `at`; its inside as it stands. */
static struct text raw_string(struct reader *r, int *has_escape)
{
    const char *begin = ++r->at;
    while (*r->at != '"') {
        if (*r->at == '\\') {
            *has_escape = 1;
            r->at++;
        }
        r->at++;
    }
    return (struct text){.data = begin, .len = (size_t)(r->at++ - begin)};
}

/* As above, escapes undone in memory of the message's; 0 when that ran out. */
static int read_string(struct reader *r, struct text *text)
{
    int has_escape = 0;
    *text = raw_string(r, &has_escape);
    if (has_escape) {
        char *plain = sluice_budget_alloc(&r->budget, text->len);
        if (plain == NULL) {
            return 0;
        }
        *text =
            (struct text){.data = plain, .len = sluice_json_unescape(text->data, text->len, plain)};
    }
    return 1;
}

static void skip_value(struct reader *r)
{
    int ignored = 0;
    uint32_t open = 0;
    (void)next_char(r);
    do {
        char c = *r->at;
        if (c == '"') {
            (void)raw_string(r, &ignored);
            continue;
        }
        if (c == '{' || c == '[') {
            open++;
        } else if (c == '}' || c == ']') {
            open--;
        }
        r->at++;
        if (open == 0 && c != '}' && c != ']') {
            /* The rest of a number or word ends where the structure goes on, or the text ends. */
            r->at += strcspn(r->at, ",]} \n\t\r");
        }
    } while (open > 0);
}

static sluice_rc no_memory(struct reader *r)
{
    return sluice_budget_fail(&r->budget, r->err);
}

static int is_strict(const struct reader *r)
{
    return (r->flags & SLUICE_JSON_STRICT) != 0;
}

static int is_real(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_DOUBLE || field->type == PROTOBUF_C_TYPE_FLOAT;
}

/* The three values of a double that JSON has no number for. */
static int named_real(const struct text *text, struct sluice_number *number)
{
    static const struct {
        const char *name;
        double value;
    } names[] = {
        {"NaN", (double)NAN}, {"Infinity", (double)INFINITY}, {"-Infinity", -(double)INFINITY}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i].name) == text->len &&
            memcmp(names[i].name, text->data, text->len) == 0) {
            *number = (struct sluice_number){.real = names[i].value};
            return 1;
        }
    }
    return 0;
}

static sluice_rc read_number(struct reader *r, const ProtobufCFieldDescriptor *field, void *place,
                             const struct sluice_path *path)
{
    const char *expected = is_real(field) ? "number" : "integer";
    struct sluice_number number;
    char first = *r->at;
    if (first == '"' && !is_strict(r)) {
        int has_escape = 0;
        struct text text = raw_string(r, &has_escape);
        if (is_real(field) && named_real(&text, &number) &&
            sluice_builder_set_number(field, place, &number)) {
            return SLUICE_OK;
        }
        if (has_escape || !sluice_number_parse(text.data, text.len, &number)) {
            return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION,
                                    "expected %s, got string that is none", expected);
        }
    } else if (first == '-' || (first >= '0' && first <= '9')) {
        size_t len = strcspn(r->at, ",]} \n\t\r");
        if (!sluice_number_parse(r->at, len, &number)) {
            return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION, "malformed number");
        }
        r->at += len;
    } else {
        return unexpected(r, path, expected);
    }
    if (!is_real(field) && !number.is_whole && fabs(number.real) < 1e15) {
        return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION,
                                "expected integer, got number with decimals");
    }
    if (!sluice_builder_set_number(field, place, &number)) {
        return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION, "number out of range of %s",
                                sluice_field_type_name(field->type));
    }
    return SLUICE_OK;
}

static sluice_rc read_bool(struct reader *r, void *place, const struct sluice_path *path)
{
    protobuf_c_boolean value = *r->at == 't';
    if (!value && *r->at != 'f') {
        return unexpected(r, path, "boolean");
    }
    r->at += value ? 4 : 5;
    memcpy(place, &value, sizeof value);
    return SLUICE_OK;
}

static sluice_rc read_enum(struct reader *r, const ProtobufCFieldDescriptor *field, void *place,
                           const struct sluice_path *path)
{
    struct text name;
    if (*r->at != '"') {
        return is_strict(r) || (*r->at != '-' && (*r->at < '0' || *r->at > '9'))
                   ? unexpected(r, path, "name of an enum's value")
                   : read_number(r, field, place, path);
    }
    if (!read_string(r, &name)) {
        return no_memory(r);
    }
    const ProtobufCEnumValue *value = sluice_field_enum_named(field, name.data, name.len);
    const ProtobufCEnumDescriptor *type = field->descriptor;
    if (value == NULL || (is_strict(r) && sluice_field_enum_is_placeholder(type, value))) {
        return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION,
                                "expected name of a value of %s, got another string", type->name);
    }
    int32_t number = value->value;
    memcpy(place, &number, sizeof number);
    return SLUICE_OK;
}

static sluice_rc read_bytes(struct reader *r, void *place, const struct sluice_path *path)
{
    struct text text;
    if (*r->at != '"') {
        return unexpected(r, path, "base64 string");
    }
    if (!read_string(r, &text)) {
        return no_memory(r);
    }
    size_t len;
    char *data = sluice_budget_alloc(&r->budget, text.len / 4 * 3 + 2);
    if (data == NULL) {
        return no_memory(r);
    }
    if (!sluice_base64_decode(text.data, text.len, data, &len)) {
        return sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION,
                                "expected base64 string, got another string");
    }
    ProtobufCBinaryData bytes = {.len = len, .data = len == 0 ? NULL : (uint8_t *)data};
    memcpy(place, &bytes, sizeof bytes);
    return SLUICE_OK;
}

static sluice_rc read_message(struct reader *r, struct sluice_builder *b,
                              const struct sluice_path *up);

static sluice_rc read_nested(struct reader *r, const ProtobufCFieldDescriptor *field, void *place,
                             const struct sluice_path *path)
{
    struct sluice_builder nested;
    if (*r->at != '{') {
        return unexpected(r, path, "object");
    }
    if (!sluice_builder_init(&nested, field->descriptor, &r->budget)) {
        return no_memory(r);
    }
    memcpy(place, &nested.message, sizeof nested.message);
    return read_message(r, &nested, path);
}

/* One value that is not null, at its first character. */
static sluice_rc read_value(struct reader *r, struct sluice_builder *b,
                            const ProtobufCFieldDescriptor *field, void *place,
                            const struct sluice_path *path)
{
    struct text text;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (*r->at != '"') {
            return unexpected(r, path, "string");
        }
        return read_string(r, &text) && sluice_builder_set_text(b, place, text.data, text.len)
                   ? SLUICE_OK
                   : no_memory(r);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, place, path);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, place, path);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, field, place, path);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_nested(r, field, place, path);
    default:
        return read_number(r, field, place, path);
    }
}

static sluice_rc read_list(struct reader *r, struct sluice_builder *b,
                           const ProtobufCFieldDescriptor *field, struct sluice_path *path)
{
    struct sluice_builder_list list = {0};
    if (*r->at != '[') {
        return unexpected(r, path, "array");
    }
    r->at++;
    while (next_char(r) != ']') {
        if (*r->at == ',') {
            r->at++;
            (void)next_char(r);
        }
        path->index = (int64_t)list.count;
        void *place = sluice_builder_add(b, &list, field);
        if (place == NULL) {
            return no_memory(r);
        }
        sluice_rc rc = read_value(r, b, field, place, path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    r->at++;
    sluice_builder_set_list(b, field, &list);
    return SLUICE_OK;
}

static sluice_rc read_entry(struct reader *r, struct sluice_builder *b,
                            struct sluice_builder_list *list, const ProtobufCFieldDescriptor *map,
                            struct sluice_path *path)
{
    struct text key;
    struct sluice_builder entry;
    if (!read_string(r, &key) || !sluice_builder_add_entry(b, list, map, &entry)) {
        return no_memory(r);
    }
    path->key = key.data;
    path->key_len = key.len;
    int is_set = sluice_builder_set_key(&entry, key.data, key.len);
    if (is_set <= 0) {
        return is_set < 0
                   ? no_memory(r)
                   : sluice_path_fail(path, r->err, SLUICE_ERR_VALIDATION, "key is no %s",
                                      sluice_field_type_name(sluice_field_map_part(map, 0)->type));
    }
    (void)next_char(r); /* the colon */
    r->at++;
    (void)next_char(r);
    const ProtobufCFieldDescriptor *value = sluice_field_map_part(map, 1);
    return read_value(r, &entry, value, sluice_builder_place(&entry, value), path);
}

static sluice_rc read_map(struct reader *r, struct sluice_builder *b,
                          const ProtobufCFieldDescriptor *map, struct sluice_path *path)
{
    struct sluice_builder_list list = {0};
    if (*r->at != '{') {
        return unexpected(r, path, "object");
    }
    r->at++;
    while (next_char(r) != '}') {
        if (*r->at == ',') {
            r->at++;
            (void)next_char(r);
        }
        sluice_rc rc = read_entry(r, b, &list, map, path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    r->at++;
    sluice_builder_set_list(b, map, &list);
    return SLUICE_OK;
}

/* The value of a field, at its first character. */
static sluice_rc read_field(struct reader *r, struct sluice_builder *b,
                            const ProtobufCFieldDescriptor *field, const struct sluice_path *up)
{
    struct sluice_path path = {.up = up, .name = field->name, .index = -1};
    if (!sluice_builder_note(b, field)) {
        return sluice_path_fail(&path, r->err, SLUICE_ERR_VALIDATION,
                                "comes twice, in both spellings of its name");
    }
    if (*r->at == 'n' && (!is_strict(r) || sluice_field_is_nullable(field))) {
        r->at += 4;
        return SLUICE_OK;
    }
    if (sluice_field_is_list(field)) {
        return sluice_field_is_map(b->message->descriptor, field) ? read_map(r, b, field, &path)
                                                                  : read_list(r, b, field, &path);
    }
    void *place = sluice_builder_place(b, field);
    if (place == NULL) {
        return sluice_path_fail(&path, r->err, SLUICE_ERR_VALIDATION,
                                "another member of its oneof is there, expected one of them");
    }
    return read_value(r, b, field, place, &path);
}

static sluice_rc read_member(struct reader *r, struct sluice_builder *b,
                             const struct sluice_path *up)
{
    const ProtobufCMessageDescriptor *type = b->message->descriptor;
    struct text name;
    if (!read_string(r, &name)) {
        return no_memory(r);
    }
    (void)next_char(r); /* the colon */
    r->at++;
    (void)next_char(r);
    const ProtobufCFieldDescriptor *field = sluice_field_by_json_name(type, name.data, name.len);
    if (field != NULL) {
        return read_field(r, b, field, up);
    }
    if (is_strict(r) || !(r->flags & SLUICE_JSON_IGNORE_UNKNOWN)) {
        struct sluice_path path = {.up = up, .key = name.data, .key_len = name.len, .index = -1};
        return sluice_path_fail(&path, r->err, SLUICE_ERR_VALIDATION,
                                "unknown, expected a field of %s", type->name);
    }
    skip_value(r);
    return SLUICE_OK;
}

static sluice_rc check_complete(struct reader *r, const struct sluice_builder *b,
                                const struct sluice_path *up)
{
    const ProtobufCMessageDescriptor *type = b->message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (!sluice_builder_has(b, type->fields + i)) {
            struct sluice_path path = {.up = up, .name = type->fields[i].name, .index = -1};
            return sluice_path_fail(&path, r->err, SLUICE_ERR_VALIDATION,
                                    "missing, expected all fields of %s", type->name);
        }
    }
    return SLUICE_OK;
}

/* From the opening bracket to behind the closing one. */
static sluice_rc read_message(struct reader *r, struct sluice_builder *b,
                              const struct sluice_path *up)
{
    if (r->depth == r->depth_max) {
        return sluice_path_fail(up, r->err, SLUICE_ERR_TOO_LARGE, "messages nested deeper than %u",
                                r->depth_max);
    }
    r->depth++;
    r->at++;
    while (next_char(r) != '}') {
        if (*r->at == ',') {
            r->at++;
            (void)next_char(r);
        }
        sluice_rc rc = read_member(r, b, up);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    r->at++;
    r->depth--;
    return is_strict(r) ? check_complete(r, b, up) : SLUICE_OK;
}

sluice_rc sluice_proto_read_json(const ProtobufCMessageDescriptor *type, sluice_bytes text,
                                 unsigned flags, const struct sluice_limits *limits,
                                 struct sluice_arena *arena, ProtobufCMessage **message,
                                 struct sluice_err *err)
{
    struct sluice_limits filled = sluice_limits_fill(limits);
    sluice_rc rc = sluice_json_check(text, &filled, arena, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct reader r = {.at = text.data,
                       .budget = sluice_budget_of(arena, filled.memory_max),
                       .err = err,
                       .flags = flags,
                       .depth_max = filled.depth_max};
    struct sluice_builder b;
    (void)next_char(&r);
    if (*r.at != '{') {
        return unexpected(&r, NULL, "object");
    }
    if (!sluice_builder_init(&b, type, &r.budget)) {
        return no_memory(&r);
    }
    if ((rc = read_message(&r, &b, NULL)) != SLUICE_OK) {
        return rc;
    }
    *message = b.message;
    return SLUICE_OK;
}

sluice_rc sluice_proto_from_json(const ProtobufCMessageDescriptor *type, sluice_bytes text,
                                 unsigned flags, struct sluice_arena *arena,
                                 ProtobufCMessage **message, struct sluice_err *err)
{
    return sluice_proto_read_json(type, text, flags, NULL, arena, message, err);
}
