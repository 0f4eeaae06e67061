/* SPDX-License-Identifier: Apache-2.0 */
/* A dependency is away while few messages are at work: with the runtime's own settings, when is a
 * message given up? */
#include "engine_fixture.h"

#include <string.h>

enum { SEEDS = 200, MESSAGES_MAX = 4, EFFECTS_MAX = 32 };

#define MINUTE_MS INT64_C(60000)
#define NEVER     INT64_MAX

struct pupil {
    struct sluice_ticket ticket;
    struct sluice_record record;
    int64_t due_ms; /* of the next delivery; NEVER: it is in the engine's hands, or gone */
    uint32_t deliveries, calls;
    int has_record, has_asked, has_failed, is_over;
};

/* A world in which an LLM refuses every call until it is back. */
struct outage {
    struct fixture f;
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
        (void)fixture_step_ended(f, fx->ticket, fx->step,
                                 p->has_failed ? SLUICE_FATE_RETRY : SLUICE_FATE_OK, 0);
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

typedef struct sluice_breaker_config profile(const char *name);

/* What src/run sets by default. */
static struct sluice_engine_config default_config(uint64_t seed, profile *breaker)
{
    struct sluice_engine_config c = fixture_config();
    c.max_in_flight = 8;
    c.ack_wait_ms = 30000;
    c.handler_timeout_ms = 300000;
    c.nak_delay_ms = 1000;
    c.nak_delay_max_ms = 60000;
    c.max_deliver = 20;
    c.journal = 1;
    c.seed = seed;
    for (uint32_t i = 0; i < c.dependencies_count; i++) {
        c.dependencies[i] = breaker("x");
        c.dependencies[i].minimum_sources = 3;
    }
    return c;
}

/* Until one is buried, all are done, or the time is over. Returns how long that took. */
static int64_t live_through(struct outage *o, uint64_t seed, profile *breaker, int messages,
                            int64_t outage_ms, int64_t limit_ms)
{
    struct sluice_engine_config c = default_config(seed, breaker);
    *o = (struct outage){.buried_ms = NEVER};
    fixture_open(&o->f, &c);
    (void)fixture_connect(&o->f);
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

static void outages(profile *breaker, int64_t outage_ms)
{
    static struct outage o;
    for (int messages = 1; messages <= MESSAGES_MAX; messages++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            (void)live_through(&o, seed, breaker, messages, outage_ms, 60 * MINUTE_MS);
            if (o.buried_ms != NEVER || o.done != messages) {
                fail_msg("seed %d: %d of %d messages done", (int)seed, o.done, messages);
            }
        }
    }
}

static void nothing_is_given_up_in_an_outage_of_ten_minutes(void **state)
{
    (void)state;
    outages(sluice_breaker_service, 10 * MINUTE_MS);
}

/* Its breaker tries again after 30 s, the others after 60. */
static void nothing_is_given_up_in_nine_minutes_with_the_breaker_of_publishing(void **state)
{
    (void)state;
    outages(sluice_breaker_publish, 9 * MINUTE_MS);
}

/* What fails always is no outage for ever: its calls may cost money. */
static void a_lone_message_that_always_fails_is_given_up_at_last(void **state)
{
    (void)state;
    static struct outage o;
    int64_t shortest = NEVER, longest = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int64_t took = live_through(&o, seed, sluice_breaker_service, 1, NEVER, 60 * MINUTE_MS);
        assert_true(o.buried_ms != NEVER);
        assert_int_equal(o.pupils[0].calls, 20);
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
        cmocka_unit_test(nothing_is_given_up_in_nine_minutes_with_the_breaker_of_publishing),
        cmocka_unit_test(a_lone_message_that_always_fails_is_given_up_at_last),
    };
    return cmocka_run_group_tests_name("outage", tests, NULL, NULL);
}
