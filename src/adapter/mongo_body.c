/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/mongo_body.h"

#include <bson/bson.h>
#include <string.h>

static const char *const not_bson = "the body is not valid BSON";

static const char *level_fault(const uint8_t *data, size_t len, uint32_t depth);

static const char *value_fault(const bson_iter_t *at, uint32_t depth)
{
    const uint8_t *data = NULL;
    uint32_t len = 0;
    if (BSON_ITER_HOLDS_UTF8(at)) {
        const char *text = bson_iter_utf8(at, &len);
        return bson_utf8_validate(text, len, true) ? NULL : "the body has text that is not UTF-8";
    }
    if (BSON_ITER_HOLDS_DOCUMENT(at)) {
        bson_iter_document(at, &len, &data);
        return level_fault(data, len, depth + 1);
    }
    if (BSON_ITER_HOLDS_ARRAY(at)) {
        bson_iter_array(at, &len, &data);
        return level_fault(data, len, depth + 1);
    }
    return NULL;
}

static const char *key_fault(const char *key, uint32_t depth)
{
    if (!bson_utf8_validate(key, strlen(key), false)) {
        return "the body has a field name that is not UTF-8";
    }
    if (depth == 1 && key[0] == '$') {
        return "a field name begins with $";
    }
    return depth == 1 && strcmp(key, "_id") == 0 ? "the body has an _id of its own" : NULL;
}

/* Recursion is bounded by SLUICE_MONGO_DEPTH_MAX. */
static const char *level_fault(const uint8_t *data, size_t len, uint32_t depth)
{
    bson_t document;
    bson_iter_t at;
    if (depth > SLUICE_MONGO_DEPTH_MAX) {
        return "the body is nested too deeply";
    }
    if (data == NULL || !bson_init_static(&document, data, len) ||
        !bson_iter_init(&at, &document)) {
        return not_bson;
    }
    while (bson_iter_next(&at)) {
        const char *fault = key_fault(bson_iter_key(&at), depth);
        if (fault == NULL) {
            fault = value_fault(&at, depth);
        }
        if (fault != NULL) {
            return fault;
        }
    }
    return at.err_off == 0 ? NULL : not_bson;
}

const char *sluice_mongo_body_fault(sluice_bytes body)
{
    return level_fault(body.data, body.len, 1);
}
