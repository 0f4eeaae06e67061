/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP server for tests that answers as it is told, wrongly above all. A thread each
 * connection; on 127.0.0.1. */
#ifndef SLUICE_TESTS_ADAPTER_TINY_SERVER_H
#define SLUICE_TESTS_ADAPTER_TINY_SERVER_H

#include <stddef.h>
#include <stdint.h>

struct tiny_server;

enum tiny_after {
    TINY_KEEP,  /* wait for the next request on the connection */
    TINY_CLOSE, /* in good order */
    TINY_RESET,
    TINY_HANG /* stay silent until the client or the server goes */
};

struct tiny_request {
    unsigned connection; /* how many were accepted before */
    unsigned number;     /* of this connection, from 0 */
    unsigned total;      /* requests that the server got before this one */
    const char *head;    /* request line and headers */
    const char *body;    /* a NUL behind it */
    size_t body_len;
};

/* What is sent: bytes, then `tail` times `tail_bytes`, in pieces with pauses. */
struct tiny_answer {
    char bytes[16384];
    size_t len;
    const char *tail;
    size_t tail_len, tail_count;
    unsigned delay_ms; /* before the first byte */
    size_t piece_len;  /* 0: all at once */
    unsigned pause_ms; /* between pieces */
    enum tiny_after after;
};

/* Called on the connection's thread, for one request at a time. `out` is zeroed. */
typedef void tiny_answer_fn(void *ctx, const struct tiny_request *request, struct tiny_answer *out);

struct tiny_server *tiny_server_start(tiny_answer_fn *answer, void *ctx);
/* Ends all connections and threads. */
void tiny_server_stop(struct tiny_server *server);
uint16_t tiny_server_port(const struct tiny_server *server);
unsigned tiny_server_connections(struct tiny_server *server); /* accepted so far */
unsigned tiny_server_requests(struct tiny_server *server);
unsigned tiny_server_open_most(struct tiny_server *server); /* connections at once, at most */

/* "HTTP/1.1 200 OK", Content-Length and the body. */
void tiny_answer_text(struct tiny_answer *out, const char *status, const char *headers,
                      const char *body);

#endif
