/* SPDX-License-Identifier: Apache-2.0 */
/* A worker process from its settings to its exit code. */
#ifndef SLUICE_RUN_BOOT_H
#define SLUICE_RUN_BOOT_H

#include "run/option.h"

/* Boot in the order of CE-10, run until SIGTERM or SIGINT or the connection is lost for good, clean
 * up. Main thread; blocks signals. Returns the exit code (run/state.h). */
int sluice_worker_run(const struct sluice_settings *settings);

#endif
