/* SPDX-License-Identifier: Apache-2.0 */
/* Short pipelines: are all fates of all requests among the courses? */
#include "sim/short.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct sim_short_depth depth = {
    .lots = 5, .lots_killed = 1, .network = 4, .lots_beside = 1};

static struct sim_short_result results[SIM_SHORT_COUNT];

static void no_course_breaks_a_rule(void **state)
{
    struct sim_world *w = sim_world_create();
    (void)state;
    assert_non_null(w);
    for (int kind = 0; kind < SIM_SHORT_COUNT; kind++) {
        if (!sim_short_run(w, (enum sim_short_kind)kind, &depth, &results[kind])) {
            fail_msg("%s: %s", sim_short_name((enum sim_short_kind)kind),
                     results[kind].broken.text);
        }
    }
    sim_world_destroy(w);
}

static void every_fate_of_every_request_is_met(void **state)
{
    static const enum sim_target targets[] = {
        SIM_TARGET_LLM,  SIM_TARGET_STORE,  SIM_TARGET_BURY, SIM_TARGET_PUBLISH, SIM_TARGET_LOAD,
        SIM_TARGET_KEEP, SIM_TARGET_RECORD, SIM_TARGET_PULL, SIM_TARGET_SETTLE};
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        for (int lot = SIM_LOT_OK; lot < SIM_LOT_COUNT; lot++) {
            uint32_t met = 0;
            for (int kind = 0; kind < SIM_SHORT_COUNT; kind++) {
                met |= results[kind].met[targets[i]];
            }
            int is_met = (met >> lot) & 1;
            if (sim_target_knows(targets[i], (enum sim_lot)lot) != is_met) {
                fail_msg("%s, %s", sim_target_name(targets[i]), sim_lot_name((enum sim_lot)lot));
            }
        }
    }
}

static void what_may_fail_can_fail_in_each_way(void **state)
{
    static const enum sim_lot fates[] = {SIM_LOT_OK,         SIM_LOT_FAIL, SIM_LOT_SLOW,
                                         SIM_LOT_TWICE,      SIM_LOT_LATE, SIM_LOT_NEVER,
                                         SIM_LOT_ANSWER_LOST};
    static const enum sim_target targets[] = {SIM_TARGET_STORE, SIM_TARGET_LLM, SIM_TARGET_KEEP,
                                              SIM_TARGET_PUBLISH, SIM_TARGET_BURY};
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        for (size_t j = 0; j < sizeof fates / sizeof fates[0]; j++) {
            assert_true(sim_target_knows(targets[i], fates[j]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_course_breaks_a_rule),
        cmocka_unit_test(every_fate_of_every_request_is_met),
        cmocka_unit_test(what_may_fail_can_fail_in_each_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
