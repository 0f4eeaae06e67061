/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_source.h"

#include "adapter/nats_answers.h"
#include "adapter/nats_delivery.h"
#include "adapter/nats_pulls.h"
#include "port/clock.h"
#include <stdlib.h>
#include <string.h>

struct nats_source {
    struct sluice_source base; /* first */
    uv_timer_t timer;
    struct sluice_nats_intake intake;
    struct sluice_nats_answers answers;
    struct sluice_nats_pulls pulls;
    int is_doubtful; /* the server, since: */
    int64_t doubted_ms;
};

/* From a doubt to the question: a copy that is out of reach has been silent for long enough then.
 * The loop's clock may be some milliseconds behind. */
#define DOUBT_MS        1500
#define DOUBT_MARGIN_MS 50

/* ---- The connection ---- */

static void on_up(void *ctx)
{
    struct nats_source *s = ctx;
    struct sluice_nats_intake *in = &s->intake;
    struct sluice_nats_wire *wire = sluice_nats_wire_create(in->link);
    if (wire == NULL) {
        sluice_nats_link_reset(in->link, "out of memory");
        return;
    }
    if (!sluice_nats_answers_listen(&s->answers, wire)) {
        sluice_nats_wire_unref(wire);
        sluice_nats_link_reset(in->link, "cannot subscribe to the inbox");
        return;
    }
    in->wire = wire;
    sluice_nats_answers_listen_for_deletion(&s->answers, wire);
    sluice_nats_answers_recognise(&s->answers, sluice_mono_ms());
    sluice_nats_answers_echo(&s->answers);
    in->events.on_link(in->ctx, SLUICE_LINK_UP, sluice_nats_link_server(in->link));
}

static void forget_connection(struct nats_source *s)
{
    sluice_nats_pulls_forget(&s->pulls);
    if (s->intake.wire != NULL) {
        sluice_nats_wire_unref(s->intake.wire);
        s->intake.wire = NULL;
    }
}

static void on_down(void *ctx, const char *text)
{
    struct nats_source *s = ctx;
    int was_up = s->intake.wire != NULL;
    s->is_doubtful = 0;
    forget_connection(s);
    if (was_up) {
        s->intake.events.on_link(s->intake.ctx, SLUICE_LINK_DOWN, text);
    }
    sluice_nats_answers_down(&s->answers);
    sluice_nats_pulls_end_stop(&s->pulls);
}

static void on_lost(void *ctx, const char *text)
{
    struct nats_source *s = ctx;
    s->intake.events.on_link(s->intake.ctx, SLUICE_LINK_LOST, text);
}

static void on_refused(void *ctx, const char *text)
{
    struct nats_source *s = ctx;
    if (strstr(text, SLUICE_NATS_ADVISORY) == NULL) {
        s->intake.events.on_link(s->intake.ctx, SLUICE_LINK_REFUSED, text);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct nats_source *s = timer->data;
    int64_t now = sluice_mono_ms();
    sluice_nats_link_tick(s->intake.link);
    sluice_nats_answers_echo(&s->answers);
    sluice_nats_pulls_tick(&s->pulls, now);
    sluice_nats_answers_tick(&s->answers, now);
    if (!sluice_nats_pulls_are_open(&s->pulls)) { /* which would tell */
        sluice_nats_answers_recognise(&s->answers, now);
    }
    if (s->is_doubtful && now >= s->doubted_ms + DOUBT_MS - DOUBT_MARGIN_MS) {
        s->is_doubtful = 0;
        sluice_nats_answers_doubt(&s->answers);
    }
}

/* ---- The port ---- */

static void source_pull(struct sluice_source *base, const struct sluice_fx_pull *pull)
{
    sluice_nats_pulls_open(&((struct nats_source *)base)->pulls, pull);
}

static void source_abandon(struct sluice_source *base, uint32_t pull)
{
    sluice_nats_pulls_abandon(&((struct nats_source *)base)->pulls, pull);
}

static void source_check(struct sluice_source *base)
{
    sluice_nats_answers_check(&((struct nats_source *)base)->answers);
}

static void source_stop(struct sluice_source *base)
{
    sluice_nats_pulls_stop(&((struct nats_source *)base)->pulls);
}

static void source_settle(struct sluice_source *base, uint64_t op, const char *reply,
                          enum sluice_verb verb, int64_t delay_ms)
{
    sluice_nats_answers_settle(&((struct nats_source *)base)->answers, op, reply, verb, delay_ms);
}

static void source_delivery_free(struct sluice_source *base, struct sluice_delivery *delivery)
{
    (void)base;
    sluice_nats_delivery_free(delivery);
}

static void free_source(struct nats_source *s)
{
    free(s->intake.stream);
    free(s->intake.consumer);
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
    s->intake.is_closed = 1;
    if (!sluice_nats_link_stop(s->intake.link)) {
        /* cnats may still call back: what it would use stays. */
        uv_close((uv_handle_t *)&s->timer, NULL);
        return;
    }
    sluice_nats_box_close(s->intake.box);
    sluice_nats_link_free(s->intake.link);
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
    static const struct sluice_nats_link_events link_events = {on_up, on_down, on_lost, on_refused,
                                                               NULL};
    sluice_rc rc;
    struct nats_source *s = calloc(1, sizeof *s);
    if (s == NULL || (s->intake.stream = strdup(config->stream)) == NULL ||
        (s->intake.consumer = strdup(config->consumer)) == NULL ||
        (s->intake.box = sluice_nats_box_create(config->mailbox)) == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
        goto fail;
    }
    s->base.ops = &ops;
    s->intake.events = config->events;
    s->intake.ctx = config->ctx;
    s->answers.intake = s->pulls.intake = &s->intake;
    if ((rc = sluice_nats_link_create(&config->nats, config->loop, s->intake.box, &link_events, s,
                                      &s->intake.link, err)) != SLUICE_OK) {
        goto fail;
    }
    (void)uv_timer_init(config->loop, &s->timer);              /* cannot fail */
    const char *is_bench = getenv("SLUICE_BENCH_UNCONFIRMED"); /* no option: it loses the promise */
    s->answers.is_unconfirmed = is_bench != NULL && strcmp(is_bench, "1") == 0;
    s->timer.data = s;
    uint64_t tick = tick_ms(config->ack_wait_ms);
    (void)uv_timer_start(&s->timer, on_tick, tick, tick);
    *out = &s->base;
    return SLUICE_OK;
fail:
    if (s != NULL) {
        s->intake.is_closed = 1;
        sluice_nats_box_close(s->intake.box);
        free_source(s);
    }
    return rc;
}

void sluice_nats_source_doubt(struct sluice_source *source, const char *server_id)
{
    struct nats_source *s = (struct nats_source *)source;
    if (!sluice_nats_link_is_at(s->intake.link, server_id)) {
        return;
    }
    s->is_doubtful = 1;
    s->doubted_ms = sluice_mono_ms();
    if (uv_timer_get_due_in(&s->timer) > DOUBT_MS) {
        (void)uv_timer_start(&s->timer, on_tick, DOUBT_MS, uv_timer_get_repeat(&s->timer));
    }
}

void sluice_nats_source_hurry(struct sluice_source *source)
{
    sluice_nats_link_hurry(((struct nats_source *)source)->intake.link);
}
