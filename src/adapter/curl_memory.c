/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_memory.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint32_t failures;

/* The easy handle that is being made on this thread, and what is to lie behind it. */
static _Thread_local struct {
    size_t size; /* 0: nothing, or it has its place */
    void *handle;
    char *room;
} behind;

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

/* The first that curl_easy_init() asks for is the handle. */
static void *calloc_handle(size_t size)
{
    size_t whole = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    char *p = noted(calloc(1, whole + behind.size));
    behind.size = 0;
    behind.handle = p;
    behind.room = p == NULL ? NULL : p + whole;
    return p;
}

static void *on_calloc(size_t count, size_t size)
{
    return behind.size != 0 && count == 1 ? calloc_handle(size) : noted(calloc(count, size));
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

CURL *sluice_curl_memory_easy(size_t size, void **room)
{
    behind.size = size;
    behind.handle = NULL;
    CURL *easy = curl_easy_init();
    behind.size = 0;
    *room = easy != NULL && easy == behind.handle ? behind.room : NULL;
    return easy;
}
