/* SPDX-License-Identifier: Apache-2.0 */
/* What one seed means: configuration, which faults are on and how often, and when they strike. All
 * of it is drawn before the run starts, so that two seeds differ in kind, not only in luck. */
#ifndef SLUICE_SIM_PLAN_H
#define SLUICE_SIM_PLAN_H

#include "core/engine.h"
#include "sim/random.h"

#define SIM_INPUTS_MAX    1500u /* messages of one run; sequences from 1 */
#define SIM_WORKERS_MAX   4u
#define SIM_IN_FLIGHT_MAX 1024u
#define SIM_FAULTS_MAX    96u
#define SIM_LOTS_MAX      8u /* of a course: the first requests of a run, of each kind */
#define SIM_COURSE_KILLS  2u
#define SIM_SKEW_MAX_MS   240000 /* between the wall clocks of a worker and the server */
#define SIM_WALL_MS       INT64_C(1790000000000) /* Unix time at the world's time 0 */

/* Where the draws lean. X(name, text, what it is for). */
#define SIM_PROFILES(X)                                                                            \
    X(SWARM, "swarm", "everything, a different mix with each seed")                                \
    X(CALM, "calm", "no fault at all: the plain path")                                             \
    X(CRASH, "crash", "kills between any two effects")                                             \
    X(LEASE, "lease", "frozen processes and stalled links beyond the ack wait")                    \
    X(SERVER, "server", "server kills, leader changes, lost pulls, a deleted consumer, a purge")   \
    X(OUTAGE, "outage", "dependencies that are down, slow or rate-limited")                        \
    X(POISON, "poison", "messages that kill the process or always fail")                           \
    X(JOURNAL, "journal", "trouble with the journal, upgrades of the worker")                      \
    X(DRAIN, "drain", "rolling restarts of several workers")                                       \
    X(WIDE, "wide", "a thousand messages in flight: more effects than one step can hold")

enum sim_profile {
#define SIM_PROFILE_ENUM(name, text, about) SIM_PROFILE_##name,
    SIM_PROFILES(SIM_PROFILE_ENUM)
#undef SIM_PROFILE_ENUM
        SIM_PROFILE_COUNT
};

/* Whom a worker's request goes to. */
#define SIM_TARGETS(X)                                                                             \
    X(LLM, "llm")                                                                                  \
    X(FIND, "find")                                                                                \
    X(SERVICE, "service")                                                                          \
    X(OFFLOAD, "offload")                                                                          \
    X(STORE, "store")                                                                              \
    X(PUBLISH, "publish")                                                                          \
    X(BURY, "bury")                                                                                \
    X(LOAD, "load")                                                                                \
    X(KEEP, "keep")                                                                                \
    X(RECORD, "record")                                                                            \
    X(SETTLE, "settle") /* from here on to the server of the requests stream: network.c */         \
    X(PULL, "pull")                                                                                \
    X(CHECK, "check")

enum sim_target {
#define SIM_TARGET_ENUM(name, text) SIM_TARGET_##name,
    SIM_TARGETS(SIM_TARGET_ENUM)
#undef SIM_TARGET_ENUM
        SIM_TARGET_COUNT
};

/* What becomes of a request. DO: the world changes. X(name, text). */
#define SIM_LOTS(X)                                                                                \
    X(OK, "ok")                                                                                    \
    X(SLOW, "slow")               /* done and answered, but late within its timeout */             \
    X(TWICE, "twice")             /* done two times, answered once */                              \
    X(ANSWER_LOST, "answer_lost") /* done, no answer */                                            \
    X(LATE, "late")               /* no answer, and done only after the worker gave up */          \
    X(FAIL, "fail")               /* not done, an error at once */                                 \
    X(NEVER, "never")             /* not done, no answer until the timeout */                      \
    X(LIMITED, "limited")         /* 429 */                                                        \
    X(BAD, "bad")                 /* done (and paid), the answer is useless */                     \
    X(PERMANENT, "permanent")                                                                      \
    X(STAGED, "staged") /* not done, or much later, but answered as a duplicate without sequence   \
                         */

enum sim_lot {
#define SIM_LOT_ENUM(name, text) SIM_LOT_##name,
    SIM_LOTS(SIM_LOT_ENUM)
#undef SIM_LOT_ENUM
        SIM_LOT_COUNT
};

/* Rates in 1/65536, and times. */
struct sim_rates {
    uint16_t rate[SIM_LOT_COUNT]; /* OK's is what remains */
    uint32_t sum;                 /* of all but OK */
    int32_t fast_ms, slow_ms;     /* usual answer: up to fast_ms; SLOW: up to slow_ms */
    int32_t timeout_ms;
};

/* Faults that strike at a time. X(name, text). */
#define SIM_FAULTS(X)                                                                              \
    X(KILL, "kill")                       /* kill -9, at once or after some more effects */        \
    X(KILL_AT, "kill_at")                 /* kill -9 just before or after an effect of a kind */   \
    X(FREEZE, "freeze")                   /* SIGSTOP, later SIGCONT */                             \
    X(LINK_BREAK, "link_break")           /* connection lost, later back */                        \
    X(LINK_STALL, "link_stall")           /* nothing passes for a while, then all of it */         \
    X(SERVER_KILL, "server_kill")         /* its consumer goes back a little */                    \
    X(LEADER_CHANGE, "leader_change")     /* pulls are lost, then nobody answers for a while */    \
    X(PULLS_LOST, "pulls_lost")           /* the server forgets open pulls and says nothing */     \
    X(CONSUMER_DELETE, "consumer_delete") /* later created again */                                \
    X(OUTAGE, "outage")                   /* a target refuses or swallows everything */            \
    X(DRAIN, "drain")                     /* SIGTERM, a new process later */                       \
    X(UPGRADE, "upgrade")                 /* processes started from now on run a new version */    \
    X(WALL_JUMP, "wall_jump")             /* the wall clock of a worker is set */                  \
    X(JOURNAL_AGE, "journal_age")         /* all that the journal holds is too old, and gone */    \
    X(HUNGER, "hunger")                   /* allocations of an engine fail for a while */          \
    X(PURGE, "purge")                     /* of the stream of requests */

enum sim_fault_kind {
#define SIM_FAULT_ENUM(name, text) SIM_FAULT_##name,
    SIM_FAULTS(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
        SIM_FAULT_COUNT
};

struct sim_fault {
    int64_t at_ms;
    int64_t length_ms;
    uint8_t kind;   /* enum sim_fault_kind */
    uint8_t worker; /* whom it strikes, where that matters */
    uint8_t what;   /* KILL_AT: effect kind; OUTAGE: target */
    uint8_t how;    /* a free choice of the fault, 0…255 */
    uint8_t is_off; /* left out when a failing run is made smaller */
};

/* What is said instead of drawn: the lots of the first requests, and kills by number of effect
 * (over all processes, from 1). Short pipelines are enumerated by it. */
struct sim_lots {
    uint8_t lots[SIM_LOTS_MAX]; /* enum sim_lot */
    uint32_t count;
};

/* Whom the first requests of a run were for. */
struct sim_asked {
    uint8_t targets[SIM_LOTS_MAX]; /* enum sim_target */
    uint32_t count;
};

struct sim_course {
    struct sim_lots requests, network;
    uint32_t kills[SIM_COURSE_KILLS]; /* 2 × effect: just before it; + 1: just after; 0: none */
};

struct sim_plan {
    uint64_t seed;
    uint32_t luck; /* another course of the same plan; 0 unless a run was made smaller */
    enum sim_profile profile;
    uint32_t workers_count, inputs_count;
    int64_t publish_span_ms; /* inputs are published in this time */
    int64_t calm_at_ms;      /* faults end */
    /* server */
    uint8_t is_work_queue;    /* else a limits stream */
    uint8_t is_server_recent; /* where the two differ, as nats-server 2.12; else as 2.9 */
    uint32_t ack_pending_max;
    int64_t duplicate_window_ms;
    int64_t ping_ms;
    int32_t link_ms; /* usual one-way time, up to */
    /* engine: template of every worker's configuration */
    struct sluice_engine_config engine;
    /* requests */
    struct sim_rates rates[SIM_TARGET_COUNT];
    uint32_t outage_hang_per_mille; /* requests in an outage that hang instead of failing at once */
    /* per mille of those that fail at once: did not go out; told that the other side is away */
    uint32_t unreachable, unavailable;
    int64_t retry_after_ms; /* longest */
    uint32_t bad_answers;   /* journaled answers that cannot be used, per mille */
    /* handlers, per mille of the messages */
    uint32_t fails_always, fails_sometimes, rejects, poison, skips, wavers, refused_step, replays;
    /* processes */
    int64_t restart_ms;
    int64_t grace_ms; /* from DRAIN to ABORT */
    uint8_t reports_lost_settles, hears_after_stop, misses_disconnects;
    struct sim_fault faults[SIM_FAULTS_MAX];
    uint32_t faults_count;
    struct sim_course course;
    uint8_t is_skipped[SIM_INPUTS_MAX + 1]; /* messages that are never published */
};

/* Draw everything. The same (seed, profile) gives the same plan. */
void sim_plan_draw(struct sim_plan *plan, uint64_t seed, enum sim_profile profile);

/* Can this become of a request to that target? */
int sim_target_knows(enum sim_target target, enum sim_lot lot);

/* The lot that a course says for the next request; -1: it says none. After a kill the request may
 * be for another target than the lot was meant for. */
int sim_lots_said(const struct sim_lots *said, struct sim_asked *asked, enum sim_target target);
/* The lot that a number below 65536 means. */
enum sim_lot sim_rates_lot(const struct sim_rates *rates, uint32_t draw);

const char *sim_profile_name(enum sim_profile profile);
const char *sim_target_name(enum sim_target target);
const char *sim_lot_name(enum sim_lot lot);
const char *sim_fault_name(enum sim_fault_kind kind);

#endif
