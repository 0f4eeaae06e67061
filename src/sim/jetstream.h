/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of one JetStream stream with one durable pull consumer, as nats-server 2.9 to 2.12
 * behave. tests/conformance plays the same scripts on it and on those servers.
 *
 *  - settles are not fenced: what a stale delivery sends works on the present one;
 *  - a settle is answered, also when it did nothing; but 2.12 neither takes nor answers an ACK or
 *    TERM for a message that this consumer, made anew or gone back, has not delivered yet;
 *  - a message keeps its place under MaxAckPending until ACK or TERM, also during the delay of a
 *    NAK and while it waits for redelivery;
 *  - redeliveries come before new messages, in no order that could be relied on;
 *  - +WPI starts the ack timer again, but does not take a message back from redelivery;
 *  - a delayed NAK does take it back;
 *  - a pull on a consumer that is missing or has no leader is answered by silence (2.9) or 503
 *    (2.12), a settle by 503; a pull that the server lost by silence;
 *  - what is purged is delivered no more and frees its place, pulls wait on; a settle is answered;
 *  - a killed server goes back a little: confirmed settles undone, delivery counts forgotten.
 */
#ifndef SLUICE_SIM_JETSTREAM_H
#define SLUICE_SIM_JETSTREAM_H

#include "sim/plan.h"

#define SIM_SERVER_PULLS_MAX 64u

enum sim_stored_state {
    SIM_STORED_NONE,    /* not published yet */
    SIM_STORED_NEW,     /* to be delivered (again, after the consumer went back) */
    SIM_STORED_PENDING, /* delivered, neither ACKed nor TERMed */
    SIM_STORED_SETTLED, /* ACKed or TERMed; gone from a work queue */
    SIM_STORED_PURGED   /* gone for good; settles are answered and do nothing */
};

struct sim_stored {
    int64_t due_ms;     /* PENDING: when the ack timer or the delay of a NAK ends */
    int64_t armed_ms;   /* when the ACK_TIMER item comes */
    int64_t changed_ms; /* last change of its consumer state */
    uint32_t deliveries;
    uint32_t timer;         /* number of the newest ACK_TIMER item: older ones are void */
    uint8_t state;          /* enum sim_stored_state */
    uint8_t is_queued;      /* waits for redelivery */
    uint8_t is_timer_armed; /* that item is still in the queue */
    uint8_t holder;         /* worker of the newest delivery */
    uint8_t settled_by;     /* verb: ACK or TERM */
};

struct sim_server_pull {
    uint32_t id;
    uint32_t serial; /* of this place */
    uint16_t epoch;  /* of the connection that it came on */
    uint8_t worker;
    uint8_t is_open;
    uint32_t left;
    int64_t bytes_left; /* INT64_MAX: unlimited */
    int64_t expires_ms, heartbeat_ms, spoken_ms;
};

struct sim_jetstream {
    struct sim_stored stored[SIM_INPUTS_MAX + 1]; /* by sequence */
    struct sim_server_pull pulls[SIM_SERVER_PULLS_MAX];
    uint8_t waiting[SIM_SERVER_PULLS_MAX]; /* open pulls in order of arrival, indices into pulls */
    uint32_t waiting_count;
    uint16_t redeliver[SIM_INPUTS_MAX + 1]; /* ring of sequences */
    uint32_t redeliver_first, redeliver_count;
    uint32_t next_new;      /* no NEW message below this sequence */
    uint32_t highest;       /* published so far */
    uint32_t pending_count; /* held places under MaxAckPending */
    uint32_t settled_count; /* purged ones, too */
    uint8_t is_up, consumer_exists;
    uint32_t consumers_made; /* each one's counts begin anew */
    uint32_t streams_made;   /* a consumer that was made anew is told by its stream alone */
    int64_t delivered_ms;  /* last delivery */
    int64_t leader_ms;     /* until then the consumer has no leader */
};

struct sim_world;
struct sim_item;

void sim_jetstream_init(struct sim_world *w);
void sim_jetstream_publish(struct sim_world *w, uint32_t sequence);
/* What arrives from a client. */
void sim_jetstream_on_pull(struct sim_world *w, const struct sim_item *item);
void sim_jetstream_on_settle(struct sim_world *w, const struct sim_item *item);
void sim_jetstream_on_check(struct sim_world *w, const struct sim_item *item);
void sim_jetstream_on_stop(struct sim_world *w, const struct sim_item *item);
void sim_jetstream_on_ping(struct sim_world *w, const struct sim_item *item);
/* Timers of the server. */
void sim_jetstream_on_ack_timer(struct sim_world *w, const struct sim_item *item);
void sim_jetstream_on_pull_timer(struct sim_world *w, const struct sim_item *item);
/* The server sees that a connection is gone. */
void sim_jetstream_forget_client(struct sim_world *w, uint8_t worker, uint16_t epoch);
/* Faults. `how` is a free choice. */
void sim_jetstream_kill(struct sim_world *w, uint8_t how);
void sim_jetstream_up(struct sim_world *w);
/* The consumer goes on where it was, but nobody answers for it for a while. */
void sim_jetstream_leader_change(struct sim_world *w, uint8_t how);
void sim_jetstream_lose_pulls(struct sim_world *w);
void sim_jetstream_delete_consumer(struct sim_world *w);
void sim_jetstream_create_consumer(struct sim_world *w);
/* All that the stream holds is gone, and held by nobody. */
void sim_jetstream_purge(struct sim_world *w);
/* A message that is never published, since what it would replay was purged. */
void sim_jetstream_omit(struct sim_world *w, uint32_t sequence);
/* Messages in the stream. */
uint32_t sim_jetstream_count(const struct sim_world *w);
/* Start the ack timer of a message for its due_ms. */
void sim_jetstream_arm(struct sim_world *w, uint32_t sequence);
/* Give ready messages to waiting pulls. */
void sim_jetstream_dispatch(struct sim_world *w);

#endif
