/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_pulls.h"

#include "adapter/nats_delivery.h"
#include "adapter/nats_status.h"
#include "port/clock.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECT_SIZE 512u
#define TEXT_SIZE    160u
#define SLOTS_BAD_MAX                                                                              \
    256u /* inboxes given up on one connection, then the connection is given up                    \
          */
#define EXPIRY_GRACE_MS  5000 /* after a pull's expiry, for what is still on its way */
#define DRAIN_TIMEOUT_MS 3000

/* What the subscription of one slot carries; becomes a mail when it is released. */
struct slot_tap {
    struct sluice_mail mail; /* first */
    struct sluice_nats_pulls *pulls;
    struct sluice_nats_wire *wire;
    uint32_t slot;
};

/* What a pull's status says. */
struct status_note {
    struct sluice_nats_note base; /* first */
    struct sluice_nats_pulls *pulls;
    uint32_t pull;
    enum sluice_pull_status status;
    char text[TEXT_SIZE];
};

/* A stop that had nothing to wait for. */
struct stop_note {
    struct sluice_nats_note base; /* first */
    struct sluice_nats_pulls *pulls;
};

/* ---- Slots ---- */

static struct sluice_nats_slot *slot_of_pull(struct sluice_nats_pulls *pulls, uint32_t pull)
{
    for (uint32_t i = 0; i < SLUICE_NATS_SLOTS_MAX; i++) {
        if (pulls->slots[i].state == SLUICE_NATS_SLOT_OPEN && pulls->slots[i].pull == pull) {
            return &pulls->slots[i];
        }
    }
    return NULL;
}

static struct sluice_nats_slot *slot_of_number(struct sluice_nats_pulls *pulls, uint32_t number)
{
    for (uint32_t i = 0; i < SLUICE_NATS_SLOTS_MAX; i++) {
        if (pulls->slots[i].state != SLUICE_NATS_SLOT_UNUSED && pulls->slots[i].number == number) {
            return &pulls->slots[i];
        }
    }
    return NULL;
}

/* The inbox may be in use on the server's side: no later pull gets it. */
static void give_up(struct sluice_nats_pulls *pulls, struct sluice_nats_slot *slot)
{
    slot->state = SLUICE_NATS_SLOT_ABANDONED;
    if (++pulls->slots_bad > SLOTS_BAD_MAX) {
        sluice_nats_link_reset(pulls->intake->link, "too many pulls went wrong on this connection");
    }
}

/* ---- What the loop is told ---- */

void sluice_nats_pulls_end_stop(struct sluice_nats_pulls *pulls)
{
    if (pulls->is_stopping) {
        pulls->is_stopping = 0;
        pulls->releases_missing = 0;
        pulls->intake->events.on_stopped(pulls->intake->ctx);
    }
}

static void tell_status(struct sluice_nats_note *base)
{
    const struct status_note *note = (const struct status_note *)base;
    struct sluice_nats_pulls *pulls = note->pulls;
    struct sluice_nats_slot *slot = slot_of_pull(pulls, note->pull);
    if (slot != NULL && note->status == SLUICE_PULL_ENDED) {
        slot->state = SLUICE_NATS_SLOT_FREE;
    } else if (slot != NULL && note->status != SLUICE_PULL_ALIVE) {
        give_up(pulls, slot);
    }
    pulls->intake->events.on_pull(pulls->intake->ctx, note->pull, note->status, note->text);
}

static void tell_stopped(struct sluice_nats_note *base)
{
    sluice_nats_pulls_end_stop(((struct stop_note *)base)->pulls);
}

static void post_status(struct sluice_nats_pulls *pulls, uint32_t pull,
                        enum sluice_pull_status status, const char *text, int64_t read_ms)
{
    struct status_note *note = sluice_nats_note_create(pulls->intake, tell_status, sizeof *note);
    if (note != NULL) {
        note->base.read_ms = read_ms;
        note->pulls = pulls;
        note->pull = pull;
        note->status = status;
        (void)snprintf(note->text, sizeof note->text, "%s", text);
        sluice_nats_note_post(&note->base);
    }
}

static void deliver_message(struct sluice_mail *mail)
{
    struct sluice_nats_delivery *block = (struct sluice_nats_delivery *)mail;
    struct sluice_nats_pulls *pulls = block->owner;
    struct sluice_nats_intake *intake = pulls->intake;
    if (intake->is_closed) {
        sluice_nats_delivery_free(&block->delivery);
        return;
    }
    sluice_nats_intake_alive(intake, block->read_ms);
    struct sluice_nats_slot *slot = slot_of_number(pulls, block->slot);
    if (slot != NULL) {
        block->delivery.pull = slot->pull;
        slot->missing -= slot->missing > 0;
        if (slot->missing == 0 && slot->state == SLUICE_NATS_SLOT_OPEN) {
            slot->state = SLUICE_NATS_SLOT_FREE; /* the server ends a full pull without a word */
        }
    }
    intake->events.on_delivery(intake->ctx, &block->delivery);
}

static void deliver_release(struct sluice_mail *mail)
{
    struct slot_tap *tap = (struct slot_tap *)mail;
    struct sluice_nats_pulls *pulls = tap->pulls;
    int is_awaited = !pulls->intake->is_closed && pulls->releases_missing > 0 &&
                     tap->wire == pulls->intake->wire && slot_of_number(pulls, tap->slot) != NULL;
    if (is_awaited && --pulls->releases_missing == 0) {
        sluice_nats_pulls_end_stop(pulls);
    }
    sluice_nats_wire_unref(tap->wire);
    free(tap);
}

/* ---- Callbacks on the delivery thread ---- */

/* A message of the stream keeps the stream's subject; a status comes on the pull's own. */
static void on_pulled(void *ctx, const struct sluice_nats_message *message)
{
    struct slot_tap *tap = ctx;
    struct sluice_nats_wire *wire = tap->wire;
    const struct sluice_nats_intake *intake = tap->pulls->intake;
    int64_t now = sluice_mono_ms();
    const char *rest = sluice_nats_wire_rest(wire, message->subject);
    if (rest != NULL) {
        uint64_t slot, pull;
        char text[TEXT_SIZE - 16];
        if (strncmp(rest, ".p", 2) == 0 && (rest += 2, sluice_nats_wire_number(&rest, &slot)) &&
            sluice_nats_wire_number(&rest, &pull)) {
            int code = sluice_nats_message_status(message, text, sizeof text);
            char words[TEXT_SIZE];
            (void)snprintf(words, sizeof words, "%d %s", code, text);
            post_status(tap->pulls, (uint32_t)pull, sluice_nats_status_of(code, text), words, now);
        }
        return;
    }
    struct sluice_nats_delivery *block =
        sluice_nats_delivery_create(message, intake->stream, intake->consumer);
    if (block != NULL) { /* without memory it comes again after the ack wait */
        block->mail.deliver = deliver_message;
        block->owner = tap->pulls;
        block->read_ms = now;
        block->slot = tap->slot;
        block->delivery.horizon_ms = wire->horizon_ms;
        sluice_nats_box_post(intake->box, &block->mail);
    }
}

static void on_released(void *ctx)
{
    struct slot_tap *tap = ctx;
    sluice_nats_box_post(tap->pulls->intake->box, &tap->mail);
}

/* ---- Operations ---- */

/* A place in the table; the abandoned inbox that expires first gives way when it is full. */
static struct sluice_nats_slot *unused_slot(struct sluice_nats_pulls *pulls)
{
    struct sluice_nats_slot *oldest = NULL;
    for (uint32_t i = 0; i < SLUICE_NATS_SLOTS_MAX; i++) {
        struct sluice_nats_slot *slot = &pulls->slots[i];
        if (slot->state == SLUICE_NATS_SLOT_UNUSED) {
            return slot;
        }
        if (slot->state == SLUICE_NATS_SLOT_ABANDONED &&
            (oldest == NULL || slot->until_ms < oldest->until_ms)) {
            oldest = slot;
        }
    }
    if (oldest != NULL) {
        sluice_nats_tap_unsubscribe(oldest->tap);
        *oldest = (struct sluice_nats_slot){0};
    }
    return oldest;
}

/* An inbox for a pull: one that is free, else a new one. NULL when down or without memory. */
static struct sluice_nats_slot *take_slot(struct sluice_nats_pulls *pulls)
{
    char subject[SUBJECT_SIZE];
    struct sluice_nats_wire *wire = pulls->intake->wire;
    for (uint32_t i = 0; i < SLUICE_NATS_SLOTS_MAX; i++) {
        if (pulls->slots[i].state == SLUICE_NATS_SLOT_FREE) {
            return &pulls->slots[i];
        }
    }
    struct sluice_nats_slot *slot = wire == NULL ? NULL : unused_slot(pulls);
    struct slot_tap *tap = slot == NULL ? NULL : calloc(1, sizeof *tap);
    if (tap == NULL) {
        return NULL;
    }
    tap->mail.deliver = deliver_release;
    tap->pulls = pulls;
    tap->wire = wire;
    tap->slot = ++pulls->slots_made;
    sluice_nats_wire_ref(wire);
    (void)snprintf(subject, sizeof subject, "%s.p.%" PRIx32 ".*", wire->inbox, tap->slot);
    uint32_t number = tap->slot;
    slot->tap =
        sluice_nats_link_subscribe(pulls->intake->link, subject, on_pulled, on_released, tap);
    if (slot->tap == NULL) {
        return NULL;
    }
    slot->number = number;
    slot->state = SLUICE_NATS_SLOT_FREE;
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

void sluice_nats_pulls_open(struct sluice_nats_pulls *pulls, const struct sluice_fx_pull *pull)
{
    const struct sluice_nats_intake *intake = pulls->intake;
    char subject[SUBJECT_SIZE], reply[SUBJECT_SIZE], body[192];
    struct sluice_nats_slot *slot = take_slot(pulls);
    if (slot == NULL) {
        post_status(pulls, pull->pull, SLUICE_PULL_UNKNOWN, "no inbox for the pull", 0);
        return;
    }
    slot->state = SLUICE_NATS_SLOT_OPEN;
    slot->pull = pull->pull;
    slot->missing = pull->batch;
    slot->until_ms = sluice_mono_ms() + pull->expires_ms + EXPIRY_GRACE_MS;
    (void)snprintf(subject, sizeof subject, "%s.CONSUMER.MSG.NEXT.%s.%s",
                   sluice_nats_link_api_prefix(intake->link), intake->stream, intake->consumer);
    (void)snprintf(reply, sizeof reply, "%s.p.%" PRIx32 ".%" PRIx32, intake->wire->inbox,
                   slot->number, pull->pull);
    int len = format_pull(body, sizeof body, pull);
    if (sluice_nats_link_publish(intake->link, subject, reply, NULL, 0, body, (size_t)len) !=
        SLUICE_NATS_SENT) {
        slot->state = SLUICE_NATS_SLOT_FREE;
        post_status(pulls, pull->pull, SLUICE_PULL_UNKNOWN, "the pull could not be sent", 0);
    }
}

void sluice_nats_pulls_abandon(struct sluice_nats_pulls *pulls, uint32_t pull)
{
    struct sluice_nats_slot *slot = slot_of_pull(pulls, pull);
    if (slot != NULL) {
        give_up(pulls, slot);
    }
}

void sluice_nats_pulls_stop(struct sluice_nats_pulls *pulls)
{
    if (pulls->is_stopping) {
        return;
    }
    pulls->is_stopping = 1;
    for (uint32_t i = 0; i < SLUICE_NATS_SLOTS_MAX; i++) {
        struct sluice_nats_slot *slot = &pulls->slots[i];
        if (slot->state != SLUICE_NATS_SLOT_UNUSED) {
            pulls->releases_missing++;
            sluice_nats_tap_drain(slot->tap, DRAIN_TIMEOUT_MS);
            /* A message that still comes finds its pull; no pull finds the inbox. */
            slot->state = SLUICE_NATS_SLOT_ABANDONED;
            slot->until_ms = INT64_MAX;
        }
    }
    if (pulls->releases_missing == 0) {
        struct stop_note *note = sluice_nats_note_create(pulls->intake, tell_stopped, sizeof *note);
        if (note != NULL) {
            note->pulls = pulls;
            sluice_nats_note_post(&note->base);
        }
    }
}

void sluice_nats_pulls_tick(struct sluice_nats_pulls *pulls, int64_t now_ms)
{
    for (uint32_t i = 0; i < SLUICE_NATS_SLOTS_MAX; i++) {
        struct sluice_nats_slot *slot = &pulls->slots[i];
        if (slot->state == SLUICE_NATS_SLOT_ABANDONED && now_ms > slot->until_ms) {
            sluice_nats_tap_unsubscribe(slot->tap);
            *slot = (struct sluice_nats_slot){0};
        }
    }
}

int sluice_nats_pulls_are_open(const struct sluice_nats_pulls *pulls)
{
    for (uint32_t i = 0; i < SLUICE_NATS_SLOTS_MAX; i++) {
        if (pulls->slots[i].state == SLUICE_NATS_SLOT_OPEN) {
            return 1;
        }
    }
    return 0;
}

void sluice_nats_pulls_forget(struct sluice_nats_pulls *pulls)
{
    memset(pulls->slots, 0, sizeof pulls->slots);
    pulls->slots_bad = 0;
}
