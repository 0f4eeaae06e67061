/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/arguments.h"

#include "run/log.h"
#include "run/state.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A flag that stood last, without the value it needs. */
static const char *lacking;

static void take_out(int *argc, char **argv, int at, int count)
{
    memmove(&argv[at], &argv[at + count], (size_t)(*argc - at - count) * sizeof *argv);
    *argc -= count;
}

int arguments_flag(int *argc, char **argv, const char *flag)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], flag) == 0) {
            take_out(argc, argv, i, 1);
            return 1;
        }
    }
    return 0;
}

const char *arguments_value(int *argc, char **argv, const char *flag)
{
    size_t len = strlen(flag);
    for (int i = 1; i < *argc; i++) {
        const char *value;
        if (strcmp(argv[i], flag) == 0 && i + 1 == *argc) {
            lacking = argv[i];
            take_out(argc, argv, i, 1);
            return NULL;
        }
        if (strcmp(argv[i], flag) == 0) {
            value = argv[i + 1];
            take_out(argc, argv, i, 2);
            return value;
        }
        if (strncmp(argv[i], flag, len) == 0 && argv[i][len] == '=') {
            value = argv[i] + len + 1;
            take_out(argc, argv, i, 1);
            return value;
        }
    }
    return NULL;
}

int arguments_are_whole(const char *command)
{
    if (lacking != NULL) {
        fprintf(stderr, "sluice %s: %s: needs a value\n", command, lacking);
    }
    return lacking == NULL;
}

int arguments_number(int *argc, char **argv, const char *command, const char *flag, int64_t min,
                     int64_t max, int64_t *value)
{
    const char *text = arguments_value(argc, argv, flag);
    char *end;
    if (text == NULL) {
        return 1;
    }
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (text[0] == '\0' || *end != '\0' || errno != 0 || number < min || number > max) {
        fprintf(stderr, "sluice %s: %s: \"%s\", expected a whole number from %lld to %lld\n",
                command, flag, text, (long long)min, (long long)max);
        return 0;
    }
    *value = number;
    return 1;
}

const char *arguments_word(int *argc, char **argv)
{
    for (int i = 1; i < *argc; i++) {
        int follows_flag =
            i > 1 && strncmp(argv[i - 1], "--", 2) == 0 && strchr(argv[i - 1], '=') == NULL;
        if (strncmp(argv[i], "--", 2) != 0 && !follows_flag) {
            const char *word = argv[i];
            take_out(argc, argv, i, 1);
            return word;
        }
    }
    return NULL;
}

void arguments_warn(const char *command, const struct sluice_report *warnings)
{
    char text[1024];
    for (uint32_t i = 0; i < warnings->errors_count; i++) {
        sluice_report_line(warnings, i, text, sizeof text);
        fprintf(stderr, "sluice %s: warning: %s\n", command, text);
    }
}

int arguments_refuse(const char *command, const struct sluice_settings_box *box,
                     const struct sluice_report *report)
{
    static struct sluice_report warnings;
    const struct sluice_settings *s = box == NULL ? NULL : sluice_settings_of(box);
    sluice_settings_variables_check(&warnings);
    if (s != NULL && strcmp(s->log_format, "json") == 0 && !isatty(STDERR_FILENO)) {
        sluice_log_open(SLUICE_LOG_WARN, 1, s->log_emoji);
        sluice_report_log(report);
        sluice_report_log_warnings(&warnings, "config.unknown_variable");
    } else {
        fprintf(stderr, "sluice %s: configuration: %u error%s\n%s", command, report->count,
                report->count == 1 ? "" : "s", report->text);
        arguments_warn(command, &warnings);
    }
    return SLUICE_EXIT_CONFIG;
}

int arguments_settings(const char *command, int argc, char **argv, struct sluice_settings_box **out)
{
    static struct sluice_report report;
    const char *file = arguments_value(&argc, argv, "--config");
    const char *context = arguments_value(&argc, argv, "--context");
    if (!arguments_are_whole(command)) {
        return SLUICE_EXIT_CONFIG;
    }
    char *arguments[128];
    char context_flag[300];
    int count = 0;
    for (int i = 1; i < argc && count < 126; i++) {
        arguments[count++] = argv[i];
    }
    if (context != NULL) {
        (void)snprintf(context_flag, sizeof context_flag, "--nats-context=%s", context);
        arguments[count++] = context_flag;
    }
    memset(&report, 0, sizeof report);
    if (sluice_settings_load(count, arguments, file, out, &report) == SLUICE_OK) {
        sluice_settings_variables_check(&report);
        arguments_warn(command, &report);
        return 0;
    }
    int code = arguments_refuse(command, *out, &report);
    sluice_settings_free(*out);
    *out = NULL;
    return code;
}
