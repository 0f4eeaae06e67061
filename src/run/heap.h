/* SPDX-License-Identifier: Apache-2.0 */
/* The process's memory as an allocator. */
#ifndef SLUICE_RUN_HEAP_H
#define SLUICE_RUN_HEAP_H

#include "core/alloc.h"

extern const struct sluice_allocator sluice_heap; /* any thread */

#endif
