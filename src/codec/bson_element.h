/* SPDX-License-Identifier: Apache-2.0 */
/* How long the parts of foreign BSON are, judged by at most the `left` bytes that are there. Inside
 * src/codec/bson*.c only. */
#ifndef SLUICE_CODEC_BSON_ELEMENT_H
#define SLUICE_CODEC_BSON_ELEMENT_H

#include "codec/bson_format.h"
#include <stddef.h>

/* Of a document; 0: it is cut or malformed. */
size_t sluice_bson_document_len(const uint8_t *at, size_t left);
/* Of a text up to and with its NUL; 0: there is none. */
size_t sluice_bson_cstring_len(const uint8_t *at, size_t left);
/* Of an element's value, its own length prefixes included; one of a fixed length may be longer than
 * `left`. 0: malformed or of unknown type. */
int sluice_bson_value_len(enum element_type type, const uint8_t *at, size_t left, size_t *len);
/* For people. */
const char *sluice_bson_kind_name(enum element_type type);

#endif
