/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice llm-sim`: run the LLM simulator. */
#include "cli/command.h"

#include "llmsim/server.h"
#include <errno.h>
#include <getopt.h>
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
    "  --fail KIND=PERCENT " LLMSIM_FAULTS_TEXT "; repeatable\n"
    "  --quiet              no start line\n\n"
    "One call is steered by header X-Sluice-Fault: KIND, or by [[fault:KIND]], [[fault:KINDx3]] "
    "and\n"
    "[[latency:MS]] in its prompt; a KIND that is none is answered with 400.\n"
    "POST /control {\"500\":100,\"latency-ms\":5} changes the draw;\n"
    "GET /ledger counts calls and answers (?keys=1: per idempotency key); POST /ledger/reset.\n";

static int number(const char *name, const char *text, long max, long *value)
{
    char *end;
    errno = 0;
    *value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0 || *value < 0 || *value > max) {
        fprintf(stderr, "sluice llm-sim: --%s: \"%s\", expected a whole number from 0 to %ld\n",
                name, text, max);
        return 0;
    }
    return 1;
}

static int fault(struct llmsim_config *config, const char *text)
{
    const char *equals = strchr(text, '=');
    long percent;
    for (int i = 1; equals != NULL && i < LLMSIM_FAULT_COUNT; i++) {
        const char *name = llmsim_fault_name((enum llmsim_fault)i);
        if (strlen(name) == (size_t)(equals - text) && strncmp(name, text, strlen(name)) == 0) {
            if (!number("fail", equals + 1, 100, &percent)) {
                return 0;
            }
            config->faults[i] = (double)percent;
            return 1;
        }
    }
    fprintf(stderr, "sluice llm-sim: --fail: \"%s\", expected KIND=PERCENT, KIND one of%s\n", text,
            LLMSIM_FAULTS_TEXT);
    return 0;
}

enum {
    HOST = 1,
    PORT,
    PORT_FILE,
    API_KEY,
    MODEL,
    LATENCY,
    JITTER,
    RETRY_AFTER,
    SEED,
    FAIL,
    QUIET,
    HELP
};

static const struct option options[] = {{"host", required_argument, NULL, HOST},
                                        {"port", required_argument, NULL, PORT},
                                        {"port-file", required_argument, NULL, PORT_FILE},
                                        {"api-key", required_argument, NULL, API_KEY},
                                        {"model", required_argument, NULL, MODEL},
                                        {"latency-ms", required_argument, NULL, LATENCY},
                                        {"jitter-ms", required_argument, NULL, JITTER},
                                        {"retry-after", required_argument, NULL, RETRY_AFTER},
                                        {"seed", required_argument, NULL, SEED},
                                        {"fail", required_argument, NULL, FAIL},
                                        {"quiet", no_argument, NULL, QUIET},
                                        {"help", no_argument, NULL, HELP},
                                        {NULL, 0, NULL, 0}};

struct arguments {
    struct llmsim_config config;
    const char *port_file;
    int is_quiet;
};

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    long n = 0;
    int is_good = 1;
    int option;
    while (is_good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case HOST:
            a->config.host = optarg;
            break;
        case PORT:
            is_good = number("port", optarg, 65535, &n);
            a->config.port = (uint16_t)n;
            break;
        case PORT_FILE:
            a->port_file = optarg;
            break;
        case API_KEY:
            a->config.api_key = optarg;
            break;
        case MODEL:
            a->config.model = optarg;
            break;
        case LATENCY:
            is_good = number("latency-ms", optarg, 3600000, &n);
            a->config.latency_ms = (uint32_t)n;
            break;
        case JITTER:
            is_good = number("jitter-ms", optarg, 3600000, &n);
            a->config.jitter_ms = (uint32_t)n;
            break;
        case RETRY_AFTER:
            is_good = number("retry-after", optarg, 86400, &n);
            a->config.retry_after_s = (uint32_t)n;
            break;
        case SEED:
            is_good = number("seed", optarg, 2000000000, &n);
            a->config.seed = (uint64_t)n;
            break;
        case FAIL:
            is_good = fault(&a->config, optarg);
            break;
        case QUIET:
            a->is_quiet = 1;
            break;
        case HELP:
            fputs(help, stdout);
            return 0;
        default:
            return 2;
        }
    }
    if (is_good && optind < argc) {
        fprintf(stderr, "sluice llm-sim: unexpected \"%s\"\n", argv[optind]);
        return 2;
    }
    return is_good ? -1 : 2;
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
