/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_journal_codec.h"

#include "nats_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct sluice_journal_key key = {"S", 42, 1700000000123456789};

/* A copy of exactly its size, so that the sanitizers see a read past it. */
static sluice_bytes exact(const char *text, size_t len)
{
    char *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, text, len);
    return (sluice_bytes){copy, len};
}

static void names_lie_below_the_message(void **state)
{
    (void)state;
    char prefix[SLUICE_JOURNAL_SUBJECT_SIZE], name[96], long_name[800];
    assert_true(sluice_journal_prefix(prefix, "B", "worker", &key));
    assert_string_equal(prefix, "$KV.B.worker.S.42.1700000000123456789.");
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_false(
        sluice_journal_prefix(prefix, "B", "w", &(struct sluice_journal_key){long_name, 1, 1}));
    assert_false(
        sluice_journal_prefix(prefix, "B", "w", &(struct sluice_journal_key){"a\"b", 1, 1}));
    const struct sluice_journaled id = {{0x0123456789abcdefu, 0xfedcba9876543210u}, 7, 3};
    struct sluice_journaled again;
    sluice_journal_answer_name(name, &id);
    assert_string_equal(name, "a.3.0123456789abcdeffedcba9876543210.7");
    assert_true(sluice_journal_answer_id(name, &again));
    assert_true(again.hash.high == id.hash.high && again.hash.low == id.hash.low);
    assert_int_equal(again.occurrence, 7);
    assert_int_equal(again.epoch, 3);
    static const char *const others[] = {"",
                                         "s",
                                         "a",
                                         "a.3.0123456789abcdeffedcba9876543210",
                                         "a.3.0123456789abcdeffedcba9876543210.7.8",
                                         "a.03.0123456789abcdeffedcba9876543210.7",
                                         "a.-3.0123456789abcdeffedcba9876543210.7",
                                         "a.3.0123456789ABCDEFfedcba9876543210.7",
                                         "a.3.123.7",
                                         "a.99999999999.0123456789abcdeffedcba9876543210.7"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(sluice_journal_answer_id(others[i], &again));
    }
}

static void a_record_comes_back_as_it_was(void **state)
{
    (void)state;
    struct sluice_journal_record record = {
        .numbers = {.failures = UINT32_MAX, .epoch = 5, .stale_marks = UINT16_MAX, .is_marked = 1},
        .failure = "step",
        .step = "llm 2",
        .text = "a \"quoted\" \\ reason\nwith \xc3\xa4 and \x01",
        .replay = "S:18446744073709551615:9223372036854775807",
    };
    struct sluice_journal_record_text out;
    record.numbers.outputs_count = SLUICE_EFFECTS_MAX;
    for (uint32_t i = 0; i < SLUICE_EFFECTS_MAX; i++) {
        record.numbers.outputs[i] = UINT64_MAX - i;
    }
    char *text = sluice_journal_record_encode(&record);
    assert_non_null(text);
    assert_int_equal(sluice_journal_record_decode((sluice_bytes){text, strlen(text)}, &out),
                     SLUICE_OK);
    assert_memory_equal(&out.numbers, &record.numbers, sizeof out.numbers);
    assert_string_equal(out.failure, record.failure);
    assert_string_equal(out.step, record.step);
    assert_string_equal(out.text, record.text);
    assert_string_equal(out.replay, record.replay);
    for (size_t len = 0; len < strlen(text); len++) {
        sluice_bytes part = exact(text, len);
        assert_int_equal(sluice_journal_record_decode(part, &out), SLUICE_ERR_DECODE);
        free((void *)part.data);
    }
    free(text);
    const struct sluice_journal_record empty = {.text = NULL};
    text = sluice_journal_record_encode(&empty);
    assert_int_equal(sluice_journal_record_decode((sluice_bytes){text, strlen(text)}, &out),
                     SLUICE_OK);
    assert_string_equal(out.text, "");
    assert_string_equal(out.replay, "");
    assert_int_equal(out.numbers.outputs_count, 0);
    free(text);
}

static void a_long_reason_is_cut_at_a_character(void **state)
{
    (void)state;
    char reason[2000] = "";
    struct sluice_journal_record_text out;
    for (size_t i = 0; i < 600; i++) {
        memcpy(reason + 1 + 2 * i, "\xc3\xa4", 3);
    }
    reason[0] = 'x';
    const struct sluice_journal_record record = {.failure = "f", .step = "s", .text = reason};
    char *text = sluice_journal_record_encode(&record);
    assert_int_equal(sluice_journal_record_decode((sluice_bytes){text, strlen(text)}, &out),
                     SLUICE_OK);
    assert_int_equal(strlen(out.text), 511);
    assert_int_equal((unsigned char)out.text[510], 0xa4);
    free(text);
}

static void foreign_records_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "null",
        "{\"v\":2,\"failures\":0,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":[]}",
        "{\"v\":1,\"failures\":-1,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":[]}",
        "{\"v\":1,\"failures\":1e300,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":[]}",
        "{\"v\":1,\"failures\":0.5,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":[]}",
        "{\"v\":1,\"failures\":0,\"epoch\":0,\"stale_marks\":65536,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":[]}",
        "{\"v\":1,\"failures\":0,\"epoch\":0,\"stale_marks\":0,\"is_marked\":0,\"failure\":\"\","
        "\"step\":\"\",\"text\":\"\",\"outputs\":[]}",
        "{\"v\":1,\"failures\":0,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":1,"
        "\"step\":\"\",\"text\":\"\",\"outputs\":[]}",
        "{\"v\":1,\"failures\":0,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":[\"1\"]}",
        "{\"v\":1,\"failures\":0,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":{}}",
        "{\"v\":1,\"failures\":0,\"epoch\":0,\"stale_marks\":0,\"is_marked\":false,\"failure\":"
        "\"\",\"step\":\"\",\"text\":\"\",\"outputs\":[],\"replay\":1}",
    };
    struct sluice_journal_record_text out;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (sluice_journal_record_decode((sluice_bytes){texts[i], strlen(texts[i])}, &out) ==
            SLUICE_OK) {
            fail_msg("accepted: %s", texts[i]);
        }
    }
}

static void an_inline_answer_comes_back(void **state)
{
    (void)state;
    struct sluice_journal_head head;
    static const char answer[] = "bytes \0 with everything\n\xff";
    size_t len;
    for (size_t size = 0; size < sizeof answer; size++) {
        char *text = sluice_journal_inline_encode((sluice_bytes){answer, size}, &len);
        assert_true(sluice_journal_head_decode((sluice_bytes){text, len}, &head));
        assert_false(head.is_chunked);
        assert_int_equal(head.bytes.len, size);
        assert_memory_equal(head.bytes.data, answer, size);
        free(text);
    }
}

static void a_list_of_chunks_comes_back(void **state)
{
    (void)state;
    struct sluice_journal_chunk names[3];
    struct sluice_journal_head head;
    size_t len;
    for (int i = 0; i < 3; i++) {
        sluice_journal_sha((sluice_bytes){"abc", (size_t)i + 1}, names[i].sha);
    }
    assert_string_equal(names[2].sha,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char *text = sluice_journal_chunked_encode(names, 3, 1000, &len);
    sluice_bytes whole = exact(text, len);
    assert_true(sluice_journal_head_decode(whole, &head));
    assert_true(head.is_chunked);
    assert_int_equal(head.chunks, 3);
    assert_int_equal(head.len, 1000);
    assert_memory_equal(head.names + 2 * SLUICE_JOURNAL_SHA_SIZE, names[2].sha, 64);
    free((void *)whole.data);
    for (size_t cut = 0; cut < len; cut++) {
        sluice_bytes part = exact(text, cut);
        /* A list may end after any name; the sum of lengths then does not match. */
        int at_name = cut > 11 && (cut - 11) % 65 == 0;
        assert_int_equal(sluice_journal_head_decode(part, &head), at_name);
        free((void *)part.data);
    }
    text[11 + 5] = 'G';
    assert_false(sluice_journal_head_decode((sluice_bytes){text, len}, &head));
    free(text);
    static const char *const others[] = {"SA1 c 99999999999999999999\n", "SA1 c -1\n", "SA1 c \n",
                                         "SA2 i\n", "S"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(
            sluice_journal_head_decode((sluice_bytes){others[i], strlen(others[i])}, &head));
    }
}

static enum sluice_journal_found decode(const char *text, struct sluice_journal_entry *entry)
{
    struct sluice_err err = {0};
    enum sluice_journal_found found =
        sluice_journal_entry_decode((sluice_bytes){text, strlen(text)}, entry, &err);
    assert_int_equal(found == SLUICE_JOURNAL_ERROR,
                     err.rc != SLUICE_OK && found != SLUICE_JOURNAL_ABSENT);
    return found;
}

static void the_servers_answers_are_read(void **state)
{
    (void)state;
    struct sluice_journal_entry e;
    assert_int_equal(
        decode("{\"message\":{\"subject\":\"a.b\",\"seq\":1,\"data\":\"aGVsbG8=\"}}", &e),
        SLUICE_JOURNAL_FOUND);
    assert_string_equal(e.subject, "a.b");
    assert_int_equal(e.body_len, 5);
    assert_memory_equal(e.body, "hello", 5);
    assert_false(e.is_deleted);
    sluice_journal_entry_free(&e);
    assert_int_equal(decode("{\"message\":{\"subject\":\"a.b\",\"seq\":1}}", &e),
                     SLUICE_JOURNAL_FOUND);
    assert_int_equal(e.body_len, 0);
    sluice_journal_entry_free(&e);
    /* NATS/1.0\r\nKV-Operation: DEL\r\n\r\n */
    assert_int_equal(decode("{\"message\":{\"subject\":\"a\",\"hdrs\":"
                            "\"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==\"}}",
                            &e),
                     SLUICE_JOURNAL_FOUND);
    assert_true(e.is_deleted);
    sluice_journal_entry_free(&e);
    assert_int_equal(
        decode("{\"error\":{\"code\":404,\"err_code\":10037,\"description\":\"no message found\"}}",
               &e),
        SLUICE_JOURNAL_ABSENT);
    static const char *const errors[] = {
        "{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}",
        "{\"error\":5}",
        "{}",
        "[]",
        "",
        "{\"message\":{\"subject\":1,\"data\":\"\"}}",
        "{\"message\":{\"subject\":\"a\",\"data\":\"abcde\"}}",
        "{\"message\":{\"subject\":\"a\",\"data\":\"!!!!\"}}",
        "{\"message\":{\"subject\":\"a\",\"data\":\"====\"}}",
        "{\"message\":{\"subject\":\"a\",\"data\":5}}",
        "{\"message\":{\"subject\":\"a\",\"hdrs\":5}}",
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (decode(errors[i], &e) != SLUICE_JOURNAL_ERROR) {
            fail_msg("accepted: %s", errors[i]);
        }
        assert_null(e.subject);
        assert_null(e.body);
    }
}

static void count_subject(void *ctx, const char *subject)
{
    *(int *)ctx += (int)strlen(subject);
}

static void subjects_are_listed(void **state)
{
    (void)state;
    struct sluice_err err = {0};
    int len = 0;
    const char *text = "{\"config\":{},\"state\":{\"subjects\":{\"a\":1,\"bc\":2}}}";
    assert_int_equal(sluice_journal_subjects_decode((sluice_bytes){text, strlen(text)},
                                                    count_subject, &len, &err),
                     SLUICE_OK);
    assert_int_equal(len, 3);
    text = "{\"state\":{}}";
    assert_int_equal(sluice_journal_subjects_decode((sluice_bytes){text, strlen(text)},
                                                    count_subject, &len, &err),
                     SLUICE_OK);
    text = "{\"error\":{\"code\":404,\"description\":\"stream not found\"}}";
    assert_int_equal(sluice_journal_subjects_decode((sluice_bytes){text, strlen(text)},
                                                    count_subject, &len, &err),
                     SLUICE_ERR_UNAVAILABLE);
    assert_string_equal(err.text, "journal: stream not found");
    assert_int_equal(
        sluice_journal_subjects_decode((sluice_bytes){"x", 1}, count_subject, &len, &err),
        SLUICE_ERR_DECODE);
    assert_int_equal(len, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lie_below_the_message),
        cmocka_unit_test(a_record_comes_back_as_it_was),
        cmocka_unit_test(a_long_reason_is_cut_at_a_character),
        cmocka_unit_test(foreign_records_are_refused),
        cmocka_unit_test(an_inline_answer_comes_back),
        cmocka_unit_test(a_list_of_chunks_comes_back),
        cmocka_unit_test(the_servers_answers_are_read),
        cmocka_unit_test(subjects_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
