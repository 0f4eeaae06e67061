/* SPDX-License-Identifier: Apache-2.0 */
/* Round trips of the reference worker's messages through every encoding, and what must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/bson.h"
#include "codec/header.h"
#include "codec/prompt.h"
#include "codec/proto_json.h"
#include "codec/schema.h"
#include "context.pb-c.h"
#include "core/assert.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sluice_panic(const char *expression, const char *file, int line, const char *state)
{
    fprintf(stderr, "%s:%d: %s (%s)\n", file, line, expression, state);
    abort();
}

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, size);
}

static const struct sluice_allocator heap = {resize, NULL};
static struct sluice_arena arena;
static struct sluice_err err;

static int setup(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    sluice_arena_init(&arena, &heap, 1024, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sluice_arena_fini(&arena);
    return 0;
}

static Context__V1__ContextItem__MetadataEntry entry =
    CONTEXT__V1__CONTEXT_ITEM__METADATA_ENTRY__INIT;
static Context__V1__ContextItem__MetadataEntry *entries[] = {&entry};
static Context__V1__ContextItem item = CONTEXT__V1__CONTEXT_ITEM__INIT;
static Context__V1__ContextItem *items[] = {&item};

static Context__V1__ContextPack sample_pack(void)
{
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    entry.key = (char *)"a.b";
    entry.value = (char *)"c";
    item.source = (char *)"crm";
    item.score = 0.25;
    item.metadata = entries;
    item.n_metadata = 1;
    pack.pack_id = (char *)"p-1";
    pack.summary = (char *)"line\n\"two\" é";
    pack.items = items;
    pack.n_items = 1;
    pack.created_at = 1732150000123;
    pack.prompt_tokens = 7;
    return pack;
}

static void check_pack(const ProtobufCMessage *message)
{
    const Context__V1__ContextPack *pack = (const Context__V1__ContextPack *)message;
    assert_string_equal(pack->pack_id, "p-1");
    assert_string_equal(pack->summary, "line\n\"two\" é");
    assert_int_equal(pack->created_at, 1732150000123);
    assert_int_equal(pack->n_items, 1);
    assert_true(pack->items[0]->score == 0.25);
    assert_int_equal(pack->items[0]->n_metadata, 1);
    assert_string_equal(pack->items[0]->metadata[0]->key, "a.b");
    assert_string_equal(pack->items[0]->metadata[0]->value, "c");
}

static void survives_every_encoding(void **state)
{
    (void)state;
    Context__V1__ContextPack pack = sample_pack();
    sluice_bytes bytes;
    ProtobufCMessage *back;
    const ProtobufCMessageDescriptor *type = &context__v1__context_pack__descriptor;
    assert_int_equal(sluice_pb_encode(&pack.base, &arena, &bytes, &err), SLUICE_OK);
    assert_int_equal(sluice_pb_decode(type, bytes, NULL, &arena, &back, &err), SLUICE_OK);
    check_pack(back);
    assert_int_equal(sluice_proto_write_json(&pack.base, 0, 0, &arena, &bytes, &err), SLUICE_OK);
    assert_non_null(strstr(bytes.data, "\"createdAt\":\"1732150000123\""));
    assert_int_equal(sluice_proto_from_json(type, bytes, 0, &arena, &back, &err), SLUICE_OK);
    check_pack(back);
    assert_int_equal(sluice_proto_to_doc_json(&pack.base, &arena, &bytes, &err), SLUICE_OK);
    assert_non_null(strstr(bytes.data, "\"created_at\":1732150000123"));
    assert_int_equal(sluice_proto_from_json(type, bytes, 0, &arena, &back, &err), SLUICE_OK);
    check_pack(back);
    assert_int_equal(sluice_proto_to_bson(&pack.base, &arena, &bytes, &err), SLUICE_OK);
    assert_int_equal(sluice_bson_to_proto(type, bytes, &arena, &back, &err), SLUICE_OK);
    check_pack(back);
}

/* Every truncation and every flipped byte either parses or is refused; the sanitizers watch. */
static void survives_mutilation(void **state)
{
    (void)state;
    Context__V1__ContextPack pack = sample_pack();
    const ProtobufCMessageDescriptor *type = &context__v1__context_pack__descriptor;
    sluice_bytes forms[3];
    ProtobufCMessage *back;
    assert_int_equal(sluice_pb_encode(&pack.base, &arena, &forms[0], &err), SLUICE_OK);
    assert_int_equal(sluice_proto_to_bson(&pack.base, &arena, &forms[1], &err), SLUICE_OK);
    assert_int_equal(sluice_proto_write_json(&pack.base, 0, 0, &arena, &forms[2], &err), SLUICE_OK);
    int refused = 0;
    for (int form = 0; form < 3; form++) {
        for (size_t cut = 0; cut < 2 * forms[form].len; cut++) {
            size_t len = cut < forms[form].len ? cut : forms[form].len;
            char *copy = malloc(len + 1);
            assert_non_null(copy);
            memcpy(copy, forms[form].data, len);
            if (cut >= forms[form].len) {
                copy[cut - forms[form].len] ^= (char)0xff;
            }
            sluice_bytes bytes = {copy, len};
            sluice_rc rc = form == 0 ? sluice_pb_decode(type, bytes, NULL, &arena, &back, &err)
                           : form == 1
                               ? sluice_bson_to_proto(type, bytes, &arena, &back, &err)
                               : sluice_proto_from_json(type, bytes, 0, &arena, &back, &err);
            refused += rc != SLUICE_OK;
            free(copy);
        }
    }
    assert_true(refused > 200);
}

static sluice_rc draft(const char *text)
{
    ProtobufCMessage *message;
    return sluice_proto_from_json(&context__v1__context_draft__descriptor,
                                  (sluice_bytes){text, strlen(text)}, SLUICE_JSON_STRICT, &arena,
                                  &message, &err);
}

static void names_what_is_wrong_with_an_answer(void **state)
{
    (void)state;
    assert_int_equal(draft("{\"summary\":\"s\",\"items\":[]}"), SLUICE_OK);
    assert_int_equal(draft("{\"summary\":\"s\"}"), SLUICE_ERR_VALIDATION);
    assert_string_equal(err.text, "items: missing, expected all fields of context.v1.ContextDraft");
    assert_int_equal(draft("{\"summary\":\"s\",\"items\":[{\"source\":\"\",\"kind\":\"\","
                           "\"content\":\"\",\"score\":\"high\"}]}"),
                     SLUICE_ERR_VALIDATION);
    assert_string_equal(err.text, "items[0].score: expected number, got string");
    assert_int_equal(draft("{\"summary\":\"s\",\"items\":[],\"x\":1}"), SLUICE_ERR_VALIDATION);
    assert_int_equal(draft("{\"summary\":\"s\",\"items\":[]} tail"), SLUICE_ERR_DECODE);
    assert_int_equal(draft("{\"summary\":\"s\",\"summary\":\"t\",\"items\":[]}"),
                     SLUICE_ERR_DECODE);
    assert_int_equal(draft("{\"summary\":\"\\ud800\",\"items\":[]}"), SLUICE_ERR_DECODE);
    assert_int_equal(draft("{\"summary\":\"\\u0000\",\"items\":[]}"), SLUICE_ERR_DECODE);
    assert_int_equal(draft("I'm sorry"), SLUICE_ERR_DECODE);
    char deep[200];
    memset(deep, '[', sizeof deep);
    deep[199] = '\0';
    assert_int_equal(draft(deep), SLUICE_ERR_TOO_LARGE);
}

static void makes_a_strict_schema(void **state)
{
    (void)state;
    const char *schema;
    assert_int_equal(
        sluice_schema_build(&context__v1__context_draft__descriptor, &arena, &schema, &err),
        SLUICE_OK);
    assert_string_equal(
        schema,
        "{\"type\":\"object\",\"properties\":{\"summary\":{\"type\":\"string\"},\"items\":{"
        "\"type\":"
        "\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"source\":{\"type\":\"string\"},"
        "\"kind\":{\"type\":\"string\"},\"content\":{\"type\":\"string\"},\"score\":{\"type\":"
        "\"number\"}},\"required\":[\"source\",\"kind\",\"content\",\"score\"],"
        "\"additionalProperties\":false}}},\"required\":[\"summary\",\"items\"],"
        "\"additionalProperties\":false}");
    assert_int_equal(
        sluice_schema_build(&context__v1__context_item__descriptor, &arena, &schema, &err),
        SLUICE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "metadata"));
}

static const char *render(const char *source)
{
    static char *inputs[] = {(char *)"one", (char *)"two"};
    Context__V1__ContextEnrichRequest request = CONTEXT__V1__CONTEXT_ENRICH_REQUEST__INIT;
    request.query = (char *)"what & \"why\"";
    request.inputs = inputs;
    request.n_inputs = 2;
    struct sluice_prompt *prompt;
    if (sluice_prompt_parse("p.prompt", (sluice_bytes){source, strlen(source)}, &heap, &prompt,
                            &err) != SLUICE_OK) {
        return err.text;
    }
    struct sluice_prompt_text text = {NULL, NULL};
    sluice_rc rc = sluice_prompt_render(prompt, &request.base, NULL, 0, &arena, &text, &err);
    sluice_prompt_destroy(prompt);
    return rc == SLUICE_OK ? text.user : err.text;
}

static void fills_prompts(void **state)
{
    (void)state;
    assert_string_equal(render("{{query}}!"), "what & \"why\"!");
    assert_string_equal(render("{{query|json}}"), "\"what & \\\"why\\\"\"");
    assert_string_equal(render("# system\nbe short\n\n# user\nQ: {{query}}\n"),
                        "Q: what & \"why\"");
    assert_string_equal(render("a\n{{#inputs}}\n- {{.}}\n{{/inputs}}\nb"), "a\n- one\n- two\nb");
    assert_string_equal(render("{{^user_id}}nobody{{/user_id}}"), "nobody");
    assert_string_equal(render("{{! hidden }}x"), "x");
    assert_string_equal(render("x\n {{nope}}"), "p.prompt:2:2: unknown field \"nope\"");
    assert_string_equal(render("{{#query}}"), "p.prompt:1:1: section \"query\" is not closed");
    assert_string_equal(render("{{query"), "p.prompt:1:1: {{ without }} on the same line");
}

static void matches_subjects(void **state)
{
    (void)state;
    assert_true(sluice_subject_matches("a.*.c", "a.b.c"));
    assert_true(sluice_subject_matches("a.>", "a.b.c"));
    assert_false(sluice_subject_matches("a.>", "a"));
    assert_false(sluice_subject_matches("a.*", "a.b.c"));
    assert_true(sluice_subject_is_valid("a.b"));
    assert_false(sluice_subject_is_valid("a..b"));
    assert_false(sluice_subject_is_valid("a.*"));
    assert_false(sluice_subject_is_valid("a b"));
    assert_true(sluice_subject_pattern_is_valid("a.*.>"));
    assert_false(sluice_subject_pattern_is_valid("a.>.b"));
    const sluice_header headers[] = {{"x-a", "1"}, {"X-A", "2"}, {"X-A", "3"}};
    assert_string_equal(sluice_header_find(headers, 3, "X-A", 0), "2");
    assert_string_equal(sluice_header_find(headers, 3, "X-A", 1), "3");
    assert_string_equal(sluice_header_find(headers, 3, "X-a", 0), "1");
    assert_null(sluice_header_find(headers, 3, "Y", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(survives_every_encoding, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_mutilation, setup, teardown),
        cmocka_unit_test_setup_teardown(names_what_is_wrong_with_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(makes_a_strict_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(fills_prompts, setup, teardown),
        cmocka_unit_test_setup_teardown(matches_subjects, setup, teardown),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
