/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record is one put, an answer one create (`Nats-Expected-Last-Subject-Sequence: 0`), a large
 * answer its chunks, then the create.
 */
#include "adapter/nats_journal_keep.h"

#include "adapter/nats_journal_reading.h"
#include "adapter/nats_puback.h"
#include "codec/fixed.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE      (256u * 1024)
#define CHUNKS_AT_ONCE  8u
#define PAYLOAD_MARGIN  4096u /* for headers, beside a body */
#define PAYLOAD_UNKNOWN (512u * 1024)

/* An answer on its way into the journal; it reads when another was there first. */
struct answer_put {
    struct sluice_journal_reading reading; /* first */
    struct sluice_journaled id;
    char *bytes;
    size_t len;
    struct sluice_journal_chunk *chunks;
    uint32_t chunks_count, chunks_sent;
    size_t chunk_size;
};

/* Anybody may answer on the subjects of a bucket that is not there. */
static int is_of_bucket(const struct sluice_journal_call *call, const struct sluice_puback *ack)
{
    char stream[sizeof ack->stream];
    (void)snprintf(stream, sizeof stream, "KV_%s", call->journal->bucket);
    return strcmp(ack->stream, stream) == 0;
}

/* What came of a put: 1 it is stored, 0 the operation has failed, -1 the server refused it with
 * `tolerated_error` (0: none is), which is for the caller to judge. */
static int read_put(struct sluice_journal_call *call, enum sluice_nats_outcome outcome,
                    sluice_bytes body, uint32_t tolerated_error)
{
    struct sluice_puback ack;
    sluice_rc rc;
    char text[SLUICE_ERR_TEXT_SIZE];
    if (call->is_over) {
        return 0;
    }
    if (outcome == SLUICE_NATS_LOST || outcome == SLUICE_NATS_LATE) {
        sluice_journal_call_fail(call, SLUICE_FATE_UNKNOWN,
                                 outcome == SLUICE_NATS_LATE ? SLUICE_ERR_TIMEOUT
                                                             : SLUICE_ERR_CONNECTION,
                                 sluice_journal_call_words(outcome));
    } else if (outcome != SLUICE_NATS_ANSWERED) {
        sluice_journal_call_fail(call, SLUICE_FATE_RETRY,
                                 outcome == SLUICE_NATS_OVERSIZE ? SLUICE_ERR_TOO_LARGE
                                                                 : SLUICE_ERR_CONNECTION,
                                 sluice_journal_call_words(outcome));
    } else if (!sluice_puback_parse(body, &ack)) {
        sluice_journal_call_fail(call, SLUICE_FATE_UNKNOWN, SLUICE_ERR_DECODE,
                                 "journal: what answered is no PubAck");
    } else if (ack.is_error && tolerated_error != 0 && ack.error_code == tolerated_error) {
        return -1;
    } else {
        enum sluice_fate fate = sluice_puback_fate(&ack, &rc);
        if (fate == SLUICE_FATE_OK && is_of_bucket(call, &ack)) {
            return 1;
        }
        if (fate == SLUICE_FATE_OK) {
            (void)snprintf(text, sizeof text, "journal: the PubAck is of stream %s, expected KV_%s",
                           ack.stream, call->journal->bucket);
            sluice_journal_call_fail(call, SLUICE_FATE_UNKNOWN, SLUICE_ERR_PUBLISH, text);
            return 0;
        }
        (void)snprintf(text, sizeof text, "journal: %s (%u)", ack.description, ack.error_code);
        sluice_journal_call_fail(call, fate == SLUICE_FATE_UNKNOWN ? fate : SLUICE_FATE_RETRY, rc,
                                 text);
    }
    return 0;
}

static void on_record_put(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct sluice_journal_call *call = ctx;
    call->waiting--;
    if (read_put(call, outcome, body, 0) == 1) {
        sluice_journal_call_ok(call);
    }
    sluice_journal_call_free_when_quiet(call);
}

sluice_rc sluice_journal_record_put(struct sluice_journal *base,
                                    const struct sluice_journal_key *key,
                                    const struct sluice_journal_record *record,
                                    sluice_journal_done_fn *done, void *ctx)
{
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE + 96];
    struct sluice_journal_call *call;
    sluice_rc rc = sluice_journal_call_create(base, sizeof *call, key, done, ctx, &call);
    if (call == NULL) {
        return rc;
    }
    char *bytes = sluice_journal_record_encode(record);
    if (bytes == NULL) {
        return sluice_journal_call_drop(call);
    }
    (void)snprintf(subject, sizeof subject, "%ss", call->prefix);
    rc = sluice_journal_call_ask(call, subject, NULL, (sluice_bytes){bytes, strlen(bytes)},
                                 on_record_put, call);
    free(bytes);
    return rc == SLUICE_OK ? rc : sluice_journal_call_drop(call);
}

/* ---- answer_put ---- */

/* The answer that was there first is read: is it ours? */
static void read_existing(struct sluice_journal_reading *reading)
{
    struct answer_put *put = (struct answer_put *)reading;
    struct sluice_journal_done done = {.fate = SLUICE_FATE_OK};
    struct sluice_journal_answer answer;
    struct sluice_journal_head head;
    const struct sluice_journal_item *item = &reading->items[0];
    char *owned = NULL;
    if (item->is_found &&
        sluice_journal_head_decode((sluice_bytes){item->entry.body, item->entry.body_len}, &head) &&
        head.is_chunked && reading->items_count == 1) {
        sluice_journal_reading_add_chunks(reading, &head);
        sluice_journal_reading_fetch(reading); /* and come again */
        return;
    }
    if (!sluice_journal_reading_answer(reading, item, &answer, &owned)) {
        if (sluice_journal_reading_failed(reading)) {
            return;
        }
        sluice_journal_call_fail(&reading->call, SLUICE_FATE_RETRY, SLUICE_ERR_DECODE,
                                 "journal: the answer that was there first cannot be read");
        return;
    }
    done.exists = answer.bytes.len != put->len ||
                  (put->len > 0 && memcmp(answer.bytes.data, put->bytes, put->len) != 0);
    done.answers = &answer;
    done.answers_count = done.exists ? 1 : 0;
    sluice_journal_call_done(&reading->call, &done);
    free(owned);
}

static void on_head_put(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct answer_put *put = ctx;
    struct sluice_journal_call *call = &put->reading.call;
    call->waiting--;
    int stored = read_put(call, outcome, body, SLUICE_JS_ERR_WRONG_LAST_SEQUENCE);
    if (stored == 1) {
        sluice_journal_call_ok(call);
    } else if (stored == -1) {
        char name[96];
        sluice_journal_answer_name(name, &put->id);
        sluice_journal_reading_add(&put->reading, name, strlen(name));
        put->reading.complete = read_existing;
        sluice_journal_reading_fetch(&put->reading);
    }
    sluice_journal_call_free_when_quiet(call);
}

static sluice_rc put_head(struct answer_put *put)
{
    static const sluice_header create = {"Nats-Expected-Last-Subject-Sequence", "0"};
    struct sluice_journal_call *call = &put->reading.call;
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE + 96], name[96];
    size_t len = 0;
    char *head =
        put->chunks_count == 0
            ? sluice_journal_inline_encode((sluice_bytes){put->bytes, put->len}, &len)
            : sluice_journal_chunked_encode(put->chunks, put->chunks_count, put->len, &len);
    if (head == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    sluice_journal_answer_name(name, &put->id);
    struct sluice_fixed text = sluice_fixed_in(subject, sizeof subject);
    sluice_fixed_text(&text, call->prefix);
    sluice_fixed_text(&text, name);
    sluice_rc rc = sluice_journal_call_ask(call, subject, &create, (sluice_bytes){head, len},
                                           on_head_put, put);
    free(head);
    return rc;
}

static sluice_rc put_next_chunk(struct answer_put *put);

static void on_chunk_put(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct answer_put *put = ctx;
    struct sluice_journal_call *call = &put->reading.call;
    call->waiting--;
    if (read_put(call, outcome, body, 0) == 1) {
        sluice_rc rc = SLUICE_OK;
        if (put->chunks_sent < put->chunks_count) {
            rc = put_next_chunk(put);
        } else if (call->waiting == 0) {
            rc = put_head(put); /* last: who sees the head finds all chunks */
        }
        if (rc != SLUICE_OK && call->waiting == 0) { /* else the next that is stored tries again */
            sluice_journal_call_starve(call);
        }
    }
    sluice_journal_call_free_when_quiet(call);
}

static sluice_rc put_next_chunk(struct answer_put *put)
{
    struct sluice_journal_call *call = &put->reading.call;
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE + 96];
    uint32_t index = put->chunks_sent++;
    size_t start = (size_t)index * put->chunk_size;
    size_t len = put->len - start < put->chunk_size ? put->len - start : put->chunk_size;
    (void)snprintf(subject, sizeof subject, "%sc.%s", call->prefix, put->chunks[index].sha);
    sluice_rc rc = sluice_journal_call_ask(
        call, subject, NULL, (sluice_bytes){put->bytes + start, len}, on_chunk_put, put);
    put->chunks_sent -= rc != SLUICE_OK;
    return rc;
}

static void on_too_large(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct answer_put *put = ctx;
    struct sluice_journal_call *call = &put->reading.call;
    (void)outcome;
    (void)body;
    call->waiting--;
    sluice_journal_call_fail(call, SLUICE_FATE_RETRY, SLUICE_ERR_TOO_LARGE,
                             "journal: the answer is larger than the journal takes");
    sluice_journal_call_free_when_quiet(call);
}

static sluice_rc put_chunks(struct answer_put *put)
{
    struct sluice_journal_call *call = &put->reading.call;
    put->chunks_count = (uint32_t)((put->len + put->chunk_size - 1) / put->chunk_size);
    if (put->len > SLUICE_JOURNAL_ANSWER_MAX || put->chunks_count > SLUICE_JOURNAL_CHUNKS_MAX) {
        call->waiting++;
        return sluice_nats_requests_defer(call->journal->requests, on_too_large, put);
    }
    put->chunks = calloc(put->chunks_count, sizeof put->chunks[0]);
    if (put->chunks == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < put->chunks_count; i++) {
        size_t start = (size_t)i * put->chunk_size;
        size_t len = put->len - start < put->chunk_size ? put->len - start : put->chunk_size;
        sluice_journal_sha((sluice_bytes){put->bytes + start, len}, put->chunks[i].sha);
    }
    sluice_rc rc = SLUICE_OK;
    while (put->chunks_sent < put->chunks_count && put->chunks_sent < CHUNKS_AT_ONCE &&
           rc == SLUICE_OK) {
        rc = put_next_chunk(put);
    }
    return call->waiting > 0 ? SLUICE_OK : rc; /* the first that is stored tries the next again */
}

static void fini_answer_put(struct sluice_journal_call *call)
{
    struct answer_put *put = (struct answer_put *)call;
    sluice_journal_reading_fini(&put->reading);
    free(put->chunks);
    free(put->bytes);
}

sluice_rc sluice_journal_answer_put(struct sluice_journal *base,
                                    const struct sluice_journal_key *key,
                                    const struct sluice_journaled *id, sluice_bytes bytes,
                                    sluice_journal_done_fn *done, void *ctx)
{
    struct sluice_journal_call *call;
    sluice_rc rc =
        sluice_journal_call_create(base, sizeof(struct answer_put), key, done, ctx, &call);
    if (call == NULL) {
        return rc;
    }
    struct answer_put *put = (struct answer_put *)call;
    call->fini = fini_answer_put;
    struct sluice_publisher *publisher = call->journal->publisher;
    size_t most = publisher->ops->payload_max(publisher);
    most = most == 0                   ? PAYLOAD_UNKNOWN
           : most > 2 * PAYLOAD_MARGIN ? most - PAYLOAD_MARGIN
                                       : most / 2;
    put->id = *id;
    put->len = bytes.len;
    put->bytes = malloc(bytes.len + 1);
    if (put->bytes == NULL) {
        return sluice_journal_call_drop(call);
    }
    if (bytes.len > 0) {
        memcpy(put->bytes, bytes.data, bytes.len);
    }
    put->chunk_size = most < CHUNK_SIZE ? most : CHUNK_SIZE;
    rc = bytes.len + sizeof SLUICE_JOURNAL_INLINE_HEAD > most ? put_chunks(put) : put_head(put);
    return rc == SLUICE_OK ? rc : sluice_journal_call_drop(call);
}
