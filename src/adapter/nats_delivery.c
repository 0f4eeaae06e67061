/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_delivery.h"

#include "adapter/nats_ackreply.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* "NATS/1.0\r\n" and the empty line; each header costs ": " and "\r\n" (servers count both against
 * max_bytes). */
#define HEADER_BLOCK_OVERHEAD 12u
#define HEADER_OVERHEAD       3u

static uint32_t size_on_server(const struct sluice_nats_message *m,
                               const struct sluice_nats_copying *headers)
{
    size_t size = strlen(m->subject) + strlen(m->reply) + m->body_len;
    if (headers->count > 0) {
        size += HEADER_BLOCK_OVERHEAD + headers->bytes + headers->count * HEADER_OVERHEAD;
    }
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
}

struct sluice_nats_delivery *sluice_nats_delivery_create(const struct sluice_nats_message *m,
                                                         const char *stream, const char *consumer)
{
    struct sluice_ackreply info;
    struct sluice_nats_copying c = {0};
    if (!sluice_ackreply_parse(m->reply, &info)) {
        info.stream = stream;
        info.stream_len = strlen(stream);
        info.consumer = consumer;
        info.consumer_len = strlen(consumer);
    }
    sluice_nats_message_headers(m, sluice_nats_headers_measure, &c);
    size_t subject_len = strlen(m->subject), reply_len = strlen(m->reply);
    size_t texts = subject_len + reply_len + info.stream_len + info.consumer_len + 4 + c.bytes;
    struct sluice_nats_delivery *block =
        malloc(sizeof *block + c.count * sizeof block->headers[0] + texts + m->body_len + 1);
    if (block == NULL) {
        return NULL;
    }
    memset(block, 0, sizeof *block);
    c.headers = block->headers;
    c.at = (char *)(block->headers + c.count);
    struct sluice_delivery *d = &block->delivery;
    d->subject = sluice_nats_copy_text(&c.at, m->subject, subject_len);
    d->reply = sluice_nats_copy_text(&c.at, m->reply, reply_len);
    d->stream = sluice_nats_copy_text(&c.at, info.stream, info.stream_len);
    d->consumer = sluice_nats_copy_text(&c.at, info.consumer, info.consumer_len);
    d->headers = block->headers;
    sluice_nats_message_headers(m, sluice_nats_headers_copy, &c);
    d->headers_count = c.copied;
    /* Terminated too, for those who print it. */
    d->body = (sluice_bytes){
        m->body_len == 0 ? "" : sluice_nats_copy_text(&c.at, m->body, m->body_len), m->body_len};
    d->sequence = info.sequence;
    d->pending = info.pending;
    d->stored_unix_ns = info.stored_unix_ns;
    d->deliveries = info.deliveries;
    d->size = size_on_server(m, &c);
    return block;
}

void sluice_nats_delivery_free(struct sluice_delivery *delivery)
{
    if (delivery != NULL) {
        free((char *)delivery - offsetof(struct sluice_nats_delivery, delivery));
    }
}
