/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/mongo_bulk.h"

#define WANTED_FIRST  8u
#define WANTED_FACTOR 8u
#define WANTED_MAX    4096u /* minutes under load: one command in so many may be lost to a trial */

void sluice_mongo_bulk_init(struct sluice_mongo_bulk *bulk)
{
    *bulk = (struct sluice_mongo_bulk){.size = SLUICE_MONGO_BULK_MAX, .wanted = WANTED_FIRST};
}

void sluice_mongo_bulk_answered(struct sluice_mongo_bulk *bulk, uint32_t count)
{
    if (count < bulk->size) {
        return; /* a smaller one proves nothing */
    }
    if (bulk->size == SLUICE_MONGO_BULK_MAX) {
        sluice_mongo_bulk_init(bulk);
    } else if (++bulk->answered >= bulk->wanted) {
        bulk->answered = 0;
        bulk->has_grown = 1;
        bulk->size *= 2;
        if (bulk->size > SLUICE_MONGO_BULK_MAX) {
            bulk->size = SLUICE_MONGO_BULK_MAX;
        }
    }
}

void sluice_mongo_bulk_timed_out(struct sluice_mongo_bulk *bulk, uint32_t count)
{
    uint32_t size = (count < bulk->size ? count : bulk->size) / 2;
    if (bulk->has_grown && bulk->wanted < WANTED_MAX) {
        bulk->wanted *= WANTED_FACTOR;
    }
    bulk->size = size > 0 ? size : 1;
    bulk->answered = 0;
    bulk->has_grown = 0;
}
