/* SPDX-License-Identifier: Apache-2.0 */
/* Linked into a `sluice` of its own: SLUICE_FAILING="KINDS NTH ON FILE" makes its calls fail as
 * failing.h says; FILE then holds the name of the one that failed first and, behind a line feed,
 * how many there were. */
#include "failing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void tell(void)
{
    (void)dprintf(failing_tell_fd, "\n%ld\n", failing_end());
}

__attribute__((constructor)) static void begin(void)
{
    int kinds, on;
    long nth;
    char path[4096];
    const char *text = getenv("SLUICE_FAILING");
    if (text != NULL && sscanf(text, "%d %ld %d %4095s", &kinds, &nth, &on, path) == 4) {
        failing_tell_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        (void)atexit(tell);
        failing_begin((enum failing_kind)kinds, nth, on);
    }
}
