/* SPDX-License-Identifier: Apache-2.0 */
/* Whose handler has killed its process: what is known of it, against the marks that the engine
 * finds in the journal. Kills from outside, writes that arrive late and several attempts at once
 * leave marks, too, which the engine cannot tell from those of a killer. */
#include "sim/check.h"

#include "sim/world.h"

#define MARKS_OF_A_KILLER 3u

/* Other attempts at the same message that still live, here or elsewhere: the network can give one
 * to two workers at once (a NAK that arrives late or twice), and an attempt whose lease has passed
 * on while its mark was under way clears it no more. */
static uint32_t count_others(const struct sim_world *w, const struct sim_attempt *than,
                             int has_open_mark)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->plan.workers_count; i++) {
        const struct sim_watch *watch = &w->judge.watches[i];
        for (uint32_t j = 0; j < w->plan.engine.max_in_flight; j++) {
            const struct sim_attempt *a = &watch->attempts[j];
            count += a != than && a->generation != 0 && a->key == than->key &&
                     (!has_open_mark || a->is_mark_asked || a->record_owed);
        }
    }
    return count;
}

/* Whoever ends or stops a process may leave marks of its messages behind, which are no proof. */
void sim_judge_marks_left(struct sim_world *w, const struct sim_process *p)
{
    struct sim_watch *watch = &w->judge.watches[p->index];
    for (uint32_t i = 0; i < w->plan.engine.max_in_flight; i++) {
        const struct sim_attempt *a = &watch->attempts[i];
        int is_marked = a->is_mark_asked || a->record_owed ||
                        (a->generation != 0 && w->kv.entries[a->key].record.is_marked);
        if (a->generation != 0 && is_marked) {
            w->judge.histories[a->key].excuses++;
        }
    }
}

void sim_judge_poisoned(struct sim_world *w, const struct sim_process *p, uint32_t key)
{
    struct sim_watch *watch = &w->judge.watches[p->index];
    w->judge.histories[key].killings++;
    watch->is_poisoned = 1;
}

void sim_judge_record_in_doubt(struct sim_world *w, uint32_t key)
{
    w->judge.histories[key].excuses++;
    w->judge.histories[key].doubts++;
}

void sim_judge_mark_loaded(struct sim_world *w, struct sim_attempt *a,
                           const struct sluice_ev_loaded *loaded)
{
    struct sim_history *h = &w->judge.histories[a->key];
    if (loaded->fate != SLUICE_FATE_OK) {
        h->excuses++; /* a mark is not seen, and may be written over */
        return;
    }
    a->base_stale = loaded->record->stale_marks + (loaded->record->is_marked ? 1u : 0u);
    if (count_others(w, a, 0) > 0) {
        h->was_in_two_hands = 1;
        h->excuses += loaded->record->is_marked;
    }
}

/* What is written behind a run that had a mark and has ended. */
void sim_judge_mark_cleared(struct sim_world *w, const struct sim_attempt *a,
                            const struct sluice_record *r)
{
    int has_ended = a->has_verdict && a->verdict_kind != SLUICE_VERDICT_SUSPENDED;
    if (a->is_mark_confirmed && has_ended && r->stale_marks != 0) {
        sim_judge_fail(w, SIM_RULE_POISON,
                       "the handler of message %u has ended, and %u marks still accuse it",
                       a->sequence, r->stale_marks);
    }
}

/* A handler that has ended, and whose mark is cleared in the journal, is no killer: what was found
 * before counts no more. */
void sim_judge_mark_recorded(struct sim_world *w, struct sim_attempt *a, enum sluice_fate fate)
{
    struct sim_history *h = &w->judge.histories[a->key];
    int has_ended = a->has_verdict && a->verdict_kind != SLUICE_VERDICT_SUSPENDED;
    a->is_mark_confirmed = fate == SLUICE_FATE_OK && a->is_mark_asked;
    if (fate == SLUICE_FATE_OK && a->clears_mark && has_ended && !h->was_in_two_hands) {
        h->killings = 0;
        h->excuses = h->doubts; /* a write that is still on its way brings its old marks back */
    }
}

void sim_judge_marked_run(struct sim_world *w, const struct sim_attempt *a)
{
    const struct sluice_engine_config *c = &w->plan.engine;
    if (a->was_loaded && a->base_stale >= MARKS_OF_A_KILLER) {
        sim_judge_fail(w, SIM_RULE_POISON, "message %u runs again, its mark was found %u times",
                       a->sequence, a->base_stale);
        return;
    }
    /* Deliveries that a living process takes over have not killed it. */
    uint32_t explained = a->base_failures + c->suspect_deliveries + 1u;
    int is_suspect = c->journal && a->was_loaded && !a->was_rebound && a->deliveries > explained;
    if (is_suspect && !a->is_mark_confirmed) {
        sim_judge_fail(w, SIM_RULE_POISON, "suspect message %u, delivery %u, runs without a mark",
                       a->sequence, a->deliveries);
    }
}

/* Without a journal, deliveries are all that there is to count: past the limit, the last try
 * included, by as many as make a suspect. */
static int is_counted_out(const struct sluice_engine_config *c, const struct sim_attempt *a)
{
    return !c->journal && c->max_deliver > 0 &&
           a->deliveries > c->max_deliver + c->suspect_deliveries;
}

int sim_judge_is_killer(const struct sim_world *w, const struct sim_attempt *a)
{
    return (a->was_loaded && a->base_stale >= MARKS_OF_A_KILLER) ||
           is_counted_out(&w->plan.engine, a);
}

void sim_judge_killer(struct sim_world *w, const struct sim_attempt *a)
{
    const struct sim_history *h = &w->judge.histories[a->key];
    if (is_counted_out(&w->plan.engine, a)) {
        return;
    }
    if (h->killings + h->excuses + count_others(w, a, 1) < MARKS_OF_A_KILLER && !h->is_shared) {
        sim_judge_fail(w, SIM_RULE_POISON,
                       "message %u is buried as the killer: it killed %u processes, and %u times "
                       "something else may have left its mark",
                       a->sequence, h->killings, h->excuses);
    }
}
