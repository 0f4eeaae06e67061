/* SPDX-License-Identifier: Apache-2.0 */
/* Where the NATS servers are and how to get in. */
#ifndef SLUICE_ADAPTER_NATS_OPTIONS_H
#define SLUICE_ADAPTER_NATS_OPTIONS_H

#include "core/err.h"
#include <stdint.h>

#define SLUICE_NATS_SERVERS_MAX 64u

/* All texts are copied by those who take the struct; NULL or "" means not set. At most one of user,
 * token, nkey file, creds file. */
struct sluice_nats_options {
    const char *url;  /* list, comma separated; nats:// or tls://, user:password@ allowed */
    const char *name; /* shown by the server: sluice/<worker>@<host> */
    const char *user, *password;
    const char *token;
    const char *nkey_file;  /* seed */
    const char *creds_file; /* JWT and seed */
    const char *tls_ca, *tls_cert, *tls_key;
    const char *inbox_prefix;        /* "_INBOX" */
    const char *api_prefix;          /* "$JS.API"; "$JS.<domain>.API" for a domain */
    int64_t connect_timeout_ms;      /* per server; 0: 10 s */
    int64_t reconnect_wait_ms;       /* longest pause between attempts; 0: 10 s */
    uint32_t reconnect_attempts_max; /* passes over the list before the link is lost, see
                                        nats_waits.h; 0: 60 */
};

/* Can these be right? Looks at URL, files and what excludes each other, without connecting.
 * ERR_CONFIG naming the setting and never a secret, ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_options_check(const struct sluice_nats_options *options,
                                    struct sluice_err *err);

#endif
