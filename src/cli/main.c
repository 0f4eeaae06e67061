/* SPDX-License-Identifier: Apache-2.0 */
/* The `sluice` program: finds the subcommand and runs it. */
#include "cli/command.h"

#include "sluice/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct sluice_command sluice_command_dev;
extern const struct sluice_command sluice_command_run;
extern const struct sluice_command sluice_command_check;
extern const struct sluice_command sluice_command_init;
extern const struct sluice_command sluice_command_send;
extern const struct sluice_command sluice_command_tail;
extern const struct sluice_command sluice_command_healthcheck;
extern const struct sluice_command sluice_command_llm_sim;
extern const struct sluice_command sluice_command_sim;
extern const struct sluice_command sluice_command_bench;

/* In the order of `sluice --help`. */
static const struct sluice_command *const commands[] = {
    &sluice_command_dev,
    &sluice_command_run,
    &sluice_command_init,
    &sluice_command_check,
    &sluice_command_send,
    &sluice_command_tail,
    &sluice_command_llm_sim,
    &sluice_command_sim,
    &sluice_command_bench,
    &sluice_command_healthcheck,
    NULL,
};

static void usage(FILE *out)
{
    fputs(
        "usage: sluice COMMAND [OPTIONS]\n\nA worker framework for NATS JetStream.\n\nCommands:\n",
        out);
    for (size_t i = 0; commands[i] != NULL; i++) {
        fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\n`sluice COMMAND --help` tells more; `sluice --version` prints the versions.\n", out);
}

/* A socket or a file that got the number of a closed standard stream would be written to. */
static int standard_streams_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* open() takes the lowest number that is free */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            return 0;
        }
    }
    return 1;
}

/* 1 when what was printed has not arrived: on a full disk a script would go on with half of it. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return code;
    }
    fprintf(stderr, "sluice: standard output: %s\n", strerror(errno));
    return code == 0 ? 1 : code;
}

static int run(int argc, char **argv)
{
    if (!standard_streams_open()) {
        return 3;
    }
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("sluice %s (worker ABI %u.%u)\n", SLUICE_VERSION, SLUICE_ABI_MAJOR,
               SLUICE_ABI_MINOR);
        return 0;
    }
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(name, commands[i]->name) == 0) {
            static char help[] = "--help";
            static char title[40]; /* complaints about arguments begin with it */
            (void)snprintf(title, sizeof title, "sluice %s", name);
            argv[1] = title;
            if (argc > 2 && strcmp(argv[2], "-h") == 0) {
                argv[2] = help;
            }
            return commands[i]->run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "sluice: unknown command \"%s\"; `sluice --help` lists them\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    return finish(run(argc, argv));
}
