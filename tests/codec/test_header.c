/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/header.h"

#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void finds_exact_names_before_similar_ones(void **state)
{
    (void)state;
    const sluice_header headers[] = {
        {"x-a", "1"}, {"X-A", "2"}, {"X-A", "3"}, {"content-type", "t"}, {"Content-TYPE", "u"}};
    assert_string_equal(sluice_header_find(headers, 5, "X-A", 0), "2");
    assert_string_equal(sluice_header_find(headers, 5, "X-A", 1), "3");
    assert_null(sluice_header_find(headers, 5, "X-A", 2));
    assert_string_equal(sluice_header_find(headers, 5, "x-a", 0), "1");
    assert_null(sluice_header_find(headers, 5, "x-a", 1));
    assert_string_equal(sluice_header_find(headers, 5, "Content-Type", 0), "t");
    assert_string_equal(sluice_header_find(headers, 5, "Content-Type", 1), "u");
    assert_null(sluice_header_find(headers, 5, "Content-Typ", 0));
    assert_null(sluice_header_find(headers, 5, "Content-Type2", 0));
    assert_null(sluice_header_find(NULL, 0, "X", 0));
}

struct example {
    const char *text;
    int is_valid;
};

static void assert_all(int (*is_valid)(const char *), const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_valid(examples[i].text) != examples[i].is_valid) {
            fail_msg("\"%s\" should be %s", examples[i].text == NULL ? "NULL" : examples[i].text,
                     examples[i].is_valid ? "valid" : "invalid");
        }
    }
}

#define ASSERT_ALL(is_valid, ...)                                                                  \
    do {                                                                                           \
        const struct example examples[] = {__VA_ARGS__};                                           \
        assert_all((is_valid), examples, sizeof examples / sizeof examples[0]);                    \
    } while (0)

static void judges_headers(void **state)
{
    (void)state;
    ASSERT_ALL(sluice_header_name_is_valid, {"X-A", 1}, {"Nats-Msg-Id", 1}, {"a_b.c!", 1}, {"", 0},
               {NULL, 0}, {"X A", 0}, {"X:", 0}, {"X\r", 0}, {"X\t", 0}, {"\xc3\xa4", 0});
    ASSERT_ALL(sluice_header_value_is_valid, {"", 1}, {"a b\t\xc3\xa4", 1}, {"a\rb", 0},
               {"a\nb", 0}, {"a\r\nX-Evil: 1", 0}, {NULL, 0});
    assert_true(sluice_header_is_carried("X-\xc3\xa4", "a \x01"));
    assert_false(sluice_header_is_carried("", "a"));
    assert_false(sluice_header_is_carried("X A", "a"));
    assert_false(sluice_header_is_carried("X\tA", "a"));
    assert_false(sluice_header_is_carried("X", "a\rb"));
    assert_true(sluice_header_text_is_valid("a \xc3\xa4", 4));
    assert_false(sluice_header_text_is_valid("a \xc3\xa4", 3));
    assert_false(sluice_header_text_is_valid("", 3));
    assert_false(sluice_header_text_is_valid("a\x1f", 3));
    assert_false(sluice_header_text_is_valid("a\x7f", 3));
    assert_false(sluice_header_text_is_valid("\xc3", 3));
    assert_false(sluice_header_text_is_valid(NULL, 3));
    char name[258];
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    assert_true(sluice_header_name_is_valid(name));
    name[256] = 'n';
    name[257] = '\0';
    assert_false(sluice_header_name_is_valid(name));
}

static void judges_subjects_and_patterns(void **state)
{
    (void)state;
    ASSERT_ALL(sluice_subject_is_valid, {"a", 1}, {"a.b.c", 1}, {"$JS.API.x", 1}, {"\xc3\xa4.b", 1},
               {"", 0}, {NULL, 0}, {".", 0}, {"a.", 0}, {".a", 0}, {"a..b", 0}, {"a b", 0},
               {"a\tb", 0}, {"a\r\nPUB x", 0}, {"a.*", 0}, {"a.>", 0}, {"a*", 0}, {"a>b", 0},
               {"a\x7f", 0});
    ASSERT_ALL(sluice_subject_pattern_is_valid, {"a", 1}, {"*", 1}, {">", 1}, {"a.*.b", 1},
               {"*.*", 1}, {"a.>", 1}, {"a.*.>", 1}, {"a.>.b", 0}, {"a*", 0}, {"*a", 0},
               {"a.>b", 0}, {">.", 0}, {"a.**", 0}, {"", 0}, {"a..b", 0}, {NULL, 0}, {"> ", 0});
    char subject[SLUICE_SUBJECT_MAX + 2];
    memset(subject, 's', sizeof subject);
    subject[SLUICE_SUBJECT_MAX] = '\0';
    assert_true(sluice_subject_is_valid(subject));
    subject[SLUICE_SUBJECT_MAX] = 's';
    subject[SLUICE_SUBJECT_MAX + 1] = '\0';
    assert_false(sluice_subject_is_valid(subject));
}

static void matches_subjects(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *subject;
        int is_match;
    } cases[] = {
        {"a.b", "a.b", 1},   {"a.b", "a.c", 0},   {"a.b", "a", 0},       {"a", "a.b", 0},
        {"a.*", "a.b", 1},   {"a.*", "a", 0},     {"a.*", "a.b.c", 0},   {"*.b", "a.b", 1},
        {"*", "a", 1},       {"*", "a.b", 0},     {"a.*.c", "a.b.c", 1}, {"a.*.c", "a.b.d", 0},
        {">", "a", 1},       {">", "a.b.c", 1},   {"a.>", "a", 0},       {"a.>", "a.b", 1},
        {"a.>", "a.b.c", 1}, {"a.*.>", "a.b", 0}, {"a.*.>", "a.b.c", 1}, {"ab", "a", 0},
        {"a.bc", "a.b", 0},  {"a.b", "a.bc", 0},  {"*.*", "a.b", 1},     {"*.*", "a", 0},
        {"a.>", "ab.c", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (sluice_subject_matches(cases[i].pattern, cases[i].subject) != cases[i].is_match) {
            fail_msg("%s and %s", cases[i].pattern, cases[i].subject);
        }
    }
}

static void judges_names_of_buckets(void **state)
{
    (void)state;
    ASSERT_ALL(sluice_bucket_name_is_valid, {"SLUICE_journal-1", 1}, {"a.b", 0}, {"a b", 0},
               {"a$", 0}, {"", 0}, {NULL, 0});
    char name[SLUICE_STREAM_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[SLUICE_STREAM_NAME_MAX] = '\0';
    assert_true(sluice_bucket_name_is_valid(name));
    name[SLUICE_STREAM_NAME_MAX] = 'n';
    name[SLUICE_STREAM_NAME_MAX + 1] = '\0';
    assert_false(sluice_bucket_name_is_valid(name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_exact_names_before_similar_ones),
        cmocka_unit_test(judges_headers),
        cmocka_unit_test(judges_subjects_and_patterns),
        cmocka_unit_test(matches_subjects),
        cmocka_unit_test(judges_names_of_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
