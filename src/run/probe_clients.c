/* SPDX-License-Identifier: Apache-2.0 */
#include "run/probe_clients.h"

#include <stddef.h>
#include <sys/socket.h>

/* The server sees the end of the connection and closes it, whatever it was waiting for. */
static void shut(struct probe_client *client)
{
    client->is_shut = 1;
    (void)shutdown(client->fd, SHUT_RDWR);
}

static int has_waited_longer(const struct probe_client *a, const struct probe_client *b)
{
    return a->is_whole != b->is_whole ? !a->is_whole : a->turn < b->turn;
}

static void await(struct probe_clients *clients, struct probe_client *client, int64_t now_ms)
{
    client->since_ms = now_ms;
    client->turn = clients->turns++;
}

/* Rather one whose request is not here yet; among equals the oldest. */
static void crowd_out(struct probe_clients *clients)
{
    struct probe_client *worst = NULL;
    int count = 0;
    for (int i = 0; i < PROBE_CLIENTS_MAX; i++) {
        struct probe_client *one = &clients->all[i];
        if (!one->is_open || one->is_shut) {
            continue;
        }
        count++;
        worst = worst == NULL || has_waited_longer(one, worst) ? one : worst;
    }
    if (count >= PROBE_CLIENTS_CROWD) {
        shut(worst);
    }
}

struct probe_client *probe_clients_add(struct probe_clients *clients, int fd, int64_t now_ms)
{
    crowd_out(clients);
    for (int i = 0; i < PROBE_CLIENTS_MAX; i++) {
        struct probe_client *one = &clients->all[i];
        if (!one->is_open) {
            *one = (struct probe_client){.fd = fd, .is_open = 1};
            await(clients, one, now_ms);
            return one;
        }
    }
    (void)shutdown(fd, SHUT_RDWR);
    return NULL;
}

void probe_clients_remove(struct probe_client *client)
{
    if (client != NULL) {
        client->is_open = 0;
    }
}

void probe_client_asked(struct probe_client *client)
{
    if (client != NULL) {
        client->is_whole = 1;
    }
}

void probe_client_answered(struct probe_clients *clients, struct probe_client *client,
                           int64_t now_ms)
{
    if (client != NULL) {
        client->is_whole = 0;
        await(clients, client, now_ms);
    }
}

/* Half a request and then the end: it will never be whole. libmicrohttpd does not see the end of a
 * connection that came together with the bytes before it (epoll, by edge). */
static int has_hung_up(const struct probe_client *client)
{
    char byte;
    return !client->is_whole && recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

int probe_clients_expire(struct probe_clients *clients, int64_t now_ms)
{
    int64_t next = -1;
    for (int i = 0; i < PROBE_CLIENTS_MAX; i++) {
        struct probe_client *one = &clients->all[i];
        int64_t left = one->since_ms + PROBE_REQUEST_MS - now_ms;
        if (!one->is_open || one->is_shut) {
            continue;
        }
        if (left <= 0 || has_hung_up(one)) {
            shut(one);
        } else if (next < 0 || left < next) {
            next = left;
        }
    }
    return (int)next;
}
