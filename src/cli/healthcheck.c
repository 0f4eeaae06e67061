/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice healthcheck`: is the worker on this machine ready? For container health checks. */
#include "cli/command.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TIMEOUT_S 3

static int is_port(const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);
    return text[0] != '\0' && *end == '\0' && number >= 1 && number <= 65535;
}

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
    const char *host = "127.0.0.1";
    const char *port = getenv("SERVICE_READINESS_PORT");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            puts("usage: sluice healthcheck [--host HOST] [--port PORT]\n\n"
                 "Exit 0 when /readyz answers 200, else 1. The port is that of "
                 "SERVICE_READINESS_PORT [8080].");
            return 0;
        }
        if (i + 1 < argc && strcmp(argv[i], "--host") == 0) {
            host = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--port") == 0) {
            port = argv[++i];
        } else {
            fprintf(stderr, "sluice healthcheck: unexpected \"%s\", see --help\n", argv[i]);
            return 2;
        }
    }
    char text[4096] = "";
    port = port == NULL || port[0] == '\0' ? "8080" : port;
    if (!is_port(port)) {
        fprintf(stderr, "sluice healthcheck: port: \"%s\", expected a number from 1 to 65535\n",
                port);
        return 2;
    }
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
