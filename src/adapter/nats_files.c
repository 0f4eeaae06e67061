/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_files.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_FILE_MAX 65536u /* a JWT with many permissions */
#define NO_CERTIFICATE  "no certificate in it, expected PEM"
#define NO_KEY          "no private key in it, expected PEM without a passphrase"

static int is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static sluice_rc refuse(struct sluice_err *err, const char *path, const char *why)
{
    return sluice_err_set(err, SLUICE_ERR_CONFIG, "%s: %s", path, why);
}

/* What came of a look at the file of a setting. */
static sluice_rc named(const char *setting, sluice_rc rc, struct sluice_err *err)
{
    return rc == SLUICE_OK ? rc : sluice_err_prefix(err, rc, "%s", setting);
}

/* ---- Seed and credentials ---- */

/* Have `judge` look at a file's text. */
static sluice_rc look_at_secret(const char *path,
                                sluice_rc (*judge)(const char *text, size_t len, char *out,
                                                   struct sluice_err *err),
                                char *out, struct sluice_err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return refuse(err, path, strerror(errno));
    }
    char *text = malloc(SECRET_FILE_MAX);
    if (text == NULL) {
        (void)fclose(file);
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy of it stays behind */
    sluice_rc rc;
    errno = 0;
    size_t len = fread(text, 1, SECRET_FILE_MAX, file);
    if (ferror(file)) {
        rc = sluice_err_set(err, SLUICE_ERR_CONFIG, "%s", strerror(errno));
    } else if (len == SECRET_FILE_MAX) {
        rc = sluice_err_set(err, SLUICE_ERR_CONFIG, "expected less than %u bytes", SECRET_FILE_MAX);
    } else {
        rc = judge(text, len, out, err);
    }
    (void)fclose(file);
    OPENSSL_cleanse(text, len);
    free(text);
    return rc == SLUICE_OK ? rc : sluice_err_prefix(err, rc, "%s", path);
}

static sluice_rc judge_seed(const char *text, size_t len, char *out, struct sluice_err *err)
{
    return sluice_nkey_public(text, len, out, err);
}

static sluice_rc judge_creds(const char *text, size_t len, char *out, struct sluice_err *err)
{
    (void)out;
    return sluice_creds_check(text, len, err);
}

/* ---- TLS ---- */

/* Nobody is asked for a passphrase, as cnats' reading would. */
static int no_passphrase(char *out, int size, int is_writing, void *ctx)
{
    (void)out;
    (void)size;
    (void)is_writing;
    (void)ctx;
    return -1;
}

static void *read_certificate(FILE *file)
{
    return PEM_read_X509_AUX(file, NULL, no_passphrase, NULL);
}

static void *read_key(FILE *file)
{
    return PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
}

/* What `read` finds in a file; NULL: it has failed. `lack` says what was not found. */
static void *read_pem(const char *path, void *(*read)(FILE *file), const char *lack,
                      struct sluice_err *err)
{
    FILE *file = fopen(path, "re");
    errno = file == NULL ? errno : 0;
    void *found = file == NULL ? NULL : read(file);
    if (found == NULL) { /* a folder, for one, opens like a file; only reading shows it */
        (void)refuse(err, path, file == NULL || ferror(file) ? strerror(errno) : lack);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    ERR_clear_error();
    return found;
}

static sluice_rc look_at_certificate(const char *path, X509 **out, struct sluice_err *err)
{
    *out = read_pem(path, read_certificate, NO_CERTIFICATE, err);
    return *out == NULL ? SLUICE_ERR_CONFIG : SLUICE_OK;
}

static sluice_rc look_at_key(const char *path, EVP_PKEY **out, struct sluice_err *err)
{
    *out = read_pem(path, read_key, NO_KEY, err);
    return *out == NULL ? SLUICE_ERR_CONFIG : SLUICE_OK;
}

/* ---- All of them ---- */

sluice_rc sluice_nats_file_check(enum sluice_nats_file file, const char *path,
                                 struct sluice_err *err)
{
    char public_key[SLUICE_NKEY_SIZE];
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    sluice_rc rc = SLUICE_OK;
    switch (file) {
    case SLUICE_NATS_FILE_NKEY:
        return look_at_secret(path, judge_seed, public_key, err);
    case SLUICE_NATS_FILE_CREDS:
        return look_at_secret(path, judge_creds, NULL, err);
    case SLUICE_NATS_FILE_CA:
    case SLUICE_NATS_FILE_CERT:
        rc = look_at_certificate(path, &certificate, err);
        break;
    case SLUICE_NATS_FILE_KEY:
        rc = look_at_key(path, &key, err);
        break;
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return rc;
}

static sluice_rc look_at_pair(const struct sluice_nats_options *o, struct sluice_err *err)
{
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    sluice_rc rc = named("NATS_CERT", look_at_certificate(o->tls_cert, &certificate, err), err);
    if (rc == SLUICE_OK) {
        rc = named("NATS_KEY", look_at_key(o->tls_key, &key, err), err);
    }
    if (rc == SLUICE_OK && X509_check_private_key(certificate, key) != 1) {
        rc = sluice_err_set(err, SLUICE_ERR_CONFIG,
                            "NATS_KEY: %s: not the key of the certificate in %s", o->tls_key,
                            o->tls_cert);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

sluice_rc sluice_nats_files_read(const struct sluice_nats_options *o,
                                 char nkey_public[SLUICE_NKEY_SIZE], struct sluice_err *err)
{
    sluice_rc rc = SLUICE_OK;
    nkey_public[0] = '\0';
    if (is_set(o->nkey_file)) {
        rc = named("NATS_NKEY", look_at_secret(o->nkey_file, judge_seed, nkey_public, err), err);
    }
    if (rc == SLUICE_OK && is_set(o->creds_file)) {
        rc = named("NATS_CREDS", sluice_nats_file_check(SLUICE_NATS_FILE_CREDS, o->creds_file, err),
                   err);
    }
    if (rc == SLUICE_OK && is_set(o->tls_ca)) {
        rc = named("NATS_CA", sluice_nats_file_check(SLUICE_NATS_FILE_CA, o->tls_ca, err), err);
    }
    return rc == SLUICE_OK && is_set(o->tls_cert) ? look_at_pair(o, err) : rc;
}
