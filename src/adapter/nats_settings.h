/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a connection, checked, and connecting with them to one of the configured servers.
 * Only files of this adapter that touch cnats include this. */
#ifndef SLUICE_ADAPTER_NATS_SETTINGS_H
#define SLUICE_ADAPTER_NATS_SETTINGS_H

#include "adapter/nats_options.h"
#include "adapter/nats_pump.h"
#include "core/err.h"
#include <nats/nats.h>

struct sluice_nats_settings; /* a checked copy of the options, and the list of servers */

/* ERR_CONFIG naming the setting, ERR_NOMEM. */
sluice_rc sluice_nats_settings_create(const struct sluice_nats_options *options,
                                      struct sluice_nats_settings **out, struct sluice_err *err);
void sluice_nats_settings_destroy(struct sluice_nats_settings *settings); /* accepts NULL */

const struct sluice_nats_options *
sluice_nats_settings_options(const struct sluice_nats_settings *settings); /* defaults filled in */
/* What the user should know about these settings and this library; NULL: nothing. */
const char *sluice_nats_settings_warning(const struct sluice_nats_settings *settings);

int sluice_nats_settings_use_tls(const struct sluice_nats_settings *settings);

/* Both are called with `closure` on cnats' one callback thread. */
struct sluice_nats_handlers {
    natsConnectionHandler closed;
    natsErrHandler error; /* may be NULL; also for connections that are closed */
    void *closure;
};

/* Try each server once, from where the last call stopped. Blocks. ERR_CONNECTION, ERR_AUTH,
 * ERR_CONFIG (files). The connection does not reconnect: `closed` is called once, when it is over.
 * cnats' threads are made with all signals blocked; with a `socket` there is none that reads or
 * writes, and no ping. */
sluice_rc sluice_nats_settings_connect(struct sluice_nats_settings *settings,
                                       struct sluice_nats_socket *socket,
                                       const struct sluice_nats_handlers *handlers,
                                       natsConnection **out, struct sluice_err *err);

/* Remember the servers of the cluster that this one told of. */
void sluice_nats_settings_learn(struct sluice_nats_settings *settings, natsConnection *nc);

int sluice_nats_settings_has_others(const struct sluice_nats_settings *settings); /* two servers */
/* The next connect begins with another server than the last one that was good. */
void sluice_nats_settings_skip(struct sluice_nats_settings *settings);

#endif
