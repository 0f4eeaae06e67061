/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_journal_reading.h"

#include "adapter/nats_publisher.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_COUNT_MAX  (SLUICE_JOURNALED_MAX + 1 + 2 * SLUICE_JOURNAL_CHUNKS_MAX)
#define READ_BYTES_MAX  (2u * SLUICE_JOURNAL_ANSWER_MAX)
#define CHUNK_NAME_SIZE (2 + SLUICE_JOURNAL_SHA_SIZE)

void sluice_journal_reading_fini(struct sluice_journal_reading *reading)
{
    for (uint32_t i = 0; i < reading->items_count; i++) {
        sluice_journal_entry_free(&reading->items[i].entry);
    }
    free(reading->items);
    free(reading->err);
}

static void note_error(struct sluice_journal_reading *reading, sluice_rc rc, const char *text)
{
    if (reading->failed_rc == SLUICE_OK) {
        reading->failed_rc = rc;
        reading->err = rc == SLUICE_ERR_NOMEM ? NULL : calloc(1, sizeof *reading->err);
        (void)sluice_err_set(reading->err, rc, "%s", text);
    }
}

void sluice_journal_reading_starve(struct sluice_journal_reading *reading)
{
    note_error(reading, SLUICE_ERR_NOMEM, "");
}

int sluice_journal_reading_failed(struct sluice_journal_reading *reading)
{
    if (reading->failed_rc == SLUICE_OK) {
        return 0;
    }
    if (reading->err == NULL) {
        sluice_journal_call_starve(&reading->call);
    } else {
        sluice_journal_call_fail(&reading->call, SLUICE_FATE_RETRY, reading->failed_rc,
                                 reading->err->text);
    }
    return 1;
}

static void on_item(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct sluice_journal_item *item = ctx;
    struct sluice_journal_reading *reading = item->reading;
    struct sluice_err err = {0};
    reading->call.waiting--;
    if (!reading->call.is_over && outcome != SLUICE_NATS_ANSWERED) {
        note_error(reading,
                   outcome == SLUICE_NATS_LATE ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_CONNECTION,
                   sluice_journal_call_words(outcome));
    } else if (!reading->call.is_over) {
        enum sluice_journal_found found = sluice_journal_entry_decode(body, &item->entry, &err);
        if (found == SLUICE_JOURNAL_ERROR) {
            note_error(reading, err.rc, err.text);
        }
        item->is_found = found == SLUICE_JOURNAL_FOUND && !item->entry.is_deleted &&
                         reading->items_bytes + item->entry.body_len <= READ_BYTES_MAX;
        reading->items_bytes += item->is_found ? item->entry.body_len : 0;
    }
    if (reading->call.waiting == 0 && !reading->call.is_over &&
        !sluice_journal_reading_failed(reading)) {
        reading->complete(reading);
    }
    sluice_journal_call_free_when_quiet(&reading->call);
}

void sluice_journal_reading_fetch(struct sluice_journal_reading *reading)
{
    char subject[SLUICE_JOURNAL_SUBJECT_SIZE], body[SLUICE_JOURNAL_SUBJECT_SIZE + 128];
    (void)snprintf(subject, sizeof subject, "%s.STREAM.MSG.GET.KV_%s",
                   sluice_nats_publisher_api_prefix(reading->call.journal->publisher),
                   reading->call.journal->bucket);
    while (reading->items_asked < reading->items_count && reading->failed_rc == SLUICE_OK) {
        struct sluice_journal_item *item = &reading->items[reading->items_asked++];
        int len = snprintf(body, sizeof body, "{\"last_by_subj\":\"%s%s\"}", reading->call.prefix,
                           item->name);
        if (sluice_journal_call_ask(&reading->call, subject, NULL,
                                    (sluice_bytes){body, (size_t)len}, on_item,
                                    item) != SLUICE_OK) {
            sluice_journal_reading_starve(reading);
        }
    }
    if (reading->call.waiting == 0) {
        (void)sluice_journal_reading_failed(reading);
    }
}

void sluice_journal_reading_add(struct sluice_journal_reading *reading, const char *name,
                                size_t len)
{
    if (reading->items_count == READ_COUNT_MAX || len >= sizeof reading->items[0].name) {
        return;
    }
    if ((reading->items_count & (reading->items_count - 1)) == 0) { /* at 0, 1, 2, 4, … */
        size_t capacity = reading->items_count == 0 ? 1 : (size_t)reading->items_count * 2;
        struct sluice_journal_item *items = realloc(reading->items, capacity * sizeof items[0]);
        if (items == NULL) {
            sluice_journal_reading_starve(reading);
            return;
        }
        reading->items = items;
    }
    struct sluice_journal_item *item = &reading->items[reading->items_count++];
    memset(item, 0, sizeof *item);
    item->reading = reading;
    memcpy(item->name, name, len);
}

const struct sluice_journal_item *
sluice_journal_reading_find(const struct sluice_journal_reading *reading, const char *name,
                            size_t len)
{
    for (uint32_t i = 0; i < reading->items_count; i++) {
        const struct sluice_journal_item *item = &reading->items[i];
        if (item->is_found && strncmp(item->name, name, len) == 0 && item->name[len] == '\0') {
            return item;
        }
    }
    return NULL;
}

/* The name of a head's chunk. */
static void chunk_name(char out[CHUNK_NAME_SIZE], const struct sluice_journal_head *head,
                       uint32_t index)
{
    memcpy(out, "c.", 2);
    memcpy(out + 2, head->names + (size_t)index * SLUICE_JOURNAL_SHA_SIZE,
           SLUICE_JOURNAL_SHA_SIZE - 1);
    out[CHUNK_NAME_SIZE - 1] = '\0';
}

void sluice_journal_reading_add_chunks(struct sluice_journal_reading *reading,
                                       const struct sluice_journal_head *head)
{
    char name[CHUNK_NAME_SIZE];
    for (uint32_t i = 0; i < head->chunks; i++) {
        chunk_name(name, head, i);
        sluice_journal_reading_add(reading, name, strlen(name));
    }
}

static const struct sluice_journal_item *find_chunk(const struct sluice_journal_reading *reading,
                                                    const struct sluice_journal_head *head,
                                                    uint32_t index)
{
    char name[CHUNK_NAME_SIZE];
    chunk_name(name, head, index);
    return sluice_journal_reading_find(reading, name, strlen(name));
}

/* The whole answer of a chunked head; memory of malloc, NULL when a chunk is missing or is not what
 * its name says, or when the operation is noted to have failed. */
static char *join_chunks(struct sluice_journal_reading *reading,
                         const struct sluice_journal_head *head)
{
    char sha[SLUICE_JOURNAL_SHA_SIZE];
    size_t len = 0;
    char *out = malloc(head->len + 1);
    if (out == NULL) {
        sluice_journal_reading_starve(reading);
    }
    for (uint32_t i = 0; out != NULL && i < head->chunks; i++) {
        const struct sluice_journal_item *chunk = find_chunk(reading, head, i);
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

int sluice_journal_reading_answer(struct sluice_journal_reading *reading,
                                  const struct sluice_journal_item *item,
                                  struct sluice_journal_answer *out, char **owned)
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
        *owned = join_chunks(reading, &head);
        out->bytes = (sluice_bytes){*owned, head.len};
    }
    return !head.is_chunked || *owned != NULL;
}
