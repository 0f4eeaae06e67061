/* SPDX-License-Identifier: Apache-2.0 */
#include "run/nearest.h"

#include <string.h>

#define KNOWN_MAX 64u /* bytes of a name that can be suggested */

static size_t distance(const char *a, const char *b)
{
    size_t row[KNOWN_MAX];
    size_t n = strlen(b);
    if (n >= KNOWN_MAX) {
        return (size_t)-1;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[n];
}

void nearest_look(struct nearest *n, const char *typed, const char *known)
{
    size_t letters = distance(typed, known);
    if (n->name == NULL || letters < n->distance) {
        *n = (struct nearest){known, letters};
    }
}

int nearest_is_near(const struct nearest *n, const char *typed)
{
    size_t shared = 0;
    for (size_t i = 0; n->name != NULL && typed[i] != '\0' && typed[i] == n->name[i]; i++) {
        shared = typed[i] == '.' ? i + 1 : shared;
    }
    return n->name != NULL && n->distance * 3 <= strlen(typed + shared);
}
