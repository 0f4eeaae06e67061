/* SPDX-License-Identifier: Apache-2.0 */
/* What the callers of curl_pool.h need to build requests. Only for the other curl_ files. */
#ifndef SLUICE_ADAPTER_CURL_REQUEST_H
#define SLUICE_ADAPTER_CURL_REQUEST_H

#include "adapter/growbuf.h"
#include "core/err.h"
#include <curl/curl.h>

/* Parse a URL of http or https; `more_path` (may be NULL) is appended to its path. Fails with `rc`
 * and a text that begins with `what` and holds nothing of the URL, which may carry a password. */
SLUICE_MUST_CHECK
sluice_rc sluice_curl_url_parse(const char *url, const char *more_path, const char *what,
                                sluice_rc rc, CURLU **out, struct sluice_err *err);

/* Append "name: value" and a NUL. ERR_VALIDATION when the name is no token or the value holds a
 * control character: it could smuggle in a header or a request. */
SLUICE_MUST_CHECK
sluice_rc sluice_curl_header_add(struct sluice_growbuf *lines, const char *name, const char *value);

/* Make `count` lines of `lines` a list in `nodes`, followed by `tail`. Both must stay. */
struct curl_slist *sluice_curl_headers_link(const struct sluice_growbuf *lines,
                                            struct curl_slist *nodes, uint32_t count,
                                            struct curl_slist *tail);

/* A copy of a text, NULL for NULL and "". 0, or -1 without memory. */
SLUICE_MUST_CHECK
int sluice_curl_text_copy(const struct sluice_allocator *a, const char *text, char **out);

/* Overwrite each occurrence of the secrets, which stand one a line (NULL: none), in a text with
 * asterisks. One below four bytes is none. */
void sluice_curl_scrub(char *text, const char *secrets);

/* Memory for calls, used again and again. */
struct sluice_curl_spares {
    const struct sluice_allocator *allocator;
    size_t size; /* of one; at least a pointer's */
    void *first;
    uint32_t count;
};

void sluice_curl_spares_init(struct sluice_curl_spares *s, const struct sluice_allocator *allocator,
                             size_t size);
void *sluice_curl_spares_take(struct sluice_curl_spares *s); /* zeroed; NULL without memory */
void sluice_curl_spares_give_back(struct sluice_curl_spares *s, void *p);
void sluice_curl_spares_fini(struct sluice_curl_spares *s);

#endif
