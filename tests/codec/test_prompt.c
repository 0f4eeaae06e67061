/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/prompt.h"

#include "codec/hash.h"
#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const ProtobufCMessage *rich(void)
{
    return &fixture_rich()->base;
}

/* The filled user text, or the error: of parsing, of the check (which must say the same as the
 * rendering), of the rendering. */
static const char *filled(struct fixture *f, const char *source)
{
    struct sluice_prompt *prompt = NULL;
    struct sluice_prompt_text text;
    struct sluice_err checked = {.rc = SLUICE_OK};
    Rich__V1__Leaf *leaf = fixture_rich()->leaf;
    const sluice_var more[] = {{"other", &leaf->base}, {"text", &leaf->base}};
    const struct sluice_prompt_type types[] = {{"other", &rich__v1__leaf__descriptor},
                                               {"text", &rich__v1__leaf__descriptor}};
    sluice_bytes exact = fixture_exact(source, strlen(source));
    sluice_rc rc = sluice_prompt_parse("p", exact, &f->allocator, &prompt, &f->err);
    fixture_exact_free(exact);
    if (rc != SLUICE_OK) {
        assert_int_equal(rc, SLUICE_ERR_CONFIG);
        return f->err.text;
    }
    sluice_rc expected = sluice_prompt_check(prompt, rich()->descriptor, types, 2, &checked);
    rc = sluice_prompt_render(prompt, rich(), more, 2, &f->arena, &text, &f->err);
    sluice_prompt_destroy(prompt);
    assert_int_equal(expected, rc);
    if (rc != SLUICE_OK) {
        assert_int_equal(rc, SLUICE_ERR_CONFIG);
        assert_string_equal(checked.text, f->err.text);
        return f->err.text;
    }
    return text.user;
}

static void assert_filled(const char *source, const char *expected)
{
    struct fixture f;
    fixture_init(&f);
    assert_string_equal(filled(&f, source), expected);
    fixture_fini(&f);
}

static void fills_in_fields_of_every_type(void **state)
{
    (void)state;
    assert_filled("", "");
    assert_filled("no tags }} { } {", "no tags }} { } {");
    assert_filled("{{int32_field}} {{sint32_field}} {{sfixed32_field}}",
                  "-2147483648 -7 2147483647");
    assert_filled("{{int64_field}} {{uint64_field}} {{uint32_field}} {{fixed32_field}}",
                  "-9223372036854775808 18446744073709551615 4294967295 4000000000");
    assert_filled("{{float_field}} {{bool_field}} {{kind}} {{leaf.score}}",
                  "0.1 true KIND_BELOW 0.875");
    assert_filled("{{ leaf.name }}{{{leaf.name}}}{{{ leaf.name }}}", "leafleafleaf");
    assert_filled("<{{text}}>",
                  "<quote \" backslash \\ newline \n \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 end>");
    assert_filled("{{camelName}}{{trailing_2_digits}}", "camellast");
}

static void what_is_not_set_reads_as_its_default(void **state)
{
    (void)state;
    assert_filled(
        "[{{child.text}}|{{child.int32_field}}|{{child.bool_field}}|{{child.kind}}|{{child."
        "leaf.name}}|{{child.child.child.double_field}}|{{chosen_text}}|{{chosen_number}}]",
        "[child|0|false|KIND_UNSPECIFIED||0||]");
    assert_filled("{{count}}", "0"); /* set, to 0 */
}

static void writes_json_of_anything(void **state)
{
    (void)state;
    assert_filled("{{leaf|json}}", "{\"name\":\"leaf\",\"score\":0.875,\"kind\":\"KIND_FIRST\"}");
    assert_filled("{{texts|json}} {{ numbers | json }} {{{flags|json}}}",
                  "[\"\",\"one\",\"two\"] [0,-1,300] [true,false,true]");
    assert_filled("{{attributes|json}}", "{\"colour\":\"red\",\"\":\"\",\"$a.b%\":\"\"}");
    assert_filled("{{blob|json}} {{int64_field|json}} {{kind|json}} {{leaf.name|json}}",
                  "\"AP8QgA==\" -9223372036854775808 \"KIND_BELOW\" \"leaf\"");
    assert_filled("{{child.leaf|json}} {{chosen_text|json}} {{child.child.text|json}}",
                  "null null null");
    assert_filled("{{#texts}}{{.|json}}{{/texts}}", "\"\"\"one\"\"two\"");
    assert_filled("{{#leaves}}{{.|json}},{{/leaves}}",
                  "{\"name\":\"first\",\"score\":1,\"kind\":\"KIND_FIRST\"},{\"name\":\"\","
                  "\"score\":0,\"kind\":\"KIND_UNSPECIFIED\"},");
    assert_filled("{{other|json}}", "{\"name\":\"leaf\",\"score\":0.875,\"kind\":\"KIND_FIRST\"}");
}

static void repeats_sections_for_lists_and_maps(void **state)
{
    (void)state;
    assert_filled("{{#texts}}<{{.}}>{{/texts}}", "<><one><two>");
    assert_filled("{{#kinds}}{{.}} {{/kinds}}", "KIND_SECOND KIND_UNSPECIFIED KIND_BELOW ");
    assert_filled("{{#leaves}}{{name}}:{{score}};{{/leaves}}", "first:1;:0;");
    assert_filled("{{#attributes}}{{key}}={{value}};{{/attributes}}", "colour=red;=;$a.b%=;");
    assert_filled("{{#leaves_by_number}}{{key}}={{value.name}}{{/leaves_by_number}}",
                  "-5=numbered");
    assert_filled("{{#totals}}{{key}}={{value}};{{/totals}}", "false=0;true=9223372036854775807;");
    assert_filled("{{#children}}[{{#chosen_text}}{{.}}{{/chosen_text}}]{{/children}}",
                  "[][text of the second]");
    assert_filled("{{#leaves}}{{#flags}}{{name}}{{.}},{{/flags}}{{/leaves}}",
                  "firsttrue,firstfalse,firsttrue,true,false,true,");
}

static void looks_names_up_from_the_inside_out(void **state)
{
    (void)state;
    assert_filled("{{#leaf}}{{name}} {{kind}} {{camelName}}{{/leaf}}", "leaf KIND_FIRST camel");
    assert_filled("{{#texts}}{{camelName}}{{/texts}}", "camelcamelcamel");
    assert_filled("{{other.name}} {{other.score}}", "leaf 0.875");
    assert_filled("{{#other}}{{name}}{{/other}}", "leaf");
    assert_filled("{{#text}}{{camelName}}{{/text}}",
                  "camel"); /* the field, not the named message */
    assert_filled("{{#child}}{{text}}{{#leaf}}no{{/leaf}}{{/child}}", "child");
}

static void sections_ask_whether_a_field_is_set(void **state)
{
    (void)state;
    assert_filled("{{#bool_field}}a{{/bool_field}}{{^bool_field}}b{{/bool_field}}", "a");
    assert_filled(
        "{{#child.bool_field}}a{{/child.bool_field}}{{^child.bool_field}}b{{/child.bool_field}}",
        "b");
    assert_filled("{{#text}}a{{/text}}{{#leaf}}b{{/leaf}}{{#double_field}}c{{/double_field}}",
                  "abc");
    assert_filled("{{#child.leaf}}a{{/child.leaf}}{{^child.leaf}}b{{/child.leaf}}", "b");
    assert_filled(
        "{{#child.child.leaf}}a{{/child.child.leaf}}{{^child.child.texts}}b{{/child.child.texts}}",
        "b");
    assert_filled("{{#count}}set to {{.}}{{/count}}{{^chosen_text}}, none{{/chosen_text}}",
                  "set to 0, none");
    assert_filled("{{^texts}}none{{/texts}}{{#blob}}blob{{/blob}}", "blob");
    assert_filled("{{#flags}}{{#.}}yes{{/.}}{{^.}}no{{/.}} {{/flags}}", "yes no yes ");
    assert_filled("{{#texts}}{{^.}}empty{{/.}}{{/texts}}", "empty");
    assert_filled("{{^child.leaf}}{{camelName}}{{/child.leaf}}", "camel");
}

/* The cases of the mustache specification on standalone lines. */
static void tags_alone_on_a_line_leave_none_behind(void **state)
{
    (void)state;
    assert_filled("a\n{{#texts}}\n- {{.}}\n{{/texts}}\nb", "a\n- \n- one\n- two\nb");
    assert_filled("a\r\n{{#leaf}}\r\nx\r\n{{/leaf}}\r\nb", "a\r\nx\r\nb");
    assert_filled("a\n  {{#leaf}}  \n\tx\n\t{{/leaf}}\nb", "a\n\tx\nb");
    assert_filled("a\n  {{! gone }}\nb", "a\nb");
    assert_filled("a {{! inside }} b\n", "a  b");
    assert_filled("a\n{{!\nlong\n\ncomment\n}}\nb", "a\nb");
    assert_filled("{{! first }}\na", "a");
    assert_filled("a\n{{! last }}", "a\n");
    assert_filled("a {{#leaf}}\nb\n{{/leaf}} c", "a \nb\n c");
    assert_filled("| {{#leaf}} | {{/leaf}} |\n{{text_}}", "p:2:1: unknown field \"text_\"");
    assert_filled("x\n{{camelName}}\ny", "x\ncamel\ny");
    assert_filled("{{#leaf}}{{! both }}\nx{{/leaf}}", "\nx");
    assert_filled("a\n{{#leaf}}\n{{#leaf}}\nb\n{{/leaf}}\n{{/leaf}}\nc", "a\nb\nc");
}

static void reads_sections_and_head(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_prompt *prompt = NULL;
    struct sluice_prompt_text text;
    static const char source[] = "---\nmodel: some-model/v1\ntemperature: 0.25 \n\nmax_tokens:512\n"
                                 "---\n\n# system  \r\n\n  Be {{kind}}.\n\n\n# user\n\n# Heading\n"
                                 "{{camelName}}\n\n";
    fixture_init(&f);
    assert_int_equal(sluice_prompt_parse("p", BYTES(source), &f.allocator, &prompt, &f.err),
                     SLUICE_OK);
    assert_string_equal(sluice_prompt_head(prompt)->model, "some-model/v1");
    assert_true(sluice_prompt_head(prompt)->temperature == 0.25);
    assert_int_equal(sluice_prompt_head(prompt)->max_tokens, 512);
    assert_int_equal(sluice_prompt_render(prompt, rich(), NULL, 0, &f.arena, &text, &f.err),
                     SLUICE_OK);
    assert_string_equal(text.system, "  Be KIND_BELOW.");
    assert_string_equal(text.user, "# Heading\ncamel");
    sluice_prompt_destroy(prompt);
    assert_int_equal(sluice_prompt_parse("p", BYTES("x"), &f.allocator, &prompt, &f.err),
                     SLUICE_OK);
    assert_null(sluice_prompt_head(prompt)->model);
    assert_true(sluice_prompt_head(prompt)->temperature < 0);
    assert_int_equal(sluice_prompt_head(prompt)->max_tokens, 0);
    assert_int_equal(sluice_prompt_render(prompt, NULL, NULL, 0, &f.arena, &text, &f.err),
                     SLUICE_OK);
    assert_null(text.system);
    assert_string_equal(text.user, "x");
    sluice_prompt_destroy(prompt);
    sluice_prompt_destroy(NULL);
    fixture_fini(&f);
}

static void names_the_place_of_a_mistake_in_the_file(void **state)
{
    (void)state;
    assert_filled("---\nmodel: a\n", "p:1:1: a head that is not closed by ---");
    assert_filled("---\ntone: a\n---\n",
                  "p:2:1: unknown key, expected model, temperature or max_tokens");
    assert_filled("---\nmodel\n---\n", "p:2:1: expected key: value, or --- at the end of the head");
    assert_filled("---\nmodel: \n---\n", "p:2:1: model: expected one name of 1 to 128 bytes");
    assert_filled("---\nmodel: a\nmodel: b\n---\n",
                  "p:3:1: model: expected one name of 1 to 128 bytes");
    assert_filled("---\n\ntemperature: 2.5\n---\n",
                  "p:3:1: temperature: expected one number from 0 to 2");
    assert_filled("---\ntemperature: warm\n---\n",
                  "p:2:1: temperature: expected one number from 0 to 2");
    assert_filled("---\nmax_tokens: 0\n---\n",
                  "p:2:1: max_tokens: expected one whole number above 0");
    assert_filled("---\nmax_tokens: 1.5\n---\n",
                  "p:2:1: max_tokens: expected one whole number above 0");
    assert_filled("x\n# user\ny", "p:1:1: text before the first section");
    assert_filled("# user\nx\n# user\ny", "p:3:1: a section that comes twice");
    assert_filled("# system\nx", "p:2:2: no section # user");
    assert_filled("a\n\xc3\xa4 {{#leaf}}\nb", "p:2:3: section \"leaf\" is not closed");
    assert_filled("{{/leaf}}", "p:1:1: {{/leaf}} closes what is not open");
    assert_filled("{{#leaf}}\n{{#texts}}\n  {{/leaf}}",
                  "p:3:3: closes \"leaf\", expected \"texts\" of line 2");
    assert_filled("# system\n{{#leaf}}\n# user\n{{/leaf}}",
                  "p:2:1: section \"leaf\" is not closed");
    assert_filled("a {{text\n}}", "p:1:3: {{ without }} on the same line");
    assert_filled("{{{text}}", "p:1:1: {{ without }} on the same line");
    assert_filled("{{! text", "p:1:1: a comment that is not closed");
    assert_filled("{{}}", "p:1:1: malformed name, expected a field like a or a.b_c");
    assert_filled("{{a b}}", "p:1:1: malformed name, expected a field like a or a.b_c");
    assert_filled("{{a..b}}", "p:1:1: malformed name, expected a field like a or a.b_c");
    assert_filled("{{.a}}", "p:1:1: malformed name, expected a field like a or a.b_c");
    assert_filled("{{text|upper}}", "p:1:7: unknown filter, expected |json");
    assert_filled("{{#text|json}}{{/text}}",
                  "p:1:8: a filter in a section tag, expected a name alone");
    assert_filled("{{> part}}",
                  "p:1:1: {{> is not part of the subset of mustache that prompts know");
    assert_filled("{{=<% %>=}}",
                  "p:1:1: {{= is not part of the subset of mustache that prompts know");
    assert_filled("a\nb\xff", "p:2:2: expected UTF-8 text without NUL");
}

static void names_the_place_of_an_unknown_variable(void **state)
{
    (void)state;
    assert_filled("x\n  {{nope}}", "p:2:3: unknown field \"nope\"");
    assert_filled("{{leaf.nope}}", "p:1:1: unknown field \"nope\" of rich.v1.Leaf");
    assert_filled("{{other.nope}}", "p:1:1: unknown field \"nope\" of rich.v1.Leaf");
    assert_filled("{{#texts}}\n{{^nope}}{{/nope}}{{/texts}}", "p:2:1: unknown field \"nope\"");
    assert_filled("{{leaf}}", "p:1:1: \"leaf\" is a message, expected a section or |json");
    assert_filled("{{other}}", "p:1:1: \"other\" is a message, expected a section or |json");
    assert_filled("{{.}}", "p:1:1: \".\" is a message, expected a section or |json");
    assert_filled("{{texts}}", "p:1:1: \"texts\" is a list, expected a section or |json");
    assert_filled("{{attributes}}", "p:1:1: \"attributes\" is a list, expected a section or |json");
    assert_filled("{{blob}}", "p:1:1: \"blob\" is bytes, expected a section or |json");
    assert_filled("{{#blobs}}{{.}}{{/blobs}}",
                  "p:1:11: \".\" is bytes, expected a section or |json");
    assert_filled("{{leaves.name}}", "p:1:1: \"leaves\" is a list, expected {{#leaves}} first");
    assert_filled("{{kind.name}}", "p:1:1: \"kind\" is of type enum and has no fields");
    assert_filled("{{camelname}}", "p:1:1: unknown field \"camelname\"");
}

/* What rendering would not reach is checked all the same. */
static void the_check_sees_what_no_message_reaches(void **state)
{
    (void)state;
    struct fixture f;
    struct sluice_prompt *prompt = NULL;
    fixture_init(&f);
    assert_int_equal(
        sluice_prompt_parse("p",
                            BYTES("# system\n{{#child.children}}{{nope}}{{/child.children}}\n"
                                  "# user\nx"),
                            &f.allocator, &prompt, &f.err),
        SLUICE_OK);
    assert_int_equal(sluice_prompt_check(prompt, rich()->descriptor, NULL, 0, &f.err),
                     SLUICE_ERR_CONFIG);
    assert_string_equal(f.err.text, "p:2:20: unknown field \"nope\"");
    assert_int_equal(sluice_prompt_check(prompt, NULL, NULL, 0, &f.err), SLUICE_ERR_CONFIG);
    assert_string_equal(f.err.text, "p:2:1: unknown field \"child\"");
    sluice_prompt_destroy(prompt);
    assert_int_equal(sluice_prompt_parse("p", BYTES("{{.|json}}"), &f.allocator, &prompt, &f.err),
                     SLUICE_OK);
    assert_int_equal(sluice_prompt_check(prompt, NULL, NULL, 0, &f.err), SLUICE_ERR_CONFIG);
    sluice_prompt_destroy(prompt);
    fixture_fini(&f);
}

static sluice_rc render_with(struct fixture *f, const char *source, const ProtobufCMessage *vars,
                             const sluice_var *more, uint32_t count)
{
    struct sluice_prompt *prompt = NULL;
    struct sluice_prompt_text text;
    assert_int_equal(sluice_prompt_parse("p", text_bytes(source), &f->allocator, &prompt, &f->err),
                     SLUICE_OK);
    sluice_rc rc = sluice_prompt_render(prompt, vars, more, count, &f->arena, &text, &f->err);
    sluice_prompt_destroy(prompt);
    return rc;
}

static void survives_messages_that_a_plugin_got_wrong(void **state)
{
    (void)state;
    struct fixture f;
    Rich__V1__Rich bad = RICH__V1__RICH__INIT;
    Rich__V1__Leaf raw;
    Rich__V1__Leaf *leaves[] = {NULL};
    ProtobufCMessage none = {0};
    memset(&raw, 0, sizeof raw);
    fixture_init(&f);
    bad.text = (char *)"\xff";
    bad.leaf = &raw;
    bad.n_leaves = 1;
    bad.leaves = leaves;
    bad.n_texts = 2;
    assert_int_equal(render_with(&f, "{{text}}", &bad.base, NULL, 0), SLUICE_ERR_VALIDATION);
    assert_string_equal(f.err.text, "p:1:1: \"text\" holds invalid UTF-8");
    assert_int_equal(render_with(&f, "{{text|json}}", &bad.base, NULL, 0), SLUICE_ERR_VALIDATION);
    assert_int_equal(render_with(&f, "{{leaf.name}}", &bad.base, NULL, 0), SLUICE_ERR_VALIDATION);
    assert_int_equal(render_with(&f, "{{#leaf}}{{/leaf}}", &bad.base, NULL, 0),
                     SLUICE_ERR_VALIDATION);
    assert_int_equal(render_with(&f, "{{#leaves}}{{/leaves}}", &bad.base, NULL, 0),
                     SLUICE_ERR_VALIDATION);
    assert_int_equal(render_with(&f, "{{#texts}}{{/texts}}", &bad.base, NULL, 0),
                     SLUICE_ERR_VALIDATION);
    assert_int_equal(render_with(&f, "x", &none, NULL, 0), SLUICE_ERR_VALIDATION);
    sluice_var unnamed = {NULL, &bad.base};
    assert_int_equal(render_with(&f, "x", NULL, &unnamed, 1), SLUICE_ERR_VALIDATION);
    fixture_fini(&f);
}

static void bounds_output_and_steps(void **state)
{
    (void)state;
    struct fixture f;
    Rich__V1__Rich many = RICH__V1__RICH__INIT;
    enum { COUNT = 2000 };
    static protobuf_c_boolean flags[COUNT];
    static char text[2000];
    memset(text, 't', sizeof text - 1);
    many.n_flags = COUNT;
    many.flags = flags;
    many.text = text;
    fixture_init(&f);
    assert_int_equal(render_with(&f, "{{#flags}}{{text}}{{/flags}}", &many.base, NULL, 0),
                     SLUICE_ERR_TOO_LARGE);
    assert_string_equal(f.err.text, "p: more than 1048576 bytes when filled");
    assert_int_equal(render_with(&f, "{{#flags}}{{#flags}}{{#flags}}{{/flags}}{{/flags}}{{/flags}}",
                                 &many.base, NULL, 0),
                     SLUICE_ERR_TOO_LARGE);
    assert_contains(f.err.text, "steps through lists inside lists");
    many.n_flags = 500;
    assert_int_equal(render_with(&f, "{{#flags}}{{text}}{{/flags}}", &many.base, NULL, 0),
                     SLUICE_OK);
    struct sluice_prompt *prompt;
    static char large[SLUICE_PROMPT_SIZE_MAX + 1];
    memset(large, 'x', sizeof large);
    sluice_bytes source = {.data = large, .len = sizeof large};
    assert_int_equal(sluice_prompt_parse("p", source, &f.allocator, &prompt, &f.err),
                     SLUICE_ERR_CONFIG);
    source.len--;
    assert_int_equal(sluice_prompt_parse("p", source, &f.allocator, &prompt, &f.err), SLUICE_OK);
    sluice_prompt_destroy(prompt);
    char deep[200] = "";
    for (size_t i = 0; i <= SLUICE_PROMPT_DEPTH_MAX; i++) {
        strcat(deep, "{{#a}}");
    }
    assert_int_equal(sluice_prompt_parse("p", text_bytes(deep), &f.allocator, &prompt, &f.err),
                     SLUICE_ERR_CONFIG);
    assert_string_equal(f.err.text, "p:1:97: sections nested deeper than 16");
    fixture_fini(&f);
}

static void tells_when_memory_runs_out(void **state)
{
    (void)state;
    static const char source[] =
        "---\nmodel: m\n---\n# system\n{{text}}\n# user\n{{#leaves}}{{name}}{{/leaves}}{{.|json}}"
        "{{#attributes}}{{key}}{{/attributes}}";
    sluice_rc rc = SLUICE_ERR_NOMEM;
    for (size_t n = 1; rc != SLUICE_OK; n++) {
        struct fixture f;
        struct sluice_prompt *prompt = NULL;
        struct sluice_prompt_text text;
        fixture_init(&f);
        f.fail_at = n;
        rc = sluice_prompt_parse("p", BYTES(source), &f.allocator, &prompt, &f.err);
        if (rc == SLUICE_OK) {
            rc = sluice_prompt_render(prompt, rich(), NULL, 0, &f.arena, &text, &f.err);
            sluice_prompt_destroy(prompt);
        }
        assert_true(rc == SLUICE_OK || rc == SLUICE_ERR_NOMEM);
        fixture_fini(&f);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in_fields_of_every_type),
        cmocka_unit_test(what_is_not_set_reads_as_its_default),
        cmocka_unit_test(writes_json_of_anything),
        cmocka_unit_test(repeats_sections_for_lists_and_maps),
        cmocka_unit_test(looks_names_up_from_the_inside_out),
        cmocka_unit_test(sections_ask_whether_a_field_is_set),
        cmocka_unit_test(tags_alone_on_a_line_leave_none_behind),
        cmocka_unit_test(reads_sections_and_head),
        cmocka_unit_test(names_the_place_of_a_mistake_in_the_file),
        cmocka_unit_test(names_the_place_of_an_unknown_variable),
        cmocka_unit_test(the_check_sees_what_no_message_reaches),
        cmocka_unit_test(survives_messages_that_a_plugin_got_wrong),
        cmocka_unit_test(bounds_output_and_steps),
        cmocka_unit_test(tells_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
