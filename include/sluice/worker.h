/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice/worker.h: everything that a worker plug-in needs. Version 1.1.
 *
 * A worker is a shared object with one function that turns one incoming message into documents and
 * outgoing messages. The runtime owns delivery: it pulls, renews leases, calls the LLM, writes,
 * publishes, and acknowledges only when all of it succeeded. The plug-in links against nothing of
 * ours: every function here is a thin wrapper over the table of host functions that each turn
 * begins with.
 *
 * The rules of a run
 *  - The function is run from its top, possibly several times for one message. Steps that wait
 * (sluice_llm, sluice_http, sluice_find, sluice_offload, the await functions) return SLUICE_SUSPEND
 * while their answer is missing; SLUICE_TRY passes that on. When the answer is there the function
 * runs again and the step returns it at once.
 *  - Ask for the same steps in the same order in each run of one delivery. Take time and randomness
 * from the turn.
 *  - Steps that take effect (sluice_store, sluice_publish) are staged. Nothing is written before
 * the function returned SLUICE_OK; then all documents, then all outputs, then the ACK.
 *  - What a run allocates with sluice_alloc dies with that run. Input and answers live until the
 * message is finished.
 *  - All functions are called from the handler, on its thread, and from nowhere else. The function
 * is never run by two threads at once. Results are NULL on any return but SLUICE_OK. This is
 * checked: on another thread, or with the turn of a run that has ended, a function does nothing but
 * log `turn.misused` and return SLUICE_ERR_UNSUPPORTED, NULL, 0 or an empty text; the run that is
 * going on with that turn fails.
 *
 * Changes
 *  1.0  2026-11-21  first version
 *  1.1  2026-11-21  sluice_worker.services, sluice_worker.prompts
 */
#ifndef SLUICE_WORKER_H
#define SLUICE_WORKER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_ABI_MAJOR    1u /* a binary break; the entry symbol's name changes with it */
#define SLUICE_ABI_MINOR    1u /* members appended at the end of a struct */
#define SLUICE_WORKER_MAGIC 0x534c5549u /* "SLUI" */

#if defined(__GNUC__)
#define SLUICE_EXPORT     __attribute__((visibility("default")))
#define SLUICE_MUST_CHECK __attribute__((warn_unused_result))
#define SLUICE_PRINTF(format_index, first_index)                                                   \
    __attribute__((format(printf, format_index, first_index)))
#else
#define SLUICE_EXPORT
#define SLUICE_MUST_CHECK
#define SLUICE_PRINTF(format_index, first_index)
#endif

/* protobuf-c's two types, only declared. */
struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

/* ---- Return codes ---- */

/* 0 is success, positive values are answers of a handler, negative values are errors. X(name,
 * value). */
#define SLUICE_CODES(X)                                                                            \
    X(OK, 0)                                                                                       \
    X(SUSPEND, 1) /* a step has no answer yet: return at once */                                   \
    X(RETRY, 2)   /* this delivery failed, the next may work: NAK with a growing delay */          \
    X(REJECT,                                                                                      \
      3) /* this message can never work: NAK, or dead letter with SLUICE_ON_REJECT=dead-letter */  \
    X(ERR_CONFIG, -1)                                                                              \
    X(ERR_VALIDATION, -2)                                                                          \
    X(ERR_CONNECTION, -3)                                                                          \
    X(ERR_TIMEOUT, -4)                                                                             \
    X(ERR_CIRCUIT_OPEN, -5)                                                                        \
    X(ERR_UNAVAILABLE, -6)                                                                         \
    X(ERR_CLIENT, -7)                                                                              \
    X(ERR_AUTH, -8)                                                                                \
    X(ERR_API, -9)                                                                                 \
    X(ERR_INVALID_FEED_ID, -10)                                                                    \
    X(ERR_DECODE, -11)                                                                             \
    X(ERR_TOO_LARGE, -12)                                                                          \
    X(ERR_NOT_FOUND, -13)                                                                          \
    X(ERR_LLM, -14)                                                                                \
    X(ERR_DB, -15)                                                                                 \
    X(ERR_PUBLISH, -16)                                                                            \
    X(ERR_STREAM_CLOSED, -17)                                                                      \
    X(ERR_RATE_LIMITED, -18)                                                                       \
    X(ERR_SUBSCRIPTION, -19)                                                                       \
    X(ERR_CANCELLED, -20)                                                                          \
    X(ERR_UNSUPPORTED, -21)                                                                        \
    X(ERR_NONDETERMINISTIC, -22)                                                                   \
    X(ERR_NOMEM, -23)                                                                              \
    X(ERR_INTERNAL, -24)

typedef int32_t sluice_rc;
enum {
#define SLUICE_CODE_ENUM(name, value) SLUICE_##name = value,
    SLUICE_CODES(SLUICE_CODE_ENUM)
#undef SLUICE_CODE_ENUM
};

/* The code's name, e.g. "SLUICE_ERR_LLM"; "SLUICE_ERR_UNKNOWN" for a number that is none. Static
 * text, any thread. */
static inline const char *sluice_status_name(sluice_rc rc)
{
    switch (rc) {
#define SLUICE_CODE_NAME(name, value)                                                              \
    case value:                                                                                    \
        return "SLUICE_" #name;
        SLUICE_CODES(SLUICE_CODE_NAME)
#undef SLUICE_CODE_NAME
    default:
        return "SLUICE_ERR_UNKNOWN";
    }
}

/* Return from the handler unless the expression is SLUICE_OK. */
#define SLUICE_TRY(expression)                                                                     \
    do {                                                                                           \
        sluice_rc sluice_try_rc = (expression);                                                    \
        if (sluice_try_rc != SLUICE_OK) {                                                          \
            return sluice_try_rc;                                                                  \
        }                                                                                          \
    } while (0)

/* ---- Bounds: a call over one of them fails with SLUICE_ERR_TOO_LARGE ---- */

#define SLUICE_STEPS_MAX   256u /* steps a message */
#define SLUICE_EFFECTS_MAX 64u  /* staged documents and outputs a message, together */
#define SLUICE_KEY_MAX     256u /* bytes of a message's key or a document's own id; see sluice_key */
#define SLUICE_NAME_MAX    64u  /* bytes of a collection's, output's, prompt's or service's name */

/* ---- Data ---- */

/* Bytes that belong to somebody else. */
typedef struct sluice_bytes {
    const void *data;
    size_t len;
} sluice_bytes;

/* One incoming message. It lives until the run ends, what it points to until the message is
 * finished. */
typedef struct sluice_msg {
    uint32_t struct_size;
    uint32_t deliveries; /* how often the server has delivered it, 1 for the first time */
    const char *subject;
    const char *type;  /* protobuf type name of header Sluice-Proto, or the worker's input type */
    sluice_bytes body; /* as received */
    uint64_t sequence; /* in its stream */
    int64_t stored_unix_ns; /* when the stream stored it */
    const char *stream;
} sluice_msg;

/* What the host hands out for one run; opaque but for its first member. */
typedef struct sluice_turn sluice_turn;
/* Values of the worker's own options. */
typedef struct sluice_config sluice_config;

/* A step that was started, see sluice_llm_start. */
typedef struct sluice_step {
    int32_t index; /* negative: could not be started; await returns the error */
} sluice_step;

/* A further message for a prompt, read as {{name.field}}. */
typedef struct sluice_var {
    const char *name;
    const struct ProtobufCMessage *message;
} sluice_var;

#define SLUICE_TEMPERATURE_ZERO (-1.0) /* ask for 0; a plain 0 means "as configured" */

/* Zero members mean "as configured". All texts are copied by the call. */
typedef struct sluice_llm_request {
    const char *prompt;                  /* name of a prompt file, without its suffix */
    const struct ProtobufCMessage *vars; /* fills {{field}} */
    const sluice_var *more_vars;         /* fill {{name.field}} */
    uint32_t more_vars_count;
    uint32_t max_tokens;                             /* of the answer */
    const struct ProtobufCMessageDescriptor *answer; /* type of the answer; NULL: text */
    const char *model;
    const char *system; /* text instead of a prompt file: system message, may be NULL */
    const char *user;   /* text instead of a prompt file: user message */
    double temperature;
    uint32_t timeout_ms;
    uint32_t reserved;
} sluice_llm_request;

/* An answer of the LLM; lives until the message is finished. */
typedef struct sluice_llm_reply {
    const void *answer; /* of the type asked for, validated; NULL without one */
    sluice_bytes text;  /* the text it was read from */
    const char *model;  /* as the server named it */
    const char *finish_reason;
    uint32_t prompt_tokens; /* as the server counted; 0 when it did not say */
    uint32_t completion_tokens;
    int64_t created_unix_ms; /* when the answer arrived first; the same when it comes from the
                                journal */
} sluice_llm_reply;

typedef struct sluice_header {
    const char *name;
    const char *value;
} sluice_header;

/* A call to a service of the configuration; the path is appended to its base URL. */
typedef struct sluice_http_request {
    const char *method; /* NULL: POST with a body, GET without */
    const char *path;
    const sluice_header *headers;
    uint32_t headers_count;
    uint32_t timeout_ms; /* 0: as configured */
    sluice_bytes body;
    const char *content_type; /* NULL: application/json */
} sluice_http_request;

typedef struct sluice_http_reply {
    int32_t status; /* 200…299: other statuses are errors of the call */
    uint32_t reserved;
    sluice_bytes body;
    const char *content_type;
} sluice_http_reply;

/* Runs on another thread with flat copies: no turn, no self. `out` is memory of malloc that the
 * host frees. Nobody can stop it: it may outlive its message, and the worker's `destroy` is not
 * called when one still runs at the end. When such ones hold all threads (four, or
 * UV_THREADPOOL_SIZE), the process ends with exit code 5. */
typedef sluice_rc sluice_offload_fn(sluice_bytes in, void **out, size_t *out_len);

enum { SLUICE_LOG_DEBUG = 0, SLUICE_LOG_INFO = 1, SLUICE_LOG_WARN = 2, SLUICE_LOG_ERROR = 3 };

/* ---- The host's table: append-only ---- */

typedef struct sluice_host {
    uint32_t struct_size; /* as the host was compiled: a member behind it does not exist */
    uint16_t abi_major, abi_minor;
    sluice_rc (*decode)(sluice_turn *, const sluice_msg *,
                        const struct ProtobufCMessageDescriptor *, void *out);
    sluice_step (*llm_start)(sluice_turn *, const sluice_llm_request *, size_t request_size);
    sluice_rc (*llm_await)(sluice_turn *, sluice_step, const sluice_llm_reply **);
    sluice_rc (*await_all)(sluice_turn *, const sluice_step *, uint32_t count);
    sluice_rc (*http)(sluice_turn *, const char *service, const sluice_http_request *,
                      size_t request_size, const sluice_http_reply **);
    sluice_rc (*find)(sluice_turn *, const char *collection, const char *id,
                      const struct ProtobufCMessageDescriptor *, void *out);
    sluice_rc (*offload)(sluice_turn *, const char *name, sluice_offload_fn *, sluice_bytes in,
                         sluice_bytes *out);
    sluice_rc (*store)(sluice_turn *, const char *collection, const char *id,
                       const struct ProtobufCMessage *);
    sluice_rc (*publish)(sluice_turn *, const char *output, const struct ProtobufCMessage *);
    sluice_rc (*fail)(sluice_turn *, sluice_rc, const char *format, va_list);
    void *(*alloc)(sluice_turn *, size_t count, size_t size);
    char *(*format)(sluice_turn *, const char *format, va_list);
    void (*defer)(sluice_turn *, void (*fn)(void *), void *arg);
    void *(*self)(sluice_turn *);
    const char *(*key)(sluice_turn *);
    const char *(*correlation_id)(sluice_turn *);
    const char *(*header)(sluice_turn *, const sluice_msg *, const char *name, uint32_t index);
    int64_t (*now)(sluice_turn *);
    uint64_t (*random)(sluice_turn *);
    void (*log)(sluice_turn *, int32_t level, const char *event, const char *format, va_list);
    const char *(*option_text)(const sluice_config *, const char *key);
    int64_t (*option_number)(const sluice_config *, const char *key);
} sluice_host;

/* Only its first member is for the wrappers below. */
struct sluice_turn {
    const sluice_host *host;
};

/* ---- Steps that wait ---- */

/* Decode the message's body, protobuf or JSON by its Content-Type, as `type` (the lower-case prefix
 * of the generated functions, e.g. context__v1__context_enrich_request). `out` is checked against
 * the type at compile time. Not a waiting step: it never suspends. Errors: SLUICE_REJECT with the
 * reason recorded (body does not parse, wrong type, invalid UTF-8, over a limit); SLUICE_ERR_NOMEM.
 * The result lives until the message is finished. */
#define sluice_decode(turn, message, type, out)                                                    \
    ((turn)->host->decode((turn), (message), &type##__descriptor,                                  \
                          ((void)sizeof(type##__pack(*(out), (uint8_t *)0)), (void *)(out))))

/* Ask the LLM and start waiting for nothing yet; any number may run at once. Never fails by itself:
 * await tells. */
static inline sluice_step sluice_llm_start(sluice_turn *turn, const sluice_llm_request *request)
{
    return turn->host->llm_start(turn, request, sizeof *request);
}

/* The answer of a started step. SLUICE_SUSPEND while it is missing; SLUICE_ERR_LLM, _AUTH,
 * _RATE_LIMITED, _TIMEOUT, _UNAVAILABLE when it failed; SLUICE_ERR_NONDETERMINISTIC when this run
 * asks for something else than the run before. The host itself waits out a 429 as long as the
 * attempt lasts: its Retry-After, cut to SLUICE_RETRY_AFTER_MAX (300 s), also pauses pulling.
 * Return a step's error as it is: when the other side was away, the message is not blamed for it;
 * for an error of the handler's own it is. */
SLUICE_MUST_CHECK static inline sluice_rc sluice_llm_await(sluice_turn *turn, sluice_step step,
                                                           const sluice_llm_reply **reply)
{
    return turn->host->llm_await(turn, step, reply);
}

/* Ask the LLM and wait for the answer; errors as sluice_llm_await. */
SLUICE_MUST_CHECK static inline sluice_rc
sluice_llm(sluice_turn *turn, const sluice_llm_request *request, const sluice_llm_reply **reply)
{
    return turn->host->llm_await(turn, turn->host->llm_start(turn, request, sizeof *request),
                                 reply);
}

/* SLUICE_OK when all steps ended, failed or not; each one's error surfaces at its own await. */
SLUICE_MUST_CHECK static inline sluice_rc sluice_await_all(sluice_turn *turn,
                                                           const sluice_step *steps, uint32_t count)
{
    return turn->host->await_all(turn, steps, count);
}

/* Call a service of the configuration. An Idempotency-Key header, the same on each delivery, is
 * added. Errors: SLUICE_ERR_CONFIG (no such service), _UNAVAILABLE, _TIMEOUT, _AUTH, _NOT_FOUND,
 * _CLIENT, _TOO_LARGE. */
SLUICE_MUST_CHECK static inline sluice_rc sluice_http(sluice_turn *turn, const char *service,
                                                      const sluice_http_request *request,
                                                      const sluice_http_reply **reply)
{
    return turn->host->http(turn, service, request, sizeof *request, reply);
}

/* Read one document by id into a message of `type`, see sluice_decode. SLUICE_ERR_NOT_FOUND when
 * there is none. */
#define sluice_find(turn, collection, id, type, out)                                               \
    ((turn)->host->find((turn), (collection), (id), &type##__descriptor,                           \
                        ((void)sizeof(type##__pack(*(out), (uint8_t *)0)), (void *)(out))))

/* Run a function that computes for long on another thread. `in` is copied. The function must depend
 * on `in` alone. */
SLUICE_MUST_CHECK static inline sluice_rc sluice_offload(sluice_turn *turn, const char *name,
                                                         sluice_offload_fn *fn, sluice_bytes in,
                                                         sluice_bytes *out)
{
    return turn->host->offload(turn, name, fn, in, out);
}

/* ---- Steps that take effect when the handler returns SLUICE_OK ---- */

/* Stage a document; it is serialised now. Its id is the message's key, then key/2, key/3 … in the
 * same collection. Errors: SLUICE_ERR_VALIDATION (name or field), _TOO_LARGE, _NOMEM. */
SLUICE_MUST_CHECK static inline sluice_rc sluice_store(sluice_turn *turn, const char *collection,
                                                       const struct ProtobufCMessage *document)
{
    return turn->host->store(turn, collection, (const char *)0, document);
}

/* As sluice_store, with an id of the handler's own. */
SLUICE_MUST_CHECK static inline sluice_rc sluice_store_as(sluice_turn *turn, const char *collection,
                                                          const char *id,
                                                          const struct ProtobufCMessage *document)
{
    return turn->host->store(turn, collection, id, document);
}

/* Stage a message for one of the worker's outputs; configuration maps the name to a subject. It is
 * serialised now. Its Nats-Msg-Id is worker:key:output:n, n counted per output. Errors:
 * SLUICE_ERR_VALIDATION (unknown output, bad field), SLUICE_REJECT (over the server's limit),
 * _TOO_LARGE, _NOMEM. */
SLUICE_MUST_CHECK static inline sluice_rc sluice_publish(sluice_turn *turn, const char *output,
                                                         const struct ProtobufCMessage *message)
{
    return turn->host->publish(turn, output, message);
}

/* ---- Everything else ---- */

/* Record why this delivery fails, for log and dead letter, and return `rc`: `return sluice_fail(t,
 * SLUICE_REJECT, "…")`. The text is cut at 512 bytes. Do not put secrets or bodies into it. */
SLUICE_PRINTF(3, 4)
static inline sluice_rc sluice_fail(sluice_turn *turn, sluice_rc rc, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    rc = (turn->host->fail)(turn, rc, format, arguments); /* cmocka has a macro fail() */
    va_end(arguments);
    return rc;
}

/* Zeroed memory for `count` things of `size` bytes, until this run ends. NULL when there is none;
 * the run then fails with SLUICE_ERR_NOMEM whatever it returns, and counts as no failure of the
 * message (beyond the 256 MiB that a run may have it does). Overflow of count × size is
 * checked. */
static inline void *sluice_alloc(sluice_turn *turn, size_t count, size_t size)
{
    return turn->host->alloc(turn, count, size);
}

/* Formatted text, until this run ends; never NULL (an empty text when memory ran out, see
 * sluice_alloc). */
SLUICE_PRINTF(2, 3)
static inline char *sluice_format(sluice_turn *turn, const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    text = turn->host->format(turn, format, arguments);
    va_end(arguments);
    return text;
}

/* Call fn(arg) at the end of this run, whatever way it ends; last deferred, first called. */
static inline void sluice_defer(sluice_turn *turn, void (*fn)(void *), void *arg)
{
    turn->host->defer(turn, fn, arg);
}

/* What create() left in *self. */
static inline void *sluice_self(sluice_turn *turn)
{
    return turn->host->self(turn);
}

/* The message's key: identity of its documents and outputs. Never NULL; known after sluice_decode
 * at the latest. Header Sluice-Key, else the text of the worker's key_field, "sha256:" and its
 * SHA-256 when it has more than SLUICE_KEY_MAX bytes; else where the message stands in its stream.
 */
static inline const char *sluice_key(sluice_turn *turn)
{
    return turn->host->key(turn);
}

/* Header X-Correlation-ID, or an id derived from the message; the same on each delivery. Never
 * NULL. */
static inline const char *sluice_correlation_id(sluice_turn *turn)
{
    return turn->host->correlation_id(turn);
}

/* The index-th value of a header of the message, name compared exactly first, then without case;
 * NULL when absent. */
static inline const char *sluice_msg_header(sluice_turn *turn, const sluice_msg *message,
                                            const char *name, uint32_t index)
{
    return turn->host->header(turn, message, name, index);
}

/* Unix time in milliseconds: when the stream stored the message, so the same in every run and on
 * every delivery; of a replay (Sluice-Replay-Of), when its original was. */
static inline int64_t sluice_now(sluice_turn *turn)
{
    return turn->host->now(turn);
}

/* The n-th call gives the same number in every run and on every delivery of a message. Not for
 * secrets. */
static inline uint64_t sluice_random(sluice_turn *turn)
{
    return turn->host->random(turn);
}

/* One structured log line with the message's context. `event` is a stable name like "pack.built".
 * The n-th line of a delivery is written once, however often the function runs. */
SLUICE_PRINTF(4, 5)
static inline void sluice_log(sluice_turn *turn, int32_t level, const char *event,
                              const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    turn->host->log(turn, level, event, format, arguments);
    va_end(arguments);
}

/* ---- The worker's description ---- */

typedef sluice_rc sluice_handler_fn(sluice_turn *turn, const sluice_msg *message);

/* What an OK needs; a return of SLUICE_OK without it is a failure that names the step. An answer of
 * the LLM is one that sluice_llm or sluice_llm_await returned: a step that was only started, or
 * failed, is none. */
enum {
    SLUICE_REQUIRE_DEFAULT = 0, /* an LLM answer, a document and an output */
    SLUICE_REQUIRE_LLM = 1,
    SLUICE_REQUIRE_DOCUMENT = 2,
    SLUICE_REQUIRE_OUTPUT = 4,
    SLUICE_REQUIRE_NONE = 8
};

enum {
    SLUICE_KIND_WORKER = 0 /* consumes messages; sources may follow */
};

/* A handler for some messages only; ends with a zero row. First match wins. */
typedef struct sluice_route {
    const struct ProtobufCMessageDescriptor *input; /* type of the body; NULL: any */
    const char *subject; /* NATS subject pattern with * and >; NULL: any */
    sluice_handler_fn *on_message;
    const char *key_field; /* NULL: the worker's */
} sluice_route;

enum { SLUICE_OPTION_TEXT = 0, SLUICE_OPTION_NUMBER = 1, SLUICE_OPTION_SECRET = 2 };

/* One option of the worker's own: `options: KEY:` in worker.yaml or SLUICE_OPTION_KEY; a SECRET
 * also as KEY_file and SLUICE_OPTION_KEY_FILE. The list ends with a zero row, at most 64. */
typedef struct sluice_option {
    const char *key; /* [a-z0-9_]+ */
    int32_t kind;
    int32_t required;          /* 1: there is no default */
    const char *default_value; /* as text */
    int64_t min, max;          /* of a number, within ±9e15; both 0: any */
    const char *help;
} sluice_option;

typedef struct sluice_worker {
    uint32_t magic; /* these four never move: they protect the rest */
    uint16_t abi_major, abi_minor;
    uint32_t struct_size; /* as the worker was compiled */
    uint32_t kind;
    const char *name; /* [a-z0-9-]{1,64} */
    const char *version;
    const struct ProtobufCMessageDescriptor *input; /* default type of a body */
    const char *key_field;         /* text field of the input that identifies a request: the load is
                                      refused when the input has none of this name */
    sluice_handler_fn *on_message; /* either this … */
    const sluice_route *routes;    /* … or these */
    uint32_t require;
    uint32_t reserved;
    const char *const *outputs;   /* names, NULL at the end, at most 16; NULL: just "ready" */
    const sluice_option *options; /* may be NULL */
    sluice_rc (*create)(const sluice_host *, const sluice_config *, void **self); /* may be NULL */
    void (*destroy)(void *self);                                                  /* may be NULL */
    /* ---- 1.1 */
    /* Names of services that the configuration must have, NULL at the end; may be NULL. */
    const char *const *services;
    /* Names of prompt files, without their suffix, that have to be there and to be right when the
     * worker starts; NULL at the end, at most 64; may be NULL. */
    const char *const *prompts;
} sluice_worker;

typedef const sluice_worker *sluice_worker_entry_fn(void);
#define SLUICE_WORKER_ENTRY "sluice_worker_entry_v1"

/* Defines the exported entry function: SLUICE_WORKER(.name = "…", .version = "…", .on_message = …);
 */
#define SLUICE_WORKER(...)                                                                         \
    SLUICE_EXPORT const sluice_worker *sluice_worker_entry_v1(void);                               \
    const sluice_worker *sluice_worker_entry_v1(void)                                              \
    {                                                                                              \
        static const sluice_worker worker = {.magic = SLUICE_WORKER_MAGIC,                         \
                                             .abi_major = SLUICE_ABI_MAJOR,                        \
                                             .abi_minor = SLUICE_ABI_MINOR,                        \
                                             .struct_size = sizeof(sluice_worker),                 \
                                             __VA_ARGS__};                                         \
        return &worker;                                                                            \
    }                                                                                              \
    typedef int sluice_worker_needs_its_semicolon

#ifdef __cplusplus
}
#endif
#endif
