/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/path.h"

#include "codec/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX  48u /* bytes of a foreign name that an error shows */
#define LINKS_MAX  40u /* more than any limit of depth */
#define REASON_MAX 256u

struct writer {
    char *text;
    size_t len;
};

static void put(struct writer *w, const char *data, size_t len)
{
    size_t room = SLUICE_PATH_TEXT_SIZE - 1 - w->len;
    if (len > room) {
        len = room;
    }
    memcpy(w->text + w->len, data, len);
    w->len += len;
}

static void put_foreign(struct writer *w, const char *data, size_t len)
{
    size_t shown = 0;
    while (shown < len) {
        size_t step = sluice_utf8_next((const uint8_t *)data + shown, len - shown);
        if (shown + (step == 0 ? 1 : step) > SHOWN_MAX) {
            put(w, "...", 3);
            return;
        }
        if (step == 0 || (unsigned char)data[shown] < 0x20 || data[shown] == 0x7f) {
            put(w, "?", 1);
            shown += step == 0 ? 1 : step;
            continue;
        }
        put(w, data + shown, step);
        shown += step;
    }
}

static void put_link(struct writer *w, const struct sluice_path *link)
{
    if (link->name != NULL) {
        if (w->len > 0) {
            put(w, ".", 1);
        }
        put_foreign(w, link->name, strlen(link->name));
    }
    if (link->key != NULL) {
        put(w, "[\"", 2);
        put_foreign(w, link->key, link->key_len);
        put(w, "\"]", 2);
    }
    if (link->index >= 0) {
        char number[32];
        int len = snprintf(number, sizeof number, "[%lld]", (long long)link->index);
        put(w, number, len > 0 ? (size_t)len : 0);
    }
}

void sluice_path_text(const struct sluice_path *path, char text[SLUICE_PATH_TEXT_SIZE])
{
    const struct sluice_path *links[LINKS_MAX];
    size_t count = 0;
    for (; path != NULL && count < LINKS_MAX; path = path->up) {
        links[count++] = path;
    }
    struct writer w = {.text = text};
    while (count > 0) {
        put_link(&w, links[--count]);
    }
    /* A path that was cut at the buffer's end must not end inside a character. */
    size_t whole = sluice_utf8_span(text, w.len);
    text[whole] = '\0';
}

sluice_rc sluice_path_fail(const struct sluice_path *path, struct sluice_err *err, sluice_rc rc,
                           const char *format, ...)
{
    char where[SLUICE_PATH_TEXT_SIZE];
    char reason[REASON_MAX];
    if (err == NULL) {
        return rc;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    sluice_path_text(path, where);
    return sluice_err_set(err, rc, "%s%s%s", where, where[0] == '\0' ? "" : ": ", reason);
}
