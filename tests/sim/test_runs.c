/* SPDX-License-Identifier: Apache-2.0 */
/* The same seed is the same run, whatever ran before it and on however many threads. */
#include "sim/campaign.h"
#include "sim/scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SEEDS 60u

static void a_seed_gives_the_same_run_in_a_used_world(void **state)
{
    struct sim_world *used = sim_world_create();
    (void)state;
    assert_non_null(used);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result in_used, in_fresh;
        enum sim_profile profile = sim_profile_of_seed(seed);
        struct sim_world *fresh = sim_world_create();
        assert_non_null(fresh);
        sim_world_run(used, seed, profile, &in_used);
        sim_world_run(fresh, seed, profile, &in_fresh);
        assert_int_equal(in_used.hash, in_fresh.hash);
        assert_int_equal(in_used.rule, in_fresh.rule);
        assert_int_equal(in_used.totals.events, in_fresh.totals.events);
        sim_world_destroy(fresh);
    }
    sim_world_destroy(used);
}

static void seeds_differ(void **state)
{
    struct sim_world *w = sim_world_create();
    struct sim_result one, two;
    (void)state;
    assert_non_null(w);
    sim_world_run(w, 1, SIM_PROFILE_SWARM, &one);
    sim_world_run(w, 2, SIM_PROFILE_SWARM, &two);
    assert_int_not_equal(one.hash, two.hash);
    sim_world_run(w, 1, SIM_PROFILE_CALM, &two);
    assert_int_not_equal(one.hash, two.hash);
    sim_world_destroy(w);
}

static void threads_do_not_change_the_result(void **state)
{
    static struct sim_campaign one, three;
    struct sim_campaign_options options = {
        .first_seed = 1, .seeds_count = 4u * SEEDS, .profile = -1, .jobs = 1};
    (void)state;
    assert_int_equal(sim_campaign_run(&options, &one), 0);
    options.jobs = 3;
    assert_int_equal(sim_campaign_run(&options, &three), 0);
    assert_int_equal(one.hash, three.hash);
    assert_int_equal(one.totals.events, three.totals.events);
    assert_int_equal(one.seeds, 4u * SEEDS);
}

/* Also one with rates for more than all of a target's requests. */
static void a_plan_that_is_written_and_read_is_the_same_run(void **state)
{
    struct sim_world *w = sim_world_create();
    (void)state;
    assert_non_null(w);
    for (uint64_t seed = 1; seed <= 5u * SEEDS; seed++) {
        static struct sim_plan plan, same;
        struct sim_result drawn, read;
        struct sluice_err err = {0};
        FILE *file = tmpfile();
        assert_non_null(file);
        sim_plan_draw(&plan, seed, sim_profile_of_seed(seed));
        if (seed % 2 == 0) {
            struct sim_rates *r = &plan.rates[SIM_TARGET_LLM];
            memset(r->rate, 0, sizeof r->rate);
            r->rate[SIM_LOT_SLOW] = r->rate[SIM_LOT_FAIL] = 40000;
            r->rate[SIM_LOT_BAD] = 5;
            r->sum = 80005;
        }
        sim_scenario_write(file, &plan, "drawn");
        rewind(file);
        if (sim_scenario_read(file, &same, &err) != SLUICE_OK) {
            fail_msg("seed %u: %s", (unsigned)seed, err.text);
        }
        sim_world_run_plan(w, &plan, &drawn);
        sim_world_run_plan(w, &same, &read);
        assert_int_equal(drawn.hash, read.hash);
        fclose(file);
    }
    sim_world_destroy(w);
}

static void every_profile_is_drawn(void **state)
{
    uint32_t seen = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        seen |= 1u << sim_profile_of_seed(seed);
    }
    assert_int_equal(seen, (1u << SIM_PROFILE_COUNT) - 1u);
}

static void every_fault_is_drawn_somewhere(void **state)
{
    uint32_t seen = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        static struct sim_plan plan;
        sim_plan_draw(&plan, seed, sim_profile_of_seed(seed));
        assert_in_range(plan.workers_count, 1, SIM_WORKERS_MAX);
        assert_in_range(plan.inputs_count, 1, SIM_INPUTS_MAX);
        assert_in_range(plan.engine.max_in_flight, 1, SIM_IN_FLIGHT_MAX);
        for (uint32_t i = 0; i < plan.faults_count; i++) {
            seen |= 1u << plan.faults[i].kind;
        }
    }
    assert_int_equal(seen, (1u << SIM_FAULT_COUNT) - 1u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_the_same_run_in_a_used_world),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(threads_do_not_change_the_result),
        cmocka_unit_test(a_plan_that_is_written_and_read_is_the_same_run),
        cmocka_unit_test(every_profile_is_drawn),
        cmocka_unit_test(every_fault_is_drawn_somewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
