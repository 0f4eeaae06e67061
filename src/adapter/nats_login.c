/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_login.h"

#include "codec/percent.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ESCAPED_LEN 6 /* of \\u0001 */

/* User and password of a URL, or a token alone. */
struct login {
    char user[SLUICE_NATS_URL_SIZE];
    char *password; /* within `user`; NULL: that is a token */
};

static int is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* The last @, since a host has none. */
static const char *find_at(const char *host)
{
    return strrchr(host, '@');
}

/* 0 for a bad escape. */
static int read_login(const char *host, const char *at, struct login *out)
{
    memcpy(out->user, host, (size_t)(at - host));
    out->user[at - host] = '\0';
    out->password = strchr(out->user, ':');
    if (out->password != NULL) {
        *out->password++ = '\0';
    }
    return sluice_percent_decode(out->user) &&
           (out->password == NULL || sluice_percent_decode(out->password));
}

sluice_rc sluice_nats_login_check(const char *host, struct sluice_err *err)
{
    struct login login;
    const char *at = find_at(host);
    if (at == NULL) {
        return SLUICE_OK;
    }
    int is_read = read_login(host, at, &login);
    OPENSSL_cleanse(&login, sizeof login);
    return is_read ? SLUICE_OK
                   : sluice_err_set(err, SLUICE_ERR_CONFIG,
                                    "NATS_URL: the user or password for %s has a %% without two "
                                    "hexadecimal digits behind it, or %%00; the sign itself is "
                                    "%%25",
                                    at + 1);
}

void sluice_nats_login_strip(const char *url, char *out, size_t size)
{
    const char *host = strstr(url, "://") + 3, *at = find_at(host);
    (void)snprintf(out, size, "%.*s%s", (int)(host - url), url, at == NULL ? host : at + 1);
}

/* ---- For cnats ---- */

/* `text` as it stands in a JSON string, in a block of malloc: cnats (3.4 to 3.12) puts a login into
 * its greeting as it is, and a quotation mark in a password ends in "Expected 'PONG', got ''". NULL
 * without memory. */
static char *escape(const char *text)
{
    size_t len = 0;
    char *out = malloc(ESCAPED_LEN * strlen(text) + 1);
    for (; out != NULL && *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20) {
            (void)snprintf(out + len, ESCAPED_LEN + 1, "\\u%04x", (unsigned)*text);
            len += ESCAPED_LEN;
            continue;
        }
        if (*text == '"' || *text == '\\') {
            out[len++] = '\\';
        }
        out[len++] = *text;
    }
    if (out != NULL) {
        out[len] = '\0';
    }
    return out;
}

static void free_secret(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

/* A token when `password` is NULL. */
static natsStatus give(natsOptions *opts, const char *user, const char *password)
{
    natsStatus status = NATS_NO_MEMORY;
    char *first = escape(user);
    char *second = password == NULL ? NULL : escape(password);
    if (first != NULL && password == NULL) {
        status = natsOptions_SetToken(opts, first);
    } else if (first != NULL && second != NULL) {
        status = natsOptions_SetUserInfo(opts, first, second);
    }
    free_secret(first);
    free_secret(second);
    return status;
}

static natsStatus give_from(natsOptions *opts, const char *host, const char *at)
{
    struct login login;
    natsStatus status = read_login(host, at, &login) ? give(opts, login.user, login.password)
                                                     : NATS_INVALID_ARG; /* it was checked */
    OPENSSL_cleanse(&login, sizeof login);
    return status;
}

natsStatus sluice_nats_login_set(natsOptions *opts, const char *url,
                                 const struct sluice_nats_options *o, const char *nkey_public)
{
    const char *host = strstr(url, "://") + 3, *at = find_at(host);
    natsStatus status = NATS_OK;
    if (at != NULL) {
        status = give_from(opts, host, at);
    } else if (is_set(o->user)) {
        status = give(opts, o->user, o->password);
    } else if (is_set(o->token)) {
        status = give(opts, o->token, NULL);
    }
    if (status == NATS_OK && is_set(o->nkey_file)) {
        status = natsOptions_SetNKeyFromSeed(opts, nkey_public, o->nkey_file);
    }
    if (status == NATS_OK && is_set(o->creds_file)) {
        status = natsOptions_SetUserCredentialsFromFiles(opts, o->creds_file, NULL);
    }
    return status;
}
