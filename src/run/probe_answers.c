/* SPDX-License-Identifier: Apache-2.0 */
#include "run/probe_answers.h"

#include "codec/buffer.h"
#include "port/clock.h"
#include "run/metrics.h"
#include <stdio.h>
#include <string.h>

#define PAUSE_SIZE 256
/* A byte becomes six at the most (\u001f), between two quotes. */
#define QUOTED_SIZE (6 * SLUICE_PROBE_DENIED_SIZE + 2)
#define DENIED_SIZE (QUOTED_SIZE + 64)

const char *sluice_probe_pause_reason(const struct sluice_probe_snapshot *s)
{
    if (s->pause.is_rate_limit) {
        return "rate_limited";
    }
    return s->breakers[s->pause.dependency] == SLUICE_BREAKER_OPEN ? "breaker_open"
                                                                   : "breaker_half_open";
}

static void snapshot_read(const struct sluice_probe *p, struct sluice_probe_snapshot *out)
{
    uint64_t words[sizeof p->words / 8];
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t before = atomic_load_explicit(&p->sequence, memory_order_acquire);
        for (size_t i = 0; i < sizeof words / 8; i++) {
            words[i] = atomic_load_explicit(&p->words[i], memory_order_relaxed);
        }
        atomic_thread_fence(memory_order_acquire);
        if ((before & 1) == 0 &&
            before == atomic_load_explicit(&p->sequence, memory_order_relaxed)) {
            break;
        }
    }
    memcpy(out, words, sizeof *out);
}

/* A member that says why pulling is held back, or nothing. */
static const char *pause_member(const struct sluice_probe_snapshot *s, char *out, size_t size)
{
    out[0] = '\0';
    if (s->is_degraded) {
        int64_t left_ms = s->pause.until_ms - sluice_mono_ms();
        double left_s = s->pause.until_ms == INT64_MAX || left_ms < 0 ? 0 : (double)left_ms / 1000;
        (void)snprintf(out, size,
                       ",\"pull_paused\":{\"dependency\":\"%s\",\"reason\":\"%s\",\"for_s\":%.3f}",
                       s->dependencies[s->pause.dependency], sluice_probe_pause_reason(s), left_s);
    }
    return out;
}

/* A member that names what the NATS server denies, or nothing. */
static const char *denied_member(const struct sluice_probe_snapshot *s, char *out, size_t size)
{
    char quoted[QUOTED_SIZE];
    struct sluice_buffer b;
    int is_pull = s->denied_pull[0] != '\0';
    const char *text = is_pull ? s->denied_pull : s->denied_publish;
    out[0] = '\0';
    if (text[0] != '\0') {
        sluice_buffer_init_within(&b, NULL, quoted, sizeof quoted, sizeof quoted - 1);
        sluice_buffer_json(&b, text, strlen(text));
        (void)snprintf(out, size, ",\"denied\":{\"link\":\"%s\",\"text\":%.*s}",
                       is_pull ? "pull" : "publish", (int)b.len, quoted);
    }
    return out;
}

static void ready_answer(const struct sluice_probe *p, struct probe_answer *a)
{
    struct sluice_probe_snapshot s;
    snapshot_read(p, &s);
    enum sluice_run_state state = sluice_probe_state(p);
    int64_t age = sluice_mono_ms() - atomic_load(&p->last_seen_ms);
    const char *reason = NULL;
    if (state == SLUICE_RUN_FAILED) {
        reason = "failed";
    } else if (state == SLUICE_RUN_DRAINING || state == SLUICE_RUN_STOPPED) {
        reason = "draining";
    } else if (state != SLUICE_RUN_RUNNING) {
        reason = "starting";
    } else if (age > p->config.readiness_timeout_ms) {
        reason = s.is_connected ? "stale" : "nats_disconnected";
    } else if (s.denied_pull[0] != '\0') {
        reason = "nats_denied"; /* it gets no messages, or cannot acknowledge them */
    }
    a->status = reason == NULL ? 200 : 503;
    char pause[PAUSE_SIZE], denied[DENIED_SIZE];
    int is_degraded = s.is_degraded || s.denied_publish[0] != '\0';
    double age_s = state < SLUICE_RUN_RUNNING ? 0 : (double)age / 1000;
    int n =
        snprintf(a->body, sizeof a->body,
                 "{\"status\":\"%s\",\"state\":\"%s\",\"last_seen_age_s\":%.3f,"
                 "\"timeout_s\":%.3f,\"degraded\":%s%s%s%s%s%s}\n",
                 reason == NULL ? "ready" : "not_ready", sluice_run_state_name(state), age_s,
                 (double)p->config.readiness_timeout_ms / 1000, is_degraded ? "true" : "false",
                 pause_member(&s, pause, sizeof pause), denied_member(&s, denied, sizeof denied),
                 reason == NULL ? "" : ",\"reason\":\"", reason == NULL ? "" : reason,
                 reason == NULL ? "" : "\"");
    a->len = (size_t)n;
}

static void live_answer(const struct sluice_probe *p, struct probe_answer *a)
{
    enum sluice_run_state state = sluice_probe_state(p);
    int64_t age = sluice_probe_loop_age_ms(p);
    int is_alive = state != SLUICE_RUN_FAILED && age <= p->config.loop_limit_ms;
    a->status = is_alive ? 200 : 503;
    a->len = (size_t)snprintf(
        a->body, sizeof a->body, "{\"status\":\"%s\",\"state\":\"%s\",\"loop_age_s\":%.3f}\n",
        is_alive ? "alive" : "dead", sluice_run_state_name(state), (double)age / 1000);
}

static void startup_answer(const struct sluice_probe *p, struct probe_answer *a)
{
    enum sluice_run_state state = sluice_probe_state(p);
    int is_up = state >= SLUICE_RUN_RUNNING && state != SLUICE_RUN_FAILED;
    a->status = is_up ? 200 : 503;
    a->len = (size_t)snprintf(a->body, sizeof a->body, "{\"status\":\"%s\",\"state\":\"%s\"}\n",
                              is_up ? "started" : "starting", sluice_run_state_name(state));
}

static void health_answer(const struct sluice_probe *p, struct probe_answer *a)
{
    struct sluice_probe_snapshot s;
    snapshot_read(p, &s);
    enum sluice_run_state state = sluice_probe_state(p);
    int is_allowed = s.denied_pull[0] == '\0' && s.denied_publish[0] == '\0';
    int is_healthy = s.is_connected && is_allowed && !s.is_degraded && !s.is_journal_away &&
                     state == SLUICE_RUN_RUNNING;
    for (uint32_t i = 0; i < s.dependencies_count; i++) {
        is_healthy &= s.breakers[i] == SLUICE_BREAKER_CLOSED;
    }
    const char *worker = atomic_load(&p->worker);
    const char *version = atomic_load(&p->version);
    int n = snprintf(a->body, sizeof a->body,
                     "{\"status\":\"%s\",\"state\":\"%s\",\"worker\":{\"name\":\"%s\",\"version\":"
                     "\"%s\"},\"in_flight\":%u,\"services\":{\"nats\":{\"status\":\"%s\"}",
                     is_healthy ? "healthy" : "degraded", sluice_run_state_name(state),
                     worker == NULL ? "" : worker, version == NULL ? "" : version,
                     s.engine.in_flight, s.is_connected && is_allowed ? "healthy" : "unhealthy");
    if (s.has_journal) {
        n += snprintf(a->body + n, sizeof a->body - (size_t)n, ",\"journal\":{\"status\":\"%s\"}",
                      s.is_journal_away ? "unhealthy" : "healthy");
    }
    for (uint32_t i = 0; i < s.dependencies_count; i++) {
        n += snprintf(a->body + n, sizeof a->body - (size_t)n,
                      ",\"%s\":{\"status\":\"%s\",\"breaker\":\"%s\"}", s.dependencies[i],
                      s.breakers[i] == SLUICE_BREAKER_CLOSED ? "healthy" : "unhealthy",
                      sluice_breaker_state_name((enum sluice_breaker_state)s.breakers[i]));
    }
    char pause[PAUSE_SIZE], denied[DENIED_SIZE];
    n += snprintf(a->body + n, sizeof a->body - (size_t)n, "}%s%s}\n",
                  pause_member(&s, pause, sizeof pause), denied_member(&s, denied, sizeof denied));
    a->status = 200;
    a->len = (size_t)n;
}

static void metrics_answer(const struct sluice_probe *p, const char *accept, struct probe_answer *a)
{
    struct sluice_probe_snapshot s;
    snapshot_read(p, &s);
    struct sluice_metrics_context context = {
        .snapshot = &s,
        .is_ready = sluice_probe_state(p) == SLUICE_RUN_RUNNING,
        .worker = atomic_load(&p->worker),
        .version = atomic_load(&p->version),
        .started_ms = atomic_load(&p->started_ms),
        .as_openmetrics = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL};
    a->status = 200;
    a->type = context.as_openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                     : "text/plain; version=0.0.4; charset=utf-8";
    a->len = sluice_metrics_render(&context, a->body, sizeof a->body);
}

int probe_path_answer(const struct sluice_probe *p, const char *path, const char *accept,
                      struct probe_answer *a)
{
    a->type = "application/json";
    if (strcmp(path, "/readyz") == 0 || strcmp(path, "/ready") == 0) {
        ready_answer(p, a);
    } else if (strcmp(path, "/livez") == 0) {
        live_answer(p, a);
    } else if (strcmp(path, "/startupz") == 0) {
        startup_answer(p, a);
    } else if (strcmp(path, "/health") == 0) {
        health_answer(p, a);
    } else if (strcmp(path, "/metrics") == 0) {
        metrics_answer(p, accept, a);
    } else if (strcmp(path, "/version") == 0) {
        a->status = 200;
        a->len =
            (size_t)snprintf(a->body, sizeof a->body, "{\"version\":\"%s\",\"abi\":\"%u.%u\"}\n",
                             SLUICE_VERSION, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    } else {
        return 0;
    }
    return 1;
}
