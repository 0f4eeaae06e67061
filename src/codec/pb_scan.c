/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over foreign wire bytes: one pass, no memory, bounded stack. It is at least as strict as
 * protobuf_c_message_unpack, so that what passes here unpacks. */
#include "codec/protobuf.h"

#include "codec/field.h"
#include "codec/path.h"
#include "codec/utf8.h"
#include <stdarg.h>
#include <stdio.h>

#define VARINT_SIZE_MAX 10u
#define LENGTH_SIZE_MAX 5u /* bytes of a tag or a length prefix, as protobuf-c has it */
#define FIELD_ID_MAX    536870911u
#define TRACKED_FIELDS                                                                             \
    64u /* sub-message fields whose repetition is noticed without a look back                      \
         */

struct scan {
    const uint8_t *begin;
    struct sluice_limits limits;
    struct sluice_pb_stats stats;
    struct sluice_err *err;
};

/* One message on the way down. */
struct frame {
    struct scan *scan;
    struct frame *up;
    const ProtobufCMessageDescriptor *type;
    const ProtobufCFieldDescriptor *field; /* being scanned; NULL: unknown, or between fields */
    const uint8_t *begin, *end;
    const uint8_t *tag; /* where the current field begins */
    const uint8_t *at;
    uint64_t seen; /* bit n: the type's n-th field, a sub-message, has come */
    uint32_t depth;
};

/* The value of a varint of at most size_max bytes, `at` moved behind it; 0 when it is cut or
 * longer. */
static int read_varint(const uint8_t **at, const uint8_t *end, size_t size_max, uint64_t *value)
{
    const uint8_t *p = *at;
    uint64_t sum = 0;
    for (size_t i = 0; i < size_max && p < end; i++) {
        uint8_t byte = *p++;
        if (i == VARINT_SIZE_MAX - 1 && byte > 1) {
            return 0; /* over 64 bits */
        }
        sum |= (uint64_t)(byte & 0x7fu) << (7 * i);
        if (byte < 0x80) {
            *at = p;
            *value = sum;
            return 1;
        }
    }
    return 0;
}

/* Move over the value of a field of this wire type; 0 when it is cut or malformed. */
static int skip_value(const uint8_t **at, const uint8_t *end, unsigned wire_type)
{
    uint64_t value;
    switch (wire_type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return read_varint(at, end, VARINT_SIZE_MAX, &value);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        value = 8;
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        value = 4;
        break;
    default:
        if (!read_varint(at, end, LENGTH_SIZE_MAX, &value)) {
            return 0;
        }
        break;
    }
    if (value > (uint64_t)(end - *at)) {
        return 0;
    }
    *at += value;
    return 1;
}

/* How often field `id` came in this frame before its current field. */
static int64_t occurrences(const struct frame *f, uint32_t id)
{
    const uint8_t *at = f->begin;
    int64_t count = 0;
    uint64_t tag;
    while (at < f->tag && read_varint(&at, f->tag, LENGTH_SIZE_MAX, &tag) &&
           skip_value(&at, f->tag, (unsigned)(tag & 7))) {
        count += tag >> 3 == id;
    }
    return count;
}

static void link_frames(const struct frame *f, struct sluice_path *links, size_t count)
{
    for (size_t i = 0; i < count; i++, f = f->up) {
        links[i] = (struct sluice_path){.up = i + 1 < count ? &links[i + 1] : NULL, .index = -1};
        if (f->field != NULL) {
            links[i].name = f->field->name;
            if (sluice_field_is_list(f->field)) {
                links[i].index = occurrences(f, f->field->id);
            }
        }
    }
}

SLUICE_PRINTF(3, 4)
static sluice_rc fail(const struct frame *f, sluice_rc rc, const char *format, ...)
{
    struct sluice_path links[SLUICE_MESSAGE_DEPTH_MAX + 1];
    char reason[160];
    size_t count = f->depth <= SLUICE_MESSAGE_DEPTH_MAX ? f->depth : SLUICE_MESSAGE_DEPTH_MAX;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    link_frames(f, links, count);
    return sluice_path_fail(count == 0 ? NULL : links, f->scan->err, rc, "%s, at byte %zu", reason,
                            (size_t)(f->at - f->scan->begin));
}

static sluice_rc count_fields(const struct frame *f, uint64_t more)
{
    struct scan *s = f->scan;
    if (more > s->limits.fields_max - s->stats.fields) {
        return fail(f, SLUICE_ERR_TOO_LARGE, "more than %u values", s->limits.fields_max);
    }
    s->stats.fields += (uint32_t)more;
    return SLUICE_OK;
}

static unsigned wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

static sluice_rc scan_packed(struct frame *f, const uint8_t *end)
{
    unsigned wire_type = wire_type_of(f->field->type);
    uint64_t count = 0;
    if (wire_type != PROTOBUF_C_WIRE_TYPE_VARINT) {
        size_t size = wire_type == PROTOBUF_C_WIRE_TYPE_64BIT ? 8 : 4;
        size_t len = (size_t)(end - f->at);
        if (len % size != 0) {
            return fail(f, SLUICE_ERR_DECODE,
                        "packed list of %zu bytes, expected a multiple of %zu", len, size);
        }
        f->at = end;
        return count_fields(f, len / size);
    }
    while (f->at < end) {
        uint64_t value;
        if (*f->at < 0x80) {
            f->at++;
        } else if (!read_varint(&f->at, end, VARINT_SIZE_MAX, &value)) {
            return fail(f, SLUICE_ERR_DECODE, "malformed varint in a packed list");
        }
        count++;
    }
    return count_fields(f, count);
}

static sluice_rc note_message(struct frame *f)
{
    if (sluice_field_is_list(f->field)) {
        return SLUICE_OK;
    }
    size_t index = (size_t)(f->field - f->type->fields);
    uint64_t bit = index < TRACKED_FIELDS ? UINT64_C(1) << index : 0;
    if (bit != 0 ? (f->seen & bit) != 0 : occurrences(f, f->field->id) != 0) {
        return fail(f, SLUICE_ERR_DECODE, "message comes twice, expected once");
    }
    f->seen |= bit;
    return SLUICE_OK;
}

static sluice_rc scan_message(struct frame *f);

/* A value with a length: text, bytes, sub-message or packed list. */
static sluice_rc scan_sized(struct frame *f)
{
    const ProtobufCFieldDescriptor *field = f->field;
    uint64_t len;
    if (!read_varint(&f->at, f->end, LENGTH_SIZE_MAX, &len)) {
        return fail(f, SLUICE_ERR_DECODE, "malformed length");
    }
    if (len > (uint64_t)(f->end - f->at)) {
        return fail(f, SLUICE_ERR_DECODE, "cut: %llu bytes announced, %zu left",
                    (unsigned long long)len, (size_t)(f->end - f->at));
    }
    const uint8_t *end = f->at + len;
    sluice_rc rc;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        size_t span = sluice_utf8_span(f->at, (size_t)len);
        if (span != len) {
            f->at += span;
            return fail(f, SLUICE_ERR_DECODE, "%s",
                        *f->at == 0 ? "NUL, expected text without it"
                                    : "invalid UTF-8, expected UTF-8 text");
        }
    } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        if ((rc = note_message(f)) != SLUICE_OK) {
            return rc;
        }
        struct frame below = {.scan = f->scan,
                              .up = f,
                              .type = field->descriptor,
                              .begin = f->at,
                              .end = end,
                              .tag = f->at,
                              .at = f->at,
                              .depth = f->depth + 1};
        if ((rc = scan_message(&below)) != SLUICE_OK) {
            return rc;
        }
    } else if (field->type != PROTOBUF_C_TYPE_BYTES && (rc = scan_packed(f, end)) != SLUICE_OK) {
        return rc;
    }
    f->at = end;
    return SLUICE_OK;
}

static sluice_rc scan_field(struct frame *f, unsigned wire_type)
{
    sluice_rc rc;
    if (f->field == NULL) {
        f->scan->stats.unknown++;
        if ((rc = count_fields(f, 1)) != SLUICE_OK) {
            return rc;
        }
        return skip_value(&f->at, f->end, wire_type)
                   ? SLUICE_OK
                   : fail(f, SLUICE_ERR_DECODE, "cut or malformed unknown field");
    }
    unsigned expected = wire_type_of(f->field->type);
    if (wire_type != expected) {
        if (wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && sluice_field_is_list(f->field)) {
            return scan_sized(f); /* packed */
        }
        return fail(f, SLUICE_ERR_DECODE, "wire type %u, expected %u (%s)", wire_type, expected,
                    sluice_field_type_name(f->field->type));
    }
    if ((rc = count_fields(f, 1)) != SLUICE_OK) {
        return rc;
    }
    if (expected == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) {
        return scan_sized(f);
    }
    return skip_value(&f->at, f->end, wire_type) ? SLUICE_OK
                                                 : fail(f, SLUICE_ERR_DECODE, "cut or malformed %s",
                                                        sluice_field_type_name(f->field->type));
}

static sluice_rc scan_message(struct frame *f)
{
    const ProtobufCMessageDescriptor *type = f->type;
    unsigned next = 0; /* fields mostly come in their order: try that one before searching */
    sluice_rc rc = SLUICE_OK;
    if (f->depth > f->scan->limits.depth_max) {
        return fail(f, SLUICE_ERR_TOO_LARGE, "messages nested deeper than %u",
                    f->scan->limits.depth_max);
    }
    while (f->at < f->end && rc == SLUICE_OK) {
        uint64_t tag;
        f->tag = f->at;
        f->field = NULL;
        if (!read_varint(&f->at, f->end, LENGTH_SIZE_MAX, &tag) || tag >> 3 == 0 ||
            tag >> 3 > FIELD_ID_MAX) {
            return fail(f, SLUICE_ERR_DECODE, "malformed tag");
        }
        unsigned wire_type = (unsigned)(tag & 7);
        uint32_t id = (uint32_t)(tag >> 3);
        if (next < type->n_fields && type->fields[next].id == id) {
            f->field = type->fields + next;
        } else {
            f->field = protobuf_c_message_descriptor_get_field(type, id);
        }
        if (wire_type == 3 || wire_type == 4 || wire_type > 5) {
            return fail(f, SLUICE_ERR_DECODE, "wire type %u, expected 0, 1, 2 or 5", wire_type);
        }
        if (f->field != NULL) {
            next = (unsigned)(f->field - type->fields) + !sluice_field_is_list(f->field);
        }
        rc = scan_field(f, wire_type);
    }
    return rc;
}

sluice_rc sluice_pb_scan(const ProtobufCMessageDescriptor *type, sluice_bytes bytes,
                         const struct sluice_limits *limits, struct sluice_pb_stats *stats,
                         struct sluice_err *err)
{
    struct scan s = {.begin = bytes.data, .limits = sluice_limits_fill(limits), .err = err};
    if (bytes.len > s.limits.size_max) {
        return sluice_err_set(err, SLUICE_ERR_TOO_LARGE,
                              "message of %zu bytes, expected at most %zu", bytes.len,
                              s.limits.size_max);
    }
    if (bytes.len > 0) {
        struct frame outermost = {.scan = &s,
                                  .type = type,
                                  .begin = s.begin,
                                  .end = s.begin + bytes.len,
                                  .tag = s.begin,
                                  .at = s.begin,
                                  .depth = 1};
        sluice_rc rc = scan_message(&outermost);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    if (stats != NULL) {
        *stats = s.stats;
    }
    return SLUICE_OK;
}
