/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice healthcheck`: is the worker on this machine ready? For container health checks. */
#include "cli/command.h"

#include "cli/arguments.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TIMEOUT_S 3

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        return -1;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {TIMEOUT_S, 0};
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect too */
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(fd, list->ai_addr, list->ai_addrlen) != 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* The status of GET /readyz; 0 without an answer. The answer's body is left in `text`. */
static int ask(const char *host, const char *port, char *text, size_t size)
{
    int fd = connect_to(host, port);
    if (fd < 0) {
        return 0;
    }
    static const char request[] = "GET /readyz HTTP/1.0\r\n\r\n";
    size_t len = 0;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1) {
        ssize_t n;
        while (len < size - 1 && (n = recv(fd, text + len, size - 1 - len, 0)) > 0) {
            len += (size_t)n;
        }
    }
    (void)close(fd);
    text[len] = '\0';
    int status = 0;
    return sscanf(text, "HTTP/%*s %d", &status) == 1 ? status : 0;
}

static int run(int argc, char **argv)
{
    if (arguments_flag(&argc, argv, "--help")) {
        puts("usage: sluice healthcheck [--host HOST] [--port PORT]\n\n"
             "Exit 0 when /readyz answers 200, else 1. The port is that of "
             "SERVICE_READINESS_PORT [8080].");
        return 0;
    }
    const char *host = arguments_value(&argc, argv, "--host");
    const char *given = arguments_value(&argc, argv, "--port");
    const char *variable = getenv("SERVICE_READINESS_PORT");
    int64_t number = 8080;
    if (given != NULL) {
        (void)arguments_number_of(argv, "--port", given, 1, 65535, &number);
    } else if (variable != NULL && variable[0] != '\0') {
        (void)arguments_number_of(argv, "SERVICE_READINESS_PORT", variable, 1, 65535, &number);
    }
    if (!arguments_are_all_taken(argc, argv)) {
        return 2;
    }
    char text[4096] = "";
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)(uint16_t)number);
    host = host == NULL ? "127.0.0.1" : host;
    int status = ask(host, port, text, sizeof text);
    const char *body = strstr(text, "\r\n\r\n");
    if (status == 0) {
        printf("no answer from %s:%s\n", host, port);
    } else {
        printf("%d %s", status, body == NULL ? "\n" : body + 4);
    }
    return status == 200 ? 0 : 1;
}

const struct sluice_command sluice_command_healthcheck = {
    "healthcheck", "exit 0 when the worker on this machine is ready", run};
