/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/doc_check.h"

#include <string.h>

#define BSON_FRAME_SIZE 5u /* int32 length and the closing zero */

static int is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* Bytes of the well-formed UTF-8 sequence at `p`, 0 if there is none: no overlong forms, no
 * surrogates, nothing above U+10FFFF. The text ends with a zero, which is no continuation byte. */
static size_t utf8_sequence(const unsigned char *p)
{
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] < 0xC2 || p[0] > 0xF4) {
        return 0;
    }
    size_t len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static int is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    while (*p != 0) {
        size_t len = utf8_sequence(p);
        if (len == 0) {
            return 0;
        }
        p += len;
    }
    return 1;
}

sluice_rc sluice_doc_check_name(const struct sluice_doc *doc, struct sluice_err *err)
{
    if (doc->collection == NULL || doc->id == NULL) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION, "document without collection or _id");
    }
    size_t len = strnlen(doc->collection, SLUICE_COLLECTION_NAME_MAX + 1);
    size_t good = 0;
    while (good < len && is_name_byte(doc->collection[good])) {
        good++;
    }
    if (len == 0 || len > SLUICE_COLLECTION_NAME_MAX || good < len) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "collection name is not 1 to %u of A-Z a-z 0-9 _ -",
                              SLUICE_COLLECTION_NAME_MAX);
    }
    len = strnlen(doc->id, SLUICE_DOCUMENT_ID_MAX + 1);
    if (len == 0 || len > SLUICE_DOCUMENT_ID_MAX) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "collection %s: _id is not 1 to %u bytes long", doc->collection,
                              SLUICE_DOCUMENT_ID_MAX);
    }
    if (!is_utf8(doc->id)) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION, "collection %s: _id is not UTF-8",
                              doc->collection);
    }
    return SLUICE_OK;
}

static int is_json_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int is_json_object(sluice_bytes body)
{
    const unsigned char *p = body.data;
    size_t from = 0;
    size_t to = body.len;
    while (from < to && is_json_space(p[from])) {
        from++;
    }
    while (to > from && is_json_space(p[to - 1])) {
        to--;
    }
    return to - from >= 2 && p[from] == '{' && p[to - 1] == '}';
}

static int is_bson_document(sluice_bytes body)
{
    const unsigned char *p = body.data;
    if (body.len < BSON_FRAME_SIZE) {
        return 0;
    }
    uint32_t len =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    return len == body.len && p[body.len - 1] == 0;
}

sluice_rc sluice_doc_check(const struct sluice_doc *doc, enum sluice_doc_format format,
                           struct sluice_err *err)
{
    sluice_rc rc = sluice_doc_check_name(doc, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    if (doc->body.len > SLUICE_DOCUMENT_SIZE_MAX) {
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE,
                              "collection %s: document of %zu bytes, limit %u", doc->collection,
                              doc->body.len, SLUICE_DOCUMENT_SIZE_MAX);
    }
    int is_framed =
        doc->body.data != NULL &&
        (format == SLUICE_DOC_JSON ? is_json_object(doc->body) : is_bson_document(doc->body));
    if (!is_framed) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION, "collection %s: body is not a %s",
                              doc->collection,
                              format == SLUICE_DOC_JSON ? "JSON object" : "BSON document");
    }
    return SLUICE_OK;
}

/* FNV-1a. */
static uint64_t hash_more(uint64_t hash, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != 0; p++) {
        hash = (hash ^ *p) * UINT64_C(0x100000001B3);
    }
    return (hash ^ 0xFFu) * UINT64_C(0x100000001B3); /* keeps "a","bc" apart from "ab","c" */
}

uint64_t sluice_doc_hash(const struct sluice_doc *doc)
{
    uint64_t hash = hash_more(hash_more(UINT64_C(0xCBF29CE484222325), doc->collection), doc->id);
    hash ^= hash >> 29; /* the low bits choose the slot */
    return hash == 0 ? 1 : hash;
}
