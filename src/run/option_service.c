/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP services of the configuration: section services, SLUICE_SERVICE_<NAME>_<KEY>,
 * --services-NAME-KEY. */
#include "run/option_box.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct option sluice_service_rows[SERVICE_OPTIONS_COUNT] = {
#define ROW(member, key, env, kind, value, min, max, help)                                         \
    {key, env, OPTION_##kind, value, min, max, help, offsetof(struct sluice_service, member)},
    SLUICE_SERVICE_OPTIONS(ROW)
#undef ROW
};

static struct sluice_service *service_find(struct sluice_settings *all, const char *name)
{
    for (uint32_t i = 0; i < all->services_count; i++) {
        if (sluice_service_name_is_same(all->services[i].name, name)) {
            return &all->services[i];
        }
    }
    return NULL;
}

/* Names that /health and the metrics give to our own dependencies. */
static int is_reserved(const char *name)
{
    static const char *const ours[] = {"nats", "llm", "store", "publish"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (sluice_service_name_is_same(ours[i], name)) {
            return 1;
        }
    }
    return 0;
}

/* Take the newest service away again. */
static void service_undo(struct sluice_settings_box *box)
{
    uint32_t i = --box->settings.services_count;
    for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
        free(box->services[i].texts[k]);
    }
    memset(&box->services[i], 0, sizeof box->services[i]);
    memset(&box->settings.services[i], 0, sizeof box->settings.services[i]);
}

/* The service of that name, made with its defaults when it is new; NULL: refused. In the file it
 * has one spelling. */
static struct sluice_service *service_get(struct sluice_settings_box *box, const char *name,
                                          enum option_layer layer, const struct option_source *s)
{
    struct sluice_settings *all = &box->settings;
    struct sluice_service *service = service_find(all, name);
    if (service != NULL && (layer != LAYER_FILE || strcmp(service->name, name) == 0)) {
        return service;
    }
    if (service != NULL) {
        sluice_report_add(s->report, &s->place,
                          "expected a name that differs from %s in more than case, - and _",
                          service->name);
        return NULL;
    }
    if (!option_is_name(name) || is_reserved(name)) {
        sluice_report_add(s->report, &s->place,
                          "\"%.80s\", expected a service's name of [A-Za-z0-9_-], "
                          "at most 64 bytes, and not nats, llm, store or publish",
                          name);
        return NULL;
    }
    if (all->services_count == SLUICE_SERVICES_MAX) {
        sluice_report_add(s->report, &s->place, "expected at most %u services",
                          SLUICE_SERVICES_MAX);
        return NULL;
    }
    struct service_origin *origin = &box->services[all->services_count];
    service = &all->services[all->services_count++];
    (void)snprintf(service->name, sizeof service->name, "%s", name);
    for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
        if (!option_set(&sluice_service_rows[k], sluice_service_rows[k].default_value, service,
                        &origin->texts[k],
                        s)) { /* no memory, which is reported: half a service is none */
            service_undo(box);
            return NULL;
        }
    }
    return service;
}

static void service_set(struct sluice_settings_box *box, struct sluice_service *service, size_t row,
                        const char *value, int is_file, enum option_layer layer,
                        const struct option_source *s)
{
    struct service_origin *origin = &box->services[service - box->settings.services];
    if (origin->layers[row] == layer) {
        sluice_report_add(s->report, &s->place, "set twice%s",
                          sluice_service_rows[row].kind == OPTION_SECRET
                              ? ", itself or together with its file"
                              : "");
        return;
    }
    const struct option *o = &sluice_service_rows[row];
    int is_set = is_file ? option_set_from_file(o, value, service, &origin->texts[row], s)
                         : option_set(o, value, service, &origin->texts[row], s);
    if (is_set) {
        origin->layers[row] = (uint8_t)layer;
        origin->at[row] = (struct option_at){s->place.line, s->place.column};
    } else {
        origin->refused[row] = 1;
    }
}

/* The row that `key` names, whole or with the suffix of a secret's file; SERVICE_OPTIONS_COUNT:
 * none. */
static size_t row_find(const char *key, int by_env, int *is_file)
{
    size_t len = strlen(key);
    for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
        const struct option *o = &sluice_service_rows[k];
        const char *name = by_env ? o->env : o->key;
        size_t n = strlen(name);
        *is_file = o->kind == OPTION_SECRET && len == n + 5 &&
                   strcmp(key + n, by_env ? "_FILE" : "_file") == 0;
        if (strncmp(key, name, n) == 0 && (len == n || *is_file)) {
            return k;
        }
    }
    return SERVICE_OPTIONS_COUNT;
}

/* The rows' names as people write them in this layer: "url, timeout, token, token_file, …". */
static const char *rows_text(int by_env, char *text, size_t size)
{
    size_t len = 0;
    for (size_t k = 0; k < SERVICE_OPTIONS_COUNT; k++) {
        const struct option *o = &sluice_service_rows[k];
        const char *name = by_env ? o->env : o->key;
        const char *file = o->kind != OPTION_SECRET ? NULL : by_env ? "_FILE" : "_file";
        len += (size_t)snprintf(text + len, size - len, "%s%s", k == 0 ? "" : ", ", name);
        if (file != NULL) {
            len += (size_t)snprintf(text + len, size - len, ", %s%s", name, file);
        }
    }
    return text;
}

void option_service_item(struct sluice_settings_box *box, const char *rest, const char *value,
                         enum option_layer layer, const struct option_source *s)
{
    const char *dot = strrchr(rest, '.');
    char names[512];
    if (dot == NULL) {
        sluice_report_add(s->report, &s->place, "expected keys like url");
        return;
    }
    char name[256];
    (void)snprintf(name, sizeof name, "%.*s", (int)(dot - rest), rest);
    int is_file;
    size_t row = row_find(dot + 1, 0, &is_file);
    if (row == SERVICE_OPTIONS_COUNT) {
        sluice_report_add(s->report, &s->place, "unknown key, expected %s",
                          rows_text(0, names, sizeof names));
        return;
    }
    struct sluice_service *service = service_get(box, name, layer, s);
    if (service != NULL) {
        service_set(box, service, row, value, is_file, layer, s);
    }
}

/* SLUICE_SERVICE_<NAME>_<KEY>: of a service of the file, or of a new one named in lower case with
 * dashes. The first _ behind which a key stands ends the name. */
void option_service_environment(struct sluice_settings_box *box, const char *variable, size_t len,
                                const char *value, const struct option_source *s)
{
    char whole[256];
    char names[512];
    (void)snprintf(whole, sizeof whole, "%.*s", (int)len, variable);
    for (char *p = whole; (p = strchr(p, '_')) != NULL; p++) {
        int is_file;
        size_t row = p == whole ? SERVICE_OPTIONS_COUNT : row_find(p + 1, 1, &is_file);
        if (row == SERVICE_OPTIONS_COUNT) {
            continue;
        }
        *p = '\0';
        for (char *c = whole; *c != '\0'; c++) {
            *c = (char)(*c == '_' ? '-' : tolower((unsigned char)*c));
        }
        struct sluice_service *service = service_get(box, whole, LAYER_ENVIRONMENT, s);
        if (service != NULL) {
            service_set(box, service, row, value, is_file, LAYER_ENVIRONMENT, s);
        }
        return;
    }
    if (!sluice_settings_is_kubernetes(s->place.option, value)) {
        sluice_report_add(s->report, &s->place,
                          "unknown, expected SLUICE_SERVICE_<NAME>_ and one of %s",
                          rows_text(1, names, sizeof names));
    }
}

/* NAME-KEY; the key's _ are written as -. */
void option_service_flag(struct sluice_settings_box *box, const char *flag, size_t len,
                         const char *value, const struct option_source *s)
{
    char whole[256];
    char names[512];
    for (size_t at = 1; at + 1 < len; at++) {
        if (flag[at] != '-') {
            continue;
        }
        (void)snprintf(whole, sizeof whole, "%.*s", (int)(len - at - 1), flag + at + 1);
        for (char *c = whole; *c != '\0'; c++) {
            *c = (char)(*c == '-' ? '_' : *c);
        }
        int is_file;
        size_t row = row_find(whole, 0, &is_file);
        if (row == SERVICE_OPTIONS_COUNT) {
            continue;
        }
        if (sluice_service_rows[row].kind == OPTION_SECRET) {
            sluice_report_add(s->report, &s->place, "secrets are not taken from the command line");
            return;
        }
        (void)snprintf(whole, sizeof whole, "%.*s", (int)at, flag);
        struct sluice_service *service = service_get(box, whole, LAYER_FLAG, s);
        if (service != NULL) {
            service_set(box, service, row, value, 0, LAYER_FLAG, s);
        }
        return;
    }
    sluice_report_add(s->report, &s->place, "unknown flag, expected --services-NAME- and one of %s",
                      rows_text(0, names, sizeof names));
}

SLUICE_PRINTF(4, 5)
static void complain(struct sluice_report *report, const struct sluice_service *service,
                     const char *key, const char *format, ...)
{
    char option[128];
    char text[512];
    (void)snprintf(option, sizeof option, "services.%s.%s", service->name, key);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    sluice_report_add(report, &(struct sluice_place){.option = option}, "%s", text);
}

void option_service_check(struct sluice_settings_box *box, struct sluice_report *report)
{
    for (uint32_t i = 0; i < box->settings.services_count; i++) {
        const struct sluice_service *service = &box->settings.services[i];
        if (service->url[0] == '\0' && !box->services[i].refused[SERVICE_ROW_url]) {
            complain(report, service, "url", "not set, expected the service's base URL");
        }
        if (service->health_path[0] != '/') {
            complain(report, service, "health_path", "\"%.100s\", expected a path like /health",
                     service->health_path);
        }
        if (service->token[0] != '\0' && option_url_has_login(service->url) &&
            strcasecmp(service->auth_header, "Authorization") == 0) {
            complain(report, service, "url",
                     "a login stands in it beside services.%s.token, expected one of them",
                     service->name);
        }
        if (option_is_our_header(service->auth_header)) {
            complain(report, service, "auth_header",
                     "\"%s\", expected a header that is not set by the runtime",
                     service->auth_header);
        }
    }
}
