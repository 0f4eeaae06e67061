/* SPDX-License-Identifier: Apache-2.0 */
/* The known name that a mistyped one resembles most. */
#ifndef SLUICE_RUN_NEAREST_H
#define SLUICE_RUN_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *name; /* borrowed from nearest_look; NULL: none looked at */
    size_t distance;  /* letters to be put in, taken out or replaced */
};

/* Take `known` when it is nearer to `typed` than what is there. */
void nearest_look(struct nearest *n, const char *typed, const char *known);

/* Whether it is near enough: a further one would mislead. What both have before the last dot they
 * share does not count. NULL: 0. */
int nearest_is_near(const struct nearest *n, const char *typed);

#endif
