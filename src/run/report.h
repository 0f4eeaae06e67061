/* SPDX-License-Identifier: Apache-2.0 */
/* All that is wrong with a configuration, gathered while it is read: text for people, records for
 * the log. */
#ifndef SLUICE_RUN_REPORT_H
#define SLUICE_RUN_REPORT_H

#include "sluice/worker.h"

#define SLUICE_REPORT_ERRORS_MAX 128u /* errors that get a record of their own */

/* Where something of the configuration stands. Texts are borrowed. */
struct sluice_place {
    const char *option;    /* as the user wrote it: key, variable or flag; NULL: none */
    const char *file;      /* NULL: not in a file */
    unsigned line, column; /* from 1; 0: the file as a whole */
    int is_variable;
};

struct sluice_report_error {
    char option[128], file[256];
    unsigned line, column;
    size_t at; /* its line in the report's text */
};

/* One line for each error, in the order found: "worker.yaml:3:5: nats.url: …", "environment: NAME:
 * …", "--flag: …". */
struct sluice_report {
    uint32_t count;
    size_t len;
    char text[16384]; /* cut, with a last line that says so */
    struct sluice_report_error errors[SLUICE_REPORT_ERRORS_MAX];
    uint32_t errors_count; /* those that the text has whole */
};

/* `place` may be NULL. */
SLUICE_PRINTF(3, 4)
void sluice_report_add(struct sluice_report *report, const struct sluice_place *place,
                       const char *format, ...);
/* One log record config.invalid for each error, with option, file, line and column where known. */
void sluice_report_log(const struct sluice_report *report);
/* The same of a report of what is no error: warnings with the name `event`. */
void sluice_report_log_warnings(const struct sluice_report *warnings, const char *event);
/* The line of errors[i], without its end. */
void sluice_report_line(const struct sluice_report *report, uint32_t i, char *text, size_t size);

#endif
