/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/prompt_node.h"

#include "codec/buffer.h"
#include "codec/field.h"
#include "codec/json_value.h"
#include "codec/number.h"
#include "codec/proto_json.h"
#include "codec/utf8.h"

#define SCRATCH_SIZE 4096u
#define STEPS_MAX    2000000u /* nodes and elements visited: lists inside lists multiply */

struct renderer {
    struct prompt_walk walk;
    struct sluice_buffer *out;
    uint32_t steps;
};

static sluice_rc render_nodes(struct renderer *r, uint32_t first, uint32_t end,
                              const struct prompt_scope *scope);

static sluice_rc count_step(struct renderer *r, const struct prompt_node *node)
{
    return ++r->steps <= STEPS_MAX
               ? SLUICE_OK
               : prompt_fail(&r->walk, node, SLUICE_ERR_TOO_LARGE,
                             "more than %u steps through lists inside lists", STEPS_MAX);
}

static sluice_rc put_text(struct renderer *r, const struct prompt_node *node, const void *member)
{
    const char *text = sluice_field_text(member);
    size_t len = strlen(text);
    if (sluice_utf8_span(text, len) != len) {
        return prompt_fail(&r->walk, node, SLUICE_ERR_VALIDATION, "\"%.*s\" holds invalid UTF-8",
                           (int)node->len, node->text);
    }
    sluice_buffer_add(r->out, text, len);
    return SLUICE_OK;
}

static void put_enum(struct renderer *r, const ProtobufCFieldDescriptor *field, int32_t number)
{
    char text[SLUICE_NUMBER_SIZE];
    const ProtobufCEnumValue *value = sluice_field_enum_value(field, number);
    if (value != NULL) {
        sluice_buffer_text(r->out, value->name);
    } else {
        sluice_buffer_add(r->out, text, sluice_number_write_int64(number, text));
    }
}

static void put_whole(struct renderer *r, ProtobufCType type, const void *member)
{
    char text[SLUICE_NUMBER_SIZE];
    uint64_t wide;
    uint32_t narrow;
    size_t len;
    switch (type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(&wide, member, sizeof wide);
        len = sluice_number_write_uint64(wide, text);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        memcpy(&wide, member, sizeof wide);
        len = sluice_number_write_int64((int64_t)wide, text);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        memcpy(&narrow, member, sizeof narrow);
        len = sluice_number_write_uint64(narrow, text);
        break;
    default:
        memcpy(&narrow, member, sizeof narrow);
        len = sluice_number_write_int64((int32_t)narrow, text);
        break;
    }
    sluice_buffer_add(r->out, text, len);
}

static sluice_rc put_value(struct renderer *r, const struct prompt_node *node,
                           const ProtobufCFieldDescriptor *field, const void *member)
{
    double real;
    float small;
    uint32_t narrow;
    char text[SLUICE_NUMBER_SIZE];
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return put_text(r, node, member);
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&real, member, sizeof real);
        sluice_buffer_add(r->out, text, sluice_number_write_double(real, text));
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        memcpy(&small, member, sizeof small);
        sluice_buffer_add(r->out, text, sluice_number_write_float(small, text));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        memcpy(&narrow, member, sizeof narrow);
        sluice_buffer_text(r->out, narrow != 0 ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        memcpy(&narrow, member, sizeof narrow);
        put_enum(r, field, (int32_t)narrow);
        break;
    default:
        put_whole(r, field->type, member);
        break;
    }
    return SLUICE_OK;
}

/* Is there anything to show? A proto3 scalar always has a value, if only its default. */
static int is_there(const struct prompt_target *target)
{
    const ProtobufCFieldDescriptor *field = target->field;
    if (target->type == NULL) {
        return 1; /* an element */
    }
    if (target->message == NULL) {
        return 0;
    }
    if (field == NULL || sluice_field_is_list(field)) {
        return 1;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE || sluice_field_is_nullable(field)) {
        return sluice_field_is_set(target->message, field);
    }
    return 1;
}

static const void *member_of(const struct prompt_target *target)
{
    return target->type == NULL ? target->member
                                : sluice_field_member(target->message, target->field);
}

static sluice_rc put_json(struct renderer *r, const struct prompt_node *node,
                          const struct prompt_target *target)
{
    struct sluice_err below = {.rc = SLUICE_OK};
    sluice_rc rc;
    if (!is_there(target)) {
        sluice_buffer_text(r->out, "null");
        return SLUICE_OK;
    }
    if (target->field == NULL) {
        rc = sluice_json_put_message(r->out, target->message, SLUICE_JSON_DOCUMENT, &below);
    } else if (target->type == NULL) {
        rc = sluice_json_put_value(r->out, target->field, target->member, SLUICE_JSON_DOCUMENT,
                                   &below);
    } else {
        rc = sluice_json_put_field(r->out, target->message, target->field, SLUICE_JSON_DOCUMENT,
                                   &below);
    }
    return rc == SLUICE_OK ? rc : prompt_fail(&r->walk, node, rc, "%s", below.text);
}

static sluice_rc render_value(struct renderer *r, const struct prompt_node *node,
                              const struct prompt_scope *scope)
{
    static const uint64_t zeros[2];
    struct prompt_target target;
    sluice_rc rc = prompt_resolve(&r->walk, node, scope, &target);
    if (rc != SLUICE_OK || (rc = prompt_check_value(&r->walk, node, &target)) != SLUICE_OK) {
        return rc;
    }
    if (node->is_json) {
        return put_json(r, node, &target);
    }
    if (is_there(&target)) {
        return put_value(r, node, target.field, member_of(&target));
    }
    /* A field of a message that is not there reads as in an empty one. */
    return sluice_field_is_nullable(target.field) ? SLUICE_OK
                                                  : put_value(r, node, target.field, zeros);
}

/* Is the field set, the list not empty? */
static int is_true(const struct prompt_target *target)
{
    const ProtobufCFieldDescriptor *field = target->field;
    if (target->type == NULL) {
        return target->member != NULL && !sluice_field_is_zero(field, target->member);
    }
    if (target->message == NULL || field == NULL) {
        return target->message != NULL;
    }
    return sluice_field_is_list(field) ? sluice_field_count(target->message, field) != 0
                                       : sluice_field_is_set(target->message, field);
}

static sluice_rc render_list(struct renderer *r, const struct prompt_node *node, uint32_t first,
                             const struct prompt_target *target, const struct prompt_scope *scope)
{
    const ProtobufCFieldDescriptor *field = target->field;
    size_t count = sluice_field_count(target->message, field);
    const char *element = sluice_field_elements(target->message, field);
    size_t size = sluice_field_size(field->type);
    if (element == NULL && count != 0) {
        return prompt_fail(&r->walk, node, SLUICE_ERR_VALIDATION, "\"%s\" is NULL, expected a list",
                           field->name);
    }
    for (size_t i = 0; i < count && r->out->rc == SLUICE_OK; i++, element += size) {
        struct prompt_scope inside = {.up = scope, .field = field, .member = element};
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            const ProtobufCMessage *message = sluice_field_message(element);
            if (!sluice_field_is_message(message) || message->descriptor != field->descriptor) {
                return prompt_fail(&r->walk, node, SLUICE_ERR_VALIDATION,
                                   "\"%s\"[%zu] is NULL or not initialised", field->name, i);
            }
            inside =
                (struct prompt_scope){.up = scope, .type = message->descriptor, .message = message};
        }
        sluice_rc rc = count_step(r, node);
        if (rc != SLUICE_OK || (rc = render_nodes(r, first, node->end, &inside)) != SLUICE_OK) {
            return rc;
        }
    }
    return SLUICE_OK;
}

static sluice_rc render_section(struct renderer *r, uint32_t index,
                                const struct prompt_scope *scope)
{
    const struct prompt_node *node = &r->walk.prompt->nodes[index];
    struct prompt_target target;
    sluice_rc rc = prompt_resolve(&r->walk, node, scope, &target);
    if (rc != SLUICE_OK) {
        return rc;
    }
    int is_wanted = node->kind == PROMPT_SECTION;
    if (is_true(&target) != is_wanted) {
        return SLUICE_OK;
    }
    if (!is_wanted) {
        return render_nodes(r, index + 1, node->end, scope);
    }
    if (target.field != NULL && target.type != NULL && sluice_field_is_list(target.field)) {
        return render_list(r, node, index + 1, &target, scope);
    }
    struct prompt_scope inside = prompt_enter(&target, scope);
    if (inside.type != NULL &&
        (!sluice_field_is_message(inside.message) || inside.message->descriptor != inside.type)) {
        return prompt_fail(&r->walk, node, SLUICE_ERR_VALIDATION, "\"%.*s\" is not initialised",
                           (int)node->len, node->text);
    }
    return render_nodes(r, index + 1, node->end, &inside);
}

static sluice_rc render_nodes(struct renderer *r, uint32_t first, uint32_t end,
                              const struct prompt_scope *scope)
{
    sluice_rc rc = SLUICE_OK;
    for (uint32_t i = first; i < end && rc == SLUICE_OK; i++) {
        const struct prompt_node *node = &r->walk.prompt->nodes[i];
        if ((rc = count_step(r, node)) != SLUICE_OK) {
            return rc;
        }
        if (node->kind == PROMPT_TEXT) {
            sluice_buffer_add(r->out, node->text, node->len);
        } else if (node->kind == PROMPT_VALUE) {
            rc = render_value(r, node, scope);
        } else {
            rc = render_section(r, i, scope);
            i = node->end - 1;
        }
    }
    return rc;
}

static sluice_rc check_messages(const struct prompt_walk *w, const ProtobufCMessage *vars)
{
    if (vars != NULL && !sluice_field_is_message(vars)) {
        return sluice_err_set(w->err, SLUICE_ERR_VALIDATION,
                              "%s: variables that are no initialised message", w->prompt->name);
    }
    for (uint32_t i = 0; i < w->named_count; i++) {
        if (w->vars[i].name == NULL || !sluice_field_is_message(w->vars[i].message)) {
            return sluice_err_set(w->err, SLUICE_ERR_VALIDATION,
                                  "%s: variable %u has no name or is no initialised message",
                                  w->prompt->name, i);
        }
    }
    return SLUICE_OK;
}

static sluice_rc render_part(struct renderer *r, const struct prompt_part *part,
                             const struct prompt_scope *scope, struct sluice_arena *arena,
                             size_t *left, const char **text)
{
    char scratch[SCRATCH_SIZE];
    struct sluice_buffer out;
    sluice_bytes whole;
    *text = NULL;
    if (!part->is_present) {
        return SLUICE_OK;
    }
    sluice_buffer_init_within(&out, arena, scratch, sizeof scratch, *left);
    r->out = &out;
    sluice_rc rc = render_nodes(r, part->first, part->end, scope);
    if (rc != SLUICE_OK || (rc = sluice_buffer_finish(&out, r->walk.err, &whole)) != SLUICE_OK) {
        return rc == SLUICE_ERR_TOO_LARGE && out.rc == rc
                   ? sluice_err_set(r->walk.err, rc, "%s: more than %u bytes when filled",
                                    r->walk.prompt->name, SLUICE_PROMPT_OUTPUT_MAX)
                   : rc;
    }
    *left -= whole.len;
    *text = whole.data;
    return SLUICE_OK;
}

sluice_rc sluice_prompt_render(const struct sluice_prompt *prompt, const ProtobufCMessage *vars,
                               const sluice_var *more, uint32_t more_count,
                               struct sluice_arena *arena, struct sluice_prompt_text *out,
                               struct sluice_err *err)
{
    struct renderer r = {
        .walk = {.prompt = prompt, .vars = more, .named_count = more_count, .err = err}};
    struct sluice_prompt_text text;
    size_t left = SLUICE_PROMPT_OUTPUT_MAX;
    sluice_rc rc = check_messages(&r.walk, vars);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct prompt_scope outermost = {.message = vars};
    const struct prompt_scope *scope = NULL;
    if (vars != NULL) {
        outermost.type = vars->descriptor;
        scope = &outermost;
    }
    if ((rc = render_part(&r, &prompt->system, scope, arena, &left, &text.system)) != SLUICE_OK ||
        (rc = render_part(&r, &prompt->user, scope, arena, &left, &text.user)) != SLUICE_OK) {
        return rc;
    }
    *out = text;
    return SLUICE_OK;
}
