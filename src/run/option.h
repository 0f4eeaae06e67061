/* SPDX-License-Identifier: Apache-2.0 */
/* Settings from flags, environment, worker.yaml and defaults, in this order; all errors together.
 */
#ifndef SLUICE_RUN_OPTION_H
#define SLUICE_RUN_OPTION_H

#include "core/err.h"
#include "run/option_table.h"
#include "run/report.h"
#include <stdint.h>
#include <stdio.h>

enum option_kind {
    OPTION_SECONDS,
    OPTION_COUNT,
    OPTION_NUMBER,
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_WORD,
    OPTION_NAME,
    OPTION_SUBJECT,
    OPTION_PATTERN, /* a subject that may have wildcards */
    OPTION_URL,
    OPTION_PATH,
    OPTION_SECRET
};

enum option_layer { LAYER_DEFAULT, LAYER_FILE, LAYER_ENVIRONMENT, LAYER_FLAG };

#define SLUICE_C_SECONDS int64_t
#define SLUICE_C_COUNT   int64_t
#define SLUICE_C_NUMBER  double
#define SLUICE_C_FLAG    int
#define SLUICE_C_TEXT    const char *
#define SLUICE_C_WORD    const char *
#define SLUICE_C_NAME    const char *
#define SLUICE_C_SUBJECT const char *
#define SLUICE_C_PATTERN const char *
#define SLUICE_C_URL     const char *
#define SLUICE_C_PATH    const char *
#define SLUICE_C_SECRET  const char *

#define SLUICE_SERVICES_MAX    13u /* as many breakers as the engine has left */
#define SLUICE_OUTPUTS_MAX     16u
#define SLUICE_OWN_OPTIONS_MAX 64u
#define SLUICE_LLM_HEADERS_MAX 8u
#define SLUICE_OPTION_NAME_MAX 64u

/* An HTTP service that the worker may call by its name. */
struct sluice_service {
    char name[SLUICE_OPTION_NAME_MAX + 1];
#define MEMBER(member, key, env, kind, value, min, max, help) SLUICE_C_##kind member;
    SLUICE_SERVICE_OPTIONS(MEMBER)
#undef MEMBER
};

/* Sent with each request to the LLM; not when its value is "". */
struct sluice_llm_header {
    char name[SLUICE_OPTION_NAME_MAX + 1];
    const char *value;
};

/* A value whose meaning only the worker's description tells: an output's subject, an option of the
 * worker's own. */
struct sluice_named_value {
    char name[SLUICE_OPTION_NAME_MAX + 1];
    const char *value;
    struct sluice_place place; /* its texts are owned */
    uint8_t layer;             /* enum option_layer */
};

/* The effective values; texts live as long as the settings. */
struct sluice_settings {
    struct sluice_service services[SLUICE_SERVICES_MAX];
    uint32_t services_count;
    struct sluice_llm_header llm_headers[SLUICE_LLM_HEADERS_MAX];
    uint32_t llm_headers_count;
    struct sluice_named_value outputs[SLUICE_OUTPUTS_MAX];
    uint32_t outputs_count;
    struct sluice_named_value own[SLUICE_OWN_OPTIONS_MAX]; /* section options */
    uint32_t own_count;
#define MEMBER(member, key, env, kind, value, min, max, help) SLUICE_C_##kind member;
    SLUICE_OPTIONS(MEMBER)
#undef MEMBER
};

struct sluice_settings_box; /* settings with their origin and memory */

/* Load. `arguments` are flags `--key=value` or `--key value` (keys as in worker.yaml with '-' for
 * '_' and '.'); `file` may be NULL. ERR_CONFIG when the report has errors. Free with
 * sluice_settings_free. */
SLUICE_MUST_CHECK
sluice_rc sluice_settings_load(int arguments_count, char **arguments, const char *file,
                               struct sluice_settings_box **out, struct sluice_report *report);
/* May the first `len` bytes be a flag of sluice_settings_load? */
int sluice_settings_flag_is_known(const char *flag, size_t len);
/* A line for each variable SLUICE_… of the environment that is no setting: it is ignored, and not
 * an error, because it may be meant for another program. */
void sluice_settings_variables_check(struct sluice_report *warnings);
/* Kubernetes describes the Services of a namespace in each container: one named `sluice` brings
 * SLUICE_SERVICE_HOST, SLUICE_SERVICE_PORT_HTTP, SLUICE_PORT=tcp://…, SLUICE_PORT_80_TCP_ADDR, none
 * of them meant for us. */
int sluice_settings_is_kubernetes(const char *variable, const char *value);
void sluice_settings_free(struct sluice_settings_box *box); /* accepts NULL */
const struct sluice_settings *sluice_settings_of(const struct sluice_settings_box *box);

/* What the loader reads a file with: each scalar as section.key with its place.
 * src/run/config_file.c */
typedef void sluice_config_item_fn(void *ctx, const char *key, const char *value, unsigned line,
                                   unsigned column);
void sluice_config_file_read(const char *path, sluice_config_item_fn *item, void *ctx,
                             struct sluice_report *report);

/* Are these names of one service? They may differ in case and in - and _, because environment
 * variables cannot tell them apart. */
int sluice_service_name_is_same(const char *a, const char *b);

/* Calls see(secret) with each value of the LLM's further headers that may be one, and with what
 * stands behind its last blank. */
void sluice_llm_header_secrets(const struct sluice_settings *s, void (*see)(const char *secret));

/* Outputs made from the table. */
/* `worker` may be NULL: then options of the worker's own do not show. `warnings` show in the JSON
 * alone, as the list of that name; may be NULL. */
struct sluice_config;
void sluice_settings_print(const struct sluice_settings_box *box,
                           const struct sluice_config *worker, const struct sluice_report *warnings,
                           FILE *out, int as_json);
void sluice_options_print_flags(FILE *out);
void sluice_options_print_example(FILE *out);
void sluice_options_print_reference(FILE *out);
void sluice_options_print_schema(FILE *out);

#endif
