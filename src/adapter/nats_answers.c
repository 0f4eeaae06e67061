/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_answers.h"

#include "adapter/nats_api_answer.h"
#include "codec/fixed.h"
#include "port/clock.h"
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECT_SIZE       512u
#define STATUS_SIZE        160u
#define CHECK_TIMEOUT_MS   2500
#define COPIES_SILENT_MS   2500 /* a leader hears of its copies every second */
#define INFO_SIZE_MAX      65536u
#define RECOGNISE_EVERY_MS 20 /* many settles may find nobody at once */
#define MADE_SIZE          SLUICE_NATS_MADE_SIZE
#define VERDICTS_SILENT_MS                                                                         \
    4000 /* a group of servers that has a majority needs milliseconds to confirm a verdict */

/* An answer, or an operation that failed at once. */
struct answer_note {
    struct sluice_nats_note base; /* first */
    struct sluice_nats_answers *answers;
    int64_t sent_ms;
    uint64_t number; /* op */
    int is_answered;
    size_t body_len;
    char body[];
};

/* ---- What the loop is told ---- */

/* What an answer to CONSUMER.INFO or STREAM.INFO says, and when the thing was made in its words. */
static enum sluice_consumer read_info(const struct answer_note *note, char made[MADE_SIZE])
{
    cJSON *json = note->is_answered ? cJSON_ParseWithLength(note->body, note->body_len) : NULL;
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
    const cJSON *created = cJSON_GetObjectItemCaseSensitive(json, "created");
    enum sluice_consumer state = SLUICE_CONSUMER_UNKNOWN;
    if (cJSON_IsNumber(code) && code->valueint == 404) {
        state = SLUICE_CONSUMER_MISSING;
    } else if (error == NULL && cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "config"))) {
        state = SLUICE_CONSUMER_THERE;
    }
    (void)snprintf(made, MADE_SIZE, "%s", cJSON_IsString(created) ? created->valuestring : "");
    cJSON_Delete(json);
    return state;
}

static void end_check(struct sluice_nats_answers *answers, enum sluice_consumer state)
{
    if (answers->check_until_ms != 0) {
        answers->check_until_ms = 0;
        if (state == SLUICE_CONSUMER_UNKNOWN) {
            sluice_nats_link_leave(answers->intake->link,
                                   "the server knows nothing of the consumer");
        }
        answers->intake->events.on_consumer(answers->intake->ctx, state);
    }
}

static void tell_settled(struct sluice_nats_note *base)
{
    const struct answer_note *note = (const struct answer_note *)base;
    if (!note->is_answered && base->read_ms != 0) { /* nobody listens: a consumer does */
        sluice_nats_answers_recognise(note->answers, base->read_ms);
    }
    base->intake->events.on_settled(base->intake->ctx, note->number, note->is_answered,
                                    note->sent_ms);
}

/* Of a +ACK or +TERM, which all copies of the consumer have taken. */
static void tell_verdict(struct sluice_nats_note *base)
{
    const struct answer_note *note = (const struct answer_note *)base;
    if (note->is_answered) {
        sluice_nats_silence_answered(&note->answers->silence);
    }
    tell_settled(base);
}

static void tell_check(struct sluice_nats_note *base)
{
    const struct answer_note *note = (const struct answer_note *)base;
    char made[MADE_SIZE];
    end_check(note->answers, read_info(note, made));
}

/* The server of a consumer's leader that is cut off answers for it as before, and beats for its
 * pulls; but it says that it hears nothing of the other copies. */
static void tell_doubt(struct sluice_nats_note *base)
{
    const struct answer_note *note = (const struct answer_note *)base;
    cJSON *json = note->is_answered ? cJSON_ParseWithLength(note->body, note->body_len) : NULL;
    if (sluice_nats_api_answer_is_cut_off(json, COPIES_SILENT_MS)) {
        sluice_nats_link_leave(note->answers->intake->link,
                               "the consumer's leader hears nothing of its copies");
    }
    cJSON_Delete(json);
}

/* By when its stream was made one consumer is told from another: the time of the consumer itself
 * changes when a server is killed (2.9: always by microseconds, groups of 2.12 when all were).
 * Nobody has asked: only what is bad is news. */
static void tell_recognised(struct sluice_nats_note *base)
{
    const struct answer_note *note = (const struct answer_note *)base;
    struct sluice_nats_answers *answers = note->answers;
    char made[MADE_SIZE];
    enum sluice_consumer state = read_info(note, made);
    if (state == SLUICE_CONSUMER_THERE && made[0] != '\0' && answers->made[0] != '\0' &&
        strcmp(answers->made, made) != 0) {
        state = SLUICE_CONSUMER_ANEW;
    }
    if (state != SLUICE_CONSUMER_UNKNOWN) {
        memcpy(answers->made, made, MADE_SIZE);
    }
    if (state == SLUICE_CONSUMER_MISSING || state == SLUICE_CONSUMER_ANEW) {
        base->intake->events.on_consumer(base->intake->ctx, state);
    }
}

/* What was asked before may have been answered before. */
static void tell_deleted(struct sluice_nats_note *base)
{
    struct sluice_nats_answers *answers = ((const struct answer_note *)base)->answers;
    answers->recognised_ms = 0;
    sluice_nats_answers_recognise(answers, base->read_ms);
}

/* That it came is all. */
static void tell_echo(struct sluice_nats_note *base)
{
    (void)base;
}

static struct answer_note *note_create(struct sluice_nats_answers *answers,
                                       sluice_nats_note_fn *tell, const void *body, size_t body_len)
{
    struct answer_note *note =
        sluice_nats_note_create(answers->intake, tell, sizeof *note + body_len);
    if (note != NULL) {
        note->answers = answers;
        note->body_len = body_len;
        if (body_len > 0) {
            memcpy(note->body, body, body_len);
        }
    }
    return note;
}

static void post_settled(struct sluice_nats_answers *answers, uint64_t op, int is_answered)
{
    struct answer_note *note = note_create(answers, tell_settled, NULL, 0);
    if (note != NULL) {
        note->number = op;
        note->is_answered = is_answered;
        note->sent_ms = sluice_mono_ms();
        sluice_nats_note_post(&note->base);
    }
}

/* ---- Callbacks on the delivery thread ---- */

/* An answer to a verdict (v), another settle (s), an echo (e), a check (c), a doubt (d) or whether
 * the consumer is still the same (i): the subject carries
 * number and time of sending, so nothing needs to be kept for an operation that is open. */
static void on_answer(void *ctx, const struct sluice_nats_message *message)
{
    struct sluice_nats_wire *wire = ctx;
    const char *rest = sluice_nats_wire_rest(wire, message->subject);
    char text[STATUS_SIZE];
    uint64_t number, sent;
    if (rest == NULL || strncmp(rest, ".a.", 3) != 0 || rest[3] == '\0') {
        return;
    }
    char kind = rest[3];
    rest += 4;
    if (!sluice_nats_wire_number(&rest, &number) || !sluice_nats_wire_number(&rest, &sent) ||
        sent > INT64_MAX) {
        return;
    }
    int64_t now = sluice_mono_ms(), sent_ms = (int64_t)sent;
    if (sent_ms > wire->horizon_ms && sent_ms <= now) {
        wire->horizon_ms = sent_ms;
    }
    int has_info = kind == 'c' || kind == 'd' || kind == 'i';
    size_t len = has_info && message->body_len <= INFO_SIZE_MAX ? message->body_len : 0;
    sluice_nats_note_fn *tell = kind == 'v'   ? tell_verdict
                                : kind == 's' ? tell_settled
                                : kind == 'c' ? tell_check
                                : kind == 'd' ? tell_doubt
                                : kind == 'i' ? tell_recognised
                                              : tell_echo;
    struct answer_note *note = note_create(wire->answers, tell, message->body, len);
    if (note != NULL) {
        note->base.read_ms = now;
        note->number = number;
        note->sent_ms = sent_ms;
        /* Only an empty answer can be the server's "nobody listens there". */
        note->is_answered =
            message->body_len > 0 || sluice_nats_message_status(message, text, sizeof text) != 503;
        sluice_nats_note_post(&note->base);
    }
}

/* The server says that the consumer or its stream was deleted; which, and what there is instead, is
 * asked. */
static void on_deleted(void *ctx, const struct sluice_nats_message *message)
{
    const struct sluice_nats_wire *wire = ctx;
    (void)message;
    struct answer_note *note = note_create(wire->answers, tell_deleted, NULL, 0);
    if (note != NULL) {
        note->base.read_ms = sluice_mono_ms();
        sluice_nats_note_post(&note->base);
    }
}

static void on_released(void *ctx)
{
    sluice_nats_wire_unref(ctx);
}

/* ---- Operations ---- */

int sluice_nats_answers_listen(struct sluice_nats_answers *answers, struct sluice_nats_wire *wire)
{
    char subject[SUBJECT_SIZE];
    wire->answers = answers;
    sluice_nats_wire_ref(wire);
    (void)snprintf(subject, sizeof subject, "%s.a.>", wire->inbox);
    return sluice_nats_link_subscribe(answers->intake->link, subject, on_answer, on_released,
                                      wire) != NULL;
}

static void listen_for(struct sluice_nats_answers *answers, struct sluice_nats_wire *wire,
                       const char *subject)
{
    sluice_nats_wire_ref(wire);
    (void)sluice_nats_link_subscribe(answers->intake->link, subject, on_deleted, on_released, wire);
}

void sluice_nats_answers_listen_for_deletion(struct sluice_nats_answers *answers,
                                             struct sluice_nats_wire *wire)
{
    const struct sluice_nats_intake *in = answers->intake;
    char subject[SUBJECT_SIZE];
    (void)snprintf(subject, sizeof subject, SLUICE_NATS_ADVISORY ".STREAM.DELETED.%s", in->stream);
    listen_for(answers, wire, subject);
    (void)snprintf(subject, sizeof subject, SLUICE_NATS_ADVISORY ".CONSUMER.DELETED.%s.%s",
                   in->stream, in->consumer);
    listen_for(answers, wire, subject);
}

void sluice_nats_answers_settle(struct sluice_nats_answers *answers, uint64_t op, const char *reply,
                                enum sluice_verb verb, int64_t delay_ms)
{
    static const char *const words[] = {"+ACK", "-NAK", "+WPI", "+TERM"};
    const struct sluice_nats_intake *in = answers->intake;
    char inbox[SUBJECT_SIZE], body[64];
    struct sluice_fixed word = sluice_fixed_in(body, sizeof body);
    struct sluice_fixed to = sluice_fixed_in(inbox, sizeof inbox);
    sluice_fixed_text(&word, words[verb]);
    if (verb == SLUICE_VERB_NAK && delay_ms > 0) {
        sluice_fixed_text(&word, " {\"delay\":");
        sluice_fixed_int64(&word, delay_ms * 1000000);
        sluice_fixed_text(&word, "}");
    }
    sluice_fixed_text(&to, in->wire == NULL ? "" : in->wire->inbox);
    int is_verdict = verb == SLUICE_VERB_ACK || verb == SLUICE_VERB_TERM;
    sluice_fixed_text(&to, is_verdict ? ".a.v." : ".a.s.");
    sluice_fixed_hex(&to, op);
    sluice_fixed_text(&to, ".");
    sluice_fixed_hex(&to, (uint64_t)sluice_mono_ms());
    if (answers->is_unconfirmed && in->wire != NULL) {
        (void)sluice_nats_link_publish(in->link, reply, NULL, NULL, 0, body, word.len);
        post_settled(answers, op, 1);
        return;
    }
    if (in->wire == NULL || sluice_nats_link_publish(in->link, reply, inbox, NULL, 0, body,
                                                     word.len) != SLUICE_NATS_SENT) {
        post_settled(answers, op, 0);
    } else if (is_verdict) {
        sluice_nats_silence_asked(&answers->silence, sluice_mono_ms());
    }
}

static void ask_for_info(const struct sluice_nats_intake *in, char kind, int64_t now_ms)
{
    char subject[SUBJECT_SIZE], reply[SUBJECT_SIZE];
    int is_stream = kind == 'i';
    if (in->wire != NULL) {
        (void)snprintf(subject, sizeof subject, "%s.%s.INFO.%s%s%s",
                       sluice_nats_link_api_prefix(in->link), is_stream ? "STREAM" : "CONSUMER",
                       in->stream, is_stream ? "" : ".", is_stream ? "" : in->consumer);
        (void)snprintf(reply, sizeof reply, "%s.a.%c.0.%" PRIx64, in->wire->inbox, kind,
                       (uint64_t)now_ms);
        (void)sluice_nats_link_publish(in->link, subject, reply, NULL, 0, "", 0);
    }
}

void sluice_nats_answers_check(struct sluice_nats_answers *answers)
{
    const struct sluice_nats_intake *in = answers->intake;
    int64_t now = sluice_mono_ms();
    if (answers->check_until_ms != 0) {
        return; /* one answer serves both */
    }
    answers->check_until_ms = now + CHECK_TIMEOUT_MS;
    ask_for_info(in, 'c', now); /* silence ends with the deadline */
}

void sluice_nats_answers_recognise(struct sluice_nats_answers *answers, int64_t now_ms)
{
    if (now_ms >= answers->recognised_ms + RECOGNISE_EVERY_MS) {
        answers->recognised_ms = now_ms;
        ask_for_info(answers->intake, 'i', now_ms);
    }
}

void sluice_nats_answers_doubt(struct sluice_nats_answers *answers)
{
    ask_for_info(answers->intake, 'd', sluice_mono_ms());
}

void sluice_nats_answers_echo(struct sluice_nats_answers *answers)
{
    const struct sluice_nats_intake *in = answers->intake;
    char subject[SUBJECT_SIZE];
    if (in->wire != NULL) {
        (void)snprintf(subject, sizeof subject, "%s.a.e.0.%" PRIx64, in->wire->inbox,
                       (uint64_t)sluice_mono_ms());
        (void)sluice_nats_link_publish(in->link, subject, NULL, NULL, 0, "", 0);
    }
}

void sluice_nats_answers_tick(struct sluice_nats_answers *answers, int64_t now_ms)
{
    if (answers->check_until_ms != 0 && now_ms > answers->check_until_ms) {
        end_check(answers, SLUICE_CONSUMER_UNKNOWN);
    }
    if (sluice_nats_silence_for_ms(&answers->silence, now_ms) > VERDICTS_SILENT_MS) {
        sluice_nats_silence_answered(&answers->silence);
        sluice_nats_link_leave(answers->intake->link, "the server confirms no verdict");
    }
}

void sluice_nats_answers_down(struct sluice_nats_answers *answers)
{
    sluice_nats_silence_answered(&answers->silence);
    end_check(answers, SLUICE_CONSUMER_UNKNOWN);
    answers->recognised_ms = 0;
}
