/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_memory.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint32_t failures;

void sluice_curl_memory_note(void)
{
    atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed);
}

uint32_t sluice_curl_memory_failures(void)
{
    return atomic_load_explicit(&failures, memory_order_relaxed);
}

static void *noted(void *p)
{
    if (p == NULL) {
        sluice_curl_memory_note();
    }
    return p;
}

static void *on_malloc(size_t size)
{
    return noted(malloc(size));
}

static void *on_realloc(void *p, size_t size)
{
    return noted(realloc(p, size));
}

static void *on_calloc(size_t count, size_t size)
{
    return noted(calloc(count, size));
}

static char *on_strdup(const char *text)
{
    return noted(strdup(text));
}

int sluice_curl_memory_init(void)
{
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, on_malloc, free, on_realloc, on_strdup,
                                on_calloc) == CURLE_OK
               ? 0
               : -1;
}
