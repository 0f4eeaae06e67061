/* SPDX-License-Identifier: Apache-2.0 */
#include "host_fixture.h"

#include "run/heap.h"

struct host_fixture fixture;

static void delivery_free(struct sluice_source *s, struct sluice_delivery *delivery)
{
    (void)s;
    (void)delivery;
}

static void message_open(void)
{
    inflight_open(&fixture.m, &fixture.host, (struct sluice_ticket){0, 1}, &fixture.delivery,
                  &sluice_heap);
}

static void message_close(void)
{
    static const struct sluice_source_ops ops = {.delivery_free = delivery_free};
    struct sluice_source source = {.ops = &ops};
    inflight_close(&fixture.m, &source);
}

int host_fixture_setup(void **state)
{
    (void)state;
    fixture = (struct host_fixture){
        .plugin.worker = {.name = "w", .version = "1", .require = SLUICE_REQUIRE_NONE},
        .host = {.plugin = &fixture.plugin,
                 .table = host_table(),
                 .allocator = &sluice_heap,
                 .doc_format = SLUICE_DOC_JSON,
                 .model = "m",
                 .temperature = -1,
                 .llm_timeout_ms = 1000,
                 .outputs = {{"ready", "a.ready", "S"}},
                 .outputs_count = 1},
        .delivery = {.subject = "a.b",
                     .reply = "r",
                     .stream = "S",
                     .consumer = "c",
                     .sequence = 7,
                     .stored_unix_ns = 1700000000123456789,
                     .deliveries = 2}};
    sluice_arena_init(&fixture.host.scratch, &sluice_heap, 1024, 0);
    llm_writer_open(&fixture.llm, &sluice_heap);
    fixture.host.llm = &fixture.llm.llm;
    message_open();
    return 0;
}

int host_fixture_teardown(void **state)
{
    (void)state;
    message_close();
    host_fini(&fixture.host);
    llm_writer_close(&fixture.llm);
    return 0;
}

void host_fixture_redeliver(void)
{
    message_close();
    message_open();
}
