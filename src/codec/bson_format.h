/* SPDX-License-Identifier: Apache-2.0 */
/* What writer and reader of BSON have in common: bsonspec.org, version 1.1. Private to them. */
#ifndef SLUICE_CODEC_BSON_FORMAT_H
#define SLUICE_CODEC_BSON_FORMAT_H

#include <stdint.h>

enum element_type {
    ELEMENT_DOUBLE = 0x01,
    ELEMENT_STRING = 0x02,
    ELEMENT_DOCUMENT = 0x03,
    ELEMENT_ARRAY = 0x04,
    ELEMENT_BINARY = 0x05,
    ELEMENT_UNDEFINED = 0x06,
    ELEMENT_OBJECT_ID = 0x07,
    ELEMENT_BOOL = 0x08,
    ELEMENT_DATE = 0x09,
    ELEMENT_NULL = 0x0a,
    ELEMENT_REGEX = 0x0b,
    ELEMENT_DB_POINTER = 0x0c,
    ELEMENT_CODE = 0x0d,
    ELEMENT_SYMBOL = 0x0e,
    ELEMENT_SCOPED_CODE = 0x0f,
    ELEMENT_INT32 = 0x10,
    ELEMENT_TIMESTAMP = 0x11,
    ELEMENT_INT64 = 0x12,
    ELEMENT_DECIMAL = 0x13,
    ELEMENT_MAX_KEY = 0x7f,
    ELEMENT_MIN_KEY = 0xff
};

#define ELEMENT_DOCUMENT_MIN 5u /* an empty document: its length and the end */
#define ELEMENT_OLD_BINARY   2u /* subtype with a second length inside */

static inline void put_le32(void *to, uint32_t value)
{
    unsigned char *bytes = to;
    for (int i = 0; i < 4; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
}

static inline void put_le64(void *to, uint64_t value)
{
    put_le32(to, (uint32_t)value);
    put_le32((unsigned char *)to + 4, (uint32_t)(value >> 32));
}

static inline uint32_t get_le32(const void *from)
{
    const unsigned char *bytes = from;
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static inline uint64_t get_le64(const void *from)
{
    return get_le32(from) | (uint64_t)get_le32((const unsigned char *)from + 4) << 32;
}

#endif
