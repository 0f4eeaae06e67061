/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_puback.h"

#include "nats_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From a block of exactly that size, so that a read past its end shows under the sanitizers. */
static int parse(const char *text, size_t len, struct sluice_puback *out)
{
    char *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, text, len);
    int is_read = sluice_puback_parse((sluice_bytes){copy, len}, out);
    free(copy);
    return is_read;
}

static void reads_an_ack(void **state)
{
    (void)state;
    struct sluice_puback ack;
    sluice_rc rc;
    const char *text = " {\"stream\":\"S\", \"domain\":\"hub\",\"seq\":18446744073709551615 } \n";
    assert_true(parse(text, strlen(text), &ack));
    assert_string_equal(ack.stream, "S");
    assert_true(ack.sequence == UINT64_MAX);
    assert_false(ack.duplicate);
    assert_int_equal(sluice_puback_fate(&ack, &rc), SLUICE_FATE_OK);
    assert_int_equal(rc, SLUICE_OK);
}

static void a_duplicate_counts_only_with_a_sequence(void **state)
{
    (void)state;
    struct sluice_puback ack;
    sluice_rc rc;
    const char *stored = "{\"stream\":\"S\",\"seq\":7,\"duplicate\":true}";
    const char *staged = "{\"stream\":\"S\",\"seq\":0,\"duplicate\":true}";
    assert_true(parse(stored, strlen(stored), &ack));
    assert_true(ack.duplicate);
    assert_int_equal(sluice_puback_fate(&ack, &rc), SLUICE_FATE_OK);
    assert_false(sluice_puback_is_not_yet(&ack));
    assert_true(parse(staged, strlen(staged), &ack));
    assert_true(sluice_puback_is_not_yet(&ack));
    assert_int_equal(sluice_puback_fate(&ack, &rc), SLUICE_FATE_UNKNOWN);
    assert_int_equal(rc, SLUICE_ERR_PUBLISH);
    const char *in_process = "{\"error\":{\"code\":409,\"err_code\":10158,\"description\":\"x\"},"
                             "\"stream\":\"S\",\"seq\":0}";
    assert_true(parse(in_process, strlen(in_process), &ack));
    assert_true(sluice_puback_is_not_yet(&ack));
    assert_int_equal(sluice_puback_fate(&ack, &rc), SLUICE_FATE_UNKNOWN);
}

static void reads_an_error_with_its_numbers(void **state)
{
    (void)state;
    struct sluice_puback ack;
    sluice_rc rc;
    const char *text =
        "{\"type\":\"io.nats\",\"error\":{\"code\":503,\"err_code\":10077,\"description\":"
        "\"maximum "
        "\\\"messages\\\"\\u0020exceeded\",\"new\":[1,{\"a\":null}]},\"stream\":\"S\",\"seq\":0}";
    assert_true(parse(text, strlen(text), &ack));
    assert_true(ack.is_error);
    assert_int_equal(ack.code, 503);
    assert_int_equal(ack.error_code, SLUICE_JS_ERR_STORE_FAILED);
    assert_string_equal(ack.description, "maximum \"messages\"?exceeded");
    assert_int_equal(sluice_puback_fate(&ack, &rc), SLUICE_FATE_UNAVAILABLE);
    const char *wrong = "{\"error\":{\"code\":400,\"err_code\":10060,\"description\":\"x\"}}";
    assert_true(parse(wrong, strlen(wrong), &ack));
    assert_false(sluice_puback_is_not_yet(&ack));
    assert_int_equal(sluice_puback_fate(&ack, &rc), SLUICE_FATE_RETRY);
    const char *large =
        "{\"error\":{\"code\":400,\"err_code\":10054,\"description\":\"message size\"}}";
    assert_true(parse(large, strlen(large), &ack));
    assert_int_equal(sluice_puback_fate(&ack, &rc), SLUICE_FATE_PERMANENT);
    assert_int_equal(rc, SLUICE_ERR_TOO_LARGE);
}

static void refuses_what_is_no_ack(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"stream\":\"\"}",
        "{\"seq\":1}",
        "{\"stream\":\"S\",\"seq\":-1}",
        "{\"stream\":\"S\",\"seq\":1.5}",
        "{\"stream\":\"S\",\"seq\":1e3}",
        "{\"stream\":\"S\",\"seq\":01}",
        "{\"stream\":\"S\",\"seq\":18446744073709551616}",
        "{\"stream\":\"S\",\"seq\":\"1\"}",
        "{\"stream\":\"S\",\"seq\":}",
        "{\"stream\":5,\"seq\":1}",
        "{\"stream\":\"S\",\"seq\":1,}",
        "{\"stream\":\"S\",\"seq\":1}x",
        "{\"stream\":\"S\",\"seq\":1}{}",
        "{\"stream\":\"S\" \"seq\":1}",
        "{\"stream\":\"S\",\"duplicate\":1,\"seq\":1}",
        "{\"stream\":\"S\n\",\"seq\":1}",
        "{\"stream\":\"S\\x\",\"seq\":1}",
        "{\"stream\":\"S\\u12g4\",\"seq\":1}",
        "{\"stream\":\"S\\",
        "{\"stream\":\"S",
        "{\"error\":null}",
        "{\"error\":{\"code\":4294967296}}",
        "{\"x\":[[[[[[[[[[[1]]]]]]]]]]],\"stream\":\"S\",\"seq\":1}",
        "{\"x\":[1,],\"stream\":\"S\",\"seq\":1}",
        "{\"x\":{\"a\" 1},\"stream\":\"S\",\"seq\":1}",
        "{\"x\":tru,\"stream\":\"S\",\"seq\":1}",
        "+OK",
    };
    struct sluice_puback ack, zero;
    memset(&zero, 0, sizeof zero);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (parse(texts[i], strlen(texts[i]), &ack)) {
            fail_msg("accepted: %s", texts[i]);
        }
        assert_memory_equal(&ack, &zero, sizeof ack);
    }
    assert_false(sluice_puback_parse((sluice_bytes){NULL, 0}, &ack));
}

static void is_whole_or_nothing_at_every_cut(void **state)
{
    (void)state;
    struct sluice_puback ack;
    const char *text =
        "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"a\\u0041\\n\"},"
        "\"x\":[1,\"b\",{\"c\":-1.5e3}],\"stream\":\"S\",\"seq\":12,\"duplicate\":false}";
    for (size_t len = 0; len < strlen(text); len++) {
        assert_false(parse(text, len, &ack));
    }
    assert_true(parse(text, strlen(text), &ack));
}

static void survives_every_changed_byte(void **state)
{
    (void)state;
    struct sluice_puback ack;
    const char *text =
        "{\"stream\":\"S\",\"seq\":12,\"duplicate\":true,\"x\":[{\"y\":\"\\u00e4\"}]}";
    char copy[128];
    for (size_t i = 0; i < strlen(text); i++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, text, strlen(text));
            copy[i] = (char)byte;
            (void)parse(copy, strlen(text), &ack);
        }
    }
}

static void cuts_long_texts_and_refuses_long_answers(void **state)
{
    (void)state;
    struct sluice_puback ack;
    size_t size = SLUICE_PUBACK_SIZE_MAX + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, ' ', size);
    memcpy(text, "{\"seq\":1,\"stream\":\"", 19);
    memset(text + 19, 'a', 1000);
    memcpy(text + 1019, "\"}", 2);
    assert_true(parse(text, size - 1, &ack));
    assert_int_equal(strlen(ack.stream), SLUICE_PUBACK_TEXT_SIZE - 1);
    assert_false(parse(text, size, &ack));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_an_ack),
        cmocka_unit_test(a_duplicate_counts_only_with_a_sequence),
        cmocka_unit_test(reads_an_error_with_its_numbers),
        cmocka_unit_test(refuses_what_is_no_ack),
        cmocka_unit_test(is_whole_or_nothing_at_every_cut),
        cmocka_unit_test(survives_every_changed_byte),
        cmocka_unit_test(cuts_long_texts_and_refuses_long_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
