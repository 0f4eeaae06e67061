/* SPDX-License-Identifier: Apache-2.0 */
/* Prompt files: what the language model is told, with places for the fields of messages.
 *
 *     ---                            an optional head: model, temperature, max_tokens
 *     temperature: 0.2
 *     ---
 *     # system                       sections; a file without any is all user
 *     Answer in {{language}}.
 *     # user
 *     {{#items}}                     a strict subset of mustache
 *     - {{name}}: {{score}}
 *     {{/items}}
 *
 * {{a}}, {{a.b}} (and {{{a}}}, which is the same: nothing is ever HTML-escaped) · {{a|json}} ·
 * {{#a}}…{{/a}}: for each element of a list (of a map: with {{key}} and {{value}}), or once when a
 * field is set · {{^a}}…{{/a}}: when it is not · {{.}}: the element itself · {{! a comment }}.
 * Section and comment tags alone on their line leave no line behind. A name is looked up in the
 * innermost section's message first, then outwards, then among the named messages. Blank lines
 * around a section of the file are dropped. */
#ifndef SLUICE_CODEC_PROMPT_H
#define SLUICE_CODEC_PROMPT_H

#include "core/arena.h"
#include "core/engine.h"
#include "core/err.h"
#include <protobuf-c/protobuf-c.h>

#define SLUICE_PROMPT_SIZE_MAX   (256u * 1024u)  /* bytes of a file */
#define SLUICE_PROMPT_OUTPUT_MAX (1024u * 1024u) /* bytes of system and user together */
#define SLUICE_PROMPT_DEPTH_MAX  16u             /* sections inside each other */

struct sluice_prompt;

/* What the head says. */
struct sluice_prompt_head {
    const char *model;   /* NULL: nothing */
    double temperature;  /* 0…2; negative: nothing */
    uint32_t max_tokens; /* 0: nothing */
};

struct sluice_prompt_text {
    const char *system; /* NULL without such a section */
    const char *user;
};

/* The type of a named message. */
struct sluice_prompt_type {
    const char *name;
    const ProtobufCMessageDescriptor *type;
};

/* Compile. `name` is for errors, "name:line:column: …"; it and the source are copied. The allocator
 * is borrowed until destroy. Errors: SLUICE_ERR_CONFIG; SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_prompt_parse(const char *name, sluice_bytes source,
                              const struct sluice_allocator *allocator, struct sluice_prompt **out,
                              struct sluice_err *err);
void sluice_prompt_destroy(struct sluice_prompt *prompt); /* accepts NULL */

/* Borrowed from the prompt. */
const struct sluice_prompt_head *sluice_prompt_head(const struct sluice_prompt *prompt);

/* Would the prompt render with messages of these types? `vars` may be NULL, as may `more` with
 * count 0. SLUICE_ERR_CONFIG naming line, column and variable: a name that no type has, a list or
 * message where a single value is expected. */
SLUICE_MUST_CHECK
sluice_rc sluice_prompt_check(const struct sluice_prompt *prompt,
                              const ProtobufCMessageDescriptor *vars,
                              const struct sluice_prompt_type *more, uint32_t more_count,
                              struct sluice_err *err);

/* Fill, into the arena. `vars` may be NULL. A number or enum that is not set reads as its default,
 * a text or an unset member of a oneof as nothing. Errors: SLUICE_ERR_CONFIG as of the check;
 * SLUICE_ERR_VALIDATION (a text that is no UTF-8, a NULL in a list); SLUICE_ERR_TOO_LARGE (output,
 * or more than some millions of steps through nested lists); SLUICE_ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_prompt_render(const struct sluice_prompt *prompt, const ProtobufCMessage *vars,
                               const sluice_var *more, uint32_t more_count,
                               struct sluice_arena *arena, struct sluice_prompt_text *out,
                               struct sluice_err *err);

#endif
