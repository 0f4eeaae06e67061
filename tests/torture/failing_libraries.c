/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the libraries that we use: each ends with its own way of saying no. Types that nothing
 * is done with are untyped pointers here. */
#include "adapter/curl_memory.h"
#include "failing_call.h"
#include <curl/curl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

FAILING_CALL(int, uv_loop_init, (uv_loop_t * loop), (loop), UV_EMFILE)
FAILING_CALL(int, uv_async_init, (uv_loop_t * loop, uv_async_t *async, uv_async_cb cb),
             (loop, async, cb), UV_EMFILE)
FAILING_CALL(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd),
             UV_EMFILE)
FAILING_CALL(int, uv_poll_start, (uv_poll_t * poll, int events, uv_poll_cb cb), (poll, events, cb),
             UV_EBADF)

FAILING_CALL(int, sqlite3_open_v2, (const char *path, sqlite3 **db, int flags, const char *vfs),
             (path, db, flags, vfs), WITH(0, (*db = NULL, SQLITE_CANTOPEN)))
FAILING_CALL(int, sqlite3_exec,
             (sqlite3 * db, const char *sql, int (*cb)(void *, int, char **, char **), void *ctx,
              char **text),
             (db, sql, cb, ctx, text), SQLITE_IOERR)
FAILING_CALL(int, sqlite3_prepare_v2,
             (sqlite3 * db, const char *sql, int len, sqlite3_stmt **statement, const char **rest),
             (db, sql, len, statement, rest), (*statement = NULL, SQLITE_NOMEM))
FAILING_CALL(int, sqlite3_prepare_v3,
             (sqlite3 * db, const char *sql, int len, unsigned flags, sqlite3_stmt **statement,
              const char **rest),
             (db, sql, len, flags, statement, rest), (*statement = NULL, SQLITE_NOMEM))
FAILING_CALL(int, sqlite3_step, (sqlite3_stmt * statement), (statement), SQLITE_IOERR)
FAILING_CALL(int, sqlite3_bind_text,
             (sqlite3_stmt * statement, int i, const char *text, int len, void (*free)(void *)),
             (statement, i, text, len, free), SQLITE_NOMEM)
FAILING_CALL(int, sqlite3_bind_text64,
             (sqlite3_stmt * statement, int i, const char *text, sqlite3_uint64 len,
              void (*free)(void *), unsigned char encoding),
             (statement, i, text, len, free, encoding), SQLITE_NOMEM)
FAILING_CALL(int, sqlite3_bind_int64, (sqlite3_stmt * statement, int i, sqlite3_int64 value),
             (statement, i, value), SQLITE_NOMEM)
FAILING_CALL(const unsigned char *, sqlite3_column_text, (sqlite3_stmt * statement, int i),
             (statement, i), NULL)
FAILING_CALL(const void *, sqlite3_column_blob, (sqlite3_stmt * statement, int i), (statement, i),
             NULL)
FAILING_CALL(int, sqlite3_file_control, (sqlite3 * db, const char *name, int what, void *value),
             (db, name, what, value), SQLITE_IOERR)
FAILING_CALL(int, sqlite3_wal_checkpoint_v2,
             (sqlite3 * db, const char *name, int how, int *log, int *done),
             (db, name, how, log, done), SQLITE_IOERR)

/* libcurl keeps its own memory: 7.88.1 divides by zero when an allocation fails while it opens a
 * connection. tests/adapter/test_curl_memory.c fails those that it survives. */
WRAPPED(CURLcode, curl_global_init_mem,
        (long flags, curl_malloc_callback m, curl_free_callback f, curl_realloc_callback r,
         curl_strdup_callback s, curl_calloc_callback c))
{
    (void)m, (void)f, (void)r, (void)s, (void)c;
    return failing_now(FAILING_CALLS, "curl_global_init_mem") ? CURLE_FAILED_INIT
                                                              : curl_global_init(flags);
}
FAILING_CALL(CURL *, curl_easy_init, (void), (), NULL)
FAILING_CALL(CURLM *, curl_multi_init, (void), (), NULL)
FAILING_CALL(CURLSH *, curl_share_init, (void), (), NULL)
FAILING_CALL(CURLU *, curl_url, (void), (), NULL)
FAILING_CALL(CURLUcode, curl_url_set,
             (CURLU * url, CURLUPart part, const char *text, unsigned flags),
             (url, part, text, flags), CURLUE_OUT_OF_MEMORY)
FAILING_CALL(CURLMcode, curl_multi_add_handle, (CURLM * multi, CURL *easy), (multi, easy),
             CURLM_OUT_OF_MEMORY)

FAILING_CALL(CURLMcode, curl_multi_socket_action,
             (CURLM * multi, curl_socket_t fd, int flags, int *running),
             (multi, fd, flags, running), CURLM_OUT_OF_MEMORY)
FAILING_CALL(CURLUcode, curl_url_get,
             (const CURLU *url, CURLUPart part, char **text, unsigned flags),
             (url, part, text, flags), CURLUE_OUT_OF_MEMORY)
FAILING_CALL(CURLHcode, curl_easy_header,
             (CURL * easy, const char *name, size_t index, unsigned origin, int request,
              struct curl_header **out),
             (easy, name, index, origin, request, out), CURLHE_OUT_OF_MEMORY)

#undef curl_easy_setopt
#undef curl_share_setopt

/* Only what libcurl copies: pointers and numbers it just notes. */
WRAPPED(CURLcode, curl_easy_setopt, (CURL * easy, CURLoption option, ...))
{
    va_list rest;
    va_start(rest, option);
    void *value = va_arg(rest, void *); /* a number is as long, and comes the same way */
    va_end(rest);
    int is_copied = option == CURLOPT_PROXY || option == CURLOPT_NOPROXY ||
                    option == CURLOPT_PROTOCOLS_STR || option == CURLOPT_CAINFO ||
                    option == CURLOPT_USERAGENT || option == CURLOPT_CUSTOMREQUEST ||
                    option == CURLOPT_BUFFERSIZE;
    if (is_copied && value != NULL && failing_now(FAILING_CALLS, "curl_easy_setopt")) {
        sluice_curl_memory_note(); /* as its own memory would have */
        return CURLE_OUT_OF_MEMORY;
    }
    return __real_curl_easy_setopt(easy, option, value);
}

WRAPPED(CURLSHcode, curl_share_setopt, (CURLSH * share, CURLSHoption option, ...))
{
    va_list rest;
    va_start(rest, option);
    int value = va_arg(rest, int); /* our code only names what is shared */
    va_end(rest);
    return failing_now(FAILING_CALLS, "curl_share_setopt")
               ? CURLSHE_NOMEM
               : __real_curl_share_setopt(share, option, value);
}

/* Of cnats, without its header: status 24 is NATS_NO_MEMORY. */
FAILING_CALL(int, natsOptions_Create, (void **options), (options), 24)
FAILING_CALL(int, natsConnection_Connect, (void **connection, void *options), (connection, options),
             24)
FAILING_CALL(int, natsConnection_Subscribe,
             (void **subscription, void *connection, const char *subject, void *cb, void *ctx),
             (subscription, connection, subject, cb, ctx), 24)
FAILING_CALL(int, natsConnection_SubscribeSync,
             (void **subscription, void *connection, const char *subject),
             (subscription, connection, subject), 24)
FAILING_CALL(int, natsSubscription_NextMsg, (void **message, void *subscription, int64_t timeout),
             (message, subscription, timeout), 24)
FAILING_CALL(int, natsMsg_Create,
             (void **message, const char *subject, const char *reply, const char *data, int len),
             (message, subject, reply, data, len), 24)
FAILING_CALL(int, natsMsgHeader_Add, (void *message, const char *name, const char *value),
             (message, name, value), 24)
FAILING_CALL(int, natsConnection_PublishMsg, (void *connection, void *message),
             (connection, message), 24)
FAILING_CALL(int, natsConnection_PublishRequest,
             (void *connection, const char *subject, const char *reply, const void *data, int len),
             (connection, subject, reply, data, len), 24)
FAILING_CALL(int, natsConnection_Publish,
             (void *connection, const char *subject, const void *data, int len),
             (connection, subject, data, len), 24)
FAILING_CALL(int, natsOptions_SetURL, (void *options, const char *url), (options, url), 24)
FAILING_CALL(int, natsOptions_SetName, (void *options, const char *name), (options, name), 24)
FAILING_CALL(int, natsOptions_SetTimeout, (void *options, int64_t ms), (options, ms), 24)
FAILING_CALL(int, natsOptions_SetPingInterval, (void *options, int64_t ms), (options, ms), 24)
FAILING_CALL(int, natsOptions_SetMaxPingsOut, (void *options, int count), (options, count), 24)
FAILING_CALL(int, natsOptions_SetWriteDeadline, (void *options, int64_t ms), (options, ms), 24)
FAILING_CALL(int, natsOptions_SetAllowReconnect, (void *options, bool is), (options, is), 24)
FAILING_CALL(int, natsOptions_UseGlobalMessageDelivery, (void *options, bool is), (options, is), 24)
FAILING_CALL(int, natsOptions_SetErrorHandler, (void *options, void *handler, void *ctx),
             (options, handler, ctx), 24)
FAILING_CALL(int, natsOptions_SetClosedCB, (void *options, void *closed, void *ctx),
             (options, closed, ctx), 24)
FAILING_CALL(int, natsOptions_SetSecure, (void *options, bool is), (options, is), 24)
FAILING_CALL(int, natsOptions_LoadCATrustedCertificates, (void *options, const char *path),
             (options, path), 24)
FAILING_CALL(int, natsOptions_LoadCertificatesChain,
             (void *options, const char *path, const char *key), (options, path, key), 24)
FAILING_CALL(int, natsOptions_SetToken, (void *options, const char *token), (options, token), 24)
FAILING_CALL(int, natsOptions_SetUserInfo, (void *options, const char *user, const char *password),
             (options, user, password), 24)
FAILING_CALL(int, natsOptions_SetNKeyFromSeed, (void *options, const char *key, const char *path),
             (options, key, path), 24)
FAILING_CALL(int, natsOptions_SetUserCredentialsFromFiles,
             (void *options, const char *path, const char *seed), (options, path, seed), 24)
FAILING_CALL(int, natsOptions_SetEventLoop,
             (void *options, void *loop, void *attach, void *reading, void *writing, void *detach),
             (options, loop, attach, reading, writing, detach), 24)
FAILING_CALL(int, natsOptions_SetSendAsap, (void *options, bool is), (options, is), 24)
FAILING_CALL(int, natsConnection_FlushTimeout, (void *connection, int64_t ms), (connection, ms), 24)
FAILING_CALL(int, natsConnection_GetDiscoveredServers, (void *connection, char ***list, int *count),
             (connection, list, count), 24)
FAILING_CALL(int, natsConnection_GetConnectedUrl, (void *connection, char *url, size_t size),
             (connection, url, size), 24)
FAILING_CALL(int, natsInbox_Create, (char **inbox), (inbox), 24)
FAILING_CALL(int, natsSubscription_SetPendingLimits, (void *subscription, int count, int size),
             (subscription, count, size), 24)
FAILING_CALL(int, natsSubscription_SetOnCompleteCB, (void *subscription, void *cb, void *ctx),
             (subscription, cb, ctx), 24)
FAILING_CALL(int, natsSubscription_DrainTimeout, (void *subscription, int64_t ms),
             (subscription, ms), 24)
FAILING_CALL(int, natsSubscription_Unsubscribe, (void *subscription), (subscription), 24)

/* ---- libmicrohttpd, libyaml, libcrypto */

FAILING_CALL(void *, MHD_create_response_from_buffer, (size_t len, void *data, int mode),
             (len, data, mode), NULL)
FAILING_CALL(int, MHD_add_response_header, (void *response, const char *name, const char *value),
             (response, name, value), 0)
FAILING_CALL(int, MHD_queue_response, (void *connection, unsigned status, void *response),
             (connection, status, response), 0)
FAILING_CALL(const void *, MHD_get_connection_info, (void *connection, int what),
             (connection, what), NULL)
FAILING_CALL(const void *, MHD_get_daemon_info, (void *daemon, int what), (daemon, what), NULL)
FAILING_CALL(int, MHD_run, (void *daemon), (daemon), 0)

void *MHD_start_daemon_va(unsigned flags, uint16_t port, void *accept, void *accept_ctx,
                          void *answer, void *answer_ctx, va_list options);

WRAPPED(void *, MHD_start_daemon,
        (unsigned flags, uint16_t port, void *accept, void *accept_ctx, void *answer,
         void *answer_ctx, ...))
{
    va_list options;
    if (failing_now(FAILING_CALLS, "MHD_start_daemon")) {
        return NULL;
    }
    va_start(options, answer_ctx);
    void *daemon =
        MHD_start_daemon_va(flags, port, accept, accept_ctx, answer, answer_ctx, options);
    va_end(options);
    return daemon;
}

/* That the parser ran out of memory it says in its `error`; nobody looks. */
FAILING_CALL(int, yaml_parser_initialize, (void *parser), (parser), 0)
FAILING_CALL(int, yaml_parser_parse, (void *parser, void *event), (parser, event), 0)

FAILING_CALL(void *, PEM_read_X509_AUX, (FILE * file, void **out, void *ask, void *ctx),
             (file, out, ask, ctx), NULL)
FAILING_CALL(void *, PEM_read_PrivateKey, (FILE * file, void **out, void *ask, void *ctx),
             (file, out, ask, ctx), NULL)
FAILING_CALL(void *, EVP_PKEY_new_raw_private_key,
             (int type, void *engine, const unsigned char *key, size_t len),
             (type, engine, key, len), NULL)
FAILING_CALL(int, EVP_PKEY_get_raw_public_key, (const void *key, unsigned char *out, size_t *len),
             (key, out, len), 0)
