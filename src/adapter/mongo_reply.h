/* SPDX-License-Identifier: Apache-2.0 */
/* What a server's reply to a bulk of upserts proves about each of them. Pure; of libbson alone. */
#ifndef SLUICE_ADAPTER_MONGO_REPLY_H
#define SLUICE_ADAPTER_MONGO_REPLY_H

#include <bson/bson.h>
#include <stdint.h>

enum sluice_mongo_state {
    SLUICE_MONGO_OPEN, /* the reply does not say */
    SLUICE_MONGO_STORED,
    SLUICE_MONGO_FAILED
};

struct sluice_mongo_outcome {
    enum sluice_mongo_state state;
    int32_t code;     /* FAILED: the server's */
    const char *text; /* FAILED: the server's, inside the reply */
};

enum sluice_mongo_account {
    SLUICE_MONGO_COMPLETE,    /* each is STORED or FAILED */
    SLUICE_MONGO_INCOMPLETE,  /* numbers and positions do not add up, or there are none: all OPEN */
    SLUICE_MONGO_UNCONFIRMED, /* a write concern was not met: what was written is not durable yet */
};

/* Read the reply to `count` upserts by _id, each of which matches or inserts one document at most:
 * if matched + upserted + errors is exactly the number of upserts, those without an error are
 * stored. Otherwise no position is believed, not even that of an error: servers exist that number
 * them wrongly (FerretDB 1.24 counts `upserted` from 0 whatever the position, and says 0 for every
 * error). *text: why it is UNCONFIRMED, else NULL. */
enum sluice_mongo_account sluice_mongo_reply_read(const bson_t *reply, uint32_t count,
                                                  struct sluice_mongo_outcome *outcomes,
                                                  const char **text);

#endif
