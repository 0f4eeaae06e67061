/* SPDX-License-Identifier: Apache-2.0 */
#include "core/err.h"

#include <stdio.h>
#include <string.h>

sluice_rc sluice_err_set(struct sluice_err *err, sluice_rc rc, const char *format, ...)
{
    if (err == NULL) {
        return rc;
    }
    err->rc = rc;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(err->text, sizeof err->text, format, arguments);
    va_end(arguments);
    return rc;
}

sluice_rc sluice_err_prefix(struct sluice_err *err, sluice_rc rc, const char *format, ...)
{
    if (err == NULL) {
        return rc;
    }
    char below[SLUICE_ERR_TEXT_SIZE];
    memcpy(below, err->text, sizeof below);
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(err->text, sizeof err->text, format, arguments);
    va_end(arguments);
    if ((size_t)written < sizeof err->text) { /* a negative one is larger than any size */
        (void)snprintf(err->text + written, sizeof err->text - (size_t)written, ": %s", below);
    }
    return err->rc;
}
