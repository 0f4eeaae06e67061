/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that use the worker's settings do with their arguments: take their own flags
 * out, load the rest. */
#ifndef SLUICE_CLI_ARGUMENTS_H
#define SLUICE_CLI_ARGUMENTS_H

#include "run/option.h"
#include <stdint.h>

/* What is wrong is told at once, with argv[0] before it: "sluice send: --count: "x", expected …".
 * After its last flag a command asks whether anything was. */

/* A line on stderr about a flag or a word. */
SLUICE_PRINTF(3, 4)
void arguments_wrong(char **argv, const char *what, const char *format, ...);

/* 1 when the flag was there; it is taken out. */
int arguments_flag(int *argc, char **argv, const char *flag);

/* The value of `--flag VALUE` or `--flag=VALUE`, taken out; NULL when absent. A VALUE that begins
 * with -- stands behind the equals sign. */
const char *arguments_value(int *argc, char **argv, const char *flag);

/* The same of a flag that may be repeated: call it until it returns NULL. */
const char *arguments_next_value(int *argc, char **argv, const char *flag);

/* As arguments_value, a whole number from `min` to `max`; *value stays when there is none. */
void arguments_number(int *argc, char **argv, const char *flag, int64_t min, int64_t max,
                      int64_t *value);

/* The number that `text` is, the value of `flag`; 0: it is none. */
int arguments_number_of(char **argv, const char *flag, const char *text, int64_t min, int64_t max,
                        int64_t *value);

/* The one argument that is neither a flag nor the value of a setting's, taken out; NULL when there
 * is none. Call it after the command's own flags: the others are told. */
const char *arguments_word(int *argc, char **argv);

/* 0 when something was wrong. arguments_settings asks it too, and judges what is left. */
int arguments_are_whole(void);

/* The same of a command that takes no settings: nothing may be left. */
int arguments_are_all_taken(int argc, char **argv);

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
