/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime between its ports, with one message in flight: a dead letter is written whole, or not
 * at all, and then the message is NAKed; and when a consumer that is missing ends the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_config.h"
#include "host_fixture.h"
#include "run/runtime.h"
#include <string.h>

#define LETTER_HEADERS 9u /* headers, with the one that the message brought */

static struct {
    uv_loop_t loop;
    struct sluice_probe *probe;
    struct runtime *runtime;
    struct sluice_source source;
    struct sluice_publisher publisher;
    struct sluice_source_events events;
    uint32_t pull;
    int is_starved;   /* no memory from now on */
    _Atomic int64_t later_ms; /* the clock is so far ahead */
    /* What the ports were asked. */
    uint32_t published, headers_count, verdicts, freed;
    uint64_t settle;
    enum sluice_verb verb;
    sluice_publish_done_fn *done;
    void *done_ctx;
} bench;

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return bench.is_starved ? NULL : realloc(p, size);
}

static const struct sluice_allocator allocator = {.resize = resize};

int64_t __real_sluice_mono_ms(void);
int64_t __wrap_sluice_mono_ms(void);

int64_t __wrap_sluice_mono_ms(void)
{
    return __real_sluice_mono_ms() + bench.later_ms;
}

/* ---- Ports ---- */

static void pull(struct sluice_source *s, const struct sluice_fx_pull *asked)
{
    (void)s;
    bench.pull = asked->pull;
}

static void settle(struct sluice_source *s, uint64_t op, const char *reply, enum sluice_verb verb,
                   int64_t delay_ms)
{
    (void)s;
    (void)delay_ms;
    assert_string_equal(reply, "r");
    bench.verdicts++;
    bench.settle = op;
    bench.verb = verb;
}

static void delivery_free(struct sluice_source *s, struct sluice_delivery *delivery)
{
    (void)s;
    (void)delivery;
    bench.freed++;
}

static void abandon(struct sluice_source *s, uint32_t number)
{
    (void)s;
    (void)number;
}

static void check(struct sluice_source *s)
{
    (void)s;
}

static sluice_rc publish(struct sluice_publisher *p, const struct sluice_publication *publication,
                         sluice_publish_done_fn *done, void *ctx)
{
    (void)p;
    assert_string_equal(publication->subject, "dead");
    bench.published++;
    bench.headers_count = publication->headers_count;
    bench.done = done;
    bench.done_ctx = ctx;
    return SLUICE_OK;
}

/* ---- The message ---- */

static sluice_rc reject_starved(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    bench.is_starved = 1;
    return SLUICE_REJECT;
}

static sluice_rc reject(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_REJECT;
}

static void on_reconnected(void *ctx)
{
    (void)ctx;
}

static struct runtime_config config_of(void)
{
    struct runtime_config c = {.loop = &bench.loop,
                               .allocator = &allocator,
                               .engine = engine_config(allocator),
                               .host = &fixture.host,
                               .probe = bench.probe,
                               .consumer = "c",
                               .stream_dead = "DEAD",
                               .subject_dead = "dead",
                               .publisher = &bench.publisher,
                               .on_reconnected = on_reconnected};
    c.engine.max_in_flight = 1;
    c.engine.bury_rejected = 1;
    return c;
}

static int setup(void **state)
{
    static const struct sluice_source_ops source = {.pull = pull,
                                                    .abandon = abandon,
                                                    .settle = settle,
                                                    .check = check,
                                                    .delivery_free = delivery_free};
    static const struct sluice_publisher_ops publisher = {.publish = publish};
    const struct sluice_probe_config probe = {.host = "127.0.0.1"};
    struct sluice_err err;
    memset(&bench, 0, sizeof bench);
    bench.source.ops = &source;
    bench.publisher.ops = &publisher;
    bench.events = runtime_source_events();
    if (host_fixture_setup(state) != 0 || uv_loop_init(&bench.loop) != 0 ||
        sluice_probe_create(&probe, &bench.probe, &err) != SLUICE_OK) {
        return -1;
    }
    struct runtime_config config = config_of();
    if (runtime_create(&config, &bench.runtime, &err) != SLUICE_OK) {
        return -1;
    }
    runtime_set_source(bench.runtime, &bench.source);
    return 0;
}

static int teardown(void **state)
{
    runtime_destroy(bench.runtime);
    (void)uv_run(&bench.loop, UV_RUN_DEFAULT);
    sluice_probe_destroy(bench.probe);
    return uv_loop_close(&bench.loop) | host_fixture_teardown(state);
}

static void deliver(sluice_handler_fn *handler)
{
    static const sluice_header brought = {"Content-Type", "text/plain"};
    fixture.plugin.worker.on_message = handler;
    fixture.delivery.headers = &brought;
    fixture.delivery.headers_count = 1;
    fixture.delivery.deliveries = 1;
    fixture.delivery.horizon_ms = INT64_MAX;
    bench.events.on_link(bench.runtime, SLUICE_LINK_UP, "");
    fixture.delivery.pull = bench.pull;
    bench.events.on_delivery(bench.runtime, &fixture.delivery);
}

static void a_letter_is_terminated_once_it_has_its_puback(void **state)
{
    (void)state;
    deliver(reject);
    assert_int_equal(bench.published, 1);
    assert_int_equal(bench.headers_count, LETTER_HEADERS);
    assert_int_equal(bench.verdicts, 0);
    bench.done(bench.done_ctx, &(struct sluice_publish_done){.fate = SLUICE_FATE_OK});
    assert_int_equal(bench.verb, SLUICE_VERB_TERM);
    bench.events.on_settled(bench.runtime, bench.settle, 1, 0);
    assert_int_equal(bench.freed, 1);
}

static void a_message_is_naked_when_its_letter_has_no_memory(void **state)
{
    (void)state;
    deliver(reject_starved);
    assert_int_equal(bench.published, 0);
    assert_int_equal(bench.verdicts, 1);
    assert_int_equal(bench.verb, SLUICE_VERB_NAK);
    bench.events.on_settled(bench.runtime, bench.settle, 1, 0);
    assert_int_equal(bench.freed, 1);
}

/* ---- The consumer ---- */

enum { REPAIR_MS = 5000, MARGIN_MS = 1000 };

static enum runtime_end seen_missing(int64_t later_ms)
{
    bench.later_ms += later_ms;
    bench.events.on_consumer(bench.runtime, 0);
    return runtime_end(bench.runtime);
}

static void a_consumer_that_stays_missing_ends_the_process(void **state)
{
    (void)state;
    bench.events.on_link(bench.runtime, SLUICE_LINK_UP, "");
    assert_int_equal(seen_missing(0), RUNTIME_GOES_ON);
    assert_int_equal(seen_missing(REPAIR_MS - MARGIN_MS), RUNTIME_GOES_ON);
    assert_int_equal(seen_missing(MARGIN_MS), RUNTIME_FAILED);
}

/* Whoever repairs it after the reconnect deletes it once more. */
static void a_consumer_is_waited_for_anew(void **state)
{
    for (int is_link = 0; is_link <= 1; is_link++) {
        bench.events.on_link(bench.runtime, SLUICE_LINK_UP, "");
        assert_int_equal(seen_missing(0), RUNTIME_GOES_ON);
        if (is_link) {
            bench.events.on_link(bench.runtime, SLUICE_LINK_DOWN, "");
            bench.events.on_link(bench.runtime, SLUICE_LINK_UP, "");
        } else {
            bench.events.on_consumer(bench.runtime, 1);
        }
        assert_int_equal(seen_missing(2 * REPAIR_MS), RUNTIME_GOES_ON);
        assert_int_equal(seen_missing(REPAIR_MS), RUNTIME_FAILED);
        assert_int_equal(teardown(state) | setup(state), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(a_letter_is_terminated_once_it_has_its_puback),
                                       TEST(a_message_is_naked_when_its_letter_has_no_memory),
                                       TEST(a_consumer_that_stays_missing_ends_the_process),
                                       TEST(a_consumer_is_waited_for_anew)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
