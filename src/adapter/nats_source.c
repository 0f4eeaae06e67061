/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_source.h"

#include "adapter/nats_clock.h"
#include "adapter/nats_delivery.h"
#include "adapter/nats_link.h"
#include "adapter/nats_status.h"
#include "codec/fixed.h"
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECT_SIZE 512u
#define TEXT_SIZE    160u
#define SLOTS_MAX                                                                                  \
    64u /* inboxes subscribed at once: 4 in use, the rest abandoned and not yet expired */
#define SLOTS_BAD_MAX                                                                              \
    256u /* inboxes given up on one connection, then the connection is given up                    \
          */
#define EXPIRY_GRACE_MS  5000 /* after a pull's expiry, for what is still on its way */
#define DRAIN_TIMEOUT_MS 3000
#define CHECK_TIMEOUT_MS 5000
#define ALIVE_STEP_MS    200 /* signs of life are passed on at most this often */
#define INFO_SIZE_MAX    65536u

/* The part of a connection that callbacks use: alive until its last subscription is released. */
struct wire {
    struct nats_source *source;
    atomic_uint refs;
    int64_t horizon_ms; /* delivery thread only */
    size_t inbox_len;
    char inbox[128];
};

/* What the subscription of one pull slot carries; becomes a mail when it is released. */
struct slot_tap {
    struct sluice_mail mail; /* first */
    struct wire *wire;
    uint32_t slot;
};

enum slot_state { SLOT_UNUSED, SLOT_FREE, SLOT_OPEN, SLOT_ABANDONED };

/* One inbox. It serves one pull at a time, so a message on it is that pull's. */
struct slot {
    enum slot_state state;
    uint32_t number; /* in the inbox's subject; never used again */
    uint32_t pull;
    uint32_t missing; /* messages of the pull that have not come */
    int64_t until_ms; /* nothing can come any more */
    struct sluice_nats_tap *tap;
};

struct nats_source {
    struct sluice_source base; /* first */
    uv_timer_t timer;
    int is_unconfirmed; /* for `sluice bench` alone: settles count as answered when sent */
    struct sluice_nats_box *box;
    struct sluice_nats_link *link;
    struct sluice_source_events events;
    void *ctx;
    char *stream, *consumer;
    struct wire *wire; /* of this connection; NULL when down */
    struct slot slots[SLOTS_MAX];
    uint32_t slots_made, slots_bad; /* numbers given out; given up on this connection */
    uint32_t releases_missing;      /* stop: subscriptions that still drain */
    int64_t alive_ms;
    int64_t check_until_ms; /* 0: no check is open */
    int is_stopping, is_destroyed;
};

enum note_kind { NOTE_SETTLED, NOTE_ECHO, NOTE_CHECK, NOTE_STATUS, NOTE_STOPPED };

/* What a callback, or an operation that failed at once, tells the loop thread. */
struct note {
    struct sluice_mail mail; /* first */
    struct nats_source *source;
    enum note_kind kind;
    int64_t read_ms; /* 0: no sign of the server */
    int64_t sent_ms;
    uint64_t number; /* op or pull */
    int is_answered;
    enum sluice_pull_status status;
    char text[TEXT_SIZE];
    size_t body_len;
    char body[];
};

/* ---- Notes ---- */

static void see_life(struct nats_source *s, int64_t read_ms)
{
    if (read_ms - s->alive_ms >= ALIVE_STEP_MS) {
        s->alive_ms = read_ms;
        s->events.on_alive(s->ctx, read_ms);
    }
}

/* Does the answer to CONSUMER.INFO say that it exists? */
static int read_info(const struct note *note)
{
    cJSON *json = note->is_answered ? cJSON_ParseWithLength(note->body, note->body_len) : NULL;
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
    int exists = -1;
    if (cJSON_IsNumber(code) && code->valueint == 404) {
        exists = 0;
    } else if (error == NULL && cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "config"))) {
        exists = 1;
    }
    cJSON_Delete(json);
    return exists;
}

static void end_check(struct nats_source *s, int exists)
{
    if (s->check_until_ms != 0) {
        s->check_until_ms = 0;
        s->events.on_consumer(s->ctx, exists);
    }
}

static void end_stop(struct nats_source *s)
{
    if (s->is_stopping) {
        s->is_stopping = 0;
        s->releases_missing = 0;
        s->events.on_stopped(s->ctx);
    }
}

static struct slot *slot_of_pull(struct nats_source *s, uint32_t pull)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (s->slots[i].state == SLOT_OPEN && s->slots[i].pull == pull) {
            return &s->slots[i];
        }
    }
    return NULL;
}

static struct slot *slot_of_number(struct nats_source *s, uint32_t number)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (s->slots[i].state != SLOT_UNUSED && s->slots[i].number == number) {
            return &s->slots[i];
        }
    }
    return NULL;
}

/* The inbox may be in use on the server's side: no later pull gets it. */
static void give_up(struct nats_source *s, struct slot *slot)
{
    slot->state = SLOT_ABANDONED;
    if (++s->slots_bad > SLOTS_BAD_MAX) {
        sluice_nats_link_reset(s->link, "too many pulls went wrong on this connection");
    }
}

static void see_status(struct nats_source *s, const struct note *note)
{
    struct slot *slot = slot_of_pull(s, (uint32_t)note->number);
    if (slot != NULL && note->status == SLUICE_PULL_ENDED) {
        slot->state = SLOT_FREE;
    } else if (slot != NULL && note->status != SLUICE_PULL_ALIVE) {
        give_up(s, slot);
    }
    s->events.on_pull(s->ctx, (uint32_t)note->number, note->status, note->text);
}

static void deliver_note(struct sluice_mail *mail)
{
    struct note *note = (struct note *)mail;
    struct nats_source *s = note->source;
    if (s->is_destroyed) {
        free(note);
        return;
    }
    if (note->read_ms != 0) {
        see_life(s, note->read_ms);
    }
    switch (note->kind) {
    case NOTE_SETTLED:
        s->events.on_settled(s->ctx, note->number, note->is_answered, note->sent_ms);
        break;
    case NOTE_CHECK:
        end_check(s, read_info(note));
        break;
    case NOTE_STATUS:
        see_status(s, note);
        break;
    case NOTE_STOPPED:
        end_stop(s);
        break;
    case NOTE_ECHO:
        break;
    }
    free(note);
}

/* Without memory there is no note: an answer that was not read, for which every sender has a
 * deadline. */
static struct note *note_create(struct nats_source *s, enum note_kind kind, const void *body,
                                size_t body_len)
{
    struct note *note = malloc(sizeof *note + body_len);
    if (note == NULL) {
        return NULL;
    }
    memset(note, 0, sizeof *note);
    note->mail.deliver = deliver_note;
    note->source = s;
    note->kind = kind;
    note->body_len = body_len;
    if (body_len > 0) {
        memcpy(note->body, body, body_len);
    }
    return note;
}

static void post_settled(struct nats_source *s, uint64_t op, int is_answered)
{
    struct note *note = note_create(s, NOTE_SETTLED, NULL, 0);
    if (note != NULL) {
        note->number = op;
        note->is_answered = is_answered;
        note->sent_ms = sluice_nats_now_ms();
        sluice_nats_box_post(s->box, &note->mail);
    }
}

static void post_status(struct nats_source *s, uint32_t pull, enum sluice_pull_status status,
                        const char *text, int64_t read_ms)
{
    struct note *note = note_create(s, NOTE_STATUS, NULL, 0);
    if (note != NULL) {
        note->number = pull;
        note->status = status;
        note->read_ms = read_ms;
        (void)snprintf(note->text, sizeof note->text, "%s", text);
        sluice_nats_box_post(s->box, &note->mail);
    }
}

/* ---- Callbacks on the delivery thread ---- */

static void wire_unref(struct wire *wire)
{
    if (atomic_fetch_sub(&wire->refs, 1) == 1) {
        free(wire);
    }
}

/* What follows the inbox in a subject, e.g. ".a.s.1f.9c"; NULL when the subject is not ours. */
static const char *after_inbox(const struct wire *wire, const char *subject)
{
    return strncmp(subject, wire->inbox, wire->inbox_len) == 0 ? subject + wire->inbox_len : NULL;
}

/* A hexadecimal number after a dot; 0 when there is none. */
static int read_hex(const char **text, uint64_t *out)
{
    char *end;
    if (**text != '.') {
        return 0;
    }
    *out = strtoull(*text + 1, &end, 16);
    int is_read = end > *text + 1;
    *text = end;
    return is_read;
}

/* An answer to a settle (s), an echo (e) or a check (c): the subject carries number and time of
 * sending, so nothing needs to be kept for an operation that is open. */
static void on_answer(void *ctx, const struct sluice_nats_message *message)
{
    struct wire *wire = ctx;
    const char *rest = after_inbox(wire, message->subject);
    char text[TEXT_SIZE];
    uint64_t number, sent;
    if (rest == NULL || strncmp(rest, ".a.", 3) != 0 || rest[3] == '\0') {
        return;
    }
    char kind = rest[3];
    rest += 4;
    if (!read_hex(&rest, &number) || !read_hex(&rest, &sent) || sent > INT64_MAX) {
        return;
    }
    int64_t now = sluice_nats_now_ms(), sent_ms = (int64_t)sent;
    if (sent_ms > wire->horizon_ms && sent_ms <= now) {
        wire->horizon_ms = sent_ms;
    }
    enum note_kind what = kind == 's' ? NOTE_SETTLED : kind == 'c' ? NOTE_CHECK : NOTE_ECHO;
    size_t len = what == NOTE_CHECK && message->body_len <= INFO_SIZE_MAX ? message->body_len : 0;
    struct note *note = note_create(wire->source, what, message->body, len);
    if (note != NULL) {
        note->read_ms = now;
        note->number = number;
        note->sent_ms = sent_ms;
        /* Only an empty answer can be the server's "nobody listens there". */
        note->is_answered =
            message->body_len > 0 || sluice_nats_message_status(message, text, sizeof text) != 503;
        sluice_nats_box_post(wire->source->box, &note->mail);
    }
}

static void on_answers_released(void *ctx)
{
    wire_unref(ctx);
}

static void deliver_message(struct sluice_mail *mail)
{
    struct sluice_nats_delivery *block = (struct sluice_nats_delivery *)mail;
    struct nats_source *s = block->owner;
    if (s->is_destroyed) {
        sluice_nats_delivery_free(&block->delivery);
        return;
    }
    see_life(s, block->read_ms);
    struct slot *slot = slot_of_number(s, block->slot);
    if (slot != NULL) {
        block->delivery.pull = slot->pull;
        slot->missing -= slot->missing > 0;
        if (slot->missing == 0 && slot->state == SLOT_OPEN) {
            slot->state = SLOT_FREE; /* the server ends a full pull without a word */
        }
    }
    s->events.on_delivery(s->ctx, &block->delivery);
}

/* A message of the stream keeps the stream's subject; a status comes on the pull's own. */
static void on_pulled(void *ctx, const struct sluice_nats_message *message)
{
    struct slot_tap *tap = ctx;
    struct wire *wire = tap->wire;
    struct nats_source *s = wire->source;
    int64_t now = sluice_nats_now_ms();
    const char *rest = after_inbox(wire, message->subject);
    if (rest != NULL) {
        uint64_t slot, pull;
        char text[TEXT_SIZE - 16];
        if (strncmp(rest, ".p", 2) == 0 && (rest += 2, read_hex(&rest, &slot)) &&
            read_hex(&rest, &pull)) {
            int code = sluice_nats_message_status(message, text, sizeof text);
            char words[TEXT_SIZE];
            (void)snprintf(words, sizeof words, "%d %s", code, text);
            post_status(s, (uint32_t)pull, sluice_nats_status_of(code, text), words, now);
        }
        return;
    }
    struct sluice_nats_delivery *block =
        sluice_nats_delivery_create(message, s->stream, s->consumer);
    if (block != NULL) { /* without memory it comes again after the ack wait */
        block->mail.deliver = deliver_message;
        block->owner = s;
        block->read_ms = now;
        block->slot = tap->slot;
        block->delivery.horizon_ms = wire->horizon_ms;
        sluice_nats_box_post(s->box, &block->mail);
    }
}

static void deliver_release(struct sluice_mail *mail)
{
    struct slot_tap *tap = (struct slot_tap *)mail;
    struct nats_source *s = tap->wire->source;
    int is_awaited = !s->is_destroyed && s->releases_missing > 0 && tap->wire == s->wire &&
                     slot_of_number(s, tap->slot) != NULL;
    if (is_awaited && --s->releases_missing == 0) {
        end_stop(s);
    }
    wire_unref(tap->wire);
    free(tap);
}

static void on_slot_released(void *ctx)
{
    struct slot_tap *tap = ctx;
    sluice_nats_box_post(tap->wire->source->box, &tap->mail);
}

/* ---- The connection ---- */

static void send_echo(struct nats_source *s)
{
    char subject[SUBJECT_SIZE];
    if (s->wire != NULL) {
        (void)snprintf(subject, sizeof subject, "%s.a.e.0.%" PRIx64, s->wire->inbox,
                       (uint64_t)sluice_nats_now_ms());
        (void)sluice_nats_link_publish(s->link, subject, NULL, NULL, 0, "", 0);
    }
}

static void on_up(void *ctx)
{
    struct nats_source *s = ctx;
    char subject[SUBJECT_SIZE];
    struct wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL) {
        sluice_nats_link_reset(s->link, "out of memory");
        return;
    }
    wire->source = s;
    wire->horizon_ms = sluice_nats_link_up_since_ms(s->link);
    atomic_init(&wire->refs, 2); /* ours and the answers' */
    (void)snprintf(wire->inbox, sizeof wire->inbox, "%s", sluice_nats_link_inbox(s->link));
    wire->inbox_len = strlen(wire->inbox);
    (void)snprintf(subject, sizeof subject, "%s.a.>", wire->inbox);
    if (sluice_nats_link_subscribe(s->link, subject, on_answer, on_answers_released, wire) ==
        NULL) {
        wire_unref(wire);
        sluice_nats_link_reset(s->link, "cannot subscribe to the inbox");
        return;
    }
    s->wire = wire;
    send_echo(s);
    s->events.on_link(s->ctx, SLUICE_LINK_UP, sluice_nats_link_server(s->link));
}

static void forget_connection(struct nats_source *s)
{
    memset(s->slots, 0, sizeof s->slots);
    s->slots_bad = 0;
    if (s->wire != NULL) {
        wire_unref(s->wire);
        s->wire = NULL;
    }
}

static void on_down(void *ctx, const char *text)
{
    struct nats_source *s = ctx;
    int was_up = s->wire != NULL;
    forget_connection(s);
    if (was_up) {
        s->events.on_link(s->ctx, SLUICE_LINK_DOWN, text);
    }
    end_check(s, -1);
    end_stop(s);
}

static void on_lost(void *ctx, const char *text)
{
    struct nats_source *s = ctx;
    s->events.on_link(s->ctx, SLUICE_LINK_LOST, text);
}

static void on_refused(void *ctx, const char *text)
{
    struct nats_source *s = ctx;
    s->events.on_link(s->ctx, SLUICE_LINK_REFUSED, text);
}

static void on_tick(uv_timer_t *timer)
{
    struct nats_source *s = timer->data;
    int64_t now = sluice_nats_now_ms();
    sluice_nats_link_tick(s->link);
    send_echo(s);
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->state == SLOT_ABANDONED && now > slot->until_ms) {
            sluice_nats_tap_unsubscribe(slot->tap);
            *slot = (struct slot){0};
        }
    }
    if (s->check_until_ms != 0 && now > s->check_until_ms) {
        end_check(s, -1);
    }
}

/* ---- Operations ---- */

/* A place in the table; the abandoned inbox that expires first gives way when it is full. */
static struct slot *unused_slot(struct nats_source *s)
{
    struct slot *oldest = NULL;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->state == SLOT_UNUSED) {
            return slot;
        }
        if (slot->state == SLOT_ABANDONED &&
            (oldest == NULL || slot->until_ms < oldest->until_ms)) {
            oldest = slot;
        }
    }
    if (oldest != NULL) {
        sluice_nats_tap_unsubscribe(oldest->tap);
        *oldest = (struct slot){0};
    }
    return oldest;
}

/* An inbox for a pull: one that is free, else a new one. NULL when down or without memory. */
static struct slot *take_slot(struct nats_source *s)
{
    char subject[SUBJECT_SIZE];
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (s->slots[i].state == SLOT_FREE) {
            return &s->slots[i];
        }
    }
    struct slot *slot = s->wire == NULL ? NULL : unused_slot(s);
    struct slot_tap *tap = slot == NULL ? NULL : calloc(1, sizeof *tap);
    if (tap == NULL) {
        return NULL;
    }
    tap->mail.deliver = deliver_release;
    tap->wire = s->wire;
    tap->slot = ++s->slots_made;
    atomic_fetch_add(&s->wire->refs, 1);
    (void)snprintf(subject, sizeof subject, "%s.p.%" PRIx32 ".*", s->wire->inbox, tap->slot);
    uint32_t number = tap->slot;
    slot->tap = sluice_nats_link_subscribe(s->link, subject, on_pulled, on_slot_released, tap);
    if (slot->tap == NULL) {
        return NULL;
    }
    slot->number = number;
    slot->state = SLOT_FREE;
    return slot;
}

static int format_pull(char *out, size_t size, const struct sluice_fx_pull *pull)
{
    int len = snprintf(out, size, "{\"batch\":%" PRIu32 ",\"expires\":%" PRId64, pull->batch,
                       (int64_t)pull->expires_ms * 1000000);
    if (pull->heartbeat_ms > 0) {
        len += snprintf(out + len, size - (size_t)len, ",\"idle_heartbeat\":%" PRId64,
                        (int64_t)pull->heartbeat_ms * 1000000);
    }
    if (pull->max_bytes > 0) {
        len += snprintf(out + len, size - (size_t)len, ",\"max_bytes\":%" PRIu32, pull->max_bytes);
    }
    return len + snprintf(out + len, size - (size_t)len, "}");
}

static void source_pull(struct sluice_source *base, const struct sluice_fx_pull *pull)
{
    struct nats_source *s = (struct nats_source *)base;
    char subject[SUBJECT_SIZE], reply[SUBJECT_SIZE], body[192];
    struct slot *slot = take_slot(s);
    if (slot == NULL) {
        post_status(s, pull->pull, SLUICE_PULL_UNKNOWN, "no inbox for the pull", 0);
        return;
    }
    slot->state = SLOT_OPEN;
    slot->pull = pull->pull;
    slot->missing = pull->batch;
    slot->until_ms = sluice_nats_now_ms() + pull->expires_ms + EXPIRY_GRACE_MS;
    (void)snprintf(subject, sizeof subject, "%s.CONSUMER.MSG.NEXT.%s.%s",
                   sluice_nats_link_api_prefix(s->link), s->stream, s->consumer);
    (void)snprintf(reply, sizeof reply, "%s.p.%" PRIx32 ".%" PRIx32, s->wire->inbox, slot->number,
                   pull->pull);
    int len = format_pull(body, sizeof body, pull);
    if (sluice_nats_link_publish(s->link, subject, reply, NULL, 0, body, (size_t)len) !=
        SLUICE_NATS_SENT) {
        slot->state = SLOT_FREE;
        post_status(s, pull->pull, SLUICE_PULL_UNKNOWN, "the pull could not be sent", 0);
    }
}

static void source_abandon(struct sluice_source *base, uint32_t pull)
{
    struct nats_source *s = (struct nats_source *)base;
    struct slot *slot = slot_of_pull(s, pull);
    if (slot != NULL) {
        give_up(s, slot);
    }
}

static void source_check(struct sluice_source *base)
{
    struct nats_source *s = (struct nats_source *)base;
    char subject[SUBJECT_SIZE], reply[SUBJECT_SIZE];
    int64_t now = sluice_nats_now_ms();
    if (s->check_until_ms != 0) {
        return; /* one answer serves both */
    }
    s->check_until_ms = now + CHECK_TIMEOUT_MS;
    if (s->wire != NULL) {
        (void)snprintf(subject, sizeof subject, "%s.CONSUMER.INFO.%s.%s",
                       sluice_nats_link_api_prefix(s->link), s->stream, s->consumer);
        (void)snprintf(reply, sizeof reply, "%s.a.c.0.%" PRIx64, s->wire->inbox, (uint64_t)now);
        /* Silence ends with the deadline. */
        (void)sluice_nats_link_publish(s->link, subject, reply, NULL, 0, "", 0);
    }
}

static void source_stop(struct sluice_source *base)
{
    struct nats_source *s = (struct nats_source *)base;
    if (s->is_stopping) {
        return;
    }
    s->is_stopping = 1;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (s->slots[i].state != SLOT_UNUSED) {
            s->releases_missing++;
            sluice_nats_tap_drain(s->slots[i].tap, DRAIN_TIMEOUT_MS);
            /* A message that still comes finds its pull; no pull finds the inbox. */
            s->slots[i].state = SLOT_ABANDONED;
            s->slots[i].until_ms = INT64_MAX;
        }
    }
    if (s->releases_missing == 0) {
        struct note *note = note_create(s, NOTE_STOPPED, NULL, 0);
        if (note != NULL) {
            sluice_nats_box_post(s->box, &note->mail);
        }
    }
}

static void source_settle(struct sluice_source *base, uint64_t op, const char *reply,
                          enum sluice_verb verb, int64_t delay_ms)
{
    static const char *const words[] = {"+ACK", "-NAK", "+WPI", "+TERM"};
    struct nats_source *s = (struct nats_source *)base;
    char inbox[SUBJECT_SIZE], body[64];
    struct sluice_fixed word = sluice_fixed_in(body, sizeof body);
    struct sluice_fixed to = sluice_fixed_in(inbox, sizeof inbox);
    sluice_fixed_text(&word, words[verb]);
    if (verb == SLUICE_VERB_NAK && delay_ms > 0) {
        sluice_fixed_text(&word, " {\"delay\":");
        sluice_fixed_int64(&word, delay_ms * 1000000);
        sluice_fixed_text(&word, "}");
    }
    sluice_fixed_text(&to, s->wire == NULL ? "" : s->wire->inbox);
    sluice_fixed_text(&to, ".a.s.");
    sluice_fixed_hex(&to, op);
    sluice_fixed_text(&to, ".");
    sluice_fixed_hex(&to, (uint64_t)sluice_nats_now_ms());
    if (s->is_unconfirmed && s->wire != NULL) {
        (void)sluice_nats_link_publish(s->link, reply, NULL, NULL, 0, body, word.len);
        post_settled(s, op, 1);
        return;
    }
    if (s->wire == NULL || sluice_nats_link_publish(s->link, reply, inbox, NULL, 0, body,
                                                    word.len) != SLUICE_NATS_SENT) {
        post_settled(s, op, 0);
    }
}

static void source_delivery_free(struct sluice_source *base, struct sluice_delivery *delivery)
{
    (void)base;
    sluice_nats_delivery_free(delivery);
}

static void free_source(struct nats_source *s)
{
    free(s->stream);
    free(s->consumer);
    free(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free_source(handle->data);
}

static void source_destroy(struct sluice_source *base)
{
    struct nats_source *s = (struct nats_source *)base;
    if (s == NULL) {
        return;
    }
    s->is_destroyed = 1;
    if (!sluice_nats_link_stop(s->link)) {
        /* cnats may still call back: what it would use stays. */
        uv_close((uv_handle_t *)&s->timer, NULL);
        return;
    }
    sluice_nats_box_close(s->box);
    sluice_nats_link_free(s->link);
    forget_connection(s);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static const struct sluice_source_ops ops = {
    .pull = source_pull,
    .abandon = source_abandon,
    .check = source_check,
    .stop = source_stop,
    .settle = source_settle,
    .delivery_free = source_delivery_free,
    .destroy = source_destroy,
};

static uint64_t tick_ms(int64_t ack_wait_ms)
{
    int64_t tick = ack_wait_ms / 6;
    return (uint64_t)(tick < 50 ? 50 : tick > 5000 ? 5000 : tick);
}

sluice_rc sluice_nats_source_create(const struct sluice_nats_source_config *config,
                                    struct sluice_source **out, struct sluice_err *err)
{
    static const struct sluice_nats_link_events link_events = {on_up, on_down, on_lost, on_refused};
    sluice_rc rc;
    struct nats_source *s = calloc(1, sizeof *s);
    if (s == NULL || (s->stream = strdup(config->stream)) == NULL ||
        (s->consumer = strdup(config->consumer)) == NULL ||
        (s->box = sluice_nats_box_create(config->mailbox)) == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
        goto fail;
    }
    s->base.ops = &ops;
    s->events = config->events;
    s->ctx = config->ctx;
    if ((rc = sluice_nats_link_create(&config->nats, config->loop, s->box, &link_events, s,
                                      &s->link, err)) != SLUICE_OK) {
        goto fail;
    }
    (void)uv_timer_init(config->loop, &s->timer);              /* cannot fail */
    const char *is_bench = getenv("SLUICE_BENCH_UNCONFIRMED"); /* no option: it loses the promise */
    s->is_unconfirmed = is_bench != NULL && strcmp(is_bench, "1") == 0;
    s->timer.data = s;
    uint64_t tick = tick_ms(config->ack_wait_ms);
    (void)uv_timer_start(&s->timer, on_tick, tick, tick);
    *out = &s->base;
    return SLUICE_OK;
fail:
    if (s != NULL) {
        s->is_destroyed = 1;
        sluice_nats_box_close(s->box);
        free_source(s);
    }
    return rc;
}
