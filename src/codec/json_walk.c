/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json_walk.h"

#include "codec/number.h"
#include "codec/plain.h"
#include "codec/utf8.h"

static int fail(struct sluice_json_walk *w, const char *why)
{
    if (w->why == NULL) {
        w->why = why;
    }
    return 0;
}

void sluice_json_walk_init(struct sluice_json_walk *w, sluice_bytes text, uint32_t depth_max)
{
    *w = (struct sluice_json_walk){.begin = text.data, .at = text.data, .depth_max = depth_max};
    w->end = text.len == 0 ? w->at : w->at + text.len;
}

/* ---- Strings */

/* The code unit of \uXXXX at `at`; negative when it is none. */
static int32_t unit_at(const char *at, const char *end)
{
    int32_t unit = 0;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') {
        return -1;
    }
    for (int i = 2; i < 6; i++) {
        char c = at[i];
        if (c >= '0' && c <= '9') {
            unit = unit * 16 + (c - '0');
        } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
            unit = unit * 16 + ((c | 0x20) - 'a' + 10);
        } else {
            return -1;
        }
    }
    return unit;
}

static int walk_unit(struct sluice_json_walk *w)
{
    int32_t unit = unit_at(w->at, w->end);
    if (unit < 0) {
        return fail(w, "malformed \\u escape");
    }
    if (unit == 0) {
        return fail(w, "NUL in a string");
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        w->at += 6;
        return 1;
    }
    int32_t low = unit < 0xdc00 ? unit_at(w->at + 6, w->end) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        return fail(w, "lone surrogate in a string");
    }
    w->at += 12;
    return 1;
}

static int walk_escape(struct sluice_json_walk *w)
{
    if (w->end - w->at < 2) {
        return fail(w, "text ends inside a string");
    }
    switch (w->at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        w->at += 2;
        return 1;
    case 'u':
        return walk_unit(w);
    default:
        return fail(w, "unknown escape in a string");
    }
}

int sluice_json_string(struct sluice_json_walk *w, struct sluice_json_span *inside)
{
    if (w->why != NULL || sluice_json_peek(w) != '"') {
        return fail(w, "expected a string");
    }
    w->at++;
    *inside = (struct sluice_json_span){.text = w->at};
    while ((w->at += sluice_plain_span(w->at, (size_t)(w->end - w->at))) < w->end) {
        unsigned char byte = (unsigned char)*w->at;
        if (byte == '"') {
            inside->len = (uint32_t)(w->at - inside->text);
            w->at++;
            return 1;
        }
        if (byte == '\\') {
            inside->has_escape = 1;
            if (!walk_escape(w)) {
                return 0;
            }
        } else if (byte < 0x20) {
            return fail(w, "control character in a string");
        } else {
            size_t step = sluice_utf8_next((const uint8_t *)w->at, (size_t)(w->end - w->at));
            if (step == 0) {
                return fail(w, "invalid UTF-8");
            }
            w->at += step;
        }
    }
    return fail(w, "text ends inside a string");
}

/* ---- Numbers and words */

int sluice_json_walk_number(struct sluice_json_walk *w)
{
    size_t len = sluice_number_span(w->at, (size_t)(w->end - w->at));
    struct sluice_number number;
    if (len == 0) {
        return fail(w, "malformed number");
    }
    if (len > SLUICE_NUMBER_TEXT_MAX) {
        return fail(w, "number of too many digits");
    }
    /* Without an exponent, so few digits are always finite. */
    int has_exponent = memchr(w->at, 'e', len) != NULL || memchr(w->at, 'E', len) != NULL;
    if (has_exponent && !sluice_number_parse(w->at, len, &number)) {
        return fail(w, "number that is not finite");
    }
    w->at += len;
    return 1;
}

int sluice_json_number(struct sluice_json_walk *w, double *value)
{
    struct sluice_number number;
    (void)sluice_json_peek(w);
    const char *begin = w->at;
    if (w->why != NULL || !sluice_json_walk_number(w) ||
        !sluice_number_parse(begin, (size_t)(w->at - begin), &number)) {
        return 0;
    }
    *value = number.real;
    return 1;
}

int sluice_json_walk_word(struct sluice_json_walk *w)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(w->end - w->at) >= len && memcmp(w->at, words[i], len) == 0) {
            w->at += len;
            return 1;
        }
    }
    return fail(w, "unknown word");
}

/* ---- Objects and arrays */

int sluice_json_enter(struct sluice_json_walk *w, char opening)
{
    if (w->why != NULL || sluice_json_peek(w) != opening) {
        return 0;
    }
    if (w->depth == w->depth_max) {
        return fail(w, "nested too deeply");
    }
    w->at++;
    w->depth++;
    w->is_first = 1;
    return 1;
}

static int walk_next(struct sluice_json_walk *w, char closing)
{
    if (w->why != NULL) {
        return 0;
    }
    char c = sluice_json_peek(w);
    if (c == closing) {
        w->at++;
        w->depth--;
        w->is_first = 0; /* of the one outside */
        return 0;
    }
    if (w->at == w->end) {
        return fail(w, "text ends inside an object or array");
    }
    if (!w->is_first) {
        if (c != ',') {
            return fail(w, "expected a comma or the closing bracket");
        }
        w->at++;
    }
    w->is_first = 0;
    return 1;
}

int sluice_json_element(struct sluice_json_walk *w)
{
    return walk_next(w, ']');
}

int sluice_json_member(struct sluice_json_walk *w, struct sluice_json_span *key)
{
    if (!walk_next(w, '}')) {
        return 0;
    }
    if (sluice_json_peek(w) != '"') {
        return fail(w, "expected a key");
    }
    if (!sluice_json_string(w, key)) {
        return 0;
    }
    if (sluice_json_peek(w) != ':') {
        return fail(w, "expected a colon");
    }
    w->at++;
    return 1;
}

int sluice_json_skip(struct sluice_json_walk *w)
{
    struct sluice_json_span ignored;
    if (w->why != NULL) {
        return 0;
    }
    switch (sluice_json_peek(w)) {
    case '{':
        if (sluice_json_enter(w, '{')) {
            while (sluice_json_member(w, &ignored)) {
                (void)sluice_json_skip(w);
            }
        }
        break;
    case '[':
        if (sluice_json_enter(w, '[')) {
            while (sluice_json_element(w)) {
                (void)sluice_json_skip(w);
            }
        }
        break;
    case '"':
        (void)sluice_json_string(w, &ignored);
        break;
    case 't':
    case 'f':
    case 'n':
        (void)sluice_json_walk_word(w);
        break;
    default:
        (void)(w->at == w->end ? fail(w, "text ends where a value is expected")
                               : sluice_json_walk_number(w));
        break;
    }
    return w->why == NULL;
}

int sluice_json_ends(struct sluice_json_walk *w)
{
    (void)sluice_json_peek(w);
    return w->why == NULL && (w->at == w->end || fail(w, "something behind the value"));
}
