/* SPDX-License-Identifier: Apache-2.0 */
/* The value of one option: parsed, checked against its limits, refused with what was expected. */
#include "run/option_box.h"

#include "codec/header.h"
#include "codec/redact.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define SECRET_FILE_MAX 65536
#define NATS_URL_MAX    500u /* of one server; the client's own limit */

void option_mask(const struct option *o, const char *value, char *text, size_t size)
{
    if (o->kind == OPTION_SECRET && value[0] != '\0') {
        (void)snprintf(text, size, "***");
    } else if (o->kind == OPTION_URL) {
        sluice_redact_url(value, text, size);
    } else {
        sluice_redact_text(value, text, size);
    }
}

int sluice_service_name_is_same(const char *a, const char *b)
{
    for (;; a++, b++) {
        int x = *a == '-' ? '_' : tolower((unsigned char)*a);
        int y = *b == '-' ? '_' : tolower((unsigned char)*b);
        if (x != y) {
            return 0;
        }
        if (x == '\0') {
            return 1;
        }
    }
}

static void refuse(const struct option_source *s, const struct option *o, const char *value,
                   const char *expected)
{
    char text[101];
    option_mask(o, value, text, sizeof text);
    sluice_report_add(s->report, &s->place, "\"%s\", expected %s", text, expected);
}

static const char *range_text(const struct option *o, char *text, size_t size)
{
    if (o->kind == OPTION_SECONDS) {
        (void)snprintf(text, size, "seconds from %g to %.15g (or with ms, s, m, h)", o->min,
                       o->max);
    } else if (o->kind == OPTION_COUNT) {
        (void)snprintf(text, size, "a whole number from %.15g to %.15g", o->min, o->max);
    } else {
        (void)snprintf(text, size, "a number from %g to %g", o->min, o->max);
    }
    return text;
}

/* A plain decimal number with an optional unit behind it. */
static int number_parse(const char *value, const char **unit, double *number)
{
    const char *p = value;
    int digits = 0;
    p += *p == '-';
    while (isdigit((unsigned char)*p)) {
        p++;
        digits++;
    }
    if (*p == '.') {
        p++;
        while (isdigit((unsigned char)*p)) {
            p++;
            digits++;
        }
    }
    if (digits == 0 || digits > 18) {
        return 0;
    }
    *number = strtod(value, NULL);
    *unit = p;
    return isfinite(*number);
}

static int seconds_of(const char *unit, double *factor)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1}, {"s", 1}, {"ms", 0.001}, {"m", 60}, {"h", 3600}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].unit) == 0) {
            *factor = units[i].factor;
            return 1;
        }
    }
    return 0;
}

static int number_set(const struct option_source *s, const struct option *o, const char *value,
                      void *to)
{
    char expected[96];
    const char *unit;
    double number;
    double factor = 1;
    int is_good = number_parse(value, &unit, &number);
    if (is_good && o->kind == OPTION_SECONDS) {
        is_good = seconds_of(unit, &factor);
        number *= factor;
    } else if (is_good) {
        is_good = *unit == '\0' && (o->kind == OPTION_NUMBER || strchr(value, '.') == NULL);
    }
    if (!is_good || number < o->min || number > o->max) {
        refuse(s, o, value, range_text(o, expected, sizeof expected));
        return 0;
    }
    if (o->kind == OPTION_NUMBER) {
        memcpy(to, &number, sizeof number);
    } else {
        int64_t whole =
            o->kind == OPTION_SECONDS ? (int64_t)llround(number * 1000) : (int64_t)number;
        memcpy(to, &whole, sizeof whole);
    }
    return 1;
}

static int flag_set(const struct option_source *s, const struct option *o, const char *value,
                    void *to)
{
    int is_on = strcmp(value, "1") == 0 || strcmp(value, "true") == 0;
    if (!is_on && strcmp(value, "0") != 0 && strcmp(value, "false") != 0) {
        refuse(s, o, value, "0, 1, true or false");
        return 0;
    }
    memcpy(to, &is_on, sizeof is_on);
    return 1;
}

static int is_word_of(const char *words, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = words;;) {
        size_t n = strcspn(p, "|;");
        if (n == len && memcmp(p, value, n) == 0) {
            return 1;
        }
        if (p[n] != '|') {
            return 0;
        }
        p += n + 1;
    }
}

/* a|b|c; more: as people say it. */
static const char *words_text(const char *words, char *text, size_t size)
{
    size_t len = 0;
    size_t end = strcspn(words, ";");
    for (const char *p = words; *p != '\0' && len + 1 < size; p++) {
        int is_bar = *p == '|' && p < words + end;
        int is_last = is_bar && memchr(p + 1, '|', end - (size_t)(p + 1 - words)) == NULL;
        const char *part = is_last ? " or " : ", ";
        int n = snprintf(text + len, size - len, "%.*s", is_bar ? 4 : 1, is_bar ? part : p);
        len += (size_t)n < size - len ? (size_t)n : size - len - 1;
    }
    return text;
}

int option_is_name(const char *value)
{
    size_t len = strlen(value);
    return len >= 1 && len <= 64 &&
           strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

/* host, host:port, [::1]:port */
static int is_host(const char *p, size_t len)
{
    const char *bracket = p[0] == '[' ? memchr(p, ']', len) : NULL;
    if (p[0] == '[' && bracket == NULL) {
        return 0;
    }
    const char *from = bracket == NULL ? p : bracket;
    const char *colon = memchr(from, ':', len - (size_t)(from - p));
    size_t host = colon == NULL ? len : (size_t)(colon - p);
    if (host == 0 || colon == NULL) {
        return host > 0;
    }
    unsigned port = 0;
    for (size_t i = host + 1; i < len; i++) {
        if (!isdigit((unsigned char)p[i]) || port > 65535) {
            return 0;
        }
        port = port * 10 + (unsigned)(p[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

/* What libnats is given: nats:// and tls:// in any case, or no scheme at all; a path means nothing.
 */
static int is_nats_scheme(const char *p, const char *host)
{
    size_t len = host == NULL ? 0 : (size_t)(host - p);
    return host == NULL || (len == 4 && strncasecmp(p, "nats", 4) == 0) ||
           (len == 3 && strncasecmp(p, "tls", 3) == 0);
}

/* scheme://user:password@host:port/path; a NATS server's scheme may be missing. */
static int is_url(const char *p, size_t len, int is_nats)
{
    const char *host = memmem(p, len, "://", 3);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)p[i] <= ' ' || p[i] == 127) {
            return 0;
        }
    }
    if (is_nats ? !is_nats_scheme(p, host)
                : strncmp(p, "http://", 7) != 0 && strncmp(p, "https://", 8) != 0) {
        return 0;
    }
    host = host == NULL ? p : host + 3;
    size_t rest = len - (size_t)(host - p);
    size_t authority = 0;
    while (authority < rest && strchr("/?#", host[authority]) == NULL) {
        authority++;
    }
    if (is_nats && (authority < rest || len > NATS_URL_MAX)) {
        return 0;
    }
    const char *at = memrchr(host, '@', authority);
    if (at != NULL) {
        authority -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    return authority > 0 && is_host(host, authority);
}

static int is_url_list(const char *value, int is_nats)
{
    for (const char *p = value;;) {
        size_t len = is_nats ? strcspn(p, ",") : strlen(p);
        if (len == 0 || !is_url(p, len, is_nats)) {
            return 0;
        }
        if (p[len] == '\0') {
            return 1;
        }
        p += len + 1;
    }
}

/* mongodb://user:password@host:port,host:port/… or mongodb+srv://…host/…; what stands behind the
 * hosts is libmongoc's to judge. */
static int is_mongodb_uri(const char *value)
{
    int is_service = strncmp(value, "mongodb+srv://", 14) == 0;
    if (!is_service && strncmp(value, "mongodb://", 10) != 0) {
        return 0;
    }
    const char *host = value + (is_service ? 14 : 10);
    const char *end = host + strcspn(host, "/?#");
    const char *at = memrchr(host, '@', (size_t)(end - host));
    for (host = at == NULL ? host : at + 1;; host++) {
        const char *comma = memchr(host, ',', (size_t)(end - host));
        size_t len = (size_t)((comma == NULL ? end : comma) - host);
        if (len == 0 || !is_host(host, len) || strcspn(host, " \t\r\n") < len) {
            return 0;
        }
        host += len;
        if (host == end) {
            return 1;
        }
    }
}

int option_url_has_login(const char *url)
{
    const char *host = strstr(url, "://");
    host = host == NULL ? url : host + 3;
    return memchr(host, '@', strcspn(host, "/?#")) != NULL;
}

/* A base URL gets a path behind it, so it can have neither query nor fragment. */
static const char *url_fault(const char *value, int is_nats)
{
    if (strchr(value, ' ') != NULL) {
        return is_nats ? "URLs without blanks, also around the commas between them"
                       : "a URL without blanks";
    }
    if (!is_url_list(value, is_nats)) {
        return is_nats
                   ? "a URL like nats://host:port or tls://host:port, or a list of them with commas"
                   : "a URL like scheme://host:port";
    }
    return is_nats || strpbrk(value, "?#") == NULL
               ? NULL
               : "a base URL without ? and #: a path is appended to it";
}

static int has_control_character(const char *text)
{
    while (*text != '\0' && (unsigned char)*text >= 0x20 && *text != 0x7f) {
        text++;
    }
    return *text != '\0';
}

/* A line break would end the header or the protocol line that a credential stands in. */
static const char *secret_fault(const struct option *o, const char *value)
{
    if (strcmp(o->key, "store.mongodb_uri") == 0 && !is_mongodb_uri(value)) {
        return "a URI like mongodb://host:port or mongodb+srv://host";
    }
    return has_control_character(value) ? "one line of text" : NULL;
}

/* NULL when the text is fine, else what was expected, perhaps in the given memory. */
static const char *text_fault(const struct option *o, const char *value, char *text, size_t size)
{
    if (value[0] == '\0') {
        return o->default_value[0] == '\0' ? NULL : "not to be empty";
    }
    switch (o->kind) {
    case OPTION_WORD:
        return is_word_of(o->help, value) ? NULL : words_text(o->help, text, size);
    case OPTION_NAME:
        return option_is_name(value) ? NULL : "a name of [A-Za-z0-9_-], at most 64 bytes";
    case OPTION_SUBJECT:
        return sluice_subject_is_valid(value) ? NULL
                                              : "a subject like a.b.c without blanks or wildcards";
    case OPTION_PATTERN:
        return sluice_subject_pattern_is_valid(value) ? NULL : "a subject like a.b.c, a.*.c or a.>";
    case OPTION_SECRET:
        return secret_fault(o, value);
    case OPTION_TEXT:
        return has_control_character(value) ? "one line of text" : NULL;
    case OPTION_URL:
        return url_fault(value, strncmp(o->key, "nats", 4) == 0);
    default:
        return NULL;
    }
}

int option_set(const struct option *o, const char *value, void *base, char **text,
               const struct option_source *s)
{
    void *to = (char *)base + o->offset;
    char *copy = strdup(value);
    if (copy == NULL) {
        sluice_report_add(s->report, &s->place, "no memory");
        return 0;
    }
    int is_set;
    if (o->kind <= OPTION_NUMBER) {
        is_set = number_set(s, o, value, to);
    } else if (o->kind == OPTION_FLAG) {
        is_set = flag_set(s, o, value, to);
    } else {
        char expected[128];
        const char *fault = text_fault(o, value, expected, sizeof expected);
        is_set = fault == NULL;
        if (fault != NULL) {
            refuse(s, o, value, fault);
        } else {
            memcpy(to, &copy, sizeof copy);
        }
    }
    if (!is_set) {
        free(copy);
        return 0;
    }
    free(*text);
    *text = copy;
    return 1;
}

/* Content of a secret's file without its line end, malloc'd; NULL: reported. */
static char *secret_read(const char *path, const struct option_source *s)
{
    struct stat st;
    if (path[0] == '\0') {
        sluice_report_add(s->report, &s->place, "no file is named, expected the path of one");
        return NULL;
    }
    if (stat(path, &st) != 0) {
        sluice_report_add(s->report, &s->place, "%s: %s", path, strerror(errno));
        return NULL;
    }
    FILE *file = fopen(path, "re");
    char *text = calloc(1, SECRET_FILE_MAX + 1);
    if (file == NULL || text == NULL) {
        sluice_report_add(s->report, &s->place, "%s: %s", path, strerror(errno));
    } else {
        size_t len = fread(text, 1, SECRET_FILE_MAX, file);
        if (ferror(file)) { /* a folder, for one, opens like a file */
            sluice_report_add(s->report, &s->place, "%s: %s", path, strerror(errno));
            free(text);
            text = NULL;
            len = 0;
        }
        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
            text[--len] = '\0';
        }
        if (text != NULL && text[0] == '\0') {
            sluice_report_add(s->report, &s->place, "%s: empty, expected a secret", path);
            free(text);
            text = NULL;
        }
    }
    if (file == NULL) {
        free(text);
        text = NULL;
    } else {
        (void)fclose(file);
    }
    return text;
}

int option_set_from_file(const struct option *o, const char *path, void *base, char **text,
                         const struct option_source *s)
{
    char *content = secret_read(path, s);
    int is_set = content != NULL && option_set(o, content, base, text, s);
    free(content);
    return is_set;
}
