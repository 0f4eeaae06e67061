/* SPDX-License-Identifier: Apache-2.0 */
/* The chat-completions protocol as OpenAI and the many compatible servers speak it. Pure: bytes in,
 * bytes out; no network. */
#ifndef SLUICE_ADAPTER_OPENAI_H
#define SLUICE_ADAPTER_OPENAI_H

#include "adapter/call_verdict.h"
#include "adapter/growbuf.h"
#include "core/err.h"
#include "port/llm.h"

#define SLUICE_OPENAI_DEPTH_MAX    64u  /* nesting of an answer's JSON */
#define SLUICE_OPENAI_WORD_SIZE    64u  /* finish reasons, error codes; longer ones are cut */
#define SLUICE_OPENAI_NAME_SIZE    128u /* models; longer ones are cut */
#define SLUICE_OPENAI_MESSAGE_SIZE 200u /* why a request was refused; longer ones are cut */

/* What a server wants to be asked differently. */
struct sluice_openai_quirks {
    const char *max_tokens_field; /* NULL: "max_completion_tokens"; Ollama and others only know
                                     "max_tokens" */
    uint8_t is_streamed;
    uint8_t is_schema_plain; /* no "strict": for servers that refuse the member */
};

/* Append the request's body. The schema is embedded as it is. ERR_VALIDATION names the member that
 * is missing, no valid UTF-8 or out of range; ERR_TOO_LARGE, ERR_NOMEM from the buffer. */
SLUICE_MUST_CHECK
sluice_rc sluice_openai_request(struct sluice_growbuf *out, const struct sluice_llm_question *q,
                                const struct sluice_openai_quirks *quirks, struct sluice_err *err);

/* {"error": …} of an answer or inside a stream. Words hold [A-Za-z0-9_.-] only, "" when unknown. */
struct sluice_openai_error {
    char code[SLUICE_OPENAI_WORD_SIZE];
    char type[SLUICE_OPENAI_WORD_SIZE];
    int32_t http_status; /* a number given as code (gateways do that), else 0 */
};

/* What was read of an answer, complete or from its pieces. */
struct sluice_openai_answer {
    struct sluice_growbuf content;
    size_t reasoning_len; /* bytes of reasoning as they came, which are not kept */
    char model[SLUICE_OPENAI_NAME_SIZE];
    char finish_reason[SLUICE_OPENAI_WORD_SIZE]; /* "" until one was seen */
    uint32_t prompt_tokens, completion_tokens;   /* 0 when the server did not say */
    uint8_t has_choice, is_refused, is_done /* [DONE] seen */, has_error, is_malformed;
    const char *malformed_why; /* static text */
    const char *secrets; /* the key and others, one a line, borrowed; NULL: none. A word that holds
                            one becomes "***" */
    struct sluice_openai_error error;
};

void sluice_openai_answer_init(struct sluice_openai_answer *a,
                               const struct sluice_allocator *allocator, size_t content_size_max,
                               const char *secrets);
void sluice_openai_answer_fini(struct sluice_openai_answer *a);

/* A complete answer. What is wrong with it is kept in the answer for judge; returned is OK, or
 * ERR_NOMEM and ERR_TOO_LARGE from the buffer. */
sluice_rc sluice_openai_answer_read(struct sluice_openai_answer *a, sluice_bytes json);
/* One event of a stream: a chunk, an error or [DONE]. The same rules. */
sluice_rc sluice_openai_answer_chunk(struct sluice_openai_answer *a, sluice_bytes data);

/* Why the endpoint refused, from the body of a 4xx (JSON or plain text): a line of printable ASCII;
 * "" when it says nothing, or when any part of a secret is in it. */
void sluice_openai_message(sluice_bytes body, const char *secrets,
                           char out[SLUICE_OPENAI_MESSAGE_SIZE]);

/* The answer had status 200 and ended. `is_cut`: it came as a stream, or with a length, whose end
 * was not seen. */
void sluice_openai_judge_answer(const struct sluice_openai_answer *a, int is_cut,
                                struct sluice_call_verdict *verdict);
/* Any other status. `body` (a NUL behind it) may be JSON, plain text, HTML or nothing:
 *   429 RATE_LIMITED, but without money left (insufficient_quota, 402) RETRY
 *   502…504, 529 UNAVAILABLE with ERR_UNAVAILABLE; 401, 403 RETRY with ERR_AUTH; 408, 409, 425,
 *   other 5xx and 1xx…3xx RETRY; 400 whose code is content_filter BAD_ANSWER; other 4xx PERMANENT.
 * The text of a 4xx says why, but for 401 and 403, whose message is about the key. */
void sluice_openai_judge_status(int32_t http_status, sluice_bytes body, const char *secrets,
                                struct sluice_call_verdict *verdict);

#endif
