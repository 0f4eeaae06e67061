/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of requests that have not been answered, and the timer wheel that finds those that are
 * due. An entry is taken, then either open, which is in the wheel until its time, or ended, which
 * is in a list until its callback is made; then it is given back. Between two of these states it is
 * in neither. It has no clock and calls nobody but who walks over it. One thread.
 */
#ifndef SLUICE_ADAPTER_NATS_WHEEL_H
#define SLUICE_ADAPTER_NATS_WHEEL_H

#include "adapter/nats_request.h"

#define SLUICE_NATS_WHEEL_NONE      UINT32_MAX
#define SLUICE_NATS_WHEEL_COUNT_MAX (1u << 22) /* 65,536 messages with 64 outputs each */
#define SLUICE_NATS_WHEEL_TURNS                                                                    \
    256u /* turns of the wheel: 12.8 s; a longer deadline is passed over until due */
#define SLUICE_NATS_WHEEL_STEP_MS 50

/* One request. Entries are linked by index: free list, a bucket of the wheel, or the list of those
 * that have ended. */
struct sluice_nats_entry {
    sluice_nats_answer_fn *fn;
    void *ctx;
    struct sluice_nats_copy *copy; /* NULL: sent once. Owned; its pause changes while not open */
    /* Of the wheel alone. */
    int64_t due_ms;
    uint32_t generation; /* part of the token: a late answer finds another generation */
    uint32_t next, prev;
    uint8_t state;
    uint8_t outcome; /* of an ended one */
};

struct sluice_nats_wheel {
    struct sluice_nats_entry *entries;
    uint32_t count, free, open;
    uint32_t quiet; /* of the open ones: nothing of them is under way */
    uint32_t ended_first, ended_last;
    uint32_t buckets[SLUICE_NATS_WHEEL_TURNS];
    int64_t turn; /* the bucket that was looked at last, since the clock's zero */
};

void sluice_nats_wheel_init(struct sluice_nats_wheel *wheel);
void sluice_nats_wheel_fini(struct sluice_nats_wheel *wheel); /* all were given back */

/* A new entry's index; NONE without memory, or when COUNT_MAX are taken. May move the table. */
uint32_t sluice_nats_wheel_take(struct sluice_nats_wheel *wheel, sluice_nats_answer_fn *fn,
                                void *ctx);
/* Its copy is freed. */
void sluice_nats_wheel_give_back(struct sluice_nats_wheel *wheel, uint32_t index);
/* Valid until the next is taken. */
struct sluice_nats_entry *sluice_nats_wheel_at(const struct sluice_nats_wheel *wheel,
                                               uint32_t index);

/* What an answer names the entry by. */
uint64_t sluice_nats_wheel_token(const struct sluice_nats_wheel *wheel, uint32_t index);
/* The open entry that a token means, or NONE: it has ended. */
uint32_t sluice_nats_wheel_find(const struct sluice_nats_wheel *wheel, uint64_t token);

/* Put an entry into the wheel until `due_ms`, its deadline or when it is sent again; and out of it.
 */
void sluice_nats_wheel_link(struct sluice_nats_wheel *wheel, uint32_t index, int64_t due_ms);
void sluice_nats_wheel_unlink(struct sluice_nats_wheel *wheel, uint32_t index);
int sluice_nats_wheel_is_empty(const struct sluice_nats_wheel *wheel); /* none is open */
/* How many of the open ones are under way: sent, and not put off. */
uint32_t sluice_nats_wheel_under_way(const struct sluice_nats_wheel *wheel);

/* An entry that is not open waits for its callback, behind those that ended before. */
void sluice_nats_wheel_end(struct sluice_nats_wheel *wheel, uint32_t index,
                           enum sluice_nats_outcome outcome);
/* The first of them, with its outcome, out of the list; NONE: there is none. */
uint32_t sluice_nats_wheel_next_ended(struct sluice_nats_wheel *wheel,
                                      enum sluice_nats_outcome *outcome);

/* Called for an open entry. It may unlink this one and link or end it, but no other, and take none.
 */
typedef void sluice_nats_wheel_fn(void *ctx, uint32_t index);

/* The wheel stood still while it was empty: go on from here. */
void sluice_nats_wheel_start(struct sluice_nats_wheel *wheel, int64_t now_ms);
/* How many turns have passed since the last pass or start. */
int64_t sluice_nats_wheel_behind(const struct sluice_nats_wheel *wheel, int64_t now_ms);
/* Call `fn` for each that has become due. */
void sluice_nats_wheel_pass(struct sluice_nats_wheel *wheel, int64_t now_ms,
                            sluice_nats_wheel_fn *fn, void *ctx);
/* Call `fn` for each that is open; it must unlink it, and may not link it again. */
void sluice_nats_wheel_empty(struct sluice_nats_wheel *wheel, sluice_nats_wheel_fn *fn, void *ctx);

#endif
