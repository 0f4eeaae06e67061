/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/scenario.h"

#include <inttypes.h>
#include <string.h>

/* One number of the plan: where it is, how wide, and what it may be. */
struct field {
    const char *name;
    size_t offset;
    size_t size;
    int64_t min, max;
};

#define FIELD(member, min, max)                                                                    \
    {                                                                                              \
#member, offsetof(struct sim_plan, member), sizeof(((struct sim_plan *)0)->member), min,   \
            max                                                                                    \
    }
#define TIME_MAX INT64_C(1000000000)

static const struct field fields[] = {
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
#define FIELDS_COUNT (sizeof fields / sizeof fields[0])

/* Members are 1, 4 or 8 bytes wide; none of their values needs the sign bit. */
static uint64_t get(const struct sim_plan *plan, const struct field *f)
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

static void set(struct sim_plan *plan, const struct field *f, uint64_t value)
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
        for (int lot = SIM_LOT_SLOW; lot < SIM_LOT_COUNT; lot++) {
            if (r->rate[lot] != 0) {
                fprintf(out, "rate %s %s %u\n", sim_target_name((enum sim_target)target),
                        sim_lot_name((enum sim_lot)lot), (unsigned)r->rate[lot]);
            }
        }
    }
}

static void write_course(FILE *out, const struct sim_course *course)
{
    for (uint32_t i = 0; i < course->lots_count; i++) {
        fprintf(out, "request %u %s\n", i + 1, sim_lot_name((enum sim_lot)course->lots[i]));
    }
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
    for (size_t i = 0; i < FIELDS_COUNT; i++) {
        if (get(plan, &fields[i]) != 0) {
            fprintf(out, "%s %" PRIu64 "\n", fields[i].name, get(plan, &fields[i]));
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

/* ---- Reading */

static int read_field(struct sim_plan *plan, const char *line)
{
    char name[64];
    int64_t value;
    if (sscanf(line, "%63s %" SCNd64, name, &value) != 2) {
        return 0;
    }
    for (size_t i = 0; i < FIELDS_COUNT; i++) {
        const struct field *f = &fields[i];
        if (strcmp(name, f->name) == 0) {
            if (value < f->min || value > f->max) {
                return 0;
            }
            set(plan, f, (uint64_t)value);
            return 1;
        }
    }
    return 0;
}

static int find_target(const char *name)
{
    for (int i = 0; i < SIM_TARGET_COUNT; i++) {
        if (strcmp(name, sim_target_name((enum sim_target)i)) == 0) {
            return i;
        }
    }
    return -1;
}

static int find_lot(const char *name)
{
    for (int i = 0; i < SIM_LOT_COUNT; i++) {
        if (strcmp(name, sim_lot_name((enum sim_lot)i)) == 0) {
            return i;
        }
    }
    return -1;
}

/* Requests in their order, from 1. */
static int read_request(struct sim_course *course, const char *line)
{
    char name[32];
    unsigned number;
    int is_read = sscanf(line, "request %u %31s", &number, name) == 2;
    int lot = is_read ? find_lot(name) : -1;
    if (lot < 0 || number != course->lots_count + 1 || number > SIM_LOTS_MAX) {
        return 0;
    }
    course->lots[course->lots_count++] = (uint8_t)lot;
    return 1;
}

static int read_kill(struct sim_course *course, const char *line)
{
    char side[8];
    unsigned effect;
    if (sscanf(line, "kill %7s effect %u", side, &effect) != 2 || effect < 1 ||
        effect > INT32_MAX / 2) {
        return 0;
    }
    int is_after = strcmp(side, "after") == 0;
    for (uint32_t i = 0; i < SIM_COURSE_KILLS; i++) {
        if (course->kills[i] == 0 && (is_after || strcmp(side, "before") == 0)) {
            course->kills[i] = 2 * effect + (uint32_t)is_after;
            return 1;
        }
    }
    return 0;
}

static int read_rate(struct sim_plan *plan, const char *line)
{
    char target_name[32], lot_name[32];
    int fast, slow, timeout;
    unsigned rate;
    if (sscanf(line, "times %31s %d %d %d", target_name, &fast, &slow, &timeout) == 4) {
        int target = find_target(target_name);
        if (target < 0 || fast < 0 || slow < 0 || timeout < 1) {
            return 0;
        }
        plan->rates[target].fast_ms = fast;
        plan->rates[target].slow_ms = slow;
        plan->rates[target].timeout_ms = timeout;
        return 1;
    }
    if (sscanf(line, "rate %31s %31s %u", target_name, lot_name, &rate) != 3 || rate > 65535) {
        return 0;
    }
    int target = find_target(target_name);
    int lot = find_lot(lot_name);
    if (target < 0 || lot < SIM_LOT_SLOW) {
        return 0;
    }
    plan->rates[target].rate[lot] = (uint16_t)rate;
    plan->rates[target].sum += rate;
    return 1;
}

static int read_fault(struct sim_plan *plan, const char *line)
{
    char kind_name[32];
    int64_t at_ms, length_ms;
    unsigned worker, what, how;
    int got = sscanf(line, "fault %31s %" SCNd64 " %" SCNd64 " %u %u %u", kind_name, &at_ms,
                     &length_ms, &worker, &what, &how);
    if (got != 6 || at_ms < 0 || length_ms < 0 || worker >= SIM_WORKERS_MAX || what > 255 ||
        how > 255 || plan->faults_count == SIM_FAULTS_MAX) {
        return 0;
    }
    for (int kind = 0; kind < SIM_FAULT_COUNT; kind++) {
        if (strcmp(kind_name, sim_fault_name((enum sim_fault_kind)kind)) == 0) {
            if (kind == SIM_FAULT_OUTAGE && what >= SIM_TARGET_COUNT) {
                return 0;
            }
            plan->faults[plan->faults_count++] = (struct sim_fault){.at_ms = at_ms,
                                                                    .length_ms = length_ms,
                                                                    .kind = (uint8_t)kind,
                                                                    .worker = (uint8_t)worker,
                                                                    .what = (uint8_t)what,
                                                                    .how = (uint8_t)how};
            return 1;
        }
    }
    return 0;
}

static int read_breaker(struct sim_plan *plan, const char *line, uint32_t *count)
{
    static const char *const names[] = {"llm", "store", "publish", "search", "index"};
    char name[32];
    struct sluice_breaker_config b = {0};
    int got = sscanf(line, "breaker %31s %u %u %u %u %u %" SCNd64, name, &b.failure_threshold,
                     &b.half_open_max, &b.success_threshold, &b.minimum_throughput,
                     &b.minimum_sources, &b.reset_timeout_ms);
    if (got != 7 || *count >= sizeof names / sizeof names[0] || strcmp(name, names[*count]) != 0) {
        return 0;
    }
    b.name = names[*count];
    plan->engine.dependencies[(*count)++] = b;
    return 1;
}

static int read_line(struct sim_plan *plan, const char *line, uint32_t *breakers)
{
    unsigned first, last;
    if (strncmp(line, "times ", 6) == 0 || strncmp(line, "rate ", 5) == 0) {
        return read_rate(plan, line);
    }
    if (strncmp(line, "fault ", 6) == 0) {
        return read_fault(plan, line);
    }
    if (strncmp(line, "breaker ", 8) == 0) {
        return read_breaker(plan, line, breakers);
    }
    if (strncmp(line, "request ", 8) == 0) {
        return read_request(&plan->course, line);
    }
    if (strncmp(line, "kill ", 5) == 0) {
        return read_kill(&plan->course, line);
    }
    if (sscanf(line, "without messages %u to %u", &first, &last) == 2) {
        if (first < 1 || first > last || last > SIM_INPUTS_MAX) {
            return 0;
        }
        memset(&plan->is_skipped[first], 1, last - first + 1);
        return 1;
    }
    return read_field(plan, line);
}

sluice_rc sim_scenario_read(FILE *in, struct sim_plan *plan, struct sluice_err *err)
{
    char line[256];
    uint32_t number = 0, breakers = 0;
    memset(plan, 0, sizeof *plan);
    while (fgets(line, sizeof line, in) != NULL) {
        number++;
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#') {
            continue;
        }
        if (!read_line(plan, line, &breakers)) {
            return sluice_err_set(err, SLUICE_ERR_CONFIG,
                                  "line %u: \"%s\": unknown or out of range", number, line);
        }
    }
    for (size_t i = 0; i < FIELDS_COUNT; i++) {
        if (get(plan, &fields[i]) == 0 && fields[i].min > 0) {
            return sluice_err_set(err, SLUICE_ERR_CONFIG, "%s is missing", fields[i].name);
        }
    }
    if (breakers != plan->engine.dependencies_count) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "%u breakers, expected %u", breakers,
                              plan->engine.dependencies_count);
    }
    for (uint32_t i = 0; i < plan->faults_count; i++) {
        if (plan->faults[i].worker >= plan->workers_count) {
            return sluice_err_set(err, SLUICE_ERR_CONFIG, "fault %u strikes worker %u of %u", i + 1,
                                  (unsigned)plan->faults[i].worker, plan->workers_count);
        }
    }
    return SLUICE_OK;
}
