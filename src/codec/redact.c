/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/redact.h"

#include "codec/percent.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define STARS "***"

struct redaction {
    const char *value;
    int is_url;  /* all of it */
    int is_list; /* of NATS servers: a comma is no part of a login */
    char *out;
    size_t size, len;
};

static struct redaction redaction_of(const char *value, int is_url)
{
    int has_scheme = strstr(value, "://") != NULL;
    int is_nats = strncasecmp(value, "nats://", 7) == 0 || strncasecmp(value, "tls://", 6) == 0;
    return (struct redaction){
        .value = value, .is_url = is_url, .is_list = is_url && (is_nats || !has_scheme)};
}

/* Does a URL begin with the scheme whose :// is at `colon`? That within a password does not. */
static int is_scheme(const struct redaction *r, const char *colon)
{
    const char *begin = colon;
    while (begin > r->value && (isalnum((unsigned char)begin[-1]) ||
                                (begin[-1] != '\0' && strchr("+-.", begin[-1]) != NULL))) {
        begin--;
    }
    return begin < colon && (begin == r->value || strchr(", \t\n\"'`([<=", begin[-1]) != NULL);
}

/* Behind the last :// in [from, at) that begins a URL; NULL: there is none. */
static const char *find_host(const struct redaction *r, const char *from, const char *at)
{
    const char *host = NULL;
    for (const char *p = from; at - p >= 3; p++) {
        if (memcmp(p, "://", 3) == 0 && is_scheme(r, p)) {
            host = p + 3;
        }
    }
    return host;
}

static int has_blank(const char *from, const char *end)
{
    while (from < end && !isspace((unsigned char)*from)) {
        from++;
    }
    return from < end;
}

/* Where the login begins that ends at `at`, NULL: it is none. `from` is behind the @ before, which
 * was in the same login when that is the result, or the beginning. */
static const char *find_login(const struct redaction *r, const char *from, const char *at)
{
    const char *host = find_host(r, from, at);
    if (host != NULL) {
        return host;
    }
    if (from == r->value) {
        host = memmem(from, (size_t)(at - from), "://", 3);
        return host != NULL ? host + 3 : r->is_url ? from : NULL;
    }
    if (r->is_list) {
        const char *comma = memrchr(from, ',', (size_t)(at - from));
        return comma == NULL ? from : comma + 1;
    }
    int is_text = !r->is_url && (find_host(r, r->value, from) == NULL || has_blank(from, at));
    return is_text ? NULL : from;
}

/* What of that login is secret: all of it, or what follows the user's name. */
static const char *find_secret(const struct redaction *r, const char *from, const char *login,
                               const char *at)
{
    const char *colon = memchr(login, ':', (size_t)(at - login));
    int is_rest = login == from && from != r->value;
    return colon == NULL || is_rest ? login : colon + 1;
}

/* ---- Showing ---- */

static void put(struct redaction *r, const char *text, size_t len)
{
    for (size_t i = 0; i < len && r->len + 1 < r->size; i++) {
        unsigned char c = (unsigned char)text[i];
        r->out[r->len++] = c < 0x20 || c == 0x7f ? '?' : text[i];
    }
}

/* Does the query or the fragment of a URL begin at p? */
static int is_query(const struct redaction *r, const char *p)
{
    if (*p != '?' && *p != '#') {
        return 0;
    }
    const char *word = p;
    while (word > r->value && !isspace((unsigned char)word[-1])) {
        word--;
    }
    return r->is_url || memmem(word, (size_t)(p - word), "://", 3) != NULL;
}

/* Put [from, end), or as far as a query begins; returns what follows it, else `end`. */
static const char *put_open(struct redaction *r, const char *from, const char *end)
{
    const char *p = from;
    while (p < end && !is_query(r, p)) {
        p++;
    }
    put(r, from, (size_t)(p - from) + (p < end));
    if (p == end) {
        return end;
    }
    put(r, STARS, strlen(STARS));
    return r->is_url ? p + strlen(p) : p + strcspn(p, " \t\n");
}

static void redact(struct redaction *r)
{
    const char *from = r->value;
    while (1) {
        const char *at = strchr(from, '@');
        const char *end = at == NULL ? from + strlen(from) : at;
        const char *login = at == NULL ? NULL : find_login(r, from, at);
        const char *secret = login == NULL ? end : find_secret(r, from, login, at);
        const char *next = put_open(r, from, secret);
        if (next == secret) {
            put(r, STARS, secret < end ? strlen(STARS) : 0);
            put(r, "@", at != NULL);
            next = at == NULL ? end : at + 1;
        }
        if (*next == '\0') {
            break;
        }
        from = next;
    }
    r->out[r->len] = '\0';
}

void sluice_redact_url(const char *url, char *out, size_t size)
{
    struct redaction r = redaction_of(url, 1);
    r.out = out;
    r.size = size;
    redact(&r);
}

void sluice_redact_text(const char *text, char *out, size_t size)
{
    struct redaction r = redaction_of(text, 0);
    r.out = out;
    r.size = size;
    redact(&r);
}

/* ---- Finding ---- */

static void see_both(const char *secret, size_t len, void (*see)(const char *))
{
    char *copy = strndup(secret, len);
    if (copy != NULL) {
        see(copy);
        if (strchr(copy, '%') != NULL && sluice_percent_decode(copy)) {
            see(copy); /* as whoever logs in with it may show it */
        }
    }
    free(copy);
}

void sluice_redact_find(const char *url, void (*see)(const char *secret))
{
    struct redaction r = redaction_of(url, 1);
    const char *from = url;
    const char *secret = url;
    for (const char *at = strchr(url, '@'); at != NULL; at = strchr(at + 1, '@')) {
        const char *login = find_login(&r, from, at);
        if (login != from || from == url) { /* else the @ before was in this one */
            secret = find_secret(&r, from, login, at);
        }
        see_both(secret, (size_t)(at - secret), see);
        from = at + 1;
    }
    size_t query = strcspn(url, "?#");
    if (url[query] != '\0') {
        see(url + query + 1);
    }
}

const char *sluice_redact_next(const char **list, size_t *len)
{
    const char *at = *list + strspn(*list, "\n");
    *len = strcspn(at, "\n");
    *list = at + *len;
    return *len == 0 ? NULL : at;
}
