/* SPDX-License-Identifier: Apache-2.0 */
/* The pulls of a source: each on an inbox of its own, so that a message says which pull it is of.
 * For nats_source.c alone. */
#ifndef SLUICE_ADAPTER_NATS_PULLS_H
#define SLUICE_ADAPTER_NATS_PULLS_H

#include "adapter/nats_intake.h"

#define SLUICE_NATS_SLOTS_MAX                                                                      \
    64u /* inboxes subscribed at once: 4 in use, the rest abandoned and not yet expired */

enum sluice_nats_slot_state {
    SLUICE_NATS_SLOT_UNUSED,
    SLUICE_NATS_SLOT_FREE,
    SLUICE_NATS_SLOT_OPEN,
    SLUICE_NATS_SLOT_ABANDONED
};

/* One inbox. It serves one pull at a time, so a message on it is that pull's. */
struct sluice_nats_slot {
    enum sluice_nats_slot_state state;
    uint32_t number; /* in the inbox's subject; never used again */
    uint32_t pull;
    uint32_t missing; /* messages of the pull that have not come */
    int64_t until_ms; /* nothing can come any more */
    struct sluice_nats_tap *tap;
};

struct sluice_nats_pulls {
    struct sluice_nats_intake *intake;
    struct sluice_nats_slot slots[SLUICE_NATS_SLOTS_MAX];
    uint32_t slots_made, slots_bad; /* numbers given out; given up on this connection */
    uint32_t releases_missing;      /* stop: subscriptions that still drain */
    int is_stopping;
};

/* All: loop thread. */

/* See port/source.h. */
void sluice_nats_pulls_open(struct sluice_nats_pulls *pulls, const struct sluice_fx_pull *pull);
void sluice_nats_pulls_abandon(struct sluice_nats_pulls *pulls, uint32_t pull);
void sluice_nats_pulls_stop(struct sluice_nats_pulls *pulls);

/* Give back the inboxes on which nothing can come any more. */
void sluice_nats_pulls_tick(struct sluice_nats_pulls *pulls, int64_t now_ms);

/* Is a pull parked, or on its way? */
int sluice_nats_pulls_are_open(const struct sluice_nats_pulls *pulls);

/* The connection is gone, and with it all inboxes. */
void sluice_nats_pulls_forget(struct sluice_nats_pulls *pulls);
/* A stop that waits for them has ended. */
void sluice_nats_pulls_end_stop(struct sluice_nats_pulls *pulls);

#endif
