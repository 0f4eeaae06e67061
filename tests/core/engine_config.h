/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that engines under test run with; a test changes what it is about. */
#ifndef SLUICE_TESTS_ENGINE_CONFIG_H
#define SLUICE_TESTS_ENGINE_CONFIG_H

#include "core/breaker.h"
#include "core/engine.h"

static inline struct sluice_engine_config engine_config(struct sluice_allocator allocator)
{
    struct sluice_engine_config c = {.max_in_flight = 4,
                                     .message_size_max = 1000,
                                     .ack_wait_ms = 30000,
                                     .handler_timeout_ms = 300000,
                                     .nak_delay_ms = 1000,
                                     .nak_delay_max_ms = 60000,
                                     .retry_after_max_ms = 300000,
                                     .settle_timeout_ms = 2000,
                                     .journal_timeout_ms = 2000,
                                     .pull_expires_ms = 5000,
                                     .pull_heartbeat_ms = 1000,
                                     .max_deliver = 3,
                                     .suspect_deliveries = 3,
                                     .dependencies_count = 3,
                                     .seed = 1,
                                     .allocator = allocator};
    c.dependencies[SLUICE_DEP_LLM] = sluice_breaker_service("llm");
    c.dependencies[SLUICE_DEP_STORE] = sluice_breaker_service("store");
    c.dependencies[SLUICE_DEP_PUBLISH] = sluice_breaker_publish("publish");
    return c;
}

#endif
