/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/bson_element.h"

#include <string.h>

size_t sluice_bson_document_len(const uint8_t *at, size_t left)
{
    uint32_t len = left < ELEMENT_DOCUMENT_MIN ? 0 : get_le32(at);
    return len >= ELEMENT_DOCUMENT_MIN && len <= left && at[len - 1] == 0 ? len : 0;
}

/* A length, the text, its NUL; 0: it is not there. */
static size_t string_len(const uint8_t *at, size_t left)
{
    uint32_t len = left < 5 ? 0 : get_le32(at);
    return len >= 1 && len <= left - 4 && at[4 + len - 1] == 0 ? 4 + (size_t)len : 0;
}

size_t sluice_bson_cstring_len(const uint8_t *at, size_t left)
{
    const uint8_t *nul = left == 0 ? NULL : memchr(at, 0, left);
    return nul == NULL ? 0 : (size_t)(nul - at) + 1;
}

static int fixed_len(enum element_type type, size_t *len)
{
    switch (type) {
    case ELEMENT_UNDEFINED:
    case ELEMENT_NULL:
    case ELEMENT_MAX_KEY:
    case ELEMENT_MIN_KEY:
        *len = 0;
        return 1;
    case ELEMENT_BOOL:
        *len = 1;
        return 1;
    case ELEMENT_INT32:
        *len = 4;
        return 1;
    case ELEMENT_DOUBLE:
    case ELEMENT_DATE:
    case ELEMENT_TIMESTAMP:
    case ELEMENT_INT64:
        *len = 8;
        return 1;
    case ELEMENT_OBJECT_ID:
        *len = 12;
        return 1;
    case ELEMENT_DECIMAL:
        *len = 16;
        return 1;
    default:
        return 0;
    }
}

/* Bytes of a value of a type whose length varies; 0: malformed or unknown type. */
static size_t variable_len(enum element_type type, const uint8_t *at, size_t left)
{
    size_t first;
    size_t second;
    switch (type) {
    case ELEMENT_STRING:
    case ELEMENT_CODE:
    case ELEMENT_SYMBOL:
        return string_len(at, left);
    case ELEMENT_DOCUMENT:
    case ELEMENT_ARRAY:
        return sluice_bson_document_len(at, left);
    case ELEMENT_BINARY:
        first = left < 5 ? 0 : get_le32(at);
        return left >= 5 && first <= left - 5 ? 5 + first : 0;
    case ELEMENT_REGEX:
        first = sluice_bson_cstring_len(at, left);
        second = first == 0 ? 0 : sluice_bson_cstring_len(at + first, left - first);
        return second == 0 ? 0 : first + second;
    case ELEMENT_DB_POINTER:
        first = string_len(at, left);
        return first != 0 && left - first >= 12 ? first + 12 : 0;
    case ELEMENT_SCOPED_CODE:
        first = left < 14 ? 0 : get_le32(at);
        return first >= 14 && first <= left ? first : 0;
    default:
        return 0;
    }
}

int sluice_bson_value_len(enum element_type type, const uint8_t *at, size_t left, size_t *len)
{
    if (fixed_len(type, len)) {
        return 1;
    }
    *len = variable_len(type, at, left);
    return *len != 0;
}

const char *sluice_bson_kind_name(enum element_type type)
{
    switch (type) {
    case ELEMENT_DOUBLE:
        return "double";
    case ELEMENT_STRING:
        return "string";
    case ELEMENT_DOCUMENT:
        return "document";
    case ELEMENT_ARRAY:
        return "array";
    case ELEMENT_BINARY:
        return "binary";
    case ELEMENT_OBJECT_ID:
        return "object id";
    case ELEMENT_BOOL:
        return "bool";
    case ELEMENT_DATE:
        return "date";
    case ELEMENT_UNDEFINED:
    case ELEMENT_NULL:
        return "null";
    case ELEMENT_INT32:
    case ELEMENT_INT64:
        return "integer";
    default:
        return "another type";
    }
}
