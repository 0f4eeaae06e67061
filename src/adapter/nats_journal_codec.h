/* SPDX-License-Identifier: Apache-2.0 */
/* How the journal looks in its bucket: subjects and contents. Pure, for own and for foreign bytes.
 */
#ifndef SLUICE_ADAPTER_NATS_JOURNAL_CODEC_H
#define SLUICE_ADAPTER_NATS_JOURNAL_CODEC_H

#include "core/engine.h"
#include "core/err.h"
#include "port/journal.h"

#define SLUICE_JOURNAL_SUBJECT_SIZE 768u
#define SLUICE_JOURNAL_TEXT_MAX     512u  /* of a record's reason */
#define SLUICE_JOURNAL_CHUNKS_MAX   1024u /* of one answer */
#define SLUICE_JOURNAL_ANSWER_MAX   (64u << 20)
#define SLUICE_JOURNAL_SHA_SIZE     65u /* hex and its end */

/* "$KV.<bucket>.<worker>.<stream>.<seq>.<stored ns>.": everything about one message is below it. 0
 * when it does not fit. */
int sluice_journal_prefix(char out[SLUICE_JOURNAL_SUBJECT_SIZE], const char *bucket,
                          const char *worker, const struct sluice_journal_key *key);

/* What follows the prefix: "s" the record, "a.<epoch>.<hash>.<occurrence>" an answer, "c.<sha256>"
 * a chunk of one. */
void sluice_journal_answer_name(char out[96], const struct sluice_journaled *id);
int sluice_journal_answer_id(const char *name,
                             struct sluice_journaled *out); /* 0: no answer's name */

/* ---- The record: JSON ---- */

struct sluice_journal_record_text {
    struct sluice_record numbers;
    char failure[64], step[128], text[SLUICE_JOURNAL_TEXT_MAX + 1], replay[128];
};

/* Memory of malloc; NULL without memory. Texts are cut, at a character's border. */
char *sluice_journal_record_encode(const struct sluice_journal_record *record);
/* ERR_DECODE for anything that is not such a record of this version; ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_journal_record_decode(sluice_bytes bytes, struct sluice_journal_record_text *out);

/* ---- An answer: its bytes, or the list of its chunks ---- */

struct sluice_journal_head {
    int is_chunked;
    sluice_bytes bytes; /* inline: points into the input */
    const char *names;  /* chunked: 64 hex digits and a line feed each, points into the input */
    uint32_t chunks;
    size_t len; /* of the whole answer */
};

/* The name of a chunk: SHA-256 of its content in hex. */
struct sluice_journal_chunk {
    char sha[SLUICE_JOURNAL_SHA_SIZE];
};

#define SLUICE_JOURNAL_INLINE_HEAD "SA1 i\n" /* then the bytes */

/* Memory of malloc with `len`; NULL without memory. */
char *sluice_journal_inline_encode(sluice_bytes answer, size_t *len);
char *sluice_journal_chunked_encode(const struct sluice_journal_chunk *names, uint32_t chunks,
                                    size_t answer_len, size_t *len);
int sluice_journal_head_decode(sluice_bytes bytes,
                               struct sluice_journal_head *out); /* 0: no answer */
void sluice_journal_sha(sluice_bytes bytes, char out[SLUICE_JOURNAL_SHA_SIZE]);

/* ---- The server's answers ---- */

struct sluice_journal_entry {
    char *subject, *body; /* memory of malloc */
    size_t body_len;
    int is_deleted; /* a tombstone */
};

enum sluice_journal_found { SLUICE_JOURNAL_FOUND, SLUICE_JOURNAL_ABSENT, SLUICE_JOURNAL_ERROR };

/* Answer to STREAM.MSG.GET. ERROR fills `err`. */
enum sluice_journal_found sluice_journal_entry_decode(sluice_bytes answer,
                                                      struct sluice_journal_entry *out,
                                                      struct sluice_err *err);
void sluice_journal_entry_free(struct sluice_journal_entry *entry);

/* The subjects in an answer to STREAM.INFO with subjects_filter, each by `visit`. */
sluice_rc sluice_journal_subjects_decode(sluice_bytes answer,
                                         void (*visit)(void *ctx, const char *subject), void *ctx,
                                         struct sluice_err *err);

#endif
