/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/sse.h"

#include <string.h>

enum { STATE_NAME, STATE_SPACE, STATE_DATA, STATE_TYPE, STATE_IGNORED };

void sluice_sse_init(struct sluice_sse *sse, const struct sluice_allocator *allocator,
                     const struct sluice_sse_limits *limits, sluice_sse_event_fn *on_event,
                     void *ctx)
{
    *sse = (struct sluice_sse){
        .limits = *limits, .on_event = on_event, .ctx = ctx, .is_first_line = 1};
    /* one more: each data line brings an LF, the last of which is not the event's */
    sluice_growbuf_init(&sse->data, allocator, limits->event_size_max + 1);
}

void sluice_sse_fini(struct sluice_sse *sse)
{
    sluice_growbuf_fini(&sse->data);
}

static void strip_mark(struct sluice_sse *sse)
{
    if (sse->is_first_line && sse->name_len >= 3 && memcmp(sse->name, "\xEF\xBB\xBF", 3) == 0) {
        sse->name_len = (uint8_t)(sse->name_len - 3);
        memmove(sse->name, sse->name + 3, sse->name_len);
    }
}

static int is_name(const struct sluice_sse *sse, const char *name)
{
    return sse->name_len == strlen(name) && memcmp(sse->name, name, sse->name_len) == 0;
}

/* The field's name is complete: where does its value go? */
static uint8_t value_state(struct sluice_sse *sse)
{
    strip_mark(sse);
    if (is_name(sse, "data")) {
        sse->has_data = 1;
        return STATE_DATA;
    }
    if (is_name(sse, "event")) {
        sse->type_len = 0;
        return STATE_TYPE;
    }
    return STATE_IGNORED; /* comments (no name), id, retry and what nobody knows */
}

static void dispatch(struct sluice_sse *sse)
{
    if (sse->has_data && sse->rc == SLUICE_OK) {
        size_t len = sse->data.len - 1; /* without the last LF */
        sse->data.data[len] = '\0';
        sse->type[sse->type_len] = '\0';
        const char *type = sse->type_len == 0 ? "message" : sse->type;
        sse->rc = sse->on_event(sse->ctx, type, (sluice_bytes){sse->data.data, len});
    }
    sluice_growbuf_clear(&sse->data);
    sse->has_data = 0;
    sse->type_len = 0;
}

static void end_line(struct sluice_sse *sse)
{
    if (sse->state == STATE_NAME) {
        strip_mark(sse);
        if (sse->name_len == 0) {
            dispatch(sse);
        } else { /* a name without a colon: a field with an empty value */
            sse->state = value_state(sse);
        }
    } else if (sse->state == STATE_SPACE) {
        sse->state = value_state(sse);
    }
    if (sse->state == STATE_DATA) {
        sluice_growbuf_add(&sse->data, "\n", 1);
        sse->rc = sse->data.rc;
    }
    sse->state = STATE_NAME;
    sse->name_len = 0;
    sse->line_len = 0;
    sse->is_first_line = 0;
}

/* Bytes of a value, without a line end among them. */
static void add_value(struct sluice_sse *sse, const char *bytes, size_t len)
{
    if (sse->state == STATE_DATA) {
        sluice_growbuf_add(&sse->data, bytes, len);
        sse->rc = sse->data.rc;
    } else if (sse->state == STATE_TYPE) {
        size_t room = sizeof sse->type - 1 - sse->type_len;
        size_t n = len < room ? len : room;
        memcpy(sse->type + sse->type_len, bytes, n);
        sse->type_len = (uint8_t)(sse->type_len + n);
    }
}

static void add_name_byte(struct sluice_sse *sse, char c)
{
    if (c == ':') {
        sse->state = STATE_SPACE;
    } else if (sse->name_len < sizeof sse->name) {
        sse->name[sse->name_len++] = c;
    } /* a full one matches no name that we know */
}

/* The length of what precedes the next CR or LF. */
static size_t span_of(const char *bytes, size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t span = lf == NULL ? len : (size_t)(lf - bytes);
    const char *cr = memchr(bytes, '\r', span);
    return cr == NULL ? span : (size_t)(cr - bytes);
}

/* The part of a line that `bytes` holds; `len` is not 0. */
static void add_line(struct sluice_sse *sse, const char *bytes, size_t len)
{
    if (len > sse->limits.line_size_max - sse->line_len) {
        sse->rc = SLUICE_ERR_TOO_LARGE;
        return;
    }
    sse->line_len += len;
    size_t i = 0;
    while (i < len && sse->state == STATE_NAME) {
        add_name_byte(sse, bytes[i++]);
    }
    if (i < len && sse->state == STATE_SPACE) {
        i += bytes[i] == ' ';
        sse->state = value_state(sse);
    }
    if (i < len) {
        add_value(sse, bytes + i, len - i);
    }
}

sluice_rc sluice_sse_feed(struct sluice_sse *sse, const char *bytes, size_t len)
{
    if (sse->rc == SLUICE_OK && len > sse->limits.total_size_max - sse->total_len) {
        sse->rc = SLUICE_ERR_TOO_LARGE;
    }
    if (sse->rc != SLUICE_OK) {
        return sse->rc;
    }
    sse->total_len += len;
    size_t i = 0;
    while (i < len && sse->rc == SLUICE_OK) {
        if (bytes[i] == '\n' && sse->is_after_cr) {
            sse->is_after_cr = 0;
            i++;
            continue;
        }
        sse->is_after_cr = 0;
        size_t span = span_of(bytes + i, len - i);
        if (span != 0) {
            add_line(sse, bytes + i, span);
            i += span;
            continue;
        }
        sse->is_after_cr = bytes[i] == '\r';
        i++;
        end_line(sse);
    }
    return sse->rc;
}
