/* SPDX-License-Identifier: Apache-2.0 */
/* Asks an endpoint many times and prints what a call costs: load_llm URL CALLS IN_FLIGHT [stream].
 * Not a test; the processor time is this process's alone. */
#include "adapter/curl_llm.h"
#include "heap.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct {
    uv_loop_t loop;
    struct sluice_llm *llm;
    unsigned long calls, started, ended, failed;
    int64_t worst_ms;
} load;

_Noreturn void sluice_panic(const char *expression, const char *file, int line, const char *state);
void sluice_panic(const char *expression, const char *file, int line, const char *state)
{
    fprintf(stderr, "%s:%d: %s %s\n", file, line, expression, state);
    abort();
}

static void ask_next(void);

static void on_done(void *ctx, const struct sluice_llm_done *done)
{
    (void)ctx;
    load.ended++;
    load.worst_ms = done->duration_ms > load.worst_ms ? done->duration_ms : load.worst_ms;
    if (done->fate != SLUICE_FATE_OK && load.failed++ == 0) {
        fprintf(stderr, "first failure: %s\n", done->text);
    }
    if (load.started < load.calls) {
        ask_next();
    } else if (load.ended == load.calls) {
        uv_stop(&load.loop);
    }
}

static const char text[] =
    "Summarise what is known about the entity below and score each item by how much it matters. "
    "Entity: a pump station in the north of the city, in service since 1987, two pumps replaced in "
    "2011, vibration above its limit in three of the last ten weeks, power draw rising since May. "
    "Inputs: 1. Sensor report of week 34. 2. Maintenance log, last visit in June, bearings "
    "greased. "
    "3. Complaint of a neighbour about noise at night. 4. Weather: heavy rain expected on Tuesday. "
    "Answer with a summary of at most three sentences and one scored line for each input.";

static void ask_next(void)
{
    const struct sluice_llm_question question = {
        .model = "sim-1", .user = text, .temperature = 0.2, .max_tokens = 500};
    struct sluice_llm_ask ask = {.timeout_ms = 60000,
                                 .correlation_id = "550e8400-e29b-41d4-a716-446655440000",
                                 .idempotency_key = "requests:12345:1700000000000000000"};
    struct sluice_err err = {0};
    static char request[sizeof text + 256]; /* each the same */
    sluice_bytes bytes;
    if (load.llm->ops->write(load.llm, &question, &bytes, &err) != SLUICE_OK ||
        bytes.len > sizeof request) {
        abort();
    }
    memcpy(request, bytes.data, bytes.len);
    ask.request = (sluice_bytes){request, bytes.len};
    load.started++;
    (void)load.llm->ops->ask(load.llm, &ask, on_done, NULL);
}

static double cpu_us(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e6 +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

static double sys_us(const struct rusage *usage)
{
    return (double)usage->ru_stime.tv_sec * 1e6 + (double)usage->ru_stime.tv_usec;
}

static void run(unsigned long calls, unsigned long in_flight, const char *name)
{
    struct rusage before;
    struct rusage after;
    load.calls = calls;
    load.started = 0;
    load.ended = 0;
    load.failed = 0;
    load.worst_ms = 0;
    (void)getrusage(RUSAGE_SELF, &before);
    uint64_t start = uv_hrtime();
    for (unsigned long i = 0; i < in_flight && i < calls; i++) {
        ask_next();
    }
    uv_run(&load.loop, UV_RUN_DEFAULT);
    (void)getrusage(RUSAGE_SELF, &after);
    double wall = (double)(uv_hrtime() - start) / 1e9;
    struct sluice_curl_stats stats = sluice_curl_llm_stats(load.llm);
    printf("%s: %lu calls, %lu at once: %.1f us/call (%.1f of them in the kernel), %.0f calls/s, "
           "worst %lld ms, %lu failed; %llu connections opened, %u shards, %ld KiB peak\n",
           name, calls, in_flight, (cpu_us(&after) - cpu_us(&before)) / (double)calls,
           (sys_us(&after) - sys_us(&before)) / (double)calls, (double)calls / wall,
           (long long)load.worst_ms, load.failed, (unsigned long long)stats.connects_total,
           stats.shards, after.ru_maxrss);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: load_llm URL CALLS IN_FLIGHT [stream]\n");
        return 2;
    }
    unsigned long calls = strtoul(argv[2], NULL, 10);
    unsigned long in_flight = strtoul(argv[3], NULL, 10);
    struct rlimit files;
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    (void)signal(SIGPIPE, SIG_IGN);
    struct heap heap;
    heap_init(&heap);
    (void)uv_loop_init(&load.loop);
    const struct sluice_curl_llm_options options = {.loop = &load.loop,
                                                    .allocator = &heap.allocator,
                                                    .base_url = argv[1],
                                                    .connections_max = (uint32_t)in_flight,
                                                    .is_streamed = argc > 4};
    struct sluice_err err = {0};
    if (sluice_curl_llm_create(&options, &load.llm, &err) != SLUICE_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    run(in_flight, in_flight, "cold"); /* opens the connections */
    run(calls, in_flight, "warm");
    load.llm->ops->destroy(load.llm);
    while (uv_run(&load.loop, UV_RUN_DEFAULT) != 0) {
    }
    return load.failed != 0;
}
