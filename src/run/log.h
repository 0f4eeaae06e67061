/* SPDX-License-Identifier: Apache-2.0 */
/* Structured log lines on stderr: text for people, JSON lines for machines. One event is one line
 * and one write. */
#ifndef SLUICE_RUN_LOG_H
#define SLUICE_RUN_LOG_H

#include "sluice/worker.h"

/* X(name, icon) */
#define SLUICE_ICONS(X)                                                                            \
    X(START, "🛠️")                                                                            \
    X(MAIL, "✉️")                                                                              \
    X(STORED, "🗄️")                                                                           \
    X(DONE, "✅")                                                                                   \
    X(FAILED, "❌")                                                                                 \
    X(WARN, "⚠️")                                                                              \
    X(STOP, "🛑")                                                                                \
    X(NONE, "")

enum sluice_icon {
#define SLUICE_ICON_ENUM(name, icon) SLUICE_ICON_##name,
    SLUICE_ICONS(SLUICE_ICON_ENUM)
#undef SLUICE_ICON_ENUM
        SLUICE_ICON_COUNT
};

/* key=value; value NULL: number. A field with an empty key is left out; the list ends
 * with a NULL key. */
struct sluice_log_field {
    const char *key;
    const char *text;
    long long number;
};

#define SLUICE_F_TEXT(k, v) ((struct sluice_log_field){(k), (v) == NULL ? "" : (v), 0})
/* Left out of the line while v is NULL. */
#define SLUICE_F_KNOWN(k, v)  ((struct sluice_log_field){(v) == NULL ? "" : (k), (v), 0})
/* Left out of the line while n is 0. */
#define SLUICE_F_COUNTED(k, n) ((struct sluice_log_field){(n) == 0 ? "" : (k), NULL, (long long)(n)})
#define SLUICE_F_NUMBER(k, n) ((struct sluice_log_field){(k), NULL, (long long)(n)})
#define SLUICE_F_END          ((struct sluice_log_field){NULL, NULL, 0})

/* Before threads are started. */
void sluice_log_open(int32_t level, int as_json, int with_icons);
/* A secret that must never show; masked as *** in every line. Before threads are started; at most
 * 128, of at least 4 bytes. */
void sluice_log_redact(const char *secret);
int sluice_log_is_on(int32_t level);
/* Any thread. Control characters and invalid UTF-8 are escaped, values cut at 512 bytes, the line
 * at 8 KiB. */
void sluice_log_write(int32_t level, enum sluice_icon icon, const char *event, const char *text,
                      const struct sluice_log_field *fields);

#define SLUICE_LOG(level, icon, event, text, ...)                                                  \
    do {                                                                                           \
        if (sluice_log_is_on(level)) {                                                             \
            sluice_log_write((level), SLUICE_ICON_##icon, (event), (text),                         \
                             (const struct sluice_log_field[]){__VA_ARGS__, SLUICE_F_END});        \
        }                                                                                          \
    } while (0)

#endif
