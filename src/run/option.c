/* SPDX-License-Identifier: Apache-2.0 */
#include "run/option_box.h"

#include "run/nearest.h"
#include <stdlib.h>
#include <string.h>

const struct option sluice_option_rows[OPTIONS_COUNT] = {
#define ROW(member, key, env, kind, value, min, max, help)                                         \
    {key, env, OPTION_##kind, value, min, max, help, offsetof(struct sluice_settings, member)},
    SLUICE_OPTIONS(ROW)
#undef ROW
};

static void value_set(struct sluice_settings_box *box, size_t i, const char *value,
                      enum option_layer layer, const struct option_source *s)
{
    if (option_set(&sluice_option_rows[i], value, &box->settings, &box->texts[i], s)) {
        box->layers[i] = (uint8_t)layer;
        box->at[i] = (struct option_at){s->place.line, s->place.column};
    } else {
        box->refused[i] = 1;
    }
}

struct sluice_place option_place(const struct sluice_settings_box *box, const char *key,
                                 uint8_t layer, struct option_at at, const char *otherwise)
{
    if (layer != LAYER_FILE || at.line == 0) {
        return (struct sluice_place){.option = otherwise};
    }
    return (struct sluice_place){
        .option = key, .file = box->file, .line = at.line, .column = at.column};
}

/* ---- Layers ---- */

static size_t option_find(const char *key)
{
    size_t i = 0;
    while (i < OPTIONS_COUNT && strcmp(sluice_option_rows[i].key, key) != 0) {
        i++;
    }
    return i;
}

static void unknown_key(const char *typed, const struct option_source *s)
{
    struct nearest n = {NULL, 0};
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        nearest_look(&n, typed, sluice_option_rows[i].key);
    }
    if (nearest_is_near(&n, typed)) {
        sluice_report_add(s->report, &s->place, "unknown key; did you mean %s?", n.name);
    } else {
        sluice_report_add(s->report, &s->place,
                          "unknown key; `sluice check --reference` lists them");
    }
}

struct file_context {
    struct sluice_settings_box *box;
    struct sluice_report *report;
    const char *path;
    uint8_t seen[OPTIONS_COUNT];
};

static void secret_from_file(struct sluice_settings_box *box, size_t i, const char *path,
                             enum option_layer layer, const struct option_source *s)
{
    if (option_set_from_file(&sluice_option_rows[i], path, &box->settings, &box->texts[i], s)) {
        box->layers[i] = (uint8_t)layer;
        box->at[i] = (struct option_at){s->place.line, s->place.column};
    } else {
        box->refused[i] = 1;
    }
}

static void file_item(void *ctx, const char *key, const char *value, unsigned line, unsigned column)
{
    struct file_context *f = ctx;
    struct option_source s = {{.option = key, .file = f->path, .line = line, .column = column},
                              f->report};
    if (option_named_item(f->box, key, value, LAYER_FILE, &s)) {
        return;
    }
    size_t i = option_find(key);
    size_t len = strlen(key);
    int is_file = 0;
    if (i == OPTIONS_COUNT && len > 5 && strcmp(key + len - 5, "_file") == 0) {
        char base[128];
        (void)snprintf(base, sizeof base, "%.*s", (int)(len - 5), key);
        i = option_find(base);
        is_file = i < OPTIONS_COUNT && sluice_option_rows[i].kind == OPTION_SECRET;
        i = is_file ? i : OPTIONS_COUNT;
    }
    if (i == OPTIONS_COUNT) {
        unknown_key(key, &s);
    } else if (f->seen[i]++ != 0) {
        sluice_report_add(f->report, &s.place, "set twice");
    } else if (is_file) {
        secret_from_file(f->box, i, value, LAYER_FILE, &s);
    } else {
        value_set(f->box, i, value, LAYER_FILE, &s);
    }
}

static void environment_read(struct sluice_settings_box *box, struct sluice_report *report)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        struct option_source s = {{.option = sluice_option_rows[i].env, .is_variable = 1}, report};
        const char *value = getenv(sluice_option_rows[i].env);
        char file_name[128];
        (void)snprintf(file_name, sizeof file_name, "%s_FILE", sluice_option_rows[i].env);
        const char *path = sluice_option_rows[i].kind == OPTION_SECRET ? getenv(file_name) : NULL;
        if (value != NULL && path != NULL) {
            sluice_report_add(report, &s.place, "set together with %s, expected one of them",
                              file_name);
        } else if (path != NULL) {
            secret_from_file(box, i, path, LAYER_ENVIRONMENT, &s);
        } else if (value != NULL) {
            value_set(box, i, value, LAYER_ENVIRONMENT, &s);
        }
    }
    static const char *const aliases[][2] = {{"OPENAI_API_KEY", "llm.api_key"},
                                             {"OPENAI_BASE_URL", "llm.base_url"}};
    for (size_t k = 0; k < 2; k++) {
        size_t i = option_find(aliases[k][1]);
        const char *value = getenv(aliases[k][0]);
        struct option_source s = {{.option = aliases[k][0], .is_variable = 1}, report};
        if (value != NULL && value[0] != '\0' && box->layers[i] < LAYER_FILE) {
            value_set(box, i, value, LAYER_ENVIRONMENT, &s);
        }
    }
}

static size_t flag_find(const char *flag, size_t len)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const char *key = sluice_option_rows[i].key;
        size_t n = 0;
        while (n < len && key[n] != '\0' &&
               (key[n] == flag[n] || ((key[n] == '.' || key[n] == '_') && flag[n] == '-'))) {
            n++;
        }
        if (n == len && key[n] == '\0') {
            return i;
        }
    }
    return OPTIONS_COUNT;
}

int sluice_settings_flag_is_known(const char *flag, size_t len)
{
    return len > 2 && strncmp(flag, "--", 2) == 0 &&
           (flag_find(flag + 2, len - 2) < OPTIONS_COUNT ||
            option_named_flag_is_known(flag + 2, len - 2));
}

static void flags_read(struct sluice_settings_box *box, int count, char **arguments,
                       struct sluice_report *report)
{
    for (int a = 0; a < count; a++) {
        const char *flag = arguments[a];
        size_t len = strcspn(flag, "=");
        size_t i = strncmp(flag, "--", 2) == 0 ? flag_find(flag + 2, len - 2) : OPTIONS_COUNT;
        char where[128];
        (void)snprintf(where, sizeof where, "%.*s", (int)len, flag);
        struct option_source s = {{.option = where}, report};
        int has_next = flag[len] != '=' && a + 1 < count && strncmp(arguments[a + 1], "--", 2) != 0;
        const char *value = flag[len] == '=' ? flag + len + 1 : has_next ? arguments[a + 1] : NULL;
        if (i == OPTIONS_COUNT && len > 2 && option_named_flag(box, flag + 2, len - 2, value, &s)) {
            a += has_next;
            continue;
        }
        if (i == OPTIONS_COUNT && flag[0] != '-') {
            sluice_report_add(report, &s.place, "unexpected; `--help` lists the flags");
            continue;
        }
        if (i == OPTIONS_COUNT) {
            sluice_report_add(report, &s.place, "unknown flag; `--help` lists them");
            a += has_next; /* perhaps its value */
            continue;
        }
        if (sluice_option_rows[i].kind == OPTION_SECRET) {
            sluice_report_add(report, &s.place,
                              "secrets are not taken from the command line, use %s_FILE",
                              sluice_option_rows[i].env);
            a += has_next;
            continue;
        }
        a += has_next;
        if (value == NULL) {
            sluice_report_add(report, &s.place, "needs a value");
        } else {
            value_set(box, i, value, LAYER_FLAG, &s);
        }
    }
}

sluice_rc sluice_settings_load(int arguments_count, char **arguments, const char *file,
                               struct sluice_settings_box **out, struct sluice_report *report)
{
    *report = (struct sluice_report){.count = 0};
    struct sluice_settings_box *box = calloc(1, sizeof *box);
    if (box == NULL) {
        sluice_report_add(report, NULL, "no memory");
        return SLUICE_ERR_NOMEM;
    }
    struct option_source defaults = {{.option = "default"}, report};
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        value_set(box, i, sluice_option_rows[i].default_value, LAYER_DEFAULT, &defaults);
    }
    if (report->count != 0) { /* the table's defaults are right: only memory can be missing */
        sluice_settings_free(box);
        return SLUICE_ERR_NOMEM;
    }
    if (file != NULL) {
        struct file_context f = {.box = box, .report = report, .path = file};
        sluice_config_file_read(file, file_item, &f, report);
    }
    environment_read(box, report);
    option_named_environment(box, report);
    flags_read(box, arguments_count, arguments, report);
    box->file = file;
    option_settings_check(box, report);
    option_header_check(box, report);
    option_service_check(box, report);
    option_ca_check(box, report);
    box->file = NULL;
    *out = box;
    return report->count == 0 ? SLUICE_OK : SLUICE_ERR_CONFIG;
}

void sluice_settings_free(struct sluice_settings_box *box)
{
    if (box == NULL) {
        return;
    }
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        free(box->texts[i]);
    }
    option_named_free(box);
    free(box);
}

const struct sluice_settings *sluice_settings_of(const struct sluice_settings_box *box)
{
    return &box->settings;
}
