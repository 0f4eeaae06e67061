/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that use the worker's settings do with their arguments: take their own flags
 * out, load the rest. */
#ifndef SLUICE_CLI_ARGUMENTS_H
#define SLUICE_CLI_ARGUMENTS_H

#include "run/option.h"
#include <stdint.h>

/* 1 when the flag was there; it is taken out. */
int arguments_flag(int *argc, char **argv, const char *flag);

/* The value of `--flag VALUE` or `--flag=VALUE`, taken out; NULL when absent. A flag without its
 * value is remembered for arguments_are_whole. */
const char *arguments_value(int *argc, char **argv, const char *flag);

/* 0 when a flag stood without its value: a line is on stderr. arguments_settings asks it too. */
int arguments_are_whole(const char *command);

/* As arguments_value, a whole number from `min` to `max`. 0 when it is something else: a line is on
 * stderr. */
int arguments_number(int *argc, char **argv, const char *command, const char *flag, int64_t min,
                     int64_t max, int64_t *value);

/* The first argument that is no flag, taken out; NULL when there is none. Call it after the
 * command's own flags. */
const char *arguments_word(int *argc, char **argv);

/* Variables that are no settings: a line on stderr for each. */
void arguments_warn(const char *command, const struct sluice_report *warnings);

/* Tell what is wrong with the configuration, and its unknown variables, of which one may be why:
 * log records when the log is JSON and no terminal, else lines. Returns the exit code. `box` may be
 * NULL. */
int arguments_refuse(const char *command, const struct sluice_settings_box *box,
                     const struct sluice_report *report);

/* Load the settings from what is left, with `--config FILE` and `--context NAME`. 0, or the exit
 * code with the errors on stderr. */
int arguments_settings(const char *command, int argc, char **argv,
                       struct sluice_settings_box **out);

#endif
