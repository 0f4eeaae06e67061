/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_journal_codec.h"

#include "adapter/nats_headers.h"
#include "codec/base64.h"
#include "codec/fixed.h"
#include "codec/hash.h"
#include "codec/json_text.h"
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_VERSION  1
#define RECORD_SIZE_MAX 65536u
#define CHUNKED_HEAD    "SA1 c "
#define SHA_HEX_LEN     64u

/* ---- Subjects ---- */

int sluice_journal_prefix(char out[SLUICE_JOURNAL_SUBJECT_SIZE], const char *bucket,
                          const char *worker, const struct sluice_journal_key *key)
{
    if (strpbrk(key->stream, "\"\\ .*>\t\r\n") != NULL) {
        return 0; /* NATS allows no such name, but JSON is made of it here */
    }
    const char *const names[] = {"$KV.", bucket, ".", worker, ".", key->stream, "."};
    struct sluice_fixed text = sluice_fixed_in(out, SLUICE_JOURNAL_SUBJECT_SIZE);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sluice_fixed_text(&text, names[i]);
    }
    sluice_fixed_uint64(&text, key->sequence);
    sluice_fixed_text(&text, ".");
    sluice_fixed_int64(&text, key->stored_unix_ns);
    sluice_fixed_text(&text, ".");
    /* Room for the longest name below it. */
    return !text.is_cut && text.len + 96 < SLUICE_JOURNAL_SUBJECT_SIZE;
}

void sluice_journal_answer_name(char out[96], const struct sluice_journaled *id)
{
    char hash[SLUICE_HASH_TEXT_SIZE];
    struct sluice_fixed text = sluice_fixed_in(out, 96);
    sluice_hash_hex(&id->hash, hash);
    sluice_fixed_text(&text, "a.");
    sluice_fixed_uint64(&text, id->epoch);
    sluice_fixed_text(&text, ".");
    sluice_fixed_text(&text, hash);
    sluice_fixed_text(&text, ".");
    sluice_fixed_uint64(&text, id->occurrence);
}

int sluice_journal_answer_id(const char *name, struct sluice_journaled *out)
{
    char again[96];
    struct sluice_journaled id;
    if (sscanf(name, "a.%10" SCNu32 ".%16" SCNx64 "%16" SCNx64 ".%10" SCNu32, &id.epoch,
               &id.hash.high, &id.hash.low, &id.occurrence) != 4) {
        return 0;
    }
    sluice_journal_answer_name(again, &id);
    if (strcmp(name, again) != 0) {
        return 0; /* signs, blanks, missing digits */
    }
    *out = id;
    return 1;
}

/* ---- The record ---- */

/* Cut at `max` bytes, not inside a UTF-8 sequence. */
static void cut(char *out, size_t size, const char *text)
{
    size_t len = text == NULL ? 0 : strlen(text);
    if (len >= size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0u) == 0x80u) {
            len--;
        }
    }
    if (len > 0) {
        memcpy(out, text, len);
    }
    out[len] = '\0';
}

static int add_outputs(cJSON *json, const struct sluice_record *numbers)
{
    cJSON *outputs = cJSON_AddArrayToObject(json, "outputs");
    for (uint32_t i = 0; outputs != NULL && i < numbers->outputs_count; i++) {
        char hex[17];
        (void)snprintf(hex, sizeof hex, "%016" PRIx64, numbers->outputs[i]);
        cJSON *item = cJSON_CreateString(hex);
        if (item == NULL) {
            return 0;
        }
        cJSON_AddItemToArray(outputs, item);
    }
    return outputs != NULL;
}

char *sluice_journal_record_encode(const struct sluice_journal_record *record)
{
    const struct sluice_record *n = &record->numbers;
    struct sluice_journal_record_text texts;
    char *printed = NULL;
    cut(texts.failure, sizeof texts.failure, record->failure);
    cut(texts.step, sizeof texts.step, record->step);
    cut(texts.text, sizeof texts.text, record->text);
    cut(texts.replay, sizeof texts.replay, record->replay);
    cJSON *json = cJSON_CreateObject();
    if (json != NULL && cJSON_AddNumberToObject(json, "v", RECORD_VERSION) != NULL &&
        cJSON_AddNumberToObject(json, "failures", n->failures) != NULL &&
        cJSON_AddNumberToObject(json, "epoch", n->epoch) != NULL &&
        cJSON_AddNumberToObject(json, "stale_marks", n->stale_marks) != NULL &&
        cJSON_AddBoolToObject(json, "is_marked", n->is_marked) != NULL &&
        cJSON_AddStringToObject(json, "failure", texts.failure) != NULL &&
        cJSON_AddStringToObject(json, "step", texts.step) != NULL &&
        cJSON_AddStringToObject(json, "text", texts.text) != NULL && add_outputs(json, n) &&
        (texts.replay[0] == '\0' ||
         cJSON_AddStringToObject(json, "replay", texts.replay) != NULL)) {
        printed = cJSON_PrintUnformatted(json);
    }
    cJSON_Delete(json);
    return printed;
}

static int read_number(const cJSON *json, const char *name, double max, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= max) ||
        item->valuedouble != (double)(uint64_t)item->valuedouble) {
        return 0;
    }
    *out = item->valuedouble;
    return 1;
}

static int read_text(const cJSON *json, const char *name, char *out, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!cJSON_IsString(item)) {
        return 0;
    }
    cut(out, size, item->valuestring);
    return 1;
}

static int read_hex64(const char *text, uint64_t *out)
{
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        return 0;
    }
    *out = strtoull(text, NULL, 16);
    return 1;
}

static int read_outputs(const cJSON *json, struct sluice_record *out)
{
    const cJSON *outputs = cJSON_GetObjectItemCaseSensitive(json, "outputs");
    const cJSON *item;
    if (!cJSON_IsArray(outputs)) {
        return 0;
    }
    cJSON_ArrayForEach(item, outputs)
    {
        if (out->outputs_count == SLUICE_EFFECTS_MAX || !cJSON_IsString(item) ||
            !read_hex64(item->valuestring, &out->outputs[out->outputs_count])) {
            return 0;
        }
        out->outputs_count++;
    }
    return 1;
}

static int read_record(const cJSON *json, struct sluice_journal_record_text *out)
{
    double version, failures, epoch, stale_marks;
    const cJSON *is_marked = cJSON_GetObjectItemCaseSensitive(json, "is_marked");
    if (!read_number(json, "v", RECORD_VERSION, &version) || version != RECORD_VERSION ||
        !read_number(json, "failures", UINT32_MAX, &failures) ||
        !read_number(json, "epoch", UINT32_MAX, &epoch) ||
        !read_number(json, "stale_marks", UINT16_MAX, &stale_marks) || !cJSON_IsBool(is_marked)) {
        return 0;
    }
    out->numbers.failures = (uint32_t)failures;
    out->numbers.epoch = (uint32_t)epoch;
    out->numbers.stale_marks = (uint16_t)stale_marks;
    out->numbers.is_marked = cJSON_IsTrue(is_marked) != 0;
    return read_text(json, "failure", out->failure, sizeof out->failure) &&
           read_text(json, "step", out->step, sizeof out->step) &&
           read_text(json, "text", out->text, sizeof out->text) &&
           (!cJSON_HasObjectItem(json, "replay") ||
            read_text(json, "replay", out->replay, sizeof out->replay)) &&
           read_outputs(json, &out->numbers);
}

sluice_rc sluice_journal_record_decode(sluice_bytes bytes, struct sluice_journal_record_text *out)
{
    struct sluice_err err;
    sluice_rc rc = SLUICE_OK;
    memset(out, 0, sizeof *out);
    cJSON *json = cJSON_ParseWithLength(bytes.data, bytes.len);
    if (json == NULL) { /* which does not say whether text or memory was to blame */
        rc = sluice_json_parse(bytes, RECORD_SIZE_MAX, &json, &err);
    }
    if (rc == SLUICE_OK && !(cJSON_IsObject(json) && read_record(json, out))) {
        rc = SLUICE_ERR_DECODE;
        memset(out, 0, sizeof *out);
    }
    cJSON_Delete(json);
    return rc == SLUICE_OK || rc == SLUICE_ERR_NOMEM ? rc : SLUICE_ERR_DECODE;
}

/* ---- Answers ---- */

void sluice_journal_sha(sluice_bytes bytes, char out[SLUICE_JOURNAL_SHA_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[SHA256_DIGEST_LENGTH];
    (void)SHA256(bytes.data, bytes.len, sum);
    for (size_t i = 0; i < sizeof sum; i++) {
        *out++ = digits[sum[i] >> 4];
        *out++ = digits[sum[i] & 15u];
    }
    *out = '\0';
}

char *sluice_journal_inline_encode(sluice_bytes answer, size_t *len)
{
    size_t head = sizeof SLUICE_JOURNAL_INLINE_HEAD - 1;
    char *out = malloc(head + answer.len);
    if (out != NULL) {
        memcpy(out, SLUICE_JOURNAL_INLINE_HEAD, head);
        if (answer.len > 0) {
            memcpy(out + head, answer.data, answer.len);
        }
        *len = head + answer.len;
    }
    return out;
}

char *sluice_journal_chunked_encode(const struct sluice_journal_chunk *names, uint32_t chunks,
                                    size_t answer_len, size_t *len)
{
    size_t size = 64 + (size_t)chunks * (SHA_HEX_LEN + 1);
    char *out = malloc(size);
    if (out != NULL) {
        *len = (size_t)snprintf(out, size, CHUNKED_HEAD "%zu\n", answer_len);
        for (uint32_t i = 0; i < chunks; i++) {
            memcpy(out + *len, names[i].sha, SHA_HEX_LEN);
            out[*len + SHA_HEX_LEN] = '\n';
            *len += SHA_HEX_LEN + 1;
        }
    }
    return out;
}

/* "<len>\n" and the names, to the last byte. */
static int read_chunk_list(const char *at, const char *end, struct sluice_journal_head *out)
{
    size_t len = 0;
    const char *start = at;
    for (; at < end && *at >= '0' && *at <= '9' && len <= SLUICE_JOURNAL_ANSWER_MAX; at++) {
        len = len * 10 + (size_t)(*at - '0');
    }
    if (at == start || at >= end || *at != '\n' || len > SLUICE_JOURNAL_ANSWER_MAX) {
        return 0;
    }
    size_t list = (size_t)(end - ++at), step = SHA_HEX_LEN + 1;
    if (list == 0 || list % step != 0 || list / step > SLUICE_JOURNAL_CHUNKS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < list; i++) {
        int is_end = i % step == SHA_HEX_LEN;
        if (is_end ? at[i] != '\n' : at[i] == '\0' || strchr("0123456789abcdef", at[i]) == NULL) {
            return 0;
        }
    }
    *out = (struct sluice_journal_head){
        .is_chunked = 1, .names = at, .chunks = (uint32_t)(list / step), .len = len};
    return 1;
}

int sluice_journal_head_decode(sluice_bytes bytes, struct sluice_journal_head *out)
{
    const char *text = bytes.data;
    size_t inline_len = sizeof SLUICE_JOURNAL_INLINE_HEAD - 1,
           chunked_len = sizeof CHUNKED_HEAD - 1;
    memset(out, 0, sizeof *out);
    if (bytes.len >= inline_len && memcmp(text, SLUICE_JOURNAL_INLINE_HEAD, inline_len) == 0) {
        out->bytes = (sluice_bytes){text + inline_len, bytes.len - inline_len};
        out->len = out->bytes.len;
        return 1;
    }
    return bytes.len >= chunked_len && memcmp(text, CHUNKED_HEAD, chunked_len) == 0 &&
           read_chunk_list(text + chunked_len, text + bytes.len, out);
}

/* ---- The server's answers ---- */

/* Memory of malloc, NULL for anything else than base64. */
static char *decode_base64(const char *text, size_t *len)
{
    size_t text_len = strlen(text);
    char *out = malloc(text_len / 4 * 3 + 3);
    if (out != NULL && !sluice_base64_decode(text, text_len, out, len)) {
        free(out);
        out = NULL;
    }
    return out;
}

static void note_operation(void *ctx, const char *name, size_t name_len, const char *value,
                           size_t value_len)
{
    int *is_deleted = ctx;
    if (name_len == 12 && memcmp(name, "KV-Operation", 12) == 0 &&
        ((value_len == 3 && memcmp(value, "DEL", 3) == 0) ||
         (value_len == 5 && memcmp(value, "PURGE", 5) == 0))) {
        *is_deleted = 1;
    }
}

static int read_headers(const cJSON *message, struct sluice_journal_entry *out)
{
    const cJSON *headers = cJSON_GetObjectItemCaseSensitive(message, "hdrs");
    size_t len;
    if (headers == NULL) {
        return 1;
    }
    char *block = cJSON_IsString(headers) ? decode_base64(headers->valuestring, &len) : NULL;
    if (block == NULL) {
        return 0;
    }
    sluice_nats_headers_parse(block, len, note_operation, &out->is_deleted);
    free(block);
    return 1;
}

static int read_entry(const cJSON *message, struct sluice_journal_entry *out)
{
    const cJSON *subject = cJSON_GetObjectItemCaseSensitive(message, "subject");
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(message, "data");
    if (!cJSON_IsString(subject) || (data != NULL && !cJSON_IsString(data)) ||
        !read_headers(message, out)) {
        return 0;
    }
    out->subject = strdup(subject->valuestring);
    out->body = decode_base64(data == NULL ? "" : data->valuestring, &out->body_len);
    return out->subject != NULL && out->body != NULL;
}

/* The server's error in its own words; 1 when there is one. */
static int read_error(const cJSON *json, int *code, struct sluice_err *err)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(error, "code");
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(error, "description");
    if (error == NULL) {
        return 0;
    }
    *code = cJSON_IsNumber(number) ? number->valueint : 0;
    (void)sluice_err_set(err, SLUICE_ERR_UNAVAILABLE, "journal: %s",
                         cJSON_IsString(words) ? words->valuestring : "the server refused");
    return 1;
}

enum sluice_journal_found sluice_journal_entry_decode(sluice_bytes answer,
                                                      struct sluice_journal_entry *out,
                                                      struct sluice_err *err)
{
    int code = 0;
    enum sluice_journal_found found = SLUICE_JOURNAL_ERROR;
    memset(out, 0, sizeof *out);
    cJSON *json = cJSON_ParseWithLength(answer.data, answer.len);
    if (read_error(json, &code, err)) {
        const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(error, "err_code");
        /* 10037: no such message; a 404 with another number is a missing bucket. */
        found = code == 404 && cJSON_IsNumber(number) && number->valueint == 10037
                    ? SLUICE_JOURNAL_ABSENT
                    : SLUICE_JOURNAL_ERROR;
    } else if (read_entry(cJSON_GetObjectItemCaseSensitive(json, "message"), out)) {
        found = SLUICE_JOURNAL_FOUND;
    } else {
        sluice_journal_entry_free(out);
        (void)sluice_err_set(err, SLUICE_ERR_DECODE, "journal: unreadable answer to MSG.GET");
    }
    cJSON_Delete(json);
    return found;
}

void sluice_journal_entry_free(struct sluice_journal_entry *entry)
{
    free(entry->subject);
    free(entry->body);
    memset(entry, 0, sizeof *entry);
}

sluice_rc sluice_journal_subjects_decode(sluice_bytes answer,
                                         void (*visit)(void *ctx, const char *subject), void *ctx,
                                         struct sluice_err *err)
{
    int code;
    sluice_rc rc = SLUICE_OK;
    cJSON *json = cJSON_ParseWithLength(answer.data, answer.len);
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(json, "state");
    const cJSON *subjects = cJSON_GetObjectItemCaseSensitive(state, "subjects");
    const cJSON *item;
    if (read_error(json, &code, err)) {
        rc = SLUICE_ERR_UNAVAILABLE;
    } else if (!cJSON_IsObject(state) || (subjects != NULL && !cJSON_IsObject(subjects) &&
                                          !cJSON_IsNull(subjects))) { /* a list has no names */
        rc = sluice_err_set(err, SLUICE_ERR_DECODE, "journal: unreadable answer to STREAM.INFO");
    } else {
        cJSON_ArrayForEach(item, subjects)
        {
            visit(ctx, item->string);
        }
    }
    cJSON_Delete(json);
    return rc;
}
