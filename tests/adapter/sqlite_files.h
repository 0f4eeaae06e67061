/* SPDX-License-Identifier: Apache-2.0 */
/* The files of an SQLite database. */
#ifndef SLUICE_TESTS_ADAPTER_SQLITE_FILES_H
#define SLUICE_TESTS_ADAPTER_SQLITE_FILES_H

#include <stdio.h>
#include <unistd.h>

/* It and what it has beside it. */
static inline void sqlite_files_remove(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char name[300];
        (void)snprintf(name, sizeof name, "%s%s", path, ends[i]);
        (void)unlink(name);
    }
}

#endif
