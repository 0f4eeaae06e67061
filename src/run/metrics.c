/* SPDX-License-Identifier: Apache-2.0 */
#include "run/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct page {
    char *out;
    size_t size, len;
    int as_openmetrics;
};

SLUICE_PRINTF(2, 3)
static void line(struct page *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(p->out + p->len, p->size - p->len, format, arguments);
    va_end(arguments);
    if (n > 0 && (size_t)n < p->size - p->len) {
        p->len += (size_t)n;
    }
}

/* A family's head. Counters are named with _total; OpenMetrics names the family without it. */
static void head(struct page *p, const char *name, const char *type, const char *help)
{
    size_t len = strlen(name);
    if (p->as_openmetrics && strcmp(type, "counter") == 0 && len > 6) {
        len -= 6;
    }
    line(p, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)len, name, help, (int)len, name, type);
}

static void single(struct page *p, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    head(p, name, type, help);
    line(p, "%s %" PRIu64 "\n", name, value);
}

static void by_dependency(struct page *p, const char *name, const char *type, const char *help,
                          const uint64_t *values, const struct sluice_probe_snapshot *s)
{
    head(p, name, type, help);
    for (uint32_t i = 0; i < s->dependencies_count; i++) {
        line(p, "%s{dependency=\"%s\"} %" PRIu64 "\n", name, s->dependencies[i], values[i]);
    }
}

static void messages(struct page *p, const struct sluice_engine_metrics *m)
{
    head(p, "sluice_messages_total", "counter", "Deliveries that ended, by outcome.");
    for (int i = 0; i < SLUICE_OUTCOME_COUNT; i++) {
        line(p, "sluice_messages_total{outcome=\"%s\"} %" PRIu64 "\n",
             sluice_outcome_name((enum sluice_outcome)i), m->outcomes[i]);
    }
    head(p, "sluice_failures_total", "counter", "Failed deliveries, by reason.");
    for (int i = 1; i < SLUICE_FAILURE_COUNT; i++) {
        line(p, "sluice_failures_total{reason=\"%s\"} %" PRIu64 "\n",
             sluice_failure_name((enum sluice_failure)i), m->failures[i]);
    }
    head(p, "sluice_messages_in_state", "gauge", "Messages in flight, by state.");
    for (int i = 0; i < SLUICE_MSG_STATE_COUNT; i++) {
        if (i != SLUICE_MSG_DONE) {
            line(p, "sluice_messages_in_state{state=\"%s\"} %" PRIu64 "\n",
                 sluice_msg_state_name((enum sluice_msg_state)i), m->states[i]);
        }
    }
}

static void counters(struct page *p, const struct sluice_engine_metrics *m)
{
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"sluice_received_total", "Deliveries received.", m->received},
        {"sluice_redelivered_total", "Deliveries with a count above 1.", m->redelivered},
        {"sluice_refused_total", "Deliveries given back unread.", m->refused},
        {"sluice_taken_over_total", "Redeliveries that took over a running attempt.",
         m->taken_over},
        {"sluice_pulls_total", "Pull requests sent.", m->pulls},
        {"sluice_pulls_stalled_total", "Pulls that went silent and were given up.",
         m->pulls_stalled},
        {"sluice_pull_status_unknown_total", "Statuses that the pull loop does not know.",
         m->pull_status_unknown},
        {"sluice_lease_renewals_total", "In-progress signals sent.", m->renewals},
        {"sluice_leases_lost_total", "Attempts that lost their lease.", m->leases_lost},
        {"sluice_settles_repeated_total", "ACKs and TERMs sent again.", m->settles_repeated},
        {"sluice_naks_unanswered_total", "NAKs that the server did not confirm.",
         m->naks_unanswered},
        {"sluice_journal_answers_replayed_total", "Answers taken from the journal.",
         m->answers_replayed},
        {"sluice_journal_answers_kept_total", "Answers written to the journal.", m->answers_kept},
        {"sluice_journal_answers_unkept_total", "Answers that could not be journaled in time.",
         m->answers_unkept},
        {"sluice_journal_races_lost_total", "Answers that another delivery had journaled first.",
         m->races_lost},
        {"sluice_journal_reads_total", "Journal reads.", m->journal_reads},
        {"sluice_journal_unread_total", "Messages that went on without their journal.",
         m->journal_unread},
        {"sluice_rate_limited_total", "Calls answered with 429.", m->rate_limited},
        {"sluice_suspects_total", "Messages whose handler runs alone and marked.", m->suspects},
        {"sluice_marks_stale_total", "Marks found that no run had cleared.", m->marks_stale},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        single(p, rows[i].name, "counter", rows[i].help, rows[i].value);
    }
}

size_t sluice_metrics_render(const struct sluice_metrics_context *c, char *out, size_t size)
{
    const struct sluice_probe_snapshot *s = c->snapshot;
    const struct sluice_engine_metrics *m = &s->engine;
    struct page p = {.out = out, .size = size, .as_openmetrics = c->as_openmetrics};
    head(&p, "sluice_build_info", "gauge", "Versions.");
    line(&p, "sluice_build_info{version=\"%s\",worker=\"%s\",worker_version=\"%s\"} 1\n",
         SLUICE_VERSION, c->worker == NULL ? "" : c->worker, c->version == NULL ? "" : c->version);
    single(&p, "sluice_ready", "gauge", "1 while the worker is running.", (uint64_t)c->is_ready);
    single(&p, "sluice_nats_connected", "gauge", "1 while connected.", (uint64_t)s->is_connected);
    single(&p, "sluice_degraded", "gauge", "1 while pulling is held back.",
           (uint64_t)s->is_degraded);
    single(&p, "sluice_in_flight_messages", "gauge", "Messages in flight.", m->in_flight);
    single(&p, "sluice_in_flight_bytes", "gauge", "Bytes of messages in flight.",
           m->bytes_in_flight);
    single(&p, "sluice_pulls_open", "gauge", "Pull requests open.", m->pulls_open);
    messages(&p, m);
    counters(&p, m);
    head(&p, "sluice_step_failures_total", "counter", "Failed deliveries, by the step that failed.");
    for (int i = 0; i < PROBE_STEPS_COUNT; i++) {
        line(&p, "sluice_step_failures_total{step=\"%s\"} %" PRIu64 "\n",
             sluice_probe_step_name((enum probe_step)i), s->step_failures[i]);
    }
    by_dependency(&p, "sluice_calls_total", "counter", "Calls started.", m->calls_started, s);
    by_dependency(&p, "sluice_calls_failed_total", "counter", "Calls that failed.", m->calls_failed,
                  s);
    head(&p, "sluice_breaker_state", "gauge", "0 closed, 1 open, 2 half open.");
    for (uint32_t i = 0; i < s->dependencies_count; i++) {
        line(&p, "sluice_breaker_state{dependency=\"%s\"} %u\n", s->dependencies[i],
             s->breakers[i]);
    }
    head(&p, "sluice_llm_tokens_total", "counter", "Tokens, as the server counted.");
    line(&p, "sluice_llm_tokens_total{type=\"prompt\"} %" PRIu64 "\n", s->tokens_prompt);
    line(&p, "sluice_llm_tokens_total{type=\"completion\"} %" PRIu64 "\n", s->tokens_completion);
    single(&p, "sluice_outputs_duplicate_total", "counter",
           "Outputs that the stream had already stored.", s->outputs_duplicate);
    head(&p, "process_start_time_seconds", "gauge", "Start of the process, Unix time.");
    line(&p, "process_start_time_seconds %.3f\n", (double)c->started_ms / 1000);
    if (c->as_openmetrics) {
        line(&p, "# EOF\n");
    }
    return p.len;
}
