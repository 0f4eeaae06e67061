/* SPDX-License-Identifier: Apache-2.0 */
/* The bench's own NATS client: it fills the stream, watches the outputs, and is the raw program
 * (consume, publish, acknowledge) that the worker is compared with. Straight on cnats: it must not
 * share code with what it measures. */
#include "cli/bench.h"

#include "sluice/names.h"
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS   60000
#define RAW_BATCH 256

struct bench_load {
    natsConnection *conn;
    natsSubscription *outputs;
    jsCtx *js;
    pthread_mutex_t lock; /* of what follows; the outputs come on a thread of cnats */
    const struct bench_rig *rig;
    uint32_t warm, count, outputs_each, seen;
    struct bench_times at[2]; /* after the warm ones, after the measured */
    struct bench_threads threads[2];
    int64_t sent_ns[BENCH_MESSAGES_MAX], got_ns[BENCH_MESSAGES_MAX];
};

static int failed(const char *what, natsStatus s)
{
    fprintf(stderr, "sluice bench: %s: %s\n", what, natsStatus_GetText(s));
    return 1;
}

/* WORKER:bNNNNNNNN:OUTPUT:n */
static uint32_t message_of(natsMsg *msg, uint32_t outputs)
{
    const char *id = NULL;
    if (natsMsgHeader_Get(msg, "Nats-Msg-Id", &id) != NATS_OK || (id = strstr(id, ":b")) == NULL ||
        strtoul(strrchr(id, ':') + 1, NULL, 10) != outputs) {
        return BENCH_MESSAGES_MAX;
    }
    return (uint32_t)strtoul(id + 2, NULL, 10);
}

static struct bench_times times_now(const struct bench_rig *r, int64_t now_ns)
{
    return (struct bench_times){.wall_ns = now_ns,
                                .cpu_ns = bench_workers_cpu_ns(r),
                                .all_cpu_ns = bench_all_cpu_ns(r),
                                .idle_ns = bench_idle_ns()};
}

static void on_output(natsConnection *conn, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    struct bench_load *l = ctx;
    (void)conn;
    (void)sub;
    int64_t now = bench_now_ns();
    (void)pthread_mutex_lock(&l->lock);
    uint32_t i = message_of(msg, l->outputs_each);
    natsMsg_Destroy(msg);
    if (i < BENCH_MESSAGES_MAX && l->got_ns[i] == 0) {
        l->got_ns[i] = now;
        l->seen++;
        int end = l->seen == l->warm + l->count;
        if (l->seen == l->warm || end) {
            l->at[end] = times_now(l->rig, now);
            bench_threads_read(l->rig->workers[0].pid, &l->threads[end]);
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
}

int bench_load_open(const char *url, struct bench_load **out)
{
    struct bench_load *l = calloc(1, sizeof *l);
    jsOptions options;
    natsOptions *o = NULL;
    if (l == NULL) {
        return failed("load", NATS_NO_MEMORY);
    }
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)jsOptions_Init(&options);
    options.PublishAsync.MaxPending = 1024;
    options.PublishAsync.StallWait = WAIT_MS; /* 200 ms unless told, too short on a busy machine */
    natsStatus s = natsOptions_Create(&o);
    s = s == NATS_OK ? natsOptions_SetURL(o, url) : s;
    s = s == NATS_OK ? natsOptions_SetName(o, "bench-load") : s;
    s = s == NATS_OK ? natsConnection_Connect(&l->conn, o) : s;
    s = s == NATS_OK ? natsConnection_JetStream(&l->js, l->conn, &options) : s;
    s = s == NATS_OK ? natsConnection_Subscribe(&l->outputs, l->conn, SLUICE_DEFAULT_SUBJECT_READY,
                                                on_output, l)
                     : s;
    s = s == NATS_OK ? natsSubscription_SetPendingLimits(l->outputs, -1, -1) : s;
    natsOptions_Destroy(o);
    *out = l;
    return s == NATS_OK ? 0 : failed(url, s);
}

void bench_load_close(struct bench_load *l)
{
    if (l != NULL) {
        natsSubscription_Destroy(l->outputs);
        jsCtx_Destroy(l->js);
        natsConnection_Close(l->conn);
        natsConnection_Destroy(
            l->conn); /* its threads may still be ending: the rest is not freed */
    }
}

int bench_load_reset(struct bench_load *l)
{
    static const char *const streams[] = {SLUICE_DEFAULT_STREAM_REQUESTS,
                                          SLUICE_DEFAULT_STREAM_READY, SLUICE_DEFAULT_STREAM_DEAD,
                                          ("KV_" SLUICE_DEFAULT_JOURNAL_BUCKET)};
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        jsErrCode code = 0;
        natsStatus s = js_DeleteStream(l->js, streams[i], NULL, &code);
        if (s != NATS_OK && s != NATS_NOT_FOUND) {
            return failed(streams[i], s);
        }
    }
    return 0;
}

static size_t request_make(uint32_t i, char *out, size_t size)
{
    static const char tail[] = "\"]}";
    int n =
        snprintf(out, size + 256,
                 "{\"request_id\":\"b%08u\",\"entity_id\":\"warehouse-7\",\"user_id\":\"bench\","
                 "\"query\":\"#bench-%08u Why do copper shipments arrive late this month?\","
                 "\"attributes\":{\"region\":\"north\",\"tier\":\"gold\"},\"inputs\":[\"",
                 i, i);
    size_t len = (size_t)n;
    while (len + sizeof tail - 1 < size) {
        out[len] = "carrier report says delayed "[len % 28];
        len++;
    }
    memcpy(out + len, tail, sizeof tail);
    return len + sizeof tail - 1;
}

static natsStatus request_send(struct bench_load *l, uint32_t i, char *body, size_t size)
{
    natsMsg *msg = NULL;
    size_t len = request_make(i, body, size);
    natsStatus s = natsMsg_Create(&msg, SLUICE_DEFAULT_SUBJECT_REQUEST, NULL, body, (int)len);
    s = s == NATS_OK ? natsMsgHeader_Set(msg, "Content-Type", "application/json") : s;
    s = s == NATS_OK
            ? natsMsgHeader_Set(msg, SLUICE_HEADER_PROTO, "context.v1.ContextEnrichRequest")
            : s;
    l->sent_ns[i] = bench_now_ns();
    s = s == NATS_OK ? js_PublishMsgAsync(l->js, &msg, NULL) : s;
    natsMsg_Destroy(msg);
    return s;
}

int bench_load_fill(struct bench_load *l, uint32_t count, uint32_t rate, size_t size)
{
    char *body = malloc(size + 512);
    int64_t start = bench_now_ns();
    natsStatus s = body == NULL ? NATS_NO_MEMORY : NATS_OK;
    for (uint32_t i = 0; i < count && s == NATS_OK; i++) {
        int64_t due = rate == 0 ? 0 : start + (int64_t)i * 1000000000 / rate;
        while (due > bench_now_ns()) {
            (void)natsConnection_Flush(l->conn);
            int64_t left = due - bench_now_ns();
            if (left > 0) {
                (void)usleep((useconds_t)(left / 1000 + 1));
            }
        }
        s = request_send(l, i, body, size);
        if (rate > 0) {
            (void)natsConnection_Flush(l->conn); /* leaves at once, not when the flusher runs */
        }
    }
    jsPubOptions wait;
    (void)jsPubOptions_Init(&wait);
    wait.MaxWait = WAIT_MS;
    s = s == NATS_OK ? js_PublishAsyncComplete(l->js, &wait) : s;
    free(body);
    return s == NATS_OK ? 0 : failed("filling the stream", s);
}

void bench_load_watch(struct bench_load *l, const struct bench_rig *r,
                      const struct bench_cell *cell)
{
    (void)pthread_mutex_lock(&l->lock);
    l->rig = r;
    l->warm = cell->warm;
    l->count = cell->count;
    l->outputs_each = cell->outputs;
    l->seen = 0;
    memset(l->got_ns, 0, sizeof l->got_ns);
    memset(l->at, 0, sizeof l->at);
    (void)pthread_mutex_unlock(&l->lock);
}

uint32_t bench_load_seen(struct bench_load *l)
{
    (void)pthread_mutex_lock(&l->lock);
    uint32_t seen = l->seen;
    (void)pthread_mutex_unlock(&l->lock);
    return seen;
}

struct bench_times bench_load_times(struct bench_load *l)
{
    (void)pthread_mutex_lock(&l->lock);
    struct bench_times t = {.wall_ns = l->at[1].wall_ns - l->at[0].wall_ns,
                            .cpu_ns = l->at[1].cpu_ns - l->at[0].cpu_ns,
                            .all_cpu_ns = l->at[1].all_cpu_ns - l->at[0].all_cpu_ns,
                            .idle_ns = l->at[1].idle_ns - l->at[0].idle_ns,
                            .busiest_ns = bench_threads_most_ns(&l->threads[0], &l->threads[1])};
    (void)pthread_mutex_unlock(&l->lock);
    return t;
}

int64_t bench_load_took_ns(const struct bench_load *l, uint32_t i)
{
    return l->got_ns[i] == 0 ? -1 : l->got_ns[i] - l->sent_ns[i];
}

/* ---- The raw program ---- */

struct raw {
    natsConnection *conn;
    jsCtx *js;
    char acked[80]; /* where the confirmed acknowledgements are answered; "": they are not */
    _Atomic uint32_t acked_count;
};

static void on_acked(natsConnection *conn, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    struct raw *raw = ctx;
    (void)conn;
    (void)sub;
    natsMsg_Destroy(msg);
    (void)atomic_fetch_add(&raw->acked_count, 1);
}

/* The worker's other two round trips: the answer into the journal, the ACK answered. */
static natsStatus raw_rest(struct raw *raw, natsMsg *msg, uint32_t i)
{
    static const char answer[800];
    char subject[64];
    natsMsg *entry = NULL;
    (void)snprintf(subject, sizeof subject, "$KV.%s.raw.b%08u", SLUICE_DEFAULT_JOURNAL_BUCKET, i);
    natsStatus s = natsMsg_Create(&entry, subject, NULL, answer, (int)sizeof answer);
    s = s == NATS_OK ? js_PublishMsgAsync(raw->js, &entry, NULL) : s;
    natsMsg_Destroy(entry);
    return s == NATS_OK ? natsConnection_PublishRequestString(raw->conn, natsMsg_GetReply(msg),
                                                              raw->acked, "+ACK")
                        : s;
}

static natsStatus raw_one(struct raw *raw, natsMsg *msg, uint32_t i)
{
    char id[64];
    natsMsg *output = NULL;
    natsStatus s = natsMsg_Create(&output, SLUICE_DEFAULT_SUBJECT_READY, NULL, natsMsg_GetData(msg),
                                  natsMsg_GetDataLength(msg));
    (void)snprintf(id, sizeof id, "raw:b%08u:ready:1", i);
    s = s == NATS_OK ? natsMsgHeader_Set(output, "Nats-Msg-Id", id) : s;
    s = s == NATS_OK ? js_PublishMsgAsync(raw->js, &output, NULL) : s;
    natsMsg_Destroy(output);
    if (s == NATS_OK && raw->acked[0] != '\0') {
        return raw_rest(raw, msg, i);
    }
    return s == NATS_OK ? natsConnection_PublishString(raw->conn, natsMsg_GetReply(msg), "+ACK")
                        : s;
}

static natsStatus raw_await_acked(struct raw *raw, uint32_t count)
{
    int64_t end = bench_now_ns() + (int64_t)WAIT_MS * 1000000;
    while (atomic_load(&raw->acked_count) < count) {
        if (bench_now_ns() > end) {
            return NATS_TIMEOUT;
        }
        (void)usleep(500);
    }
    return NATS_OK;
}

int bench_raw_nats(struct bench_shared *shared, const char *url, uint32_t count, int is_whole)
{
    static struct raw raw; /* the process ends behind it */
    natsConnection *conn = NULL;
    natsSubscription *sub = NULL;
    natsSubscription *acked = NULL;
    char inbox[64];
    char next[160];
    char pull[64];
    (void)snprintf(inbox, sizeof inbox, "_INBOX.bench.raw.%ld", (long)getpid());
    (void)snprintf(next, sizeof next, "$JS.API.CONSUMER.MSG.NEXT.%s.%s",
                   SLUICE_DEFAULT_STREAM_REQUESTS, BENCH_CONSUMER);
    (void)snprintf(pull, sizeof pull, "{\"batch\":%d,\"expires\":30000000000}", RAW_BATCH);
    natsStatus s = natsConnection_ConnectTo(&conn, url);
    raw.conn = conn;
    s = s == NATS_OK ? natsConnection_JetStream(&raw.js, conn, NULL) : s;
    s = s == NATS_OK ? natsConnection_SubscribeSync(&sub, conn, inbox) : s;
    if (is_whole) {
        (void)snprintf(raw.acked, sizeof raw.acked, "%s.acked", inbox);
        s = s == NATS_OK ? natsConnection_Subscribe(&acked, conn, raw.acked, on_acked, &raw) : s;
    }
    int64_t before = bench_cpu_ns(getpid());
    for (uint32_t i = 0; i < count && s == NATS_OK; i++) {
        if (i % (RAW_BATCH / 2) == 0) { /* one pull is always ahead */
            (void)snprintf(pull, sizeof pull, "{\"batch\":%d,\"expires\":30000000000}",
                           i == 0 ? RAW_BATCH : RAW_BATCH / 2);
            s = natsConnection_PublishRequestString(conn, next, inbox, pull);
        }
        natsMsg *msg = NULL;
        s = s == NATS_OK ? natsSubscription_NextMsg(&msg, sub, WAIT_MS) : s;
        s = s == NATS_OK ? raw_one(&raw, msg, i) : s;
        natsMsg_Destroy(msg);
    }
    s = s == NATS_OK ? js_PublishAsyncComplete(raw.js, NULL) : s;
    s = s == NATS_OK ? natsConnection_Flush(conn) : s; /* the acknowledgements have left */
    s = s == NATS_OK && is_whole ? raw_await_acked(&raw, count) : s;
    atomic_store(&shared->raw_cpu_ns, (uint64_t)(bench_cpu_ns(getpid()) - before));
    atomic_store(&shared->raw_count, s == NATS_OK ? count : 0);
    return s == NATS_OK ? 0 : failed("raw program", s);
}
