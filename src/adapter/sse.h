/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events (text/event-stream), byte by byte as they come from the network. */
#ifndef SLUICE_ADAPTER_SSE_H
#define SLUICE_ADAPTER_SSE_H

#include "adapter/growbuf.h"

#define SLUICE_SSE_TYPE_SIZE 32u /* a longer event type is cut; "message" when none was given */

struct sluice_sse_limits {
    size_t line_size_max;  /* of one line, comments included */
    size_t event_size_max; /* of one event's data */
    size_t total_size_max; /* of everything fed */
};

/* One event: its data (lines joined by LF, a NUL behind), borrowed for the call. Anything but OK
 * stops the parser with that code. */
typedef sluice_rc sluice_sse_event_fn(void *ctx, const char *type, sluice_bytes data);

struct sluice_sse {
    struct sluice_sse_limits limits;
    sluice_sse_event_fn *on_event;
    void *ctx;
    struct sluice_growbuf data;
    size_t line_len, total_len;
    sluice_rc rc;                    /* sticky */
    char type[SLUICE_SSE_TYPE_SIZE]; /* of the event being read */
    char name[12]; /* of the field being read; longer ones are none that we know */
    uint8_t name_len, type_len;
    uint8_t state;
    uint8_t is_first_line; /* a byte order mark may precede it */
    uint8_t is_after_cr;   /* an LF now belongs to the CR before it */
    uint8_t has_data;
};

/* In place; nothing is allocated before the first data. The allocator is borrowed. */
void sluice_sse_init(struct sluice_sse *sse, const struct sluice_allocator *allocator,
                     const struct sluice_sse_limits *limits, sluice_sse_event_fn *on_event,
                     void *ctx);
void sluice_sse_fini(struct sluice_sse *sse); /* accepts a zeroed one */

/* The next bytes, cut anywhere. Follows the WHATWG standard: CR, LF or CRLF, comments, one leading
 * byte order mark, several data lines, and an event that no blank line has ended is dropped at the
 * end. `id` and `retry` are ignored. ERR_TOO_LARGE over a limit, ERR_NOMEM, or what on_event
 * returned; after an error further bytes are ignored with the same code. */
SLUICE_MUST_CHECK
sluice_rc sluice_sse_feed(struct sluice_sse *sse, const char *bytes, size_t len);

#endif
