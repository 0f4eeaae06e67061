/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents in a server that speaks MongoDB's protocol: MongoDB itself, alone or as a replica set,
 * or FerretDB. Each document is replaced or inserted by its _id, a group's in one unordered bulk
 * per collection, with write concern majority and journal whatever the URI says. The documents of
 * one message are not one transaction: when one fails the others may stay, and are written again
 * under the same ids by the next delivery.
 *
 * replaceOne, not updateOne with $set: a field that the new version of a document lacks must be
 * gone, and both servers take the _id of an upserted replacement from the filter, so that the body
 * can be sent as it was given.
 *
 * Built as a module of its own and loaded by mongo_loader.h: a program without MongoDB does not pay
 * for libmongoc.
 */
#ifndef SLUICE_ADAPTER_MONGO_STORE_H
#define SLUICE_ADAPTER_MONGO_STORE_H

#include "core/alloc.h"
#include "port/mailbox.h"
#include "port/store.h"

struct sluice_mongo_config {
    const char *uri;                          /* mongodb:// or mongodb+srv://; a secret, copied */
    const char *database;                     /* copied */
    uint32_t timeout_ms;                      /* for one call; 0: 10 s */
    struct sluice_mailbox *mailbox;           /* outlives the store */
    const struct sluice_allocator *allocator; /* thread-safe; outlives the mailbox */
};

/* Does not connect; ping does. ERR_CONFIG (what is wrong with URI or name), ERR_NOMEM,
 * ERR_INTERNAL. No text shows the URI's credentials. */
sluice_rc sluice_mongo_store_create(const struct sluice_mongo_config *config,
                                    struct sluice_store **out, struct sluice_err *err);

/* What the module exports, under this name. */
#define SLUICE_MONGO_MODULE_ENTRY "sluice_mongo_module_v1"
struct sluice_mongo_module {
    const char *version; /* of the project; the program takes only its own */
    size_t config_size;
    sluice_rc (*create)(const struct sluice_mongo_config *, struct sluice_store **,
                        struct sluice_err *);
};
typedef const struct sluice_mongo_module *sluice_mongo_module_fn(void);

#endif
