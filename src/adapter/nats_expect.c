/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_expect.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Telling ---- */

void sluice_nats_tell(const struct sluice_nats_provision *p, const char *verb, const char *format,
                      ...)
{
    char what[SLUICE_ERR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (p->told != NULL) {
        p->told(p->ctx, verb, what);
    }
}

static int is_noted(const struct sluice_nats_provision *p, const char *object)
{
    for (size_t at = 0; at < p->objects_len; at += strlen(p->objects + at) + 1) {
        if (strcmp(p->objects + at, object) == 0) {
            return 1;
        }
    }
    return 0;
}

void sluice_nats_differs(struct sluice_nats_provision *p, const char *object, sluice_rc rc,
                         const char *what)
{
    size_t size = strlen(object) + 1;
    sluice_nats_tell(p, "differs", "%s", what);
    if (size <= sizeof p->objects - p->objects_len && !is_noted(p, object)) {
        memcpy(p->objects + p->objects_len, object, size);
        p->objects_len += size;
    }
    if (p->differences++ == 0) {
        (void)sluice_err_set(&p->first, rc, "%s", what);
    }
}

sluice_rc sluice_nats_differences(const struct sluice_nats_provision *p, struct sluice_err *err)
{
    *err = p->first;
    if (p->differences == 1) {
        return err->rc;
    }
    char tail[SLUICE_ERR_TEXT_SIZE];
    size_t first = strlen(err->text);
    size_t len = (size_t)snprintf(tail, sizeof tail, " (and %u more", p->differences - 1);
    const char *between = ": ";
    for (size_t at = strlen(p->objects) + 1; at < p->objects_len;
         at += strlen(p->objects + at) + 1) {
        size_t more = strlen(p->objects + at) + strlen(between);
        if (first + len + more + sizeof ", …)" > sizeof tail) {
            len += (size_t)snprintf(tail + len, sizeof tail - len, "%s…", between);
            break;
        }
        len += (size_t)snprintf(tail + len, sizeof tail - len, "%s%s", between, p->objects + at);
        between = ", ";
    }
    (void)snprintf(err->text + first, sizeof err->text - first, "%s)", tail);
    return err->rc;
}

/* The server counts these in nanoseconds. */
static int is_time(const char *field)
{
    return strcmp(field, "ack_wait") == 0 || strcmp(field, "max_age") == 0 ||
           strcmp(field, "duplicate_window") == 0 || strcmp(field, "inactive_threshold") == 0;
}

/* A value as it is shown: times in seconds, "absent". */
static void show(char *out, size_t size, const char *field, const cJSON *value)
{
    if (cJSON_IsNumber(value) && is_time(field)) {
        (void)snprintf(out, size, "%.15g s", value->valuedouble / (1000 * SLUICE_NATS_MS));
        return;
    }
    char *text = value == NULL ? NULL : cJSON_PrintUnformatted(value);
    (void)snprintf(out, size, "%s", text == NULL ? "absent" : text);
    cJSON_free(text);
}

void sluice_nats_field_differs(const struct sluice_nats_object *o, enum sluice_nats_weight weight,
                               const char *field, const char *expected)
{
    char found[128], what[SLUICE_ERR_TEXT_SIZE];
    show(found, sizeof found, field, cJSON_GetObjectItemCaseSensitive(o->config, field));
    (void)snprintf(what, sizeof what, "%s %s: %s is %s, expected %s", o->kind, o->name, field,
                   found, expected);
    if (weight == SLUICE_NATS_NOTE) {
        sluice_nats_tell(o->p, "note", "%s", what);
    } else {
        char object[SLUICE_ERR_TEXT_SIZE];
        (void)snprintf(object, sizeof object, "%s %s", o->kind, o->name);
        sluice_nats_differs(o->p, object, SLUICE_ERR_CONFIG, what);
    }
}

/* ---- Fields ---- */

double sluice_nats_number_of(const struct sluice_nats_object *o, const char *field)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(o->config, field);
    return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

const char *sluice_nats_text_of(const struct sluice_nats_object *o, const char *field)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(o->config, field);
    return cJSON_IsString(value) ? value->valuestring : "";
}

static int flag_of(const struct sluice_nats_object *o, const char *field)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o->config, field)) != 0;
}

void sluice_nats_put(cJSON *json, const char *field, cJSON *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(json, field);
    if (value != NULL) {
        cJSON_AddItemToObject(json, field, value);
    }
}

int sluice_nats_may_fix(struct sluice_nats_object *o, const char *field, cJSON *value)
{
    if (o->p->mode != SLUICE_NATS_UPDATE) {
        cJSON_Delete(value);
        return 0;
    }
    sluice_nats_put(o->config, field, value);
    o->is_changed = 1;
    return 1;
}

void sluice_nats_expect_number(struct sluice_nats_object *o, enum sluice_nats_weight weight,
                               const char *field, double wanted, const char *expected)
{
    if (sluice_nats_number_of(o, field) != wanted &&
        !sluice_nats_may_fix(o, field, cJSON_CreateNumber(wanted))) {
        sluice_nats_field_differs(o, weight, field, expected);
    }
}

void sluice_nats_expect_room(struct sluice_nats_object *o, enum sluice_nats_weight weight,
                             const char *field, double least, const char *expected)
{
    double found = sluice_nats_number_of(o, field);
    if (found > 0 && found < least && !sluice_nats_may_fix(o, field, cJSON_CreateNumber(least))) {
        sluice_nats_field_differs(o, weight, field, expected);
    }
}

void sluice_nats_expect_off(struct sluice_nats_object *o, const char *field)
{
    if (flag_of(o, field) && !sluice_nats_may_fix(o, field, cJSON_CreateFalse())) {
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, field, "false");
    }
}

void sluice_nats_expect_text(struct sluice_nats_object *o, enum sluice_nats_weight weight,
                             const char *field, const char *wanted)
{
    if (strcmp(sluice_nats_text_of(o, field), wanted) != 0) {
        char expected[192];
        (void)snprintf(expected, sizeof expected, "\"%s\"", wanted);
        sluice_nats_field_differs(o, weight, field, expected);
    }
}
