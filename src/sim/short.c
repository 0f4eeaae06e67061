/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/short.h"

#include <string.h>

static const struct shape {
    const char *name;
    uint8_t workers, steps, outputs, journal, is_server_recent;
} shapes[] = {
#define SHAPE(name, text, workers, steps, outputs, journal, recent)                                \
    {text, workers, steps, outputs, journal, recent},
    SIM_SHORTS(SHAPE)
#undef SHAPE
};

const char *sim_short_name(enum sim_short_kind kind)
{
    return kind < SIM_SHORT_COUNT ? shapes[kind].name : "?";
}

/* ---- The plan */

/* Times so near to each other that the message meets its second failure, which buries it, before
 * the calm. */
#define ACK_WAIT_MS 1000
#define TIMEOUT_MS  300

static int has_shape(const struct sim_script *s, const struct shape *shape)
{
    if (s->kind != SIM_SCRIPT_PLAIN || s->steps_count != shape->steps ||
        s->groups_count != shape->steps || s->documents_count != 1 ||
        s->outputs_count != shape->outputs) {
        return 0;
    }
    for (uint32_t i = 0; i < s->steps_count; i++) {
        if (s->steps[i].dependency != SLUICE_DEP_LLM || s->reaction[i] != SIM_REACT_PASS_ON) {
            return 0;
        }
    }
    return 1;
}

/* Scripts come from seeds: the first seed whose only message has the shape. */
static void find_seed(struct sim_plan *plan, const struct shape *shape)
{
    struct sim_script script;
    do {
        plan->seed++;
        sim_script_make(&script, plan, 1, 0);
    } while (!has_shape(&script, shape));
}

static void make_plan(struct sim_plan *plan, const struct shape *shape)
{
    sim_plan_draw(plan, 0, SIM_PROFILE_CALM); /* breakers, and whatever does not matter */
    plan->profile = SIM_PROFILE_SWARM;
    plan->workers_count = shape->workers;
    plan->inputs_count = 1;
    plan->publish_span_ms = 1;
    plan->calm_at_ms = 4 * ACK_WAIT_MS;
    plan->is_work_queue = 1;
    plan->is_server_recent = shape->is_server_recent;
    plan->ack_pending_max = 100;
    plan->duplicate_window_ms = 120000;
    plan->ping_ms = ACK_WAIT_MS / 4;
    plan->link_ms = 0;
    plan->engine.max_in_flight = 2;
    plan->engine.max_bytes = 0;
    plan->engine.ack_wait_ms = ACK_WAIT_MS;
    plan->engine.handler_timeout_ms = 2 * ACK_WAIT_MS;
    plan->engine.nak_delay_ms = plan->engine.nak_delay_max_ms = 50;
    plan->engine.settle_timeout_ms = plan->engine.journal_timeout_ms = TIMEOUT_MS;
    plan->engine.pull_expires_ms = 10 * ACK_WAIT_MS;
    plan->engine.pull_heartbeat_ms = 4 * ACK_WAIT_MS;
    plan->engine.max_deliver = 2;
    plan->engine.journal = shape->journal;
    plan->restart_ms = 10;
    plan->grace_ms = ACK_WAIT_MS;
    plan->faults_count = 0;
    for (int target = 0; target < SIM_TARGET_COUNT; target++) {
        plan->rates[target] =
            (struct sim_rates){.fast_ms = 2, .slow_ms = TIMEOUT_MS, .timeout_ms = TIMEOUT_MS};
    }
    find_seed(plan, shape);
}

/* ---- All courses */

struct search {
    struct sim_world *w;
    const struct sim_short_depth *depth;
    struct sim_short_result *result;
    struct sim_plan plan;
};

static void note_met(struct search *s, const struct sim_asked *asked, const struct sim_lots *said)
{
    for (uint32_t i = 0; i < asked->count; i++) {
        int lot = i < said->count ? said->lots[i] : SIM_LOT_OK;
        int is_known = sim_target_knows((enum sim_target)asked->targets[i], (enum sim_lot)lot);
        s->result->met[asked->targets[i]] |= (uint16_t)(1u << (is_known ? lot : SIM_LOT_OK));
    }
}

/* 1: no rule was broken. */
static int run(struct search *s)
{
    struct sim_short_result *result = s->result;
    struct sim_result one;
    sim_world_run_plan(s->w, &s->plan, &one);
    result->runs++;
    result->events += one.totals.events;
    result->kills += one.totals.kills;
    note_met(s, &s->w->asked, &s->plan.course.requests);
    note_met(s, &s->w->network_asked, &s->plan.course.network);
    if (one.rule != SIM_RULE_NONE) {
        result->plan = s->plan;
        result->broken = one;
    }
    return one.rule == SIM_RULE_NONE;
}

/* The run that has just ended once more with one more kill, at each place after the kills that it
 * has. */
static int run_killed(struct search *s, uint32_t kills, uint32_t kills_max)
{
    uint32_t *here = &s->plan.course.kills[kills];
    uint32_t end = 2 * s->w->effects_count + 2;
    int is_good = 1;
    if (kills == kills_max) {
        return 1;
    }
    for (uint32_t at = kills == 0 ? 2 : here[-1] + 1; is_good && at < end; at++) {
        *here = at;
        is_good = run(s) && run_killed(s, kills + 1, kills_max);
    }
    *here = 0;
    return is_good;
}

/* Whom the first requests of a run were for: of messages, and to the server. */
struct asked {
    struct sim_asked requests, network;
};

static int run_course(struct search *s, struct asked *asked)
{
    uint32_t lots = s->plan.course.requests.count + s->plan.course.network.count;
    uint32_t kills = lots <= s->depth->lots_killed_twice ? 2 : lots <= s->depth->lots_killed;
    if (!run(s)) {
        return 0;
    }
    asked->requests = s->w->asked;
    asked->network = s->w->network_asked;
    return run_killed(s, 0, kills);
}

/* All courses that differ from the present one, which was run, only behind its last lot: of the
 * messages' requests, or of those to the server, each of these with a few of the others. */
static int explore(struct search *s, const struct asked *asked, int is_network, uint32_t depth)
{
    struct sim_course *course = &s->plan.course;
    struct sim_lots *said = is_network ? &course->network : &course->requests;
    const struct sim_asked *own = is_network ? &asked->network : &asked->requests;
    uint32_t first = said->count;
    int is_good = 1;
    for (uint32_t i = first; is_good && i < depth && i < own->count; i++) {
        said->count = i + 1;
        for (int lot = SIM_LOT_OK + 1; is_good && lot < SIM_LOT_COUNT; lot++) {
            if (sim_target_knows((enum sim_target)own->targets[i], (enum sim_lot)lot)) {
                struct asked next;
                said->lots[i] = (uint8_t)lot;
                is_good = run_course(s, &next) &&
                          (!is_network || explore(s, &next, 0, s->depth->lots_beside)) &&
                          explore(s, &next, is_network, depth);
                said->count = i + 1;
            }
        }
        said->lots[i] = SIM_LOT_OK; /* those in between are OK */
    }
    said->count = first;
    return is_good;
}

int sim_short_run(struct sim_world *w, enum sim_short_kind kind,
                  const struct sim_short_depth *depth, struct sim_short_result *result)
{
    static _Thread_local struct search s;
    struct asked asked;
    memset(result, 0, sizeof *result);
    memset(&s, 0, sizeof s);
    s.w = w;
    s.depth = depth;
    s.result = result;
    make_plan(&s.plan, &shapes[kind]);
    return run_course(&s, &asked) && explore(&s, &asked, 0, depth->lots) &&
           explore(&s, &asked, 1, depth->network);
}
