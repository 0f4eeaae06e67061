/* SPDX-License-Identifier: Apache-2.0 */
/* Breakers of the judges' own, kept by the calls that are seen to start and by the answers that
 * they get: INV-15. What an engine says of its own breakers is compared with them, never believed.
 */
#include "sim/check.h"

#include "sim/world.h"

/* Failures of several messages, or twice as many of whoever it was. */
static int must_open(const struct sim_watched_breaker *b,
                     const struct sluice_breaker_config *config)
{
    uint32_t needed = config->failure_threshold;
    return b->failures >= needed && b->completed >= config->minimum_throughput &&
           (b->sources_count >= config->minimum_sources || b->failures >= 2 * needed);
}

static void enter(const struct sim_world *w, struct sim_watched_breaker *b,
                  enum sluice_breaker_state state)
{
    b->state = (uint8_t)state;
    b->changed_ms = w->now_ms;
    b->period++;
    b->running = b->failures = b->completed = b->sources_count = b->successes = 0;
    b->is_answering = 0;
}

void sim_judge_breaker(struct sim_world *w, const struct sim_process *p, uint32_t dependency,
                       enum sluice_breaker_state to)
{
    sim_trace_text(w, "w%u breaker %s is %s", (unsigned)p->index,
                   w->plan.engine.dependencies[dependency].name, sluice_breaker_state_name(to));
    w->judge.watches[p->index].breakers[dependency].told = (uint8_t)to;
}

/* After each step: is the engine's breaker where the calls have brought it? */
void sim_judge_breakers(struct sim_world *w, const struct sim_watch *watch)
{
    for (uint32_t i = 0; i < w->plan.engine.dependencies_count; i++) {
        const struct sim_watched_breaker *b = &watch->breakers[i];
        if (b->told != b->state) {
            sim_judge_fail(w, SIM_RULE_RETRY,
                           "the breaker of %s is %s after %u failures and %u successes of trials; "
                           "it should be %s",
                           w->plan.engine.dependencies[i].name,
                           sluice_breaker_state_name((enum sluice_breaker_state)b->told),
                           b->failures, b->successes,
                           sluice_breaker_state_name((enum sluice_breaker_state)b->state));
            return;
        }
    }
}

int sim_judge_is_shut(const struct sim_world *w, const struct sim_watch *watch, uint32_t dependency)
{
    const struct sim_watched_breaker *b = &watch->breakers[dependency];
    return b->state == SLUICE_BREAKER_OPEN &&
           w->now_ms < b->changed_ms + w->plan.engine.dependencies[dependency].reset_timeout_ms;
}

uint32_t sim_judge_may_call(struct sim_world *w, struct sim_watch *watch,
                            const struct sim_attempt *a, uint8_t dependency,
                            const struct sluice_event *ev)
{
    if (dependency >= SLUICE_DEPENDENCIES_MAX) {
        return 0;
    }
    struct sim_watched_breaker *b = &watch->breakers[dependency];
    const struct sluice_breaker_config *config = &w->plan.engine.dependencies[dependency];
    if (sim_judge_is_shut(w, watch, dependency)) {
        sim_judge_fail(w, SIM_RULE_RETRY,
                       "message %u calls %s, whose breaker is open since %lld ms, not %lld",
                       a->sequence, config->name, (long long)(w->now_ms - b->changed_ms),
                       (long long)config->reset_timeout_ms);
    } else if (b->state == SLUICE_BREAKER_HALF_OPEN && b->running >= config->half_open_max) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u calls %s beside %u trials", a->sequence,
                       config->name, b->running);
    } else if (ev->mono_ms < b->limited_until_ms) {
        sim_judge_fail(w, SIM_RULE_RETRY, "message %u calls %s %lld ms before its Retry-After",
                       a->sequence, config->name, (long long)(b->limited_until_ms - ev->mono_ms));
    }
    if (b->state == SLUICE_BREAKER_OPEN) { /* the first trial */
        enter(w, b, SLUICE_BREAKER_HALF_OPEN);
    }
    b->running++;
    return b->period;
}

/* A table of the judges' own. What did not go out cannot be the message's fault; what is said to be
 * away is, when it was there for the call before. */
static enum sim_blame blame_of(const struct sim_watched_breaker *b, uint8_t fate)
{
    switch ((enum sluice_fate)fate) {
    case SLUICE_FATE_UNREACHABLE:
    case SLUICE_FATE_CANCELLED: /* of an output: there was no connection */
        return SIM_BLAME_NONE;
    case SLUICE_FATE_UNAVAILABLE:
        return b->is_answering ? SIM_BLAME_SURE : SIM_BLAME_NONE;
    case SLUICE_FATE_RETRY:
    case SLUICE_FATE_UNKNOWN:
    case SLUICE_FATE_BAD_ANSWER:
        return SIM_BLAME_SURE;
    default:
        return SIM_BLAME_UNCLEAR; /* has a reason of its own */
    }
}

static void succeeded(const struct sim_world *w, struct sim_watched_breaker *b,
                      const struct sluice_breaker_config *config)
{
    b->failures = b->sources_count = 0;
    if (b->state == SLUICE_BREAKER_CLOSED) {
        b->is_answering = 1;
    } else if (++b->successes >= config->success_threshold) {
        enter(w, b, SLUICE_BREAKER_CLOSED);
    }
}

static void failed(const struct sim_world *w, struct sim_watched_breaker *b,
                   const struct sluice_breaker_config *config, uint32_t sequence)
{
    b->is_answering = 0;
    b->failures++;
    uint32_t i = 0;
    while (i < b->sources_count && b->sources[i] != sequence) {
        i++;
    }
    if (i == b->sources_count && i < SLUICE_BREAKER_SOURCES_MAX) {
        b->sources[b->sources_count++] = sequence;
    }
    if (b->state == SLUICE_BREAKER_HALF_OPEN || must_open(b, config)) {
        enter(w, b, SLUICE_BREAKER_OPEN);
    }
}

static void breaker_called(const struct sim_world *w, struct sim_watched_breaker *b,
                           const struct sluice_breaker_config *config, uint32_t sequence,
                           uint8_t fate)
{
    b->running -= b->running > 0;
    if (fate == SLUICE_FATE_CANCELLED || fate == SLUICE_FATE_RATE_LIMITED ||
        fate == SLUICE_FATE_NO_MEMORY) {
        return; /* says nothing about the health of the other side */
    }
    b->completed++;
    if (fate == SLUICE_FATE_RETRY || fate == SLUICE_FATE_UNKNOWN ||
        fate == SLUICE_FATE_UNREACHABLE || fate == SLUICE_FATE_UNAVAILABLE) {
        failed(w, b, config, sequence);
    } else {
        succeeded(w, b, config);
    }
}

enum sim_blame sim_judge_called(struct sim_world *w, struct sim_watch *watch,
                                const struct sim_attempt *a, uint8_t dependency, uint32_t period,
                                uint8_t fate)
{
    if (dependency >= SLUICE_DEPENDENCIES_MAX) {
        return SIM_BLAME_UNCLEAR;
    }
    struct sim_watched_breaker *b = &watch->breakers[dependency];
    enum sim_blame blame = blame_of(b, fate);
    if (b->period == period) { /* of an older period: counts nowhere */
        breaker_called(w, b, &w->plan.engine.dependencies[dependency], a->sequence, fate);
    }
    return blame;
}

void sim_judge_uncalled(struct sim_world *w, struct sim_watch *watch, const struct sim_attempt *a)
{
    for (uint32_t i = 0; i < a->steps_count; i++) {
        const struct sim_seen *s = &a->steps[i];
        if (s->was_started && s->state == SIM_SEEN_RUNNING) {
            (void)sim_judge_called(w, watch, a, s->dependency, s->period, SLUICE_FATE_CANCELLED);
        }
    }
    if (a->store_owed) {
        (void)sim_judge_called(w, watch, a, SLUICE_DEP_STORE, a->store_period,
                               SLUICE_FATE_CANCELLED);
    }
    for (uint32_t i = 0; i < a->outputs_count; i++) {
        if (a->publish_owed >> i & 1) {
            (void)sim_judge_called(w, watch, a, SLUICE_DEP_PUBLISH, a->publish_period[i],
                                   SLUICE_FATE_CANCELLED);
        }
    }
}
