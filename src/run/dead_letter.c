/* SPDX-License-Identifier: Apache-2.0 */
#include "run/dead_letter.h"

#include "codec/header.h"
#include "run/fallback.h"
#include "sluice/names.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ADDED_MAX     10u
#define ORIGIN_PREFIX "Sluice-Origin-"
#define ERROR_MAX     512u

/* One line of text, whatever was in it. */
static char *header_text(struct sluice_arena *a, const char *text)
{
    size_t len = strnlen(text, ERROR_MAX);
    char *copy = sluice_arena_copy(a, text, len);
    for (char *p = copy; p != NULL && *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            *p = ' ';
        }
    }
    return copy;
}

static int is_left_out(const char *name)
{
    return strcasecmp(name, "authorization") == 0 || strncasecmp(name, "Sluice-Dead-", 12) == 0 ||
           strcasecmp(name, "Sluice-Origin") == 0 || strcasecmp(name, "Sluice-Origin-Subject") == 0;
}

static const char *origin_name(struct sluice_arena *a, const char *name)
{
    if (strncasecmp(name, "Nats-", 5) != 0) {
        return name;
    }
    size_t len = sizeof ORIGIN_PREFIX + strlen(name);
    char *renamed = sluice_arena_alloc(a, 1, len);
    if (renamed != NULL) {
        (void)snprintf(renamed, len, ORIGIN_PREFIX "%s", name);
    }
    return renamed;
}

static void add(sluice_header *headers, uint32_t *count, const char *name, const char *value)
{
    if (value != NULL && name != NULL) {
        headers[(*count)++] = (sluice_header){name, value};
    }
}

static const char *number(struct sluice_arena *a, uint32_t value)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%u", value);
    return sluice_arena_text(a, text);
}

sluice_header *dead_letter_headers(const struct inflight *m, struct sluice_arena *a,
                                   const char *consumer, const char *reason, uint32_t failures,
                                   uint32_t *count)
{
    const struct sluice_delivery *d = m->delivery;
    sluice_header *headers = sluice_arena_alloc(a, d->headers_count + ADDED_MAX, sizeof *headers);
    if (headers == NULL) {
        return NULL;
    }
    uint32_t dropped = 0;
    *count = 0;
    for (uint32_t i = 0; i < d->headers_count; i++) {
        const sluice_header *h = &d->headers[i];
        if (!sluice_header_is_carried(h->name, h->value)) {
            dropped++;
        } else if (!is_left_out(h->name)) {
            add(headers, count, origin_name(a, h->name), h->value);
        }
    }
    char origin[FALLBACK_SIZE];
    char id[256];
    /* A replay's own: the letter of its original may still be known to the server. */
    fallback_write(&(struct sluice_journal_key){d->stream, d->sequence, d->stored_unix_ns}, origin);
    (void)snprintf(id, sizeof id, "dlq:%s:%.64s", origin, consumer);
    add(headers, count, "Nats-Msg-Id", sluice_arena_text(a, id));
    add(headers, count, SLUICE_HEADER_DEAD_REASON, reason);
    add(headers, count, SLUICE_HEADER_DEAD_STEP, m->failed_step == NULL ? "" : m->failed_step);
    add(headers, count, SLUICE_HEADER_DEAD_ERROR, header_text(a, m->reason));
    add(headers, count, SLUICE_HEADER_DEAD_FAILURES, number(a, failures));
    add(headers, count, SLUICE_HEADER_DEAD_DELIVERIES, number(a, m->deliveries));
    add(headers, count, SLUICE_HEADER_DEAD_DROPPED, dropped == 0 ? NULL : number(a, dropped));
    add(headers, count, SLUICE_HEADER_ORIGIN_SUBJECT, d->subject);
    add(headers, count, SLUICE_HEADER_ORIGIN, sluice_arena_text(a, origin));
    return a->is_exhausted ? NULL : headers;
}
