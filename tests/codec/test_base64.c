/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base64.h"

#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void encodes_and_decodes_the_vectors_of_the_standard(void **state)
{
    (void)state;
    /* RFC 4648, section 10 */
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[16] = {0};
        char data[16] = {0};
        size_t len = 99;
        sluice_base64_encode(cases[i][0], strlen(cases[i][0]), text);
        assert_string_equal(text, cases[i][1]);
        assert_int_equal(SLUICE_BASE64_SIZE(strlen(cases[i][0])), strlen(text));
        assert_true(sluice_base64_decode(text, strlen(text), data, &len));
        assert_int_equal(len, strlen(cases[i][0]));
        assert_memory_equal(data, cases[i][0], len);
        assert_true(sluice_base64_decode(text, strcspn(text, "="), data, &len));
        assert_int_equal(len, strlen(cases[i][0]));
    }
}

static void accepts_both_alphabets_but_no_mix(void **state)
{
    (void)state;
    char data[16];
    size_t len;
    assert_true(sluice_base64_decode("+/+/", 4, data, &len));
    assert_memory_equal(data, "\xfb\xff\xbf", 3);
    assert_true(sluice_base64_decode("-_-_", 4, data, &len));
    assert_memory_equal(data, "\xfb\xff\xbf", 3);
    assert_false(sluice_base64_decode("+/-_", 4, data, &len));
}

static void refuses_what_is_not_base64(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",      "Zg=",  "Zg===", "=",     "====",    "Zg==Zg==", "Zm 9v",
        "Zm9v\n", "Zh==", "Zm9=",  "Zm9v=", "Z\xff==", "Zm9vY"};
    char data[16];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = 99;
        sluice_bytes text = fixture_exact(bad[i], strlen(bad[i]));
        if (sluice_base64_decode(text.data, text.len, data, &len)) {
            fail_msg("%s was taken for base64", bad[i]);
        }
        assert_int_equal(len, 99);
        fixture_exact_free(text);
    }
}

static void every_length_fits_its_memory(void **state)
{
    (void)state;
    for (size_t len = 0; len < 64; len++) {
        unsigned char *bytes = malloc(len + 1);
        char *text = malloc(SLUICE_BASE64_SIZE(len) + 1);
        unsigned char *again = malloc(SLUICE_BASE64_SIZE(len) / 4 * 3 + 2);
        size_t again_len = 0;
        assert_true(bytes != NULL && text != NULL && again != NULL);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (unsigned char)(i * 37 + len);
        }
        sluice_base64_encode(bytes, len, text);
        assert_true(sluice_base64_decode(text, SLUICE_BASE64_SIZE(len), again, &again_len));
        assert_int_equal(again_len, len);
        assert_memory_equal(again, bytes, len);
        free(bytes);
        free(text);
        free(again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes_the_vectors_of_the_standard),
        cmocka_unit_test(accepts_both_alphabets_but_no_mix),
        cmocka_unit_test(refuses_what_is_not_base64),
        cmocka_unit_test(every_length_fits_its_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
