/* SPDX-License-Identifier: Apache-2.0 */
#include "nats_fixture.h"

#include "core/assert.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <nats/nats.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

void sluice_panic(const char *expression, const char *file, int line, const char *state)
{
    (void)fprintf(stderr, "%s:%d: %s must hold (%s)\n", file, line, expression, state);
    abort();
}

/* ---- The server ---- */

static const char *server_binary(void)
{
    const char *binary = getenv("SLUICE_NATS_SERVER");
    return binary != NULL && binary[0] != '\0' ? binary : "nats-server";
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static int can_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    char info[512];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int is_up = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                recv(fd, info, sizeof info, 0) > 0;
    close(fd);
    return is_up;
}

static int spawn_server(struct nats_server *server)
{
    char config[128];
    (void)snprintf(config, sizeof config, "%s/server.conf", server->folder);
    server->pid = fork();
    if (server->pid == 0) {
        int null = open("/dev/null", O_RDWR);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no server behind */
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        (void)execlp(server_binary(), server_binary(), "-c", config, (char *)NULL);
        _exit(127);
    }
    assert_true(server->pid > 0);
    for (int i = 0; i < 2000; i++) {
        int status;
        if (can_connect(server->port)) {
            return 1;
        }
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            server->pid = 0;
            return 0;
        }
        usleep(5000);
    }
    fail_msg("nats-server did not come up on port %d within 10 s", server->port);
    return 0;
}

int nats_server_start(struct nats_server *server, const char *extra)
{
    char path[128];
    memset(server, 0, sizeof *server);
    (void)snprintf(server->folder, sizeof server->folder, "/tmp/sluice-nats-XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    server->port = free_port();
    (void)snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%d", server->port);
    (void)snprintf(path, sizeof path, "%s/server.conf", server->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "listen: \"127.0.0.1:%d\"\nlogfile: \"%s/log\"\n%s\n", server->port,
                  server->folder, extra == NULL ? "" : extra);
    /* With an operator JetStream would need a system account. */
    if (extra == NULL || strstr(extra, "operator:") == NULL) {
        (void)fprintf(file, "jetstream { store_dir: \"%s/js\" }\n", server->folder);
    }
    (void)fclose(file);
    return spawn_server(server);
}

void nats_server_kill(struct nats_server *server)
{
    if (server->pid > 0) {
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

void nats_server_restart(struct nats_server *server)
{
    assert_true(spawn_server(server));
}

void nats_server_signal(struct nats_server *server, int signal)
{
    (void)kill(server->pid, signal);
    if (signal == SIGSTOP) { /* its threads still run, and answer, until each has seen it */
        int status = 0;
        assert_int_equal(waitpid(server->pid, &status, WUNTRACED), server->pid);
        assert_true(WIFSTOPPED(status));
    }
}

void nats_server_stop(struct nats_server *server)
{
    char command[128];
    nats_server_kill(server);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", server->folder);
    assert_int_equal(system(command), 0);
}

int nats_server_has(const char *version_prefix)
{
    char command[512], line[128] = "";
    (void)snprintf(command, sizeof command, "'%s' --version 2>/dev/null", server_binary());
    FILE *pipe = popen(command, "r");
    if (pipe == NULL || fgets(line, sizeof line, pipe) == NULL) {
        line[0] = '\0';
    }
    if (pipe != NULL) {
        (void)pclose(pipe);
    }
    const char *version = strstr(line, ": v");
    return version != NULL && strncmp(version + 3, version_prefix, strlen(version_prefix)) == 0;
}

/* ---- The loop ---- */

static void post(struct sluice_mailbox *mailbox, struct sluice_mail *mail)
{
    struct test_loop *loop = (struct test_loop *)mailbox;
    mail->next = NULL;
    pthread_mutex_lock(&loop->lock);
    *loop->last = mail;
    loop->last = &mail->next;
    pthread_mutex_unlock(&loop->lock);
    (void)uv_async_send(&loop->wake);
}

static void deliver(struct test_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct sluice_mail *mail = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    pthread_mutex_unlock(&loop->lock);
    while (mail != NULL) {
        struct sluice_mail *next = mail->next;
        mail->deliver(mail);
        mail = next;
    }
}

static void on_wake(uv_async_t *wake)
{
    deliver(wake->data);
}

void test_loop_init(struct test_loop *loop)
{
    memset(loop, 0, sizeof *loop);
    loop->mailbox.post = post;
    loop->last = &loop->first;
    pthread_mutex_init(&loop->lock, NULL);
    assert_int_equal(uv_loop_init(&loop->loop), 0);
    assert_int_equal(uv_async_init(&loop->loop, &loop->wake, on_wake), 0);
    loop->wake.data = loop;
}

void test_loop_fini(struct test_loop *loop)
{
    deliver(loop);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    assert_int_equal(uv_run(&loop->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop->loop), 0);
    pthread_mutex_destroy(&loop->lock);
}

static void on_deadline(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
}

static void run_until(struct test_loop *loop, int (*is_done)(void *), void *ctx, uint64_t ms,
                      const char *what)
{
    uv_timer_t timer;
    int is_late = 0;
    uv_update_time(&loop->loop);
    assert_int_equal(uv_timer_init(&loop->loop, &timer), 0);
    timer.data = &is_late;
    assert_int_equal(uv_timer_start(&timer, on_deadline, ms, 0), 0);
    while (!is_late && (is_done == NULL || !is_done(ctx))) {
        (void)uv_run(&loop->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&loop->loop, UV_RUN_NOWAIT); /* ends the closing: the timer is on this stack */
    if (is_late && is_done != NULL && !is_done(ctx)) {
        fail_msg("waited %d ms in vain: %s", (int)ms, what);
    }
}

void test_loop_until(struct test_loop *loop, int (*is_done)(void *), void *ctx, const char *what)
{
    run_until(loop, is_done, ctx, 20000, what);
}

void test_wait_until(int (*is_done)(void *), void *ctx, const char *what)
{
    for (int i = 0; i < 20000; i++) {
        if (is_done(ctx)) {
            return;
        }
        usleep(1000);
    }
    fail_msg("waited 20 s in vain: %s", what);
}

void test_loop_for(struct test_loop *loop, int ms)
{
    run_until(loop, NULL, NULL, (uint64_t)ms, "");
}

/* ---- The plain client ---- */

static natsConnection *open_client(struct nats_server *server)
{
    natsConnection *nc = NULL;
    assert_int_equal(natsConnection_ConnectTo(&nc, server->url), NATS_OK);
    return nc;
}

char *nats_ask(struct nats_server *server, const char *subject, const char *body)
{
    natsConnection *nc = open_client(server);
    natsMsg *msg = NULL;
    char *answer = NULL;
    if (natsConnection_RequestString(&msg, nc, subject, body, 5000) == NATS_OK) {
        int len = natsMsg_GetDataLength(msg);
        answer = calloc(1, (size_t)len + 1);
        assert_non_null(answer);
        memcpy(answer, natsMsg_GetData(msg), (size_t)len);
    }
    natsMsg_Destroy(msg);
    natsConnection_Close(nc);
    natsConnection_Destroy(nc);
    return answer;
}

void nats_ask_ok(struct nats_server *server, const char *subject, const char *body)
{
    char *answer = nats_ask(server, subject, body);
    assert_non_null(answer);
    if (strstr(answer, "\"error\"") != NULL) {
        fail_msg("%s %s: %s", subject, body, answer);
    }
    free(answer);
}

struct stored {
    struct nats_server *server;
    char text[32]; /* in the stream's description */
};

static int is_stored(void *ctx)
{
    struct stored *wanted = ctx;
    char *info = nats_ask(wanted->server, "$JS.API.STREAM.INFO.S", "");
    int is_there = info != NULL && strstr(info, wanted->text) != NULL;
    free(info);
    return is_there;
}

void nats_wait_stored(struct nats_server *server, int count)
{
    struct stored wanted = {.server = server};
    (void)snprintf(wanted.text, sizeof wanted.text, "\"messages\":%d,", count);
    test_wait_until(is_stored, &wanted, "the messages in the stream");
}

void nats_say(struct nats_server *server, const char *subject, const char *body, int count)
{
    natsConnection *nc = open_client(server);
    for (int i = 0; i < count; i++) {
        char text[1024];
        const char *mark = strstr(body, "%d");
        int before = mark == NULL ? (int)strlen(body) : (int)(mark - body);
        (void)snprintf(text, sizeof text, "%.*s", before, body);
        if (mark != NULL) {
            (void)snprintf(text + before, sizeof text - (size_t)before, "%d%s", i, mark + 2);
        }
        assert_int_equal(natsConnection_PublishString(nc, subject, text), NATS_OK);
    }
    assert_int_equal(natsConnection_FlushTimeout(nc, 5000), NATS_OK);
    natsConnection_Close(nc);
    natsConnection_Destroy(nc);
}

static void must_not_fail(char *answer)
{
    assert_non_null(answer);
    if (strstr(answer, "\"error\"") != NULL) {
        fail_msg("the server refused: %s", answer);
    }
    free(answer);
}

void nats_make_stream(struct nats_server *server, int64_t ack_wait_ms)
{
    char config[512];
    must_not_fail(nats_ask(server, "$JS.API.STREAM.CREATE.S",
                           "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"retention\":\"workqueue\","
                           "\"storage\":\"file\",\"num_replicas\":1}"));
    (void)snprintf(
        config, sizeof config,
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\","
        "\"ack_wait\":%lld,\"max_deliver\":-1,\"max_ack_pending\":10000}}",
        (long long)ack_wait_ms * 1000000);
    must_not_fail(nats_ask(server, "$JS.API.CONSUMER.DURABLE.CREATE.S.C", config));
}
