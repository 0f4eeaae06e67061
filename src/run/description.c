/* SPDX-License-Identifier: Apache-2.0 */
#include "run/description.h"

#include "codec/header.h"
#include "codec/protobuf.h"
#include <stdio.h>
#include <string.h>

#define OUTPUTS_MAX  16u
#define SERVICES_MAX 13u /* as many as a configuration can have */
#define PROMPTS_MAX  64u /* as many as a host loads */

static int is_name(const char *name)
{
    size_t len = name == NULL ? 0 : strlen(name);
    return len >= 1 && len <= SLUICE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* A list of the description: names as outputs, services and prompts have them, none twice. */
static sluice_rc list_check(const sluice_worker *w, const char *path, const char *what,
                            const char *const *names, uint32_t max, struct sluice_err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    for (uint32_t i = 0; names != NULL && names[i] != NULL; i++) {
        size_t len = strlen(names[i]);
        int is_good = len >= 1 && len <= SLUICE_NAME_MAX && strspn(names[i], allowed) == len;
        for (uint32_t k = 0; k < i; k++) {
            is_good = is_good && strcmp(names[k], names[i]) != 0;
        }
        if (!is_good || i == max) {
            return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                                  "worker %s (%s): %s: \"%.64s\", expected at most %u different "
                                  "names of [A-Za-z0-9_-]{1,64}",
                                  path, w->name, what, names[i], max);
        }
    }
    return SLUICE_OK;
}

/* Which member of the description is meant, as its author wrote it. */
struct member {
    const sluice_worker *w;
    const char *path;
    char name[32];
};

static struct member route_member(const sluice_worker *w, const char *path, unsigned route,
                                  const char *name)
{
    struct member m = {.w = w, .path = path};
    (void)snprintf(m.name, sizeof m.name, "routes[%u].%s", route, name);
    return m;
}

static sluice_rc input_check(const struct member *m, const struct ProtobufCMessageDescriptor *input,
                             struct sluice_err *err)
{
    if (input == NULL || sluice_pb_is_type(input)) {
        return SLUICE_OK;
    }
    return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                          "worker %s (%s): %s: no descriptor of a protobuf type, expected "
                          "&PREFIX__descriptor",
                          m->path, m->w->name, m->name);
}

/* Without it every message would be one of its own: nothing would be idempotent. What is decoded
 * where any type may come is looked at then. */
static sluice_rc key_check(const struct member *m, const char *key,
                           const struct ProtobufCMessageDescriptor *input, struct sluice_err *err)
{
    if (key == NULL || (key[0] != '\0' && (input == NULL || sluice_pb_has_text(input, key)))) {
        return SLUICE_OK;
    }
    return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                          "worker %s (%s): %s: \"%.64s\", expected a text field of %s, no list",
                          m->path, m->w->name, m->name, key,
                          input == NULL ? "its input" : sluice_pb_type_name(input));
}

static sluice_rc route_check(const sluice_worker *w, const char *path, unsigned i,
                             struct sluice_err *err)
{
    const sluice_route *r = &w->routes[i];
    struct member input = route_member(w, path, i, "input");
    struct member key = route_member(w, path, i, "key_field");
    if (r->on_message == NULL) {
        return sluice_err_set(
            err, SLUICE_ERR_VALIDATION,
            "worker %s (%s): routes[%u].on_message: NULL, expected a function, or "
            "a row of zeros as the end",
            path, w->name, i);
    }
    if (r->subject != NULL && !sluice_subject_pattern_is_valid(r->subject)) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "worker %s (%s): routes[%u].subject: \"%.64s\", expected a subject, "
                              "or a pattern of * and >",
                              path, w->name, i, r->subject);
    }
    sluice_rc rc = input_check(&input, r->input, err);
    const char *field = r->key_field == NULL ? w->key_field : r->key_field;
    return rc != SLUICE_OK ? rc : key_check(&key, field, r->input, err);
}

static int is_end(const sluice_route *r)
{
    return r->on_message == NULL && r->input == NULL && r->subject == NULL && r->key_field == NULL;
}

static sluice_rc types_check(const sluice_worker *w, const char *path, struct sluice_err *err)
{
    struct member input = {w, path, "input"};
    struct member key = {w, path, "key_field"};
    sluice_rc rc = input_check(&input, w->input, err);
    if (rc == SLUICE_OK) {
        rc = key_check(&key, w->key_field, w->input, err);
    }
    for (unsigned i = 0; rc == SLUICE_OK && w->routes != NULL && !is_end(&w->routes[i]); i++) {
        rc = route_check(w, path, i, err);
    }
    return rc;
}

sluice_rc sluice_description_check(const sluice_worker *w, const char *path, struct sluice_err *err)
{
    if (!is_name(w->name)) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "worker %s: name: \"%.64s\", expected [a-z0-9-]{1,64}", path,
                              w->name == NULL ? "" : w->name);
    }
    if (w->version == NULL || w->version[0] == '\0') {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "worker %s (%s): version: empty, expected a text like \"1.0\"", path,
                              w->name);
    }
    if ((w->on_message == NULL) == (w->routes == NULL)) {
        return sluice_err_set(err, SLUICE_ERR_VALIDATION,
                              "worker %s (%s): expected either on_message or routes", path,
                              w->name);
    }
    if (w->kind != SLUICE_KIND_WORKER) {
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                              "worker %s (%s): kind %u, this host knows kind 0 (worker)", path,
                              w->name, w->kind);
    }
    sluice_rc rc = list_check(w, path, "outputs", w->outputs, OUTPUTS_MAX, err);
    if (rc == SLUICE_OK) {
        rc = list_check(w, path, "services", w->services, SERVICES_MAX, err);
    }
    if (rc == SLUICE_OK) {
        rc = list_check(w, path, "prompts", w->prompts, PROMPTS_MAX, err);
    }
    return rc != SLUICE_OK ? rc : types_check(w, path, err);
}
