/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_settings.h"

#include "adapter/nats_files.h"
#include "adapter/nats_greeting.h"
#include "adapter/nats_login.h"
#include "codec/redact.h"
#include "port/signals.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define PING_INTERVAL_MS 2000 /* a frozen server is left after three of them */
#define PINGS_OUT_MAX    2
/* A peer that takes nothing for this long is given up; below the watchdog's stall limit of the loop
 * (8 s). */
#define WRITE_DEADLINE_MS 5000

struct sluice_nats_settings {
    struct sluice_nats_options options; /* texts point into `texts` */
    char *texts[12];
    uint32_t texts_count;
    char *servers[SLUICE_NATS_SERVERS_MAX]; /* complete URLs */
    uint32_t servers_count, servers_next;
    char user_info[SLUICE_NATS_URL_SIZE]; /* "user:password@" of the first URL that has one, for
                                 servers that are learned */
    int use_tls;
    char nkey_public[SLUICE_NKEY_SIZE];
};

static int is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* ---- The list of servers ---- */

static sluice_rc add_server(struct sluice_nats_settings *s, const char *url, struct sluice_err *err)
{
    for (uint32_t i = 0; i < s->servers_count; i++) {
        if (strcmp(s->servers[i], url) == 0) {
            return SLUICE_OK;
        }
    }
    if (s->servers_count == SLUICE_NATS_SERVERS_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "NATS_URL: more than %u servers",
                              SLUICE_NATS_SERVERS_MAX);
    }
    char *copy = strdup(url);
    if (copy == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "NATS_URL: out of memory");
    }
    s->servers[s->servers_count++] = copy;
    return SLUICE_OK;
}

/* One URL of the list: nats:// and port 4222 are filled in, tls:// is noted. */
static sluice_rc parse_server(struct sluice_nats_settings *s, const char *list, const char *text,
                              size_t len, struct sluice_err *err)
{
    char item[SLUICE_NATS_URL_SIZE], shown[SLUICE_ERR_TEXT_SIZE / 2],
        url[SLUICE_NATS_URL_SIZE + 16];
    if (len == 0 || len >= sizeof item || memchr(text, ' ', len) != NULL) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "NATS_URL: an empty or overlong server, or one with blanks");
    }
    memcpy(item, text, len);
    item[len] = '\0';
    const char *host = strstr(item, "://");
    size_t scheme_len = host == NULL ? 0 : (size_t)(host - item);
    host = host == NULL ? item : host + 3;
    const char *at = strrchr(host, '@');
    const char *name = at == NULL ? host : at + 1;
    sluice_redact_url(list, shown, sizeof shown); /* whole: a comma may be one of a password */
    int is_tls = scheme_len == 3 && strncasecmp(item, "tls", 3) == 0;
    if (host != item && !is_tls && (scheme_len != 4 || strncasecmp(item, "nats", 4) != 0)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "NATS_URL: \"%s\": expected nats:// or tls://", shown);
    }
    const char *port = strrchr(name, ']') != NULL ? strrchr(name, ']') + 1 : name;
    port = strrchr(port, ':');
    if (name[0] == '\0' || name[0] == ':' ||
        (port != NULL && (atoi(port + 1) < 1 || atoi(port + 1) > 65535))) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "NATS_URL: \"%s\": expected host or host:port", shown);
    }
    sluice_rc rc = at == NULL ? SLUICE_OK : sluice_nats_login_check(host, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    if (at != NULL && s->user_info[0] == '\0') {
        memcpy(s->user_info, host, (size_t)(at + 1 - host));
    }
    s->use_tls |= is_tls;
    (void)snprintf(url, sizeof url, "nats://%s%s", host, port == NULL ? ":4222" : "");
    return add_server(s, url, err);
}

static sluice_rc parse_servers(struct sluice_nats_settings *s, const char *whole,
                               struct sluice_err *err)
{
    for (const char *list = whole;;) {
        list += strspn(list, " ");
        size_t len = strcspn(list, ",");
        size_t used = len;
        while (used > 0 && list[used - 1] == ' ') {
            used--;
        }
        sluice_rc rc = parse_server(s, whole, list, used, err);
        if (rc != SLUICE_OK || list[len] == '\0') {
            return rc;
        }
        list += len + 1;
    }
}

void sluice_nats_settings_learn(struct sluice_nats_settings *s, natsConnection *nc)
{
    char **list = NULL;
    int count = 0;
    if (natsConnection_GetDiscoveredServers(nc, &list, &count) != NATS_OK) {
        return;
    }
    for (int i = 0; i < count; i++) {
        const char *host = strstr(list[i], "://");
        char url[2 * SLUICE_NATS_URL_SIZE];
        host = host == NULL ? list[i] : host + 3;
        int len = snprintf(url, sizeof url, "nats://%s%s", s->user_info, host);
        /* A full list is no error: enough servers are known. */
        if (len > 0 && (size_t)len < sizeof url && s->servers_count < SLUICE_NATS_SERVERS_MAX) {
            (void)add_server(s, url, NULL);
        }
        free(list[i]);
    }
    free(list);
}

int sluice_nats_settings_has_others(const struct sluice_nats_settings *s)
{
    return s->servers_count > 1;
}

void sluice_nats_settings_skip(struct sluice_nats_settings *s)
{
    s->servers_next = (s->servers_next + 1) % s->servers_count;
}

/* ---- Settings ---- */

/* Keep a copy of *text, "" for NULL. */
static int keep(struct sluice_nats_settings *s, const char **text)
{
    char *copy = strdup(*text == NULL ? "" : *text);
    if (copy == NULL) {
        return 0;
    }
    s->texts[s->texts_count++] = copy;
    *text = copy;
    return 1;
}

static int keep_all(struct sluice_nats_settings *s)
{
    struct sluice_nats_options *o = &s->options;
    o->inbox_prefix = is_set(o->inbox_prefix) ? o->inbox_prefix : "_INBOX";
    o->api_prefix = is_set(o->api_prefix) ? o->api_prefix : "$JS.API";
    o->connect_timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : 10000;
    o->reconnect_wait_ms = o->reconnect_wait_ms > 0 ? o->reconnect_wait_ms : 10000;
    o->reconnect_attempts_max = o->reconnect_attempts_max > 0 ? o->reconnect_attempts_max : 60;
    return keep(s, &o->name) && keep(s, &o->user) && keep(s, &o->password) && keep(s, &o->token) &&
           keep(s, &o->nkey_file) && keep(s, &o->creds_file) && keep(s, &o->tls_ca) &&
           keep(s, &o->tls_cert) && keep(s, &o->tls_key) && keep(s, &o->inbox_prefix) &&
           keep(s, &o->api_prefix);
}

static sluice_rc check(struct sluice_nats_settings *s, struct sluice_err *err)
{
    const struct sluice_nats_options *o = &s->options;
    int ways = is_set(o->user) + is_set(o->token) + is_set(o->nkey_file) + is_set(o->creds_file);
    if (ways > 1) {
        return sluice_err_set(
            err, SLUICE_ERR_CONFIG,
            "more than one of NATS_USER, NATS_TOKEN, NATS_NKEY, NATS_CREDS is set");
    }
    const char *beside = is_set(o->user)         ? "NATS_USER"
                         : is_set(o->password)   ? "NATS_PASSWORD"
                         : is_set(o->token)      ? "NATS_TOKEN"
                         : is_set(o->nkey_file)  ? "NATS_NKEY"
                         : is_set(o->creds_file) ? "NATS_CREDS"
                                                 : NULL;
    if (s->user_info[0] != '\0' && beside != NULL) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "NATS_URL: a login stands in it beside %s, expected one of them; "
                              "either may be of the context",
                              beside);
    }
    if (is_set(o->password) && !is_set(o->user)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "NATS_PASSWORD is set alone, expected with NATS_USER");
    }
    if (is_set(o->tls_cert) != is_set(o->tls_key)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "NATS_CERT and NATS_KEY need each other");
    }
    s->use_tls |= is_set(o->tls_ca) || is_set(o->tls_cert);
    return sluice_nats_files_read(o, s->nkey_public, err);
}

sluice_rc sluice_nats_settings_create(const struct sluice_nats_options *options,
                                      struct sluice_nats_settings **out, struct sluice_err *err)
{
    sluice_rc rc;
    struct sluice_nats_settings *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
    }
    s->options = *options;
    if (!keep_all(s)) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
        goto fail;
    }
    if ((rc = parse_servers(s, is_set(options->url) ? options->url : "nats://localhost:4222",
                            err)) != SLUICE_OK ||
        (rc = check(s, err)) != SLUICE_OK) {
        goto fail;
    }
    s->options.url = NULL; /* may hold a password; the list has it */
    uint32_t start = 0;
    /* Workers of one list spread over its servers. */
    if (getrandom(&start, sizeof start, 0) == sizeof start) {
        s->servers_next = start % s->servers_count;
    }
    *out = s;
    return SLUICE_OK;
fail:
    sluice_nats_settings_destroy(s);
    return rc;
}

static void free_secret(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

void sluice_nats_settings_destroy(struct sluice_nats_settings *s)
{
    if (s == NULL) {
        return;
    }
    for (uint32_t i = 0; i < s->texts_count; i++) {
        free_secret(s->texts[i]);
    }
    for (uint32_t i = 0; i < s->servers_count; i++) {
        free_secret(s->servers[i]);
    }
    OPENSSL_cleanse(s->user_info, sizeof s->user_info);
    free(s);
}

sluice_rc sluice_nats_options_check(const struct sluice_nats_options *options,
                                    struct sluice_err *err)
{
    struct sluice_nats_settings *settings = NULL;
    sluice_rc rc = sluice_nats_settings_create(options, &settings, err);
    sluice_nats_settings_destroy(settings);
    return rc;
}

const struct sluice_nats_options *sluice_nats_settings_options(const struct sluice_nats_settings *s)
{
    return &s->options;
}

int sluice_nats_settings_use_tls(const struct sluice_nats_settings *s)
{
    return s->use_tls;
}

const char *sluice_nats_settings_warning(const struct sluice_nats_settings *s)
{
    if (s->use_tls && nats_GetVersionNumber() < 0x030b00u) {
        return "TLS with nats.c before 3.11: it reads and writes one TLS object from two threads "
               "(nats.c #913) and "
               "may hang in a handshake (#907); a newer library or a local TLS proxy is safer";
    }
    return NULL;
}

/* ---- Connecting ---- */

/* cnats' own handler prints to stderr. */
static void ignore_error(natsConnection *nc, natsSubscription *sub, natsStatus status,
                         void *closure)
{
    (void)nc;
    (void)sub;
    (void)status;
    (void)closure;
}

static natsStatus set_tls(const struct sluice_nats_settings *s, natsOptions *opts)
{
    const struct sluice_nats_options *o = &s->options;
    natsStatus status = s->use_tls ? natsOptions_SetSecure(opts, true) : NATS_OK;
    if (status == NATS_OK && is_set(o->tls_ca)) {
        status = natsOptions_LoadCATrustedCertificates(opts, o->tls_ca);
    }
    if (status == NATS_OK && is_set(o->tls_cert)) {
        status = natsOptions_LoadCertificatesChain(opts, o->tls_cert, o->tls_key);
    }
    return status;
}

static natsStatus set_all(const struct sluice_nats_settings *s, const char *url,
                          struct sluice_nats_socket *socket,
                          const struct sluice_nats_handlers *handlers, natsOptions *opts)
{
    natsErrHandler error = handlers->error != NULL ? handlers->error : ignore_error;
    char server[SLUICE_NATS_URL_SIZE];
    natsStatus status;
    sluice_nats_login_strip(url, server, sizeof server);
    if ((status = natsOptions_SetURL(opts, server)) != NATS_OK ||
        (status = natsOptions_SetTimeout(opts, s->options.connect_timeout_ms)) != NATS_OK ||
        (status = natsOptions_SetPingInterval(opts, PING_INTERVAL_MS)) != NATS_OK ||
        (status = natsOptions_SetMaxPingsOut(opts, PINGS_OUT_MAX)) != NATS_OK ||
        (status = natsOptions_SetWriteDeadline(opts, WRITE_DEADLINE_MS)) != NATS_OK ||
        (status = natsOptions_SetAllowReconnect(opts, false)) != NATS_OK ||
        (status = natsOptions_UseGlobalMessageDelivery(opts, true)) != NATS_OK ||
        (status = natsOptions_SetErrorHandler(opts, error, handlers->closure)) != NATS_OK ||
        (status = natsOptions_SetClosedCB(opts, handlers->closed, handlers->closure)) != NATS_OK) {
        return status;
    }
    if (socket != NULL) {
        status = sluice_nats_socket_use(socket, opts);
    }
    if (status == NATS_OK && is_set(s->options.name)) {
        status = natsOptions_SetName(opts, s->options.name);
    }
    if (status == NATS_OK) {
        status = sluice_nats_login_set(opts, url, &s->options, s->nkey_public);
    }
    return status == NATS_OK ? set_tls(s, opts) : status;
}

/* What to do about a connection that came about and was dropped. With TLS 1.3 a server that misses
 * the client's certificate says so only when the handshake is over for the client, and cnats makes
 * a wrong answer to its first ping of it. */
static const char *explain(const struct sluice_nats_settings *s, natsStatus status,
                           const char *server, const char *text)
{
    struct sluice_nats_greeting greeting;
    if (strstr(text, "issuer certificate") != NULL || strstr(text, "self-signed") != NULL ||
        strstr(text, "self signed") != NULL) {
        return "; set NATS_CA to the certificate of the authority that signed the server's";
    }
    if ((status != NATS_PROTOCOL_ERROR && status != NATS_SSL_ERROR && status != NATS_IO_ERROR &&
         status != NATS_CONNECTION_CLOSED && status != NATS_CONNECTION_DISCONNECTED) ||
        !sluice_nats_greeting_read(server, &greeting) || !greeting.wants_client_certificate) {
        return "";
    }
    return is_set(s->options.tls_cert)
               ? "; the server demands a client certificate and may not know the authority that "
                 "signed the one of NATS_CERT"
               : "; the server demands a client certificate: set NATS_CERT and NATS_KEY";
}

static sluice_rc connect_one(struct sluice_nats_settings *s, const char *url,
                             struct sluice_nats_socket *socket,
                             const struct sluice_nats_handlers *handlers, natsConnection **out,
                             struct sluice_err *err)
{
    natsOptions *opts = NULL;
    char server[SLUICE_NATS_URL_SIZE], text[SLUICE_ERR_TEXT_SIZE / 2];
    natsStatus status = natsOptions_Create(&opts);
    int is_set_up = 0;
    if (status == NATS_OK && (status = set_all(s, url, socket, handlers, opts)) == NATS_OK) {
        is_set_up = 1;
        status = natsConnection_Connect(out, opts);
    }
    if (status == NATS_OK) {
        natsOptions_Destroy(opts);
        return SLUICE_OK;
    }
    natsStatus last = NATS_OK;
    const char *words = nats_GetLastError(&last);
    if (words != NULL && words[0] == '(' && strstr(words, "): ") != NULL) {
        words = strstr(words, "): ") + 3; /* file and line of cnats */
    }
    sluice_redact_text(words != NULL && words[0] != '\0' ? words : natsStatus_GetText(status), text,
                       sizeof text);
    sluice_nats_login_strip(url, server, sizeof server);
    natsOptions_Destroy(opts);
    *out = NULL;
    if (!is_set_up) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "NATS connection settings: %s", text);
    }
    int is_auth = status == NATS_CONNECTION_AUTH_FAILED || status == NATS_NOT_PERMITTED;
    return sluice_err_set(err, is_auth ? SLUICE_ERR_AUTH : SLUICE_ERR_CONNECTION,
                          "cannot connect to %s: %s%s", server, text,
                          explain(s, status, server, text));
}

sluice_rc sluice_nats_settings_connect(struct sluice_nats_settings *s,
                                       struct sluice_nats_socket *socket,
                                       const struct sluice_nats_handlers *handlers,
                                       natsConnection **out, struct sluice_err *err)
{
    sluice_rc rc = SLUICE_ERR_CONNECTION;
    sigset_t before;
    sluice_signals_block(&before); /* cnats makes threads of its own */
    for (uint32_t i = 0; i < s->servers_count; i++) {
        const char *url = s->servers[s->servers_next % s->servers_count];
        rc = connect_one(s, url, socket, handlers, out, err);
        if (rc == SLUICE_OK) {
            break; /* the next pass begins with the server that was good */
        }
        sluice_nats_settings_skip(s);
    }
    sluice_signals_restore(&before);
    return rc;
}
