/* SPDX-License-Identifier: Apache-2.0 */
/* Which thread has most to do: how long it ran, or was ready to and waited for a core. One that
 * does so all the time has never been kept waiting by anything but the machine. */
#include "cli/bench.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Linux, Documentation/scheduler/sched-stats: time on a core and time on a run queue, in ns. */
static int64_t due_ns(const char *folder, const char *tid)
{
    char path[96];
    int64_t ran = 0;
    int64_t waited = 0;
    (void)snprintf(path, sizeof path, "%.64s/%.16s/schedstat", folder, tid);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    int count = fscanf(f, "%" SCNd64 " %" SCNd64, &ran, &waited);
    (void)fclose(f);
    return count == 2 ? ran + waited : 0;
}

void bench_threads_read(pid_t pid, struct bench_threads *t)
{
    char folder[64];
    (void)snprintf(folder, sizeof folder, "/proc/%ld/task", (long)pid);
    t->count = 0;
    DIR *d = opendir(folder);
    const struct dirent *entry;
    while (d != NULL && t->count < BENCH_THREADS_MAX && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] != '.') {
            t->threads[t->count].tid = strtol(entry->d_name, NULL, 10);
            t->threads[t->count++].due_ns = due_ns(folder, entry->d_name);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

int64_t bench_threads_most_ns(const struct bench_threads *before, const struct bench_threads *after)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < after->count; i++) {
        int64_t ns = after->threads[i].due_ns;
        for (uint32_t k = 0; k < before->count; k++) {
            if (before->threads[k].tid == after->threads[i].tid) {
                ns -= before->threads[k].due_ns;
            }
        }
        most = ns > most ? ns : most;
    }
    return most;
}
