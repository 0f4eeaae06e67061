/* SPDX-License-Identifier: Apache-2.0 */
/* mongo-sink: speaks just enough of MongoDB's wire protocol to be written to, answers at once and
 * keeps nothing. For measuring what the driver costs, not for correctness. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define OP_REPLY    1
#define OP_QUERY    2004
#define OP_MSG      2013
#define MESSAGE_MAX (48u * 1024u * 1024u)
#define REPLY_MAX   (4u * 1024u * 1024u)

struct out {
    uint8_t *data;
    size_t len;
};

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void set32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> 8 * i);
    }
}

static void put(struct out *o, const void *data, size_t len)
{
    if (o->len + len <= REPLY_MAX) {
        memcpy(o->data + o->len, data, len);
        o->len += len;
    }
}

static void put32(struct out *o, uint32_t v)
{
    uint8_t b[4];
    set32(b, v);
    put(o, b, 4);
}

static void put_head(struct out *o, uint8_t type, const char *name)
{
    put(o, &type, 1);
    put(o, name, strlen(name) + 1);
}

static void put_int(struct out *o, const char *name, uint32_t v)
{
    put_head(o, 0x10, name);
    put32(o, v);
}

static size_t open_document(struct out *o)
{
    put32(o, 0);
    return o->len - 4;
}

static void close_document(struct out *o, size_t at)
{
    put(o, "", 1);
    set32(o->data + at, (uint32_t)(o->len - at));
}

static void put_hello(struct out *o)
{
    static const uint8_t yes = 1;
    static const uint8_t ok[8] = {0, 0, 0, 0, 0, 0, 0xf0, 0x3f}; /* 1.0 */
    put_head(o, 0x08, "ismaster");
    put(o, &yes, 1);
    put_head(o, 0x08, "helloOk");
    put(o, &yes, 1);
    put_int(o, "maxBsonObjectSize", 16u << 20);
    put_int(o, "maxMessageSizeBytes", MESSAGE_MAX);
    put_int(o, "maxWriteBatchSize", 100000);
    put_int(o, "minWireVersion", 0);
    put_int(o, "maxWireVersion", 17);
    put_head(o, 0x01, "ok");
    put(o, ok, 8);
}

/* One upsert: the document was new. Its _id does not matter to the client. */
static void put_write(struct out *o, uint32_t count, int is_update)
{
    static const uint8_t ok[8] = {0, 0, 0, 0, 0, 0, 0xf0, 0x3f};
    put_int(o, "n", count);
    if (is_update) {
        put_int(o, "nModified", 0);
        put_head(o, 0x04, "upserted");
        size_t list = open_document(o);
        for (uint32_t i = 0; i < count; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "%u", i);
            put_head(o, 0x03, name);
            size_t one = open_document(o);
            put_int(o, "index", i);
            put_int(o, "_id", i);
            close_document(o, one);
        }
        close_document(o, list);
    }
    put_head(o, 0x01, "ok");
    put(o, ok, 8);
}

static void put_ok(struct out *o)
{
    static const uint8_t ok[8] = {0, 0, 0, 0, 0, 0, 0xf0, 0x3f};
    put_head(o, 0x01, "ok");
    put(o, ok, 8);
}

static void put_answer(struct out *o, const char *command, uint32_t count)
{
    size_t document = open_document(o);
    if (strcasecmp(command, "hello") == 0 || strcasecmp(command, "ismaster") == 0) {
        put_hello(o);
    } else if (strcmp(command, "update") == 0 || strcmp(command, "insert") == 0) {
        put_write(o, count, command[0] == 'u');
    } else {
        put_ok(o); /* ping, endSessions */
    }
    close_document(o, document);
}

/* Documents of the sections of kind 1; 0: the message is broken. The first element of the section
 * of kind 0 names the command. */
static int read_msg(const uint8_t *p, size_t len, const char **command, uint32_t *count)
{
    size_t at = 4; /* flags */
    *command = "";
    *count = 0;
    while (at + 5 <= len) {
        uint8_t kind = p[at++];
        size_t size = get32(p + at);
        if (size < 5 || size > len - at) {
            return 0;
        }
        if (kind == 0) {
            *command = (const char *)p + at + 5; /* length and type; the message ends with NUL */
        } else {
            size_t doc = at + 4 + strnlen((const char *)p + at + 4, size - 4) + 1;
            while (doc + 5 <= at + size) {
                size_t one = get32(p + doc);
                if (one < 5 || one > at + size - doc) {
                    return 0;
                }
                doc += one;
                (*count)++;
            }
        }
        at += size;
    }
    return 1;
}

static int reply(int fd, struct out *o, const uint8_t *head, const uint8_t *body, size_t len)
{
    const char *command = "hello";
    uint32_t count = 0;
    int is_msg = get32(head + 12) == OP_MSG;
    o->len = 0;
    put32(o, 0);
    put32(o, 1);
    put(o, head + 4, 4); /* responseTo */
    put32(o, is_msg ? OP_MSG : OP_REPLY);
    if (is_msg) {
        if (!read_msg(body, len, &command, &count)) {
            return 0;
        }
        put32(o, 0);
        put(o, "", 1);
    } else {
        put32(o, 8);
        put32(o, 0);
        put32(o, 0);
        put32(o, 0);
        put32(o, 1);
    }
    put_answer(o, command, count);
    set32(o->data, (uint32_t)o->len);
    for (size_t sent = 0; sent < o->len;) {
        ssize_t n = send(fd, o->data + sent, o->len - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return 0;
        }
        sent += (size_t)n;
    }
    return 1;
}

static int read_all(int fd, uint8_t *out, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = recv(fd, out + got, len - got, 0);
        if (n <= 0) {
            return 0;
        }
        got += (size_t)n;
    }
    return 1;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    uint8_t head[16];
    uint8_t *body = malloc(MESSAGE_MAX + 1);
    struct out o = {.data = malloc(REPLY_MAX)};
    while (body != NULL && o.data != NULL && read_all(fd, head, sizeof head)) {
        size_t len = get32(head);
        uint32_t code = get32(head + 12);
        if (len < 21 || len > MESSAGE_MAX || (code != OP_MSG && code != OP_QUERY) ||
            !read_all(fd, body, len - 16)) {
            break;
        }
        body[len - 16] = 0;
        if (!reply(fd, &o, head, body, len - 16)) {
            break;
        }
    }
    free(body);
    free(o.data);
    (void)close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    if (argc != 3 || strcmp(argv[1], "--port-file") != 0) {
        fprintf(stderr, "usage: mongo-sink --port-file FILE\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0) {
        perror("mongo-sink");
        return 1;
    }
    char part[4096]; /* renamed when whole: the reader never sees half of it */
    (void)snprintf(part, sizeof part, "%s.part", argv[2]);
    FILE *f = fopen(part, "we");
    if (f == NULL || fprintf(f, "%u\n", ntohs(address.sin_port)) < 0 || fclose(f) != 0 ||
        rename(part, argv[2]) != 0) {
        perror(argv[2]);
        return 1;
    }
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_t thread;
        if (fd < 0) {
            if (errno == EINTR) {
                continue;
            }
            return 1;
        }
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0) {
            (void)close(fd);
        } else {
            (void)pthread_detach(thread);
        }
    }
}
