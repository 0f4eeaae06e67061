/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a link, from its connect to cnats' letting go of it. The link's thread opens
 * and destroys it; in between the loop uses it, between up and let_go; either gives it up. For
 * nats_link.c, nats_watch.c, nats_conn.c and nats_tap.c alone.
 */
#ifndef SLUICE_ADAPTER_NATS_CONN_H
#define SLUICE_ADAPTER_NATS_CONN_H

#include "adapter/nats_monitor.h"
#include "adapter/nats_settings.h"
#include "adapter/nats_spent.h"
#include "adapter/nats_tap.h"
#include "core/err.h"
#include <nats/nats.h>
#include <stddef.h>
#include <stdint.h>

#define SLUICE_NATS_CONN_TEXT_SIZE  384u
#define SLUICE_NATS_CONN_ID_SIZE    64 /* a public nkey has 56 characters */
#define SLUICE_NATS_CONN_INBOX_SIZE 128u

/* The server denies a publish or a subscription: its words, borrowed. cnats' callback thread. */
typedef void sluice_nats_refused_fn(void *ctx, const char *text);

struct sluice_nats_conn {
    struct sluice_nats_monitor *monitor; /* the link's */
    natsConnection *nc;
    sluice_nats_refused_fn *refused;
    void *refused_ctx;
    struct sluice_nats_socket *socket; /* NULL: cnats' threads read and write */
    struct sluice_nats_tap *taps;      /* loop thread; the link's thread once is_released */
    struct sluice_nats_spent sent;     /* loop thread */
    struct sluice_nats_spent received; /* delivery thread */
    int64_t since_ms;                  /* begin of the connect */
    int64_t payload_max;
    int has_others; /* servers that are known beside this one; as of the connect */
    char inbox[SLUICE_NATS_CONN_INBOX_SIZE];
    char server[SLUICE_NATS_CONN_TEXT_SIZE];
    char server_id[SLUICE_NATS_CONN_ID_SIZE]; /* as it names itself; "": not known */
    /* Guarded by the monitor. */
    char why[SLUICE_NATS_CONN_TEXT_SIZE];
    uint32_t taps_open; /* that may still call back */
    int is_closed;      /* cnats said so: no state callback follows */
    int is_up;          /* the loop thread uses it */
    int must_close;     /* the link's thread shall close it */
    int is_released;    /* the loop thread has dropped it */
};

/* ---- The link's thread ---- */

/* Connect; blocks. `pump` NULL: see there. It and `monitor` are borrowed. Errors of
 * sluice_nats_settings_connect(). */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_conn_open(struct sluice_nats_settings *settings,
                                struct sluice_nats_pump *pump, struct sluice_nats_monitor *monitor,
                                sluice_nats_refused_fn *refused, void *refused_ctx,
                                struct sluice_nats_conn **out, struct sluice_err *err);
/* Close, wait for cnats to let go, free. 0 when it does not: then nothing may be freed. The loop
 * has let go of it, or never had it. */
int sluice_nats_conn_destroy(struct sluice_nats_conn *conn);

/* Is everything that was published at the server? Blocks. */
int sluice_nats_conn_flush(struct sluice_nats_conn *conn, int64_t timeout_ms);

/* ---- Loop thread ---- */

/* The loop begins to use it. */
void sluice_nats_conn_up(struct sluice_nats_conn *conn);
/* The loop has no part in it from here on. */
void sluice_nats_conn_let_go(struct sluice_nats_conn *conn);
/* Have the link's thread close it. The first reason stays. */
void sluice_nats_conn_give_up(struct sluice_nats_conn *conn, const char *why);

/* See sluice_nats_link_publish(). */
enum sluice_nats_sent sluice_nats_conn_publish(struct sluice_nats_conn *conn, const char *subject,
                                               const char *reply, const sluice_header *headers,
                                               uint32_t headers_count, const void *body,
                                               size_t body_len);

#endif
