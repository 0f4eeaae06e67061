/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a script as the real host runs a handler: from its top, answers served from the steps that
 * the message has, new requests collected until it must wait. */
#include "sim/process.h"

#include "sim/world.h"
#include <string.h>

struct run {
    struct sim_hosted *h;
    const struct sluice_step_status *steps;
    uint32_t steps_count;
    uint64_t answers; /* of all steps so far, mixed */
};

static void fail(struct sluice_ev_verdict *v, enum sluice_failure failure, int failed_step)
{
    v->kind = SLUICE_VERDICT_FAILED;
    v->failure = (uint8_t)failure;
    v->failed_step = (int16_t)failed_step;
}

static int is_ended(const struct run *r, uint32_t step)
{
    return step < r->steps_count &&
           (r->steps[step].state == SLUICE_STEP_OK || r->steps[step].state == SLUICE_STEP_FAILED);
}

/* Ask for a step: 0 when the request is another than in an earlier run. */
static int ask(struct run *r, uint32_t index, uint64_t waver)
{
    const struct sim_script_step *step = &r->h->script->steps[index];
    uint64_t low = step->is_chained ? sim_mix(step->hash, r->answers) : step->hash;
    struct sluice_step_request request = {.hash = {.high = r->h->key, .low = low ^ waver},
                                          .dependency = step->dependency,
                                          .is_paid = step->is_paid};
    if (index < r->steps_count) {
        return r->steps[index].hash.low == request.hash.low &&
               r->steps[index].hash.high == request.hash.high;
    }
    r->h->requests[r->h->verdict.steps_count++] = request;
    r->h->ids[index] = (struct sluice_journaled){.hash = request.hash};
    for (uint32_t i = 0; i < index; i++) {
        const struct sluice_hash *other = &r->h->ids[i].hash;
        r->h->ids[index].occurrence +=
            other->low == request.hash.low && other->high == request.hash.high;
    }
    return 1;
}

static void suspend_on(struct sluice_ev_verdict *v, uint32_t step)
{
    v->kind = SLUICE_VERDICT_SUSPENDED;
    v->awaited[step / 64] |= (uint64_t)1 << (step % 64);
}

/* Steps first … first + count - 1, started together. 1: the handler goes on. */
static int run_group(struct sim_world *w, struct run *r, uint32_t g, uint32_t first)
{
    struct sim_hosted *h = r->h;
    const struct sim_script *s = h->script;
    struct sluice_ev_verdict *v = &h->verdict;
    uint64_t waver = s->kind == SIM_SCRIPT_WAVERS ? h->runs : 0;
    for (uint32_t i = first; i < first + s->group_size[g]; i++) {
        if (!ask(r, i, waver)) {
            fail(v, SLUICE_FAILURE_HANDLER, -1); /* SLUICE_ERR_NONDETERMINISTIC */
            return 0;
        }
    }
    int waits = 0;
    for (uint32_t i = first; i < first + s->group_size[g]; i++) {
        if (!is_ended(r, i)) {
            suspend_on(v, i);
            waits = 1;
            if (s->awaits_singly[g]) {
                break;
            }
        }
    }
    if (waits) {
        return 0;
    }
    for (uint32_t i = first; i < first + s->group_size[g]; i++) {
        if (r->steps[i].state == SLUICE_STEP_OK) {
            if (!h->has_answer[i]) {
                sim_judge_fail(w, SIM_RULE_CONTRACT, "step %u of message %u is OK without answer",
                               i, h->sequence);
                return 0;
            }
            r->answers = sim_mix(r->answers, h->answers[i]);
        } else if (s->reaction[g] != SIM_REACT_IGNORE) {
            fail(v, SLUICE_FAILURE_HANDLER, s->reaction[g] == SIM_REACT_PASS_ON ? (int)i : -1);
            return 0;
        }
    }
    return 1;
}

/* What is staged now is made of these answers. */
static void stage(const struct run *r)
{
    struct sim_hosted *h = r->h;
    h->handed_count = 0;
    h->content = (struct sim_content){0};
    for (uint32_t i = 0; i < r->steps_count; i++) {
        if (r->steps[i].state != SLUICE_STEP_OK || !h->script->steps[i].is_paid) {
            continue;
        }
        const struct sluice_journaled *id = &h->ids[i];
        struct sim_content *c = &h->content;
        h->handed[h->handed_count++] = (struct sim_handed){*id, h->answers[i], (uint8_t)i};
        c->questions = sim_mix(sim_mix(c->questions, id->hash.low),
                               (uint64_t)id->epoch << 32 | id->occurrence);
        c->answers = sim_mix(c->answers, h->answers[i]);
    }
}

/* The end of the function: its return, once all answers are there. */
static void finish(struct sim_world *w, struct run *r)
{
    struct sim_hosted *h = r->h;
    struct sluice_ev_verdict *v = &h->verdict;
    switch ((enum sim_script_kind)h->script->kind) {
    case SIM_SCRIPT_FAILS_ALWAYS:
    case SIM_SCRIPT_SKIPS:
        fail(v, SLUICE_FAILURE_HANDLER, -1);
        return;
    case SIM_SCRIPT_FAILS_SOMETIMES:
        if (!w->is_calm && sim_chance(&w->rng, 500)) {
            fail(v, SLUICE_FAILURE_HANDLER, -1);
            return;
        }
        break;
    case SIM_SCRIPT_REJECTS:
        fail(v, SLUICE_FAILURE_REJECTED, -1);
        return;
    case SIM_SCRIPT_WAVERS:
    default:
        break;
    }
    v->kind = SLUICE_VERDICT_DONE;
    v->documents_count = h->script->documents_count;
    v->outputs_count = h->script->outputs_count;
    memcpy(h->outputs, h->script->outputs, sizeof h->outputs);
    stage(r);
}

int sim_handler_run(struct sim_world *w, struct sim_process *p, struct sluice_ticket ticket,
                    struct sim_hosted *h)
{
    struct run r = {.h = h};
    const struct sim_script *s = h->script;
    r.steps = sluice_engine_steps(p->engine, ticket, &r.steps_count);
    h->runs++;
    h->steps_served = r.steps_count;
    h->verdict =
        (struct sluice_ev_verdict){.failed_step = -1, .steps = h->requests, .outputs = h->outputs};
    if (r.steps_count > s->steps_count) {
        sim_judge_fail(w, SIM_RULE_CONTRACT, "message %u has %u steps, its handler asked for %u",
                       h->sequence, r.steps_count, (unsigned)s->steps_count);
        return 0;
    }
    if (s->kind == SIM_SCRIPT_POISON) {
        return 1;
    }
    if (s->kind == SIM_SCRIPT_UNREADABLE) {
        fail(&h->verdict, SLUICE_FAILURE_REJECTED, -1);
        return 0;
    }
    if (!w->is_calm && w->plan.profile != SIM_PROFILE_CALM && sim_chance(&w->rng, 2)) {
        fail(&h->verdict, SLUICE_FAILURE_NO_MEMORY, -1);
        return 0;
    }
    for (uint32_t g = 0, first = 0; g < s->groups_count; first += s->group_size[g++]) {
        if (!run_group(w, &r, g, first)) {
            return 0;
        }
    }
    if (s->kind == SIM_SCRIPT_POISON_LATE) {
        return 1;
    }
    finish(w, &r);
    return 0;
}
