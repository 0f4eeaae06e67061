/* SPDX-License-Identifier: Apache-2.0 */
/* A plain HTTP client over a socket, which shows what a real one hides: whether an answer was
 * whole. */
#ifndef SLUICE_TESTS_LLMSIM_CLIENT_H
#define SLUICE_TESTS_LLMSIM_CLIENT_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

struct reply {
    int status;    /* 0: no answer at all */
    char *headers; /* as they came, NUL-terminated */
    char *body;    /* without the framing, NUL-terminated */
    size_t len;
    int is_whole; /* the framing's end was seen */
};

/* Connect and send; `headers` are whole lines with their ends, or NULL. The socket. */
int client_send(uint16_t port, const char *method, const char *path, const char *headers,
                const char *body);
/* Read to the end of the connection, at most 60 s. */
struct reply client_receive(int fd);
struct reply client_call(uint16_t port, const char *method, const char *path, const char *headers,
                         const char *body);
void reply_free(struct reply *r);

/* The body as JSON; fails the test when it is none. To be deleted. */
cJSON *reply_json(const struct reply *r);
/* The value of a header, NULL when absent; valid until the next call. */
const char *reply_header(const struct reply *r, const char *name);

#endif
