/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker of the product: one mechanism, told the time by its caller. Not thread-safe.
 */
#ifndef SLUICE_CORE_BREAKER_H
#define SLUICE_CORE_BREAKER_H

#include "core/err.h"
#include <stdint.h>

#define SLUICE_BREAKER_STATES(X) X(CLOSED, "closed") X(OPEN, "open") X(HALF_OPEN, "half_open")

enum sluice_breaker_state {
#define SLUICE_BREAKER_ENUM(name, text) SLUICE_BREAKER_##name,
    SLUICE_BREAKER_STATES(SLUICE_BREAKER_ENUM)
#undef SLUICE_BREAKER_ENUM
        SLUICE_BREAKER_STATE_COUNT
};

#define SLUICE_BREAKER_SOURCES_MAX 8u
/* So many times failure_threshold in a row open it from however few sources: while little is at
 * work, an outage must not use up the attempts of the few that are. */
#define SLUICE_BREAKER_LONE_FACTOR 2u

struct sluice_breaker_config {
    const char *name;
    uint32_t failure_threshold;  /* consecutive failures that open it, >= 1 */
    uint32_t half_open_max;      /* trials in flight, >= 1 */
    uint32_t success_threshold;  /* trial successes that close it, >= 1 */
    uint32_t minimum_throughput; /* calls completed since CLOSED was entered before it may open */
    uint32_t minimum_sources;    /* different sources among the consecutive failures,
                                    0…SLUICE_BREAKER_SOURCES_MAX; or see
                                    SLUICE_BREAKER_LONE_FACTOR */
    int64_t reset_timeout_ms;    /* > 0 */
};

struct sluice_breaker_metrics {
    uint64_t successes, failures, cancelled, rejected, timeouts, late;
    uint64_t opened, half_opened, closed; /* transitions into each state */
};

struct sluice_breaker {
    struct sluice_breaker_config config;
    enum sluice_breaker_state state;
    uint32_t period; /* grows with each change of state; permits of older periods count in the
                        metrics only */
    uint32_t consecutive_failures, completed, trials, trial_successes;
    uint64_t sources[SLUICE_BREAKER_SOURCES_MAX];
    uint32_t sources_count;
    int is_held; /* forced open until reset */
    int64_t failed_at_ms, changed_at_ms;
    struct sluice_breaker_metrics metrics;
};

/* The right to make one call; ends exactly once. */
struct sluice_permit {
    uint32_t period;
    uint8_t is_trial;
    uint8_t is_held; /* 1 between acquire and finish */
};

enum sluice_call_result {
    SLUICE_CALL_OK,
    SLUICE_CALL_FAILED,
    SLUICE_CALL_TIMED_OUT,
    SLUICE_CALL_CANCELLED
};

/* The profiles of SVC-12. */
struct sluice_breaker_config sluice_breaker_service(const char *name);
struct sluice_breaker_config sluice_breaker_publish(const char *name);

/* ERR_CONFIG naming the field when a value is out of range. */
sluice_rc sluice_breaker_init(struct sluice_breaker *b, const struct sluice_breaker_config *config,
                              int64_t now_ms, struct sluice_err *err);
/* SLUICE_OK and a permit, or SLUICE_ERR_CIRCUIT_OPEN; retry_after_ms (may be NULL) is then the time
 * to the next possible trial, 0 when only the trial slots are taken. OPEN becomes HALF_OPEN here
 * once the reset time has passed. */
sluice_rc sluice_breaker_acquire(struct sluice_breaker *b, int64_t now_ms,
                                 struct sluice_permit *permit, int64_t *retry_after_ms);
/* End a permit. `source` identifies who called (a message), for minimum_sources. A permit that is
 * not held is ignored. */
void sluice_breaker_finish(struct sluice_breaker *b, int64_t now_ms, struct sluice_permit *permit,
                           enum sluice_call_result result, uint64_t source);
/* How many calls would be admitted now: UINT32_MAX when closed, 0 when open and before its reset
 * time. Changes nothing. */
uint32_t sluice_breaker_allowance(const struct sluice_breaker *b, int64_t now_ms);
/* 1 when closed and the newest call that says something was answered. */
int sluice_breaker_is_answering(const struct sluice_breaker *b);
/* When the next trial is possible; INT64_MAX when closed or held open. */
int64_t sluice_breaker_trial_at_ms(const struct sluice_breaker *b);
void sluice_breaker_reset(struct sluice_breaker *b, int64_t now_ms);
void sluice_breaker_force_open(struct sluice_breaker *b, int64_t now_ms, int hold);
const char *sluice_breaker_state_name(enum sluice_breaker_state state);

#endif
