/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_easy.h"

#include "adapter/curl_memory.h"

enum {
    IDLE_SECONDS_MAX = 30,         /* a kept connection older than this is not used any more */
    KEEPALIVE_SECONDS = 60,        /* TCP probes find a peer that vanished during a long answer */
    UPLOAD_BUFFER_SIZE = 16 * 1024 /* libcurl's least; by default 64 KiB a TLS transfer */
};

static void set_bounds(CURL *easy, const struct sluice_curl_profile *profile)
{
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, profile->connect_timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS_MAX);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_SECONDS);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_SECONDS);
    (void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER_SIZE);
    /* Without it the end of a transfer waits for its resolver thread, and with it the loop. */
    (void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

/* What libcurl would do on its own and must not: follow redirects to other hosts, take proxies and
 * passwords from the environment and ~/.netrc, unpack compressed answers past their bound, speak
 * other protocols, HTTP/2 (7.88.1 fails all streams of a connection on GOAWAY), HTTP/0.9. */
static void set_restraints(CURL *easy, const struct sluice_curl_profile *profile)
{
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* else looked up for each transfer */
    (void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    (void)curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    /* No proxy is ever used; each transfer and each connection would hold copies of these. */
    (void)curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
    if (profile->ca_file != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, profile->ca_file);
        (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* the system's would count as well */
    }
}

void sluice_curl_handle_destroy(const struct sluice_allocator *allocator,
                                struct sluice_curl_handle *handle)
{
    if (handle != NULL) {
        int is_apart = handle->is_apart;
        curl_easy_cleanup(handle->easy);
        if (is_apart) {
            sluice_mem_free(allocator, handle);
        }
    }
}

struct sluice_curl_handle *sluice_curl_handle_create(const struct sluice_allocator *allocator,
                                                     const struct sluice_curl_profile *profile,
                                                     void *owner)
{
    uint32_t failures = sluice_curl_memory_failures();
    void *room = NULL;
    CURL *easy = sluice_curl_memory_easy(sizeof(struct sluice_curl_handle), &room);
    if (easy == NULL) {
        return NULL;
    }
    struct sluice_curl_handle *handle =
        room != NULL ? room : sluice_mem_alloc(allocator, 1, sizeof *handle);
    if (handle == NULL) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    handle->easy = easy;
    handle->is_apart = room == NULL;
    handle->owner = owner;
    set_bounds(easy, profile);
    set_restraints(easy, profile);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handle->error);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, handle);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, profile->on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, handle);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, profile->on_send);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, handle);
    (void)curl_easy_setopt(easy, CURLOPT_SHARE, profile->share);
    if (profile->user_agent != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, profile->user_agent);
    }
    if (sluice_curl_memory_failures() != failures) { /* without its CA file, or its restraints */
        sluice_curl_handle_destroy(allocator, handle);
        return NULL;
    }
    return handle;
}

void sluice_curl_handle_reset(struct sluice_curl_handle *handle)
{
    CURL *easy = handle->easy;
    (void)curl_easy_setopt(easy, CURLOPT_CURLU, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    handle->call = NULL;
    handle->error[0] = '\0';
}

void sluice_curl_handle_buffer(struct sluice_curl_handle *handle, long size)
{
    if (handle->buffer_size != size &&
        curl_easy_setopt(handle->easy, CURLOPT_BUFFERSIZE, size) == CURLE_OK) {
        handle->buffer_size = size;
    }
}
