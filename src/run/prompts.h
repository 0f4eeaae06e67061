/* SPDX-License-Identifier: Apache-2.0 */
/* The prompt files of a worker: where they are, and whether each is there that it needs. */
#ifndef SLUICE_RUN_PROMPTS_H
#define SLUICE_RUN_PROMPTS_H

#include "run/host.h"
#include "run/option.h"

/* The folder that the settings name, else `prompts` beside the plug-in, else WORKER/prompts in
 * `datadir`. Beside the plug-in when there is neither. */
void sluice_prompts_folder(const struct sluice_settings *settings,
                           const struct sluice_plugin *plugin, const char *datadir, char *path,
                           size_t size);

/* Read all *.prompt files of that folder into host->prompts; those that the worker's description
 * names have to be among them. The report gets a line for each fault, the warnings one for each of
 * those that names what the worker's input has no field for: right only when the handler fills the
 * prompt with something else. `warnings` may be NULL. */
void sluice_prompts_load(struct worker_host *host, const struct sluice_settings *settings,
                         struct sluice_report *report, struct sluice_report *warnings);

/* The same without a host, for the report alone. */
void sluice_prompts_check(const struct sluice_settings *settings,
                          const struct sluice_plugin *plugin, struct sluice_report *report,
                          struct sluice_report *warnings);

#endif
