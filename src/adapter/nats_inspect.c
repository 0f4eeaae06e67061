/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_inspect.h"

#include <stdio.h>
#include <string.h>

/* The object's configuration as it is now; made of `wanted` when it is missing and that is allowed.
 * `info` gets the whole answer. SLUICE_ERR_NOT_FOUND is told as a difference. */
static sluice_rc look_up(struct sluice_nats_object *o, const char *info_operation,
                         const char *make_operation, const cJSON *wanted, cJSON **info)
{
    struct sluice_nats_provision *p = o->p;
    sluice_rc rc = sluice_nats_api_call(p->api, info_operation, NULL, info, p->err);
    if (rc == SLUICE_ERR_NOT_FOUND && p->mode != SLUICE_NATS_VERIFY) {
        rc = sluice_nats_api_call(p->api, make_operation, wanted, NULL, p->err);
        if (rc != SLUICE_OK) {
            return sluice_err_prefix(p->err, rc, "%s %s", o->kind, o->name);
        }
        sluice_nats_tell(p, "created", "%s %s", o->kind, o->name);
        rc = sluice_nats_api_call(p->api, info_operation, NULL, info, p->err);
    }
    if (rc == SLUICE_ERR_NOT_FOUND) {
        char object[SLUICE_ERR_TEXT_SIZE / 2], what[SLUICE_ERR_TEXT_SIZE];
        (void)snprintf(object, sizeof object, "%s %s", o->kind, o->name);
        (void)snprintf(what, sizeof what,
                       "%s does not exist; `sluice init` or SLUICE_CREATE_STREAMS=1 creates it",
                       object);
        sluice_nats_differs(p, object, rc, what);
        return rc;
    }
    if (rc == SLUICE_OK) {
        o->config = cJSON_DetachItemFromObjectCaseSensitive(*info, "config");
        if (!cJSON_IsObject(o->config)) {
            rc =
                sluice_err_set(p->err, SLUICE_ERR_DECODE,
                               "%s %s: the server's answer has no configuration", o->kind, o->name);
        }
    }
    return rc;
}

/* Send what the checks have altered. */
static sluice_rc send_changes(struct sluice_nats_object *o, const char *operation)
{
    struct sluice_nats_provision *p = o->p;
    cJSON *request = o->config;
    if (strncmp(operation, "CONSUMER.", 9) == 0) {
        request = cJSON_CreateObject();
        cJSON_AddStringToObject(request, "stream_name", p->plan->stream_requests);
        cJSON_AddItemReferenceToObject(request, "config", o->config);
    }
    sluice_rc rc = sluice_nats_api_call(p->api, operation, request, NULL, p->err);
    if (request != o->config) {
        cJSON_Delete(request);
    }
    if (rc != SLUICE_OK) {
        return sluice_err_prefix(p->err, rc, "%s %s", o->kind, o->name);
    }
    sluice_nats_tell(p, "updated", "%s %s", o->kind, o->name);
    return SLUICE_OK;
}

static sluice_rc look_and_check(struct sluice_nats_object *o,
                                const struct sluice_nats_operations *operations,
                                const cJSON *wanted, sluice_nats_checks_fn *checks)
{
    cJSON *info = NULL;
    sluice_rc rc = look_up(o, operations->look, operations->make, wanted, &info);
    if (rc == SLUICE_OK) {
        checks(o, info);
    }
    cJSON_Delete(info);
    return rc;
}

sluice_rc sluice_nats_inspect(struct sluice_nats_object *o,
                              const struct sluice_nats_operations *operations, const cJSON *wanted,
                              sluice_nats_checks_fn *checks)
{
    int mode = o->p->mode;
    sluice_rc rc = look_and_check(o, operations, wanted, checks);
    if (rc == SLUICE_OK && o->is_changed) {
        rc = send_changes(o, operations->update);
        if (rc == SLUICE_OK) {
            cJSON_Delete(o->config);
            o->config = NULL;
            o->p->mode = SLUICE_NATS_VERIFY;
            rc = look_and_check(o, operations, wanted, checks);
            o->p->mode = mode;
        }
    }
    cJSON_Delete(o->config);
    /* Missing has been told; the others are still to be looked at. */
    return rc == SLUICE_ERR_NOT_FOUND ? SLUICE_OK : rc;
}
