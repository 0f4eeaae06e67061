/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* hung up early: the answer tells why */
        }
        data += n;
        len -= (size_t)n;
    }
}

int client_send(uint16_t port, const char *method, const char *path, const char *headers,
                const char *body)
{
    char head[1024];
    size_t len = body == NULL ? 0 : strlen(body);
    const struct timeval patience = {.tv_sec = 60};
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    int n =
        snprintf(head, sizeof head,
                 "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n",
                 method, path, len, headers == NULL ? "" : headers);
    assert_true(n > 0 && (size_t)n < sizeof head);
    send_all(fd, head, (size_t)n);
    send_all(fd, body, len);
    return fd;
}

/* Takes the frames of chunked coding out, in place. 1 when the last one was seen. */
static int unchunk(struct reply *r)
{
    char *from = r->body, *to = r->body, *end = r->body + r->len;
    int is_whole = 0;
    while (from < end && !is_whole) {
        char *data = strstr(from, "\r\n");
        size_t size = strtoul(from, NULL, 16);
        if (data == NULL || (data += 2) > end || size > (size_t)(end - data)) {
            size = data == NULL || data > end ? 0 : (size_t)(end - data);
            memmove(to, data, size);
            to += size;
            break;
        }
        is_whole = size == 0;
        memmove(to, data, size);
        to += size;
        from = data + size + 2;
    }
    *to = '\0';
    r->len = (size_t)(to - r->body);
    return is_whole;
}

static void parse(struct reply *r, char *raw, size_t len)
{
    char *end = strstr(raw, "\r\n\r\n");
    if (end == NULL || sscanf(raw, "HTTP/1.%*c %d", &r->status) != 1) {
        r->headers = raw;
        r->body = calloc(1, 1);
        assert_non_null(r->body);
        return;
    }
    end[2] = '\0';
    r->headers = raw;
    r->len = len - (size_t)(end + 4 - raw);
    r->body = malloc(r->len + 1);
    assert_non_null(r->body);
    memcpy(r->body, end + 4, r->len);
    r->body[r->len] = '\0';
    const char *length = reply_header(r, "Content-Length");
    if (length != NULL) {
        r->is_whole = strtoul(length, NULL, 10) == r->len;
    } else if (reply_header(r, "Transfer-Encoding") != NULL) {
        r->is_whole = unchunk(r);
    }
}

struct reply client_receive(int fd)
{
    struct reply r = {.status = 0};
    size_t len = 0, size = 4096;
    char *raw = malloc(size);
    assert_non_null(raw);
    ssize_t n;
    while ((n = recv(fd, raw + len, size - len - 1, 0)) > 0) {
        len += (size_t)n;
        if (size - len < 2048) {
            raw = realloc(raw, size *= 2);
            assert_non_null(raw);
        }
    }
    (void)close(fd);
    raw[len] = '\0';
    parse(&r, raw, len);
    return r;
}

struct reply client_call(uint16_t port, const char *method, const char *path, const char *headers,
                         const char *body)
{
    return client_receive(client_send(port, method, path, headers, body));
}

void reply_free(struct reply *r)
{
    free(r->headers);
    free(r->body);
    *r = (struct reply){.status = 0};
}

cJSON *reply_json(const struct reply *r)
{
    cJSON *json = cJSON_Parse(r->body);
    if (json == NULL) {
        fail_msg("no JSON: %d \"%s\"", r->status, r->body);
    }
    return json;
}

const char *reply_header(const struct reply *r, const char *name)
{
    static char value[256];
    size_t len = strlen(name);
    for (const char *line = strstr(r->headers, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *from = line + len + 1 + strspn(line + len + 1, " ");
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(from, "\r"), from);
            return value;
        }
    }
    return NULL;
}
