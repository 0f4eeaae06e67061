/* SPDX-License-Identifier: Apache-2.0 */
#include "run/inflight.h"

#include "codec/fixed.h"
#include "codec/header.h"
#include "codec/protobuf.h"
#include "run/fallback.h"
#include "run/host.h"
#include "run/log.h"
#include "sluice/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNK     512u                  /* of what was not expected */
#define ARENA_CHUNK_MAX 32768u                /* that is made on a guess */
#define ARENA_LIMIT     (64u * 1024u * 1024u) /* decoded input and answers of one message */
#define REASON_SIZE     SLUICE_ERR_TEXT_SIZE
#define CORRELATION_MAX 128u
#define TRACEPARENT_MAX 256u /* W3C has 55 so far */

/* Fifteen of sixteen messages shall fit: then up and down are even, and a few large ones among many
 * do not count by their size. In steps so small that what is learned of equal messages stays within
 * a few per cent above them. */
static void learn(size_t *known, size_t seen)
{
    size_t step = *known / 256 + 1;
    if (*known == 0) {
        *known = seen;
    } else if (seen > *known) {
        *known += 15 * step;
    } else {
        *known -= step;
    }
    *known = *known > ARENA_CHUNK_MAX ? ARENA_CHUNK_MAX : *known;
}

static const char *header_of(const struct sluice_delivery *d, const char *name)
{
    return sluice_header_find(d->headers, d->headers_count, name, 0);
}

/* The same on each delivery: the header, or made from the message's place in its stream. What
 * nobody could carry on is not worth the message. */
static const char *correlation_of(struct inflight *m)
{
    const char *given = header_of(m->delivery, "X-Correlation-ID");
    if (sluice_header_text_is_valid(given, CORRELATION_MAX)) {
        return given;
    }
    char made[96];
    struct sluice_fixed made_text = sluice_fixed_in(made, sizeof made);
    sluice_fixed_add(&made_text, m->delivery->stream, strnlen(m->delivery->stream, 40));
    sluice_fixed_text(&made_text, "-");
    sluice_fixed_uint64(&made_text, m->delivery->sequence);
    sluice_fixed_text(&made_text, "-");
    sluice_fixed_hex(&made_text, (uint64_t)m->delivery->stored_unix_ns);
    const char *text = sluice_arena_text(&m->arena, made);
    return text == NULL ? "" : text;
}

/* As the header says, else the worker's input type; NULL when neither is known. */
static const char *type_of(const struct worker_host *host, const struct sluice_delivery *delivery)
{
    const char *type = header_of(delivery, "Sluice-Proto");
    const struct ProtobufCMessageDescriptor *input = host->plugin->worker.input;
    return type != NULL || input == NULL ? type : sluice_pb_type_name(input);
}

/* Its own, or that of the message that it says it is a replay of: then what that one has paid for
 * counts. */
static struct sluice_journal_key journal_key_of(struct inflight *m)
{
    const struct sluice_delivery *d = m->delivery;
    struct sluice_journal_key own = {
        .stream = d->stream, .sequence = d->sequence, .stored_unix_ns = d->stored_unix_ns};
    struct sluice_journal_key original;
    char stream[FALLBACK_STREAM_SIZE];
    const char *given = header_of(d, SLUICE_HEADER_REPLAY_OF);
    if (given == NULL) {
        return own;
    }
    if (!fallback_read(given, stream, &original)) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "replay.ignored",
                   "header " SLUICE_HEADER_REPLAY_OF ": expected stream:sequence:stored time",
                   SLUICE_F_NUMBER("seq", d->sequence),
                   SLUICE_F_TEXT("correlation_id", m->correlation_id));
        return own;
    }
    original.stream = sluice_arena_text(&m->arena, stream);
    return original.stream == NULL ? own : original; /* without memory it will not run */
}

void inflight_open(struct inflight *m, struct worker_host *host, struct sluice_ticket ticket,
                   struct sluice_delivery *delivery, const struct sluice_allocator *allocator)
{
    memset(m, 0, sizeof *m);
    m->ticket = ticket;
    m->host = host;
    m->delivery = delivery;
    m->deliveries = delivery->deliveries;
    m->reason = "";
    /* Two chunks: one that waits for the answer, and one that comes with it. */
    sluice_arena_init(&m->arena, allocator, ARENA_CHUNK, ARENA_LIMIT);
    sluice_arena_expect(&m->arena, host->arena_waiting);
    m->correlation_id = correlation_of(m);
    m->traceparent = header_of(delivery, "traceparent");
    if (!sluice_header_text_is_valid(m->traceparent, TRACEPARENT_MAX)) {
        m->traceparent = NULL;
    }
    m->type = type_of(host, delivery);
    m->journal_key = journal_key_of(m);
}

void inflight_waits(struct inflight *m)
{
    if (m->arena_waited == 0) {
        m->arena_waited = m->arena.used;
        learn(&m->host->arena_waiting, m->arena.used);
        sluice_arena_expect(&m->arena, m->host->arena_more);
    }
}

void inflight_close(struct inflight *m, struct sluice_source *source)
{
    if (m->arena_waited != 0) {
        learn(&m->host->arena_more, m->arena.used - m->arena_waited);
    }
    source->ops->delivery_free(source, m->delivery);
    if (m->rebound != NULL) {
        source->ops->delivery_free(source, m->rebound);
    }
    free(m->reply);
    sluice_arena_fini(&m->arena);
    m->ticket = (struct sluice_ticket){0, 0};
    m->delivery = NULL;
    m->rebound = NULL;
    m->reply = NULL;
}

int inflight_rebind(struct inflight *m, struct sluice_source *source,
                    struct sluice_delivery *delivery)
{
    if (m->rebound != NULL) {
        source->ops->delivery_free(source, m->rebound);
        m->rebound = NULL;
    }
    free(m->reply);
    m->reply = strdup(delivery->reply);
    m->deliveries = delivery->deliveries;
    if (m->reply != NULL) {
        return 0;
    }
    m->rebound = delivery;
    return 1;
}

const char *inflight_reply(const struct inflight *m)
{
    return m->reply != NULL     ? m->reply
           : m->rebound != NULL ? m->rebound->reply
                                : m->delivery->reply;
}

void inflight_blame(struct inflight *m, const char *step, const char *format, ...)
{
    if (m->reason[0] != '\0') {
        return;
    }
    char text[REASON_SIZE];
    m->failed_step = step;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    inflight_reason(m, text);
}

void inflight_reason(struct inflight *m, const char *text)
{
    const char *kept = sluice_arena_text(&m->arena, text);
    m->reason = kept == NULL ? "out of memory" : kept;
}
