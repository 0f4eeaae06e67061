/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/header.h"

#include "codec/utf8.h"
#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* As strcasecmp, whatever the locale. */
static int is_same_word(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

const char *sluice_header_find(const sluice_header *headers, uint32_t count, const char *name,
                               uint32_t index)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(headers[i].name, name) == 0 && found++ == index) {
            return headers[i].value;
        }
    }
    if (found > 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (is_same_word(headers[i].name, name) && found++ == index) {
            return headers[i].value;
        }
    }
    return NULL;
}

/* 1 to `max` bytes of printable ASCII without space, none of them in `without`. */
static int is_word(const char *text, size_t max, const char *without)
{
    size_t len = 0;
    if (text == NULL) {
        return 0;
    }
    for (; text[len] != '\0'; len++) {
        if (len == max || text[len] < 0x21 || text[len] > 0x7e ||
            strchr(without, text[len]) != NULL) {
            return 0;
        }
    }
    return len > 0;
}

int sluice_header_name_is_valid(const char *name)
{
    return is_word(name, SLUICE_HEADER_NAME_MAX, ":");
}

int sluice_header_value_is_valid(const char *value)
{
    return value != NULL && strpbrk(value, "\r\n") == NULL;
}

int sluice_header_is_carried(const char *name, const char *value)
{
    return name[0] != '\0' && strpbrk(name, ": \t\r\n") == NULL &&
           sluice_header_value_is_valid(value);
}

int sluice_header_text_is_valid(const char *text, size_t max)
{
    size_t len = text == NULL ? 0 : strlen(text);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return 0;
        }
    }
    return len >= 1 && len <= max && sluice_utf8_span(text, len) == len;
}

/* Tokens between dots, none empty, without white space. */
static int has_good_tokens(const char *subject)
{
    size_t len = 0;
    if (subject == NULL) {
        return 0;
    }
    for (; subject[len] != '\0'; len++) {
        unsigned char c = (unsigned char)subject[len];
        if (len == SLUICE_SUBJECT_MAX || c <= 0x20 || c == 0x7f) {
            return 0;
        }
        if (c == '.' && (len == 0 || subject[len - 1] == '.')) {
            return 0;
        }
    }
    return len > 0 && subject[len - 1] != '.';
}

int sluice_subject_is_valid(const char *subject)
{
    return has_good_tokens(subject) && strpbrk(subject, "*>") == NULL;
}

int sluice_subject_pattern_is_valid(const char *pattern)
{
    if (!has_good_tokens(pattern)) {
        return 0;
    }
    for (size_t i = 0; pattern[i] != '\0'; i++) {
        if (pattern[i] != '*' && pattern[i] != '>') {
            continue;
        }
        int is_whole = (i == 0 || pattern[i - 1] == '.') &&
                       (pattern[i + 1] == '\0' || (pattern[i + 1] == '.' && pattern[i] == '*'));
        if (!is_whole) {
            return 0;
        }
    }
    return 1;
}

int sluice_subject_matches(const char *pattern, const char *subject)
{
    for (;;) {
        size_t wanted = strcspn(pattern, ".");
        size_t given = strcspn(subject, ".");
        if (wanted == 1 && pattern[0] == '>') {
            return given > 0;
        }
        int is_any = wanted == 1 && pattern[0] == '*';
        if (!is_any && (wanted != given || memcmp(pattern, subject, wanted) != 0)) {
            return 0;
        }
        if (given == 0) {
            return 0;
        }
        pattern += wanted;
        subject += given;
        if (*pattern == '\0' || *subject == '\0') {
            return *pattern == *subject;
        }
        pattern++;
        subject++;
    }
}

int sluice_bucket_name_is_valid(const char *name)
{
    size_t len = name == NULL ? 0 : strlen(name);
    return len > 0 && len <= SLUICE_STREAM_NAME_MAX &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}
