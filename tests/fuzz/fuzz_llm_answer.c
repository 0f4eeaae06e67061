/* SPDX-License-Identifier: Apache-2.0 */
/* A status's number, then the body of a server's answer, whole and cut at every offset. No word of
 * it that holds the key comes out again; an answer that is judged OK has content and is all there.
 */
#include "adapter/openai.h"
#include "fuzz.h"
#include <string.h>

#define SECRET       "sk-key"
#define CUT_SIZE_MAX 400u /* longer ones are judged whole only */

static const int32_t statuses[] = {200, 400, 401, 402, 403, 404, 408, 409, 413, 422,
                                   425, 429, 500, 502, 503, 504, 529, 302, 100, 0};
#define STATUSES_COUNT (sizeof statuses / sizeof statuses[0])

static void check_verdict(const struct sluice_call_verdict *verdict)
{
    FUZZ_CHECK((unsigned)verdict->fate < SLUICE_FATE_COUNT);
    FUZZ_CHECK((verdict->fate == SLUICE_FATE_OK) == (verdict->rc == SLUICE_OK));
    FUZZ_CHECK((verdict->fate == SLUICE_FATE_OK) == (verdict->text[0] == '\0'));
    FUZZ_CHECK(memchr(verdict->text, '\0', sizeof verdict->text) != NULL);
    FUZZ_CHECK(strstr(verdict->text, SECRET) == NULL);
    for (const char *p = verdict->text; *p != '\0'; p++) {
        FUZZ_CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
}

static void read_answer(sluice_bytes body, struct fuzz_memory *m)
{
    struct sluice_openai_answer a;
    struct sluice_call_verdict verdict = {0};
    sluice_openai_answer_init(&a, &m->allocator, 4096, SECRET);
    sluice_rc rc = sluice_openai_answer_read(&a, body);
    FUZZ_CHECK(rc == SLUICE_OK || (rc == SLUICE_ERR_TOO_LARGE && body.len > 4096));
    FUZZ_CHECK(strstr(a.model, SECRET) == NULL && strstr(a.finish_reason, SECRET) == NULL);
    if (rc == SLUICE_OK) {
        sluice_openai_judge_answer(&a, 0, &verdict);
        check_verdict(&verdict);
        FUZZ_CHECK(verdict.fate != SLUICE_FATE_OK ||
                   (a.content.len > 0 && !a.is_malformed && !a.has_error && !a.is_refused));
        FUZZ_CHECK(a.content.len == 0 || a.content.data[a.content.len] == '\0');
        sluice_openai_judge_answer(&a, 1, &verdict);
        check_verdict(&verdict);
    }
    sluice_openai_answer_fini(&a);
}

static void judge(int32_t status, sluice_bytes body, struct fuzz_memory *m)
{
    struct sluice_call_verdict verdict = {0};
    if (status == 200) {
        read_answer(body, m);
        return;
    }
    sluice_openai_judge_status(status, body, SECRET, &verdict);
    FUZZ_CHECK(verdict.fate != SLUICE_FATE_OK);
    check_verdict(&verdict);
}

/* The first bytes of a body, in memory of their size: the contract is a NUL behind them. */
static void judge_cut(int32_t status, sluice_bytes body, size_t len, struct fuzz_memory *m)
{
    char *text = sluice_mem_alloc(&m->allocator, 1, len + 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, body.data, len);
    judge(status, (sluice_bytes){text, len}, m);
    sluice_mem_free(&m->allocator, text);
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_memory m;
    struct fuzz_input in = fuzz_input_of(data, size);
    int32_t status = statuses[fuzz_take_choice(&in, STATUSES_COUNT)];
    sluice_bytes body = fuzz_take_rest(&in);
    fuzz_memory_init(&m);
    for (size_t at = 0; body.len <= CUT_SIZE_MAX && at < body.len; at++) {
        judge_cut(status, body, at, &m);
    }
    judge_cut(status, body, body.len, &m);
    fuzz_memory_fini(&m);
    fuzz_input_fini(&in);
    return 0;
}
