/* SPDX-License-Identifier: Apache-2.0 */
/* The strict walk over foreign JSON, before anything else looks at it. */
#include "codec/json_text.h"

#include "codec/number.h"
#include "codec/plain.h"
#include "codec/utf8.h"
#include <stdlib.h>

#define KEYS_ON_STACK 48u
#define KEYS_PAIRWISE 8u /* objects up to here are compared key by key, larger ones sorted */

/* A key as it stands in the text. */
struct key {
    const char *text;
    uint32_t len;
    uint32_t has_escape;
};

struct check {
    const char *begin, *at, *end;
    uint32_t depth, values, values_max;
    struct key *keys; /* of all objects that are open, innermost last */
    size_t keys_count, keys_size;
    struct sluice_arena *arena;
    struct sluice_err *err;
};

static sluice_rc fail(struct check *c, const char *what)
{
    return sluice_err_set(c->err, SLUICE_ERR_DECODE, "JSON: %s at byte %zu", what,
                          (size_t)(c->at - c->begin));
}

/* One decoded byte after the other of a key. */
struct cursor {
    const char *at, *end;
    char bytes[4];
    size_t len, next;
};

static int cursor_next(struct cursor *c)
{
    if (c->next < c->len) {
        return (unsigned char)c->bytes[c->next++];
    }
    if (c->at == c->end) {
        return -1;
    }
    if (*c->at != '\\') {
        return (unsigned char)*c->at++;
    }
    size_t raw = 2;
    if (c->at[1] == 'u') {
        int is_high = (c->at[2] | 0x20) == 'd' && strchr("89abAB", c->at[3]) != NULL;
        raw = is_high ? 12 : 6;
    }
    char decoded[12] = {0};
    c->len = sluice_json_unescape(c->at, raw, decoded);
    memcpy(c->bytes, decoded, sizeof c->bytes);
    c->at += raw;
    c->next = 1;
    return (unsigned char)c->bytes[0];
}

static int key_compare(const void *left, const void *right)
{
    const struct key *a = left;
    const struct key *b = right;
    if (!a->has_escape && !b->has_escape) {
        int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
        return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
    }
    struct cursor x = {.at = a->text, .end = a->text + a->len};
    struct cursor y = {.at = b->text, .end = b->text + b->len};
    for (;;) {
        int p = cursor_next(&x);
        int q = cursor_next(&y);
        if (p != q || p < 0) {
            return (p > q) - (p < q);
        }
    }
}

/* Is one of the keys from `first` on there twice? */
static int has_twice(struct check *c, size_t first)
{
    struct key *keys = c->keys + first;
    size_t count = c->keys_count - first;
    if (count > KEYS_PAIRWISE) {
        qsort(keys, count, sizeof *keys, key_compare);
        for (size_t i = 1; i < count; i++) {
            if (key_compare(&keys[i - 1], &keys[i]) == 0) {
                return 1;
            }
        }
        return 0;
    }
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            int may_equal = keys[i].has_escape || keys[j].has_escape || keys[i].len == keys[j].len;
            if (may_equal && key_compare(&keys[i], &keys[j]) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

static sluice_rc push_key(struct check *c, struct key key)
{
    if (c->keys_count == c->keys_size) {
        struct key *more = sluice_arena_alloc(c->arena, c->keys_size * 2, sizeof *more);
        if (more == NULL) {
            return sluice_err_set(c->err, SLUICE_ERR_NOMEM, "out of memory");
        }
        memcpy(more, c->keys, c->keys_count * sizeof *more);
        c->keys = more;
        c->keys_size *= 2;
    }
    c->keys[c->keys_count++] = key;
    return SLUICE_OK;
}

static void skip_space(struct check *c)
{
    while (c->at < c->end &&
           (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) {
        c->at++;
    }
}

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

static sluice_rc check_escape(struct check *c)
{
    if (c->end - c->at < 2) {
        return fail(c, "text ends inside a string");
    }
    if (c->at[1] != 'u') {
        if (c->at[1] == '\0' || strchr("\"\\/bfnrt", c->at[1]) == NULL) {
            return fail(c, "unknown escape in a string");
        }
        c->at += 2;
        return SLUICE_OK;
    }
    int32_t unit = unit_at(c->at, c->end);
    if (unit < 0) {
        return fail(c, "malformed \\u escape");
    }
    if (unit == 0) {
        return fail(c, "NUL in a string");
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        c->at += 6;
        return SLUICE_OK;
    }
    int32_t low = unit < 0xdc00 ? unit_at(c->at + 6, c->end) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        return fail(c, "lone surrogate in a string");
    }
    c->at += 12;
    return SLUICE_OK;
}

/* From the opening quote to behind the closing one. */
static sluice_rc check_string(struct check *c, struct key *inside)
{
    c->at++;
    *inside = (struct key){.text = c->at};
    while ((c->at += sluice_plain_span(c->at, (size_t)(c->end - c->at))) < c->end) {
        unsigned char byte = (unsigned char)*c->at;
        if (byte == '"') {
            inside->len = (uint32_t)(c->at - inside->text);
            c->at++;
            return SLUICE_OK;
        }
        if (byte == '\\') {
            inside->has_escape = 1;
            sluice_rc rc = check_escape(c);
            if (rc != SLUICE_OK) {
                return rc;
            }
        } else if (byte < 0x20) {
            return fail(c, "control character in a string");
        } else {
            size_t step = sluice_utf8_next((const uint8_t *)c->at, (size_t)(c->end - c->at));
            if (step == 0) {
                return fail(c, "invalid UTF-8");
            }
            c->at += step;
        }
    }
    return fail(c, "text ends inside a string");
}

static sluice_rc check_number(struct check *c)
{
    size_t len = sluice_number_span(c->at, (size_t)(c->end - c->at));
    struct sluice_number number;
    if (len == 0) {
        return fail(c, "malformed number");
    }
    if (len > SLUICE_NUMBER_TEXT_MAX) {
        return fail(c, "number of too many digits");
    }
    /* Without an exponent, so few digits are always finite. */
    int has_exponent = memchr(c->at, 'e', len) != NULL || memchr(c->at, 'E', len) != NULL;
    if (has_exponent && !sluice_number_parse(c->at, len, &number)) {
        return fail(c, "number that is not finite");
    }
    c->at += len;
    return SLUICE_OK;
}

static sluice_rc check_word(struct check *c, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0) {
        return fail(c, "unknown word");
    }
    c->at += len;
    return SLUICE_OK;
}

static sluice_rc check_value(struct check *c);

/* Behind an element: does another one follow, or was that the closing bracket? */
static sluice_rc check_separator(struct check *c, char closing, int *is_more)
{
    skip_space(c);
    if (c->at == c->end) {
        return fail(c, "text ends inside an object or array");
    }
    if (*c->at != ',' && *c->at != closing) {
        return fail(c, "expected a comma or the closing bracket");
    }
    *is_more = *c->at == ',';
    c->at++;
    return SLUICE_OK;
}

static sluice_rc check_member(struct check *c)
{
    struct key key;
    sluice_rc rc;
    skip_space(c);
    if (c->at == c->end || *c->at != '"') {
        return fail(c, "expected a key");
    }
    if ((rc = check_string(c, &key)) != SLUICE_OK || (rc = push_key(c, key)) != SLUICE_OK) {
        return rc;
    }
    skip_space(c);
    if (c->at == c->end || *c->at != ':') {
        return fail(c, "expected a colon");
    }
    c->at++;
    return check_value(c);
}

static int is_empty(struct check *c, char closing)
{
    c->at++;
    skip_space(c);
    if (c->at < c->end && *c->at == closing) {
        c->at++;
        return 1;
    }
    return 0;
}

static sluice_rc check_nested(struct check *c, char closing)
{
    size_t first = c->keys_count;
    if (c->depth == SLUICE_JSON_DEPTH_MAX) {
        return sluice_err_set(c->err, SLUICE_ERR_TOO_LARGE,
                              "JSON: nested deeper than %u at byte %zu", SLUICE_JSON_DEPTH_MAX,
                              (size_t)(c->at - c->begin));
    }
    c->depth++;
    int is_more = !is_empty(c, closing);
    while (is_more) {
        sluice_rc rc = closing == '}' ? check_member(c) : check_value(c);
        if (rc != SLUICE_OK || (rc = check_separator(c, closing, &is_more)) != SLUICE_OK) {
            return rc;
        }
    }
    if (closing == '}' && has_twice(c, first)) {
        return fail(c, "a key that comes twice, in the object that ends");
    }
    c->keys_count = first;
    c->depth--;
    return SLUICE_OK;
}

static sluice_rc check_value(struct check *c)
{
    struct key inside;
    skip_space(c);
    if (c->at == c->end) {
        return fail(c, "text ends where a value is expected");
    }
    if (c->values++ == c->values_max) {
        return sluice_err_set(c->err, SLUICE_ERR_TOO_LARGE, "JSON: more than %u values",
                              c->values_max);
    }
    switch (*c->at) {
    case '{':
        return check_nested(c, '}');
    case '[':
        return check_nested(c, ']');
    case '"':
        return check_string(c, &inside);
    case 't':
        return check_word(c, "true");
    case 'f':
        return check_word(c, "false");
    case 'n':
        return check_word(c, "null");
    default:
        return check_number(c);
    }
}

sluice_rc sluice_json_check(sluice_bytes text, const struct sluice_limits *limits,
                            struct sluice_arena *arena, struct sluice_err *err)
{
    struct sluice_limits filled = sluice_limits_fill(limits);
    struct key keys[KEYS_ON_STACK];
    if (text.len > filled.size_max || text.len > UINT32_MAX) {
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE, "JSON: %zu bytes, expected at most %zu",
                              text.len, filled.size_max);
    }
    if (text.len == 0) {
        return sluice_err_set(err, SLUICE_ERR_DECODE, "JSON: no text");
    }
    struct check c = {.begin = text.data,
                      .at = text.data,
                      .end = (const char *)text.data + text.len,
                      .values_max = filled.fields_max,
                      .keys = keys,
                      .keys_size = KEYS_ON_STACK,
                      .arena = arena,
                      .err = err};
    sluice_rc rc = check_value(&c);
    if (rc != SLUICE_OK) {
        return rc;
    }
    skip_space(&c);
    return c.at == c.end ? SLUICE_OK : fail(&c, "something behind the value");
}
