/* SPDX-License-Identifier: Apache-2.0 */
/* A message on a source's inbox: its status, then what follows the inbox in its subject, then its
 * body, such as the answer to CONSUMER.INFO. At most one event follows, and the consumer is only
 * there, or gone, when the server says so. Connection and mailbox are this file's. */
#include "adapter/nats_answers.h"
#include "fuzz.h"
#include "port/clock.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INBOX "_INBOX.sluice"

struct heard {
    int settled, consumer; /* how often */
    int exists, left;
    int64_t sent_ms;
};

static sluice_nats_message_fn *listener;
static void *listener_ctx;
static struct sluice_mail *posted;
static int left, status;

/* ---- The connection ---- */

struct sluice_nats_tap *sluice_nats_link_subscribe(struct sluice_nats_link *link,
                                                   const char *subject, sluice_nats_message_fn *fn,
                                                   void (*released)(void *ctx), void *ctx)
{
    static char tap;
    (void)link;
    (void)released;
    FUZZ_CHECK(strcmp(subject, INBOX ".a.>") == 0);
    listener = fn;
    listener_ctx = ctx;
    return (struct sluice_nats_tap *)&tap;
}

enum sluice_nats_sent sluice_nats_link_publish(struct sluice_nats_link *link, const char *subject,
                                               const char *reply, const sluice_header *headers,
                                               uint32_t headers_count, const void *body,
                                               size_t body_len)
{
    (void)link;
    (void)headers;
    (void)headers_count;
    (void)body;
    (void)body_len;
    int is_stream = strcmp(subject, "$JS.API.STREAM.INFO.REQUESTS") == 0;
    FUZZ_CHECK(is_stream || strcmp(subject, "$JS.API.CONSUMER.INFO.REQUESTS.worker") == 0);
    FUZZ_CHECK(strncmp(reply, is_stream ? INBOX ".a.i." : INBOX ".a.c.", sizeof INBOX + 4) == 0);
    return SLUICE_NATS_SENT;
}

void sluice_nats_link_leave(struct sluice_nats_link *link, const char *why)
{
    (void)link;
    FUZZ_CHECK(why[0] != '\0');
    left++;
}

const char *sluice_nats_link_api_prefix(const struct sluice_nats_link *link)
{
    (void)link;
    return "$JS.API";
}

const char *sluice_nats_link_inbox(const struct sluice_nats_link *link)
{
    (void)link;
    return INBOX;
}

int64_t sluice_nats_link_up_since_ms(const struct sluice_nats_link *link)
{
    (void)link;
    return 1;
}

int sluice_nats_message_status(const struct sluice_nats_message *message, char *text, size_t size)
{
    (void)message;
    (void)snprintf(text, size, "%s", "");
    return status;
}

void sluice_nats_box_post(struct sluice_nats_box *box, struct sluice_mail *mail)
{
    (void)box;
    FUZZ_CHECK(posted == NULL);
    posted = mail;
}

/* ---- The source ---- */

static void on_settled(void *ctx, uint64_t op, int is_answered, int64_t sent_ms)
{
    struct heard *heard = ctx;
    (void)op;
    FUZZ_CHECK(is_answered == 0 || is_answered == 1);
    heard->settled++;
    heard->sent_ms = sent_ms;
}

static void on_consumer(void *ctx, enum sluice_consumer exists)
{
    struct heard *heard = ctx;
    heard->consumer++;
    heard->exists = exists;
}

static void on_alive(void *ctx, int64_t mono_ms)
{
    (void)ctx;
    FUZZ_CHECK(mono_ms > 0);
}

static void check_heard(const struct heard *heard, sluice_bytes body)
{
    FUZZ_CHECK(heard->settled + heard->consumer <= 1);
    FUZZ_CHECK(heard->sent_ms >= 0);
    FUZZ_CHECK(left == (heard->consumer == 1 && heard->exists < 0));
    cJSON *json = cJSON_ParseWithLength(body.data, body.len);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    if (heard->consumer == 1 && heard->exists == 0) {
        const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
        FUZZ_CHECK(cJSON_IsNumber(code) && code->valueint == 404);
    } else if (heard->consumer == 1 && heard->exists >= SLUICE_CONSUMER_THERE) {
        FUZZ_CHECK(cJSON_IsObject(json) && error == NULL);
    }
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char subject[8192];
    struct heard heard = {0};
    struct sluice_nats_intake intake = {
        .events = {.on_settled = on_settled, .on_consumer = on_consumer, .on_alive = on_alive},
        .ctx = &heard,
        .stream = (char[]){"REQUESTS"},
        .consumer = (char[]){"worker"}};
    struct sluice_nats_answers answers = {.intake = &intake,
                                          .made = "2026-11-22T10:44:02.671060775Z"};
    struct fuzz_input in = fuzz_input_of(data, size);
    status = fuzz_take_choice(&in, 2) == 1 ? 503 : 0;
    const char *rest = fuzz_take_line(&in);
    sluice_bytes body = fuzz_take_rest(&in);
    (void)snprintf(subject, sizeof subject, INBOX "%s", rest == NULL ? "" : rest);
    posted = NULL;
    left = 0;
    intake.wire = sluice_nats_wire_create(NULL);
    FUZZ_CHECK(intake.wire != NULL && sluice_nats_answers_listen(&answers, intake.wire));
    sluice_nats_answers_check(&answers);
    listener(listener_ctx,
             &(struct sluice_nats_message){
                 .subject = subject, .reply = "", .body = body.data, .body_len = body.len});
    FUZZ_CHECK(intake.wire->horizon_ms <= sluice_mono_ms());
    if (posted != NULL) {
        posted->deliver(posted);
    }
    check_heard(&heard, body);
    sluice_nats_wire_unref(intake.wire); /* of the subscription */
    sluice_nats_wire_unref(intake.wire);
    fuzz_input_fini(&in);
    return 0;
}
