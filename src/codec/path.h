/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a message something is, as people write it: items[2].score, attributes["colour"].
 * A chain of links on the C stack, turned into text only when there is an error to tell. */
#ifndef SLUICE_CODEC_PATH_H
#define SLUICE_CODEC_PATH_H

#include "core/err.h"
#include <stddef.h>

struct sluice_path {
    const struct sluice_path *up; /* NULL: this is a member of the outermost message */
    const char *name;             /* of the field; NULL: a link without a name */
    const char *key;              /* of a map's entry, need not end with a NUL; NULL: none */
    size_t key_len;
    int64_t index; /* of a list's element; negative: none */
};

#define SLUICE_PATH_TEXT_SIZE 192u

/* Foreign names and keys are cut and their control characters replaced. `path` may be NULL: "". */
void sluice_path_text(const struct sluice_path *path, char text[SLUICE_PATH_TEXT_SIZE]);

/* Set `err` to "path: text" (just the text when `path` is NULL or has no name) and return rc. */
SLUICE_PRINTF(4, 5)
sluice_rc sluice_path_fail(const struct sluice_path *path, struct sluice_err *err, sluice_rc rc,
                           const char *format, ...);

#endif
