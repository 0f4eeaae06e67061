/* SPDX-License-Identifier: Apache-2.0 */
/* A store that keeps nothing and says that it did: for `sluice bench`, which measures what is not
 * the store. */
#ifndef SLUICE_ADAPTER_NULL_STORE_H
#define SLUICE_ADAPTER_NULL_STORE_H

#include "core/alloc.h"
#include "port/mailbox.h"
#include "port/store.h"

SLUICE_MUST_CHECK
sluice_rc sluice_null_store_create(struct sluice_mailbox *mailbox,
                                   const struct sluice_allocator *allocator,
                                   struct sluice_store **out, struct sluice_err *err);

#endif
