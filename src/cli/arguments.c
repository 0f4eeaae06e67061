/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/arguments.h"

#include "run/log.h"
#include "run/state.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int complaints; /* lines that are on stderr */

void arguments_wrong(char **argv, const char *what, const char *format, ...)
{
    va_list values;
    fprintf(stderr, "%s: %s: ", argv[0], what);
    va_start(values, format);
    (void)vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    complaints++;
}

static void take_out(int *argc, char **argv, int at, int count)
{
    memmove(&argv[at], &argv[at + count], (size_t)(*argc - at - count) * sizeof *argv);
    *argc -= count;
}

/* Where `--flag` or `--flag=VALUE` stands; 0: nowhere. *value is NULL for the first. */
static int flag_find(int argc, char **argv, const char *flag, const char **value)
{
    size_t len = strlen(flag);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], flag, len) == 0 && (argv[i][len] == '\0' || argv[i][len] == '=')) {
            *value = argv[i][len] == '=' ? argv[i] + len + 1 : NULL;
            return i;
        }
    }
    return 0;
}

int arguments_flag(int *argc, char **argv, const char *flag)
{
    const char *value;
    int found = 0;
    for (int at; (at = flag_find(*argc, argv, flag, &value)) > 0; found = 1) {
        if (value != NULL) {
            arguments_wrong(argv, flag, "\"%s\", expected no value", value);
        }
        take_out(argc, argv, at, 1);
    }
    return found;
}

static int is_flag(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

const char *arguments_next_value(int *argc, char **argv, const char *flag)
{
    const char *value;
    int at = flag_find(*argc, argv, flag, &value);
    if (at == 0) {
        return NULL;
    }
    int has_next = value == NULL && at + 1 < *argc && strncmp(argv[at + 1], "--", 2) != 0;
    if (has_next) {
        value = argv[at + 1];
    }
    take_out(argc, argv, at, 1 + has_next);
    if (value == NULL) {
        arguments_wrong(argv, flag, "needs a value");
    }
    return value;
}

const char *arguments_value(int *argc, char **argv, const char *flag)
{
    const char *more;
    const char *value = arguments_next_value(argc, argv, flag);
    if (value != NULL && flag_find(*argc, argv, flag, &more) > 0) {
        arguments_wrong(argv, flag, "given twice");
        while (arguments_next_value(argc, argv, flag) != NULL) {
        }
    }
    return value;
}

int arguments_number_of(char **argv, const char *flag, const char *text, int64_t min, int64_t max,
                        int64_t *value)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (strchr("-0123456789", text[0]) == NULL || text[0] == '\0' || *end != '\0' || errno != 0 ||
        number < min || number > max) {
        arguments_wrong(argv, flag, "\"%s\", expected a whole number from %lld to %lld", text,
                        (long long)min, (long long)max);
        return 0;
    }
    *value = number;
    return 1;
}

void arguments_number(int *argc, char **argv, const char *flag, int64_t min, int64_t max,
                      int64_t *value)
{
    const char *text = arguments_value(argc, argv, flag);
    if (text != NULL) {
        (void)arguments_number_of(argv, flag, text, min, max, value);
    }
}

static void unknown(char **argv, const char *word)
{
    char flag[128];
    (void)snprintf(flag, sizeof flag, "%.*s", (int)strcspn(word, "="), word);
    if (is_flag(word)) {
        arguments_wrong(argv, flag, "unknown flag; `%s --help` lists them", argv[0]);
    } else {
        arguments_wrong(argv, word, "unexpected; `%s --help` tells what may stand here", argv[0]);
    }
}

/* Is it one of those that arguments_settings takes? */
static int is_setting(const char *word)
{
    size_t len = strcspn(word, "=");
    return (len == 8 && strncmp(word, "--config", len) == 0) ||
           (len == 9 && strncmp(word, "--context", len) == 0) ||
           sluice_settings_flag_is_known(word, len);
}

const char *arguments_word(int *argc, char **argv)
{
    int at = 0;
    for (int i = 1; i < *argc; i++) {
        int is_known = is_flag(argv[i]) && is_setting(argv[i]);
        if (is_flag(argv[i]) && !is_known) {
            unknown(argv, argv[i]);
            take_out(argc, argv, i--, 1);
        } else if (is_known && strchr(argv[i], '=') == NULL && i + 1 < *argc &&
                   strncmp(argv[i + 1], "--", 2) != 0) {
            i++; /* its value */
        } else if (!is_known && at == 0) {
            at = i;
        } else if (!is_known) {
            unknown(argv, argv[i]);
            take_out(argc, argv, i--, 1);
        }
    }
    const char *word = at == 0 ? NULL : argv[at];
    if (at > 0) {
        take_out(argc, argv, at, 1);
    }
    return word;
}

int arguments_are_whole(void)
{
    return complaints == 0;
}

int arguments_are_all_taken(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        unknown(argv, argv[i]);
        if (is_flag(argv[i])) { /* what follows may be its value */
            break;
        }
    }
    return complaints == 0;
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
    if (!arguments_are_whole()) {
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
