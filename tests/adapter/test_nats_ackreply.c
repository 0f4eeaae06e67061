/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_ackreply.h"

#include "nats_fixture.h"
#include <string.h>

static void reads_nine_tokens(void **state)
{
    (void)state;
    struct sluice_ackreply r;
    assert_true(
        sluice_ackreply_parse("$JS.ACK.ORDERS.worker.3.1000.2000.1700000000123456789.42", &r));
    assert_int_equal(r.stream_len, 6);
    assert_memory_equal(r.stream, "ORDERS", 6);
    assert_int_equal(r.consumer_len, 6);
    assert_memory_equal(r.consumer, "worker", 6);
    assert_int_equal(r.deliveries, 3);
    assert_int_equal(r.sequence, 1000);
    assert_true(r.stored_unix_ns == 1700000000123456789);
    assert_int_equal(r.pending, 42);
}

static void reads_the_longer_shapes_of_newer_servers(void **state)
{
    (void)state;
    static const char *const replies[] = {
        "$JS.ACK.hub.ACCHASH.ORDERS.worker.3.1000.2000.17.42",
        "$JS.ACK.hub.ACCHASH.ORDERS.worker.3.1000.2000.17.42.random",
        "$JS.ACK._.ACCHASH.ORDERS.worker.3.1000.2000.17.42.more.and.more.and.more.and.more",
    };
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct sluice_ackreply r;
        assert_true(sluice_ackreply_parse(replies[i], &r));
        assert_memory_equal(r.stream, "ORDERS.worker", 13);
        assert_int_equal(r.sequence, 1000);
        assert_int_equal(r.pending, 42);
    }
}

static void every_other_shape_is_unknown(void **state)
{
    (void)state;
    static const char *const replies[] = {
        "",
        "$JS.ACK",
        "$JS.ACK.",
        "_INBOX.a.b",
        "$JS.ACK.S.C.1.2.3.4",
        "$JS.ACK.S.C.1.2.3.4.5.6",
        "$JS.ACK.S.C.0.2.3.4.5",
        "$JS.ACK.S.C.1.0.3.4.5",
        "$JS.ACK.S.C.-1.2.3.4.5",
        "$JS.ACK.S.C.4294967296.2.3.4.5",
        "$JS.ACK.S.C.1.18446744073709551616.3.4.5",
        "$JS.ACK.S.C.1.2.3.9223372036854775808.5",
        "$JS.ACK.S.C.1.2.3.x.5",
        "$JS.ACK.S..1.2.3.4.5",
        "$JS.ACK.S.C.1.2.3.4.",
        "$JS.ACK.S.C.1.2.3..5",
    };
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct sluice_ackreply r;
        if (sluice_ackreply_parse(replies[i], &r)) {
            fail_msg("accepted: %s", replies[i]);
        }
        assert_null(r.stream);
        assert_int_equal(r.sequence, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_nine_tokens),
        cmocka_unit_test(reads_the_longer_shapes_of_newer_servers),
        cmocka_unit_test(every_other_shape_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
