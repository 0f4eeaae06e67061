/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice bench`: what a message costs. Starts its own servers, runs the real worker through the
 * whole pipeline, and prints one table; what the libraries alone cost stands beside it, from the
 * same run. */
#include "cli/bench.h"

#include "cli/arguments.h"
#include "cli/command.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CELLS_MAX          40
#define NOISE_LIMIT        0.10
#define SPIN_REPEATS       7
#define GUARANTEE_MESSAGES 40000
#define RAW_BYTES_MAX      (64 << 20) /* of requests */

static const char help[] =
    "usage: sluice bench [--quick] [--runs N] [--size BYTES] [--only TEXT] [--json]\n"
    "                    [--compare FILE] [CELL]\n\n"
    "Measure the context enricher through the whole pipeline: CPU time, rate, added latency, "
    "memory, "
    "boot.\nIt starts nats-server, an LLM responder and a MongoDB sink of its own on loopback "
    "ports "
    "and\nuses no other server; all of it is gone afterwards.\n\n"
    "  --quick         one short run of few cells, 15 s: shows that it works, not how fast\n"
    "  --runs N        runs of each cell, interleaved [5]\n"
    "  --size BYTES    of a request, at most 1040000: a filled prompt may have 1 MiB [700]\n"
    "  --only TEXT     only cells whose name contains it, and the raw programs\n"
    "  --json          print JSON instead of the table\n"
    "  --compare FILE  also print the difference to an earlier --json output; with a table only\n\n"
    "A cell of your own instead of the table; any of its flags asks for it:\n"
    "  --store NAME    null, sqlite, mongodb [sqlite]\n"
    "  --in-flight N   of each replica [256]\n"
    "  --latency MS    of the LLM [0]\n"
    "  --messages N    that are measured, after in flight and a tenth of it [10000]\n"
    "  --outputs N     of a message [1]\n"
    "  --replicas N    worker processes [1]\n\n"
    "The responder shares the machine with the worker: rates are of all together, CPU time is the\n"
    "worker's alone.\n";

struct bench {
    struct bench_rig rig;
    struct bench_load *load;
    struct bench_cell cells[CELLS_MAX];
    int count, is_quick, is_json;
    int64_t runs, size;
    int64_t in_flight, latency_ms, messages, outputs, replicas; /* of an own cell; -1: not given */
    const char *store;
    const char *only;
    const char *compare;
    struct cJSON *earlier; /* what is in that file */
};

static volatile sig_atomic_t is_interrupted;

int bench_is_interrupted(void)
{
    return is_interrupted;
}

static void on_signal(int number)
{
    (void)number;
    is_interrupted = 1;
}

/* ---- The machine ---- */

/* Wall time of a fixed piece of work: how much it varies is what other programs take away. */
static double spin_ms(void)
{
    volatile uint64_t x = 1;
    int64_t start = bench_now_ns();
    for (int i = 0; i < 4000000; i++) {
        x = x * 6364136223846793005u + 1;
    }
    return (double)(bench_now_ns() - start) / 1e6;
}

static double machine_noise(void)
{
    struct bench_series s = {.count = 0};
    while (s.count < SPIN_REPEATS) {
        s.values[s.count++] = spin_ms();
    }
    return bench_spread(&s);
}

/* ---- The cells ---- */

static void cell_add(struct bench *b, struct bench_cell cell)
{
    int is_raw = cell.kind == BENCH_RAW_NATS || cell.kind == BENCH_RAW_CURL;
    cell.replicas = cell.replicas == 0 ? 1 : cell.replicas;
    cell.outputs = cell.outputs == 0 ? 1 : cell.outputs;
    if (b->count < CELLS_MAX && (is_raw || b->only == NULL || strstr(cell.name, b->only) != NULL)) {
        b->cells[b->count++] = cell;
    }
}

static void pipeline_add(struct bench *b, enum bench_store store, uint32_t in_flight,
                         uint32_t latency_ms, uint32_t warm, uint32_t count)
{
    struct bench_cell c = {.kind = BENCH_THROUGHPUT,
                           .store = store,
                           .in_flight = in_flight,
                           .latency_us = latency_ms * 1000,
                           .warm = warm,
                           .count = count};
    (void)snprintf(c.name, sizeof c.name, "%s %u in flight, %u ms", bench_store_names[store],
                   in_flight, latency_ms);
    cell_add(b, c);
}

/* What two guarantees cost: the same cell without them. Side by side and long, because they are a
 * few microseconds of many that differ from one minute to the next. */
static void guarantees_add(struct bench *b)
{
    static const char *const names[] = {"both", "no journal", "ACK unconfirmed", "neither"};
    for (int i = 0; i < 4; i++) {
        struct bench_cell c = {.kind = BENCH_THROUGHPUT,
                               .store = BENCH_NULL,
                               .in_flight = 256,
                               .warm = 500,
                               .count = GUARANTEE_MESSAGES,
                               .is_guarantee = 1,
                               .is_unjournaled = i & 1,
                               .is_unconfirmed = i >> 1};
        (void)snprintf(c.name, sizeof c.name, "null 256 in flight, 0 ms, %s", names[i]);
        cell_add(b, c);
    }
}

static void replicas_add(struct bench *b)
{
    for (uint32_t n = 1; n <= 2; n++) {
        struct bench_cell c = {.kind = BENCH_THROUGHPUT,
                               .store = BENCH_NULL,
                               .in_flight = 512,
                               .latency_us = 500000,
                               .warm = 1024 * n,
                               .count = 4096 * n,
                               .replicas = n};
        (void)snprintf(c.name, sizeof c.name, "null 512 in flight, 500 ms, %u replica%s", n,
                       n == 1 ? "" : "s");
        cell_add(b, c);
    }
}

/* 256 in flight at 100 ms are 2,560 a second at most; half of it. */
static struct bench_cell at_half_load(enum bench_kind kind, enum bench_store store,
                                      uint32_t seconds)
{
    return (struct bench_cell){.kind = kind,
                               .store = store,
                               .in_flight = 256,
                               .rate = 1280,
                               .warm = 640,
                               .count = 1280 * seconds};
}

static void latency_add(struct bench *b, enum bench_store store, uint32_t seconds)
{
    struct bench_cell c = at_half_load(BENCH_LATENCY, store, seconds);
    c.latency_us = 100000;
    c.jitter_us = 50000;
    (void)snprintf(c.name, sizeof c.name, "%s half load, 100+-50 ms", bench_store_names[store]);
    cell_add(b, c);
}

/* No worker's p99 can be below theirs. */
static void chains_add(struct bench *b, uint32_t seconds)
{
    static const enum bench_store stores[] = {BENCH_NULL, BENCH_SQLITE};
    static const char *const names[] = {"raw round trips, half load",
                                        "raw round trips, SQLite, half load"};
    for (int i = 0; i < 2; i++) {
        struct bench_cell c = at_half_load(BENCH_RAW_CHAIN, stores[i], seconds);
        c.latency_us = 100000;
        c.jitter_us = 50000;
        (void)snprintf(c.name, sizeof c.name, "%s", names[i]);
        cell_add(b, c);
    }
}

static void boot_add(struct bench *b, enum bench_store store)
{
    struct bench_cell c = {.kind = BENCH_BOOT, .store = store, .in_flight = 256, .count = 20};
    (void)snprintf(c.name, sizeof c.name, "%s boot", bench_store_names[store]);
    cell_add(b, c);
}

static int is_own(const struct bench *b)
{
    return b->store != NULL || b->in_flight > 0 || b->latency_ms >= 0 || b->messages > 0 ||
           b->outputs > 0 || b->replicas > 0;
}

static int own_add(struct bench *b)
{
    int store = 0;
    const char *name = b->store == NULL ? "sqlite" : b->store;
    while (store < BENCH_STORES && strcmp(bench_store_names[store], name) != 0) {
        store++;
    }
    if (store == BENCH_STORES || (store == BENCH_MONGODB && b->rig.mongodb_uri[0] == '\0')) {
        fprintf(stderr,
                "sluice bench: --store %s: expected null, sqlite or mongodb (with its sink "
                "built)\n",
                name);
        return 2;
    }
    struct bench_cell c = {.kind = BENCH_THROUGHPUT,
                           .store = (enum bench_store)store,
                           .in_flight = b->in_flight > 0 ? (uint32_t)b->in_flight : 256,
                           .latency_us = b->latency_ms > 0 ? (uint32_t)b->latency_ms * 1000 : 0,
                           .count = b->messages > 0 ? (uint32_t)b->messages : 10000,
                           .outputs = b->outputs > 0 ? (uint32_t)b->outputs : 1,
                           .replicas = b->replicas > 0 ? (uint32_t)b->replicas : 1};
    c.warm = c.count / 10 + c.in_flight * c.replicas; /* each slot has its connection then */
    (void)snprintf(c.name, sizeof c.name, "%s, %u in flight, %u ms", name, c.in_flight,
                   c.latency_us / 1000);
    if (c.outputs > 1 && access(b->rig.fan, R_OK) != 0) {
        fprintf(stderr, "sluice bench: --outputs: %s: %s\n", b->rig.fan, strerror(errno));
        return 2;
    }
    b->only = NULL;
    boot_add(b, c.store);
    cell_add(b, c);
    return 0;
}

static int cells_make(struct bench *b)
{
    int stores = b->rig.mongodb_uri[0] == '\0' ? BENCH_MONGODB : BENCH_STORES;
    uint32_t raw = b->is_quick ? 1500 : 10000;
    uint32_t most = (uint32_t)(RAW_BYTES_MAX / b->size);
    cell_add(b, (struct bench_cell){.name = "raw cnats",
                                    .kind = BENCH_RAW_NATS,
                                    .in_flight = 256,
                                    .count = raw < most ? raw : most});
    cell_add(b, (struct bench_cell){.name = "raw cnats, journal, confirmed ACK",
                                    .kind = BENCH_RAW_NATS,
                                    .in_flight = 256,
                                    .count = raw < most ? raw : most,
                                    .is_whole = 1});
    cell_add(b, (struct bench_cell){.name = "raw curl, one at a time",
                                    .kind = BENCH_RAW_CURL,
                                    .in_flight = 1,
                                    .count = b->is_quick ? 1000 : 5000});
    cell_add(b, (struct bench_cell){.name = "raw curl, 256 in flight",
                                    .kind = BENCH_RAW_CURL,
                                    .in_flight = 256,
                                    .count = b->is_quick ? 1500 : 10000});
    if (is_own(b)) {
        return own_add(b);
    }
    for (int s = 0; s < stores; s++) {
        enum bench_store store = (enum bench_store)s;
        boot_add(b, store);
        pipeline_add(b, store, 256, 0, 500, b->is_quick ? 1500 : 10000);
        if (b->is_quick) {
            continue;
        }
        pipeline_add(b, store, 1, 0, 50, 500);
        pipeline_add(b, store, 256, 500, 512, 1536);
        pipeline_add(b, store, 2000, 500, 4000, 12000);
        pipeline_add(b, store, 10000, 500, 20000, 30000);
        latency_add(b, store, 4);
    }
    chains_add(b, b->is_quick ? 1 : 4);
    if (b->is_quick) {
        latency_add(b, BENCH_SQLITE, 1);
    } else {
        cell_add(b, (struct bench_cell){.name = "raw curl, 2000 in flight, 500 ms",
                                        .kind = BENCH_RAW_CURL,
                                        .in_flight = 2000,
                                        .latency_us = 500000,
                                        .count = 10000});
        guarantees_add(b);
        replicas_add(b);
    }
    return 0;
}

/* Peak memory beyond that of the same store's worker that has done a few messages one by one: its
 * code is mapped, its clients are connected. */
static void memory_each(struct bench *b)
{
    for (int i = 0; i < b->count; i++) {
        struct bench_cell *c = &b->cells[i];
        for (int j = 0; j < b->count && c->kind == BENCH_THROUGHPUT && c->in_flight >= 256; j++) {
            const struct bench_cell *boot = &b->cells[j];
            if (boot->kind == BENCH_BOOT && boot->store == c->store) {
                double warm = bench_median(&boot->figures[BENCH_RSS_WARM_KIB]);
                for (int k = 0; k < c->figures[BENCH_RSS_PEAK_KIB].count; k++) {
                    double more = c->figures[BENCH_RSS_PEAK_KIB].values[k] - warm * c->replicas;
                    bench_add(c, BENCH_KIB_EACH, more / c->in_flight / c->replicas);
                }
            }
        }
    }
}

/* What each run saved beside that with both guarantees. */
static void guarantees_compare(struct bench *b)
{
    const struct bench_cell *both = NULL;
    for (int i = 0; i < b->count; i++) {
        struct bench_cell *c = &b->cells[i];
        if (c->is_guarantee && !c->is_unjournaled && !c->is_unconfirmed) {
            both = c;
        }
        const struct bench_series *us = &c->figures[BENCH_CPU_US];
        for (int k = 0; c->is_guarantee && both != NULL && c != both && k < us->count; k++) {
            bench_add(c, BENCH_CPU_LESS_US, both->figures[BENCH_CPU_US].values[k] - us->values[k]);
        }
    }
}

/* ---- The command ---- */

static int measure(struct bench *b)
{
    int total = (int)b->runs * b->count;
    int done = 0;
    for (int run = 0; run < b->runs; run++) {
        for (int i = 0; i < b->count; i++) {
            if (is_interrupted) {
                return 130;
            }
            fprintf(stderr, isatty(STDERR_FILENO) ? "\r\033[K[%d/%d] %s" : "[%d/%d] %s\n", ++done,
                    total, b->cells[i].name);
            if (bench_run_cell(&b->rig, b->load, &b->cells[i], (size_t)b->size) != 0) {
                return 1;
            }
        }
    }
    fputs(isatty(STDERR_FILENO) ? "\r\033[K" : "", stderr);
    return 0;
}

static int report(struct bench *b, double noise)
{
    memory_each(b);
    guarantees_compare(b);
    if (b->is_json) {
        bench_json(b->cells, b->count, noise);
        return 0;
    }
    bench_table(b->cells, b->count);
    if (noise > NOISE_LIMIT) {
        printf("The machine is busy: a fixed piece of work took %.0f %% more or less from one time "
               "to the next. Trust ratios within this table, not the figures.\n",
               100 * noise);
    }
    if (b->earlier != NULL) {
        bench_compare(b->cells, b->count, b->earlier, b->compare);
    }
    return 0;
}

/* That --only has something to choose; raw programs are measured in any case. */
static int only_check(const struct bench *b)
{
    int found = b->only == NULL;
    for (int i = 0; i < b->count && !found; i++) {
        found = strstr(b->cells[i].name, b->only) != NULL;
    }
    if (!found) {
        fprintf(stderr, "sluice bench: --only: \"%s\" is in no cell's name\n", b->only);
    }
    return found ? 0 : 2;
}

/* Before anything is measured: that takes minutes. */
static int refuse(struct bench *b)
{
    const char *server = getenv("SLUICE_NATS_SERVER");
    struct stat st;
    if (b->is_json && b->compare != NULL) {
        fputs("sluice bench: --compare does not go with --json: it is printed below the table\n",
              stderr);
        return 2;
    }
    if (server != NULL && server[0] != '\0' &&
        (stat(server, &st) != 0 || !S_ISREG(st.st_mode) || access(server, X_OK) != 0)) {
        fprintf(stderr, "sluice bench: SLUICE_NATS_SERVER: \"%s\": expected a program\n", server);
        return 2;
    }
    if (b->compare != NULL && (b->earlier = bench_earlier_read(b->compare)) == NULL) {
        return 2;
    }
    if (!b->is_quick && strcmp(SLUICE_BUILD_TYPE, "release") != 0) {
        fputs("sluice bench: this is a " SLUICE_BUILD_TYPE
              " build: only figures of a release build say how fast it is\n",
              stderr);
    }
    return 0;
}

static int bench_all(struct bench *b)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction hangup; /* nohup ignores it */
    struct rlimit files;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
        (void)sigaction(SIGHUP, &action, NULL); /* a closed terminal leaves no folder behind */
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* the responder's connections: it inherits this */
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    double before = machine_noise();
    int code = bench_rig_open(&b->rig);
    if (code == 0) {
        code = bench_load_open(b->rig.nats_url, &b->load);
    }
    if (code == 0) {
        code = cells_make(b);
    }
    if (code == 0) {
        code = only_check(b);
    }
    if (code == 0) {
        code = measure(b);
    }
    if (code != 0 && !is_interrupted && b->rig.scratch[0] != '\0') {
        char path[96];
        char line[512];
        (void)snprintf(path, sizeof path, "%s/worker.log", b->rig.scratch);
        FILE *f = fopen(path, "re");
        for (int i = 0; f != NULL && i < 40 && fgets(line, sizeof line, f) != NULL; i++) {
            fputs(line, stderr);
        }
        if (f != NULL) {
            (void)fclose(f);
        }
    }
    bench_load_close(b->load);
    bench_rig_close(&b->rig);
    double after = machine_noise();
    if (code != 0) {
        return is_interrupted ? 130 : code;
    }
    return report(b, before > after ? before : after);
}

/* A child of the bench; not for people. */
static int role_run(const char *role, const char *path, const char *url, const char *llm_url,
                    uint32_t count, uint32_t at_once)
{
    int fd = open(path == NULL ? "" : path, O_RDWR | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(struct bench_shared)) {
        fprintf(stderr, "sluice bench: --role is for its own children\n");
        return 2;
    }
    void *page = mmap(NULL, sizeof(struct bench_shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (page == MAP_FAILED) {
        return 1;
    }
    char database[PATH_MAX];
    (void)snprintf(database, sizeof database, "%s.db", path);
    return strcmp(role, "responder") == 0   ? bench_responder(page)
           : strcmp(role, "raw-curl") == 0  ? bench_raw_curl(page, url, count, at_once)
           : strcmp(role, "raw-chain") == 0 ? bench_raw_chain(page, url, llm_url, NULL)
           : strcmp(role, "raw-chain-sqlite") == 0
               ? bench_raw_chain(page, url, llm_url, database)
               : bench_raw_nats(page, url, count, strcmp(role, "raw-nats-whole") == 0);
}

static int run(int argc, char **argv)
{
    static struct bench b = {.runs = 5,
                             .size = 700,
                             .in_flight = -1,
                             .latency_ms = -1,
                             .messages = -1,
                             .outputs = -1,
                             .replicas = -1};
    if (arguments_flag(&argc, argv, "--help")) {
        fputs(help, stdout);
        return 0;
    }
    const char *role = arguments_value(&argc, argv, "--role");
    const char *shared = NULL, *url = NULL, *llm_url = NULL;
    int64_t count = 0;
    if (role != NULL) {
        shared = arguments_value(&argc, argv, "--shared");
        url = arguments_value(&argc, argv, "--url");
        llm_url = arguments_value(&argc, argv, "--llm-url");
        arguments_number(&argc, argv, "--count", 0, BENCH_MESSAGES_MAX, &count);
    }
    b.compare = arguments_value(&argc, argv, "--compare");
    b.store = arguments_value(&argc, argv, "--store");
    b.is_quick = arguments_flag(&argc, argv, "--quick");
    b.is_json = arguments_flag(&argc, argv, "--json");
    b.only = arguments_value(&argc, argv, "--only");
    b.runs = b.is_quick ? 1 : 5;
    arguments_number(&argc, argv, "--runs", 1, BENCH_RUNS_MAX, &b.runs);
    arguments_number(&argc, argv, "--size", 256, 1040000, &b.size);
    arguments_number(&argc, argv, "--in-flight", 1, 20000, &b.in_flight);
    arguments_number(&argc, argv, "--latency", 0, 8000, &b.latency_ms);
    arguments_number(&argc, argv, "--messages", 10, 50000, &b.messages);
    arguments_number(&argc, argv, "--outputs", 1, 32, &b.outputs);
    arguments_number(&argc, argv, "--replicas", 1, BENCH_REPLICAS_MAX, &b.replicas);
    if (!arguments_are_all_taken(argc, argv)) {
        return 2;
    }
    if (role != NULL) {
        return role_run(role, shared, url, llm_url, (uint32_t)count, (uint32_t)b.in_flight);
    }
    int code = refuse(&b);
    return code != 0 ? code : bench_all(&b);
}

extern const struct sluice_command sluice_command_bench;
const struct sluice_command sluice_command_bench = {"bench", "measure what a message costs", run};
