/* SPDX-License-Identifier: Apache-2.0 */
/* An engine under test: feed events, compare the printed effects. */
#ifndef SLUICE_TESTS_ENGINE_FIXTURE_H
#define SLUICE_TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine.h"

struct fixture {
    struct sluice_engine *engine;
    struct sluice_effects effects;
    int64_t now_ms;
    char printed[8192]; /* the effects of the last step, "kind arguments" joined by "; " */
    uint32_t pull;      /* id of the newest PULL */
    uint32_t settle;    /* number of the newest SETTLE */
    int64_t delay_ms;   /* of the newest NAK */
    struct sluice_ticket ticket;
    struct sluice_record record; /* of the newest RECORD */
};

/* So many allocations succeed from now on, then none; -1: all. */
extern int fixture_starves_after;
extern const struct sluice_allocator fixture_allocator;

struct sluice_engine_config fixture_config(void);
void fixture_open(struct fixture *f, const struct sluice_engine_config *config);
void fixture_close(struct fixture *f);
const char *fixture_step(struct fixture *f, struct sluice_event ev);
const char *fixture_tick(struct fixture *f, int64_t later_ms);
const char *fixture_connect(struct fixture *f);
const char *fixture_deliver(struct fixture *f, uint64_t sequence, uint32_t deliveries);
/* A paid step of the LLM. */
struct sluice_step_request fixture_request(uint64_t hash);
const char *fixture_ask(struct fixture *f, struct sluice_ticket t,
                        const struct sluice_step_request *requests, uint16_t count,
                        uint64_t awaited);
/* The same with one new step, awaiting `step`. */
const char *fixture_suspend(struct fixture *f, struct sluice_ticket t, uint64_t hash,
                            uint64_t step);
const char *fixture_done(struct fixture *f, struct sluice_ticket t, uint8_t documents,
                         uint8_t outputs);
const char *fixture_failed(struct fixture *f, struct sluice_ticket t, enum sluice_failure failure,
                           int step);
const char *fixture_answer(struct fixture *f, struct sluice_ticket t, enum sluice_event_kind kind,
                           enum sluice_fate fate);
const char *fixture_settled(struct fixture *f, struct sluice_ticket t, enum sluice_verb verb);
const char *fixture_step_ended(struct fixture *f, struct sluice_ticket t, uint16_t step,
                               enum sluice_fate fate, int64_t retry_after_ms);
const char *fixture_loaded(struct fixture *f, struct sluice_ticket t,
                           const struct sluice_record *record,
                           const struct sluice_journaled *answers, uint32_t count);
const char *fixture_published(struct fixture *f, struct sluice_ticket t, uint8_t output,
                              enum sluice_fate fate);

/* Open one, connected. */
void fixture_open_connected(struct fixture *f, const struct sluice_engine_config *config);
/* The same with fixture_config(). */
void fixture_start(struct fixture *f);
/* The same, and the handler of message 7 runs. */
void fixture_open_with_one(struct fixture *f);

#endif
