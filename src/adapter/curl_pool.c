/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/curl_pool.h"

#include "adapter/curl_pool_state.h"

enum {
    TRANSFERS_MAX = 65536,
    QUEUE_MAX = 65536,         /* by default */
    CONNECTING_MAX = 64,       /* by default: a cold start opens connections in waves, so that
                                  neither resolver threads nor a server's backlog run over */
    CONNECT_TIMEOUT_MS = 3000, /* by default */
    SHARD_IDLE_MS = 30000,     /* an unused shard and its connections are closed after this */
    HANDLES_IDLE_MAX = 256,    /* easy handles kept while nothing needs them */
    TICK_WAIT_MS = 100,        /* how exact the limits of waiting calls are, */
    TICK_STALL_MS = 500,       /* of stalled ones, */
    TICK_IDLE_MS = 5000,       /* and of idle shards */
    BUFFER_SIZE_MIN = 1024,    /* of an answer's receive buffer: 10,000 of them wait at once */
    BUFFER_SIZE_MAX = 16384
};

/* ---- Lists */

static struct sluice_curl_list *list_of(struct sluice_curl_pool *pool, uint8_t list)
{
    switch (list) {
    case SLUICE_CURL_LIST_WAITING:
        return &pool->waiting;
    case SLUICE_CURL_LIST_RUNNING:
        return &pool->running;
    default:
        return &pool->ended;
    }
}

void sluice_curl_pool_unlink(struct sluice_curl_pool *pool, struct sluice_curl_call *call)
{
    if (call->list == SLUICE_CURL_LIST_NONE) {
        return;
    }
    struct sluice_curl_list *list = list_of(pool, call->list);
    *(call->previous == NULL ? &list->first : &call->previous->next) = call->next;
    *(call->next == NULL ? &list->last : &call->next->previous) = call->previous;
    list->count--;
    call->previous = NULL;
    call->next = NULL;
    call->list = SLUICE_CURL_LIST_NONE;
}

static void move_call(struct sluice_curl_pool *pool, struct sluice_curl_call *call, uint8_t to)
{
    sluice_curl_pool_unlink(pool, call);
    struct sluice_curl_list *list = list_of(pool, to);
    call->previous = list->last;
    *(list->last == NULL ? &list->first : &list->last->next) = call;
    list->last = call;
    list->count++;
    call->list = to;
}

/* ---- Ending calls at the loop's next turn */

static void dispatch(struct sluice_curl_pool *pool);

static void end_all_due(struct sluice_curl_pool *pool)
{
    while (pool->ended.first != NULL) {
        sluice_curl_pool_end(pool, pool->ended.first);
    }
}

static void on_soon(uv_timer_t *timer)
{
    struct sluice_curl_pool *pool = timer->data;
    end_all_due(pool);
    dispatch(pool);
}

static void end_soon(struct sluice_curl_pool *pool, struct sluice_curl_call *call,
                     enum sluice_curl_end end)
{
    if (call->list != SLUICE_CURL_LIST_ENDED) {
        call->end = (uint8_t)end;
        call->is_end_set = 1;
        move_call(pool, call, SLUICE_CURL_LIST_ENDED);
        (void)uv_timer_start(&pool->soon, on_soon, 0, 0);
    }
}

/* ---- Limits in time */

static void handles_trim(struct sluice_curl_pool *pool, uint32_t keep)
{
    while (pool->spare_count > keep) {
        struct sluice_curl_handle *handle = pool->spare;
        pool->spare = handle->next;
        pool->spare_count--;
        sluice_curl_handle_destroy(pool->options.allocator, handle);
    }
}

static void end_overdue(struct sluice_curl_pool *pool, uint64_t now)
{
    struct sluice_curl_call *next;
    for (struct sluice_curl_call *call = pool->waiting.first; call != NULL; call = next) {
        next = call->next;
        if (now >= call->deadline_ms) {
            end_soon(pool, call, SLUICE_CURL_TIMEOUT);
        }
    }
    if (pool->stall_watched == 0) {
        return;
    }
    for (struct sluice_curl_call *call = pool->running.first; call != NULL; call = next) {
        next = call->next;
        if (call->stall_ms != 0 && call->first_byte_ns != 0 &&
            now - call->last_byte_ms >= call->stall_ms) {
            end_soon(pool, call, SLUICE_CURL_STALLED);
        }
    }
}

/* Returns how many shards are left. */
static uint32_t close_idle_shards(struct sluice_curl_pool *pool, uint64_t now)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < pool->shards_max; i++) {
        struct sluice_curl_shard *shard = pool->shards[i];
        if (shard != NULL && shard->load.running == 0 && now - shard->used_ms >= SHARD_IDLE_MS) {
            pool->shards[i] = NULL;
            sluice_curl_shard_destroy(shard);
        }
        left += pool->shards[i] != NULL;
    }
    return left;
}

static void on_tick(uv_timer_t *timer);

/* Run the tick as often as what there is to watch needs it, and not at all for nothing. */
static void tick_set(struct sluice_curl_pool *pool, int is_needed)
{
    uint64_t ms = is_needed ? TICK_IDLE_MS : 0;
    if (pool->waiting.count != 0) {
        ms = TICK_WAIT_MS;
    } else if (pool->stall_watched != 0) {
        ms = TICK_STALL_MS;
    }
    if (ms == pool->tick_ms) {
        return;
    }
    pool->tick_ms = ms;
    if (ms == 0) {
        (void)uv_timer_stop(&pool->tick);
    } else {
        (void)uv_timer_start(&pool->tick, on_tick, ms, ms);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct sluice_curl_pool *pool = timer->data;
    uint64_t now = uv_now(pool->options.loop);
    end_overdue(pool, now);
    uint32_t shards = close_idle_shards(pool, now);
    if (pool->transfers == 0) {
        handles_trim(pool, shards == 0 ? 0 : HANDLES_IDLE_MAX);
    }
    tick_set(pool, shards != 0);
}

/* ---- Giving calls their slots */

/* A shard with a kept connection for the call, so that none need be opened; else one with room, the
 * first ones first so that the last ones can close. NULL: none now. */
static struct sluice_curl_shard *shard_choose(struct sluice_curl_pool *pool, int *is_reuse)
{
    struct sluice_curl_shard *with_room = NULL;
    uint32_t unused = pool->shards_max;
    for (uint32_t i = 0; i < pool->shards_max; i++) {
        struct sluice_curl_shard *shard = pool->shards[i];
        if (shard == NULL) {
            unused = unused == pool->shards_max ? i : unused;
            continue;
        }
        if (shard->load.running >= SLUICE_CURL_SHARD_TRANSFERS) {
            continue;
        }
        if (shard->load.idle > shard->load.reserved) {
            *is_reuse = 1;
            return shard;
        }
        with_room = with_room == NULL ? shard : with_room;
    }
    *is_reuse = 0;
    if (pool->connecting >= pool->options.connecting_max) {
        return NULL;
    }
    if (with_room == NULL && unused < pool->shards_max) {
        with_room = sluice_curl_shard_create(&pool->shared);
        pool->shards[unused] = with_room;
    }
    return with_room;
}

/* The receive buffer for the next answer: a sixteenth of what answers usually take, so that the
 * many that wait cost little and long ones few reads. */
static long buffer_size(const struct sluice_curl_pool *pool)
{
    long size = BUFFER_SIZE_MIN;
    while (size < BUFFER_SIZE_MAX && (size_t)size * 16 < pool->answer_size) {
        size *= 2;
    }
    return size;
}

static struct sluice_curl_handle *handle_take(struct sluice_curl_pool *pool)
{
    struct sluice_curl_handle *handle = pool->spare;
    if (handle == NULL) {
        handle = sluice_curl_handle_create(pool->options.allocator, &pool->profile, pool);
        if (handle != NULL) {
            sluice_curl_shard_prepare(&pool->shared, handle->easy);
        }
        return handle;
    }
    pool->spare = handle->next;
    pool->spare_count--;
    return handle;
}

static void run_call(struct sluice_curl_pool *pool, struct sluice_curl_call *call,
                     struct sluice_curl_shard *shard, int is_reuse)
{
    uint64_t now = uv_now(pool->options.loop);
    call->failures_before = sluice_curl_memory_failures();
    struct sluice_curl_handle *handle = handle_take(pool);
    if (handle == NULL) {
        end_soon(pool, call, SLUICE_CURL_NOMEM);
        return;
    }
    handle->call = call;
    sluice_curl_handle_buffer(handle, buffer_size(pool));
    long left = now < call->deadline_ms ? (long)(call->deadline_ms - now) : 1;
    (void)curl_easy_setopt(handle->easy, CURLOPT_TIMEOUT_MS, left);
    (void)curl_easy_setopt(handle->easy, CURLOPT_MAXFILESIZE_LARGE,
                           (curl_off_t)call->answer_size_max);
    enum sluice_curl_end end = SLUICE_CURL_REFUSED;
    if (call->ops->prepare(call, handle->easy) == 0) {
        end = SLUICE_CURL_NOMEM;
        if (sluice_curl_shard_add(shard, handle->easy) == 0) {
            call->handle = handle;
            call->shard = shard;
            call->is_reserved = is_reuse != 0;
            call->is_connecting = !is_reuse;
            shard->load.reserved = (uint16_t)(shard->load.reserved + call->is_reserved);
            pool->connecting += call->is_connecting;
            pool->transfers++;
            pool->stall_watched += call->stall_ms != 0;
            move_call(pool, call, SLUICE_CURL_LIST_RUNNING);
            return;
        }
    }
    sluice_curl_handle_reset(handle);
    handle->next = pool->spare;
    pool->spare = handle;
    pool->spare_count++;
    end_soon(pool, call, end);
}

/* Give slots to waiting calls, first come, first served, as far as there are any. */
static void dispatch(struct sluice_curl_pool *pool)
{
    if (pool->is_dispatching || pool->is_closing || pool->shared.is_in_curl) {
        return;
    }
    pool->is_dispatching = 1; /* prepare() may start further calls */
    while (pool->waiting.first != NULL && pool->transfers < pool->options.transfers_max) {
        int is_reuse;
        struct sluice_curl_shard *shard = shard_choose(pool, &is_reuse);
        if (shard == NULL && pool->transfers != 0) {
            break; /* the end of a transfer comes back here */
        }
        struct sluice_curl_call *call = pool->waiting.first;
        if (shard == NULL) {
            end_soon(pool, call, SLUICE_CURL_NOMEM);
        } else {
            run_call(pool, call, shard, is_reuse);
        }
    }
    pool->is_dispatching = 0;
    tick_set(pool, pool->tick_ms != 0 || pool->transfers != 0);
}

static void on_turn(void *ctx)
{
    struct sluice_curl_pool *pool = ctx;
    if (pool->waiting.first != NULL) {
        dispatch(pool);
    }
}

/* ---- Public */

uint64_t sluice_curl_pool_start(struct sluice_curl_pool *pool, struct sluice_curl_call *call)
{
    uint64_t number = sluice_curl_numbers_take(&pool->numbers, call, &call->slot);
    if (number == 0) {
        return 0;
    }
    pool->calls_total++;
    call->started_ns = uv_hrtime();
    call->deadline_ms = uv_now(pool->options.loop) + call->timeout_ms;
    if (pool->is_closing) {
        end_soon(pool, call, SLUICE_CURL_CANCELLED);
    } else if (pool->waiting.count >= pool->options.queue_max) {
        end_soon(pool, call, SLUICE_CURL_UNREACHED);
    } else {
        move_call(pool, call, SLUICE_CURL_LIST_WAITING);
        dispatch(pool);
    }
    return number;
}

void sluice_curl_pool_cancel(struct sluice_curl_pool *pool, uint64_t number)
{
    struct sluice_curl_call *call = sluice_curl_numbers_find(&pool->numbers, number);
    if (call != NULL) {
        end_soon(pool, call, SLUICE_CURL_CANCELLED);
    }
}

struct sluice_curl_stats sluice_curl_pool_stats(const struct sluice_curl_pool *pool)
{
    struct sluice_curl_stats stats = {
        .running = pool->transfers,
        .queued = pool->waiting.count,
        .connections = pool->shared.sockets_open,
        .calls_total = pool->calls_total,
        .connects_total = pool->shared.connects_total,
        .resends_total = pool->resends_total,
    };
    for (uint32_t i = 0; i < pool->shards_max; i++) {
        stats.shards += pool->shards[i] != NULL;
    }
    return stats;
}

uint32_t sluice_curl_pool_open_count(const struct sluice_curl_pool *pool)
{
    return pool->waiting.count + pool->running.count + pool->ended.count;
}

/* ---- Life */

static void pool_free(void *ctx)
{
    struct sluice_curl_pool *pool = ctx;
    const struct sluice_allocator *allocator = pool->options.allocator;
    if (!pool->is_closing) {
        return; /* only the handles of the moment */
    }
    sluice_mem_free(allocator, pool->shared.by_fd);
    sluice_mem_free(allocator, pool);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct sluice_curl_pool *pool = handle->data;
    pool->shared.handles_open--;
    if (pool->shared.handles_open == 0) {
        pool_free(pool);
    }
}

void sluice_curl_pool_destroy(struct sluice_curl_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pool->is_closing = 1;
    while (pool->running.first != NULL) {
        end_soon(pool, pool->running.first, SLUICE_CURL_CANCELLED);
    }
    while (pool->waiting.first != NULL) {
        end_soon(pool, pool->waiting.first, SLUICE_CURL_CANCELLED);
    }
    end_all_due(pool);
    for (uint32_t i = 0; i < pool->shards_max && pool->shards != NULL; i++) {
        sluice_curl_shard_destroy(pool->shards[i]);
    }
    sluice_mem_free(pool->options.allocator, pool->shards);
    handles_trim(pool, 0);
    if (pool->profile.share != NULL) {
        (void)curl_share_cleanup(pool->profile.share);
    }
    sluice_curl_numbers_fini(&pool->numbers);
    uv_close((uv_handle_t *)&pool->soon, on_timer_closed);
    uv_close((uv_handle_t *)&pool->tick, on_timer_closed);
    curl_global_cleanup();
}

static sluice_rc check_options(const struct sluice_curl_options *o, struct sluice_err *err)
{
    if (o->transfers_max < 1 || o->transfers_max > TRANSFERS_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "http: transfers at once: %u is not 1…%d",
                              (unsigned)o->transfers_max, TRANSFERS_MAX);
    }
    curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    if ((info->features & CURL_VERSION_SSL) == 0) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "http: libcurl %s knows no TLS",
                              info->version);
    }
    return SLUICE_OK;
}

sluice_rc sluice_curl_pool_create(const struct sluice_curl_options *options,
                                  struct sluice_curl_pool **out, struct sluice_err *err)
{
    sluice_rc rc = check_options(options, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct sluice_curl_pool *pool = sluice_mem_alloc(options->allocator, 1, sizeof *pool);
    if (pool == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "http: out of memory");
    }
    if (sluice_curl_memory_init() != 0) {
        sluice_mem_free(options->allocator, pool);
        return sluice_err_set(err, SLUICE_ERR_INTERNAL, "http: libcurl cannot be initialised");
    }
    pool->options = *options;
    pool->options.connecting_max =
        options->connecting_max == 0 ? CONNECTING_MAX : options->connecting_max;
    pool->options.queue_max = options->queue_max == 0 ? QUEUE_MAX : options->queue_max;
    pool->numbers.allocator = options->allocator;
    pool->shared = (struct sluice_curl_loop){.loop = options->loop,
                                             .allocator = options->allocator,
                                             .handles_open = 2,
                                             .on_ended = sluice_curl_pool_on_ended,
                                             .on_turn = on_turn,
                                             .on_closed = pool_free,
                                             .ctx = pool};
    (void)uv_timer_init(options->loop, &pool->soon);
    (void)uv_timer_init(options->loop, &pool->tick);
    uv_unref((uv_handle_t *)&pool->tick);
    pool->soon.data = pool;
    pool->tick.data = pool;
    pool->shards_max =
        (options->transfers_max + SLUICE_CURL_SHARD_TRANSFERS - 1) / SLUICE_CURL_SHARD_TRANSFERS;
    pool->shards = sluice_mem_alloc(options->allocator, pool->shards_max, sizeof *pool->shards);
    pool->profile = (struct sluice_curl_profile){
        .share = curl_share_init(),
        .connect_timeout_ms = options->connect_timeout_ms == 0 ? CONNECT_TIMEOUT_MS
                                                               : (long)options->connect_timeout_ms,
        .ca_file = options->ca_file,
        .user_agent = options->user_agent,
        .on_body = sluice_curl_pool_on_body,
        .on_send = sluice_curl_pool_on_send,
    };
    if (pool->shards == NULL || pool->profile.share == NULL) {
        sluice_curl_pool_destroy(pool);
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "http: out of memory");
    }
    (void)curl_share_setopt(pool->profile.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    (void)curl_share_setopt(pool->profile.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    *out = pool;
    return SLUICE_OK;
}
