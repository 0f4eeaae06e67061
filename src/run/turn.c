/* SPDX-License-Identifier: Apache-2.0 */
/* The small functions of the host's table: decode, key, memory, log. */
#include "run/turn.h"

#include "codec/hash.h"
#include "codec/header.h"
#include "codec/proto_json.h"
#include "codec/protobuf.h"
#include "core/prng.h"
#include "run/fallback.h"
#include "run/log.h"
#include "sluice/names.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FORMATTED_MAX (1024u * 1024u)

/* ---- Who may call ---- */

static struct turn_handle handles[TURN_HANDLES_COUNT];
static uint32_t handles_used;              /* loop thread */
static _Thread_local struct turn *running; /* NULL between runs, and on every other thread */
static _Thread_local int is_handlers_thread;

sluice_turn *turn_begin(struct turn *t)
{
    struct turn_handle *h = &handles[handles_used++ % TURN_HANDLES_COUNT];
    if (h->base.host == NULL) { /* written once: a thread that kept it may be reading it */
        h->base.host = host_table();
    }
    atomic_store(&h->misused_by, NULL);
    t->handle = h;
    running = t;
    is_handlers_thread = 1;
    return &h->base;
}

const char *turn_end(struct turn *t)
{
    running = NULL;
    return atomic_load(&t->handle->misused_by);
}

/* A handle of ours, or NULL: a copy of a turn, or anything else. */
static struct turn_handle *handle_of(const sluice_turn *t)
{
    for (uint32_t i = 0; i < TURN_HANDLES_COUNT; i++) {
        if (t == &handles[i].base) {
            return &handles[i];
        }
    }
    return NULL;
}

/* May be another thread than the loop's: nothing but the handle's mark is touched, and one line
 * is written for each run whose turn is misused. */
static void misused(const sluice_turn *t, const char *call)
{
    struct turn_handle *h = handle_of(t);
    const char *none = NULL;
    if (h == NULL || atomic_compare_exchange_strong(&h->misused_by, &none, call)) {
        SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "turn.misused",
                   is_handlers_thread ? "with the turn of a run that has ended"
                                      : "on another thread than the handler's",
                   SLUICE_F_TEXT("call", call));
    }
}

struct turn *turn_of(sluice_turn *base, const char *call)
{
    if (running == NULL || base != &running->handle->base) {
        misused(base, call);
        return NULL;
    }
    return running;
}

struct turn *turn_enter(sluice_turn *base, const char *step)
{
    struct turn *t = turn_of(base, step);
    if (t != NULL) {
        atomic_store_explicit(&t->host->running_step, step, memory_order_relaxed);
    }
    return t;
}

sluice_rc turn_enter_going(sluice_turn *base, const char *step, struct turn **out)
{
    *out = turn_enter(base, step);
    if (*out == NULL) {
        return SLUICE_ERR_UNSUPPORTED;
    }
    return (*out)->is_suspended ? SLUICE_SUSPEND : SLUICE_OK;
}

sluice_rc turn_mistake(struct turn *t, sluice_rc rc, const char *what, const char *detail)
{
    if (t->fault == SLUICE_OK) {
        t->fault = rc;
        inflight_blame(t->m, "handler", "%s: %s", what, detail);
    }
    return rc;
}

sluice_rc turn_out_of_memory(struct turn *t)
{
    t->is_out_of_memory = 1;
    return SLUICE_ERR_NOMEM;
}

const char *turn_text(struct inflight *m, const char *text)
{
    return text == NULL ? NULL : sluice_arena_text(&m->arena, text);
}

int is_collection_name(const char *name)
{
    size_t len = name == NULL ? 0 : strlen(name);
    return len >= 1 && len <= SLUICE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

/* ---- Key ---- */

static const char *key_header(const struct inflight *m)
{
    const char *own =
        sluice_header_find(m->delivery->headers, m->delivery->headers_count, SLUICE_HEADER_KEY, 0);
    return own == NULL || own[0] == '\0' ? NULL : own;
}

sluice_rc turn_key_check(struct inflight *m)
{
    const char *own = key_header(m);
    if (own == NULL || sluice_header_text_is_valid(own, SLUICE_KEY_MAX)) {
        return SLUICE_OK;
    }
    inflight_blame(m, "parse",
                   "message %llu: header " SLUICE_HEADER_KEY
                   ": expected 1 to %u bytes of UTF-8 without control characters",
                   (unsigned long long)m->delivery->sequence, SLUICE_KEY_MAX);
    return SLUICE_REJECT;
}

/* A text that is too long for an id: the same for the same text, and anyone can compute it. */
static const char *key_of_long(struct inflight *m, const char *value)
{
    static const char prefix[] = "sha256:";
    char text[sizeof prefix + 2 * (size_t)SLUICE_SHA256_SIZE];
    uint8_t digest[SLUICE_SHA256_SIZE];
    struct sluice_hasher h;
    sluice_hash_begin(&h);
    sluice_hash_raw(&h, (sluice_bytes){value, strlen(value)});
    sluice_hash_end_sha256(&h, digest);
    memcpy(text, prefix, sizeof prefix);
    for (size_t i = 0; i < sizeof digest; i++) {
        (void)snprintf(text + sizeof prefix - 1 + 2 * i, 3, "%02x", digest[i]);
    }
    return sluice_arena_text(&m->arena, text);
}

/* ERR_DECODE for a key that no output's id could carry: nothing of the message may be paid for or
 * stored. ERR_VALIDATION, and a mistake of the worker's, when the type has no such field. */
static sluice_rc key_take(struct turn *t, const struct ProtobufCMessage *message,
                          struct sluice_err *err)
{
    struct inflight *m = t->m;
    const char *value = key_header(m);
    if (value == NULL && message != NULL && t->key_field != NULL) {
        value = sluice_pb_field_text(message, t->key_field);
        if (value == NULL && m->key == NULL) {
            char text[160];
            (void)snprintf(text, sizeof text, "\"%.64s\", expected a text field of %.64s",
                           t->key_field, sluice_pb_type_name(sluice_pb_descriptor(message)));
            return turn_mistake(t, SLUICE_ERR_VALIDATION, "key_field", text);
        }
    }
    if (value == NULL || value[0] == '\0') {
        return SLUICE_OK;
    }
    if (!sluice_header_text_is_valid(value, SIZE_MAX)) {
        return sluice_err_set(err, SLUICE_ERR_DECODE,
                              "%s: a control character in what identifies the message",
                              t->key_field);
    }
    m->key = strlen(value) > SLUICE_KEY_MAX ? key_of_long(m, value) : value;
    return m->key == NULL ? SLUICE_ERR_NOMEM : SLUICE_OK;
}

const char *message_key(struct turn *t)
{
    struct inflight *m = t->m;
    if (m->key == NULL) {
        (void)key_take(t, m->decoded, NULL); /* refused by decode, if it is bad */
    }
    if (m->key == NULL) { /* the fallback: nothing of the message identifies the request */
        char text[FALLBACK_SIZE];
        fallback_write(&m->journal_key, text);
        m->key = sluice_arena_text(&m->arena, text);
    }
    return m->key == NULL ? "" : m->key;
}

/* ---- Decode ---- */

/* The media type counts, in any case; parameters behind it do not. */
static int is_json(const struct inflight *m)
{
    static const char json[] = "application/json";
    const char *type =
        sluice_header_find(m->delivery->headers, m->delivery->headers_count, "Content-Type", 0);
    if (type == NULL || strncasecmp(type, json, sizeof json - 1) != 0) {
        return 0;
    }
    type += sizeof json - 1;
    type += strspn(type, " \t");
    return *type == '\0' || *type == ';';
}

/* What stands behind the white space; 0 at the end. */
static char next_byte(sluice_bytes body, size_t *at)
{
    const char *bytes = body.data;
    while (*at < body.len && (bytes[*at] == ' ' || (bytes[*at] >= '\t' && bytes[*at] <= '\r'))) {
        (*at)++;
    }
    return *at < body.len ? bytes[(*at)++] : '\0';
}

/* An object's first bytes. As protobuf they would begin a group, which no message has. */
static int looks_like_json(sluice_bytes body)
{
    size_t at = 0;
    char first = next_byte(body, &at);
    char second = next_byte(body, &at);
    return first == '{' && (second == '"' || second == '}');
}

static sluice_rc protobuf_read(struct inflight *m, const struct ProtobufCMessageDescriptor *type,
                               sluice_bytes body, struct ProtobufCMessage **message,
                               struct sluice_err *err)
{
    struct sluice_err cause = {.rc = SLUICE_OK};
    sluice_rc rc = sluice_pb_decode(type, body, NULL, &m->arena, message, &cause);
    if (rc == SLUICE_OK || rc == SLUICE_ERR_NOMEM) {
        return rc;
    }
    return sluice_err_set(err, rc, "%s%s", cause.text,
                          looks_like_json(body) ? "; it looks like JSON, which needs the header "
                                                  "Content-Type: application/json"
                                                : "");
}

sluice_rc turn_decode(sluice_turn *base, const sluice_msg *msg,
                      const struct ProtobufCMessageDescriptor *type, void *out)
{
    const void *nothing = NULL;
    if (out != NULL) {
        memcpy(out, &nothing, sizeof nothing);
    }
    struct turn *t = turn_enter(base, "decode");
    if (t == NULL) {
        return SLUICE_ERR_UNSUPPORTED;
    }
    if (msg == NULL || type == NULL || out == NULL) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "decode", "message, type or result is NULL");
    }
    struct inflight *m = t->m;
    if (m->decoded != NULL && m->decoded_type == type) {
        memcpy(out, &m->decoded, sizeof m->decoded);
        return SLUICE_OK;
    }
    struct sluice_err err = {.rc = SLUICE_OK};
    struct ProtobufCMessage *message = NULL;
    const char *declared =
        sluice_header_find(m->delivery->headers, m->delivery->headers_count, "Sluice-Proto", 0);
    sluice_rc rc;
    if (declared != NULL && strcmp(declared, sluice_pb_type_name(type)) != 0) {
        rc = sluice_err_set(&err, SLUICE_ERR_DECODE, "type %.128s, expected %s", declared,
                            sluice_pb_type_name(type));
    } else if (msg->body.len == 0) {
        rc = sluice_err_set(&err, SLUICE_ERR_DECODE, "empty body, expected %s",
                            sluice_pb_type_name(type));
    } else if (is_json(m)) {
        rc = sluice_proto_from_json(type, msg->body, 0, &m->arena, &message, &err);
    } else {
        rc = protobuf_read(m, type, msg->body, &message, &err);
    }
    if (rc == SLUICE_OK) {
        rc = key_take(t, message, &err);
        if (rc == SLUICE_ERR_VALIDATION) {
            return rc; /* the worker's mistake, not the message's */
        }
    }
    if (rc == SLUICE_ERR_NOMEM) {
        return turn_out_of_memory(t);
    }
    if (rc != SLUICE_OK) {
        inflight_blame(m, "parse", "message %llu (%zu bytes): %s",
                       (unsigned long long)m->delivery->sequence, msg->body.len, err.text);
        return SLUICE_REJECT;
    }
    m->decoded = message;
    m->decoded_type = type;
    const void *found = message;
    memcpy(out, &found, sizeof found);
    return SLUICE_OK;
}

/* ---- Small ones ---- */

sluice_rc turn_fail(sluice_turn *base, sluice_rc rc, const char *format, va_list arguments)
{
    struct turn *t = turn_of(base, "fail");
    if (t == NULL || t->is_suspended) {
        return rc;
    }
    char text[SLUICE_ERR_TEXT_SIZE] = "failed without a reason";
    if (format != NULL) {
        (void)vsnprintf(text, sizeof text, format, arguments);
    }
    inflight_blame(t->m, "handler", "%s", text);
    return rc;
}

void *turn_alloc(sluice_turn *base, size_t count, size_t size)
{
    struct turn *t = turn_of(base, "alloc");
    if (t == NULL) {
        return NULL;
    }
    void *p = sluice_arena_alloc(&t->host->scratch, count, size);
    t->is_out_of_memory |= p == NULL;
    return p;
}

char *turn_format(sluice_turn *base, const char *format, va_list arguments)
{
    static char nothing[1];
    struct turn *t = turn_of(base, "format");
    if (t == NULL) {
        return nothing;
    }
    if (format == NULL) {
        (void)turn_mistake(t, SLUICE_ERR_VALIDATION, "format", "the format is NULL");
        return nothing;
    }
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0 || (unsigned)len > FORMATTED_MAX) {
        (void)turn_mistake(t, SLUICE_ERR_TOO_LARGE, "format", "the text would be too long");
        return nothing;
    }
    char *text = sluice_arena_alloc(&t->host->scratch, 1, (size_t)len + 1);
    if (text == NULL) {
        t->is_out_of_memory = 1;
        return nothing;
    }
    (void)vsnprintf(text, (size_t)len + 1, format, arguments);
    return text;
}

void turn_defer(sluice_turn *base, void (*fn)(void *), void *arg)
{
    struct turn *t = turn_of(base, "defer");
    if (t == NULL) {
        return; /* a leak, rather than memory that is given back while it is used */
    }
    if (fn == NULL) {
        (void)turn_mistake(t, SLUICE_ERR_VALIDATION, "defer", "the function is NULL");
        return;
    }
    if (t->deferred_count == TURN_DEFERRED_MAX) {
        (void)turn_mistake(t, SLUICE_ERR_TOO_LARGE, "defer", "more than 64 in one run");
        fn(arg);
        return;
    }
    t->deferred[t->deferred_count].fn = fn;
    t->deferred[t->deferred_count++].arg = arg;
}

void *turn_self(sluice_turn *base)
{
    struct turn *t = turn_of(base, "self");
    return t == NULL ? NULL : t->host->self;
}

const char *turn_key(sluice_turn *base)
{
    struct turn *t = turn_of(base, "key");
    return t == NULL ? "" : message_key(t);
}

const char *turn_correlation_id(sluice_turn *base)
{
    struct turn *t = turn_of(base, "correlation_id");
    return t == NULL ? "" : t->m->correlation_id;
}

const char *turn_header(sluice_turn *base, const sluice_msg *msg, const char *name, uint32_t index)
{
    (void)msg;
    struct turn *t = turn_of(base, "msg_header");
    if (t == NULL) {
        return NULL;
    }
    if (name == NULL) {
        (void)turn_mistake(t, SLUICE_ERR_VALIDATION, "msg_header", "the name is NULL");
        return NULL;
    }
    const struct sluice_delivery *d = t->m->delivery;
    return sluice_header_find(d->headers, d->headers_count, name, index);
}

int64_t turn_now(sluice_turn *base)
{
    struct turn *t = turn_of(base, "now");
    return t == NULL ? 0 : t->m->journal_key.stored_unix_ns / 1000000;
}

uint64_t turn_random(sluice_turn *base)
{
    struct turn *t = turn_of(base, "random");
    if (t == NULL) {
        return 0;
    }
    const struct sluice_journal_key *d = &t->m->journal_key;
    struct sluice_prng prng = {(uint64_t)d->stored_unix_ns ^ d->sequence * 0x9e3779b97f4a7c15u ^
                               ++t->randoms * 0xd1342543de82ef95u};
    return sluice_prng_next(&prng);
}

void turn_log(sluice_turn *base, int32_t level, const char *event, const char *format,
              va_list arguments)
{
    struct turn *t = turn_of(base, "log");
    if (t == NULL) {
        return;
    }
    if (event == NULL || format == NULL) {
        (void)turn_mistake(t, SLUICE_ERR_VALIDATION, "log", "event or format is NULL");
        return;
    }
    if (level < SLUICE_LOG_DEBUG || level > SLUICE_LOG_ERROR) {
        (void)turn_mistake(t, SLUICE_ERR_VALIDATION, "log", "the level is none of SLUICE_LOG_…");
        return;
    }
    if (t->is_suspended || ++t->lines <= t->m->lines_logged) {
        return;
    }
    t->m->lines_logged = t->lines;
    char text[1024];
    (void)vsnprintf(text, sizeof text, format, arguments);
    if (t->host->log != NULL) {
        t->host->log(t->host->log_ctx, t->m, level, event, text);
    }
}
