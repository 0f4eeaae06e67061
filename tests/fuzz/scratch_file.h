/* SPDX-License-Identifier: Apache-2.0 */
/* A file in memory, for readers that want a path. */
#ifndef SLUICE_TESTS_FUZZ_SCRATCH_FILE_H
#define SLUICE_TESTS_FUZZ_SCRATCH_FILE_H

#include "fuzz.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* The path of a file with this content; the next call overwrites it. */
static inline const char *fuzz_scratch_file(const void *data, size_t len)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        FUZZ_CHECK(fd >= 0);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    FUZZ_CHECK(ftruncate(fd, 0) == 0);
    FUZZ_CHECK(pwrite(fd, data, len, 0) == (ssize_t)len);
    return path;
}

#endif
