/* SPDX-License-Identifier: Apache-2.0 */
/* What a plug-in says of itself: whether a host can go by it. */
#ifndef SLUICE_RUN_DESCRIPTION_H
#define SLUICE_RUN_DESCRIPTION_H

#include "core/err.h"
#include "sluice/worker.h"

/* SLUICE_OK, ERR_VALIDATION or ERR_UNSUPPORTED; the text names path, worker, member and value. Its
 * options are looked at with the configuration that gives them. */
SLUICE_MUST_CHECK
sluice_rc sluice_description_check(const sluice_worker *w, const char *path,
                                   struct sluice_err *err);

#endif
