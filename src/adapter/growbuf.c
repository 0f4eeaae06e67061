/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/growbuf.h"

#include "codec/json_text.h"
#include "codec/plain.h"
#include "codec/utf8.h"
#include <string.h>

enum { FIRST_SIZE = 256 };

void sluice_growbuf_init(struct sluice_growbuf *b, const struct sluice_allocator *allocator,
                         size_t size_max)
{
    *b = (struct sluice_growbuf){.allocator = allocator, .size_max = size_max};
}

void sluice_growbuf_fini(struct sluice_growbuf *b)
{
    if (b->data != NULL) {
        sluice_mem_free(b->allocator, b->data);
    }
    b->data = NULL;
    b->len = 0;
    b->size = 0;
}

void sluice_growbuf_clear(struct sluice_growbuf *b)
{
    b->len = 0;
    b->rc = SLUICE_OK;
}

/* Room for `len` more bytes and the NUL; 0 when there is none. */
static int growbuf_reserve(struct sluice_growbuf *b, size_t len)
{
    if (b->rc != SLUICE_OK) {
        return 0;
    }
    if (len > b->size_max || b->len > b->size_max - len) {
        b->rc = SLUICE_ERR_TOO_LARGE;
        return 0;
    }
    size_t needed = b->len + len + 1;
    if (needed <= b->size) {
        return 1;
    }
    size_t first = b->expected != 0 ? b->expected + 1 : FIRST_SIZE;
    size_t size = b->size == 0 ? first : b->size * 2; /* sizes are far below SIZE_MAX / 2 */
    if (size > b->size_max + 1) {
        size = b->size_max + 1;
    }
    if (size < needed) {
        size = needed;
    }
    void *data = b->allocator->resize(b->allocator->ctx, b->data, size);
    if (data == NULL) {
        b->rc = SLUICE_ERR_NOMEM;
        return 0;
    }
    b->data = data;
    b->size = size;
    return 1;
}

void sluice_growbuf_add(struct sluice_growbuf *b, const void *data, size_t len)
{
    if (len == 0 || !growbuf_reserve(b, len)) {
        return;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void sluice_growbuf_text(struct sluice_growbuf *b, const char *text)
{
    sluice_growbuf_add(b, text, strlen(text));
}

void sluice_growbuf_unescape(struct sluice_growbuf *b, const char *inside, size_t len)
{
    if (len != 0 && growbuf_reserve(b, len)) {
        b->len += sluice_json_unescape(inside, len, b->data + b->len);
        b->data[b->len] = '\0';
    }
}

static void add_escape(struct sluice_growbuf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        sluice_growbuf_add(b, text, 6);
        return;
    }
    sluice_growbuf_add(b, text, 2);
}

void sluice_growbuf_json(struct sluice_growbuf *b, const char *text, size_t len)
{
    if (sluice_utf8_valid_prefix(text, len) != len) {
        b->rc = b->rc == SLUICE_OK ? SLUICE_ERR_VALIDATION : b->rc;
        return;
    }
    sluice_growbuf_add(b, "\"", 1);
    size_t start = 0;
    for (size_t i = 0; (i += sluice_plain_span(text + i, len - i)) < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x80) { /* of UTF-8, as it is; what follows is often more of it */
            while (i + 1 < len && (unsigned char)text[i + 1] >= 0x80) {
                i++;
            }
            continue;
        }
        sluice_growbuf_add(b, text + start, i - start);
        add_escape(b, c);
        start = i + 1;
    }
    sluice_growbuf_add(b, text + start, len - start);
    sluice_growbuf_add(b, "\"", 1);
}

void sluice_growbuf_shrink(struct sluice_growbuf *b)
{
    if (b->data == NULL || b->size - b->len <= b->len / 16 + 1) {
        return;
    }
    void *data = b->allocator->resize(b->allocator->ctx, b->data, b->len + 1);
    if (data != NULL) {
        b->data = data;
        b->size = b->len + 1;
    }
}
