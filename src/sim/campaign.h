/* SPDX-License-Identifier: Apache-2.0 */
/* Many seeds, on several threads. */
#ifndef SLUICE_SIM_CAMPAIGN_H
#define SLUICE_SIM_CAMPAIGN_H

#include "sim/sim.h"

#define SIM_FAILURES_MAX 16u

struct sim_campaign_options {
    uint64_t first_seed, seeds_count;
    int profile; /* enum sim_profile; -1: each seed has one of them */
    uint32_t jobs;
    uint32_t failures_max; /* stop after so many; 0: SIM_FAILURES_MAX */
    /* Called now and then from the calling thread, NULL: not. */
    void (*on_progress)(void *ctx, uint64_t done, uint64_t failed, double seconds);
    void *ctx;
};

struct sim_failure {
    uint64_t seed;
    enum sim_profile profile;
    struct sim_result result;
};

struct sim_campaign {
    uint64_t seeds, failed;
    uint64_t hash; /* of all seeds' hashes, whatever thread ran them */
    uint64_t by_profile[SIM_PROFILE_COUNT];
    uint64_t by_rule[SIM_RULE_COUNT]; /* failures */
    double seconds;
    struct sim_totals totals;
    struct sim_failure failures[SIM_FAILURES_MAX]; /* by seed */
    uint32_t failures_count;
};

/* Which profile a seed has when none is asked for. */
enum sim_profile sim_profile_of_seed(uint64_t seed);
/* 0, or -1 when there is no memory or no thread. */
int sim_campaign_run(const struct sim_campaign_options *options, struct sim_campaign *out);
/* The seed that the calling thread runs right now, for whoever must say what an assertion of the
 * engine was about; 0 and NULL when it runs none. */
uint64_t sim_campaign_seed(const char **profile);

#endif
