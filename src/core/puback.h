/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_CORE_PUBACK_H
#define SLUICE_CORE_PUBACK_H

#include <stdint.h>

/* Does a stream have the message whose publish it answers so? `sequence`: 0 when it names none. A
 * duplicate without sequence is none: servers of 2.10 say that of an id that is staged and not
 * committed, and when the leader falls it is lost. */
int sluice_puback_is_stored(int is_error, uint64_t sequence);

#endif
