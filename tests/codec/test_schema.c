/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/schema.h"

#include "codec/json_text.h"
#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_schema(const ProtobufCMessageDescriptor *type, const char *expected)
{
    struct fixture f;
    const char *text;
    fixture_init(&f);
    assert_int_equal(sluice_schema_build(type, &f.arena, &text, &f.err), SLUICE_OK);
    assert_string_equal(text, expected);
    assert_int_equal(sluice_json_check(text_bytes(text), NULL, &f.arena, &f.err), SLUICE_OK);
    fixture_fini(&f);
}

static void describes_every_kind_of_field(void **state)
{
    (void)state;
#define KINDS "\"KIND_BELOW\",\"KIND_FIRST\",\"KIND_SECOND\""
#define LEAF                                                                                       \
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"score\":{\"type\":"     \
    "\"number\"},\"kind\":{\"type\":\"string\",\"enum\":[" KINDS "]}},\"required\":[\"name\","     \
    "\"score\",\"kind\"],\"additionalProperties\":false}"
    assert_schema(
        &rich__v1__answer__descriptor,
        "{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\"},\"items\":{\"type\":"
        "\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"label\":{\"type\":\"string\"},"
        "\"score\":{\"type\":\"number\"},\"kinds\":{\"type\":\"array\",\"items\":{\"type\":"
        "\"string\",\"enum\":[" KINDS "]}}},\"required\":[\"label\",\"score\",\"kinds\"],"
        "\"additionalProperties\":false}},\"kind\":{\"type\":\"string\",\"enum\":[" KINDS
        "]},\"note\":{\"type\":[\"string\",\"null\"]},\"leaf\":{\"anyOf\":[" LEAF
        ",{\"type\":\"null\"}]},\"number\":{\"type\":[\"integer\",\"null\"]},\"other_kind\":{"
        "\"type\":[\"string\",\"null\"],\"enum\":[" KINDS ",null]},\"best\":" LEAF
        ",\"picture\":{\"type\":\"string\",\"description\":\"base64\"},\"votes\":{\"type\":"
        "\"array\",\"items\":{\"type\":\"boolean\"}},\"total\":{\"type\":\"integer\"},\"weight\":{"
        "\"type\":\"number\"}},\"required\":[\"title\",\"items\",\"kind\",\"note\",\"leaf\","
        "\"number\",\"other_kind\",\"best\",\"picture\",\"votes\",\"total\",\"weight\"],"
        "\"additionalProperties\":false}");
    assert_schema(&rich__v1__nothing__descriptor,
                  "{\"type\":\"object\",\"properties\":{},\"required\":[],"
                  "\"additionalProperties\":false}");
}

static void refuses_what_the_subset_cannot_say(void **state)
{
    (void)state;
    struct fixture f;
    const char *text;
    fixture_init(&f);
    assert_int_equal(sluice_schema_build(&rich__v1__holder__descriptor, &f.arena, &text, &f.err),
                     SLUICE_ERR_UNSUPPORTED);
    assert_contains(f.err.text, "inner.words: a map");
    assert_int_equal(sluice_schema_build(&rich__v1__chain__descriptor, &f.arena, &text, &f.err),
                     SLUICE_ERR_UNSUPPORTED);
    assert_string_equal(f.err.text, "next: rich.v1.Chain contains itself, which structured output "
                                    "cannot express");
    fixture_fini(&f);
}

static void tells_when_memory_runs_out(void **state)
{
    (void)state;
    struct fixture f;
    const char *text;
    fixture_init(&f);
    f.fail_at = 1;
    assert_int_equal(sluice_schema_build(&rich__v1__answer__descriptor, &f.arena, &text, &f.err),
                     SLUICE_ERR_NOMEM);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_every_kind_of_field),
        cmocka_unit_test(refuses_what_the_subset_cannot_say),
        cmocka_unit_test(tells_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
