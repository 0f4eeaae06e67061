/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/plan.h"

/* How likely a kind of trouble is on at all, per mille, and how it leans in each profile. */
struct leaning {
    uint16_t on[SIM_PROFILE_COUNT];
    uint16_t count_max;
};

#define ON(swarm, calm, crash, lease, server, outage, poison, journal, drain)                      \
    {                                                                                              \
        swarm, calm, crash, lease, server, outage, poison, journal, drain, swarm                   \
    }

static const struct leaning leanings[SIM_FAULT_COUNT] = {
    [SIM_FAULT_KILL] = {ON(400, 0, 1000, 200, 200, 100, 300, 500, 300), 5},
    [SIM_FAULT_KILL_AT] = {ON(350, 0, 1000, 150, 150, 100, 300, 600, 200), 6},
    [SIM_FAULT_FREEZE] = {ON(350, 0, 100, 1000, 150, 100, 200, 300, 100), 5},
    [SIM_FAULT_LINK_BREAK] = {ON(350, 0, 200, 500, 500, 100, 100, 200, 200), 5},
    [SIM_FAULT_LINK_STALL] = {ON(300, 0, 100, 800, 300, 100, 100, 200, 150), 5},
    [SIM_FAULT_SERVER_KILL] = {ON(300, 0, 200, 150, 900, 100, 100, 300, 150), 4},
    [SIM_FAULT_LEADER_CHANGE] = {ON(300, 0, 100, 100, 900, 100, 100, 100, 100), 4},
    [SIM_FAULT_PULLS_LOST] = {ON(250, 0, 50, 100, 800, 50, 50, 50, 50), 4},
    [SIM_FAULT_CONSUMER_DELETE] = {ON(80, 0, 0, 0, 300, 0, 0, 0, 0), 1},
    [SIM_FAULT_OUTAGE] = {ON(350, 0, 100, 150, 150, 1000, 150, 200, 150), 4},
    [SIM_FAULT_DRAIN] = {ON(300, 0, 100, 150, 150, 150, 150, 200, 1000), 5},
    [SIM_FAULT_UPGRADE] = {ON(250, 0, 200, 50, 50, 50, 50, 700, 500), 1},
    [SIM_FAULT_WALL_JUMP] = {ON(120, 0, 50, 150, 50, 50, 50, 100, 50), 3},
    [SIM_FAULT_JOURNAL_AGE] = {ON(80, 0, 50, 50, 50, 0, 100, 300, 0), 1},
    [SIM_FAULT_HUNGER] = {ON(80, 0, 50, 50, 50, 50, 50, 50, 50), 2},
    [SIM_FAULT_PURGE] = {ON(60, 0, 20, 20, 150, 20, 20, 50, 20), 2},
};

/* As above, for the lots of requests: count_max is the highest rate in per mille. */
static const struct leaning lots[SIM_LOT_COUNT] = {
    [SIM_LOT_SLOW] = {ON(400, 0, 200, 500, 100, 700, 100, 200, 300), 200},
    [SIM_LOT_TWICE] = {ON(300, 0, 200, 200, 100, 200, 100, 200, 100), 200},
    [SIM_LOT_ANSWER_LOST] = {ON(350, 0, 300, 300, 200, 500, 150, 400, 150), 200},
    [SIM_LOT_LATE] = {ON(300, 0, 200, 300, 100, 300, 100, 300, 100), 150},
    [SIM_LOT_FAIL] = {ON(450, 0, 300, 300, 200, 800, 300, 400, 200), 350},
    [SIM_LOT_NEVER] = {ON(300, 0, 100, 300, 100, 600, 100, 200, 150), 150},
    [SIM_LOT_LIMITED] = {ON(250, 0, 50, 100, 50, 500, 50, 50, 50), 250},
    [SIM_LOT_BAD] = {ON(300, 0, 100, 100, 100, 300, 200, 300, 100), 200},
    [SIM_LOT_PERMANENT] = {ON(120, 0, 50, 50, 50, 150, 200, 50, 50), 60},
    [SIM_LOT_STAGED] = {ON(150, 0, 50, 100, 300, 150, 100, 50, 50), 150},
};

/* Which lots a target knows at all. */
static const uint16_t known_lots[SIM_TARGET_COUNT] = {
#define LOT(name) (1u << SIM_LOT_##name)
#define USUAL     (LOT(SLOW) | LOT(FAIL) | LOT(NEVER))
#define WRITES    (USUAL | LOT(TWICE) | LOT(ANSWER_LOST) | LOT(LATE))
    [SIM_TARGET_LLM] = WRITES | LOT(LIMITED) | LOT(BAD) | LOT(PERMANENT),
    [SIM_TARGET_FIND] = USUAL | LOT(BAD),
    [SIM_TARGET_SERVICE] = WRITES | LOT(LIMITED) | LOT(PERMANENT),
    [SIM_TARGET_OFFLOAD] =
        LOT(SLOW) | LOT(LATE) | LOT(NEVER) | LOT(BAD) | LOT(PERMANENT), /* it has no time-out */
    [SIM_TARGET_STORE] = WRITES | LOT(PERMANENT),
    [SIM_TARGET_PUBLISH] = WRITES | LOT(PERMANENT) | LOT(STAGED),
    [SIM_TARGET_BURY] = WRITES | LOT(STAGED),
    [SIM_TARGET_LOAD] = USUAL,
    [SIM_TARGET_KEEP] = WRITES,
    [SIM_TARGET_RECORD] = USUAL | LOT(ANSWER_LOST) | LOT(LATE), /* nothing repeats a put */
    /* FAIL: it cannot be sent. What does not come is told (CHECK) or noticed (the others). */
    [SIM_TARGET_SETTLE] = WRITES,
    [SIM_TARGET_PULL] = LOT(SLOW) | LOT(NEVER) | LOT(TWICE) | LOT(ANSWER_LOST) | LOT(LATE),
    [SIM_TARGET_CHECK] = USUAL,
};

int sim_target_knows(enum sim_target target, enum sim_lot lot)
{
    return lot == SIM_LOT_OK || ((known_lots[target] >> lot) & 1);
}

int sim_lots_said(const struct sim_lots *said, struct sim_asked *asked, enum sim_target target)
{
    uint32_t number = asked->count;
    if (number == SIM_LOTS_MAX) {
        return -1;
    }
    asked->targets[asked->count++] = (uint8_t)target;
    if (number >= said->count) {
        return -1;
    }
    enum sim_lot lot = (enum sim_lot)said->lots[number];
    return sim_target_knows(target, lot) ? (int)lot : SIM_LOT_OK;
}

enum sim_lot sim_rates_lot(const struct sim_rates *rates, uint32_t draw)
{
    if (draw >= rates->sum) {
        return SIM_LOT_OK;
    }
    int lot = SIM_LOT_SLOW;
    while (draw >= rates->rate[lot]) {
        draw -= rates->rate[lot++];
    }
    return (enum sim_lot)lot;
}

/* Up to how much of each lot there is, in per mille. */
static void draw_highest(const struct sim_plan *p, struct sluice_prng *r,
                         uint32_t highest[SIM_LOT_COUNT])
{
    highest[SIM_LOT_OK] = highest[SIM_LOT_STAGED] = 0;
    for (int lot = SIM_LOT_SLOW; lot < SIM_LOT_STAGED; lot++) {
        int is_on = sim_chance(r, lots[lot].on[p->profile]);
        highest[lot] = is_on ? 1u + sim_below(r, lots[lot].count_max) : 0;
    }
}

static void draw_target(struct sim_plan *p, struct sluice_prng *r, enum sim_target target,
                        const uint32_t highest[SIM_LOT_COUNT])
{
    struct sim_rates *rates = &p->rates[target];
    int is_spared = p->profile != SIM_PROFILE_OUTAGE && sim_chance(r, 400);
    for (int lot = SIM_LOT_SLOW; lot < SIM_LOT_STAGED; lot++) {
        uint32_t mille = sim_below(r, highest[lot] + 1u);
        int is_known = sim_target_knows(target, (enum sim_lot)lot);
        rates->rate[lot] = is_known && !is_spared ? (uint16_t)(mille * 65) : 0;
        rates->sum += rates->rate[lot];
    }
}

/* From a generator of its own: what else a seed means does not depend on it. */
static void draw_network(struct sim_plan *p)
{
    struct sluice_prng r = {sim_mix(p->seed, 0x6e657477)};
    const struct sluice_engine_config *c = &p->engine;
    int32_t settle_ms = (int32_t)c->settle_timeout_ms;
    int32_t silent_ms = (int32_t)(2 * c->pull_heartbeat_ms) + 1000;
    uint32_t highest[SIM_LOT_COUNT];
    draw_highest(p, &r, highest);
    for (int target = SIM_TARGET_SETTLE; target < SIM_TARGET_COUNT; target++) {
        draw_target(p, &r, (enum sim_target)target, highest);
    }
    p->rates[SIM_TARGET_SETTLE].slow_ms = p->rates[SIM_TARGET_SETTLE].timeout_ms = settle_ms;
    p->rates[SIM_TARGET_PULL].slow_ms = p->rates[SIM_TARGET_PULL].timeout_ms = silent_ms;
    p->rates[SIM_TARGET_CHECK].slow_ms = p->rates[SIM_TARGET_CHECK].timeout_ms = 2000;
}

static void draw_rates(struct sim_plan *p, struct sluice_prng *r)
{
    uint32_t highest[SIM_LOT_COUNT];
    draw_highest(p, r, highest);
    int64_t unit = p->engine.ack_wait_ms;
    for (int target = 0; target < SIM_TARGET_SETTLE; target++) {
        struct sim_rates *rates = &p->rates[target];
        draw_target(p, r, (enum sim_target)target, highest);
        rates->fast_ms = (int32_t)SIM_PICK(r, 1, 3, 10, 40);
        rates->timeout_ms = (int32_t)SIM_PICK(r, 500, 1000, 2000, 5000);
        rates->slow_ms = rates->timeout_ms;
    }
    struct sim_rates *llm = &p->rates[SIM_TARGET_LLM];
    llm->fast_ms = (int32_t)SIM_PICK(r, 5, 50, unit / 10 + 1, unit / 2, unit * 2);
    llm->timeout_ms = (int32_t)SIM_PICK(r, unit, unit * 2, unit * 6);
    llm->slow_ms = llm->timeout_ms;
    p->outage_hang_per_mille = (uint32_t)SIM_PICK(r, 0, 300, 1000);
    p->bad_answers = p->profile == SIM_PROFILE_JOURNAL ? (uint32_t)SIM_PICK(r, 0, 0, 20) : 0;
    p->retry_after_ms = SIM_PICK(r, 0, unit / 4, unit, unit * 4);
}

/* From luck of its own, so that it changes nothing else of a seed. */
static void draw_staged(struct sim_plan *p)
{
    struct sluice_prng r = {sim_mix(p->seed, 0x73746167)};
    const struct leaning *l = &lots[SIM_LOT_STAGED];
    if (!sim_chance(&r, l->on[p->profile])) {
        return;
    }
    for (int target = 0; target < SIM_TARGET_COUNT; target++) {
        if (sim_target_knows((enum sim_target)target, SIM_LOT_STAGED)) {
            struct sim_rates *rates = &p->rates[target];
            rates->rate[SIM_LOT_STAGED] = (uint16_t)(sim_below(&r, l->count_max + 1u) * 65);
            rates->sum += rates->rate[SIM_LOT_STAGED];
        }
    }
}

static void raise_lot(struct sim_rates *rates, enum sim_lot lot, uint32_t rate)
{
    uint32_t others = rates->sum - rates->rate[lot];
    uint32_t room = others < 65536u ? 65536u - others : 0;
    rates->rate[lot] = (uint16_t)(rate < room ? rate : room);
    rates->sum = others + rates->rate[lot];
}

/* Dead letters that take longer than a lease whose renewals do not arrive: the message comes again
 * while its burial is under way. Each is rare alone. From luck of its own, as above. */
static void draw_late_burials(struct sim_plan *p)
{
    struct sluice_prng r = {sim_mix(p->seed, 0x6c617465)};
    if (p->profile != SIM_PROFILE_LEASE || p->engine.max_deliver == 0 || !sim_chance(&r, 500)) {
        return;
    }
    struct sim_rates *bury = &p->rates[SIM_TARGET_BURY];
    p->fails_always = 1 + sim_below(&r, 300);
    bury->timeout_ms = bury->slow_ms = (int32_t)(3 * p->engine.ack_wait_ms);
    raise_lot(bury, SIM_LOT_SLOW, 30000);
    raise_lot(&p->rates[SIM_TARGET_SETTLE], SIM_LOT_NEVER, 20000);
}

/* Likewise journals that are read longer than such a lease lasts: the message comes again before it
 * has begun. */
static void draw_slow_loads(struct sim_plan *p)
{
    struct sluice_prng r = {sim_mix(p->seed, 0x6c6f6164)};
    if (p->profile != SIM_PROFILE_LEASE || !p->engine.journal || !sim_chance(&r, 300)) {
        return;
    }
    struct sim_rates *load = &p->rates[SIM_TARGET_LOAD];
    load->timeout_ms = load->slow_ms = (int32_t)(3 * p->engine.ack_wait_ms);
    raise_lot(load, SIM_LOT_SLOW, 30000);
    raise_lot(&p->rates[SIM_TARGET_SETTLE], SIM_LOT_NEVER, 20000);
}

static void draw_engine(struct sim_plan *p, struct sluice_prng *r)
{
    struct sluice_engine_config *c = &p->engine;
    int64_t unit = SIM_PICK(r, 500, 1000, 2000, 5000, 30000);
    c->max_in_flight = (uint32_t)SIM_PICK(r, 1, 2, 3, 5, 8, 16, 32, 64);
    c->message_size_max = 1000;
    c->max_bytes = (uint64_t)SIM_PICK(r, 0, 0, 1000, 2500, 8000, 100000);
    c->ack_wait_ms = unit;
    c->handler_timeout_ms = SIM_PICK(r, unit / 2, unit * 2, unit * 2, unit * 10);
    c->nak_delay_ms = SIM_PICK(r, 100, 500, 1000);
    c->nak_delay_max_ms = c->nak_delay_ms * SIM_PICK(r, 1, 4, 16, 60);
    c->retry_after_max_ms = SIM_PICK(r, unit, unit * 4, 60000);
    c->settle_timeout_ms = SIM_PICK(r, 200, 1000, unit / 2);
    c->journal_timeout_ms = SIM_PICK(r, 200, 1000, 2000);
    c->pull_expires_ms = SIM_PICK(r, 1000, 5000, 30000);
    c->pull_heartbeat_ms = c->pull_expires_ms / SIM_PICK(r, 2, 4, 6);
    c->max_deliver = (uint32_t)SIM_PICK(r, 0, 2, 3, 5, 20);
    c->suspect_deliveries = 3;
    c->bury_rejected = (uint8_t)sim_below(r, 2);
    c->journal = (uint8_t)!sim_chance(r, p->profile == SIM_PROFILE_JOURNAL ? 0 : 120);
    c->dependencies_count = SLUICE_DEP_SERVICES + sim_below(r, 3);
    for (uint32_t i = 0; i < c->dependencies_count; i++) {
        static const char *const names[] = {"llm", "store", "publish", "search", "index"};
        c->dependencies[i] = (struct sluice_breaker_config){
            .name = names[i],
            .failure_threshold = (uint32_t)SIM_PICK(r, 3, 5, 5, 10),
            .half_open_max = (uint32_t)SIM_PICK(r, 1, 3),
            .success_threshold = (uint32_t)SIM_PICK(r, 1, 2),
            .minimum_throughput = (uint32_t)SIM_PICK(r, 0, 0, 10),
            .minimum_sources = (uint32_t)SIM_PICK(r, 0, 3, 3),
            .reset_timeout_ms = SIM_PICK(r, 1000, 5000, unit * 2),
        };
    }
}

static void draw_server(struct sim_plan *p, struct sluice_prng *r)
{
    p->is_work_queue = (uint8_t)sim_chance(r, 750);
    uint32_t needed = p->engine.max_in_flight * p->workers_count;
    p->ack_pending_max = sim_chance(r, 250) ? p->engine.max_in_flight : needed * 2u + 100u;
    p->duplicate_window_ms = SIM_PICK(r, 600000, 600000, 120000, p->engine.ack_wait_ms * 3);
    p->ping_ms = p->engine.ack_wait_ms / SIM_PICK(r, 4, 6);
    int64_t far = p->profile == SIM_PROFILE_LEASE ? p->engine.ack_wait_ms / 8 : 20;
    p->link_ms = (int32_t)SIM_PICK(r, 0, 1, 3, far < 500 ? far : 500);
}

static void draw_handlers(struct sim_plan *p, struct sluice_prng *r)
{
    int is_odd = p->profile == SIM_PROFILE_POISON;
    if (p->profile == SIM_PROFILE_CALM) {
        return;
    }
    p->fails_sometimes = sim_chance(r, 300) ? 1 + sim_below(r, 200) : 0;
    p->replays = sim_chance(r, 200) ? 1 + sim_below(r, 150) : 0;
    if (p->engine.max_deliver == 0) {
        p->poison = p->engine.journal && sim_chance(r, is_odd ? 800 : 100) ? 40 : 0;
        return; /* what always fails would never end */
    }
    p->fails_always = sim_chance(r, is_odd ? 500 : 200) ? 1 + sim_below(r, 150) : 0;
    p->rejects = sim_chance(r, is_odd ? 500 : 200) ? 1 + sim_below(r, 150) : 0;
    p->skips = sim_chance(r, is_odd ? 400 : 100) ? 1 + sim_below(r, 80) : 0;
    p->wavers = sim_chance(r, is_odd ? 400 : 100) ? 1 + sim_below(r, 80) : 0;
    p->refused_step = sim_chance(r, is_odd ? 400 : 100) ? 1 + sim_below(r, 100) : 0;
    /* Without a journal nobody can tell the killer from its neighbours. */
    p->poison = p->engine.journal && sim_chance(r, is_odd ? 900 : 100) ? 20 + sim_below(r, 60) : 0;
}

static void draw_fault(struct sim_plan *p, struct sluice_prng *r, enum sim_fault_kind kind)
{
    int64_t unit = p->engine.ack_wait_ms;
    struct sim_fault *fault = &p->faults[p->faults_count++];
    *fault = (struct sim_fault){
        .at_ms = sim_between(r, 1, p->calm_at_ms),
        .kind = (uint8_t)kind,
        .worker = (uint8_t)sim_below(r, p->workers_count),
        .how = (uint8_t)sim_below(r, 256),
    };
    if (sim_chance(r, 500)) { /* most messages come early: so do most faults */
        fault->at_ms = 1 + fault->at_ms / 4;
    }
    int64_t longest = unit / 4;
    if (kind == SIM_FAULT_FREEZE || kind == SIM_FAULT_LINK_STALL) {
        longest = unit * 3;
    } else if (kind == SIM_FAULT_OUTAGE) {
        longest = 60000;
        static const uint8_t targets[] = {SIM_TARGET_LLM,  SIM_TARGET_STORE,  SIM_TARGET_PUBLISH,
                                          SIM_TARGET_BURY, SIM_TARGET_LOAD,   SIM_TARGET_RECORD,
                                          SIM_TARGET_KEEP, SIM_TARGET_SERVICE};
        fault->what = targets[sim_below(r, sizeof targets)];
    } else if (kind == SIM_FAULT_KILL_AT) {
        static const uint8_t effects[] = {SLUICE_FX_ADMIT,  SLUICE_FX_SETTLE,  SLUICE_FX_SETTLE,
                                          SLUICE_FX_SETTLE, SLUICE_FX_LOAD,    SLUICE_FX_RUN,
                                          SLUICE_FX_START,  SLUICE_FX_KEEP,    SLUICE_FX_RECORD,
                                          SLUICE_FX_STORE,  SLUICE_FX_PUBLISH, SLUICE_FX_PUBLISH,
                                          SLUICE_FX_BURY,   SLUICE_FX_RELEASE};
        fault->what = effects[sim_below(r, sizeof effects)];
    } else if (kind == SIM_FAULT_HUNGER) {
        longest = 2000;
    }
    fault->length_ms = sim_between(r, 1, longest);
}

static void draw_faults(struct sim_plan *p, struct sluice_prng *r, int first, int end)
{
    for (int kind = first; kind < end; kind++) {
        const struct leaning *l = &leanings[kind];
        if (!sim_chance(r, l->on[p->profile])) {
            continue;
        }
        uint32_t count = 1u + sim_below(r, l->count_max);
        for (uint32_t i = 0; i < count && p->faults_count < SIM_FAULTS_MAX; i++) {
            draw_fault(p, r, (enum sim_fault_kind)kind);
        }
    }
}

/* From luck of its own, as above. */
static void draw_purges(struct sim_plan *p)
{
    struct sluice_prng r = {sim_mix(p->seed, 0x70757267)};
    draw_faults(p, &r, SIM_FAULT_PURGE, SIM_FAULT_COUNT);
}

void sim_plan_draw(struct sim_plan *plan, uint64_t seed, enum sim_profile profile)
{
    struct sluice_prng r = {sim_mix(seed, 0x706c616e)};
    *plan = (struct sim_plan){.seed = seed, .profile = profile};
    plan->workers_count = (uint32_t)SIM_PICK(&r, 1, 1, 2, 2, 3, 4);
    plan->inputs_count = (uint32_t)sim_between(&r, 1, SIM_PICK(&r, 4, 12, 30, 60));
    draw_engine(plan, &r);
    if (profile == SIM_PROFILE_WIDE) {
        plan->workers_count = 1u + sim_below(&r, 2);
        plan->inputs_count = (uint32_t)sim_between(&r, 300, 1400);
        plan->engine.max_in_flight = (uint32_t)SIM_PICK(&r, 300, 700, 1024);
        plan->engine.max_bytes = 0;
    }
    int64_t unit = plan->engine.ack_wait_ms;
    plan->publish_span_ms = sim_between(&r, 1, SIM_PICK(&r, 10, unit, unit * 8));
    plan->calm_at_ms = plan->publish_span_ms + sim_between(&r, unit, unit * 12);
    draw_server(plan, &r);
    draw_rates(plan, &r);
    draw_network(plan);
    draw_staged(plan);
    if (profile == SIM_PROFILE_WIDE) { /* a thousand suspects, one by one, take their time */
        plan->rates[SIM_TARGET_RECORD].fast_ms = 1;
        plan->engine.handler_timeout_ms = 300000;
    }
    draw_handlers(plan, &r);
    draw_late_burials(plan);
    draw_slow_loads(plan);
    draw_faults(plan, &r, 0, SIM_FAULT_PURGE);
    draw_purges(plan);
    plan->restart_ms = SIM_PICK(&r, 10, 200, 1000, unit);
    plan->grace_ms = SIM_PICK(&r, unit / 2, 5000, 25000);
    plan->reports_lost_settles = (uint8_t)sim_below(&r, 2);
    plan->hears_after_stop = (uint8_t)sim_below(&r, 2);
    plan->misses_disconnects = (uint8_t)sim_below(&r, 2);
    plan->is_server_recent = (uint8_t)sim_below(&r, 2);
    plan->unreachable = (uint32_t)SIM_PICK(&r, 0, 0, 300, 1000);
    plan->unavailable = (uint32_t)SIM_PICK(&r, 0, 0, 300, 1000);
}

const char *sim_profile_name(enum sim_profile profile)
{
    static const char *const names[] = {
#define SIM_PROFILE_NAME(name, text, about) text,
        SIM_PROFILES(SIM_PROFILE_NAME)
#undef SIM_PROFILE_NAME
    };
    return profile < SIM_PROFILE_COUNT ? names[profile] : "?";
}

const char *sim_target_name(enum sim_target target)
{
    static const char *const names[] = {
#define SIM_TARGET_NAME(name, text) text,
        SIM_TARGETS(SIM_TARGET_NAME)
#undef SIM_TARGET_NAME
    };
    return target < SIM_TARGET_COUNT ? names[target] : "?";
}

const char *sim_lot_name(enum sim_lot lot)
{
    static const char *const names[] = {
#define SIM_LOT_NAME(name, text) text,
        SIM_LOTS(SIM_LOT_NAME)
#undef SIM_LOT_NAME
    };
    return lot < SIM_LOT_COUNT ? names[lot] : "?";
}

const char *sim_fault_name(enum sim_fault_kind kind)
{
    static const char *const names[] = {
#define SIM_FAULT_NAME(name, text) text,
        SIM_FAULTS(SIM_FAULT_NAME)
#undef SIM_FAULT_NAME
    };
    return kind < SIM_FAULT_COUNT ? names[kind] : "?";
}
