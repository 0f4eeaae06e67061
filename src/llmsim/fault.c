/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/call.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_SHOWN_MAX = 40, LATENCY_MS_MAX = 3600000 };

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

int llmsim_faults_fit(const struct llmsim_config *config, char *why, size_t size)
{
    double sum = 0;
    for (int i = 1; i < LLMSIM_FAULT_COUNT; i++) {
        sum += config->faults[i];
    }
    if (sum > 100 + 1e-6) { /* 0.2 + 83.9 + 15.9 is a little above 100, too */
        (void)snprintf(why, size, "all faults together %.10g %%, expected at most 100", sum);
        return 0;
    }
    return 1;
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
static int fault_read(const char *word, size_t len, struct llmsim_orders *orders)
{
    size_t kind = len;
    uint32_t before = orders->times;
    enum llmsim_fault marked;
    orders->times = UINT32_MAX;
    if (!is_named(word, len, &marked)) {
        while (kind > 0 && isdigit((unsigned char)word[kind - 1])) {
            kind--;
        }
        if (kind == len || kind == 0 || word[kind - 1] != 'x' ||
            !is_named(word, kind - 1, &marked)) {
            return 0;
        }
        unsigned long times = strtoul(word + kind, NULL, 10);
        if (times == 0) { /* it would mark nothing */
            return 0;
        }
        orders->times = times < UINT32_MAX ? (uint32_t)times : UINT32_MAX;
    }
    if (orders->is_marked) { /* the first one counts */
        orders->times = before;
    } else {
        orders->marked = marked;
        orders->is_marked = 1;
    }
    return 1;
}

/* Milliseconds. 0: they are none. */
static int latency_read(const char *word, size_t len, struct llmsim_orders *orders)
{
    uint32_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = value * 10 + (uint32_t)(word[i] - '0');
        if (!isdigit((unsigned char)word[i]) || value > LATENCY_MS_MAX) {
            return 0;
        }
    }
    if (!orders->has_latency) { /* the first one counts */
        orders->latency_ms = value;
        orders->has_latency = len > 0;
    }
    return len > 0;
}

static const char *const no_fault = "no such fault, expected one of" LLMSIM_FAULTS_TEXT;
static const char *const no_latency = "no such time, expected milliseconds from 0 to 3600000";
_Static_assert(LATENCY_MS_MAX == 3600000, "as the text says");

static void refuse(struct llmsim_orders *orders, const char *before, const char *word, size_t len,
                   const char *behind, const char *why)
{
    char shown[WORD_SHOWN_MAX + 1];
    size_t count = len < WORD_SHOWN_MAX ? len : WORD_SHOWN_MAX;
    for (size_t i = 0; i < count; i++) {
        shown[i] = '!' <= word[i] && word[i] <= '~' ? word[i] : '?';
    }
    shown[count] = '\0';
    (void)snprintf(orders->why, sizeof orders->why, "%s%s%s: %s", before, shown, behind, why);
}

typedef int read_fn(const char *word, size_t len, struct llmsim_orders *orders);

/* Only [[fault:WORD]] and [[latency:WORD]] are marks: a question may hold these characters by
 * chance. 0 and why when one of them cannot be read. */
static int marks_read(const char *prompt, const char *opening, read_fn *read, const char *why,
                      struct llmsim_orders *orders)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+";
    for (const char *at = strstr(prompt, opening); at != NULL; at = strstr(at, opening)) {
        at += strlen(opening);
        size_t len = strspn(at, letters);
        if (len > 0 && strncmp(at + len, "]]", 2) == 0 && !read(at, len, orders)) {
            refuse(orders, opening, at, len, "]]", why);
            return 0;
        }
    }
    return 1;
}

int llmsim_orders_read(const char *fault, const char *latency, const char *prompt,
                       struct llmsim_orders *out)
{
    *out = (struct llmsim_orders){.has_header = fault != NULL};
    if (fault != NULL && !is_named(fault, strlen(fault), &out->header)) {
        refuse(out, "X-Sluice-Fault: ", fault, strlen(fault), "", no_fault);
        return 0;
    }
    /* The mark goes before the header, which is judged all the same. */
    if (!marks_read(prompt, "[[fault:", fault_read, no_fault, out) ||
        !marks_read(prompt, "[[latency:", latency_read, no_latency, out)) {
        return 0;
    }
    if (latency != NULL && !latency_read(latency, strlen(latency), out)) {
        refuse(out, "X-Sluice-Latency-Ms: ", latency, strlen(latency), "", no_latency);
        return 0;
    }
    return 1;
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
