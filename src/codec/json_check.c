/* SPDX-License-Identifier: Apache-2.0 */
/* The strict walk over foreign JSON, before anything else looks at it. */
#include "codec/json_text.h"

#include "codec/json_walk.h"
#include <stdlib.h>

#define KEYS_ON_STACK 48u
#define KEYS_PAIRWISE 8u /* objects up to here are compared key by key, larger ones sorted */

struct check {
    struct sluice_json_walk walk;
    uint32_t values, values_max;
    struct sluice_json_span *keys; /* of all objects that are open, innermost last */
    size_t keys_count, keys_size;
    struct sluice_arena *arena;
    struct sluice_err *err;
};

static sluice_rc fail(struct check *c, const char *what)
{
    return sluice_err_set(c->err, SLUICE_ERR_DECODE, "JSON: %s at byte %zu", what,
                          (size_t)(c->walk.at - c->walk.begin));
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
    const struct sluice_json_span *a = left;
    const struct sluice_json_span *b = right;
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
    struct sluice_json_span *keys = c->keys + first;
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

static sluice_rc push_key(struct check *c, struct sluice_json_span key)
{
    if (c->keys_count == c->keys_size) {
        struct sluice_json_span *more =
            sluice_arena_alloc(c->arena, c->keys_size * 2, sizeof *more);
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

static sluice_rc check_value(struct check *c);

static sluice_rc check_object(struct check *c)
{
    size_t first = c->keys_count;
    struct sluice_json_span key;
    while (sluice_json_member(&c->walk, &key)) {
        sluice_rc rc = push_key(c, key);
        if (rc != SLUICE_OK || (rc = check_value(c)) != SLUICE_OK) {
            return rc;
        }
    }
    if (c->walk.why == NULL && has_twice(c, first)) {
        return fail(c, "a key that comes twice, in the object that ends");
    }
    c->keys_count = first;
    return SLUICE_OK;
}

static sluice_rc check_array(struct check *c)
{
    while (sluice_json_element(&c->walk)) {
        sluice_rc rc = check_value(c);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    return SLUICE_OK;
}

static sluice_rc check_value(struct check *c)
{
    struct sluice_json_walk *w = &c->walk;
    char first = sluice_json_peek(w);
    sluice_rc rc = SLUICE_OK;
    if (w->at < w->end && c->values++ == c->values_max) {
        return sluice_err_set(c->err, SLUICE_ERR_TOO_LARGE, "JSON: more than %u values",
                              c->values_max);
    }
    if ((first == '{' || first == '[') && w->depth == w->depth_max) {
        return sluice_err_set(c->err, SLUICE_ERR_TOO_LARGE,
                              "JSON: nested deeper than %u at byte %zu", w->depth_max,
                              (size_t)(w->at - w->begin));
    }
    if (sluice_json_enter(w, '{')) {
        rc = check_object(c);
    } else if (sluice_json_enter(w, '[')) {
        rc = check_array(c);
    } else {
        (void)sluice_json_skip(w);
    }
    return rc == SLUICE_OK && w->why != NULL ? fail(c, w->why) : rc;
}

sluice_rc sluice_json_check(sluice_bytes text, const struct sluice_limits *limits,
                            struct sluice_arena *arena, struct sluice_err *err)
{
    struct sluice_limits filled = sluice_limits_fill(limits);
    struct sluice_json_span keys[KEYS_ON_STACK];
    if (text.len > filled.size_max || text.len > UINT32_MAX) {
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE, "JSON: %zu bytes, expected at most %zu",
                              text.len, filled.size_max);
    }
    if (text.len == 0) {
        return sluice_err_set(err, SLUICE_ERR_DECODE, "JSON: no text");
    }
    struct check c = {.values_max = filled.fields_max,
                      .keys = keys,
                      .keys_size = KEYS_ON_STACK,
                      .arena = arena,
                      .err = err};
    sluice_json_walk_init(&c.walk, text, SLUICE_JSON_DEPTH_MAX);
    sluice_rc rc = check_value(&c);
    return rc != SLUICE_OK || sluice_json_ends(&c.walk) ? rc : fail(&c, c.walk.why);
}
