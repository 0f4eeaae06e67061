/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many upserts go into one command: half as many after one that the server did not answer in
 * time, twice as many after enough that it did answer. A server that hangs on large commands is
 * survived by smaller ones; one that was away for a while gets large ones again soon. Pure.
 */
#ifndef SLUICE_ADAPTER_MONGO_BULK_H
#define SLUICE_ADAPTER_MONGO_BULK_H

#include <stdint.h>

/* FerretDB 1.24 takes 80 documents that exist already and never answers for 120; a larger command
 * gains MongoDB nothing that can be measured. */
#define SLUICE_MONGO_BULK_MAX 64u

struct sluice_mongo_bulk {
    uint32_t size;     /* at most so many */
    uint32_t answered; /* full commands since the size changed */
    uint32_t wanted;   /* so many let it grow; more each time that growing was a mistake */
    int has_grown;     /* since it shrank last */
};

void sluice_mongo_bulk_init(struct sluice_mongo_bulk *bulk);
/* A command of `count` upserts was answered, or was not in time. */
void sluice_mongo_bulk_answered(struct sluice_mongo_bulk *bulk, uint32_t count);
void sluice_mongo_bulk_timed_out(struct sluice_mongo_bulk *bulk, uint32_t count);

#endif
