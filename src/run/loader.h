/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a worker plug-in, with a precise refusal for everything that can be wrong with one. */
#ifndef SLUICE_RUN_LOADER_H
#define SLUICE_RUN_LOADER_H

#include "core/err.h"
#include "sluice/worker.h"

/* A loaded worker. The library stays loaded until the process ends. */
struct sluice_plugin {
    sluice_worker worker; /* a copy: members that the plug-in does not know are zero */
    char path[4096];      /* absolute */
};

/* Load `worker`: a path (it contains a slash) or a bare name, which means <directory>/<name>.so
 * (directory "": where workers are installed). Main thread. ERR_CONFIG (bad name), ERR_NOT_FOUND
 * (no such file), ERR_UNSUPPORTED (no entry symbol, other ABI), ERR_VALIDATION (the worker's own
 * description is wrong); the text names path, worker, both versions and the remedy. */
SLUICE_MUST_CHECK
sluice_rc sluice_plugin_load(const char *worker, const char *directory, struct sluice_plugin *out,
                             struct sluice_err *err);

#endif
