/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked to an engine with a deliberate mistake: do the judges find it?
 *
 * usage: hunt SEEDS RULE   exit 0 when a seed breaks RULE ("any": whichever; "none": no seed may
 * break a rule)
 *
 * Assertions of the engine do not count as found: the judges have to see it from outside. A broken
 * engine goes on after its own.
 */
#include "core/assert.h"
#include "sim/campaign.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf asserted;
static uint64_t assertions;

void sluice_panic(const char *expression, const char *file, int line, const char *state)
{
    (void)expression, (void)file, (void)line, (void)state;
    assertions++;
    longjmp(asserted, 1); /* this seed is given up; the next one starts from scratch */
}

/* An engine with a mistake in it goes on (hunt_assert.h, which the others do not see). */
void sluice_hunt_asserted(const char *state);
void sluice_hunt_asserted(const char *state)
{
    (void)state;
    assertions++;
}

static int is_wanted(const struct sim_result *result, const char *rule)
{
    return result->rule != SIM_RULE_NONE &&
           (strcmp(rule, "any") == 0 ||
            strcmp(rule, sim_rule_name((enum sim_rule)result->rule)) == 0);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: hunt SEEDS RULE\n", stderr);
        return 2;
    }
    static volatile uint64_t seed, others;
    uint64_t seeds = strtoull(argv[1], NULL, 10);
    int must_be_clean = strcmp(argv[2], "none") == 0;
    struct sim_world *const w = sim_world_create();
    if (w == NULL) {
        fputs("hunt: out of memory\n", stderr);
        return 2;
    }
    for (seed = 1; seed <= seeds; seed++) {
        static struct sim_result result;
        result.rule = SIM_RULE_NONE;
        if (setjmp(asserted) == 0) {
            sim_world_run(w, seed, sim_profile_of_seed(seed), &result);
        }
        others += result.rule != SIM_RULE_NONE;
        if (must_be_clean ? result.rule != SIM_RULE_NONE : is_wanted(&result, argv[2])) {
            printf("seed %llu (%s) breaks %s: %s\n", (unsigned long long)seed,
                   sim_profile_name(sim_profile_of_seed(seed)),
                   sim_rule_name((enum sim_rule)result.rule), result.text);
            printf("after %llu assertions, %llu other findings\n", (unsigned long long)assertions,
                   (unsigned long long)(others - 1));
            sim_world_destroy(w);
            return must_be_clean;
        }
    }
    printf("%llu seeds: %s is%s broken; %llu assertions, %llu other findings\n",
           (unsigned long long)seeds, must_be_clean ? "no rule" : argv[2],
           must_be_clean ? "" : " not", (unsigned long long)assertions, (unsigned long long)others);
    sim_world_destroy(w);
    return must_be_clean && assertions == 0 ? 0 : 1;
}
