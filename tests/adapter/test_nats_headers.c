/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_headers.h"

#include "nats_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(void *ctx, const char *name, size_t name_len, const char *value,
                   size_t value_len)
{
    char *out = ctx;
    size_t used = strlen(out);
    (void)snprintf(out + used, 512 - used, "[%.*s=%.*s]", (int)name_len, name, (int)value_len,
                   value);
}

/* Parsed from a block of exactly its size, so that the sanitizers see a read past it. */
static const char *parse(const char *block, size_t len)
{
    static char out[512];
    char *copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy, block, len);
    char *exact = realloc(copy, len == 0 ? 1 : len);
    assert_non_null(exact);
    out[0] = '\0';
    sluice_nats_headers_parse(exact, len, append, out);
    free(exact);
    return out;
}

static void reads_headers_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *block, *parsed;
    } rows[] = {
        {"NATS/1.0\r\nA: 1\r\nB: 2\r\nA: 3\r\n\r\n", "[A=1][B=2][A=3]"},
        {"NATS/1.0\r\nA:\r\nNats-Msg-Id: 7\r\n\r\n", "[A=][Nats-Msg-Id=7]"},
        {"NATS/1.0\r\nA: \r\nB:2\r\n\r\n", "[A=][B=2]"},
        {"NATS/1.0\r\nA: \t a b \t\r\n\r\n", "[A=a b]"},
        {"NATS/1.0\r\nA: b:c: d\r\n\r\n", "[A=b:c: d]"},
        {"NATS/1.0\r\nno colon\r\n: no name\r\nB: 2\r\n\r\n", "[B=2]"},
        {"NATS/1.0\nA: 1\nB: 2\n\n", "[A=1][B=2]"},
        {"NATS/1.0\r\nA: 1", "[A=1]"},
        {"NATS/1.0\r\nA: 1\r\n\r\nB: 2\r\n", "[A=1]"},
        {"NATS/1.0 503\r\n\r\n", ""},
        {"NATS/1.0\r\n\r\n", ""},
        {"NATS/1.0", ""},
        {"HTTP/1.1\r\nA: 1\r\n\r\n", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(parse(rows[i].block, strlen(rows[i].block)), rows[i].parsed);
    }
    assert_string_equal(parse("NATS/1.0\r\nA: x\0y\r\nB: 2\r\n\r\n", 27), "[B=2]");
}

static void reads_the_status_of_the_first_line(void **state)
{
    (void)state;
    static const struct {
        const char *block;
        int code;
        const char *text;
    } rows[] = {
        {"NATS/1.0 503\r\n\r\n", 503, ""},
        {"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n", 100, "Idle Heartbeat"},
        {"NATS/1.0  409   Consumer Deleted  \r\n\r\n", 409, "Consumer Deleted"},
        {"NATS/1.0\r\nStatus: 503\r\n\r\n", 0, ""},
        {"NATS/1.0 9999999999999\r\n", 999999, "9999999"},
        {"NATS/1.0 abc\r\n", 0, "abc"},
        {"NATS/1", 0, ""},
        {"", 0, ""},
    };
    char text[24];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(
            sluice_nats_headers_status(rows[i].block, strlen(rows[i].block), text, sizeof text),
            rows[i].code);
        assert_string_equal(text, rows[i].text);
    }
    assert_int_equal(sluice_nats_headers_status("NATS/1.0 409 Consumer Deleted\r\n", 31, text, 5),
                     409);
    assert_string_equal(text, "Cons");
}

static void survives_every_cut_and_every_changed_byte(void **state)
{
    (void)state;
    static const char block[] = "NATS/1.0 100 x\r\nA: 1\r\nB:\r\nC: 3\r\n\r\n";
    char copy[sizeof block], text[8];
    for (size_t len = 0; len < sizeof block; len++) {
        (void)parse(block, len);
    }
    for (size_t i = 0; i < sizeof block - 1; i++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, block, sizeof block);
            copy[i] = (char)byte;
            (void)parse(copy, sizeof block - 1);
            (void)sluice_nats_headers_status(copy, sizeof block - 1, text, sizeof text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_headers_in_order),
        cmocka_unit_test(reads_the_status_of_the_first_line),
        cmocka_unit_test(survives_every_cut_and_every_changed_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
