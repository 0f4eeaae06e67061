/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/ledger.h"

#include "llmsim/call.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 200000u
#define PLACES   (1u << 19) /* more than twice KEYS_MAX */

struct entry {
    char key[72];
    uint32_t calls, answered;
    uint32_t open; /* calls under way */
    int64_t called_ms, answered_ms; /* the last time; 0: never */
};

struct llmsim_ledger {
    pthread_mutex_t lock;
    uint64_t calls, answered, by_fault[LLMSIM_FAULT_COUNT];
    struct entry *entries;
    uint32_t *places; /* index + 1 */
    uint32_t count;
    uint32_t most_at_once; /* calls of one key */
    int is_truncated;
};

struct llmsim_ledger *llmsim_ledger_create(void)
{
    struct llmsim_ledger *l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->entries = calloc(KEYS_MAX, sizeof *l->entries); /* touched only as far as used */
        l->places = calloc(PLACES, sizeof *l->places);
        if (l->entries == NULL || l->places == NULL || pthread_mutex_init(&l->lock, NULL) != 0) {
            free(l->entries);
            free(l->places);
            free(l);
            return NULL;
        }
    }
    return l;
}

void llmsim_ledger_destroy(struct llmsim_ledger *l)
{
    if (l == NULL) {
        return;
    }
    (void)pthread_mutex_destroy(&l->lock);
    free(l->entries);
    free(l->places);
    free(l);
}

static struct entry *entry_of(struct llmsim_ledger *l, const char *key)
{
    char shortened[72];
    (void)snprintf(shortened, sizeof shortened, "%s", key);
    uint64_t hash = 1469598103934665603u;
    for (const char *p = shortened; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    }
    for (uint32_t i = (uint32_t)hash & (PLACES - 1);; i = (i + 1) & (PLACES - 1)) {
        if (l->places[i] == 0) {
            if (l->count == KEYS_MAX) {
                l->is_truncated = 1;
                return NULL;
            }
            l->places[i] = ++l->count;
            struct entry *e = &l->entries[l->count - 1];
            *e = (struct entry){.calls = 0};
            memcpy(e->key, shortened, sizeof shortened);
            return e;
        }
        struct entry *e = &l->entries[l->places[i] - 1];
        if (strcmp(e->key, shortened) == 0) {
            return e;
        }
    }
}

void llmsim_ledger_fault(struct llmsim_ledger *l, enum llmsim_fault fault)
{
    (void)pthread_mutex_lock(&l->lock);
    l->by_fault[fault]++;
    (void)pthread_mutex_unlock(&l->lock);
}

unsigned llmsim_ledger_call(struct llmsim_ledger *l, const char *key)
{
    (void)pthread_mutex_lock(&l->lock);
    l->calls++;
    struct entry *e = entry_of(l, key);
    unsigned before = e == NULL ? 0 : e->calls++;
    if (e != NULL) {
        e->called_ms = llmsim_now_ms();
        e->open++;
        l->most_at_once = e->open > l->most_at_once ? e->open : l->most_at_once;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return before;
}

void llmsim_ledger_ended(struct llmsim_ledger *l, const char *key)
{
    (void)pthread_mutex_lock(&l->lock);
    struct entry *e = entry_of(l, key);
    if (e != NULL && e->open > 0) { /* none: the ledger was emptied meanwhile */
        e->open--;
    }
    (void)pthread_mutex_unlock(&l->lock);
}

void llmsim_ledger_answered(struct llmsim_ledger *l, const char *key)
{
    (void)pthread_mutex_lock(&l->lock);
    l->answered++;
    struct entry *e = entry_of(l, key);
    if (e != NULL) {
        e->answered++;
        e->answered_ms = llmsim_now_ms();
    }
    (void)pthread_mutex_unlock(&l->lock);
}

void llmsim_ledger_reset(struct llmsim_ledger *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->calls = 0;
    l->answered = 0;
    l->count = 0;
    l->most_at_once = 0;
    l->is_truncated = 0;
    memset(l->by_fault, 0, sizeof l->by_fault);
    memset(l->places, 0, PLACES * sizeof *l->places);
    (void)pthread_mutex_unlock(&l->lock);
}

cJSON *llmsim_ledger_json(struct llmsim_ledger *l, int with_keys)
{
    cJSON *json = cJSON_CreateObject();
    (void)pthread_mutex_lock(&l->lock);
    cJSON_AddNumberToObject(json, "calls", (double)l->calls);
    cJSON_AddNumberToObject(json, "answered", (double)l->answered);
    cJSON_AddNumberToObject(json, "failed", (double)(l->calls - l->by_fault[LLMSIM_OK]));
    cJSON_AddNumberToObject(json, "keys", (double)l->count);
    cJSON_AddNumberToObject(json, "most_at_once", l->most_at_once);
    cJSON_AddBoolToObject(json, "truncated", l->is_truncated);
    cJSON *faults = cJSON_AddObjectToObject(json, "by_fault");
    for (int i = 0; i < LLMSIM_FAULT_COUNT; i++) {
        cJSON_AddNumberToObject(faults, llmsim_fault_name((enum llmsim_fault)i),
                                (double)l->by_fault[i]);
    }
    if (with_keys) {
        cJSON *keys = cJSON_AddObjectToObject(json, "by_key");
        for (uint32_t i = 0; i < l->count; i++) {
            cJSON *one = cJSON_AddObjectToObject(keys, l->entries[i].key);
            cJSON_AddNumberToObject(one, "calls", l->entries[i].calls);
            cJSON_AddNumberToObject(one, "answered", l->entries[i].answered);
            cJSON_AddNumberToObject(one, "called_ms", (double)l->entries[i].called_ms);
            cJSON_AddNumberToObject(one, "answered_ms", (double)l->entries[i].answered_ms);
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
    return json;
}
