/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_context.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE     4096u
#define FILE_SIZE_MAX 65536u
#define VALUE_SIZE    4096u

/* X(member, key of the file). */
#define KEYS(X)                                                                                    \
    X(url, "url")                                                                                  \
    X(token, "token")                                                                              \
    X(user, "user")                                                                                \
    X(password, "password")                                                                        \
    X(creds, "creds")                                                                              \
    X(nkey, "nkey")                                                                                \
    X(cert, "cert")                                                                                \
    X(key, "key")                                                                                  \
    X(ca, "ca")                                                                                    \
    X(domain, "jetstream_domain")                                                                  \
    X(api_prefix, "jetstream_api_prefix")                                                          \
    X(inbox_prefix, "inbox_prefix")

struct sluice_nats_context {
#define MEMBER(member, key) char *member;
    KEYS(MEMBER)
#undef MEMBER
    char domain_prefix[300]; /* "$JS.<domain>.API" */
};

static const char *const unsupported[] = {"nsc", "socks_proxy", "user_jwt", "user_seed"};

/* ---- Reading the file ---- */

static int make_path(const char *name, char out[PATH_SIZE])
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    int len = config != NULL && config[0] != '\0'
                  ? snprintf(out, PATH_SIZE, "%s/nats/context/%s.json", config, name)
                  : snprintf(out, PATH_SIZE, "%s/.config/nats/context/%s.json",
                             home == NULL ? "" : home, name);
    return len > 0 && (size_t)len < PATH_SIZE;
}

static sluice_rc read_file(const char *path, char *text, size_t *len, struct sluice_err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return sluice_err_set(err, errno == ENOENT ? SLUICE_ERR_NOT_FOUND : SLUICE_ERR_CONFIG,
                              "context file %s: %s", path, strerror(errno));
    }
    *len = fread(text, 1, FILE_SIZE_MAX, file);
    int is_whole = !ferror(file) && *len < FILE_SIZE_MAX;
    (void)fclose(file);
    return is_whole ? SLUICE_OK
                    : sluice_err_set(err, SLUICE_ERR_CONFIG,
                                     "context file %s: unreadable, or over %u bytes", path,
                                     FILE_SIZE_MAX - 1);
}

/* ---- Values ---- */

static int is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Append the value of the variable that `at` names ("$NAME" or "${NAME}"); returns what follows it.
 */
static const char *append_variable(const char *at, char *out, size_t *len)
{
    char name[128];
    size_t used = 0;
    int has_brace = at[1] == '{';
    const char *start = at + 1 + has_brace;
    const char *end = start;
    while (is_name_char(*end) && used + 1 < sizeof name) {
        name[used++] = *end++;
    }
    name[used] = '\0';
    if (used == 0 || (has_brace && *end != '}')) {
        out[(*len)++] = *at; /* a plain dollar sign, as in a subject */
        return at + 1;
    }
    const char *value = getenv(name);
    size_t value_len = value == NULL ? 0 : strlen(value);
    if (*len + value_len < VALUE_SIZE - 1) {
        memcpy(out + *len, value == NULL ? "" : value, value_len);
        *len += value_len;
    }
    return end + has_brace;
}

/* As the `nats` command does for paths: a leading "~/", then variables. Memory of malloc. */
static char *expand(const char *text)
{
    char out[VALUE_SIZE];
    size_t len = 0;
    const char *home = getenv("HOME");
    if (strncmp(text, "~/", 2) == 0 && home != NULL && strlen(home) < sizeof out / 2) {
        len = strlen(home);
        memcpy(out, home, len);
        text++;
    }
    while (*text != '\0' && len + 1 < sizeof out) {
        if (*text == '$') {
            text = append_variable(text, out, &len);
        } else {
            out[len++] = *text++;
        }
    }
    out[len] = '\0';
    char *copy = strdup(out);
    OPENSSL_cleanse(out, sizeof out);
    return copy;
}

static char *value_of(const cJSON *json, const char *key)
{
    static const char *const plain[] = {"token", "user", "password", "jetstream_api_prefix"};
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    if (strncmp(text, "env://", 6) == 0) {
        const char *value = getenv(text + 6);
        return strdup(value == NULL ? "" : value);
    }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(plain[i], key) == 0) {
            return strdup(text); /* a dollar sign in a password is one */
        }
    }
    return expand(text);
}

static sluice_rc check_keys(const cJSON *json, const char *path, struct sluice_err *err)
{
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, unsupported[i]);
        if (cJSON_IsString(item) && item->valuestring[0] != '\0') {
            return sluice_err_set(err, SLUICE_ERR_CONFIG, "context file %s: %s is not supported",
                                  path, unsupported[i]);
        }
    }
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "tls_first"))) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "context file %s: tls_first is not supported",
                              path);
    }
    return SLUICE_OK;
}

static sluice_rc read_json(const cJSON *json, const char *path, struct sluice_nats_context *context,
                           struct sluice_err *err)
{
    if (!cJSON_IsObject(json)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "context file %s: not a JSON object", path);
    }
    sluice_rc rc = check_keys(json, path, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
#define READ(member, key)                                                                          \
    if ((context->member = value_of(json, key)) == NULL) {                                         \
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "context file %s: out of memory", path);      \
    }
    KEYS(READ)
#undef READ
    if (context->domain[0] != '\0') {
        (void)snprintf(context->domain_prefix, sizeof context->domain_prefix, "$JS.%s.API",
                       context->domain);
    }
    return SLUICE_OK;
}

sluice_rc sluice_nats_context_load(const char *name, struct sluice_nats_context **out,
                                   struct sluice_err *err)
{
    char path[PATH_SIZE];
    char text[FILE_SIZE_MAX];
    size_t len = 0;
    if (name[0] == '\0' || name[0] == '.' || strpbrk(name, "/\\") != NULL ||
        !make_path(name, path)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "context \"%s\": expected the name of a context", name);
    }
    sluice_rc rc = read_file(path, text, &len, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct sluice_nats_context *context = calloc(1, sizeof *context);
    cJSON *json = cJSON_ParseWithLength(text, len);
    OPENSSL_cleanse(text, sizeof text);
    rc = context == NULL ? sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory")
                         : read_json(json, path, context, err);
    cJSON_Delete(json);
    if (rc != SLUICE_OK) {
        sluice_nats_context_free(context);
        return rc;
    }
    *out = context;
    return SLUICE_OK;
}

void sluice_nats_context_free(struct sluice_nats_context *context)
{
    if (context == NULL) {
        return;
    }
#define FREE(member, key)                                                                          \
    if (context->member != NULL) {                                                                 \
        OPENSSL_cleanse(context->member, strlen(context->member));                                 \
        free(context->member);                                                                     \
    }
    KEYS(FREE)
#undef FREE
    free(context);
}

/* ---- Applying ---- */

static int is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void fill(const char **option, const char *value)
{
    if (!is_set(*option) && is_set(value)) {
        *option = value;
    }
}

void sluice_nats_context_apply(const struct sluice_nats_context *c, const char *default_url,
                               struct sluice_nats_options *o)
{
    if (is_set(c->url) &&
        (!is_set(o->url) || (default_url != NULL && strcmp(o->url, default_url) == 0))) {
        o->url = c->url;
    }
    int has_login = o->url != c->url && is_set(o->url) && strchr(o->url, '@') != NULL;
    if (!has_login && !is_set(o->user) && !is_set(o->token) && !is_set(o->nkey_file) &&
        !is_set(o->creds_file)) {
        fill(&o->user, c->user);
        fill(&o->password, c->password);
        fill(&o->token, c->token);
        fill(&o->nkey_file, c->nkey);
        fill(&o->creds_file, c->creds);
    }
    fill(&o->tls_ca, c->ca);
    if (!is_set(o->tls_cert) && !is_set(o->tls_key)) {
        fill(&o->tls_cert, c->cert);
        fill(&o->tls_key, c->key);
    }
    fill(&o->api_prefix, c->api_prefix);
    fill(&o->api_prefix, c->domain_prefix);
    fill(&o->inbox_prefix, c->inbox_prefix);
}
