/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice dev`: everything on one machine. nats-server, the LLM simulator (unless LLM_BASE_URL is
 * set) and the worker run as children in a scratch folder; the worker's sample requests are
 * published, and each message's way is shown. */
#include "cli/command.h"

#include "adapter/nats_desk.h"
#include "cli/arguments.h"
#include "cli/children.h"
#include "cli/dev_view.h"
#include "cli/free_port.h"
#include "codec/redact.h"
#include "port/clock.h"
#include "run/option.h"
#include "sluice/names.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define START_LIMIT_MS 15000
#define ONCE_LIMIT_MS  120000
#define CONSUMER       "context-enricher"
#define FEW            200 /* messages whose LLM calls are shown too */

static const char help[] =
    "usage: sluice dev [--once] [--messages N] [--keep]\n\n"
    "Start nats-server, an LLM simulator, SQLite and the context enricher in a scratch folder, "
    "publish\n"
    "the worker's sample requests, and show each message's way. No Docker, no account.\n\n"
    "  --once         end when all samples are done (exit 0), instead of staying up until Ctrl-C\n"
    "  --messages N   publish N requests, the samples over and over [20]\n"
    "  --keep         keep the scratch folder\n\n"
    "LLM_BASE_URL: use this endpoint instead of the simulator. The worker gets it and all other "
    "variables\n"
    "LLM_… (LLM_API_KEY, LLM_MODEL …), and OPENAI_API_KEY. SLUICE_…, NATS_…, MONGODB_…, SERVICE_… "
    "and\n"
    "OPENAI_BASE_URL are ignored, and named.\n";

struct dev {
    char scratch[64], self[PATH_MAX];
    char plugin[PATH_MAX + 64], data[PATH_MAX + 64]; /* the worker; its samples */
    char url[64], database[128], llm_url[2048];
    unsigned nats_port, probe_port;
    struct child nats, llm, worker;
    struct sluice_nats_desk *desk;
    struct dev_view view;
    int is_once, is_kept;
    unsigned messages;
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
    (void)number;
    is_interrupted = 1;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "sluice dev: %s: %s\n", what, why);
    return 1;
}

/* Worker and samples: of the build folder that this program stands in, else as installed. */
static int places_find(struct dev *d)
{
    ssize_t n = readlink("/proc/self/exe", d->self, sizeof d->self - 1);
    if (n <= 0) {
        return fail("/proc/self/exe", strerror(errno));
    }
    d->self[n] = '\0';
    char *slash = strrchr(d->self, '/');
    int folder = (int)(slash - d->self);
    (void)snprintf(d->plugin, sizeof d->plugin, "%.*s/../../workers/context-enricher.so", folder,
                   d->self);
    if (access(d->plugin, R_OK) == 0) {
        (void)snprintf(d->data, sizeof d->data, "%.*s/../../../workers/context_enricher", folder,
                       d->self);
    } else {
        (void)snprintf(d->plugin, sizeof d->plugin, "%s/context-enricher.so", SLUICE_WORKERDIR);
        (void)snprintf(d->data, sizeof d->data, "%s/context-enricher", SLUICE_DATADIR);
    }
    return access(d->plugin, R_OK) == 0 ? 0 : fail(d->plugin, strerror(errno));
}

static int scratch_make(struct dev *d)
{
    (void)snprintf(d->scratch, sizeof d->scratch, "/tmp/sluice-dev-XXXXXX");
    if (mkdtemp(d->scratch) == NULL) {
        return fail(d->scratch, strerror(errno));
    }
    (void)snprintf(d->database, sizeof d->database, "%s/store.db", d->scratch);
    return 0;
}

static int nats_start(struct dev *d)
{
    d->nats_port = free_port();
    char port[16];
    char log[128];
    (void)snprintf(port, sizeof port, "%u", d->nats_port);
    (void)snprintf(log, sizeof log, "%s/nats.log", d->scratch);
    (void)snprintf(d->url, sizeof d->url, "nats://127.0.0.1:%u", d->nats_port);
    char *const argv[] = {(char *)"nats-server", (char *)"-js", (char *)"-a",  (char *)"127.0.0.1",
                          (char *)"-p",          port,          (char *)"-sd", d->scratch,
                          (char *)"-l",          log,           NULL};
    if (!child_start(&d->nats, argv, NULL, -1)) {
        return fail("nats-server", "cannot be started; is the package nats-server installed?");
    }
    struct sluice_nats_options options = {
        .url = d->url, .name = "sluice/dev", .connect_timeout_ms = 2000};
    struct sluice_err err = {.rc = SLUICE_OK};
    int64_t end = sluice_mono_ms() + START_LIMIT_MS;
    while (sluice_nats_desk_open(&options, &d->desk, &err) != SLUICE_OK) {
        if (sluice_mono_ms() > end || !child_is_running(&d->nats)) {
            return fail("nats-server", err.text);
        }
        child_pause_ms(20);
    }
    dev_view_line(&d->view, "nats-server", d->url);
    return 0;
}

static int llm_start(struct dev *d)
{
    const char *given = getenv("LLM_BASE_URL");
    if (given != NULL && given[0] != '\0') {
        char shown[256];
        (void)snprintf(d->llm_url, sizeof d->llm_url, "%s", given);
        sluice_redact_url(given, shown, sizeof shown);
        dev_view_line(&d->view, "LLM", shown);
        return 0;
    }
    char file[128];
    (void)snprintf(file, sizeof file, "%s/llm.port", d->scratch);
    char *const argv[] = {d->self,
                          (char *)"llm-sim",
                          (char *)"--port",
                          (char *)"0",
                          (char *)"--port-file",
                          file,
                          (char *)"--quiet",
                          (char *)"--latency-ms",
                          (char *)"40",
                          (char *)"--jitter-ms",
                          (char *)"60",
                          NULL};
    if (!child_start(&d->llm, argv, NULL, -1)) {
        return fail("llm-sim", "cannot be started");
    }
    int64_t end = sluice_mono_ms() + START_LIMIT_MS;
    FILE *f = NULL;
    while ((f = fopen(file, "re")) == NULL && sluice_mono_ms() < end && child_is_running(&d->llm)) {
        child_pause_ms(5);
    }
    unsigned port = 0;
    if (f == NULL || fscanf(f, "%u", &port) != 1) {
        return fail("llm-sim", "did not start");
    }
    (void)fclose(f);
    (void)snprintf(d->llm_url, sizeof d->llm_url, "http://127.0.0.1:%u/v1", port);
    dev_view_line(&d->view, "LLM simulator", d->llm_url);
    return 0;
}

static int worker_start(struct dev *d)
{
    d->probe_port = free_port();
    char port[16];
    (void)snprintf(port, sizeof port, "%u", d->probe_port);
    const char *model = getenv("LLM_MODEL");
    const char *const env[][2] = {{"NATS_URL", d->url},
                                  {"LLM_BASE_URL", d->llm_url},
                                  {"LLM_MODEL", model == NULL ? "sim-1" : model},
                                  {"SLUICE_WORKER", d->plugin},
                                  {"SLUICE_STORE", "sqlite"},
                                  {"SLUICE_SQLITE_PATH", d->database},
                                  {"SLUICE_CREATE_STREAMS", "1"},
                                  {"SERVICE_READINESS_HOST", "127.0.0.1"},
                                  {"SERVICE_READINESS_PORT", port},
                                  {"SLUICE_LOG_FORMAT", "json"},
                                  {"SLUICE_LOG_LEVEL", d->messages > FEW ? "info" : "debug"},
                                  {NULL, NULL}};
    char *const argv[] = {d->self, (char *)"run", NULL};
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0 ||
        !child_start(&d->worker, argv, env, pipe_ends[1])) {
        return fail("worker", "cannot be started");
    }
    (void)close(pipe_ends[1]);
    dev_view_attach(&d->view, pipe_ends[0]);
    int64_t end = sluice_mono_ms() + START_LIMIT_MS;
    while (!d->view.is_running) {
        dev_view_pump(&d->view, 20);
        if (is_interrupted) {
            return 0; /* work() ends at once */
        }
        if (sluice_mono_ms() > end || !child_is_running(&d->worker)) {
            dev_view_pump(&d->view, 100);
            return fail("worker",
                        d->view.last_error[0] != '\0' ? d->view.last_error : "did not start");
        }
    }
    char probe[64];
    (void)snprintf(probe, sizeof probe, "http://127.0.0.1:%u/readyz", d->probe_port);
    dev_view_line(&d->view, "worker " CONSUMER, probe);
    return 0;
}

/* Request ids must differ, or the second round would be the first one's replay. */
static size_t sample_make(const char *line, unsigned round, char *out, size_t size)
{
    const char *id = strstr(line, "sample-");
    size_t len = strcspn(line, "\n");
    if (id == NULL || round == 0) {
        return (size_t)snprintf(out, size, "%.*s", (int)len, line);
    }
    return (size_t)snprintf(out, size, "%.*sround-%u-%.*s", (int)(id - line), line, round,
                            (int)(len - (size_t)(id - line)), id);
}

static int samples_send(struct dev *d)
{
    char path[PATH_MAX + 128];
    (void)snprintf(path, sizeof path, "%s/samples.jsonl", d->data);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return fail(path, strerror(errno));
    }
    const sluice_header headers[] = {{"Content-Type", "application/json"},
                                     {SLUICE_HEADER_PROTO, "context.v1.ContextEnrichRequest"}};
    char line[8192];
    char body[9000];
    unsigned sent = 0;
    unsigned round = 0;
    int code = 0;
    while (sent < d->messages && code == 0 && !is_interrupted) {
        if (fgets(line, sizeof line, f) == NULL) {
            if (sent == 0) {
                code = fail(path, "no samples");
            }
            rewind(f);
            round++;
            continue;
        }
        size_t len = sample_make(line, round, body, sizeof body);
        struct sluice_err err = {.rc = SLUICE_OK};
        if (sluice_nats_desk_publish(d->desk, SLUICE_DEFAULT_SUBJECT_REQUEST, headers, 2,
                                     (sluice_bytes){body, len}, NULL, &err) != SLUICE_OK) {
            code = fail("publish", err.text);
        }
        sent++;
        dev_view_pump(&d->view, 0);
    }
    (void)fclose(f);
    return code;
}

/* The sample's question, for comparison with the summary. */
static void question_print(const struct dev *d, const char *request_id)
{
    char path[PATH_MAX + 128];
    char line[8192];
    (void)snprintf(path, sizeof path, "%s/samples.jsonl", d->data);
    FILE *f = fopen(path, "re");
    int is_found = 0;
    while (f != NULL && !is_found && fgets(line, sizeof line, f) != NULL) {
        cJSON *json = cJSON_Parse(line);
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(json, "request_id");
        const cJSON *query = cJSON_GetObjectItemCaseSensitive(json, "query");
        if (cJSON_IsString(id) && strcmp(id->valuestring, request_id) == 0 &&
            cJSON_IsString(query)) {
            is_found = 1;
            printf("    asked:  %s\n", query->valuestring);
        }
        cJSON_Delete(json);
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static int document_print(void *ctx, int columns, char **values, char **names)
{
    (void)names;
    if (columns == 5) {
        printf("  %s  %s\n", values[0], values[1]);
        question_print(ctx, values[0]);
        printf("    stored: %s\n            %s scored items, %s tokens\n", values[2], values[3],
               values[4]);
    }
    return 0;
}

static long documents_count(struct dev *d, int with_examples)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    long count = -1;
    if (sqlite3_open_v2(d->database, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK) {
        if (sqlite3_prepare_v2(db, "SELECT count(*) FROM context_packs", -1, &q, NULL) ==
                SQLITE_OK &&
            sqlite3_step(q) == SQLITE_ROW) {
            count = (long)sqlite3_column_int64(q, 0);
        }
        (void)sqlite3_finalize(q);
        if (with_examples) {
            (void)sqlite3_exec(db,
                               "SELECT _id, json_extract(doc,'$.entity_id'), "
                               "json_extract(doc,'$.summary'), "
                               "json_array_length(doc,'$.items'), "
                               "json_extract(doc,'$.prompt_tokens') + "
                               "json_extract(doc,'$.completion_tokens') "
                               "FROM context_packs ORDER BY _id LIMIT 3",
                               document_print, d, NULL);
        }
    }
    (void)sqlite3_close(db);
    return count;
}

/* What happened, counted in the streams and the database, not in the worker. 0: everything is as it
 * should be. */
static int summary_print(struct dev *d, int64_t took_ms)
{
    uint64_t ready = 0;
    uint64_t dead = 0;
    uint64_t left = 0;
    uint64_t pending = 0;
    uint64_t ack_pending = 0;
    struct sluice_err err = {.rc = SLUICE_OK};
    if (sluice_nats_desk_stream(d->desk, SLUICE_DEFAULT_STREAM_READY, &ready, &err) != SLUICE_OK ||
        sluice_nats_desk_stream(d->desk, SLUICE_DEFAULT_STREAM_DEAD, &dead, &err) != SLUICE_OK ||
        sluice_nats_desk_stream(d->desk, SLUICE_DEFAULT_STREAM_REQUESTS, &left, &err) !=
            SLUICE_OK ||
        sluice_nats_desk_consumer(d->desk, SLUICE_DEFAULT_STREAM_REQUESTS, CONSUMER, &pending,
                                  &ack_pending, &err) != SLUICE_OK) {
        return fail("summary", err.text);
    }
    printf("\nStored, for example:\n");
    long documents = documents_count(d, 1);
    printf("\n%u requests in, %ld documents, %llu ContextEnrichReady out, %llu dead letters, %llu "
           "pending, in %.2f s\n",
           d->messages, documents, (unsigned long long)ready, (unsigned long long)dead,
           (unsigned long long)(left + pending + ack_pending), (double)took_ms / 1000);
    int is_complete =
        documents == (long)d->messages && ready == d->messages && dead == 0 && left == 0;
    return is_complete ? 0 : fail("summary", "not everything was done");
}

static int is_settled(const struct dev *d)
{
    uint64_t left = 1;
    struct sluice_err err;
    return d->view.acknowledged >= d->messages &&
           sluice_nats_desk_stream(d->desk, SLUICE_DEFAULT_STREAM_REQUESTS, &left, &err) ==
               SLUICE_OK &&
           left == 0;
}

/* 1, and a line about it, when one of them is gone: the rest is of no use without it. */
static int children_check(struct dev *d)
{
    struct {
        const char *name;
        struct child *child;
    } all[] = {{"nats-server", &d->nats}, {"llm-sim", &d->llm}, {"worker", &d->worker}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char how[32];
        char line[768];
        if (child_end(all[i].child, how, sizeof how) == NULL) {
            continue;
        }
        dev_view_pump(&d->view, 100); /* its last words */
        int has_words = all[i].child == &d->worker && d->view.last_error[0] != '\0';
        (void)snprintf(line, sizeof line, "ended unexpectedly: %s%s%s", how, has_words ? "; " : "",
                       has_words ? d->view.last_error : "");
        return fail(all[i].name, line);
    }
    return 0;
}

static int work(struct dev *d)
{
    int64_t start = sluice_mono_ms();
    int code = samples_send(d);
    int64_t end = start + ONCE_LIMIT_MS;
    while (code == 0 && !is_interrupted && !is_settled(d)) {
        dev_view_pump(&d->view, 50);
        code = children_check(d);
        if (code == 0 && d->is_once && sluice_mono_ms() > end) {
            code = fail("samples", "not done within two minutes");
        }
    }
    if (code == 0 && is_interrupted) {
        return d->is_once ? fail("samples", "interrupted before all were done") : 0;
    }
    if (code == 0) {
        code = summary_print(d, sluice_mono_ms() - start);
    }
    if (!d->is_once && code == 0) {
        printf("\nStays up until Ctrl-C. Publish to %s on %s.\n", SLUICE_DEFAULT_SUBJECT_REQUEST,
               d->url);
        (void)fflush(stdout);
        while (!is_interrupted && code == 0) {
            dev_view_pump(&d->view, 200);
            code = is_interrupted ? 0 : children_check(d);
        }
    }
    return code;
}

static void clean_up(struct dev *d)
{
    child_stop(&d->worker, 10000);
    dev_view_close(&d->view);
    sluice_nats_desk_close(d->desk);
    child_stop(&d->llm, 3000);
    child_stop(&d->nats, 5000);
    if (d->is_kept) {
        printf("kept: %s\n", d->scratch);
    } else {
        folder_remove(d->scratch);
    }
}

/* -1: go on; else the exit code. */
static int arguments_read(struct dev *d, int argc, char **argv)
{
    int64_t messages = d->messages;
    if (arguments_flag(&argc, argv, "--help")) {
        fputs(help, stdout);
        return 0;
    }
    d->is_once = arguments_flag(&argc, argv, "--once");
    d->is_kept = arguments_flag(&argc, argv, "--keep");
    arguments_number(&argc, argv, "--messages", 1, 100000, &messages);
    d->messages = (unsigned)messages;
    return arguments_are_all_taken(argc, argv) ? -1 : 2;
}

/* A comma separated list; cut where `size` ends. */
static void list_add(char *list, size_t size, const char *name)
{
    size_t len = strlen(list);
    if (len + strlen(name) + 3 < size) {
        (void)snprintf(list + len, size - len, "%s%s", len == 0 ? "" : ", ", name);
    }
}

static int is_foreign(const char *name)
{
    static const char *const prefixes[] = {"SLUICE_", "NATS_", "MONGODB_", "SERVICE_",
                                           "OPENAI_BASE_URL"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The user's settings are those of another system: none of them may reach into this one, and none
 * is passed over in silence. LLM_… is the exception, as the help says. */
static void surroundings_clear(const struct dev *d)
{
    char name[256];
    char ignored[1024] = "";
    for (char **at = environ; *at != NULL;) {
        size_t len = strcspn(*at, "=");
        if (!is_foreign(*at) || len >= sizeof name) {
            at++;
            continue;
        }
        (void)snprintf(name, sizeof name, "%.*s", (int)len, *at);
        if (!sluice_settings_is_kubernetes(name, (*at)[len] == '=' ? *at + len + 1 : "")) {
            list_add(ignored, sizeof ignored, name);
        }
        (void)unsetenv(name); /* the next one moves up */
    }
    if (ignored[0] != '\0') {
        dev_view_line(&d->view, "ignored variables", ignored);
    }
}

static int run(int argc, char **argv)
{
    static struct dev d;
    d.messages = 20;
    dev_view_open(&d.view);
    int code = arguments_read(&d, argc, argv);
    if (code >= 0) {
        return code;
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL); /* a closed terminal leaves no folder behind */
    (void)signal(SIGPIPE, SIG_IGN);
    surroundings_clear(&d);
    if ((code = places_find(&d)) == 0 && (code = scratch_make(&d)) == 0) {
        if ((code = nats_start(&d)) == 0 && (code = llm_start(&d)) == 0 &&
            (code = worker_start(&d)) == 0) {
            code = work(&d);
        }
        clean_up(&d);
    }
    return code;
}

const struct sluice_command sluice_command_dev = {
    "dev", "run everything on this machine and show it", run};
