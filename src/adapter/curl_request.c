/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_request.h"

#include "codec/redact.h"
#include <stdio.h>
#include <string.h>

enum {
    PATH_SIZE = 2048,  /* of a base URL's path with what is appended */
    KEPT_MAX = 1024,   /* spares beyond it are freed */
    SECRET_LEN_MIN = 4 /* shorter ones are none, and would spoil every text */
};

static CURLUcode append_path(CURLU *url, const char *more)
{
    char *path = NULL;
    char joined[PATH_SIZE];
    CURLUcode code = curl_url_get(url, CURLUPART_PATH, &path, 0);
    if (code != CURLUE_OK) {
        return code;
    }
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/') {
        len--;
    }
    int needed = snprintf(joined, sizeof joined, "%.*s%s", (int)(len < PATH_SIZE ? len : PATH_SIZE),
                          path, more);
    curl_free(path);
    return (size_t)needed >= sizeof joined ? CURLUE_MALFORMED_INPUT
                                           : curl_url_set(url, CURLUPART_PATH, joined, 0);
}

static int has_control_or_space(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text <= 0x20 || *text == 0x7F) {
            return 1;
        }
    }
    return 0;
}

static int is_http(CURLU *url)
{
    char *scheme = NULL;
    int is_ok = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    return is_ok;
}

sluice_rc sluice_curl_url_parse(const char *url, const char *more_path, const char *what,
                                sluice_rc rc, CURLU **out, struct sluice_err *err)
{
    if (url == NULL || url[0] == '\0') {
        return sluice_err_set(err, rc, "%s: empty", what);
    }
    if (has_control_or_space(url)) {
        return sluice_err_set(err, rc, "%s: holds a space or control character", what);
    }
    CURLU *parsed = curl_url();
    if (parsed == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "%s: out of memory", what);
    }
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK && more_path != NULL) {
        code = append_path(parsed, more_path);
    }
    if (code == CURLUE_OK && is_http(parsed)) {
        *out = parsed;
        return SLUICE_OK;
    }
    curl_url_cleanup(parsed);
    if (code == CURLUE_OUT_OF_MEMORY) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "%s: out of memory", what);
    }
    return sluice_err_set(err, rc, "%s: %s; expected http://… or https://…", what,
                          code == CURLUE_OK ? "another scheme" : curl_url_strerror(code));
}

static int is_token(const char *name)
{
    static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "!#$%&'*+-.^_`|~";
    size_t len = strspn(name, token);
    return len != 0 && name[len] == '\0';
}

sluice_rc sluice_curl_header_add(struct sluice_growbuf *lines, const char *name, const char *value)
{
    if (!is_token(name)) {
        return SLUICE_ERR_VALIDATION;
    }
    for (const char *p = value; *p != '\0'; p++) {
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7F) {
            return SLUICE_ERR_VALIDATION;
        }
    }
    sluice_growbuf_text(lines, name);
    if (value[0] == '\0') {
        sluice_growbuf_text(lines, ";"); /* libcurl's way to write an empty one */
    } else {
        sluice_growbuf_text(lines, ": ");
        sluice_growbuf_text(lines, value);
    }
    sluice_growbuf_add(lines, "", 1);
    return lines->rc;
}

struct curl_slist *sluice_curl_headers_link(const struct sluice_growbuf *lines,
                                            struct curl_slist *nodes, uint32_t count,
                                            struct curl_slist *tail)
{
    char *line = lines->data;
    for (uint32_t i = 0; i < count; i++) {
        nodes[i].data = line;
        nodes[i].next = i + 1 < count ? &nodes[i + 1] : tail;
        line += strlen(line) + 1;
    }
    return count == 0 ? tail : nodes;
}

int sluice_curl_text_copy(const struct sluice_allocator *a, const char *text, char **out)
{
    *out = NULL;
    if (text == NULL || text[0] == '\0') {
        return 0;
    }
    size_t len = strlen(text);
    *out = sluice_mem_alloc(a, len + 1, 1);
    if (*out == NULL) {
        return -1;
    }
    memcpy(*out, text, len);
    return 0;
}

void sluice_curl_scrub(char *text, const char *secrets)
{
    size_t len;
    const char *secret = NULL;
    while (secrets != NULL && (secret = sluice_redact_next(&secrets, &len)) != NULL) {
        char *p = len < SECRET_LEN_MIN ? NULL : memmem(text, strlen(text), secret, len);
        for (; p != NULL; p = memmem(p + len, strlen(p + len), secret, len)) {
            memset(p, '*', len);
        }
    }
}

void sluice_curl_spares_init(struct sluice_curl_spares *s, const struct sluice_allocator *allocator,
                             size_t size)
{
    *s = (struct sluice_curl_spares){.allocator = allocator, .size = size};
}

static void *pop(struct sluice_curl_spares *s)
{
    void *p = s->first;
    memcpy(&s->first, p, sizeof s->first);
    s->count--;
    memset(p, 0, s->size);
    return p;
}

void *sluice_curl_spares_take(struct sluice_curl_spares *s)
{
    return s->count != 0 ? pop(s) : sluice_mem_alloc(s->allocator, 1, s->size);
}

void sluice_curl_spares_give_back(struct sluice_curl_spares *s, void *p)
{
    if (s->count >= KEPT_MAX) {
        sluice_mem_free(s->allocator, p);
        return;
    }
    memcpy(p, &s->first, sizeof s->first);
    s->first = p;
    s->count++;
}

void sluice_curl_spares_fini(struct sluice_curl_spares *s)
{
    while (s->count != 0) {
        sluice_mem_free(s->allocator, pop(s));
    }
}
