/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of which answers documents and outputs are made. A journaled answer is the one that counts: who
 * asked the same question beside it, and lost the race, goes on with that one. So all that is
 * stored and published of a message stems from one answer to each question.
 *
 * Nobody promises that of an answer that is not paid for, of a question that another version of
 * the worker asks, nor of one whose answers its handler's own error has spent (another epoch).
 * Nor does anybody while the journal did not say in time what it holds, or has lost it.
 */
#include "sim/check.h"

#include "sim/world.h"

static const struct sim_kept *find(const struct sim_kv_entry *e, const struct sluice_journaled *id)
{
    for (uint32_t i = 0; i < e->answers_count; i++) {
        const struct sluice_journaled *there = &e->answers[i].id;
        if (there->hash.low == id->hash.low && there->hash.high == id->hash.high &&
            there->occurrence == id->occurrence && there->epoch == id->epoch) {
            return &e->answers[i];
        }
    }
    return NULL;
}

/* Is something being committed that is made of another answer than the journal's? */
void sim_judge_answers(struct sim_world *w, const struct sim_watch *watch,
                       const struct sim_attempt *a, const struct sluice_event *ev)
{
    const struct sim_process *p = &w->processes[watch - w->judge.watches];
    const struct sim_hosted *h = &p->hosted[a - watch->attempts];
    const struct sim_kv_entry *e = &w->kv.entries[a->key];
    if (!w->plan.engine.journal || e->answers_dropped > 0) {
        return;
    }
    for (uint32_t i = 0; i < h->handed_count; i++) {
        const struct sim_seen *s = &a->steps[h->handed[i].step];
        const struct sim_kept *kept = find(e, &h->handed[i].id);
        if (s->is_keep_owed && !sim_judge_is_keep_awaited(w, watch, a, s, ev)) {
            w->judge.histories[a->key].has_unsure_answer = 1;
        } else if (!s->is_unsure && kept != NULL && kept->value != h->handed[i].value) {
            sim_judge_fail(w, SIM_RULE_ANSWERS,
                           "message %u is committed with an answer to its step %u that is not the "
                           "journaled one",
                           a->sequence, (unsigned)h->handed[i].step);
            return;
        }
    }
}

/* The journal did not say in time what it holds, or that is of no use. */
void sim_judge_unsure(struct sim_world *w, const struct sim_attempt *a, struct sim_seen *s)
{
    s->is_unsure = 1;
    w->judge.histories[a->key].has_unsure_answer = 1;
}

static int may_differ(const struct sim_world *w, uint32_t key)
{
    const struct sim_kv_entry *e = &w->kv.entries[key];
    if (!w->plan.engine.journal || e->answers_dropped > 0 ||
        w->judge.histories[key].has_unsure_answer) {
        return 1;
    }
    for (uint32_t i = 0; i < e->answers_count; i++) {
        if (e->answers[i].is_bad) { /* each delivery asks anew */
            return 1;
        }
    }
    return 0;
}

static int is_mixed(const struct sim_content *x, const struct sim_content *y)
{
    return x->questions == y->questions && x->answers != y->answers;
}

void sim_judge_content(struct sim_world *w, uint32_t key, const struct sim_content *content,
                       const char *what)
{
    const struct sim_sunk *there = &w->sink.sunk[key];
    int with_document = 0, with_output = 0;
    for (uint32_t i = 0; i < SIM_DOCUMENTS_MAX; i++) {
        int is_there = (there->documents >> i & 1u) != 0;
        with_document |= is_there && is_mixed(&there->document_contents[i], content);
    }
    for (uint32_t i = 0; i < there->outputs_count; i++) {
        with_output |= is_mixed(&there->outputs[i].content, content);
    }
    if ((with_document || with_output) && !may_differ(w, key)) {
        sim_judge_fail(w, SIM_RULE_ANSWERS,
                       "%s of message %u stems from another answer than its %s", what, key,
                       with_document ? "documents" : "outputs");
    }
}
