/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/sse.h"
#include "heap.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct sluice_sse_limits wide = {1000, 1000, 10000};

/* Events as text: type=data; with LF shown as | and NUL as 0. */
struct events {
    char text[2048];
    size_t len;
    size_t stop_after; /* the handler fails at this event; 0: never */
    size_t count;
};

static sluice_rc on_event(void *ctx, const char *type, sluice_bytes data)
{
    struct events *e = ctx;
    const char *bytes = data.data;
    assert_int_equal(bytes[data.len], 0);
    e->count++;
    size_t type_len = strlen(type);
    assert_true(e->len + type_len + data.len + 3 < sizeof e->text);
    memcpy(e->text + e->len, type, type_len);
    e->len += type_len;
    e->text[e->len++] = '=';
    for (size_t i = 0; i < data.len; i++) {
        char c = bytes[i];
        e->text[e->len++] = c == '\n' ? '|' : (c == '\0' ? '0' : c);
    }
    e->text[e->len++] = ';';
    e->text[e->len] = '\0';
    return e->count == e->stop_after ? SLUICE_ERR_LLM : SLUICE_OK;
}

static const struct {
    const char *name;
    const char *stream;
    size_t len; /* 0: strlen */
    const char *events;
} vectors[] = {
    {"one event", "data: hello\n\n", 0, "message=hello;"},
    {"no space behind the colon", "data:hello\n\n", 0, "message=hello;"},
    {"only one space goes", "data:  hello \n\n", 0, "message= hello ;"},
    {"two lines of data", "data: a\ndata: b\n\n", 0, "message=a|b;"},
    {"an empty line of data", "data\n\ndata\ndata\n\ndata:\n\n", 0, "message=;message=|;message=;"},
    {"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", 0, "message=a;message=b;"},
    {"CRLF between lines of data", "data: a\r\ndata: b\r\n\r\n", 0, "message=a|b;"},
    {"CR", "data: a\r\rdata: b\r\r", 0, "message=a;message=b;"},
    {"mixed ends", "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", 0, "message=a;message=b;message=c;"},
    {"comments", ": keep-alive\n\n:\ndata: a\n: more\ndata: b\n\n", 0, "message=a|b;"},
    {"byte order mark",
     "\xEF\xBB\xBF"
     "data: a\n\n",
     0, "message=a;"},
    {"mark before a comment", "\xEF\xBB\xBF: x\ndata: a\n\n", 0, "message=a;"},
    {"mark on an empty line", "\xEF\xBB\xBF\ndata: a\n\n", 0, "message=a;"},
    {"mark only at the start",
     "\xEF\xBB\xBF\xEF\xBB\xBF"
     "data: a\n\n\xEF\xBB\xBF"
     "data: b\n\n",
     0, ""},
    {"types", "event: error\ndata: x\n\ndata: y\n\n", 0, "error=x;message=y;"},
    {"the last type counts", "event: a\nevent: b\ndata: x\n\n", 0, "b=x;"},
    {"an empty type is message", "event: a\nevent:\ndata: x\n\n", 0, "message=x;"},
    {"a type without data is no event", "event: ping\n\ndata: x\n\n", 0, "message=x;"},
    {"ids and retries are ignored", "id: 1\nretry: 5\nfoo: bar\ndata: x\n\n", 0, "message=x;"},
    {"other fields with data's letters", "datax: 1\ndat: 2\n data: 3\ndatadatadatadata: 4\n\n", 0,
     ""},
    {"colons in the value", "data: a:b: c\n\n", 0, "message=a:b: c;"},
    {"UTF-8", "data: \xC3\xA9\xF0\x9F\x98\x80\n\n", 0, "message=\xC3\xA9\xF0\x9F\x98\x80;"},
    {"an unended event is dropped", "data: a\n\ndata: b\n", 0, "message=a;"},
    {"an unended line is dropped", "data: a\n\ndata: b", 0, "message=a;"},
    {"NUL in the data", "data: a\0b\n\n", 11, "message=a0b;"},
    {"nothing but ends", "\n\r\n\r\n\n", 0, ""},
    {"chat chunks", "data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n", 0,
     "message={\"a\":1};message={\"b\":2};message=[DONE];"},
};

static size_t length_of(size_t i)
{
    return vectors[i].len != 0 ? vectors[i].len : strlen(vectors[i].stream);
}

static void feed_in_two(size_t i, size_t cut)
{
    struct heap heap;
    heap_init(&heap);
    struct events events = {0};
    struct sluice_sse sse;
    sluice_sse_init(&sse, &heap.allocator, &wide, on_event, &events);
    assert_int_equal(sluice_sse_feed(&sse, vectors[i].stream, cut), SLUICE_OK);
    assert_int_equal(sluice_sse_feed(&sse, vectors[i].stream + cut, length_of(i) - cut), SLUICE_OK);
    assert_string_equal(events.text, vectors[i].events);
    sluice_sse_fini(&sse);
    assert_int_equal(heap.open, 0);
}

static void gives_the_same_events_wherever_the_stream_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(vectors); i++) {
        print_message("# %s\n", vectors[i].name);
        for (size_t cut = 0; cut <= length_of(i); cut++) {
            feed_in_two(i, cut);
        }
    }
}

static void gives_the_same_events_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct heap heap;
        heap_init(&heap);
        struct events events = {0};
        struct sluice_sse sse;
        sluice_sse_init(&sse, &heap.allocator, &wide, on_event, &events);
        for (size_t at = 0; at < length_of(i); at++) {
            assert_int_equal(sluice_sse_feed(&sse, vectors[i].stream + at, 1), SLUICE_OK);
        }
        assert_string_equal(events.text, vectors[i].events);
        sluice_sse_fini(&sse);
    }
}

static sluice_rc feed_all(const struct sluice_sse_limits *limits, const char *stream, size_t *count)
{
    struct heap heap;
    heap_init(&heap);
    struct events events = {0};
    struct sluice_sse sse;
    sluice_sse_init(&sse, &heap.allocator, limits, on_event, &events);
    sluice_rc rc = sluice_sse_feed(&sse, stream, strlen(stream));
    if (rc != SLUICE_OK) { /* sticky */
        assert_int_equal(sluice_sse_feed(&sse, "data: x\n\n", 9), rc);
    }
    *count = events.count;
    sluice_sse_fini(&sse);
    assert_int_equal(heap.open, 0);
    return rc;
}

static void each_limit_holds_at_its_value_and_not_above(void **state)
{
    (void)state;
    size_t count = 0;
    struct sluice_sse_limits limits = {11, 5, 13};
    assert_int_equal(feed_all(&limits, "data: hello\n\n", &count), SLUICE_OK);
    assert_int_equal(count, 1);
    limits = (struct sluice_sse_limits){10, 5, 13};
    assert_int_equal(feed_all(&limits, "data: hello\n\n", &count), SLUICE_ERR_TOO_LARGE);
    assert_int_equal(count, 0);
    limits = (struct sluice_sse_limits){11, 4, 13};
    assert_int_equal(feed_all(&limits, "data: hello\n\n", &count), SLUICE_ERR_TOO_LARGE);
    limits = (struct sluice_sse_limits){11, 5, 12};
    assert_int_equal(feed_all(&limits, "data: hello\n\n", &count), SLUICE_ERR_TOO_LARGE);
    /* the line limit holds for comments and for lines that come in pieces, the event's for several
     * lines of data */
    limits = (struct sluice_sse_limits){8, 100, 100};
    assert_int_equal(feed_all(&limits, ": 345678\n\n", &count), SLUICE_OK);
    assert_int_equal(feed_all(&limits, ": 3456789\n\n", &count), SLUICE_ERR_TOO_LARGE);
    limits = (struct sluice_sse_limits){100, 3, 100};
    assert_int_equal(feed_all(&limits, "data: a\ndata: b\n\n", &count), SLUICE_OK);
    assert_int_equal(feed_all(&limits, "data: a\ndata: bc\n\n", &count), SLUICE_ERR_TOO_LARGE);
}

static void the_handlers_error_stops_the_parser(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap);
    struct events events = {.stop_after = 2};
    struct sluice_sse sse;
    const char *stream = "data: a\n\ndata: b\n\ndata: c\n\n";
    sluice_sse_init(&sse, &heap.allocator, &wide, on_event, &events);
    assert_int_equal(sluice_sse_feed(&sse, stream, strlen(stream)), SLUICE_ERR_LLM);
    assert_int_equal(sluice_sse_feed(&sse, stream, strlen(stream)), SLUICE_ERR_LLM);
    assert_int_equal(events.count, 2);
    sluice_sse_fini(&sse);
}

static void running_out_of_memory_is_an_error_and_no_event(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap);
    heap.fail_after = 0;
    struct events events = {0};
    struct sluice_sse sse;
    sluice_sse_init(&sse, &heap.allocator, &wide, on_event, &events);
    assert_int_equal(sluice_sse_feed(&sse, "data: a\n\n", 9), SLUICE_ERR_NOMEM);
    assert_int_equal(events.count, 0);
    sluice_sse_fini(&sse);
}

static void a_long_type_is_cut(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap);
    struct events events = {0};
    struct sluice_sse sse;
    const char *stream = "event: 0123456789012345678901234567890123456789\ndata: x\n\n";
    sluice_sse_init(&sse, &heap.allocator, &wide, on_event, &events);
    assert_int_equal(sluice_sse_feed(&sse, stream, strlen(stream)), SLUICE_OK);
    assert_string_equal(events.text, "0123456789012345678901234567890=x;");
    sluice_sse_fini(&sse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_same_events_wherever_the_stream_is_cut),
        cmocka_unit_test(gives_the_same_events_byte_by_byte),
        cmocka_unit_test(each_limit_holds_at_its_value_and_not_above),
        cmocka_unit_test(the_handlers_error_stops_the_parser),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_no_event),
        cmocka_unit_test(a_long_type_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
