/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/hash.h"

#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void computes_the_published_digests(void **state)
{
    (void)state;
    /* FIPS 180-2, appendix B */
    static const struct {
        const char *text;
        const char *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb924"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sluice_hasher h;
        struct sluice_hash hash;
        char hex[SLUICE_HASH_TEXT_SIZE];
        sluice_hash_begin(&h);
        sluice_hash_raw(&h, text_bytes(cases[i].text));
        sluice_hash_end(&h, &hash);
        sluice_hash_hex(&hash, hex);
        assert_string_equal(hex, cases[i].hex);
    }
    struct sluice_hasher h;
    uint8_t digest[SLUICE_SHA256_SIZE];
    sluice_hash_begin(&h);
    for (int i = 0; i < 1000000; i += 1000) {
        static const char thousand[1000] = {0};
        sluice_hash_raw(&h, (sluice_bytes){.data = thousand, .len = sizeof thousand});
    }
    sluice_hash_end_sha256(&h, digest);
    assert_memory_equal(digest, "\xd2\x97\x51\xf2\x64\x9b\x32\xff\x57\x2b\x5e\x0a\x9f\x54\x1e\xa6",
                        16);
}

static struct sluice_hash of_texts(const char *first, const char *second)
{
    struct sluice_hasher h;
    struct sluice_hash hash;
    sluice_hash_begin(&h);
    sluice_hash_text(&h, first);
    sluice_hash_text(&h, second);
    sluice_hash_end(&h, &hash);
    return hash;
}

static void no_two_lists_of_fields_are_the_same_input(void **state)
{
    (void)state;
    static const char *const lists[][2] = {{"ab", "c"}, {"a", "bc"}, {"abc", ""},
                                           {"", "abc"}, {"", NULL},  {NULL, ""}};
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 6; j++) {
            struct sluice_hash a = of_texts(lists[i][0], lists[i][1]);
            struct sluice_hash b = of_texts(lists[j][0], lists[j][1]);
            assert_int_equal(a.high == b.high && a.low == b.low, i == j);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computes_the_published_digests),
        cmocka_unit_test(no_two_lists_of_fields_are_the_same_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
