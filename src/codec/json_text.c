/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json_text.h"

#include "codec/plain.h"
#include "codec/utf8.h"
#include <cjson/cJSON.h>

static uint32_t hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0');
    }
    return (uint32_t)((c | 0x20) - 'a' + 10);
}

static uint32_t hex4(const char *digits)
{
    return hex_digit(digits[0]) << 12 | hex_digit(digits[1]) << 8 | hex_digit(digits[2]) << 4 |
           hex_digit(digits[3]);
}

static char simple_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c; /* quote, backslash, slash */
    }
}

size_t sluice_json_unescape(const char *inside, size_t len, char *out)
{
    size_t to = 0;
    for (size_t at = 0; at < len;) {
        const char *escape = memchr(inside + at, '\\', len - at);
        size_t run = escape == NULL ? len - at : (size_t)(escape - (inside + at));
        memmove(out + to, inside + at, run);
        to += run;
        at += run;
        if (escape == NULL) {
            break;
        }
        if (escape[1] != 'u') {
            out[to++] = simple_escape(escape[1]);
            at += 2;
            continue;
        }
        uint32_t unit = hex4(escape + 2);
        at += 6;
        if (unit >= 0xd800 && unit < 0xdc00) {
            unit = 0x10000 + ((unit - 0xd800) << 10) + (hex4(escape + 8) - 0xdc00);
            at += 6;
        }
        to += sluice_utf8_put(unit, out + to);
    }
    return to;
}

static void escape_byte(struct sluice_buffer *b, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char short_forms[] = "btn?fr"; /* for 0x08…0x0d */
    char text[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    if (c == '"' || c == '\\') {
        text[1] = (char)c;
        sluice_buffer_add(b, text, 2);
    } else if (c >= 0x08 && c <= 0x0d && c != 0x0b) {
        text[1] = short_forms[c - 0x08];
        sluice_buffer_add(b, text, 2);
    } else {
        sluice_buffer_add(b, text, 6);
    }
}

void sluice_json_escape(struct sluice_buffer *b, const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t run = sluice_plain_span(text + at, len - at);
        if (run > 0) {
            sluice_buffer_add(b, text + at, run);
            at += run;
            continue;
        }
        unsigned char c = (unsigned char)text[at];
        if (c < 0x80) {
            escape_byte(b, c);
            at++;
            continue;
        }
        size_t step = sluice_utf8_next((const uint8_t *)text + at, len - at);
        if (step == 0) {
            sluice_buffer_add(b, "\xef\xbf\xbd", 3);
            at++;
        } else {
            sluice_buffer_add(b, text + at, step);
            at += step;
        }
    }
}

void sluice_buffer_json(struct sluice_buffer *b, const char *text, size_t len)
{
    sluice_buffer_byte(b, '"');
    sluice_json_escape(b, text, len);
    sluice_buffer_byte(b, '"');
}

static void *cjson_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        cJSON_free(p);
        return NULL;
    }
    return p == NULL ? cJSON_malloc(size) : NULL; /* an arena never grows what it has */
}

sluice_rc sluice_json_parse(sluice_bytes text, size_t size_max, cJSON **tree,
                            struct sluice_err *err)
{
    /* Memory for the check alone comes from where the tree's will. */
    static const struct sluice_allocator allocator = {.resize = cjson_resize};
    struct sluice_limits limits = {.size_max = size_max};
    struct sluice_arena arena;
    sluice_arena_init(&arena, &allocator, 1024, 0);
    sluice_rc rc = sluice_json_check(text, &limits, &arena, err);
    sluice_arena_fini(&arena);
    if (rc != SLUICE_OK) {
        return rc;
    }
    cJSON *root = cJSON_ParseWithLength(text.data, text.len);
    if (root == NULL) {
        /* What was checked above parses; only memory is left. */
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    *tree = root;
    return SLUICE_OK;
}
