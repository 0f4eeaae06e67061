/* SPDX-License-Identifier: Apache-2.0 */
/* The probe on a real socket: every path in every state, methods, limits, clients that do not
 * behave, and the metrics page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "port/clock.h"
#include "run/metrics.h"
#include "run/probe.h"
#include "run/probe_clients.h"
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 60000

static struct sluice_probe *probe;
static struct sluice_probe_snapshot snapshot;

/* A clock that a case can stop and put forward; the probe's thread reads it too. */
static _Atomic int64_t stopped_at_ms; /* 0: it goes */

int64_t __real_sluice_mono_ms(void);
int64_t __wrap_sluice_mono_ms(void);

int64_t __wrap_sluice_mono_ms(void)
{
    return stopped_at_ms != 0 ? stopped_at_ms : __real_sluice_mono_ms();
}

static int setup(void **state)
{
    (void)state;
    struct sluice_err err;
    struct sluice_probe_config config = {
        .host = "127.0.0.1", .readiness_timeout_ms = 600000, .loop_limit_ms = 600000};
    memset(&snapshot, 0, sizeof snapshot);
    snapshot.dependencies[0] = "llm";
    snapshot.dependencies[1] = "metadata";
    snapshot.dependencies_count = 2;
    snapshot.is_connected = 1;
    return sluice_probe_create(&config, &probe, &err) == SLUICE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sluice_probe_destroy(probe);
    stopped_at_ms = 0;
    return 0;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(sluice_probe_port(probe)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Everything up to the server's end of the connection. */
static size_t drain(int fd, char *out, size_t size)
{
    size_t len = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (len < size - 1 && poll(&p, 1, PATIENCE_MS) == 1) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    out[len] = '\0';
    return len;
}

struct got {
    int status;
    char text[96 * 1024]; /* the whole answer */
    const char *body;
};

static void ask(struct got *g, const char *method, const char *path, const char *more)
{
    char request[1024];
    int fd = dial();
    int n =
        snprintf(request, sizeof request,
                 "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", method, path, more);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    drain(fd, g->text, sizeof g->text);
    close(fd);
    g->status = 0;
    (void)sscanf(g->text, "HTTP/1.1 %d", &g->status);
    const char *end = strstr(g->text, "\r\n\r\n");
    g->body = end == NULL ? "" : end + 4;
}

static struct got got;

static int status_of(const char *path)
{
    ask(&got, "GET", path, "");
    return got.status;
}

static void expect_text(const char *text)
{
    if (strstr(got.text, text) == NULL) {
        fail_msg("no \"%s\" in:\n%s", text, got.text);
    }
}

static void paths_answer_by_state(void **state)
{
    (void)state;
    for (int s = SLUICE_RUN_INIT; s < SLUICE_RUN_STATE_COUNT; s++) {
        int is_running = s == SLUICE_RUN_RUNNING, is_failed = s == SLUICE_RUN_FAILED;
        int has_started = s >= SLUICE_RUN_RUNNING && !is_failed;
        sluice_probe_set_state(probe, (enum sluice_run_state)s);
        sluice_probe_publish(probe, &snapshot);
        assert_int_equal(status_of("/readyz"), is_running ? 200 : 503);
        expect_text(is_running ? "\"status\":\"ready\"" : "\"reason\":\"");
        expect_text(sluice_run_state_name((enum sluice_run_state)s));
        assert_int_equal(status_of("/ready"), is_running ? 200 : 503);
        assert_int_equal(status_of("/livez"), is_failed ? 503 : 200);
        assert_int_equal(status_of("/startupz"), has_started ? 200 : 503);
        assert_int_equal(status_of("/health"), 200);
        expect_text(is_running ? "\"status\":\"healthy\",\"state\"" : "\"status\":\"degraded\"");
        assert_int_equal(status_of("/metrics"), 200);
        assert_int_equal(status_of("/version"), 200);
    }
}

static void readiness_needs_a_server_seen_lately(void **state)
{
    (void)state;
    sluice_probe_set_state(probe, SLUICE_RUN_RUNNING);
    sluice_probe_publish(probe, &snapshot);
    sluice_probe_update_last_seen(probe, sluice_mono_ms() - 700000);
    assert_int_equal(status_of("/readyz"), 503);
    expect_text("\"reason\":\"stale\"");
    snapshot.is_connected = 0;
    sluice_probe_publish(probe, &snapshot);
    assert_int_equal(status_of("/readyz"), 503);
    expect_text("\"reason\":\"nats_disconnected\"");
    sluice_probe_update_last_seen(probe, sluice_mono_ms());
    assert_int_equal(status_of("/readyz"), 200);
}

static void what_the_server_denies_is_shown(void **state)
{
    (void)state;
    struct sluice_probe_snapshot denied = snapshot;
    sluice_probe_set_state(probe, SLUICE_RUN_RUNNING);
    sluice_probe_update_last_seen(probe, sluice_mono_ms());
    sluice_probe_publish(probe, &snapshot);
    assert_int_equal(status_of("/readyz"), 200);
    expect_text("\"degraded\":false");
    assert_null(strstr(got.text, "denied"));
    (void)snprintf(denied.denied_publish, sizeof denied.denied_publish, "Publish to \"out\\\"\n");
    sluice_probe_publish(probe, &denied);
    assert_int_equal(status_of("/readyz"), 200);
    expect_text("\"degraded\":true");
    expect_text("\"denied\":{\"link\":\"publish\",\"text\":\"Publish to \\\"out\\\\\\\"\\n\"}");
    (void)snprintf(denied.denied_pull, sizeof denied.denied_pull, "Publish to \"next\"");
    sluice_probe_publish(probe, &denied);
    assert_int_equal(status_of("/readyz"), 503);
    expect_text("\"denied\":{\"link\":\"pull\",\"text\":\"Publish to \\\"next\\\"\"}");
    expect_text("\"reason\":\"nats_denied\"");
    assert_int_equal(status_of("/health"), 200);
    expect_text("\"status\":\"degraded\"");
    expect_text("\"nats\":{\"status\":\"unhealthy\"}");
    expect_text("\"link\":\"pull\"");
    memset(denied.denied_pull, '\xc3', sizeof denied.denied_pull - 1); /* letters, each cut */
    sluice_probe_publish(probe, &denied);
    assert_int_equal(status_of("/readyz"), 503);
    expect_text("\xef\xbf\xbd\xef\xbf\xbd\"},\"reason\":\"nats_denied\"}\n");
    assert_null(strchr(got.text, '\xc3'));
    memset(denied.denied_pull, 1, sizeof denied.denied_pull - 1); /* the longest that it becomes */
    sluice_probe_publish(probe, &denied);
    assert_int_equal(status_of("/readyz"), 503);
    expect_text("\\u0001\"},\"reason\":\"nats_denied\"}\n");
    sluice_probe_publish(probe, &snapshot);
}

static void a_loop_that_stands_still_is_not_alive(void **state)
{
    (void)state;
    sluice_probe_set_state(probe, SLUICE_RUN_RUNNING);
    sluice_probe_update_loop(probe, sluice_mono_ms() - 700000);
    assert_int_equal(status_of("/livez"), 503);
    sluice_probe_update_loop(probe, sluice_mono_ms());
    assert_int_equal(status_of("/livez"), 200);
}

static void health_names_each_dependency(void **state)
{
    (void)state;
    sluice_probe_set_state(probe, SLUICE_RUN_RUNNING);
    sluice_probe_set_worker(probe, "w", "1.2");
    snapshot.breakers[1] = SLUICE_BREAKER_OPEN;
    sluice_probe_publish(probe, &snapshot);
    assert_int_equal(status_of("/health"), 200);
    cJSON *json = cJSON_Parse(got.body);
    assert_non_null(json);
    const cJSON *services = cJSON_GetObjectItem(json, "services");
    const char *const expected[][2] = {
        {"nats", "healthy"}, {"llm", "healthy"}, {"metadata", "unhealthy"}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const cJSON *service = cJSON_GetObjectItem(services, expected[i][0]);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(service, "status")),
                            expected[i][1]);
    }
    /* healthy only if all are */
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "status")), "degraded");
    cJSON_Delete(json);
}

/* Healthy only if all is. */
static void one_thing_that_is_amiss_is_no_health(void **state)
{
    (void)state;
    const struct sluice_probe_snapshot well = snapshot;
    sluice_probe_set_state(probe, SLUICE_RUN_RUNNING);
    for (int what = 0; what <= 5; what++) {
        snapshot = well;
        snapshot.has_journal = 1;
        snapshot.is_connected = what != 1;
        snapshot.is_journal_away = what == 2;
        snapshot.is_degraded = what == 3;
        snapshot.breakers[0] = what == 4 ? SLUICE_BREAKER_HALF_OPEN : SLUICE_BREAKER_CLOSED;
        (void)strcpy(snapshot.denied_publish, what == 5 ? "no" : "");
        sluice_probe_publish(probe, &snapshot);
        assert_int_equal(status_of("/health"), 200);
        expect_text(what == 0 ? "{\"status\":\"healthy\"" : "{\"status\":\"degraded\"");
        expect_text(what == 2 ? "\"journal\":{\"status\":\"unhealthy\"}"
                              : "\"journal\":{\"status\":\"healthy\"}");
    }
}

static void methods_and_unknown_paths(void **state)
{
    (void)state;
    ask(&got, "HEAD", "/livez", "");
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body, "");
    static const char *const others[] = {"POST", "PUT", "DELETE", "PATCH", "BREW"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ask(&got, others[i], "/livez", "Content-Length: 0\r\n");
        assert_int_equal(got.status, 405);
        expect_text("Allow: GET, HEAD");
    }
    static const char *const unknown[] = {"/", "/readyz/", "/READYZ", "/../metrics", "/health2"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(status_of(unknown[i]), 404);
    }
    assert_int_equal(status_of("/livez?verbose"), 200);
}

/* The status of a request whose line and headers have so many bytes, most of them in one place. */
static int status_of_head(size_t size, int as_header)
{
    static char text[64 * 1024];
    const char *start = as_header ? "GET /livez HTTP/1.1\r\nHost: probe\r\nConnection: close\r\nX: "
                                  : "GET /livez?";
    const char *end =
        as_header ? "\r\n\r\n" : " HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
    memset(text, 'a', size);
    memcpy(text, start, strlen(start));
    memcpy(text + size - strlen(end), end, strlen(end));
    int fd = dial();
    (void)send(fd, text, size, MSG_NOSIGNAL);
    drain(fd, got.text, sizeof got.text);
    close(fd);
    int status = 0;
    (void)sscanf(got.text, "HTTP/1.1 %d", &status);
    return status;
}

static void a_request_line_or_headers_over_8_kib_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        int is_good;
    } cases[] = {{8191, 1}, {8192, 1}, {8193, 0}, {9000, 0}, {11000, 0}, {13000, 0}, {60000, 0}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        size_t size = cases[i / 2].size;
        int status = status_of_head(size, i % 2 == 1);
        int is_right = cases[i / 2].is_good ? status == 200 : status == 431 || status == 414;
        if (!is_right) {
            fail_msg("%zu bytes in the %s: %d", size, i % 2 == 1 ? "headers" : "line", status);
        }
        assert_int_equal(status_of("/livez"), 200);
    }
}

static int is_over(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

/* However fast they come, and in whatever places of those before them. */
static void in_a_crowd_the_oldest_goes(void **state)
{
    (void)state;
    struct probe_clients clients = {0};
    struct probe_client *all[3 * PROBE_CLIENTS_MAX];
    int pairs[3 * PROBE_CLIENTS_MAX][2];
    for (int i = 0; i < 3 * PROBE_CLIENTS_MAX; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        all[i] = probe_clients_add(&clients, pairs[i][0], 5);
        assert_non_null(all[i]);
        int gone = i - PROBE_CLIENTS_CROWD;
        for (int k = 0; k <= i; k++) {
            assert_int_equal(is_over(pairs[k][1]), k <= gone);
        }
        if (gone >= 0) {
            probe_clients_remove(all[gone]);
        }
    }
    for (int i = 0; i < 3 * PROBE_CLIENTS_MAX; i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}

/* More of them than there are connections: the next one is served although no time has passed, so
 * that none of them has run into its limit; and when it is over, all are dropped. */
static void half_open_clients_hold_nobody_up(void **state)
{
    (void)state;
    int fds[60];
    char rest[4096];
    stopped_at_ms = __real_sluice_mono_ms();
    for (size_t i = 0; i < 60; i++) {
        fds[i] = dial();
        const char *half = i % 2 == 0 ? "GET /livez HT" : "";
        (void)send(fds[i], half, strlen(half), MSG_NOSIGNAL);
    }
    assert_int_equal(status_of("/livez"), 200);
    assert_false(is_over(fds[59]));
    stopped_at_ms += PROBE_REQUEST_MS;
    assert_int_equal(status_of("/livez"), 200); /* the probe looks at the clock */
    for (size_t i = 0; i < 60; i++) {
        drain(fds[i], rest, sizeof rest);
        assert_null(strstr(rest, " 200 "));
        close(fds[i]);
    }
    assert_int_equal(status_of("/livez"), 200);
}

/* One that is never idle, of a head or of a body that nobody wants: kept up to its limit, and not a
 * moment longer. */
static void dripping_clients_are_dropped(void **state)
{
    (void)state;
    static const char *const begin[] = {
        "GET /livez HTTP/1.1\r\nX: ", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"};
    stopped_at_ms = __real_sluice_mono_ms();
    for (size_t i = 0; i < 2; i++) {
        char rest[4096];
        int fd = dial();
        (void)send(fd, begin[i], strlen(begin[i]), MSG_NOSIGNAL);
        for (int k = 0; k < 20; k++) {
            assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
            assert_int_equal(status_of("/livez"), 200); /* the probe has come round */
        }
        stopped_at_ms += PROBE_REQUEST_MS - 1;
        assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
        assert_int_equal(status_of("/livez"), 200);
        assert_false(is_over(fd));
        stopped_at_ms += 1;
        assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
        drain(fd, rest, sizeof rest);
        assert_true(is_over(fd));
        close(fd);
    }
}

static void *ask_often(void *failures)
{
    struct got *own = malloc(sizeof *own);
    for (int i = 0; i < 50; i++) {
        ask(own, "GET", i % 2 == 0 ? "/health" : "/metrics", "");
        *(int *)failures += own->status != 200;
    }
    free(own);
    return NULL;
}

/* The snapshot changes meanwhile: never a torn one, so both counters always agree. */
static void clients_are_served_at_once(void **state)
{
    (void)state;
    pthread_t threads[8];
    int failures[8] = {0};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &failures[i]), 0);
    }
    for (uint64_t n = 1; n <= 20000; n++) {
        snapshot.tokens_prompt = n;
        snapshot.tokens_completion = n;
        sluice_probe_publish(probe, &snapshot);
        if (n % 1000 == 0) {
            unsigned long long prompt = 0, completion = 1;
            assert_int_equal(status_of("/metrics"), 200);
            const char *at = strstr(got.body, "sluice_llm_tokens_total{type=\"prompt\"} ");
            assert_non_null(at);
            assert_int_equal(sscanf(at,
                                    "sluice_llm_tokens_total{type=\"prompt\"} %llu\n"
                                    "sluice_llm_tokens_total{type=\"completion\"} %llu",
                                    &prompt, &completion),
                             2);
            assert_int_equal(prompt, completion);
        }
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(failures[i], 0);
    }
}

static void a_taken_port_is_named(void **state)
{
    (void)state;
    char port[16];
    struct sluice_err err = {0};
    struct sluice_probe *second = NULL;
    struct sluice_probe_config config = {.host = "127.0.0.1", .port = sluice_probe_port(probe)};
    (void)snprintf(port, sizeof port, ":%u", config.port);
    assert_int_equal(sluice_probe_create(&config, &second, &err), SLUICE_ERR_CONFIG);
    assert_non_null(strstr(err.text, port));
    assert_non_null(strstr(err.text, "127.0.0.1"));
}

/* ---- Metrics ---- */

static char page[64 * 1024];

static void render(int as_openmetrics, size_t size)
{
    struct sluice_metrics_context c = {
        .snapshot = &snapshot, .worker = "w", .version = "1.2", .as_openmetrics = as_openmetrics};
    size_t len = sluice_metrics_render(&c, page, size);
    assert_true(len < sizeof page);
    page[len] = '\0';
}

static void expect_line(const char *line)
{
    const char *at = strstr(page, line);
    if (at == NULL || (at != page && at[-1] != '\n') || at[strlen(line)] != '\n') {
        fail_msg("no line \"%s\" in:\n%s", line, page);
    }
}

static void metrics_hold_the_numbers(void **state)
{
    (void)state;
    struct sluice_engine_metrics *m = &snapshot.engine;
    m->received = 11;
    m->naks_unanswered = 5;
    m->in_flight = 3;
    m->outcomes[SLUICE_OUTCOME_ACKED] = 7;
    m->failures[SLUICE_FAILURE_TIMEOUT] = 2;
    m->calls_started[1] = 9;
    snapshot.breakers[1] = SLUICE_BREAKER_OPEN;
    snapshot.step_failures[PROBE_STEP_LLM] = 4;
    render(0, sizeof page);
    expect_line("sluice_received_total 11");
    expect_line("sluice_naks_unanswered_total 5");
    expect_line("sluice_in_flight_messages 3");
    expect_line("sluice_messages_total{outcome=\"acked\"} 7");
    expect_line("sluice_failures_total{reason=\"timeout\"} 2");
    expect_line("sluice_calls_total{dependency=\"metadata\"} 9");
    expect_line("sluice_breaker_state{dependency=\"metadata\"} 1");
    expect_line("sluice_step_failures_total{step=\"llm\"} 4");
    for (int i = 0; i < SLUICE_OUTCOME_COUNT; i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "sluice_messages_total{outcome=\"%s\"} %d",
                       sluice_outcome_name((enum sluice_outcome)i),
                       i == SLUICE_OUTCOME_ACKED ? 7 : 0);
        expect_line(line);
    }
}

/* Every sample belongs to the family whose head stands last, and counters end in _total. */
static void metrics_pages_are_well_formed(void **state)
{
    (void)state;
    for (int as_openmetrics = 0; as_openmetrics < 2; as_openmetrics++) {
        char family[128] = "", type[32] = "", name[128];
        int samples = 0;
        render(as_openmetrics, sizeof page);
        for (const char *line = page; *line != '\0'; line = strchr(line, '\n') + 1) {
            if (strncmp(line, "# TYPE ", 7) == 0) {
                assert_int_equal(sscanf(line, "# TYPE %127s %31s", family, type), 2);
            } else if (line[0] != '#') {
                int is_counter = strcmp(type, "counter") == 0;
                assert_int_equal(sscanf(line, "%127[a-z_]", name), 1);
                assert_int_equal(strncmp(name, family, strlen(family)), 0);
                assert_string_equal(name + strlen(family),
                                    is_counter && as_openmetrics ? "_total" : "");
                assert_int_equal(is_counter,
                                 strcmp(name + strlen(name) - strlen("_total"), "_total") == 0);
                samples++;
            }
        }
        assert_true(samples > 50);
        assert_int_equal(strstr(page, "\n# EOF\n") != NULL, as_openmetrics);
    }
}

static void metrics_are_cut_at_a_line(void **state)
{
    (void)state;
    for (size_t size = 1; size < 3000; size += 7) {
        memset(page, 0, sizeof page);
        render(0, size);
        size_t len = strlen(page);
        assert_true(len < size);
        assert_true(len == 0 || page[len - 1] == '\n');
    }
}

#define WITH_PROBE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROBE(paths_answer_by_state),
        WITH_PROBE(readiness_needs_a_server_seen_lately),
        WITH_PROBE(what_the_server_denies_is_shown),
        WITH_PROBE(a_loop_that_stands_still_is_not_alive),
        WITH_PROBE(health_names_each_dependency),
        WITH_PROBE(one_thing_that_is_amiss_is_no_health),
        WITH_PROBE(methods_and_unknown_paths),
        WITH_PROBE(a_request_line_or_headers_over_8_kib_are_refused),
        cmocka_unit_test(in_a_crowd_the_oldest_goes),
        WITH_PROBE(half_open_clients_hold_nobody_up),
        WITH_PROBE(dripping_clients_are_dropped),
        WITH_PROBE(clients_are_served_at_once),
        WITH_PROBE(a_taken_port_is_named),
        WITH_PROBE(metrics_hold_the_numbers),
        WITH_PROBE(metrics_pages_are_well_formed),
        WITH_PROBE(metrics_are_cut_at_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
