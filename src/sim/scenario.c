/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/scenario.h"

#include "sim/scenario_field.h"
#include <inttypes.h>
#include <string.h>

#define FIELD(member, min, max)                                                                    \
    {                                                                                              \
#member, offsetof(struct sim_plan, member), sizeof(((struct sim_plan *)0)->member), min,   \
            max                                                                                    \
    }
#define TIME_MAX SIM_SCENARIO_TIME_MAX

const struct sim_field sim_fields[] = {
    FIELD(seed, 0, INT64_MAX),
    FIELD(luck, 0, INT32_MAX),
    FIELD(profile, 0, SIM_PROFILE_COUNT - 1),
    FIELD(workers_count, 1, SIM_WORKERS_MAX),
    FIELD(inputs_count, 1, SIM_INPUTS_MAX),
    FIELD(publish_span_ms, 0, TIME_MAX),
    FIELD(calm_at_ms, 1, TIME_MAX),
    FIELD(is_work_queue, 0, 1),
    FIELD(is_server_recent, 0, 1),
    FIELD(ack_pending_max, 1, 1000000),
    FIELD(duplicate_window_ms, 1, TIME_MAX),
    FIELD(ping_ms, 1, TIME_MAX),
    FIELD(link_ms, 0, 100000),
    FIELD(engine.max_in_flight, 1, SIM_IN_FLIGHT_MAX),
    FIELD(engine.max_bytes, 0, TIME_MAX),
    FIELD(engine.message_size_max, 1, 1000000),
    FIELD(engine.ack_wait_ms, 10, TIME_MAX),
    FIELD(engine.handler_timeout_ms, 1, TIME_MAX),
    FIELD(engine.nak_delay_ms, 1, TIME_MAX),
    FIELD(engine.nak_delay_max_ms, 1, TIME_MAX),
    FIELD(engine.retry_after_max_ms, 1, TIME_MAX),
    FIELD(engine.settle_timeout_ms, 1, TIME_MAX),
    FIELD(engine.journal_timeout_ms, 1, TIME_MAX),
    FIELD(engine.pull_expires_ms, 1, TIME_MAX),
    FIELD(engine.pull_heartbeat_ms, 1, TIME_MAX),
    FIELD(engine.max_deliver, 0, 1000),
    FIELD(engine.suspect_deliveries, 1, 1000),
    FIELD(engine.bury_rejected, 0, 1),
    FIELD(engine.journal, 0, 1),
    FIELD(engine.dependencies_count, SLUICE_DEP_SERVICES, SLUICE_DEPENDENCIES_MAX),
    FIELD(outage_hang_per_mille, 0, 1000),
    FIELD(unreachable, 0, 1000),
    FIELD(unavailable, 0, 1000),
    FIELD(retry_after_ms, 0, TIME_MAX),
    FIELD(bad_answers, 0, 1000),
    FIELD(fails_always, 0, 1000),
    FIELD(fails_sometimes, 0, 1000),
    FIELD(rejects, 0, 1000),
    FIELD(poison, 0, 1000),
    FIELD(skips, 0, 1000),
    FIELD(wavers, 0, 1000),
    FIELD(refused_step, 0, 1000),
    FIELD(replays, 0, 1000),
    FIELD(restart_ms, 1, TIME_MAX),
    FIELD(grace_ms, 1, TIME_MAX),
    FIELD(reports_lost_settles, 0, 1),
    FIELD(hears_after_stop, 0, 1),
    FIELD(misses_disconnects, 0, 1),
};
const size_t sim_fields_count = sizeof sim_fields / sizeof sim_fields[0];
_Static_assert(sizeof sim_fields / sizeof sim_fields[0] <= SIM_FIELDS_MAX,
               "a reader has that many");

/* Members are 1, 4 or 8 bytes wide; none of their values needs the sign bit. */
uint64_t sim_field_get(const struct sim_plan *plan, const struct sim_field *f)
{
    uint64_t value = 0;
    const unsigned char *at = (const unsigned char *)plan + f->offset;
    if (f->size == sizeof(uint8_t)) {
        return *at;
    }
    if (f->size == sizeof(uint32_t)) {
        uint32_t narrow;
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&value, at, sizeof value);
    return value;
}

void sim_field_set(struct sim_plan *plan, const struct sim_field *f, uint64_t value)
{
    unsigned char *at = (unsigned char *)plan + f->offset;
    if (f->size == sizeof(uint8_t)) {
        *at = (uint8_t)value;
    } else if (f->size == sizeof(uint32_t)) {
        uint32_t narrow = (uint32_t)value;
        memcpy(at, &narrow, sizeof narrow);
    } else {
        memcpy(at, &value, sizeof value);
    }
}

/* ---- Writing */

static void write_rates(FILE *out, const struct sim_plan *plan)
{
    for (int target = 0; target < SIM_TARGET_COUNT; target++) {
        const struct sim_rates *r = &plan->rates[target];
        fprintf(out, "times %s %d %d %d\n", sim_target_name((enum sim_target)target),
                (int)r->fast_ms, (int)r->slow_ms, (int)r->timeout_ms);
        uint32_t left = SIM_RATES_WHOLE; /* what was drawn beyond it never comes: a file has less */
        for (int lot = SIM_LOT_SLOW; lot < SIM_LOT_COUNT; lot++) {
            uint32_t rate = r->rate[lot] < left ? r->rate[lot] : left;
            left -= rate;
            if (rate != 0) {
                fprintf(out, "rate %s %s %u\n", sim_target_name((enum sim_target)target),
                        sim_lot_name((enum sim_lot)lot), rate);
            }
        }
    }
}

static void write_lots(FILE *out, const char *name, const struct sim_lots *said)
{
    for (uint32_t i = 0; i < said->count; i++) {
        fprintf(out, "%s %u %s\n", name, i + 1, sim_lot_name((enum sim_lot)said->lots[i]));
    }
}

static void write_course(FILE *out, const struct sim_course *course)
{
    write_lots(out, "request", &course->requests);
    write_lots(out, "network", &course->network);
    for (uint32_t i = 0; i < SIM_COURSE_KILLS; i++) {
        if (course->kills[i] != 0) {
            fprintf(out, "kill %s effect %u\n", course->kills[i] % 2 == 0 ? "before" : "after",
                    course->kills[i] / 2);
        }
    }
}

void sim_scenario_write(FILE *out, const struct sim_plan *plan, const char *note)
{
    fprintf(out, "# %s\n# Run it with: sluice sim --scenario FILE [--trace]\n", note);
    for (size_t i = 0; i < sim_fields_count; i++) {
        if (sim_field_get(plan, &sim_fields[i]) != 0) {
            fprintf(out, "%s %" PRIu64 "\n", sim_fields[i].name,
                    sim_field_get(plan, &sim_fields[i]));
        }
    }
    for (uint32_t i = 0; i < plan->engine.dependencies_count; i++) {
        const struct sluice_breaker_config *b = &plan->engine.dependencies[i];
        fprintf(out, "breaker %s %u %u %u %u %u %" PRId64 "\n", b->name, b->failure_threshold,
                b->half_open_max, b->success_threshold, b->minimum_throughput, b->minimum_sources,
                b->reset_timeout_ms);
    }
    write_rates(out, plan);
    for (uint32_t i = 0; i < plan->faults_count; i++) {
        const struct sim_fault *f = &plan->faults[i];
        if (!f->is_off) {
            fprintf(out, "fault %s %" PRId64 " %" PRId64 " %u %u %u\n",
                    sim_fault_name((enum sim_fault_kind)f->kind), f->at_ms, f->length_ms,
                    (unsigned)f->worker, (unsigned)f->what, (unsigned)f->how);
        }
    }
    write_course(out, &plan->course);
    for (uint32_t i = 1; i <= plan->inputs_count; i++) {
        uint32_t last = i;
        while (plan->is_skipped[i] && last < plan->inputs_count && plan->is_skipped[last + 1]) {
            last++;
        }
        if (plan->is_skipped[i]) {
            fprintf(out, "without messages %u to %u\n", i, last);
        }
        i = last;
    }
}
