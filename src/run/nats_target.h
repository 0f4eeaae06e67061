/* SPDX-License-Identifier: Apache-2.0 */
/* From settings to NATS: the connection's options (with a context of the nats command, if one is
 * named) and what has to exist there. Shared by the worker and the commands. */
#ifndef SLUICE_RUN_NATS_TARGET_H
#define SLUICE_RUN_NATS_TARGET_H

#include "adapter/nats_context.h"
#include "adapter/nats_options.h"
#include "adapter/nats_provision.h"
#include "run/option.h"
#include "run/report.h"

struct sluice_nats_target {
    struct sluice_nats_options options; /* texts borrowed from the settings and the context */
    struct sluice_nats_context *context;
    char name[160]; /* sluice/<who>@<host>, as the server's monitoring shows it */
};

/* ERR_CONFIG, also for a context that does not exist and for files that cannot be right; ERR_NOMEM.
 * `err` is needed. The settings are borrowed until fini. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_target_init(struct sluice_nats_target *target,
                                  const struct sluice_settings *settings, const char *who,
                                  struct sluice_err *err);
void sluice_nats_target_fini(struct sluice_nats_target *target); /* accepts a zeroed one */

/* What init would refuse goes into the report. */
void sluice_nats_target_check(const struct sluice_settings *settings, struct sluice_report *report);

struct sluice_nats_plan sluice_nats_plan_of(const struct sluice_settings *settings,
                                            const char *consumer);

#endif
