/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_requests.h"

#include "adapter/nats_queue.h"
#include "adapter/nats_silence.h"
#include "adapter/nats_wheel.h"
#include "codec/fixed.h"
#include "port/clock.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE         SLUICE_NATS_WHEEL_NONE
#define SUBJECT_SIZE 256u
#define SILENT_TURNS                                                                               \
    60u /* 3 s in which nothing came at all, not even the answer to the link's ping every 2 s */

#define UNANSWERED_MAX_MS                                                                          \
    1500 /* a request was late and no other was answered meanwhile: the server may be cut off */

struct sluice_nats_requests {
    uv_timer_t timer;
    struct sluice_nats_box *box;
    struct sluice_nats_link *link;
    struct sluice_nats_wheel wheel;
    struct sluice_nats_queue held[2];   /* by token; the last steps first */
    int64_t silent_turns;               /* since something came over the link */
    uint64_t reads;                     /* of the link, as far as it was looked at */
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

/* ---- Endings that the link thread has no part in ---- */

/* Give the entry back, then call: the callback may send, which may move the table. */
static void finish(struct sluice_nats_requests *r, uint32_t index, enum sluice_nats_outcome outcome,
                   sluice_bytes body)
{
    sluice_nats_answer_fn *fn = sluice_nats_wheel_at(&r->wheel, index)->fn;
    void *ctx = sluice_nats_wheel_at(&r->wheel, index)->ctx;
    sluice_nats_wheel_give_back(&r->wheel, index);
    fn(ctx, outcome, body);
}

static void deliver_ended(struct sluice_nats_requests *r)
{
    enum sluice_nats_outcome outcome;
    uint32_t index;
    /* Those that end during the callbacks are appended and taken too. */
    while ((index = sluice_nats_wheel_next_ended(&r->wheel, &outcome)) != NONE) {
        finish(r, index, outcome, (sluice_bytes){"", 0});
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
    sluice_nats_wheel_end(&r->wheel, index, outcome);
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
    sluice_fixed_hex(&to, sluice_nats_wheel_token(&r->wheel, index));
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
    struct sluice_nats_copy *copy = sluice_nats_wheel_at(&r->wheel, index)->copy;
    sluice_nats_wheel_unlink(&r->wheel, index);
    copy->is_unknown |= copy->pause == SLUICE_NATS_NO_PAUSE;
    copy->pause = SLUICE_NATS_NO_PAUSE;
    enum sluice_nats_sent sent = transmit(r, index, &copy->request);
    if (sent == SLUICE_NATS_STARVED) {
        copy->pause = SLUICE_NATS_UNHEARD; /* memory may be back before the deadline */
    } else if (sent != SLUICE_NATS_SENT) {
        end_later(r, index, copy->is_unknown ? SLUICE_NATS_LOST : outcome_of(sent));
        return;
    }
    sluice_nats_wheel_link(&r->wheel, index, sluice_nats_copy_due(copy, now_ms));
}

/* 1: it is sent again in a while; 0: that is all. */
static int put_off(struct sluice_nats_requests *r, uint32_t index)
{
    struct sluice_nats_copy *copy = sluice_nats_wheel_at(&r->wheel, index)->copy;
    int64_t now = sluice_mono_ms();
    if (copy == NULL || now >= copy->deadline_ms || r->is_closed) {
        return 0;
    }
    sluice_nats_wheel_unlink(&r->wheel, index);
    copy->pause = SLUICE_NATS_UNHEARD;
    int64_t due = sluice_nats_copy_due(copy, now);
    sluice_nats_copy_wait_longer(copy);
    sluice_nats_wheel_link(&r->wheel, index, due);
    return 1;
}

/* Nobody listened. */
static int wait_for_listener(struct sluice_nats_requests *r, uint32_t index)
{
    if (!put_off(r, index)) {
        return 0;
    }
    const struct sluice_nats_entry *e = sluice_nats_wheel_at(&r->wheel, index);
    if (!e->copy->is_told && r->unheard != NULL) {
        e->copy->is_told = 1;
        r->unheard(r->unheard_ctx, e->fn, e->ctx);
    }
    return 1;
}

/* Does the stream have an earlier try, and has not stored it yet? */
static int is_not_yet(const struct sluice_nats_copy *copy, sluice_bytes answer)
{
    return copy != NULL && copy->request.again == SLUICE_NATS_IF_SILENT &&
           copy->request.is_not_yet != NULL && copy->request.is_not_yet(answer);
}

/* 1: it goes on. Else `outcome` says how it ends: what may have been stored and is not confirmed by
 * the deadline is late. */
static int is_put_off(struct sluice_nats_requests *r, uint32_t index, const struct answer *a,
                      enum sluice_nats_outcome *outcome)
{
    struct sluice_nats_copy *copy = sluice_nats_wheel_at(&r->wheel, index)->copy;
    int is_unheard = a->outcome == SLUICE_NATS_NO_RESPONDERS;
    int is_stored_later = !is_unheard && is_not_yet(copy, (sluice_bytes){a->body, a->len});
    if (is_stored_later) {
        copy->is_unknown = 1;
    }
    int is_open = is_unheard || is_stored_later;
    *outcome = is_open && copy != NULL && copy->is_unknown ? SLUICE_NATS_LATE : a->outcome;
    return is_unheard ? wait_for_listener(r, index) : is_stored_later && put_off(r, index);
}

/* ---- Waiting for a place under way ---- */

static int is_full(const struct sluice_nats_requests *r)
{
    return sluice_nats_wheel_under_way(&r->wheel) >= SLUICE_NATS_UNDER_WAY_MAX;
}

/* 0: there is no memory to remember it, or no need to wait. */
static int hold(struct sluice_nats_requests *r, uint32_t index)
{
    struct sluice_nats_copy *copy = sluice_nats_wheel_at(&r->wheel, index)->copy;
    if (copy == NULL || !is_full(r) || r->inbox[0] == '\0' || r->is_closed ||
        !sluice_nats_queue_push(&r->held[!copy->request.is_last],
                                sluice_nats_wheel_token(&r->wheel, index))) {
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
        uint32_t index = sluice_nats_wheel_find(&r->wheel, token);
        if (index != NONE &&
            sluice_nats_wheel_at(&r->wheel, index)->copy->pause == SLUICE_NATS_HELD) {
            send_copy(r, index, sluice_mono_ms());
        }
    }
}

/* ---- Deadlines ---- */

/* The silence of a dead connection, which the link's pings find out a moment later, says nothing of
 * who was asked. A loop that stood still hears nothing either: its turns count as two. */
static void listen_for_silence(struct sluice_nats_requests *r, int64_t now_ms)
{
    int64_t behind = sluice_nats_wheel_behind(&r->wheel, now_ms);
    int64_t turns = behind < 2 ? behind : 2;
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

/* What on_due is told of its turn. */
struct turn {
    struct sluice_nats_requests *requests;
    int64_t now_ms;
};

static void on_due(void *ctx, uint32_t index)
{
    const struct turn *turn = ctx;
    struct sluice_nats_requests *r = turn->requests;
    const struct sluice_nats_copy *copy = sluice_nats_wheel_at(&r->wheel, index)->copy;
    if (copy != NULL && turn->now_ms < copy->deadline_ms) {
        send_copy(r, index, turn->now_ms);
        return;
    }
    enum sluice_nats_outcome outcome = late_outcome(r, copy);
    sluice_nats_wheel_unlink(&r->wheel, index);
    end_later(r, index, outcome);
    if (outcome == SLUICE_NATS_LATE) {
        note_late(r, turn->now_ms);
    }
}

static void lose(void *ctx, uint32_t index)
{
    struct sluice_nats_requests *r = ctx;
    const struct sluice_nats_copy *copy = sluice_nats_wheel_at(&r->wheel, index)->copy;
    int is_held = copy != NULL && copy->pause == SLUICE_NATS_HELD;
    sluice_nats_wheel_unlink(&r->wheel, index);
    end_later(r, index, is_held ? SLUICE_NATS_NOT_SENT : SLUICE_NATS_LOST);
}

static void on_timer(uv_timer_t *timer)
{
    struct sluice_nats_requests *r = timer->data;
    int64_t now = sluice_mono_ms();
    listen_for_silence(r, now);
    struct turn turn = {r, now};
    sluice_nats_wheel_pass(&r->wheel, now, on_due, &turn);
    send_held(r);
    if (r->inbox[0] == '\0') {
        sluice_nats_link_tick(r->link);
    } else if (sluice_nats_wheel_is_empty(&r->wheel)) {
        (void)uv_timer_stop(&r->timer);
    }
}

static void start_timer(struct sluice_nats_requests *r)
{
    if (!uv_is_active((uv_handle_t *)&r->timer)) {
        sluice_nats_wheel_start(&r->wheel, sluice_mono_ms());
        r->silent_turns = 0;
        (void)uv_timer_start(&r->timer, on_timer, SLUICE_NATS_WHEEL_STEP_MS,
                             SLUICE_NATS_WHEEL_STEP_MS);
    }
}

/* ---- Answers ---- */

static void deliver_answer(struct sluice_mail *mail)
{
    struct answer *a = (struct answer *)mail;
    struct sluice_nats_requests *r = a->requests;
    uint32_t index = sluice_nats_wheel_find(&r->wheel, a->token);
    if (a->outcome == SLUICE_NATS_ANSWERED) {
        sluice_nats_silence_answered(&r->silence);
    }
    enum sluice_nats_outcome outcome;
    if (index != NONE && !is_put_off(r, index, a, &outcome)) {
        sluice_nats_wheel_unlink(&r->wheel, index);
        finish(r, index, outcome, (sluice_bytes){a->body, a->len});
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
    sluice_nats_wheel_empty(&r->wheel, lose, r);
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
    uint32_t index = sluice_nats_wheel_take(&r->wheel, fn, ctx);
    if (index == NONE) {
        return SLUICE_ERR_NOMEM;
    }
    struct sluice_nats_entry *e = sluice_nats_wheel_at(&r->wheel, index);
    if (request->again != SLUICE_NATS_ONCE &&
        (e->copy = sluice_nats_copy_create(request, now)) == NULL) {
        sent = SLUICE_NATS_STARVED;
    } else if (!hold(r, index)) {
        sent = transmit(r, index, request);
    }
    if (sent == SLUICE_NATS_STARVED) {
        sluice_nats_wheel_give_back(&r->wheel, index);
        return SLUICE_ERR_NOMEM;
    }
    if (sent != SLUICE_NATS_SENT) {
        end_later(r, index, outcome_of(sent));
        return SLUICE_OK;
    }
    int64_t due = e->copy != NULL ? sluice_nats_copy_due(e->copy, now) : now + request->timeout_ms;
    sluice_nats_wheel_link(&r->wheel, index, due);
    start_timer(r);
    return SLUICE_OK;
}

sluice_rc sluice_nats_requests_defer(struct sluice_nats_requests *r, sluice_nats_answer_fn *fn,
                                     void *ctx)
{
    uint32_t index = sluice_nats_wheel_take(&r->wheel, fn, ctx);
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
    sluice_nats_wheel_init(&r->wheel);
    r->ended_mail.deliver = on_ended_mail;
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
    sluice_nats_wheel_fini(&r->wheel);
    free(r);
}

void sluice_nats_requests_destroy(struct sluice_nats_requests *r)
{
    if (r != NULL) {
        uv_close((uv_handle_t *)&r->timer, on_timer_closed);
    }
}
