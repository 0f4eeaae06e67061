/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for open calls: each is used once, and finds its call only while that is open. */
#ifndef SLUICE_ADAPTER_CURL_NUMBERS_H
#define SLUICE_ADAPTER_CURL_NUMBERS_H

#include "core/alloc.h"
#include <stdint.h>

#define SLUICE_CURL_NO_SLOT UINT32_MAX

struct sluice_curl_number_slot {
    void *call; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* + 1; 0: none */
};

/* Zeroed, with an allocator: empty. */
struct sluice_curl_numbers {
    const struct sluice_allocator *allocator;
    struct sluice_curl_number_slot *slots;
    uint32_t size, free_slot; /* + 1 */
};

/* A number above 0, its slot in *slot; 0 and SLUICE_CURL_NO_SLOT without memory. */
uint64_t sluice_curl_numbers_take(struct sluice_curl_numbers *n, void *call, uint32_t *slot);
void sluice_curl_numbers_give_back(struct sluice_curl_numbers *n, uint32_t slot);
void *sluice_curl_numbers_find(const struct sluice_curl_numbers *n, uint64_t number);
void sluice_curl_numbers_fini(struct sluice_curl_numbers *n);

#endif
