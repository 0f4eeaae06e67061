/* SPDX-License-Identifier: Apache-2.0 */
/* The public key that belongs to an nkey seed: cnats wants both, a seed file has one. And whether a
 * credentials file is one. */
#ifndef SLUICE_ADAPTER_NATS_NKEY_H
#define SLUICE_ADAPTER_NATS_NKEY_H

#include "core/err.h"
#include <stddef.h>

#define SLUICE_NKEY_SIZE 57u /* a public key as text, with its end */

/* Find the seed ("SU…", 58 characters of base32) in a file's text and derive its user key ("U…").
 * ERR_CONFIG when there is no valid user seed; the text never contains any of it. */
sluice_rc sluice_nkey_public(const char *file_text, size_t len, char out[SLUICE_NKEY_SIZE],
                             struct sluice_err *err);

/* Is there a JWT and a user seed in a credentials file's text? ERR_CONFIG as above. The JWT is only
 * known by its shape: the server judges it. */
sluice_rc sluice_creds_check(const char *file_text, size_t len, struct sluice_err *err);

#endif
