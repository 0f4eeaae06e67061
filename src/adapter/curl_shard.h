/* SPDX-License-Identifier: Apache-2.0 */
/* One curl multi handle on the libuv loop, by socket action. Only for the other curl_ files: here
 * libcurl's types are at home.
 *
 * A shard carries at most SLUICE_CURL_SHARD_TRANSFERS: the cost of a transfer grows with their
 * number (measured at 10,000: 479 µs each on one multi handle, 67 µs on shards of 64). Shards of
 * 256 against 64, calls that wait 500 ms, on a machine that varies by 5 %: 47 for 44 µs each at
 * 1,000 (means of 11 runs), 49 and 49 at 2,000 (14), 52 and 51 at 6,000; each multi handle less
 * saves 43 KiB of tables, which at 2,000 is half a KiB a transfer. */
#ifndef SLUICE_ADAPTER_CURL_SHARD_H
#define SLUICE_ADAPTER_CURL_SHARD_H

#include "core/alloc.h"
#include "core/err.h"
#include <curl/curl.h>
#include <uv.h>

#define SLUICE_CURL_SHARD_TRANSFERS 256u

struct sluice_curl_socket;

/* What all shards of a pool share. */
struct sluice_curl_loop {
    uv_loop_t *loop;
    const struct sluice_allocator *allocator;
    struct sluice_curl_socket **by_fd; /* connections and resolver sockets by descriptor */
    size_t by_fd_size;
    uint32_t sockets_open;   /* connections */
    uint64_t connects_total; /* connections ever opened */
    uint32_t handles_open;   /* of libuv, their close callbacks still to come */
    int is_in_curl;          /* libcurl is on the stack: no transfer may be added or removed */
    /* A transfer ended; it is still in its shard. May add and remove transfers. */
    void (*on_ended)(void *ctx, CURL *easy, CURLcode code);
    void (*on_turn)(void *ctx);   /* behind each turn of a shard */
    void (*on_closed)(void *ctx); /* the last of handles_open is closed */
    void *ctx;
};

/* Numbers by which a shard is chosen. */
struct sluice_curl_load {
    uint16_t running;  /* transfers in the shard */
    uint16_t idle;     /* kept connections without one, as far as we know alive */
    uint16_t reserved; /* transfers that are expected to take one of them, not sent yet */
};

struct sluice_curl_shard {
    struct sluice_curl_loop *shared;
    CURLM *multi;
    uv_timer_t timer;
    struct sluice_curl_load load;
    uint64_t used_ms; /* uv_now() when a transfer was last added or removed */
};

/* NULL without memory. */
struct sluice_curl_shard *sluice_curl_shard_create(struct sluice_curl_loop *shared);
/* Closes its connections; there must be no transfer. Accepts NULL. */
void sluice_curl_shard_destroy(struct sluice_curl_shard *shard);

SLUICE_MUST_CHECK
int sluice_curl_shard_add(struct sluice_curl_shard *shard, CURL *easy); /* 0: it is in */
void sluice_curl_shard_remove(struct sluice_curl_shard *shard, CURL *easy);

/* Options that an easy handle needs once to work with shards. */
void sluice_curl_shard_prepare(struct sluice_curl_loop *shared, CURL *easy);

#endif
