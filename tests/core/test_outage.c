/* SPDX-License-Identifier: Apache-2.0 */
/* A dependency is away while few messages are at work: with the runtime's own settings, when is a
 * message given up? */
#include "engine_fixture.h"

#include "run/engine_config.h"
#include <string.h>
#include <unistd.h>

enum { SEEDS = 200, MESSAGES_MAX = 5, EFFECTS_MAX = 32 };

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define NEVER     INT64_MAX

struct pupil {
    struct sluice_ticket ticket;
    struct sluice_record record;
    int64_t due_ms; /* of the next delivery; NEVER: it is in the engine's hands, or gone */
    uint32_t deliveries, calls;
    int has_record, has_asked, has_failed, is_over;
};

/* A world in which each call of an LLM ends with `fate` until it is back. */
struct outage {
    struct fixture f;
    enum sluice_fate fate;
    uint32_t max_deliver; /* 0: the default */
    struct pupil pupils[MESSAGES_MAX];
    int64_t back_ms, buried_ms; /* NEVER: not yet */
    int done;
};

static void follow(struct outage *o);

static struct pupil *pupil_of(struct outage *o, struct sluice_ticket t)
{
    for (int i = 0; i < MESSAGES_MAX; i++) {
        if (o->pupils[i].ticket.slot == t.slot && o->pupils[i].ticket.generation == t.generation) {
            return &o->pupils[i];
        }
    }
    fail_msg("whose ticket is that?");
    return NULL;
}

static void on_run(struct outage *o, struct pupil *p)
{
    if (!p->has_asked) {
        p->has_asked = 1;
        (void)fixture_suspend(&o->f, p->ticket, 1, 0);
    } else if (p->has_failed) {
        (void)fixture_failed(&o->f, p->ticket, SLUICE_FAILURE_STEP, 0);
    } else {
        (void)fixture_done(&o->f, p->ticket, 0, 0);
    }
}

static void on_settle(struct outage *o, struct pupil *p, const struct sluice_effect *fx)
{
    if (fx->settle.verb == SLUICE_VERB_ACK) {
        p->is_over = 1;
        o->done++;
    }
    (void)fixture_settled(&o->f, p->ticket, (enum sluice_verb)fx->settle.verb);
}

static void on_effect(struct outage *o, const struct sluice_effect *fx)
{
    struct fixture *f = &o->f;
    switch (fx->kind) {
    case SLUICE_FX_LOAD: {
        struct pupil *p = pupil_of(o, fx->ticket);
        (void)fixture_loaded(f, fx->ticket, p->has_record ? &p->record : NULL, NULL, 0);
        break;
    }
    case SLUICE_FX_RUN:
        on_run(o, pupil_of(o, fx->ticket));
        break;
    case SLUICE_FX_START: {
        struct pupil *p = pupil_of(o, fx->ticket);
        p->calls++;
        p->has_failed = f->now_ms < o->back_ms;
        (void)fixture_step_ended(f, fx->ticket, fx->step, p->has_failed ? o->fate : SLUICE_FATE_OK,
                                 0);
        break;
    }
    case SLUICE_FX_KEEP:
        (void)fixture_answer(f, fx->ticket, SLUICE_EV_KEPT, SLUICE_FATE_OK);
        break;
    case SLUICE_FX_RECORD: {
        struct pupil *p = pupil_of(o, fx->ticket);
        p->record = *fx->record;
        p->has_record = 1;
        (void)fixture_answer(f, fx->ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
        break;
    }
    case SLUICE_FX_SETTLE:
        if (fx->settle.verb == SLUICE_VERB_NAK) { /* nobody answers it */
            pupil_of(o, fx->ticket)->due_ms = f->now_ms + fx->settle.delay_ms;
            return;
        }
        on_settle(o, pupil_of(o, fx->ticket), fx);
        break;
    case SLUICE_FX_BURY:
        o->buried_ms = f->now_ms;
        return;
    default:
        return; /* pulls and the like */
    }
    follow(o);
}

/* Do what the last step wants, as the shell would. */
static void follow(struct outage *o)
{
    struct sluice_effect items[EFFECTS_MAX];
    uint32_t count = o->f.effects.count;
    assert_true(count <= EFFECTS_MAX);
    memcpy(items, o->f.effects.items, count * sizeof *items);
    for (uint32_t i = 0; i < count && o->buried_ms == NEVER; i++) {
        on_effect(o, &items[i]);
    }
}

static void deliver(struct outage *o, int i)
{
    struct pupil *p = &o->pupils[i];
    p->due_ms = NEVER;
    p->has_asked = 0;
    (void)fixture_deliver(&o->f, (uint64_t)i + 1, ++p->deliveries);
    p->ticket = o->f.ticket;
    follow(o);
}

static struct sluice_settings_box *defaults;

static int load_defaults(void **state)
{
    static struct sluice_report report;
    static char *no_variables[] = {NULL};
    (void)state;
    environ = no_variables;
    return sluice_settings_load(0, NULL, NULL, &defaults, &report) == SLUICE_OK ? 0 : -1;
}

static int free_defaults(void **state)
{
    (void)state;
    sluice_settings_free(defaults);
    return 0;
}

/* The settings' defaults, but for room; all dependencies have the breaker of this one. */
static struct sluice_engine_config default_config(uint64_t seed, uint32_t dependency)
{
    struct sluice_engine_config c = sluice_engine_config_of(sluice_settings_of(defaults));
    c.max_in_flight = 8;
    c.message_size_max = fixture_config().message_size_max;
    c.allocator = fixture_allocator;
    c.seed = seed;
    for (uint32_t i = 0; i < c.dependencies_count; i++) {
        c.dependencies[i] = c.dependencies[dependency];
    }
    return c;
}

/* Until one is buried, all are done, or the time is over. Returns how long that took. */
static int64_t live_through(struct outage *o, uint64_t seed, uint32_t dependency, int messages,
                            int64_t outage_ms, int64_t limit_ms)
{
    struct sluice_engine_config c = default_config(seed, dependency);
    c.max_deliver = o->max_deliver != 0 ? o->max_deliver : c.max_deliver;
    *o = (struct outage){.buried_ms = NEVER, .fate = o->fate, .max_deliver = o->max_deliver};
    fixture_open_connected(&o->f, &c);
    int64_t begin = o->f.now_ms;
    o->back_ms = outage_ms == NEVER ? NEVER : begin + outage_ms;
    for (int i = 0; i < MESSAGES_MAX; i++) {
        o->pupils[i].due_ms = i < messages ? begin + i : NEVER;
    }
    while (o->buried_ms == NEVER && o->done < messages && o->f.now_ms - begin < limit_ms) {
        int64_t next = sluice_engine_deadline(o->f.engine);
        for (int i = 0; i < MESSAGES_MAX; i++) {
            next = o->pupils[i].due_ms < next ? o->pupils[i].due_ms : next;
        }
        (void)fixture_tick(&o->f, next > o->f.now_ms ? next - o->f.now_ms : 0);
        follow(o);
        for (int i = 0; i < MESSAGES_MAX; i++) {
            if (o->pupils[i].due_ms <= o->f.now_ms && o->buried_ms == NEVER) {
                deliver(o, i);
            }
        }
    }
    int64_t took = o->f.now_ms - begin;
    fixture_close(&o->f);
    return took;
}

static void outages(uint32_t dependency, int64_t outage_ms)
{
    static struct outage o = {.fate = SLUICE_FATE_RETRY};
    for (int messages = 1; messages < MESSAGES_MAX; messages++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            (void)live_through(&o, seed, dependency, messages, outage_ms, 60 * MINUTE_MS);
            if (o.buried_ms != NEVER || o.done != messages) {
                fail_msg("seed %d: %d of %d messages done", (int)seed, o.done, messages);
            }
        }
    }
}

static void nothing_is_given_up_in_an_outage_of_ten_minutes(void **state)
{
    (void)state;
    outages(SLUICE_DEP_LLM, 10 * MINUTE_MS);
}

/* Its breaker tries again after 30 s, the others after 60. Of 2,000 lone messages the first was
 * given up after 532 s. */
static void nothing_is_given_up_in_eight_minutes_with_the_breaker_of_publishing(void **state)
{
    (void)state;
    outages(SLUICE_DEP_PUBLISH, 8 * MINUTE_MS);
}

/* All of them, however few they are and however few attempts they have. */
static void away_for_hours(enum sluice_fate fate)
{
    static struct outage o;
    o.fate = fate;
    for (int is_default = 0; is_default < 2; is_default++) {
        o.max_deliver = is_default ? 0 : 1;
        for (int messages = 1; messages <= MESSAGES_MAX; messages++) {
            for (uint64_t seed = 0; seed < SEEDS / 10; seed++) {
                int64_t took =
                    live_through(&o, seed, SLUICE_DEP_LLM, messages, 6 * HOUR_MS, 12 * HOUR_MS);
                if (o.buried_ms != NEVER || o.done != messages) {
                    fail_msg("seed %d: %d of %d messages done", (int)seed, o.done, messages);
                }
                assert_true(took < 6 * HOUR_MS + 10 * MINUTE_MS);
                for (int i = 0; i < messages;
                     i++) { /* three trials in a minute, and a few before */
                    assert_int_equal(o.pupils[i].record.failures, 0);
                    assert_true(o.pupils[i].calls < 6 * 60 * 3 + 20);
                }
            }
        }
    }
}

static void nothing_is_given_up_in_six_hours_in_which_nobody_is_reached(void **state)
{
    (void)state;
    away_for_hours(SLUICE_FATE_UNREACHABLE);
}

static void nothing_is_given_up_in_six_hours_of_a_gateway_with_nobody_behind(void **state)
{
    (void)state;
    away_for_hours(SLUICE_FATE_UNAVAILABLE);
}

/* Connected, with the default settings but for so many deliveries. */
static void open_with(struct fixture *f, uint32_t max_deliver)
{
    struct sluice_engine_config c = default_config(1, SLUICE_DEP_LLM);
    c.max_deliver = max_deliver;
    fixture_open_connected(f, &c);
}

/* A message alone at work from its delivery on: the steps end with `fate`, the handler passes that
 * on. Returns what the engine then did. */
static const char *attempt(struct fixture *f, uint64_t sequence, uint32_t deliveries,
                           const struct sluice_record *record, enum sluice_fate fate)
{
    (void)fixture_deliver(f, sequence, deliveries);
    if (deliveries > 1) {
        (void)fixture_loaded(f, f->ticket, record, NULL, 0);
    }
    if (strstr(f->printed, "marked=1") != NULL) {
        (void)fixture_answer(f, f->ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
    }
    (void)fixture_suspend(f, f->ticket, sequence, 0);
    if (fate == SLUICE_FATE_OK) {
        (void)fixture_step_ended(f, f->ticket, 0, fate, 0);
        (void)fixture_answer(f, f->ticket, SLUICE_EV_KEPT, SLUICE_FATE_OK);
        (void)fixture_done(f, f->ticket, 0, 0);
        return fixture_settled(f, f->ticket, SLUICE_VERB_ACK);
    }
    (void)fixture_step_ended(f, f->ticket, 0, fate, 0);
    return fixture_failed(f, f->ticket, SLUICE_FAILURE_STEP, 0);
}

/* Its own request makes what is behind the gateway crash, and nobody else's does. */
static void a_message_that_a_gateway_fails_among_others_that_work_is_given_up(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, 3);
    assert_string_equal(attempt(&f, 1, 1, NULL, SLUICE_FATE_UNAVAILABLE), "nak");
    (void)fixture_tick(&f, 2000); /* nobody answers the NAK */
    for (uint32_t failures = 1; failures <= 3; failures++) {
        (void)attempt(&f, 100 + failures, 1, NULL, SLUICE_FATE_OK);
        struct sluice_record record = {.failures = failures - 1};
        const char *what = attempt(&f, 1, failures + 1, &record, SLUICE_FATE_UNAVAILABLE);
        if (failures == 3) {
            assert_string_equal(what, "bury step");
            break;
        }
        assert_int_equal(f.record.failures, failures);
        (void)fixture_answer(&f, f.ticket, SLUICE_EV_RECORDED, SLUICE_FATE_OK);
        (void)fixture_tick(&f, 2000);
    }
    fixture_close(&f);
}

/* Not written down, so that whoever has it next, after a kill too, finds the same count. */
static void what_did_not_go_out_is_not_recorded(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, 1);
    (void)attempt(&f, 100, 1, NULL, SLUICE_FATE_OK);
    assert_string_equal(attempt(&f, 1, 1, NULL, SLUICE_FATE_UNREACHABLE), "nak");
    assert_int_equal(sluice_engine_metrics(f.engine)->failures[SLUICE_FAILURE_DEPENDENCY], 1);
    (void)attempt(&f, 101, 1, NULL, SLUICE_FATE_OK);
    assert_string_equal(attempt(&f, 2, 1, NULL, SLUICE_FATE_RETRY), "bury step");
    fixture_close(&f);
}

static void documents_and_outputs_that_did_not_go_out_are_no_failure(void **state)
{
    (void)state;
    static const struct {
        enum sluice_fate store, outputs[2];
        const char *what;
    } cases[] = {
        {SLUICE_FATE_UNREACHABLE, {SLUICE_FATE_OK}, "nak"},
        {SLUICE_FATE_UNAVAILABLE, {SLUICE_FATE_OK}, "nak"},
        {SLUICE_FATE_UNKNOWN, {SLUICE_FATE_OK}, "bury store"},
        {SLUICE_FATE_OK, {SLUICE_FATE_UNREACHABLE, SLUICE_FATE_UNAVAILABLE}, "nak"},
        {SLUICE_FATE_OK, {SLUICE_FATE_CANCELLED, SLUICE_FATE_UNREACHABLE}, "nak"},
        {SLUICE_FATE_OK, {SLUICE_FATE_UNKNOWN, SLUICE_FATE_UNREACHABLE}, "bury publish"},
        {SLUICE_FATE_OK, {SLUICE_FATE_UNREACHABLE, SLUICE_FATE_UNKNOWN}, "bury publish"},
        {SLUICE_FATE_OK, {SLUICE_FATE_UNREACHABLE, SLUICE_FATE_PERMANENT}, "bury rejected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        open_with(&f, 1);
        (void)fixture_deliver(&f, 1, 1);
        (void)fixture_done(&f, f.ticket, 1, 2);
        (void)fixture_answer(&f, f.ticket, SLUICE_EV_STORED, cases[i].store);
        if (cases[i].store == SLUICE_FATE_OK) {
            (void)fixture_published(&f, f.ticket, 0, cases[i].outputs[0]);
            (void)fixture_published(&f, f.ticket, 1, cases[i].outputs[1]);
        }
        assert_string_equal(f.printed, cases[i].what);
        fixture_close(&f);
    }
}

/* Nothing is behind an offloaded step that could be away. */
static void an_offloaded_step_is_never_away(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, 1);
    (void)fixture_deliver(&f, 1, 1);
    struct sluice_step_request request = fixture_request(1);
    request.dependency = SLUICE_DEP_NONE;
    (void)fixture_ask(&f, f.ticket, &request, 1, 1);
    (void)fixture_step_ended(&f, f.ticket, 0, SLUICE_FATE_UNAVAILABLE, 0);
    assert_string_equal(fixture_failed(&f, f.ticket, SLUICE_FAILURE_STEP, 0), "bury step");
    fixture_close(&f);
}

/* What fails always is no outage for ever: its calls may cost money. */
static void a_lone_message_that_always_fails_is_given_up_at_last(void **state)
{
    (void)state;
    static struct outage o = {.fate = SLUICE_FATE_RETRY};
    int64_t shortest = NEVER, longest = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int64_t took = live_through(&o, seed, SLUICE_DEP_LLM, 1, NEVER, 60 * MINUTE_MS);
        assert_true(o.buried_ms != NEVER);
        assert_int_equal(o.pupils[0].calls, default_config(seed, SLUICE_DEP_LLM).max_deliver);
        shortest = took < shortest ? took : shortest;
        longest = took > longest ? took : longest;
    }
    print_message("given up after %d to %d s\n", (int)(shortest / 1000), (int)(longest / 1000));
    assert_true(shortest > 10 * MINUTE_MS && longest < 30 * MINUTE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_given_up_in_an_outage_of_ten_minutes),
        cmocka_unit_test(nothing_is_given_up_in_eight_minutes_with_the_breaker_of_publishing),
        cmocka_unit_test(nothing_is_given_up_in_six_hours_in_which_nobody_is_reached),
        cmocka_unit_test(nothing_is_given_up_in_six_hours_of_a_gateway_with_nobody_behind),
        cmocka_unit_test(a_message_that_a_gateway_fails_among_others_that_work_is_given_up),
        cmocka_unit_test(what_did_not_go_out_is_not_recorded),
        cmocka_unit_test(documents_and_outputs_that_did_not_go_out_are_no_failure),
        cmocka_unit_test(an_offloaded_step_is_never_away),
        cmocka_unit_test(a_lone_message_that_always_fails_is_given_up_at_last),
    };
    return cmocka_run_group_tests_name("outage", tests, load_defaults, free_defaults);
}
