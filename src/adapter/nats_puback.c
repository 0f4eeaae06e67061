/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_puback.h"

#include "core/puback.h"

#include <string.h>

#define DEPTH_MAX 8u

/* Where the reader stands. Each read_ function advances `at` and returns 0 for bytes that are not
 * what it reads. */
struct reader {
    const unsigned char *at, *end;
};

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) {
        r->at++;
    }
}

static int read_byte(struct reader *r, unsigned char wanted)
{
    skip_blanks(r);
    if (r->at >= r->end || *r->at != wanted) {
        return 0;
    }
    r->at++;
    return 1;
}

static int read_word(struct reader *r, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0) {
        return 0;
    }
    r->at += len;
    return 1;
}

static int is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* One escape after its backslash. Texts here are shown to people: \u becomes a question mark. */
static int read_escape(struct reader *r, char *c)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/     ";
    if (r->at >= r->end) {
        return 0;
    }
    unsigned char name = *r->at++;
    if (name == 'u') {
        for (int i = 0; i < 4; i++) {
            if (r->at >= r->end || !is_hex(*r->at++)) {
                return 0;
            }
        }
        *c = '?';
        return 1;
    }
    const char *found = name == '\0' ? NULL : strchr(names, name);
    if (found == NULL) {
        return 0;
    }
    *c = values[found - names];
    return 1;
}

/* A string into `out`, cut at its size; `out` may be NULL. */
static int read_string(struct reader *r, char *out, size_t size)
{
    size_t len = 0;
    if (!read_byte(r, '"')) {
        return 0;
    }
    while (r->at < r->end && *r->at != '"') {
        char c = (char)*r->at++;
        if ((unsigned char)c < 0x20 || (c == '\\' && !read_escape(r, &c))) {
            return 0;
        }
        if (out != NULL && len + 1 < size) {
            out[len++] = c == 0x7f ? '?' : c;
        }
    }
    if (r->at >= r->end) {
        return 0;
    }
    r->at++;
    if (out != NULL) {
        out[len] = '\0';
    }
    return 1;
}

/* An unsigned whole number without sign, fraction or exponent. */
static int read_number(struct reader *r, uint64_t *out)
{
    uint64_t value = 0;
    const unsigned char *start;
    skip_blanks(r);
    start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        uint64_t digit = (uint64_t)(*r->at - '0');
        if (value > (UINT64_MAX - digit) / 10u) {
            return 0;
        }
        value = value * 10u + digit;
        r->at++;
    }
    if (r->at == start || (*start == '0' && r->at - start > 1)) {
        return 0;
    }
    *out = value;
    return 1;
}

static int read_small_number(struct reader *r, uint32_t *out)
{
    uint64_t value;
    if (!read_number(r, &value) || value > UINT32_MAX) {
        return 0;
    }
    *out = (uint32_t)value;
    return 1;
}

static int read_bool(struct reader *r, int *out)
{
    skip_blanks(r);
    *out = r->at < r->end && *r->at == 't';
    return read_word(r, *out ? "true" : "false");
}

/* Digits of any JSON number; its shape is not checked further, its value is not used. */
static int skip_number(struct reader *r)
{
    const unsigned char *start = r->at;
    while (r->at < r->end && *r->at != '\0' && strchr("+-.0123456789eE", *r->at) != NULL) {
        r->at++;
    }
    return r->at > start;
}

/* A value that nobody asked about: newer servers add members. */
static int skip_value(struct reader *r, uint32_t depth)
{
    skip_blanks(r);
    if (r->at >= r->end || depth > DEPTH_MAX) {
        return 0;
    }
    unsigned char first = *r->at;
    if (first == '"') {
        return read_string(r, NULL, 0);
    }
    if (first != '{' && first != '[') {
        return read_word(r, "true") || read_word(r, "false") || read_word(r, "null") ||
               skip_number(r);
    }
    unsigned char last = first == '{' ? '}' : ']';
    r->at++;
    if (read_byte(r, last)) {
        return 1;
    }
    do {
        if (first == '{' && (!read_string(r, NULL, 0) || !read_byte(r, ':'))) {
            return 0;
        }
        if (!skip_value(r, depth + 1)) {
            return 0;
        }
    } while (read_byte(r, ','));
    return read_byte(r, last);
}

static int read_error_member(struct reader *r, const char *name, struct sluice_puback *out)
{
    if (strcmp(name, "code") == 0) {
        return read_small_number(r, &out->code);
    }
    if (strcmp(name, "err_code") == 0) {
        return read_small_number(r, &out->error_code);
    }
    if (strcmp(name, "description") == 0) {
        return read_string(r, out->description, sizeof out->description);
    }
    return skip_value(r, 2);
}

/* The members of an object, each by `member`. */
static int read_object(struct reader *r, struct sluice_puback *out,
                       int (*member)(struct reader *, const char *, struct sluice_puback *))
{
    char name[32];
    if (!read_byte(r, '{')) {
        return 0;
    }
    if (read_byte(r, '}')) {
        return 1;
    }
    do {
        if (!read_string(r, name, sizeof name) || !read_byte(r, ':') || !member(r, name, out)) {
            return 0;
        }
    } while (read_byte(r, ','));
    return read_byte(r, '}');
}

static int read_ack_member(struct reader *r, const char *name, struct sluice_puback *out)
{
    if (strcmp(name, "error") == 0) {
        out->is_error = 1;
        return read_object(r, out, read_error_member);
    }
    if (strcmp(name, "stream") == 0) {
        return read_string(r, out->stream, sizeof out->stream);
    }
    if (strcmp(name, "seq") == 0) {
        return read_number(r, &out->sequence);
    }
    if (strcmp(name, "duplicate") == 0) {
        return read_bool(r, &out->duplicate);
    }
    return skip_value(r, 1);
}

int sluice_puback_parse(sluice_bytes bytes, struct sluice_puback *out)
{
    memset(out, 0, sizeof *out);
    if (bytes.data == NULL || bytes.len > SLUICE_PUBACK_SIZE_MAX) {
        return 0;
    }
    struct reader r = {bytes.data, (const unsigned char *)bytes.data + bytes.len};
    int is_read = read_object(&r, out, read_ack_member);
    skip_blanks(&r);
    if (!is_read || r.at != r.end || (!out->is_error && out->stream[0] == '\0')) {
        memset(out, 0, sizeof *out);
        return 0;
    }
    return 1;
}

int sluice_puback_is_not_yet(const struct sluice_puback *ack)
{
    return ack->is_error ? ack->error_code == SLUICE_JS_ERR_ID_IN_PROCESS
                         : ack->duplicate && ack->sequence == 0;
}

enum sluice_fate sluice_puback_fate(const struct sluice_puback *ack, sluice_rc *rc)
{
    if (sluice_puback_is_stored(ack->is_error, ack->sequence)) {
        *rc = SLUICE_OK;
        return SLUICE_FATE_OK;
    }
    *rc = SLUICE_ERR_PUBLISH;
    if (!ack->is_error || sluice_puback_is_not_yet(ack)) {
        return SLUICE_FATE_UNKNOWN;
    }
    if (ack->error_code == SLUICE_JS_ERR_MESSAGE_SIZE) { /* no later attempt can differ */
        *rc = SLUICE_ERR_TOO_LARGE;
        return SLUICE_FATE_PERMANENT;
    }
    /* Without a leader, full, out of resources: of the stream, not of what was sent to it. */
    return ack->code == 503 ? SLUICE_FATE_UNAVAILABLE : SLUICE_FATE_RETRY;
}
