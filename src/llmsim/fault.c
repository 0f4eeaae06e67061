/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_SHOWN_MAX = 40 };

const char *llmsim_fault_name(enum llmsim_fault fault)
{
    static const char *const names[] = {"ok",
#define NAME(member, name) name,
                                        SLUICE_LLMSIM_FAULTS(NAME)
#undef NAME
    };
    return names[fault];
}

enum llmsim_fault llmsim_fault_named(const char *name, size_t len)
{
    for (int i = 1; i < LLMSIM_FAULT_COUNT; i++) {
        const char *known = llmsim_fault_name((enum llmsim_fault)i);
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            return (enum llmsim_fault)i;
        }
    }
    return LLMSIM_OK;
}

enum llmsim_fault llmsim_fault_draw(struct llmsim *s)
{
    (void)pthread_mutex_lock(&s->lock);
    double draw = (double)(sluice_prng_next(&s->prng) >> 11) / 9007199254740992.0 * 100;
    enum llmsim_fault fault = LLMSIM_OK;
    for (int i = 1; i < LLMSIM_FAULT_COUNT && fault == LLMSIM_OK; i++) {
        if (draw < s->config.faults[i]) {
            fault = (enum llmsim_fault)i;
        }
        draw -= s->config.faults[i];
    }
    (void)pthread_mutex_unlock(&s->lock);
    return fault;
}

/* ---- What a request asks for ---- */

/* A word that names a fault, or `ok`. 0: it names none. */
static int is_named(const char *word, size_t len, enum llmsim_fault *out)
{
    const char *ok = llmsim_fault_name(LLMSIM_OK);
    *out = llmsim_fault_named(word, len);
    return *out != LLMSIM_OK || (len == strlen(ok) && memcmp(word, ok, len) == 0);
}

/* KIND or KINDxN. 0: it names no fault. */
static int word_read(const char *word, size_t len, struct llmsim_orders *orders)
{
    size_t kind = len;
    orders->times = UINT32_MAX;
    if (is_named(word, len, &orders->marked)) {
        return 1;
    }
    while (kind > 0 && word[kind - 1] >= '0' && word[kind - 1] <= '9') {
        kind--;
    }
    if (kind == len || kind == 0 || word[kind - 1] != 'x') {
        return 0;
    }
    unsigned long times = strtoul(word + kind, NULL, 10);
    orders->times = times < UINT32_MAX ? (uint32_t)times : UINT32_MAX;
    return is_named(word, kind - 1, &orders->marked);
}

static void refuse(struct llmsim_orders *orders, const char *before, const char *word, size_t len,
                   const char *behind)
{
    char shown[WORD_SHOWN_MAX + 1];
    size_t count = len < WORD_SHOWN_MAX ? len : WORD_SHOWN_MAX;
    for (size_t i = 0; i < count; i++) {
        shown[i] = '!' <= word[i] && word[i] <= '~' ? word[i] : '?';
    }
    shown[count] = '\0';
    (void)snprintf(orders->why, sizeof orders->why, "%s%s%s: no such fault, expected one of%s",
                   before, shown, behind, LLMSIM_FAULTS_TEXT);
}

/* Only [[fault:WORD]] is a mark: a question may hold these characters by chance. */
static int marks_read(const char *prompt, struct llmsim_orders *orders)
{
    static const char opening[] = "[[fault:";
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    int is_marked = 0;
    for (const char *at = strstr(prompt, opening); at != NULL; at = strstr(at, opening)) {
        struct llmsim_orders read = *orders;
        at += sizeof opening - 1;
        size_t len = strspn(at, letters);
        if (len == 0 || strncmp(at + len, "]]", 2) != 0) {
            continue;
        }
        if (!word_read(at, len, &read)) {
            refuse(orders, opening, at, len, "]]");
            return 0;
        }
        if (!is_marked) { /* the first one counts */
            *orders = read;
        }
        is_marked = 1;
    }
    return 1;
}

int llmsim_orders_read(const char *header, const char *prompt, struct llmsim_orders *out)
{
    *out = (struct llmsim_orders){.has_header = header != NULL};
    if (header != NULL && !is_named(header, strlen(header), &out->header)) {
        refuse(out, "X-Sluice-Fault: ", header, strlen(header), "");
        return 0;
    }
    return marks_read(prompt, out);
}

enum llmsim_fault llmsim_orders_fault(struct llmsim *s, const struct llmsim_orders *orders,
                                      unsigned calls_before)
{
    enum llmsim_fault fault = orders->has_header ? orders->header : llmsim_fault_draw(s);
    return fault == LLMSIM_OK && calls_before < orders->times ? orders->marked : fault;
}

void llmsim_fault_apply(struct call *c)
{
    switch (c->fault) {
    case LLMSIM_f429:
        llmsim_reply_error(c, 429, "requests", "Rate limit reached");
        break;
    case LLMSIM_f500:
        llmsim_reply_error(c, 500, "server_error", "The server had an error");
        break;
    case LLMSIM_f503:
        llmsim_reply_error(c, 503, "server_error", "Overloaded");
        break;
    case LLMSIM_cut:
        c->cut_at = c->answer_len / 2;
        break;
    case LLMSIM_reset:
        c->cut_at = 0;
        break;
    case LLMSIM_empty:
        c->answer_len = 0;
        c->cut_at = 0;
        break;
    default:
        break;
    }
}
