/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to NATS, kept up. Everything of cnats that the other adapters need goes through
 * here.
 *
 * cnats' own reconnect is switched off: a connection that broke is closed, destroyed and replaced
 * by a new one, on a thread of the link. So nothing that was sent before can be sent again
 * afterwards (cnats accepts one publish into its smallest reconnect buffer), each connection has an
 * inbox prefix of its own (a late answer to an earlier one finds nobody), subscriptions die only
 * with their closed connection (nats.c #637), and a refused login is tried again (cnats gives up
 * for good at the second).
 *
 * Threads: "loop" is the thread that the mailbox delivers on. It also reads and writes the socket
 * (nats_pump.h), but not with TLS: then threads of cnats do. Message callbacks come on cnats' one
 * delivery thread, in the order of arrival over all subscriptions of the process. The link's thread
 * connects and closes, and asks a server that is read by the loop for signs of life.
 */
#ifndef SLUICE_ADAPTER_NATS_LINK_H
#define SLUICE_ADAPTER_NATS_LINK_H

#include "adapter/nats_box.h"
#include "adapter/nats_options.h"
#include "adapter/nats_tap.h"
#include "core/err.h"
#include <stddef.h>
#include <uv.h>

struct sluice_nats_link;

/* Loop thread, never from inside an operation. Texts are borrowed and hold no credentials. */
struct sluice_nats_link_events {
    void (*on_up)(void *ctx); /* connected, first or again; no subscription exists */
    void (*on_down)(void *ctx, const char *text); /* lost; all taps of it are gone */
    void (*on_lost)(void *ctx, const char *text); /* attempts exhausted: for good */
    /* The server denied a publish or a subscription, in its words, or no server takes the login any
     * more; in a flood not of each. */
    void (*on_refused)(void *ctx, const char *text);
    /* A server is left (sluice_nats_link_leave): other links had better doubt it. May be NULL.
     * Called from inside the leave; text borrowed for the call. */
    void (*on_left)(void *ctx, const char *server_id);
};

/* Connect (blocking: at most the connect timeout for each server, three times when the login is
 * refused) and start the link's thread. ERR_CONFIG, ERR_CONNECTION, ERR_AUTH, ERR_NOMEM, with a
 * text that names servers without credentials. `box` is borrowed until stop, `events` is copied;
 * on_up follows through the box. `loop` is the mailbox's; with NULL threads of cnats read and write
 * without TLS, too. Boot thread, or the loop's thread before the loop runs. */
sluice_rc sluice_nats_link_create(const struct sluice_nats_options *options, uv_loop_t *loop,
                                  struct sluice_nats_box *box,
                                  const struct sluice_nats_link_events *events, void *ctx,
                                  struct sluice_nats_link **out, struct sluice_err *err);

/* Flush (bounded, 2 s), close, end the thread; no event afterwards; the loop must turn once more
 * for its handles. Returns 1 when no message callback can come any more; 0 when cnats did not let
 * go within 15 s: then what the callbacks use must not be freed. Accepts NULL (1). Loop thread. The
 * order is: stop the link, close the box, free the link. */
int sluice_nats_link_stop(struct sluice_nats_link *link);
void sluice_nats_link_free(struct sluice_nats_link *link); /* accepts NULL */

/* ---- Loop thread, never blocking for the network (but see publish) ---- */

int sluice_nats_link_is_up(const struct sluice_nats_link *link);
int64_t
sluice_nats_link_up_since_ms(const struct sluice_nats_link *link); /* begin of the connect */
const char *
sluice_nats_link_inbox(const struct sluice_nats_link *link); /* of this connection; "" when down */
const char *sluice_nats_link_api_prefix(const struct sluice_nats_link *link);
int64_t
sluice_nats_link_payload_max(const struct sluice_nats_link *link); /* the last known; 0: none yet */
const char *sluice_nats_link_server(const struct sluice_nats_link *link); /* without credentials */

/* Has anything come since `*reads` was set by the last call? 1 when down, and when nobody can tell:
 * with TLS cnats reads by itself. */
int sluice_nats_link_has_read(const struct sluice_nats_link *link, uint64_t *reads);

/* What must be watched from outside the link's thread: call at least every few seconds. Reports
 * on_lost when a connect does not return (nats.c before 3.8 may spin in it, before 3.11 hang in
 * TLS). */
void sluice_nats_link_tick(struct sluice_nats_link *link);

/* Give the connection up and make a new one: on_down, then on_up. */
void sluice_nats_link_reset(struct sluice_nats_link *link, const char *why);

/* The server answers pings and nothing else, as one that has lost its cluster does: the same, if
 * another server is known. What is given up for any reason is tried last. */
void sluice_nats_link_leave(struct sluice_nats_link *link, const char *why);
/* Another link has found a server: when this one is down, it tries now, and its waits are short
 * again. */
void sluice_nats_link_hurry(struct sluice_nats_link *link);
/* By what the server calls itself: two links may know it by different addresses. */
int sluice_nats_link_is_at(const struct sluice_nats_link *link, const char *server_id);

/* NULL when down or without memory. `released` is called once in any case, on any thread, when no
 * callback can come any more; after NULL it was called already. */
struct sluice_nats_tap *sluice_nats_link_subscribe(struct sluice_nats_link *link,
                                                   const char *subject, sluice_nats_message_fn *fn,
                                                   void (*released)(void *ctx), void *ctx);

/* Put a message into the connection's buffer, which leaves at the end of the loop's turn; a server
 * that takes nothing for 5 s is given up. With TLS cnats' flusher empties it within a millisecond,
 * and the call blocks while the socket takes nothing.
 * `reply` may be NULL. */
enum sluice_nats_sent sluice_nats_link_publish(struct sluice_nats_link *link, const char *subject,
                                               const char *reply, const sluice_header *headers,
                                               uint32_t headers_count, const void *body,
                                               size_t body_len);

#endif
