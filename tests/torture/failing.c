/* SPDX-License-Identifier: Apache-2.0 */
#include "failing.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

static _Atomic int armed, held, goes_on;
static _Atomic long nth, calls;
static const char nothing[] = "";
static _Atomic(const char *) first = nothing;
int failing_tell_fd = -1;

static int fails(enum failing_kind kind, const char *name)
{
    if ((atomic_load(&armed) & (int)kind) == 0) {
        return 0;
    }
    long number = atomic_fetch_add(&calls, 1) + 1;
    long wanted = atomic_load(&nth);
    if (wanted == 0 || number < wanted || (number > wanted && !atomic_load(&goes_on))) {
        return 0;
    }
    const char *none = nothing;
    if (atomic_compare_exchange_strong(&first, &none, name) && failing_tell_fd >= 0) {
        (void)!write(failing_tell_fd, name, strlen(name));
    }
    return 1;
}

void failing_begin(enum failing_kind kinds, long number, int from_then_on)
{
    atomic_store(&first, nothing);
    atomic_store(&calls, 0);
    atomic_store(&nth, number);
    atomic_store(&goes_on, from_then_on);
    atomic_store(&held, 0);
    atomic_store(&armed, (int)kinds);
}

void failing_hold(void)
{
    atomic_store(&held, atomic_exchange(&armed, 0));
}

void failing_go_on(void)
{
    atomic_store(&armed, atomic_exchange(&held, 0));
}

long failing_end(void)
{
    atomic_store(&armed, 0);
    return atomic_load(&calls);
}

const char *failing_name(void)
{
    return atomic_load(&first);
}

/* ---- Memory ---- */

static atomic_long open_blocks;

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        atomic_fetch_sub(&open_blocks, p != NULL);
        free(p);
        return NULL;
    }
    void *memory = realloc(p, size);
    atomic_fetch_add(&open_blocks, p == NULL && memory != NULL);
    return memory;
}

const struct sluice_allocator failing_allocator = {.resize = resize};

long failing_open_blocks(void)
{
    return atomic_load(&open_blocks);
}

#define WRAPPED(type, name, parameters)                                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

WRAPPED(void *, malloc, (size_t size))
{
    if (fails(FAILING_MEMORY, "malloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_malloc(size);
}

WRAPPED(void *, calloc, (size_t count, size_t size))
{
    if (fails(FAILING_MEMORY, "calloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_calloc(count, size);
}

WRAPPED(void *, realloc, (void *p, size_t size))
{
    if (fails(FAILING_MEMORY, "realloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_realloc(p, size);
}

WRAPPED(char *, strdup, (const char *text))
{
    if (fails(FAILING_MEMORY, "strdup")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_strdup(text);
}

/* ---- Calls: each ends with its own way of saying no ---- */

#define FAILING_CALL(type, name, parameters, arguments, failure)                                   \
    WRAPPED(type, name, parameters)                                                                \
    {                                                                                              \
        return fails(FAILING_CALLS, #name) ? (failure) : __real_##name arguments;                  \
    }
#define WITH(code, value) (errno = (code), (value))

FAILING_CALL(FILE *, fopen, (const char *path, const char *mode), (path, mode), WITH(EMFILE, NULL))
FAILING_CALL(FILE *, fopen64, (const char *path, const char *mode), (path, mode),
             WITH(EMFILE, NULL))
WRAPPED(size_t, fread, (void *to, size_t size, size_t count, FILE *file))
{
    if (!fails(FAILING_CALLS, "fread")) {
        return __real_fread(to, size, count, file);
    }
    /* Reading is what the standard library lets fail only by a broken file: a folder is one. */
    FILE *folder = freopen("/", "r", file);
    return folder == NULL ? 0 : __real_fread(to, size, count, folder);
}
FAILING_CALL(DIR *, opendir, (const char *path), (path), WITH(EMFILE, NULL))
FAILING_CALL(int, pthread_create,
             (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *),
              void *arg),
             (thread, attributes, run, arg), EAGAIN)
FAILING_CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol),
             WITH(EMFILE, -1))
FAILING_CALL(int, bind, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len),
             WITH(EADDRINUSE, -1))
FAILING_CALL(int, listen, (int fd, int backlog), (fd, backlog), WITH(EADDRINUSE, -1))
FAILING_CALL(void *, dlopen, (const char *path, int flags), (path, flags), NULL)
FAILING_CALL(void *, dlsym, (void *library, const char *name), (library, name), NULL)
FAILING_CALL(char *, realpath, (const char *path, char *resolved), (path, resolved),
             WITH(ENOENT, NULL))

FAILING_CALL(int, uv_loop_init, (uv_loop_t * loop), (loop), UV_EMFILE)
/* uv_timer_init is not here: it cannot fail, and our code relies on that. */
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

/* libcurl keeps its own memory: 7.88.1 divides by zero when an allocation fails while it opens a
 * connection. tests/adapter/test_curl_memory.c fails those that it survives. */
WRAPPED(CURLcode, curl_global_init_mem,
        (long flags, curl_malloc_callback m, curl_free_callback f, curl_realloc_callback r,
         curl_strdup_callback s, curl_calloc_callback c))
{
    (void)m, (void)f, (void)r, (void)s, (void)c;
    return fails(FAILING_CALLS, "curl_global_init_mem") ? CURLE_FAILED_INIT
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

FAILING_CALL(void *, MHD_create_response_from_buffer, (size_t len, void *data, int mode),
             (len, data, mode), NULL)

/* ---- */

static void *hooked_malloc(size_t size)
{
    return __wrap_malloc(size);
}

static void hooked_free(void *p)
{
    free(p);
}

void failing_hook_cjson(int is_hooked)
{
    static cJSON_Hooks hooks = {.malloc_fn = hooked_malloc, .free_fn = hooked_free};
    cJSON_InitHooks(is_hooked ? &hooks : NULL);
}

static int run_once(enum failing_kind kinds, failing_case *run, void *ctx, long number, int on,
                    long *count)
{
    failing_begin(kinds, number, on);
    int went_well = run(ctx);
    *count = failing_end();
    if (went_well && on && failing_name()[0] != '\0' && (kinds & FAILING_TOLERATED) == 0) {
        (void)fprintf(stderr, "call %ld (%s) and all after it failed, and yet all went well\n",
                      number, failing_name());
        abort();
    }
    return went_well;
}

long failing_sweep(enum failing_kind kinds, failing_case *run, void *ctx)
{
    long count = 0;
    failing_hook_cjson(1);
    if (!run_once(kinds, run, ctx, 0, 0, &count)) {
        (void)fprintf(stderr, "failed undisturbed\n");
        abort();
    }
    for (int on = 0; on <= 1; on++) {
        long number = 1, seen = count;
        for (; number <= seen && number <= 100000; number++) {
            (void)run_once(kinds, run, ctx, number, on, &seen);
            if (failing_name()[0] == '\0') {
                break; /* it made fewer calls than that */
            }
            seen = seen > number ? seen : number + 1;
        }
    }
    failing_hook_cjson(0);
    return count;
}
