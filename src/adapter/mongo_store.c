/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/mongo_store.h"

#include "adapter/group_commit.h"
#include "adapter/mongo_body.h"
#include "adapter/mongo_bulk.h"
#include "adapter/mongo_link.h"
#include "adapter/mongo_reply.h"
#include "port/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATABASE_LEN_MAX 63u /* MongoDB's */
/* Of a group: a message beyond the bound goes alone and has at most SLUICE_EFFECTS_MAX. */
#define WRITES_MAX SLUICE_GROUP_DOCUMENTS_MAX
/* Upserts of a broken-up bulk that fail one after the other as a whole, before the rest is given
 * up: then it is not one document's fault. */
#define LONE_FAILURES_MAX 4u
#define NOT_WRITTEN       "the command cannot be written"

_Static_assert(SLUICE_EFFECTS_MAX <= WRITES_MAX, "a message fits into a group");

/* One upsert of a group. */
struct write {
    struct sluice_group_op *op;
    uint32_t doc;
    uint32_t position; /* in the group: sorting keeps it */
    int is_stored;
    int is_alone_wanted; /* the reply left it open, or another writer was faster */
};

struct mongo_store {
    struct sluice_group_store grouped; /* first member */
    const struct sluice_allocator *allocator;
    struct sluice_mongo_link link;
    char database[DATABASE_LEN_MAX + 1];
    uint32_t timeout_ms;
    mongoc_write_concern_t *concern;
    mongoc_read_prefs_t *primary;
    struct sluice_mongo_bulk bulk; /* the store's thread */

    /* Of the group that is being committed; the store's thread. */
    mongoc_client_t *client;
    int64_t began_ms; /* the call that is running */
    int64_t deadline_ms;
    uint32_t writes_count;
    struct write writes[WRITES_MAX];
    struct sluice_mongo_outcome outcomes[WRITES_MAX];
};

/* ---- Results */

static void fail_op(struct mongo_store *s, struct sluice_group_op *op, enum sluice_fate fate,
                    sluice_rc rc, uint32_t doc, const char *reason)
{
    char text[SLUICE_ERR_TEXT_SIZE];
    if (op->is_settled) {
        /* The first error is the one told; the first document that is not stored is another
         * matter. */
        op->failed_doc = op->fate != SLUICE_FATE_OK && doc < op->failed_doc ? doc : op->failed_doc;
        return;
    }
    sluice_mongo_link_text(&s->link, reason, text, sizeof text);
    sluice_group_fail(op, fate, rc, doc, "%s", text);
}

/* The server's word about one document. */
static void fail_write(struct mongo_store *s, const struct write *w, int32_t code,
                       const char *reason)
{
    char text[SLUICE_ERR_TEXT_SIZE];
    enum sluice_fate fate = SLUICE_FATE_RETRY;
    sluice_rc rc = SLUICE_ERR_DB;
    switch (code) {
    case 10334: /* BSONObjectTooLarge */
    case 17419: /* the resulting document is too large */
    case 17420:
        fate = SLUICE_FATE_PERMANENT;
        rc = SLUICE_ERR_TOO_LARGE;
        break;
    case 121: /* DocumentValidationFailure: a rule of this collection */
        fate = SLUICE_FATE_PERMANENT;
        break;
    default:
        break;
    }
    (void)snprintf(text, sizeof text, "collection %s: %s (code %d)", w->op->docs[w->doc].collection,
                   reason, (int)code);
    fail_op(s, w->op, fate, rc, w->doc, text);
}

static void fail_call(struct mongo_store *s, const struct write *writes, uint32_t count,
                      const bson_error_t *error)
{
    sluice_rc rc = sluice_mongo_link_rc(&s->link, error, sluice_mono_ms() - s->began_ms);
    for (uint32_t i = 0; i < count; i++) {
        fail_op(s, writes[i].op, sluice_mongo_link_fate(error), rc, writes[i].doc, error->message);
    }
}

/* ---- One call */

static mongoc_bulk_operation_t *build(struct mongo_store *s, mongoc_collection_t *collection,
                                      const struct write *writes, uint32_t count,
                                      bson_error_t *error)
{
    bson_t options = BSON_INITIALIZER;
    int is_good = BSON_APPEND_BOOL(&options, "ordered", false) &&
                  mongoc_write_concern_append(s->concern, &options);
    mongoc_bulk_operation_t *bulk =
        mongoc_collection_create_bulk_operation_with_opts(collection, &options);
    bson_destroy(&options);
    bson_t upsert = BSON_INITIALIZER;
    is_good = is_good && BSON_APPEND_BOOL(&upsert, "upsert", true) &&
              BSON_APPEND_BOOL(&upsert, "validate", false); /* done by is_sound() */
    for (uint32_t i = 0; is_good && i < count; i++) {
        const struct sluice_doc *doc = &writes[i].op->docs[writes[i].doc];
        bson_t body;
        bson_t filter = BSON_INITIALIZER;
        is_good = BSON_APPEND_UTF8(&filter, "_id", doc->id) &&
                  bson_init_static(&body, doc->body.data, doc->body.len) &&
                  mongoc_bulk_operation_replace_one_with_opts(bulk, &filter, &body, &upsert, error);
        bson_destroy(&filter);
    }
    bson_destroy(&upsert);
    if (!is_good) {
        mongoc_bulk_operation_destroy(bulk);
        return NULL;
    }
    return bulk;
}

/* How a call went, as far as the next one is concerned. */
enum call {
    CALL_ANSWERED, /* what failed is its documents' fault */
    CALL_VAGUE,    /* an error of the whole call, or an incomplete reply */
    CALL_DOWN      /* neither server nor connection would treat another call better */
};

static int is_race(const struct sluice_mongo_outcome *outcome)
{
    return outcome->state == SLUICE_MONGO_FAILED &&
           (outcome->code == 11000 || outcome->code == 11001 || outcome->code == 12582);
}

/* What became of one upsert. The first time, what is open and what another writer got in the way of
 * is only noted. */
static void judge_one(struct mongo_store *s, struct write *w,
                      const struct sluice_mongo_outcome *outcome, const bson_error_t *error)
{
    int is_first = !w->is_alone_wanted;
    w->is_stored = outcome->state == SLUICE_MONGO_STORED;
    if (w->is_stored) {
        return;
    }
    if (is_first && (outcome->state == SLUICE_MONGO_OPEN || is_race(outcome))) {
        w->is_alone_wanted = 1;
    } else if (outcome->state == SLUICE_MONGO_FAILED) {
        fail_write(s, w, outcome->code, outcome->text);
    } else if (error->message[0] != '\0') {
        fail_call(s, w, 1, error);
    } else {
        fail_op(s, w->op, SLUICE_FATE_UNKNOWN, SLUICE_ERR_DB, w->doc,
                "the reply does not confirm the write");
    }
}

/* `error` is empty if the call came to a reply without one. */
static enum call judge(struct mongo_store *s, struct write *writes, uint32_t count,
                       const bson_t *reply, const bson_error_t *error)
{
    const char *unmet = NULL;
    enum sluice_mongo_account account = sluice_mongo_reply_read(reply, count, s->outcomes, &unmet);
    if (account == SLUICE_MONGO_UNCONFIRMED) {
        for (uint32_t i = 0; i < count; i++) {
            fail_op(s, writes[i].op, SLUICE_FATE_RETRY, SLUICE_ERR_DB, writes[i].doc, unmet);
        }
        return CALL_ANSWERED;
    }
    if (account == SLUICE_MONGO_INCOMPLETE && sluice_mongo_link_is_down(error)) {
        fail_call(s, writes, count, error);
        return CALL_DOWN;
    }
    for (uint32_t i = 0; i < count; i++) {
        judge_one(s, &writes[i], &s->outcomes[i], error);
    }
    return account == SLUICE_MONGO_COMPLETE ? CALL_ANSWERED : CALL_VAGUE;
}

/* What a command says about the size of the next ones. */
static void note_size(struct mongo_store *s, uint32_t count, enum call call,
                      const bson_error_t *error)
{
    if (call == CALL_ANSWERED) {
        sluice_mongo_bulk_answered(&s->bulk, count);
    } else if (sluice_mongo_link_rc(&s->link, error, sluice_mono_ms() - s->began_ms) ==
               SLUICE_ERR_TIMEOUT) {
        sluice_mongo_bulk_timed_out(&s->bulk, count);
    }
}

/* Upsert documents of one collection in one bulk. */
static enum call run_bulk(struct mongo_store *s, struct write *writes, uint32_t count,
                          bson_error_t *error)
{
    const char *name = writes[0].op->docs[writes[0].doc].collection;
    mongoc_collection_t *collection = mongoc_client_get_collection(s->client, s->database, name);
    bson_t reply = BSON_INITIALIZER;
    memset(error, 0, sizeof *error);
    s->began_ms = sluice_mono_ms();
    mongoc_bulk_operation_t *bulk = build(s, collection, writes, count, error);
    if (bulk != NULL) {
        bson_destroy(&reply); /* execute begins a new one */
        (void)mongoc_bulk_operation_execute(bulk, &reply, error);
        mongoc_bulk_operation_destroy(bulk);
    }
    enum call call = judge(s, writes, count, &reply, error);
    note_size(s, count, call, error);
    bson_destroy(&reply);
    mongoc_collection_destroy(collection);
    return call;
}

static int is_out_of_time(struct mongo_store *s)
{
    return sluice_group_is_stopping(s->grouped.group) || sluice_mono_ms() > s->deadline_ms;
}

/* What is open once more, each by itself, as long as that makes sense: the server answers, time is
 * left, and it is not always the whole call that fails. */
static enum call run_alone(struct mongo_store *s, struct write *writes, uint32_t count,
                           bson_error_t *error)
{
    uint32_t vague = 0;
    enum call call = CALL_ANSWERED;
    for (uint32_t i = 0; i < count; i++) {
        struct write *w = &writes[i];
        if (!w->is_alone_wanted || w->op->is_settled) {
            continue;
        }
        if (call == CALL_DOWN || vague == LONE_FAILURES_MAX) {
            judge_one(s, w, &(struct sluice_mongo_outcome){.state = SLUICE_MONGO_OPEN}, error);
        } else if (is_out_of_time(s)) {
            fail_op(s, w->op, SLUICE_FATE_UNKNOWN, SLUICE_ERR_TIMEOUT, w->doc,
                    "the reply left the write open, and there was no time to repeat it");
        } else {
            call = run_bulk(s, w, 1, error);
            vague = call == CALL_VAGUE && !w->is_stored ? vague + 1 : 0;
        }
    }
    return call;
}

/* ---- Commit */

static int is_sound(struct sluice_group_op *op, uint32_t doc)
{
    const char *fault = sluice_mongo_body_fault(op->docs[doc].body);
    if (fault != NULL) {
        sluice_group_fail(op, SLUICE_FATE_PERMANENT, SLUICE_ERR_VALIDATION, doc,
                          "mongodb: collection %s: %s", op->docs[doc].collection, fault);
    }
    return fault == NULL;
}

/* Of two documents of the same name within one message the last counts; in an unordered bulk they
 * would race. */
static int is_superseded(const struct sluice_group_op *op, uint32_t doc)
{
    for (uint32_t i = doc + 1; i < op->docs_count; i++) {
        if (strcmp(op->docs[i].id, op->docs[doc].id) == 0 &&
            strcmp(op->docs[i].collection, op->docs[doc].collection) == 0) {
            return 1;
        }
    }
    return 0;
}

static int compare_writes(const void *a, const void *b)
{
    const struct write *x = a;
    const struct write *y = b;
    int order = strcmp(x->op->docs[x->doc].collection, y->op->docs[y->doc].collection);
    return order != 0 ? order : (x->position > y->position) - (x->position < y->position);
}

static void add_writes(struct mongo_store *s, struct sluice_group_op *op)
{
    uint32_t before = s->writes_count;
    for (uint32_t i = 0; i < op->docs_count; i++) {
        if (!is_sound(op, i) || s->writes_count == WRITES_MAX) {
            s->writes_count = before; /* all of a message or nothing */
            return;
        }
        if (!is_superseded(op, i)) {
            uint32_t n = s->writes_count++;
            s->writes[n] = (struct write){.op = op, .doc = i, .position = n};
        }
    }
}

/* How many writes from here on go into the same collection. */
static uint32_t run_of(const struct mongo_store *s, uint32_t from)
{
    const struct write *first = &s->writes[from];
    const char *name = first->op->docs[first->doc].collection;
    uint32_t to = from + 1;
    while (to < s->writes_count && to - from < s->bulk.size &&
           strcmp(s->writes[to].op->docs[s->writes[to].doc].collection, name) == 0) {
        to++;
    }
    return to - from;
}

static void fail_unsent(struct mongo_store *s, const struct write *writes, uint32_t count)
{
    int is_closing = sluice_group_is_stopping(s->grouped.group);
    for (uint32_t i = 0; i < count; i++) {
        fail_op(s, writes[i].op, is_closing ? SLUICE_FATE_CANCELLED : SLUICE_FATE_UNREACHABLE,
                is_closing ? SLUICE_ERR_CANCELLED : SLUICE_ERR_TIMEOUT, writes[i].doc,
                is_closing ? "the store is closing" : "no time was left for this command");
    }
}

static void run_collections(struct mongo_store *s)
{
    bson_error_t error = {0};
    enum call call = CALL_ANSWERED;
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->writes_count; i += count) {
        count = run_of(s, i);
        if (call == CALL_DOWN) {
            fail_call(s, &s->writes[i], count, &error);
            continue;
        }
        if (i > 0 && is_out_of_time(s)) {
            fail_unsent(s, &s->writes[i], count);
            continue;
        }
        call = run_bulk(s, &s->writes[i], count, &error);
        if (call != CALL_DOWN) {
            call = run_alone(s, &s->writes[i], count, &error);
        }
    }
}

static int pop_client(struct mongo_store *s, bson_error_t *error)
{
    s->began_ms = sluice_mono_ms();
    s->client = mongoc_client_pool_pop(s->link.pool);
    if (s->client == NULL) {
        bson_set_error(error, MONGOC_ERROR_POOL, 0, "no free connection");
    }
    return s->client != NULL;
}

static void push_client(struct mongo_store *s)
{
    mongoc_client_pool_push(s->link.pool, s->client);
    s->client = NULL;
}

static void store_commit(void *self, struct sluice_group_op **ops, uint32_t count)
{
    struct mongo_store *s = self;
    bson_error_t error = {0};
    s->writes_count = 0;
    s->deadline_ms = sluice_mono_ms() + s->timeout_ms;
    for (uint32_t i = 0; i < count; i++) {
        add_writes(s, ops[i]);
    }
    if (s->writes_count == 0) {
        return;
    }
    qsort(s->writes, s->writes_count, sizeof s->writes[0], compare_writes);
    if (pop_client(s, &error)) {
        run_collections(s);
        push_client(s);
    } else {
        fail_call(s, s->writes, s->writes_count, &error);
    }
    /* A message is stored if nothing spoke against it and each of its writes is. */
    for (uint32_t i = 0; i < s->writes_count; i++) {
        if (!s->writes[i].is_stored) {
            fail_op(s, s->writes[i].op, SLUICE_FATE_UNKNOWN, SLUICE_ERR_DB, s->writes[i].doc,
                    "the write was not confirmed");
        }
    }
    for (uint32_t i = 0; i < s->writes_count; i++) {
        sluice_group_ok(s->writes[i].op);
    }
}

/* ---- Find and ping */

static void fail_read(struct mongo_store *s, struct sluice_group_op *op, const bson_error_t *error)
{
    int64_t spent_ms = sluice_mono_ms() - s->began_ms;
    enum sluice_fate fate = sluice_mongo_link_fate(error);
    /* A read leaves nothing open: it can be repeated. */
    fail_op(s, op, fate == SLUICE_FATE_UNKNOWN ? SLUICE_FATE_RETRY : fate,
            sluice_mongo_link_rc(&s->link, error, spent_ms), 0, error->message);
}

static void find_with_client(struct mongo_store *s, struct sluice_group_op *op)
{
    const struct sluice_doc *doc = &op->docs[0];
    bson_error_t error = {0};
    const bson_t *found = NULL;
    bson_t filter = BSON_INITIALIZER;
    bson_t options = BSON_INITIALIZER;
    int is_good = BSON_APPEND_UTF8(&filter, "_id", doc->id) &&
                  BSON_APPEND_INT64(&options, "limit", 1) &&
                  BSON_APPEND_BOOL(&options, "singleBatch", true) &&
                  BSON_APPEND_INT64(&options, "maxTimeMS", s->link.write_timeout_ms);
    mongoc_collection_t *collection =
        mongoc_client_get_collection(s->client, s->database, doc->collection);
    mongoc_cursor_t *cursor =
        mongoc_collection_find_with_opts(collection, &filter, &options, s->primary);
    if (!is_good) { /* an empty filter would find any document */
        bson_set_error(&error, MONGOC_ERROR_BSON, MONGOC_ERROR_BSON_INVALID, NOT_WRITTEN);
        fail_read(s, op, &error);
    } else if (mongoc_cursor_next(cursor, &found)) {
        sluice_group_found(op,
                           (sluice_bytes){.data = bson_get_data(found), .len = (size_t)found->len},
                           (sluice_bytes){.data = NULL, .len = 0});
    } else if (mongoc_cursor_error(cursor, &error)) {
        fail_read(s, op, &error);
    } else {
        sluice_group_missing(op);
    }
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(&options);
    bson_destroy(&filter);
}

static void store_find(void *self, struct sluice_group_op *op)
{
    struct mongo_store *s = self;
    bson_error_t error = {0};
    if (!pop_client(s, &error)) {
        fail_read(s, op, &error);
        return;
    }
    find_with_client(s, op);
    push_client(s);
}

static void store_ping(void *self, struct sluice_group_op *op)
{
    struct mongo_store *s = self;
    bson_error_t error = {0};
    if (!pop_client(s, &error)) {
        fail_read(s, op, &error);
        return;
    }
    bson_t command = BSON_INITIALIZER;
    if (!BSON_APPEND_INT32(&command, "ping", 1)) {
        bson_set_error(&error, MONGOC_ERROR_BSON, MONGOC_ERROR_BSON_INVALID, NOT_WRITTEN);
        fail_read(s, op, &error);
    } else if (mongoc_client_command_simple(s->client, s->database, &command, s->primary, NULL,
                                            &error)) {
        sluice_group_ok(op);
    } else {
        fail_read(s, op, &error);
    }
    bson_destroy(&command);
    push_client(s);
}

/* ---- The port */

static void destroy(struct sluice_store *base)
{
    struct mongo_store *s = (struct mongo_store *)base;
    if (s == NULL) {
        return;
    }
    sluice_group_destroy(s->grouped.group);
    mongoc_write_concern_destroy(s->concern);
    mongoc_read_prefs_destroy(s->primary);
    sluice_mongo_link_close(&s->link);
    sluice_mem_free(s->allocator, s);
}

static sluice_rc take_database(struct mongo_store *s, const char *name, struct sluice_err *err)
{
    size_t len = name == NULL ? 0 : strnlen(name, DATABASE_LEN_MAX + 1);
    if (len == 0 || len > DATABASE_LEN_MAX || strcspn(name, "/\\. \"$*<>:|?") != len) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "MongoDB database \"%.*s\": expected 1 to %u bytes without any of "
                              "/\\. \"$*<>:|?",
                              (int)len, name == NULL ? "" : name, DATABASE_LEN_MAX);
    }
    memcpy(s->database, name, len);
    return SLUICE_OK;
}

sluice_rc sluice_mongo_store_create(const struct sluice_mongo_config *config,
                                    struct sluice_store **out, struct sluice_err *err)
{
    static const struct sluice_store_ops ops = {.name = "mongodb",
                                                .format = SLUICE_DOC_BSON,
                                                .put = sluice_group_put,
                                                .find = sluice_group_find,
                                                .ping = sluice_group_ping,
                                                .destroy = destroy};
    static const struct sluice_group_backend backend = {
        .commit = store_commit, .find = store_find, .ping = store_ping};
    const struct sluice_allocator *a = config->allocator;
    struct mongo_store *s = sluice_mem_alloc(a, 1, sizeof *s);
    if (s == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "mongodb store: out of memory");
    }
    s->grouped.base.ops = &ops;
    s->allocator = a;
    s->timeout_ms = config->timeout_ms == 0 ? SLUICE_STORE_TIMEOUT_MS : config->timeout_ms;
    sluice_mongo_bulk_init(&s->bulk);
    struct sluice_group_config group = {.format = SLUICE_DOC_BSON,
                                        .timeout_ms = s->timeout_ms,
                                        .mailbox = config->mailbox,
                                        .allocator = a,
                                        .backend = &backend,
                                        .self = s};
    sluice_rc rc = take_database(s, config->database, err);
    if (rc != SLUICE_OK ||
        (rc = sluice_mongo_link_open(&s->link, config->uri, s->timeout_ms, a, err)) != SLUICE_OK) {
        goto fail;
    }
    s->concern = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(s->concern, s->link.write_timeout_ms);
    mongoc_write_concern_set_journal(s->concern, true);
    s->primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    if ((rc = sluice_group_create(&group, &s->grouped.group, err)) != SLUICE_OK) {
        goto fail;
    }
    *out = &s->grouped.base;
    return SLUICE_OK;
fail:
    destroy(&s->grouped.base);
    return rc;
}
