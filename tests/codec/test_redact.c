/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef void redact_fn(const char *value, char *out, size_t size);

/* Each secret holds "canary", or is a piece of it. */
static void expect(redact_fn *redact, const char *value, const char *shown)
{
    char out[160];
    redact(value, out, sizeof out);
    assert_string_equal(out, shown);
    for (size_t size = 1; size <= strlen(shown); size++) { /* cut, never over its end */
        char cut[160];
        memset(cut, '!', sizeof cut);
        redact(value, cut, size);
        assert_int_equal(strlen(cut), size - 1);
        assert_memory_equal(cut, shown, size - 1);
        assert_int_equal(cut[size], '!');
    }
}

static void a_url_is_shown_without_its_secrets(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"http://a/b", "http://a/b"},
        {"@", "@"},
        {"http://@", "http://@"},
        {"http://u:canary@a", "http://u:***@a"},
        {"http://canary@a", "http://***@a"},
        {"http://u:can/ary@a", "http://u:***@a"},
        {"http://u:can?ary@a", "http://u:***@a"},
        {"http://u:can#ary@a", "http://u:***@a"},
        {"http://u:can:ary@a", "http://u:***@a"},
        {"http://u:can@ary@a", "http://u:***@***@a"},
        {"http://u:can@a:ry@a", "http://u:***@***@a"},
        {"http://u:can@a,ry@a", "http://u:***@***@a"},
        {"http://u:can://ary@a", "http://u:***@a"},
        {"http://u:c@an://ary@a", "http://u:***@***@a"},
        {"http://u:can ary@a", "http://u:***@a"},
        {"http://u:c/a?n#a@r:y@a/v1", "http://u:***@***@a/v1"},
        {"http://a:80/v1?key=canary", "http://a:80/v1?***"},
        {"http://a/v1#canary", "http://a/v1#***"},
        {"a/v1?key=canary&b=c?d", "a/v1?***"},
        {"http://u:can?ary@a/?b=canary", "http://u:***@a/?***"},
        {"http://a/?b=canary:x@y", "http://a/?***"},
        {"http://a\033[31m", "http://a?[31m"},
        /* lists of NATS servers */
        {"nats://a:4222,nats://u:canary@b", "nats://a:4222,nats://u:***@b"},
        {"nats://u:canary@a,nats://canary@b", "nats://u:***@a,nats://***@b"},
        {"nats://u:can/ary@a:1,tls://u:ca?na@ry@b:2", "nats://u:***@a:1,tls://u:***@***@b:2"},
        {"NATS://u:canary@a, TLS://u:canary@b", "NATS://u:***@a, TLS://u:***@b"},
        {"u:canary@a,canary@b", "u:***@a,***@b"},
        {"nats://u:canary@a,b,v:canary@c", "nats://u:***@a,b,v:***@c"},
        {"nats://u:can,ary@a", "nats://u:***@a"},
        {"nats://a?b=canary,nats://c?d=canary", "nats://a?***"},
        /* MongoDB: commas between hosts */
        {"mongodb://u:canary@a:1,b:2/db", "mongodb://u:***@a:1,b:2/db"},
        {"mongodb://u:can/a@ry@a,b/?authSource=x", "mongodb://u:***@***@a,b/?***"},
        {"mongodb+srv://u:can,ary@a/", "mongodb+srv://u:***@a/"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(sluice_redact_url, rows[i][0], rows[i][1]);
    }
}

static void a_text_is_shown_without_the_secrets_of_its_urls(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"how?", "how?"},
        {"me@here, and #5: who?", "me@here, and #5: who?"},
        {"see http://a?canary", "see http://a?***"},
        {"is http://a?canary there? who?", "is http://a?*** there? who?"},
        {"at http://u:can ary@b", "at http://u:***@b"},
        {"see http://u:canary@a", "see http://u:***@a"},
        {"at 'nats://u:can/ary@a:1': refused", "at 'nats://u:***@a:1': refused"},
        {"at nats://u:can?a#r@y@a:1, gone", "at nats://u:***@***@a:1, gone"},
        {"\"mongodb://u:can@ary@a\" and (tls://canary@b)",
         "\"mongodb://u:***@***@a\" and (tls://***@b)"},
        {"http://u:canary@a and me@here", "http://u:***@a and me@here"},
        {"a\033[31mb\n", "a?[31mb?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(sluice_redact_text, rows[i][0], rows[i][1]);
    }
}

static char seen[256];

static void see(const char *text)
{
    (void)snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s;", text);
}

static void the_secrets_of_a_url_are_found(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"http://a/b", ""},
        {"nats://u:one@a,nats://two@b?three=3", "one;two;three=3;"},
        {"nats://u:o/n:e@a,tw%6f@b", "o/n:e;tw%6f;two;"},
        {"http://u:o@n@e@a", "o;o@n;o@n@e;"}, /* whichever of them is the last */
        {"mongodb://u:on%zze@a,b", "on%zze;"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        seen[0] = '\0';
        sluice_redact_find(rows[i][0], see);
        assert_string_equal(seen, rows[i][1]);
    }
}

static void secrets_stand_one_a_line(void **state)
{
    (void)state;
    const char *list = "\none\n\ntwo\n";
    size_t len;
    const char *one = sluice_redact_next(&list, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(one, "one", 3);
    const char *two = sluice_redact_next(&list, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(two, "two", 3);
    assert_null(sluice_redact_next(&list, &len));
    assert_null(sluice_redact_next(&list, &len));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_shown_without_its_secrets),
        cmocka_unit_test(a_text_is_shown_without_the_secrets_of_its_urls),
        cmocka_unit_test(the_secrets_of_a_url_are_found),
        cmocka_unit_test(secrets_stand_one_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
