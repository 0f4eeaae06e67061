/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a scenario: whatever a line says beyond what a plan can hold is refused by its number. */
#include "sim/scenario.h"
#include "sim/scenario_field.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 256
#define WORDS_MAX 10u

struct reading {
    struct sim_plan *plan;
    struct sluice_err *err;
    uint32_t line; /* the one that is read, from 1 */
    const char *words[WORDS_MAX];
    uint32_t words_count;
    uint32_t breakers_count;
    /* Where each of them stands; 0: nowhere. */
    uint32_t field_lines[SIM_FIELDS_MAX], times_lines[SIM_TARGET_COUNT];
    uint32_t rate_lines[SIM_TARGET_COUNT][SIM_LOT_COUNT], fault_lines[SIM_FAULTS_MAX];
    uint32_t without_lines[SIM_INPUTS_MAX + 1];
};

/* What is wrong with a line. Returns 0. */
SLUICE_PRINTF(3, 4)
static int wrong(const struct reading *r, uint32_t line, const char *format, ...)
{
    char text[SLUICE_ERR_TEXT_SIZE];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(text, sizeof text, format, values);
    va_end(values);
    (void)sluice_err_set(r->err, SLUICE_ERR_CONFIG, "line %u: %.400s", line, text);
    return 0;
}

/* ---- Words */

/* The word is a whole number in these bounds. */
static int number_at(const struct reading *r, uint32_t at, const char *what, int64_t min,
                     int64_t max, int64_t *out)
{
    const char *word = r->words[at];
    char *end;
    errno = 0;
    *out = min;
    long long value = strtoll(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0 || value < min ||
        value > max) {
        return wrong(r, r->line, "%s: \"%s\", expected a whole number from %" PRId64 " to %" PRId64,
                     what, word, min, max);
    }
    *out = value;
    return 1;
}

/* Which of `count` names the word is; -1: none. */
static int named_at(const struct reading *r, uint32_t at, const char *what,
                    const char *(*name)(int), int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(r->words[at], name(i)) == 0) {
            return i;
        }
    }
    (void)wrong(r, r->line, "%s: \"%s\" is none", what, r->words[at]);
    return -1;
}

static const char *target_name(int i)
{
    return sim_target_name((enum sim_target)i);
}

static const char *lot_name(int i)
{
    return sim_lot_name((enum sim_lot)i);
}

static const char *fault_name(int i)
{
    return sim_fault_name((enum sim_fault_kind)i);
}

/* This line is the first that says it. */
static int is_new(const struct reading *r, uint32_t *line, const char *what)
{
    if (*line != 0) {
        return wrong(r, r->line, "%s stands in line %u already", what, *line);
    }
    *line = r->line;
    return 1;
}

/* ---- Lines */

static int read_field(struct reading *r)
{
    for (size_t i = 0; i < sim_fields_count; i++) {
        const struct sim_field *f = &sim_fields[i];
        int64_t value;
        if (strcmp(r->words[0], f->name) != 0) {
            continue;
        }
        if (r->words_count != 2) {
            return wrong(r, r->line, "%s: %u words behind it, expected one number", f->name,
                         r->words_count - 1);
        }
        if (!is_new(r, &r->field_lines[i], f->name) ||
            !number_at(r, 1, f->name, f->min, f->max, &value)) {
            return 0;
        }
        sim_field_set(r->plan, f, (uint64_t)value);
        return 1;
    }
    return wrong(r, r->line,
                 "\"%s\": unknown, expected a number of the plan or times, rate, fault, "
                 "breaker, request, network, kill, without",
                 r->words[0]);
}

static int read_times(struct reading *r)
{
    int target = named_at(r, 1, "target", target_name, SIM_TARGET_COUNT);
    int64_t fast, slow, timeout;
    if (target < 0 || !is_new(r, &r->times_lines[target], "times of this target") ||
        !number_at(r, 2, "FAST_MS", 0, SIM_SCENARIO_TIME_MAX, &fast) ||
        !number_at(r, 3, "SLOW_MS", 0, SIM_SCENARIO_TIME_MAX, &slow) ||
        !number_at(r, 4, "TIMEOUT_MS", 1, SIM_SCENARIO_TIME_MAX, &timeout)) {
        return 0;
    }
    struct sim_rates *rates = &r->plan->rates[target];
    rates->fast_ms = (int32_t)fast;
    rates->slow_ms = (int32_t)slow;
    rates->timeout_ms = (int32_t)timeout;
    return 1;
}

static int read_rate(struct reading *r)
{
    int target = named_at(r, 1, "target", target_name, SIM_TARGET_COUNT);
    int lot = target < 0 ? -1 : named_at(r, 2, "lot", lot_name, SIM_LOT_COUNT);
    int64_t rate;
    if (lot < 0 || !number_at(r, 3, "rate", 0, UINT16_MAX, &rate)) {
        return 0;
    }
    struct sim_rates *rates = &r->plan->rates[target];
    if (lot == SIM_LOT_OK || !sim_target_knows((enum sim_target)target, (enum sim_lot)lot)) {
        return wrong(r, r->line, "rate: \"%s\" never becomes of \"%s\"", r->words[2], r->words[1]);
    }
    if (!is_new(r, &r->rate_lines[target][lot], "this rate")) {
        return 0;
    }
    if (rates->sum + rate > SIM_RATES_WHOLE) {
        return wrong(r, r->line,
                     "rate: \"%s\", expected at most %u: with the others of \"%s\" it is "
                     "more than all (%u)",
                     r->words[3], SIM_RATES_WHOLE - rates->sum, r->words[1], SIM_RATES_WHOLE);
    }
    rates->rate[lot] = (uint16_t)rate;
    rates->sum += (uint32_t)rate;
    return 1;
}

static int read_fault(struct reading *r)
{
    struct sim_plan *plan = r->plan;
    int64_t at_ms, length_ms, worker, what, how;
    if (plan->faults_count == SIM_FAULTS_MAX) {
        return wrong(r, r->line, "fault: expected no more than %u", SIM_FAULTS_MAX);
    }
    int kind = named_at(r, 1, "fault", fault_name, SIM_FAULT_COUNT);
    int64_t what_max = kind == SIM_FAULT_OUTAGE    ? SIM_TARGET_SETTLE - 1
                       : kind == SIM_FAULT_KILL_AT ? SLUICE_FX_COUNT - 1
                                                   : UINT8_MAX;
    if (kind < 0 || !number_at(r, 2, "AT_MS", 0, SIM_SCENARIO_TIME_MAX, &at_ms) ||
        !number_at(r, 3, "LENGTH_MS", 0, SIM_SCENARIO_TIME_MAX, &length_ms) ||
        !number_at(r, 4, "WORKER", 0, SIM_WORKERS_MAX - 1, &worker) ||
        !number_at(r, 5, "WHAT", 0, what_max, &what) ||
        !number_at(r, 6, "HOW", 0, UINT8_MAX, &how)) {
        return 0;
    }
    r->fault_lines[plan->faults_count] = r->line;
    plan->faults[plan->faults_count++] = (struct sim_fault){.at_ms = at_ms,
                                                            .length_ms = length_ms,
                                                            .kind = (uint8_t)kind,
                                                            .worker = (uint8_t)worker,
                                                            .what = (uint8_t)what,
                                                            .how = (uint8_t)how};
    return 1;
}

static int read_breaker(struct reading *r)
{
    static const char *const names[] = {"llm", "store", "publish", "search", "index"};
    static const struct {
        const char *name;
        int64_t min, max;
    } parts[] = {{"failure_threshold", 1, UINT32_MAX},
                 {"half_open_max", 1, UINT32_MAX},
                 {"success_threshold", 1, UINT32_MAX},
                 {"minimum_throughput", 0, UINT32_MAX},
                 {"minimum_sources", 0, SLUICE_BREAKER_SOURCES_MAX},
                 {"reset_timeout_ms", 1, SIM_SCENARIO_TIME_MAX}};
    enum { PARTS = sizeof parts / sizeof parts[0] };
    int64_t values[PARTS];
    if (r->breakers_count == sizeof names / sizeof names[0] ||
        strcmp(r->words[1], names[r->breakers_count]) != 0) {
        return wrong(r, r->line, "breaker: \"%s\", expected %s: llm, store, publish, search, index",
                     r->words[1],
                     r->breakers_count == sizeof names / sizeof names[0] ? "no sixth"
                                                                         : "them in this order");
    }
    for (uint32_t i = 0; i < PARTS; i++) {
        if (!number_at(r, i + 2, parts[i].name, parts[i].min, parts[i].max, &values[i])) {
            return 0;
        }
    }
    r->plan->engine.dependencies[r->breakers_count] =
        (struct sluice_breaker_config){.name = names[r->breakers_count],
                                       .failure_threshold = (uint32_t)values[0],
                                       .half_open_max = (uint32_t)values[1],
                                       .success_threshold = (uint32_t)values[2],
                                       .minimum_throughput = (uint32_t)values[3],
                                       .minimum_sources = (uint32_t)values[4],
                                       .reset_timeout_ms = values[5]};
    r->breakers_count++;
    return 1;
}

/* Requests in their order, from 1. */
static int read_lot(struct reading *r, struct sim_lots *said)
{
    int64_t number, next = (int64_t)said->count + 1;
    if (next > SIM_LOTS_MAX) {
        return wrong(r, r->line, "%s: expected no more than %u", r->words[0], SIM_LOTS_MAX);
    }
    int lot = named_at(r, 2, "lot", lot_name, SIM_LOT_COUNT);
    if (lot < 0 || !number_at(r, 1, r->words[0], next, next, &number)) {
        return 0;
    }
    said->lots[said->count++] = (uint8_t)lot;
    return 1;
}

static int read_request(struct reading *r)
{
    return read_lot(r, &r->plan->course.requests);
}

static int read_network(struct reading *r)
{
    return read_lot(r, &r->plan->course.network);
}

static int read_kill(struct reading *r)
{
    uint32_t *kills = r->plan->course.kills;
    int64_t effect;
    int is_after = strcmp(r->words[1], "after") == 0;
    if ((!is_after && strcmp(r->words[1], "before") != 0) || strcmp(r->words[2], "effect") != 0) {
        return wrong(r, r->line, "kill: \"%s %s\", expected before effect or after effect",
                     r->words[1], r->words[2]);
    }
    if (!number_at(r, 3, "effect", 1, INT32_MAX / 2, &effect)) {
        return 0;
    }
    uint32_t here = 2 * (uint32_t)effect + (uint32_t)is_after;
    for (uint32_t i = 0; i < SIM_COURSE_KILLS; i++) {
        if (kills[i] == here) {
            return wrong(r, r->line, "kill: this one stands before already");
        }
        if (kills[i] == 0) {
            kills[i] = here;
            return 1;
        }
    }
    return wrong(r, r->line, "kill: expected no more than %u", SIM_COURSE_KILLS);
}

static int read_without(struct reading *r)
{
    int64_t first, last;
    if (strcmp(r->words[1], "messages") != 0 || strcmp(r->words[3], "to") != 0) {
        return wrong(r, r->line, "without: expected without messages FIRST to LAST");
    }
    if (!number_at(r, 2, "FIRST", 1, SIM_INPUTS_MAX, &first) ||
        !number_at(r, 4, "LAST", first, SIM_INPUTS_MAX, &last)) {
        return 0;
    }
    for (int64_t i = first; i <= last; i++) {
        if (!is_new(r, &r->without_lines[i], "one of these messages")) {
            return 0;
        }
        r->plan->is_skipped[i] = 1;
    }
    return 1;
}

static const struct {
    const char *verb;
    uint32_t words;
    int (*read)(struct reading *r);
    const char *form;
} lines[] = {
    {"times", 5, read_times, "times TARGET FAST_MS SLOW_MS TIMEOUT_MS"},
    {"rate", 4, read_rate, "rate TARGET LOT RATE"},
    {"fault", 7, read_fault, "fault KIND AT_MS LENGTH_MS WORKER WHAT HOW"},
    {"breaker", 8, read_breaker,
     "breaker NAME FAILURES HALF_OPEN SUCCESSES THROUGHPUT SOURCES RESET_MS"},
    {"request", 3, read_request, "request NUMBER LOT"},
    {"network", 3, read_network, "network NUMBER LOT"},
    {"kill", 4, read_kill, "kill before|after effect NUMBER"},
    {"without", 5, read_without, "without messages FIRST to LAST"},
};

static int read_line(struct reading *r, char *text)
{
    r->words_count = 0;
    for (char *at = text + strspn(text, " "); *at != '\0'; at += strspn(at, " ")) {
        char *word = at;
        at += strcspn(at, " ");
        if (*at != '\0') {
            *at++ = '\0';
        }
        if (r->words_count == WORDS_MAX) {
            return wrong(r, r->line, "\"%s\": unexpected", word);
        }
        r->words[r->words_count++] = word;
    }
    if (r->words_count == 0) {
        return 1;
    }
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strcmp(r->words[0], lines[i].verb) == 0) {
            return r->words_count == lines[i].words
                       ? lines[i].read(r)
                       : wrong(r, r->line, "%u words, expected %s", r->words_count, lines[i].form);
        }
    }
    return read_field(r);
}

/* ---- The whole */

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, size);
}

/* The engine's own judgement, before a run is blamed for it. */
static int engine_is_possible(const struct reading *r)
{
    struct sluice_engine_config config = r->plan->engine;
    struct sluice_engine *engine;
    struct sluice_err err = {0};
    static const char prefix[] = "engine: ";
    config.allocator = (struct sluice_allocator){.resize = resize};
    if (sluice_engine_create(&config, 0, &engine, &err) == SLUICE_OK) {
        sluice_engine_destroy(engine);
        return 1;
    }
    uint32_t line = 0;
    for (size_t i = 0; i < sim_fields_count; i++) {
        const char *name = strchr(sim_fields[i].name, '.');
        size_t len = name == NULL ? 0 : strlen(name + 1);
        const char *said = err.text + sizeof prefix - 1;
        if (name != NULL && strncmp(said, name + 1, len) == 0 && said[len] == ':') {
            line = r->field_lines[i];
        }
    }
    return wrong(r, line, "%s", err.text);
}

static uint32_t line_of(const struct reading *r, const char *field)
{
    for (size_t i = 0; i < sim_fields_count; i++) {
        if (strcmp(sim_fields[i].name, field) == 0) {
            return r->field_lines[i];
        }
    }
    return 0;
}

static sluice_rc missing(const struct reading *r, const char *what, const char *name)
{
    return sluice_err_set(r->err, SLUICE_ERR_CONFIG, "%s%s is missing", what, name);
}

/* What no line says by itself. */
static sluice_rc judge(const struct reading *r)
{
    const struct sim_plan *plan = r->plan;
    for (size_t i = 0; i < sim_fields_count; i++) {
        if (r->field_lines[i] == 0 && sim_fields[i].min > 0) {
            return missing(r, "", sim_fields[i].name);
        }
    }
    for (int target = 0; target < SIM_TARGET_COUNT; target++) {
        /* Files from before the network had fates say nothing of it. */
        int is_used = target < SIM_TARGET_SETTLE || plan->rates[target].sum > 0 ||
                      plan->course.network.count > 0;
        if (r->times_lines[target] == 0 && is_used) {
            return missing(r, "times ", target_name(target));
        }
    }
    if (r->breakers_count != plan->engine.dependencies_count) {
        (void)wrong(r, line_of(r, "engine.dependencies_count"), "%u breakers, expected %u",
                    r->breakers_count, plan->engine.dependencies_count);
        return SLUICE_ERR_CONFIG;
    }
    for (uint32_t i = 0; i < plan->faults_count; i++) {
        if (plan->faults[i].worker >= plan->workers_count) {
            (void)wrong(r, r->fault_lines[i], "fault %u strikes worker %u of %u, counted from 0",
                        i + 1, (unsigned)plan->faults[i].worker, plan->workers_count);
            return SLUICE_ERR_CONFIG;
        }
    }
    for (uint32_t i = plan->inputs_count + 1; i <= SIM_INPUTS_MAX; i++) {
        if (r->without_lines[i] != 0) {
            (void)wrong(r, r->without_lines[i], "message %u, expected one of %u", i,
                        plan->inputs_count);
            return SLUICE_ERR_CONFIG;
        }
    }
    return engine_is_possible(r) ? SLUICE_OK : SLUICE_ERR_CONFIG;
}

sluice_rc sim_scenario_read(FILE *in, struct sim_plan *plan, struct sluice_err *err)
{
    char text[LINE_SIZE];
    struct reading r = {.plan = plan, .err = err};
    memset(plan, 0, sizeof *plan);
    while (fgets(text, sizeof text, in) != NULL) {
        r.line++;
        if (strchr(text, '\n') == NULL && !feof(in)) {
            (void)wrong(&r, r.line, "longer than %d bytes, or a byte 0 in it", LINE_SIZE - 2);
            return SLUICE_ERR_CONFIG;
        }
        text[strcspn(text, "\r\n")] = '\0';
        if (text[0] != '#' && !read_line(&r, text)) {
            return SLUICE_ERR_CONFIG;
        }
    }
    if (ferror(in)) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "cannot be read");
    }
    return judge(&r);
}
