/* SPDX-License-Identifier: Apache-2.0 */
/* One run of one cell: new streams, load, a new worker process, and what was seen. */
#include "cli/bench.h"
#include "port/clock.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_LIMIT_MS 120000
#define SETTLE_MS    300 /* until the idle figures are taken */
#define BOOT_RATE    100 /* a second: one message at a time */
#define PAGE_SIZE    (256u * 1024u)

static int fail(const struct bench_cell *cell, const char *why)
{
    fprintf(stderr, "\nsluice bench: %s: %s\n", cell->name,
            bench_is_interrupted() ? "interrupted" : why);
    return 1;
}

/* Until each worker's probe answers `path` with 200; milliseconds since `start`, below 0: one never
 * did. */
static double answered_ms(struct bench_rig *r, const char *path, int64_t start_ns)
{
    char body[4096];
    int64_t end = sluice_mono_ms() + 30000;
    for (uint32_t i = 0; i < r->workers_count; i++) {
        while (bench_get(r->probe_ports[i], path, body, sizeof body) != 200) {
            if (!bench_workers_run(r) || sluice_mono_ms() > end || bench_is_interrupted()) {
                return -1;
            }
            (void)usleep(500);
        }
    }
    return (double)(bench_now_ns() - start_ns) / 1e6;
}

uint32_t bench_messages(const struct bench_cell *cell)
{
    uint32_t behind = cell->kind == BENCH_THROUGHPUT ? cell->in_flight * cell->replicas : 0;
    return cell->warm + cell->count + behind;
}

/* Until all outputs are there. */
static int wait_for_outputs(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell)
{
    uint32_t all = bench_messages(cell);
    int64_t end = sluice_mono_ms() + RUN_LIMIT_MS;
    char why[96];
    while (bench_load_seen(l) < all) {
        if (!bench_workers_run(r)) {
            return fail(cell, "the measured process has ended");
        }
        if (bench_is_interrupted()) {
            return fail(cell, "interrupted");
        }
        if (sluice_mono_ms() > end) {
            (void)snprintf(why, sizeof why, "%u of %u outputs in %d s", bench_load_seen(l), all,
                           RUN_LIMIT_MS / 1000);
            return fail(cell, why);
        }
        child_pause_ms(2);
    }
    return 0;
}

static int run_boot(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell, size_t size)
{
    int64_t start = bench_now_ns();
    if (bench_worker_start(r, cell) != 0) {
        return 1;
    }
    double probe = answered_ms(r, "/livez", start);
    double ready = answered_ms(r, "/readyz", start);
    child_pause_ms(SETTLE_MS);
    long rss = bench_workers_kib(r, "VmRSS");
    if (probe < 0 || ready < 0 || rss < 0) {
        return fail(cell, "the worker did not get ready");
    }
    bench_add(cell, BENCH_PROBE_MS, probe);
    bench_add(cell, BENCH_READY_MS, ready);
    bench_add(cell, BENCH_RSS_IDLE_KIB, (double)rss);
    bench_load_watch(l, r, cell);
    int code = bench_load_fill(l, cell->count, BOOT_RATE, size);
    if (code == 0 && (code = wait_for_outputs(r, l, cell)) == 0) {
        bench_add(cell, BENCH_RSS_WARM_KIB, (double)bench_workers_kib(r, "VmRSS"));
    }
    return code;
}

/* What the worker's own connections sent and received, as the server counted. */
static void nats_traffic(struct bench_rig *r, double *messages, double *bytes)
{
    static char page[PAGE_SIZE];
    *messages = *bytes = 0;
    if (bench_get(r->monitor_port, "/connz?limit=64", page, sizeof page) != 200) {
        return;
    }
    const char *body = strstr(page, "\r\n\r\n");
    cJSON *json = cJSON_Parse(body == NULL ? "" : body);
    const cJSON *conn;
    cJSON_ArrayForEach(conn, cJSON_GetObjectItemCaseSensitive(json, "connections"))
    {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(conn, "name"));
        if (name != NULL && strcmp(name, "bench-load") == 0) {
            continue;
        }
        static const char *const counts[] = {"in_msgs", "out_msgs", "in_bytes", "out_bytes"};
        for (int i = 0; i < 4; i++) {
            const cJSON *n = cJSON_GetObjectItemCaseSensitive(conn, counts[i]);
            *(i < 2 ? messages : bytes) += cJSON_IsNumber(n) ? n->valuedouble : 0;
        }
    }
    cJSON_Delete(json);
}

static void take_figures(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell)
{
    struct bench_times t = bench_load_times(l);
    double messages = 0;
    double bytes = 0;
    if (t.cpu_ns > 0 && t.wall_ns > 0) {
        double rate = (double)cell->count * 1e9 / (double)t.wall_ns;
        double slots = (double)cell->in_flight * cell->replicas;
        bench_add(cell, BENCH_CPU_US, (double)t.cpu_ns / 1e3 / cell->count);
        bench_add(cell, BENCH_RATE, rate);
        bench_add(cell, BENCH_ALL_CPU, 100.0 * (double)t.all_cpu_ns / (double)t.wall_ns);
        bench_add(cell, BENCH_IDLE, 100.0 * (double)t.idle_ns / (double)t.wall_ns);
        bench_add(cell, BENCH_BUSIEST, 100.0 * (double)t.busiest_ns / (double)t.wall_ns);
        if (cell->latency_us > 0 && cell->kind == BENCH_THROUGHPUT) {
            bench_add(cell, BENCH_OF_MOST, 100.0 * rate * cell->latency_us / 1e6 / slots);
        }
    }
    double all = bench_messages(cell);
    nats_traffic(r, &messages, &bytes);
    bench_add(cell, BENCH_NATS_MSGS, messages / all);
    bench_add(cell, BENCH_NATS_BYTES, bytes / all);
    bench_add(cell, BENCH_RSS_PEAK_KIB, (double)bench_workers_kib(r, "VmHWM"));
    bench_add(cell, BENCH_CONNECTIONS, (double)atomic_load(&r->shared->connections));
    bench_add(cell, BENCH_LLM_BYTES,
              (double)(atomic_load(&r->shared->bytes_in) + atomic_load(&r->shared->bytes_out)) /
                  all);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What the worker and the servers added to the LLM's own time. */
static void take_latency(struct bench_load *l, struct bench_cell *cell)
{
    static double added[BENCH_MESSAGES_MAX];
    uint32_t n = 0;
    for (uint32_t i = cell->warm; i < cell->warm + cell->count; i++) {
        int64_t took = bench_load_took_ns(l, i);
        uint32_t delay = bench_delay_us(i, cell->latency_us, cell->jitter_us);
        if (took >= 0) {
            added[n++] = (double)took / 1e6 - delay / 1e3;
        }
    }
    if (n > 0) {
        qsort(added, n, sizeof *added, compare_double);
        bench_add(cell, BENCH_ADDED_P50_MS, added[n / 2]);
        bench_add(cell, BENCH_ADDED_P99_MS, added[(uint64_t)n * 99 / 100]);
    }
}

static int run_pipeline(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell,
                        size_t size)
{
    uint32_t all = bench_messages(cell);
    int is_paced = cell->kind == BENCH_LATENCY;
    int code = 0;
    if (!is_paced) {
        code = bench_load_fill(l, all, 0, size);
    }
    if (code == 0) {
        code = bench_worker_start(r, cell);
    }
    if (code != 0) {
        return code;
    }
    bench_load_watch(l, r, cell);
    if (answered_ms(r, "/readyz", 0) < 0) {
        return fail(cell, "the worker did not get ready");
    }
    bench_workers_forget_peak(r); /* of the boot */
    if (is_paced && (code = bench_load_fill(l, all, cell->rate, size)) != 0) {
        return code;
    }
    if ((code = wait_for_outputs(r, l, cell)) == 0) {
        take_figures(r, l, cell);
        if (is_paced) {
            take_latency(l, cell);
        }
    }
    return code;
}

static int run_raw(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell, size_t size)
{
    int is_curl = cell->kind == BENCH_RAW_CURL;
    if (!is_curl && bench_load_fill(l, cell->count, 0, size) != 0) {
        return 1;
    }
    atomic_store(&r->shared->raw_count, 0);
    int64_t start = bench_now_ns();
    if (bench_role_start(r,
                         is_curl          ? "raw-curl"
                         : cell->is_whole ? "raw-nats-whole"
                                          : "raw-nats",
                         cell) != 0) {
        return 1;
    }
    while (bench_workers_run(r) && bench_now_ns() - start < 60000000000) {
        child_pause_ms(1);
    }
    double wall = (double)(bench_now_ns() - start);
    uint64_t calls = atomic_load(&r->shared->raw_count);
    if (calls < cell->count) {
        return fail(cell, "the raw program failed");
    }
    bench_add(cell, BENCH_CPU_US,
              (double)atomic_load(&r->shared->raw_cpu_ns) / 1e3 / (double)calls);
    bench_add(cell, BENCH_RATE, (double)calls * 1e9 / wall);
    if (is_curl && cell->in_flight > 1) {
        bench_add(cell, BENCH_KIB_EACH, (double)atomic_load(&r->shared->raw_kib) / cell->in_flight);
    }
    return 0;
}

/* What the round trips alone take, at the pace of the worker's cells. */
static int run_chain(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell,
                     size_t size)
{
    atomic_store(&r->shared->raw_count, 0);
    int code =
        bench_role_start(r, cell->store == BENCH_SQLITE ? "raw-chain-sqlite" : "raw-chain", cell);
    while (code == 0 && atomic_load(&r->shared->raw_count) == 0) {
        if (!bench_workers_run(r)) {
            return fail(cell, "the raw program failed");
        }
        child_pause_ms(1);
    }
    bench_load_watch(l, r, cell);
    if (code == 0) {
        code = bench_load_fill(l, bench_messages(cell), cell->rate, size);
    }
    if (code == 0 && (code = wait_for_outputs(r, l, cell)) == 0) {
        take_latency(l, cell);
    }
    return code;
}

int bench_run_cell(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell, size_t size)
{
    atomic_store(&r->shared->latency_us, cell->latency_us);
    atomic_store(&r->shared->jitter_us, cell->jitter_us);
    atomic_store(&r->shared->calls, 0);
    atomic_store(&r->shared->connections, 0);
    atomic_store(&r->shared->bytes_in, 0);
    atomic_store(&r->shared->bytes_out, 0);
    int is_raw = cell->kind == BENCH_RAW_CURL || cell->kind == BENCH_RAW_NATS;
    int code = cell->kind == BENCH_RAW_CURL ? 0 : bench_load_reset(l);
    if (code == 0 && cell->kind != BENCH_RAW_CURL) {
        code = bench_provision(r, cell);
    }
    if (code == 0) {
        code = is_raw                          ? run_raw(r, l, cell, size)
               : cell->kind == BENCH_RAW_CHAIN ? run_chain(r, l, cell, size)
               : cell->kind == BENCH_BOOT      ? run_boot(r, l, cell, size)
                                               : run_pipeline(r, l, cell, size);
    }
    bench_workers_stop(r);
    return code;
}
