/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP services. Implements port/http.h on the libuv loop; see curl_pool.h for connections and
 * curl_llm.h for what the process must provide. A call has just the headers it is given, plus
 * Host, User-Agent, Accept and Content-Length; redirects are not followed. */
#ifndef SLUICE_ADAPTER_CURL_HTTP_H
#define SLUICE_ADAPTER_CURL_HTTP_H

#include "adapter/curl_pool.h"
#include "port/http.h"

#define SLUICE_HTTP_HEADERS_MAX 64u /* of one call */

/* Zero members mean the default. Texts are copied. */
struct sluice_curl_http_options {
    uv_loop_t *loop;
    const struct sluice_allocator *allocator; /* borrowed until the loop has run after destroy */
    uint32_t connections_max;                 /* 100 (SVC-3); calls beyond it wait */
    uint32_t connect_timeout_ms;              /* 3000 */
    size_t answer_size_max; /* 16 MiB (SVC-6), where a call does not give its own */
    const char *ca_file;    /* PEM; instead of the system's */
};

SLUICE_MUST_CHECK
sluice_rc sluice_curl_http_create(const struct sluice_curl_http_options *options,
                                  struct sluice_http **out, struct sluice_err *err);

#endif
