/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/mongo_link.h"

#include "codec/redact.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDING_MS          20 /* libmongoc counts its timeout by a clock of its own */
#define URI_SIZE_MAX         8192u
#define SELECTION_TIMEOUT_MS 5000u
#define CONNECT_TIMEOUT_MS   3000u
#define TIMEOUT_MS_MIN       100u
#define TIMEOUT_MS_MAX       3600000u
#define SECRET_LEN_MIN       3u /* replacing a shorter one would blank half of the text */
#define STARS                "***"
#define TEXT_SIZE            1024

/* ---- The library: begun once, ended at exit if nothing uses it */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static atomic_int links_open;

/* libmongoc writes to stderr by itself, URIs included. What matters comes with the errors. */
static void drop_log(mongoc_log_level_t level, const char *domain, const char *text, void *ctx)
{
    (void)level;
    (void)domain;
    (void)text;
    (void)ctx;
}

static void library_end(void)
{
    if (atomic_load(&links_open) == 0) {
        mongoc_cleanup();
    }
}

static void library_begin(void)
{
    mongoc_log_set_handler(drop_log, NULL);
    mongoc_init();
    (void)atexit(library_end);
}

/* ---- Texts */

/* Replace `len` bytes at `at` by stars, within the buffer. */
static char *blank(char *text, size_t size, char *at, size_t len)
{
    size_t stars = strlen(STARS);
    size_t tail = strlen(at + len);
    size_t room = size - 1 - (size_t)(at - text);
    stars = stars < room ? stars : room;
    tail = tail < room - stars ? tail : room - stars;
    memmove(at + stars, at + len, tail);
    memcpy(at, STARS, stars);
    at[stars + tail] = '\0';
    return at + stars;
}

void sluice_mongo_link_text(const struct sluice_mongo_link *link, const char *reason, char *out,
                            size_t size)
{
    char whole[TEXT_SIZE];
    (void)snprintf(whole, sizeof whole, "mongodb %s: %s", link->hosts, reason); /* cut at the end */
    char *values = strstr(whole, " dup key:"); /* what follows is out of a document */
    if (values != NULL) {
        *values = '\0';
    }
    sluice_redact_text(whole, out, size);
    char *at = out;
    while (link->secret != NULL && (at = strstr(at, link->secret)) != NULL) {
        at = blank(out, size, at, strlen(link->secret));
    }
}

/* ---- Errors */

enum sluice_fate sluice_mongo_link_fate(const bson_error_t *error)
{
    switch (error->domain) {
    case MONGOC_ERROR_SERVER_SELECTION:
    case MONGOC_ERROR_POOL:
        return SLUICE_FATE_UNREACHABLE;
    case MONGOC_ERROR_STREAM:
        return error->code == MONGOC_ERROR_STREAM_CONNECT ||
                       error->code == MONGOC_ERROR_STREAM_NAME_RESOLUTION
                   ? SLUICE_FATE_UNREACHABLE
                   : SLUICE_FATE_UNKNOWN;
    case MONGOC_ERROR_PROTOCOL:
        return SLUICE_FATE_UNKNOWN;
    default:
        return SLUICE_FATE_RETRY;
    }
}

sluice_rc sluice_mongo_link_rc(const struct sluice_mongo_link *link, const bson_error_t *error,
                               int64_t spent_ms)
{
    int is_login =
        (error->domain == MONGOC_ERROR_CLIENT && error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE) ||
        error->domain == MONGOC_ERROR_SASL || error->domain == MONGOC_ERROR_SCRAM ||
        (error->domain == MONGOC_ERROR_SERVER && (error->code == 13 || error->code == 18));
    if (is_login) {
        return SLUICE_ERR_AUTH;
    }
    int is_late =
        (error->domain == MONGOC_ERROR_STREAM &&
         spent_ms + ROUNDING_MS >= link->socket_timeout_ms) ||
        (error->domain == MONGOC_ERROR_SERVER && error->code == MONGOC_ERROR_MAX_TIME_MS_EXPIRED) ||
        error->domain == MONGOC_ERROR_POOL;
    return is_late ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_DB;
}

int sluice_mongo_link_is_down(const bson_error_t *error)
{
    switch (error->domain) {
    case MONGOC_ERROR_CLIENT:
    case MONGOC_ERROR_STREAM:
    case MONGOC_ERROR_PROTOCOL:
    case MONGOC_ERROR_SASL:
    case MONGOC_ERROR_SCRAM:
    case MONGOC_ERROR_SERVER_SELECTION:
    case MONGOC_ERROR_POOL:
        return 1;
    case MONGOC_ERROR_SERVER:
        break;
    default:
        return 0;
    }
    /* Not allowed, not logged in, shutting down, not or no longer the primary. */
    static const uint32_t codes[] = {13, 18, 91, 189, 10107, 11600, 11602, 13435, 13436};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (error->code == codes[i]) {
            return 1;
        }
    }
    return 0;
}

/* ---- Opening */

/* The stricter of what the URI asks for and the limit; it holds from now on. */
static uint32_t bound(mongoc_uri_t *uri, const char *option, uint32_t limit_ms)
{
    int32_t asked = mongoc_uri_get_option_as_int32(uri, option, 0);
    if (asked > 0 && (uint32_t)asked <= limit_ms) {
        return (uint32_t)asked;
    }
    (void)mongoc_uri_set_option_as_int32(uri, option, (int32_t)limit_ms);
    return limit_ms;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void set_options(struct sluice_mongo_link *link, mongoc_uri_t *uri, uint32_t timeout_ms)
{
    uint32_t selection_ms = least(SELECTION_TIMEOUT_MS, timeout_ms / 2);
    (void)bound(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, selection_ms);
    (void)bound(uri, MONGOC_URI_CONNECTTIMEOUTMS, least(CONNECT_TIMEOUT_MS, timeout_ms / 2));
    link->socket_timeout_ms = bound(uri, MONGOC_URI_SOCKETTIMEOUTMS, timeout_ms - selection_ms);
    (void)bound(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, selection_ms);
    /* Earlier than the socket's: a write concern that was not met is an answer. */
    link->write_timeout_ms = (int32_t)(link->socket_timeout_ms - link->socket_timeout_ms / 5);
    (void)mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, 2); /* one thread uses it */
    (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_SERVERSELECTIONTRYONCE, false);
    /* A retry inside the driver would double the time that one call may take; a message that fails
     * is delivered again anyway. Whoever wants it says so in the URI. */
    if (!mongoc_uri_has_option(uri, MONGOC_URI_RETRYWRITES)) {
        (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    }
    if (!mongoc_uri_has_option(uri, MONGOC_URI_RETRYREADS)) {
        (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, false);
    }
    if (mongoc_uri_get_appname(uri) == NULL) {
        (void)mongoc_uri_set_appname(uri, "sluice");
    }
}

static void note_hosts(struct sluice_mongo_link *link, const mongoc_uri_t *uri)
{
    size_t len = 0;
    const char *service = mongoc_uri_get_srv_hostname(uri);
    if (service != NULL) {
        (void)snprintf(link->hosts, sizeof link->hosts, "%s", service);
        return;
    }
    for (const mongoc_host_list_t *host = mongoc_uri_get_hosts(uri);
         host != NULL && len < sizeof link->hosts; host = host->next) {
        int n = snprintf(link->hosts + len, sizeof link->hosts - len, "%s%s", len > 0 ? "," : "",
                         host->host_and_port);
        len += n > 0 ? (size_t)n : 0;
    }
}

static sluice_rc note_secret(struct sluice_mongo_link *link, const mongoc_uri_t *uri)
{
    const char *password = mongoc_uri_get_password(uri);
    size_t len = password == NULL ? 0 : strlen(password);
    if (len < SECRET_LEN_MIN) {
        return SLUICE_OK;
    }
    link->secret = sluice_mem_alloc(link->allocator, len + 1, 1);
    if (link->secret == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    memcpy(link->secret, password, len);
    return SLUICE_OK;
}

/* libmongoc would only log it, at the first connection. */
static sluice_rc check_files(const mongoc_uri_t *uri, struct sluice_err *err)
{
    static const char *const options[] = {MONGOC_URI_TLSCAFILE, MONGOC_URI_TLSCERTIFICATEKEYFILE};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const char *path = mongoc_uri_get_option_as_utf8(uri, options[i], NULL);
        if (path != NULL && access(path, R_OK) != 0) {
            return sluice_err_set(err, SLUICE_ERR_CONFIG, "MongoDB URI: %s %s: %s", options[i],
                                  path, strerror(errno));
        }
    }
    return SLUICE_OK;
}

static sluice_rc open_uri(struct sluice_mongo_link *link, mongoc_uri_t *uri, uint32_t timeout_ms,
                          struct sluice_err *err)
{
    sluice_rc rc = check_files(uri, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    note_hosts(link, uri);
    if (note_secret(link, uri) != SLUICE_OK) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "mongodb store: out of memory");
    }
    set_options(link, uri, timeout_ms);
    bson_error_t error = {0};
    link->pool = mongoc_client_pool_new_with_error(uri, &error);
    if (link->pool == NULL) {
        char text[SLUICE_ERR_TEXT_SIZE];
        sluice_mongo_link_text(link,
                               error.message[0] == '\0' ? "the URI was refused" : error.message,
                               text, sizeof text);
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "%s", text);
    }
    (void)mongoc_client_pool_set_error_api(link->pool, MONGOC_ERROR_API_VERSION_2);
    return SLUICE_OK;
}

sluice_rc sluice_mongo_link_open(struct sluice_mongo_link *link, const char *text,
                                 uint32_t timeout_ms, const struct sluice_allocator *allocator,
                                 struct sluice_err *err)
{
    memset(link, 0, sizeof *link);
    link->allocator = allocator;
    if (text == NULL || text[0] == '\0') {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "MongoDB URI is empty");
    }
    if (strnlen(text, URI_SIZE_MAX) == URI_SIZE_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "MongoDB URI is longer than %u bytes",
                              URI_SIZE_MAX - 1);
    }
    if (timeout_ms < TIMEOUT_MS_MIN || timeout_ms > TIMEOUT_MS_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "MongoDB timeout of %u ms, expected %u to %u ms", timeout_ms,
                              TIMEOUT_MS_MIN, TIMEOUT_MS_MAX);
    }
    (void)pthread_once(&library_once, library_begin);
    bson_error_t error = {0};
    mongoc_uri_t *uri = mongoc_uri_new_with_error(text, &error);
    if (uri == NULL) {
        char words[sizeof error.message];
        sluice_redact_text(error.message, words, sizeof words);
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "MongoDB URI: %s", words);
    }
    sluice_rc rc = open_uri(link, uri, timeout_ms, err);
    mongoc_uri_destroy(uri);
    if (rc == SLUICE_OK) {
        (void)atomic_fetch_add(&links_open, 1);
        return SLUICE_OK;
    }
    sluice_mem_free(allocator, link->secret);
    link->secret = NULL;
    return rc;
}

void sluice_mongo_link_close(struct sluice_mongo_link *link)
{
    if (link->pool == NULL) {
        return;
    }
    mongoc_client_pool_destroy(link->pool);
    if (link->secret != NULL) {
        memset(link->secret, 0, strlen(link->secret));
        sluice_mem_free(link->allocator, link->secret);
    }
    memset(link, 0, sizeof *link);
    (void)atomic_fetch_sub(&links_open, 1);
}
