/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer of openai.h means for the message that asked. */
#include "adapter/openai.h"

#include <string.h>

static int names(const struct sluice_openai_error *e, const char *word)
{
    return strcmp(e->code, word) == 0 || strcmp(e->type, word) == 0;
}

/* The fate of a status, refined by the words that came with it. */
static enum sluice_fate status_fate(int32_t status, const struct sluice_openai_error *e)
{
    if (status == 402 || (status == 429 && names(e, "insufficient_quota"))) {
        return SLUICE_FATE_RETRY; /* nobody knows when there will be money: the breaker's business
                                   */
    }
    if (status == 429) {
        return SLUICE_FATE_RATE_LIMITED;
    }
    if ((status >= 502 && status <= 504) || status == 529) {
        return SLUICE_FATE_UNAVAILABLE;
    }
    if (status == 400 && names(e, "content_filter")) {
        return SLUICE_FATE_BAD_ANSWER;
    }
    /* Only these speak of what was asked. Each other one would be the answer to any message: a
     * wrong key, base path, model, method or host, a proxy without a backend. Blamed on the
     * messages they would bury the whole stream, so they are the endpoint's and the breaker's. */
    return status == 400 || status == 413 || status == 414 || status == 422 ? SLUICE_FATE_PERMANENT
                                                                            : SLUICE_FATE_RETRY;
}

static sluice_rc status_rc(int32_t status, enum sluice_fate fate)
{
    switch (status) {
    case 401:
    case 403:
        return SLUICE_ERR_AUTH;
    case 408:
    case 504:
        return status == 408 ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_UNAVAILABLE;
    case 502:
    case 503:
    case 529:
        return SLUICE_ERR_UNAVAILABLE;
    default:
        return fate == SLUICE_FATE_RATE_LIMITED ? SLUICE_ERR_RATE_LIMITED : SLUICE_ERR_LLM;
    }
}

static const char *word_of(const struct sluice_openai_error *e)
{
    return e->code[0] != '\0' ? e->code : e->type;
}

static void judge(int32_t status, const struct sluice_openai_error *e, const char *message,
                  struct sluice_call_verdict *verdict)
{
    enum sluice_fate fate = status_fate(status, e);
    const char *word = word_of(e);
    sluice_call_rule(verdict, fate, status_rc(status, fate), "chat completion: HTTP %d%s%s%s%s%s",
                     (int)status, word[0] == '\0' ? "" : " (", word, word[0] == '\0' ? "" : ")",
                     message[0] == '\0' ? "" : ": ", message);
}

void sluice_openai_judge_status(int32_t http_status, sluice_bytes body, const char *secrets,
                                struct sluice_call_verdict *verdict)
{
    struct sluice_openai_answer a;
    /* nothing is kept but words, so no memory is needed; a body that is no JSON tells nothing */
    sluice_openai_answer_init(&a, NULL, 0, secrets);
    if (body.len != 0) {
        (void)sluice_openai_answer_read(&a, body);
    }
    char message[SLUICE_OPENAI_MESSAGE_SIZE] = "";
    if (http_status >= 400 && http_status < 500 && http_status != 401 && http_status != 403) {
        sluice_openai_message(body, secrets, message);
    }
    judge(http_status, &a.error, message, verdict);
    sluice_openai_answer_fini(&a);
}

/* An error inside an answer whose status was 200. */
static void judge_error(const struct sluice_openai_error *e, struct sluice_call_verdict *verdict)
{
    int32_t status = e->http_status;
    if (status < 400) {
        status = 500;
        if (names(e, "rate_limit_exceeded") || names(e, "insufficient_quota")) {
            status = 429;
        } else if (names(e, "context_length_exceeded") || names(e, "content_filter")) {
            status = 400;
        } else if (names(e, "invalid_api_key") || names(e, "authentication_error")) {
            status = 401;
        }
    }
    enum sluice_fate fate = status_fate(status, e);
    if (fate == SLUICE_FATE_UNAVAILABLE) {
        fate = SLUICE_FATE_RETRY; /* the answer had begun: it may have to be paid */
    }
    const char *word = word_of(e);
    sluice_call_rule(verdict, fate, status_rc(status, fate),
                     "chat completion: error in the answer: %s",
                     word[0] == '\0' ? "without a code" : word);
}

void sluice_openai_judge_answer(const struct sluice_openai_answer *a, int is_cut,
                                struct sluice_call_verdict *verdict)
{
    const char *reason = a->finish_reason;
    if (a->has_error) {
        judge_error(&a->error, verdict);
    } else if (a->content.rc == SLUICE_ERR_NOMEM) {
        sluice_call_rule(verdict, SLUICE_FATE_RETRY, SLUICE_ERR_NOMEM,
                         "chat completion: out of memory");
    } else if (a->content.rc != SLUICE_OK) {
        sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                         "chat completion: the answer is over %zu bytes", a->content.size_max);
    } else if (a->is_malformed && !is_cut) {
        sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                         "chat completion: malformed answer: %s", a->malformed_why);
    } else if (is_cut && !a->is_done) {
        sluice_call_rule(verdict, SLUICE_FATE_RETRY, SLUICE_ERR_UNAVAILABLE,
                         "chat completion: the answer was cut before its end");
    } else if (a->is_refused) {
        sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                         "chat completion: the model refused");
    } else if (!a->has_choice) {
        sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                         "chat completion: malformed answer: no choices");
    } else if (reason[0] == '\0') {
        sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                         "chat completion: no finish reason");
    } else if (strcmp(reason, "stop") != 0) {
        sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                         "chat completion: finish reason %s instead of stop", reason);
    } else if (a->content.len == 0) {
        sluice_call_rule(verdict, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_LLM,
                         "chat completion: empty answer");
    } else {
        sluice_call_rule(verdict, SLUICE_FATE_OK, SLUICE_OK, "%s", "");
    }
}
