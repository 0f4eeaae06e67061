/* SPDX-License-Identifier: Apache-2.0 */
/* An error as people read it: a code and a bounded text that names the thing, the value and what
 * was expected. */
#ifndef SLUICE_CORE_ERR_H
#define SLUICE_CORE_ERR_H

#include "sluice/worker.h"

#define SLUICE_ERR_TEXT_SIZE 512u

struct sluice_err {
    sluice_rc rc;
    int32_t http_status; /* 0 unless an HTTP answer was the cause */
    char text[SLUICE_ERR_TEXT_SIZE];
};

/* Set code and text (cut at the buffer's end) and return the code. `err` may be NULL. */
SLUICE_PRINTF(3, 4)
sluice_rc sluice_err_set(struct sluice_err *err, sluice_rc rc, const char *format, ...);

/* Put "prefix: " before the text, for a layer on the way up. Returns err->rc; `err` may be NULL
 * (then rc is returned). */
SLUICE_PRINTF(3, 4)
sluice_rc sluice_err_prefix(struct sluice_err *err, sluice_rc rc, const char *format, ...);

#endif
