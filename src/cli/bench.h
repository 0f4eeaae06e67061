/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `sluice bench` share: servers and processes (rig), load (nats), the lean LLM
 * responder, and the figures. */
#ifndef SLUICE_CLI_BENCH_H
#define SLUICE_CLI_BENCH_H

#include "cli/children.h"
#include <curl/curl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_CONSUMER     "context-enricher"
#define BENCH_MESSAGES_MAX 262144u
#define BENCH_RUNS_MAX     32
#define BENCH_URL_SIZE     64
#define BENCH_REPLICAS_MAX 4
#define BENCH_THREADS_MAX  64u

/* One page that bench and its children map; it needs no message between them. */
struct bench_shared {
    _Atomic uint32_t llm_port;
    _Atomic uint32_t latency_us, jitter_us; /* of the responder; may change while it runs */
    _Atomic uint64_t calls, connections, bytes_in, bytes_out;
    /* Of a raw program, when it is done; raw_count of the chain: 1 when it listens. */
    _Atomic uint64_t raw_cpu_ns, raw_count, raw_kib;
};

enum bench_store { BENCH_NULL, BENCH_SQLITE, BENCH_MONGODB, BENCH_STORES };

struct bench_rig {
    char self[PATH_MAX], plugin[PATH_MAX + 64], prompts[PATH_MAX + 96], sink_path[PATH_MAX + 96];
    char fan[PATH_MAX + 96]; /* a worker with a choice of how much it publishes */
    char scratch[64], shared_path[96], nats_url[BENCH_URL_SIZE], llm_url[BENCH_URL_SIZE];
    char mongodb_uri[BENCH_URL_SIZE]; /* "": there is no sink */
    unsigned nats_port, monitor_port, probe_ports[BENCH_REPLICAS_MAX], runs;
    uint32_t workers_count;
    struct child nats, llm, sink, workers[BENCH_REPLICAS_MAX]; /* or a raw program, the first */
    struct bench_shared *shared;
};

/* One figure over the runs. */
struct bench_series {
    double values[BENCH_RUNS_MAX];
    int count;
};

enum bench_figure {
    BENCH_CPU_US,
    BENCH_CPU_LESS_US, /* than with both guarantees, in the same run */
    BENCH_RATE,
    BENCH_OF_MOST,
    BENCH_ALL_CPU,
    BENCH_IDLE,
    BENCH_BUSIEST,
    BENCH_ADDED_P50_MS,
    BENCH_ADDED_P99_MS,
    BENCH_RSS_IDLE_KIB,
    BENCH_RSS_WARM_KIB,
    BENCH_RSS_PEAK_KIB,
    BENCH_KIB_EACH,
    BENCH_CONNECTIONS,
    BENCH_NATS_MSGS,
    BENCH_NATS_BYTES,
    BENCH_LLM_BYTES,
    BENCH_PROBE_MS,
    BENCH_READY_MS,
    BENCH_FIGURES
};

enum bench_kind {
    BENCH_BOOT,
    BENCH_THROUGHPUT,
    BENCH_LATENCY,
    BENCH_RAW_NATS,
    BENCH_RAW_CURL,
    BENCH_RAW_CHAIN
};

/* One row of the table. */
struct bench_cell {
    char name[48];
    enum bench_kind kind;
    enum bench_store store;
    uint32_t in_flight, latency_us, jitter_us, rate;
    uint32_t warm, count;       /* messages: not yet measured, measured */
    uint32_t replicas, outputs; /* at least 1 */
    int is_unjournaled, is_unconfirmed;
    int is_guarantee; /* one of four cells that show what journal and confirmed ACK cost */
    int is_whole; /* of the raw cnats program: journal and confirmed ACK as well */
    struct bench_series figures[BENCH_FIGURES];
};

/* ---- bench_rig.c: all servers are our children on free loopback ports ---- */
int bench_rig_open(struct bench_rig *r);
void bench_rig_close(struct bench_rig *r);
int bench_worker_start(struct bench_rig *r, const struct bench_cell *cell);
int bench_role_start(struct bench_rig *r, const char *role, const struct bench_cell *cell);
/* `sluice init` with the settings of the cell's worker. */
int bench_provision(struct bench_rig *r, const struct bench_cell *cell);
int64_t bench_now_ns(void);
int64_t bench_cpu_ns(pid_t pid); /* user and system; -1: gone */
int64_t bench_workers_cpu_ns(const struct bench_rig *r);
int64_t bench_all_cpu_ns(const struct bench_rig *r); /* of all processes of the measurement */
/* What all cores of the machine had nothing to do, since its start; 0: the machine does not say. */
int64_t bench_idle_ns(void);
long bench_workers_kib(const struct bench_rig *r,
                       const char *field); /* their sum; -1: one is gone */
long bench_self_kib(const char *field);
/* From now on VmHWM is the peak since this call. */
void bench_workers_forget_peak(const struct bench_rig *r);
int bench_workers_run(struct bench_rig *r);
void bench_workers_stop(struct bench_rig *r);
/* GET; the status, 0 when nobody answers. The body, cut to `size`, ends with NUL. */
int bench_get(unsigned port, const char *path, char *body, size_t size);

/* ---- bench_threads.c ---- */
struct bench_threads {
    uint32_t count;
    struct {
        long tid;
        int64_t due_ns; /* it ran, or waited for a core; 0: the kernel does not say */
    } threads[BENCH_THREADS_MAX];
};
void bench_threads_read(pid_t pid, struct bench_threads *t);
/* Of the one that had most to do in between. */
int64_t bench_threads_most_ns(const struct bench_threads *before,
                              const struct bench_threads *after);

/* ---- bench_nats.c ---- */
struct bench_load;
int bench_load_open(const char *url, struct bench_load **out);
void bench_load_close(struct bench_load *l);
int bench_load_reset(struct bench_load *l); /* delete what an earlier run left */
/* Publish `count` requests into the stream; `rate` a second, 0: as fast as it takes them. */
int bench_load_fill(struct bench_load *l, uint32_t count, uint32_t rate, size_t size);
/* Count the messages whose last output came; the CPU time of the rig's workers is read when `warm`,
 * and when `warm + count` of them have. */
void bench_load_watch(struct bench_load *l, const struct bench_rig *r,
                      const struct bench_cell *cell);
uint32_t bench_load_seen(struct bench_load *l);
struct bench_times {
    int64_t wall_ns, cpu_ns, all_cpu_ns, idle_ns;
    int64_t busiest_ns; /* of the first worker's busiest thread */
};
struct bench_times bench_load_times(struct bench_load *l);
/* Time of message `i` from publishing to its output, -1: none came. */
int64_t bench_load_took_ns(const struct bench_load *l, uint32_t i);
/* It measures itself: its outputs may be under way when it has long done its work. */
int bench_raw_nats(struct bench_shared *shared, const char *url, uint32_t count, int is_whole);

/* ---- bench_chain.c ---- */
/* Does a message's call and round trips until it is ended; `database` NULL: stores nothing. */
int bench_raw_chain(struct bench_shared *shared, const char *url, const char *llm_url,
                    const char *database);

/* ---- bench_responder.c ---- */
int bench_responder(struct bench_shared *shared);
uint32_t bench_delay_us(uint32_t message, uint32_t latency_us, uint32_t jitter_us);

/* ---- bench_curl.c ---- */
/* `count` calls over `at_once` connections, which are warm before. */
int bench_raw_curl(struct bench_shared *shared, const char *url, uint32_t count, uint32_t at_once);
/* A request as the raw programs make it; keeps `headers` and `body`. NULL: no memory. */
CURL *bench_easy_make(const char *url, struct curl_slist *headers, const char *body, size_t size);

int bench_is_interrupted(void); /* bench.c: somebody wants it to end */

/* ---- bench_run.c: one run of one cell ---- */
/* Warm, measured, and behind them as many as keep every place taken until the last of those. */
uint32_t bench_messages(const struct bench_cell *cell);
int bench_run_cell(struct bench_rig *r, struct bench_load *l, struct bench_cell *cell, size_t size);

/* ---- bench_report.c ---- */
extern const char *const bench_figure_names[BENCH_FIGURES];
extern const char *const bench_store_names[BENCH_STORES];
void bench_add(struct bench_cell *cell, enum bench_figure figure, double value);
double bench_median(const struct bench_series *s);
double bench_spread(const struct bench_series *s); /* half the range, relative to the median */
void bench_table(const struct bench_cell *cells, int count);
void bench_json(const struct bench_cell *cells, int count, double noise);
/* An earlier --json output; NULL: it is none, which was said. */
struct cJSON *bench_earlier_read(const char *file);
/* Frees `earlier`. */
void bench_compare(const struct bench_cell *cells, int count, struct cJSON *earlier,
                   const char *file);

#endif
