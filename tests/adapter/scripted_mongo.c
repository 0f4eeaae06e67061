/* SPDX-License-Identifier: Apache-2.0 */
#include "scripted_mongo.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, MESSAGE_MAX = 1 << 20, OP_REPLY = 1, OP_QUERY = 2004, OP_MSG = 2013 };

struct connection {
    struct scripted_mongo *server;
    pthread_t thread;
    int fd;
};

struct scripted_mongo {
    scripted_fn *script;
    void *ctx;
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t mutex; /* the script runs under it, and it guards what follows */
    pthread_cond_t changed;
    int is_gate_closed, is_at_gate, is_stopping;
    uint32_t connections_count;
    struct connection connections[CONNECTIONS_MAX];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int32_t get32(const uint8_t *p)
{
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                     (uint32_t)p[3] << 24);
}

static void put32(uint8_t *p, int32_t value)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)((uint32_t)value >> (8 * i));
    }
}

static int read_all(int fd, uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, out, len, 0);
        if (n <= 0) {
            return 0;
        }
        out += n;
        len -= (size_t)n;
    }
    return 1;
}

/* A header, `lead` bytes of the body's own, the document. */
static void send_reply(int fd, int32_t to, int32_t op, const uint8_t *lead, size_t lead_len,
                       const bson_t *reply)
{
    static _Atomic int32_t id;
    size_t len = 16 + lead_len + reply->len;
    uint8_t *out = malloc(len);
    put32(out, (int32_t)len);
    put32(out + 4, ++id);
    put32(out + 8, to);
    put32(out + 12, op);
    memcpy(out + 16, lead, lead_len);
    memcpy(out + 16 + lead_len, bson_get_data(reply), reply->len);
    (void)send(fd, out, len, MSG_NOSIGNAL);
    free(out);
}

static void greet(bson_t *reply)
{
    BSON_APPEND_BOOL(reply, "ismaster", true);
    BSON_APPEND_BOOL(reply, "isWritablePrimary", true);
    BSON_APPEND_BOOL(reply, "helloOk", true);
    BSON_APPEND_INT32(reply, "maxBsonObjectSize", 16777216);
    BSON_APPEND_INT32(reply, "maxMessageSizeBytes", 48000000);
    BSON_APPEND_INT32(reply, "maxWriteBatchSize", 100000);
    BSON_APPEND_INT32(reply, "minWireVersion", 0);
    BSON_APPEND_INT32(reply, "maxWireVersion", 13);
    BSON_APPEND_DOUBLE(reply, "ok", 1);
}

/* The ids of a document sequence; they live as long as the message. */
static uint32_t read_ids(const uint8_t *at, const uint8_t *end, const char **ids)
{
    uint32_t count = 0;
    while (end - at > 4 && get32(at) > 4 && get32(at) <= end - at && count < SCRIPTED_IDS_MAX) {
        bson_t update;
        bson_iter_t found, id;
        ids[count] = "?";
        if (bson_init_static(&update, at, (size_t)get32(at)) && bson_iter_init(&found, &update) &&
            bson_iter_find_descendant(&found, "q._id", &id) && BSON_ITER_HOLDS_UTF8(&id)) {
            ids[count] = bson_iter_utf8(&id, NULL);
        }
        count++;
        at += get32(at);
    }
    return count;
}

static enum scripted_answer run_script(struct scripted_mongo *s, const uint8_t *at,
                                       const uint8_t *end, bson_t *reply)
{
    const char *ids[SCRIPTED_IDS_MAX];
    uint32_t count = 0;
    if (end - at > 5 && at[0] == 1) { /* int32 size, name, documents */
        const uint8_t *section_end = at + 1 + get32(at + 1);
        const uint8_t *first = at + 5 + strlen((const char *)at + 5) + 1;
        count = section_end <= end ? read_ids(first, section_end, ids) : 0;
    }
    pthread_mutex_lock(&s->mutex);
    while (s->is_gate_closed && !s->is_stopping) {
        s->is_at_gate = 1;
        pthread_cond_broadcast(&s->changed);
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    s->is_at_gate = 0;
    enum scripted_answer answer = s->script(s->ctx, ids, count, reply);
    pthread_mutex_unlock(&s->mutex);
    return answer;
}

/* 0: end the connection. */
static int serve_message(struct scripted_mongo *s, int fd, const uint8_t *message, size_t len)
{
    bson_t reply = BSON_INITIALIZER;
    enum scripted_answer answer = SCRIPTED_REPLY;
    int32_t op = get32(message + 12);
    if (op == OP_QUERY) { /* the first greeting */
        uint8_t lead[20] = {0};
        put32(lead + 16, 1);
        greet(&reply);
        send_reply(fd, get32(message + 4), OP_REPLY, lead, sizeof lead, &reply);
        bson_destroy(&reply);
        return 1;
    }
    bson_t command;
    bson_iter_t at;
    const uint8_t *document = message + 21; /* flags, kind 0 */
    if (op != OP_MSG || len < 26 ||
        !bson_init_static(&command, document, (size_t)get32(document)) ||
        !bson_iter_init(&at, &command) || !bson_iter_next(&at)) {
        answer = SCRIPTED_CLOSE;
    } else if (strcmp(bson_iter_key(&at), "update") == 0) {
        answer = run_script(s, document + get32(document), message + len, &reply);
    } else if (strcmp(bson_iter_key(&at), "hello") == 0 ||
               strcmp(bson_iter_key(&at), "isMaster") == 0) {
        greet(&reply);
    } else {
        BSON_APPEND_DOUBLE(&reply, "ok", 1);
    }
    if (answer == SCRIPTED_REPLY) {
        uint8_t lead[5] = {0};
        send_reply(fd, get32(message + 4), OP_MSG, lead, sizeof lead, &reply);
    }
    bson_destroy(&reply);
    return answer != SCRIPTED_CLOSE;
}

static void *connection_main(void *arg)
{
    struct connection *c = arg;
    uint8_t *message = malloc(MESSAGE_MAX);
    int is_open = 1;
    while (is_open && read_all(c->fd, message, 16)) {
        size_t len = (size_t)get32(message);
        is_open = len >= 26 && len <= MESSAGE_MAX && read_all(c->fd, message + 16, len - 16) &&
                  serve_message(c->server, c->fd, message, len);
    }
    (void)shutdown(c->fd, SHUT_RDWR);
    free(message);
    return NULL;
}

static void *accept_main(void *arg)
{
    struct scripted_mongo *s = arg;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        pthread_mutex_lock(&s->mutex);
        if (s->is_stopping || s->connections_count == CONNECTIONS_MAX) {
            (void)close(fd);
        } else {
            struct connection *c = &s->connections[s->connections_count++];
            *c = (struct connection){.server = s, .fd = fd};
            if (pthread_create(&c->thread, NULL, connection_main, c) != 0) {
                die("connection");
            }
        }
        pthread_mutex_unlock(&s->mutex);
    }
    return NULL;
}

struct scripted_mongo *scripted_mongo_start(scripted_fn *script, void *ctx)
{
    struct scripted_mongo *s = calloc(1, sizeof *s);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    s->script = script;
    s->ctx = ctx;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(s->fd, 16) != 0 || getsockname(s->fd, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&s->thread, NULL, accept_main, s) != 0) {
        die("scripted server");
    }
    s->port = ntohs(address.sin_port);
    return s;
}

uint16_t scripted_mongo_port(const struct scripted_mongo *server)
{
    return server->port;
}

void scripted_mongo_close_gate(struct scripted_mongo *s)
{
    pthread_mutex_lock(&s->mutex);
    s->is_gate_closed = 1;
    pthread_mutex_unlock(&s->mutex);
}

void scripted_mongo_await_at_gate(struct scripted_mongo *s)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->is_at_gate) {
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
}

void scripted_mongo_open_gate(struct scripted_mongo *s)
{
    pthread_mutex_lock(&s->mutex);
    s->is_gate_closed = 0;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

void scripted_mongo_stop(struct scripted_mongo *s)
{
    pthread_mutex_lock(&s->mutex);
    s->is_stopping = 1;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    (void)shutdown(s->fd, SHUT_RDWR);
    (void)pthread_join(s->thread, NULL);
    (void)close(s->fd);
    for (uint32_t i = 0; i < s->connections_count; i++) {
        (void)shutdown(s->connections[i].fd, SHUT_RDWR);
        (void)pthread_join(s->connections[i].thread, NULL);
        (void)close(s->connections[i].fd);
    }
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->changed);
    free(s);
}
