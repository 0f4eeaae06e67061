/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_requests.h"

#include "adapter/nats_queue.h"
#include "adapter/nats_silence.h"
#include "codec/fixed.h"
#include "port/clock.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE        UINT32_MAX
#define FIRST_COUNT 64u
#define COUNT_MAX   (1u << 22) /* 65,536 messages with 64 outputs each */
#define WHEEL_COUNT                                                                                \
    256u /* turns of the wheel: 12.8 s; a longer deadline is passed over until due */
#define WHEEL_STEP_MS 50
#define SUBJECT_SIZE  256u
#define SILENT_TURNS                                                                               \
    60u /* 3 s in which nothing came at all, not even the answer to the link's ping every 2 s */

#define UNANSWERED_MAX_MS                                                                          \
    1500 /* a request was late and no other was answered meanwhile: the server may be cut off */

enum entry_state { ENTRY_FREE, ENTRY_OPEN, ENTRY_ENDED };

/* One request. Entries are linked by index: free list, a bucket of the wheel, or the list of those
 * that have ended and whose callback is to be made in the next turn of the loop. */
struct entry {
    sluice_nats_answer_fn *fn;
    void *ctx;
    struct sluice_nats_copy *copy; /* NULL: sent once */
    int64_t due_ms;                /* the deadline, or when it is sent again */
    uint32_t generation; /* part of the reply's token: a late answer finds another generation */
    uint32_t next, prev;
    uint8_t state;
    uint8_t outcome; /* of an ENDED one */
};

struct sluice_nats_requests {
    uv_timer_t timer;
    struct sluice_nats_box *box;
    struct sluice_nats_link *link;
    struct entry *entries;
    uint32_t count, free, open;
    uint32_t quiet;                   /* of the open ones: nothing of them is under way */
    struct sluice_nats_queue held[2]; /* by token; the last steps first */
    uint32_t buckets[WHEEL_COUNT];
    uint32_t ended_first, ended_last;
    int64_t turn;         /* the bucket that was looked at last, since the clock's zero */
    int64_t silent_turns; /* since something came over the link */
    uint64_t reads;       /* of the link, as far as it was looked at */
    struct sluice_nats_silence silence; /* of the server, as far as requests tell */
    struct sluice_mail ended_mail;
    int is_ended_posted;
    int is_closed;                   /* end() was called */
    sluice_nats_unheard_fn *unheard; /* may be NULL */
    void *unheard_ctx;
    char inbox[SUBJECT_SIZE];
};

/* An answer on its way from the delivery thread. */
struct answer {
    struct sluice_mail mail; /* first */
    struct sluice_nats_requests *requests;
    uint64_t token;
    enum sluice_nats_outcome outcome;
    size_t len;
    char body[];
};

/* ---- Entries ---- */

static int grow(struct sluice_nats_requests *r)
{
    uint32_t count = r->count == 0 ? FIRST_COUNT : r->count * 2;
    struct entry *entries =
        count > COUNT_MAX ? NULL : realloc(r->entries, count * sizeof entries[0]);
    if (entries == NULL) {
        return 0;
    }
    memset(entries + r->count, 0, (count - r->count) * sizeof entries[0]);
    for (uint32_t i = count; i > r->count; i--) {
        entries[i - 1].next = r->free;
        r->free = i - 1;
    }
    r->entries = entries;
    r->count = count;
    return 1;
}

/* NONE without memory. */
static uint32_t take_entry(struct sluice_nats_requests *r, sluice_nats_answer_fn *fn, void *ctx)
{
    if (r->free == NONE && !grow(r)) {
        return NONE;
    }
    uint32_t index = r->free;
    struct entry *e = &r->entries[index];
    r->free = e->next;
    e->fn = fn;
    e->ctx = ctx;
    e->generation++;
    e->next = e->prev = NONE;
    return index;
}

static void give_back(struct sluice_nats_requests *r, uint32_t index)
{
    struct entry *e = &r->entries[index];
    free(e->copy);
    e->copy = NULL;
    e->state = ENTRY_FREE;
    e->next = r->free;
    r->free = index;
}

static uint32_t *bucket_of(struct sluice_nats_requests *r, const struct entry *e)
{
    return &r->buckets[(uint64_t)(e->due_ms / WHEEL_STEP_MS + 1) % WHEEL_COUNT];
}

/* What changes the answer is done while the entry is not linked. */
static int is_quiet(const struct entry *e)
{
    return e->copy != NULL && e->copy->pause != SLUICE_NATS_NO_PAUSE;
}

static void link_open(struct sluice_nats_requests *r, uint32_t index)
{
    struct entry *e = &r->entries[index];
    uint32_t *head = bucket_of(r, e);
    e->state = ENTRY_OPEN;
    e->prev = NONE;
    e->next = *head;
    if (*head != NONE) {
        r->entries[*head].prev = index;
    }
    *head = index;
    r->open++;
    r->quiet += is_quiet(e);
}

static void unlink_open(struct sluice_nats_requests *r, uint32_t index)
{
    struct entry *e = &r->entries[index];
    if (e->prev != NONE) {
        r->entries[e->prev].next = e->next;
    } else {
        *bucket_of(r, e) = e->next;
    }
    if (e->next != NONE) {
        r->entries[e->next].prev = e->prev;
    }
    r->open--;
    r->quiet -= is_quiet(e);
}

/* Give the entry back, then call: the callback may send, which may move the table. */
static void finish(struct sluice_nats_requests *r, uint32_t index, enum sluice_nats_outcome outcome,
                   sluice_bytes body)
{
    sluice_nats_answer_fn *fn = r->entries[index].fn;
    void *ctx = r->entries[index].ctx;
    give_back(r, index);
    fn(ctx, outcome, body);
}

/* ---- Endings that the link thread has no part in ---- */

static void deliver_ended(struct sluice_nats_requests *r)
{
    /* Those that end during the callbacks are appended and taken too. */
    while (r->ended_first != NONE) {
        uint32_t index = r->ended_first;
        r->ended_first = r->entries[index].next;
        if (r->ended_first == NONE) {
            r->ended_last = NONE;
        }
        finish(r, index, r->entries[index].outcome, (sluice_bytes){"", 0});
    }
}

static void on_ended_mail(struct sluice_mail *mail)
{
    struct sluice_nats_requests *r =
        (struct sluice_nats_requests *)((char *)mail -
                                        offsetof(struct sluice_nats_requests, ended_mail));
    r->is_ended_posted = 0;
    deliver_ended(r);
}

static void end_later(struct sluice_nats_requests *r, uint32_t index,
                      enum sluice_nats_outcome outcome)
{
    struct entry *e = &r->entries[index];
    e->state = ENTRY_ENDED;
    e->outcome = (uint8_t)outcome;
    e->next = NONE;
    if (r->ended_last == NONE) {
        r->ended_first = index;
    } else {
        r->entries[r->ended_last].next = index;
    }
    r->ended_last = index;
    if (!r->is_ended_posted && !r->is_closed) {
        r->is_ended_posted = 1;
        sluice_nats_box_post(r->box, &r->ended_mail);
    }
}

/* ---- Sending ---- */

static enum sluice_nats_outcome outcome_of(enum sluice_nats_sent sent)
{
    switch (sent) {
    case SLUICE_NATS_TOO_LARGE:
        return SLUICE_NATS_OVERSIZE;
    case SLUICE_NATS_REFUSED:
        return SLUICE_NATS_ILLEGAL;
    default:
        return SLUICE_NATS_NOT_SENT;
    }
}

static uint64_t token_of(const struct sluice_nats_requests *r, uint32_t index)
{
    return (uint64_t)r->entries[index].generation << 32 | index;
}

/* The open entry that a token means, or NONE: it has ended. */
static uint32_t index_of(const struct sluice_nats_requests *r, uint64_t token)
{
    uint32_t index = (uint32_t)token;
    return index < r->count && r->entries[index].state == ENTRY_OPEN &&
                   r->entries[index].generation == token >> 32
               ? index
               : NONE;
}

static enum sluice_nats_sent transmit(struct sluice_nats_requests *r, uint32_t index,
                                      const struct sluice_nats_request *request)
{
    char reply[SUBJECT_SIZE + 24];
    if (r->inbox[0] == '\0' || r->is_closed) {
        return SLUICE_NATS_DOWN;
    }
    struct sluice_fixed to = sluice_fixed_in(reply, sizeof reply);
    sluice_fixed_text(&to, r->inbox);
    sluice_fixed_text(&to, ".");
    sluice_fixed_hex(&to, token_of(r, index));
    enum sluice_nats_sent sent =
        sluice_nats_link_publish(r->link, request->subject, reply, request->headers,
                                 request->headers_count, request->body.data, request->body.len);
    if (sent == SLUICE_NATS_SENT) {
        sluice_nats_silence_asked(&r->silence, sluice_mono_ms());
    }
    return sent;
}

/* An entry that is due before its deadline, or whose turn has come. */
static void send_copy(struct sluice_nats_requests *r, uint32_t index, int64_t now_ms)
{
    struct entry *e = &r->entries[index];
    struct sluice_nats_copy *copy = e->copy;
    unlink_open(r, index);
    copy->is_unknown |= copy->pause == SLUICE_NATS_NO_PAUSE;
    copy->pause = SLUICE_NATS_NO_PAUSE;
    enum sluice_nats_sent sent = transmit(r, index, &copy->request);
    if (sent == SLUICE_NATS_STARVED) {
        copy->pause = SLUICE_NATS_UNHEARD; /* memory may be back before the deadline */
    } else if (sent != SLUICE_NATS_SENT) {
        end_later(r, index, copy->is_unknown ? SLUICE_NATS_LOST : outcome_of(sent));
        return;
    }
    e->due_ms = sluice_nats_copy_due(copy, now_ms);
    link_open(r, index);
}

/* 1: it is sent again in a while; 0: that is all. */
static int put_off(struct sluice_nats_requests *r, uint32_t index)
{
    struct entry *e = &r->entries[index];
    struct sluice_nats_copy *copy = e->copy;
    int64_t now = sluice_mono_ms();
    if (copy == NULL || now >= copy->deadline_ms || r->is_closed) {
        return 0;
    }
    unlink_open(r, index);
    copy->pause = SLUICE_NATS_UNHEARD;
    e->due_ms = sluice_nats_copy_due(copy, now);
    sluice_nats_copy_wait_longer(copy);
    link_open(r, index);
    return 1;
}

/* Nobody listened. */
static int wait_for_listener(struct sluice_nats_requests *r, uint32_t index)
{
    if (!put_off(r, index)) {
        return 0;
    }
    const struct entry *e = &r->entries[index];
    if (!e->copy->is_told && r->unheard != NULL) {
        e->copy->is_told = 1;
        r->unheard(r->unheard_ctx, e->fn, e->ctx);
    }
    return 1;
}

/* The stream has an earlier try, and has not stored it yet. */
static int wait_for_stored(struct sluice_nats_requests *r, uint32_t index, sluice_bytes answer)
{
    struct sluice_nats_copy *copy = r->entries[index].copy;
    if (copy == NULL || copy->request.again != SLUICE_NATS_IF_SILENT ||
        copy->request.is_not_yet == NULL || !copy->request.is_not_yet(answer)) {
        return 0;
    }
    copy->is_unknown = 1;
    return put_off(r, index);
}

static int is_put_off(struct sluice_nats_requests *r, uint32_t index, const struct answer *a)
{
    return a->outcome == SLUICE_NATS_NO_RESPONDERS
               ? wait_for_listener(r, index)
               : wait_for_stored(r, index, (sluice_bytes){a->body, a->len});
}

/* ---- Waiting for a place under way ---- */

static int is_full(const struct sluice_nats_requests *r)
{
    return r->open - r->quiet >= SLUICE_NATS_UNDER_WAY_MAX;
}

/* 0: there is no memory to remember it, or no need to wait. */
static int hold(struct sluice_nats_requests *r, uint32_t index)
{
    struct sluice_nats_copy *copy = r->entries[index].copy;
    if (copy == NULL || !is_full(r) || r->inbox[0] == '\0' || r->is_closed ||
        !sluice_nats_queue_push(&r->held[!copy->request.is_last], token_of(r, index))) {
        return 0;
    }
    copy->pause = SLUICE_NATS_HELD;
    return 1;
}

/* Send what waits while there is room. What has ended, or was sent because it was due, has left its
 * token behind. */
static void send_held(struct sluice_nats_requests *r)
{
    uint64_t token;
    while (!is_full(r) && (sluice_nats_queue_pop(&r->held[0], &token) ||
                           sluice_nats_queue_pop(&r->held[1], &token))) {
        uint32_t index = index_of(r, token);
        if (index != NONE && r->entries[index].copy->pause == SLUICE_NATS_HELD) {
            send_copy(r, index, sluice_mono_ms());
        }
    }
}

/* ---- Deadlines ---- */

/* The silence of a dead connection, which the link's pings find out a moment later, says nothing of
 * who was asked. A loop that stood still hears nothing either: its turns count as two. */
static void listen_for_silence(struct sluice_nats_requests *r, int64_t turn)
{
    int64_t turns = turn - r->turn < 2 ? turn - r->turn : 2;
    r->silent_turns = sluice_nats_link_has_read(r->link, &r->reads) ? 0 : r->silent_turns + turns;
}

static enum sluice_nats_outcome late_outcome(const struct sluice_nats_requests *r,
                                             const struct sluice_nats_copy *copy)
{
    if (copy == NULL || copy->pause == SLUICE_NATS_NO_PAUSE || copy->is_unknown) {
        return r->silent_turns < SILENT_TURNS ? SLUICE_NATS_LATE : SLUICE_NATS_LOST;
    }
    return copy->pause == SLUICE_NATS_HELD ? SLUICE_NATS_NOT_SENT : SLUICE_NATS_NO_RESPONDERS;
}

static void note_late(struct sluice_nats_requests *r, int64_t now_ms)
{
    if (sluice_nats_silence_for_ms(&r->silence, now_ms) >= UNANSWERED_MAX_MS) {
        sluice_nats_silence_answered(&r->silence);
        sluice_nats_link_leave(r->link, "the server has no answer to any request");
    }
}

static void pass_bucket(struct sluice_nats_requests *r, uint32_t bucket, int64_t now_ms)
{
    uint32_t next;
    for (uint32_t i = r->buckets[bucket]; i != NONE; i = next) {
        const struct entry *e = &r->entries[i];
        next = e->next;
        if (e->due_ms > now_ms) {
            continue;
        }
        if (e->copy != NULL && now_ms < e->copy->deadline_ms) {
            send_copy(r, i, now_ms);
        } else {
            enum sluice_nats_outcome outcome = late_outcome(r, e->copy);
            unlink_open(r, i);
            end_later(r, i, outcome);
            if (outcome == SLUICE_NATS_LATE) {
                note_late(r, now_ms);
            }
        }
    }
}

static void lose_bucket(struct sluice_nats_requests *r, uint32_t bucket)
{
    while (r->buckets[bucket] != NONE) {
        uint32_t index = r->buckets[bucket];
        const struct sluice_nats_copy *copy = r->entries[index].copy;
        int is_held = copy != NULL && copy->pause == SLUICE_NATS_HELD;
        unlink_open(r, index);
        end_later(r, index, is_held ? SLUICE_NATS_NOT_SENT : SLUICE_NATS_LOST);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct sluice_nats_requests *r = timer->data;
    int64_t now = sluice_mono_ms();
    int64_t turn = now / WHEEL_STEP_MS;
    int64_t first = turn - r->turn >= WHEEL_COUNT ? turn - WHEEL_COUNT + 1 : r->turn + 1;
    listen_for_silence(r, turn);
    for (int64_t i = first; i <= turn; i++) {
        pass_bucket(r, (uint32_t)((uint64_t)i % WHEEL_COUNT), now);
    }
    r->turn = turn;
    send_held(r);
    if (r->inbox[0] == '\0') {
        sluice_nats_link_tick(r->link);
    } else if (r->open == 0) {
        (void)uv_timer_stop(&r->timer);
    }
}

static void start_timer(struct sluice_nats_requests *r)
{
    if (!uv_is_active((uv_handle_t *)&r->timer)) {
        r->turn = sluice_mono_ms() / WHEEL_STEP_MS;
        r->silent_turns = 0;
        (void)uv_timer_start(&r->timer, on_timer, WHEEL_STEP_MS, WHEEL_STEP_MS);
    }
}

/* ---- Answers ---- */

static void deliver_answer(struct sluice_mail *mail)
{
    struct answer *a = (struct answer *)mail;
    struct sluice_nats_requests *r = a->requests;
    uint32_t index = index_of(r, a->token);
    if (a->outcome == SLUICE_NATS_ANSWERED) {
        sluice_nats_silence_answered(&r->silence);
    }
    if (index != NONE && !is_put_off(r, index, a)) {
        const struct sluice_nats_copy *copy = r->entries[index].copy;
        if (a->outcome == SLUICE_NATS_NO_RESPONDERS && copy != NULL && copy->is_unknown) {
            a->outcome = SLUICE_NATS_LATE;
        }
        unlink_open(r, index);
        finish(r, index, a->outcome, (sluice_bytes){a->body, a->len});
    }
    free(a);
    send_held(r);
}

/* Delivery thread. */
static void on_answer(void *ctx, const struct sluice_nats_message *message)
{
    struct sluice_nats_requests *r = ctx;
    const char *token = strrchr(message->subject, '.');
    char text[8];
    struct answer *a = malloc(sizeof *a + message->body_len);
    if (a == NULL || token == NULL) {
        free(a); /* the deadline ends the request */
        return;
    }
    memset(a, 0, sizeof *a);
    a->mail.deliver = deliver_answer;
    a->requests = r;
    a->token = strtoull(token + 1, NULL, 16);
    a->len = message->body_len;
    if (a->len > 0) {
        memcpy(a->body, message->body, a->len);
    } else if (sluice_nats_message_status(message, text, sizeof text) == 503) {
        a->outcome = SLUICE_NATS_NO_RESPONDERS;
    }
    sluice_nats_box_post(r->box, &a->mail);
}

static void on_released(void *ctx)
{
    (void)ctx; /* the requests outlive the link */
}

void sluice_nats_requests_on_unheard(struct sluice_nats_requests *r,
                                     sluice_nats_unheard_fn *unheard, void *unheard_ctx)
{
    r->unheard = unheard;
    r->unheard_ctx = unheard_ctx;
}

void sluice_nats_requests_up(struct sluice_nats_requests *r)
{
    char subject[SUBJECT_SIZE];
    const char *inbox = sluice_nats_link_inbox(r->link);
    (void)snprintf(r->inbox, sizeof r->inbox, "%s.r", inbox);
    (void)snprintf(subject, sizeof subject, "%s.r.*", inbox);
    if (sluice_nats_link_subscribe(r->link, subject, on_answer, on_released, r) == NULL) {
        r->inbox[0] = '\0';
        sluice_nats_link_reset(r->link, "cannot subscribe to the inbox");
    }
}

void sluice_nats_requests_down(struct sluice_nats_requests *r)
{
    r->inbox[0] = '\0';
    sluice_nats_silence_answered(&r->silence);
    for (uint32_t i = 0; i < WHEEL_COUNT; i++) {
        lose_bucket(r, i);
    }
    if (!r->is_closed) {
        start_timer(r); /* watches the link while it is down */
    }
}

/* ---- Operations ---- */

sluice_rc sluice_nats_requests_send(struct sluice_nats_requests *r,
                                    const struct sluice_nats_request *request,
                                    sluice_nats_answer_fn *fn, void *ctx)
{
    enum sluice_nats_sent sent = SLUICE_NATS_SENT;
    int64_t now = sluice_mono_ms();
    uint32_t index = take_entry(r, fn, ctx);
    if (index == NONE) {
        return SLUICE_ERR_NOMEM;
    }
    struct entry *e = &r->entries[index];
    if (request->again != SLUICE_NATS_ONCE &&
        (e->copy = sluice_nats_copy_create(request, now)) == NULL) {
        sent = SLUICE_NATS_STARVED;
    } else if (!hold(r, index)) {
        sent = transmit(r, index, request);
    }
    if (sent == SLUICE_NATS_STARVED) {
        give_back(r, index);
        return SLUICE_ERR_NOMEM;
    }
    if (sent != SLUICE_NATS_SENT) {
        end_later(r, index, outcome_of(sent));
        return SLUICE_OK;
    }
    e->due_ms = e->copy != NULL ? sluice_nats_copy_due(e->copy, now) : now + request->timeout_ms;
    link_open(r, index);
    start_timer(r);
    return SLUICE_OK;
}

sluice_rc sluice_nats_requests_defer(struct sluice_nats_requests *r, sluice_nats_answer_fn *fn,
                                     void *ctx)
{
    uint32_t index = take_entry(r, fn, ctx);
    if (index == NONE) {
        return SLUICE_ERR_NOMEM;
    }
    end_later(r, index, SLUICE_NATS_NOT_SENT);
    return SLUICE_OK;
}

struct sluice_nats_requests *sluice_nats_requests_create(uv_loop_t *loop,
                                                         struct sluice_nats_box *box,
                                                         struct sluice_nats_link *link)
{
    struct sluice_nats_requests *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->box = box;
    r->link = link;
    r->free = r->ended_first = r->ended_last = NONE;
    r->ended_mail.deliver = on_ended_mail;
    for (uint32_t i = 0; i < WHEEL_COUNT; i++) {
        r->buckets[i] = NONE;
    }
    (void)uv_timer_init(loop, &r->timer); /* cannot fail */
    r->timer.data = r;
    return r;
}

void sluice_nats_requests_end(struct sluice_nats_requests *r)
{
    r->is_closed = 1;
    sluice_nats_requests_down(r);
    deliver_ended(r);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct sluice_nats_requests *r = handle->data;
    sluice_nats_queue_fini(&r->held[0]);
    sluice_nats_queue_fini(&r->held[1]);
    free(r->entries);
    free(r);
}

void sluice_nats_requests_destroy(struct sluice_nats_requests *r)
{
    if (r != NULL) {
        uv_close((uv_handle_t *)&r->timer, on_timer_closed);
    }
}
