/* SPDX-License-Identifier: Apache-2.0 */
/* A streamed answer: wherever the network cuts the bytes, the answer and its verdict are the same.
 */
#include "adapter/openai.h"
#include "adapter/sse.h"
#include "fuzz.h"
#include <string.h>

#define SECRET       "sk-key"
#define CUT_SIZE_MAX 400u /* longer inputs are cut at a few places only */

struct stream {
    struct fuzz_memory *memory;
    struct sluice_sse sse;
    struct sluice_openai_answer answer;
    struct sluice_call_verdict verdict;
    sluice_rc rc;
};

static sluice_rc on_event(void *ctx, const char *type, sluice_bytes data)
{
    struct stream *s = ctx;
    FUZZ_CHECK(strlen(type) < SLUICE_SSE_TYPE_SIZE);
    FUZZ_CHECK(((const char *)data.data)[data.len] == '\0');
    sluice_rc rc = sluice_openai_answer_chunk(&s->answer, data);
    return rc == SLUICE_OK && (s->answer.has_error || s->answer.is_malformed) ? SLUICE_ERR_LLM : rc;
}

static void begin(struct stream *s, struct fuzz_memory *m)
{
    const struct sluice_sse_limits limits = {2048, 2048, 8192};
    *s = (struct stream){.memory = m};
    sluice_sse_init(&s->sse, &m->allocator, &limits, on_event, s);
    sluice_openai_answer_init(&s->answer, &m->allocator, 1024, SECRET);
}

/* Each piece is in memory of its own size. */
static void feed(struct stream *s, const uint8_t *data, size_t len)
{
    struct fuzz_input piece = fuzz_input_of(data, len);
    sluice_bytes bytes = fuzz_take_rest(&piece);
    s->rc = sluice_sse_feed(&s->sse, bytes.data, bytes.len);
    fuzz_input_fini(&piece);
}

static void end(struct stream *s)
{
    sluice_openai_judge_answer(&s->answer, !s->answer.is_done && s->answer.finish_reason[0] == '\0',
                               &s->verdict);
    FUZZ_CHECK(strstr(s->verdict.text, SECRET) == NULL && strstr(s->answer.model, SECRET) == NULL);
    FUZZ_CHECK(s->verdict.fate != SLUICE_FATE_OK || s->answer.content.len > 0);
}

static void fini(struct stream *s)
{
    sluice_sse_fini(&s->sse);
    sluice_openai_answer_fini(&s->answer);
}

static void check_same(const struct stream *a, const struct stream *b)
{
    FUZZ_CHECK(a->rc == b->rc);
    FUZZ_CHECK(a->verdict.fate == b->verdict.fate && a->verdict.rc == b->verdict.rc);
    FUZZ_CHECK(strcmp(a->verdict.text, b->verdict.text) == 0);
    FUZZ_CHECK(fuzz_is_same((sluice_bytes){a->answer.content.data, a->answer.content.len},
                            (sluice_bytes){b->answer.content.data, b->answer.content.len}));
    FUZZ_CHECK(strcmp(a->answer.model, b->answer.model) == 0);
    FUZZ_CHECK(strcmp(a->answer.finish_reason, b->answer.finish_reason) == 0);
    FUZZ_CHECK(a->answer.prompt_tokens == b->answer.prompt_tokens &&
               a->answer.completion_tokens == b->answer.completion_tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_memory m;
    struct stream whole, cut;
    fuzz_memory_init(&m);
    begin(&whole, &m);
    feed(&whole, data, size);
    end(&whole);
    if (size <= 8192) { /* over the total, where the limit is met depends on the pieces */
        size_t step = size <= CUT_SIZE_MAX ? 1 : size / 8;
        for (size_t at = 1; at < size; at += step) {
            begin(&cut, &m);
            feed(&cut, data, at);
            feed(&cut, data + at, size - at);
            end(&cut);
            check_same(&whole, &cut);
            fini(&cut);
        }
        begin(&cut, &m);
        for (size_t i = 0; i < size; i++) {
            feed(&cut, data + i, 1);
        }
        end(&cut);
        check_same(&whole, &cut);
        fini(&cut);
    }
    fini(&whole);
    fuzz_memory_fini(&m);
    return 0;
}
