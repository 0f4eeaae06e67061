/* SPDX-License-Identifier: Apache-2.0 */
/* A compiled prompt, as its parser, its check and its renderer see it. Private to them. */
#ifndef SLUICE_CODEC_PROMPT_NODE_H
#define SLUICE_CODEC_PROMPT_NODE_H

#include "codec/prompt.h"

enum prompt_kind { PROMPT_TEXT, PROMPT_VALUE, PROMPT_SECTION, PROMPT_INVERTED };

struct prompt_node {
    enum prompt_kind kind;
    int is_json;
    const char *text; /* PROMPT_TEXT: as it is; else the name, a.b.c or "." */
    size_t len;
    uint32_t line, column;
    uint32_t end; /* of a section: the index behind its last node */
};

struct prompt_part {
    int is_present;
    uint32_t first, end; /* nodes */
};

struct sluice_prompt {
    struct sluice_allocator allocator;
    struct sluice_arena arena; /* name, source, nodes */
    const char *name;
    struct sluice_prompt_head head;
    struct prompt_node *nodes;
    uint32_t nodes_count, nodes_size;
    struct prompt_part system, user;
};

/* Where a name is looked up: a message's fields, or nowhere within an element that is none. */
struct prompt_scope {
    const struct prompt_scope *up;
    const ProtobufCMessageDescriptor *type;
    const ProtobufCMessage *message;       /* NULL: of the type, but not there */
    const ProtobufCFieldDescriptor *field; /* of an element that is no message */
    const void *member;                    /* the element; NULL while checking */
};

/* What a name means: a field of a message, a message as a whole, or an element. */
struct prompt_target {
    const ProtobufCMessageDescriptor *type; /* of the message, or of the field's owner */
    const ProtobufCMessage *message;        /* NULL: not there */
    const ProtobufCFieldDescriptor *field;  /* NULL: the message as a whole */
    const void *member;                     /* of an element; `type` is then NULL */
};

struct prompt_walk {
    const struct sluice_prompt *prompt;
    const struct sluice_prompt_type *types; /* named messages of a check … */
    const sluice_var *vars;                 /* … or of a rendering */
    uint32_t named_count;
    struct sluice_err *err;
};

/* SLUICE_ERR_CONFIG with the node's place before the text; or another rc. */
SLUICE_PRINTF(4, 5)
sluice_rc prompt_fail(const struct prompt_walk *w, const struct prompt_node *node, sluice_rc rc,
                      const char *format, ...);

/* Look a node's name up. */
SLUICE_MUST_CHECK
sluice_rc prompt_resolve(const struct prompt_walk *w, const struct prompt_node *node,
                         const struct prompt_scope *scope, struct prompt_target *target);

/* The scope inside a section on the target, when it is no list. `up` when nothing is entered. */
struct prompt_scope prompt_enter(const struct prompt_target *target, const struct prompt_scope *up);

/* Can the target stand where one value is expected? SLUICE_ERR_CONFIG. */
SLUICE_MUST_CHECK
sluice_rc prompt_check_value(const struct prompt_walk *w, const struct prompt_node *node,
                             const struct prompt_target *target);

#endif
