/* SPDX-License-Identifier: Apache-2.0 */
/* What a server says first to whoever connects: cnats reads it and keeps it to itself. */
#ifndef SLUICE_ADAPTER_NATS_GREETING_H
#define SLUICE_ADAPTER_NATS_GREETING_H

struct sluice_nats_greeting {
    char version[32];             /* "" when it names none */
    int wants_client_certificate; /* it lets nobody in without one */
};

/* Read it: "INFO {…}" and what may follow the object. 0, and `out` is all 0, when it is none. */
int sluice_nats_greeting_parse(const char *text, struct sluice_nats_greeting *out);

/* Ask the server of "nats://host:port" over a connection of its own. Each connect and each read
 * ends after 2 s; for the name's resolution there is no limit but the system's, as in cnats. 0 when
 * nothing readable came. */
int sluice_nats_greeting_read(const char *url, struct sluice_nats_greeting *out);

#endif
