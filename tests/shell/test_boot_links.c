/* SPDX-License-Identifier: Apache-2.0 */
/* What the boot ties together: its two NATS connections, which wake each other, and what the
 * server's facts become. The adapters' functions that would need a server are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "adapter/nats_publisher.h"
#include "adapter/nats_source.h"
#include "run/boot_state.h"
#include "run/heap.h"
#include <string.h>

static struct boot b;
static struct sluice_settings_box *box;
static struct sluice_publisher publisher;
static struct sluice_source source;
static struct sluice_nats_facts facts;

static struct {
    struct sluice_nats_publisher_config publisher;
    struct sluice_nats_source_config source;
    struct runtime_config runtime;
    uint32_t publisher_hurried, source_hurried, mended, pulls;
    char doubted[32];
} seen;

/* ---- In place of the adapters ---- */

sluice_rc __wrap_sluice_nats_publisher_create(const struct sluice_nats_publisher_config *config,
                                              struct sluice_publisher **out,
                                              struct sluice_err *err);
sluice_rc __wrap_sluice_nats_source_create(const struct sluice_nats_source_config *config,
                                           struct sluice_source **out, struct sluice_err *err);
sluice_rc __wrap_sluice_nats_provision(const struct sluice_nats_options *options,
                                       const struct sluice_nats_plan *plan, int mode,
                                       sluice_nats_told_fn *told, void *ctx,
                                       struct sluice_nats_facts *out, struct sluice_err *err);
sluice_rc __wrap_sluice_nats_mend(const struct sluice_nats_options *options,
                                  const struct sluice_nats_plan *plan, int mode,
                                  sluice_nats_told_fn *told, void *ctx, struct sluice_err *err);
sluice_rc __wrap_runtime_create(const struct runtime_config *config, struct runtime **out,
                                struct sluice_err *err);
sluice_rc __real_runtime_create(const struct runtime_config *config, struct runtime **out,
                                struct sluice_err *err);
void __wrap_sluice_nats_publisher_hurry(struct sluice_publisher *p);
void __wrap_sluice_nats_source_hurry(struct sluice_source *s);
void __wrap_sluice_nats_source_doubt(struct sluice_source *s, const char *server_id);

sluice_rc __wrap_sluice_nats_publisher_create(const struct sluice_nats_publisher_config *config,
                                              struct sluice_publisher **out, struct sluice_err *err)
{
    (void)err;
    seen.publisher = *config;
    *out = &publisher;
    return SLUICE_OK;
}

sluice_rc __wrap_sluice_nats_source_create(const struct sluice_nats_source_config *config,
                                           struct sluice_source **out, struct sluice_err *err)
{
    (void)err;
    seen.source = *config;
    *out = &source;
    return SLUICE_OK;
}

sluice_rc __wrap_sluice_nats_provision(const struct sluice_nats_options *options,
                                       const struct sluice_nats_plan *plan, int mode,
                                       sluice_nats_told_fn *told, void *ctx,
                                       struct sluice_nats_facts *out, struct sluice_err *err)
{
    (void)options;
    (void)mode;
    (void)told;
    (void)ctx;
    (void)err;
    assert_string_equal(plan->consumer, "durable");
    *out = facts;
    return SLUICE_OK;
}

/* On a thread of libuv's. */
sluice_rc __wrap_sluice_nats_mend(const struct sluice_nats_options *options,
                                  const struct sluice_nats_plan *plan, int mode,
                                  sluice_nats_told_fn *told, void *ctx, struct sluice_err *err)
{
    (void)options;
    (void)plan;
    (void)mode;
    (void)told;
    (void)ctx;
    (void)err;
    seen.mended++;
    return SLUICE_OK;
}

sluice_rc __wrap_runtime_create(const struct runtime_config *config, struct runtime **out,
                                struct sluice_err *err)
{
    seen.runtime = *config;
    return __real_runtime_create(config, out, err);
}

void __wrap_sluice_nats_publisher_hurry(struct sluice_publisher *p)
{
    assert_ptr_equal(p, &publisher);
    seen.publisher_hurried++;
}

void __wrap_sluice_nats_source_hurry(struct sluice_source *s)
{
    assert_ptr_equal(s, &source);
    seen.source_hurried++;
}

void __wrap_sluice_nats_source_doubt(struct sluice_source *s, const char *server_id)
{
    assert_ptr_equal(s, &source);
    (void)strncpy(seen.doubted, server_id, sizeof seen.doubted - 1);
}

static void pull(struct sluice_source *s, const struct sluice_fx_pull *asked)
{
    (void)s;
    (void)asked;
    seen.pulls++;
}

static void abandon(struct sluice_source *s, uint32_t number)
{
    (void)s;
    (void)number;
}

/* ---- The boot, as far as these two ---- */

static int setup(void **state)
{
    (void)state;
    static const struct sluice_source_ops ops = {.pull = pull, .abandon = abandon};
    static struct sluice_report report;
    const struct sluice_probe_config probe = {.host = "127.0.0.1"};
    memset(&seen, 0, sizeof seen);
    memset(&b, 0, sizeof b);
    source.ops = &ops;
    facts = (struct sluice_nats_facts){.payload_max = 1000000, .message_size_max = 5000};
    if (sluice_settings_load(0, NULL, NULL, &box, &report) != SLUICE_OK) {
        print_error("%s\n", report.text);
        return -1;
    }
    b.settings = sluice_settings_of(box);
    b.allocator = sluice_heap;
    b.plugin.worker = (struct sluice_worker){.name = "w", .version = "1"};
    b.host.plugin = &b.plugin;
    b.host.allocator = &sluice_heap;
    (void)strcpy(b.durable, "durable");
    if (uv_loop_init(&b.loop) != 0 ||
        sluice_loop_mailbox_create(&b.loop, &sluice_heap, &b.mailbox, &b.err) != SLUICE_OK ||
        sluice_probe_create(&probe, &b.probe, &b.err) != SLUICE_OK) {
        return -1;
    }
    return boot_publisher(&b) == SLUICE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    runtime_destroy(b.runtime);
    if (b.journal != NULL) {
        b.journal->ops->destroy(b.journal);
    }
    sluice_nats_target_fini(&b.target);
    sluice_loop_mailbox_destroy(b.mailbox);
    (void)uv_run(&b.loop, UV_RUN_DEFAULT);
    sluice_probe_destroy(b.probe);
    sluice_settings_free(box);
    return uv_loop_close(&b.loop);
}

static void subscribe(void)
{
    if (boot_subscribe(&b) != SLUICE_OK) {
        fail_msg("%s", b.err.text);
    }
}

static void source_is(enum sluice_link_state state)
{
    seen.source.events.on_link(seen.source.ctx, state, "");
}

static void publisher_is(enum sluice_link_state state)
{
    seen.publisher.on_link(seen.publisher.ctx, state, "");
}

/* ---- Cases ---- */

static void a_publisher_that_came_back_wakes_the_source(void **state)
{
    (void)state;
    publisher_is(SLUICE_LINK_UP); /* before there is a source */
    subscribe();
    publisher_is(SLUICE_LINK_DOWN);
    publisher_is(SLUICE_LINK_REFUSED);
    assert_int_equal(seen.source_hurried, 0);
    publisher_is(SLUICE_LINK_UP);
    assert_int_equal(seen.source_hurried, 1);
    assert_int_equal(seen.publisher_hurried, 0);
}

static void a_source_that_came_back_wakes_the_publisher(void **state)
{
    (void)state;
    subscribe();
    source_is(SLUICE_LINK_UP); /* the first time: the publisher is connected */
    assert_int_equal(seen.publisher_hurried, 0);
    source_is(SLUICE_LINK_DOWN);
    assert_int_equal(seen.publisher_hurried, 0);
    source_is(SLUICE_LINK_UP);
    assert_int_equal(seen.publisher_hurried, 1);
    assert_int_equal(seen.source_hurried, 0);
}

/* One at a time: the next reconnect asks again. */
static void a_source_that_came_back_has_its_streams_mended(void **state)
{
    (void)state;
    subscribe();
    source_is(SLUICE_LINK_UP);
    assert_int_equal(b.is_mending, 0);
    for (uint32_t i = 1; i <= 2; i++) {
        source_is(SLUICE_LINK_UP);
        source_is(SLUICE_LINK_UP);
        assert_int_equal(b.is_mending, 1);
        while (b.is_mending) {
            (void)uv_run(&b.loop, UV_RUN_ONCE);
        }
        assert_int_equal(seen.mended, i);
    }
    assert_int_equal(seen.publisher_hurried, 4);
}

static void a_server_that_the_publisher_leaves_is_doubted(void **state)
{
    (void)state;
    seen.publisher.on_left(seen.publisher.ctx, "early"); /* before there is a source */
    subscribe();
    seen.publisher.on_left(seen.publisher.ctx, "NA");
    assert_string_equal(seen.doubted, "NA");
}

static void a_publisher_that_is_lost_ends_the_process(void **state)
{
    (void)state;
    subscribe();
    publisher_is(SLUICE_LINK_DOWN);
    assert_int_equal(atomic_load(&b.is_publisher_lost), 0);
    publisher_is(SLUICE_LINK_LOST);
    assert_int_equal(atomic_load(&b.is_publisher_lost), 1);
}

static void the_server_s_facts_reach_who_needs_them(void **state)
{
    for (uint64_t messages = 0; messages <= 2; messages++) {
        facts.journal_messages = messages;
        subscribe();
        assert_int_equal(seen.runtime.journal_in_use, messages > 0);
        assert_int_equal(seen.runtime.engine.message_size_max, 5000);
        assert_int_equal(b.host.payload_max, 1000000);
        assert_ptr_equal(seen.runtime.publisher, &publisher);
        assert_non_null(seen.runtime.journal);
        assert_ptr_equal(seen.runtime.journal, b.journal);
        assert_ptr_equal(seen.source.ctx, b.runtime);
        assert_int_equal(seen.source.ack_wait_ms, b.settings->ack_wait_ms);
        assert_string_equal(seen.source.consumer, "durable");
        assert_string_equal(seen.source.stream, b.settings->stream_requests);
        assert_int_equal(teardown(state) | setup(state), 0);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_publisher_that_came_back_wakes_the_source),
        CASE(a_source_that_came_back_wakes_the_publisher),
        CASE(a_source_that_came_back_has_its_streams_mended),
        CASE(a_server_that_the_publisher_leaves_is_doubted),
        CASE(a_publisher_that_is_lost_ends_the_process),
        CASE(the_server_s_facts_reach_who_needs_them),
    };
    return cmocka_run_group_tests_name("boot_links", tests, NULL, NULL);
}
