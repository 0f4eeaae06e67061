/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sim_arguments.h"

#include "cli/arguments.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SEEDS_DEFAULT 1000

static void usage(FILE *out)
{
    static const char *const profiles[][2] = {
#define PROFILE_ROW(name, text, about) {text, about},
        SIM_PROFILES(PROFILE_ROW)
#undef PROFILE_ROW
    };
    fputs("usage: sluice sim [OPTIONS]\n\n"
          "Runs the engine in simulated worlds: a model of JetStream, store, LLM, publisher and\n"
          "journal, with crashes and faults that the seed draws, and judges that watch.\n\n"
          "  --seeds N       how many seeds (1000)\n"
          "  --seed S        the first one (1)\n"
          "  --profile NAME  where the faults lean; without it each seed has one of these:\n",
          out);
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        fprintf(out, "                    %-9s %s\n", profiles[i][0], profiles[i][1]);
    }
    fputs("  --jobs N        threads (2)\n"
          "  --failures N    stop after so many failing seeds (1)\n"
          "  --events        one line for each seed\n"
          "  --trace         everything that goes into and out of the engines of --seed\n"
          "  --shrink FILE   make the first failing run smaller and write it as a scenario\n"
          "  --scenario FILE run what a file says instead of seeds\n"
          "  --short         instead of seeds: one message, each of its first requests with every\n"
          "                  fate, kills before and after every effect; all of that\n"
          "  --json          the totals as one JSON object\n"
          "  --quiet         no progress\n\n"
          "With --scenario goes --trace, with --short --json and --shrink, with --trace and\n"
          "--events --seed and --profile; other company is refused.\n\n"
          "Exit code 0: every seed passed; 1: a rule was broken; 2: wrong usage.\n",
          out);
}

static void profile_take(int *argc, char **argv, int *out)
{
    const char *text = arguments_value(argc, argv, "--profile");
    char names[256] = "";
    for (int i = 0; text != NULL && i < SIM_PROFILE_COUNT; i++) {
        const char *name = sim_profile_name((enum sim_profile)i);
        size_t len = strlen(names);
        (void)snprintf(names + len, sizeof names - len, " %s", name);
        if (strcmp(text, name) == 0) {
            *out = i;
            return;
        }
    }
    if (text != NULL) {
        arguments_wrong(argv, "--profile", "\"%s\", expected one of%s", text, names);
    }
}

/* What is run: one of these, of which the first that was given counts. */
enum task { SCENARIO, SHORT, TRACE, EVENTS, SEEDS, TASK_COUNT };

static const char *const task_flags[TASK_COUNT] = {"--scenario", "--short", "--trace", "--events",
                                                   "seeds"};

/* Which flags a task knows. What has no place would be ignored, and its giver deceived. */
static const struct {
    const char *flag;
    unsigned tasks;
} company[] = {
#define WITH(task) (1u << (task))
    {"--seeds", WITH(SEEDS) | WITH(EVENTS) | WITH(TRACE)},
    {"--seed", WITH(SEEDS) | WITH(EVENTS) | WITH(TRACE)},
    {"--profile", WITH(SEEDS) | WITH(EVENTS) | WITH(TRACE)},
    {"--jobs", WITH(SEEDS)},
    {"--failures", WITH(SEEDS)},
    {"--quiet", WITH(SEEDS)},
    {"--json", WITH(SEEDS) | WITH(SHORT)},
    {"--shrink", WITH(SEEDS) | WITH(SHORT)},
    {"--events", WITH(EVENTS)},
    {"--trace", WITH(TRACE) | WITH(SCENARIO)},
    {"--short", WITH(SHORT)},
};

static int is_given(int argc, char **argv, const char *flag)
{
    size_t len = strlen(flag);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], flag, len) == 0 && (argv[i][len] == '\0' || argv[i][len] == '=')) {
            return 1;
        }
    }
    return 0;
}

static void company_judge(int argc, char **argv)
{
    int task = SCENARIO;
    char known[128] = "";
    while (task < SEEDS && !is_given(argc, argv, task_flags[task])) {
        task++;
    }
    for (size_t i = 0; i < sizeof company / sizeof company[0]; i++) {
        size_t len = strlen(known);
        if ((company[i].tasks & WITH(task)) != 0 &&
            strcmp(company[i].flag, task_flags[task]) != 0) {
            (void)snprintf(known + len, sizeof known - len, " %s", company[i].flag);
        }
    }
    for (size_t i = 0; i < sizeof company / sizeof company[0]; i++) {
        if ((company[i].tasks & WITH(task)) == 0 && is_given(argc, argv, company[i].flag)) {
            arguments_wrong(argv, company[i].flag, "does not go with %s, expected %s%s",
                            task_flags[task], known[0] == '\0' ? "nothing" : "one of", known);
        }
    }
}

/* Before hours are spent on what could not be kept. A file that was not there is not left behind.
 */
static int can_be_written(const char *path)
{
    int is_old = access(path, F_OK) == 0;
    FILE *out = fopen(path, "a");
    if (out == NULL) {
        return 0;
    }
    (void)fclose(out);
    if (!is_old) {
        (void)unlink(path);
    }
    return 1;
}

int sim_arguments_read(int argc, char **argv, struct sim_options *o)
{
    struct sim_campaign_options *c = &o->campaign;
    *o = (struct sim_options){
        .campaign = {.first_seed = 1, .profile = -1, .jobs = 2, .failures_max = 1}};
    int64_t seeds = 0, seed = (int64_t)c->first_seed, jobs = c->jobs, failures = c->failures_max;
    if (arguments_flag(&argc, argv, "--help")) {
        usage(stdout);
        return 0;
    }
    company_judge(argc, argv);
    arguments_number(&argc, argv, "--seeds", 1, INT64_MAX, &seeds);
    arguments_number(&argc, argv, "--seed", 0, INT64_MAX, &seed);
    arguments_number(&argc, argv, "--jobs", 1, 64, &jobs);
    arguments_number(&argc, argv, "--failures", 0, SIM_FAILURES_MAX, &failures);
    profile_take(&argc, argv, &c->profile);
    o->shows_trace = arguments_flag(&argc, argv, "--trace");
    if (o->shows_trace && seeds > 1) {
        arguments_wrong(argv, "--seeds", "\"%lld\" does not go with --trace, expected 1",
                        (long long)seeds);
    }
    seeds = seeds == 0 ? SEEDS_DEFAULT : seeds;
    c->seeds_count = (uint64_t)seeds;
    c->first_seed = (uint64_t)seed;
    c->jobs = (uint32_t)jobs;
    c->failures_max = (uint32_t)failures;
    if (seeds - 1 > INT64_MAX - seed) {
        arguments_wrong(argv, "--seeds", "\"%lld\" from %lld on, expected none beyond %lld",
                        (long long)seeds, (long long)seed, (long long)INT64_MAX);
    }
    o->shows_events = arguments_flag(&argc, argv, "--events");
    o->is_json = arguments_flag(&argc, argv, "--json");
    o->is_short = arguments_flag(&argc, argv, "--short");
    o->is_quiet = arguments_flag(&argc, argv, "--quiet");
    o->scenario = arguments_value(&argc, argv, "--scenario");
    o->shrink_to = arguments_value(&argc, argv, "--shrink");
    if (o->shrink_to != NULL && !can_be_written(o->shrink_to)) {
        arguments_wrong(argv, "--shrink", "\"%s\": %s", o->shrink_to, strerror(errno));
    }
    return arguments_are_all_taken(argc, argv) ? -1 : 2;
}
