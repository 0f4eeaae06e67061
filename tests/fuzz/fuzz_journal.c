/* SPDX-License-Identifier: Apache-2.0 */
/* A number, then what the journal's bucket or the server gave: a record, an answer's head, an
 * entry, a list of subjects, an answer's name. What is read is written and read again as the same.
 */
#include "adapter/nats_journal_codec.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

static void read_record(sluice_bytes bytes)
{
    static const struct sluice_journal_record_text nothing;
    struct sluice_journal_record_text out, again;
    if (sluice_journal_record_decode(bytes, &out) != SLUICE_OK) {
        FUZZ_CHECK(memcmp(&out, &nothing, sizeof out) == 0);
        return;
    }
    const struct sluice_journal_record record = {out.numbers, out.failure, out.step, out.text,
                                                 out.replay};
    char *text = sluice_journal_record_encode(&record);
    FUZZ_CHECK(text != NULL);
    FUZZ_CHECK(sluice_journal_record_decode((sluice_bytes){text, strlen(text)}, &again) ==
               SLUICE_OK);
    FUZZ_CHECK(memcmp(&out.numbers, &again.numbers, sizeof out.numbers) == 0);
    FUZZ_CHECK(strcmp(out.failure, again.failure) == 0 && strcmp(out.step, again.step) == 0 &&
               strcmp(out.text, again.text) == 0 && strcmp(out.replay, again.replay) == 0);
    free(text);
}

static void read_head(sluice_bytes bytes)
{
    struct sluice_journal_head head;
    char *again;
    size_t len = 0;
    if (!sluice_journal_head_decode(bytes, &head)) {
        return;
    }
    if (!head.is_chunked) {
        FUZZ_CHECK(head.len == head.bytes.len);
        FUZZ_CHECK(fuzz_is_inside(head.bytes.data, head.len, bytes.data, bytes.len));
        again = sluice_journal_inline_encode(head.bytes, &len);
        FUZZ_CHECK(again != NULL && fuzz_is_same(bytes, (sluice_bytes){again, len}));
        free(again);
        return;
    }
    FUZZ_CHECK(head.chunks > 0 && head.chunks <= SLUICE_JOURNAL_CHUNKS_MAX);
    FUZZ_CHECK(head.len <= SLUICE_JOURNAL_ANSWER_MAX);
    FUZZ_CHECK(fuzz_is_inside(head.names, (size_t)head.chunks * 65, bytes.data, bytes.len));
    struct sluice_journal_chunk *names = calloc(head.chunks, sizeof *names);
    FUZZ_CHECK(names != NULL);
    for (uint32_t i = 0; i < head.chunks; i++) {
        memcpy(names[i].sha, head.names + (size_t)i * 65, 64);
    }
    struct sluice_journal_head second;
    again = sluice_journal_chunked_encode(names, head.chunks, head.len, &len);
    FUZZ_CHECK(again != NULL && sluice_journal_head_decode((sluice_bytes){again, len}, &second));
    FUZZ_CHECK(second.chunks == head.chunks && second.len == head.len &&
               memcmp(second.names, head.names, (size_t)head.chunks * 65) == 0);
    free(names);
    free(again);
}

static void read_entry(sluice_bytes bytes)
{
    struct sluice_journal_entry entry;
    struct sluice_err err = {0};
    enum sluice_journal_found found = sluice_journal_entry_decode(bytes, &entry, &err);
    if (found == SLUICE_JOURNAL_FOUND) {
        FUZZ_CHECK(entry.subject != NULL && entry.body != NULL);
        FUZZ_CHECK(entry.body_len <= bytes.len);
        read_record((sluice_bytes){entry.body, entry.body_len});
    } else {
        FUZZ_CHECK(entry.subject == NULL && entry.body == NULL);
        FUZZ_CHECK(found == SLUICE_JOURNAL_ABSENT || err.text[0] != '\0');
    }
    sluice_journal_entry_free(&entry);
}

static void on_subject(void *ctx, const char *subject)
{
    FUZZ_CHECK(subject != NULL);
    *(size_t *)ctx += strlen(subject);
}

static void read_name(const char *name)
{
    struct sluice_journaled id;
    char again[96];
    if (sluice_journal_answer_id(name, &id)) {
        sluice_journal_answer_name(again, &id);
        FUZZ_CHECK(strcmp(name, again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input_of(data, size);
    struct sluice_err err = {0};
    size_t total = 0;
    switch (fuzz_take_choice(&in, 5)) {
    case 0:
        read_record(fuzz_take_rest(&in));
        break;
    case 1:
        read_head(fuzz_take_rest(&in));
        break;
    case 2:
        read_entry(fuzz_take_rest(&in));
        break;
    case 3:
        FUZZ_CHECK(sluice_journal_subjects_decode(fuzz_take_rest(&in), on_subject, &total, &err) ==
                       SLUICE_OK ||
                   err.text[0] != '\0');
        break;
    default:
        read_name(fuzz_take_rest_text(&in));
    }
    fuzz_input_fini(&in);
    return 0;
}
