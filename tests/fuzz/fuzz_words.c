/* SPDX-License-Identifier: Apache-2.0 */
/* Lines: a pattern, a subject, a header's value, a number, base64. Small readers against plain
 * second versions of themselves. */
#include "codec/base64.h"
#include "codec/header.h"
#include "codec/number.h"
#include "fuzz.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Token by token, by recursion. */
static int matches(const char *pattern, const char *subject)
{
    size_t p = strcspn(pattern, "."), s = strcspn(subject, ".");
    if (strcmp(pattern, ">") == 0) {
        return 1;
    }
    if (!(p == 1 && pattern[0] == '*') && (p != s || memcmp(pattern, subject, p) != 0)) {
        return 0;
    }
    if (pattern[p] == '\0' || subject[s] == '\0') {
        return pattern[p] == subject[s];
    }
    return matches(pattern + p + 1, subject + s + 1);
}

static void check_subject(const char *pattern, const char *subject)
{
    int is_subject = sluice_subject_is_valid(subject);
    FUZZ_CHECK(!is_subject || sluice_subject_pattern_is_valid(subject));
    FUZZ_CHECK(!is_subject || strpbrk(subject, "*> \t\r\n") == NULL);
    if (is_subject && sluice_subject_pattern_is_valid(pattern)) {
        FUZZ_CHECK(sluice_subject_matches(pattern, subject) == matches(pattern, subject));
        FUZZ_CHECK(sluice_subject_matches(subject, subject));
    }
    FUZZ_CHECK(!sluice_bucket_name_is_valid(subject) || is_subject);
    if (sluice_header_name_is_valid(subject)) {
        FUZZ_CHECK(strpbrk(subject, ": \r\n") == NULL && subject[0] != '\0');
    }
}

static void check_number(const char *text)
{
    struct sluice_number number, again;
    char written[SLUICE_NUMBER_SIZE];
    if (!sluice_number_parse(text, strlen(text), &number)) {
        return;
    }
    FUZZ_CHECK(isfinite(number.real) && number.real == strtod(text, NULL));
    FUZZ_CHECK(sluice_number_span(text, strlen(text)) == strlen(text));
    size_t len = sluice_number_write_double(number.real, written);
    FUZZ_CHECK(len == strlen(written) && len < sizeof written);
    FUZZ_CHECK(sluice_number_parse(written, len, &again) && again.real == number.real);
    int64_t whole;
    if (sluice_number_to_int64(&number, &whole)) {
        FUZZ_CHECK(number.is_whole && (double)whole == number.real);
        len = sluice_number_write_int64(whole, written);
        FUZZ_CHECK(sluice_number_parse(written, len, &again) && again.is_whole &&
                   again.magnitude == number.magnitude);
    }
}

static void check_base64(const char *text)
{
    size_t len = strlen(text), data_len = 0;
    unsigned char *data = malloc(len / 4 * 3 + 2);
    char *again = malloc(len + 4);
    FUZZ_CHECK(data != NULL && again != NULL);
    if (sluice_base64_decode(text, len, data, &data_len)) {
        size_t size = SLUICE_BASE64_SIZE(data_len), i = 0;
        FUZZ_CHECK(size <= len + 3);
        sluice_base64_encode(data, data_len, again);
        for (; i < len; i++) { /* padding may be left out, and there are two alphabets */
            char c = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
            FUZZ_CHECK(again[i] == c);
        }
        for (; i < size; i++) {
            FUZZ_CHECK(again[i] == '=');
        }
    }
    free(data);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input_of(data, size);
    const char *lines[5];
    for (int i = 0; i < 5; i++) {
        lines[i] = fuzz_take_line(&in);
        lines[i] = lines[i] == NULL ? "" : lines[i];
    }
    check_subject(lines[0], lines[1]);
    check_subject(lines[1], lines[0]);
    FUZZ_CHECK(!sluice_header_value_is_valid(lines[2]) || strpbrk(lines[2], "\r\n") == NULL);
    check_number(lines[3]);
    check_base64(lines[4]);
    fuzz_input_fini(&in);
    return 0;
}
