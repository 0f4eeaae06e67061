/* SPDX-License-Identifier: Apache-2.0 */
#include "run/log.h"

#include "codec/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE   8192u
#define VALUE_MAX   512u
#define SECRETS_MAX 128

static struct {
    int32_t level;
    int as_json, with_icons, with_colour;
    char *secrets[SECRETS_MAX];
    int secrets_count;
    int is_blind; /* a secret could not be remembered: then no text is shown */
} settings = {.level = SLUICE_LOG_INFO, .with_icons = 1};

struct line {
    char data[LINE_SIZE];
    size_t len;
};

void sluice_log_open(int32_t level, int as_json, int with_icons)
{
    settings.level = level;
    settings.as_json = as_json;
    settings.with_icons = with_icons;
    settings.with_colour = !as_json && isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
}

void sluice_log_redact(const char *secret)
{
    if (secret == NULL || strlen(secret) < 4) {
        return;
    }
    char *copy = settings.secrets_count < SECRETS_MAX ? strdup(secret) : NULL;
    if (copy == NULL) {
        settings.is_blind = 1;
    } else {
        settings.secrets[settings.secrets_count++] = copy;
    }
}

int sluice_log_is_on(int32_t level)
{
    return level >= settings.level;
}

static void add(struct line *l, const char *data, size_t len)
{
    size_t room = LINE_SIZE - 16 - l->len;
    size_t n = len < room ? len : room;
    memcpy(l->data + l->len, data, n);
    l->len += n;
}

static void add_text(struct line *l, const char *text)
{
    add(l, text, strlen(text));
}

static size_t secret_at(const char *text)
{
    if (settings.is_blind) {
        return strlen(text);
    }
    for (int i = 0; i < settings.secrets_count; i++) {
        size_t len = strlen(settings.secrets[i]);
        if (strncmp(text, settings.secrets[i], len) == 0) {
            return len;
        }
    }
    return 0;
}

/* Bytes at `at` that are one code point which breaks a line or turns the order of what follows on a
 * screen: U+0080…U+009F, U+2028…U+202E, U+2066…U+2069. 0: no such one. */
static size_t is_treacherous(const unsigned char *at, unsigned *code_point)
{
    if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f) {
        *code_point = at[1];
        return 2;
    }
    if (at[0] != 0xe2 || (at[1] != 0x80 && at[1] != 0x81)) {
        return 0;
    }
    *code_point = 0x2000u | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    int is_bad = (*code_point >= 0x2028 && *code_point <= 0x202e) ||
                 (*code_point >= 0x2066 && *code_point <= 0x2069);
    return is_bad && (at[2] & 0xc0u) == 0x80 ? 3 : 0;
}

/* Everything from outside goes through here. */
static void add_escaped(struct line *l, const char *text)
{
    size_t len = strnlen(text, VALUE_MAX);
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t secret = settings.secrets_count > 0 || settings.is_blind ? secret_at(text + i) : 0;
        if (secret > 0) {
            add_text(l, "***");
            i += secret;
            continue;
        }
        size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        unsigned code_point;
        size_t hidden = is_treacherous((const unsigned char *)text + i, &code_point);
        char code[8];
        if (hidden > 0 && hidden <= len - i) {
            (void)snprintf(code, sizeof code, "\\u%04x", code_point & 0xffffu);
            add_text(l, code);
            n = hidden;
        } else if (c == '"' || c == '\\') {
            code[0] = '\\';
            code[1] = (char)c;
            add(l, code, 2);
        } else if (c < 0x20 || c == 0x7f || n > len - i ||
                   sluice_utf8_valid_prefix(text + i, n) != n) {
            (void)snprintf(code, sizeof code, "\\u%04x", c);
            add_text(l, code);
            n = 1;
        } else {
            add(l, text + i, n);
        }
        i += n;
    }
}

static void add_time(struct line *l)
{
    struct timespec now;
    struct tm tm;
    char text[40];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text + n, sizeof text - n, ".%03ldZ", now.tv_nsec / 1000000);
    add_text(l, text);
}

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colours[] = {"\033[2m", "", "\033[33m", "\033[31m"};
static const char *const icons[] = {
#define ICON(name, icon) icon,
    SLUICE_ICONS(ICON)
#undef ICON
};

static int is_plain(const char *text)
{
    return text[0] != '\0' && strpbrk(text, " \t\r\n\"=\\") == NULL;
}

static void write_json(struct line *l, int32_t level, const char *icon, const char *event,
                       const char *text, const struct sluice_log_field *f)
{
    add_text(l, "{\"time\":\"");
    add_time(l);
    add_text(l, "\",\"level\":\"");
    add_text(l, level_names[level]);
    if (settings.with_icons && icon[0] != '\0') {
        add_text(l, "\",\"icon\":\"");
        add_text(l, icon);
    }
    add_text(l, "\",\"event\":\"");
    add_escaped(l, event);
    add_text(l, "\",\"text\":\"");
    add_escaped(l, text);
    add_text(l, "\"");
    for (; f->key != NULL && l->len < LINE_SIZE - 2 * VALUE_MAX * 6; f++) {
        char number[32];
        if (f->key[0] == '\0') {
            continue;
        }
        add_text(l, ",\"");
        add_text(l, f->key);
        add_text(l, "\":");
        if (f->text == NULL) {
            (void)snprintf(number, sizeof number, "%lld", f->number);
            add_text(l, number);
        } else {
            add_text(l, "\"");
            add_escaped(l, f->text);
            add_text(l, "\"");
        }
    }
    add_text(l, "}\n");
}

static void write_text(struct line *l, int32_t level, const char *icon, const char *event,
                       const char *text, const struct sluice_log_field *f)
{
    add_text(l, settings.with_colour ? level_colours[level] : "");
    add_time(l);
    add_text(l, " ");
    add_text(l, level_names[level]);
    add_text(l, " ");
    if (settings.with_icons && icon[0] != '\0') {
        add_text(l, icon);
        add_text(l, " ");
    }
    add_escaped(l, event);
    if (text[0] != '\0') {
        add_text(l, ": ");
        add_escaped(l, text);
    }
    for (; f->key != NULL; f++) {
        char number[32];
        if (f->key[0] == '\0') {
            continue;
        }
        add_text(l, " ");
        add_text(l, f->key);
        add_text(l, "=");
        if (f->text == NULL) {
            (void)snprintf(number, sizeof number, "%lld", f->number);
            add_text(l, number);
        } else if (is_plain(f->text)) {
            add_escaped(l, f->text);
        } else {
            add_text(l, "\"");
            add_escaped(l, f->text);
            add_text(l, "\"");
        }
    }
    add_text(l, settings.with_colour && level_colours[level][0] != '\0' ? "\033[0m\n" : "\n");
}

void sluice_log_write(int32_t level, enum sluice_icon icon, const char *event, const char *text,
                      const struct sluice_log_field *fields)
{
    if (level < SLUICE_LOG_DEBUG || level > SLUICE_LOG_ERROR || !sluice_log_is_on(level)) {
        return;
    }
    struct line l;
    l.len = 0;
    (settings.as_json ? write_json : write_text)(&l, level, icons[icon], event, text, fields);
    if (l.len > 0 && l.data[l.len - 1] != '\n') {
        l.data[l.len++] = '\n';
    }
    ssize_t ignored = write(STDERR_FILENO, l.data, l.len); /* a closed stderr must not stop us */
    (void)ignored;
}
