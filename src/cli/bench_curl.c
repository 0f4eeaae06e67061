/* SPDX-License-Identifier: Apache-2.0 */
/* The limit that libcurl sets: one easy handle, one warm connection, the same request body again
 * and again. */
#include "cli/bench.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static size_t drop(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

int bench_raw_curl(struct bench_shared *shared, const char *url, uint32_t count)
{
    char body[1200];
    char full[128];
    memset(body, 'x', sizeof body);
    (void)snprintf(full, sizeof full, "%s/chat/completions", url);
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct timespec before;
    struct timespec after;
    CURLcode rc = CURLE_OK;
    uint32_t done = 0;
    if (easy == NULL || headers == NULL) {
        return 1;
    }
    (void)curl_easy_setopt(easy, CURLOPT_URL, full);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 5000L);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)sizeof body);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    rc = curl_easy_perform(easy); /* connects */
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    while (rc == CURLE_OK && done < count) {
        rc = curl_easy_perform(easy);
        done += rc == CURLE_OK;
    }
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    atomic_store(&shared->raw_cpu_ns, (uint64_t)((after.tv_sec - before.tv_sec) * 1000000000 +
                                                 after.tv_nsec - before.tv_nsec));
    atomic_store(&shared->raw_count, done);
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    return rc == CURLE_OK ? 0 : 1;
}
