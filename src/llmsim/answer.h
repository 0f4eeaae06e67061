/* SPDX-License-Identifier: Apache-2.0 */
/* Answers made from the prompt: the same for the same prompt, and of the asked-for schema. */
#ifndef SLUICE_LLMSIM_ANSWER_H
#define SLUICE_LLMSIM_ANSWER_H

#include <cjson/cJSON.h>

/* The content of an answer: JSON of the schema, or a sentence without one. malloc'd; NULL without
 * memory. Followed are types, enum, const, properties, items, references within the schema, the
 * first of anyOf, oneOf and allOf, and limits of numbers, texts and lists; not pattern and format.
 * A type that holds itself ends after some levels. */
char *llmsim_content(const char *prompt, const cJSON *schema);
/* The same without a word in it: texts and lists are empty. */
char *llmsim_content_blank(const cJSON *schema);
/* About how many tokens a text has: its words and a third more. */
unsigned llmsim_tokens(const char *text);

#endif
