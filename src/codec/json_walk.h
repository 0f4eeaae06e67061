/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign JSON (RFC 8259) read and judged in one walk: nothing is built, and each byte is looked at
 * once. Refused beyond the grammar: invalid UTF-8, NUL (\u0000), lone surrogates, numbers that are
 * not finite or longer than SLUICE_NUMBER_TEXT_MAX, nesting deeper than depth_max. Keys that come
 * twice are not noticed. A fault is sticky: `why` is set, and every further step returns 0, so
 * that it need be looked at once, at the end. Pure, any thread. */
#ifndef SLUICE_CODEC_JSON_WALK_H
#define SLUICE_CODEC_JSON_WALK_H

#include "sluice/worker.h"
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sluice_json_walk {
    const char *begin, *at, *end;
    const char *why; /* static text; NULL: nothing wrong so far */
    uint32_t depth, depth_max;
    int is_first; /* of an object or array nothing was read yet */
};

/* A string's inside as it stands in the text. */
struct sluice_json_span {
    const char *text;
    uint32_t len;
    uint32_t has_escape; /* sluice_json_unescape makes it plain */
};

void sluice_json_walk_init(struct sluice_json_walk *w, sluice_bytes text, uint32_t depth_max);

/* Skip white space. Returns the byte that follows, by which a value's kind is known; 0 at the end.
 */
static inline char sluice_json_peek(struct sluice_json_walk *w)
{
    while (w->at < w->end &&
           (*w->at == ' ' || *w->at == '\n' || *w->at == '\t' || *w->at == '\r')) {
        w->at++;
    }
    return w->at < w->end ? *w->at : '\0';
}
/* Into the object ('{') or array ('[') that follows. 0 when something else does: no fault. Every
 * element or member of it must then be read, until there is none. */
int sluice_json_enter(struct sluice_json_walk *w, char opening);
/* Is there another element of the array? Its value is read or skipped next. */
int sluice_json_element(struct sluice_json_walk *w);
/* Is there another member of the object? Its value is read or skipped next. */
int sluice_json_member(struct sluice_json_walk *w, struct sluice_json_span *key);
/* A string, the opening quote being next. */
int sluice_json_string(struct sluice_json_walk *w, struct sluice_json_span *inside);
int sluice_json_number(struct sluice_json_walk *w, double *value);
/* Any value, judged and not kept. */
int sluice_json_skip(struct sluice_json_walk *w);
/* Nothing but white space is left. */
int sluice_json_ends(struct sluice_json_walk *w);

/* For those who walk by themselves: the number or the word (true, false, null) that is next. */
int sluice_json_walk_number(struct sluice_json_walk *w);
int sluice_json_walk_word(struct sluice_json_walk *w);

/* Compared as it stands: a key spelled with escapes is another one. */
static inline int sluice_json_span_is(const struct sluice_json_span *span, const char *text)
{
    size_t len = strlen(text);
    return span->len == len && memcmp(span->text, text, len) == 0;
}

#endif
