/* SPDX-License-Identifier: Apache-2.0 */
/* The files that the settings of a connection name, judged before anything connects: cnats reads
 * them during the login, and what it says then names neither setting nor file. */
#ifndef SLUICE_ADAPTER_NATS_FILES_H
#define SLUICE_ADAPTER_NATS_FILES_H

#include "adapter/nats_nkey.h"
#include "adapter/nats_options.h"

enum sluice_nats_file {
    SLUICE_NATS_FILE_NKEY,
    SLUICE_NATS_FILE_CREDS,
    SLUICE_NATS_FILE_CA,
    SLUICE_NATS_FILE_CERT,
    SLUICE_NATS_FILE_KEY
};

/* Look at one of them. ERR_CONFIG with path and reason, never what is in it; ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_file_check(enum sluice_nats_file file, const char *path,
                                 struct sluice_err *err);

/* Read the seed file; `nkey_public` gets its public key, "" without one. Look at credentials,
 * certificates and key. ERR_CONFIG naming setting and file, never what is in it; ERR_NOMEM. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_files_read(const struct sluice_nats_options *options,
                                 char nkey_public[SLUICE_NKEY_SIZE], struct sluice_err *err);

#endif
