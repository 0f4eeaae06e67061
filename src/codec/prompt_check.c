/* SPDX-License-Identifier: Apache-2.0 */
/* What the names of a prompt mean: by types alone (the check) and in messages (for the renderer).
 */
#include "codec/prompt_node.h"

#include "codec/field.h"
#include <stdio.h>

sluice_rc prompt_fail(const struct prompt_walk *w, const struct prompt_node *node, sluice_rc rc,
                      const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return sluice_err_set(w->err, rc, "%s:%u:%u: %s", w->prompt->name, node->line, node->column,
                          reason);
}

static int is_named(const char *name, const char *given, size_t len)
{
    return strlen(name) == len && memcmp(name, given, len) == 0;
}

/* A named message, as a whole; 0 when there is none. */
static int find_named(const struct prompt_walk *w, const char *name, size_t len,
                      struct prompt_target *target)
{
    for (uint32_t i = 0; i < w->named_count; i++) {
        if (w->types != NULL && is_named(w->types[i].name, name, len)) {
            *target = (struct prompt_target){.type = w->types[i].type};
            return 1;
        }
        if (w->vars != NULL && is_named(w->vars[i].name, name, len)) {
            const ProtobufCMessage *message = w->vars[i].message;
            *target = (struct prompt_target){.type = message->descriptor, .message = message};
            return 1;
        }
    }
    return 0;
}

static int find_field(const struct prompt_scope *scope, const char *name, size_t len,
                      struct prompt_target *target)
{
    for (; scope != NULL; scope = scope->up) {
        const ProtobufCFieldDescriptor *field =
            scope->type == NULL ? NULL : sluice_field_by_name(scope->type, name, len);
        if (field != NULL) {
            *target = (struct prompt_target){
                .type = scope->type, .message = scope->message, .field = field};
            return 1;
        }
    }
    return 0;
}

/* The message that a field of the path stands for. */
static sluice_rc descend(const struct prompt_walk *w, const struct prompt_node *node,
                         struct prompt_target *target)
{
    const ProtobufCFieldDescriptor *field = target->field;
    if (field == NULL) {
        return SLUICE_OK;
    }
    if (sluice_field_is_list(field)) {
        return prompt_fail(w, node, SLUICE_ERR_CONFIG, "\"%s\" is a list, expected {{#%s}} first",
                           field->name, field->name);
    }
    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return prompt_fail(w, node, SLUICE_ERR_CONFIG, "\"%s\" is of type %s and has no fields",
                           field->name, sluice_field_type_name(field->type));
    }
    const ProtobufCMessage *message = NULL;
    if (target->message != NULL && sluice_field_is_set(target->message, field)) {
        message = sluice_field_message(sluice_field_member(target->message, field));
        if (!sluice_field_is_message(message) || message->descriptor != field->descriptor) {
            return prompt_fail(w, node, SLUICE_ERR_VALIDATION, "\"%s\" is not initialised",
                               field->name);
        }
    }
    *target = (struct prompt_target){.type = field->descriptor, .message = message};
    return SLUICE_OK;
}

sluice_rc prompt_resolve(const struct prompt_walk *w, const struct prompt_node *node,
                         const struct prompt_scope *scope, struct prompt_target *target)
{
    const char *name = node->text;
    const char *end = name + node->len;
    if (node->len == 1 && *name == '.') {
        if (scope == NULL) {
            return prompt_fail(w, node, SLUICE_ERR_CONFIG, "{{.}} without a message");
        }
        *target = (struct prompt_target){.type = scope->type,
                                         .message = scope->message,
                                         .field = scope->field,
                                         .member = scope->member};
        return SLUICE_OK;
    }
    const char *dot = memchr(name, '.', node->len);
    size_t len = (size_t)((dot == NULL ? end : dot) - name);
    if (!find_field(scope, name, len, target) && !find_named(w, name, len, target)) {
        return prompt_fail(w, node, SLUICE_ERR_CONFIG, "unknown field \"%.*s\"", (int)len, name);
    }
    while (dot != NULL) {
        sluice_rc rc = descend(w, node, target);
        if (rc != SLUICE_OK) {
            return rc;
        }
        name = dot + 1;
        dot = memchr(name, '.', (size_t)(end - name));
        len = (size_t)((dot == NULL ? end : dot) - name);
        target->field = sluice_field_by_name(target->type, name, len);
        if (target->field == NULL) {
            return prompt_fail(w, node, SLUICE_ERR_CONFIG, "unknown field \"%.*s\" of %s", (int)len,
                               name, target->type->name);
        }
    }
    return SLUICE_OK;
}

struct prompt_scope prompt_enter(const struct prompt_target *target, const struct prompt_scope *up)
{
    const ProtobufCFieldDescriptor *field = target->field;
    if (field == NULL) {
        return (struct prompt_scope){.up = up, .type = target->type, .message = target->message};
    }
    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        const void *member = target->member;
        if (member == NULL && target->message != NULL) {
            member = sluice_field_member(target->message, field);
        }
        return (struct prompt_scope){.up = up, .field = field, .member = member};
    }
    const ProtobufCMessage *message = NULL;
    if (target->message != NULL) {
        message = sluice_field_message(sluice_field_member(target->message, field));
    }
    return (struct prompt_scope){.up = up, .type = field->descriptor, .message = message};
}

sluice_rc prompt_check_value(const struct prompt_walk *w, const struct prompt_node *node,
                             const struct prompt_target *target)
{
    const ProtobufCFieldDescriptor *field = target->field;
    int is_element = target->type == NULL;
    const char *what = NULL;
    if (node->is_json) {
        return SLUICE_OK;
    }
    if (field == NULL || field->type == PROTOBUF_C_TYPE_MESSAGE) {
        what = "a message";
    }
    if (field != NULL && field->type == PROTOBUF_C_TYPE_BYTES) {
        what = "bytes";
    }
    if (field != NULL && !is_element && sluice_field_is_list(field)) {
        what = "a list";
    }
    return what == NULL ? SLUICE_OK
                        : prompt_fail(w, node, SLUICE_ERR_CONFIG,
                                      "\"%.*s\" is %s, expected a section or |json", (int)node->len,
                                      node->text, what);
}

static sluice_rc check_nodes(const struct prompt_walk *w, uint32_t first, uint32_t end,
                             const struct prompt_scope *scope)
{
    for (uint32_t i = first; i < end; i++) {
        const struct prompt_node *node = &w->prompt->nodes[i];
        struct prompt_target target;
        sluice_rc rc;
        if (node->kind == PROMPT_TEXT) {
            continue;
        }
        if ((rc = prompt_resolve(w, node, scope, &target)) != SLUICE_OK) {
            return rc;
        }
        if (node->kind == PROMPT_VALUE) {
            rc = prompt_check_value(w, node, &target);
        } else {
            struct prompt_scope inside = prompt_enter(&target, scope);
            rc = check_nodes(w, i + 1, node->end, node->kind == PROMPT_SECTION ? &inside : scope);
            i = node->end - 1;
        }
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    return SLUICE_OK;
}

sluice_rc sluice_prompt_check(const struct sluice_prompt *prompt,
                              const ProtobufCMessageDescriptor *vars,
                              const struct sluice_prompt_type *more, uint32_t more_count,
                              struct sluice_err *err)
{
    struct prompt_walk w = {.prompt = prompt, .types = more, .named_count = more_count, .err = err};
    struct prompt_scope outermost = {.type = vars};
    const struct prompt_scope *scope = vars == NULL ? NULL : &outermost;
    sluice_rc rc = check_nodes(&w, prompt->system.first, prompt->system.end, scope);
    return rc == SLUICE_OK ? check_nodes(&w, prompt->user.first, prompt->user.end, scope) : rc;
}
