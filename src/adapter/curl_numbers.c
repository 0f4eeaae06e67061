/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_numbers.h"

static int numbers_grow(struct sluice_curl_numbers *n)
{
    uint32_t size = n->size == 0 ? 64 : n->size * 2;
    struct sluice_curl_number_slot *slots =
        n->allocator->resize(n->allocator->ctx, n->slots, size * sizeof *slots);
    if (slots == NULL) {
        return 0;
    }
    for (uint32_t i = n->size; i < size; i++) {
        slots[i] = (struct sluice_curl_number_slot){.next_free = i + 1 < size ? i + 2 : 0};
    }
    n->slots = slots;
    n->free_slot = n->size + 1;
    n->size = size;
    return 1;
}

uint64_t sluice_curl_numbers_take(struct sluice_curl_numbers *n, void *call, uint32_t *slot)
{
    if (n->free_slot == 0 && !numbers_grow(n)) {
        *slot = SLUICE_CURL_NO_SLOT;
        return 0;
    }
    *slot = n->free_slot - 1;
    struct sluice_curl_number_slot *s = &n->slots[*slot];
    n->free_slot = s->next_free;
    s->call = call;
    s->generation++;
    return (uint64_t)s->generation << 32 | (*slot + 1u);
}

void sluice_curl_numbers_give_back(struct sluice_curl_numbers *n, uint32_t slot)
{
    if (slot != SLUICE_CURL_NO_SLOT) {
        n->slots[slot].call = NULL;
        n->slots[slot].next_free = n->free_slot;
        n->free_slot = slot + 1;
    }
}

void *sluice_curl_numbers_find(const struct sluice_curl_numbers *n, uint64_t number)
{
    uint32_t slot = (uint32_t)number - 1u; /* of 0: beyond any size */
    if (slot >= n->size || n->slots[slot].generation != (uint32_t)(number >> 32)) {
        return NULL;
    }
    return n->slots[slot].call;
}

void sluice_curl_numbers_fini(struct sluice_curl_numbers *n)
{
    if (n->slots != NULL) {
        sluice_mem_free(n->allocator, n->slots);
    }
    n->slots = NULL;
    n->size = 0;
    n->free_slot = 0;
}
