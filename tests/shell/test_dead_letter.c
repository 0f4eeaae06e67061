/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of a dead letter: what the message brought, harmless, and why it is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host_fixture.h"
#include "run/dead_letter.h"
#include <stdio.h>
#include <string.h>

static sluice_header *headers;
static uint32_t count;

static void make(const sluice_header *brought, uint32_t brought_count)
{
    fixture.delivery.headers = brought;
    fixture.delivery.headers_count = brought_count;
    headers = dead_letter_headers(&fixture.m, &fixture.m.arena, "c", "rejected", 3, &count);
    assert_non_null(headers);
}

static void expect(const sluice_header *expected, uint32_t expected_count)
{
    assert_int_equal(count, expected_count);
    for (uint32_t i = 0; i < count; i++) {
        assert_string_equal(headers[i].name, expected[i].name);
        assert_string_equal(headers[i].value, expected[i].value);
    }
}

static void a_letter_says_why_and_where_from(void **state)
{
    (void)state;
    static const sluice_header expected[] = {{"Nats-Msg-Id", "dlq:S:7:1700000000123456789:c"},
                                             {"Sluice-Dead-Reason", "rejected"},
                                             {"Sluice-Dead-Step", "llm"},
                                             {"Sluice-Dead-Error", "no answer"},
                                             {"Sluice-Dead-Failures", "3"},
                                             {"Sluice-Dead-Deliveries", "2"},
                                             {"Sluice-Origin-Subject", "a.b"},
                                             {"Sluice-Origin", "S:7:1700000000123456789"}};
    inflight_blame(&fixture.m, "llm", "no answer");
    make(NULL, 0);
    expect(expected, 8);
}

static void headers_of_the_message_come_first_and_do_no_harm(void **state)
{
    (void)state;
    static const sluice_header brought[] = {
        {"X-Correlation-ID", "id-1"},    {"nats-msg-id", "theirs"},
        {"Nats-Expected-Stream", "S"},   {"AUTHORIZATION", "Bearer canary"},
        {"sluice-dead-reason", "older"}, {"Sluice-Origin", "older"},
        {"Sluice-Origin-Subject", "o"},  {"Content-Type", "application/json"},
        {"Content-Type", "text/plain"}};
    static const sluice_header kept[] = {{"X-Correlation-ID", "id-1"},
                                         {"Sluice-Origin-nats-msg-id", "theirs"},
                                         {"Sluice-Origin-Nats-Expected-Stream", "S"},
                                         {"Content-Type", "application/json"},
                                         {"Content-Type", "text/plain"}};
    make(brought, sizeof brought / sizeof brought[0]);
    assert_int_equal(count, 5 + 8);
    count = 5;
    expect(kept, 5);
}

static const char *error_of_letter(void)
{
    const char *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        found = strcmp(headers[i].name, "Sluice-Dead-Error") == 0 ? headers[i].value : found;
    }
    return found;
}

static void an_error_is_one_line(void **state)
{
    (void)state;
    inflight_blame(&fixture.m, "handler", "a\r\nNats-Msg-Id: b\tc\x7f");
    make(NULL, 0);
    assert_string_equal(error_of_letter(), "a  Nats-Msg-Id: b c ");
}

static void a_letter_without_a_reason_is_whole(void **state)
{
    (void)state;
    make(NULL, 0);
    assert_int_equal(count, 8);
    assert_string_equal(error_of_letter(), "");
}

static void long_names_do_not_cut_the_origin(void **state)
{
    (void)state;
    char name[65];
    char expected[256];
    memset(name, 'n', 64);
    name[64] = '\0';
    fixture.delivery.stream = name;
    fixture.delivery.sequence = UINT64_MAX;
    fixture.delivery.stored_unix_ns = INT64_MAX;
    headers =
        dead_letter_headers(&fixture.m, &fixture.m.arena, name, "rejected", UINT32_MAX, &count);
    (void)snprintf(expected, sizeof expected, "dlq:%s:18446744073709551615:9223372036854775807:%s",
                   name, name);
    assert_string_equal(headers[0].value, expected);
    assert_string_equal(headers[4].value, "4294967295");
}

static void what_nats_refuses_is_dropped_and_counted(void **state)
{
    (void)state;
    static const sluice_header brought[] = {{"Bad Name", "x"},
                                            {"X\tTab", "x"},
                                            {"X-Return", "a\rb"},
                                            {"X-Line", "a\nb"},
                                            {"Kept", " a b"}};
    make(brought, sizeof brought / sizeof brought[0]);
    assert_int_equal(count, 1 + 9);
    assert_string_equal(headers[0].name, "Kept");
    assert_string_equal(headers[7].name, "Sluice-Dead-Headers-Dropped");
    assert_string_equal(headers[7].value, "4");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_fixture_setup, host_fixture_teardown)
    const struct CMUnitTest tests[] = {TEST(a_letter_says_why_and_where_from),
                                       TEST(headers_of_the_message_come_first_and_do_no_harm),
                                       TEST(an_error_is_one_line),
                                       TEST(a_letter_without_a_reason_is_whole),
                                       TEST(long_names_do_not_cut_the_origin),
                                       TEST(what_nats_refuses_is_dropped_and_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
