/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes of a command: they die with it, and are stopped by their own process id. */
#ifndef SLUICE_CLI_CHILDREN_H
#define SLUICE_CLI_CHILDREN_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid;     /* 0: none, or it has ended */
    int has_ended; /* by itself */
    int status;    /* then, as waitpid says it */
};

/* `env` adds to the environment ({name, value}, NULL at the end; may be NULL); stderr goes to the
 * descriptor unless -1. 0: failed. */
int child_start(struct child *c, char *const argv[], const char *const (*env)[2], int stderr_fd);
int child_is_running(struct child *c);
/* How it ended, for people: "exit 3", "signal 9"; NULL while it has not, or was never started. */
const char *child_end(struct child *c, char *text, size_t size);
/* SIGTERM, then SIGKILL after the limit. */
void child_stop(struct child *c, int64_t limit_ms);
void child_pause_ms(int64_t ms);
/* Remove a scratch folder that the caller made, with what is in it. */
void folder_remove(const char *path);

#endif
