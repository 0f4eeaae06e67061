/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/schema.h"

#include "codec/buffer.h"
#include "codec/field.h"
#include "codec/json_text.h"
#include "codec/path.h"

#define SCRATCH_SIZE    2048u
#define SCHEMA_SIZE_MAX (1024u * 1024u)

struct writer {
    struct sluice_buffer out;
    struct sluice_err *err;
    uint32_t depth, properties;
    const ProtobufCMessageDescriptor *open[SLUICE_SCHEMA_DEPTH_MAX]; /* to notice recursion */
};

static void put(struct writer *w, const char *text)
{
    sluice_buffer_text(&w->out, text);
}

static void put_name(struct writer *w, const char *name)
{
    sluice_buffer_json(&w->out, name, strlen(name));
}

static sluice_rc write_object(struct writer *w, const ProtobufCMessageDescriptor *type,
                              const struct sluice_path *path);

static void write_enum(struct writer *w, const ProtobufCEnumDescriptor *type, int is_nullable)
{
    int is_first = 1;
    put(w, is_nullable ? "{\"type\":[\"string\",\"null\"],\"enum\":["
                       : "{\"type\":\"string\",\"enum\":[");
    for (unsigned i = 0; i < type->n_values; i++) {
        if (sluice_field_enum_is_placeholder(type, &type->values[i])) {
            continue;
        }
        put(w, is_first ? "" : ",");
        put_name(w, type->values[i].name);
        is_first = 0;
    }
    put(w, is_nullable ? ",null]}" : "]}");
}

static const char *simple_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return "string";
    case PROTOBUF_C_TYPE_BOOL:
        return "boolean";
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return "number";
    default:
        return "integer";
    }
}

static sluice_rc write_value(struct writer *w, const ProtobufCFieldDescriptor *field,
                             const struct sluice_path *path)
{
    int is_nullable = sluice_field_is_nullable(field);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        put(w, is_nullable ? "{\"anyOf\":[" : "");
        sluice_rc rc = write_object(w, field->descriptor, path);
        put(w, is_nullable ? ",{\"type\":\"null\"}]}" : "");
        return rc;
    }
    if (field->type == PROTOBUF_C_TYPE_ENUM) {
        write_enum(w, field->descriptor, is_nullable);
        return SLUICE_OK;
    }
    put(w, is_nullable ? "{\"type\":[\"" : "{\"type\":\"");
    put(w, simple_type(field->type));
    put(w, is_nullable ? "\",\"null\"]" : "\"");
    put(w, field->type == PROTOBUF_C_TYPE_BYTES ? ",\"description\":\"base64\"}" : "}");
    return SLUICE_OK;
}

static sluice_rc write_property(struct writer *w, const ProtobufCMessageDescriptor *of,
                                const ProtobufCFieldDescriptor *field, const struct sluice_path *up)
{
    struct sluice_path path = {.up = up, .name = field->name, .index = -1};
    if (++w->properties > SLUICE_SCHEMA_PROPERTIES_MAX) {
        return sluice_path_fail(&path, w->err, SLUICE_ERR_TOO_LARGE,
                                "schema of more than %u properties", SLUICE_SCHEMA_PROPERTIES_MAX);
    }
    if (sluice_field_is_map(of, field)) {
        return sluice_path_fail(&path, w->err, SLUICE_ERR_UNSUPPORTED,
                                "a map, which structured output cannot express; expected a list");
    }
    put_name(w, field->name);
    put(w, ":");
    if (!sluice_field_is_list(field)) {
        return write_value(w, field, &path);
    }
    put(w, "{\"type\":\"array\",\"items\":");
    sluice_rc rc = write_value(w, field, &path);
    put(w, "}");
    return rc;
}

static sluice_rc write_object(struct writer *w, const ProtobufCMessageDescriptor *type,
                              const struct sluice_path *path)
{
    for (uint32_t i = 0; i < w->depth; i++) {
        if (w->open[i] == type) {
            return sluice_path_fail(path, w->err, SLUICE_ERR_UNSUPPORTED,
                                    "%s contains itself, which structured output cannot express",
                                    type->name);
        }
    }
    if (w->depth == SLUICE_SCHEMA_DEPTH_MAX) {
        return sluice_path_fail(path, w->err, SLUICE_ERR_TOO_LARGE, "objects nested deeper than %u",
                                SLUICE_SCHEMA_DEPTH_MAX);
    }
    w->open[w->depth++] = type;
    put(w, "{\"type\":\"object\",\"properties\":{");
    for (unsigned i = 0; i < type->n_fields; i++) {
        put(w, i > 0 ? "," : "");
        sluice_rc rc = write_property(w, type, type->fields + i, path);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    put(w, "},\"required\":[");
    for (unsigned i = 0; i < type->n_fields; i++) {
        put(w, i > 0 ? "," : "");
        put_name(w, type->fields[i].name);
    }
    put(w, "],\"additionalProperties\":false}");
    w->depth--;
    return SLUICE_OK;
}

sluice_rc sluice_schema_build(const ProtobufCMessageDescriptor *type, struct sluice_arena *arena,
                              const char **text, struct sluice_err *err)
{
    char scratch[SCRATCH_SIZE];
    struct writer w = {.err = err};
    sluice_buffer_init_within(&w.out, arena, scratch, sizeof scratch, SCHEMA_SIZE_MAX);
    sluice_rc rc = write_object(&w, type, NULL);
    sluice_bytes whole;
    if (rc != SLUICE_OK || (rc = sluice_buffer_finish(&w.out, err, &whole)) != SLUICE_OK) {
        return rc;
    }
    *text = whole.data;
    return SLUICE_OK;
}
