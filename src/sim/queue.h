/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What will happen in the simulated world, by time.
 *
 * Order of things at the same millisecond: those of the queue in the order in which they were put
 * there, then the ticks of the workers' engines by worker number. Two things that one connection
 * carries in one direction therefore never overtake each other, as long as the connection's own
 * arrival times do not go back.
 */
#ifndef SLUICE_SIM_QUEUE_H
#define SLUICE_SIM_QUEUE_H

#include "core/engine.h"
#include <stdint.h>

/* One future thing. What the numbers mean depends on the kind. */
struct sim_item {
    int64_t at_ms;
    uint32_t order; /* of insertion */
    uint16_t life;  /* incarnation of the worker, or epoch of its connection */
    uint8_t kind;   /* enum sim_kind of world.h */
    uint8_t worker; /* whom it concerns */
    struct sluice_ticket ticket;
    uint32_t a, b;
    int64_t c, d;
};

struct sim_queue {
    struct sim_item *items; /* 4-ary heap */
    uint32_t count, capacity;
    uint32_t next_order;
};

/* 0 on success, -1 without memory. */
int sim_queue_init(struct sim_queue *q);
void sim_queue_fini(struct sim_queue *q);
void sim_queue_clear(struct sim_queue *q);
/* Copies *item and gives it the next number of order. Ends the process when memory runs out: the
 * simulator has no fate for its own hunger. */
void sim_queue_push(struct sim_queue *q, const struct sim_item *item);
/* The earliest item, removed into *out. The queue must not be empty. */
void sim_queue_pop(struct sim_queue *q, struct sim_item *out);

/* Time of the earliest item; INT64_MAX when empty. */
static inline int64_t sim_queue_next_ms(const struct sim_queue *q)
{
    return q->count == 0 ? INT64_MAX : q->items[0].at_ms;
}

#endif
