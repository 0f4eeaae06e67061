/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the settings share: rows, the value of one row, the box. Inside
 * src/run/option*.c only. */
#ifndef SLUICE_RUN_OPTION_BOX_H
#define SLUICE_RUN_OPTION_BOX_H

#include "run/option.h"
#include <stddef.h>

struct option {
    const char *key, *env; /* of a service's row: the last part of each */
    enum option_kind kind;
    const char *default_value;
    double min, max;
    const char *help; /* of a WORD: the words, separated by |; more behind a ; */
    size_t offset;
};

enum {
#define COUNT(member, ...) ROW_##member,
    SLUICE_OPTIONS(COUNT) OPTIONS_COUNT
#undef COUNT
};
enum {
#define COUNT(member, ...) SERVICE_ROW_##member,
    SLUICE_SERVICE_OPTIONS(COUNT) SERVICE_OPTIONS_COUNT
#undef COUNT
};

extern const struct option sluice_option_rows[OPTIONS_COUNT];
extern const struct option sluice_service_rows[SERVICE_OPTIONS_COUNT];

/* In the file; line 0: it is not there. */
struct option_at {
    unsigned line, column;
};

struct service_origin {
    uint8_t layers[SERVICE_OPTIONS_COUNT];
    uint8_t refused[SERVICE_OPTIONS_COUNT]; /* a value was given and refused */
    struct option_at at[SERVICE_OPTIONS_COUNT];
    char *texts[SERVICE_OPTIONS_COUNT]; /* as given; owned */
};

struct header_origin {
    uint8_t layer;
    struct option_at at;
    char *text; /* owned */
};

struct sluice_settings_box {
    struct sluice_settings settings;
    uint8_t layers[OPTIONS_COUNT];
    uint8_t refused[OPTIONS_COUNT]; /* a value was given and refused */
    char *texts[OPTIONS_COUNT];     /* as given; owned */
    struct option_at at[OPTIONS_COUNT];
    const char *file; /* while it is loaded */
    struct service_origin services[SLUICE_SERVICES_MAX];
    struct header_origin llm_headers[SLUICE_LLM_HEADERS_MAX];
};

/* Where a value comes from. */
struct option_source {
    struct sluice_place place;
    struct sluice_report *report;
};

/* Parse `value` into the row's member of `base` and keep a copy of it in *text. Refused: reported,
 * nothing changes, 0. */
int option_set(const struct option *o, const char *value, void *base, char **text,
               const struct option_source *s);
/* The same with the content of a file; for secrets. */
int option_set_from_file(const struct option *o, const char *path, void *base, char **text,
                         const struct option_source *s);
/* Where the value of a row with `layer` and `at` comes from, for what is found wrong with it when
 * all have been read: its place in the file, else its name `otherwise`. */
struct sluice_place option_place(const struct sluice_settings_box *box, const char *key,
                                 uint8_t layer, struct option_at at, const char *otherwise);
/* A value as it may be shown: a secret is ***, a URL as sluice_redact_url has it. */
void option_mask(const struct option *o, const char *value, char *text, size_t size);
void option_print_value(FILE *out, const struct option *o, const char *value, int as_json);
int option_is_name(const char *value);
/* Does the HTTP URL have user or password before its host? */
int option_url_has_login(const char *url);
const char *option_layer_name(uint8_t layer);

/* Keys of the sections services, outputs and options. 0: not one of them. */
int option_named_item(struct sluice_settings_box *box, const char *key, const char *value,
                      enum option_layer layer, const struct option_source *s);
int option_named_flag_is_known(const char *flag, size_t len);
/* --services-NAME-KEY, --outputs-NAME, --options-KEY, given without the dashes and the value.
 * `value` NULL: none was given. 0: not one of them. */
int option_named_flag(struct sluice_settings_box *box, const char *flag, size_t len,
                      const char *value, const struct option_source *s);
void option_named_environment(struct sluice_settings_box *box, struct sluice_report *report);
/* The service's part of these: `rest` and `flag` are NAME.key and NAME-key, `variable` is NAME_KEY
 * (whole in `s`). */
void option_service_item(struct sluice_settings_box *box, const char *rest, const char *value,
                         enum option_layer layer, const struct option_source *s);
void option_service_environment(struct sluice_settings_box *box, const char *variable, size_t len,
                                const char *value, const struct option_source *s);
void option_service_flag(struct sluice_settings_box *box, const char *flag, size_t len,
                         const char *value, const struct option_source *s);
/* What no single value of a service shows. */
void option_service_check(struct sluice_settings_box *box, struct sluice_report *report);
/* Section llm.headers; 0: another one. */
int option_header_item(struct sluice_settings_box *box, const char *key, const char *value,
                       const struct option_source *s);
void option_header_environment(struct sluice_settings_box *box, struct sluice_report *report);
void option_header_check(struct sluice_settings_box *box, struct sluice_report *report);
void option_header_free(struct sluice_settings_box *box);
/* A header that a call gets from us or from libcurl. */
int option_is_our_header(const char *name);
/* Would the worker be given what it sends to this subject? */
void option_own_customer_check(const struct sluice_settings *s, const char *subject,
                               const struct option_source *source);
/* CA certificates of the LLM and the services: where they come from, and whether they are any. */
void option_ca_check(struct sluice_settings_box *box, struct sluice_report *report);
/* What no single value of the table shows. */
void option_settings_check(struct sluice_settings_box *box, struct sluice_report *report);
void option_named_free(struct sluice_settings_box *box);
void option_header_print(const struct sluice_settings_box *box, FILE *out, int as_json);
void option_line_print(FILE *out, const char *key, const struct option *o, const char *value,
                       uint8_t layer, int as_json);
void option_named_print(const struct sluice_settings_box *box, FILE *out, int as_json);
/* The sections in the printed forms of the tables. */
void option_named_example(FILE *out);
void option_named_reference(FILE *out);
void option_named_schema(FILE *out);
/* The same of llm.headers, within its section. */
void option_header_example(FILE *out);
void option_header_reference(FILE *out);
void option_header_schema(FILE *out);

#endif
