/* SPDX-License-Identifier: Apache-2.0 */
/* The bench's servers and processes: all are its children, on free ports of the loopback, in a
 * scratch folder. */
#include "cli/bench.h"

#include "cli/free_port.h"
#include "core/assert.h"
#include "port/clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_LIMIT_MS 15000
#define STOP_LIMIT_MS  8000

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "sluice bench: %s: %s\n", what, why);
    return 1;
}

int64_t bench_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t bench_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        return -1;
    }
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t bench_workers_cpu_ns(const struct bench_rig *r)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < r->workers_count; i++) {
        sum += bench_cpu_ns(r->workers[i].pid);
    }
    return sum;
}

int64_t bench_all_cpu_ns(const struct bench_rig *r)
{
    int64_t sink = r->sink.pid == 0 ? 0 : bench_cpu_ns(r->sink.pid);
    return bench_workers_cpu_ns(r) + sink + bench_cpu_ns(r->nats.pid) + bench_cpu_ns(r->llm.pid) +
           bench_cpu_ns(getpid());
}

/* proc(5): "cpu", then user, nice, system, idle, iowait in ticks. */
int64_t bench_idle_ns(void)
{
    long long idle = 0;
    long long wait = 0;
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL) {
        return 0;
    }
    int count = fscanf(f, "cpu %*d %*d %*d %lld %lld", &idle, &wait);
    (void)fclose(f);
    return count == 2 ? (idle + wait) * (1000000000 / sysconf(_SC_CLK_TCK)) : 0;
}

/* Of /proc/PID/status; -1: gone. */
static long status_kib(pid_t pid, const char *field)
{
    char path[64];
    char line[256];
    long value = -1;
    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && value < 0 && fgets(line, sizeof line, f) != NULL) {
        size_t len = strlen(field);
        if (strncmp(line, field, len) == 0 && line[len] == ':') {
            value = strtol(line + len + 1, NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return value;
}

long bench_workers_kib(const struct bench_rig *r, const char *field)
{
    long sum = 0;
    for (uint32_t i = 0; i < r->workers_count; i++) {
        long one = status_kib(r->workers[i].pid, field);
        if (one < 0) {
            return -1;
        }
        sum += one;
    }
    return sum;
}

long bench_self_kib(const char *field)
{
    return status_kib(getpid(), field);
}

void bench_workers_forget_peak(const struct bench_rig *r)
{
    for (uint32_t i = 0; i < r->workers_count; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%ld/clear_refs", (long)r->workers[i].pid);
        FILE *f = fopen(path, "we");
        if (f != NULL) {
            (void)fputs("5", f); /* proc(5): resets the peak */
            (void)fclose(f);
        }
    }
}

int bench_workers_run(struct bench_rig *r)
{
    for (uint32_t i = 0; i < r->workers_count; i++) {
        if (!child_is_running(&r->workers[i])) {
            return 0;
        }
    }
    return 1;
}

void bench_workers_stop(struct bench_rig *r)
{
    for (uint32_t i = 0; i < r->workers_count; i++) {
        child_stop(&r->workers[i], STOP_LIMIT_MS);
    }
    r->workers_count = 0;
}

int bench_get(unsigned port, const char *path, char *body, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {3, 0};
    char text[256];
    size_t len = 0;
    ssize_t n = 0;
    body[0] = '\0';
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int head = snprintf(text, sizeof text, "GET %s HTTP/1.0\r\n\r\n",
                        path); /* 1.1: the answer may be chunked */
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        send(fd, text, (size_t)head, MSG_NOSIGNAL) != head) {
        (void)close(fd);
        return 0;
    }
    while (len < size - 1 && (n = recv(fd, body + len, size - 1 - len, 0)) > 0) {
        len += (size_t)n;
    }
    (void)close(fd);
    body[len] = '\0';
    return len > 12 ? (int)strtol(body + 9, NULL, 10) : 0;
}

/* Worker, prompts and sink lie where the build put them, or where they were installed. */
static int places_find(struct bench_rig *r)
{
    SLUICE_ASSERT(r != NULL); /* gcc 12 with sanitizers warns of what would be if it were */
    ssize_t n = readlink("/proc/self/exe", r->self, sizeof r->self - 1);
    if (n <= 0) {
        return fail("/proc/self/exe", strerror(errno));
    }
    r->self[n] = '\0';
    int folder = (int)(strrchr(r->self, '/') - r->self);
    char plugin[sizeof r->plugin];
    char prompts[sizeof r->prompts];
    (void)snprintf(plugin, sizeof plugin, "%.*s/../../workers/context-enricher.so", folder,
                   r->self);
    (void)snprintf(prompts, sizeof prompts, "%.*s/../../../workers/context_enricher/prompts",
                   folder, r->self);
    int is_built = access(plugin, R_OK) == 0;
    (void)snprintf(r->plugin, sizeof r->plugin, "%s",
                   is_built ? plugin : SLUICE_WORKERDIR "/context-enricher.so");
    (void)snprintf(r->prompts, sizeof r->prompts, "%s",
                   is_built ? prompts : SLUICE_DATADIR "/context-enricher/prompts");
    (void)snprintf(r->sink_path, sizeof r->sink_path, "%.*s/../../tests/servers/sink/mongo-sink",
                   folder, r->self);
    (void)snprintf(r->fan, sizeof r->fan, "%.*s/../../tests/bench/fan.so", folder, r->self);
    return access(r->plugin, R_OK) == 0 ? 0 : fail(r->plugin, strerror(errno));
}

static int shared_make(struct bench_rig *r)
{
    (void)snprintf(r->scratch, sizeof r->scratch, "/tmp/sluice-bench-XXXXXX");
    if (mkdtemp(r->scratch) == NULL) {
        return fail(r->scratch, strerror(errno));
    }
    (void)snprintf(r->shared_path, sizeof r->shared_path, "%s/shared", r->scratch);
    int fd = open(r->shared_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *r->shared) != 0) {
        return fail(r->shared_path, strerror(errno));
    }
    void *page = mmap(NULL, sizeof *r->shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    r->shared = page == MAP_FAILED ? NULL : page;
    return r->shared != NULL ? 0 : fail(r->shared_path, strerror(errno));
}

static int wait_for_http(struct child *c, unsigned port, const char *path)
{
    char body[4096];
    int64_t end = sluice_mono_ms() + START_LIMIT_MS;
    while (bench_get(port, path, body, sizeof body) != 200) {
        if (!child_is_running(c) || sluice_mono_ms() > end) {
            return 0;
        }
        child_pause_ms(5);
    }
    return 1;
}

/* Only a file can raise the largest message: a request of 1 MiB becomes more with its headers. */
static int nats_settings_write(const char *path)
{
    FILE *f = fopen(path, "we");
    int is_written = f != NULL && fputs("max_payload: 8388608\n", f) >= 0;
    return f != NULL && fclose(f) == 0 && is_written ? 0 : fail(path, strerror(errno));
}

static int nats_start(struct bench_rig *r)
{
    char settings[96];
    char port[16];
    char monitor[16];
    char log[96];
    const char *named = getenv("SLUICE_NATS_SERVER");
    r->nats_port = free_port();
    r->monitor_port = free_port();
    (void)snprintf(port, sizeof port, "%u", r->nats_port);
    (void)snprintf(monitor, sizeof monitor, "%u", r->monitor_port);
    (void)snprintf(log, sizeof log, "%s/nats.log", r->scratch);
    (void)snprintf(r->nats_url, sizeof r->nats_url, "nats://127.0.0.1:%u", r->nats_port);
    (void)snprintf(settings, sizeof settings, "%s/nats.conf", r->scratch);
    if (nats_settings_write(settings) != 0) {
        return 1;
    }
    char *const server = (char *)(named != NULL && named[0] != '\0' ? named : "nats-server");
    char *const argv[] = {
        server,       (char *)"-c", settings,     (char *)"-js", (char *)"-a",  (char *)"127.0.0.1",
        (char *)"-p", port,         (char *)"-m", monitor,       (char *)"-sd", r->scratch,
        (char *)"-l", log,          NULL};
    if (!child_start(&r->nats, argv, NULL, -1) ||
        !wait_for_http(&r->nats, r->monitor_port, "/healthz")) {
        return fail("nats-server", "does not start; is the package nats-server installed?");
    }
    return 0;
}

static int llm_start(struct bench_rig *r)
{
    char *const argv[] = {r->self,
                          (char *)"bench",
                          (char *)"--role",
                          (char *)"responder",
                          (char *)"--shared",
                          r->shared_path,
                          NULL};
    int64_t end = sluice_mono_ms() + START_LIMIT_MS;
    if (!child_start(&r->llm, argv, NULL, -1)) {
        return fail("responder", "cannot be started");
    }
    while (atomic_load(&r->shared->llm_port) == 0) {
        if (!child_is_running(&r->llm) || sluice_mono_ms() > end) {
            return fail("responder", "does not start");
        }
        child_pause_ms(1);
    }
    (void)snprintf(r->llm_url, sizeof r->llm_url, "http://127.0.0.1:%u/v1",
                   atomic_load(&r->shared->llm_port));
    return 0;
}

/* Without it the table has no MongoDB rows. */
static int sink_start(struct bench_rig *r)
{
    char file[96];
    char *const argv[] = {r->sink_path, (char *)"--port-file", file, NULL};
    unsigned port = 0;
    FILE *f = NULL;
    (void)snprintf(file, sizeof file, "%s/sink.port", r->scratch);
    if (access(r->sink_path, X_OK) != 0) {
        fprintf(stderr, "sluice bench: no MongoDB rows: %s is not built\n", r->sink_path);
        return 0;
    }
    int64_t end = sluice_mono_ms() + START_LIMIT_MS;
    if (!child_start(&r->sink, argv, NULL, -1)) {
        return fail(r->sink_path, "cannot be started");
    }
    while ((f = fopen(file, "re")) == NULL && sluice_mono_ms() < end &&
           child_is_running(&r->sink)) {
        child_pause_ms(1);
    }
    if (f == NULL || fscanf(f, "%u", &port) != 1) {
        return fail(r->sink_path, "does not start");
    }
    (void)fclose(f);
    (void)snprintf(r->mongodb_uri, sizeof r->mongodb_uri, "mongodb://127.0.0.1:%u", port);
    return 0;
}

int bench_rig_open(struct bench_rig *r)
{
    if (places_find(r) != 0 || shared_make(r) != 0) {
        return 1;
    }
    return nats_start(r) != 0 || llm_start(r) != 0 || sink_start(r) != 0;
}

void bench_rig_close(struct bench_rig *r)
{
    bench_workers_stop(r);
    child_stop(&r->sink, STOP_LIMIT_MS);
    child_stop(&r->llm, STOP_LIMIT_MS);
    child_stop(&r->nats, STOP_LIMIT_MS);
    if (r->shared != NULL) {
        (void)munmap(r->shared, sizeof *r->shared);
    }
    if (r->scratch[0] != '\0') {
        folder_remove(r->scratch);
    }
}

static int start_with_settings(struct bench_rig *r, const struct bench_cell *cell,
                               const char *command, uint32_t in_flight_max, uint32_t replica,
                               struct child *child)
{
    char in_flight[16];
    char outputs[16];
    char port[16];
    char database[128];
    char log[96];
    (void)snprintf(in_flight, sizeof in_flight, "%u", in_flight_max);
    (void)snprintf(outputs, sizeof outputs, "%u", cell->outputs);
    (void)snprintf(port, sizeof port, "%u", r->probe_ports[replica]);
    (void)snprintf(database, sizeof database, "%s/store-%u-%u.db", r->scratch, r->runs, replica);
    (void)snprintf(log, sizeof log, "%s/worker.log", r->scratch);
    const char *const env[][2] = {
        {"NATS_URL", r->nats_url},
        {"LLM_BASE_URL", r->llm_url},
        {"LLM_MODEL", "bench-1"},
        {"SLUICE_WORKER", cell->outputs > 1 ? r->fan : r->plugin},
        {"SLUICE_PROMPT_DIR", r->prompts},
        {"SLUICE_STORE", cell->store == BENCH_MONGODB ? "mongodb" : "sqlite"},
        {cell->store == BENCH_MONGODB ? "MONGODB_URI" : "SLUICE_SQLITE_PATH",
         cell->store == BENCH_MONGODB ? r->mongodb_uri : database},
        {"SLUICE_BENCH_NULL_STORE", cell->store == BENCH_NULL ? "1" : ""},
        {"SLUICE_BENCH_UNCONFIRMED", cell->is_unconfirmed ? "1" : ""},
        {"SLUICE_JOURNAL", cell->is_unjournaled ? "off" : "on"},
        {"SLUICE_MAX_IN_FLIGHT", in_flight},
        {"SLUICE_MAX_BYTES_IN_FLIGHT", "0"},
        {"SERVICE_READINESS_HOST", "127.0.0.1"},
        {"SERVICE_READINESS_PORT", port},
        {"SLUICE_LOG_LEVEL", "warn"},
        {cell->outputs > 1 ? "SLUICE_OPTION_OUTPUTS" : NULL, outputs},
        {NULL, NULL}};
    char *const argv[] = {r->self, (char *)command, NULL};
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int is_started = fd >= 0 && child_start(child, argv, env, fd);
    (void)close(fd);
    return is_started ? 0 : fail(command, "cannot be started");
}

int bench_provision(struct bench_rig *r, const struct bench_cell *cell)
{
    struct child init = {0};
    int status = 0;
    int out = dup(STDOUT_FILENO); /* `init` tells on stdout what it made; the table goes there */
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(quiet, STDOUT_FILENO);
    r->runs++;
    int code = start_with_settings(r, cell, "init", cell->in_flight * cell->replicas, 0, &init);
    (void)dup2(out, STDOUT_FILENO);
    (void)close(out);
    (void)close(quiet);
    if (code != 0) {
        return code;
    }
    pid_t ended;
    do { /* a signal that ends the bench must not be taken for its failure */
        ended = waitpid(init.pid, &status, 0);
    } while (ended < 0 && errno == EINTR);
    if (ended != init.pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return fail("init", "failed; see the line above");
    }
    return 0;
}

int bench_worker_start(struct bench_rig *r, const struct bench_cell *cell)
{
    int code = 0;
    for (uint32_t i = 0; i < cell->replicas && code == 0; i++) {
        r->probe_ports[i] = free_port();
        code = start_with_settings(r, cell, "run", cell->in_flight, i, &r->workers[i]);
        r->workers_count += code == 0;
    }
    return code;
}

int bench_role_start(struct bench_rig *r, const char *role, const struct bench_cell *cell)
{
    char number[16];
    char at_once[16];
    (void)snprintf(number, sizeof number, "%u", cell->count);
    (void)snprintf(at_once, sizeof at_once, "%u", cell->in_flight);
    char *const argv[] = {r->self,
                          (char *)"bench",
                          (char *)"--role",
                          (char *)role,
                          (char *)"--shared",
                          r->shared_path,
                          (char *)"--url",
                          strcmp(role, "raw-curl") == 0 ? r->llm_url : r->nats_url,
                          (char *)"--llm-url",
                          r->llm_url,
                          (char *)"--count",
                          number,
                          (char *)"--in-flight",
                          at_once,
                          NULL};
    r->workers_count = 1;
    return child_start(&r->workers[0], argv, NULL, -1) ? 0 : fail(role, "cannot be started");
}
