/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/campaign.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define JOBS_MAX     64u
#define BATCH        16u /* seeds that a thread takes at once */
#define PROGRESS_SEC 2

struct shared {
    const struct sim_campaign_options *options;
    struct sim_campaign *out;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    uint64_t next; /* seeds given out so far */
    uint32_t running;
    uint32_t failures_max;
};

static _Thread_local uint64_t current_seed;
static _Thread_local const char *current_profile;

uint64_t sim_campaign_seed(const char **profile)
{
    *profile = current_profile;
    return current_seed;
}

enum sim_profile sim_profile_of_seed(uint64_t seed)
{
    if (seed % 100 == 99) { /* those take a hundred times as long */
        return SIM_PROFILE_WIDE;
    }
    uint64_t at = seed % (2u * SIM_PROFILE_WIDE); /* half of them: everything mixed */
    return at < SIM_PROFILE_WIDE ? (enum sim_profile)at : SIM_PROFILE_SWARM;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note_failure(struct shared *s, uint64_t seed, enum sim_profile profile,
                         const struct sim_result *result)
{
    struct sim_campaign *c = s->out;
    c->failed++;
    c->by_rule[result->rule]++;
    if (c->failures_count < SIM_FAILURES_MAX) {
        c->failures[c->failures_count++] = (struct sim_failure){seed, profile, *result};
    }
}

/* Take some seeds: their number, and the first one. */
static uint64_t take(struct shared *s, uint64_t *first)
{
    uint64_t count = 0;
    pthread_mutex_lock(&s->lock);
    if (s->out->failed < s->failures_max && s->next < s->options->seeds_count) {
        uint64_t left = s->options->seeds_count - s->next;
        count = left < BATCH ? left : BATCH;
        *first = s->options->first_seed + s->next;
        s->next += count;
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

static void run_seed(struct shared *s, struct sim_world *w, uint64_t seed)
{
    struct sim_result result;
    enum sim_profile profile =
        s->options->profile < 0 ? sim_profile_of_seed(seed) : (enum sim_profile)s->options->profile;
    current_seed = seed;
    current_profile = sim_profile_name(profile);
    sim_world_run(w, seed, profile, &result);
    current_profile = NULL;
    pthread_mutex_lock(&s->lock);
    s->out->seeds++;
    s->out->by_profile[profile]++;
    s->out->hash += sim_mix(seed, result.hash);
    sim_totals_add(&s->out->totals, &result.totals);
    if (result.rule != SIM_RULE_NONE) {
        note_failure(s, seed, profile, &result);
    }
    pthread_mutex_unlock(&s->lock);
}

static void *work(void *arg)
{
    struct shared *s = arg;
    struct sim_world *w = sim_world_create();
    uint64_t first = 0, count;
    while (w != NULL && (count = take(s, &first)) > 0) {
        for (uint64_t i = 0; i < count; i++) {
            run_seed(s, w, first + i);
        }
    }
    sim_world_destroy(w);
    pthread_mutex_lock(&s->lock);
    s->running--;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void watch(struct shared *s, double started)
{
    pthread_mutex_lock(&s->lock);
    while (s->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PROGRESS_SEC;
        int rc = pthread_cond_timedwait(&s->ended, &s->lock, &until);
        if (rc != 0 && s->options->on_progress != NULL) {
            s->options->on_progress(s->options->ctx, s->out->seeds, s->out->failed,
                                    seconds_now() - started);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static int by_seed(const void *x, const void *y)
{
    uint64_t a = ((const struct sim_failure *)x)->seed, b = ((const struct sim_failure *)y)->seed;
    return (a > b) - (a < b);
}

int sim_campaign_run(const struct sim_campaign_options *options, struct sim_campaign *out)
{
    pthread_t threads[JOBS_MAX];
    struct shared s = {.options = options, .out = out, .failures_max = options->failures_max};
    uint32_t jobs = options->jobs == 0 ? 1 : options->jobs < JOBS_MAX ? options->jobs : JOBS_MAX;
    memset(out, 0, sizeof *out);
    if (s.failures_max == 0 || s.failures_max > SIM_FAILURES_MAX) {
        s.failures_max = SIM_FAILURES_MAX;
    }
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.ended, NULL);
    double started = seconds_now();
    uint32_t count = 0;
    s.running = jobs;
    while (count < jobs && pthread_create(&threads[count], NULL, work, &s) == 0) {
        count++;
    }
    pthread_mutex_lock(&s.lock);
    s.running -= jobs - count;
    pthread_mutex_unlock(&s.lock);
    watch(&s, started);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_cond_destroy(&s.ended);
    pthread_mutex_destroy(&s.lock);
    out->seconds = seconds_now() - started;
    qsort(out->failures, out->failures_count, sizeof out->failures[0], by_seed);
    int is_done = out->seeds == options->seeds_count || out->failed >= s.failures_max;
    return is_done ? 0 : -1;
}
