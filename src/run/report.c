/* SPDX-License-Identifier: Apache-2.0 */
#include "run/report.h"

#include "run/log.h"
#include <stdio.h>
#include <string.h>

/* file:line:column: environment: option:, what there is of it. */
static size_t place_print(const struct sluice_place *p, char *text, size_t size)
{
    char line[32] = "";
    if (p->line > 0) {
        (void)snprintf(line, sizeof line, ":%u:%u", p->line, p->column);
    }
    int has_option = p->option != NULL;
    int n = snprintf(text, size, "%s%s%s%s%s%s", p->file == NULL ? "" : p->file, line,
                     p->file == NULL ? "" : ": ", p->is_variable ? "environment: " : "",
                     has_option ? p->option : "", has_option ? ": " : "");
    return (size_t)n < size ? (size_t)n : size - 1;
}

static void error_note(struct sluice_report *report, const struct sluice_place *p)
{
    if (report->errors_count == SLUICE_REPORT_ERRORS_MAX) {
        return;
    }
    struct sluice_report_error *e = &report->errors[report->errors_count++];
    *e = (struct sluice_report_error){.line = p->line, .column = p->column, .at = report->len};
    (void)snprintf(e->option, sizeof e->option, "%s", p->option == NULL ? "" : p->option);
    (void)snprintf(e->file, sizeof e->file, "%s", p->file == NULL ? "" : p->file);
}

void sluice_report_add(struct sluice_report *report, const struct sluice_place *place,
                       const char *format, ...)
{
    static const struct sluice_place nowhere;
    char line[1024];
    const struct sluice_place *p = place == NULL ? &nowhere : place;
    size_t len = place_print(p, line, sizeof line);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line + len, sizeof line - len, format, arguments);
    va_end(arguments);
    report->count++;
    len = strlen(line);
    if (len + 64 < sizeof report->text - report->len) {
        error_note(report, p);
        memcpy(report->text + report->len, line, len);
        report->len += len;
        report->text[report->len++] = '\n';
    } else if (report->len + 20 < sizeof report->text) {
        memcpy(report->text + report->len, "… more errors\n", 17);
        report->len = sizeof report->text - 1;
    }
    report->text[report->len < sizeof report->text ? report->len : sizeof report->text - 1] = '\0';
}

void sluice_report_line(const struct sluice_report *report, uint32_t i, char *text, size_t size)
{
    const char *line = report->text + report->errors[i].at;
    (void)snprintf(text, size, "%.*s", (int)strcspn(line, "\n"), line);
}

static void records_log(const struct sluice_report *report, int32_t level, enum sluice_icon icon,
                        const char *event)
{
    char text[1024];
    for (uint32_t i = 0; i < report->errors_count; i++) {
        const struct sluice_report_error *e = &report->errors[i];
        const struct sluice_log_field fields[] = {
            SLUICE_F_KNOWN("option", e->option[0] == '\0' ? NULL : e->option),
            SLUICE_F_KNOWN("file", e->file[0] == '\0' ? NULL : e->file),
            SLUICE_F_COUNTED("line", e->line), SLUICE_F_COUNTED("column", e->column), SLUICE_F_END};
        sluice_report_line(report, i, text, sizeof text);
        sluice_log_write(level, icon, event, text, fields);
    }
    if (report->count > report->errors_count) {
        const struct sluice_log_field fields[] = {
            SLUICE_F_NUMBER("count", report->count - report->errors_count), SLUICE_F_END};
        sluice_log_write(level, icon, event, "more errors", fields);
    }
}

void sluice_report_log(const struct sluice_report *report)
{
    records_log(report, SLUICE_LOG_ERROR, SLUICE_ICON_FAILED, "config.invalid");
}

void sluice_report_log_warnings(const struct sluice_report *warnings, const char *event)
{
    if (sluice_log_is_on(SLUICE_LOG_WARN)) {
        records_log(warnings, SLUICE_LOG_WARN, SLUICE_ICON_WARN, event);
    }
}
