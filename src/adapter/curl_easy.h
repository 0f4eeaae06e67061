/* SPDX-License-Identifier: Apache-2.0 */
/* Easy handles, configured once and used again and again. Only for the other curl_ files. */
#ifndef SLUICE_ADAPTER_CURL_EASY_H
#define SLUICE_ADAPTER_CURL_EASY_H

#include "core/alloc.h"
#include <curl/curl.h>
#include <stdint.h>

struct sluice_curl_call;

/* Lies behind libcurl's own, where it costs nothing: of 7.88's 5,360 bytes jemalloc makes 6 KiB. */
struct sluice_curl_handle {
    CURL *easy;
    struct sluice_curl_call *call; /* whom it serves; the callbacks' way to it */
    struct sluice_curl_handle *next;
    void *owner; /* the pool */
    long buffer_size;
    uint8_t is_apart; /* allocated by itself */
    char error[CURL_ERROR_SIZE];
};

/* What all handles of a pool have in common; borrowed by them. */
struct sluice_curl_profile {
    CURLSH *share; /* names and TLS sessions; used by one thread only, so without locks */
    long connect_timeout_ms;
    const char *ca_file, *user_agent;
    curl_write_callback on_body;
    curl_prereq_callback on_send;
};

/* NULL without memory. `owner` is for the callbacks, whose data is the handle. */
struct sluice_curl_handle *sluice_curl_handle_create(const struct sluice_allocator *allocator,
                                                     const struct sluice_curl_profile *profile,
                                                     void *owner);
/* Forget the call before this one: method, body, headers, URL. */
void sluice_curl_handle_reset(struct sluice_curl_handle *handle);
/* The receive buffer, while nothing runs. */
void sluice_curl_handle_buffer(struct sluice_curl_handle *handle, long size);
void sluice_curl_handle_destroy(const struct sluice_allocator *allocator,
                                struct sluice_curl_handle *handle);

#endif
