/* SPDX-License-Identifier: Apache-2.0 */
/* What has to be true of a shared object before the dynamic loader maps it: the loader trusts the
 * file's own numbers, and a file that is cut ends the process with SIGBUS. */
#ifndef SLUICE_RUN_ELF_FILE_H
#define SLUICE_RUN_ELF_FILE_H

#include "core/err.h"

/* SLUICE_OK for a whole shared object of this machine. ERR_NOT_FOUND: cannot be read;
 * ERR_UNSUPPORTED: anything else. The text says what is wrong, without the path. Any thread. */
SLUICE_MUST_CHECK
sluice_rc sluice_elf_file_check(const char *path, struct sluice_err *err);

#endif
