/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker's description asks of the configuration, and the values of its own options. */
#ifndef SLUICE_RUN_WORKER_CONFIG_H
#define SLUICE_RUN_WORKER_CONFIG_H

#include "run/option.h"
#include "sluice/worker.h"

/* Check the settings against the worker: its options (known, given when required, within limits),
 * names of the outputs map, services that it needs, a model when it asks an LLM. Everything that is
 * wrong goes into the report. The result is what create() gets; it lives until it is freed, with
 * the settings still there. NULL only without memory, which is reported. */
struct sluice_config *sluice_worker_config_create(const struct sluice_settings *settings,
                                                  const sluice_worker *worker,
                                                  struct sluice_report *report);
void sluice_worker_config_free(struct sluice_config *config); /* accepts NULL */

/* Where the worker's output `name` goes: as section outputs says, which gives 1; else 0 and
 * subjects.ready for `ready`, subjects.ready.NAME for another. */
int sluice_worker_output_subject(const struct sluice_settings *settings, const char *name,
                                 char *subject, size_t size);

/* NULL and 0 for a key that the worker has not declared, or not with this kind. */
const char *sluice_worker_config_text(const struct sluice_config *config, const char *key);
int64_t sluice_worker_config_number(const struct sluice_config *config, const char *key);

/* One line for each output that section outputs does not name, and for each option with its origin;
 * secrets masked. */
void sluice_worker_config_print(const struct sluice_config *config, FILE *out, int as_json);
/* Calls see(value) with each secret, for the log's redaction. */
void sluice_worker_config_secrets(const struct sluice_config *config, void (*see)(const char *));

#endif
