/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_config.h"
#include "port/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICES 2u

struct rig rig;

static struct sluice_publisher publisher;
static struct sluice_journal journal;
static struct sluice_store store;
static struct sluice_http services[SERVICES];
static struct sluice_http *const service_list[SERVICES] = {&services[0], &services[1]};

int64_t __wrap_sluice_mono_ms(void);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
int __real_uv_timer_start(uv_timer_t *handle, uv_timer_cb fire, uint64_t after_ms,
                          uint64_t repeat_ms);
int __wrap_uv_timer_start(uv_timer_t *handle, uv_timer_cb fire, uint64_t after_ms,
                          uint64_t repeat_ms);

/* The real one goes by itself: it would make the moments of two readings differ. */
int64_t __wrap_sluice_mono_ms(void)
{
    return rig.now_ms;
}

void *__wrap_malloc(size_t size)
{
    return rig.has_no_heap ? NULL : __real_malloc(size);
}

int __wrap_uv_timer_start(uv_timer_t *handle, uv_timer_cb fire, uint64_t after_ms,
                          uint64_t repeat_ms)
{
    if (repeat_ms != 0) { /* the snapshot's */
        return __real_uv_timer_start(handle, fire, after_ms, repeat_ms);
    }
    rig.timer.handle = handle;
    rig.timer.fire = fire;
    rig.timer.due_ms = rig.now_ms + (int64_t)after_ms;
    rig.timer.starts++;
    return 0;
}

/* ---- What the runtime tells, watched ---- */

void __wrap_sluice_probe_publish(struct sluice_probe *p, const struct sluice_probe_snapshot *s);

void __wrap_sluice_probe_publish(struct sluice_probe *p, const struct sluice_probe_snapshot *s)
{
    assert_ptr_equal(p, rig.probe);
    rig.shown = *s;
}

void __real_sluice_engine_step(struct sluice_engine *e, const struct sluice_event *ev,
                               struct sluice_effects *out);
void __wrap_sluice_engine_step(struct sluice_engine *e, const struct sluice_event *ev,
                               struct sluice_effects *out);

void __wrap_sluice_engine_step(struct sluice_engine *e, const struct sluice_event *ev,
                               struct sluice_effects *out)
{
    assert_true(rig.seen_count < RIG_EVENTS_MAX);
    struct rig_event *s = &rig.seen[rig.seen_count++];
    s->ev = *ev;
    if (ev->kind == SLUICE_EV_LOADED && ev->loaded.fate == SLUICE_FATE_OK) {
        assert_true(ev->loaded.answers_count <= SLUICE_JOURNALED_MAX);
        s->record = *ev->loaded.record;
        s->ev.loaded.record = &s->record;
        for (uint32_t i = 0; i < ev->loaded.answers_count; i++) {
            s->answers[i] = ev->loaded.answers[i];
        }
        s->ev.loaded.answers = s->answers;
    }
    __real_sluice_engine_step(e, ev, out);
}

const struct rig_event *rig_seen(enum sluice_event_kind kind)
{
    for (uint32_t i = rig.seen_count; i > 0; i--) {
        if (rig.seen[i - 1].ev.kind == kind) {
            return &rig.seen[i - 1];
        }
    }
    fail_msg("the engine was told of no %s", sluice_event_name(kind));
    return NULL;
}

uint32_t rig_seen_count(enum sluice_event_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rig.seen_count; i++) {
        count += rig.seen[i].ev.kind == kind;
    }
    return count;
}

/* ---- Ports ---- */

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return rig.is_starved ? NULL : realloc(p, size);
}

static const struct sluice_allocator allocator = {.resize = resize};

static int is_refused(enum rig_port port)
{
    return (rig.refused >> port & 1u) != 0;
}

static struct rig_call *call_add(enum rig_port port, void *ctx)
{
    assert_true(rig.calls_count < RIG_CALLS_MAX);
    struct rig_call *c = &rig.calls[rig.calls_count++];
    memset(c, 0, sizeof *c);
    c->port = port;
    c->is_open = 1;
    c->ctx = ctx;
    return c;
}

static void text_copy(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text == NULL ? "(null)" : text);
}

static void pull(struct sluice_source *s, const struct sluice_fx_pull *asked)
{
    (void)s;
    rig.pull = *asked;
}

static void abandon(struct sluice_source *s, uint32_t number)
{
    (void)s;
    rig.abandoned = number;
}

static void check(struct sluice_source *s)
{
    (void)s;
    rig.checks++;
}

static void stop(struct sluice_source *s)
{
    (void)s;
    rig.stops++;
}

static void settle(struct sluice_source *s, uint64_t op, const char *reply, enum sluice_verb verb,
                   int64_t delay_ms)
{
    (void)s;
    struct rig_call *c = call_add(RIG_SETTLE, NULL);
    c->settle.op = op;
    c->settle.verb = verb;
    c->settle.delay_ms = delay_ms;
    text_copy(c->settle.reply, sizeof c->settle.reply, reply);
}

static void delivery_free(struct sluice_source *s, struct sluice_delivery *delivery)
{
    (void)s;
    (void)delivery;
    rig.freed++;
}

static struct rig_call *journal_add(enum rig_port port, const struct sluice_journal_key *key,
                                    sluice_journal_done_fn *done, void *ctx)
{
    struct rig_call *c = call_add(port, ctx);
    c->done.journal = done;
    c->journal.key = *key;
    text_copy(c->journal.stream, sizeof c->journal.stream, key->stream);
    c->journal.key.stream = c->journal.stream;
    return c;
}

static sluice_rc load(struct sluice_journal *j, const struct sluice_journal_key *key,
                      sluice_journal_done_fn *done, void *ctx)
{
    assert_ptr_equal(j, &journal);
    if (is_refused(RIG_LOAD)) {
        return SLUICE_ERR_NOMEM;
    }
    (void)journal_add(RIG_LOAD, key, done, ctx);
    return SLUICE_OK;
}

static sluice_rc answer_put(struct sluice_journal *j, const struct sluice_journal_key *key,
                            const struct sluice_journaled *id, sluice_bytes bytes,
                            sluice_journal_done_fn *done, void *ctx)
{
    assert_ptr_equal(j, &journal);
    if (is_refused(RIG_KEEP)) {
        return SLUICE_ERR_NOMEM;
    }
    struct rig_call *c = journal_add(RIG_KEEP, key, done, ctx);
    c->journal.id = *id;
    (void)snprintf(c->journal.bytes, sizeof c->journal.bytes, "%.*s", (int)bytes.len,
                   (const char *)bytes.data);
    return SLUICE_OK;
}

static sluice_rc record_put(struct sluice_journal *j, const struct sluice_journal_key *key,
                            const struct sluice_journal_record *record,
                            sluice_journal_done_fn *done, void *ctx)
{
    assert_ptr_equal(j, &journal);
    if (is_refused(RIG_RECORD)) {
        return SLUICE_ERR_NOMEM;
    }
    struct rig_call *c = journal_add(RIG_RECORD, key, done, ctx);
    c->journal.numbers = record->numbers;
    text_copy(c->journal.step, sizeof c->journal.step, record->step);
    text_copy(c->journal.text, sizeof c->journal.text, record->text);
    text_copy(c->journal.replay, sizeof c->journal.replay, record->replay);
    return SLUICE_OK;
}

static uint64_t ask(struct sluice_llm *llm, const struct sluice_llm_ask *asked,
                    sluice_llm_done_fn *done, void *ctx)
{
    (void)llm;
    if (is_refused(RIG_ASK)) {
        return 0;
    }
    struct rig_call *c = call_add(RIG_ASK, ctx);
    c->done.llm = done;
    c->llm = *asked;
    return rig.calls_count;
}

/* Numbers of calls are positions in the list, from 1. */
static void cancel_as(enum rig_port port, uint64_t call)
{
    if (call > 0 && call <= rig.calls_count && rig.calls[call - 1].port == port) {
        rig.calls[call - 1].is_cancelled = 1;
    }
}

static void ask_cancel(struct sluice_llm *llm, uint64_t call)
{
    (void)llm;
    cancel_as(RIG_ASK, call);
}

static uint64_t http_call(struct sluice_http *http, const struct sluice_http_call *asked,
                          sluice_http_done_fn *done, void *ctx)
{
    if (is_refused(RIG_HTTP)) {
        return 0;
    }
    struct rig_call *c = call_add(RIG_HTTP, ctx);
    c->done.http = done;
    c->http.call = *asked;
    c->http.service = (uint32_t)(http - services);
    return rig.calls_count;
}

static void http_cancel(struct sluice_http *http, uint64_t call)
{
    cancel_as(RIG_HTTP, call);
    assert_int_equal(rig.calls[call - 1].http.service, http - services);
}

static sluice_rc put(struct sluice_store *s, const struct sluice_doc *docs, uint32_t count,
                     sluice_store_done_fn *done, void *ctx)
{
    assert_ptr_equal(s, &store);
    if (is_refused(RIG_PUT)) {
        return SLUICE_ERR_NOMEM;
    }
    struct rig_call *c = call_add(RIG_PUT, ctx);
    c->done.store = done;
    c->store.docs = docs;
    c->store.docs_count = count;
    return SLUICE_OK;
}

static sluice_rc find(struct sluice_store *s, const char *collection, const char *id,
                      sluice_store_done_fn *done, void *ctx)
{
    assert_ptr_equal(s, &store);
    if (is_refused(RIG_FIND)) {
        return SLUICE_ERR_NOMEM;
    }
    struct rig_call *c = call_add(RIG_FIND, ctx);
    c->done.store = done;
    c->store.collection = collection;
    c->store.id = id;
    return SLUICE_OK;
}

static sluice_rc publish(struct sluice_publisher *p, const struct sluice_publication *given,
                         sluice_publish_done_fn *done, void *ctx)
{
    assert_ptr_equal(p, &publisher);
    if (is_refused(RIG_PUBLISH)) {
        return SLUICE_ERR_NOMEM;
    }
    struct rig_call *c = call_add(RIG_PUBLISH, ctx);
    c->done.publish = done;
    text_copy(c->publish.subject, sizeof c->publish.subject, given->subject);
    text_copy(c->publish.stream, sizeof c->publish.stream, given->expected_stream);
    size_t len = 0;
    for (uint32_t i = 0; i < given->headers_count; i++) {
        len += (size_t)snprintf(c->publish.headers + len, sizeof c->publish.headers - len,
                                "%s: %s\n", given->headers[i].name, given->headers[i].value);
        assert_true(len < sizeof c->publish.headers);
    }
    assert_true(given->body.len <= sizeof c->publish.body);
    c->publish.body_len = given->body.len;
    if (given->body.len > 0) {
        memcpy(c->publish.body, given->body.data, given->body.len);
    }
    return SLUICE_OK;
}

/* ---- Their answers ---- */

static struct rig_call *ended(struct rig_call *c)
{
    assert_true(c->is_open);
    c->is_open = 0;
    return c;
}

void rig_journal(struct rig_call *c, const struct sluice_journal_done *done)
{
    ended(c)->done.journal(c->ctx, done);
}

void rig_llm(struct rig_call *c, const struct sluice_llm_done *done)
{
    ended(c)->done.llm(c->ctx, done);
}

void rig_http(struct rig_call *c, const struct sluice_http_done *done)
{
    ended(c)->done.http(c->ctx, done);
}

void rig_store(struct rig_call *c, const struct sluice_store_done *done)
{
    ended(c)->done.store(c->ctx, done);
}

void rig_publish(struct rig_call *c, const struct sluice_publish_done *done)
{
    ended(c)->done.publish(c->ctx, done);
}

void rig_settled(struct rig_call *c, int is_answered, int64_t sent_ms)
{
    rig.events.on_settled(rig.runtime, ended(c)->settle.op, is_answered, sent_ms);
}

void rig_llm_ok(struct rig_call *c)
{
    rig_llm(c, &(struct sluice_llm_done){.fate = SLUICE_FATE_OK,
                                         .http_status = 200,
                                         .content = {"{}", 2},
                                         .model = "m",
                                         .finish_reason = "stop",
                                         .prompt_tokens = 11,
                                         .completion_tokens = 22,
                                         .text = ""});
}

static void call_end(struct rig_call *c)
{
    static const struct sluice_journal_done of_journal = {.fate = SLUICE_FATE_UNKNOWN, .text = ""};
    static const struct sluice_llm_done of_llm = {
        .fate = SLUICE_FATE_CANCELLED, .rc = SLUICE_ERR_CANCELLED, .text = ""};
    static const struct sluice_http_done of_http = {
        .fate = SLUICE_FATE_CANCELLED, .rc = SLUICE_ERR_CANCELLED, .text = ""};
    static const struct sluice_store_done of_store = {
        .fate = SLUICE_FATE_CANCELLED, .rc = SLUICE_ERR_CANCELLED, .text = ""};
    static const struct sluice_publish_done of_publish = {
        .fate = SLUICE_FATE_UNKNOWN, .rc = SLUICE_ERR_TIMEOUT, .text = ""};
    switch (c->port) {
    case RIG_SETTLE:
        rig_settled(c, 1, sluice_mono_ms());
        break;
    case RIG_LOAD:
    case RIG_RECORD:
    case RIG_KEEP:
        rig_journal(c, &of_journal);
        break;
    case RIG_ASK:
        rig_llm(c, &of_llm);
        break;
    case RIG_HTTP:
        rig_http(c, &of_http);
        break;
    case RIG_PUT:
    case RIG_FIND:
        rig_store(c, &of_store);
        break;
    case RIG_PUBLISH:
        rig_publish(c, &of_publish);
        break;
    }
}

struct rig_call *rig_call(enum rig_port port, uint32_t n)
{
    for (uint32_t i = 0; i < rig.calls_count; i++) {
        if (rig.calls[i].port == port && n-- == 0) {
            return &rig.calls[i];
        }
    }
    fail_msg("port %d was not asked so often", (int)port);
    return NULL;
}

uint32_t rig_calls(enum rig_port port)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rig.calls_count; i++) {
        count += rig.calls[i].port == port;
    }
    return count;
}

/* ---- Life ---- */

static void on_reconnected(void *ctx)
{
    assert_ptr_equal(ctx, &rig);
    rig.reconnects++;
}

static void config_fill(void)
{
    rig.config = (struct runtime_config){.loop = &rig.loop,
                                         .allocator = &allocator,
                                         .engine = engine_config(allocator),
                                         .host = &fixture.host,
                                         .probe = rig.probe,
                                         .consumer = "c",
                                         .stream_dead = "DEAD",
                                         .subject_dead = "dead",
                                         .store = &store,
                                         .llm = &fixture.llm.llm,
                                         .http = service_list,
                                         .publisher = &publisher,
                                         .journal = &journal,
                                         .on_reconnected = on_reconnected,
                                         .ctx = &rig};
    rig.config.engine.journal = 1;
    rig.config.engine.bury_rejected = 1;
    for (uint32_t i = 0; i < SERVICES; i++) {
        fixture.host.services[i] = (struct host_service){.name = i == 0 ? "one" : "two",
                                                         .base_url = "http://service",
                                                         .timeout_ms = 500 + i,
                                                         .answer_size_max = 9000 + i};
        rig.config.engine.dependencies[SLUICE_DEP_SERVICES + i] =
            sluice_breaker_service(i == 0 ? "one" : "two");
    }
    fixture.host.services_count = SERVICES;
    rig.config.engine.dependencies_count = SLUICE_DEP_SERVICES + SERVICES;
}

static void ports_fill(void)
{
    static const struct sluice_source_ops source_ops = {.pull = pull,
                                                        .abandon = abandon,
                                                        .check = check,
                                                        .stop = stop,
                                                        .settle = settle,
                                                        .delivery_free = delivery_free};
    static const struct sluice_journal_ops journal_ops = {
        .load = load, .answer_put = answer_put, .record_put = record_put};
    static const struct sluice_llm_ops llm_ops = {
        .write = llm_writer_write, .ask = ask, .cancel = ask_cancel};
    static const struct sluice_http_ops http_ops = {.call = http_call, .cancel = http_cancel};
    static const struct sluice_store_ops store_ops = {
        .name = "rig", .format = SLUICE_DOC_JSON, .put = put, .find = find};
    static const struct sluice_publisher_ops publisher_ops = {.publish = publish};
    rig.source.ops = &source_ops;
    journal.ops = &journal_ops;
    fixture.llm.llm.ops = &llm_ops;
    store.ops = &store_ops;
    publisher.ops = &publisher_ops;
    for (uint32_t i = 0; i < SERVICES; i++) {
        services[i].ops = &http_ops;
    }
}

static void runtime_open(void)
{
    struct sluice_err err;
    rig.calls_count = 0;
    rig.seen_count = 0;
    assert_int_equal(runtime_create(&rig.config, &rig.runtime, &err), SLUICE_OK);
    runtime_set_source(rig.runtime, &rig.source);
}

/* What is ended may lead to further calls, which are ended too. */
static void runtime_close(void)
{
    rig.is_starved = rig.has_no_heap = 0;
    rig.refused = 0;
    runtime_abort(rig.runtime);
    for (uint32_t i = 0; i < rig.calls_count; i++) {
        if (rig.calls[i].is_open) {
            call_end(&rig.calls[i]);
        }
    }
    (void)runtime_leave_offloads(rig.runtime);
    runtime_destroy(rig.runtime);
    (void)uv_run(&rig.loop, UV_RUN_DEFAULT);
}

int rig_setup(void **state)
{
    const struct sluice_probe_config probe = {.host = "127.0.0.1", .readiness_timeout_ms = 1000};
    struct sluice_err err;
    memset(&rig, 0, sizeof rig);
    rig.now_ms = 1000000000;
    rig.events = runtime_source_events();
    if (host_fixture_setup(state) != 0 || uv_loop_init(&rig.loop) != 0 ||
        sluice_probe_create(&probe, &rig.probe, &err) != SLUICE_OK) {
        return -1;
    }
    ports_fill();
    config_fill();
    runtime_open();
    return 0;
}

int rig_teardown(void **state)
{
    runtime_close();
    sluice_probe_destroy(rig.probe);
    return uv_loop_close(&rig.loop) | host_fixture_teardown(state);
}

void rig_restart(void)
{
    runtime_close();
    runtime_open();
}

void rig_deliver(sluice_handler_fn *handler, uint32_t deliveries)
{
    fixture.plugin.worker.on_message = handler;
    fixture.delivery.deliveries = deliveries;
    fixture.delivery.horizon_ms = sluice_mono_ms() - 100; /* it was not read at once */
    if (!runtime_is_connected(rig.runtime)) {
        rig.events.on_link(rig.runtime, SLUICE_LINK_UP, "");
    }
    fixture.delivery.pull = rig.pull.pull;
    rig.events.on_delivery(rig.runtime, &fixture.delivery);
}
