/* SPDX-License-Identifier: Apache-2.0 */
/* Models, ledger and control. */
#include "llmsim/call.h"

#include <string.h>

/* A number as given, in a range. */
static double within(double value, double max)
{
    return value > max ? max : value > 0 ? value : 0;
}

static void control_apply(struct llmsim *s, const cJSON *json)
{
    const cJSON *item;
    (void)pthread_mutex_lock(&s->lock);
    cJSON_ArrayForEach(item, json)
    {
        if (!cJSON_IsNumber(item) || item->string == NULL) {
            continue;
        }
        enum llmsim_fault fault = llmsim_fault_named(item->string, strlen(item->string));
        if (strcmp(item->string, "latency-ms") == 0) {
            s->config.latency_ms = (uint32_t)within(item->valuedouble, 3600000);
        } else if (strcmp(item->string, "retry-after") == 0) {
            s->config.retry_after_s = (uint32_t)within(item->valuedouble, 86400);
        } else if (fault != LLMSIM_OK) {
            s->config.faults[fault] = within(item->valuedouble, 100);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
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
        control_apply(s, json);
        cJSON_Delete(json);
        llmsim_reply_json(c, 200, control_json(s));
    } else {
        llmsim_reply_error(c, 404, "invalid_request_error", "Unknown request URL");
    }
}
