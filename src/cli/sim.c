/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice sim`: the engine in simulated worlds full of faults, by seed. */
#include "cli/command.h"
#include "cli/sim_arguments.h"
#include "sim/commit.h"
#include "sim/scenario.h"
#include "sim/short.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACE_LINES 60u

/* An assertion of the engine ends the process: say which seed it was. Async-signal-safe. */
static void on_abort(int signal_number)
{
    const char *profile;
    char line[160], digits[24];
    uint64_t seed = sim_campaign_seed(&profile);
    size_t at = sizeof digits;
    (void)signal_number;
    if (profile == NULL) {
        return;
    }
    do {
        digits[--at] = (char)('0' + seed % 10);
        seed /= 10;
    } while (seed > 0);
    strcpy(line, "repeat: sluice sim --seeds 1 --profile ");
    strcat(line, profile);
    strcat(line, " --seed ");
    strncat(line, digits + at, sizeof digits - at);
    strcat(line, "\n");
    ssize_t written = write(STDERR_FILENO, line, strlen(line));
    (void)written;
}

static void on_progress(void *ctx, uint64_t done, uint64_t failed, double seconds)
{
    const struct sim_options *o = ctx;
    fprintf(stderr, "%llu of %llu seeds, %llu failed, %.0f seeds/s\n", (unsigned long long)done,
            (unsigned long long)o->campaign.seeds_count, (unsigned long long)failed,
            (double)done / seconds);
}

/* Run a plan with its trace: all of it to stdout, or the last lines. */
static int run_traced(const struct sim_plan *plan, int is_whole)
{
    struct sim_result result;
    struct sim_world *w = sim_world_create();
    char(*ring)[SIM_TRACE_LINE] = calloc(TRACE_LINES, sizeof *ring);
    if (w == NULL || ring == NULL) {
        fputs("sluice sim: out of memory\n", stderr);
        sim_world_destroy(w);
        free(ring);
        return -1;
    }
    w->trace.out = is_whole ? stdout : NULL;
    w->trace.ring = is_whole ? NULL : ring;
    w->trace.ring_size = TRACE_LINES;
    sim_world_run_plan(w, plan, &result);
    uint32_t lines = w->trace.ring_next < TRACE_LINES ? w->trace.ring_next : TRACE_LINES;
    for (uint32_t i = 0; !is_whole && i < lines; i++) {
        printf("  %s\n", ring[(w->trace.ring_next - lines + i) % TRACE_LINES]);
    }
    printf("%s seed %llu: %s %s, trace hash %016llx\n", sim_profile_name(plan->profile),
           (unsigned long long)plan->seed, result.rule == SIM_RULE_NONE ? "passed" : "BROKEN",
           result.rule == SIM_RULE_NONE ? "" : sim_rule_name((enum sim_rule)result.rule),
           (unsigned long long)result.hash);
    sim_world_destroy(w);
    free(ring);
    return result.rule == SIM_RULE_NONE ? 0 : 1;
}

static int replay(uint64_t seed, enum sim_profile profile, int is_whole)
{
    static struct sim_plan plan;
    sim_plan_draw(&plan, seed, profile);
    return run_traced(&plan, is_whole);
}

static int run_scenario(const struct sim_options *o)
{
    static struct sim_plan plan;
    struct sim_result result;
    struct sluice_err err = {0};
    FILE *in = fopen(o->scenario, "r");
    if (in == NULL) {
        fprintf(stderr, "sluice sim: %s: %s\n", o->scenario, strerror(errno));
        return 2;
    }
    sluice_rc rc = sim_scenario_read(in, &plan, &err);
    fclose(in);
    if (rc != SLUICE_OK) {
        fprintf(stderr, "sluice sim: %s: %s\n", o->scenario, err.text);
        return 2;
    }
    if (o->shows_trace) {
        return run_traced(&plan, 1) != 0;
    }
    struct sim_world *w = sim_world_create();
    if (w == NULL) {
        fputs("sluice sim: out of memory\n", stderr);
        return 1;
    }
    sim_world_run_plan(w, &plan, &result);
    sim_world_destroy(w);
    if (result.rule == SIM_RULE_NONE) {
        printf("%s: passed, %llu engine events\n", o->scenario,
               (unsigned long long)result.totals.events);
        return 0;
    }
    printf("%s: BROKEN %s\n  %s\n", o->scenario, sim_rule_name((enum sim_rule)result.rule),
           result.text);
    (void)run_traced(&plan, 0);
    printf("repeat: sluice sim --scenario %s --trace\n", o->scenario);
    return 1;
}

/* ---- Short pipelines */

static int write_scenario(const char *path, const struct sim_plan *plan, const char *note)
{
    FILE *out = fopen(path, "w");
    if (out != NULL) {
        sim_scenario_write(out, plan, note);
    }
    if (out == NULL || fclose(out) != 0) {
        fprintf(stderr, "sluice sim: %s: %s\n", path, strerror(errno));
        return 0;
    }
    return 1;
}

static void print_broken(const struct sim_options *o, const char *name,
                         const struct sim_short_result *r)
{
    char note[400];
    snprintf(note, sizeof note, "%s: %s (short pipeline %s, commit %s)",
             sim_rule_name((enum sim_rule)r->broken.rule), r->broken.text, name, SLUICE_COMMIT);
    if (o->is_json) {
        if (o->shrink_to != NULL) {
            (void)write_scenario(o->shrink_to, &r->plan, note);
        }
        return;
    }
    printf("\nBROKEN %s (%s)\n  %s\n", sim_rule_name((enum sim_rule)r->broken.rule),
           sim_rule_about((enum sim_rule)r->broken.rule), r->broken.text);
    (void)run_traced(&r->plan, 0);
    if (o->shrink_to == NULL) {
        sim_scenario_write(stdout, &r->plan, note);
        printf("repeat: save the lines above as FILE; sluice sim --scenario FILE --trace\n");
    } else if (write_scenario(o->shrink_to, &r->plan, note)) {
        printf("repeat: sluice sim --scenario %s --trace\n", o->shrink_to);
    }
}

static void print_short_json(const struct sim_short_result *all,
                             const struct sim_short_depth *depth, unsigned pipelines, int failed)
{
    printf("{\"version\":\"%s\",\"commit\":\"%s\",\"pipelines\":%u,\"failed\":%d,\"requests\":%u,"
           "\"requests_with_a_kill\":%u,\"requests_with_two_kills\":%u,\"pulls_and_settles\":%u,"
           "\"requests_beside_those\":%u,\"courses\":%llu,"
           "\"events\":%llu,\"kills\":%llu}\n",
           SLUICE_VERSION, SLUICE_COMMIT, pipelines, failed, depth->lots, depth->lots_killed,
           depth->lots_killed_twice, depth->network, depth->lots_beside,
           (unsigned long long)all->runs, (unsigned long long)all->events,
           (unsigned long long)all->kills);
}

static int run_short(const struct sim_options *o)
{
    static const struct sim_short_depth depth = {
        .lots = 6, .lots_killed = 4, .lots_killed_twice = 2, .network = 4, .lots_beside = 2};
    static struct sim_short_result result;
    struct sim_world *w = sim_world_create();
    int is_good = 1;
    if (w == NULL) {
        fputs("sluice sim: out of memory\n", stderr);
        return 1;
    }
    struct sim_short_result all = {.runs = 0};
    int kind = 0;
    if (!o->is_json) {
        printf(
            "sluice %s (%s), short pipelines: all fates of the first %u requests, and of the "
            "first %u pulls and settles beside %u of them; with one kill of %u, with two of %u\n",
            SLUICE_VERSION, SLUICE_COMMIT, depth.lots, depth.network, depth.lots_beside,
            depth.lots_killed, depth.lots_killed_twice);
    }
    for (; is_good && kind < SIM_SHORT_COUNT; kind++) {
        const char *name = sim_short_name((enum sim_short_kind)kind);
        is_good = sim_short_run(w, (enum sim_short_kind)kind, &depth, &result);
        all.runs += result.runs;
        all.events += result.events;
        all.kills += result.kills;
        if (!is_good) {
            print_broken(o, name, &result);
        }
        if (!o->is_json) {
            printf("%-12s %8llu courses: %llu engine events, %llu kills: %s\n", name,
                   (unsigned long long)result.runs, (unsigned long long)result.events,
                   (unsigned long long)result.kills, is_good ? "no rule broken" : "BROKEN");
        }
    }
    if (o->is_json) {
        print_short_json(&all, &depth, (unsigned)kind, !is_good);
    }
    sim_world_destroy(w);
    return is_good ? 0 : 1;
}

/* Write a smaller run that fails as this one does. */
static int shrink(const struct sim_failure *f, const char *path)
{
    static struct sim_plan plan;
    char note[400];
    struct sim_world *w = sim_world_create();
    if (w == NULL) {
        fputs("sluice sim: out of memory\n", stderr);
        return 1;
    }
    sim_plan_draw(&plan, f->seed, f->profile);
    uint32_t runs = sim_shrink(w, &plan, (enum sim_rule)f->result.rule);
    struct sim_result result;
    sim_world_run_plan(w, &plan, &result);
    sim_world_destroy(w);
    snprintf(note, sizeof note, "%s: %s (seed %llu, profile %s, commit %s)",
             sim_rule_name((enum sim_rule)result.rule), result.text, (unsigned long long)f->seed,
             sim_profile_name(f->profile), SLUICE_COMMIT);
    if (!write_scenario(path, &plan, note)) {
        return 1;
    }
    printf("made smaller in %u runs: %s, %llu engine events instead of %llu\n", runs, path,
           (unsigned long long)result.totals.events, (unsigned long long)f->result.totals.events);
    return 0;
}

static void print_failure(const struct sim_failure *f)
{
    printf("\nBROKEN %s (%s)\n  %s\n  seed %llu, profile %s, at %.3f s; the last lines:\n",
           sim_rule_name((enum sim_rule)f->result.rule),
           sim_rule_about((enum sim_rule)f->result.rule), f->result.text,
           (unsigned long long)f->seed, sim_profile_name(f->profile),
           (double)f->result.end_ms / 1000.0);
    (void)replay(f->seed, f->profile, 0);
    printf("repeat: sluice sim --seeds 1 --seed %llu --profile %s --trace\n",
           (unsigned long long)f->seed, sim_profile_name(f->profile));
}

static void print_json(const struct sim_campaign *c, uint32_t jobs)
{
    const struct sim_totals *t = &c->totals;
    printf("{\"version\":\"%s\",\"commit\":\"%s\",\"seeds\":%llu,\"failed\":%llu,\"seconds\":%.3f,"
           "\"jobs\":%u,\"events\":%llu,\"events_per_second\":%.0f,\"steps\":%llu,"
           "\"messages\":%llu,\"acked\":%llu,\"dead\":%llu,\"dead_and_done\":%llu,\"purged\":%llu,"
           "\"deliveries\":%llu,\"kills\":%llu,"
           "\"freezes\":%llu,\"server_kills\":%llu,\"naks\":%llu,\"paid_calls\":%llu,"
           "\"answers_kept\":%llu,\"answers_replayed\":%llu,\"excused_payments\":%llu,"
           "\"duplicates_outside_window\":%llu,\"hash\":\"%016llx\"}\n",
           SLUICE_VERSION, SLUICE_COMMIT, (unsigned long long)c->seeds,
           (unsigned long long)c->failed, c->seconds, jobs, (unsigned long long)t->events,
           (double)t->events / c->seconds, (unsigned long long)t->steps,
           (unsigned long long)t->inputs, (unsigned long long)t->acked, (unsigned long long)t->dead,
           (unsigned long long)t->dead_and_done, (unsigned long long)t->purged,
           (unsigned long long)t->deliveries, (unsigned long long)t->kills,
           (unsigned long long)t->freezes, (unsigned long long)t->server_kills,
           (unsigned long long)t->naks, (unsigned long long)t->paid_calls,
           (unsigned long long)t->answers_kept, (unsigned long long)t->answers_replayed,
           (unsigned long long)t->excused_payments,
           (unsigned long long)t->duplicates_outside_window, (unsigned long long)c->hash);
}

static void print_totals(const struct sim_campaign *c)
{
    const struct sim_totals *t = &c->totals;
    double seconds = c->seconds > 0 ? c->seconds : 1;
    printf("\n%llu seeds in %.1f s: %llu passed, %llu broken; hash %016llx\n",
           (unsigned long long)c->seeds, c->seconds, (unsigned long long)(c->seeds - c->failed),
           (unsigned long long)c->failed, (unsigned long long)c->hash);
    printf("  %llu engine events (%.2f million/s), %llu steps\n", (unsigned long long)t->events,
           (double)t->events / seconds / 1e6, (unsigned long long)t->steps);
    printf("  %llu messages: %llu ACKed, %llu dead-lettered, %llu of them both, %llu purged, in "
           "%llu deliveries with %llu NAKs\n",
           (unsigned long long)t->inputs, (unsigned long long)t->acked, (unsigned long long)t->dead,
           (unsigned long long)t->dead_and_done, (unsigned long long)t->purged,
           (unsigned long long)t->deliveries, (unsigned long long)t->naks);
    printf("  %llu process kills, %llu freezes, %llu server kills\n", (unsigned long long)t->kills,
           (unsigned long long)t->freezes, (unsigned long long)t->server_kills);
    printf("  %llu paid calls, %llu answers journaled, %llu replayed, %llu paid again for a "
           "reason\n",
           (unsigned long long)t->paid_calls, (unsigned long long)t->answers_kept,
           (unsigned long long)t->answers_replayed, (unsigned long long)t->excused_payments);
    for (int rule = 1; rule < SIM_RULE_COUNT; rule++) {
        if (c->by_rule[rule] > 0) {
            printf("  %llu × %s\n", (unsigned long long)c->by_rule[rule],
                   sim_rule_name((enum sim_rule)rule));
        }
    }
}

/* One line a seed, in order. */
static int list_seeds(const struct sim_options *o)
{
    struct sim_world *w = sim_world_create();
    int rc = 0;
    if (w == NULL) {
        fputs("sluice sim: out of memory\n", stderr);
        return 1;
    }
    for (uint64_t i = 0; i < o->campaign.seeds_count; i++) {
        uint64_t seed = o->campaign.first_seed + i;
        struct sim_result r;
        enum sim_profile profile = o->campaign.profile < 0 ? sim_profile_of_seed(seed)
                                                           : (enum sim_profile)o->campaign.profile;
        sim_world_run(w, seed, profile, &r);
        printf("seed %llu %-8s events %llu messages %llu acked %llu dead %llu kills %llu "
               "end %.1f s hash %016llx %s\n",
               (unsigned long long)seed, sim_profile_name(profile),
               (unsigned long long)r.totals.events, (unsigned long long)r.totals.inputs,
               (unsigned long long)r.totals.acked, (unsigned long long)r.totals.dead,
               (unsigned long long)r.totals.kills, (double)r.end_ms / 1000.0,
               (unsigned long long)r.hash, r.rule == 0 ? "ok" : r.text);
        rc |= r.rule != SIM_RULE_NONE;
    }
    sim_world_destroy(w);
    return rc;
}

static int run(int argc, char **argv)
{
    struct sim_options o;
    static struct sim_campaign campaign;
    int code = sim_arguments_read(argc, argv, &o);
    if (code >= 0) {
        return code;
    }
    signal(SIGABRT, on_abort);
    if (o.scenario != NULL) {
        return run_scenario(&o);
    }
    if (o.is_short) {
        return run_short(&o);
    }
    if (!o.is_json) {
        printf("sluice %s (%s), profile %s, seeds %llu to %llu\n", SLUICE_VERSION, SLUICE_COMMIT,
               o.campaign.profile < 0 ? "by seed"
                                      : sim_profile_name((enum sim_profile)o.campaign.profile),
               (unsigned long long)o.campaign.first_seed,
               (unsigned long long)(o.campaign.first_seed + o.campaign.seeds_count - 1));
    }
    if (o.shows_trace) {
        uint64_t seed = o.campaign.first_seed;
        return replay(seed,
                      o.campaign.profile < 0 ? sim_profile_of_seed(seed)
                                             : (enum sim_profile)o.campaign.profile,
                      1) != 0;
    }
    if (o.shows_events) {
        return list_seeds(&o);
    }
    o.campaign.on_progress = o.is_quiet || o.is_json ? NULL : on_progress;
    o.campaign.ctx = &o;
    if (sim_campaign_run(&o.campaign, &campaign) != 0) {
        fputs("sluice sim: not all seeds could be run: no memory or no thread\n", stderr);
        return 1;
    }
    if (o.is_json) {
        print_json(&campaign, o.campaign.jobs);
    } else {
        for (uint32_t i = 0; i < campaign.failures_count; i++) {
            print_failure(&campaign.failures[i]);
        }
        print_totals(&campaign);
    }
    if (o.shrink_to != NULL && campaign.failures_count > 0) {
        (void)shrink(&campaign.failures[0], o.shrink_to);
    }
    return campaign.failed == 0 ? 0 : 1;
}

extern const struct sluice_command sluice_command_sim;
const struct sluice_command sluice_command_sim = {"sim", "run the engine in simulated worlds", run};
