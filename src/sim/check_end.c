/* SPDX-License-Identifier: Apache-2.0 */
/* What the world holds: nothing lost, nothing twice, an end in sight: INV-2, INV-3, INV-7. */
#include "sim/check.h"

#include "sim/world.h"

/* Everything that some version of the handler wants of a message is there. */
static int is_complete(struct sim_world *w, uint32_t key)
{
    for (uint32_t version = 0; version <= w->version; version++) {
        const struct sim_script *s = sim_world_script(w, key, version);
        int has_outputs = 1;
        for (uint32_t i = 0; i < s->outputs_count; i++) {
            has_outputs &= sim_sink_has_output(w, key, s->outputs[i]);
        }
        if (has_outputs && sim_sink_has_documents(w, key, s->documents_count)) {
            return 1;
        }
    }
    return 0;
}

void sim_judge_settled(struct sim_world *w, uint32_t sequence, enum sluice_verb verb)
{
    uint32_t key = w->inputs[sequence].key;
    if (verb == SLUICE_VERB_TERM && w->sink.sunk[sequence].dead_copies == 0) {
        sim_judge_fail(w, SIM_RULE_LOSS, "message %u was TERMed and is no dead letter", sequence);
    } else if (verb == SLUICE_VERB_ACK && !is_complete(w, key)) {
        sim_judge_fail(w, SIM_RULE_LOSS, "message %u was ACKed and is not complete", sequence);
    }
    if (verb == SLUICE_VERB_ACK && !w->judge.was_acked[sequence]) {
        w->judge.was_acked[sequence] = 1; /* once, also when the server forgets it */
        w->totals.acked++;
    }
}

/* What a consumer sees twice was published again after the duplicate window of the copy before. */
static void judge_copy(struct sim_world *w, uint32_t key, uint64_t id, uint32_t copies)
{
    struct sim_history *h = &w->judge.histories[key];
    uint32_t i = 0;
    while (i < h->outputs_count && h->outputs[i].id != id) {
        i++;
    }
    if (i == sizeof h->outputs / sizeof h->outputs[0]) {
        return; /* more than any handler asks for: said elsewhere */
    }
    if ((copies > 1) != (i < h->outputs_count)) {
        sim_judge_fail(w, SIM_RULE_ONCE, "copy %u of an output of message %u, which is not its %s",
                       copies, key, copies > 1 ? "second" : "first");
    } else if (copies > 1 && w->now_ms - h->outputs[i].stored_ms < w->plan.duplicate_window_ms) {
        sim_judge_fail(w, SIM_RULE_ONCE,
                       "copy %u of an output of message %u, %lld ms after the one before", copies,
                       key, (long long)(w->now_ms - h->outputs[i].stored_ms));
    }
    h->outputs_count += i == h->outputs_count;
    h->outputs[i].id = id;
    h->outputs[i].stored_ms = w->now_ms;
}

void sim_judge_output(struct sim_world *w, uint32_t key, uint64_t id, uint32_t copies)
{
    judge_copy(w, key, id, copies);
    for (uint32_t version = 0; version < SIM_VERSIONS; version++) {
        const struct sim_script *s = sim_world_script(w, key, version);
        for (uint32_t i = 0; i < s->outputs_count; i++) {
            if (s->outputs[i] == id) {
                return;
            }
        }
    }
    sim_judge_fail(w, SIM_RULE_ONCE, "message %u has an output that no handler asked for", key);
}

/* One dead letter a message: another has the same id, so that it is taken only after the duplicate
 * window. Who knows of the first asks for no other (check_retry.c). */
void sim_judge_dead(struct sim_world *w, uint32_t sequence, uint32_t copies)
{
    int64_t *dead_ms = &w->judge.dead_ms[sequence];
    int is_first = *dead_ms < 0;
    if (is_first != (copies == 1)) {
        sim_judge_fail(w, SIM_RULE_DEAD, "copy %u of the dead letter of message %u", copies,
                       sequence);
    } else if (!is_first && w->now_ms - *dead_ms < w->plan.duplicate_window_ms) {
        sim_judge_fail(w, SIM_RULE_DEAD, "two dead letters of message %u within %lld ms", sequence,
                       (long long)(w->now_ms - *dead_ms));
    }
    *dead_ms = w->now_ms;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t sim_judge_abort_bound_ms(const struct sim_world *w)
{
    int64_t longest = 0;
    for (int target = SIM_TARGET_STORE; target < SIM_TARGET_SETTLE; target++) {
        int64_t timeout = w->plan.rates[target].timeout_ms;
        longest = timeout > longest ? timeout : longest;
    }
    const struct sluice_engine_config *c = &w->plan.engine;
    /* A commit under way may end in order: documents, outputs, ACK with its repetitions. */
    return 4 * longest + c->ack_wait_ms + 2 * c->journal_timeout_ms + 4 * c->settle_timeout_ms +
           10000;
}

/* How long the messages that cannot succeed may take, one after the other at worst. */
static int64_t hopeless_ms(struct sim_world *w)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    int64_t failing = 0, killing = 0;
    for (uint32_t key = 1; key <= w->inputs_count; key++) {
        for (uint32_t version = 0; version <= w->version; version++) {
            const struct sim_script *s = sim_world_script(w, key, version);
            failing |= sim_script_is_hopeless(s) || s->kind == SIM_SCRIPT_FAILS_SOMETIMES;
            killing += sim_script_is_poison(s);
        }
    }
    int64_t deliveries = c->max_deliver > 0 ? c->max_deliver + 2 : 8;
    int64_t attempt = c->nak_delay_max_ms + c->retry_after_max_ms + c->handler_timeout_ms;
    int64_t death = 2 * c->ack_wait_ms + w->plan.restart_ms + c->handler_timeout_ms;
    /* A message that waits for its redelivery keeps its place among those that may be pending. */
    int64_t rounds = 1 + w->inputs_count / w->plan.ack_pending_max;
    return failing * rounds * deliveries * attempt +
           killing * (c->suspect_deliveries + 4 + deliveries) * death;
}

/* What is to be done after the faults, by as many at once as there is always room for. */
static int64_t backlog_ms(const struct sim_world *w)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    int64_t places = lesser(c->max_in_flight, w->plan.ack_pending_max);
    if (c->max_bytes > 0) {
        places = larger(1, lesser(places, (int64_t)(c->max_bytes / c->message_size_max)));
    }
    int64_t calls = 0;
    for (int target = 0; target < SIM_TARGET_COUNT; target++) {
        calls += w->plan.rates[target].fast_ms;
    }
    int64_t rounds = 1 + w->inputs_count / places;
    return rounds * SIM_STEPS_MAX * (calls + 4 * w->plan.link_ms + 40);
}

/* INV-7: the ack wait, the longest delay and 10 s. The last faults may have left a function
 * that hangs until the attempt's deadline, an open breaker whose first trial fails, a rate limit, a
 * process that is down, and one more delivery that is lost with it; and what has waited meanwhile
 * has to be done. */
int64_t sim_judge_calm_bound_ms(struct sim_world *w)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    int64_t reset = 0, call = 0;
    for (uint32_t i = 0; i < c->dependencies_count; i++) {
        int64_t at = c->dependencies[i].reset_timeout_ms;
        reset = at > reset ? at : reset;
    }
    for (int target = 0; target < SIM_TARGET_COUNT; target++) {
        call = larger(call, w->plan.rates[target].timeout_ms);
    }
    return c->ack_wait_ms + c->nak_delay_max_ms + 10000 + c->ack_wait_ms + c->nak_delay_max_ms +
           c->retry_after_max_ms + 2 * reset + larger(call, c->handler_timeout_ms) +
           w->plan.restart_ms + backlog_ms(w) + hopeless_ms(w);
}

static void judge_message(struct sim_world *w, uint32_t sequence)
{
    const struct sim_stored *m = &w->js.stored[sequence];
    const struct sim_sunk *s = &w->sink.sunk[sequence];
    int is_dead = s->dead_copies > 0;
    const struct sim_script *script = sim_world_script(w, w->inputs[sequence].key, 0);
    if (is_dead && (w->judge.dead_reasons[sequence] >> s->dead_failure & 1u) == 0) {
        sim_judge_fail(w, SIM_RULE_DEAD, "the dead letter of message %u says %s, as nobody asked",
                       sequence, sluice_failure_name((enum sluice_failure)s->dead_failure));
    }
    if (m->state == SIM_STORED_PURGED) {
        return; /* no loss, whatever has become of it; its ACK or TERM was judged when it came */
    }
    if (m->state != SIM_STORED_SETTLED) {
        sim_judge_fail(w, SIM_RULE_LIVENESS,
                       "message %u (%s) is not finished %lld ms after the "
                       "last fault; delivery %u",
                       sequence, sim_script_kind_name((enum sim_script_kind)script->kind),
                       (long long)(w->now_ms - w->plan.calm_at_ms), m->deliveries);
    } else if (!is_dead && !is_complete(w, w->inputs[sequence].key)) {
        sim_judge_fail(w, SIM_RULE_LOSS, "message %u is neither complete nor a dead letter",
                       sequence);
    } else if (sim_script_is_poison(script) && w->version == 0 && !is_dead) {
        sim_judge_fail(w, SIM_RULE_POISON, "message %u kills every process, and is no dead letter",
                       sequence);
    }
}

/* Each message is ACKed or a dead letter, unless it was purged. It can be both: its TERM was lost,
 * a killed server or a new consumer has forgotten its ACK or TERM, or another delivery was under
 * way; and the later one ended otherwise. An attempt that knows of its dead letter does not go on
 * (check_commit.c). */
static void judge_sum(struct sim_world *w)
{
    struct sim_totals *t = &w->totals;
    uint64_t published = 0;
    for (uint32_t sequence = 1; sequence <= w->inputs_count; sequence++) {
        int is_dead = w->sink.sunk[sequence].dead_copies > 0;
        int is_purged = w->js.stored[sequence].state == SIM_STORED_PURGED;
        published += !w->plan.is_skipped[sequence];
        t->dead_and_done += is_dead && w->judge.was_acked[sequence];
        t->purged += is_purged && !is_dead && !w->judge.was_acked[sequence];
    }
    if (t->acked + t->dead + t->purged != published + t->dead_and_done) {
        sim_judge_fail(w, SIM_RULE_LOSS,
                       "%llu messages: %llu ACKed, %llu dead letters, %llu both, %llu purged",
                       (unsigned long long)published, (unsigned long long)t->acked,
                       (unsigned long long)t->dead, (unsigned long long)t->dead_and_done,
                       (unsigned long long)t->purged);
    }
}

void sim_judge_finish(struct sim_world *w, int is_finished)
{
    for (uint32_t sequence = 1; sequence <= w->inputs_count; sequence++) {
        if (!w->plan.is_skipped[sequence]) {
            judge_message(w, sequence);
        }
    }
    judge_sum(w);
    if (!is_finished) {
        sim_judge_fail(w, SIM_RULE_LIVENESS, "the run does not end");
    }
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        if (w->processes[i].is_running) {
            sim_judge_fail(w, SIM_RULE_DRAIN, "w%u was told to drain and is still there", i);
        }
    }
}
