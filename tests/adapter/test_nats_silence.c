/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_silence.h"

#include "nats_fixture.h"

static void counts_from_the_first_question_until_an_answer(void **state)
{
    (void)state;
    struct sluice_nats_silence silence = {0};
    assert_int_equal(sluice_nats_silence_for_ms(&silence, 5000), 0);
    sluice_nats_silence_asked(&silence, 5000);
    assert_int_equal(sluice_nats_silence_for_ms(&silence, 5000), 0);
    sluice_nats_silence_asked(&silence, 6000);
    assert_int_equal(sluice_nats_silence_for_ms(&silence, 6500), 1500);
    sluice_nats_silence_answered(&silence);
    assert_int_equal(sluice_nats_silence_for_ms(&silence, 7000), 0);
}

static void counts_anew_after_an_answer(void **state)
{
    (void)state;
    struct sluice_nats_silence silence = {0};
    sluice_nats_silence_answered(&silence); /* to nothing that was asked */
    sluice_nats_silence_asked(&silence, 5000);
    sluice_nats_silence_answered(&silence);
    sluice_nats_silence_asked(&silence, 8000);
    assert_int_equal(sluice_nats_silence_for_ms(&silence, 8100), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_from_the_first_question_until_an_answer),
        cmocka_unit_test(counts_anew_after_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
