/* SPDX-License-Identifier: Apache-2.0 */
/* One subcommand of `sluice`. Each lives in a file of its own and defines one of these; main.c
 * lists them. */
#ifndef SLUICE_CLI_COMMAND_H
#define SLUICE_CLI_COMMAND_H

struct sluice_command {
    const char *name;
    const char *summary; /* one line for `sluice --help` */
    /* argv[0] is the subcommand's name; the result is the process's exit code. */
    int (*run)(int argc, char **argv);
};

#endif
