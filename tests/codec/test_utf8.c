/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/utf8.h"

#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Decode without any table, to compare with. */
static size_t slow_next(const uint8_t *p, size_t len)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (size == 0 || size > len || p[0] >= 0xf8) {
        return 0;
    }
    uint32_t code = size == 1 ? p[0] : p[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3fu);
    }
    return code < smallest[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : size;
}

static void agrees_with_the_definition_for_all_short_sequences(void **state)
{
    (void)state;
    static const uint8_t tails[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            for (size_t third = 0; third < sizeof tails; third++) {
                for (size_t fourth = 0; fourth < sizeof tails; fourth++) {
                    uint8_t bytes[] = {(uint8_t)first, (uint8_t)second, tails[third],
                                       tails[fourth]};
                    for (size_t len = 1; len <= 4; len++) {
                        assert_int_equal(sluice_utf8_next(bytes, len), slow_next(bytes, len));
                    }
                }
            }
        }
    }
}

static void finds_the_first_bad_byte_at_every_offset(void **state)
{
    (void)state;
    char text[41];
    for (size_t at = 0; at < 40; at++) {
        static const char bad[] = {'\0', '\x80', '\xff', '\xc3'};
        for (size_t kind = 0; kind < sizeof bad; kind++) {
            memset(text, 'a', sizeof text);
            text[at] = bad[kind];
            assert_int_equal(sluice_utf8_span(text, 40), at);
            assert_int_equal(sluice_utf8_valid_prefix(text, 40), kind == 0 ? 40 : at);
        }
        memset(text, 'a', sizeof text);
        memcpy(text + at, "\xc3\xa4", at < 39 ? 2 : 1);
        assert_int_equal(sluice_utf8_span(text, 40), at < 39 ? 40 : 39);
    }
    assert_int_equal(sluice_utf8_span("", 0), 0);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    static const uint32_t codes[] = {1,      0x7f,   0x80,   0x7ff,   0x800,
                                     0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char text[4];
        size_t len = sluice_utf8_put(codes[i], text);
        assert_int_equal(slow_next((const uint8_t *)text, len), len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_definition_for_all_short_sequences),
        cmocka_unit_test(finds_the_first_bad_byte_at_every_offset),
        cmocka_unit_test(writes_what_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
