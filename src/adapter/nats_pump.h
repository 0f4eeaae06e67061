/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of a cnats connection on the worker's own loop, in place of cnats' reader and flusher
 * threads: each of them costs a wake-up for every burst, the flusher up to a millisecond for every
 * hop. What a turn of the loop has published leaves in one send before the loop sleeps. Messages
 * still come on cnats' delivery thread: its synchronous subscriptions swallow an answer "no
 * responders" together with the subject that tells whose it is.
 *
 * cnats has an interface for this and ready adapters; what is dangerous about those is kept out:
 * before 3.10 cnats closes the socket while the loop may still poll it (nats.c #815), so a
 * duplicate of the descriptor is polled; a connection is closed by another thread only after the
 * loop has stopped using it, and never by cnats' ping timer, which is off: whoever uses a socket
 * must see to it that a silent server is noticed.
 *
 * Not for TLS: there cnats waits inside a read until the record is complete.
 */
#ifndef SLUICE_ADAPTER_NATS_PUMP_H
#define SLUICE_ADAPTER_NATS_PUMP_H

#include <nats/nats.h>
#include <stdint.h>
#include <uv.h>

struct sluice_nats_pump;   /* the handles of one link on the loop */
struct sluice_nats_socket; /* of one connection */

/* NULL without memory or descriptors. Loop thread, or before the loop runs. Keeps no loop alive. */
struct sluice_nats_pump *sluice_nats_pump_create(uv_loop_t *loop);
/* Loop thread, once, when no socket is started; the handles are closed in the loop's next turn. */
void sluice_nats_pump_close(struct sluice_nats_pump *pump);
/* 0 once a server spoke TLS. Any thread. */
int sluice_nats_pump_is_usable(const struct sluice_nats_pump *pump);
/* The owner's share of the memory. Any thread, after close. */
void sluice_nats_pump_unref(struct sluice_nats_pump *pump);
/* How often the loop has turned: a loop that stands still hears no answer. Any thread. */
uint64_t sluice_nats_pump_turns(const struct sluice_nats_pump *pump);

/* For one connection, before it is made; NULL without memory. The pump is borrowed. Any thread. */
struct sluice_nats_socket *sluice_nats_socket_create(struct sluice_nats_pump *pump);
/* Have a connection that is made with `opts` use the socket. */
natsStatus sluice_nats_socket_use(struct sluice_nats_socket *socket, natsOptions *opts);
/* How often something has come: a sign of life, even when an answer waits behind much else. Any
 * thread. */
uint64_t sluice_nats_socket_reads(const struct sluice_nats_socket *socket);
/* After the connection was destroyed. Accepts NULL. Any thread. */
void sluice_nats_socket_free(struct sluice_nats_socket *socket);

/* ---- Loop thread ---- */

/* Begin to read and write. Returns 0 without memory. `on_tls` is called when the server turns out
 * to speak TLS: cnats goes over to it by itself when the server requires it. Then nothing is read
 * any more, the connection has to be given up, and sluice_nats_pump_is_usable() says no. */
int sluice_nats_socket_start(struct sluice_nats_socket *socket, void (*on_tls)(void *ctx),
                             void *ctx);
/* Nothing is read or written afterwards: the connection may be closed by any thread.
 * Accepts a socket that was not started. */
void sluice_nats_socket_stop(struct sluice_nats_socket *socket);
/* What the loop would do, without the loop: for at most `timeout_ms`. For shutting down. */
void sluice_nats_socket_turn(struct sluice_nats_socket *socket, int timeout_ms);

/* Publishing calls stand between these two. At the end so many bytes may leave at once that
 * waiting for the turn's end gains nothing. */
void sluice_nats_socket_begin(void);
void sluice_nats_socket_end(struct sluice_nats_socket *socket, size_t bytes);

/* How long the peer has taken nothing of what waits for it. */
int64_t sluice_nats_socket_stuck_ms(const struct sluice_nats_socket *socket, int64_t now_ms);

/* ---- Delivery thread ---- */

/* Wait until what is being read is taken apart. cnats wakes its delivery thread for the first
 * message of a read, and both would then fight over the lock of its queue for each that follows:
 * 2.4 switches of threads for a message instead of 1.3. */
void sluice_nats_socket_await_read(struct sluice_nats_socket *socket);

#endif
