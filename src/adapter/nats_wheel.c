/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_wheel.h"

#include <stdlib.h>
#include <string.h>

#define NONE        SLUICE_NATS_WHEEL_NONE
#define FIRST_COUNT 64u

enum entry_state { ENTRY_FREE, ENTRY_OPEN, ENTRY_ENDED };

static int64_t turn_at(int64_t ms)
{
    return ms / SLUICE_NATS_WHEEL_STEP_MS;
}

static uint32_t bucket_at(int64_t turn)
{
    return (uint32_t)((uint64_t)turn % SLUICE_NATS_WHEEL_TURNS);
}

/* ---- The table ---- */

void sluice_nats_wheel_init(struct sluice_nats_wheel *wheel)
{
    *wheel = (struct sluice_nats_wheel){.free = NONE, .ended_first = NONE, .ended_last = NONE};
    for (uint32_t i = 0; i < SLUICE_NATS_WHEEL_TURNS; i++) {
        wheel->buckets[i] = NONE;
    }
}

void sluice_nats_wheel_fini(struct sluice_nats_wheel *wheel)
{
    free(wheel->entries);
    wheel->entries = NULL;
}

static int grow(struct sluice_nats_wheel *wheel)
{
    uint32_t count = wheel->count == 0 ? FIRST_COUNT : wheel->count * 2;
    struct sluice_nats_entry *entries = count > SLUICE_NATS_WHEEL_COUNT_MAX
                                            ? NULL
                                            : realloc(wheel->entries, count * sizeof entries[0]);
    if (entries == NULL) {
        return 0;
    }
    memset(entries + wheel->count, 0, (count - wheel->count) * sizeof entries[0]);
    for (uint32_t i = count; i > wheel->count; i--) {
        entries[i - 1].next = wheel->free;
        wheel->free = i - 1;
    }
    wheel->entries = entries;
    wheel->count = count;
    return 1;
}

uint32_t sluice_nats_wheel_take(struct sluice_nats_wheel *wheel, sluice_nats_answer_fn *fn,
                                void *ctx)
{
    if (wheel->free == NONE && !grow(wheel)) {
        return NONE;
    }
    uint32_t index = wheel->free;
    struct sluice_nats_entry *e = &wheel->entries[index];
    wheel->free = e->next;
    e->fn = fn;
    e->ctx = ctx;
    e->generation++;
    e->next = e->prev = NONE;
    return index;
}

void sluice_nats_wheel_give_back(struct sluice_nats_wheel *wheel, uint32_t index)
{
    struct sluice_nats_entry *e = &wheel->entries[index];
    free(e->copy);
    e->copy = NULL;
    e->state = ENTRY_FREE;
    e->next = wheel->free;
    wheel->free = index;
}

struct sluice_nats_entry *sluice_nats_wheel_at(const struct sluice_nats_wheel *wheel,
                                               uint32_t index)
{
    return &wheel->entries[index];
}

uint64_t sluice_nats_wheel_token(const struct sluice_nats_wheel *wheel, uint32_t index)
{
    return (uint64_t)wheel->entries[index].generation << 32 | index;
}

uint32_t sluice_nats_wheel_find(const struct sluice_nats_wheel *wheel, uint64_t token)
{
    uint32_t index = (uint32_t)token;
    return index < wheel->count && wheel->entries[index].state == ENTRY_OPEN &&
                   wheel->entries[index].generation == token >> 32
               ? index
               : NONE;
}

/* ---- Open ones ---- */

static uint32_t *bucket_of(struct sluice_nats_wheel *wheel, const struct sluice_nats_entry *e)
{
    return &wheel->buckets[bucket_at(turn_at(e->due_ms) + 1)];
}

/* What changes the answer is done while the entry is not linked. */
static int is_quiet(const struct sluice_nats_entry *e)
{
    return e->copy != NULL && e->copy->pause != SLUICE_NATS_NO_PAUSE;
}

void sluice_nats_wheel_link(struct sluice_nats_wheel *wheel, uint32_t index, int64_t due_ms)
{
    struct sluice_nats_entry *e = &wheel->entries[index];
    e->due_ms = due_ms;
    e->state = ENTRY_OPEN;
    uint32_t *head = bucket_of(wheel, e);
    e->prev = NONE;
    e->next = *head;
    if (*head != NONE) {
        wheel->entries[*head].prev = index;
    }
    *head = index;
    wheel->open++;
    wheel->quiet += is_quiet(e);
}

void sluice_nats_wheel_unlink(struct sluice_nats_wheel *wheel, uint32_t index)
{
    const struct sluice_nats_entry *e = &wheel->entries[index];
    if (e->prev != NONE) {
        wheel->entries[e->prev].next = e->next;
    } else {
        *bucket_of(wheel, e) = e->next;
    }
    if (e->next != NONE) {
        wheel->entries[e->next].prev = e->prev;
    }
    wheel->open--;
    wheel->quiet -= is_quiet(e);
}

int sluice_nats_wheel_is_empty(const struct sluice_nats_wheel *wheel)
{
    return wheel->open == 0;
}

uint32_t sluice_nats_wheel_under_way(const struct sluice_nats_wheel *wheel)
{
    return wheel->open - wheel->quiet;
}

/* ---- Ended ones ---- */

void sluice_nats_wheel_end(struct sluice_nats_wheel *wheel, uint32_t index,
                           enum sluice_nats_outcome outcome)
{
    struct sluice_nats_entry *e = &wheel->entries[index];
    e->state = ENTRY_ENDED;
    e->outcome = (uint8_t)outcome;
    e->next = NONE;
    if (wheel->ended_last == NONE) {
        wheel->ended_first = index;
    } else {
        wheel->entries[wheel->ended_last].next = index;
    }
    wheel->ended_last = index;
}

uint32_t sluice_nats_wheel_next_ended(struct sluice_nats_wheel *wheel,
                                      enum sluice_nats_outcome *outcome)
{
    uint32_t index = wheel->ended_first;
    if (index == NONE) {
        return NONE;
    }
    wheel->ended_first = wheel->entries[index].next;
    if (wheel->ended_first == NONE) {
        wheel->ended_last = NONE;
    }
    *outcome = wheel->entries[index].outcome;
    return index;
}

/* ---- Turns ---- */

void sluice_nats_wheel_start(struct sluice_nats_wheel *wheel, int64_t now_ms)
{
    wheel->turn = turn_at(now_ms);
}

int64_t sluice_nats_wheel_behind(const struct sluice_nats_wheel *wheel, int64_t now_ms)
{
    return turn_at(now_ms) - wheel->turn;
}

static void walk(struct sluice_nats_wheel *wheel, uint32_t bucket, int64_t until_ms,
                 sluice_nats_wheel_fn *fn, void *ctx)
{
    uint32_t next;
    for (uint32_t i = wheel->buckets[bucket]; i != NONE; i = next) {
        next = wheel->entries[i].next;
        if (wheel->entries[i].due_ms <= until_ms) {
            fn(ctx, i);
        }
    }
}

void sluice_nats_wheel_pass(struct sluice_nats_wheel *wheel, int64_t now_ms,
                            sluice_nats_wheel_fn *fn, void *ctx)
{
    int64_t turn = turn_at(now_ms);
    int64_t first = turn - wheel->turn >= SLUICE_NATS_WHEEL_TURNS
                        ? turn - SLUICE_NATS_WHEEL_TURNS + 1
                        : wheel->turn + 1;
    for (int64_t i = first; i <= turn; i++) {
        walk(wheel, bucket_at(i), now_ms, fn, ctx);
    }
    wheel->turn = turn;
}

void sluice_nats_wheel_empty(struct sluice_nats_wheel *wheel, sluice_nats_wheel_fn *fn, void *ctx)
{
    for (uint32_t i = 0; i < SLUICE_NATS_WHEEL_TURNS; i++) {
        walk(wheel, i, INT64_MAX, fn, ctx);
    }
}
