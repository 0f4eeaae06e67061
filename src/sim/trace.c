/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/trace.h"

#include "sim/world.h"
#include <stdarg.h>

static int is_on(const struct sim_world *w)
{
    return w->trace.out != NULL || w->trace.ring != NULL;
}

static void put(struct sim_world *w, const char *line)
{
    struct sim_trace *t = &w->trace;
    if (t->out != NULL) {
        fprintf(t->out, "%s\n", line);
    }
    if (t->ring != NULL) {
        snprintf(t->ring[t->ring_next++ % t->ring_size], SIM_TRACE_LINE, "%s", line);
    }
}

SLUICE_PRINTF(3, 4)
static void say(struct sim_world *w, const struct sim_process *p, const char *format, ...)
{
    char line[SIM_TRACE_LINE];
    char who[8] = "--";
    if (p != NULL) {
        snprintf(who, sizeof who, "w%u", (unsigned)p->index);
    }
    int len = snprintf(line, sizeof line, "%10.3f %s ", (double)w->now_ms / 1000.0, who);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + len, sizeof line - (size_t)len, format, arguments);
    va_end(arguments);
    put(w, line);
}

void sim_trace_text(struct sim_world *w, const char *format, ...)
{
    if (!is_on(w)) {
        return;
    }
    char text[SIM_TRACE_LINE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say(w, NULL, "%s", text);
}

void sim_trace_plan(struct sim_world *w)
{
    const struct sim_plan *p = &w->plan;
    const struct sluice_engine_config *c = &p->engine;
    sim_trace_text(w, "%s, seed %llu: %u workers, %u messages within %lld ms, calm at %lld ms",
                   sim_profile_name(p->profile), (unsigned long long)p->seed, p->workers_count,
                   w->inputs_count, (long long)p->publish_span_ms, (long long)p->calm_at_ms);
    sim_trace_text(w, "engine: in flight %u, bytes %llu, ack wait %lld, handler timeout %lld",
                   c->max_in_flight, (unsigned long long)c->max_bytes, (long long)c->ack_wait_ms,
                   (long long)c->handler_timeout_ms);
    sim_trace_text(w,
                   "engine: NAK %lld to %lld, retry after max %lld, settle %lld, journal %s %lld",
                   (long long)c->nak_delay_ms, (long long)c->nak_delay_max_ms,
                   (long long)c->retry_after_max_ms, (long long)c->settle_timeout_ms,
                   c->journal ? "on" : "off", (long long)c->journal_timeout_ms);
    sim_trace_text(w, "engine: pull %lld / %lld, max deliver %u, bury rejected %u",
                   (long long)c->pull_expires_ms, (long long)c->pull_heartbeat_ms, c->max_deliver,
                   (unsigned)c->bury_rejected);
    for (uint32_t i = 0; i < c->dependencies_count; i++) {
        const struct sluice_breaker_config *b = &c->dependencies[i];
        sim_trace_text(w,
                       "breaker %s: %u failures of %u messages, throughput %u, reset %lld, "
                       "%u trials, %u successes",
                       b->name, b->failure_threshold, b->minimum_sources, b->minimum_throughput,
                       (long long)b->reset_timeout_ms, b->half_open_max, b->success_threshold);
    }
    sim_trace_text(w, "server: %s, ack pending %u, window %lld ms, ping %lld, link %d",
                   p->is_work_queue ? "work queue" : "limits", p->ack_pending_max,
                   (long long)p->duplicate_window_ms, (long long)p->ping_ms, (int)p->link_ms);
    for (uint32_t i = 1; i <= w->inputs_count; i++) {
        const struct sim_script *s = sim_world_script(w, w->inputs[i].key, 0);
        sim_trace_text(w, "message %u: key %u, %u bytes, %s, %u steps, %u documents, %u outputs", i,
                       w->inputs[i].key, w->inputs[i].size,
                       sim_script_kind_name((enum sim_script_kind)s->kind),
                       (unsigned)s->steps_count, (unsigned)s->documents_count,
                       (unsigned)s->outputs_count);
    }
}

static void mix(struct sim_world *w, uint64_t x)
{
    w->trace.hash = (w->trace.hash ^ x) * 0x9e3779b97f4a7c15u;
    w->trace.hash ^= w->trace.hash >> 29;
}

static void print_verdict(struct sim_world *w, const struct sim_process *p,
                          const struct sluice_event *ev)
{
    static const char *const kinds[] = {"suspended", "done", "failed"};
    const struct sluice_ev_verdict *v = &ev->verdict;
    say(w, p, "event verdict %u.%u %s failure %s step %d new steps %u documents %u outputs %u",
        ev->ticket.slot, ev->ticket.generation, kinds[v->kind],
        sluice_failure_name((enum sluice_failure)v->failure), v->failed_step,
        (unsigned)v->steps_count, (unsigned)v->documents_count, (unsigned)v->outputs_count);
}

static void print_event(struct sim_world *w, const struct sim_process *p,
                        const struct sluice_event *ev)
{
    static const char *const verbs[] = {"ACK", "NAK", "WPI", "TERM"};
    static const char *const kept[] = {"ok", "lost_race", "failed"};
    const char *name = sluice_event_name(ev->kind);
    uint32_t slot = ev->ticket.slot, generation = ev->ticket.generation;
    switch (ev->kind) {
    case SLUICE_EV_MESSAGE:
        say(w, p, "event message %llu delivery %u pull %u horizon -%lld ms size %u%s",
            (unsigned long long)ev->message.sequence, ev->message.deliveries, ev->message.pull,
            (long long)(ev->mono_ms - ev->message.horizon_ms), ev->message.size,
            ev->message.is_replay ? " replay" : "");
        break;
    case SLUICE_EV_PULL:
        say(w, p, "event pull %u status %u", ev->pull.pull, (unsigned)ev->pull.status);
        break;
    case SLUICE_EV_VERDICT:
        print_verdict(w, p, ev);
        break;
    case SLUICE_EV_STEP:
        say(w, p, "event step %u.%u #%u %s retry after %lld", slot, generation,
            (unsigned)ev->step.step, sluice_fate_name((enum sluice_fate)ev->step.fate),
            (long long)ev->step.retry_after_ms);
        break;
    case SLUICE_EV_KEPT:
        say(w, p, "event kept %u.%u #%u %s", slot, generation, (unsigned)ev->kept.step,
            kept[ev->kept.result]);
        break;
    case SLUICE_EV_LOADED:
        say(w, p, "event loaded %u.%u %s answers %u failures %u epoch %u stale %u marked %u", slot,
            generation, sluice_fate_name((enum sluice_fate)ev->loaded.fate),
            ev->loaded.answers_count, ev->loaded.record->failures, ev->loaded.record->epoch,
            (unsigned)ev->loaded.record->stale_marks, (unsigned)ev->loaded.record->is_marked);
        break;
    case SLUICE_EV_PUBLISHED:
        say(w, p, "event published %u.%u #%u %s", slot, generation, (unsigned)ev->published.output,
            sluice_fate_name((enum sluice_fate)ev->published.fate));
        break;
    case SLUICE_EV_SETTLED:
        say(w, p, "event settled %u.%u %s number %u %s sent -%lld ms", slot, generation,
            verbs[ev->settled.verb & 3], ev->settled.settle,
            ev->settled.is_answered ? "answered" : "not sent",
            (long long)(ev->mono_ms - ev->settled.sent_ms));
        break;
    case SLUICE_EV_RECORDED:
    case SLUICE_EV_STORED:
    case SLUICE_EV_BURIED:
        say(w, p, "event %s %u.%u %s", name, slot, generation,
            sluice_fate_name((enum sluice_fate)ev->fate));
        break;
    case SLUICE_EV_CONSUMER:
        say(w, p, "event consumer %d", ev->consumer);
        break;
    default:
        say(w, p, "event %s", name);
        break;
    }
}

void sim_trace_event(struct sim_world *w, const struct sim_process *p,
                     const struct sluice_event *ev)
{
    mix(w, (uint64_t)w->now_ms << 16 | (uint64_t)p->index << 8 | (uint64_t)ev->kind);
    mix(w, (uint64_t)ev->ticket.generation << 32 | ev->ticket.slot);
    if (is_on(w)) {
        print_event(w, p, ev);
    }
}

static void print_effect(struct sim_world *w, const struct sim_process *p,
                         const struct sluice_effect *fx)
{
    static const char *const verbs[] = {"ACK", "NAK", "WPI", "TERM"};
    const char *name = sluice_effect_name(fx->kind);
    uint32_t slot = fx->ticket.slot, generation = fx->ticket.generation;
    switch (fx->kind) {
    case SLUICE_FX_PULL:
        say(w, p, "    pull %u batch %u bytes %u expires %u heartbeat %u", fx->pull.pull,
            fx->pull.batch, fx->pull.max_bytes, fx->pull.expires_ms, fx->pull.heartbeat_ms);
        break;
    case SLUICE_FX_ABANDON:
        say(w, p, "    abandon %u", fx->pull.pull);
        break;
    case SLUICE_FX_SETTLE:
        say(w, p, "    settle %u.%u %s number %u delay %lld", slot, generation,
            verbs[fx->settle.verb & 3], fx->settle.settle, (long long)fx->settle.delay_ms);
        break;
    case SLUICE_FX_RECORD:
        say(w, p, "    record %u.%u failures %u epoch %u stale %u marked %u outputs %u", slot,
            generation, fx->record->failures, fx->record->epoch, (unsigned)fx->record->stale_marks,
            (unsigned)fx->record->is_marked, (unsigned)fx->record->outputs_count);
        break;
    case SLUICE_FX_START: {
        uint8_t dependency = p->hosted[slot].script->steps[fx->step].dependency;
        say(w, p, "    start %u.%u #%u %s", slot, generation, (unsigned)fx->step,
            dependency == SLUICE_DEP_NONE ? "offload"
                                          : w->plan.engine.dependencies[dependency].name);
        break;
    }
    case SLUICE_FX_CANCEL:
        say(w, p, "    cancel %u.%u #%u", slot, generation, (unsigned)fx->step);
        break;
    case SLUICE_FX_KEEP:
    case SLUICE_FX_REPLAY:
        say(w, p, "    %s %u.%u #%u journaled %u epoch %u", name, slot, generation,
            (unsigned)fx->step, (unsigned)fx->journaled, fx->epoch);
        break;
    case SLUICE_FX_PUBLISH:
        say(w, p, "    publish %u.%u #%u", slot, generation, (unsigned)fx->output);
        break;
    case SLUICE_FX_BURY:
    case SLUICE_FX_RELEASE:
        say(w, p, "    %s %u.%u %s failure %s failures %u", name, slot, generation,
            fx->kind == SLUICE_FX_RELEASE ? sluice_outcome_name((enum sluice_outcome)fx->outcome)
                                          : "",
            sluice_failure_name((enum sluice_failure)fx->failure), fx->failures);
        break;
    case SLUICE_FX_CHECK:
    case SLUICE_FX_STOP:
    case SLUICE_FX_DRAINED:
        say(w, p, "    %s", name);
        break;
    case SLUICE_FX_REFUSE:
        say(w, p, "    %s delay %lld", name, (long long)fx->settle.delay_ms);
        break;
    default:
        say(w, p, "    %s %u.%u", name, slot, generation);
        break;
    }
}

static uint64_t detail(const struct sluice_effect *fx)
{
    switch (fx->kind) {
    case SLUICE_FX_PULL:
        return (uint64_t)fx->pull.batch << 32 | fx->pull.max_bytes;
    case SLUICE_FX_SETTLE:
        return (uint64_t)fx->settle.verb << 56 ^ (uint64_t)fx->settle.delay_ms ^
               (uint64_t)fx->settle.settle << 32;
    case SLUICE_FX_RECORD:
        return (uint64_t)fx->record->failures << 32 | fx->record->epoch;
    case SLUICE_FX_START:
    case SLUICE_FX_CANCEL:
        return fx->step;
    case SLUICE_FX_KEEP:
        return (uint64_t)fx->step << 32 | fx->epoch;
    case SLUICE_FX_REPLAY:
        return (uint64_t)fx->step << 32 | fx->journaled;
    case SLUICE_FX_PUBLISH:
        return fx->output;
    case SLUICE_FX_BURY:
        return (uint64_t)fx->failures << 8 | fx->failure;
    case SLUICE_FX_RELEASE:
        return (uint64_t)fx->failures << 16 | (uint64_t)fx->outcome << 8 | fx->failure;
    default:
        return 0;
    }
}

void sim_trace_effect(struct sim_world *w, const struct sim_process *p,
                      const struct sluice_effect *fx)
{
    mix(w, (uint64_t)fx->ticket.generation << 32 | (uint64_t)fx->ticket.slot << 8 |
               (uint64_t)fx->kind);
    mix(w, detail(fx));
    if (is_on(w)) {
        print_effect(w, p, fx);
    }
}
