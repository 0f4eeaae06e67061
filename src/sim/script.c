/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/script.h"

static enum sim_script_kind draw_kind(const struct sim_plan *p, struct sluice_prng *r)
{
    uint32_t draw = sim_below(r, 1000);
    const struct {
        uint32_t rate;
        enum sim_script_kind kind;
    } kinds[] = {
        {p->poison, sim_below(r, 2) ? SIM_SCRIPT_POISON : SIM_SCRIPT_POISON_LATE},
        {p->fails_always, SIM_SCRIPT_FAILS_ALWAYS},
        {p->fails_sometimes, SIM_SCRIPT_FAILS_SOMETIMES},
        {p->rejects, sim_below(r, 2) ? SIM_SCRIPT_REJECTS : SIM_SCRIPT_UNREADABLE},
        {p->skips, SIM_SCRIPT_SKIPS},
        {p->wavers, SIM_SCRIPT_WAVERS},
    };
    for (uint32_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (draw < kinds[i].rate) {
            return kinds[i].kind;
        }
        draw -= kinds[i].rate;
    }
    return SIM_SCRIPT_PLAIN;
}

static void draw_step(struct sim_script *s, const struct sim_plan *p, struct sluice_prng *r)
{
    struct sim_script_step *step = &s->steps[s->steps_count++];
    uint32_t draw = sim_below(r, 100);
    uint32_t services = p->engine.dependencies_count - SLUICE_DEP_SERVICES;
    step->hash = sluice_prng_next(r);
    step->dependency = SLUICE_DEP_LLM;
    step->is_paid = 1;
    if (draw < 15) {
        step->dependency = SLUICE_DEP_STORE;
        step->is_paid = 0;
    } else if (draw < 25 && services > 0) {
        step->dependency = (uint8_t)(SLUICE_DEP_SERVICES + sim_below(r, services));
        step->is_paid = (uint8_t)sim_below(r, 2);
    } else if (draw < 30) {
        step->dependency = SLUICE_DEP_NONE;
        step->is_paid = 0;
    }
    step->is_chained = (uint8_t)sim_chance(r, 400);
    step->is_refused = (uint8_t)sim_chance(r, p->refused_step);
    if (s->steps_count > 1 && sim_chance(r, 100)) { /* the same request once more */
        *step = s->steps[s->steps_count - 2];
    }
}

static void draw_groups(struct sim_script *s, const struct sim_plan *p, struct sluice_prng *r)
{
    s->groups_count = (uint8_t)sim_below(r, SIM_PICK(r, 2, 3, 3, 6));
    for (uint32_t g = 0; g < s->groups_count; g++) {
        s->group_size[g] = (uint8_t)(sim_chance(r, 300) ? 1 + sim_below(r, 3) : 1);
        s->awaits_singly[g] = (uint8_t)sim_below(r, 2);
        uint32_t draw = sim_below(r, 10);
        s->reaction[g] = draw < 7   ? SIM_REACT_PASS_ON
                         : draw < 8 ? SIM_REACT_OWN_ERROR
                                    : SIM_REACT_IGNORE;
        for (uint32_t i = 0; i < s->group_size[g]; i++) {
            draw_step(s, p, r);
        }
    }
}

void sim_script_make(struct sim_script *script, const struct sim_plan *plan, uint32_t key,
                     uint32_t version)
{
    struct sluice_prng r = {sim_mix(sim_mix(plan->seed, key), 0x73637269)};
    *script = (struct sim_script){.is_made = 1};
    script->kind = (uint8_t)draw_kind(plan, &r);
    draw_groups(script, plan, &r);
    script->documents_count =
        (uint8_t)(sim_chance(&r, 50) ? 0 : 1 + sim_below(&r, SIM_DOCUMENTS_MAX));
    script->outputs_count = (uint8_t)(sim_chance(&r, 50) ? 0 : 1 + sim_below(&r, 3));
    for (uint32_t i = 0; i < script->outputs_count; i++) {
        script->outputs[i] = sim_mix(sim_mix(key, i), 0x6f757470) | 1u;
    }
    if (version == 0) {
        return;
    }
    if (script->steps_count > 0) { /* another prompt */
        script->steps[sim_below(&r, script->steps_count)].hash ^= 0x5eed;
    }
    if (sim_chance(&r, 500)) { /* another output, first */
        for (uint32_t i = script->outputs_count; i > 0; i--) {
            script->outputs[i] = script->outputs[i - 1];
        }
        script->outputs[0] = sim_mix(sim_mix(key, 77), 0x6f757470) | 1u;
        script->outputs_count++;
    }
}

int sim_script_is_poison(const struct sim_script *script)
{
    return script->kind == SIM_SCRIPT_POISON || script->kind == SIM_SCRIPT_POISON_LATE;
}

int sim_script_is_hopeless(const struct sim_script *script)
{
    for (uint32_t g = 0, k = 0; g < script->groups_count; k += script->group_size[g++]) {
        for (uint32_t i = 0; i < script->group_size[g]; i++) {
            if (script->steps[k + i].is_refused && script->reaction[g] != SIM_REACT_IGNORE) {
                return 1;
            }
        }
    }
    return script->kind != SIM_SCRIPT_PLAIN && script->kind != SIM_SCRIPT_FAILS_SOMETIMES &&
           (script->kind != SIM_SCRIPT_WAVERS || script->steps_count > 0);
}

const char *sim_script_kind_name(enum sim_script_kind kind)
{
    static const char *const names[] = {
#define SIM_SCRIPT_NAME(name, text) text,
        SIM_SCRIPT_KINDS(SIM_SCRIPT_NAME)
#undef SIM_SCRIPT_NAME
    };
    return kind < SIM_SCRIPT_KIND_COUNT ? names[kind] : "?";
}
