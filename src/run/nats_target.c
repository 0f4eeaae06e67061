/* SPDX-License-Identifier: Apache-2.0 */
#include "run/nats_target.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_URL "nats://localhost:4222" /* as in the option table: a context replaces it */

sluice_rc sluice_nats_target_init(struct sluice_nats_target *target,
                                  const struct sluice_settings *s, const char *who,
                                  struct sluice_err *err)
{
    char host[64] = "";
    memset(target, 0, sizeof *target);
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(target->name, sizeof target->name, "sluice/%.64s@%s", who, host);
    target->options =
        (struct sluice_nats_options){.url = s->nats_url,
                                     .name = target->name,
                                     .user = s->nats_user,
                                     .password = s->nats_password,
                                     .token = s->nats_token,
                                     .nkey_file = s->nats_nkey,
                                     .creds_file = s->nats_creds,
                                     .tls_ca = s->nats_ca,
                                     .tls_cert = s->nats_cert,
                                     .tls_key = s->nats_key,
                                     .connect_timeout_ms = s->nats_connect_timeout_ms,
                                     .reconnect_wait_ms = s->nats_reconnect_wait_ms,
                                     .reconnect_attempts_max = (uint32_t)s->nats_max_reconnects};
    sluice_rc rc = SLUICE_OK;
    if (s->nats_context[0] != '\0') {
        rc = sluice_nats_context_load(s->nats_context, &target->context, err);
    }
    if (rc == SLUICE_OK && target->context != NULL) {
        sluice_nats_context_apply(target->context, DEFAULT_URL, &target->options);
    }
    if (rc == SLUICE_OK) {
        rc = sluice_nats_options_check(&target->options, err);
    }
    if (rc == SLUICE_ERR_NOT_FOUND) { /* a context that does not exist is a wrong setting, too */
        rc = err->rc = SLUICE_ERR_CONFIG;
    }
    return rc;
}

void sluice_nats_target_check(const struct sluice_settings *s, struct sluice_report *report)
{
    struct sluice_nats_target target;
    struct sluice_err err = {0};
    if (sluice_nats_target_init(&target, s, "check", &err) != SLUICE_OK) {
        sluice_report_add(report, NULL, "%s", err.text);
    }
    sluice_nats_target_fini(&target);
}

void sluice_nats_target_fini(struct sluice_nats_target *target)
{
    sluice_nats_context_free(target->context);
    target->context = NULL;
}

struct sluice_nats_plan sluice_nats_plan_of(const struct sluice_settings *s, const char *consumer)
{
    _Static_assert(SLUICE_OUTPUTS_MAX <= 16, "a place in the plan for each");
    struct sluice_nats_plan plan = {.stream_requests = s->stream_requests,
                                    .subject_request = s->subject_request,
                                    .stream_ready = s->stream_ready,
                                    .subject_ready = s->subject_ready,
                                    .stream_dead = s->stream_dead,
                                    .subject_dead = s->subject_dead,
                                    .consumer = consumer,
                                    .ack_wait_ms = s->ack_wait_ms,
                                    .max_in_flight = (uint32_t)s->max_in_flight,
                                    .bucket =
                                        strcmp(s->journal, "on") == 0 ? s->journal_bucket : NULL,
                                    .journal_ttl_ms = s->journal_ttl_ms};
    for (uint32_t i = 0; i < s->outputs_count; i++) {
        plan.output_subjects[plan.output_subjects_count++] = s->outputs[i].value;
    }
    return plan;
}
