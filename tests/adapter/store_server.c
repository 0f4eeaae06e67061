/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int is_on_path(const char *program)
{
    char command[64];
    (void)snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", program);
    return system(command) == 0;
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("free port");
        exit(1);
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

static int is_listening(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = connect(fd, (struct sockaddr *)&address, sizeof address);
    (void)close(fd);
    return rc == 0;
}

int store_server_begin(struct store_server *server)
{
    const char *uri = getenv("MONGODB_URI");
    const char *ferretdb = getenv("SLUICE_FERRETDB");
    memset(server, 0, sizeof *server);
    if (uri != NULL && uri[0] != '\0') {
        (void)snprintf(server->uri, sizeof server->uri, "%s", uri);
        return 1;
    }
    server->is_ferretdb = !is_on_path("mongod");
    if (server->is_ferretdb && (ferretdb == NULL || access(ferretdb, X_OK) != 0)) {
        return 0;
    }
    (void)snprintf(server->folder, sizeof server->folder, "/tmp/sluice-mongo-XXXXXX");
    if (mkdtemp(server->folder) == NULL) {
        perror(server->folder);
        exit(1);
    }
    server->is_ours = 1;
    server->port = free_port();
    (void)snprintf(server->uri, sizeof server->uri, "mongodb://127.0.0.1:%u/", server->port);
    store_server_start(server);
    return 1;
}

void store_server_start(struct store_server *server)
{
    char port[8], address[32];
    (void)snprintf(port, sizeof port, "%u", server->port);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", server->port);
    const char *mongod[] = {"mongod",    "--port",   port,           "--bind_ip",
                            "127.0.0.1", "--dbpath", server->folder, NULL};
    const char *ferretdb[] = {
        getenv("SLUICE_FERRETDB"), "-listen", address, "-dir", server->folder, NULL};
    const char **arguments = server->is_ferretdb ? ferretdb : mongod;
    char log[160];
    (void)snprintf(log, sizeof log, "%s/log", server->folder);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    int rc =
        posix_spawnp(&server->pid, arguments[0], &files, NULL, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&files);
    if (rc != 0) {
        (void)fprintf(stderr, "%s: %s\n", arguments[0], strerror(rc));
        exit(1);
    }
    struct timespec pause = {.tv_nsec = 10000000};
    for (int i = 0; i < 3000 && !is_listening(server->port); i++) {
        (void)nanosleep(&pause, NULL);
    }
    if (!is_listening(server->port)) {
        (void)fprintf(stderr, "%s did not listen on port %u within 30 s\n", arguments[0],
                      server->port);
        exit(1);
    }
}

void store_server_kill(struct store_server *server)
{
    if (server->pid > 0) {
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

void store_server_end(struct store_server *server)
{
    store_server_kill(server);
    if (server->is_ours) {
        char command[192];
        (void)snprintf(command, sizeof command, "rm -rf -- '%s'", server->folder);
        if (system(command) != 0) {
            (void)fprintf(stderr, "%s could not be removed\n", server->folder);
        }
    }
}
