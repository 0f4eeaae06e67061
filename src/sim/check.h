/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judges. They see what goes into each engine, what comes out of it, and what the world then
 * holds, and keep their own history. They know the contract in core/engine.h and the promises of
 * the product, and nothing of how the engine keeps them.
 *
 * An engine is judged by what it knew when it decided: effects are looked at as a step returns
 * them, before the first of them is performed.
 */
#ifndef SLUICE_SIM_CHECK_H
#define SLUICE_SIM_CHECK_H

#include "core/engine.h"
#include "sim/plan.h"
#include "sim/script.h"
#include "sim/sink.h"

/* X(name, text, what is broken). */
#define SIM_RULES(X)                                                                               \
    X(NONE, "none", "")                                                                            \
    X(CONTRACT, "contract", "an effect that the engine's contract does not allow")                 \
    X(ACK, "INV-1", "ACK before everything was durable and confirmed")                             \
    X(LOSS, "INV-2", "a message is lost")                                                          \
    X(ONCE, "INV-3", "an effect happened twice")                                                   \
    X(DEAD, "INV-4", "TERM without a confirmed dead letter")                                       \
    X(LEASE, "INV-5", "an attempt acted after its lease, or did not renew it")                     \
    X(BOUNDS, "INV-6", "more in flight than allowed")                                              \
    X(LIVENESS, "INV-7", "no end in sight without faults")                                         \
    X(PROBE, "INV-8", "the probes would not tell what holds")                                      \
    X(DRAIN, "INV-9", "shutdown")                                                                  \
    X(PAID, "INV-14", "a journaled answer was paid for again")                                     \
    X(RETRY, "INV-15", "retry discipline")                                                         \
    X(ANSWERS, "answers", "made of another answer than the journaled one")                         \
    X(POISON, "poison", "the wrong message was buried as the killer")                              \
    X(VERDICT, "verdict", "not one confirmed verdict for a delivery")

enum sim_rule {
#define SIM_RULE_ENUM(name, text, about) SIM_RULE_##name,
    SIM_RULES(SIM_RULE_ENUM)
#undef SIM_RULE_ENUM
        SIM_RULE_COUNT
};

const char *sim_rule_name(enum sim_rule rule);
const char *sim_rule_about(enum sim_rule rule);

/* Does a failure speak against the message that met it? Bits: of several, any may. */
enum sim_blame { SIM_BLAME_NONE = 1, SIM_BLAME_SURE = 2, SIM_BLAME_UNCLEAR = 4 };

enum sim_seen_step { SIM_SEEN_ASKED, SIM_SEEN_RUNNING, SIM_SEEN_ENDED };

/* A step of an attempt, as seen from outside. */
struct sim_seen {
    struct sluice_journaled id;
    uint8_t state; /* enum sim_seen_step */
    uint8_t fate, dependency, is_paid;
    uint8_t was_started; /* its answer came from a call, not from the journal */
    uint8_t was_cancelled;
    uint8_t was_missed; /* its journaled answer could not be used */
    uint8_t blame;      /* enum sim_blame, of its newest end */
    uint8_t is_keep_owed, was_kept;
    uint8_t is_unsure; /* the journal did not say in time whether it holds this answer */
    uint8_t must_wait; /* its rate limit ends well inside of the attempt */
    uint8_t limits;    /* 429s that it was told */
    uint32_t period;   /* of the breaker, when it was started */
    int64_t keep_ms;
    int64_t limited_ms, limit_ms; /* its pause: known, until when; 0: that is not clear */
};

/* One admitted message of one engine. Times in the clock of its process. */
struct sim_attempt {
    uint32_t generation; /* 0: none */
    uint32_t last_generation;
    uint32_t sequence, key, deliveries, size;
    uint32_t most_deliveries; /* a rewound consumer counts from one again */
    uint32_t order;           /* of admission */
    int64_t lease_end_ms, admitted_ms;
    int64_t delivered_ms; /* its newest delivery was read */
    uint8_t has_run, run_owed, has_verdict, verdict_kind;
    uint8_t has_news; /* a call has ended since its verdict: the handler may be due to run */
    uint8_t load_owed, record_owed, store_owed, bury_owed;
    uint8_t needs_load, was_loaded, load_failed, was_rebound, lost_race, was_outrun;
    uint8_t was_stored, was_buried;
    uint8_t verdict_verb;   /* of this delivery: 0, or enum sluice_verb + 1 */
    uint8_t answered_verbs; /* bit set, of this delivery */
    uint8_t verdicts_sent;  /* on a living connection, since its newest run */
    uint8_t is_orphaned;    /* the consumer that delivered it is no more */
    uint8_t is_unsent;      /* the newest could not be sent, or was lost with the connection */
    uint8_t is_retaken;     /* another delivery came after its lease: it has not begun again */
    int64_t verdict_ms, renewed_ms; /* newest sending of the verdict, of a WPI */
    uint8_t slack;       /* failures that it may have recorded before another delivery came */
    uint8_t misses_paid; /* calls because a journaled answer was of no use */
    uint8_t nak_known;   /* the journal's count was known when the NAK was sent … */
    uint32_t nak_base;   /* … and was this */
    uint8_t was_short;   /* the lease came so near its end that a careful engine gave it up */
    uint8_t blames;      /* enum sim_blame of what this run or commit failed by, 0 if nothing */
    uint8_t documents_count, outputs_count, steps_count;
    uint32_t publish_owed, published; /* bit sets */
    uint32_t settle;                  /* newest number */
    uint64_t outputs[SIM_OUTPUTS_MAX];
    struct sim_seen steps[SIM_STEPS_MAX];
    int64_t loaded_ms;  /* world time at which the journal was read */
    int64_t rebound_ms; /* world time of the newest delivery that was taken over … */
    uint8_t has_gap;    /* … when others have had deliveries in between */
    uint32_t base_failures, base_epoch, base_stale;
    uint32_t skippable_count; /* outputs that an earlier delivery confirmed */
    uint64_t skippable[SIM_OUTPUTS_MAX];
    uint32_t recorded_failures; /* newest RECORD of this delivery; base_failures before */
    uint8_t has_recorded, is_mark_asked, is_mark_confirmed, clears_mark;
    uint8_t has_own_error;  /* its handler returned an error that is no step's */
    uint8_t has_lost_error; /* that one, from an answer that had lost its race */
    uint8_t own_errors;     /* the others, since its journal was read */
    uint8_t own_failure;    /* the reason that it gave */
    uint8_t met_want;       /* of memory: this run, its commit, or the reading of its journal */
    uint8_t is_rejected;    /* this run or its commit met what can never work */
    uint8_t may_start_over; /* an answer of it has lost a race: it may go another way */
    uint8_t must_read;      /* an answer of it is in the journal for certain, and not read yet */
    uint8_t loads_failed;   /* readings of its journal on a connection, in a row */
    uint8_t failed_dependency;
    int16_t failed_step;   /* whose error its handler passed on; -1: of its own */
    int64_t failed_ms;     /* when its handler or commit failed; 0: not */
    int64_t trial_wait_ms; /* from then, or from its NAK, to the trial that it has to wait for */
    uint32_t recorded_epoch;
    uint32_t recorded_outputs; /* bit set of outputs that the newest RECORD lists */
    int64_t nak_delay_ms, nak_ms;
    int64_t retry_at_ms, retry_after_ms; /* rate limits that its steps were told: first, longest */
    int64_t decided_ms; /* when the handler was through, or its calls were cancelled */
    uint32_t store_period, publish_period[SIM_OUTPUTS_MAX];
    /* check_pace.c */
    int64_t renew_base_ms;  /* the lease counts from here, as its newest delivery and answers say */
    int64_t renew_least_ms; /* no WPI before */
    int64_t load_failed_ms; /* newest reading of the journal, if it failed; 0: not */
    int64_t journal_due_ms; /* the journal has been awaited long enough; 0: nobody awaits it */
    uint64_t taken_step;    /* the step in which another delivery came inside of its lease … */
    uint8_t steps_taken;    /* … and how many steps that one takes over */
    uint8_t must_renew;     /* begun late after its delivery: it may not run before a renewal */
    uint8_t was_renewed;    /* since its newest delivery, which … */
    uint8_t goes_on;        /* … found it in the middle of its work, or has been judged */
};

struct sim_watched_pull {
    uint32_t id, batch, received, bytes_left;
    int64_t heard_ms, expires_ms, heartbeat_ms;
    uint8_t is_closed, is_abandoned;
};

#define SIM_WATCHED_PULLS 64u

/* A pull as the engine has to count it: until it has ended or expired, whatever the connection. */
struct sim_asked_pull {
    uint32_t id, left;
    int64_t asked_ms, expires_ms;
    uint8_t was_heard, is_abandoned;
};

struct sim_intake {
    struct sim_asked_pull pulls[SIM_WATCHED_PULLS];
    uint32_t pulls_count;
    uint32_t ends;         /* pulls that ended so that one has to back off, in a row */
    int64_t not_before_ms; /* the next pull */
    int64_t excused_ms;    /* until then it may wait */
    int64_t idle_ms; /* since then there is reason to ask for more; INT64_MAX: there is none */
};

struct sim_watched_breaker {
    uint8_t state; /* enum sluice_breaker_state, by the calls and their answers … */
    uint8_t told;  /* … and as the engine reports it */
    int64_t changed_ms;
    uint32_t period;    /* grows with each change */
    uint32_t running;   /* calls started in this period and not ended */
    uint32_t failures;  /* in a row while closed */
    uint32_t successes; /* of trials */
    uint32_t completed; /* since it was closed */
    uint32_t sources_count;
    uint32_t sources[SLUICE_BREAKER_SOURCES_MAX]; /* messages that failed, in this row */
    uint8_t is_answering;                         /* closed, and the newest call was answered */
    int64_t limited_until_ms; /* at least, and at most: a 429 that does not say when counts, too */
    int64_t limited_most_ms;
};

/* What has to be spread. */
enum sim_spread_kind { SIM_SPREAD_NAKS, SIM_SPREAD_LIMITED, SIM_SPREAD_RENEWALS, SIM_SPREAD_COUNT };

/* A time that an engine has drawn, in its range. */
struct sim_draw {
    uint32_t generation;
    uint16_t slot;
    uint8_t step;
    uint8_t is_open; /* not seen yet */
    uint8_t part;    /* 1 << the part of its range that it has met; 0: none */
    int64_t low_ms, high_ms;
};

#define SIM_DRAWS_MAX 16u

struct sim_spread {
    struct sim_draw draws[SIM_DRAWS_MAX];
};

/* One process. */
struct sim_watch {
    uint32_t live;
    uint32_t admissions;
    uint64_t live_bytes;
    int64_t step_ms;                 /* of the step before */
    int64_t due_ms;                  /* nothing of any attempt has to be sent before */
    int64_t frozen_ms;               /* it was stopped, last */
    uint8_t must_check, has_checked; /* in this step: is the consumer there? */
    int64_t connected_ms;            /* the newest connection */
    int64_t connected_wall_ms;       /* INT64_MIN: no connection with journal records before */
    uint8_t is_connected, is_draining, is_aborted, is_stopped, has_drained, is_poisoned;
    uint8_t was_hungry; /* allocations have failed: what could not be kept is excused */
    uint8_t has_marked; /* a suspect, ever: whoever is due waits for that */
    uint64_t refusals;  /* of its heap, before this step */
    struct sim_watched_pull pulls[SIM_WATCHED_PULLS];
    uint32_t pulls_count;
    struct sim_intake intake;
    int64_t journal_due_ms; /* of any attempt, at the earliest */
    struct sim_watched_breaker breakers[SLUICE_DEPENDENCIES_MAX];
    struct sim_attempt attempts[SIM_IN_FLIGHT_MAX];
    uint32_t journal_failures; /* answers of the journal, in a row */
    int64_t journal_away_ms;   /* when so many had failed that nobody need wait, last */
};

/* What is remembered of a message beyond its attempts. */
struct sim_history {
    uint32_t killings;         /* its handler killed the process */
    uint32_t excuses;          /* times a mark of it may have been left behind by something else */
    uint32_t doubts;           /* those of writes that may come late */
    uint8_t is_shared;         /* a replay has the same journal: the marks of both are one */
    uint8_t was_in_two_hands;  /* at once: what one of them clears the other writes again */
    uint8_t has_unsure_answer; /* the journal did not say in time what it holds of one */
    uint32_t outputs_count;
    struct {
        uint64_t id;
        int64_t stored_ms;                     /* newest copy */
    } outputs[SIM_OUTPUTS_MAX * SIM_VERSIONS]; /* as the stream has them */
};

struct sim_judge {
    uint8_t has_failed;
    uint8_t rule;            /* enum sim_rule */
    uint8_t journal_trouble; /* the journal lost something */
    int64_t failed_ms;
    char text[240];
    struct sim_watch watches[SIM_WORKERS_MAX];
    struct sim_spread spreads[SIM_WORKERS_MAX][SIM_SPREAD_COUNT];
    struct sim_history histories[SIM_INPUTS_MAX + 1]; /* by key */
    uint8_t was_acked[SIM_INPUTS_MAX + 1];            /* by sequence: the server took an ACK */
    uint32_t dead_reasons[SIM_INPUTS_MAX + 1];        /* by sequence: bits, as it was asked for */
    int64_t dead_ms[SIM_INPUTS_MAX + 1]; /* by sequence: newest copy of its dead letter; -1: none */
};

struct sim_world;
struct sim_process;

void sim_judge_init(struct sim_world *w);
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void sim_judge_fail(struct sim_world *w, enum sim_rule rule, const char *format, ...);

/* A process starts, ends (killed or drained), is stopped, is killed by its handler. */
void sim_judge_start(struct sim_world *w, const struct sim_process *p);
void sim_judge_end(struct sim_world *w, const struct sim_process *p);
void sim_judge_freeze(struct sim_world *w, const struct sim_process *p);
void sim_judge_poisoned(struct sim_world *w, const struct sim_process *p, uint32_t key);
/* A mark of this message may stay though nothing killed a process. */
void sim_judge_record_in_doubt(struct sim_world *w, uint32_t key);
/* Before a step, and after it with all that it asks for. */
void sim_judge_event(struct sim_world *w, const struct sim_process *p,
                     const struct sluice_event *ev);
void sim_judge_step(struct sim_world *w, const struct sim_process *p, const struct sluice_event *ev,
                    const struct sluice_effects *effects);
void sim_judge_breaker(struct sim_world *w, const struct sim_process *p, uint32_t dependency,
                       enum sluice_breaker_state to);
/* The world: the journal was read; the server settled a message; an output, a dead letter was
 * stored. */
void sim_judge_loaded(struct sim_world *w, const struct sim_process *p, struct sluice_ticket ticket,
                      uint32_t key);
void sim_judge_settled(struct sim_world *w, uint32_t sequence, enum sluice_verb verb);
void sim_judge_output(struct sim_world *w, uint32_t key, uint64_t id, uint32_t copies);
void sim_judge_dead(struct sim_world *w, uint32_t sequence, uint32_t copies);
/* A document or an output with this content is about to be stored. */
void sim_judge_content(struct sim_world *w, uint32_t key, const struct sim_content *content,
                       const char *what);
/* How long an aborted engine may take, and how long the calm phase. */
int64_t sim_judge_abort_bound_ms(const struct sim_world *w);
int64_t sim_judge_calm_bound_ms(struct sim_world *w);
/* At the end: nothing lost, everything finished. */
void sim_judge_finish(struct sim_world *w, int is_finished);

/* ---- Between the judges' own files */

struct sim_attempt *sim_judge_attempt(struct sim_watch *watch, struct sluice_ticket ticket);
/* Deliveries (check_delivery.c): admitted, taken over, sent back; by so many of these was it
 * answered. */
void sim_judge_admit(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                     const struct sluice_effect *fx);
void sim_judge_rebind(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                      const struct sluice_effect *fx);
void sim_judge_refuse(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                      const struct sluice_effect *fx);
void sim_judge_answered(struct sim_world *w, const struct sluice_event *ev, uint32_t received);
/* Commit order and verdicts (check_commit.c). */
void sim_judge_settle(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                      const struct sluice_event *ev, const struct sluice_fx_settle *fx);
void sim_judge_commit(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                      const struct sluice_event *ev, const struct sluice_effect *fx);
void sim_judge_release(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev, const struct sluice_effect *fx);
/* 1 while the journaling of this answer has to be waited for. */
int sim_judge_is_keep_awaited(const struct sim_world *w, const struct sim_watch *watch,
                              const struct sim_attempt *a, const struct sim_seen *s,
                              const struct sluice_event *ev);
/* Calls, the journal (check_calls.c). */
void sim_judge_call(struct sim_world *w, struct sim_watch *watch, const struct sim_process *p,
                    struct sim_attempt *a, const struct sluice_event *ev,
                    const struct sluice_effect *fx);
void sim_judge_journal(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev, const struct sluice_effect *fx);
void sim_judge_call_ended(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                          const struct sluice_event *ev);
/* Of which answers documents and outputs are made (check_content.c): something is committed; the
 * journal was of no help. */
void sim_judge_answers(struct sim_world *w, const struct sim_watch *watch,
                       const struct sim_attempt *a, const struct sluice_event *ev);
void sim_judge_unsure(struct sim_world *w, const struct sim_attempt *a, struct sim_seen *s);
/* Breakers (check_breaker.c). A call to a dependency starts: the breaker's period; and it ends:
 * whom to blame. */
uint32_t sim_judge_may_call(struct sim_world *w, struct sim_watch *watch,
                            const struct sim_attempt *a, uint8_t dependency,
                            const struct sluice_event *ev);
enum sim_blame sim_judge_called(struct sim_world *w, struct sim_watch *watch,
                                const struct sim_attempt *a, uint8_t dependency, uint32_t period,
                                uint8_t fate);
/* Whose trial is it? Before the call is counted (check_trial.c). */
void sim_judge_trial(struct sim_world *w, const struct sim_watch *watch,
                     const struct sim_attempt *a, uint8_t dependency,
                     const struct sluice_event *ev);
/* Nothing more is heard of the calls of a message that leaves. */
void sim_judge_uncalled(struct sim_world *w, struct sim_watch *watch, const struct sim_attempt *a);
void sim_judge_breakers(struct sim_world *w, const struct sim_watch *watch);
/* 1 while the breaker is open and its reset time has not passed. */
int sim_judge_is_shut(const struct sim_world *w, const struct sim_watch *watch,
                      uint32_t dependency);
/* Pulls and bounds (check_bounds.c). */
void sim_judge_pull(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                    const struct sluice_fx_pull *fx);
void sim_judge_abandon(struct sim_world *w, struct sim_watch *watch, uint32_t pull);
void sim_judge_pull_event(struct sim_world *w, struct sim_watch *watch,
                          const struct sluice_event *ev);
void sim_judge_bounds(struct sim_world *w, struct sim_watch *watch, const struct sim_process *p,
                      const struct sluice_event *ev);
/* Renewals, confirmed verdicts, the grace (check_settle.c). */
void sim_judge_is_due(const struct sim_world *w, struct sim_watch *watch,
                      const struct sim_attempt *a);
void sim_judge_due(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                   const struct sluice_effects *effects);
void sim_judge_renewal(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                       const struct sluice_event *ev);
void sim_judge_verdict_sent(const struct sim_world *w, struct sim_watch *watch,
                            struct sim_attempt *a, const struct sluice_event *ev);
int sim_judge_is_outcome(const struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a, const struct sluice_event *ev,
                         enum sluice_outcome outcome);
void sim_judge_cancel(struct sim_world *w, const struct sim_watch *watch,
                      const struct sim_attempt *a, const struct sluice_event *ev, uint32_t step);
void sim_judge_nak_under_way(struct sim_world *w, const struct sim_watch *watch,
                             const struct sim_attempt *a);
void sim_judge_handed_on(struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a);
/* While a process drains: who must not be kept (check_drain.c). */
void sim_judge_drain(struct sim_world *w, const struct sim_watch *watch,
                     const struct sluice_event *ev, const struct sluice_effects *effects);
/* Those who wait for a rate limit come back within this time after it. */
#define SIM_LIMIT_SPREAD_MS 1000
/* Jitter (check_spread.c): of a NAK's delay; a 429 was read, a step was first asked for, and it
 * starts after that; the end of a lease was learned, and it is renewed. */
void sim_judge_spread(struct sim_world *w, const struct sim_watch *watch, int64_t delay_ms,
                      int64_t low_ms, int64_t high_ms);
void sim_judge_limited(struct sim_world *w, struct sim_watch *watch, const struct sim_attempt *a,
                       struct sim_seen *s, const struct sluice_event *ev);
void sim_judge_asked(struct sim_world *w, const struct sim_watch *watch,
                     const struct sim_attempt *a, struct sim_seen *s,
                     const struct sluice_event *ev);
void sim_judge_unlimited(struct sim_world *w, const struct sim_watch *watch,
                         const struct sim_attempt *a, const struct sim_seen *s,
                         const struct sluice_event *ev);
void sim_judge_leased(struct sim_world *w, const struct sim_watch *watch,
                      const struct sim_attempt *a, const struct sluice_event *ev);
void sim_judge_renewed(struct sim_world *w, const struct sim_watch *watch,
                       const struct sim_attempt *a, const struct sluice_event *ev);
/* What the probes are told (check_probe.c). */
void sim_judge_probe(struct sim_world *w, const struct sim_watch *watch,
                     const struct sim_process *p, const struct sluice_event *ev);
/* Marks of suspects (check_marks.c): a process ends or stops; a record was read, or written; the
 * handler is to run; its message is buried as a killer. */
void sim_judge_marks_left(struct sim_world *w, const struct sim_process *p);
void sim_judge_mark_loaded(struct sim_world *w, struct sim_attempt *a,
                           const struct sluice_ev_loaded *loaded);
void sim_judge_mark_recorded(struct sim_world *w, struct sim_attempt *a, enum sluice_fate fate);
void sim_judge_mark_cleared(struct sim_world *w, const struct sim_attempt *a,
                            const struct sluice_record *r);
void sim_judge_marked_run(struct sim_world *w, const struct sim_attempt *a);
void sim_judge_killer(struct sim_world *w, const struct sim_attempt *a);
/* 1 when its message is one by what was read, and is to be buried as such. */
int sim_judge_is_killer(const struct sim_world *w, const struct sim_attempt *a);
/* Failures: delays, counts, burials (check_retry.c). A delay without its jitter: */
int64_t sim_judge_full_delay_ms(const struct sluice_engine_config *c, uint32_t failures);
void sim_judge_nak_sent(const struct sim_world *w, const struct sim_watch *watch,
                        struct sim_attempt *a, const struct sluice_event *ev);
void sim_judge_nak(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                   const struct sluice_effect *fx);
void sim_judge_bury(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                    const struct sluice_effect *fx);
void sim_judge_run(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a);
/* Why a dead letter is written (check_reason.c). */
void sim_judge_reason(struct sim_world *w, const struct sim_attempt *a,
                      const struct sluice_event *ev, uint8_t failure);
/* Neither too often nor too late (check_pace.c): a delivery was admitted or taken over; what is
 * told of an attempt; an effect of it, before the other judges see it; the end of a step. */
void sim_judge_paced_admission(struct sim_world *w, struct sim_attempt *a,
                               const struct sluice_event *ev);
void sim_judge_paced_delivery(struct sim_world *w, struct sim_attempt *a,
                              const struct sluice_event *ev);
void sim_judge_paced_event(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                           const struct sluice_event *ev);
void sim_judge_paced(struct sim_world *w, struct sim_watch *watch, struct sim_attempt *a,
                     const struct sluice_event *ev, const struct sluice_effect *fx);
void sim_judge_paces(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                     const struct sluice_effects *effects);
/* Asking for more, not too soon and not too late (check_intake.c): before a step, at a PULL or an
 * ABANDON, after the step. */
void sim_judge_intake_event(struct sim_world *w, struct sim_watch *watch,
                            const struct sluice_event *ev);
void sim_judge_intake(struct sim_world *w, struct sim_watch *watch, const struct sluice_event *ev,
                      const struct sluice_effect *fx);
void sim_judge_intake_after(struct sim_world *w, struct sim_watch *watch,
                            const struct sluice_event *ev);
/* 1 near the end of its lease, where a careful engine may give it up. */
int sim_judge_is_at_end(const struct sim_world *w, const struct sim_attempt *a, int64_t mono_ms);
/* 1 when what is sent now may reach the server after the end of the lease. */
int sim_judge_is_late_there(const struct sim_world *w, const struct sim_attempt *a,
                            int64_t mono_ms);
/* 1 while the lease is over for all that the engine can know. */
int sim_judge_is_late(const struct sim_attempt *a, int64_t mono_ms);

#endif
