/* SPDX-License-Identifier: Apache-2.0 */
/* Models, ledger and control. */
#include "llmsim/call.h"

#include <stdio.h>
#include <string.h>

struct knob {
    const char *name;
    double max;
    uint32_t *number; /* either this … */
    double *percent;  /* … or this */
};

/* What POST /control can turn; NULL as its name: nothing. */
static struct knob knob_find(struct llmsim_config *config, const char *name)
{
    enum llmsim_fault fault = name == NULL ? LLMSIM_OK : llmsim_fault_named(name, strlen(name));
    if (fault != LLMSIM_OK) {
        return (struct knob){name, 100, NULL, &config->faults[fault]};
    }
    struct knob knobs[] = {{"latency-ms", 3600000, &config->latency_ms, NULL},
                           {"retry-after", 86400, &config->retry_after_s, NULL}};
    for (size_t i = 0; name != NULL && i < sizeof knobs / sizeof knobs[0]; i++) {
        if (strcmp(name, knobs[i].name) == 0) {
            return knobs[i];
        }
    }
    return (struct knob){.name = NULL};
}

/* All of it or nothing. 0 and why. */
static int control_apply(struct llmsim *s, const cJSON *json, char *why, size_t size)
{
    const cJSON *item;
    struct llmsim_config next;
    if (!cJSON_IsObject(json)) {
        (void)snprintf(why, size, "expected a JSON object like {\"500\": 100, \"latency-ms\": 5}");
        return 0;
    }
    (void)pthread_mutex_lock(&s->lock);
    next = s->config;
    why[0] = '\0';
    cJSON_ArrayForEach(item, json)
    {
        struct knob k = knob_find(&next, item->string);
        double value = item->valuedouble;
        if (k.name == NULL) {
            (void)snprintf(why, size,
                           "\"%.64s\": unknown, expected latency-ms, retry-after or a fault",
                           item->string);
        } else if (!cJSON_IsNumber(item) || !(value >= 0 && value <= k.max) ||
                   (k.number != NULL && value != (uint32_t)value)) {
            (void)snprintf(why, size, "\"%s\": expected a %snumber from 0 to %.0f", k.name,
                           k.number != NULL ? "whole " : "", k.max);
        } else if (k.number != NULL) {
            *k.number = (uint32_t)value;
        } else {
            *k.percent = value;
        }
    }
    int is_good = why[0] == '\0' && llmsim_faults_fit(&next, why, size);
    if (is_good) {
        s->config = next;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return is_good;
}

static cJSON *control_json(struct llmsim *s)
{
    cJSON *json = cJSON_CreateObject();
    (void)pthread_mutex_lock(&s->lock);
    cJSON_AddNumberToObject(json, "latency-ms", s->config.latency_ms);
    for (int i = 1; i < LLMSIM_FAULT_COUNT; i++) {
        cJSON_AddNumberToObject(json, llmsim_fault_name((enum llmsim_fault)i), s->config.faults[i]);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return json;
}

void llmsim_control(struct call *c, const char *path, const char *method)
{
    struct llmsim *s = c->server;
    int is_post = strcmp(method, "POST") == 0;
    if (strcmp(path, "/v1/models") == 0) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "object", "list");
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "data"), one);
        cJSON_AddStringToObject(one, "id", s->config.model);
        cJSON_AddStringToObject(one, "object", "model");
        llmsim_reply_json(c, 200, json);
    } else if (strcmp(path, "/health") == 0) {
        llmsim_reply_json(c, 200, cJSON_CreateObject());
    } else if (strcmp(path, "/ledger") == 0) {
        const char *keys =
            MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, "keys");
        llmsim_reply_json(c, 200, llmsim_ledger_json(s->ledger, keys != NULL));
    } else if (strcmp(path, "/ledger/reset") == 0 && is_post) {
        llmsim_ledger_reset(s->ledger);
        llmsim_reply_json(c, 200, cJSON_CreateObject());
    } else if (strcmp(path, "/control") == 0) {
        cJSON *json =
            is_post ? cJSON_ParseWithLength(c->body == NULL ? "" : c->body, c->len) : NULL;
        char why[160];
        if (is_post && !control_apply(s, json, why, sizeof why)) {
            llmsim_reply_error(c, 400, "invalid_request_error", why);
        } else {
            llmsim_reply_json(c, 200, control_json(s));
        }
        cJSON_Delete(json);
    } else {
        llmsim_reply_error(c, 404, "invalid_request_error", "Unknown request URL");
    }
}
