/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a MongoDB server: libmongoc's pool with every wait bounded, and errors as people may
 * read them, with the hosts and without credentials. Of one thread at a time.
 */
#ifndef SLUICE_ADAPTER_MONGO_LINK_H
#define SLUICE_ADAPTER_MONGO_LINK_H

#include "core/alloc.h"
#include "core/engine.h"
#include "core/err.h"
#include <mongoc/mongoc.h>

#define SLUICE_MONGO_HOSTS_SIZE 160u

struct sluice_mongo_link {
    mongoc_client_pool_t *pool;
    char *secret;                        /* the password, to be kept out of every text; or NULL */
    char hosts[SLUICE_MONGO_HOSTS_SIZE]; /* "host:port", several with commas */
    uint32_t socket_timeout_ms;
    int32_t write_timeout_ms; /* for the write concern */
    const struct sluice_allocator *allocator;
};

/* Does not connect (but a mongodb+srv:// name is looked up). What the URI says about timeouts holds
 * where it is stricter than timeout_ms asks for: selecting a server takes at most half of it (and 5
 * s), connecting 3 s, waiting for an answer the other half. ERR_CONFIG, ERR_NOMEM. */
sluice_rc sluice_mongo_link_open(struct sluice_mongo_link *link, const char *uri,
                                 uint32_t timeout_ms, const struct sluice_allocator *allocator,
                                 struct sluice_err *err);
void sluice_mongo_link_close(struct sluice_mongo_link *link); /* accepts one that is all zero */

/* How a failed call ended, by libmongoc's error. UNREACHABLE: it was not sent.
 * UNKNOWN: it was, its answer is missing. */
enum sluice_fate sluice_mongo_link_fate(const bson_error_t *error);
/* `spent_ms` in the call: libmongoc has one text, "socket error or timeout", for both. */
sluice_rc sluice_mongo_link_rc(const struct sluice_mongo_link *link, const bson_error_t *error,
                               int64_t spent_ms);
/* 1: neither server nor connection would treat another call better. */
int sluice_mongo_link_is_down(const bson_error_t *error);

/* Write "mongodb HOSTS: REASON" into `out`: no credentials, no values of documents. */
void sluice_mongo_link_text(const struct sluice_mongo_link *link, const char *reason, char *out,
                            size_t size);

#endif
