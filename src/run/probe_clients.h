/* SPDX-License-Identifier: Apache-2.0 */
/* The probe's clients: who holds a connection, since when, and who has to go. Probe thread only. */
#ifndef SLUICE_RUN_PROBE_CLIENTS_H
#define SLUICE_RUN_PROBE_CLIENTS_H

#include <stdint.h>

#define PROBE_CLIENTS_MAX   32    /* connections at once */
#define PROBE_CLIENTS_CROWD 24    /* so many: the one that keeps us waiting longest has to go */
#define PROBE_REQUEST_MS    10000 /* from the first byte awaited to the last byte answered */

struct probe_client {
    int64_t since_ms; /* a request has been awaited, or answered */
    uint64_t turn;    /* the same as a number: many come within a millisecond */
    int fd;
    uint8_t is_open;
    uint8_t is_whole; /* its request is here */
    uint8_t is_shut;  /* told to go */
};

/* Zeroed: none. */
struct probe_clients {
    struct probe_client all[PROBE_CLIENTS_MAX];
    uint64_t turns;
};

/* A client has come; in a crowd another one goes. NULL: no room, it is shut already. */
struct probe_client *probe_clients_add(struct probe_clients *clients, int fd, int64_t now_ms);
void probe_clients_remove(struct probe_client *client); /* accepts NULL, as do the others */
void probe_client_asked(struct probe_client *client);
/* Answered: the next request is awaited. */
void probe_client_answered(struct probe_clients *clients, struct probe_client *client,
                           int64_t now_ms);
/* Shut those whose time is over or who have hung up; returns milliseconds until the next one's is,
 * -1 without any. */
int probe_clients_expire(struct probe_clients *clients, int64_t now_ms);

#endif
