/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_headers.h"

#include <string.h>

#define PREFIX     "NATS/1.0"
#define PREFIX_LEN 8u

struct line {
    const char *at;
    size_t len;
};

/* The next line without its end; 0 at the end of the block. */
static int next_line(const char **at, const char *end, struct line *line)
{
    if (*at >= end) {
        return 0;
    }
    const char *lf = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = lf == NULL ? end : lf;
    line->at = *at;
    line->len = (size_t)(stop - *at);
    if (line->len > 0 && line->at[line->len - 1] == '\r') {
        line->len--;
    }
    *at = lf == NULL ? end : lf + 1;
    return 1;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct line trim(struct line text)
{
    while (text.len > 0 && is_blank(text.at[0])) {
        text.at++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.at[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* The first line's rest, and where the headers begin; 0 when this is no header block. */
static int read_first(const char **at, const char *end, struct line *rest)
{
    if (!next_line(at, end, rest) || rest->len < PREFIX_LEN ||
        memcmp(rest->at, PREFIX, PREFIX_LEN) != 0) {
        return 0;
    }
    rest->at += PREFIX_LEN;
    rest->len -= PREFIX_LEN;
    *rest = trim(*rest);
    return 1;
}

void sluice_nats_headers_parse(const char *block, size_t len, sluice_nats_header_fn *visit,
                               void *ctx)
{
    const char *at = block, *end = block + len;
    struct line line;
    if (!read_first(&at, end, &line)) {
        return;
    }
    while (next_line(&at, end, &line) && line.len > 0) {
        const char *colon = memchr(line.at, ':', line.len);
        if (colon == NULL || colon == line.at || memchr(line.at, '\0', line.len) != NULL) {
            continue;
        }
        size_t name_len = (size_t)(colon - line.at);
        struct line value = trim((struct line){colon + 1, line.len - name_len - 1});
        visit(ctx, line.at, name_len, value.at, value.len);
    }
}

void sluice_nats_headers_measure(void *copying, const char *name, size_t name_len,
                                 const char *value, size_t value_len)
{
    struct sluice_nats_copying *c = copying;
    (void)name;
    (void)value;
    c->bytes += name_len + value_len + 2;
    c->count++;
}

void sluice_nats_headers_copy(void *copying, const char *name, size_t name_len, const char *value,
                              size_t value_len)
{
    struct sluice_nats_copying *c = copying;
    sluice_header *header = &c->headers[c->copied++];
    header->name = sluice_nats_copy_text(&c->at, name, name_len);
    header->value = sluice_nats_copy_text(&c->at, value, value_len);
}

int sluice_nats_headers_status(const char *block, size_t len, char *text, size_t size)
{
    const char *at = block;
    struct line rest;
    int code = 0;
    text[0] = '\0';
    if (!read_first(&at, block + len, &rest)) {
        return 0;
    }
    while (rest.len > 0 && rest.at[0] >= '0' && rest.at[0] <= '9' && code < 100000) {
        code = code * 10 + (rest.at[0] - '0');
        rest.at++;
        rest.len--;
    }
    rest = trim(rest);
    size_t text_len = rest.len < size ? rest.len : size - 1;
    memcpy(text, rest.at, text_len);
    text[text_len] = '\0';
    return code;
}

size_t sluice_nats_headers_size(const sluice_header *headers, uint32_t count)
{
    size_t size = count == 0 ? 0 : sizeof "NATS/1.0\r\n\r\n" - 1;
    for (uint32_t i = 0; i < count; i++) {
        size += strlen(headers[i].name) + strlen(headers[i].value) + sizeof ": \r\n" - 1;
    }
    return size;
}
