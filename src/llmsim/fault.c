/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/call.h"

#include <stdlib.h>
#include <string.h>

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

/* [[fault:500]] always, [[fault:500x3]] for the first three calls of a key. */
enum llmsim_fault llmsim_fault_marked(const char *prompt, unsigned calls_before)
{
    const char *mark = strstr(prompt, "[[fault:");
    if (mark == NULL) {
        return LLMSIM_OK;
    }
    mark += 8;
    size_t len = strcspn(mark, "x]");
    if (strncmp(mark, "bad-json", 8) == 0) {
        len = 8;
    }
    unsigned times = mark[len] == 'x' ? (unsigned)atoi(mark + len + 1) : UINT32_MAX;
    return calls_before < times ? llmsim_fault_named(mark, len) : LLMSIM_OK;
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
