/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's memory. When it runs out of it, libcurl says all kinds of things: no URL, a host that
 * is not found, a header that is too long, or nothing until the time is over. So we look for
 * ourselves whether one of its allocations has failed. */
#ifndef SLUICE_ADAPTER_CURL_MEMORY_H
#define SLUICE_ADAPTER_CURL_MEMORY_H

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

/* In the place of curl_global_init(), and as often. 0, or -1: not enough memory. */
int sluice_curl_memory_init(void);
/* How many allocations have failed in this process so far. Any thread. */
uint32_t sluice_curl_memory_failures(void);
/* One of ours failed on libcurl's behalf. */
void sluice_curl_memory_note(void);
/* curl_easy_init() with `size` zeroed bytes of ours behind libcurl's own, which go with it in
 * curl_easy_cleanup(). NULL in `room`: libcurl has its memory from somewhere else. */
CURL *sluice_curl_memory_easy(size_t size, void **room);

#endif
