/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a block of NATS headers as it came over the wire. Needed because nats.c before 3.11 takes
 * an empty value for the whole next line ("A:\r\nNats-Msg-Id: 1\r\n" has only A there). */
#ifndef SLUICE_ADAPTER_NATS_HEADERS_H
#define SLUICE_ADAPTER_NATS_HEADERS_H

#include "sluice/worker.h"
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Names and values point into the block and are not terminated. */
typedef void sluice_nats_header_fn(void *ctx, const char *name, size_t name_len, const char *value,
                                   size_t value_len);

/* Each header in the order of the block, blanks around values removed. Lines without name or colon,
 * or with a NUL, are left out. Stops at the first empty line. Does nothing for a block that does
 * not begin with "NATS/1.0". */
void sluice_nats_headers_parse(const char *block, size_t len, sluice_nats_header_fn *visit,
                               void *ctx);

/* Copying all headers behind something else, in two rounds over one block: measure() adds up how
 * much they take, copy() puts them where `headers` and `at` then show. Start with all zero. */
struct sluice_nats_copying {
    sluice_header *headers; /* place for `count` */
    char *at;               /* place for `bytes`: the names and values, each with its end */
    size_t bytes;
    uint32_t count, copied;
};

void sluice_nats_headers_measure(void *copying, const char *name, size_t name_len,
                                 const char *value, size_t value_len);
void sluice_nats_headers_copy(void *copying, const char *name, size_t name_len, const char *value,
                              size_t value_len);

/* A text and its end; `*at` moves behind it. */
static inline const char *sluice_nats_copy_text(char **at, const char *text, size_t len)
{
    char *copy = *at;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

/* The code of the first line ("NATS/1.0 503 text"); 0 without one. `text` gets its words, cut at
 * `size`. */
int sluice_nats_headers_status(const char *block, size_t len, char *text, size_t size);

/* Bytes that they take on the wire, beside the body; 0 for none. */
size_t sluice_nats_headers_size(const sluice_header *headers, uint32_t count);

#endif
