/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one event is one line in text and in JSON, nothing from outside breaks out of its value,
 * and no secret shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/log.h"
#include "run/refusals.h"
#include "run/report.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CANARY "c4nary/pa$$word"

static char caught[32 * 1024];

/* What the call writes on stderr. */
#define CATCH(call)                                                                                \
    do {                                                                                           \
        FILE *to = tmpfile();                                                                      \
        int kept = dup(STDERR_FILENO);                                                             \
        assert_true(to != NULL && kept >= 0);                                                      \
        assert_int_equal(dup2(fileno(to), STDERR_FILENO), STDERR_FILENO);                          \
        call;                                                                                      \
        assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);                                \
        close(kept);                                                                               \
        rewind(to);                                                                                \
        caught[fread(caught, 1, sizeof caught - 1, to)] = '\0';                                    \
        fclose(to);                                                                                \
    } while (0)

static void expect_one_line(void)
{
    const char *end = strchr(caught, '\n');
    if (end == NULL || end[1] != '\0') {
        fail_msg("expected one line, got:\n%s", caught);
    }
    for (const char *c = caught; c < end; c++) {
        assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static cJSON *expect_json(void)
{
    expect_one_line();
    cJSON *json = cJSON_Parse(caught);
    if (json == NULL) {
        fail_msg("no JSON: %s", caught);
    }
    return json;
}

static const char *text_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    if (text == NULL) {
        fail_msg("no text \"%s\" in %s", name, caught);
    }
    return text;
}

static void text_line_has_level_event_and_fields(void **state)
{
    (void)state;
    sluice_log_open(SLUICE_LOG_INFO, 0, 1);
    CATCH(SLUICE_LOG(SLUICE_LOG_WARN, DONE, "thing.done", "all is well", SLUICE_F_NUMBER("seq", 7),
                     SLUICE_F_TEXT("subject", "a.b"), SLUICE_F_TEXT("why", "two words")));
    expect_one_line();
    assert_non_null(strstr(caught, " warn ✅ thing.done: all is well seq=7 subject=a.b "
                                   "why=\"two words\"\n"));
    assert_int_equal(caught[strlen("2026-01-01T00:00:00.000")], 'Z');
}

static void json_line_parses(void **state)
{
    (void)state;
    sluice_log_open(SLUICE_LOG_INFO, 1, 1);
    CATCH(SLUICE_LOG(SLUICE_LOG_ERROR, FAILED, "thing.failed", "a \"quoted\" \\ text",
                     SLUICE_F_NUMBER("seq", -7), SLUICE_F_TEXT("subject", NULL)));
    cJSON *json = expect_json();
    assert_string_equal(text_of(json, "level"), "error");
    assert_string_equal(text_of(json, "icon"), "❌");
    assert_string_equal(text_of(json, "event"), "thing.failed");
    assert_string_equal(text_of(json, "text"), "a \"quoted\" \\ text");
    assert_string_equal(text_of(json, "subject"), "");
    assert_int_equal((int)cJSON_GetNumberValue(cJSON_GetObjectItem(json, "seq")), -7);
    cJSON_Delete(json);
}

static void unknown_value_is_left_out(void **state)
{
    (void)state;
    for (int as_json = 0; as_json < 2; as_json++) {
        sluice_log_open(SLUICE_LOG_INFO, as_json, 1);
        CATCH(SLUICE_LOG(SLUICE_LOG_INFO, NONE, "e", "", SLUICE_F_KNOWN("message_id", NULL),
                         SLUICE_F_KNOWN("other", "there")));
        expect_one_line();
        assert_null(strstr(caught, "message_id"));
        assert_null(strstr(caught, as_json ? "\"\":" : " ="));
        assert_non_null(strstr(caught, "there"));
    }
}

static void icons_can_be_off(void **state)
{
    (void)state;
    for (int as_json = 0; as_json < 2; as_json++) {
        sluice_log_open(SLUICE_LOG_INFO, as_json, 0);
        CATCH(SLUICE_LOG(SLUICE_LOG_INFO, DONE, "e", "", SLUICE_F_NUMBER("n", 1)));
        expect_one_line();
        for (const char *c = caught; *c != '\0'; c++) {
            assert_true((unsigned char)*c < 0x80);
        }
    }
}

static void lower_levels_are_silent(void **state)
{
    (void)state;
    for (int32_t limit = SLUICE_LOG_DEBUG; limit <= SLUICE_LOG_ERROR; limit++) {
        for (int32_t level = SLUICE_LOG_DEBUG; level <= SLUICE_LOG_ERROR; level++) {
            sluice_log_open(limit, 0, 1);
            CATCH(SLUICE_LOG(level, NONE, "e", "", SLUICE_F_NUMBER("n", 1)));
            assert_int_equal(caught[0] != '\0', level >= limit);
        }
    }
    struct sluice_log_field none = SLUICE_F_END;
    sluice_log_open(SLUICE_LOG_DEBUG, 0, 1);
    CATCH(sluice_log_write(SLUICE_LOG_ERROR + 1, SLUICE_ICON_NONE, "e", "", &none));
    assert_string_equal(caught, "");
}

/* Terminal sequences, forged lines, broken UTF-8: all of it stays inside its value. */
static void foreign_bytes_are_escaped(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "a\nINFO forged", "\033[2Jgone",  "\x7f",         "\r\n\t\b", "\xff\xfe",
        "\xc3",           "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\xaf", "quote\"brace}"};
    for (int as_json = 0; as_json < 2; as_json++) {
        sluice_log_open(SLUICE_LOG_INFO, as_json, 1);
        for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
            CATCH(SLUICE_LOG(SLUICE_LOG_INFO, NONE, "e", hostile[i],
                             SLUICE_F_TEXT("value", hostile[i])));
            expect_one_line();
            if (as_json) {
                cJSON *json = expect_json();
                (void)text_of(json, "value");
                cJSON_Delete(json);
            }
        }
    }
}

/* They break a line, or show what follows in another order. */
static void hidden_controls_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {{"a\xc2\x85"
                  "b",
                  "a\\u0085b"},
                 {"a\xe2\x80\xa8", "a\\u2028"},
                 {"a\xe2\x80\xa9", "a\\u2029"},
                 {"a\xe2\x80\xaa", "a\\u202a"},
                 {"a\xe2\x80\xae", "a\\u202e"},
                 {"a\xe2\x81\xa6", "a\\u2066"},
                 {"a\xe2\x81\xa9", "a\\u2069"},
                 {"a\xe2\x80\xa7", "a\xe2\x80\xa7"},
                 {"a\xe2\x80\xaf", "a\xe2\x80\xaf"},
                 {"a\xc2\xa0", "a\xc2\xa0"}};
    for (int as_json = 0; as_json < 2; as_json++) {
        sluice_log_open(SLUICE_LOG_INFO, as_json, 0);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            CATCH(SLUICE_LOG(SLUICE_LOG_INFO, NONE, "e", "", SLUICE_F_TEXT("v", cases[i].text)));
            expect_one_line();
            assert_non_null(strstr(caught, cases[i].shown));
        }
    }
}

static void long_values_are_cut_and_the_line_ends(void **state)
{
    (void)state;
    static char value[100 * 1024], control[100 * 1024];
    memset(value, 'x', sizeof value - 1);
    memset(control, 1, sizeof control - 1); /* six bytes each when escaped */
    for (int as_json = 0; as_json < 2; as_json++) {
        sluice_log_open(SLUICE_LOG_INFO, as_json, 1);
        CATCH(SLUICE_LOG(SLUICE_LOG_INFO, NONE, "e", value, SLUICE_F_TEXT("a", value)));
        expect_one_line();
        assert_in_range(strlen(caught), 1024, 1400);
        CATCH(SLUICE_LOG(SLUICE_LOG_INFO, NONE, "e", control, SLUICE_F_TEXT("a", control),
                         SLUICE_F_TEXT("b", control), SLUICE_F_TEXT("c", control)));
        expect_one_line();
        assert_in_range(strlen(caught), 1, 8192);
        if (as_json) {
            cJSON_Delete(expect_json());
        }
    }
}

static void a_report_is_a_record_for_each_error(void **state)
{
    (void)state;
    static struct sluice_report report;
    sluice_log_open(SLUICE_LOG_ERROR, 1, 0);
    sluice_report_add(&report, &(struct sluice_place){.file = "w\"", .line = 2, .column = 3}, "a");
    CATCH(sluice_report_log(&report));
    cJSON *json = expect_json();
    assert_string_equal(text_of(json, "event"), "config.invalid");
    assert_string_equal(text_of(json, "text"), "w\":2:3: a");
    assert_string_equal(text_of(json, "file"), "w\"");
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "line")->valueint, 2);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "column")->valueint, 3);
    assert_null(cJSON_GetObjectItemCaseSensitive(json, "option"));
    cJSON_Delete(json);
    report = (struct sluice_report){.count = 3}; /* with errors that found no room */
    CATCH(sluice_report_log(&report));
    json = expect_json();
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "count")->valueint, 3);
    cJSON_Delete(json);
}

static void secrets_are_masked_wherever_they_stand(void **state)
{
    (void)state;
    sluice_log_redact(NULL);
    sluice_log_redact("abc"); /* too short to be one: it would mask half of every line */
    sluice_log_redact(CANARY);
    for (int as_json = 0; as_json < 2; as_json++) {
        sluice_log_open(SLUICE_LOG_INFO, as_json, 1);
        CATCH(SLUICE_LOG(SLUICE_LOG_INFO, NONE, "e", "nats://u:" CANARY "@host and " CANARY,
                         SLUICE_F_TEXT("a", CANARY), SLUICE_F_TEXT("b", "x" CANARY "y"),
                         SLUICE_F_TEXT("c", "abc")));
        expect_one_line();
        assert_null(strstr(caught, "c4nary"));
        assert_non_null(strstr(caught, "nats://u:***@host and ***"));
        assert_non_null(strstr(caught, "x***y"));
        assert_non_null(strstr(caught, "abc"));
    }
}

/* Last: there is no way back from it. */
static void more_secrets_than_can_be_kept_hide_all_text(void **state)
{
    (void)state;
    char secret[32];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(secret, sizeof secret, "secret-%03d", i);
        sluice_log_redact(secret);
    }
    sluice_log_open(SLUICE_LOG_INFO, 0, 1);
    CATCH(SLUICE_LOG(SLUICE_LOG_INFO, NONE, "e", "secret-199", SLUICE_F_TEXT("a", "secret-199")));
    expect_one_line();
    assert_null(strstr(caught, "secret-"));
}

static int are_told(struct sluice_refusals *r, const char *text, int64_t now_ms)
{
    CATCH(sluice_refusals_tell(r, "pull", text, now_ms));
    return strstr(caught, "nats.refused") != NULL && strstr(caught, text) != NULL;
}

static void a_refusal_is_told_once_a_minute(void **state)
{
    (void)state;
    struct sluice_refusals r = {0};
    char text[32];
    sluice_log_open(SLUICE_LOG_INFO, 0, 0);
    assert_true(are_told(&r, "denied", 5));
    assert_false(are_told(&r, "denied", 5 + SLUICE_REFUSALS_MINUTE_MS - 1));
    assert_true(are_told(&r, "denied", 5 + SLUICE_REFUSALS_MINUTE_MS));
    assert_non_null(strstr(caught, "untold=1"));
    assert_non_null(strstr(caught, "link=pull"));
    for (unsigned i = 1; i < SLUICE_REFUSALS_MAX; i++) {
        (void)snprintf(text, sizeof text, "subject %u", i);
        assert_true(are_told(&r, text, 70000));
    }
    assert_false(are_told(&r, "one more", 70000));
    assert_true(are_told(&r, "one more", 70000 + SLUICE_REFUSALS_MINUTE_MS));
}

static void a_refusal_is_current_for_a_while(void **state)
{
    (void)state;
    struct sluice_refusals r = {0};
    assert_null(sluice_refusals_current(&r, 0));
    CATCH(sluice_refusals_tell(&r, "pull", "denied", 5));
    assert_string_equal(sluice_refusals_current(&r, 5), "denied");
    CATCH(sluice_refusals_tell(&r, "pull", "denied", 1000)); /* not a line, and yet again */
    assert_string_equal(sluice_refusals_current(&r, 1000 + SLUICE_REFUSALS_CURRENT_MS), "denied");
    assert_null(sluice_refusals_current(&r, 1001 + SLUICE_REFUSALS_CURRENT_MS));
    sluice_refusals_forget(&r);
    assert_null(sluice_refusals_current(&r, 1000));
}

static void a_subject_without_stream_is_told_with_both(void **state)
{
    (void)state;
    struct sluice_refusals r = {0};
    sluice_log_open(SLUICE_LOG_INFO, 0, 0);
    CATCH(sluice_refusals_tell_unheard(&r, "app.ready", "READY", 5));
    assert_non_null(strstr(caught, "publish.no_stream"));
    assert_non_null(strstr(caught, "subject=app.ready stream=READY"));
    CATCH(sluice_refusals_tell_unheard(&r, "app.ready", "READY", 6));
    assert_string_equal(caught, "");
    CATCH(sluice_refusals_tell_unheard(&r, "other", NULL, 7));
    assert_non_null(strstr(caught, "subject=other untold=1"));
}

int main(void)
{
    (void)unsetenv("NO_COLOR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_is_told_once_a_minute),
        cmocka_unit_test(a_refusal_is_current_for_a_while),
        cmocka_unit_test(a_subject_without_stream_is_told_with_both),
        cmocka_unit_test(text_line_has_level_event_and_fields),
        cmocka_unit_test(json_line_parses),
        cmocka_unit_test(unknown_value_is_left_out),
        cmocka_unit_test(icons_can_be_off),
        cmocka_unit_test(lower_levels_are_silent),
        cmocka_unit_test(foreign_bytes_are_escaped),
        cmocka_unit_test(hidden_controls_are_escaped),
        cmocka_unit_test(long_values_are_cut_and_the_line_ends),
        cmocka_unit_test(a_report_is_a_record_for_each_error),
        cmocka_unit_test(secrets_are_masked_wherever_they_stand),
        cmocka_unit_test(more_secrets_than_can_be_kept_hide_all_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
