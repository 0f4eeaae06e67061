/* SPDX-License-Identifier: Apache-2.0 */
#include "run/worker_config.h"

#include "run/option_box.h"
#include <stdlib.h>
#include <string.h>

#define LIMIT_NONE 9e15 /* whole numbers are exact in a double up to here */

struct own_value {
    struct option row; /* as the parser of our own options sees it */
    const char *text;  /* TEXT, SECRET */
    int64_t number;
    char *owned;
    uint8_t layer;
    uint8_t is_given;
};

struct sluice_config {
    const struct sluice_settings *settings;
    const char *const *outputs; /* names, NULL at the end */
    struct own_value values[SLUICE_OWN_OPTIONS_MAX];
    uint32_t count;
};

static struct own_value *value_find(struct sluice_config *c, const char *key, size_t len)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const char *name = c->values[i].row.key;
        if (strncmp(name, key, len) == 0 && name[len] == '\0') {
            return &c->values[i];
        }
    }
    return NULL;
}

static int is_option_key(const char *key)
{
    size_t len = strlen(key);
    return len >= 1 && len <= SLUICE_OPTION_NAME_MAX &&
           strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* What is wrong with a row of the description; NULL: nothing. */
static const char *row_fault(struct sluice_config *c, const sluice_option *o)
{
    if (c->count == SLUICE_OWN_OPTIONS_MAX) {
        return "expected at most 64 options";
    }
    if (!is_option_key(o->key)) {
        return "expected a key of [a-z0-9_], at most 64 bytes";
    }
    if (o->kind < SLUICE_OPTION_TEXT || o->kind > SLUICE_OPTION_SECRET) {
        return "expected kind TEXT, NUMBER or SECRET";
    }
    if (value_find(c, o->key, strlen(o->key)) != NULL) {
        return "declared twice";
    }
    int is_given = o->required || (o->default_value != NULL && o->default_value[0] != '\0');
    if (o->kind == SLUICE_OPTION_NUMBER && !is_given && (o->min > 0 || o->max < 0)) {
        return "expected a default within its limits, or to be required";
    }
    return NULL;
}

/* The rows of the description, each with its default. */
static void describe(struct sluice_config *c, const sluice_worker *w, struct sluice_report *report)
{
    for (const sluice_option *o = w->options; o != NULL && o->key != NULL; o++) {
        char where[160];
        (void)snprintf(where, sizeof where, "worker %s: option %.64s", w->name, o->key);
        struct option_source s = {{.option = where}, report};
        const char *fault = row_fault(c, o);
        if (fault != NULL) {
            sluice_report_add(report, &s.place, "%s", fault);
            continue;
        }
        int is_number = o->kind == SLUICE_OPTION_NUMBER;
        int has_limits = o->min != 0 || o->max != 0;
        struct own_value *v = &c->values[c->count++];
        v->row = (struct option){.key = o->key,
                                 .kind = is_number                       ? OPTION_COUNT
                                         : o->kind == SLUICE_OPTION_TEXT ? OPTION_TEXT
                                                                         : OPTION_SECRET,
                                 .default_value = "",
                                 .min = has_limits ? (double)o->min : -LIMIT_NONE,
                                 .max = has_limits ? (double)o->max : LIMIT_NONE,
                                 .help = o->help == NULL ? "" : o->help,
                                 .offset = is_number ? offsetof(struct own_value, number)
                                                     : offsetof(struct own_value, text)};
        v->text = "";
        if (o->default_value != NULL && (o->default_value[0] != '\0' || !is_number)) {
            (void)option_set(&v->row, o->default_value, v, &v->owned, &s);
        }
    }
}

static void take(struct sluice_config *c, const sluice_worker *w,
                 const struct sluice_named_value *given, struct sluice_report *report)
{
    struct option_source s = {given->place, report};
    size_t len = strlen(given->name);
    struct own_value *v = value_find(c, given->name, len);
    int is_set;
    if (v != NULL && v->row.kind == OPTION_SECRET && given->layer == LAYER_FLAG) {
        sluice_report_add(report, &s.place, "secrets are not taken from the command line");
        return;
    }
    if (v != NULL) {
        is_set = option_set(&v->row, given->value, v, &v->owned, &s);
    } else if (len > 5 && strcmp(given->name + len - 5, "_file") == 0 &&
               (v = value_find(c, given->name, len - 5)) != NULL && v->row.kind == OPTION_SECRET) {
        is_set = option_set_from_file(&v->row, given->value, v, &v->owned, &s);
    } else {
        sluice_report_add(report, &s.place, "worker %s has no option %s", w->name, given->name);
        return;
    }
    if (v->is_given && v->layer == given->layer) {
        sluice_report_add(report, &s.place, "set together with its file, expected one of them");
    }
    v->is_given = 1;
    if (is_set) {
        v->layer = given->layer;
    }
}

int sluice_worker_output_subject(const struct sluice_settings *settings, const char *name,
                                 char *subject, size_t size)
{
    for (uint32_t i = 0; i < settings->outputs_count; i++) {
        if (strcmp(settings->outputs[i].name, name) == 0) {
            (void)snprintf(subject, size, "%s", settings->outputs[i].value);
            return 1;
        }
    }
    int is_ready = strcmp(name, "ready") == 0;
    (void)snprintf(subject, size, "%s%s%s", settings->subject_ready, is_ready ? "" : ".",
                   is_ready ? "" : name);
    return 0;
}

static int has_name(const char *const *names, const char *name)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static void output_check(const struct sluice_settings *s, const char *subject,
                         const struct option_source *source)
{
    option_own_customer_check(s, subject, source);
    if (strcmp(subject, s->subject_dead) == 0) {
        sluice_report_add(source->report, &source->place,
                          "\"%s\", expected another subject than SLUICE_SUBJECT_DEAD", subject);
    }
}

static void outputs_check(const struct sluice_config *c, const sluice_worker *w,
                          struct sluice_report *report)
{
    const struct sluice_settings *s = c->settings;
    for (uint32_t i = 0; i < s->outputs_count; i++) {
        const struct sluice_named_value *o = &s->outputs[i];
        if (!has_name(c->outputs, o->name)) {
            sluice_report_add(report, &o->place, "worker %s has no output %s", w->name, o->name);
        }
        output_check(s, o->value, &(struct option_source){o->place, report});
    }
    for (const char *const *name = c->outputs; *name != NULL; name++) {
        char subject[1024];
        char option[SLUICE_NAME_MAX + 16];
        (void)snprintf(option, sizeof option, "outputs.%s", *name);
        /* SLUICE_SUBJECT_READY itself has been looked at with the settings. */
        if (!sluice_worker_output_subject(s, *name, subject, sizeof subject) &&
            strcmp(*name, "ready") != 0) {
            output_check(s, subject, &(struct option_source){{.option = option}, report});
        }
    }
}

static void demands_check(const struct sluice_config *c, const sluice_worker *w,
                          struct sluice_report *report)
{
    const struct sluice_settings *s = c->settings;
    int asks_llm = w->require == SLUICE_REQUIRE_DEFAULT || (w->require & SLUICE_REQUIRE_LLM) != 0;
    if (asks_llm && s->llm_model[0] == '\0') {
        sluice_report_add(report, &(struct sluice_place){.option = "LLM_MODEL"},
                          "not set, expected because worker %s asks an LLM", w->name);
    }
    outputs_check(c, w, report);
    for (const char *const *name = w->services; name != NULL && *name != NULL; name++) {
        uint32_t i = 0;
        while (i < s->services_count && !sluice_service_name_is_same(s->services[i].name, *name)) {
            i++;
        }
        if (i == s->services_count) {
            char option[SLUICE_NAME_MAX + 16];
            (void)snprintf(option, sizeof option, "services.%s.url", *name);
            sluice_report_add(report, &(struct sluice_place){.option = option},
                              "not set, expected because worker %s calls this service", w->name);
        }
    }
}

/* The layers come in the order file, environment, flags: the later one wins. */
struct sluice_config *sluice_worker_config_create(const struct sluice_settings *settings,
                                                  const sluice_worker *worker,
                                                  struct sluice_report *report)
{
    struct sluice_config *c = calloc(1, sizeof *c);
    if (c == NULL) {
        sluice_report_add(report, NULL, "no memory");
        return NULL;
    }
    static const char *const standard[] = {"ready", NULL};
    c->settings = settings;
    c->outputs = worker->outputs == NULL ? standard : worker->outputs;
    describe(c, worker, report);
    for (int layer = LAYER_FILE; layer <= LAYER_FLAG; layer++) {
        for (uint32_t i = 0; i < settings->own_count; i++) {
            if (settings->own[i].layer == layer) {
                take(c, worker, &settings->own[i], report);
            }
        }
    }
    for (const sluice_option *o = worker->options; o != NULL && o->key != NULL; o++) {
        const struct own_value *v = value_find(c, o->key, strlen(o->key));
        if (o->required && v != NULL && !v->is_given) {
            char option[SLUICE_OPTION_NAME_MAX + 16];
            (void)snprintf(option, sizeof option, "options.%s", o->key);
            sluice_report_add(report, &(struct sluice_place){.option = option},
                              "not set, expected by worker %s: %s", worker->name, v->row.help);
        }
    }
    demands_check(c, worker, report);
    return c;
}

void sluice_worker_config_free(struct sluice_config *c)
{
    for (uint32_t i = 0; c != NULL && i < c->count; i++) {
        free(c->values[i].owned);
    }
    free(c);
}

static const struct own_value *value_of(const struct sluice_config *c, const char *key)
{
    for (uint32_t i = 0; c != NULL && key != NULL && i < c->count; i++) {
        if (strcmp(c->values[i].row.key, key) == 0) {
            return &c->values[i];
        }
    }
    return NULL;
}

const char *sluice_worker_config_text(const struct sluice_config *c, const char *key)
{
    const struct own_value *v = value_of(c, key);
    return v == NULL || v->row.kind == OPTION_COUNT ? NULL : v->text;
}

int64_t sluice_worker_config_number(const struct sluice_config *c, const char *key)
{
    const struct own_value *v = value_of(c, key);
    return v == NULL || v->row.kind != OPTION_COUNT ? 0 : v->number;
}

static void line_print(FILE *out, const char *section, const struct option *o, const char *value,
                       uint8_t layer, int as_json)
{
    char key[96];
    (void)snprintf(key, sizeof key, "%s.%s", section, o->key);
    fprintf(out, as_json ? ",\"%s\":{\"value\":\"" : "%-28s ", key);
    option_print_value(out, o, value, as_json);
    fprintf(out, as_json ? "\",\"origin\":\"%s\"}" : "  (%s)\n", option_layer_name(layer));
}

void sluice_worker_config_print(const struct sluice_config *c, FILE *out, int as_json)
{
    for (const char *const *name = c->outputs; *name != NULL; name++) {
        struct option row = {.key = *name, .kind = OPTION_SUBJECT};
        char subject[1024];
        if (!sluice_worker_output_subject(c->settings, *name, subject, sizeof subject)) {
            line_print(out, "outputs", &row, subject, LAYER_DEFAULT, as_json);
        }
    }
    for (uint32_t i = 0; i < c->count; i++) {
        const struct own_value *v = &c->values[i];
        line_print(out, "options", &v->row, v->owned == NULL ? "" : v->owned, v->layer, as_json);
    }
}

void sluice_worker_config_secrets(const struct sluice_config *c, void (*see)(const char *))
{
    for (uint32_t i = 0; c != NULL && i < c->count; i++) {
        if (c->values[i].row.kind == OPTION_SECRET) {
            see(c->values[i].text);
        }
    }
}
