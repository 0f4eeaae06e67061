/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice llm-sim`: run the LLM simulator. */
#include "cli/arguments.h"
#include "cli/command.h"

#include "llmsim/server.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char help[] =
    "usage: sluice llm-sim [OPTIONS]\n\n"
    "An OpenAI-compatible chat-completions server: answers come from the prompt and follow a "
    "given\n"
    "JSON schema; faults are scripted.\n\n"
    "  --host ADDRESS       IPv4 address to listen on [127.0.0.1]\n"
    "  --port N             0: any free one [8000]\n"
    "  --port-file FILE     write the port there when listening\n"
    "  --api-key KEY        ask for this key\n"
    "  --model NAME         name of the model [sim-1]\n"
    "  --latency-ms N       time before each answer [0]\n"
    "  --jitter-ms N        up to so much more [0]\n"
    "  --retry-after S      header of 429 and 503, in seconds [0: none]\n"
    "  --seed N             of the faults' draw [1]\n"
    "  --fail KIND=PERCENT " LLMSIM_FAULTS_TEXT ";\n"
    "                       repeatable, together at most 100\n"
    "  --stamp              the model of each answer ends in #PORT.N, N of its call\n"
    "  --quiet              no start line\n\n"
    "One call is steered by header X-Sluice-Fault: KIND, or by [[fault:KIND]], [[fault:KINDx3]] "
    "and\n"
    "[[latency:MS]] in its prompt or header X-Sluice-Latency-Ms: MS; a KIND or MS that is none is "
    "answered\n"
    "with 400.\n"
    "POST /control {\"500\":100,\"latency-ms\":5} changes the draw;\n"
    "GET /ledger counts calls and answers (?keys=1: per idempotency key); POST /ledger/reset.\n";

static void fault(char **argv, struct llmsim_config *config, const char *text)
{
    const char *equals = strchr(text, '=');
    int64_t percent = 0;
    for (int i = 1; equals != NULL && i < LLMSIM_FAULT_COUNT; i++) {
        const char *name = llmsim_fault_name((enum llmsim_fault)i);
        if (strlen(name) == (size_t)(equals - text) && strncmp(name, text, strlen(name)) == 0) {
            if (arguments_number_of(argv, "--fail", equals + 1, 0, 100, &percent)) {
                config->faults[i] = (double)percent;
            }
            return;
        }
    }
    arguments_wrong(argv, "--fail", "\"%s\", expected KIND=PERCENT, KIND one of%s", text,
                    LLMSIM_FAULTS_TEXT);
}

struct arguments {
    struct llmsim_config config;
    const char *port_file;
    int is_quiet;
};

static void text_take(int *argc, char **argv, const char *flag, const char **text)
{
    const char *given = arguments_value(argc, argv, flag);
    *text = given == NULL ? *text : given;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    struct llmsim_config *c = &a->config;
    int64_t port = c->port, latency_ms = 0, jitter_ms = 0, retry_after_s = 0, seed = 1;
    const char *text;
    if (arguments_flag(&argc, argv, "--help")) {
        fputs(help, stdout);
        return 0;
    }
    a->is_quiet = arguments_flag(&argc, argv, "--quiet");
    c->is_stamped = arguments_flag(&argc, argv, "--stamp");
    text_take(&argc, argv, "--host", &c->host);
    text_take(&argc, argv, "--port-file", &a->port_file);
    text_take(&argc, argv, "--api-key", &c->api_key);
    text_take(&argc, argv, "--model", &c->model);
    arguments_number(&argc, argv, "--port", 0, 65535, &port);
    arguments_number(&argc, argv, "--latency-ms", 0, 3600000, &latency_ms);
    arguments_number(&argc, argv, "--jitter-ms", 0, 3600000, &jitter_ms);
    arguments_number(&argc, argv, "--retry-after", 0, 86400, &retry_after_s);
    arguments_number(&argc, argv, "--seed", 0, 2000000000, &seed);
    while ((text = arguments_next_value(&argc, argv, "--fail")) != NULL) {
        fault(argv, c, text);
    }
    char why[64];
    if (!llmsim_faults_fit(c, why, sizeof why)) {
        arguments_wrong(argv, "--fail", "%s", why);
    }
    c->port = (uint16_t)port;
    c->latency_ms = (uint32_t)latency_ms;
    c->jitter_ms = (uint32_t)jitter_ms;
    c->retry_after_s = (uint32_t)retry_after_s;
    c->seed = (uint64_t)seed;
    return arguments_are_all_taken(argc, argv) ? -1 : 2;
}

/* Whole or not at all: somebody waits for the file. 0 when it cannot be written: a line is on
 * stderr. */
static int port_write(const char *path, unsigned port)
{
    char temporary[PATH_MAX];
    int len = snprintf(temporary, sizeof temporary, "%s.new", path);
    errno = ENAMETOOLONG;
    FILE *f = len < (int)sizeof temporary ? fopen(temporary, "we") : NULL;
    int is_written = f != NULL && fprintf(f, "%u\n", port) > 0;
    if (f != NULL) {
        is_written = fclose(f) == 0 && is_written;
    }
    if (!is_written || rename(temporary, path) != 0) {
        fprintf(stderr, "sluice llm-sim: --port-file: %s: %s\n", path, strerror(errno));
        return 0;
    }
    return 1;
}

static int run(int argc, char **argv)
{
    struct arguments a = {
        .config = {.host = "127.0.0.1", .port = 8000, .model = "sim-1", .seed = 1}};
    int code = parse(argc, argv, &a);
    if (code >= 0) {
        return code;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    struct llmsim *server = NULL;
    struct sluice_err err = {.rc = SLUICE_OK};
    if (llmsim_start(&a.config, &server, &err) != SLUICE_OK) {
        fprintf(stderr, "sluice llm-sim: %s\n", err.text);
        return 3;
    }
    if (a.port_file != NULL && !port_write(a.port_file, llmsim_port(server))) {
        llmsim_stop(server);
        return 3;
    }
    if (!a.is_quiet) {
        fprintf(stderr, "llm-sim: http://%s:%u/v1  (model %s)\n", a.config.host,
                llmsim_port(server), a.config.model);
    }
    int received;
    (void)sigwait(&signals, &received);
    llmsim_stop(server);
    return 0;
}

const struct sluice_command sluice_command_llm_sim = {
    "llm-sim", "run an OpenAI-compatible LLM simulator with scripted faults", run};
