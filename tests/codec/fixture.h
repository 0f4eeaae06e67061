/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that can be told to fail, and a message with something in every field. */
#ifndef SLUICE_TESTS_CODEC_FIXTURE_H
#define SLUICE_TESTS_CODEC_FIXTURE_H

#include "core/arena.h"
#include "core/err.h"
#include "rich.pb-c.h"
#include <stddef.h>

struct fixture {
    struct sluice_allocator allocator;
    struct sluice_arena arena;
    struct sluice_err err;
    size_t calls;   /* allocations asked for */
    size_t fail_at; /* the n-th of them and all later ones fail; 0: none */
    size_t open;    /* allocations not freed */
};

void fixture_init(struct fixture *f);
void fixture_fini(struct fixture *f); /* fails the test when something was not freed */

#define BYTES(text) ((sluice_bytes){.data = (text), .len = sizeof(text) - 1})
sluice_bytes text_bytes(const char *text);

/* Every field set, lists of two or three, a child with a few fields of its own. Static memory. */
const Rich__V1__Rich *fixture_rich(void);

/* Bytes in memory of exactly their size, so that a sanitizer sees a read behind them. */
sluice_bytes fixture_exact(const void *data, size_t len);
void fixture_exact_free(sluice_bytes bytes);

void assert_contains(const char *text, const char *part);

#endif
