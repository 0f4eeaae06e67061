/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation of a piece of work fails in turn, alone and with all after it: the work then says
 * so, gives everything back, and the next attempt goes well. */
#include "adapter/nats_journal_codec.h"
#include "adapter/openai.h"
#include "adapter/sse.h"
#include "codec/bson.h"
#include "codec/prompt.h"
#include "codec/proto_json.h"
#include "codec/schema.h"
#include "context.pb-c.h"
#include "engine_config.h"
#include "failing.h"
#include "llm_writer.h"
#include "run/host.h"
#include "run/probe.h"
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void sweep(failing_case *run)
{
    long count = failing_sweep(FAILING_MEMORY, run, NULL);
    print_message("# %ld allocations\n", count);
    assert_true(count > 0);
    assert_int_equal(failing_open_blocks(), 0);
}

static int is_nomem(sluice_rc rc)
{
    assert_int_equal(rc, SLUICE_ERR_NOMEM);
    return 0;
}

/* ---- The codec ---- */

static const char request_json[] =
    "{\"requestId\":\"r-1\",\"query\":\"what?\",\"inputs\":[\"a\",\"b\",\"c\"],"
    "\"attributes\":{\"k\":\"v\",\"k2\":\"v2\",\"k3\":\"v3\",\"k4\":\"v4\",\"k5\":\"v5\","
    "\"k6\":\"v6\",\"k7\":\"v7\",\"k8\":\"v8\",\"k9\":\"v9\"},\"createdAt\":\"17\"}";

static sluice_rc translate(struct sluice_arena *a, struct sluice_err *err)
{
    const ProtobufCMessageDescriptor *type = &context__v1__context_enrich_request__descriptor;
    ProtobufCMessage *message, *again;
    sluice_bytes json, bson, wire;
    const char *schema;
    sluice_rc rc;
    if ((rc = sluice_proto_from_json(type, (sluice_bytes){request_json, sizeof request_json - 1}, 0,
                                     a, &message, err)) != SLUICE_OK ||
        (rc = sluice_pb_encode(message, a, &wire, err)) != SLUICE_OK ||
        (rc = sluice_pb_decode(type, wire, NULL, a, &again, err)) != SLUICE_OK ||
        (rc = sluice_proto_to_doc_json(again, a, &json, err)) != SLUICE_OK ||
        (rc = sluice_proto_to_bson(again, a, &bson, err)) != SLUICE_OK ||
        (rc = sluice_bson_to_proto(type, bson, a, &again, err)) != SLUICE_OK ||
        (rc = sluice_schema_build(&context__v1__context_draft__descriptor, a, &schema, err)) !=
            SLUICE_OK) {
        return rc;
    }
    assert_non_null(strstr(json.data, "\"r-1\""));
    assert_string_equal(sluice_pb_field_text(again, "query"), "what?");
    return SLUICE_OK;
}

static int translating(void *ctx)
{
    struct sluice_arena a;
    struct sluice_err err = {0};
    (void)ctx;
    sluice_arena_init(&a, &failing_allocator, 64, 0);
    sluice_rc rc = translate(&a, &err);
    sluice_arena_fini(&a);
    assert_int_equal(failing_open_blocks(), 0);
    return rc == SLUICE_OK ? 1 : is_nomem(rc);
}

static void the_codec_reports_missing_memory(void **state)
{
    (void)state;
    sweep(translating);
}

static const char prompt_text[] =
    "---\nmodel: m-1\n---\n# system\nBe brief.\n# user\n{{#attributes}}"
    "{{key}}={{value}}\n{{/attributes}}{{query|json}}{{^inputs}}-{{/inputs}}";

static int prompting(void *ctx)
{
    struct sluice_arena a;
    struct sluice_err err = {0};
    struct sluice_prompt *prompt = NULL;
    struct sluice_prompt_text text;
    Context__V1__ContextEnrichRequest request = CONTEXT__V1__CONTEXT_ENRICH_REQUEST__INIT;
    (void)ctx;
    request.query = (char *)"what?";
    sluice_arena_init(&a, &failing_allocator, 64, 0);
    sluice_rc rc =
        sluice_prompt_parse("x.prompt", (sluice_bytes){prompt_text, sizeof prompt_text - 1},
                            &failing_allocator, &prompt, &err);
    if (rc == SLUICE_OK) {
        rc = sluice_prompt_render(prompt, &request.base, NULL, 0, &a, &text, &err);
    }
    if (rc == SLUICE_OK) {
        assert_string_equal(text.user, "\"what?\"-");
    }
    sluice_prompt_destroy(prompt);
    sluice_arena_fini(&a);
    assert_int_equal(failing_open_blocks(), 0);
    return rc == SLUICE_OK ? 1 : is_nomem(rc);
}

static void prompts_report_missing_memory(void **state)
{
    (void)state;
    sweep(prompting);
}

/* ---- The LLM's protocol ---- */

static int asking(void *ctx)
{
    struct sluice_growbuf out;
    struct sluice_err err = {0};
    const struct sluice_llm_question question = {.model = "m",
                                                 .system = "s",
                                                 .user = "u",
                                                 .schema_name = "x",
                                                 .schema = "{\"type\":\"object\"}",
                                                 .max_tokens = 5};
    const struct sluice_openai_quirks quirks = {.is_streamed = 1};
    (void)ctx;
    sluice_growbuf_init(&out, &failing_allocator, 1 << 20);
    sluice_rc rc = sluice_openai_request(&out, &question, &quirks, &err);
    sluice_growbuf_fini(&out);
    assert_int_equal(failing_open_blocks(), 0);
    return rc == SLUICE_OK ? 1 : is_nomem(rc);
}

static int answering(void *ctx)
{
    static const char json[] =
        "{\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"text\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}";
    struct sluice_openai_answer a;
    struct sluice_call_verdict verdict;
    (void)ctx;
    sluice_openai_answer_init(&a, &failing_allocator, 1 << 20, NULL);
    sluice_rc rc = sluice_openai_answer_read(&a, (sluice_bytes){json, sizeof json - 1});
    sluice_openai_judge_answer(&a, 0, &verdict);
    int is_good = rc == SLUICE_OK && verdict.fate == SLUICE_FATE_OK;
    /* cJSON does not tell missing memory from a mistake in the text: a bad answer is asked again.
     */
    assert_true(is_good || rc == SLUICE_ERR_NOMEM || verdict.fate == SLUICE_FATE_BAD_ANSWER);
    assert_true(!is_good || strcmp(a.content.data, "text") == 0);
    sluice_openai_answer_fini(&a);
    assert_int_equal(failing_open_blocks(), 0);
    return is_good;
}

static sluice_rc on_event(void *ctx, const char *type, sluice_bytes data)
{
    (void)type;
    return sluice_openai_answer_chunk(ctx, data);
}

static int streaming(void *ctx)
{
    static const char stream[] =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"te\"}}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"xt\"},"
        "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    const struct sluice_sse_limits limits = {4096, 4096, 65536};
    struct sluice_sse sse;
    struct sluice_openai_answer a;
    struct sluice_call_verdict verdict;
    (void)ctx;
    sluice_openai_answer_init(&a, &failing_allocator, 1 << 20, NULL);
    sluice_sse_init(&sse, &failing_allocator, &limits, on_event, &a);
    sluice_rc rc = sluice_sse_feed(&sse, stream, sizeof stream - 1);
    sluice_openai_judge_answer(&a, 0, &verdict);
    int is_good = rc == SLUICE_OK && verdict.fate == SLUICE_FATE_OK;
    assert_true(is_good || rc == SLUICE_ERR_NOMEM || verdict.fate == SLUICE_FATE_BAD_ANSWER);
    assert_true(!is_good || strcmp(a.content.data, "text") == 0);
    sluice_sse_fini(&sse);
    sluice_openai_answer_fini(&a);
    assert_int_equal(failing_open_blocks(), 0);
    return is_good;
}

static void the_llm_protocol_reports_missing_memory(void **state)
{
    (void)state;
    sweep(asking);
    sweep(answering);
    sweep(streaming);
}

/* ---- The journal's contents ---- */

static int recording(void *ctx)
{
    struct sluice_journal_record record = {.failure = "step", .step = "llm", .text = "no answer"};
    struct sluice_journal_record_text read;
    (void)ctx;
    record.numbers.failures = 3;
    record.numbers.outputs_count = 2;
    record.numbers.outputs[0] = 7;
    char *text = sluice_journal_record_encode(&record);
    if (text == NULL) {
        return 0;
    }
    sluice_rc rc = sluice_journal_record_decode((sluice_bytes){text, strlen(text)}, &read);
    int is_read = rc == SLUICE_OK ? 1 : is_nomem(rc);
    assert_true(!is_read || (read.numbers.failures == 3 && read.numbers.outputs_count == 2));
    free(text);
    return is_read;
}

static int entering(void *ctx)
{
    static const char answer[] = "{\"message\":{\"subject\":\"a\",\"data\":\"YWJj\","
                                 "\"hdrs\":\"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==\"}}";
    struct sluice_journal_entry entry;
    struct sluice_err err = {0};
    (void)ctx;
    enum sluice_journal_found found =
        sluice_journal_entry_decode((sluice_bytes){answer, sizeof answer - 1}, &entry, &err);
    assert_true(found == SLUICE_JOURNAL_FOUND || found == SLUICE_JOURNAL_ERROR);
    if (found == SLUICE_JOURNAL_FOUND) {
        assert_true(entry.is_deleted && entry.body_len == 3);
    }
    sluice_journal_entry_free(&entry);
    return found == SLUICE_JOURNAL_FOUND;
}

static int heading(void *ctx)
{
    static const struct sluice_journal_chunk names[2];
    size_t len;
    (void)ctx;
    char *whole = sluice_journal_inline_encode((sluice_bytes){"abc", 3}, &len);
    char *chunked = sluice_journal_chunked_encode(names, 2, 10, &len);
    int is_good = whole != NULL && chunked != NULL;
    free(whole);
    free(chunked);
    return is_good;
}

static void the_journal_reports_missing_memory(void **state)
{
    (void)state;
    sweep(recording);
    sweep(entering);
    sweep(heading);
}

/* ---- The engine ---- */

static int creating(void *ctx)
{
    struct sluice_engine_config config = engine_config(failing_allocator);
    struct sluice_engine *engine = NULL;
    struct sluice_err err = {0};
    (void)ctx;
    config.message_size_max = 1 << 20;
    sluice_rc rc = sluice_engine_create(&config, 1000, &engine, &err);
    sluice_engine_destroy(engine);
    assert_int_equal(failing_open_blocks(), 0);
    return rc == SLUICE_OK ? 1 : is_nomem(rc);
}

static void the_engine_reports_missing_memory(void **state)
{
    (void)state;
    sweep(creating);
}

/* ---- A handler's run ---- */

static sluice_rc handle(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *request;
    const sluice_llm_reply *reply;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &request));
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.request_id = request->request_id;
    pack.summary = sluice_format(t, "summary of %s", request->query);
    SLUICE_TRY(sluice_store(t, "packs", &pack.base));
    SLUICE_TRY(sluice_publish(t, "ready", &pack.base));
    if (strcmp(request->query, "ask") == 0) {
        sluice_llm_request ask = {.prompt = "p", .vars = &request->base};
        ask.answer = &context__v1__context_draft__descriptor;
        return sluice_llm(t, &ask, &reply);
    }
    return SLUICE_OK;
}

static void delivery_free(struct sluice_source *s, struct sluice_delivery *delivery)
{
    (void)s;
    (void)delivery;
}

static int running(const char *query)
{
    static const struct sluice_source_ops ops = {.delivery_free = delivery_free};
    static struct host_verdict verdict;
    struct sluice_source source = {.ops = &ops};
    struct sluice_plugin plugin = {
        .worker = {.name = "w",
                   .version = "1",
                   .key_field = "request_id",
                   .require = SLUICE_REQUIRE_NONE,
                   .input = &context__v1__context_enrich_request__descriptor,
                   .on_message = handle}};
    struct sluice_engine_config config = engine_config(failing_allocator);
    struct llm_writer llm;
    struct worker_host host = {.plugin = &plugin,
                               .llm = &llm.llm,
                               .table = host_table(),
                               .allocator = &failing_allocator,
                               .model = "m",
                               .temperature = -1,
                               .llm_timeout_ms = 1000,
                               .outputs = {{"ready", "a.ready", "S"}},
                               .outputs_count = 1};
    struct sluice_err err = {0};
    struct sluice_engine *engine = NULL;
    struct inflight m;
    uint8_t body[256];
    Context__V1__ContextEnrichRequest request = CONTEXT__V1__CONTEXT_ENRICH_REQUEST__INIT;
    request.request_id = (char *)"r-1";
    request.query = (char *)(uintptr_t)query;
    struct sluice_delivery delivery = {.subject = "a.b",
                                       .reply = "r",
                                       .stream = "S",
                                       .consumer = "c",
                                       .sequence = 1,
                                       .deliveries = 1};
    delivery.body = (sluice_bytes){body, context__v1__context_enrich_request__pack(&request, body)};
    config.message_size_max = 1 << 20;
    if (sluice_engine_create(&config, 1000, &engine, &err) != SLUICE_OK) {
        return 0;
    }
    host.engine = engine;
    llm_writer_open(&llm, &failing_allocator);
    sluice_arena_init(&host.scratch, &failing_allocator, 64, 0);
    sluice_rc rc = sluice_prompt_parse("p", (sluice_bytes){"{{query}}", 9}, &failing_allocator,
                                       &host.prompts[0].prompt, &err);
    if (rc == SLUICE_OK) {
        (void)strcpy(host.prompts[0].name, "p");
        host.prompts_count = 1;
        inflight_open(&m, &host, (struct sluice_ticket){0, 1}, &delivery, &failing_allocator);
        host_run(&host, &m, &verdict);
        inflight_close(&m, &source);
    }
    host_fini(&host);
    llm_writer_close(&llm);
    sluice_engine_destroy(engine);
    assert_int_equal(failing_open_blocks(), 0);
    if (rc != SLUICE_OK) {
        return is_nomem(rc);
    }
    if (verdict.verdict.kind == SLUICE_VERDICT_FAILED) {
        assert_int_equal(verdict.verdict.failure, SLUICE_FAILURE_NO_MEMORY);
        return 0;
    }
    return verdict.verdict.kind ==
           (strcmp(query, "ask") == 0 ? SLUICE_VERDICT_SUSPENDED : SLUICE_VERDICT_DONE);
}

static int running_to_its_end(void *ctx)
{
    (void)ctx;
    return running("what?");
}

static int running_to_a_step(void *ctx)
{
    (void)ctx;
    return running("ask");
}

static void a_run_without_memory_fails_as_that(void **state)
{
    (void)state;
    sweep(running_to_its_end);
    sweep(running_to_a_step);
}

/* ---- The probe ---- */

/* Its thread waits when the first byte comes; from then on every wait fails. Were the end learnt
 * from waiting alone, this would hang. */
static void a_probe_that_cannot_wait_ends(void **state)
{
    const struct sluice_probe_config config = {.host = "127.0.0.1", .loop_limit_ms = 1000};
    struct sluice_probe *probe = NULL;
    struct sluice_err err = {.rc = SLUICE_OK};
    (void)state;
    assert_int_equal(sluice_probe_create(&config, &probe, &err), SLUICE_OK);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(sluice_probe_port(probe)),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    failing_begin(FAILING_CALLS, 1, 1);
    assert_int_equal(send(fd, "G", 1, 0), 1);
    while (failing_name()[0] == '\0') { /* until it does not wait any more */
        const struct timespec pause = {0, 1000000};
        (void)nanosleep(&pause, NULL);
    }
    sluice_probe_destroy(probe);
    (void)failing_end();
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_codec_reports_missing_memory),
        cmocka_unit_test(prompts_report_missing_memory),
        cmocka_unit_test(the_llm_protocol_reports_missing_memory),
        cmocka_unit_test(the_journal_reports_missing_memory),
        cmocka_unit_test(the_engine_reports_missing_memory),
        cmocka_unit_test(a_run_without_memory_fails_as_that),
        cmocka_unit_test(a_probe_that_cannot_wait_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
