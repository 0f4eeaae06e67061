/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_api_answer.h"

#include "adapter/nats_puback.h"
#include <cjson/cJSON.h>

/* The server's refusal in its own words. */
static sluice_rc read_error(const cJSON *error, struct sluice_err *err)
{
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(error, "description");
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(error, "err_code");
    int detail = cJSON_IsNumber(number) ? number->valueint : 0;
    sluice_rc rc =
        cJSON_IsNumber(code) && code->valueint == 404 ? SLUICE_ERR_NOT_FOUND : SLUICE_ERR_API;
    if (detail == SLUICE_JS_ERR_NOT_ENABLED || detail == SLUICE_JS_ERR_NOT_ENABLED_FOR_ACCOUNT) {
        rc = SLUICE_ERR_UNAVAILABLE;
    }
    return sluice_err_set(err, rc, "%s (%d)",
                          cJSON_IsString(words) ? words->valuestring : "refused", detail);
}

sluice_rc sluice_nats_api_answer_read(sluice_bytes answer, cJSON **out, struct sluice_err *err)
{
    cJSON *json = cJSON_ParseWithLength(answer.data, answer.len);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    sluice_rc rc = SLUICE_OK;
    if (!cJSON_IsObject(json)) {
        rc = sluice_err_set(err, SLUICE_ERR_DECODE, "the server's answer is no JSON object");
    } else if (error != NULL) {
        rc = read_error(error, err);
    }
    if (rc == SLUICE_OK && out != NULL) {
        *out = json;
    } else {
        cJSON_Delete(json);
    }
    return rc;
}

int sluice_nats_api_answer_is_cut_off(const cJSON *answer, int64_t silent_ms)
{
    const cJSON *cluster = cJSON_GetObjectItemCaseSensitive(answer, "cluster");
    const cJSON *leader = cJSON_GetObjectItemCaseSensitive(cluster, "leader");
    const cJSON *replicas = cJSON_GetObjectItemCaseSensitive(cluster, "replicas");
    const cJSON *one;
    int copies = 1, heard = 1; /* the leader's own */
    if (!cJSON_IsString(leader) || leader->valuestring[0] == '\0') {
        return 0;
    }
    cJSON_ArrayForEach(one, replicas)
    {
        const cJSON *active = cJSON_GetObjectItemCaseSensitive(one, "active");
        int is_offline = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(one, "offline"));
        int is_silent = cJSON_IsNumber(active) && active->valuedouble > (double)silent_ms * 1e6;
        copies++;
        heard += !is_offline && !is_silent;
    }
    return heard * 2 <= copies;
}
