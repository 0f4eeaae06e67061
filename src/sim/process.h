/* SPDX-License-Identifier: Apache-2.0 */
/* A worker process of the simulated world: its connection, its engine, and what the shell would do
 * around it. Driven as the top of core/engine.h says. */
#ifndef SLUICE_SIM_PROCESS_H
#define SLUICE_SIM_PROCESS_H

#include "sim/heap.h"
#include "sim/kv.h"
#include "sim/plan.h"
#include "sim/queue.h"
#include "sim/script.h"
#include "sim/sink.h"

#define SIM_INBOXES_MAX 64u
#define SIM_HELD_MAX    8192u /* what reaches a frozen process */

/* A connection to the server. Each direction keeps its order. */
struct sim_link {
    uint16_t epoch;                     /* number of the connection, from 1 */
    uint16_t server_epoch;              /* the one that the server takes for alive; 0: none */
    uint8_t is_up;                      /* as the client's kernel sees it */
    int64_t to_server_ms, to_client_ms; /* newest arrival in each direction */
    int64_t to_server_stalled_ms, to_client_stalled_ms; /* nothing arrives before */
    int64_t horizon_ms; /* world time: sending of the newest request whose answer was read */
};

/* The client's side of a pull. */
struct sim_inbox {
    struct sluice_fx_pull pull;
    int64_t sent_ms;
    uint8_t is_abandoned;
    uint8_t is_deaf; /* half of what the server sends there is lost on its way */
};

/* A paid answer that a run of the handler was handed. */
struct sim_handed {
    struct sluice_journaled id;
    uint64_t value;
    uint8_t step;
};

/* A message in flight, as the host of the handler keeps it. */
struct sim_hosted {
    uint32_t generation; /* 0: free */
    uint32_t sequence, key, deliveries, runs;
    uint32_t steps_served; /* that the newest run found */
    const struct sim_script *script;
    uint8_t has_answer[SIM_STEPS_MAX];
    uint64_t answers[SIM_STEPS_MAX];
    uint16_t call_serial[SIM_STEPS_MAX]; /* of the newest call; answers of older ones are void */
    uint8_t call_owed[SIM_STEPS_MAX];
    uint8_t settle_verb, is_settle_owed; /* newest settle */
    uint32_t settle;
    struct sluice_ev_verdict verdict; /* of the newest run, until it is reported and for commit */
    struct sluice_step_request requests[SIM_STEPS_MAX];
    struct sluice_journaled ids[SIM_STEPS_MAX]; /* of all steps asked for; epoch: of the answer */
    uint64_t outputs[SIM_OUTPUTS_MAX];
    struct sim_handed handed[SIM_STEPS_MAX]; /* to the run whose documents and outputs those are */
    uint32_t handed_count;
    struct sim_content content; /* of all of them */
    uint32_t loaded_count;      /* journal as it was read */
    uint8_t loaded_fate;
    struct sluice_record loaded_record;
    struct sluice_journaled loaded[SIM_KEPT_MAX];
    uint64_t loaded_values[SIM_KEPT_MAX];
    uint8_t loaded_is_bad[SIM_KEPT_MAX];
};

struct sim_process {
    uint8_t index, is_running, is_frozen, is_draining, is_aborted;
    uint8_t has_asked_journal, journal_in_use; /* does it hold records? Known since boot */
    uint8_t is_stopped, stop_owed;
    uint8_t checks_owed, is_reporting;
    uint32_t stream_made; /* the stream that it knows; 0: none */
    uint16_t life;
    uint32_t version;
    int64_t clock_ms; /* monotonic clock minus world time */
    int64_t wall_ms;  /* wall clock minus the server's */
    int64_t started_ms;
    struct sluice_engine *engine;
    struct sim_heap heap;
    struct sim_link link;
    struct sim_inbox inboxes[SIM_INBOXES_MAX];
    int64_t tick_ms;     /* world time of the next tick; INT64_MAX: none */
    uint32_t idle_ticks; /* in a row, at one time, without any effect */
    int64_t idle_tick_ms;
    uint8_t has_moved; /* the step in progress moved a message */
    /* armed faults */
    int32_t kill_after, freeze_after; /* more effects until it happens; -1: not armed */
    uint8_t kill_at, kill_is_before;  /* effect kind + 1 */
    int64_t freeze_length_ms;
    /* verdicts of runs, to be reported next */
    struct sluice_ticket verdicts[SIM_IN_FLIGHT_MAX];
    uint32_t verdicts_first, verdicts_count;
    /* of a frozen process: effects not performed yet, things not read yet */
    struct sluice_effect rest[SLUICE_FX_CAPACITY];
    uint32_t rest_count;
    struct sluice_event rest_event;
    struct sim_item held[SIM_HELD_MAX];
    uint32_t held_count;
    struct sim_hosted hosted[SIM_IN_FLIGHT_MAX];
};

struct sim_world;

/* ---- Processes (process.c) */

void sim_process_init(struct sim_world *w, uint8_t index);
void sim_process_fini(struct sim_process *p);
void sim_process_start(struct sim_world *w, struct sim_process *p);
/* kill -9: the engine and all that the process knew are gone; a new one starts later. */
void sim_process_kill(struct sim_world *w, struct sim_process *p);
void sim_process_freeze(struct sim_world *w, struct sim_process *p, int64_t length_ms);
void sim_process_continue(struct sim_world *w, struct sim_process *p);
void sim_process_drain(struct sim_world *w, struct sim_process *p);
/* An item that has reached the process: read now, or when it is thawed. */
void sim_process_receive(struct sim_world *w, struct sim_process *p, const struct sim_item *item);
/* Time for EV_TICK. */
void sim_process_tick(struct sim_world *w, struct sim_process *p);
/* Step the engine with this event and perform what it asks for. */
void sim_process_step(struct sim_world *w, struct sim_process *p, struct sluice_event *ev);
const struct sim_inbox *sim_process_inbox(const struct sim_process *p, uint32_t pull);

/* ---- The connection (link.c) */

/* From the process to the server; 0 when it is down. */
int sim_link_send(struct sim_world *w, uint8_t worker, uint8_t kind, struct sim_item item);
/* From the server to a client's connection. */
void sim_link_reply(struct sim_world *w, uint8_t worker, uint16_t epoch, uint8_t kind,
                    struct sim_item item);
/* A new connection, if the server is up: 1. */
int sim_link_connect(struct sim_world *w, struct sim_process *p);
/* The connection breaks; the client notices at once, the server perhaps later. */
void sim_link_break(struct sim_world *w, uint8_t worker);
/* Nothing passes for a while; then all of it, or the connection breaks. */
void sim_link_stall(struct sim_world *w, uint8_t worker, int64_t length_ms, uint8_t how);

/* ---- Requests to that server, and their answers, on a living connection (network.c) */

/* 0 when it could not be sent. */
int sim_network_settle(struct sim_world *w, struct sim_process *p, struct sim_item item);
void sim_network_pull(struct sim_world *w, struct sim_process *p, struct sim_inbox *inbox);
void sim_network_check(struct sim_world *w, struct sim_process *p);
/* 0: what the server said is lost, or comes later. */
int sim_network_arrives(struct sim_world *w, const struct sim_process *p,
                        const struct sim_item *item);

/* ---- The host of the handler and the ports (host.c, handler.c) */

void sim_host_perform(struct sim_world *w, struct sim_process *p, const struct sluice_event *ev,
                      const struct sluice_effect *fx);
/* An answer has arrived at the machine: what it changes in the world happens now. */
void sim_host_on_answer(struct sim_world *w, struct sim_item *item);
/* The process reads it. */
void sim_host_read_answer(struct sim_world *w, struct sim_process *p, const struct sim_item *item);
void sim_host_report_verdict(struct sim_world *w, struct sim_process *p,
                             struct sluice_ticket ticket);
/* Run the handler: fills h->verdict. 1 when it killed the process. */
int sim_handler_run(struct sim_world *w, struct sim_process *p, struct sluice_ticket ticket,
                    struct sim_hosted *h);

static inline struct sim_hosted *sim_process_hosted(struct sim_process *p,
                                                    struct sluice_ticket ticket)
{
    struct sim_hosted *h =
        ticket.slot < SIM_IN_FLIGHT_MAX ? &p->hosted[ticket.slot] : (struct sim_hosted *)0;
    return h != 0 && ticket.generation != 0 && h->generation == ticket.generation ? h : 0;
}

#endif
