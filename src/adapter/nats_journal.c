/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing: a record is one put, an answer one create (`Nats-Expected-Last-Subject-Sequence: 0`), a
 * large answer its chunks, then the create. Reading: STREAM.INFO names the subjects below a
 * message's prefix, then each is read by its exact name; both are answered by the bucket's leader.
 * (Walking with next_by_subj costs one search of the whole bucket a step on 2.9: 30 to 140 ms with
 * 200,000 entries, INFO 35 ms once and an exact read 0.1 ms; on 2.12 all are below 1 ms.)
 */
#include "adapter/nats_journal.h"

#include "adapter/nats_clock.h"
#include "adapter/nats_journal_codec.h"
#include "adapter/nats_puback.h"
#include "adapter/nats_publisher.h"
#include "codec/fixed.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS      2000
#define CHUNK_SIZE      (256u * 1024)
#define CHUNKS_AT_ONCE  8u
#define PAYLOAD_MARGIN  4096u /* for headers, beside a body */
#define PAYLOAD_UNKNOWN (512u * 1024)
#define READ_COUNT_MAX  (SLUICE_JOURNALED_MAX + 1 + 2 * SLUICE_JOURNAL_CHUNKS_MAX)
#define READ_BYTES_MAX  (2u * SLUICE_JOURNAL_ANSWER_MAX)

/* One thing to read, and what was found. Stays in its place while its request is open. */
struct item {
    struct op *op;
    char name[96]; /* below the prefix */
    struct sluice_journal_entry entry;
    int is_found;
};

/* One operation of the port. Lives until its callback was made and none of its requests is open. */
struct op {
    struct nats_journal *journal;
    struct op *next, *prev;
    sluice_journal_done_fn *done;
    void *ctx;
    int64_t deadline_ms;
    uint32_t waiting; /* requests open */
    int is_over;      /* the callback was made */
    char prefix[SLUICE_JOURNAL_SUBJECT_SIZE];
    /* Reading. */
    struct item *items;
    uint32_t items_count, items_asked;
    size_t items_bytes;
    void (*read)(struct op *op); /* all items are there */
    sluice_rc failed_rc;         /* the first failure */
    struct sluice_err *err;      /* its words, large and rarely there; NULL: no memory for them */
    /* Putting an answer. */
    struct sluice_journaled id;
    char *bytes;
    size_t len;
    struct sluice_journal_chunk *chunks;
    uint32_t chunks_count, chunks_sent;
    size_t chunk_size;
};

struct nats_journal {
    struct sluice_journal base; /* first */
    struct sluice_publisher *publisher;
    struct sluice_nats_requests *requests;
    char *bucket, *worker;
    int64_t timeout_ms;
    struct op *ops;
};

/* ---- Operations begin and end ---- */

static void op_free(struct op *op)
{
    for (uint32_t i = 0; i < op->items_count; i++) {
        sluice_journal_entry_free(&op->items[i].entry);
    }
    free(op->items);
    free(op->err);
    free(op->chunks);
    free(op->bytes);
    free(op);
}

static void op_free_when_quiet(struct op *op)
{
    if (op->is_over && op->waiting == 0) {
        op_free(op);
    }
}

static void op_unlink(struct op *op)
{
    if (op->prev != NULL) {
        op->prev->next = op->next;
    } else {
        op->journal->ops = op->next;
    }
    if (op->next != NULL) {
        op->next->prev = op->prev;
    }
}

/* What could not be begun: no callback. Returns the reason. */
static sluice_rc op_drop(struct op *op)
{
    op_unlink(op);
    op_free(op);
    return SLUICE_ERR_NOMEM;
}

/* Make the callback, once; the operation is freed by whoever counts its last request. */
static void op_done(struct op *op, struct sluice_journal_done *done)
{
    if (op->is_over) {
        return;
    }
    op->is_over = 1;
    op_unlink(op);
    done->text = done->text == NULL ? "" : done->text;
    if (done->record.failure == NULL) {
        done->record.failure = done->record.step = done->record.text = "";
    }
    op->done(op->ctx, done);
}

static void op_fail(struct op *op, enum sluice_fate fate, sluice_rc rc, const char *text)
{
    struct sluice_journal_done done = {.fate = fate, .rc = rc, .text = text};
    op_done(op, &done);
}

static void op_starve(struct op *op)
{
    op_fail(op, SLUICE_FATE_NO_MEMORY, SLUICE_ERR_NOMEM, "journal: out of memory");
}

static void op_ok(struct op *op)
{
    struct sluice_journal_done done = {.fate = SLUICE_FATE_OK};
    op_done(op, &done);
}

static void on_bad_key(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct op *op = ctx;
    (void)outcome;
    (void)body;
    op->waiting--;
    op_fail(op, SLUICE_FATE_RETRY, SLUICE_ERR_VALIDATION, "journal: the stream's name is too long");
    op_free_when_quiet(op);
}

/* *out is NULL when the message cannot have a journal: the callback follows. */
static sluice_rc op_create(struct sluice_journal *base, const struct sluice_journal_key *key,
                           sluice_journal_done_fn *done, void *ctx, struct op **out)
{
    struct nats_journal *j = (struct nats_journal *)base;
    struct op *op = calloc(1, sizeof *op);
    *out = op;
    if (op == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    op->journal = j;
    op->done = done;
    op->ctx = ctx;
    op->deadline_ms = sluice_nats_now_ms() + j->timeout_ms;
    op->next = j->ops;
    if (j->ops != NULL) {
        j->ops->prev = op;
    }
    j->ops = op;
    if (!sluice_journal_prefix(op->prefix, j->bucket, j->worker, key)) {
        *out = NULL;
        op->waiting++;
        return sluice_nats_requests_defer(j->requests, on_bad_key, op) == SLUICE_OK ? SLUICE_OK
                                                                                    : op_drop(op);
    }
    return SLUICE_OK;
}

SLUICE_MUST_CHECK
static sluice_rc ask(struct op *op, const char *subject, const sluice_header *header,
                     sluice_bytes body, sluice_nats_answer_fn *fn, void *ctx)
{
    int64_t left = op->deadline_ms - sluice_nats_now_ms();
    sluice_rc rc =
        sluice_nats_requests_send(op->journal->requests, subject, header, header != NULL, body,
                                  left > 0 ? left : 0, SLUICE_NATS_IF_NOBODY_LISTENS, fn, ctx);
    op->waiting += rc == SLUICE_OK;
    return rc;
}

static const char *words_of(enum sluice_nats_outcome outcome)
{
    switch (outcome) {
    case SLUICE_NATS_NO_RESPONDERS:
        return "journal: no stream listens on the bucket's subjects";
    case SLUICE_NATS_NOT_SENT:
        return "journal: not connected";
    case SLUICE_NATS_OVERSIZE:
        return "journal: over the server's payload limit";
    case SLUICE_NATS_ILLEGAL:
        return "journal: a subject that NATS does not allow";
    case SLUICE_NATS_LOST:
        return "journal: the connection broke";
    case SLUICE_NATS_LATE:
        return "journal: no answer in time";
    default:
        return "journal: answered";
    }
}

/* ---- Reading ---- */

static void fetch(struct op *op);

static void note_error(struct op *op, sluice_rc rc, const char *text)
{
    if (op->failed_rc == SLUICE_OK) {
        op->failed_rc = rc;
        op->err = rc == SLUICE_ERR_NOMEM ? NULL : calloc(1, sizeof *op->err);
        (void)sluice_err_set(op->err, rc, "%s", text);
    }
}

static void note_starved(struct op *op)
{
    note_error(op, SLUICE_ERR_NOMEM, "");
}

/* Something that was asked for failed, and nothing is open any more. 1: the callback was made. */
static int op_fail_if_noted(struct op *op)
{
    if (op->failed_rc == SLUICE_OK) {
        return 0;
    }
    if (op->err == NULL) {
        op_starve(op);
    } else {
        op_fail(op, SLUICE_FATE_RETRY, op->failed_rc, op->err->text);
    }
    return 1;
}

static void on_item(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct item *item = ctx;
    struct op *op = item->op;
    struct sluice_err err = {0};
    op->waiting--;
    if (!op->is_over && outcome != SLUICE_NATS_ANSWERED) {
        note_error(op, outcome == SLUICE_NATS_LATE ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_CONNECTION,
                   words_of(outcome));
    } else if (!op->is_over) {
        enum sluice_journal_found found = sluice_journal_entry_decode(body, &item->entry, &err);
        if (found == SLUICE_JOURNAL_ERROR) {
            note_error(op, err.rc, err.text);
        }
        item->is_found = found == SLUICE_JOURNAL_FOUND && !item->entry.is_deleted &&
                         op->items_bytes + item->entry.body_len <= READ_BYTES_MAX;
        op->items_bytes += item->is_found ? item->entry.body_len : 0;
    }
    if (op->waiting == 0 && !op->is_over && !op_fail_if_noted(op)) {
        op->read(op);
    }
    op_free_when_quiet(op);
}

/* Ask for the items that were added since the last time. There must be one, unless there was no
 * memory for it. */
static void fetch(struct op *op)
{
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE], body[SLUICE_JOURNAL_SUBJECT_SIZE + 128];
    (void)snprintf(subject, sizeof subject, "%s.STREAM.MSG.GET.KV_%s",
                   sluice_nats_publisher_api_prefix(op->journal->publisher), op->journal->bucket);
    while (op->items_asked < op->items_count && op->failed_rc == SLUICE_OK) {
        struct item *item = &op->items[op->items_asked++];
        int len =
            snprintf(body, sizeof body, "{\"last_by_subj\":\"%s%s\"}", op->prefix, item->name);
        if (ask(op, subject, NULL, (sluice_bytes){body, (size_t)len}, on_item, item) != SLUICE_OK) {
            note_starved(op);
        }
    }
    if (op->waiting == 0) {
        (void)op_fail_if_noted(op);
    }
}

static void add_item(struct op *op, const char *name, size_t len)
{
    if (op->items_count == READ_COUNT_MAX || len >= sizeof op->items[0].name) {
        return;
    }
    if ((op->items_count & (op->items_count - 1)) == 0) { /* at 0, 1, 2, 4, … */
        size_t capacity = op->items_count == 0 ? 1 : (size_t)op->items_count * 2;
        struct item *items = realloc(op->items, capacity * sizeof items[0]);
        if (items == NULL) {
            note_starved(op);
            return;
        }
        op->items = items;
    }
    struct item *item = &op->items[op->items_count++];
    memset(item, 0, sizeof *item);
    item->op = op;
    memcpy(item->name, name, len);
}

static const struct item *find_item(const struct op *op, const char *name, size_t len)
{
    for (uint32_t i = 0; i < op->items_count; i++) {
        const struct item *item = &op->items[i];
        if (item->is_found && strncmp(item->name, name, len) == 0 && item->name[len] == '\0') {
            return item;
        }
    }
    return NULL;
}

static const struct item *find_chunk(const struct op *op, const struct sluice_journal_head *head,
                                     uint32_t index)
{
    char name[2 + SLUICE_JOURNAL_SHA_SIZE] = "c.";
    memcpy(name + 2, head->names + (size_t)index * SLUICE_JOURNAL_SHA_SIZE,
           SLUICE_JOURNAL_SHA_SIZE - 1);
    return find_item(op, name, strlen(name));
}

/* The whole answer of a chunked head; memory of malloc, NULL when a chunk is missing or is not what
 * its name says, or when the operation is noted to have failed. */
static char *join_chunks(struct op *op, const struct sluice_journal_head *head)
{
    char sha[SLUICE_JOURNAL_SHA_SIZE];
    size_t len = 0;
    char *out = malloc(head->len + 1);
    if (out == NULL) {
        note_starved(op);
    }
    for (uint32_t i = 0; out != NULL && i < head->chunks; i++) {
        const struct item *chunk = find_chunk(op, head, i);
        int is_good = chunk != NULL && chunk->entry.body_len <= head->len - len;
        if (is_good) {
            sluice_journal_sha((sluice_bytes){chunk->entry.body, chunk->entry.body_len}, sha);
            is_good = strcmp(sha, chunk->name + 2) == 0;
        }
        if (!is_good) {
            free(out);
            return NULL;
        }
        memcpy(out + len, chunk->entry.body, chunk->entry.body_len);
        len += chunk->entry.body_len;
    }
    if (out != NULL && len != head->len) {
        free(out);
        return NULL;
    }
    return out;
}

/* The answer of an item; `owned` gets what must be freed. 0 when it cannot be read. */
static int read_answer(struct op *op, const struct item *item, struct sluice_journal_answer *out,
                       char **owned)
{
    struct sluice_journal_head head;
    *owned = NULL;
    if (!item->is_found || !sluice_journal_answer_id(item->name, &out->id) ||
        !sluice_journal_head_decode((sluice_bytes){item->entry.body, item->entry.body_len},
                                    &head)) {
        return 0;
    }
    out->bytes = head.bytes;
    if (head.is_chunked) {
        *owned = join_chunks(op, &head);
        out->bytes = (sluice_bytes){*owned, head.len};
    }
    return !head.is_chunked || *owned != NULL;
}

/* ---- load ---- */

/* A record that cannot be read counts as none: it costs what it knew, not the message. */
static void read_record(struct op *op, struct sluice_journal_record_text *texts,
                        struct sluice_journal_done *done)
{
    const struct item *record = find_item(op, "s", 1);
    sluice_rc rc = record == NULL
                       ? SLUICE_ERR_NOT_FOUND
                       : sluice_journal_record_decode(
                             (sluice_bytes){record->entry.body, record->entry.body_len}, texts);
    if (rc == SLUICE_OK) {
        done->record = (struct sluice_journal_record){.numbers = texts->numbers,
                                                      .failure = texts->failure,
                                                      .step = texts->step,
                                                      .text = texts->text};
    } else if (rc == SLUICE_ERR_NOMEM) {
        note_starved(op);
    }
}

static void read_loaded(struct op *op)
{
    struct sluice_journal_done done = {.fate = SLUICE_FATE_OK};
    struct sluice_journal_record_text texts;
    struct sluice_journal_answer *answers = calloc(op->items_count + 1, sizeof answers[0]);
    char **owned = calloc(op->items_count + 1, sizeof owned[0]);
    if (answers == NULL || owned == NULL) {
        free(answers);
        free(owned);
        op_starve(op);
        return;
    }
    read_record(op, &texts, &done);
    for (uint32_t i = 0; i < op->items_count && done.answers_count < SLUICE_JOURNALED_MAX; i++) {
        uint32_t n = done.answers_count;
        done.answers_count += (uint32_t)read_answer(op, &op->items[i], &answers[n], &owned[n]);
    }
    done.answers = answers;
    if (!op_fail_if_noted(op)) {
        op_done(op, &done);
    }
    for (uint32_t i = 0; i < op->items_count; i++) {
        free(owned[i]);
    }
    free(owned);
    free(answers);
}

static int is_chunk_name(const char *name)
{
    return name[0] == 'c' && name[1] == '.' && strlen(name + 2) == SLUICE_JOURNAL_SHA_SIZE - 1 &&
           strspn(name + 2, "0123456789abcdef") == SLUICE_JOURNAL_SHA_SIZE - 1;
}

static void visit_subject(void *ctx, const char *subject)
{
    struct op *op = ctx;
    struct sluice_journaled id;
    size_t prefix_len = strlen(op->prefix);
    if (subject == NULL || strncmp(subject, op->prefix, prefix_len) != 0) {
        return;
    }
    const char *name = subject + prefix_len;
    if (strcmp(name, "s") == 0 || is_chunk_name(name) || sluice_journal_answer_id(name, &id)) {
        add_item(op, name, strlen(name));
    }
}

static void on_subjects(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct op *op = ctx;
    op->waiting--;
    if (!op->is_over && outcome != SLUICE_NATS_ANSWERED) {
        op_fail(op, SLUICE_FATE_RETRY,
                outcome == SLUICE_NATS_LATE ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_CONNECTION,
                words_of(outcome));
    } else if (!op->is_over) {
        struct sluice_err err = {0};
        sluice_rc rc = sluice_journal_subjects_decode(body, visit_subject, op, &err);
        if (rc != SLUICE_OK) {
            op_fail(op, SLUICE_FATE_RETRY, rc, err.text);
        } else if (op->items_count == 0 && op->failed_rc == SLUICE_OK) {
            read_loaded(op);
        } else {
            fetch(op);
        }
    }
    op_free_when_quiet(op);
}

static sluice_rc journal_load(struct sluice_journal *base, const struct sluice_journal_key *key,
                              sluice_journal_done_fn *done, void *ctx)
{
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE], body[SLUICE_JOURNAL_SUBJECT_SIZE + 32];
    struct op *op;
    sluice_rc rc = op_create(base, key, done, ctx, &op);
    if (op == NULL) {
        return rc;
    }
    op->read = read_loaded;
    (void)snprintf(subject, sizeof subject, "%s.STREAM.INFO.KV_%s",
                   sluice_nats_publisher_api_prefix(op->journal->publisher), op->journal->bucket);
    int len = snprintf(body, sizeof body, "{\"subjects_filter\":\"%s>\"}", op->prefix);
    rc = ask(op, subject, NULL, (sluice_bytes){body, (size_t)len}, on_subjects, op);
    return rc == SLUICE_OK ? rc : op_drop(op);
}

/* ---- record_put ---- */

/* What came of a put: 1 when it is stored; otherwise the operation has failed, or `error_code` says
 * why it must not. */
static int read_put(struct op *op, enum sluice_nats_outcome outcome, sluice_bytes body,
                    uint32_t tolerated_error)
{
    struct sluice_puback ack;
    sluice_rc rc;
    char text[SLUICE_ERR_TEXT_SIZE];
    if (op->is_over) {
        return 0;
    }
    if (outcome == SLUICE_NATS_LOST || outcome == SLUICE_NATS_LATE) {
        op_fail(op, SLUICE_FATE_UNKNOWN,
                outcome == SLUICE_NATS_LATE ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_CONNECTION,
                words_of(outcome));
    } else if (outcome != SLUICE_NATS_ANSWERED) {
        op_fail(op, SLUICE_FATE_RETRY,
                outcome == SLUICE_NATS_OVERSIZE ? SLUICE_ERR_TOO_LARGE : SLUICE_ERR_CONNECTION,
                words_of(outcome));
    } else if (!sluice_puback_parse(body, &ack)) {
        op_fail(op, SLUICE_FATE_UNKNOWN, SLUICE_ERR_DECODE, "journal: what answered is no PubAck");
    } else if (ack.is_error && tolerated_error != 0 && ack.error_code == tolerated_error) {
        return -1;
    } else {
        enum sluice_fate fate = sluice_puback_fate(&ack, &rc);
        if (fate == SLUICE_FATE_OK) {
            return 1;
        }
        (void)snprintf(text, sizeof text, "journal: %s (%u)", ack.description, ack.error_code);
        op_fail(op, fate == SLUICE_FATE_UNKNOWN ? fate : SLUICE_FATE_RETRY, rc, text);
    }
    return 0;
}

static void on_record_put(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct op *op = ctx;
    op->waiting--;
    if (read_put(op, outcome, body, 0) == 1) {
        op_ok(op);
    }
    op_free_when_quiet(op);
}

static sluice_rc journal_record_put(struct sluice_journal *base,
                                    const struct sluice_journal_key *key,
                                    const struct sluice_journal_record *record,
                                    sluice_journal_done_fn *done, void *ctx)
{
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE + 96];
    struct op *op;
    sluice_rc rc = op_create(base, key, done, ctx, &op);
    if (op == NULL) {
        return rc;
    }
    op->bytes = sluice_journal_record_encode(record);
    if (op->bytes == NULL) {
        return op_drop(op);
    }
    (void)snprintf(subject, sizeof subject, "%ss", op->prefix);
    rc = ask(op, subject, NULL, (sluice_bytes){op->bytes, strlen(op->bytes)}, on_record_put, op);
    return rc == SLUICE_OK ? rc : op_drop(op);
}

/* ---- answer_put ---- */

/* The answer that was there first is read: is it ours? */
static void read_existing(struct op *op)
{
    struct sluice_journal_done done = {.fate = SLUICE_FATE_OK};
    struct sluice_journal_answer answer;
    struct sluice_journal_head head;
    const struct item *item = &op->items[0];
    char *owned = NULL;
    if (item->is_found &&
        sluice_journal_head_decode((sluice_bytes){item->entry.body, item->entry.body_len}, &head) &&
        head.is_chunked && op->items_count == 1) {
        for (uint32_t i = 0; i < head.chunks; i++) {
            char name[2 + SLUICE_JOURNAL_SHA_SIZE] = "c.";
            memcpy(name + 2, head.names + (size_t)i * SLUICE_JOURNAL_SHA_SIZE,
                   SLUICE_JOURNAL_SHA_SIZE - 1);
            add_item(op, name, strlen(name));
        }
        fetch(op); /* and come again */
        return;
    }
    if (!read_answer(op, item, &answer, &owned)) {
        if (op_fail_if_noted(op)) {
            return;
        }
        op_fail(op, SLUICE_FATE_RETRY, SLUICE_ERR_DECODE,
                "journal: the answer that was there first cannot be read");
        return;
    }
    done.exists = answer.bytes.len != op->len ||
                  (op->len > 0 && memcmp(answer.bytes.data, op->bytes, op->len) != 0);
    done.answers = &answer;
    done.answers_count = done.exists ? 1 : 0;
    op_done(op, &done);
    free(owned);
}

static void on_head_put(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct op *op = ctx;
    op->waiting--;
    int put = read_put(op, outcome, body, SLUICE_JS_ERR_WRONG_LAST_SEQUENCE);
    if (put == 1) {
        op_ok(op);
    } else if (put == -1) {
        char name[96];
        sluice_journal_answer_name(name, &op->id);
        add_item(op, name, strlen(name));
        op->read = read_existing;
        fetch(op);
    }
    op_free_when_quiet(op);
}

static sluice_rc put_head(struct op *op)
{
    static const sluice_header create = {"Nats-Expected-Last-Subject-Sequence", "0"};
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE + 96], name[96];
    size_t len = 0;
    char *head = op->chunks_count == 0
                     ? sluice_journal_inline_encode((sluice_bytes){op->bytes, op->len}, &len)
                     : sluice_journal_chunked_encode(op->chunks, op->chunks_count, op->len, &len);
    if (head == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    sluice_journal_answer_name(name, &op->id);
    struct sluice_fixed text = sluice_fixed_in(subject, sizeof subject);
    sluice_fixed_text(&text, op->prefix);
    sluice_fixed_text(&text, name);
    sluice_rc rc = ask(op, subject, &create, (sluice_bytes){head, len}, on_head_put, op);
    free(head);
    return rc;
}

static sluice_rc put_next_chunk(struct op *op);

static void on_chunk_put(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct op *op = ctx;
    op->waiting--;
    if (read_put(op, outcome, body, 0) == 1) {
        sluice_rc rc = SLUICE_OK;
        if (op->chunks_sent < op->chunks_count) {
            rc = put_next_chunk(op);
        } else if (op->waiting == 0) {
            rc = put_head(op); /* last: who sees the head finds all chunks */
        }
        if (rc != SLUICE_OK && op->waiting == 0) { /* else the next that is stored tries again */
            op_starve(op);
        }
    }
    op_free_when_quiet(op);
}

static sluice_rc put_next_chunk(struct op *op)
{
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE + 96];
    uint32_t index = op->chunks_sent++;
    size_t start = (size_t)index * op->chunk_size;
    size_t len = op->len - start < op->chunk_size ? op->len - start : op->chunk_size;
    (void)snprintf(subject, sizeof subject, "%sc.%s", op->prefix, op->chunks[index].sha);
    sluice_rc rc = ask(op, subject, NULL, (sluice_bytes){op->bytes + start, len}, on_chunk_put, op);
    op->chunks_sent -= rc != SLUICE_OK;
    return rc;
}

static void on_too_large(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct op *op = ctx;
    (void)outcome;
    (void)body;
    op->waiting--;
    op_fail(op, SLUICE_FATE_RETRY, SLUICE_ERR_TOO_LARGE,
            "journal: the answer is larger than the journal takes");
    op_free_when_quiet(op);
}

static sluice_rc put_chunks(struct op *op)
{
    op->chunks_count = (uint32_t)((op->len + op->chunk_size - 1) / op->chunk_size);
    if (op->len > SLUICE_JOURNAL_ANSWER_MAX || op->chunks_count > SLUICE_JOURNAL_CHUNKS_MAX) {
        op->waiting++;
        return sluice_nats_requests_defer(op->journal->requests, on_too_large, op);
    }
    op->chunks = calloc(op->chunks_count, sizeof op->chunks[0]);
    if (op->chunks == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < op->chunks_count; i++) {
        size_t start = (size_t)i * op->chunk_size;
        size_t len = op->len - start < op->chunk_size ? op->len - start : op->chunk_size;
        sluice_journal_sha((sluice_bytes){op->bytes + start, len}, op->chunks[i].sha);
    }
    sluice_rc rc = SLUICE_OK;
    while (op->chunks_sent < op->chunks_count && op->chunks_sent < CHUNKS_AT_ONCE &&
           rc == SLUICE_OK) {
        rc = put_next_chunk(op);
    }
    return op->waiting > 0 ? SLUICE_OK : rc; /* the first that is stored tries the next again */
}

static sluice_rc journal_answer_put(struct sluice_journal *base,
                                    const struct sluice_journal_key *key,
                                    const struct sluice_journaled *id, sluice_bytes bytes,
                                    sluice_journal_done_fn *done, void *ctx)
{
    struct op *op;
    sluice_rc rc = op_create(base, key, done, ctx, &op);
    if (op == NULL) {
        return rc;
    }
    struct sluice_publisher *publisher = op->journal->publisher;
    size_t most = publisher->ops->payload_max(publisher);
    most = most == 0                   ? PAYLOAD_UNKNOWN
           : most > 2 * PAYLOAD_MARGIN ? most - PAYLOAD_MARGIN
                                       : most / 2;
    op->id = *id;
    op->len = bytes.len;
    op->bytes = malloc(bytes.len + 1);
    if (op->bytes == NULL) {
        return op_drop(op);
    }
    if (bytes.len > 0) {
        memcpy(op->bytes, bytes.data, bytes.len);
    }
    op->chunk_size = most < CHUNK_SIZE ? most : CHUNK_SIZE;
    rc = bytes.len + sizeof SLUICE_JOURNAL_INLINE_HEAD > most ? put_chunks(op) : put_head(op);
    return rc == SLUICE_OK ? rc : op_drop(op);
}

/* ---- The port ---- */

static void journal_destroy(struct sluice_journal *base)
{
    struct nats_journal *j = (struct nats_journal *)base;
    if (j == NULL) {
        return;
    }
    while (j->ops != NULL) {
        struct op *op = j->ops;
        op_fail(op, SLUICE_FATE_UNKNOWN, SLUICE_ERR_CANCELLED, "journal: shutting down");
        op_free_when_quiet(op);
    }
    free(j->bucket);
    free(j->worker);
    free(j);
}

static const struct sluice_journal_ops ops = {
    .load = journal_load,
    .answer_put = journal_answer_put,
    .record_put = journal_record_put,
    .destroy = journal_destroy,
};

static int is_name(const char *text)
{
    size_t len = text == NULL ? 0 : strlen(text);
    return len >= 1 && len <= 64 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

sluice_rc sluice_nats_journal_create(const struct sluice_nats_journal_config *config,
                                     struct sluice_journal **out, struct sluice_err *err)
{
    if (!is_name(config->bucket) || !is_name(config->worker)) {
        return sluice_err_set(
            err, SLUICE_ERR_CONFIG,
            "journal: bucket \"%s\" and worker \"%s\" must be [A-Za-z0-9_-]{1,64}",
            config->bucket == NULL ? "" : config->bucket,
            config->worker == NULL ? "" : config->worker);
    }
    struct nats_journal *j = calloc(1, sizeof *j);
    if (j == NULL || (j->bucket = strdup(config->bucket)) == NULL ||
        (j->worker = strdup(config->worker)) == NULL) {
        if (j != NULL) {
            free(j->bucket);
        }
        free(j);
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "journal: out of memory");
    }
    j->base.ops = &ops;
    j->publisher = config->publisher;
    j->requests = sluice_nats_publisher_requests(config->publisher);
    j->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_MS;
    *out = &j->base;
    return SLUICE_OK;
}
