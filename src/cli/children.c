/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/children.h"

#include "port/clock.h"
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Debian keeps nats-server in a folder that a user has not on the PATH. After fork. */
static void path_extend(void)
{
    char longer[8192];
    const char *path = getenv("PATH");
    int n = snprintf(longer, sizeof longer, "%s:/usr/local/sbin:/usr/sbin",
                     path == NULL || path[0] == '\0' ? "/usr/local/bin:/usr/bin:/bin" : path);
    if (n > 0 && (size_t)n < sizeof longer) {
        (void)setenv("PATH", longer, 1);
    }
}

int child_start(struct child *c, char *const argv[], const char *const (*env)[2], int stderr_fd)
{
    int report[2]; /* closed by exec, or brings the error */
    if (pipe2(report, O_CLOEXEC) != 0) {
        return 0;
    }
    pid_t parent = getpid();
    c->pid = fork();
    if (c->pid == 0) {
        (void)setpgid(0, 0); /* Ctrl-C on the terminal is ours to pass on */
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            _exit(127);
        }
        for (; env != NULL && (*env)[0] != NULL; env++) {
            (void)setenv((*env)[0], (*env)[1], 1);
        }
        if (stderr_fd >= 0) {
            (void)fcntl(stderr_fd, F_SETFL,
                        0); /* the reader's end is the one that must not block */
            (void)dup2(stderr_fd, STDERR_FILENO);
        }
        path_extend();
        (void)execvp(argv[0], argv);
        int why = errno;
        ssize_t ignored = write(report[1], &why, sizeof why);
        (void)ignored;
        _exit(127);
    }
    (void)close(report[1]);
    int why = 0;
    int has_failed = c->pid < 0 || read(report[0], &why, sizeof why) > 0;
    (void)close(report[0]);
    if (has_failed && c->pid > 0) {
        (void)waitpid(c->pid, NULL, 0);
        c->pid = 0;
    }
    return !has_failed;
}

int child_is_running(struct child *c)
{
    if (c->pid > 0 && waitpid(c->pid, &c->status, WNOHANG) == c->pid) {
        c->pid = 0;
        c->has_ended = 1;
    }
    return c->pid > 0;
}

const char *child_end(struct child *c, char *text, size_t size)
{
    if (child_is_running(c) || !c->has_ended) {
        return NULL;
    }
    int is_signal = WIFSIGNALED(c->status);
    (void)snprintf(text, size, "%s %d", is_signal ? "signal" : "exit",
                   is_signal ? WTERMSIG(c->status) : WEXITSTATUS(c->status));
    return text;
}

void child_stop(struct child *c, int64_t limit_ms)
{
    if (!child_is_running(c)) {
        return;
    }
    (void)kill(c->pid, SIGTERM);
    int64_t end = sluice_mono_ms() + limit_ms;
    while (child_is_running(c) && sluice_mono_ms() < end) {
        child_pause_ms(5);
    }
    if (child_is_running(c)) {
        (void)kill(c->pid, SIGKILL);
        (void)waitpid(c->pid, NULL, 0);
        c->pid = 0;
    }
}

void child_pause_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void folder_remove(const char *path)
{
    (void)nftw(path, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}
