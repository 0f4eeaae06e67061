/* SPDX-License-Identifier: Apache-2.0 */
/* What curl_pool.c and curl_transfer.c share. */
#ifndef SLUICE_ADAPTER_CURL_POOL_STATE_H
#define SLUICE_ADAPTER_CURL_POOL_STATE_H

#include "adapter/curl_easy.h"
#include "adapter/curl_memory.h"
#include "adapter/curl_numbers.h"
#include "adapter/curl_pool.h"

enum {
    SLUICE_CURL_LIST_NONE,
    SLUICE_CURL_LIST_WAITING,
    SLUICE_CURL_LIST_RUNNING,
    SLUICE_CURL_LIST_ENDED /* the end is known, on_end is due; may still be in its shard */
};

struct sluice_curl_list {
    struct sluice_curl_call *first, *last;
    uint32_t count;
};

struct sluice_curl_pool {
    struct sluice_curl_loop shared;
    struct sluice_curl_options options;
    struct sluice_curl_profile profile;
    struct sluice_curl_shard **shards; /* NULL where there is none (any more) */
    uint32_t shards_max;
    struct sluice_curl_list waiting, running, ended;
    struct sluice_curl_numbers numbers;
    struct sluice_curl_handle *spare;
    uint32_t spare_count;
    uint32_t transfers;     /* in shards */
    uint32_t connecting;    /* of them, those that open a connection */
    uint32_t stall_watched; /* of them, those with a stall limit */
    uint64_t calls_total, resends_total;
    size_t answer_size; /* moving average */
    uv_timer_t soon;    /* ends calls at the loop's next turn */
    uv_timer_t tick;    /* limits of waiting and stalled calls, idle shards */
    uint64_t tick_ms;   /* its interval; 0: not running */
    int is_dispatching;
    int is_closing;
};

/* In curl_pool.c. */
void sluice_curl_pool_unlink(struct sluice_curl_pool *pool, struct sluice_curl_call *call);

/* In curl_transfer.c: callbacks of the easy handles (their data is the handle) and of the shards
 * (theirs the pool). */
size_t sluice_curl_pool_on_body(char *bytes, size_t size, size_t count, void *ctx);
int sluice_curl_pool_on_send(void *ctx, char *peer, char *local, int peer_port, int local_port);
void sluice_curl_pool_on_ended(void *ctx, CURL *easy, CURLcode code);
/* End a call whose is_end_set, running or not. libcurl must not be on the stack. */
void sluice_curl_pool_end(struct sluice_curl_pool *pool, struct sluice_curl_call *call);

#endif
