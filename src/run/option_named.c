/* SPDX-License-Identifier: Apache-2.0 */
/* The sections whose keys are names: services, outputs and the worker's own options. */
#include "run/option_box.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_PREFIX "SLUICE_SERVICE_"
#define OWN_PREFIX     "SLUICE_OPTION_"

extern char **environ;

/* ---- Outputs and options ---- */

static void named_fini(struct sluice_named_value *v)
{
    free((void *)(uintptr_t)v->value);
    free((void *)(uintptr_t)v->place.option);
    free((void *)(uintptr_t)v->place.file);
}

static void named_set(struct sluice_named_value *list, uint32_t *count, uint32_t max,
                      const char *name, const char *value, enum option_layer layer,
                      const struct option_source *s)
{
    uint32_t i = 0;
    while (i < *count && strcmp(list[i].name, name) != 0) {
        i++;
    }
    if (!option_is_name(name)) {
        sluice_report_add(s->report, &s->place,
                          "\"%.80s\", expected a name of [A-Za-z0-9_-], at most 64 bytes", name);
        return;
    }
    if (i < *count && list[i].layer == layer) {
        sluice_report_add(s->report, &s->place, "%s: set twice", name);
        return;
    }
    if (i == max) {
        sluice_report_add(s->report, &s->place, "expected at most %u names", max);
        return;
    }
    char *copy = strdup(value);
    char *option = strdup(s->place.option);
    char *file = s->place.file == NULL ? NULL : strdup(s->place.file);
    if (copy == NULL || option == NULL || (file == NULL && s->place.file != NULL)) {
        sluice_report_add(s->report, &s->place, "no memory");
        free(copy);
        free(option);
        free(file);
        return;
    }
    struct sluice_named_value *v = &list[i];
    named_fini(v);
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    v->value = copy;
    v->place = s->place;
    v->place.option = option;
    v->place.file = file;
    v->layer = (uint8_t)layer;
    *count += i == *count;
}

static void output_set(struct sluice_settings_box *box, const char *name, const char *value,
                       enum option_layer layer, const struct option_source *s)
{
    static const struct option row = {
        .key = "outputs", .kind = OPTION_SUBJECT, .default_value = "-"};
    const char *parsed = NULL;
    char *text = NULL;
    if (option_set(&row, value, &parsed, &text, s)) {
        named_set(box->settings.outputs, &box->settings.outputs_count, SLUICE_OUTPUTS_MAX, name,
                  value, layer, s);
    }
    free(text);
}

static void own_set(struct sluice_settings_box *box, const char *name, const char *value,
                    enum option_layer layer, const struct option_source *s)
{
    named_set(box->settings.own, &box->settings.own_count, SLUICE_OWN_OPTIONS_MAX, name, value,
              layer, s);
}

int option_named_item(struct sluice_settings_box *box, const char *key, const char *value,
                      enum option_layer layer, const struct option_source *s)
{
    if (strncmp(key, "services.", 9) == 0) {
        option_service_item(box, key + 9, value, layer, s);
    } else if (strncmp(key, "outputs.", 8) == 0) {
        output_set(box, key + 8, value, layer, s);
    } else if (strncmp(key, "options.", 8) == 0) {
        own_set(box, key + 8, value, layer, s);
    } else {
        return option_header_item(box, key, value, s);
    }
    return 1;
}

static const char *const sections[] = {"services-", "outputs-", "options-", "llm-headers-"};

enum { SECTIONS = sizeof sections / sizeof sections[0] };

static size_t section_of(const char *flag)
{
    size_t k = 0;
    while (k < SECTIONS && strncmp(flag, sections[k], strlen(sections[k])) != 0) {
        k++;
    }
    return k;
}

int option_named_flag_is_known(const char *flag, size_t len)
{
    size_t k = section_of(flag);
    return k < SECTIONS && len > strlen(sections[k]);
}

int option_named_flag(struct sluice_settings_box *box, const char *flag, size_t len,
                      const char *value, const struct option_source *s)
{
    size_t k = section_of(flag);
    if (k == SECTIONS) {
        return 0;
    }
    if (value == NULL) {
        sluice_report_add(s->report, &s->place, "needs a value");
        return 1;
    }
    if (k == 3) {
        sluice_report_add(s->report, &s->place,
                          "secrets are not taken from the command line, use LLM_HEADER_NAME_FILE");
        return 1;
    }
    flag += strlen(sections[k]);
    len -= strlen(sections[k]);
    if (k == 0) {
        option_service_flag(box, flag, len, value, s);
        return 1;
    }
    char name[128];
    (void)snprintf(name, sizeof name, "%.*s", (int)len, flag);
    if (k == 1) {
        output_set(box, name, value, LAYER_FLAG, s);
        return 1;
    }
    for (char *c = name; *c != '\0'; c++) {
        *c = (char)(*c == '-' ? '_' : *c);
    }
    own_set(box, name, value, LAYER_FLAG, s);
    return 1;
}

/* SLUICE_OUTPUTS=name=subject,name=subject */
static void outputs_environment(struct sluice_settings_box *box, const char *list,
                                const struct option_source *s)
{
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        const char *equals = memchr(list, '=', len);
        char name[80];
        char subject[512];
        if (equals == NULL || len >= sizeof subject) {
            sluice_report_add(s->report, &s->place,
                              "\"%.*s\", expected name=subject, comma separated",
                              (int)(len > 100 ? 100 : len), list);
        } else {
            (void)snprintf(name, sizeof name, "%.*s", (int)(equals - list), list);
            (void)snprintf(subject, sizeof subject, "%.*s", (int)(list + len - equals - 1),
                           equals + 1);
            output_set(box, name, subject, LAYER_ENVIRONMENT, s);
        }
        list += len + (list[len] == ',');
    }
}

void option_named_environment(struct sluice_settings_box *box, struct sluice_report *report)
{
    const char *outputs = getenv("SLUICE_OUTPUTS");
    if (outputs != NULL) {
        struct option_source s = {{.option = "SLUICE_OUTPUTS", .is_variable = 1}, report};
        outputs_environment(box, outputs, &s);
    }
    option_header_environment(box, report);
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        size_t len = strcspn(*e, "=");
        const char *value = (*e)[len] == '=' ? *e + len + 1 : "";
        char variable[256];
        (void)snprintf(variable, sizeof variable, "%.*s", (int)len, *e);
        struct option_source s = {{.option = variable, .is_variable = 1}, report};
        if (strncmp(*e, SERVICE_PREFIX, strlen(SERVICE_PREFIX)) == 0) {
            size_t skip = strlen(SERVICE_PREFIX);
            option_service_environment(box, *e + skip, len - skip, value, &s);
        } else if (strncmp(*e, OWN_PREFIX, strlen(OWN_PREFIX)) == 0) {
            char name[128];
            size_t skip = strlen(OWN_PREFIX);
            (void)snprintf(name, sizeof name, "%.*s", (int)(len - skip), *e + skip);
            for (char *c = name; *c != '\0'; c++) {
                *c = (char)tolower((unsigned char)*c);
            }
            own_set(box, name, value, LAYER_ENVIRONMENT, &s);
        }
    }
}

void option_named_free(struct sluice_settings_box *box)
{
    struct sluice_settings *s = &box->settings;
    option_header_free(box);
    for (uint32_t i = 0; i < s->services_count; i++) {
        for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
            free(box->services[i].texts[k]);
        }
    }
    for (uint32_t i = 0; i < s->outputs_count; i++) {
        named_fini(&s->outputs[i]);
    }
    for (uint32_t i = 0; i < s->own_count; i++) {
        named_fini(&s->own[i]);
    }
}

/* ---- Printed forms ---- */

void option_line_print(FILE *out, const char *key, const struct option *o, const char *value,
                       uint8_t layer, int as_json)
{
    if (as_json) {
        fprintf(out, ",\"%s\":{\"value\":\"", key);
        option_print_value(out, o, value, 1);
        fprintf(out, "\",\"origin\":\"%s\"}", option_layer_name(layer));
    } else {
        fprintf(out, "%-28s ", key);
        option_print_value(out, o, value, 0);
        fprintf(out, "  (%s)\n", option_layer_name(layer));
    }
}

void option_named_print(const struct sluice_settings_box *box, FILE *out, int as_json)
{
    static const struct option subject = {.kind = OPTION_SUBJECT};
    const struct sluice_settings *s = &box->settings;
    char key[256];
    option_header_print(box, out, as_json);
    for (uint32_t i = 0; i < s->services_count; i++) {
        for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
            const struct option *o = &sluice_service_rows[k];
            (void)snprintf(key, sizeof key, "services.%s.%s", s->services[i].name, o->key);
            option_line_print(out, key, o,
                              box->services[i].texts[k] == NULL ? "" : box->services[i].texts[k],
                              box->services[i].layers[k], as_json);
        }
    }
    for (uint32_t i = 0; i < s->outputs_count; i++) {
        (void)snprintf(key, sizeof key, "outputs.%s", s->outputs[i].name);
        option_line_print(out, key, &subject, s->outputs[i].value, s->outputs[i].layer, as_json);
    }
}

void option_named_example(FILE *out)
{
    fputs("\n# services:   # HTTP services that the worker may call, each under its name\n"
          "#   NAME:\n",
          out);
    for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
        const struct option *o = &sluice_service_rows[k];
        fprintf(out, "#     %s: %s   # %s [SLUICE_SERVICE_NAME_%s]\n", o->key,
                o->default_value[0] == '\0' ? "\"\"" : o->default_value, o->help, o->env);
    }
    fputs("\n# outputs:   # subject of each output of the worker [SLUICE_OUTPUTS=name=subject,…]\n"
          "#   ready: " SLUICE_DEFAULT_SUBJECT_READY "\n"
          "\n# options:   # options of the worker's own [SLUICE_OPTION_KEY]\n"
          "#   key: value\n",
          out);
}

void option_named_reference(FILE *out)
{
    option_header_reference(out);
    for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
        const struct option *o = &sluice_service_rows[k];
        fprintf(out, "| `services.NAME.%s` | `SLUICE_SERVICE_NAME_%s` | %s | %s |\n", o->key,
                o->env, o->default_value, o->help);
    }
    fputs(
        "| `outputs.NAME` | `SLUICE_OUTPUTS` | | subject of the worker's output NAME; the variable "
        "lists name=subject |\n"
        "| `options.KEY` | `SLUICE_OPTION_KEY` | | option of the worker's own |\n",
        out);
}

void option_named_schema(FILE *out)
{
    fputs(",\"services\":{\"type\":\"object\",\"maxProperties\":13,\"additionalProperties\":{"
          "\"type\":\"object\",\"additionalProperties\":false,"
          "\"properties\":{",
          out);
    for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
        const struct option *o = &sluice_service_rows[k];
        fprintf(out,
                "%s\"%s\":{\"type\":[\"string\",\"number\",\"boolean\"],\"description\":\"%s\"}",
                k == 0 ? "" : ",", o->key, o->help);
        if (o->kind == OPTION_SECRET) {
            fprintf(out, ",\"%s_file\":{\"type\":\"string\"}", o->key);
        }
    }
    fputs("}}},\"outputs\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"
          "\"options\":{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"string\","
          "\"number\",\"boolean\"]}}",
          out);
}
