/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_publisher.h"

#include "adapter/nats_headers.h"
#include "adapter/nats_puback.h"
#include "codec/header.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000

struct nats_publisher {
    struct sluice_publisher base; /* first */
    struct sluice_nats_box *box;
    struct sluice_nats_link *link;
    struct sluice_nats_requests *requests;
    int64_t timeout_ms;
    void (*on_link)(void *ctx, enum sluice_link_state state, const char *text);
    void (*on_left)(void *ctx, const char *server_id);
    void (*on_unheard)(void *ctx, const char *subject, const char *stream);
    void *ctx;
};

/* One publish that waits for its PubAck. */
struct publishing {
    sluice_publish_done_fn *done;
    void *ctx;
    size_t payload_max;
    size_t size;        /* with headers */
    const char *stream; /* behind the subject; NULL: any */
    char subject[];     /* for the error's text */
};

/* ---- What came of it ---- */

static void read_ack(const struct publishing *p, sluice_bytes body,
                     struct sluice_publish_done *done, struct sluice_puback *ack, char *text,
                     size_t size)
{
    if (!sluice_puback_parse(body, ack)) {
        done->fate = SLUICE_FATE_UNKNOWN;
        done->rc = SLUICE_ERR_PUBLISH;
        (void)snprintf(text, size, "what answered on %s is no PubAck", p->subject);
        return;
    }
    done->fate = sluice_puback_fate(ack, &done->rc);
    done->sequence = ack->sequence;
    done->is_duplicate = ack->duplicate;
    done->stream = ack->stream;
    if (ack->is_error) {
        (void)snprintf(text, size, "refused on %s: %s (%u)", p->subject, ack->description,
                       ack->error_code);
    } else if (p->stream != NULL && strcmp(ack->stream, p->stream) != 0) {
        /* Servers check Nats-Expected-Stream; what answers otherwise is none, or another service.
         */
        done->fate = SLUICE_FATE_UNKNOWN;
        done->rc = SLUICE_ERR_PUBLISH;
        (void)snprintf(text, size, "the PubAck on %s is of stream %s, expected %s", p->subject,
                       ack->stream, p->stream);
    } else if (done->fate != SLUICE_FATE_OK) {
        (void)snprintf(text, size, "the stream of %s names a duplicate that it has not stored yet",
                       p->subject);
    }
}

static void fail(struct sluice_publish_done *done, enum sluice_fate fate, sluice_rc rc)
{
    done->fate = fate;
    done->rc = rc;
}

static void on_answer(void *ctx, enum sluice_nats_outcome outcome, sluice_bytes body)
{
    struct publishing *p = ctx;
    char text[SLUICE_ERR_TEXT_SIZE] = "";
    struct sluice_puback ack;
    struct sluice_publish_done done = {.stream = "", .text = text};
    switch (outcome) {
    case SLUICE_NATS_ANSWERED:
        read_ack(p, body, &done, &ack, text, sizeof text);
        break;
    case SLUICE_NATS_NO_RESPONDERS:
        fail(&done, SLUICE_FATE_UNAVAILABLE, SLUICE_ERR_PUBLISH);
        (void)snprintf(text, sizeof text, "no stream listens on subject %s", p->subject);
        break;
    case SLUICE_NATS_NOT_SENT:
        fail(&done, SLUICE_FATE_RETRY, SLUICE_ERR_CONNECTION);
        (void)snprintf(text, sizeof text, "not connected: %s was not sent", p->subject);
        break;
    case SLUICE_NATS_OVERSIZE:
        fail(&done, SLUICE_FATE_PERMANENT, SLUICE_ERR_TOO_LARGE);
        (void)snprintf(text, sizeof text,
                       "%s: %zu bytes with headers, over the server's max_payload of %zu: make "
                       "the message smaller, or raise max_payload there",
                       p->subject, p->size, p->payload_max);
        break;
    case SLUICE_NATS_ILLEGAL:
        fail(&done, SLUICE_FATE_PERMANENT, SLUICE_ERR_VALIDATION);
        (void)snprintf(text, sizeof text,
                       "subject \"%s\" or one of its headers has blanks or line breaks",
                       p->subject);
        break;
    case SLUICE_NATS_LOST:
        fail(&done, SLUICE_FATE_UNKNOWN, SLUICE_ERR_CONNECTION);
        (void)snprintf(text, sizeof text,
                       "the connection broke or fell silent before the PubAck on %s came",
                       p->subject);
        break;
    case SLUICE_NATS_LATE:
        fail(&done, SLUICE_FATE_UNKNOWN, SLUICE_ERR_TIMEOUT);
        (void)snprintf(text, sizeof text, "no PubAck on %s in time", p->subject);
        break;
    }
    p->done(p->ctx, &done);
    free(p);
}

/* ---- The port ---- */

/* NULL without memory. */
static struct publishing *publishing_create(struct nats_publisher *publisher,
                                            const struct sluice_publication *publication,
                                            sluice_publish_done_fn *done, void *ctx)
{
    const char *stream = publication->expected_stream;
    size_t size = strlen(publication->subject) + 1;
    size_t stream_size = stream == NULL ? 0 : strlen(stream) + 1;
    struct publishing *p = malloc(sizeof *p + size + stream_size);
    if (p == NULL) {
        return NULL;
    }
    p->done = done;
    p->ctx = ctx;
    p->payload_max = (size_t)sluice_nats_link_payload_max(publisher->link);
    p->size = publication->body.len +
              sluice_nats_headers_size(publication->headers, publication->headers_count);
    memcpy(p->subject, publication->subject, size);
    p->stream = NULL;
    if (stream != NULL) {
        p->stream = memcpy(p->subject + size, stream, stream_size);
    }
    return p;
}

/* Without an id a second copy would be a second message. */
static enum sluice_nats_again again_of(const struct sluice_publication *publication)
{
    const char *id =
        sluice_header_find(publication->headers, publication->headers_count, "Nats-Msg-Id", 0);
    return id == NULL ? SLUICE_NATS_IF_NOBODY_LISTENS : SLUICE_NATS_IF_SILENT;
}

static int is_not_yet(sluice_bytes answer)
{
    struct sluice_puback ack;
    return sluice_puback_parse(answer, &ack) && sluice_puback_is_not_yet(&ack);
}

static sluice_rc send_publication(const struct nats_publisher *publisher,
                                  const struct sluice_publication *publication,
                                  struct publishing *p)
{
    const sluice_header *headers = publication->headers;
    uint32_t count = publication->headers_count;
    sluice_header *more = NULL;
    if (publication->expected_stream != NULL) {
        more = malloc((count + 1) * sizeof more[0]);
        if (more == NULL) {
            return SLUICE_ERR_NOMEM;
        }
        if (count > 0) {
            memcpy(more, headers, count * sizeof more[0]);
        }
        more[count++] = (sluice_header){"Nats-Expected-Stream", publication->expected_stream};
        headers = more;
    }
    const struct sluice_nats_request request = {.subject = publication->subject,
                                                .headers = headers,
                                                .headers_count = count,
                                                .body = publication->body,
                                                .timeout_ms = publisher->timeout_ms,
                                                .again = again_of(publication),
                                                .is_last = 1,
                                                .is_not_yet = is_not_yet};
    sluice_rc rc = sluice_nats_requests_send(publisher->requests, &request, on_answer, p);
    free(more);
    return rc;
}

static sluice_rc publisher_publish(struct sluice_publisher *base,
                                   const struct sluice_publication *publication,
                                   sluice_publish_done_fn *done, void *ctx)
{
    struct nats_publisher *publisher = (struct nats_publisher *)base;
    struct publishing *p = publishing_create(publisher, publication, done, ctx);
    sluice_rc rc = p == NULL ? SLUICE_ERR_NOMEM : send_publication(publisher, publication, p);
    if (rc != SLUICE_OK) {
        free(p);
    }
    return rc;
}

static size_t publisher_payload_max(struct sluice_publisher *base)
{
    return (size_t)sluice_nats_link_payload_max(((struct nats_publisher *)base)->link);
}

static int publisher_is_up(struct sluice_publisher *base)
{
    return sluice_nats_link_is_up(((struct nats_publisher *)base)->link);
}

static void publisher_destroy(struct sluice_publisher *base)
{
    struct nats_publisher *p = (struct nats_publisher *)base;
    if (p == NULL) {
        return;
    }
    p->on_link = NULL;
    p->on_unheard = NULL;
    int is_over = sluice_nats_link_stop(p->link);
    if (p->requests != NULL) {
        sluice_nats_requests_end(p->requests);
    }
    if (!is_over) {
        return; /* cnats may still call back: what it would use stays */
    }
    sluice_nats_box_close(p->box);
    sluice_nats_requests_destroy(p->requests);
    sluice_nats_link_free(p->link);
    free(p);
}

static const struct sluice_publisher_ops ops = {
    .publish = publisher_publish,
    .payload_max = publisher_payload_max,
    .is_up = publisher_is_up,
    .destroy = publisher_destroy,
};

/* ---- The connection ---- */

static void tell(struct nats_publisher *p, enum sluice_link_state state, const char *text)
{
    if (p->on_link != NULL) {
        p->on_link(p->ctx, state, text);
    }
}

static void on_up(void *ctx)
{
    struct nats_publisher *p = ctx;
    sluice_nats_requests_up(p->requests);
    tell(p, SLUICE_LINK_UP, sluice_nats_link_server(p->link));
}

static void on_down(void *ctx, const char *text)
{
    struct nats_publisher *p = ctx;
    sluice_nats_requests_down(p->requests);
    tell(p, SLUICE_LINK_DOWN, text);
}

static void on_lost(void *ctx, const char *text)
{
    tell(ctx, SLUICE_LINK_LOST, text);
}

/* The journal sends over this connection too, and tells of its failures itself. */
static void on_unheard(void *ctx, sluice_nats_answer_fn *fn, void *fn_ctx)
{
    const struct nats_publisher *publisher = ctx;
    if (fn == on_answer && publisher->on_unheard != NULL) {
        const struct publishing *p = fn_ctx;
        publisher->on_unheard(publisher->ctx, p->subject, p->stream);
    }
}

static void on_refused(void *ctx, const char *text)
{
    tell(ctx, SLUICE_LINK_REFUSED, text);
}

static void on_left(void *ctx, const char *server_id)
{
    const struct nats_publisher *p = ctx;
    if (p->on_left != NULL) {
        p->on_left(p->ctx, server_id);
    }
}

sluice_rc sluice_nats_publisher_create(const struct sluice_nats_publisher_config *config,
                                       struct sluice_publisher **out, struct sluice_err *err)
{
    static const struct sluice_nats_link_events events = {on_up, on_down, on_lost, on_refused,
                                                          on_left};
    sluice_rc rc;
    struct nats_publisher *p = calloc(1, sizeof *p);
    if (p == NULL || (p->box = sluice_nats_box_create(config->mailbox)) == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
        goto fail;
    }
    p->base.ops = &ops;
    p->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_MS;
    p->on_link = config->on_link;
    p->on_left = config->on_left;
    p->on_unheard = config->on_unheard;
    p->ctx = config->ctx;
    if ((rc = sluice_nats_link_create(&config->nats, config->loop, p->box, &events, p, &p->link,
                                      err)) != SLUICE_OK) {
        goto fail;
    }
    p->requests = sluice_nats_requests_create(config->loop, p->box, p->link);
    if (p->requests == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "out of memory");
        publisher_destroy(&p->base);
        return rc;
    }
    sluice_nats_requests_on_unheard(p->requests, on_unheard, p);
    *out = &p->base;
    return SLUICE_OK;
fail:
    if (p != NULL) {
        sluice_nats_box_close(p->box);
        free(p);
    }
    return rc;
}

void sluice_nats_publisher_hurry(struct sluice_publisher *publisher)
{
    sluice_nats_link_hurry(((struct nats_publisher *)publisher)->link);
}

struct sluice_nats_requests *sluice_nats_publisher_requests(struct sluice_publisher *publisher)
{
    return ((struct nats_publisher *)publisher)->requests;
}

const char *sluice_nats_publisher_api_prefix(const struct sluice_publisher *publisher)
{
    return sluice_nats_link_api_prefix(((const struct nats_publisher *)publisher)->link);
}
