/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_greeting.h"

#include <cjson/cJSON.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_S     2
#define GREETING_SIZE 8192u
#define URL_SIZE      512u

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        return -1;
    }
    for (struct addrinfo *at = list; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (fd < 0) {
            continue;
        }
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
        if (connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

int sluice_nats_greeting_parse(const char *text, struct sluice_nats_greeting *out)
{
    cJSON *info = strncmp(text, "INFO ", 5) == 0 ? cJSON_ParseWithOpts(text + 5, NULL, 0) : NULL;
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(info, "version");
    int is_read = cJSON_IsObject(info);
    memset(out, 0, sizeof *out);
    if (is_read && cJSON_IsString(version)) {
        (void)snprintf(out->version, sizeof out->version, "%s", version->valuestring);
    }
    out->wants_client_certificate =
        is_read && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(info, "tls_verify"));
    cJSON_Delete(info);
    return is_read;
}

/* "INFO {…}\r\n", the first thing that a server says, also one that wants TLS after it. */
static int read_greeting(int fd, struct sluice_nats_greeting *out)
{
    char text[GREETING_SIZE];
    size_t len = 0;
    while (len < sizeof text - 1) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (n <= 0) {
            return 0;
        }
        len += (size_t)n;
        if (memchr(text, '\n', len) != NULL) {
            break;
        }
    }
    text[len] = '\0';
    return sluice_nats_greeting_parse(text, out);
}

/* The URL's host and port, both within `url`; 0 without a port. */
static int split_url(char *url, char **host, char **port)
{
    *host = strstr(url, "://");
    *host = *host == NULL ? url : *host + 3;
    *port = strrchr(*host, ':');
    if (*port == NULL) {
        return 0;
    }
    *(*port)++ = '\0';
    size_t len = strlen(*host);
    if (len > 0 && (*host)[0] == '[' && (*host)[len - 1] == ']') {
        (*host)[len - 1] = '\0';
        (*host)++;
    }
    return 1;
}

int sluice_nats_greeting_read(const char *url, struct sluice_nats_greeting *out)
{
    char text[URL_SIZE];
    char *host, *port;
    memset(out, 0, sizeof *out);
    (void)snprintf(text, sizeof text, "%s", url);
    int fd = split_url(text, &host, &port) ? connect_to(host, port) : -1;
    if (fd < 0) {
        return 0;
    }
    int is_read = read_greeting(fd, out);
    close(fd);
    return is_read;
}
