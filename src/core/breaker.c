/* SPDX-License-Identifier: Apache-2.0 */
#include "core/breaker.h"

#include <string.h>

struct sluice_breaker_config sluice_breaker_service(const char *name)
{
    return (struct sluice_breaker_config){.name = name,
                                          .failure_threshold = 5,
                                          .half_open_max = 3,
                                          .success_threshold = 2,
                                          .reset_timeout_ms = 60000};
}

struct sluice_breaker_config sluice_breaker_publish(const char *name)
{
    return (struct sluice_breaker_config){.name = name,
                                          .failure_threshold = 5,
                                          .half_open_max = 1,
                                          .success_threshold = 1,
                                          .reset_timeout_ms = 30000};
}

static sluice_rc refuse(struct sluice_err *err, const struct sluice_breaker_config *config,
                        const char *field, long long value, const char *expected)
{
    return sluice_err_set(err, SLUICE_ERR_CONFIG, "breaker %s: %s: %lld, expected %s",
                          config->name == NULL ? "(unnamed)" : config->name, field, value,
                          expected);
}

static sluice_rc config_check(const struct sluice_breaker_config *c, struct sluice_err *err)
{
    if (c->failure_threshold < 1) {
        return refuse(err, c, "failure_threshold", c->failure_threshold, "at least 1");
    }
    if (c->half_open_max < 1) {
        return refuse(err, c, "half_open_max", c->half_open_max, "at least 1");
    }
    if (c->success_threshold < 1) {
        return refuse(err, c, "success_threshold", c->success_threshold, "at least 1");
    }
    if (c->minimum_sources > SLUICE_BREAKER_SOURCES_MAX) {
        return refuse(err, c, "minimum_sources", c->minimum_sources, "at most 8");
    }
    if (c->reset_timeout_ms <= 0) {
        return refuse(err, c, "reset_timeout_ms", c->reset_timeout_ms, "more than 0");
    }
    return SLUICE_OK;
}

sluice_rc sluice_breaker_init(struct sluice_breaker *b, const struct sluice_breaker_config *config,
                              int64_t now_ms, struct sluice_err *err)
{
    sluice_rc rc = config_check(config, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    memset(b, 0, sizeof *b);
    b->config = *config;
    b->period = 1;
    b->changed_at_ms = now_ms;
    return SLUICE_OK;
}

static void enter(struct sluice_breaker *b, enum sluice_breaker_state state, int64_t now_ms)
{
    b->state = state;
    b->period++;
    b->changed_at_ms = now_ms;
    b->trials = 0;
    b->trial_successes = 0;
    if (state == SLUICE_BREAKER_CLOSED) {
        b->consecutive_failures = 0;
        b->sources_count = 0;
        b->completed = 0;
        b->metrics.closed++;
    } else if (state == SLUICE_BREAKER_OPEN) {
        b->metrics.opened++;
    } else {
        b->metrics.half_opened++;
    }
}

static int is_reset_due(const struct sluice_breaker *b, int64_t now_ms)
{
    return !b->is_held && now_ms - b->failed_at_ms >= b->config.reset_timeout_ms;
}

sluice_rc sluice_breaker_acquire(struct sluice_breaker *b, int64_t now_ms,
                                 struct sluice_permit *permit, int64_t *retry_after_ms)
{
    if (b->state == SLUICE_BREAKER_OPEN && is_reset_due(b, now_ms)) {
        enter(b, SLUICE_BREAKER_HALF_OPEN, now_ms);
    }
    int is_admitted = b->state == SLUICE_BREAKER_CLOSED ||
                      (b->state == SLUICE_BREAKER_HALF_OPEN && b->trials < b->config.half_open_max);
    if (!is_admitted) {
        b->metrics.rejected++;
        if (retry_after_ms != NULL) {
            int64_t at = sluice_breaker_trial_at_ms(b);
            *retry_after_ms = at == INT64_MAX ? INT64_MAX : (at > now_ms ? at - now_ms : 0);
        }
        return SLUICE_ERR_CIRCUIT_OPEN;
    }
    *permit = (struct sluice_permit){.period = b->period, .is_held = 1};
    if (b->state == SLUICE_BREAKER_HALF_OPEN) {
        permit->is_trial = 1;
        b->trials++;
    }
    return SLUICE_OK;
}

static void source_add(struct sluice_breaker *b, uint64_t source)
{
    for (uint32_t i = 0; i < b->sources_count; i++) {
        if (b->sources[i] == source) {
            return;
        }
    }
    if (b->sources_count < SLUICE_BREAKER_SOURCES_MAX) {
        b->sources[b->sources_count++] = source;
    }
}

static int has_enough_sources(const struct sluice_breaker *b)
{
    return b->sources_count >= b->config.minimum_sources ||
           b->consecutive_failures / SLUICE_BREAKER_LONE_FACTOR >= b->config.failure_threshold;
}

static void failed(struct sluice_breaker *b, int64_t now_ms, uint64_t source)
{
    b->failed_at_ms = now_ms;
    if (b->consecutive_failures < UINT32_MAX) {
        b->consecutive_failures++;
    }
    source_add(b, source);
    if (b->state == SLUICE_BREAKER_HALF_OPEN) {
        enter(b, SLUICE_BREAKER_OPEN, now_ms);
        return;
    }
    if (b->consecutive_failures >= b->config.failure_threshold &&
        b->completed >= b->config.minimum_throughput && has_enough_sources(b)) {
        enter(b, SLUICE_BREAKER_OPEN, now_ms);
    }
}

static void succeeded(struct sluice_breaker *b, int64_t now_ms)
{
    b->consecutive_failures = 0;
    b->sources_count = 0;
    if (b->state == SLUICE_BREAKER_HALF_OPEN &&
        ++b->trial_successes >= b->config.success_threshold) {
        enter(b, SLUICE_BREAKER_CLOSED, now_ms);
    }
}

void sluice_breaker_finish(struct sluice_breaker *b, int64_t now_ms, struct sluice_permit *permit,
                           enum sluice_call_result result, uint64_t source)
{
    if (!permit->is_held) {
        return;
    }
    permit->is_held = 0;
    switch (result) {
    case SLUICE_CALL_OK:
        b->metrics.successes++;
        break;
    case SLUICE_CALL_TIMED_OUT:
        b->metrics.timeouts++;
        b->metrics.failures++;
        break;
    case SLUICE_CALL_FAILED:
        b->metrics.failures++;
        break;
    case SLUICE_CALL_CANCELLED:
    default:
        b->metrics.cancelled++;
        break;
    }
    if (permit->period != b->period) {
        b->metrics.late++; /* admitted in another period: it says nothing about this one */
        return;
    }
    if (permit->is_trial) {
        b->trials--;
    }
    if (result == SLUICE_CALL_CANCELLED) {
        return;
    }
    if (b->completed < UINT32_MAX) {
        b->completed++;
    }
    if (result == SLUICE_CALL_OK) {
        succeeded(b, now_ms);
    } else {
        failed(b, now_ms, source);
    }
}

uint32_t sluice_breaker_allowance(const struct sluice_breaker *b, int64_t now_ms)
{
    if (b->state == SLUICE_BREAKER_CLOSED) {
        return UINT32_MAX;
    }
    if (b->state == SLUICE_BREAKER_HALF_OPEN) {
        return b->config.half_open_max - b->trials;
    }
    return is_reset_due(b, now_ms) ? b->config.half_open_max : 0;
}

int sluice_breaker_is_answering(const struct sluice_breaker *b)
{
    return b->state == SLUICE_BREAKER_CLOSED && b->completed > 0 && b->consecutive_failures == 0;
}

int64_t sluice_breaker_trial_at_ms(const struct sluice_breaker *b)
{
    if (b->state == SLUICE_BREAKER_CLOSED || (b->state == SLUICE_BREAKER_OPEN && b->is_held)) {
        return INT64_MAX;
    }
    return b->state == SLUICE_BREAKER_OPEN ? b->failed_at_ms + b->config.reset_timeout_ms
                                           : b->changed_at_ms;
}

void sluice_breaker_reset(struct sluice_breaker *b, int64_t now_ms)
{
    b->is_held = 0;
    if (b->state != SLUICE_BREAKER_CLOSED) {
        enter(b, SLUICE_BREAKER_CLOSED, now_ms);
        return;
    }
    b->consecutive_failures = 0;
    b->sources_count = 0;
    b->completed = 0;
}

void sluice_breaker_force_open(struct sluice_breaker *b, int64_t now_ms, int hold)
{
    b->is_held = hold != 0;
    b->failed_at_ms = now_ms; /* without hold it recovers by the normal timer */
    if (b->state != SLUICE_BREAKER_OPEN) {
        enter(b, SLUICE_BREAKER_OPEN, now_ms);
    }
}

const char *sluice_breaker_state_name(enum sluice_breaker_state state)
{
    static const char *const names[] = {
#define NAME(name, text) [SLUICE_BREAKER_##name] = (text),
        SLUICE_BREAKER_STATES(NAME)
#undef NAME
    };
    return (unsigned)state < SLUICE_BREAKER_STATE_COUNT ? names[state] : "unknown";
}
