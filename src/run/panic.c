/* SPDX-License-Identifier: Apache-2.0 */
#include "core/assert.h"

#include <stdio.h>
#include <stdlib.h>

void sluice_panic(const char *expression, const char *file, int line, const char *state)
{
    fprintf(stderr, "sluice: broken invariant: %s at %s:%d (%s)\n", expression, file, line, state);
    abort();
}
