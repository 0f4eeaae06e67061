/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cJSON *answer(const char *prompt, const char *schema_text)
{
    cJSON *schema = cJSON_Parse(schema_text);
    assert_non_null(schema);
    char *content = llmsim_content(prompt, schema);
    assert_non_null(content);
    cJSON *json = cJSON_Parse(content);
    assert_non_null(json);
    free(content);
    cJSON_Delete(schema);
    return json;
}

static const cJSON *member(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (item == NULL) {
        fail_msg("no member %s", name);
    }
    return item;
}

static void a_sentence_holds_words_of_the_prompt(void **state)
{
    (void)state;
    char *content = llmsim_content("Tell me about glaciers and volcanoes", NULL);
    assert_non_null(content);
    assert_non_null(strstr(content, "glaciers"));
    assert_non_null(strstr(content, "volcanoes"));
    assert_int_equal(content[strlen(content) - 1], '.');
    free(content);
}

static void the_same_prompt_gives_the_same_answer(void **state)
{
    (void)state;
    const char *schema = "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"number\"},"
                         "\"summary\":{\"type\":\"string\"}}}";
    cJSON *a = answer("glaciers in spring", schema);
    cJSON *b = answer("glaciers in spring", schema);
    cJSON *c = answer("glaciers in autumn", schema);
    assert_true(cJSON_Compare(a, b, 1));
    assert_false(cJSON_Compare(a, c, 1));
    cJSON_Delete(a);
    cJSON_Delete(b);
    cJSON_Delete(c);
}

static void every_type_of_a_schema_is_followed(void **state)
{
    (void)state;
    cJSON *json = answer(
        "words that matter here",
        "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"},"
        "\"score\":{\"type\":\"number\"},\"count\":{\"type\":\"integer\"},"
        "\"flag\":{\"type\":\"boolean\"},\"kind\":{\"type\":\"string\",\"enum\":[\"A\",\"B\"]},"
        "\"list\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":"
        "{\"name\":{\"type\":\"string\"}}}},\"maybe\":{\"type\":[\"string\",\"null\"]}}}");
    assert_int_equal(cJSON_GetArraySize(json), 7);
    assert_true(cJSON_IsString(member(json, "text")));
    double score = member(json, "score")->valuedouble;
    assert_true(cJSON_IsNumber(member(json, "score")) && score >= 0 && score < 1);
    double count = member(json, "count")->valuedouble;
    assert_true(count >= 0 && count == (double)(int)count);
    assert_true(cJSON_IsBool(member(json, "flag")));
    const char *kind = member(json, "kind")->valuestring;
    assert_true(strcmp(kind, "A") == 0 || strcmp(kind, "B") == 0);
    int items = cJSON_GetArraySize(member(json, "list"));
    assert_true(items == 2 || items == 3);
    const cJSON *item;
    cJSON_ArrayForEach(item, member(json, "list"))
    {
        assert_true(cJSON_IsString(member(item, "name")));
    }
    assert_true(cJSON_IsString(member(json, "maybe")));
    cJSON_Delete(json);
}

static void references_are_followed(void **state)
{
    (void)state;
    cJSON *json =
        answer("words that matter here",
               "{\"$defs\":{\"a/b~c\":{\"type\":\"integer\",\"minimum\":7,\"maximum\":7},"
               "\"node\":{\"type\":\"object\",\"required\":[\"value\",\"next\"],\"properties\":{"
               "\"value\":{\"type\":\"boolean\"},\"next\":{\"type\":\"array\",\"items\":{\"$ref\":"
               "\"#/$defs/"
               "node\"}},\"other\":{\"$ref\":\"#/$defs/node\"}}}},"
               "\"type\":\"object\",\"properties\":{\"number\":{\"$ref\":\"#/$defs/a~1b~0c\"},"
               "\"tree\":{\"$ref\":\"#/$defs/node\"},\"choice\":{\"anyOf\":[{\"type\":\"null\"},"
               "{\"$ref\":\"#/$defs/a~1b~0c\"}]},\"nowhere\":{\"$ref\":\"#/$defs/none\"}}}");
    assert_int_equal(member(json, "number")->valueint, 7);
    assert_int_equal(member(json, "choice")->valueint, 7);
    assert_true(cJSON_IsString(member(json, "nowhere")));
    const cJSON *tree = member(json, "tree");
    int depth = 0;
    for (; tree != NULL; tree = member(tree, "next")->child) { /* each level is whole */
        assert_true(cJSON_IsBool(member(tree, "value")));
        depth++;
    }
    assert_in_range(depth, 2, 12);
    cJSON_Delete(json);
}

static void limits_are_kept(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        double low, high;
    } cases[] = {{"{\"type\":\"integer\",\"minimum\":1000}", 1000, 9e15},
                 {"{\"type\":\"integer\",\"maximum\":-5}", -9e15, -5},
                 {"{\"type\":\"integer\",\"minimum\":-3,\"maximum\":-2}", -3, -2},
                 {"{\"type\":\"integer\",\"exclusiveMinimum\":2,\"exclusiveMaximum\":4}", 3, 3},
                 {"{\"type\":\"integer\",\"minimum\":2.5,\"maximum\":3.5}", 3, 3},
                 {"{\"type\":\"integer\",\"minimum\":11,\"multipleOf\":10}", 20, 20},
                 {"{\"type\":\"number\",\"minimum\":5}", 5, 6},
                 {"{\"type\":\"number\",\"maximum\":-5}", -6, -5},
                 {"{\"type\":\"number\",\"exclusiveMinimum\":0.25,\"exclusiveMaximum\":0.5}",
                  0.2501, 0.4999},
                 {"{\"type\":[\"null\",\"number\"],\"minimum\":0,\"maximum\":100}", 0, 100},
                 {"{\"const\":42}", 42, 42}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int k = 0; k < 64; k++) {
            char prompt[32];
            (void)snprintf(prompt, sizeof prompt, "question number %d", k);
            cJSON *json = answer(prompt, cases[i].schema);
            if (!cJSON_IsNumber(json) || json->valuedouble < cases[i].low ||
                json->valuedouble > cases[i].high ||
                (strstr(cases[i].schema, "integer") != NULL &&
                 json->valuedouble != (double)(int64_t)json->valuedouble)) {
                fail_msg("%s: %f", cases[i].schema, json->valuedouble);
            }
            cJSON_Delete(json);
        }
    }
    cJSON *json =
        answer("glaciers", "{\"properties\":{\"long\":{\"type\":\"string\",\"minLength\":99},"
                           "\"short\":{\"type\":\"string\",\"maxLength\":3},"
                           "\"many\":{\"type\":\"array\",\"minItems\":5},"
                           "\"few\":{\"type\":\"array\",\"maxItems\":1}}}");
    assert_int_equal(strlen(member(json, "long")->valuestring), 99);
    assert_int_equal(strlen(member(json, "short")->valuestring), 3);
    assert_int_equal(cJSON_GetArraySize(member(json, "many")), 5);
    assert_int_equal(cJSON_GetArraySize(member(json, "few")), 1);
    cJSON_Delete(json);
}

static void a_schema_without_end_ends(void **state)
{
    (void)state;
    char schema[2048] = "";
    for (int i = 0; i < 30; i++) {
        (void)strcat(schema, "{\"type\":\"object\",\"properties\":{\"a\":");
    }
    (void)strcat(schema, "{\"type\":\"string\"}");
    for (int i = 0; i < 30; i++) {
        (void)strcat(schema, "}}");
    }
    cJSON *json = answer("words", schema);
    int depth = 0;
    for (const cJSON *at = json; cJSON_IsObject(at); at = at->child) {
        depth++;
    }
    assert_true(depth > 2 && depth < 16);
    cJSON_Delete(json);
}

static void prompts_without_words_are_answered(void **state)
{
    (void)state;
    static const char *const prompts[] = {"", "a b c", "!!!", "\xc3\xa4\xc3\xb6"};
    for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++) {
        char *content = llmsim_content(prompts[i], NULL);
        assert_non_null(content);
        assert_non_null(strstr(content, "nothing"));
        free(content);
    }
}

static void a_prompt_of_many_words_is_cut(void **state)
{
    (void)state;
    char *prompt = calloc(1, 100000);
    assert_non_null(prompt);
    size_t len = 0;
    for (int i = 0; i < 5000; i++) {
        len += (size_t)sprintf(prompt + len, "word%06d ", i);
    }
    char *content = llmsim_content(prompt, NULL);
    assert_non_null(content);
    assert_true(strlen(content) < 1024);
    assert_non_null(strstr(content, "word004999")); /* the end of a prompt is what varies */
    free(content);
    free(prompt);
}

static void tokens_are_words_and_a_third(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned tokens;
    } cases[] = {{"", 0},           {"one", 1},         {"one two", 2},
                 {"one two 3", 4},  {" , one;two ", 2}, {"a-b c", 4},
                 {"1 2 3 4 5 6", 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(llmsim_tokens(cases[i].text), cases[i].tokens);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentence_holds_words_of_the_prompt),
        cmocka_unit_test(the_same_prompt_gives_the_same_answer),
        cmocka_unit_test(every_type_of_a_schema_is_followed),
        cmocka_unit_test(references_are_followed),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(a_schema_without_end_ends),
        cmocka_unit_test(prompts_without_words_are_answered),
        cmocka_unit_test(a_prompt_of_many_words_is_cut),
        cmocka_unit_test(tokens_are_words_and_a_third),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
