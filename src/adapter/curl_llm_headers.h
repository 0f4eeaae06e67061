/* SPDX-License-Identifier: Apache-2.0 */
/* The headers that all requests to an LLM have in common, and what in them must not show. */
#ifndef SLUICE_ADAPTER_CURL_LLM_HEADERS_H
#define SLUICE_ADAPTER_CURL_LLM_HEADERS_H

#include "adapter/curl_llm.h"
#include "adapter/growbuf.h"
#include <curl/curl.h>

struct sluice_curl_llm_headers {
    struct sluice_growbuf lines;   /* the key is among them */
    struct curl_slist *nodes;      /* their list */
    struct sluice_growbuf secrets; /* the key and values of 8 bytes and more, one a line; a text */
};

/* From the options' key and further headers, which take the place of ours. ERR_CONFIG names the
 * header and nothing of its value; ERR_NOMEM. Free it in any case. */
SLUICE_MUST_CHECK
sluice_rc sluice_curl_llm_headers_make(const struct sluice_curl_llm_options *options,
                                       struct sluice_curl_llm_headers *out, struct sluice_err *err);
void sluice_curl_llm_headers_fini(struct sluice_curl_llm_headers *h,
                                  const struct sluice_allocator *allocator);

#endif
