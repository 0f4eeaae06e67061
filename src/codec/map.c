/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/map.h"

#include "codec/field.h"
#include <stdlib.h>

#define PAIRWISE_MAX 8u /* maps up to here are compared key by key, larger ones sorted */

struct place {
    const ProtobufCMessage *entry;
    size_t index;
};

static int key_compare(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    const ProtobufCFieldDescriptor *key = a->descriptor->fields;
    const char *x = sluice_field_member(a, key);
    const char *y = sluice_field_member(b, key);
    if (key->type == PROTOBUF_C_TYPE_STRING) {
        return strcmp(sluice_field_text(x), sluice_field_text(y));
    }
    if (key->type == PROTOBUF_C_TYPE_BOOL) {
        protobuf_c_boolean p;
        protobuf_c_boolean q;
        memcpy(&p, x, sizeof p);
        memcpy(&q, y, sizeof q);
        return (p != 0) - (q != 0);
    }
    /* Any order does: it only brings equal keys together. */
    return memcmp(x, y, sluice_field_size(key->type));
}

static int place_compare(const void *left, const void *right)
{
    const struct place *a = left;
    const struct place *b = right;
    int order = key_compare(a->entry, b->entry);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static int has_twice(const ProtobufCMessage *const *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (key_compare(entries[i], entries[j]) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* Those that no later entry replaces, in their order. */
static sluice_rc drop_replaced(struct sluice_arena *arena, const ProtobufCMessage *const **entries,
                               size_t *count)
{
    size_t all = *count;
    struct place *places = sluice_arena_alloc(arena, all, sizeof *places);
    const ProtobufCMessage **kept = sluice_arena_alloc(arena, all, sizeof *kept);
    if (places == NULL || kept == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    for (size_t i = 0; i < all; i++) {
        places[i] = (struct place){.entry = (*entries)[i], .index = i};
    }
    qsort(places, all, sizeof *places, place_compare);
    for (size_t i = 0; i < all; i++) {
        int is_replaced = i + 1 < all && key_compare(places[i].entry, places[i + 1].entry) == 0;
        kept[places[i].index] = is_replaced ? NULL : places[i].entry;
    }
    size_t left = 0;
    for (size_t i = 0; i < all; i++) {
        if (kept[i] != NULL) {
            kept[left++] = kept[i];
        }
    }
    *entries = kept;
    *count = left;
    return SLUICE_OK;
}

sluice_rc sluice_map_entries(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *map,
                             struct sluice_arena *arena, const ProtobufCMessage *const **entries,
                             size_t *count)
{
    const ProtobufCMessage *const *all;
    size_t n = sluice_field_count(message, map);
    memcpy(&all, sluice_field_member(message, map), sizeof all);
    for (size_t i = 0; i < n; i++) {
        if (all == NULL || !sluice_field_is_message(all[i]) ||
            all[i]->descriptor != map->descriptor) {
            return SLUICE_ERR_VALIDATION;
        }
    }
    *entries = all;
    *count = n;
    return n > PAIRWISE_MAX || has_twice(all, n) ? drop_replaced(arena, entries, count) : SLUICE_OK;
}

const char *sluice_map_key_text(const ProtobufCMessage *entry, char scratch[SLUICE_NUMBER_SIZE])
{
    const ProtobufCFieldDescriptor *key = entry->descriptor->fields;
    const void *member = sluice_field_member(entry, key);
    uint64_t wide = 0;
    uint32_t narrow = 0;
    switch (key->type) {
    case PROTOBUF_C_TYPE_STRING:
        return sluice_field_text(member);
    case PROTOBUF_C_TYPE_BOOL:
        memcpy(&narrow, member, sizeof narrow);
        return narrow != 0 ? "true" : "false";
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        memcpy(&wide, member, sizeof wide);
        (void)sluice_number_write_int64((int64_t)wide, scratch);
        return scratch;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(&wide, member, sizeof wide);
        (void)sluice_number_write_uint64(wide, scratch);
        return scratch;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        memcpy(&narrow, member, sizeof narrow);
        (void)sluice_number_write_uint64(narrow, scratch);
        return scratch;
    default:
        memcpy(&narrow, member, sizeof narrow);
        (void)sluice_number_write_int64((int32_t)narrow, scratch);
        return scratch;
    }
}

const ProtobufCMessage *sluice_map_value_message(const ProtobufCMessage *entry,
                                                 const ProtobufCFieldDescriptor *value,
                                                 struct sluice_arena *arena)
{
    const ProtobufCMessage *message = sluice_field_message(sluice_field_member(entry, value));
    if (message != NULL) {
        return message;
    }
    const ProtobufCMessageDescriptor *type = value->descriptor;
    ProtobufCMessage *empty = sluice_arena_alloc(arena, 1, type->sizeof_message);
    if (empty != NULL) {
        protobuf_c_message_init(type, empty);
    }
    return empty;
}
