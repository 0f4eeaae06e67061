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

/* As much of it as there is room for behind `len` bytes. */
static void append(struct sluice_err *err, size_t len, const char *text)
{
    size_t room = sizeof err->text - 1 - len;
    size_t more = strlen(text);
    more = more < room ? more : room;
    memcpy(err->text + len, text, more);
    err->text[len + more] = '\0';
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
        append(err, (size_t)written, ": ");
        append(err, strlen(err->text), below);
    }
    return err->rc;
}
