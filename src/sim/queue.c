/* SPDX-License-Identifier: Apache-2.0 */
/* A 4-ary heap: shallower than a binary one, and the four children share cache lines. */
#include "sim/queue.h"

#include <stdio.h>
#include <stdlib.h>

#define QUEUE_CAPACITY_FIRST 1024u

static int is_before(const struct sim_item *x, const struct sim_item *y)
{
    return x->at_ms < y->at_ms || (x->at_ms == y->at_ms && x->order < y->order);
}

int sim_queue_init(struct sim_queue *q)
{
    *q = (struct sim_queue){0};
    q->items = malloc(QUEUE_CAPACITY_FIRST * sizeof *q->items);
    if (q->items == NULL) {
        return -1;
    }
    q->capacity = QUEUE_CAPACITY_FIRST;
    return 0;
}

void sim_queue_fini(struct sim_queue *q)
{
    free(q->items);
    *q = (struct sim_queue){0};
}

void sim_queue_clear(struct sim_queue *q)
{
    q->count = 0;
    q->next_order = 0;
}

static void grow(struct sim_queue *q)
{
    struct sim_item *items = realloc(q->items, 2u * q->capacity * sizeof *items);
    if (items == NULL) {
        fputs("sluice sim: out of memory for the queue of future events\n", stderr);
        abort(); /* a tool at a terminal: a seed that it cannot go on with is run again elsewhere */
    }
    q->items = items;
    q->capacity *= 2u;
}

void sim_queue_push(struct sim_queue *q, const struct sim_item *item)
{
    if (q->count == q->capacity) {
        grow(q);
    }
    struct sim_item new_item = *item;
    new_item.order = q->next_order++;
    uint32_t at = q->count++;
    while (at > 0) {
        uint32_t parent = (at - 1) / 4;
        if (!is_before(&new_item, &q->items[parent])) {
            break;
        }
        q->items[at] = q->items[parent];
        at = parent;
    }
    q->items[at] = new_item;
}

static uint32_t first_child(const struct sim_queue *q, uint32_t at)
{
    uint32_t first = 4 * at + 1;
    uint32_t best = first;
    uint32_t end = first + 4 < q->count ? first + 4 : q->count;
    for (uint32_t i = first + 1; i < end; i++) {
        if (is_before(&q->items[i], &q->items[best])) {
            best = i;
        }
    }
    return best;
}

void sim_queue_pop(struct sim_queue *q, struct sim_item *out)
{
    *out = q->items[0];
    q->count--;
    if (q->count == 0) {
        return;
    }
    struct sim_item last = q->items[q->count];
    uint32_t at = 0;
    while (4 * at + 1 < q->count) {
        uint32_t child = first_child(q, at);
        if (!is_before(&q->items[child], &last)) {
            break;
        }
        q->items[at] = q->items[child];
        at = child;
    }
    q->items[at] = last;
}
