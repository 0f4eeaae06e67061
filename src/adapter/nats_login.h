/* SPDX-License-Identifier: Apache-2.0 */
/* The login at a server: what its URL says before the @, percent-encoded, or the settings. Only
 * files of this adapter that touch cnats include this. */
#ifndef SLUICE_ADAPTER_NATS_LOGIN_H
#define SLUICE_ADAPTER_NATS_LOGIN_H

#include "adapter/nats_options.h"
#include "core/err.h"
#include <nats/nats.h>
#include <stddef.h>

#define SLUICE_NATS_URL_SIZE 512u

/* `host` is what follows "://" in a URL that is shorter than SLUICE_NATS_URL_SIZE. ERR_CONFIG for a
 * % that is no escape; the text names the server and nothing of the login. */
sluice_rc sluice_nats_login_check(const char *host, struct sluice_err *err);

/* `url` ("nats://…") without its login. */
void sluice_nats_login_strip(const char *url, char *out, size_t size);

/* Login with what `url` says, else with the settings': they have none where a URL has one. */
natsStatus sluice_nats_login_set(natsOptions *opts, const char *url,
                                 const struct sluice_nats_options *options,
                                 const char *nkey_public);

#endif
