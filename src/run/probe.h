/* SPDX-License-Identifier: Apache-2.0 */
/* The probe's HTTP server: up first, on a thread of its own, reading published values only. */
#ifndef SLUICE_RUN_PROBE_H
#define SLUICE_RUN_PROBE_H

#include "core/engine.h"
#include "core/err.h"
#include "run/state.h"

struct sluice_probe;

struct sluice_probe_config {
    const char *host;
    uint16_t port; /* 0: any free one */
    int64_t readiness_timeout_ms;
    int64_t loop_limit_ms; /* /livez fails when the loop has not ticked for so long */
};

/* Steps at which a delivery can fail; what is none of them counts as other. */
#define PROBE_STEPS(X)                                                                             \
    X(PARSE, "parse")                                                                              \
    X(HANDLER, "handler")                                                                          \
    X(LLM, "llm")                                                                                  \
    X(HTTP, "http")                                                                                \
    X(FIND, "find")                                                                                \
    X(OFFLOAD, "offload")                                                                          \
    X(STORE, "store")                                                                              \
    X(PUBLISH, "publish")                                                                          \
    X(OTHER, "other")

enum probe_step {
#define PROBE_STEP_ENUM(name, text) PROBE_STEP_##name,
    PROBE_STEPS(PROBE_STEP_ENUM)
#undef PROBE_STEP_ENUM
        PROBE_STEPS_COUNT
};

const char *sluice_probe_step_name(enum probe_step step);
/* PROBE_STEP_OTHER for NULL and for a name that is none. */
enum probe_step sluice_probe_step_of(const char *name);

#define SLUICE_PROBE_DENIED_SIZE 192u

/* What the loop publishes, as a whole. */
struct sluice_probe_snapshot {
    struct sluice_engine_metrics engine;
    uint8_t breakers[SLUICE_DEPENDENCIES_MAX];         /* enum sluice_breaker_state */
    const char *dependencies[SLUICE_DEPENDENCIES_MAX]; /* names, as long-lived as the probe */
    uint32_t dependencies_count;
    int32_t is_connected, is_degraded;
    struct sluice_engine_pause pause;     /* while degraded */
    int32_t has_journal, is_journal_away; /* its last answer was a failure, or none */
    /* What the NATS server denies these connections, in its words; "": nothing. */
    char denied_pull[SLUICE_PROBE_DENIED_SIZE], denied_publish[SLUICE_PROBE_DENIED_SIZE];
    uint64_t tokens_prompt, tokens_completion;
    uint64_t outputs_duplicate;
    uint64_t step_failures[PROBE_STEPS_COUNT];
};

/* Of a degraded one: "rate_limited", "breaker_open" or "breaker_half_open". */
const char *sluice_probe_pause_reason(const struct sluice_probe_snapshot *s);

/* Main thread. ERR_CONFIG naming host and port when the port cannot be had. */
SLUICE_MUST_CHECK
sluice_rc sluice_probe_create(const struct sluice_probe_config *config, struct sluice_probe **out,
                              struct sluice_err *err);
void sluice_probe_destroy(struct sluice_probe *p); /* accepts NULL */
uint16_t sluice_probe_port(const struct sluice_probe *p);
/* Any thread, no lock. */
void sluice_probe_update_last_seen(struct sluice_probe *p, int64_t mono_ms);
void sluice_probe_update_loop(struct sluice_probe *p, int64_t mono_ms);
/* Since the loop's last sign of life; 0 before the first. */
int64_t sluice_probe_loop_age_ms(const struct sluice_probe *p);
void sluice_probe_set_state(struct sluice_probe *p, enum sluice_run_state state);
enum sluice_run_state sluice_probe_state(const struct sluice_probe *p);
void sluice_probe_set_worker(struct sluice_probe *p, const char *name, const char *version);
/* Loop thread only. */
void sluice_probe_publish(struct sluice_probe *p, const struct sluice_probe_snapshot *snapshot);

const char *sluice_run_state_name(enum sluice_run_state state);

#endif
