/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_fixture.h"

#include "core/assert.h"
#include "engine_config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sluice_panic(const char *expression, const char *file, int line, const char *state)
{
    fprintf(stderr, "%s:%d: %s (%s)\n", file, line, expression, state);
    abort();
}

int fixture_starves_after = -1;

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (fixture_starves_after == 0) {
        return NULL;
    }
    fixture_starves_after -= fixture_starves_after > 0;
    return realloc(p, size);
}

const struct sluice_allocator fixture_allocator = {.resize = resize};

struct sluice_engine_config fixture_config(void)
{
    struct sluice_engine_config c = engine_config(fixture_allocator);
    c.journal = 1;
    return c;
}

void fixture_open(struct fixture *f, const struct sluice_engine_config *config)
{
    memset(f, 0, sizeof *f);
    f->now_ms = 1000000;
    struct sluice_err err = {.rc = SLUICE_OK};
    assert_int_equal(sluice_engine_create(config, f->now_ms, &f->engine, &err), SLUICE_OK);
}

void fixture_close(struct fixture *f)
{
    sluice_engine_destroy(f->engine);
}

static const char *const verbs[] = {"ack", "nak", "progress", "term"};

static void print_one(struct fixture *f, const struct sluice_effect *fx, char *to, size_t size)
{
    const char *name = sluice_effect_name(fx->kind);
    switch (fx->kind) {
    case SLUICE_FX_PULL:
        f->pull = fx->pull.pull;
        (void)snprintf(to, size, "%s %u", name, fx->pull.batch);
        break;
    case SLUICE_FX_SETTLE:
        f->settle = fx->settle.settle;
        f->delay_ms = fx->settle.delay_ms;
        (void)snprintf(to, size, "%s", verbs[fx->settle.verb]);
        break;
    case SLUICE_FX_RECORD:
        f->record = *fx->record;
        (void)snprintf(to, size, "%s failures=%u marked=%u", name, fx->record->failures,
                       fx->record->is_marked);
        if (fx->record->stale_marks != 0) {
            size_t at = strlen(to);
            (void)snprintf(to + at, size - at, " stale=%u", fx->record->stale_marks);
        }
        break;
    case SLUICE_FX_START:
    case SLUICE_FX_REPLAY:
    case SLUICE_FX_CANCEL:
    case SLUICE_FX_KEEP:
        (void)snprintf(to, size, "%s %u", name, fx->step);
        break;
    case SLUICE_FX_PUBLISH:
        (void)snprintf(to, size, "%s %u", name, fx->output);
        break;
    case SLUICE_FX_BURY:
        (void)snprintf(to, size, "%s %s", name,
                       sluice_failure_name((enum sluice_failure)fx->failure));
        break;
    case SLUICE_FX_RELEASE:
        (void)snprintf(to, size, "%s %s", name,
                       sluice_outcome_name((enum sluice_outcome)fx->outcome));
        break;
    case SLUICE_FX_ADMIT:
        f->ticket = fx->ticket;
        (void)snprintf(to, size, "%s", name);
        break;
    default:
        (void)snprintf(to, size, "%s", name);
        break;
    }
}

const char *fixture_step(struct fixture *f, struct sluice_event ev)
{
    ev.mono_ms = f->now_ms;
    ev.wall_ms = f->now_ms;
    sluice_engine_step(f->engine, &ev, &f->effects);
    f->printed[0] = '\0';
    for (uint32_t i = 0; i < f->effects.count; i++) {
        char one[128];
        print_one(f, &f->effects.items[i], one, sizeof one);
        size_t used = strlen(f->printed);
        (void)snprintf(f->printed + used, sizeof f->printed - used, "%s%s", i == 0 ? "" : "; ",
                       one);
    }
    return f->printed;
}

const char *fixture_tick(struct fixture *f, int64_t later_ms)
{
    f->now_ms += later_ms;
    return fixture_step(f, (struct sluice_event){.kind = SLUICE_EV_TICK});
}

const char *fixture_connect(struct fixture *f)
{
    return fixture_step(f, (struct sluice_event){.kind = SLUICE_EV_CONNECTED});
}

const char *fixture_deliver(struct fixture *f, uint64_t sequence, uint32_t deliveries)
{
    return fixture_step(f, (struct sluice_event){.kind = SLUICE_EV_MESSAGE,
                                                 .message = {.sequence = sequence,
                                                             .stored_ms = 5,
                                                             .horizon_ms = f->now_ms,
                                                             .deliveries = deliveries,
                                                             .size = 100,
                                                             .pull = f->pull}});
}

struct sluice_step_request fixture_request(uint64_t hash)
{
    return (struct sluice_step_request){
        .hash = {hash, hash}, .dependency = SLUICE_DEP_LLM, .is_paid = 1};
}

const char *fixture_ask(struct fixture *f, struct sluice_ticket t,
                        const struct sluice_step_request *requests, uint16_t count,
                        uint64_t awaited)
{
    return fixture_step(f, (struct sluice_event){.kind = SLUICE_EV_VERDICT,
                                                 .ticket = t,
                                                 .verdict = {.kind = SLUICE_VERDICT_SUSPENDED,
                                                             .failed_step = -1,
                                                             .steps_count = count,
                                                             .steps = requests,
                                                             .awaited = {awaited}}});
}

const char *fixture_suspend(struct fixture *f, struct sluice_ticket t, uint64_t hash, uint64_t step)
{
    struct sluice_step_request request = fixture_request(hash);
    return fixture_ask(f, t, &request, 1, UINT64_C(1) << step);
}

const char *fixture_done(struct fixture *f, struct sluice_ticket t, uint8_t documents,
                         uint8_t outputs)
{
    static const uint64_t ids[] = {11, 12, 13, 14};
    return fixture_step(f, (struct sluice_event){.kind = SLUICE_EV_VERDICT,
                                                 .ticket = t,
                                                 .verdict = {.kind = SLUICE_VERDICT_DONE,
                                                             .failed_step = -1,
                                                             .documents_count = documents,
                                                             .outputs_count = outputs,
                                                             .outputs = ids}});
}

const char *fixture_failed(struct fixture *f, struct sluice_ticket t, enum sluice_failure failure,
                           int step)
{
    return fixture_step(f, (struct sluice_event){.kind = SLUICE_EV_VERDICT,
                                                 .ticket = t,
                                                 .verdict = {.kind = SLUICE_VERDICT_FAILED,
                                                             .failure = (uint8_t)failure,
                                                             .failed_step = (int16_t)step}});
}

const char *fixture_answer(struct fixture *f, struct sluice_ticket t, enum sluice_event_kind kind,
                           enum sluice_fate fate)
{
    struct sluice_event ev = {.kind = kind, .ticket = t};
    switch (kind) {
    case SLUICE_EV_STEP:
        ev.step.fate = (uint8_t)fate;
        break;
    case SLUICE_EV_KEPT:
        ev.kept.result = fate == SLUICE_FATE_OK ? SLUICE_KEPT_OK : SLUICE_KEPT_FAILED;
        break;
    case SLUICE_EV_PUBLISHED:
        ev.published.fate = (uint8_t)fate;
        break;
    case SLUICE_EV_LOADED:
        ev.loaded.fate = (uint8_t)fate;
        break;
    default:
        ev.fate = (uint8_t)fate;
        break;
    }
    return fixture_step(f, ev);
}

const char *fixture_settled(struct fixture *f, struct sluice_ticket t, enum sluice_verb verb)
{
    return fixture_step(f, (struct sluice_event){.kind = SLUICE_EV_SETTLED,
                                                 .ticket = t,
                                                 .settled = {.verb = (uint8_t)verb,
                                                             .is_answered = 1,
                                                             .settle = f->settle,
                                                             .sent_ms = f->now_ms}});
}

const char *fixture_step_ended(struct fixture *f, struct sluice_ticket t, uint16_t step,
                               enum sluice_fate fate, int64_t retry_after_ms)
{
    return fixture_step(
        f, (struct sluice_event){
               .kind = SLUICE_EV_STEP,
               .ticket = t,
               .step = {.step = step, .fate = (uint8_t)fate, .retry_after_ms = retry_after_ms}});
}

const char *fixture_loaded(struct fixture *f, struct sluice_ticket t,
                           const struct sluice_record *record,
                           const struct sluice_journaled *answers, uint32_t count)
{
    return fixture_step(
        f, (struct sluice_event){
               .kind = SLUICE_EV_LOADED,
               .ticket = t,
               .loaded = {.record = record, .answers = answers, .answers_count = count}});
}

const char *fixture_published(struct fixture *f, struct sluice_ticket t, uint8_t output,
                              enum sluice_fate fate)
{
    return fixture_step(
        f, (struct sluice_event){.kind = SLUICE_EV_PUBLISHED,
                                 .ticket = t,
                                 .published = {.output = output, .fate = (uint8_t)fate}});
}

void fixture_open_connected(struct fixture *f, const struct sluice_engine_config *config)
{
    fixture_open(f, config);
    (void)fixture_connect(f);
}

void fixture_start(struct fixture *f)
{
    struct sluice_engine_config c = fixture_config();
    fixture_open_connected(f, &c);
}

void fixture_open_with_one(struct fixture *f)
{
    fixture_start(f);
    assert_string_equal(fixture_deliver(f, 7, 1), "admit; run");
}
