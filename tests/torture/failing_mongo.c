/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of libmongoc and libbson, in a module of MongoDB's store that tests/torture loads in the
 * place of the real one; when they fail says the program that loads it. */
#include "failing_call.h"
#include <mongoc/mongoc.h>
#include <stdlib.h>

#define FAILING_MONGO(type, name, parameters, arguments, domain, code, failure)                    \
    WRAPPED(type, name, parameters)                                                                \
    {                                                                                              \
        if (failing_now(FAILING_CALLS, #name)) {                                                   \
            bson_set_error(error, domain, code, "it is made to fail");                             \
            return failure;                                                                        \
        }                                                                                          \
        return __real_##name arguments;                                                            \
    }
#define REFUSED MONGOC_ERROR_COMMAND, MONGOC_ERROR_COMMAND_INVALID_ARG
#define CUT     MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_SOCKET

#define FAILING_MONGO_(type, name, parameters, arguments, why, failure)                            \
    FAILING_MONGO(type, name, parameters, arguments, why, failure)

FAILING_MONGO_(mongoc_uri_t *, mongoc_uri_new_with_error, (const char *text, bson_error_t *error),
               (text, error), REFUSED, NULL)
FAILING_MONGO_(mongoc_client_pool_t *, mongoc_client_pool_new_with_error,
               (const mongoc_uri_t *uri, bson_error_t *error), (uri, error), REFUSED, NULL)
FAILING_MONGO_(bool, mongoc_client_command_simple,
               (mongoc_client_t * client, const char *database, const bson_t *command,
                const mongoc_read_prefs_t *preferred, bson_t *reply, bson_error_t *error),
               (client, database, command, preferred, reply, error), CUT, false)
FAILING_MONGO_(bool, mongoc_bulk_operation_replace_one_with_opts,
               (mongoc_bulk_operation_t * bulk, const bson_t *selector, const bson_t *document,
                const bson_t *options, bson_error_t *error),
               (bulk, selector, document, options, error), REFUSED, false)
FAILING_CALL(mongoc_client_t *, mongoc_client_pool_pop, (mongoc_client_pool_t * pool), (pool), NULL)
FAILING_CALL(bool, mongoc_write_concern_append, (mongoc_write_concern_t * concern, bson_t *command),
             (concern, command), false)

/* Sent or not, its answer does not come. */
WRAPPED(uint32_t, mongoc_bulk_operation_execute,
        (mongoc_bulk_operation_t * bulk, bson_t *reply, bson_error_t *error))
{
    if (failing_now(FAILING_CALLS, "mongoc_bulk_operation_execute")) {
        bson_init(reply);
        bson_set_error(error, CUT, "it is made to fail");
        return 0;
    }
    return __real_mongoc_bulk_operation_execute(bulk, reply, error);
}

static _Thread_local const mongoc_cursor_t *broken;

WRAPPED(bool, mongoc_cursor_next, (mongoc_cursor_t * cursor, const bson_t **document))
{
    broken = failing_now(FAILING_CALLS, "mongoc_cursor_next") ? cursor : NULL;
    return broken == NULL && __real_mongoc_cursor_next(cursor, document);
}

WRAPPED(bool, mongoc_cursor_error, (mongoc_cursor_t * cursor, bson_error_t *error))
{
    if (broken != cursor) {
        return __real_mongoc_cursor_error(cursor, error);
    }
    bson_set_error(error, CUT, "it is made to fail");
    return true;
}

FAILING_CALL(bool, bson_append_utf8,
             (bson_t * to, const char *key, int key_len, const char *value, int len),
             (to, key, key_len, value, len), false)
FAILING_CALL(bool, bson_append_bool, (bson_t * to, const char *key, int key_len, bool value),
             (to, key, key_len, value), false)
FAILING_CALL(bool, bson_append_int32, (bson_t * to, const char *key, int key_len, int32_t value),
             (to, key, key_len, value), false)
FAILING_CALL(bool, bson_append_int64, (bson_t * to, const char *key, int key_len, int64_t value),
             (to, key, key_len, value), false)

/* ---- libbson's memory; without any it ends the process */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);

static void *bson_memory(size_t size)
{
    return failing_now(FAILING_LIBBSON, "libbson's malloc") ? NULL : __real_malloc(size);
}

static void *bson_zeroes(size_t count, size_t size)
{
    return failing_now(FAILING_LIBBSON, "libbson's calloc") ? NULL : __real_calloc(count, size);
}

static void *bson_more(void *p, size_t size)
{
    return failing_now(FAILING_LIBBSON, "libbson's realloc") ? NULL : __real_realloc(p, size);
}

__attribute__((constructor)) static void begin(void)
{
    static const bson_mem_vtable_t memory = {
        .malloc = bson_memory, .calloc = bson_zeroes, .realloc = bson_more, .free = free};
    bson_mem_set_vtable(&memory);
}
