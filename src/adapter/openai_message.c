/* SPDX-License-Identifier: Apache-2.0 */
/* Why an endpoint refused a request, in its own words: so many of them as people need. */
#include "adapter/openai.h"

#include "codec/json_text.h"
#include "codec/json_walk.h"
#include "codec/redact.h"
#include <string.h>

#define LOOKED_AT_MAX   1024u /* bytes of a message; what stands behind is not read */
#define SECRET_PART_LEN 8u    /* so much of the key is not shown either */

static int holds_part(const char *text, const char *secret, size_t len)
{
    size_t part = len < SECRET_PART_LEN ? len : SECRET_PART_LEN;
    for (size_t i = 0; i + part <= len; i++) {
        if (memmem(text, strlen(text), secret + i, part) != NULL) {
            return 1;
        }
    }
    return 0;
}

/* Endpoints quote the key that they refuse, and cut it: any part of it hides the message. */
static int holds_secret_part(const char *text, const char *secrets)
{
    size_t len;
    const char *secret = NULL;
    while (secrets != NULL && (secret = sluice_redact_next(&secrets, &len)) != NULL) {
        if (holds_part(text, secret, len)) {
            return 1;
        }
    }
    return 0;
}

/* Printable ASCII on one line: one '?' for each other character, one blank for many. */
static void excerpt(const char *text, size_t len, const char *secrets, char *out)
{
    char line[LOOKED_AT_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < len && i < LOOKED_AT_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c == 0x7f) {
            if (n > 0 && line[n - 1] != ' ') {
                line[n++] = ' ';
            }
        } else if (c < 0x80 || c >= 0xc0) {
            line[n++] = c < 0x80 ? (char)c : '?';
        }
    }
    n -= n > 0 && line[n - 1] == ' ';
    line[n] = '\0';
    if (holds_secret_part(line, secrets)) {
        return;
    }
    n = n < SLUICE_OPENAI_MESSAGE_SIZE ? n : SLUICE_OPENAI_MESSAGE_SIZE - 1;
    memcpy(out, line, n);
    out[n] = '\0';
}

/* Of an escaped text, so much that no escape and no pair of them is cut. */
static size_t whole_escapes(const struct sluice_json_span *s)
{
    size_t at = 0;
    for (;;) {
        size_t step = 1;
        if (at < s->len && s->text[at] == '\\') {
            int is_pair = s->text[at + 1] == 'u' && (s->text[at + 2] | 0x20) == 'd' &&
                          strchr("89abAB", s->text[at + 3]) != NULL;
            step = is_pair ? 12 : s->text[at + 1] == 'u' ? 6 : 2;
        }
        if (at + step > s->len || at + step > LOOKED_AT_MAX) {
            return at;
        }
        at += step;
    }
}

static void take_string(struct sluice_json_walk *w, const char *secrets, char *out)
{
    struct sluice_json_span inside;
    char plain[LOOKED_AT_MAX];
    if (sluice_json_peek(w) != '"' || !sluice_json_string(w, &inside)) {
        (void)sluice_json_skip(w);
    } else if (inside.has_escape) {
        excerpt(plain, sluice_json_unescape(inside.text, whole_escapes(&inside), plain), secrets,
                out);
    } else {
        excerpt(inside.text, inside.len, secrets, out);
    }
}

static void take_error(struct sluice_json_walk *w, const char *secrets, char *out)
{
    struct sluice_json_span key;
    if (!sluice_json_enter(w, '{')) {
        take_string(w, secrets, out);
        return;
    }
    while (sluice_json_member(w, &key)) {
        if (sluice_json_span_is(&key, "message")) {
            take_string(w, secrets, out);
        } else {
            (void)sluice_json_skip(w);
        }
    }
}

/* {"error": {"message": …}}, and what others make of it: {"error": …}, {"message": …},
 * {"detail": …}. Nothing else of the JSON, which may repeat what was asked. */
static void take_json(struct sluice_json_walk *w, const char *secrets, char *out)
{
    struct sluice_json_span key;
    while (sluice_json_member(w, &key)) {
        if (sluice_json_span_is(&key, "error")) {
            take_error(w, secrets, out);
        } else if (sluice_json_span_is(&key, "message") || sluice_json_span_is(&key, "detail")) {
            take_string(w, secrets, out);
        } else {
            (void)sluice_json_skip(w);
        }
    }
    if (!sluice_json_ends(w)) {
        out[0] = '\0';
    }
}

void sluice_openai_message(sluice_bytes body, const char *secrets,
                           char out[SLUICE_OPENAI_MESSAGE_SIZE])
{
    struct sluice_json_walk w;
    out[0] = '\0';
    sluice_json_walk_init(&w, body, SLUICE_OPENAI_DEPTH_MAX);
    w.at += body.len >= 3 && memcmp(body.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a mark */
    char first = sluice_json_peek(&w);
    if (first == '{' && sluice_json_enter(&w, '{')) {
        take_json(&w, secrets, out);
    } else if (first != '[' && first != '<') { /* neither JSON nor HTML */
        excerpt(body.data, body.len, secrets, out);
    }
}
