/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_llm_headers.h"

#include "adapter/curl_request.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LINES_SIZE_MAX = 64 * 1024, SECRET_LEN_MIN = 8 };

static sluice_rc header_error(sluice_rc rc, const char *name, struct sluice_err *err)
{
    if (rc == SLUICE_ERR_NOMEM) {
        return sluice_err_set(err, rc, "llm: out of memory");
    }
    return sluice_err_set(err, SLUICE_ERR_CONFIG,
                          "llm: %s: holds control characters, or is too long", name);
}

static int has_header(const struct sluice_curl_llm_options *o, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcasecmp(o->headers[i].name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* A fixed value would spoil those that each call sets for itself: with one idempotency key for all
 * of them a gateway may answer each with the first one's answer. */
static sluice_rc check_headers(const struct sluice_curl_llm_options *o, struct sluice_err *err)
{
    static const char *const ours[] = {
        "X-Correlation-ID",  "traceparent", "Idempotency-Key", "Content-Length",
        "Transfer-Encoding", "Connection",  "Expect"};
    for (uint32_t i = 0; i < o->headers_count; i++) {
        const char *name = o->headers[i].name;
        if (has_header(o, i, name)) {
            return sluice_err_set(err, SLUICE_ERR_CONFIG, "llm: header %.64s: given twice", name);
        }
        for (size_t k = 0; k < sizeof ours / sizeof ours[0]; k++) {
            if (strcasecmp(name, ours[k]) == 0) {
                return sluice_err_set(err, SLUICE_ERR_CONFIG,
                                      "llm: header %s: set for each call, expected another one",
                                      ours[k]);
            }
        }
    }
    return SLUICE_OK;
}

static int has_key(const struct sluice_curl_llm_options *o)
{
    return o->api_key != NULL && o->api_key[0] != '\0';
}

static void add_secret(struct sluice_growbuf *b, const char *secret)
{
    sluice_growbuf_text(b, b->len == 0 ? "" : "\n");
    sluice_growbuf_text(b, secret);
}

/* Of `Bearer TOKEN` the token alone is one, too. Shorter values would hide every text. */
static void add_secrets(struct sluice_curl_llm_headers *h, const struct sluice_curl_llm_options *o)
{
    if (has_key(o)) {
        add_secret(&h->secrets, o->api_key);
    }
    for (uint32_t i = 0; i < o->headers_count; i++) {
        const char *value = o->headers[i].value;
        const char *blank = strrchr(value, ' ');
        if (strlen(value) >= SECRET_LEN_MIN) {
            add_secret(&h->secrets, value);
        }
        if (blank != NULL && strlen(blank + 1) >= SECRET_LEN_MIN) {
            add_secret(&h->secrets, blank + 1);
        }
    }
}

sluice_rc sluice_curl_llm_headers_make(const struct sluice_curl_llm_options *o,
                                       struct sluice_curl_llm_headers *h, struct sluice_err *err)
{
    uint32_t count = 0;
    *h = (struct sluice_curl_llm_headers){.nodes = NULL};
    sluice_growbuf_init(&h->lines, o->allocator, LINES_SIZE_MAX);
    sluice_growbuf_init(&h->secrets, o->allocator, 2 * LINES_SIZE_MAX);
    sluice_rc rc = check_headers(o, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    add_secrets(h, o);
    if (has_key(o) && !has_header(o, o->headers_count, "Authorization")) {
        char value[4096];
        int len = snprintf(value, sizeof value, "Bearer %s", o->api_key);
        rc = (size_t)len >= sizeof value
                 ? SLUICE_ERR_VALIDATION
                 : sluice_curl_header_add(&h->lines, "Authorization", value);
        explicit_bzero(value, sizeof value);
        if (rc != SLUICE_OK) {
            return header_error(rc, "api key", err);
        }
        count++;
    }
    /* without an empty Expect libcurl asks before each request above 1 MiB, and waits */
    static const char *const own[][2] = {{"Content-Type", "application/json"}, {"Expect:", NULL}};
    if (!has_header(o, o->headers_count, own[0][0])) {
        rc = sluice_curl_header_add(&h->lines, own[0][0], own[0][1]);
        if (rc != SLUICE_OK) {
            return header_error(rc, own[0][0], err);
        }
        count++;
    }
    sluice_growbuf_add(&h->lines, own[1][0], strlen(own[1][0]) + 1);
    count++;
    for (uint32_t i = 0; i < o->headers_count; i++, count++) {
        rc = sluice_curl_header_add(&h->lines, o->headers[i].name, o->headers[i].value);
        if (rc != SLUICE_OK) {
            return header_error(rc, "a further header", err);
        }
    }
    h->nodes = sluice_mem_alloc(o->allocator, count, sizeof *h->nodes);
    if (h->nodes == NULL || h->lines.rc != SLUICE_OK || h->secrets.rc != SLUICE_OK) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "llm: out of memory");
    }
    (void)sluice_curl_headers_link(&h->lines, h->nodes, count, NULL);
    return SLUICE_OK;
}

static void erase(struct sluice_growbuf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->size);
    }
    sluice_growbuf_fini(b);
}

void sluice_curl_llm_headers_fini(struct sluice_curl_llm_headers *h,
                                  const struct sluice_allocator *allocator)
{
    erase(&h->lines);
    erase(&h->secrets);
    sluice_mem_free(allocator, h->nodes);
    h->nodes = NULL;
}
