/* SPDX-License-Identifier: Apache-2.0 */
#include "run/engine_config.h"

#include <string.h>

#define PULL_EXPIRES_MS    5000 /* short: an abandoned pull reserves its slots until it expires */
#define PULL_HEARTBEAT_MS  1000
#define SETTLE_TIMEOUT_MS  2000
#define JOURNAL_TIMEOUT_MS 2000
#define SUSPECT_DELIVERIES 3
#define BREAKER_SOURCES    3

/* The profile of a dependency, with what can be set of it. */
static struct sluice_breaker_config breaker_of(struct sluice_breaker_config profile,
                                               int64_t failures, int64_t reset_ms)
{
    profile.failure_threshold = (uint32_t)failures;
    profile.reset_timeout_ms = reset_ms;
    profile.minimum_sources = BREAKER_SOURCES;
    return profile;
}

struct sluice_engine_config sluice_engine_config_of(const struct sluice_settings *s)
{
    struct sluice_engine_config c = {.max_in_flight = (uint32_t)s->max_in_flight,
                                     .max_bytes = (uint64_t)s->max_bytes_in_flight,
                                     .ack_wait_ms = s->ack_wait_ms,
                                     .handler_timeout_ms = s->handler_timeout_ms,
                                     .nak_delay_ms = s->nak_delay_ms,
                                     .nak_delay_max_ms = s->nak_delay_max_ms,
                                     .retry_after_max_ms = s->retry_after_max_ms,
                                     .settle_timeout_ms = SETTLE_TIMEOUT_MS,
                                     .journal_timeout_ms = JOURNAL_TIMEOUT_MS,
                                     .pull_expires_ms = PULL_EXPIRES_MS,
                                     .pull_heartbeat_ms = PULL_HEARTBEAT_MS,
                                     .max_deliver = (uint32_t)s->max_deliver,
                                     .suspect_deliveries = SUSPECT_DELIVERIES,
                                     .bury_rejected = strcmp(s->on_reject, "dead-letter") == 0,
                                     .journal = strcmp(s->journal, "on") == 0,
                                     .dependencies_count = SLUICE_DEP_SERVICES + s->services_count};
    c.dependencies[SLUICE_DEP_LLM] =
        breaker_of(sluice_breaker_service("llm"), s->llm_breaker_failures, s->llm_breaker_reset_ms);
    c.dependencies[SLUICE_DEP_STORE] = breaker_of(
        sluice_breaker_service("store"), s->mongodb_breaker_failures, s->mongodb_breaker_reset_ms);
    c.dependencies[SLUICE_DEP_PUBLISH] =
        breaker_of(sluice_breaker_publish("publish"), s->publish_breaker_failures,
                   s->publish_breaker_reset_ms);
    for (uint32_t i = 0; i < s->services_count; i++) {
        const struct sluice_service *service = &s->services[i];
        c.dependencies[SLUICE_DEP_SERVICES + i] =
            breaker_of(sluice_breaker_service(service->name), service->breaker_failures,
                       service->breaker_reset_ms);
    }
    return c;
}
