/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching over one connection until it is over. cnats has no ping of its own when the loop reads
 * (nats_pump.h), so a server that is read by the loop is asked for signs of life here. For
 * nats_link.c alone.
 */
#ifndef SLUICE_ADAPTER_NATS_WATCH_H
#define SLUICE_ADAPTER_NATS_WATCH_H

#include "adapter/nats_conn.h"
#include "adapter/nats_pump.h"

/* So long `must_stop` may go unnoticed: a ping that waits for its answer looks at nothing else. */
#define SLUICE_NATS_PING_TIMEOUT_MS 2000

/* Wait until the connection is closed or is to be closed, or `*must_stop`, which its monitor
 * guards. A server that answers no ping has it closed, with the reason in `why`. `pump` is that of
 * the connection's socket; without a socket it is not looked at. The link's thread; called and
 * returns with the monitor's lock held, which is given up meanwhile. Cannot fail. */
void sluice_nats_watch(struct sluice_nats_conn *conn, const struct sluice_nats_pump *pump,
                       const int *must_stop);

#endif
