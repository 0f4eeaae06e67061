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

static sluice_rc open_file(const char *setting, const char *path, FILE **out,
                           struct sluice_err *err)
{
    *out = fopen(path, "re");
    return *out != NULL ? SLUICE_OK
                        : sluice_err_set(err, SLUICE_ERR_CONFIG, "%s: %s: %s", setting, path,
                                         strerror(errno));
}

/* ---- Seed and credentials ---- */

/* Have `judge` look at a file's text. */
static sluice_rc look_at_secret(const char *setting, const char *path,
                                sluice_rc (*judge)(const char *text, size_t len, char *out,
                                                   struct sluice_err *err),
                                char *out, struct sluice_err *err)
{
    FILE *file;
    sluice_rc rc = open_file(setting, path, &file, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    char *text = malloc(SECRET_FILE_MAX);
    if (text == NULL) {
        (void)fclose(file);
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy of it stays behind */
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
    return rc == SLUICE_OK ? rc : sluice_err_prefix(err, rc, "%s: %s", setting, path);
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
static void *read_pem(const char *setting, const char *path, void *(*read)(FILE *file),
                      const char *lack, struct sluice_err *err)
{
    FILE *file;
    if (open_file(setting, path, &file, err) != SLUICE_OK) {
        return NULL;
    }
    void *found = read(file);
    (void)fclose(file);
    ERR_clear_error();
    if (found == NULL) {
        (void)sluice_err_set(err, SLUICE_ERR_CONFIG, "%s: %s: %s", setting, path, lack);
    }
    return found;
}

static sluice_rc look_at_ca(const char *path, struct sluice_err *err)
{
    X509 *certificate = read_pem("NATS_CA", path, read_certificate, NO_CERTIFICATE, err);
    sluice_rc rc = certificate == NULL ? SLUICE_ERR_CONFIG : SLUICE_OK;
    X509_free(certificate);
    return rc;
}

static sluice_rc look_at_pair(const struct sluice_nats_options *o, struct sluice_err *err)
{
    X509 *certificate = read_pem("NATS_CERT", o->tls_cert, read_certificate, NO_CERTIFICATE, err);
    EVP_PKEY *key =
        certificate == NULL ? NULL : read_pem("NATS_KEY", o->tls_key, read_key, NO_KEY, err);
    sluice_rc rc = key == NULL ? SLUICE_ERR_CONFIG : SLUICE_OK;
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
        rc = look_at_secret("NATS_NKEY", o->nkey_file, judge_seed, nkey_public, err);
    }
    if (rc == SLUICE_OK && is_set(o->creds_file)) {
        rc = look_at_secret("NATS_CREDS", o->creds_file, judge_creds, NULL, err);
    }
    if (rc == SLUICE_OK && is_set(o->tls_ca)) {
        rc = look_at_ca(o->tls_ca, err);
    }
    return rc == SLUICE_OK && is_set(o->tls_cert) ? look_at_pair(o, err) : rc;
}
