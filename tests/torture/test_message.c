/* SPDX-License-Identifier: Apache-2.0 */
/* A message's whole way through the runtime, with each allocation and each call of it failing in
 * turn, once and from then on: delivery, journal, handler, LLM, service, offload, store, publish,
 * settle. The message ends with one verdict that is true, everything is given back, and the next
 * message, once memory is back, is acknowledged.
 *
 * The store is a real one with a thread; the other ports are stand-ins that fail as the real ones
 * do: they have no memory to begin with, or none for the answer. */
#include "adapter/sqlite_store.h"
#include "context.pb-c.h"
#include "engine_config.h"
#include "failing.h"
#include "llm_writer.h"
#include "port/clock.h"
#include "run/log.h"
#include "run/mailbox.h"
#include "run/runtime.h"
#include "sqlite_files.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define ANSWERS_MAX 64u
#define PATIENCE_MS 20000

/* ---- The world around one runtime ---- */

enum answer_kind { ANSWER_LLM, ANSWER_HTTP, ANSWER_LOADED, ANSWER_KEPT, ANSWER_PUBLISHED, SETTLED };

/* What a stand-in owes. */
struct answer {
    enum answer_kind kind;
    int is_starved;
    void *done, *ctx;
    uint64_t op;
};

static struct world {
    uv_loop_t loop;
    struct sluice_loop_mailbox *mailbox;
    struct sluice_store *store;
    struct runtime *runtime;
    struct sluice_plugin plugin;
    struct worker_host host;
    struct sluice_source source;
    struct llm_writer llm;
    struct sluice_http http;
    struct sluice_publisher publisher;
    struct sluice_journal journal;
    struct sluice_source_events events;
    uint32_t pull;
    struct answer answers[ANSWERS_MAX];
    uint32_t answers_count;
    int has_journaled; /* the journal holds an answer of the LLM */
    struct sluice_journaled journaled;
    char journaled_bytes[512];
    size_t journaled_len;
    struct sluice_record record;
    /* Of the message that is under way. */
    uint32_t verdicts, freed, rebinds;
    uint32_t asked, published, buried, recorded;
    int is_late; /* an output got no PubAck */
    enum sluice_verb verb;
    int64_t delay_ms;
} w;

static struct sluice_probe *probe; /* one for all: its thread outlives a world */
static char path[64];
static uint8_t body[256];
static size_t body_len;

/* One allocation of a port: to begin with, or for the answer. */
static int starves(void)
{
    void *p = malloc(1);
    free(p);
    return p == NULL;
}

static sluice_rc owe(enum answer_kind kind, void *done, void *ctx)
{
    if (starves()) {
        return SLUICE_ERR_NOMEM;
    }
    assert_true(w.answers_count < ANSWERS_MAX);
    w.answers[w.answers_count++] =
        (struct answer){.kind = kind, .is_starved = starves(), .done = done, .ctx = ctx};
    return SLUICE_OK;
}

/* ---- The source ---- */

static void source_pull(struct sluice_source *s, const struct sluice_fx_pull *asked)
{
    (void)s;
    w.pull = asked->pull;
}

static void source_abandon(struct sluice_source *s, uint32_t pull)
{
    (void)s;
    (void)pull;
}

static void source_settle(struct sluice_source *s, uint64_t op, const char *reply,
                          enum sluice_verb verb, int64_t delay_ms)
{
    (void)s;
    assert_string_equal(reply, w.rebinds == 0 ? "r1" : "r2");
    if (verb == SLUICE_VERB_PROGRESS) {
        return;
    }
    w.verdicts++;
    w.verb = verb;
    w.delay_ms = delay_ms;
    assert_true(w.answers_count < ANSWERS_MAX);
    w.answers[w.answers_count++] = (struct answer){.kind = SETTLED, .op = op};
}

static void delivery_free(struct sluice_source *s, struct sluice_delivery *delivery)
{
    (void)s;
    (void)delivery;
    w.freed++;
}

/* ---- The other ports ---- */

static uint64_t llm_ask(struct sluice_llm *l, const struct sluice_llm_ask *ask,
                        sluice_llm_done_fn *done, void *ctx)
{
    (void)l;
    assert_non_null(ask->request.data);
    w.asked++;
    return owe(ANSWER_LLM, (void *)(uintptr_t)done, ctx) == SLUICE_OK;
}

static void cancel(struct sluice_llm *l, uint64_t call)
{
    (void)l;
    (void)call;
}

static uint64_t http_call(struct sluice_http *h, const struct sluice_http_call *call,
                          sluice_http_done_fn *done, void *ctx)
{
    (void)h;
    assert_string_equal(call->url, "http://crm/customer");
    return owe(ANSWER_HTTP, (void *)(uintptr_t)done, ctx) == SLUICE_OK;
}

static void http_cancel(struct sluice_http *h, uint64_t call)
{
    (void)h;
    (void)call;
}

static sluice_rc publish(struct sluice_publisher *p, const struct sluice_publication *publication,
                         sluice_publish_done_fn *done, void *ctx)
{
    (void)p;
    sluice_rc rc = owe(ANSWER_PUBLISHED, (void *)(uintptr_t)done, ctx);
    if (rc == SLUICE_OK && strcmp(publication->subject, "dead") == 0) {
        w.buried++;
    } else if (rc == SLUICE_OK) {
        w.published++;
    }
    return rc;
}

static sluice_rc journal_load(struct sluice_journal *j, const struct sluice_journal_key *key,
                              sluice_journal_done_fn *done, void *ctx)
{
    (void)j;
    (void)key;
    return owe(ANSWER_LOADED, (void *)(uintptr_t)done, ctx);
}

static sluice_rc answer_put(struct sluice_journal *j, const struct sluice_journal_key *key,
                            const struct sluice_journaled *id, sluice_bytes bytes,
                            sluice_journal_done_fn *done, void *ctx)
{
    (void)j;
    (void)key;
    assert_true(bytes.len > 0 && bytes.len < sizeof w.journaled_bytes);
    sluice_rc rc = owe(ANSWER_KEPT, (void *)(uintptr_t)done, ctx);
    if (rc == SLUICE_OK && !w.has_journaled && memchr(bytes.data, '\n', bytes.len) == NULL) {
        w.has_journaled = 1;
        w.journaled = *id;
        w.journaled_len = bytes.len;
        memcpy(w.journaled_bytes, bytes.data, bytes.len);
    }
    return rc;
}

static sluice_rc record_put(struct sluice_journal *j, const struct sluice_journal_key *key,
                            const struct sluice_journal_record *record,
                            sluice_journal_done_fn *done, void *ctx)
{
    (void)j;
    (void)key;
    w.recorded++;
    w.record = record->numbers;
    return owe(ANSWER_KEPT, (void *)(uintptr_t)done, ctx);
}

static void answer_journal(const struct answer *a)
{
    struct sluice_journal_answer answer = {.id = w.journaled,
                                           .bytes = {w.journaled_bytes, w.journaled_len}};
    struct sluice_journal_done done = {
        .fate = SLUICE_FATE_OK,
        .text = "",
        .record = {.numbers = w.record, .failure = "", .step = "", .text = ""}};
    if (a->is_starved) {
        done.fate = SLUICE_FATE_NO_MEMORY;
        done.rc = SLUICE_ERR_NOMEM;
        done.text = "out of memory";
    } else if (a->kind == ANSWER_LOADED && w.has_journaled) {
        done.answers = &answer;
        done.answers_count = 1;
    }
    ((sluice_journal_done_fn *)(uintptr_t)a->done)(a->ctx, &done);
}

static void answer_call(const struct answer *a)
{
    static const char draft[] = "{\"summary\":\"all is well\",\"items\":[]}";
    enum sluice_fate fate = a->is_starved ? SLUICE_FATE_RETRY : SLUICE_FATE_OK;
    sluice_rc rc = a->is_starved ? SLUICE_ERR_NOMEM : SLUICE_OK;
    if (a->kind == ANSWER_LLM) {
        struct sluice_llm_done done = {.fate = fate,
                                       .rc = rc,
                                       .content = {draft, sizeof draft - 1},
                                       .model = "m",
                                       .finish_reason = "stop",
                                       .text = ""};
        ((sluice_llm_done_fn *)(uintptr_t)a->done)(a->ctx, &done);
        return;
    }
    struct sluice_http_done done = {.fate = fate,
                                    .rc = rc,
                                    .http_status = 200,
                                    .body = {"Ada", 3},
                                    .content_type = "text/plain",
                                    .text = ""};
    ((sluice_http_done_fn *)(uintptr_t)a->done)(a->ctx, &done);
}

static void answer_next(void)
{
    struct answer a = w.answers[0];
    w.answers_count--;
    memmove(w.answers, w.answers + 1, w.answers_count * sizeof w.answers[0]);
    switch (a.kind) {
    case ANSWER_LLM:
    case ANSWER_HTTP:
        answer_call(&a);
        break;
    case ANSWER_LOADED:
    case ANSWER_KEPT:
        answer_journal(&a);
        break;
    case ANSWER_PUBLISHED: {
        w.is_late |= a.is_starved;
        struct sluice_publish_done done = {.fate =
                                               a.is_starved ? SLUICE_FATE_UNKNOWN : SLUICE_FATE_OK,
                                           .rc = a.is_starved ? SLUICE_ERR_TIMEOUT : SLUICE_OK,
                                           .sequence = 1,
                                           .stream = "S",
                                           .text = ""};
        ((sluice_publish_done_fn *)(uintptr_t)a.done)(a.ctx, &done);
        break;
    }
    case SETTLED:
        w.events.on_settled(w.runtime, a.op, 1, sluice_mono_ms());
        break;
    }
}

/* ---- The worker ---- */

static sluice_rc count_bytes(sluice_bytes in, void **out, size_t *out_len)
{
    *out = malloc(1);
    if (*out == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    *(char *)*out = (char)in.len;
    *out_len = 1;
    return SLUICE_OK;
}

static sluice_rc work(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *request;
    const Context__V1__ContextPack *before;
    const sluice_llm_reply *reply;
    const sluice_http_reply *customer;
    sluice_bytes counted;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &request));
    sluice_llm_request ask = {.prompt = "p", .vars = &request->base};
    ask.answer = &context__v1__context_draft__descriptor;
    SLUICE_TRY(sluice_llm(t, &ask, &reply));
    sluice_http_request get = {.path = "/customer"};
    SLUICE_TRY(sluice_http(t, "crm", &get, &customer));
    SLUICE_TRY(sluice_offload(t, "count", count_bytes, in->body, &counted));
    sluice_rc rc = sluice_find(t, "packs", "none", context__v1__context_pack, &before);
    if (rc != SLUICE_OK && rc != SLUICE_ERR_NOT_FOUND) {
        return rc;
    }
    const Context__V1__ContextDraft *draft = reply->answer;
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.request_id = request->request_id;
    pack.summary = draft->summary;
    SLUICE_TRY(sluice_store(t, "packs", &pack.base));
    SLUICE_TRY(sluice_publish(t, "ready", &pack.base));
    return sluice_publish(t, "ready", &pack.base);
}

static sluice_rc reject(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    return sluice_fail(t, SLUICE_REJECT, "not for %s", "us");
}

/* ---- Life of a world ---- */

static struct runtime_config config_of(struct sluice_http *const *services)
{
    struct runtime_config c = {.loop = &w.loop,
                               .allocator = &failing_allocator,
                               .engine = engine_config(failing_allocator),
                               .host = &w.host,
                               .probe = probe,
                               .consumer = "c",
                               .stream_dead = "DEAD",
                               .subject_dead = "dead",
                               .store = w.store,
                               .llm = &w.llm.llm,
                               .http = services,
                               .publisher = &w.publisher,
                               .journal = &w.journal};
    c.engine.settle_timeout_ms = 20000;
    c.engine.journal_timeout_ms = 20000;
    c.engine.pull_expires_ms = 50000;
    c.engine.pull_heartbeat_ms = 10000;
    c.engine.max_deliver = 20;
    c.engine.bury_rejected = 1;
    c.engine.journal = 1;
    c.engine.dependencies_count = 4;
    c.engine.dependencies[SLUICE_DEP_SERVICES] = sluice_breaker_service("crm");
    return c;
}

static void host_open(sluice_handler_fn *handler)
{
    struct sluice_err err = {0};
    w.plugin.worker =
        (struct sluice_worker){.name = "w",
                               .version = "1",
                               .key_field = "request_id",
                               .require = SLUICE_REQUIRE_NONE,
                               .input = &context__v1__context_enrich_request__descriptor,
                               .on_message = handler};
    w.host = (struct worker_host){.plugin = &w.plugin,
                                  .table = host_table(),
                                  .allocator = &failing_allocator,
                                  .doc_format = SLUICE_DOC_JSON,
                                  .model = "m",
                                  .temperature = -1,
                                  .llm_timeout_ms = 1000,
                                  .outputs = {{"ready", "a.ready", "S"}},
                                  .outputs_count = 1,
                                  .services = {{.name = "crm",
                                                .base_url = "http://crm",
                                                .timeout_ms = 1000,
                                                .answer_size_max = 1000}},
                                  .services_count = 1};
    sluice_arena_init(&w.host.scratch, &failing_allocator, 64, 0);
    assert_int_equal(sluice_prompt_parse("p", (sluice_bytes){"{{query}}", 9}, &failing_allocator,
                                         &w.host.prompts[0].prompt, &err),
                     SLUICE_OK);
    (void)strcpy(w.host.prompts[0].name, "p");
    w.host.prompts_count = 1;
}

static void world_open(sluice_handler_fn *handler)
{
    static const struct sluice_source_ops source = {.pull = source_pull,
                                                    .abandon = source_abandon,
                                                    .settle = source_settle,
                                                    .delivery_free = delivery_free};
    static const struct sluice_llm_ops llm = {
        .write = llm_writer_write, .ask = llm_ask, .cancel = cancel};
    static const struct sluice_http_ops http = {.call = http_call, .cancel = http_cancel};
    static const struct sluice_publisher_ops publisher = {.publish = publish};
    static const struct sluice_journal_ops journal = {
        .load = journal_load, .answer_put = answer_put, .record_put = record_put};
    static struct sluice_http *services[] = {&w.http};
    struct sluice_err err = {0};
    memset(&w, 0, sizeof w);
    w.source.ops = &source;
    llm_writer_open(&w.llm, &failing_allocator);
    w.llm.llm.ops = &llm;
    w.http.ops = &http;
    w.publisher.ops = &publisher;
    w.journal.ops = &journal;
    w.events = runtime_source_events();
    assert_int_equal(uv_loop_init(&w.loop), 0);
    assert_int_equal(sluice_loop_mailbox_create(&w.loop, &failing_allocator, &w.mailbox, &err),
                     SLUICE_OK);
    const struct sluice_sqlite_config sqlite = {.path = path,
                                                .mailbox = sluice_loop_mailbox_port(w.mailbox),
                                                .allocator = &failing_allocator};
    assert_int_equal(sluice_sqlite_store_create(&sqlite, &w.store, &err), SLUICE_OK);
    host_open(handler);
    struct runtime_config config = config_of(services);
    assert_int_equal(runtime_create(&config, &w.runtime, &err), SLUICE_OK);
    runtime_set_source(w.runtime, &w.source);
    w.events.on_link(w.runtime, SLUICE_LINK_UP, "");
}

static void world_close(void)
{
    w.store->ops->destroy(w.store);
    runtime_destroy(w.runtime);
    sluice_loop_mailbox_destroy(w.mailbox);
    (void)uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    host_fini(&w.host);
    llm_writer_close(&w.llm);
    assert_int_equal(failing_open_blocks(), 0);
}

/* Until the runtime holds none of the deliveries any more. */
static void pump(uint32_t deliveries)
{
    int64_t end = sluice_mono_ms() + PATIENCE_MS;
    while (w.freed < deliveries || w.answers_count > 0) {
        if (w.answers_count > 0) {
            answer_next();
            continue;
        }
        (void)uv_run(&w.loop, UV_RUN_ONCE); /* the probe's timer ends it at the latest */
        if (sluice_mono_ms() > end) {
            fail_msg("%u of %u deliveries given back, %u verdicts (%s)", w.freed, deliveries,
                     w.verdicts, failing_name());
        }
    }
}

static struct sluice_delivery delivery_of(uint64_t sequence, uint32_t deliveries)
{
    return (struct sluice_delivery){.subject = "a.b",
                                    .reply = "r1",
                                    .stream = "S",
                                    .consumer = "c",
                                    .body = {body, body_len},
                                    .sequence = sequence,
                                    .stored_unix_ns = 1700000000000000000,
                                    .horizon_ms = INT64_MAX,
                                    .deliveries = deliveries,
                                    .size = 100,
                                    .pull = w.pull};
}

static void forget_counts(void)
{
    w.verdicts = w.freed = w.rebinds = 0;
    w.asked = w.published = w.buried = w.recorded = 0;
    w.is_late = 0;
}

/* ---- Cases ---- */

static void the_next_is_acknowledged(uint64_t sequence)
{
    struct sluice_delivery next = delivery_of(sequence, 1);
    forget_counts();
    w.has_journaled = 0;
    w.record = (struct sluice_record){0};
    w.plugin.worker.on_message = work;
    w.events.on_delivery(w.runtime, &next);
    pump(1);
    assert_int_equal(w.verdicts, 1);
    assert_int_equal(w.verb, SLUICE_VERB_ACK);
    assert_int_equal(w.published, 2);
}

/* One verdict, and a true one. Missing memory counts as no failure of the message. */
static int check_verdict(enum sluice_verb good, int counts)
{
    assert_int_equal(w.verdicts, 1);
    if (w.verb == good) {
        return 1;
    }
    assert_int_equal(w.verb, SLUICE_VERB_NAK);
    assert_true(w.delay_ms >= 500);
    assert_true(counts || w.is_late || w.record.failures == 0);
    return 0;
}

static int finish(enum sluice_verb good, int counts)
{
    failing_hold();
    int is_good = check_verdict(good, counts);
    if (is_good && good == SLUICE_VERB_ACK) {
        assert_int_equal(w.published, 2);
    }
    if (is_good && good == SLUICE_VERB_TERM) {
        assert_int_equal(w.buried, 1);
    }
    the_next_is_acknowledged(8);
    world_close();
    return is_good;
}

static void begin(sluice_handler_fn *handler)
{
    failing_hold();
    world_open(handler);
}

static int counts_failures; /* of the store: a call that failed is one */

static int first_delivery(void *ctx)
{
    (void)ctx;
    begin(work);
    struct sluice_delivery d = delivery_of(7, 1);
    failing_go_on();
    w.events.on_delivery(w.runtime, &d);
    pump(1);
    return finish(SLUICE_VERB_ACK, counts_failures);
}

/* A redelivery whose answer is in the journal: it is not paid for again, whatever fails. */
static int redelivery(void *ctx)
{
    (void)ctx;
    begin(work);
    struct sluice_delivery first = delivery_of(7, 1), second = delivery_of(7, 2);
    w.events.on_delivery(w.runtime, &first);
    pump(1);
    assert_true(w.has_journaled);
    forget_counts();
    failing_go_on();
    w.events.on_delivery(w.runtime, &second);
    pump(1);
    failing_hold();
    assert_int_equal(w.asked, 0);
    failing_go_on();
    return finish(SLUICE_VERB_ACK, counts_failures);
}

/* A suspect: its mark is written and cleared. */
static int suspect(void *ctx)
{
    (void)ctx;
    begin(work);
    struct sluice_delivery d = delivery_of(7, 9);
    failing_go_on();
    w.events.on_delivery(w.runtime, &d);
    pump(1);
    failing_hold();
    int is_run = w.asked > 0;
    assert_true(!is_run || w.recorded >= 1);
    failing_go_on();
    return finish(SLUICE_VERB_ACK, counts_failures);
}

/* Another delivery of a message that is under way. */
static int takeover(void *ctx)
{
    (void)ctx;
    begin(work);
    struct sluice_delivery first = delivery_of(7, 1), second = delivery_of(7, 2);
    second.reply = "r2";
    w.events.on_delivery(w.runtime, &first);
    failing_go_on();
    w.rebinds = 1;
    w.events.on_delivery(w.runtime, &second);
    pump(2);
    return finish(SLUICE_VERB_ACK, counts_failures);
}

static int dead_letter(void *ctx)
{
    (void)ctx;
    begin(reject);
    struct sluice_delivery d = delivery_of(7, 1);
    failing_go_on();
    w.events.on_delivery(w.runtime, &d);
    pump(1);
    return finish(SLUICE_VERB_TERM, 1);
}

static void sweep(const char *name, failing_case *run)
{
    sqlite_files_remove(path);
    counts_failures = 0;
    long allocations = failing_sweep(FAILING_MEMORY | FAILING_TOLERATED, run, NULL);
    counts_failures = 1;
    long calls = failing_sweep(FAILING_CALLS | FAILING_TOLERATED, run, NULL);
    print_message("# %s: %ld allocations, %ld calls\n", name, allocations, calls);
    assert_true(allocations > 0);
    sqlite_files_remove(path);
}

static void a_first_delivery_has_one_true_verdict(void **state)
{
    (void)state;
    sweep("first delivery", first_delivery);
}

static void a_redelivery_is_not_paid_for_again(void **state)
{
    (void)state;
    sweep("redelivery", redelivery);
}

static void a_suspect_runs_marked_or_not_at_all(void **state)
{
    (void)state;
    sweep("suspect", suspect);
}

static void a_takeover_settles_on_the_new_delivery(void **state)
{
    (void)state;
    sweep("takeover", takeover);
}

static void a_dead_letter_is_whole_or_the_message_is_naked(void **state)
{
    (void)state;
    sweep("dead letter", dead_letter);
}

static int setup(void **state)
{
    const struct sluice_probe_config config = {.host = "127.0.0.1"};
    struct sluice_err err;
    Context__V1__ContextEnrichRequest request = CONTEXT__V1__CONTEXT_ENRICH_REQUEST__INIT;
    (void)state;
    request.request_id = (char *)"r-1";
    request.query = (char *)"what?";
    body_len = context__v1__context_enrich_request__pack(&request, body);
    (void)snprintf(path, sizeof path, "/tmp/sluice-torture-message-%d.db", (int)getpid());
    sluice_log_open(getenv("TORTURE_LOG") == NULL ? SLUICE_LOG_ERROR + 1 : SLUICE_LOG_DEBUG, 0, 0);
    return sluice_probe_create(&config, &probe, &err) == SLUICE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sluice_probe_destroy(probe);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_delivery_has_one_true_verdict),
        cmocka_unit_test(a_redelivery_is_not_paid_for_again),
        cmocka_unit_test(a_suspect_runs_marked_or_not_at_all),
        cmocka_unit_test(a_takeover_settles_on_the_new_delivery),
        cmocka_unit_test(a_dead_letter_is_whole_or_the_message_is_naked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
